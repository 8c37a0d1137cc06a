"""A gallery as one Parquet file: to keep, to move elsewhere, or to read with other programs."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from reprlib import repr as short
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from reid.data.times import DAY, EARLIEST, LATEST, zone
from reid.errors import InputError
from reid.files import replacing
from reid.gallery.calibration import thresholds
from reid.gallery.entries import Entry
from reid.gallery.files import sync_folder
from reid.gallery.ingest.adding import TOLD, Added, new_rows
from reid.gallery.service import RETENTION, ZONES, check_days
from reid.gallery.store import Gallery
from reid.networks import Origin

GROUP = 8192  # entries a row group
BLOCK = 2048  # entries that are stored together: between two, erasures have their turn
KEY = b"reid.gallery"  # of the schema's metadata: format, origin, settings
FORMAT = 1
OF_ENTRY = [field.name for field in fields(Entry)]
FAILURES = (OSError, pa.ArrowException)
SETTINGS = (thresholds.SETTING, RETENTION, ZONES)
KINDS = {"name": str, "width": int, "network": str, "preprocessing": str}  # of Origin
WIDEST = 65_536  # numbers a feature
LONGEST = 65_535  # characters of an entry's text
FARTHEST = 2**31 - 1  # pixels
ROUNDING = 1e-3  # of a feature's length
JPEG, LARGEST = b"\xff\xd8\xff", 100_000  # how a thumbnail begins; bytes, more than its pixels take

Block = tuple[list[Entry], np.ndarray, list[bytes]]  # entries, features (N, D), thumbnails


def columns(width: int) -> list[pa.Field]:
    """Those of Entry, the feature (of length 1) and the thumbnail (null where left out)."""
    return [
        pa.field("source", pa.string(), nullable=False),
        pa.field("camera", pa.string(), nullable=False),
        pa.field("identity", pa.string()),
        pa.field("time", pa.float64()),
        pa.field("until", pa.float64()),
        pa.field("frame", pa.int64()),
        pa.field("box", pa.list_(pa.int64())),
        pa.field("id", pa.int64(), nullable=False),
        pa.field("added", pa.float64(), nullable=False),
        pa.field("feature", pa.list_(pa.float32(), width), nullable=False),
        pa.field("thumbnail", pa.binary()),
    ]


def export(gallery: Gallery, path: Path, thumbnails: bool = True, settings: Sequence[str] = SETTINGS) -> int:
    """Write all entries and the ``settings`` of these names; the number of entries. Only the owner may read the file.

    Raises:
        InputError: the file cannot be written; an older one then still stands.
    """
    values = {name: value for name in settings if (value := gallery.setting(name)) is not None}
    about = json.dumps({"format": FORMAT, "origin": asdict(gallery.origin), "settings": values})
    schema = pa.schema(columns(gallery.origin.width), {KEY: about.encode()})
    if not path.name:
        raise InputError(f"{path}: is no name of a file")
    count = 0
    try:
        with replacing(path, 0o600) as file, pq.ParquetWriter(file, schema, write_page_checksum=True) as writer:
            for entries, features, images in _pages(gallery):
                arrays = [pa.array([getattr(entry, name) for entry in entries], schema.field(name).type)
                          for name in OF_ENTRY]  # fmt: skip
                arrays.append(pa.FixedSizeListArray.from_arrays(features.reshape(-1), gallery.origin.width))
                arrays.append(pa.array(images if thumbnails else [None] * len(images), pa.binary()))
                writer.write_batch(pa.record_batch(arrays, schema=schema))
                count += len(entries)
        sync_folder(path.parent)
    except FAILURES as error:
        raise InputError(f"{path}: cannot be written: {error}") from None
    return count


def import_(path: Path, gallery: Gallery, again: bool = False) -> Added:
    """Add the entries of a file, some at a time, when all of it is checked, and those of its settings that the gallery
    has not. An image that is there already, by source, frame and box, is passed over: so the same call goes on where it
    was interrupted. When entries were put in is kept.

    Args:
        again: also those that were erased.

    Raises:
        InputError: the file is no export of a gallery, is damaged, or its features are of another origin; naming the
            row, from 0, and the field of the first value that is wrong. Nothing was added then.
    """
    added = Added()
    with _opened(path) as file:
        origin, settings = _about(path, file.schema_arrow)
        origin.check(gallery.origin, str(path))
        settings = {name: value for name, value in settings.items() if gallery.setting(name) is None}
        settings = usable_settings(settings, origin, str(path), added.notes)
        for _ in _read(path, file, origin.width):
            pass
        for entries, features, images in _read(path, file, origin.width):
            rows = new_rows(gallery, entries, TOLD, added, again)
            added.ids += gallery.add([entries[row] for row in rows], features[rows], [images[row] for row in rows])
    for name, value in settings.items():
        gallery.set(name, value)
    return added


def checked_origin(path: Path) -> Origin:
    """What made the features in a file, all of which is checked: before a gallery is made for it.

    Raises:
        InputError: as :func:`import_`.
    """
    with _opened(path) as file:
        origin, settings = _about(path, file.schema_arrow)
        usable_settings(settings, origin, str(path), [])
        for _ in _read(path, file, origin.width):
            pass
    return origin


def usable_settings(settings: Mapping[str, str], origin: Origin, where: str, notes: list[str]) -> dict[str, str]:
    """Those that this version can use: of a calibration that it cannot, ``notes`` gets a sentence that says why.

    Raises:
        InputError: a retention time or a time zone that is none, beginning with ``where``.
    """
    kept = dict(settings)
    if RETENTION in kept:
        check_days(kept[RETENTION], where)
    if ZONES in kept:
        try:
            names = dict(json.loads(kept[ZONES])).values()
        except (TypeError, ValueError, RecursionError):
            raise InputError(f"{where}: {ZONES} {short(kept[ZONES])}: expected time zones by camera") from None
        for name in names:
            zone(str(name), f"{where}: {ZONES}")
    if thresholds.SETTING in kept:
        try:
            what = f"{where}: {thresholds.SETTING}"
            thresholds.Calibration.from_json(kept[thresholds.SETTING], what).check(origin, what)
        except InputError as error:
            del kept[thresholds.SETTING]
            notes.append(f"the calibration was not taken over: {error}")
    return kept


def _pages(gallery: Gallery) -> Iterator[Block]:
    """All entries, by rising id, some at a time; what is erased while they are read is left out."""
    after = 0
    while entries := gallery.find(limit=GROUP, after=after):
        ids = [entry.id for entry in entries]
        try:
            features, images = gallery.features(ids), gallery.thumbnails(ids)
        except InputError:
            if len(gallery.present(ids)) == len(ids):
                raise
            continue  # with what is left
        there = gallery.present(ids)  # since what was read of those that were erased meanwhile may be zeros
        rows = [row for row, id in enumerate(ids) if id in there]
        yield [there[ids[row]] for row in rows], features[rows], [images[row] for row in rows]
        after = ids[-1]


def _opened(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path, page_checksum_verification=True)
    except (*FAILURES, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as Parquet: {error}") from None


def _about(path: Path, schema: pa.Schema) -> tuple[Origin, dict[str, str]]:
    """Origin and settings of an export, whose columns are checked too."""
    try:
        about = json.loads((schema.metadata or {})[KEY])
        version, origin, settings = about["format"], about["origin"], about["settings"]
    except (KeyError, TypeError, ValueError, RecursionError):
        raise InputError(f"{path}: is not the export of a gallery") from None
    if version != FORMAT:
        raise InputError(f"{path}: has format {version}, this version of reid reads format {FORMAT}")
    for what, values, kinds in (("origin", origin, KINDS), ("settings", settings, dict.fromkeys(SETTINGS, str))):
        _check_values(f"{path}: is not the export of a gallery: {what}", values, kinds)
    if set(origin) != set(KINDS) or not 1 <= origin["width"] <= WIDEST:
        raise InputError(
            f"{path}: is not the export of a gallery: origin {short(origin)}: expected {', '.join(KINDS)}, and a width "
            f"of 1 to {WIDEST:,}"
        )
    _check_columns(f"{path}: has other columns than format {FORMAT}", list(schema), columns(origin["width"]))
    return Origin(**origin), settings


def _check_columns(where: str, stored: Sequence[pa.Field], wanted: Sequence[pa.Field]) -> None:
    names = [[field.name for field in fields] for fields in (stored, wanted)]
    if names[0] != names[1]:
        raise InputError(f"{where}: {', '.join(names[0])}; expected {', '.join(names[1])}")
    for field, other in zip(stored, wanted, strict=True):
        if not field.equals(other):
            kinds = [f"{column.type}{'' if column.nullable else ' not null'}" for column in (field, other)]
            raise InputError(f"{where}: {field.name} is {kinds[0]}, expected {kinds[1]}")


def _check_values(where: str, values: object, kinds: Mapping[str, type]) -> None:
    """Of a record in the file's metadata: names, types, and that its texts can be kept."""
    if not isinstance(values, dict):
        raise InputError(f"{where} is {short(values)}, expected {', '.join(kinds)}")
    for name, value in values.items():
        if name not in kinds:
            raise InputError(f"{where}: {short(name)} is not one of {', '.join(kinds)}")
        if type(value) is not kinds[name]:
            what = "text" if kinds[name] is str else "a whole number"
            raise InputError(f"{where}: {name} is {short(value)}, expected {what}")
        if isinstance(value, str):
            _check_text(where, name, value)


def _check_text(where: str, name: str, text: str) -> None:
    if "\0" in text or any("\ud800" <= letter <= "\udfff" for letter in text):
        raise InputError(f"{where}: {name} is {short(text)}, which is not valid text")


def _read(path: Path, file: pq.ParquetFile, width: int) -> Iterator[Block]:
    row = 0
    try:
        for batch in file.iter_batches(BLOCK):
            batch.validate(full=True)
            yield _block(path, row, batch, width)
            row += len(batch)
    except FAILURES as error:
        raise InputError(f"{path}: is damaged: {error}") from None


def _block(path: Path, first: int, batch: pa.RecordBatch, width: int) -> Block:
    """Entries from row ``first`` of the file on, checked."""
    features = batch.column("feature").flatten().to_numpy(zero_copy_only=False).reshape(-1, width)
    thumbnails = [image or b"" for image in batch.column("thumbnail").to_pylist()]
    latest = time.time() + DAY
    with np.errstate(over="ignore"):
        lengths = np.sqrt((features.astype(np.float64) ** 2).sum(axis=1))
    entries = []
    rows = zip(batch.select(OF_ENTRY).to_pylist(), lengths.tolist(), thumbnails, strict=True)
    for number, (row, length, image) in enumerate(rows, first):
        where = f"{path}, row {number}"
        if row["id"] < 1:
            raise InputError(f"{where}: id is {row['id']}, expected numbers above 0")
        _check_row(where, row, latest)
        if not abs(length - 1) <= ROUNDING:
            raise InputError(f"{where}: feature has length {length:g}, expected 1 (a feature of zeros or NaN has none)")
        if image and not (image.startswith(JPEG) and len(image) <= LARGEST):
            raise InputError(
                f"{where}: thumbnail is {short(image)}, {len(image):,} bytes: expected a JPEG of at most {LARGEST:,}"
            )
        entries.append(Entry(**{**row, "box": row["box"] and tuple(row["box"]), "id": 0}))
    return entries, features, thumbnails


def _check_row(where: str, row: Mapping[str, Any], latest: float) -> None:
    """The fields of an entry but its id."""
    for name in ("source", "camera", "identity"):
        text = row[name] or ""
        _check_text(where, name, text)
        if len(text) > LONGEST:
            raise InputError(
                f"{where}: {name} is {short(text)}, {len(text):,} characters: expected {LONGEST:,} at most"
            )
    for name in ("time", "until"):
        if row[name] is not None and not EARLIEST <= row[name] <= LATEST:
            raise InputError(f"{where}: {name} is {row[name]}, expected seconds since 1970 in the years 1 to 9999")
    if not 0 <= row["added"] <= latest:  # else retention would never drop it, or at once
        raise InputError(f"{where}: added is {row['added']}, expected seconds since 1970 that are past")
    if row["frame"] is not None and row["frame"] < 0:
        raise InputError(f"{where}: frame is {row['frame']}, expected 0 or more")
    box = row["box"]
    if box is not None and (len(box) != 4 or None in box):
        raise InputError(f"{where}: box {short(box)} of {row['source']} has not four edges")
    if box is not None and not all(abs(edge) <= FARTHEST for edge in box):
        raise InputError(f"{where}: box is {box}, expected pixels, at most {FARTHEST:,}")
