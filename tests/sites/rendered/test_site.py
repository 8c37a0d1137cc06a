"""A rendered site in its folder: the same bytes however it is made, and what is in the way of making it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import reid
from reid.data.card import load_card
from reid.errors import InputError
from reid.sites import RenderedSettings, render_site
from reid.sites.rendered import render
from reid.sites.schedule import plan

CARD = load_card("people_small").rendered
assert CARD is not None
SMALL = replace(
    RenderedSettings(**CARD.model_dump(exclude_none=True)), train_identities=2, test_identities=2, train_shots=1
)


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.glob("*/*.jpg"))}


def forget() -> None:
    render._camera.cache_clear()
    render._stranger.cache_clear()


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("sites") / "people_small"
    return folder, render_site(folder, SMALL, processes=1, progress=False)


def test_same_bytes_for_four_processes(small: tuple[Path, str], tmp_path: Path) -> None:
    folder, fingerprint = small
    assert render_site(tmp_path / "again", SMALL, processes=4, progress=False) == fingerprint
    assert files(tmp_path / "again") == files(folder)
    assert sorted(files(folder)) == sorted(image.name for image in plan(SMALL))


def test_a_full_disk_ends_with_a_message_and_what_stands_is_kept(
    small: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second run of the same settings too, in the middle of an identity."""
    forget()
    move, room = Path.replace, 11

    def full(self: Path, target: Path) -> Path:
        if target.suffix == ".jpg" and len(list(target.parents[1].glob("*/*.jpg"))) == room:
            raise OSError(28, "No space left on device")
        return move(self, target)

    folder, partial = tmp_path / "people_small", tmp_path / ".people_small.partial"
    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", full)
        with pytest.raises(InputError, match=r"people_small: cannot make the site there: .*No space left"):
            render_site(folder, SMALL, processes=1, progress=False)
    assert not folder.exists() and len(files(partial)) == room
    assert not list(partial.glob("*/.*")), "nothing half-written is left"
    made = {path.name: path.stat().st_mtime_ns for path in partial.glob("*/*.jpg")}
    forget()
    assert render_site(folder, SMALL, processes=1, progress=False) == small[1]
    assert files(folder) == files(small[0])
    kept = {path.name: path.stat().st_mtime_ns for path in folder.glob("*/*.jpg")}
    assert made.items() <= kept.items(), "what was made is not made again"
    assert not partial.exists()


def test_a_folder_of_another_version_is_refused_with_the_way_out(
    small: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RenderedSettings, "version", 99)
    with pytest.raises(InputError, match=r"people_small: was made by renderer version \d+, this is version 99; delete"):
        render_site(small[0], SMALL, progress=False)


def test_a_damaged_body_file_ends_the_command_with_one_message(tmp_path: Path) -> None:
    """In the processes that render: they find the package that the command was started from."""
    package = Path(reid.__file__).parent
    for name in ("reid", "configs", "datasets", "tools"):
        source = package if name == "reid" else package.parent / name
        shutil.copytree(source, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", "static"))
    body = tmp_path / "reid/sites/rendered/body/body.safetensors"
    body.write_bytes(body.read_bytes()[:-1])
    command = [sys.executable, "tools/check_data.py", "mall", "--sites-root", "sites"]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=100)
    messages = [line for line in done.stderr.replace("\r", "\n").splitlines() if line and "image/s" not in line]
    assert done.returncode == 2 and done.stdout == ""
    assert len(messages) == 1 and messages[0].startswith(f"error: {body}: damaged, or of another version")
    assert not (tmp_path / "sites/mall").exists() and not files(tmp_path / "sites/.mall.partial")
