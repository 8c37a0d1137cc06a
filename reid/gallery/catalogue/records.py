"""The catalogue read: entries as rows of its tables, what may stand in them, and what is asked of them; see
:mod:`reid.gallery.catalogue.catalogue`."""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Collection, Sequence
from math import inf, isnan
from typing import Any, NoReturn

import numpy as np

from reid.data.times import DAY, EARLIEST, LATEST
from reid.errors import InputError
from reid.gallery.catalogue.database import Database, Row
from reid.gallery.catalogue.thumbnails import Place
from reid.gallery.entries import EVERYTHING, Entry, Filter, NotThere, Summary
from reid.gallery.vectors.rows import ALL, ROW, Narrow
from reid.networks import Origin

ORIGIN = "origin"  # the setting that tells what made the features
NO_TEXT = re.compile("[\0\ud800-\udfff]")  # what databases cannot hold
ENTRIES = (
    "SELECT e.id, f.text, e.name, c.text, n.text, e.time, e.until, e.frame, e.x0, e.y0, e.x1, e.y1, e.added "
    "FROM entries e JOIN names f ON f.id = e.folder JOIN names c ON c.id = e.camera "
    "LEFT JOIN names n ON n.id = e.identity"
)


def check(entry: Entry) -> None:
    """Raises InputError for what cannot be kept: text that is no Unicode, times outside the years 1 to 9999."""
    for name in ("source", "camera", "identity"):
        text = getattr(entry, name)
        if NO_TEXT.search(text or "") or (text is None and name != "identity"):
            raise InputError(f"entry: {name} {text!r} is not valid text")
    for name in ("time", "until", "added"):
        value = getattr(entry, name)
        if value is not None and not EARLIEST <= value <= LATEST:
            expected = "expected seconds since 1970 in the years 1 to 9999, or nothing"
            raise InputError(f"entry of {entry.source}: {name} is {value}, {expected}")


def place_of(entry: Entry) -> int:
    """Where an image lay, its file, frame and box, as a number: the same for the same place alone, but for
    one chance in 10^19."""
    box = None if entry.box is None else [int(edge) for edge in entry.box]
    return _digest(json.dumps([entry.source, entry.frame, box]).encode())


def content_of(image: bytes) -> int | None:
    """A thumbnail as a number, the same for the same picture; None without one."""
    return _digest(image) if image else None


def _digest(content: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "little", signed=True)


def parted(source: str) -> tuple[str, str]:
    """The folder, with the slash behind it, and the name."""
    folder, slash, name = source.rpartition("/")
    return folder + slash, name


def last_of(entry: Entry) -> float | None:
    """When an entry of known time ended."""
    return None if entry.time is None else entry.time if entry.until is None else entry.until


def record_of(entry: Entry, row: tuple[Any, ...], folder: int, thumbnail: bytes, place: Place) -> tuple[Any, ...]:
    """The columns of the table of entries; ``row``: the values of its ROW."""
    _, camera, identity, *_ = row
    box = (None,) * 4 if entry.box is None else [int(edge) for edge in entry.box]
    return (
        entry.id, folder, parted(entry.source)[1], camera, None if identity < 0 else identity, entry.time, entry.until,
        last_of(entry), None if entry.frame is None else int(entry.frame), *box, entry.added, place_of(entry),
        content_of(thumbnail), *place,
    )  # fmt: skip


def entry_of(row: Row) -> Entry:
    """From a row of ENTRIES."""
    id, folder, name, camera, identity, time, until, frame, *edges, added = row
    box = None if edges[0] is None else (edges[0], edges[1], edges[2], edges[3])
    return Entry(folder + name, camera, identity, time, until, frame, box, id, added)


class Reader:
    """Methods may be called from several threads."""

    def __init__(self, db: Database, writer: int = 0) -> None:
        """``writer``: the mark of this process in a database that several write to. Raises InputError where the
        database tells no network."""
        self.db, self._writer = db, writer
        text = self.setting(ORIGIN)
        if text is None:
            raise InputError(f"{db.location}: tells no network: the making of the gallery was cut short; make another")
        self.origin = Origin(**json.loads(text))

    def __len__(self) -> int:
        return int(self.db.run("SELECT count(*) FROM entries")[0][0])

    def get(self, ids: Sequence[int]) -> list[Entry]:
        """In the order asked for. Raises InputError naming an id that is not there."""
        there = self.present(ids)
        return [there[id] if id in there else self._missing(id) for id in ids]

    def present(self, ids: Sequence[int]) -> dict[int, Entry]:
        """Those of the ids that are there; others may have been erased meanwhile."""
        return {row[0]: entry_of(row) for row in self.db.run(f"{ENTRIES} WHERE e.id AMONG ?", ids)}

    def find(self, wanted: Filter = EVERYTHING, limit: int | None = None, after: int = 0) -> list[Entry]:
        """Entries that pass with an id above ``after``, by rising id, the first ``limit``."""
        condition, values = self._where(wanted)
        sql = f"{ENTRIES} WHERE e.id > ? AND {condition} ORDER BY e.id LIMIT ?"
        return [entry_of(row) for row in self.db.run(sql, after, *values, sys.maxsize if limit is None else limit)]

    def counts(self, wanted: Filter = EVERYTHING) -> tuple[int, int | None]:
        """Entries that pass, and of how many people they are: None unless each has a name."""
        condition, values = self._where(wanted)
        sql = f"SELECT count(*), count(identity), count(DISTINCT identity) FROM entries e WHERE {condition}"
        count, named, people = self.db.run(sql, *values)[0]
        return count, people if count and named == count else None

    def _where(self, wanted: Filter) -> tuple[str, list[object]]:
        """Condition on ``entries e`` that lets through what ``wanted`` does, and its parameters. Nothing is later or
        earlier than NaN: databases differ there, so such a bound becomes one that nothing meets."""
        narrow = self.narrow(wanted)
        parts = {
            "e.camera AMONG ?": narrow.cameras,
            "e.identity AMONG ?": narrow.identities,
            "NOT e.camera AMONG ?": narrow.without or None,
            "e.last >= ?": inf if isnan(narrow.start or 0) else narrow.start,
            "e.time <= ?": -inf if isnan(narrow.end or 0) else narrow.end,
        }
        set_ = {condition: value for condition, value in parts.items() if value is not None}
        return " AND ".join(["1 = 1", *set_]), list(set_.values())

    def of_source(self, source: str) -> list[Entry]:
        sql = f"{ENTRIES} WHERE f.text = ? AND e.name = ? ORDER BY e.id"
        return [] if NO_TEXT.search(source) else [entry_of(row) for row in self.db.run(sql, *parted(source))]

    def expired(self, oldest: float, limit: int) -> list[int]:
        """Ids put in before ``oldest``, the first by it."""
        sql = "SELECT id FROM entries WHERE added < ? ORDER BY added LIMIT ?"
        return [id for (id,) in self.db.run(sql, oldest, limit)]

    def places(self, ids: Sequence[int]) -> list[Place]:
        """Where the thumbnails lie. Raises InputError naming an id that is not there."""
        there = self._places("id AMONG ?", ids)
        return [there[id] if id in there else self._missing(id) for id in ids]

    def places_after(self, id: int, limit: int) -> dict[int, Place]:
        """Where the thumbnails of the next entries lie, by id, rising."""
        return self._places("id > ? ORDER BY id LIMIT ?", id, limit)

    def _places(self, condition: str, *values: object) -> dict[int, Place]:
        rows = self.db.run(f"SELECT id, pack, start, size FROM entries WHERE {condition}", *values)
        return {id: Place(*place) for id, *place in rows}

    def known(self, column: str, values: Sequence[int]) -> dict[int, list[int]]:
        """Ids of the entries of each ``place`` or ``content`` (see :func:`place_of`, :func:`content_of`) there is."""
        found: dict[int, list[int]] = {}
        for value, id in self.db.run(f"SELECT {column}, id FROM entries WHERE {column} AMONG ? ORDER BY id", values):
            found.setdefault(value, []).append(id)
        return found

    def erased(self, numbers: Sequence[int]) -> set[int]:
        """Those of the places and pictures that were erased, and not put in again since."""
        return {number for (number,) in self.db.run("SELECT number FROM erasures WHERE number AMONG ?", numbers)}

    def narrow(self, wanted: Filter) -> Narrow:
        """A filter in numbers, as the vectors know them."""
        if wanted == EVERYTHING:
            return ALL
        cameras = tuple(self._numbers("camera", wanted.cameras).values()) if wanted.cameras else None
        identities = tuple(self._numbers("identity", wanted.identities).values()) if wanted.identities else None
        without = tuple(self._numbers("camera", wanted.without).values())
        return Narrow(cameras, identities, without, wanted.start, wanted.end)

    def rows(self, ids: Sequence[int]) -> np.ndarray:
        """(N,) ROW of those that are there, by rising id."""
        columns = "id, camera, coalesce(identity, -1), time, last, added"
        found = self.db.run(f"SELECT {columns} FROM entries WHERE id AMONG ? ORDER BY id", ids)
        return np.array([(*values, int(added // DAY)) for *values, added in found], ROW)

    def ids(self) -> np.ndarray:
        """All, rising, (N,) int64."""
        return np.array([id for (id,) in self.db.run("SELECT id FROM entries ORDER BY id")], np.int64)

    def names(self, kind: str) -> list[str]:
        """All of the kind "camera" or "identity" that some entry has, sorted."""
        sql = f"SELECT text FROM names WHERE kind = ? AND id IN (SELECT {kind} FROM entries)"
        return sorted(text for (text,) in self.db.run(sql, kind))

    def summary(self) -> Summary:
        numbers = "(SELECT camera, count(*) AS number FROM entries GROUP BY camera)"
        sql = f"SELECT c.text, g.number FROM {numbers} g JOIN names c ON c.id = g.camera"
        cameras: dict[str, int] = dict(self.db.run(sql))
        sql = "SELECT count(*), count(DISTINCT identity), count(identity) FROM entries"
        count, identities, named = self.db.run(sql)[0]
        first, last = self.db.run("SELECT min(time), max(last) FROM entries")[0]
        return Summary(count, identities, count - named, dict(sorted(cameras.items())), first, last)

    def decisions(self, of: int | None = None) -> dict[tuple[int, int], bool]:
        """What people said of pairs of entries, of all or of those with one: whether they are one person."""
        condition, values = ("1 = 1", []) if of is None else ("first = ? OR second = ?", [of, of])
        rows = self.db.run(f"SELECT first, second, same FROM decisions WHERE {condition}", *values)
        return {(first, second): bool(same) for first, second, same in rows}

    def setting(self, name: str) -> str | None:
        rows = self.db.run("SELECT value FROM settings WHERE name = ?", name)
        return rows[0][0] if rows else None

    def is_pending(self, ids: np.ndarray) -> np.ndarray:
        """(...) bool: which ids are being added at this moment, and do not count yet, or erased, and do no more."""
        pending = np.zeros(ids.shape, bool)
        for first, last in self.db.run("SELECT first, last FROM pending WHERE kind IN ('add', 'remove')"):
            pending |= (ids >= first) & (ids <= last)
        return pending

    def unfinished(self) -> list[str]:
        """A sentence for each kind of pending work: a writer is at it, or the next one will be."""
        rows = self.db.run("SELECT kind, count(*) FROM pending GROUP BY kind ORDER BY kind")
        return [f"unfinished: {count:,} to {kind}; goes on when the gallery is next written to" for kind, count in rows]

    def _numbers(self, kind: str, names: Collection[str]) -> dict[str, int]:
        fit = [name for name in names if not NO_TEXT.search(name)]
        return dict(self.db.run("SELECT text, id FROM names WHERE kind = ? AND text AMONG ?", kind, fit))

    def _missing(self, id: int) -> NoReturn:
        raise NotThere(f"{self.db.location}: no entry {id}")
