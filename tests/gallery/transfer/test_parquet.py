from __future__ import annotations

import json
import re
import stat
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fakes import new_gallery
from labelled import draw

from reid.cli import main
from reid.errors import InputError
from reid.gallery.calibration.thresholds import calibrate
from reid.gallery.entries import Entry
from reid.gallery.store import Gallery
from reid.gallery.transfer import parquet
from reid.networks import Origin

WIDTH = 5
ORIGIN = Origin("run", WIDTH, "0" * 64, "none")


def fill(gallery, count=9, seed=0):
    rng = np.random.default_rng(seed)
    entries = [
        Entry(f"/é{seed}/{n}.jpg", "hall", None if n % 3 else f"P{n}", float(n) if n % 2 else None,
              50.0 if n == 3 else None, n if n % 4 == 0 else None, (n, 1, 2, 3) if n % 4 == 0 else None, added=1e9 + n)
        for n in range(count)
    ]  # fmt: skip
    images = [b"" if n == 2 else b"\xff\xd8\xff%d" % n for n in range(count)]
    gallery.add(entries, rng.standard_normal((count, WIDTH)), images)
    return gallery


def imported(path, gallery, again=False):
    with parquet.opened(path) as file:
        return parquet.import_(file, gallery, again)


def told(gallery, after=0):
    """All of a gallery but ids."""
    entries = gallery.find(after=after)
    ids = [entry.id for entry in entries]
    return [replace(entry, id=0) for entry in entries], gallery.features(ids).tobytes(), gallery.thumbnails(ids)


@pytest.fixture
def gallery(tmp_path):
    with new_gallery(tmp_path / "gallery", ORIGIN) as gallery:
        yield gallery


@pytest.fixture
def other(tmp_path):
    with new_gallery(tmp_path / "other", ORIGIN) as gallery:
        yield gallery


@pytest.fixture
def exported(gallery, tmp_path):
    parquet.export(fill(gallery), tmp_path / "people.parquet")
    return tmp_path / "people.parquet"


def test_there_and_back(gallery, other, tmp_path, monkeypatch):
    for name in ("GROUP", "BLOCK"):
        monkeypatch.setattr(parquet, name, 4)
    fill(gallery)
    gallery.remove([5])
    gallery.set("retention_days", "30")
    gallery.set("zones", '{"hall": "Europe/Berlin"}')
    path = tmp_path / "people.parquet"
    assert parquet.export(gallery, path) == 8
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert pq.ParquetFile(path).num_row_groups == 2
    assert [name.name for name in tmp_path.iterdir() if "partial" in name.name] == []
    other.set("retention_days", "7")
    kept = told(fill(other, 2, seed=1))
    added = imported(path, other)
    assert (added.ids, added.known, added.notes) == (list(range(3, 11)), 0, [])
    assert told(other, after=2) == told(gallery) and told(other)[0][:2] == kept[0]
    assert (other.setting("retention_days"), other.setting("zones")) == ("7", '{"hall": "Europe/Berlin"}')


def test_a_second_import_adds_nothing_and_one_that_was_cut_off_goes_on(other, exported, monkeypatch):
    monkeypatch.setattr(parquet, "BLOCK", 4)
    real, calls = other.add, []

    def cut_off(*given):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(*given)

    monkeypatch.setattr(other, "add", cut_off)
    with pytest.raises(KeyboardInterrupt):
        imported(exported, other)
    assert len(other) == 4
    assert [(line["action"], line["entries"]) for line in other.catalogue.log()] == [("import", [1, 2, 3, 4])]
    added = imported(exported, other)
    assert (len(added.ids), added.known, len(other)) == (5, 4, 9)
    other.update({1: {"identity": "somebody"}})
    before = len(other.catalogue.log())
    again = imported(exported, other)
    assert [line["entries"] for line in other.catalogue.log()[before:]] == [[]]  # one, whatever the file's size
    assert (again.ids, again.known) == ([], 9)
    assert again.differences == ["/é0/0.jpg, frame 0, box (0, 1, 2, 3) (entry 1): identity: 'somebody' is stored, "
                                 "'P0' was given"]  # fmt: skip


def test_what_was_erased_stays_erased_unless_it_is_asked_for(other, exported):
    imported(exported, other)
    other.remove([2, 3])
    added = imported(exported, other)
    assert (added.ids, added.known, added.erased) == ([], 7, ["/é0/1.jpg", "/é0/2.jpg"])
    assert len(imported(exported, other, again=True).ids) == 2 and len(other) == 9


def test_empty_and_without_thumbnails(gallery, other, tmp_path):
    assert parquet.export(gallery, tmp_path / "none.parquet") == 0
    assert imported(tmp_path / "none.parquet", other).ids == []
    fill(gallery)
    parquet.export(gallery, tmp_path / "bare.parquet")
    rewritten(tmp_path / "bare.parquet", lambda table: with_column(table, "thumbnail", [None] * 9))
    imported(tmp_path / "bare.parquet", other)
    assert told(other) == (*told(gallery)[:2], [b""] * 9)


def test_another_origin_is_refused(exported, tmp_path):
    with (
        Gallery.create(tmp_path / "another", replace(ORIGIN, name="walk", network="1" * 64)) as another,
        pytest.raises(InputError, match="people.parquet: holds features of 'run'.*other network"),
    ):
        imported(exported, another)


@pytest.mark.parametrize("when", ["features", "thumbnails"])
def test_what_is_erased_meanwhile_is_left_out(gallery, other, tmp_path, monkeypatch, when):
    """After the page of entries was found, and before or after what is asked of them was read."""
    monkeypatch.setattr(parquet, "GROUP", 4)
    expected = told(fill(gallery))
    real = getattr(gallery, when)

    def erasing(ids):
        found = real(ids) if when == "thumbnails" else None
        if 6 in ids and gallery.catalogue.present([6]):
            gallery.remove([6])
        return real(ids) if found is None else found

    monkeypatch.setattr(gallery, when, erasing)
    assert parquet.export(gallery, tmp_path / "people.parquet") == 8
    imported(tmp_path / "people.parquet", other)
    assert told(other)[0] == [entry for row, entry in enumerate(expected[0]) if row != 5]
    assert told(other) == told(gallery)


def test_damage_is_told_by_an_export(gallery, tmp_path, monkeypatch):
    fill(gallery)
    for file in (tmp_path / "gallery/thumbnails").iterdir():
        file.rename(tmp_path / file.name)
        with pytest.raises(InputError, match="cannot be read"):
            parquet.export(gallery, tmp_path / "people.parquet")
        (tmp_path / file.name).rename(file)


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
        (lambda table: with_origin(table, width="5"), "origin.width: .*valid integer, got '5'"),
        (lambda table: with_about(table, origin={}), "is not the export of a gallery.*origin.name: Field required"),
        (lambda table: with_about(table, origin=[1]), r"origin: .*, got \[1\]"),
        (lambda table: with_origin(table, name=["a"]), r"origin.name: .*valid string, got \['a'\]"),
        (lambda table: with_origin(table, network=None), "origin.network: .*valid string, got None"),
        (lambda table: with_origin(table, preprocessing="\ud800"), "is not the export of a gallery"),
        (lambda table: with_origin(table, width=True), "origin.width: .*valid integer, got True"),
        (lambda table: with_origin(table, width=0), "width is 0, expected 1 to 65,536"),
        (lambda table: with_origin(table, width=10**12), "width is 1000000000000, expected 1 to"),
        (lambda table: with_origin(table, colour="red"), "origin.colour: "),
        (lambda table: with_about(table, settings=[1]), r"is not the export of a gallery.*settings: .*, got \[1\]"),
        (lambda table: with_about(table, settings={"index": "flat"}), "settings.index.*calibration.retention_days"),
        (lambda table: with_about(table, settings={"calibration": 3}), "settings.calibration: .*valid string, got 3"),
        (lambda table: with_about(table, format=2), "this version of reid reads: metadata.format: .* 1, got 2"),
        (lambda table: with_about(table, settings={"retention_days": "x"}), "retention_days 'x' is no number"),
        (lambda table: with_about(table, settings={"retention_days": "nan"}), "retention_days 'nan' is no number"),
        (lambda table: with_about(table, settings={"zones": "{\"hall\": \"Atlantis\"}"}), "Atlantis. is no time zone"),
        (lambda table: with_about(table, settings={"zones": "[3]"}), "zones .* expected time zones by camera"),
        (lambda table: with_about(table, settings={"zones": "[[\"hall\", \"UTC\"]]"}), "zones .* by camera"),
        (lambda table: table.drop_columns("camera"), "columns than format 1: source, id.*; expected source, camera"),
        (lambda table: table.select(table.column_names[::-1]), "format 1: thumbnail, .*; expected source, "),
        (lambda table: table.cast(large(table.schema)), "camera is large_string not null, expected string"),
        (lambda table: with_value(table, "box", 6, [1, 2]), r"row 6: box is \[1, 2\], expected four edges"),
        (lambda table: with_value(table, "box", 6, [1, 2, None, 4]), "row 6: box is .*, expected four edges"),
        (lambda table: with_value(table, "box", 6, [0, 0, 1, 2**40]), "row 6: box is .*, expected four edges in pix"),
        (lambda table: with_value(table, "time", 7, float("inf")), "row 7: time is inf"),
        (lambda table: with_value(table, "time", 8, 1e300), r"parquet, row 8: time is 1e\+300, expected seconds"),
        (lambda table: with_value(table, "until", 8, float("nan")), "row 8: until is nan"),
        (lambda table: with_value(table, "added", 5, float("nan")), "row 5: added is nan, expected seconds since 1970"),
        (lambda table: with_value(table, "added", 5, -1.0), "row 5: added is -1.0"),
        (lambda table: with_value(table, "added", 5, 1e11), "row 5: added is 100000000000.0"),
        (lambda table: with_value(table, "frame", 5, -1), "row 5: frame is -1"),
        (lambda table: with_value(table, "id", 5, -1), "row 5: id is -1, expected numbers above 0"),
        (lambda table: with_value(table, "id", 5, 0), "row 5: id is 0"),
        (lambda table: with_value(table, "camera", 5, "a\0b"), "row 5: camera is .*, expected valid text"),
        (lambda table: with_value(table, "identity", 5, "x" * 65_536), "row 5: identity is 'x.*at most 65,535 char"),
        (lambda table: with_value(table, "thumbnail", 5, b"GIF89a"), "row 5: thumbnail is b'GIF89a', expected a JPEG"),
        (lambda table: with_value(table, "thumbnail", 5, b"\xff\xd8\xff" * 40_000), "row 5: thumbnail is .*at most 10"),
        (lambda table: with_value(table, "feature", 8, [0.0] * 5), "row 8: feature has length 0, expected 1"),
        (lambda table: with_value(table, "feature", 8, [float("nan")] * 5), "row 8: feature has length nan"),
        (lambda table: with_value(table, "feature", 8, [float("inf")] * 5), "row 8: feature has length inf"),
        (lambda table: with_value(table, "feature", 8, [1.0, None, 0, 0, 0]), "row 8: feature has length nan"),
        (lambda table: with_value(table, "feature", 8, [1.0] * 5), "row 8: feature has length 2.23607"),
    ],
)  # fmt: skip
def test_bad_files_add_nothing(other, exported, tmp_path, monkeypatch, capsys, change, message):
    monkeypatch.setattr(parquet, "BLOCK", 4)
    rewritten(exported, change)
    with pytest.raises(InputError, match=message):
        imported(exported, other)
    assert len(other) == 0 and {other.setting(name) for name in parquet.SETTINGS} == {None}
    assert main(["search", "import", "--store", str(tmp_path / "new"), str(exported)]) == 2
    said = capsys.readouterr()
    assert (
        "people.parquet" in said.err
        and re.search(message, said.err)
        and said.err.count("\n") == 1
        and not (tmp_path / "new").exists()
    )


def large(schema):
    number = schema.get_field_index("camera")
    return schema.set(number, pa.field("camera", pa.large_string(), nullable=False))


def test_only_settings_that_are_taken_matter(other, exported):
    rewritten(exported, lambda table: with_about(table, settings={"zones": "3", "retention_days": "30"}))
    other.set("zones", '{"hall": "UTC"}')
    assert len(imported(exported, other).ids) == 9
    assert (other.setting("zones"), other.setting("retention_days")) == ('{"hall": "UTC"}', "30")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (lambda: "{}", "not a calibration"),
        (lambda: "{", "not a calibration"),
        (lambda: calibration(version=1), "made by another version of reid: calibrate again"),
        (lambda: calibration("0" * 64), "calibrated for 'run'"),
    ],
)
def test_a_calibration_that_is_of_no_use_is_left_out_and_told(other, exported, text, reason):
    rewritten(exported, lambda table: with_about(table, settings={"calibration": text(), "retention_days": "30"}))
    added = imported(exported, other)
    assert len(added.ids) == 9 and other.setting("retention_days") == "30" and other.setting("calibration") is None
    assert len(added.notes) == 1 and "the calibration was not taken over" in added.notes[0] and reason in added.notes[0]


def test_a_calibration_of_many_targets_is_no_damage(other, exported):
    made = json.loads(calibration())
    long = json.dumps(made | {"targets": [made["held"]] * 100})
    assert len(long) > 70_000
    rewritten(exported, lambda table: with_about(table, settings={"calibration": long}))
    added = imported(exported, other)
    assert len(added.ids) == 9 and added.notes == [] and other.setting("calibration") == long


def test_whatever_a_gallery_takes_comes_back(gallery, other, tmp_path):
    entries = [
        Entry("", "", "", -62_135_596_800.0, 253_402_300_799.0, 2**62, (-5, 900, 0, -1)),
        Entry("é" * 4096, "hall/\n", "'; --", 3.0, 1.0, 0, None, added=1.5),
    ]
    gallery.add(entries, np.eye(WIDTH)[:2] * 1e-30, [b"", b"\xff\xd8\xff" + bytes(99_997)])
    parquet.export(gallery, tmp_path / "people.parquet")
    imported(tmp_path / "people.parquet", other)
    assert told(other) == told(gallery)


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1" * 4, b"\0" * 100])
def test_what_is_no_parquet_file(other, tmp_path, content):
    (tmp_path / "people.parquet").write_bytes(content)
    for path in (tmp_path / "people.parquet", tmp_path):
        with pytest.raises(InputError, match="cannot be read as Parquet"):
            imported(path, other)


def test_damaged_files_add_nothing(other, exported, monkeypatch):
    monkeypatch.setattr(parquet, "BLOCK", 4)
    with pytest.raises(InputError, match="nowhere: cannot be read as Parquet"):
        imported(exported.with_name("nowhere"), other)
    whole = exported.read_bytes()
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(60):
        broken = bytearray(whole)
        for place in rng.integers(4, len(whole) - 8, size=20):
            broken[place] ^= 1 << int(rng.integers(8))
        exported.write_bytes(broken)
        before = len(other)
        try:
            added = imported(exported, other).ids
        except InputError:
            added, refused = [], refused + 1
        assert len(other) == before + len(added)
    assert refused > 20
    exported.write_bytes(whole[:-20])
    with pytest.raises(InputError, match="people.parquet: cannot be read as Parquet"):
        imported(exported, other)


def test_an_export_that_was_killed_leaves_nothing_behind_the_next(gallery, tmp_path):
    path, others = tmp_path / "people [1].parquet", tmp_path / ".people.parquet.partial-0"
    for left in (tmp_path / ".people [1].parquet.partial-0", others):
        left.write_bytes(b"people")
    parquet.export(gallery, path)
    assert sorted(each.name for each in tmp_path.glob(".*partial*")) == [others.name] and path.exists()


def test_a_failed_export_leaves_the_old_file(gallery, exported, tmp_path, monkeypatch):
    old = exported.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(parquet.pq.ParquetWriter, "write_batch", full)
    with pytest.raises(InputError, match="cannot be written"):
        parquet.export(gallery, exported)
    assert exported.read_bytes() == old and not list(tmp_path.glob(".*partial*"))
    with pytest.raises(InputError, match="nowhere/x.parquet: cannot be written"):
        parquet.export(gallery, tmp_path / "nowhere/x.parquet")
