from __future__ import annotations

import json
import stat
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from labelled import draw
from memory_store import MemoryStore

from reid.cli import main
from reid.errors import InputError
from reid.gallery import parquet
from reid.gallery.calibration.thresholds import calibrate
from reid.gallery.entries import Entry
from reid.gallery.local.store import LocalStore
from reid.networks import Origin

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


def with_value(table, name, row, value):
    values = table.column(name).to_pylist()
    return with_column(table, name, [*values[:row], value, *values[row + 1 :]])


def with_origin(table, **changes):
    about = json.loads(table.schema.metadata[parquet.KEY])
    return with_about(table, origin=about["origin"] | changes)


def calibration(fingerprint=ORIGIN.fingerprint, **changes):
    """As JSON, with some of its keys changed."""
    query, gallery = draw(30, width=WIDTH)
    made = calibrate(query, gallery, ORIGIN, "drawn", [0.05])
    return json.dumps(json.loads(made.to_json()) | {"fingerprint": fingerprint} | changes)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda table: table.replace_schema_metadata({}), "is not the export of a gallery"),
        (lambda table: table.replace_schema_metadata({parquet.KEY: "[" * 100_000}), "is not the export of a gallery"),
        (lambda table: with_about(table, origin={"width": "5"}), "origin: width is '5', expected a whole number"),
        (lambda table: with_about(table, origin={}), "is not the export of a gallery: origin {}"),
        (lambda table: with_about(table, origin=[1]), r"origin is \[1\], expected name, width"),
        (lambda table: with_origin(table, name=["a"]), r"origin: name is \['a'\], expected text"),
        (lambda table: with_origin(table, network=None), "origin: network is None, expected text"),
        (lambda table: with_origin(table, preprocessing="\ud800"), "preprocessing is .*not valid text"),
        (lambda table: with_origin(table, width=True), "origin: width is True, expected a whole number"),
        (lambda table: with_origin(table, width=0), "a width of 1 to 65,536"),
        (lambda table: with_origin(table, width=10**12), "a width of 1 to 65,536"),
        (lambda table: with_origin(table, colour="red"), "origin: 'colour' is not one of name, width"),
        (lambda table: with_about(table, settings=[1]), r"is not the export of a gallery: settings is \[1\]"),
        (lambda table: with_about(table, settings={"index": "flat"}), "settings: 'index' is not one of calibration"),
        (lambda table: with_about(table, settings={"calibration": 3}), "settings: calibration is 3, expected text"),
        (lambda table: with_about(table, format=2), "has format 2, this version of reid reads format 1"),
        (lambda table: with_about(table, settings={"retention_days": "x"}), "retention_days 'x' is no number"),
        (lambda table: with_about(table, settings={"retention_days": "nan"}), "retention_days 'nan' is no number"),
        (lambda table: with_about(table, settings={"calibration": "{}"}), "people.parquet: calibration: not a calibr"),
        (lambda table: with_about(table, settings={"calibration": "{"}), "calibration: not a calibration"),
        (lambda table: with_about(table, settings={"calibration": calibration(seed=-1)}), "calibration: seed"),
        (lambda table: with_about(table, settings={"calibration": calibration("0" * 64)}), "calibrated for 'run'"),
        (lambda table: table.drop_columns("camera"), "columns than format 1: source, id.*; expected source, camera"),
        (lambda table: table.select(table.column_names[::-1]), "format 1: thumbnail, .*; expected source, "),
        (lambda table: table.cast(large(table.schema)), "camera is large_string not null, expected string"),
        (lambda table: with_value(table, "box", 6, [1, 2]), r"row 6: box \[1, 2\] of /é/6.jpg has not four edges"),
        (lambda table: with_value(table, "box", 6, [1, 2, None, 4]), "row 6: box .* has not four edges"),
        (lambda table: with_value(table, "box", 6, [0, 0, 1, 2**40]), "row 6: box is .*, expected pixels"),
        (lambda table: with_value(table, "time", 7, float("inf")), "row 7: time is inf"),
        (lambda table: with_value(table, "time", 8, 1e300), r"parquet, row 8: time is 1e\+300, expected seconds"),
        (lambda table: with_value(table, "until", 8, float("nan")), "row 8: until is nan"),
        (lambda table: with_value(table, "added", 5, float("nan")), "row 5: added is nan, expected seconds since 1970"),
        (lambda table: with_value(table, "added", 5, -1.0), "row 5: added is -1.0"),
        (lambda table: with_value(table, "added", 5, 1e11), "row 5: added is 100000000000.0"),
        (lambda table: with_value(table, "frame", 5, -1), "row 5: frame is -1"),
        (lambda table: with_value(table, "id", 5, 1), "row 5: id is 1, expected numbers above 0, each once"),
        (lambda table: with_value(table, "id", 5, 0), "row 5: id is 0"),
        (lambda table: with_value(table, "camera", 5, "a\0b"), "row 5: camera is .*not valid text"),
        (lambda table: with_value(table, "identity", 5, "x" * 65_536), "row 5: identity is 'x.*65,536 characters"),
        (lambda table: with_value(table, "thumbnail", 5, b"GIF89a"), "row 5: thumbnail is b'GIF89a', 6 bytes"),
        (lambda table: with_value(table, "thumbnail", 5, b"\xff\xd8\xff" * 40_000), "row 5: thumbnail .*120,000 bytes"),
        (lambda table: with_value(table, "feature", 8, [0.0] * 5), "row 8: feature has length 0, expected 1"),
        (lambda table: with_value(table, "feature", 8, [float("nan")] * 5), "row 8: feature has length nan"),
        (lambda table: with_value(table, "feature", 8, [float("inf")] * 5), "row 8: feature has length inf"),
        (lambda table: with_value(table, "feature", 8, [1.0, None, 0, 0, 0]), "row 8: feature has length nan"),
        (lambda table: with_value(table, "feature", 8, [1.0] * 5), "row 8: feature has length 2.23607"),
    ],
)  # fmt: skip
def test_bad_files_add_nothing(local, exported, tmp_path, monkeypatch, capsys, change, message):
    monkeypatch.setattr(parquet, "BLOCK", 4)
    rewritten(exported, change)
    for store in (local, MemoryStore(ORIGIN)):
        with pytest.raises(InputError, match=message):
            parquet.import_(exported, store)
        assert len(store) == 0 and store.setting("calibration") is store.setting("retention_days") is None
    assert local.verify() == []
    assert main(["search", "import", "--store", str(tmp_path / "new"), str(exported)]) == 2
    said = capsys.readouterr()
    assert "people.parquet" in said.err and said.err.count("\n") == 1 and not (tmp_path / "new").exists()


def large(schema):
    number = schema.get_field_index("camera")
    return schema.set(number, pa.field("camera", pa.large_string(), nullable=False))


def test_only_settings_that_are_taken_matter(local, exported):
    rewritten(exported, lambda table: with_about(table, settings={"calibration": "{}", "retention_days": "30"}))
    local.set("calibration", calibration())
    assert len(parquet.import_(exported, local)) == 9
    assert (local.setting("calibration"), local.setting("retention_days")) == (calibration(), "30")


def test_a_calibration_of_many_targets_is_no_damage(local, exported):
    made = json.loads(calibration())
    long = json.dumps(made | {"targets": [made["held"]] * 100})
    assert len(long) > 70_000
    rewritten(exported, lambda table: with_about(table, settings={"calibration": long}))
    assert len(parquet.import_(exported, local)) == 9 and local.setting("calibration") == long


def test_whatever_a_store_takes_comes_back(local, tmp_path):
    entries = [
        Entry("", "", "", -62_135_596_800.0, 253_402_300_799.0, 2**62, (-5, 900, 0, -1)),
        Entry("é" * 4096, "hall/\n", "'; --", 3.0, 1.0, 0, None, added=1.5),
    ]
    local.add(entries, np.eye(WIDTH)[:2] * 1e-30, [b"", b"\xff\xd8\xff" + bytes(99_997)])
    parquet.export(local, tmp_path / "people.parquet")
    with LocalStore.create(tmp_path / "other", ORIGIN) as store:
        parquet.import_(tmp_path / "people.parquet", store)
        assert told(store) == told(local)


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1" * 4, b"\0" * 100])
def test_what_is_no_parquet_file(local, tmp_path, content):
    (tmp_path / "people.parquet").write_bytes(content)
    for path in (tmp_path / "people.parquet", tmp_path):
        with pytest.raises(InputError, match="cannot be read as Parquet"):
            parquet.import_(path, local)


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
