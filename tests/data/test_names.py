"""What names and cells say: whole numbers in any notation, cameras as words of their own, splits that are no people."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reid.data.names import (
    camera_in,
    label,
    numbers,
    refuse_splits_as_people,
    refuse_twins,
    refuse_unwritable,
    some,
    whole,
)
from reid.errors import InputError


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("1", 1),
        ("0001", 1),
        ("+1", 1),
        (" 1 ", 1),
        ("1.", 1),
        ("1.0", 1),
        ("1.000000", 1),
        ("-1.0", -1),
        ("0.0", 0),
        ("-0.0", 0),
        ("1e0", 1),
        ("1.200000000000000000e+01", 12),  # numpy.savetxt
        ("12E1", 120),
        ("１２", 12),  # noqa: RUF001  # full width
        ("١٢", 12),  # Arabic
        ("−1", -1),  # noqa: RUF001  # a minus sign that is no hyphen
        ("999999999999999", 10**15 - 1),
        ("1000000000000000", None),
        ("1e15", None),
        ("1e999", None),
        ("1.5", None),
        ("1e-1", None),
        ("1,0", None),
        ("1_0", None),
        ("0x1", None),
        ("", None),
        ("nan", None),
        ("inf", None),
        ("one", None),
        ("--1", None),
        ("1 2", None),
    ],
)
def test_whole_numbers_in_any_notation(text: str, number: int | None) -> None:
    assert whole(text) == number


@given(st.integers(-(10**15) + 1, 10**15 - 1))
def test_a_number_comes_back_from_every_notation(number: int) -> None:
    for text in (str(number), f"{number:+d}", f"{number:06d}", f"{number}.0", repr(float(number)), f"{number:.15e}"):
        assert whole(text) == number


@pytest.mark.parametrize("text", ["1.5", "-0.25", "+3.1400", " 2.5 ", ".5", "1,5", "1e-1", "1.5e0", "1.0e+15"])
def test_a_fraction_is_no_identity(text: str) -> None:
    with pytest.raises(InputError, match=r"^a\.csv, line 3: pid .* is no whole number"):
        label(text, "a.csv, line 3", "pid")
    for name in ("ann 1.5", "1.2.3", "12e5", "1e99", "2026-03-02", "1.0", "1.2e+01"):
        assert label(name, "", "") == name


def test_one_number_in_two_notations_is_one() -> None:
    assert numbers({"1", "1.0", "-1.0", "0.0"}, "identities", "x") == {"1": 1, "1.0": 1, "-1.0": -1, "0.0": 0}
    assert numbers({"ann", "bob", "12e5", "a3f0"}, "identities", "x") == {"12e5": 1, "a3f0": 2, "ann": 3, "bob": 4}
    for number in ("1.0", "-1", "1.0e+00", " 1"):
        with pytest.raises(InputError, match=r"x: cameras are whole numbers \(.*1.*, \.\.\.\) but for 'hall'"):
            numbers({number, "hall", "12e5"}, "cameras", "x")


def test_words_that_only_look_different_are_refused() -> None:
    composed, apart = "ren\N{LATIN SMALL LETTER E WITH ACUTE}", "rene\N{COMBINING ACUTE ACCENT}"
    for pair in ((composed, apart), ("ann", "ann ")):
        with pytest.raises(InputError, match=r"^x: identities .* would be one and the same") as caught:
            numbers(pair, "identities", "x")
        assert str(caught.value).isascii()
    assert len(numbers(("ann", "Ann"), "identities", "x")) == 2  # case may tell people apart
    with pytest.raises(InputError, match=r"folders '01' and '1' would be one .* \(and 1 more such groups\)"):
        refuse_twins({"1": 1, "01": 1, "2": 2, "02": 2, "3": 3}, "folders", "x")


@pytest.mark.parametrize(
    ("name", "camera"),
    [
        ("c1_007.jpg", "1"),
        ("cam1.png", "1"),
        ("shot7_cam1.png", "1"),
        ("Camera12-3.png", "12"),
        ("0001_c1s1_000151_01.jpg", "1"),
        ("x.C02.png", "2"),
        ("a c3 b.png", "3"),
        ("c001.jpg", "1"),
        ("c1_cam01.png", "1"),  # twice the same
        ("00c1ab34ef56_cam1.png", "1"),
        ("c1ab34ef5678_cam2.png", "2"),
        ("ab34c5_cam2.png", "2"),
        ("c12345678901_cam2.png", "2"),  # hexadecimal digits, none a letter but the first
        ("3f2a91bc-c123-4c56-9c17-c12345678901_cam2.png", "2"),  # a UUID
        ("3F2A91BC-C123-4C56-9C17-C12345678901.png", None),
        ("00c1ab34ef56.png", None),
        ("7cam1.png", None),
        ("cam1a.png", None),
        ("webcam1.png", None),
        ("\N{LATIN SMALL LETTER E WITH ACUTE}c1.png", None),
        ("cam.png", None),
        ("c.png", None),
        ("scene1_1.png", None),
        ("c\N{ARABIC-INDIC DIGIT ONE}.png", None),
    ],
)
def test_a_camera_is_a_word_of_its_own(name: str, camera: str | None) -> None:
    assert camera_in(name) == camera


@given(st.text("0123456789abcdef", min_size=12, max_size=12), st.integers(1, 40))
def test_no_hash_is_a_camera(digits: str, camera: int) -> None:
    assert camera_in(f"{digits}_cam{camera}.png") == str(camera)


@pytest.mark.parametrize("name", ["c1_cam2.png", "cam1_x_cam3.png", "c1s2_c3s1.jpg"])
def test_two_cameras_in_one_name_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="names the cameras c"):
        camera_in(name)


@pytest.mark.parametrize(
    "names",
    [
        ["train_crops", "test_crops"],
        ["Train", "ann"],
        ["training", "testing"],
        ["bounding_box_test"],
        ["queryImages"],
        ["GALLERY"],
        ["probe2"],
        ["images"],
        ["val", "dev"],
        ["cam1", "cam2"],
        ["cam_a", "cam_b"],
        ["traincrops", "ann"],
        ["TESTSET", "ann"],
        ["valimages1", "valimages2"],
        ["fold0", "fold1"],
        ["source_crops", "target_crops"],
    ],
)
def test_folders_named_as_splits_are_no_people(names: list[str]) -> None:
    with pytest.raises(InputError, match=r"shop: .*" + names[0] + ".*one folder a person"):
        refuse_splits_as_people(Path("shop"), sorted(names))


@pytest.mark.parametrize(
    "names",
    [
        ["0001", "0002"],
        ["Val", "Ann"],
        ["Testa", "Trainor"],
        ["devall", "protest"],
        ["Day", "Ann"],
        ["a", "b"],
        ["dev", "p1"],
        ["c1", "c2"],
        [],
    ],
)
def test_people_are_people(names: list[str]) -> None:
    refuse_splits_as_people(Path("shop"), names)


def test_a_name_is_shown_on_one_line_and_kept_only_as_utf8() -> None:
    assert some(["a", "b\nc", "d\udcff"]) == r"a, 'b\nc', 'd\udcff'"
    assert some(["a"] * 5, 2) == "a, a and 3 more"
    refuse_unwritable("caf\N{LATIN SMALL LETTER E WITH ACUTE}\n.png")
    with pytest.raises(InputError, match=re.escape(r"'a\udcff.png': a name that is not UTF-8")) as caught:
        refuse_unwritable("a\udcff.png")
    assert str(caught.value).isascii()
