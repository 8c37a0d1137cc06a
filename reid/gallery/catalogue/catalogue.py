"""The catalogue of a gallery, in plain SQL: what is known of each entry, settings, the audit log, what is under way.

What lies beyond the database (vectors, thumbnails) is written down as pending before it is touched, and struck off when
it is done. So an entry counts from the moment that its row is there, is gone from the moment that it is not, and who
finds pending work of a writer that died finishes or undoes it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from reid.data.times import DAY
from reid.errors import InputError
from reid.gallery.catalogue.database import Database, Row
from reid.gallery.catalogue.records import ORIGIN, Reader, check, content_of, last_of, parted, place_of, record_of
from reid.gallery.catalogue.thumbnails import LARGE, Place
from reid.gallery.entries import CHANGES, Change, Entry
from reid.gallery.vectors.rows import ROW
from reid.networks import Origin


@dataclass(frozen=True)
class Adding:
    """Entries that got ids, rising, and times of adding; their (N,) ROW; the pack for their thumbnails from byte
    ``start`` on."""

    entries: list[Entry]
    rows: np.ndarray
    pack: int
    start: int


class Pending(NamedTuple):
    """What a writer has under way: "add" of ids from ``first`` to ``last``, whose thumbnails lie from ``start`` of a
    pack on; of one id "remove", whose thumbnail lies there, "change" of old values, or "set" of what had none."""

    kind: str
    first: int
    last: int
    pack: int
    start: int
    size: int


class Catalogue(Reader):
    """Methods may be called from several threads; those that write need the turn where the database is not shared."""

    @classmethod
    def make(cls, db: Database, origin: Origin, writer: int = 0) -> Catalogue:
        """In a database with empty tables. Raises InputError: it holds a gallery, of which something is known."""
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

    def record(self, lines: Sequence[tuple[float, str, str, Sequence[int], Mapping[str, float]]]) -> int:
        """Lines in the audit log: times, who acted, what they did, with which entries, and numbers. The number of the
        first."""
        with self.db.transaction():
            first = self._reserve("audit", len(lines))
            rows = [
                (number, *line, json.dumps([int(id) for id in ids]), json.dumps(dict(more), allow_nan=False))
                for number, (*line, ids, more) in enumerate(lines, first)
            ]
            self.db.many("INSERT INTO audit VALUES (?, ?, ?, ?, ?, ?)", rows)
        return first

    def log(self, after: int = 0, limit: int = 1000) -> list[dict[str, Any]]:
        """Lines of the audit log with a number above ``after``, oldest first."""
        names = ("number", "time", "who", "action", "entries")
        rows = self.db.run("SELECT * FROM audit WHERE id > ? ORDER BY id LIMIT ?", after, limit)
        return [dict(zip(names, (*line, json.loads(ids)), strict=True)) | json.loads(more) for *line, ids, more in rows]

    def decide(self, first: int, second: int, same: bool | None) -> None:
        """What a person says of two entries; None takes it back. Raises NotThere for an id that is not there."""
        pair = sorted((first, second))
        with self.db.transaction():
            self._reserve("entry", 0)  # so that nobody erases one meanwhile
            self.places(pair)
            self.db.run("DELETE FROM decisions WHERE first = ? AND second = ?", *pair)
            if same is not None:
                self.db.run("INSERT INTO decisions VALUES (?, ?, ?, ?)", *pair, int(same), time.time())

    def begin_adding(self, entries: Sequence[Entry], keep_ids: bool = False) -> Adding:
        """Give entries ids, unless they keep theirs, and numbers to their names; name the pack for their thumbnails.
        Raises InputError: the ids to be kept do not rise, or not from above those that are there."""
        now = time.time()
        day = int((entries[0].added or now) // DAY)
        with self.db.transaction():
            if keep_ids:
                ids = self._kept(entries)
            else:
                first = self._reserve("entry", len(entries))
                ids = list(range(first, first + len(entries)))
            mine = "SELECT id, size FROM packs WHERE day = ? AND writer = ? AND size < ? ORDER BY id DESC LIMIT 1"
            packs = self.db.run(mine, day, self._writer, LARGE)
            pack, start = packs[0] if packs else (self._reserve("pack", 1), 0)
            if not packs:
                self.db.run("INSERT INTO packs VALUES (?, ?, ?, 0)", pack, day, self._writer)
            self._begin(ids[0], ids[-1], pack, start)
            self.db.make_room(ids[0], ids[-1])
        given = [replace(entry, id=id, added=entry.added or now) for id, entry in zip(ids, entries, strict=True)]
        cameras = self._named("camera", {entry.camera for entry in given})
        people = {None: -1} | self._named("identity", {entry.identity for entry in given if entry.identity is not None})
        rows = [
            (entry.id, cameras[entry.camera], people[entry.identity], entry.time, last_of(entry), entry.added // DAY)
            for entry in given
        ]
        return Adding(given, np.array(rows, ROW), pack, start)

    def finish_adding(self, adding: Adding, thumbnails: Sequence[bytes], places: Sequence[Place]) -> None:
        """The entries count from now on. Raises InputError: another process took this one for dead, and back what it
        had added."""
        mine = "DELETE FROM pending WHERE kind = 'add' AND writer = ? AND first = ? RETURNING first"
        entries = adding.entries
        with self.db.transaction():
            alive = self.db.run(mine, self._writer, entries[0].id)
            if alive:
                self._keep_names(adding)
                numbers = self._named("folder", {parted(entry.source)[0] for entry in entries})
                folders = [numbers[parted(entry.source)[0]] for entry in entries]
                records = map(record_of, entries, adding.rows.tolist(), folders, thumbnails, places)
                self.db.many(f"INSERT INTO entries VALUES ({', '.join('?' * 19)})", records)
                here, shown = map(place_of, entries), map(content_of, filter(None, thumbnails))
                self.db.run("DELETE FROM erasures WHERE number AMONG ?", [*here, *shown])
                end = adding.start + sum(map(len, thumbnails))
                self.db.run("UPDATE packs SET size = ? WHERE id = ?", end, adding.pack)
            else:  # what was written since is to be taken back too
                self._begin(entries[0].id, entries[-1].id, adding.pack, adding.start)
        if not alive:
            raise InputError(f"{self.db.location}: the connection was lost while these were added: add them again")

    def begin_removing(self, ids: Sequence[int]) -> None:
        """The entries are gone from now on. Raises InputError for an id not there."""
        with self.db.transaction():
            self._reserve("entry", 0)
            self.places(ids)
            pending = "SELECT 'remove', ?, id, id, pack, start, size FROM entries WHERE id AMONG ?"
            self.db.run(f"INSERT INTO pending {pending}", self._writer, ids)
            for column in ("place", "content"):
                numbers = f"SELECT DISTINCT {column}, {time.time()!r} FROM entries WHERE id AMONG ?"
                known = f"{numbers} AND {column} IS NOT NULL ON CONFLICT (number) DO NOTHING"
                self.db.run(f"INSERT INTO erasures {known}", ids)
            self.db.run("DELETE FROM entries WHERE id AMONG ?", ids)
            self.db.run("DELETE FROM decisions WHERE first AMONG ? OR second AMONG ?", ids, ids)

    def begin_changing(self, changes: Mapping[int, Mapping[Change, object]]) -> None:
        """Set identity, camera, time or until of entries, by id, all or none. Raises InputError for an id that is not
        there, another field, or a value that cannot be kept."""
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
            for some, ids in alike.items():
                self._change(ids, dict(some))

    def _change(self, ids: Sequence[int], values: dict[str, Any]) -> None:
        """Within a transaction. Where an old value gives way, it is to be scrubbed."""
        for kind in ("camera", "identity"):
            if values.get(kind) is not None:
                values[kind] = self._named(kind, [values[kind]])[values[kind]]
        lost = " OR ".join(["1 = 0", *(f"({name} IS NOT NULL AND {name} IS DISTINCT FROM ?)" for name in values)])
        query = f"SELECT count(*) FROM entries WHERE id AMONG ? AND ({lost})"
        what = "change" if self.db.run(query, ids, *values.values())[0][0] else "set"
        for name, value in values.items():
            self.db.run(f"UPDATE entries SET {name} = ? WHERE id AMONG ?", value, ids)
        last = "CASE WHEN time IS NULL THEN NULL ELSE coalesce(until, time) END"
        self.db.run(f"UPDATE entries SET last = {last} WHERE id AMONG ?", ids)
        pending = "SELECT ?, ?, id, id, 0, 0, 0 FROM entries WHERE id AMONG ?"
        self.db.run(f"INSERT INTO pending {pending}", what, self._writer, ids)

    def scrub(self, ids: Sequence[int], again: bool = False) -> None:
        """Leave nothing of what was erased or changed in the tables' files: names that no entry has any more too, and,
        where it was tried before and this is ``again``, those that went then, or were to be added."""
        gone = list[Row]()
        with self.db.transaction():
            self._reserve("name", 0)
            for kind in ("camera", "identity", "folder"):
                unused = f"NOT EXISTS (SELECT 1 FROM entries e WHERE e.{kind} = names.id)"
                gone += self.db.run(f"DELETE FROM names WHERE kind = ? AND {unused} RETURNING id", kind)
        self.db.scrub(ids, again or bool(gone))

    def drop_packs(self, packs: Collection[int], writers: Sequence[int], drop: Callable[[list[int]], None]) -> None:
        """Forget those of the packs that hold no entry's thumbnail any more, and are of no one who is adding but these
        writers, whose adding is taken back; ``drop`` deletes them, while nobody can begin to add."""
        # PostgreSQL goes through all entries once for each pack there is, where these are not named.
        empty = "id AMONG ? AND NOT EXISTS (SELECT 1 FROM entries e WHERE e.pack = packs.id)"
        free = "id NOT IN (SELECT pack FROM pending WHERE kind = 'add' AND NOT writer AMONG ?)"
        with self.db.transaction():
            self._reserve("entry", 0)
            sql = f"DELETE FROM packs WHERE {empty} AND {free} RETURNING id"
            drop([id for (id,) in self.db.run(sql, packs, writers)])

    def settle(self, writers: Sequence[int]) -> None:
        """Strike off what was pending of these writers."""
        self.db.run("DELETE FROM pending WHERE writer AMONG ?", writers)

    def left(self) -> tuple[list[int], list[Pending]]:
        """This writer and those that died, and what they have under way; for who has the turn."""
        writers = {writer for (writer,) in self.db.run("SELECT DISTINCT writer FROM pending")}
        dead = [self._writer, *self.db.died(sorted(writers - {self._writer}))] if writers else []
        # All of theirs: they are dead before this is asked.
        rows = self.db.run("SELECT kind, first, last, pack, start, size FROM pending WHERE writer AMONG ?", dead)
        return dead, [Pending(*row) for row in rows]

    # --- parts of these

    def _reserve(self, counter: str, count: int) -> int:
        """The first of so many numbers; within a transaction."""
        sql = "UPDATE counters SET next = next + ? WHERE name = ? RETURNING next"
        return int(self.db.run(sql, count, counter)[0][0]) - count

    def _kept(self, entries: Sequence[Entry]) -> list[int]:
        """The entries' own ids, within a transaction. Where writing them is cut off, all from the first to the last are
        taken back."""
        ids, first = [entry.id for entry in entries], self._reserve("entry", 0)
        tops = self.db.run("SELECT max(id) FROM entries UNION ALL SELECT max(last) FROM pending")
        top = max(top or 0 for (top,) in tops)
        if ids[0] <= top or (np.diff(ids) <= 0).any():
            raise InputError(f"{self.db.location}: entry {ids[0]} cannot keep its id: there is an entry {top}")
        self._reserve("entry", max(ids[-1] + 1 - first, 0))
        return ids

    def _begin(self, *adding: int) -> None:
        """Write down an adding: first and last id, pack and start."""
        self.db.run("INSERT INTO pending VALUES ('add', ?, ?, ?, ?, ?, 0)", self._writer, *adding)

    def _keep_names(self, adding: Adding) -> None:
        """Within a transaction: the names that got these numbers before are there, and stay until it ends. Another
        process may have found them unused meanwhile; whoever adds or takes away names holds their counter."""
        self._reserve("name", 0)
        used = {
            (number, kind, name)
            for kind in ("camera", "identity")
            for number, entry in zip(adding.rows[kind].tolist(), adding.entries, strict=True)
            if (name := getattr(entry, kind)) is not None
        }
        self.db.many("INSERT INTO names VALUES (?, ?, ?) ON CONFLICT DO NOTHING", used)
        there = self.db.run("SELECT count(*) FROM names WHERE id AMONG ?", [number for number, *_ in used])
        if there[0][0] < len(used):
            raise InputError(f"{self.db.location}: a name was erased and given anew meanwhile: add these once more")

    def _named(self, kind: str, names: Collection[str]) -> dict[str, int]:
        """The number of each name; new ones get one."""
        numbers = self._numbers(kind, names)
        new = sorted(set(names) - set(numbers))
        if new:
            with self.db.transaction():
                first = self._reserve("name", len(new))
                rows = [(number, kind, name) for number, name in enumerate(new, first)]
                self.db.many("INSERT INTO names VALUES (?, ?, ?) ON CONFLICT (kind, text) DO NOTHING", rows)
            numbers = self._numbers(kind, names)
        return numbers
