import io

import numpy as np
import pytest
from PIL import Image

from reid.drawing import QUERY, RIGHT, WRONG
from reid.gallery.answers.answer import Answer, Hit
from reid.gallery.answers.listing import answer_table, draw_answers, moment
from reid.gallery.calibration.judgement import Judgement
from reid.gallery.entries import Entry


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
