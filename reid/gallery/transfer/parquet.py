"""A gallery as one Parquet file: to keep, to move elsewhere, or to read with other programs."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from glob import escape
from pathlib import Path
from reprlib import repr as short
from typing import Annotated, Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, Field, ValidationError

from reid.data.times import DAY, EARLIEST, LATEST, zone
from reid.errors import InputError
from reid.files import remove_leftover_partials, replacing
from reid.gallery.calibration import thresholds
from reid.gallery.catalogue.records import NO_TEXT
from reid.gallery.entries import Entry
from reid.gallery.files import sync_folder
from reid.gallery.ingest.adding import Added, Intake
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
    **dict.fromkeys(("source", "camera", "identity"), TEXT),
    **dict.fromkeys(("time", "until"), MOMENT),
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


class About(BaseModel, extra="forbid", strict=True):
    """What the schema's metadata hold, as JSON."""

    format: Literal[1]
    origin: Origin
    settings: dict[Annotated[str, Field(pattern=f"^({'|'.join(SETTINGS)})$")], str]


def columns(width: int) -> pa.Schema:
    """Those of Entry, the feature (of length 1) and the thumbnail (empty or null where there is none)."""
    kinds = [
        pa.field("source", pa.string(), nullable=False),
        pa.field("camera", pa.string(), nullable=False),
        ("identity", pa.string()),
        ("time", pa.float64()),
        ("until", pa.float64()),
        ("frame", pa.int64()),
        ("box", pa.list_(pa.int64())),
        pa.field("id", pa.int64(), nullable=False),
        pa.field("added", pa.float64(), nullable=False),
        pa.field("feature", pa.list_(pa.float32(), width), nullable=False),
        ("thumbnail", pa.binary()),
    ]
    return pa.schema(kinds)


def export(gallery: Gallery, path: Path) -> int:
    """Write all entries and some settings; the number of entries. Only the owner may read the file. Raises InputError
    where it cannot be written; an older one then still stands."""
    settings = {name: value for name in SETTINGS if (value := gallery.setting(name)) is not None}
    about = About(format=1, origin=gallery.origin, settings=settings)
    schema = columns(gallery.origin.width).with_metadata({KEY: about.model_dump_json()})
    if not path.name:
        raise InputError(f"{path}: is no name of a file")
    count = 0
    try:
        remove_leftover_partials(path.parent, escape(path.name))  # they show people
        with replacing(path, 0o600) as file, pq.ParquetWriter(file, schema, write_page_checksum=True) as writer:
            for entries, features, images in _pages(gallery):
                arrays: dict[str, Any] = {name: [getattr(entry, name) for entry in entries] for name in OF_ENTRY}
                arrays["feature"] = pa.FixedSizeListArray.from_arrays(features.reshape(-1), gallery.origin.width)
                arrays["thumbnail"] = images
                writer.write_batch(pa.record_batch(arrays, schema=schema))
                count += len(entries)
        sync_folder(path.parent)
    except FAILURES as error:
        raise InputError(f"{path}: cannot be written: {error}") from None
    return count


@contextmanager
def opened(path: Path) -> Iterator[Exported]:
    """A file that :func:`export` wrote, when all of it is checked. Raises InputError where it is no export of a
    gallery, or is damaged, naming the row, from 0, and the field of the first value that is wrong."""
    try:
        file = pq.ParquetFile(path, page_checksum_verification=True)
    except (*FAILURES, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as Parquet: {error}") from None
    with file:
        about = _about(path, file.schema_arrow)
        exported = Exported(path, file, about.origin, about.settings)
        for _ in exported.blocks():
            pass
        yield exported


@dataclass(frozen=True)
class Exported:
    """What made the features, and which settings the gallery had; see :func:`opened`."""

    path: Path
    file: pq.ParquetFile
    origin: Origin
    settings: Mapping[str, str]

    def blocks(self) -> Iterator[Block]:
        """The entries, some at a time, checked: another program may write to the file meanwhile."""
        row = 0
        try:
            for batch in self.file.iter_batches(BLOCK):
                batch.validate(full=True)
                yield _block(self.path, row, batch, self.origin.width)
                row += len(batch)
        except FAILURES as error:
            raise InputError(f"{self.path}: is damaged: {error}") from None


def import_(exported: Exported, gallery: Gallery, again: bool = False, who: str = "python") -> Added:
    """Add the entries of a file, some at a time, and those of its settings that the gallery has not; ``again``: also
    what was erased. An image that is there already, by source, frame and box, is passed over: so the same call goes on
    where it was interrupted. When entries were put in is kept. Each commit has its line in the audit log, with ``who``.
    Raises InputError where the features are of another origin, or a setting is none: nothing was added then."""
    intake = Intake(gallery, again, who, "import")
    exported.origin.check(gallery.origin, str(exported.path))
    settings = {name: value for name, value in exported.settings.items() if gallery.setting(name) is None}
    settings = usable_settings(settings, exported.origin, str(exported.path), intake.added.notes)
    for entries, features, images in exported.blocks():
        rows = intake.new_rows(entries)
        intake.put(entries, rows, features[rows], images)
    if not intake.added.ids:  # else a line for each page of what is there already
        gallery.record(who, "import")
    for name, value in settings.items():
        gallery.set(name, value)
    return intake.added


def usable_settings(settings: Mapping[str, str], origin: Origin, where: str, notes: list[str]) -> dict[str, str]:
    """Those that this version can use: of a calibration that it cannot, ``notes`` gets a sentence that says why. Raises
    InputError, beginning with ``where``, for a retention time or a time zone that is none."""
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
            if len(gallery.catalogue.present(ids)) == len(ids):
                raise
            continue  # with what is left
        there = gallery.catalogue.present(ids)  # since what was read of those that were erased meanwhile may be zeros
        rows = [row for row, id in enumerate(ids) if id in there]
        yield [there[ids[row]] for row in rows], features[rows], [images[row] for row in rows]
        after = ids[-1]


def _about(path: Path, schema: pa.Schema) -> About:
    """Of an export, whose columns are checked too."""
    try:
        about = About.model_validate_json((schema.metadata or {}).get(KEY, b""))
    except ValidationError as error:
        wrong = error.errors()[0]
        what = ".".join(["metadata", *map(str, wrong["loc"])]) + f": {wrong['msg']}, got {short(wrong['input'])}"
        raise InputError(f"{path}: is not the export of a gallery that this version of reid reads: {what}") from None
    if not 1 <= about.origin.width <= WIDEST:
        raise InputError(f"{path}: width is {about.origin.width}, expected 1 to {WIDEST:,}")
    wanted, where = columns(about.origin.width), f"{path}: has other columns than format {about.format}"
    if schema.names != wanted.names:
        raise InputError(f"{where}: {', '.join(schema.names)}; expected {', '.join(wanted.names)}")
    for field, other in zip(schema, wanted, strict=True):
        if field != other:
            kinds = [f"{column.type}{'' if column.nullable else ' not null'}" for column in (field, other)]
            raise InputError(f"{where}: {field.name} is {kinds[0]}, expected {kinds[1]}")
    return about


def _block(path: Path, first: int, batch: pa.RecordBatch, width: int) -> Block:
    """Entries from row ``first`` of the file on, checked."""
    rows = batch.select([*OF_ENTRY, "thumbnail"]).to_pylist()
    for number, row in enumerate(rows, first):
        for name, (holds, expected) in RULES.items():
            if row[name] is not None and not holds(row[name]):
                raise InputError(f"{path}, row {number}: {name} is {short(row[name])}, expected {expected}")
    features = batch.column("feature").flatten().to_numpy(zero_copy_only=False).reshape(-1, width)
    lengths = np.linalg.norm(features.astype(np.float64), axis=1)
    good = abs(lengths - 1) <= ROUNDING
    if not good.all():
        where, length = f"{path}, row {first + good.argmin()}", lengths[good.argmin()]
        raise InputError(f"{where}: feature has length {length:g}, expected 1 (a feature of zeros or NaN has none)")
    images = [row.pop("thumbnail") or b"" for row in rows]
    entries = [Entry(**{**row, "box": row["box"] and tuple(row["box"]), "id": 0}) for row in rows]
    return entries, features, images
