"""A gallery as one Parquet file: to keep, to move to another store, or to read with other programs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, fields
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from reid.errors import InputError
from reid.files import replacing
from reid.gallery import retention, thresholds
from reid.gallery.entries import Entry, Origin, Store
from reid.gallery.local.store import Block, LocalStore
from reid.gallery.local.vectors import sync_folder

BLOCK = 2048  # entries a row group
KEY = b"reid.gallery"  # of the schema's metadata: format, origin, settings
FORMAT = 1
OF_ENTRY = [field.name for field in fields(Entry)]
FAILURES = (OSError, pa.ArrowException)
SETTINGS = (thresholds.SETTING, retention.SETTING)


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
        InputError: the file is no export of a gallery, is damaged, or its features are of another origin.
    """
    with _opened(path) as file:
        origin, settings = _about(path, file.schema_arrow)
        store.origin.check(origin, str(path))
        if retention.SETTING in settings:
            retention.check_days(settings[retention.SETTING], str(path))
        blocks = _read(path, file, origin.width)
        ids = store.add_blocks(blocks) if isinstance(store, LocalStore) else store.add(*_joined(blocks, origin.width))
    for name, value in settings.items():
        if store.setting(name) is None:
            store.set(name, value)
    return ids


def origin_of(path: Path) -> Origin:
    """What made the features in a file. Raises InputError as :func:`import_`."""
    with _opened(path) as file:
        return _about(path, file.schema_arrow)[0]


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
        version, origin = about["format"], Origin(**about["origin"])
        settings = {name: str(value) for name, value in about["settings"].items()}
        ours = pa.schema(columns(origin.width))
    except (AttributeError, KeyError, TypeError, ValueError):
        raise InputError(f"{path}: is not the export of a gallery") from None
    if version != FORMAT:
        raise InputError(f"{path}: has format {version}, this version of reid reads format {FORMAT}")
    if schema.remove_metadata() != ours:
        wrong = sorted(set(map(str, schema)) ^ set(map(str, ours)))
        raise InputError(f"{path}: has other columns than format {FORMAT}: {', '.join(wrong)}")
    return origin, settings


def _read(path: Path, file: pq.ParquetFile, width: int) -> Iterator[Block]:
    try:
        for batch in file.iter_batches(BLOCK):
            batch.validate(full=True)
            yield _block(path, batch, width)
    except FAILURES as error:
        raise InputError(f"{path}: is damaged: {error}") from None


def _block(path: Path, batch: pa.RecordBatch, width: int) -> Block:
    features = batch.column("feature").flatten().to_numpy(zero_copy_only=False).reshape(-1, width)
    rows = batch.select([name for name in OF_ENTRY if name != "id"]).to_pylist()
    for row in rows:
        box = row["box"]
        if box is not None and (len(box) != 4 or None in box):
            raise InputError(f"{path}: box {box} of {row['source']} has not four edges")
        row["box"] = box and tuple(box)
    return [Entry(**row) for row in rows], features, [image or b"" for image in batch.column("thumbnail").to_pylist()]


def _joined(blocks: Iterable[Block], width: int) -> Block:
    entries: list[Entry] = []
    features = [np.empty((0, width), np.float32)]
    thumbnails: list[bytes] = []
    for some, rows, images in blocks:
        entries += some
        features.append(rows)
        thumbnails += images
    return entries, np.concatenate(features), thumbnails
