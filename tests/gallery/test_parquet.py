from __future__ import annotations

import json
import stat
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from memory_store import MemoryStore

from reid.errors import InputError
from reid.gallery import parquet
from reid.gallery.entries import Entry, Origin
from reid.gallery.local.store import LocalStore

WIDTH = 5
ORIGIN = Origin("run", WIDTH, "0" * 64, "none")


def fill(store, count=9, seed=0):
    rng = np.random.default_rng(seed)
    entries = [
        Entry(f"/é/{n}.jpg", "hall", None if n % 3 else f"P{n}", float(n) if n % 2 else None, 50.0 if n == 3 else None,
              n if n % 4 == 0 else None, (n, 1, 2, 3) if n % 4 == 0 else None) for n in range(count)
    ]  # fmt: skip
    store.add(
        entries, rng.standard_normal((count, WIDTH)), [b"" if n == 2 else b"\xff\xd8\xff%d" % n for n in range(count)]
    )
    return store


def told(store):
    """All of a store but ids and times of adding."""
    entries = store.find()
    ids = [entry.id for entry in entries]
    plain = [replace(entry, id=0, added=0.0) for entry in entries]
    return plain, store.features(ids).tobytes(), [store.thumbnail(id) for id in ids]


@pytest.fixture
def local(tmp_path):
    with LocalStore.create(tmp_path / "store", ORIGIN) as store:
        yield store


@pytest.fixture
def exported(tmp_path):
    parquet.export(fill(MemoryStore(ORIGIN)), tmp_path / "people.parquet")
    return tmp_path / "people.parquet"


@pytest.mark.parametrize("kind", ["local", "another"])
def test_there_and_back(local, tmp_path, monkeypatch, kind):
    monkeypatch.setattr(parquet, "BLOCK", 4)
    fill(local)
    local.remove([5])
    local.set("retention_days", "30")
    local.set("calibration", "{}")
    path = tmp_path / "people.parquet"
    assert parquet.export(local, path) == 8
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert pq.ParquetFile(path).num_row_groups == 2
    assert [name.name for name in tmp_path.iterdir() if "partial" in name.name] == []
    other = MemoryStore(ORIGIN) if kind == "another" else LocalStore.create(tmp_path / "other", ORIGIN)
    with other as store:
        store.set("calibration", "own")
        fill(store, 2, seed=1)
        kept = told(store)
        assert parquet.import_(path, store) == list(range(3, 11))
        both = told(store)
        assert tuple(part[:2] for part in both[::2]) == tuple(part[:2] for part in kept[::2])
        store.remove([1, 2])
        assert told(store) == told(local)
        assert (store.setting("retention_days"), store.setting("calibration")) == ("30", "own")


def test_empty_and_without_thumbnails(local, tmp_path):
    assert parquet.export(local, tmp_path / "none.parquet") == 0
    for store in (local, MemoryStore(ORIGIN)):
        assert parquet.import_(tmp_path / "none.parquet", store) == []
    fill(local)
    parquet.export(local, tmp_path / "bare.parquet", thumbnails=False)
    with LocalStore.create(tmp_path / "other", ORIGIN) as store:
        parquet.import_(tmp_path / "bare.parquet", store)
        assert told(store) == (*told(local)[:2], [b""] * 9)
        assert store.verify() == []


def test_another_origin_is_refused(exported, tmp_path):
    with (
        LocalStore.create(tmp_path / "store", replace(ORIGIN, network="1" * 64)) as store,
        pytest.raises(InputError, match="people.parquet: holds features of 'run'.*other network"),
    ):
        parquet.import_(exported, store)


def rewritten(path, change):
    """The file with its table changed."""
    pq.write_table(change(pq.read_table(path)), path)


def with_about(table, **changes):
    about = json.loads(table.schema.metadata[parquet.KEY]) | changes
    return table.replace_schema_metadata({parquet.KEY: json.dumps(about)})


def with_column(table, name, values):
    number = table.schema.get_field_index(name)
    return table.set_column(number, table.schema.field(name), pa.array(values, table.schema.field(name).type))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda table: table.replace_schema_metadata({}), "is not the export of a gallery"),
        (lambda table: with_about(table, origin={"width": "5"}), "is not the export of a gallery"),
        (lambda table: with_about(table, settings=[1]), "is not the export of a gallery"),
        (lambda table: with_about(table, format=2), "has format 2, this version of reid reads format 1"),
        (lambda table: with_about(table, settings={"retention_days": "x"}), "retention_days 'x' is no number"),
        (lambda table: table.drop_columns("camera"), "has other columns than format 1: .*camera"),
        (lambda table: with_column(table, "box", [[1, 2]] * 9), r"box \[1, 2\] of /é/0.jpg has not four edges"),
        (lambda table: with_column(table, "time", [float("inf")] * 9), "time is inf"),
        (lambda table: with_column(table, "feature", [[1.0] * 5] * 8 + [[0.0] * 5]), "row 0 is all zeros"),
    ],
)
def test_bad_files_add_nothing(local, exported, monkeypatch, change, message):
    monkeypatch.setattr(parquet, "BLOCK", 4)
    rewritten(exported, change)
    with pytest.raises(InputError, match=message):
        parquet.import_(exported, local)
    assert len(local) == 0
    assert local.verify() == []


def test_damaged_files_add_nothing(local, exported):
    with pytest.raises(InputError, match="nowhere: cannot be read as Parquet"):
        parquet.import_(exported.with_name("nowhere"), local)
    whole = exported.read_bytes()
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(60):
        broken = bytearray(whole)
        for place in rng.integers(4, len(whole) - 8, size=20):
            broken[place] ^= 1 << int(rng.integers(8))
        exported.write_bytes(broken)
        before = len(local)
        try:
            added = parquet.import_(exported, local)
        except InputError:
            added, refused = [], refused + 1
        assert len(local) == before + len(added)
    assert refused > 20
    exported.write_bytes(whole[:-20])
    with pytest.raises(InputError, match="people.parquet: cannot be read as Parquet"):
        parquet.import_(exported, local)
    assert local.verify() == []


def test_a_failed_export_leaves_the_old_file(exported, tmp_path, monkeypatch):
    old, store = exported.read_bytes(), fill(MemoryStore(ORIGIN))
    monkeypatch.setattr(store, "thumbnail", lambda id: store.get([99]))
    with pytest.raises(InputError, match="no entry 99"):
        parquet.export(store, exported)
    assert exported.read_bytes() == old
    assert list(tmp_path.iterdir()) == [exported]
    with pytest.raises(InputError, match="nowhere/x.parquet: cannot be written"):
        parquet.export(store, tmp_path / "nowhere/x.parquet")
