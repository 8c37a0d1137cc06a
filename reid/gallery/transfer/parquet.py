"""A gallery as one Parquet file: to keep, to move elsewhere, or to read with other programs."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields
from glob import escape
from pathlib import Path
from reprlib import repr as short
from typing import Annotated, Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from reid.data.times import DAY, EARLIEST, LATEST, zone
from reid.errors import InputError
from reid.files import remove_leftover_partials, replacing
from reid.gallery.calibration import thresholds
from reid.gallery.catalogue.records import NO_TEXT
from reid.gallery.entries import Entry
from reid.gallery.files import sync_folder
from reid.gallery.ingest.adding import TOLD, Added, new_rows
from reid.gallery.service import RETENTION, ZONES, check_days
from reid.gallery.store import Gallery
from reid.networks import Origin

GROUP = 8192  # entries a row group
BLOCK = 2048  # entries that are stored together: between two, erasures have their turn
KEY = b"reid.gallery"  # of the schema's metadata: About
OF_ENTRY = [field.name for field in fields(Entry)]
FAILURES = (OSError, pa.ArrowException)
SETTINGS = (thresholds.SETTING, RETENTION, ZONES)
WIDEST = 65_536  # numbers a feature
LONGEST = 65_535  # characters of an entry's text
FARTHEST = 2**31 - 1  # pixels
ROUNDING = 1e-3  # of a feature's length
JPEG, LARGEST = b"\xff\xd8\xff", 100_000  # how a thumbnail begins; bytes, more than its pixels take

Block = tuple[list[Entry], np.ndarray, list[bytes]]  # entries, features (N, D), thumbnails
Rule = tuple[Callable[[Any], bool], str]  # what holds for a value, in words

TEXT: Rule = (
    lambda text: len(text) <= LONGEST and not NO_TEXT.search(text),
    f"valid text of at most {LONGEST:,} characters",
)
MOMENT: Rule = (lambda moment: EARLIEST <= moment <= LATEST, "seconds since 1970 in the years 1 to 9999")
RULES: dict[str, Rule] = {
    "source": TEXT,
    "camera": TEXT,
    "identity": TEXT,
    "time": MOMENT,
    "until": MOMENT,
    "frame": (lambda frame: frame >= 0, "0 or more"),
    "box": (
        lambda box: len(box) == 4 and all(edge is not None and abs(edge) <= FARTHEST for edge in box),
        f"four edges in pixels, at most {FARTHEST:,}",
    ),
    "id": (lambda id: id > 0, "numbers above 0"),
    # Else retention would never drop it, or at once.
    "added": (lambda moment: 0 <= moment <= time.time() + DAY, "seconds since 1970 that are past"),
    "thumbnail": (
        lambda image: not image or (image.startswith(JPEG) and len(image) <= LARGEST),
        f"a JPEG of at most {LARGEST:,} bytes",
    ),
}


class About(BaseModel):
    """What the schema's metadata hold, as JSON."""

    model_config = ConfigDict(extra="forbid", strict=True)

    format: Literal[1]
    origin: Origin
    settings: dict[Annotated[str, Field(pattern=f"^({'|'.join(SETTINGS)})$")], str]


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


def export(gallery: Gallery, path: Path, thumbnails: bool = True) -> int:
    """Write all entries and some settings; the number of entries. Only the owner may read the file.

    Raises:
        InputError: the file cannot be written; an older one then still stands.
    """
    settings = {name: value for name in SETTINGS if (value := gallery.setting(name)) is not None}
    about = About(format=1, origin=gallery.origin, settings=settings)
    schema = pa.schema(columns(gallery.origin.width), {KEY: about.model_dump_json()})
    if not path.name:
        raise InputError(f"{path}: is no name of a file")
    count = 0
    try:
        remove_leftover_partials(path.parent, escape(path.name))  # they show people
        with replacing(path, 0o600) as file, pq.ParquetWriter(file, schema, write_page_checksum=True) as writer:
            for entries, features, images in _pages(gallery):
                arrays: dict[str, Any] = {name: [getattr(entry, name) for entry in entries] for name in OF_ENTRY}
                arrays["feature"] = pa.FixedSizeListArray.from_arrays(features.reshape(-1), gallery.origin.width)
                arrays["thumbnail"] = images if thumbnails else [None] * len(images)
                writer.write_batch(pa.record_batch(arrays, schema=schema))
                count += len(entries)
        sync_folder(path.parent)
    except FAILURES as error:
        raise InputError(f"{path}: cannot be written: {error}") from None
    return count


def import_(path: Path, gallery: Gallery, again: bool = False, who: str = "python") -> Added:
    """Add the entries of a file, some at a time, when all of it is checked, and those of its settings that the gallery
    has not. An image that is there already, by source, frame and box, is passed over: so the same call goes on where it
    was interrupted. When entries were put in is kept. Each commit has its line in the audit log.

    Args:
        again: also those that were erased.
        who: imports, for the audit log.

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
            ids = gallery.add([entries[row] for row in rows], features[rows], [images[row] for row in rows])
            if ids:
                gallery.record(who, "import", ids)
            added.ids += ids
    if not added.ids:  # else a line for each page of what is there already
        gallery.record(who, "import")
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
            names = json.loads(kept[ZONES]).values()
        except (AttributeError, ValueError, RecursionError):
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
        about = About.model_validate_json((schema.metadata or {}).get(KEY, b""))
    except ValidationError as error:
        wrong = error.errors()[0]
        what = ".".join(["metadata", *map(str, wrong["loc"])]) + f": {wrong['msg']}, got {short(wrong['input'])}"
        raise InputError(f"{path}: is not the export of a gallery that this version of reid reads: {what}") from None
    if not 1 <= about.origin.width <= WIDEST:
        raise InputError(f"{path}: width is {about.origin.width}, expected 1 to {WIDEST:,}")
    _check_columns(f"{path}: has other columns than format {about.format}", list(schema), columns(about.origin.width))
    return about.origin, about.settings


def _check_columns(where: str, stored: Sequence[pa.Field], wanted: Sequence[pa.Field]) -> None:
    names = [[field.name for field in fields] for fields in (stored, wanted)]
    if names[0] != names[1]:
        raise InputError(f"{where}: {', '.join(names[0])}; expected {', '.join(names[1])}")
    for field, other in zip(stored, wanted, strict=True):
        if not field.equals(other):
            kinds = [f"{column.type}{'' if column.nullable else ' not null'}" for column in (field, other)]
            raise InputError(f"{where}: {field.name} is {kinds[0]}, expected {kinds[1]}")


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
    rows = batch.select([*OF_ENTRY, "thumbnail"]).to_pylist()
    for number, row in enumerate(rows, first):
        for name, (holds, expected) in RULES.items():
            if row[name] is not None and not holds(row[name]):
                raise InputError(f"{path}, row {number}: {name} is {short(row[name])}, expected {expected}")
    features = batch.column("feature").flatten().to_numpy(zero_copy_only=False).reshape(-1, width)
    with np.errstate(over="ignore"):
        lengths = np.sqrt((features.astype(np.float64) ** 2).sum(axis=1))
    good = abs(lengths - 1) <= ROUNDING
    if not good.all():
        where, length = f"{path}, row {first + good.argmin()}", lengths[good.argmin()]
        raise InputError(f"{where}: feature has length {length:g}, expected 1 (a feature of zeros or NaN has none)")
    images = [row.pop("thumbnail") or b"" for row in rows]
    entries = [Entry(**{**row, "box": row["box"] and tuple(row["box"]), "id": 0}) for row in rows]
    return entries, features, images
