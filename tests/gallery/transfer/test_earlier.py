"""Galleries of the earlier version: a folder that its code wrote, and collections as it wrote them."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import sqlite3
import time
from contextlib import chdir

import numpy as np
import pytest
from conftest import ROOT
from fakes import new_gallery

from reid.errors import InputError
from reid.files import locked
from reid.gallery.entries import Entry
from reid.gallery.store import Gallery
from reid.gallery.transfer import earlier
from reid.gallery.transfer.earlier import convert, opened
from reid.networks import Origin

DATA = ROOT / "tests" / "data" / "earlier_gallery"
ORIGIN = Origin("a run", 8, "n" * 64, "p")


def expected():
    """Entries and features that the earlier code gave."""
    values = json.loads((DATA / "expected.json").read_text())
    features = np.array([value.pop("feature") for value in values], np.float32)
    return [Entry(**{**value, "box": value["box"] and tuple(value["box"])}) for value in values], features


@pytest.fixture
def old(tmp_path):
    shutil.copytree(DATA, tmp_path / "old")
    (tmp_path / "old" / "expected.json").unlink()
    return tmp_path / "old"


@pytest.fixture
def gallery(tmp_path):
    with new_gallery(tmp_path / "new", ORIGIN) as gallery:
        yield gallery


def converted(old, gallery):
    with opened(str(old)) as source:
        return convert(source, gallery)


def check(gallery):
    entries, features = expected()
    assert gallery.find() == entries
    ids = [entry.id for entry in entries]
    np.testing.assert_allclose(gallery.features(ids), features, atol=1e-6)
    images = gallery.thumbnails(ids)
    assert images[0] == b"" and all(image.startswith(b"\xff\xd8\xff") for image in images[1:])


def test_a_folder_keeps_ids_times_of_adding_settings_and_its_audit_log(old, gallery):
    before = {path.name: path.read_bytes() for path in old.iterdir()}
    added = converted(old, gallery)
    check(gallery)
    assert added.ids == [1, 2, 3, 4, 7]  # 5 was erased, and the erasure of 6 cut off
    assert (gallery.setting("retention_days"), gallery.setting("index")) == ("365", "flat")
    assert gallery.setting("calibration") is None and "another version of reid: calibrate again" in added.notes[0]
    assert gallery.setting(earlier.CONVERTING) is None
    lines = gallery.catalogue.log()
    stored = [json.loads(line) for line in before["audit.jsonl"].splitlines()[:3]]
    assert [(line["who"], line["action"], line["entries"]) for line in lines] == [
        ("local", "search", [1, 2, 5]), ("retention", "forget", [5]), ("local", "compare", []),
    ]  # fmt: skip
    assert json.dumps(lines[0]["k"]) == "24" and stored[0]["time"] == shown(lines[0]["time"])
    assert "audit.jsonl: 1 lines are no records" in added.notes[1]
    assert gallery.add([Entry("/x", "hall")], np.ones((1, 8)), [b""]) == [8]
    assert {path.name: path.read_bytes() for path in old.iterdir() if path.name in before} == before


def shown(moment):
    from datetime import UTC, datetime

    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds")


def test_one_that_was_cut_off_goes_on_and_what_was_erased_meanwhile_stays_erased(old, gallery, monkeypatch):
    monkeypatch.setattr(earlier, "PAGE", 2)
    real, calls = gallery.add, []

    def cut_off(*values, **more):
        calls.append(1)
        if len(calls) == 2:
            real(*values, **more)
            raise KeyboardInterrupt
        return real(*values, **more)

    monkeypatch.setattr(gallery, "add", cut_off)
    with pytest.raises(KeyboardInterrupt):
        converted(old, gallery)
    assert [entry.id for entry in gallery.find()] == [1, 2, 3, 4]
    gallery.remove([4])
    other = old.parent / "another"
    shutil.copytree(old, other)
    with pytest.raises(InputError, match=f"new: is being converted from {old}"):
        converted(other, gallery)
    added = converted(old, gallery)
    assert (added.ids, added.known, len(added.erased)) == ([7], 3, 1)
    assert [entry.id for entry in gallery.find()] == [1, 2, 3, 7] and len(gallery.catalogue.log()) == 3
    with pytest.raises(InputError, match="new: holds entries already: .*old needs a new gallery"):
        converted(old, gallery)


@pytest.mark.parametrize("page", [2048, 2])
def test_a_batch_that_failed_can_be_put_in_with_its_ids_again(old, gallery, monkeypatch, page):
    monkeypatch.setattr(earlier, "PAGE", page)
    finish = gallery.catalogue.finish_adding

    def full(adding, *values):
        if adding.entries[-1].id > 2:
            raise InputError("no space")
        finish(adding, *values)

    with monkeypatch.context() as patch:
        patch.setattr(gallery.catalogue, "finish_adding", full)
        with pytest.raises(InputError, match="no space"):
            converted(old, gallery)
    assert len(gallery) == (2 if page == 2 else 0)
    converted(old, gallery)
    check(gallery)
    feature = gallery.features([3])
    assert gallery.search(feature, 1).ids.tolist() == [[3]]
    gallery.remove([3])
    files = [path.read_bytes() for path in (gallery.folder / "vectors").rglob("*") if path.is_file()]
    assert files and not [1 for content in files if feature.tobytes() in content]


def test_ids_are_kept_only_above_all_others(gallery):
    def add(*ids):
        given = [Entry(f"/{id}", "hall", id=id) for id in ids]
        return gallery.add(given, np.ones((len(ids), 8)), [b""] * len(ids), keep_ids=True)

    assert add(5, 2**40) == [5, 2**40]
    for ids in ((6, 7), (2**40,), (2**41, 2**41), (2**41 + 1, 2**41)):
        with pytest.raises(InputError, match="cannot keep its id"):
            add(*ids)
    assert gallery.add([Entry("/x", "hall")], np.ones((1, 8)), [b""]) == [2**40 + 1]


def test_without_its_write_ahead_log_merged(old, gallery):
    """As a kill leaves it: what was committed last lies beside the file."""
    with sqlite3.connect(old / "entries.db", isolation_level=None) as db:
        db.execute("UPDATE entries SET camera = 'stairs' WHERE id = 7")
        for path in list(old.iterdir()):
            shutil.copy(path, old.parent / path.name)
    db.close()
    killed = old.parent / "killed"
    killed.mkdir()
    for name in ("entries.db", "entries.db-wal", "vectors-1.f32"):
        shutil.move(old.parent / name, killed / name)
    converted(killed, gallery)
    assert gallery.get([7])[0].camera == "stairs" and gallery.catalogue.log() == []


def test_a_time_of_adding_that_has_not_come_is_now(old, gallery):
    with sqlite3.connect(old / "entries.db") as db:
        db.execute("UPDATE entries SET added = 2e11 WHERE id = 7")
    db.close()
    converted(old, gallery)
    assert gallery.get([7])[0].added <= time.time()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda old: (old / "entries.db").unlink(), "is no gallery of an earlier version: it has no entries.db"),
        (lambda old: (old / "entries.db").write_bytes(b"nothing of the kind" * 100), "entries.db: file is not a data"),
        (lambda old: run(old, "PRAGMA user_version = 3"), "is not the database of a gallery of an earlier version"),
        (lambda old: run(old, "DROP TABLE origin"), "entries.db: no such table: origin"),
        (lambda old: run(old, "UPDATE entries SET slot = 99 WHERE id = 3"), "have no features: damaged"),
        (lambda old: (old / "vectors-1.f32").unlink(), "vectors-1.f32: is missing, or shorter than the 192 bytes"),
        (lambda old: os.truncate(old / "vectors-1.f32", 100), "vectors-1.f32: is missing, or shorter"),
    ],
)
def test_what_is_none_or_damaged_is_refused(old, gallery, spoil, message):
    spoil(old)
    with pytest.raises(InputError, match=message):
        converted(old, gallery)
    assert len(gallery) == 0


def run(old, statement):
    with sqlite3.connect(old / "entries.db") as db:
        db.execute(statement)
    db.close()


def test_other_things_are_refused(old, tmp_path):
    with locked(old), pytest.raises(InputError, match="old: another process is writing to it"), opened(str(old)):
        pass
    with (
        pytest.raises(InputError, match="x.parquet: is a file that export wrote: search.py import"),
        opened("x.parquet"),
    ):
        pass
    with (
        Gallery.create(tmp_path / "another", Origin("other", 8, "m" * 64, "p")) as another,
        pytest.raises(InputError, match="old: holds features of 'a run'"),
    ):
        converted(old, another)


@pytest.mark.parametrize(
    "line",
    [
        '{"time": "2026-03-01T00:00:00", "who": "a", "action": "b", "entries": [1], "k": NaN}',
        '{"time": "2026-03-01T00:00:00", "who": "a", "action": "b", "entries": [1], "k": "x"}',
        '{"time": "yesterday", "who": "a", "action": "b", "entries": []}',
        '{"time": "2026-03-01T00:00:00", "who": "a", "entries": []}',
        "[1]",
        "[" * 100_000,
        "\udcff",
    ],
)
def test_lines_that_are_no_records_are_counted(old, gallery, line):
    (old / "audit.jsonl").write_text(f"\n{line}\n", errors="surrogateescape")
    assert "audit.jsonl: 1 lines are no records" in converted(old, gallery).notes[1] and gallery.catalogue.log() == []


def test_the_folder_itself_says_what_to_do(old):
    with pytest.raises(InputError, match="is a gallery of an earlier version; search.py convert .*old --store NEW"):
        Gallery.open(old)


# --- collections ------------------------------------------------------------------------------------------------------


@pytest.fixture
def lite(tmp_path, monkeypatch):
    """The same entries in a file of Milvus Lite, with one more whose erasure was cut off; in a folder of its own, where
    the audit log is."""
    for name in ("pymilvus", "milvus_lite"):
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"the package {name} is not installed")
    from earlier_collections import write

    entries, features = expected()
    images = [b"", *(b"\xff\xd8\xff%d" % entry.id for entry in entries[1:])]
    condemned = Entry("/gone", "hall", "Condemned", id=9, added=1e9)
    values = {"retention_days": "30", "calibration": "{}"}
    write(
        str(tmp_path / "old.db"), "gallery", ORIGIN, [*entries, condemned],
        np.concatenate([features, np.eye(8, dtype=np.float32)[:1]]), [*images, b"\xff\xd8\xff"], values, [(8, 9)],
    )  # fmt: skip
    log = tmp_path / "runs" / "galleries" / "old" / "audit.jsonl"
    log.parent.mkdir(parents=True)
    shutil.copy(DATA / "audit.jsonl", log)
    with chdir(tmp_path):
        yield tmp_path / "old.db"


def test_collections_keep_the_same(lite, gallery, monkeypatch):
    monkeypatch.setattr(earlier, "PAGE", 2)
    monkeypatch.setattr("reid.gallery.vectors.collection.WIDE", 3)
    added = converted(lite, gallery)
    check(gallery)
    assert gallery.setting("retention_days") == "30" and len(added.notes) == 2 and len(gallery.catalogue.log()) == 3


def test_what_is_no_collection_of_an_earlier_gallery(tmp_path):
    with pytest.raises(InputError, match="none.db: expected milvus://"), opened(str(tmp_path / "none.db")):
        pass
    with pytest.raises(InputError, match="expected milvus://HOST:PORT/COLLECTION"), opened("milvus://there"):
        pass
