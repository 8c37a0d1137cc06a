import json
from dataclasses import replace

import numpy as np
import pytest
from fakes import ORIGIN
from memory_store import MemoryStore

from reid.errors import InputError
from reid.gallery.entries import Entry
from reid.gallery.retention import DAY, drop_expired, expired, set_retention

ADDED = 1.0  # MemoryStore says so of every entry


@pytest.fixture
def store(tmp_path):
    store = MemoryStore(ORIGIN, tmp_path)
    store.add([Entry("a", "c", time=5 * DAY), Entry("b", "c")], np.eye(4)[:2], [b"", b""])
    return store


def test_entries_expire_by_when_they_were_put_in(store):
    assert expired(store, now=100 * DAY) == []
    set_retention(store, "2")
    assert expired(store, now=ADDED + 2 * DAY) == []
    assert expired(store, now=ADDED + 2 * DAY + 1) == [1, 2]
    set_retention(store, "none")
    assert expired(store, now=100 * DAY) == []


def test_dropping_erases_and_is_recorded_by_id(store, tmp_path):
    set_retention(store, "2")
    store.entries[2] = replace(store.entries[2], added=2 * DAY)
    assert drop_expired(store, now=3 * DAY) == [1]
    assert [entry.id for entry in store.find()] == [2]
    (line,) = (tmp_path / "audit.jsonl").read_text().splitlines()
    assert json.loads(line)["entries"] == [1]
    assert drop_expired(store, now=3 * DAY) == []
    assert len((tmp_path / "audit.jsonl").read_text().splitlines()) == 1


@pytest.mark.parametrize("days", ["0", "-1", "inf", "nan", "a month"])
def test_no_time_is_refused(store, days):
    with pytest.raises(InputError, match="retention_days .* is no number above 0"):
        set_retention(store, days)
