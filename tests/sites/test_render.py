"""Rendering: the layout, the same bytes however it is drawn, and every refusal."""

import json
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import reid.sites.drawn.draw
import reid.sites.folder
import reid.sites.render
from reid.errors import InputError
from reid.sites import DrawnSettings, render_site
from reid.sites.drawn.compose import draw_content, person_alpha, sample_shot
from reid.sites.drawn.draw import _scene_and_camera
from reid.sites.drawn.people import sample_person
from reid.sites.drawn.styles import SITES
from reid.sites.schedule import cameras_of, person_generator, plan, shot_generator

TINY = DrawnSettings(
    "plaza", train_identities=4, test_identities=4, cameras=2, train_shots=2, test_shots=2, missing=0.15
)


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.glob("*/*.jpg"))}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("sites") / "plaza"
    return folder, render_site(folder, TINY, processes=1, progress=False)


# The plan


@given(
    site=st.sampled_from(sorted(SITES)),
    seed=st.integers(0, 2**32 - 1),
    cameras=st.integers(2, 9),
    missing=st.floats(0, 0.9),
)
@settings(max_examples=40, deadline=None)
def test_every_query_has_a_match(site: str, seed: int, cameras: int, missing: float) -> None:
    render = DrawnSettings(site, seed, train_identities=3, test_identities=5, cameras=cameras, missing=missing)
    images = plan(render)
    assert len({image.name for image in images}) == len(images)
    gallery = {(image.pid, image.camera) for image in images if image.split == "gallery"}
    for query in (image for image in images if image.split == "query"):
        assert any(pid == query.pid and camera != query.camera for pid, camera in gallery)


def test_plan_of_a_whole_site() -> None:
    images = plan(DrawnSettings("station"))
    pairs = {(image.pid, image.camera) for image in images}
    assert 0.10 < 1 - len(pairs) / (230 * 5) < 0.20
    counts = Counter(image.split for image in images)
    test_pairs = [pair for pair in pairs if pair[0] > 150]
    assert counts["query"] == len(test_pairs) and counts["gallery"] == 2 * len(test_pairs)
    assert counts["train"] == 4 * (len(pairs) - len(test_pairs))
    train = {image.pid for image in images if image.split == "train"}
    assert train == set(range(1, 151)) and {pid for pid, _ in test_pairs} == set(range(151, 231))


def test_splits_alone_do_not_move_the_others() -> None:
    whole, test_only = plan(TINY), plan(replace(TINY, splits=("gallery", "query")))
    assert test_only == [image for image in whole if image.split != "train"]


def test_nothing_missing() -> None:
    assert all(cameras_of(replace(TINY, cameras=4, missing=0.0), pid) == [1, 2, 3, 4] for pid in range(1, 9))


# The images


def test_layout_of_market(tiny: tuple[Path, str]) -> None:
    folder, _ = tiny
    names = files(folder)
    assert Counter(name.split("/")[0] for name in names) == {
        "bounding_box_train": 4 * 2 * 2,
        "query": 4 * 2,
        "bounding_box_test": 4 * 2,
    }
    assert "bounding_box_train/0001_c1s1_000001_00.jpg" in names
    for name in names:
        found = re.match(r"^(-?\d+)_c(\d)", Path(name).name)
        assert found is not None and 1 <= int(found[1]) <= 8 and int(found[2]) in (1, 2)
        image = cv2.imread(str(folder / name))
        assert image is not None and image.shape == (128, 64, 3)
    assert sorted(path.name for path in folder.parent.iterdir()) == [".plaza.lock", "plaza"]


def test_site_json(tiny: tuple[Path, str]) -> None:
    folder, fingerprint = tiny
    record = json.loads((folder / "site.json").read_text())
    assert record["fingerprint"] == fingerprint and re.fullmatch("[0-9a-f]{64}", fingerprint)
    assert record["settings"]["style"] == 0.75 and record["census"]["query"]["images"] == 8
    assert record["versions"] == {"numpy": np.__version__, "opencv": cv2.__version__, "numba": version("numba")}


def test_same_bytes_for_two_processes(tiny: tuple[Path, str], tmp_path: Path) -> None:
    folder, fingerprint = tiny
    assert render_site(tmp_path / "again", TINY, processes=2, progress=False) == fingerprint
    assert files(tmp_path / "again") == files(folder)


def test_another_seed_or_site_shows_other_people(tiny: tuple[Path, str], tmp_path: Path) -> None:
    fingerprints = {tiny[1]}
    for name, other in {"seed": replace(TINY, seed=1), "site": replace(TINY, site="station")}.items():
        fingerprints.add(render_site(tmp_path / name, other, processes=1, progress=False))
    assert len(fingerprints) == 3
    people = {sample_person(person_generator(replace(TINY, seed=seed), 1), "summer") for seed in range(3)}
    assert len(people) == 3


def test_strengths_change_photometry_only(tiny: tuple[Path, str], tmp_path: Path) -> None:
    neutral = replace(TINY, style=0.0, degradation=0.0)
    render_site(tmp_path / "neutral", neutral, processes=1, progress=False)
    styled, plain = files(tiny[0]), files(tmp_path / "neutral")
    assert sorted(styled) == sorted(plain) and all(styled[name] != plain[name] for name in styled)
    for image in plan(TINY):
        contents = []
        for render in (TINY, neutral):
            person = sample_person(person_generator(render, image.pid), "summer")
            shot = sample_shot(shot_generator(render, image), "summer")
            contents.append(draw_content(person, shot, _scene_and_camera(render, image.camera)[0]))
            assert person_alpha(person, shot).mean() > 25, "a person fills a good part of the image"
        np.testing.assert_array_equal(*contents)
        shown = cv2.imread(str(tmp_path / "neutral" / image.name))
        assert shown is not None
        error = np.abs(shown[..., ::-1].astype(float) - contents[1] * 255)
        assert error.mean() < 6, "at strength 0 only JPEG stands between drawing and file"


def test_nothing_is_kept_in_a_process_that_lives_on(tmp_path: Path) -> None:
    render_site(tmp_path / "plaza", replace(TINY, train_identities=1), processes=1, progress=False)
    assert _scene_and_camera.cache_info().currsize == 0


def test_images_of_one_identity_differ(tiny: tuple[Path, str]) -> None:
    assert len(set(files(tiny[0]).values())) == len(files(tiny[0]))


# Restarting


def test_finished_render_is_kept(tiny: tuple[Path, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reid.sites.drawn.draw, "_draw_image", None)
    assert render_site(tiny[0], TINY, processes=1, progress=False) == tiny[1]


def test_restart_keeps_what_was_drawn(tiny: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[str] = []
    draw_image = reid.sites.drawn.draw._draw_image

    def failing(*arguments: object) -> bytes:
        if len(drawn) == 10:
            raise KeyboardInterrupt
        drawn.append(arguments[1].name)  # type: ignore[attr-defined]
        return draw_image(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(reid.sites.drawn.draw, "_draw_image", failing)
    folder = tmp_path / "plaza"
    with pytest.raises(KeyboardInterrupt):
        render_site(folder, TINY, processes=1, progress=False)
    partial = tmp_path / ".plaza.partial"
    assert sorted(files(partial)) == sorted(drawn) and not folder.exists()
    (partial / "query" / ".half.jpg.partial-1").write_bytes(b"half")

    def counting(*arguments: object) -> bytes:
        drawn.append(arguments[1].name)  # type: ignore[attr-defined]
        return draw_image(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(reid.sites.drawn.draw, "_draw_image", counting)
    assert render_site(folder, TINY, processes=1, progress=False) == tiny[1]
    assert len(drawn) == len(set(drawn)) == len(plan(TINY))
    assert not partial.exists() and not list(folder.rglob("*.partial*"))


def test_partial_render_of_other_settings_starts_over(tiny: tuple[Path, str], tmp_path: Path) -> None:
    partial = reid.sites.folder.open_partial(tmp_path / "plaza", replace(TINY, seed=9))
    (partial / "query" / "0005_c1s1_000001_00.jpg").write_bytes(b"of another seed")
    assert render_site(tmp_path / "plaza", TINY, processes=1, progress=False) == tiny[1]


def test_complete_images_are_kept_when_the_folder_cannot_be_renamed(
    tiny: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = Path.rename

    def refused(self: Path, target: Path) -> Path:
        raise OSError(13, "Permission denied")

    monkeypatch.setattr(Path, "rename", refused)
    with pytest.raises(InputError, match="plaza: cannot make the site there: .*Permission denied"):
        render_site(tmp_path / "plaza", TINY, processes=1, progress=False)
    monkeypatch.setattr(Path, "rename", rename)
    monkeypatch.setattr(reid.sites.drawn.draw, "_draw_image", None)
    assert render_site(tmp_path / "plaza", TINY, processes=1, progress=False) == tiny[1]


def test_killed_run_leaves_no_process_and_loses_nothing(tmp_path: Path) -> None:
    script = (
        "from pathlib import Path; from reid.sites import DrawnSettings, render_site\n"
        f"render_site(Path({str(tmp_path / 'plaza')!r}), DrawnSettings('plaza'), 2, progress=False)"
    )
    run = subprocess.Popen([sys.executable, "-c", script])
    try:
        deadline = time.monotonic() + 60
        while not list(tmp_path.glob(".plaza.partial/*/*.jpg")) and time.monotonic() < deadline:
            time.sleep(0.05)
        children = Path(f"/proc/{run.pid}/task/{run.pid}/children")
        workers = [int(pid) for pid in children.read_text().split()] if children.exists() else []
    finally:
        run.send_signal(signal.SIGKILL)
        run.wait()
    images = files(tmp_path / ".plaza.partial")
    assert images and all(data.endswith(b"\xff\xd9") for data in images.values())
    deadline = time.monotonic() + 20
    while any(_runs(pid) for pid in workers) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(_runs(pid) for pid in workers)


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_two_runs_at_once(tiny: tuple[Path, str], tmp_path: Path) -> None:
    script = (
        "from pathlib import Path; from reid.sites import DrawnSettings, render_site\n"
        f"print(render_site(Path({str(tmp_path / 'plaza')!r}), {TINY!r}, 1, progress=False))"
    )
    runs = [subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [run.communicate(timeout=60)[0].strip() for run in runs] == [tiny[1], tiny[1]]
    assert files(tmp_path / "plaza") == files(tiny[0])


# Refusals


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"site": "beach"}, r"'beach' is not one of \['plaza', 'station', 'street'\]"),
        ({"style": -0.1}, r"style is -0.1, not in 0.0..1.5"),
        ({"style": 1.6}, "style"),
        ({"style": float("nan")}, "style"),
        ({"degradation": -1.0}, "degradation"),
        ({"cameras": 1}, r"cameras is 1, not in 2..9"),
        ({"cameras": 10}, "cameras"),
        ({"cameras": 2.5}, "cameras is 2.5, not a whole number"),
        ({"test_shots": 1}, "test_shots"),
        ({"train_identities": 0}, "train_identities"),
        ({"missing": 1.0}, "missing"),
        ({"seed": -1}, "seed"),
        ({"splits": ()}, "splits"),
        ({"splits": ("train", "val")}, "splits"),
    ],
)
def test_bad_settings(changes: dict[str, object], named: str) -> None:
    with pytest.raises(InputError, match=named):
        replace(TINY, **changes)  # type: ignore[arg-type]


def test_folder_of_other_settings(tiny: tuple[Path, str]) -> None:
    with pytest.raises(InputError, match=r"plaza: was made with style 0\.75, not 0\.5; delete the folder or choose"):
        render_site(tiny[0], replace(TINY, style=0.5), progress=False)


def test_folder_of_another_renderer(tiny: tuple[Path, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DrawnSettings, "version", 99)
    with pytest.raises(InputError, match=r"plaza: was made by renderer version \d+, this is version 99"):
        render_site(tiny[0], TINY, progress=False)


@pytest.mark.parametrize("damage", ["lost", "changed", "record", "shape", "foreign", "file"])
def test_damaged_folder(damage: str, tmp_path: Path) -> None:
    folder = tmp_path / "plaza"
    if damage == "foreign":
        folder.mkdir()
        (folder / "holiday.jpg").write_bytes(b"mine")
    elif damage == "file":
        folder.write_text("mine")
    else:
        render_site(folder, TINY, processes=1, progress=False)
        image = folder / "query" / "0005_c1s1_000001_00.jpg"
        if damage == "lost":
            image.unlink()
        elif damage == "changed":
            image.write_bytes(image.read_bytes()[:-10])
        elif damage == "record":
            (folder / "site.json").write_text("{")
        else:
            record = {"settings": [1], "renderer": TINY.version, "census": [3], "fingerprint": ""}
            (folder / "site.json").write_text(json.dumps(record))
    named = {"lost": "lost or changed", "changed": "lost or changed", "record": "site.json: cannot be read"}
    named |= {"shape": "site.json: cannot be read", "foreign": "holds no site.json", "file": "is a file"}
    with pytest.raises(InputError, match=named[damage]) as caught:
        render_site(folder, TINY, processes=1, progress=False)
    assert str(folder) in str(caught.value) and "data.sites_root" in str(caught.value)


def test_empty_folder_is_filled(tiny: tuple[Path, str], tmp_path: Path) -> None:
    (tmp_path / "plaza").mkdir()
    assert render_site(tmp_path / "plaza", TINY, processes=1, progress=False) == tiny[1]


def test_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replace = Path.replace

    def full(self: Path, target: Path) -> Path:
        if target.suffix == ".jpg":
            raise OSError(28, "No space left on device")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(InputError, match=r"plaza: cannot make the site there: .*No space left"):
        render_site(tmp_path / "plaza", TINY, processes=1, progress=False)


def test_no_processes(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="0 processes"):
        render_site(tmp_path / "plaza", TINY, processes=0)


def test_killed_drawing_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise BrokenProcessPool

    monkeypatch.setattr(reid.sites.render, "_make_missing", broken)
    with pytest.raises(InputError, match=r"plaza: a process was killed .* finished images are kept"):
        render_site(tmp_path / "plaza", TINY, processes=1, progress=False)


@pytest.mark.parametrize("where", ["file", "standard input"])
def test_a_script_without_a_guard_draws(tiny: tuple[Path, str], tmp_path: Path, where: str) -> None:
    """The drawing processes leave the script alone: a child would run it again, or not find it."""
    code = (
        "from pathlib import Path\nfrom reid.sites import DrawnSettings, render_site\nprint('begun')\n"
        f"print(render_site(Path({str(tmp_path / 'plaza')!r}), {TINY!r}, 2, progress=False))\n"
    )
    script = tmp_path / "script.py"
    script.write_text(code)
    command = [sys.executable, str(script) if where == "file" else "-"]
    done = subprocess.run(command, input=code, capture_output=True, text=True, timeout=100)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"begun\n{tiny[1]}\n", "")
