import json

import numpy as np
import pytest
from fakes import ORIGIN
from memory_store import MemoryStore

from reid.errors import InputError
from reid.gallery.entries import Entry
from reid.gallery.retention import DAY, drop_expired, expired, set_retention

# MemoryStore says that everything was added one second after 1970 began.
ENTRIES = [Entry("a", "c", time=5 * DAY), Entry("b", "c", time=1 * DAY, until=9 * DAY), Entry("c", "c")]


@pytest.fixture
def store(tmp_path):
    store = MemoryStore(ORIGIN, tmp_path)
    store.add(ENTRIES, np.eye(4)[:3], [b""] * 3)
    return store


def test_entries_expire_by_when_they_were_last_seen_or_else_put_in(store):
    assert expired(store, now=100 * DAY) == []
    set_retention(store, "2")
    assert expired(store, now=1 * DAY) == []
    assert expired(store, now=2.5 * DAY) == [3]
    assert expired(store, now=7.5 * DAY) == [1, 3]
    assert expired(store, now=11.5 * DAY) == [1, 2, 3]
    set_retention(store, "none")
    assert expired(store, now=100 * DAY) == []


def test_dropping_erases_and_is_recorded_by_id(store, tmp_path):
    set_retention(store, "2")
    assert drop_expired(store, now=7.5 * DAY) == [1, 3]
    assert [entry.id for entry in store.find()] == [2]
    (line,) = (tmp_path / "audit.jsonl").read_text().splitlines()
    assert json.loads(line)["entries"] == [1, 3]
    assert drop_expired(store, now=7.5 * DAY) == []
    assert len((tmp_path / "audit.jsonl").read_text().splitlines()) == 1


@pytest.mark.parametrize("days", ["0", "-1", "inf", "nan", "a month"])
def test_no_time_is_refused(store, days):
    with pytest.raises(InputError, match="retention"):
        set_retention(store, days)
