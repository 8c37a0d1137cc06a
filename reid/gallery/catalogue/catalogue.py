"""The catalogue of a gallery, in plain SQL: what is known of each entry, settings, the audit log, what is under way.

What lies beyond the database (vectors, thumbnails) is written down as pending before it is touched, and struck off when
it is done. So an entry counts from the moment that its row is there, is gone from the moment that it is not, and who
finds pending work of a writer that died finishes or undoes it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from reid.errors import InputError
from reid.gallery.catalogue.database import Database
from reid.gallery.catalogue.reader import ORIGIN, CatalogueReader
from reid.gallery.catalogue.records import check, last_of, parted, place_of, record_of, row_of
from reid.gallery.catalogue.thumbnails import LARGE, Place
from reid.gallery.entries import CHANGES, Change, Entry
from reid.gallery.vectors.rows import ROW
from reid.networks import Origin


@dataclass(frozen=True)
class Adding:
    """Ids (N,), rising, that were given to a writer, and the pack for its thumbnails from byte ``start`` on."""

    ids: np.ndarray
    pack: int
    start: int


@dataclass(frozen=True)
class Pending:
    """What writers that died have left under way: ids to take back or erase, thumbnails to overwrite, packs to cut to
    so many bytes, ids whose rows may have changed."""

    writers: list[int]
    removed: np.ndarray
    places: list[Place]
    cuts: list[tuple[int, int]]
    changed: list[int]


class Catalogue(CatalogueReader):
    """Methods may be called from several threads; those that write need the turn where the database is not shared."""

    @classmethod
    def make(cls, db: Database, origin: Origin, writer: int = 0) -> Catalogue:
        """In a database with empty tables.

        Raises:
            InputError: it holds a gallery already, of which something is known.
        """
        with db.transaction():
            counts: dict[str, int] = dict(db.run("SELECT name, next FROM counters"))
            if max(counts.values(), default=1) > 1 or len(db.run("SELECT name FROM settings")) > 1:
                raise InputError(f"{db.location}: holds a gallery already")
            db.run("DELETE FROM settings")  # of one who was killed as he made it
            if not counts:
                db.many("INSERT INTO counters VALUES (?, 1)", [("entry",), ("name",), ("pack",), ("audit",)])
            db.run("INSERT INTO settings VALUES (?, ?)", ORIGIN, json.dumps(asdict(origin)))
        return cls(db, writer)

    def set(self, name: str, value: str | None) -> None:
        with self.db.transaction():
            self.db.run("DELETE FROM settings WHERE name = ?", name)
            if value is not None:
                self.db.run("INSERT INTO settings VALUES (?, ?)", name, value)

    def record(self, who: str, action: str, entries: Sequence[int], numbers: Mapping[str, float]) -> int:
        """A line in the audit log; its number."""
        return self.record_all([(time.time(), who, action, entries, numbers)])

    def record_all(self, lines: Sequence[tuple[float, str, str, Sequence[int], Mapping[str, float]]]) -> int:
        """Lines of times, who acted, what they did, with which entries, and numbers; the number of the first."""
        with self.db.transaction():
            first = self._reserve("audit", len(lines))
            rows = [
                (
                    number,
                    moment,
                    who,
                    action,
                    json.dumps([int(id) for id in ids]),
                    json.dumps(dict(more), allow_nan=False),
                )
                for number, (moment, who, action, ids, more) in enumerate(lines, first)
            ]
            self.db.many("INSERT INTO audit VALUES (?, ?, ?, ?, ?, ?)", rows)
        return first

    def log(self, after: int = 0, limit: int = 1000) -> list[dict[str, Any]]:
        """Lines of the audit log with a number above ``after``, oldest first."""
        rows = self.db.run("SELECT * FROM audit WHERE id > ? ORDER BY id LIMIT ?", after, limit)
        return [
            {"number": id, "time": moment, "who": who, "action": action, "entries": json.loads(entries)}
            | json.loads(more)
            for id, moment, who, action, entries, more in rows
        ]

    def decide(self, first: int, second: int, same: bool | None) -> None:
        """What a person says of two entries; None takes it back. Raises NotThere for an id that is not there."""
        self.places([first, second])
        pair = sorted((first, second))
        with self.db.transaction():
            self.db.run("DELETE FROM decisions WHERE first = ? AND second = ?", *pair)
            if same is not None:
                self.db.run("INSERT INTO decisions VALUES (?, ?, ?, ?)", *pair, int(same), time.time())

    def begin_adding(self, count: int, day: int, kept: Sequence[int] = ()) -> Adding:
        """Give ids to ``count`` entries, or those ``kept``, and name the pack for their thumbnails.

        Raises:
            InputError: the ids to be kept do not rise, or not from above those that are there.
        """
        with self.db.transaction():
            first = self._reserve("entry", 0 if kept else count)
            ids = np.array(kept, np.int64) if kept else np.arange(first, first + count)
            if kept:
                self._check_kept(ids)
                self._reserve("entry", max(int(ids[-1]) + 1 - first, 0))
            mine = "SELECT id, size FROM packs WHERE day = ? AND writer = ? AND size < ? ORDER BY id DESC LIMIT 1"
            packs = self.db.run(mine, day, self._writer, LARGE)
            pack, start = packs[0] if packs else (self._reserve("pack", 1), 0)
            if not packs:
                self.db.run("INSERT INTO packs VALUES (?, ?, ?, 0)", pack, day, self._writer)
            bounds = int(ids[0]), int(ids[-1])
            self.db.run("INSERT INTO pending VALUES ('add', ?, ?, ?, ?, ?, 0)", self._writer, *bounds, pack, start)
            self.db.make_room(*bounds)
        return Adding(ids, pack, start)

    def finish_adding(
        self,
        adding: Adding,
        entries: Sequence[Entry],
        rows: np.ndarray,
        contents: Sequence[int | None],
        places: Sequence[Place],
    ) -> None:
        """The entries count from now on. ``rows`` as :meth:`number` gave them.

        Raises:
            InputError: another process took this one for dead, and back what it had added.
        """
        mine = "DELETE FROM pending WHERE kind = 'add' AND writer = ? AND first = ? RETURNING first"
        with self.db.transaction():
            if not self.db.run(mine, self._writer, int(adding.ids[0])):
                raise InputError(f"{self.db.location}: the connection was lost while these were added: add them again")
            self._keep_names(entries, rows)
            folders = self._named("folder", [parted(entry.source)[0] for entry in entries])
            lay = [place_of(entry) for entry in entries]
            records = zip(entries, rows.tolist(), folders, lay, contents, places, strict=True)
            marks = ", ".join("?" * 19)
            self.db.many(f"INSERT INTO entries VALUES ({marks})", (record_of(*record) for record in records))
            condition, listed = self.db.among("place", lay)
            self.db.run(f"DELETE FROM erasures WHERE {condition}", listed)
            used = sum(place.size for place in places)
            self.db.run("UPDATE packs SET size = ? WHERE id = ?", adding.start + used, adding.pack)

    def number(self, entries: Sequence[Entry]) -> np.ndarray:
        """(N,) ROW of entries that have an id and a time of adding; their names get numbers."""
        cameras = self._named("camera", [entry.camera for entry in entries])
        known = [entry.identity for entry in entries if entry.identity is not None]
        identities = dict(zip(known, self._named("identity", known), strict=True))
        rows = np.zeros(len(entries), ROW)
        for place, (entry, camera) in enumerate(zip(entries, cameras, strict=True)):
            identity = -1 if entry.identity is None else identities[entry.identity]
            rows[place] = row_of(entry.id, camera, identity, entry.time, last_of(entry), entry.added)
        return rows

    def begin_removing(self, ids: Sequence[int]) -> list[Place]:
        """The entries are gone from now on; where their thumbnails lie. Raises InputError for an id not there."""
        places = self.places(ids)
        condition, listed = self.db.among("id", ids)
        with self.db.transaction():
            self.db.run(
                "INSERT INTO pending SELECT 'remove', ?, id, id, pack, start, size FROM entries "
                f"WHERE {condition}", self._writer, listed,
            )  # fmt: skip
            self.db.run(
                f"INSERT INTO erasures SELECT DISTINCT place, {time.time()!r} FROM entries WHERE {condition} "
                "ON CONFLICT (place) DO NOTHING", listed,
            )  # fmt: skip
            self.db.run(f"DELETE FROM entries WHERE {condition}", listed)
            for column in ("first", "second"):
                decided, some = self.db.among(column, ids)
                self.db.run(f"DELETE FROM decisions WHERE {decided}", some)
        return places

    def begin_changing(self, changes: Mapping[int, Mapping[Change, object]]) -> bool:
        """Set identity, camera, time or until of entries, by id, all or none; whether old values gave way, which are to
        be scrubbed.

        Raises:
            InputError: for an id that is not there, another field, or a value that cannot be kept.
        """
        self.places(list(changes))
        alike: dict[tuple[tuple[str, object], ...], list[int]] = {}
        for id, values in changes.items():
            alike.setdefault(tuple(sorted(values.items())), []).append(id)
        for some in alike:
            unknown = {name for name, _ in some} - set(CHANGES)
            if unknown:
                raise InputError(f"{self.db.location}: {min(unknown)!r} cannot be changed, only {', '.join(CHANGES)}")
            check(Entry(**{"source": "", "camera": "", **dict(some)}))  # type: ignore[arg-type]
        with self.db.transaction():
            self._reserve("name", 0)
            dirty = [self._change(ids, dict(some)) for some, ids in alike.items()]
        return any(dirty)

    def _change(self, ids: Sequence[int], values: dict[str, Any]) -> bool:
        """Within a transaction."""
        condition, listed = self.db.among("id", ids)
        for kind in ("camera", "identity"):
            if values.get(kind) is not None:
                (values[kind],) = self._named(kind, [values[kind]])
        lost = " OR ".join(["1 = 0", *(f"({name} IS NOT NULL AND {name} IS DISTINCT FROM ?)" for name in values)])
        query = f"SELECT count(*) FROM entries WHERE {condition} AND ({lost})"
        dirty = bool(self.db.run(query, listed, *values.values())[0][0])
        for name, value in values.items():
            self.db.run(f"UPDATE entries SET {name} = ? WHERE {condition}", value, listed)
        last = "CASE WHEN time IS NULL THEN NULL ELSE coalesce(until, time) END"
        self.db.run(f"UPDATE entries SET last = {last} WHERE {condition}", listed)
        waiting = f"INSERT INTO pending SELECT 'change', ?, id, id, 0, 0, 0 FROM entries WHERE {condition}"
        self.db.run(waiting, self._writer, listed)
        return dirty

    def scrub(self, ids: Sequence[int], undone: bool = False) -> None:
        """Leave nothing of what was erased or changed in the tables' files: names that no entry has any more too, and
        those that a transaction was to add that was ``undone``."""
        unused = "NOT EXISTS (SELECT 1 FROM entries e WHERE e.{0} = names.id)"
        with self.db.transaction():
            self._reserve("name", 0)
            names = int(undone)
            for kind in ("camera", "identity", "folder"):
                gone = self.db.run(f"DELETE FROM names WHERE kind = ? AND {unused.format(kind)} RETURNING id", kind)
                names += len(gone)
        self.db.scrub(ids, names > 0)

    def drop_packs(self, drop: Callable[[list[int]], None]) -> None:
        """Forget packs that hold no entry's thumbnail any more, and are of no one who is adding; ``drop`` deletes them,
        while nobody can begin to add."""
        free = "id NOT IN (SELECT pack FROM entries) AND id NOT IN (SELECT pack FROM pending WHERE kind = 'add')"
        with self.db.transaction():
            self._reserve("entry", 0)
            packs = [id for (id,) in self.db.run(f"DELETE FROM packs WHERE {free} RETURNING id")]
            drop(packs)

    def settle(self, kind: str, ids: Sequence[int]) -> None:
        """Strike off what was pending of this writer."""
        condition, listed = self.db.among("first", ids)
        self.db.run(f"DELETE FROM pending WHERE kind = ? AND writer = ? AND {condition}", kind, self._writer, listed)

    def settle_all(self, writers: Sequence[int]) -> None:
        """Strike off what was pending of writers that died."""
        condition, listed = self.db.among("writer", writers)
        self.db.run(f"DELETE FROM pending WHERE {condition}", listed)

    def left(self) -> Pending | None:
        """What writers that died have left, and this one where something failed, if anything; for who has the turn."""
        writers = {writer for (writer,) in self.db.run("SELECT DISTINCT writer FROM pending")}
        if not writers:
            return None
        dead = [self._writer, *self.db.died(sorted(writers - {self._writer}))]
        condition, listed = self.db.among("writer", dead)  # all of theirs: they are dead before this is asked
        rows = self.db.run(f"SELECT kind, first, last, pack, start, size FROM pending WHERE {condition}", listed)
        if not rows:
            return None
        removed = [np.arange(first, last + 1) for kind, first, last, *_ in rows if kind != "change"]
        return Pending(
            dead,
            np.concatenate([np.empty(0, np.int64), *removed]),
            [Place(*place) for kind, _, _, *place in rows if kind == "remove"],
            [(pack, start) for kind, _, _, pack, start, _ in rows if kind == "add"],
            [first for kind, first, *_ in rows if kind == "change"],
        )

    # --- parts of these

    def _reserve(self, counter: str, count: int) -> int:
        """The first of so many numbers; within a transaction."""
        sql = "UPDATE counters SET next = next + ? WHERE name = ? RETURNING next"
        return int(self.db.run(sql, count, counter)[0][0]) - count

    def _check_kept(self, ids: np.ndarray) -> None:
        """Within a transaction. Where writing them is cut off, all from the first to the last are taken back."""
        tops = self.db.run("SELECT max(id) FROM entries UNION ALL SELECT max(last) FROM pending")
        top = max(top or 0 for (top,) in tops)
        if ids[0] <= top or (np.diff(ids) <= 0).any():
            raise InputError(f"{self.db.location}: entry {ids[0]} cannot keep its id: there is an entry {top}")

    def _keep_names(self, entries: Sequence[Entry], rows: np.ndarray) -> None:
        """Within a transaction: the names that got these numbers before are there, and stay until it ends. Another
        process may have found them unused meanwhile; whoever adds or takes away names holds their counter."""
        self._reserve("name", 0)
        used = {
            (int(row[kind]), kind, getattr(entry, kind))
            for entry, row in zip(entries, rows, strict=True)
            for kind in ("camera", "identity")
        }
        kept = [each for each in used if each[2] is not None]
        self.db.many("INSERT INTO names VALUES (?, ?, ?) ON CONFLICT DO NOTHING", kept)
        condition, listed = self.db.among("id", [number for number, *_ in kept])
        if self.db.run(f"SELECT count(*) FROM names WHERE {condition}", listed)[0][0] < len(kept):
            raise InputError(f"{self.db.location}: a name was erased and given anew meanwhile: add these once more")

    def _named(self, kind: str, names: Sequence[str]) -> list[int]:
        """The number of each name; new ones get one."""
        different = sorted(set(names))
        numbers = self._numbers(kind, different)
        new = [name for name in different if name not in numbers]
        if new:
            with self.db.transaction():
                first = self._reserve("name", len(new))
                self.db.many(
                    "INSERT INTO names VALUES (?, ?, ?) ON CONFLICT (kind, text) DO NOTHING",
                    [(first + place, kind, name) for place, name in enumerate(new)],
                )
            numbers = self._numbers(kind, different)
        return [numbers[name] for name in names]
