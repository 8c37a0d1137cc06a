"""List files with one, two and three columns, against what a plain split of the line says."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trees import write_image

from reid.data.card import load_card
from reid.data.layouts import LISTED
from reid.data.reading import read_dataset
from reid.data.samples import DataSet
from reid.errors import InputError


def read(root: Path, lines: str, pattern: str | None) -> DataSet:
    for name in ("a 1_c7.jpg", "b_c8.PNG"):
        write_image(root / name, 1, 1, size=(16, 8))
    (root / "list.txt").write_text(lines)
    told = f"pattern: '{pattern}'\n" if pattern else ""
    (root / "own.yaml").write_text(f"name: own\nroot: .\n{told}splits: {{train: {{list: list.txt, pid_offset: 1}}}}\n")
    return read_dataset(load_card(str(root / "own.yaml")), root, root)


@pytest.mark.parametrize(
    ("lines", "pattern", "pids", "cams"),
    [
        ("a 1_c7.jpg 0 5\nb_c8.PNG 2  6 \n", None, [1, 3], [5, 6]),
        ("a 1_c7.jpg 0\nb_c8.PNG\t2\n", r"_c(?P<cam>\d)", [1, 3], [7, 8]),
        ("a 1_c7.jpg 0 5\nb_c8.PNG 2\n", r"_c(?P<cam>\d)", [1, 3], [5, 8]),  # the line goes before the name
        ("a 1_c7.jpg 0.0 5.0\r\nb_c8.PNG +2 6e0\r", None, [1, 3], [5, 6]),
        ("a 1_c7.jpg\nb_c8.PNG\n", r"_(?P<pid>c)(?P<cam>\d)", [2, 2], [7, 8]),
    ],
)
def test_columns(tmp_path: Path, lines: str, pattern: str | None, pids: list[int], cams: list[int]) -> None:
    train = read(tmp_path, lines, pattern).splits["train"]
    assert train.names == ("a 1_c7.jpg", "b_c8.PNG")
    assert (train.pids.tolist(), train.camids.tolist()) == (pids, cams)


@pytest.mark.parametrize(
    ("lines", "pattern", "message"),
    [
        ("a 1_c7.jpg 0\n", None, r"list\.txt and pattern None tell identity and camera of none of the 1 image files"),
        ("a 1_c7.jpg\n", r"_c(?P<cam>\d)", "tell identity and camera of none"),
        ("a 1_c7.jpg 0 5\nb_c8.PNG 1 2 3\n", None, r"list\.txt, line 2: 'b_c8\.PNG 1 2 3' is not 'path \[identity"),
        ("b_c8.PNG one two\n", None, "line 1: .* the others whole numbers"),
        ("notes.txt 1 2\n", None, r"line 1: 'notes\.txt 1 2' is not .*\.jpg, \.jpeg"),
        ("7\n", None, "line 1: '7' is not"),
        ("a 1_c7.jpg 1 2\nb_c8.PNG 1.5 2\n", None, r"list\.txt, line 2: identity '1\.5' is no whole number"),
        ("a 1_c7.jpg 1 2\nb_c8.PNG 1 2.5\n", None, r"list\.txt, line 2: camera '2\.5' is no whole number"),
        ("../b_c8.PNG 1 2\n", None, "leaves the data set's root"),
        ("b_c8.PNG 1 2\nb_c8.PNG 1 3\n", None, "listed twice"),
    ],
)
def test_mistakes(tmp_path: Path, lines: str, pattern: str | None, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read(tmp_path, lines, pattern)


def test_lines_that_tell_less_than_others_are_named(tmp_path: Path) -> None:
    dataset = read(tmp_path, "a 1_c7.jpg 0 5\nb_c8.PNG 2\n", None)
    assert dataset.unmatched == {"train": ("b_c8.PNG",)} and len(dataset.splits["train"]) == 1


@pytest.mark.parametrize("odd", ["\u2028", "\x0b", "\x0c", "\x85", "\x1c"], ids=ascii)
def test_names_are_not_cut_where_lines_do_not_end(tmp_path: Path, odd: str) -> None:
    write_image(tmp_path / f"x{odd}y.jpg", 1, 1, size=(16, 8))
    assert read(tmp_path, f"x{odd}y.jpg 4 5\n", None).splits["train"].names == (f"x{odd}y.jpg",)


@given(
    st.text("ab 1/._-", min_size=1, max_size=12).filter(lambda text: text.strip() == text),
    st.sampled_from([".jpg", ".JPEG", ".png", ".bmp", ".jpe", ".tif", ".TIFF"]),
    st.lists(st.integers(-1, 99999), max_size=2),
)
def test_a_line_comes_apart_as_it_was_put_together(stem: str, suffix: str, columns: list[int]) -> None:
    match = LISTED.fullmatch(" ".join([stem + suffix, *map(str, columns)]))
    assert match is not None
    told = [None if value is None else int(value) for value in match.group("pid", "cam")]
    assert match["path"] == stem + suffix and told == [*columns, None, None][:2]
