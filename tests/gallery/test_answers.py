"""Answers: where and when somebody was seen; as a table, a picture, a ZIP file."""

import csv
import io
import zipfile

import numpy as np
import pytest
from fakes import ORIGIN
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from reid.drawing import QUERY, RIGHT, WRONG
from reid.gallery.answers import APART, FORMULA, Answer, Hit, _cell, answer_table, draw_answers, moment, zipped
from reid.gallery.calibration.judgement import Judgement
from reid.gallery.entries import Entry, NotThere
from reid.gallery.store import Gallery


def answer_of(entries):
    return Answer(tuple(Hit(rank, entry, 0.1) for rank, entry in enumerate(entries, 1)), None, True, ())


def shown(answer):
    return [(each.camera, each.time, each.until, [hit.rank for hit in each.hits]) for each in answer.sightings()]


def test_a_camera_s_images_without_a_pause_are_a_sighting():
    times = [("a", 100, 130), ("b", 95, None), ("a", 250, None), ("a", 190, None), ("a", 191, None), ("a", 40, 45)]
    answer = answer_of([Entry("x", camera, None, time, until) for camera, time, until in times])
    assert APART == 60 and shown(answer) == [("a", 40, 250, [1, 3, 4, 5, 6]), ("b", 95, 95, [2])]
    apart = answer_of([Entry("x", "a", None, time) for time in (161.0, 100.0, 221.0)])
    assert shown(apart) == [("a", 161, 221, [1, 3]), ("a", 100, 100, [2])]


def test_a_long_fragment_holds_later_ones_together():
    times = [(0.0, 500.0), (10.0, 20.0), (550.0, None), (700.0, None)]
    assert shown(answer_of([Entry("x", "a", None, *each) for each in times])) == [
        ("a", 0, 550, [1, 2, 3]), ("a", 700, 700, [4]),
    ]  # fmt: skip


def test_images_of_unknown_time_are_one_sighting_a_camera_and_a_person_with_a_name():
    entries = [("a", None), ("a", "P1"), ("b", "P1"), ("a", "P1"), ("a", None)]
    answer = answer_of([Entry("x", camera, person) for camera, person in entries])
    assert shown(answer) == [
        ("a", None, None, [1]), ("a", None, None, [2, 4]), ("b", None, None, [3]), ("a", None, None, [5]),
    ]  # fmt: skip
    assert answer_of([]).sightings() == ()


MOMENTS = st.none() | st.integers(0, 600)


@settings(max_examples=200)
@given(
    st.lists(st.tuples(st.sampled_from("ab"), MOMENTS, st.integers(0, 90), st.sampled_from([None, "P"])), max_size=9)
)
def test_sightings_are_what_a_slow_search_for_neighbours_finds(images):
    """Two images belong together where a chain of others leads from one to the other, each within a minute."""
    answer = answer_of(
        [
            Entry("x", camera, person, time, None if time is None or not length else time + length)
            for camera, time, length, person in images
        ]
    )

    def near(one, other):
        if one.camera != other.camera or (one.time is None) != (other.time is None):
            return False
        if one.time is None:
            return one.identity == other.identity is not None
        ends = [each.time if each.until is None else each.until for each in (one, other)]
        return one.time - ends[1] <= APART and other.time - ends[0] <= APART

    groups = [{hit.rank} for hit in answer.hits]
    entries = {hit.rank: hit.entry for hit in answer.hits}
    while True:
        pairs = [
            (a, b)
            for a in groups
            for b in groups
            if a is not b and any(near(entries[x], entries[y]) for x in a for y in b)
        ]
        if not pairs:
            break
        a, b = pairs[0]
        groups = [group for group in groups if group is not a and group is not b] + [a | b]
    assert [[hit.rank for hit in each.hits] for each in answer.sightings()] == sorted(sorted(group) for group in groups)
    for each in answer.sightings():
        times = [hit.entry.time for hit in each.hits]
        ends = [hit.entry.time if hit.entry.until is None else hit.entry.until for hit in each.hits]
        assert (each.time, each.until) == ((None, None) if None in times else (min(times), max(ends)))


def jpeg(colour):
    content = io.BytesIO()
    Image.new("RGB", (32, 64), colour).save(content, "JPEG")
    return content.getvalue()


def hit(rank, word=None, person="P1", time=None, strangers=0.024, probability=0.9):
    entry = Entry("/x/a.png", "door", person, time, id=rank)
    judged = None if word is None else Judgement(word, strangers, probability, 0.5, "a sentence")
    return Hit(rank, entry, 0.1 * rank, judged)


def cells(text):
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()[2:]]


def test_the_table_has_a_line_an_entry_and_says_nobody():
    some = (hit(1, "near", time=60.0), hit(2, "cannot tell", person=None, strangers=702.4, probability=None))
    answers = [
        Answer(some, "near", True, ()), Answer((hit(1, "far", strangers=34_567, probability=0.9999),), "far", True, ()),
        Answer((hit(1, "far", probability=0.004),), "far", False, ()), Answer((), None, True, ()),
    ]  # fmt: skip
    lines = cells(answer_table(["/q/one.jpg", "two.jpg", "three.jpg", "four.jpg"], answers))
    first = ["one.jpg", "1", "1", "a.png", "P1", "door", "1970-01-01 00:01:00", "0.1000", "near", "90 %", "0.024"]
    assert lines[0] == first and lines[1][4:] == ["?", "door", "", "0.2000", "cannot tell", "", "700"]
    assert lines[2][-3:] == ["far", "over 99 %", "35,000"] and lines[3] == ["two.jpg", *[""] * 7, "nobody", "", ""]
    assert lines[4][-3:] == ["far", "0.4 %", "0.024"]  # not all were compared: nobody is not said
    assert lines[5] == ["four.jpg", *[""] * 7, "no entry", "", ""] and len(lines) == 6


def test_without_a_calibration_nothing_is_said():
    assert cells(answer_table(["a.jpg"], [Answer((hit(1),), None, True, ())])) == [
        ["a.jpg", "1", "1", "a.png", "P1", "door", "", "0.1000", "", "", ""]
    ]


def test_of_many_queries_the_nearest_entries_are_shown():
    answers = [Answer((hit(1), hit(2)), None, True, ())] * 11
    assert len(cells(answer_table([f"{n}.jpg" for n in range(11)], answers))) == 11


def test_the_picture_frames_what_is_near_and_what_is_far(tmp_path):
    for words, colours in ((("near", "far"), (RIGHT, WRONG)), (("cannot tell", None), ())):
        answers = [Answer(tuple(hit(rank, word) for rank, word in enumerate(words, 1)), "near", True, ())]
        draw_answers([jpeg("blue")], answers, lambda id: jpeg("white") if id == 1 else b"", tmp_path / "answer.png")
        pixels = np.asarray(Image.open(tmp_path / "answer.png").convert("RGB")).reshape(-1, 3).tolist()
        for colour in (RIGHT, WRONG, QUERY):
            drawn = [int(colour[n : n + 2], 16) for n in (1, 3, 5)] in pixels
            assert drawn == (colour in colours or colour == QUERY)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, ""), (1772442000.75, "2026-03-02 09:00:00"), (0.0, "1970-01-01 00:00:00"), (1e300, "1e+300 s")],
)
def test_times_are_for_people_in_utc(seconds, text):
    assert moment(seconds) == text


ENTRIES = [
    Entry("/secret/a.png", "hall", "=HYPERLINK(1)", 1772442000.0, 1772442060.0),
    Entry("/secret/b.png", "-1+2", 'Ann "A", B'),
    Entry("/secret/c.png", "日本", "Böb\nC"),
]
IMAGES = [b"\xff\xd8\xffa", b"", b"\xff\xd8\xffc"]


@pytest.fixture
def gallery(tmp_path):
    with Gallery.create(tmp_path / "secret" / "people", ORIGIN) as gallery:
        gallery.add(ENTRIES, np.eye(4)[:3], IMAGES)
        yield gallery


def answer(gallery, ids=(3, 1, 2)):
    entries = gallery.get(ids)
    judged = [Judgement("near", 0.5, 0.75, 0.9, "half a stranger"), Judgement("far", 7.0, None, 0.1, ""), None]
    hits = [
        Hit(rank, entry, rank / 8, said) for rank, (entry, said) in enumerate(zip(entries, judged, strict=False), 1)
    ]
    return Answer(tuple(hits), "near", True, ("About 7 of 702 strangers come this near.",), 41)


def test_a_table_the_pictures_by_rank_and_what_is_said(gallery):
    with zipfile.ZipFile(io.BytesIO(zipped(answer(gallery), gallery))) as file:
        content = {name: file.read(name) for name in file.namelist()}
    assert list(content) == ["answer.csv", "about.txt", "001-entry-3.jpg", "002-entry-1.jpg"]
    assert (content["001-entry-3.jpg"], content["002-entry-1.jpg"]) == (IMAGES[2], IMAGES[0])
    text = content["answer.csv"].decode("utf-8-sig")
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert [row["rank"] for row in rows] == ["1", "2", "3"] and [row["entry"] for row in rows] == ["3", "1", "2"]
    assert [row["person"] for row in rows] == ["Böb\nC", "'=HYPERLINK(1)", 'Ann "A", B']
    assert [row["camera"] for row in rows] == ["日本", "hall", "'-1+2"]
    assert rows[1]["time"] == "2026-03-02T09:00:00+00:00" and rows[1]["until"] == "2026-03-02T09:01:00+00:00"
    assert [row["image"] for row in rows] == ["001-entry-3.jpg", "002-entry-1.jpg", ""]
    assert [row["distance"] for row in rows] == ["0.125", "0.25", "0.375"]
    assert [row["word"] for row in rows] == ["near", "far", ""] and [row["audit"] for row in rows] == ["41"] * 3
    assert [row["probability"] for row in rows] == ["0.75", "", ""]
    about = content["about.txt"].decode()
    assert "line 41 of its audit log" in about and "About 7 of 702 strangers" in about
    assert not any(b"secret" in each for each in content.values())  # no folder of the server


def test_an_answer_of_nothing_is_a_table_without_rows(gallery):
    with zipfile.ZipFile(io.BytesIO(zipped(Answer((), None, True, ()), gallery))) as file:
        assert file.namelist() == ["answer.csv", "about.txt"] and file.read("answer.csv").count(b"\n") == 1


def test_what_was_erased_since_is_not_given_out(gallery):
    given = answer(gallery)
    gallery.remove([1])
    with pytest.raises(NotThere, match="no entry 1"):
        zipped(given, gallery)


@given(st.text() | st.floats() | st.none())
def test_no_text_is_a_formula_and_numbers_stay_numbers(value):
    cell = _cell(value)
    if isinstance(value, str):
        assert not cell.startswith(FORMULA) and cell in (value, f"'{value}")
    else:
        assert cell is value
