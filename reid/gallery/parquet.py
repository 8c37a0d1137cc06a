"""A gallery as one Parquet file: to keep, to move to another store, or to read with other programs."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from reprlib import repr as short
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from reid.data.times import DAY, EARLIEST, LATEST
from reid.errors import InputError
from reid.files import replacing
from reid.gallery import retention
from reid.gallery.calibration import thresholds
from reid.gallery.entries import Entry, Store
from reid.gallery.local.store import Block, LocalStore
from reid.gallery.local.vectors import sync_folder
from reid.networks import Origin

BLOCK = 2048  # entries a row group
KEY = b"reid.gallery"  # of the schema's metadata: format, origin, settings
FORMAT = 1
OF_ENTRY = [field.name for field in fields(Entry)]
FAILURES = (OSError, pa.ArrowException)
SETTINGS = (thresholds.SETTING, retention.SETTING)
KINDS = {"name": str, "width": int, "network": str, "preprocessing": str}  # of Origin
WIDEST = 65_536  # numbers a feature
LONGEST = 65_535  # characters of an entry's text
FARTHEST = 2**31 - 1  # pixels
ROUNDING = 1e-3  # of a feature's length
JPEG, LARGEST = b"\xff\xd8\xff", 100_000  # how a thumbnail begins; bytes, more than its pixels take


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


def export(store: Store, path: Path, thumbnails: bool = True, settings: Sequence[str] = SETTINGS) -> int:
    """Write all entries and the ``settings`` of these names; the number of entries. Only the owner may read the file.

    Raises:
        InputError: the file cannot be written, or an entry was erased meanwhile; an older file then still stands.
    """
    values = {name: value for name in settings if (value := store.setting(name)) is not None}
    about = json.dumps({"format": FORMAT, "origin": asdict(store.origin), "settings": values})
    schema = pa.schema(columns(store.origin.width), {KEY: about.encode()})
    if not path.name:
        raise InputError(f"{path}: is no name of a file")
    count = 0
    try:
        with replacing(path, 0o600) as file, pq.ParquetWriter(file, schema, write_page_checksum=True) as writer:
            for entries in _blocks(store):
                writer.write_batch(_batch(store, entries, thumbnails, schema))
                count += len(entries)
        sync_folder(path.parent)
    except FAILURES as error:
        raise InputError(f"{path}: cannot be written: {error}") from None
    return count


def import_(path: Path, store: Store) -> list[int]:
    """Add all entries of a file, or none, and those of its settings that the store has not; the new ids.

    Raises:
        InputError: the file is no export of a gallery, is damaged, or its features are of another origin; naming the
            row, from 0, and the field of the first value that is wrong.
    """
    with _opened(path) as file:
        origin, settings = _about(path, file.schema_arrow)
        store.origin.check(origin, str(path))
        settings = {name: value for name, value in settings.items() if store.setting(name) is None}
        _check_settings(path, settings, origin)
        blocks = _read(path, file, origin.width)
        ids = store.add_blocks(blocks) if isinstance(store, LocalStore) else store.add(*_joined(blocks, origin.width))
    for name, value in settings.items():
        store.set(name, value)
    return ids


def checked_origin(path: Path) -> Origin:
    """What made the features in a file, all of which is checked: before a gallery is made for it.

    Raises:
        InputError: as :func:`import_`.
    """
    with _opened(path) as file:
        origin, settings = _about(path, file.schema_arrow)
        _check_settings(path, settings, origin)
        for _ in _read(path, file, origin.width):
            pass
    return origin


def _blocks(store: Store) -> Iterator[list[Entry]]:
    after = 0
    while entries := store.find(limit=BLOCK, after=after):
        yield entries
        after = entries[-1].id


def _batch(store: Store, entries: list[Entry], thumbnails: bool, schema: pa.Schema) -> pa.RecordBatch:
    ids = [entry.id for entry in entries]
    arrays = [pa.array([getattr(entry, name) for entry in entries], schema.field(name).type) for name in OF_ENTRY]
    arrays.append(pa.FixedSizeListArray.from_arrays(store.features(ids).reshape(-1), store.origin.width))
    arrays.append(pa.array([store.thumbnail(id) if thumbnails else None for id in ids], pa.binary()))
    return pa.record_batch(arrays, schema=schema)


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


def _check_settings(path: Path, settings: Mapping[str, str], origin: Origin) -> None:
    if retention.SETTING in settings:
        retention.check_days(settings[retention.SETTING], str(path))
    if thresholds.SETTING in settings:
        where = f"{path}: {thresholds.SETTING}"
        thresholds.Calibration.from_json(settings[thresholds.SETTING], where).check(origin, where)


def _read(path: Path, file: pq.ParquetFile, width: int) -> Iterator[Block]:
    ids: set[int] = set()
    row = 0
    try:
        for batch in file.iter_batches(BLOCK):
            batch.validate(full=True)
            yield _block(path, row, batch, width, ids)
            row += len(batch)
    except FAILURES as error:
        raise InputError(f"{path}: is damaged: {error}") from None


def _block(path: Path, first: int, batch: pa.RecordBatch, width: int, ids: set[int]) -> Block:
    """Entries from row ``first`` of the file on, checked; ``ids`` holds those of the rows before."""
    features = batch.column("feature").flatten().to_numpy(zero_copy_only=False).reshape(-1, width)
    thumbnails = [image or b"" for image in batch.column("thumbnail").to_pylist()]
    latest = time.time() + DAY
    with np.errstate(over="ignore"):
        lengths = np.sqrt((features.astype(np.float64) ** 2).sum(axis=1))
    entries = []
    rows = zip(batch.select(OF_ENTRY).to_pylist(), lengths.tolist(), thumbnails, strict=True)
    for number, (row, length, image) in enumerate(rows, first):
        where = f"{path}, row {number}"
        if row["id"] < 1 or row["id"] in ids:
            raise InputError(f"{where}: id is {row['id']}, expected numbers above 0, each once")
        ids.add(row["id"])
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


def _joined(blocks: Iterable[Block], width: int) -> Block:
    entries: list[Entry] = []
    features = [np.empty((0, width), np.float32)]
    thumbnails: list[bytes] = []
    for some, rows, images in blocks:
        entries += some
        features.append(rows)
        thumbnails += images
    return entries, np.concatenate(features), thumbnails
