import io

import numpy as np
import pytest
from PIL import Image
from reid.gallery.query import Answer, Hit

from reid.drawing import RIGHT, WRONG
from reid.gallery.answers.listing import answer_table, draw_answers, moment
from reid.gallery.entries import Entry


def jpeg(colour):
    content = io.BytesIO()
    Image.new("RGB", (32, 64), colour).save(content, "JPEG")
    return content.getvalue()


def hit(rank, same, person="P1", time=None):
    entry = Entry("/x/a.png", "door", person, time, id=rank)
    return Hit(rank, entry, 0.1 * rank, None if same is None else 0.9, same)


def test_the_table_has_a_line_an_entry_and_says_nobody():
    found = Answer([hit(1, True, time=60.0), hit(2, False, person=None)], False)
    text = answer_table(
        ["/q/one.jpg", "two.jpg", "three.jpg"], [found, Answer([hit(1, False)], True), Answer([], None)]
    )
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()]
    assert lines[2] == ["one.jpg", "1", "1", "a.png", "P1", "door", "1970-01-01 00:01:00", "0.1000", "0.900", "yes"]
    assert lines[3][4:] == ["?", "door", "", "0.2000", "0.900", "no"]
    assert lines[5] == ["two.jpg", *[""] * 8, "nobody"]
    assert lines[6] == ["three.jpg", *[""] * 8, "no entry"]


def test_of_many_queries_the_nearest_entries_are_shown():
    answers = [Answer([hit(1, None), hit(2, None)], None)] * 11
    assert len(answer_table([f"{n}.jpg" for n in range(11)], answers).splitlines()) == 2 + 11


def test_the_picture_frames_what_lies_within_the_threshold(tmp_path):
    answers = [Answer([hit(1, True), hit(2, False)], False)]
    draw_answers([jpeg("blue")], answers, lambda id: jpeg("white") if id == 1 else b"", tmp_path / "answer.png")
    pixels = np.asarray(Image.open(tmp_path / "answer.png").convert("RGB")).reshape(-1, 3).tolist()
    for colour in (RIGHT, WRONG):
        assert [int(colour[n : n + 2], 16) for n in (1, 3, 5)] in pixels


@pytest.mark.parametrize(("seconds", "text"), [(None, ""), (0.0, "1970-01-01 00:00:00")])
def test_times_are_shown_in_utc(seconds, text):
    assert moment(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, ""), (1772442000.75, "2026-03-02 09:00:00"), (0.0, "1970-01-01 00:00:00"), (1e300, "1e+300 s")],
)
def test_times_are_for_people_in_utc(seconds, text):
    assert moment(seconds) == text
