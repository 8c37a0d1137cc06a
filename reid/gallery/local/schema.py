"""The SQLite file of a local store: its tables, how it is opened, and how its rows become entries."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from reid.data.times import EARLIEST, LATEST
from reid.errors import InputError
from reid.gallery.entries import Entry, Filter
from reid.networks import Origin

FORMAT = 1
APPLICATION = 0x52654964  # "ReId", in the file's header
PATIENCE = 5.0  # seconds that a reader or another process may hold us up

# Thumbnails lie apart, so that going through the entries reads no picture.
TABLES = (
    "CREATE TABLE entries (id INTEGER PRIMARY KEY AUTOINCREMENT, slot INTEGER NOT NULL, source TEXT NOT NULL, "
    "camera TEXT NOT NULL, identity TEXT, time REAL, until REAL, frame INTEGER, x0 INTEGER, y0 INTEGER, x1 INTEGER, "
    "y1 INTEGER, added REAL NOT NULL) STRICT",
    "CREATE TABLE thumbnails (id INTEGER PRIMARY KEY, jpeg BLOB NOT NULL) STRICT",
    "CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID",
    "CREATE TABLE origin (name TEXT NOT NULL, width INTEGER NOT NULL, network TEXT NOT NULL, "
    "preprocessing TEXT NOT NULL) STRICT",
    "CREATE TABLE state (generation INTEGER NOT NULL, slots INTEGER NOT NULL, revision INTEGER NOT NULL, "
    "erasing INTEGER NOT NULL) STRICT",
)
COLUMNS = "source, camera, identity, time, until, frame, x0, y0, x1, y1, id, added"
INSERT = f"INSERT INTO entries ({COLUMNS}, slot) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
ANY_ID = "id IN (SELECT value FROM json_each(?))"
LAST = "CASE WHEN time IS NULL THEN NULL ELSE coalesce(until, time) END"  # when an entry of known time ended


@dataclass(frozen=True)
class State:
    """What is committed.

    Attributes:
        generation: of the vector file.
        slots: its committed rows; those of erased entries among them until the file is rewritten.
        revision: counts the changes other than adding.
        erasing: not 0 while bytes of erased or changed entries may lie in the files.
    """

    generation: int
    slots: int
    revision: int
    erasing: int


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """SQLite's complaints about the file (disk full, damaged, locked) as InputError; its others are bugs and pass."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        if type(error) not in (sqlite3.DatabaseError, sqlite3.OperationalError):
            raise
        raise InputError(f"{path}: {error}") from None


@contextmanager
def transaction(db: sqlite3.Connection, kind: str = "IMMEDIATE") -> Iterator[None]:
    """All or nothing; ``kind`` DEFERRED reads one state of the database."""
    db.execute(f"BEGIN {kind}")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def make(path: Path, origin: Origin) -> None:
    """A new database, whole, in one file."""
    db = sqlite3.connect(path, isolation_level=None)
    try:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        with transaction(db):
            for table in TABLES:
                db.execute(table)
            values = (origin.name, origin.width, origin.network, origin.preprocessing)
            db.execute("INSERT INTO origin VALUES (?, ?, ?, ?)", values)
            db.execute("INSERT INTO state VALUES (0, 0, 0, 0)")
            db.execute(f"PRAGMA application_id = {APPLICATION}")
            db.execute(f"PRAGMA user_version = {FORMAT}")
    finally:
        db.close()


def connect(path: Path, write: bool) -> sqlite3.Connection:
    """
    Raises:
        InputError: for a file that is not a store's database, one of another format, or one altered by others.
    """
    uri = f"{path.absolute().as_uri()}?mode={'rw' if write else 'ro'}"
    db = sqlite3.connect(uri, uri=True, timeout=PATIENCE, isolation_level=None, check_same_thread=False)
    try:
        db.execute("PRAGMA trusted_schema = OFF")
        if write:
            for pragma in ("journal_mode = WAL", "synchronous = FULL", "secure_delete = ON"):
                db.execute(f"PRAGMA {pragma}")
        if db.execute("PRAGMA application_id").fetchone()[0] != APPLICATION:
            raise InputError(f"{path}: is not the database of a gallery")
        version = db.execute("PRAGMA user_version").fetchone()[0]
        if version != FORMAT:
            raise InputError(f"{path}: has format {version}, this version of reid reads format {FORMAT}")
        tables = {
            text for (text,) in db.execute("SELECT sql FROM sqlite_schema WHERE name NOT LIKE 'sqlite!_%' ESCAPE '!'")
        }
        if tables != set(TABLES):  # a trigger or a view of someone else's would run as we write
            raise InputError(
                f"{path}: its tables are not those of format {FORMAT}: damaged, or altered by another program"
            )
    except BaseException:
        db.close()
        raise
    return db


def read_origin(db: sqlite3.Connection) -> Origin:
    return Origin(*db.execute("SELECT name, width, network, preprocessing FROM origin").fetchone())


def read_state(db: sqlite3.Connection) -> State:
    return State(*db.execute("SELECT generation, slots, revision, erasing FROM state").fetchone())


def check(entry: Entry) -> None:
    """
    Raises:
        InputError: for what a database cannot hold: text that is no Unicode, times outside the years 1 to 9999.
    """
    for name in ("source", "camera", "identity"):
        text = getattr(entry, name) or ""
        if "\0" in text or any("\ud800" <= letter <= "\udfff" for letter in text):
            raise InputError(f"entry: {name} {text!r} is not valid text")
    for name in ("time", "until", "added"):
        value = getattr(entry, name)
        if value is not None and not EARLIEST <= value <= LATEST:
            raise InputError(
                f"entry of {entry.source}: {name} is {value}, expected seconds since 1970 in the years 1 to 9999, or "
                "nothing"
            )


def to_row(entry: Entry, id: int, slot: int, added: float) -> tuple[object, ...]:
    """The values of INSERT. Raises InputError as :func:`check` does."""
    check(entry)
    box = (None,) * 4 if entry.box is None else [int(edge) for edge in entry.box]
    frame = None if entry.frame is None else int(entry.frame)
    return (
        entry.source,
        entry.camera,
        entry.identity,
        entry.time,
        entry.until,
        frame,
        *box,
        id,
        entry.added or added,
        slot,
    )


def to_entry(row: tuple) -> Entry:
    """From the values of COLUMNS."""
    source, camera, identity, time, until, frame, *edges, id, added = row
    box = None if edges[0] is None else (edges[0], edges[1], edges[2], edges[3])
    return Entry(source, camera, identity, time, until, frame, box, id, added)


def listed(values: Iterable[str | int]) -> str:
    """A parameter for ``IN (SELECT value FROM json_each(?))``: any number of values in one."""
    return json.dumps([value if isinstance(value, str) else int(value) for value in values])


def where(wanted: Filter) -> tuple[str, list[object]]:
    """Condition and parameters that let through what :meth:`Filter.passes` does."""
    parts: list[tuple[str, object]] = []
    if wanted.cameras:
        parts.append(("camera IN (SELECT value FROM json_each(?))", listed(wanted.cameras)))
    if wanted.identities:
        parts.append(("identity IN (SELECT value FROM json_each(?))", listed(wanted.identities)))
    if wanted.start is not None:
        parts.append((f"{LAST} >= ?", wanted.start))
    if wanted.end is not None:
        parts.append(("time <= ?", wanted.end))
    return " AND ".join(["1", *(part for part, _ in parts)]), [value for _, value in parts]
