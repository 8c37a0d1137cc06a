import numpy as np
import pytest
from fakes import new_gallery

from reid.errors import InputError
from reid.gallery import retention
from reid.gallery.entries import Entry
from reid.gallery.retention import DAY, drop_expired, set_retention

ADDED = 1e9


@pytest.fixture
def gallery(tmp_path):
    with new_gallery(tmp_path / "gallery") as gallery:
        entries = [Entry(f"/{n}", "c", time=5e9, added=ADDED + n * DAY) for n in range(5)]
        gallery.add(entries, np.ones((5, 4)), [b"\xff\xd8\xff"] * 5)
        yield gallery


def left(gallery):
    return [entry.id for entry in gallery.find()]


def test_entries_expire_by_when_they_were_put_in_and_it_is_recorded(gallery):
    assert drop_expired(gallery, ADDED + 100 * DAY) == []
    set_retention(gallery, "2")
    assert drop_expired(gallery, ADDED + 2 * DAY) == []
    assert drop_expired(gallery, ADDED + 3 * DAY + 1) == [1, 2] and left(gallery) == [3, 4, 5]
    set_retention(gallery, "none")
    assert drop_expired(gallery, ADDED + 100 * DAY) == [] and left(gallery) == [3, 4, 5]
    assert [(line["who"], line["action"], line["entries"]) for line in gallery.catalogue.log()] == [
        ("retention", "forget", [1, 2])
    ]


def test_others_have_their_turn_between_portions(gallery, monkeypatch):
    monkeypatch.setattr(retention, "PORTION", 2)
    turns, real = [], gallery.remove
    monkeypatch.setattr(gallery, "remove", lambda ids: turns.append(list(ids)) or real(ids))
    set_retention(gallery, "0.5")
    assert drop_expired(gallery, ADDED + 100 * DAY) == [1, 2, 3, 4, 5]
    assert turns == [[1, 2], [3, 4], [5]] and len(gallery.catalogue.log()) == 3


def test_what_another_erases_meanwhile_stops_nothing(gallery, monkeypatch):
    real = gallery.record

    def meanwhile(*given):
        if gallery.present([2]):
            gallery.remove([2])
        return real(*given)

    monkeypatch.setattr(gallery, "record", meanwhile)
    set_retention(gallery, "1")
    assert drop_expired(gallery, ADDED + 100 * DAY) == [1, 3, 4, 5] and left(gallery) == []


def test_an_error_is_no_reason_to_try_for_ever(gallery, monkeypatch):
    def full(_):
        raise InputError("no space")

    monkeypatch.setattr(gallery, "remove", full)
    set_retention(gallery, "1")
    with pytest.raises(InputError, match="no space"):
        drop_expired(gallery, ADDED + 100 * DAY)


@pytest.mark.parametrize("days", ["0", "-1", "inf", "nan", "a month"])
def test_no_time_is_refused(gallery, days):
    with pytest.raises(InputError, match="retention_days .* is no number above 0"):
        set_retention(gallery, days)
