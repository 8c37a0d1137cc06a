"""Galleries of the version before the catalogue and the vectors were parted: read, and converted."""

from __future__ import annotations

import base64
import json
import math
import sqlite3
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from reid.errors import InputError
from reid.files import in_use
from reid.gallery.catalogue.database import APPLICATION
from reid.gallery.catalogue.records import place_of
from reid.gallery.entries import Entry
from reid.gallery.ingest.adding import Added
from reid.gallery.ingest.images import named
from reid.gallery.store import Gallery
from reid.gallery.transfer.parquet import Block, usable_settings
from reid.gallery.vectors.collection import Collection, client_of, reached
from reid.networks import Origin

CONVERTING = "converting"  # the setting that says, as long as it lasts, from where
PAGE = 2048  # entries
SPAN = 2**20  # ids that a page reaches over at most
PICTURES = 512  # thumbnails in one call, of up to 64 kB; a server sends no more than 64 MB
TEXTS_WIDTH = 2  # of the vectors that a collection of texts must have
NO_TIME = -1e300  # stands on Milvus for a time that is not known
FIELDS = ["id", "identity", "known", "camera", "source", "time", "until", "frame", "box", "added", "vector"]
COLUMNS = "source, camera, identity, time, until, frame, x0, y0, x1, y1, id, added, slot, jpeg"

Line = tuple[float, str, str, list[int], dict[str, float]]  # of an audit log, as Catalogue.record takes it


@dataclass(frozen=True)
class Earlier:
    """An earlier gallery, opened for reading: its audit log is a file, its ``pages`` are the entries by rising id, with
    features and thumbnails, without what an erasure that was cut off had still to erase."""

    location: str
    origin: Origin
    settings: Mapping[str, str]
    audit: Path
    pages: Iterator[Block]


def opened(location: str) -> AbstractContextManager[Earlier]:
    """A folder, ``milvus://HOST:PORT/COLLECTION``, or ``PATH.db`` of Milvus Lite. Raises InputError naming the
    location, where it is none of an earlier version, is damaged, or another process writes to it."""
    if location.endswith(".parquet"):
        raise InputError(f"{location}: is a file that export wrote: search.py import reads it")
    on_milvus = location.startswith("milvus:") or location.endswith(".db")
    return _collections(location) if on_milvus else _folder(Path(location).absolute())


def convert(old: Earlier, gallery: Gallery) -> Added:
    """Put all of an earlier gallery into a new one, which must be empty: entries keep ids and times of adding, since
    audit logs and people's notes name them. Where it was cut off, the same call goes on. Raises InputError where the
    new gallery holds other entries, or is of another network."""
    old.origin.check(gallery.origin, old.location)
    begun = gallery.setting(CONVERTING)
    if begun != old.location and (begun is not None or len(gallery)):
        why = "holds entries already" if begun is None else f"is being converted from {begun}"
        raise InputError(f"{gallery.location}: {why}: {old.location} needs a new gallery (--store names another place)")
    gallery.set(CONVERTING, old.location)
    added, now = Added(), time.time()
    for entries, features, images in old.pages:
        there = gallery.catalogue.present([entry.id for entry in entries])
        erased = gallery.catalogue.erased([place_of(entry) for entry in entries])
        rows = [row for row, entry in enumerate(entries) if entry.id not in there and place_of(entry) not in erased]
        # Whose time of adding has not come yet would never expire.
        given = [replace(entries[row], added=min(entries[row].added, now)) for row in rows]
        added.ids += gallery.add(given, features[rows], [images[row] for row in rows], keep_ids=True)
        added.known += len(there)
        added.erased += [named(entry) for entry in entries if entry.id not in there and place_of(entry) in erased]
    for name, value in usable_settings(old.settings, old.origin, old.location, added.notes).items():
        try:
            gallery.set(name, value)
        except InputError as error:  # an index that the vectors do not know where they lie now
            added.notes.append(f"the setting {name} was not taken over: {error}")
    lines, torn = _audit(old.audit)
    held = {(line["time"], line["who"], line["action"]) for line in gallery.catalogue.log(limit=sys.maxsize)}
    gallery.catalogue.record([line for line in lines if line[:3] not in held])
    if torn:
        added.notes.append(f"{old.audit}: {torn:,} lines are no records, and were not taken over")
    gallery.set(CONVERTING, None)
    return added


def _audit(path: Path) -> tuple[list[Line], int]:
    """The records of a file of JSON lines, and how many lines are none: a writer was killed there, or a person wrote
    by hand."""
    lines, torn = list[Line](), 0
    for text in path.read_bytes().split(b"\n") if path.exists() else ():
        try:
            values = json.loads(text)
            moment = datetime.fromisoformat(values.pop("time")).timestamp()
            who, action = str(values.pop("who")), str(values.pop("action"))
            entries = [int(id) for id in values.pop("entries")]
            if not all(math.isfinite(value) for value in values.values()):
                raise ValueError("not a number")
            lines.append((moment, who, action, entries, values))
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
            torn += bool(text.strip())
    return lines, torn


# --- a folder ---------------------------------------------------------------------------------------------------------


@contextmanager
def _folder(folder: Path) -> Iterator[Earlier]:
    """entries.db (SQLite) and vectors-N.f32, rows of float32 without a header."""
    path = folder / "entries.db"
    if not path.is_file():
        raise InputError(f"{folder}: is no gallery of an earlier version: it has no entries.db")
    if in_use(folder):
        raise InputError(f"{folder}: another process is writing to it; wait until it has ended")
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)) as db:
            db.execute("PRAGMA trusted_schema = OFF")
            marks = [db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")]
            if marks != [APPLICATION, 1]:
                raise InputError(f"{path}: is not the database of a gallery of an earlier version")
            db.execute("BEGIN")
            origin = Origin(*db.execute("SELECT name, width, network, preprocessing FROM origin").fetchone())
            generation, slots = db.execute("SELECT generation, slots FROM state").fetchone()
            vectors = _vectors(folder / f"vectors-{generation}.f32", slots, origin.width)
            settings = dict(db.execute("SELECT name, value FROM settings"))
            yield Earlier(str(folder), origin, settings, folder / "audit.jsonl", _pages(db, vectors, path))
    except sqlite3.DatabaseError as error:
        raise InputError(f"{path}: {error}") from None


def _vectors(path: Path, slots: int, width: int) -> np.ndarray:
    """(slots, width) float32, mapped."""
    needed = slots * width * 4
    if not path.is_file() or path.stat().st_size < needed:
        raise InputError(f"{path}: is missing, or shorter than the {needed:,} bytes that were written: damaged")
    return np.memmap(path, "<f4", "r", shape=(slots, width)) if slots else np.empty((0, width), np.float32)


def _pages(db: sqlite3.Connection, vectors: np.ndarray, path: Path) -> Iterator[Block]:
    query = f"SELECT {COLUMNS} FROM entries LEFT JOIN thumbnails USING (id) WHERE id > ? ORDER BY id LIMIT {PAGE}"
    after = 0
    while rows := db.execute(query, [after]).fetchall():
        rows = [row for row in rows if row[10] < rows[0][10] + SPAN]
        slots = [row[12] for row in rows]
        if not all(0 <= slot < len(vectors) for slot in slots):
            raise InputError(f"{path}: entries behind {after} have no features: damaged")
        entries = [_entry(row[:12]) for row in rows]
        yield entries, np.array(vectors[slots]), [row[13] or b"" for row in rows]
        after = entries[-1].id


def _entry(row: tuple[Any, ...]) -> Entry:
    """From the first twelve of COLUMNS."""
    source, camera, identity, time, until, frame, x0, y0, x1, y1, id, added = row
    return Entry(source, camera, identity, time, until, frame, None if x0 is None else (x0, y0, x1, y1), id, added)


# --- Milvus, a server or a file of Milvus Lite ------------------------------------------------------------------------


@contextmanager
def _collections(location: str) -> Iterator[Earlier]:
    """A collection of entries, and one of texts beside it."""
    lite = not location.startswith("milvus:")
    if lite and not Path(location).exists():
        raise InputError(f"{location}: expected milvus://HOST:PORT/COLLECTION, or a file of Milvus Lite")
    if lite:
        there = Collection(client_of(location, str(Path(location).absolute())), location, "gallery", TEXTS_WIDTH)
    else:
        there = reached(location, TEXTS_WIDTH)
    try:
        texts = _loaded(there, f"{there.name}_texts", TEXTS_WIDTH)
        values = json.loads(_texts(texts, 'key == "origin"').get("origin", "{}"))
        if values.pop("format", None) != 1:
            raise InputError(f"{location}: is no gallery of an earlier version")
        origin = Origin(**values)
        entries = _loaded(there, there.name, origin.width)
        settings = {key.partition(":")[2]: text for key, text in _texts(texts, 'key like "setting:%"').items()}
        name = Path(location).stem if lite else there.name
        audit = Path("runs/galleries") / name / "audit.jsonl"  # where the earlier version kept it
        yield Earlier(location, origin, settings, audit, _pages_of(entries, texts))
    finally:
        there.client.close()


def _loaded(beside: Collection, name: str, width: int) -> Collection:
    """The collection, or the copy that was to take its place when an erasure on Milvus Lite was cut off."""
    for each in (name, f"{name}_copy"):
        collection = Collection(beside.client, beside.location, each, width)
        if collection("has_collection"):
            collection("load_collection")
            return collection
    raise InputError(f"{beside.location}: there is no gallery: it has no collection {name!r}")


def _texts(collection: Collection, condition: str) -> dict[str, str]:
    return {row["key"]: row["value"] for row in collection.query(condition, ["key", "value"])}


def _pages_of(entries: Collection, texts: Collection) -> Iterator[Block]:
    """Entries whose adding or erasing was cut off are condemned, and left out."""
    stretches = [pair for text in _texts(texts, 'key like "condemned:%"').values() for pair in json.loads(text)]
    for ids in entries.ids():
        for first, last in stretches:
            ids = ids[(ids < first) | (ids > last)]
        for low in range(0, len(ids), PAGE):
            yield _page(entries, texts, ids[low : low + PAGE].tolist())


def _page(entries: Collection, texts: Collection, ids: list[int]) -> Block:
    images: dict[str, str] = {}
    for low in range(0, len(ids), PICTURES):
        keys = ", ".join(f'"thumbnail:{id}"' for id in ids[low : low + PICTURES])
        images |= _texts(texts, f"key in [{keys}]")
    rows = sorted(entries.query(f"id in {ids}", FIELDS), key=lambda row: row["id"])
    pictures = [base64.b64decode(images.get(f"thumbnail:{row['id']}", "")) for row in rows]
    return [_entry_of(row) for row in rows], np.array([row["vector"] for row in rows], np.float32), pictures


def _entry_of(row: dict[str, Any]) -> Entry:
    time, until = (None if row[name] == NO_TIME else row[name] for name in ("time", "until"))
    box = json.loads(row["box"]) if row["box"] else None
    return Entry(
        row["source"], row["camera"], row["identity"] if row["known"] else None, time, until,
        None if row["frame"] < 0 else row["frame"], box and tuple(box), row["id"], row["added"],
    )  # fmt: skip
