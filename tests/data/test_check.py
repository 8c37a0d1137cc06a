"""check_data: everything that can be wrong with files on disk is found, named, and makes the report not ok."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw
from trees import (
    PLACE,
    duke_tree,
    folder_tree,
    market_tree,
    msmt_tree,
    scene_tree,
    viper_tree,
    write_card,
    write_image,
)

from reid.cli import main
from reid.data.card import load_card
from reid.data.check import CheckReport, check, check_dataset, undecodable_reason
from reid.data.contact_sheet import contact_sheet
from reid.data.reading import read_dataset
from reid.errors import InputError

CARD = r"""
name: own
root: .
pattern: '^(?P<pid>-?\d+)_c(?P<cam>\d)'
splits:
  train: {dir: bounding_box_train, images: 8, ids: 2}
  query: {dir: query, images: 4}
  gallery: {dir: bounding_box_test, images: 6}
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    market_tree(tmp_path, identities=2, images=2, size=(32, 16))
    (tmp_path / "own.yaml").write_text(CARD)
    return tmp_path


def report(root: Path) -> CheckReport:
    return check_dataset(load_card(str(root / "own.yaml")), root, root / "sites", progress=False)


def test_a_sound_data_set_is_ok(tree: Path) -> None:
    found = report(tree)
    assert found.ok and found.problems == []
    assert found.counts["train"].images_per_identity == (4, 4.0, 4)
    assert found.counts["gallery"].distractors == 1 and found.counts["gallery"].cameras == (1, 2)
    text = found.text()
    assert "left out: 1 gallery junk" in text and "ok:" in text and "PROBLEM" not in text


def test_truncated_and_foreign_files(tree: Path) -> None:
    victim = tree / "query" / "0003_c1s1_000000_01.jpg"
    victim.write_bytes(victim.read_bytes()[:-60])
    (tree / "bounding_box_train" / "0001_c1s1_000000_01.jpg").write_text("<html>not found</html>")
    found = report(tree)
    assert [name for name, _ in found.undecodable] == [
        "bounding_box_train/0001_c1s1_000000_01.jpg",
        "query/0003_c1s1_000000_01.jpg",
    ]
    assert "truncated" in dict(found.undecodable)["query/0003_c1s1_000000_01.jpg"]
    assert not found.ok and "2 files cannot be decoded" in found.text()


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp", ".webp", ".tif"])
def test_every_truncation_is_found(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    write_image(path, 1, 1, size=(32, 16))
    content = path.read_bytes()
    assert undecodable_reason(content) is None
    for part in (0.0, 0.1, 0.5, 0.9):
        assert undecodable_reason(content[: int(len(content) * part)]) is not None


def test_counts_names_duplicates_and_overlap(tree: Path) -> None:
    write_image(tree / "query" / "portrait.jpg", 1, 1)
    shutil.copy(tree / "query" / "0003_c1s1_000000_01.jpg", tree / "bounding_box_train" / "0003_c1s1_000000_01.jpg")
    found = report(tree)
    assert found.differences == (
        "train: the card says 8 images, found 9",
        "train: the card says 2 identities, found 3",
    )
    assert found.unmatched["query"] == ("query/portrait.jpg",)
    assert found.duplicates == (
        ("train: bounding_box_train/0003_c1s1_000000_01.jpg", "query: query/0003_c1s1_000000_01.jpg"),
    )
    assert found.shared_identities == (3,)
    assert len(found.problems) == 5 and not found.ok


def test_pictures_that_are_not_read_and_people_numbered_0_are_problems(tree: Path) -> None:
    (tree / "query" / "a.gif").touch()
    write_image(tree / "query" / "more" / "0003_c1s1_000000_09.png", 3, 1, size=(32, 16))
    write_image(tree / "query" / "0000_c1s1_000000_09.jpg", 3, 1, size=(32, 16))
    problems = report(tree).problems
    assert problems[0] == "query: the card says 4 images, found 5"
    assert problems[1].startswith("query: 1 images of identity 0 are left out: 0 stands for distractors")
    assert "1 pictures are not read" in problems[2] and "query/a.gif" in problems[2]
    assert "1 images are not read" in problems[3] and "query/more/0003_c1s1_000000_09.png" in problems[3]
    assert len(problems) == 4


def test_images_in_which_nothing_is_to_be_seen_are_named(tree: Path) -> None:
    """A 12-bit sensor's values, stored in 16 bits without filling them: the format calls them black."""
    grey = np.random.default_rng(0).integers(0, 4096, (32, 16), dtype=np.uint16)
    Image.fromarray(grey).save(tree / "query" / "0003_c1s1_000000_01.jpg", format="PNG")
    assert report(tree).dark == ("query/0003_c1s1_000000_01.jpg",)
    assert any("1 images have no colour above 16 of 255" in line for line in report(tree).problems)
    Image.fromarray(grey * 16).save(tree / "query" / "0003_c1s1_000000_01.jpg", format="PNG")
    assert report(tree).ok


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_the_command_shows_any_name_on_any_terminal(tmp_path: Path, encoding: str) -> None:
    folder = folder_tree(tmp_path / "mine", names=("ren\N{LATIN SMALL LETTER E WITH ACUTE}", "bob"), splits=False)
    (folder / "bob" / "\N{SNOWMAN}\n_cam1.jpg").write_text("no image")
    command = [sys.executable, "-m", "reid.cli", "check-data", str(folder), "--sheet", str(tmp_path / "a.png")]
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    found = subprocess.run(command, capture_output=True, env=environment, check=False)
    assert found.returncode == 2 and b"Traceback" not in found.stderr
    assert b"1 files cannot be decoded" in found.stdout and rb"\n_cam1.jpg" in found.stdout
    (folder / "bob" / os.fsdecode(b"\xff_cam1.jpg")).write_text("no image")
    found = subprocess.run(command, capture_output=True, env=environment, check=False)
    assert found.returncode == 2 and b"Traceback" not in found.stderr
    assert rb"\udcff_cam1.jpg': a name that is not UTF-8" in found.stderr


def test_queries_without_a_match_are_named_but_no_problem(tree: Path) -> None:
    for path in (tree / "bounding_box_test").glob("0003_c2*"):
        path.rename(path.with_name("0000_" + path.name.partition("_")[2]))
    found = report(tree)
    assert found.matchless_queries == ("query/0003_c1s1_000000_01.jpg",)
    assert found.ok and "1 queries have no possible match" in found.text()


def test_one_file_in_two_splits_is_no_duplicate(tmp_path: Path) -> None:
    folder_tree(tmp_path / "mine", splits=False)
    found = check_dataset(load_card(str(tmp_path / "mine")), tmp_path, tmp_path, progress=False)
    assert found.ok, found.text()


def test_msmt17_train_and_val_share_people_and_nothing_is_wrong(tmp_path: Path) -> None:
    msmt_tree(tmp_path)
    found = check_dataset(load_card("msmt17"), tmp_path, tmp_path, progress=False)
    assert found.shared_identities == () and found.duplicates == ()
    assert found.version == "V1" and found.text().startswith("msmt17 V1\n")


def test_a_set_to_train_on_alone(tmp_path: Path) -> None:
    scene_tree(tmp_path / "randperson_subset")
    found = check("randperson", tmp_path, tmp_path, tmp_path / "sheet.png", progress=False)
    assert found.counts["train"].cameras == (1, 2, 3) and list(found.counts) == ["train"]
    assert found.problems == list(found.differences), "the small tree's counts, and nothing else"
    assert (tmp_path / "sheet.png").is_file()


def test_a_withdrawn_set_says_so_and_is_judged_by_its_files(tmp_path: Path) -> None:
    duke_tree(tmp_path)
    found = check_dataset(load_card("dukemtmc"), tmp_path, tmp_path, progress=False)
    assert found.warning is not None and f"\n  {found.warning}\n" in found.text()
    assert found.warning.startswith("withdrawn by its authors (2019")
    assert found.problems == list(found.differences)


def test_a_random_split_is_named_in_the_title(tmp_path: Path) -> None:
    viper_tree(tmp_path)
    found = check("viper@3", tmp_path, tmp_path, None, progress=False)
    assert found.text().startswith("viper v1.0 random split 3\n")
    assert found.shared_identities == () and found.duplicates == () and found.matchless_queries == ()
    with pytest.raises(InputError, match="viper@0 … viper@9"):
        check("viper", tmp_path, tmp_path, None, progress=False)


def test_check_by_name_writes_the_sheet(tmp_path: Path) -> None:
    market_tree(tmp_path / PLACE, identities=2, images=2, size=(32, 16))
    sheet = tmp_path / "out" / "sheet.png"
    found = check("market1501", tmp_path, tmp_path, sheet, progress=False)
    assert found.sheet == sheet and str(sheet) in found.text()
    with Image.open(sheet) as image:
        assert image.format == "PNG"


def test_the_sheet_of_the_folder_that_one_is_in_is_named_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder_tree(tmp_path / "shop", names=("ann",)))
    assert main(["check-data", "."]) == 0
    assert "written: runs/check/shop.png" in capsys.readouterr().out and Path("runs/check/shop.png").is_file()


def test_contact_sheet_is_deterministic_and_shows_the_right_images(tree: Path) -> None:
    dataset = read_dataset(load_card(str(tree / "own.yaml")), tree, tree)
    contact_sheet(dataset, tree / "a.png")
    contact_sheet(dataset, tree / "b.png")
    contact_sheet(dataset, tree / "c.jpg")
    with Image.open(tree / "c.jpg") as photograph:
        assert photograph.format == "JPEG"
    assert (tree / "a.png").read_bytes() == (tree / "b.png").read_bytes()
    with Image.open(tree / "a.png") as image:
        pixels = np.asarray(image).astype(float)
    with Image.open(tree / "bounding_box_train" / "0001_c1s1_000000_01.jpg") as image:
        upper = np.asarray(image.convert("RGB"))[:12].mean(axis=(0, 1))
    top, left = 16 + 28 + 48, 16 + 64  # the first cell: margins, header, label
    assert np.abs(pixels[top + 8 : top + 48, left + 8 : left + 56].mean(axis=(0, 1)) - upper).max() < 6


def test_of_many_cameras_a_row_shows_those_that_its_person_passed(tmp_path: Path) -> None:
    for pid, cameras in ((1, (3, 40)), (2, (7, 20))):
        for camera in cameras:
            write_image(tmp_path / "train" / f"{pid:04d}_c{camera}s1_000001_00.jpg", pid, camera, size=(128, 64))
    for camera in range(50, 70):  # somebody who passes so many that they are many
        write_image(tmp_path / "train" / f"0003_c{camera}s1_000001_00.jpg", 3, camera, size=(128, 64))
    text = "name: own\nroot: .\npattern: '^(?P<pid>\\d+)_c(?P<cam>\\d+)'\nsplits: {train: {dir: train}}\n"
    report = check(write_card(tmp_path, text), tmp_path, tmp_path, tmp_path / "sheet.png", progress=False)
    assert "24: 3 to 69" in report.text()
    with Image.open(tmp_path / "sheet.png") as image:
        pixels = np.asarray(image).astype(float)
    top, left = 16 + 28 + 48, 16 + 64  # the first cell, person 1 by camera 3; the second by camera 40, the third empty
    for column, camera in enumerate((3, 40)):
        with Image.open(tmp_path / "train" / f"0001_c{camera}s1_000001_00.jpg") as image:
            expected = np.asarray(image.convert("RGB"))[20:60, 8:56].mean(axis=(0, 1))
        x = left + column * (64 + 6)
        assert np.abs(pixels[top + 20 : top + 60, x + 8 : x + 56].mean(axis=(0, 1)) - expected).max() < 6
    assert (pixels[top + 20 : top + 100, left + 2 * 70 : left + 2 * 70 + 64] == 238).all()


def test_a_row_is_as_wide_as_somebody_passed_cameras(tmp_path: Path) -> None:
    for camera in range(1, 21):
        pid = camera % 7 + 1
        write_image(tmp_path / "train" / f"{pid:04d}_c{camera}s1_000001_00.jpg", pid, camera)
    text = "name: own\nroot: .\npattern: '^(?P<pid>\\d+)_c(?P<cam>\\d+)'\nsplits: {train: {dir: train}}\n"
    check(write_card(tmp_path, text), tmp_path, tmp_path, tmp_path / "sheet.png", progress=False)
    with Image.open(tmp_path / "sheet.png") as image:
        assert image.width == 320  # three columns and the least width, where eight would need 672


def test_contact_sheet_of_a_folder_without_cameras(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One narrow column a panel: titles end before the next begins, and no camera is named where none is known."""
    place = folder_tree(tmp_path / "shop", names=("ann", "bob"))
    for path in sorted(place.rglob("[!.]*.jpg")):
        path.rename(path.with_name(f"{abs(hash(path)) % 10**9}.jpg"))
    dataset = read_dataset(load_card(str(place)).under("any-camera"), tmp_path, tmp_path)
    drawn: list[tuple[float, float, str, float]] = []
    plain = ImageDraw.ImageDraw.text

    def text(draw, place, words, **options):  # type: ignore[no-untyped-def]
        drawn.append((*place, words, options["font"].getlength(words)))
        plain(draw, place, words, **options)

    monkeypatch.setattr(ImageDraw.ImageDraw, "text", text)
    contact_sheet(dataset, tmp_path / "a.png", cell=(32, 16))
    words = [each[2] for each in drawn]
    assert "camera not known" in words and not any("camera 0" in each for each in words)
    with Image.open(tmp_path / "a.png") as image:
        width = image.width
    for height in {y for _, y, _, _ in drawn}:
        line = sorted(each for each in drawn if each[1] == height)
        for (x, _, _, wide), following in zip(line, [*(each[0] for each in line[1:]), width], strict=True):
            assert x + wide < following
    assert "   not known" in check_dataset(dataset.card, tmp_path, tmp_path, progress=False).text()


def test_contact_sheet_of_unreadable_images_and_places(tree: Path) -> None:
    (tree / "query" / "0003_c1s1_000000_01.jpg").write_text("no image")
    dataset = read_dataset(load_card(str(tree / "own.yaml")), tree, tree)
    contact_sheet(dataset, tree / "a.png", identities=1)
    with pytest.raises(InputError, match="cannot be written"):
        contact_sheet(dataset, tree / "own.yaml" / "a.png")
