"""The reading half of the catalogue; see :mod:`reid.gallery.catalogue.catalogue`."""

from __future__ import annotations

import json
import sys
from collections.abc import Collection, Sequence
from math import inf, isnan
from typing import NoReturn

import numpy as np

from reid.data.times import DAY
from reid.errors import InputError
from reid.gallery.catalogue.database import Database
from reid.gallery.catalogue.records import ENTRIES, NO_TEXT, entry_of, parted
from reid.gallery.catalogue.thumbnails import Place
from reid.gallery.entries import EVERYTHING, Entry, Filter, NotThere, Summary
from reid.gallery.vectors.rows import ALL, ROW, Narrow
from reid.networks import Origin

ORIGIN = "origin"  # the setting that tells what made the features


class CatalogueReader:
    """Methods may be called from several threads."""

    def __init__(self, db: Database, writer: int = 0) -> None:
        """``writer``: the mark of this process in a database that several write to.

        Raises:
            InputError: the database tells no network.
        """
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
        """Those of the ids that are there."""
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
        rows = self.db.run("SELECT id, pack, start, size FROM entries WHERE id AMONG ?", ids)
        there = {row[0]: Place(*row[1:]) for row in rows}
        return [there[id] if id in there else self._missing(id) for id in ids]

    def places_after(self, id: int, limit: int) -> dict[int, Place]:
        """Where the thumbnails of the next entries lie, by id, rising."""
        rows = self.db.run("SELECT id, pack, start, size FROM entries WHERE id > ? ORDER BY id LIMIT ?", id, limit)
        return {row[0]: Place(*row[1:]) for row in rows}

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
        cameras: dict[str, int] = dict(
            self.db.run(
                "SELECT c.text, g.number FROM (SELECT camera, count(*) AS number FROM entries GROUP BY camera) g "
                "JOIN names c ON c.id = g.camera"
            )
        )
        sql = "SELECT count(*), count(DISTINCT identity), count(identity) FROM entries"
        count, identities, named = self.db.run(sql)[0]
        first, last = self.db.run("SELECT min(time), max(last) FROM entries")[0]
        return Summary(count, identities, count - named, dict(sorted(cameras.items())), first, last)

    def decisions(self, of: int | None = None) -> dict[tuple[int, int], bool]:
        """What people said of pairs of entries, of all or of those with one: whether they are one person."""
        sql, values = "SELECT first, second, same FROM decisions", list[object]()
        if of is not None:
            sql, values = f"{sql} WHERE first = ? OR second = ?", [of, of]
        return {(first, second): bool(same) for first, second, same in self.db.run(sql, *values)}

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
