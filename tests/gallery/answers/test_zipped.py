import csv
import io
import zipfile

import numpy as np
import pytest
from fakes import ORIGIN
from hypothesis import given
from hypothesis import strategies as st

from reid.gallery.answers.answer import Answer, Hit
from reid.gallery.answers.zipped import FORMULA, _cell, zipped
from reid.gallery.calibration.judgement import Judgement
from reid.gallery.entries import Entry, NotThere
from reid.gallery.store import Gallery

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
    assert sorted(content) == ["001-entry-3.jpg", "002-entry-1.jpg", "about.txt", "answer.csv"]
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
