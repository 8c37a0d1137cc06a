"""The catalogue of a gallery, in plain SQL: what is known of each entry, settings, the audit log, what is under way.

What lies beyond the database (vectors, thumbnails) is written down as pending before it is touched, and struck off when
it is done. So an entry counts from the moment that its row is there, is gone from the moment that it is not, and who
finds pending work of a writer that died finishes or undoes it.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from reid.errors import InputError
from reid.gallery.catalogue.database import Database, Row
from reid.gallery.catalogue.thumbnails import LARGE, Place
from reid.gallery.entries import CHANGES, EVERYTHING, Change, Entry, Filter, Summary
from reid.gallery.times import EARLIEST, LATEST
from reid.gallery.vectors.rows import ALL, ROW, Narrow
from reid.networks import Origin

DAY = 86_400.0
ORIGIN = "origin"  # the setting that tells what made the features
COLUMNS = "e.id, f.text, e.name, c.text, n.text, e.time, e.until, e.frame, e.x0, e.y0, e.x1, e.y1, e.added"
FROM = "FROM entries e JOIN names f ON f.id = e.folder JOIN names c ON c.id = e.camera LEFT JOIN names n ON n.id = e.identity"
NUMBERS = "id, camera, coalesce(identity, -1), time, last, added"


@dataclass(frozen=True)
class Adding:
    """Ids that were given to a writer, and the pack for its thumbnails from byte ``start`` on."""

    first: int
    last: int
    pack: int
    start: int

    @property
    def ids(self) -> np.ndarray:
        return np.arange(self.first, self.last + 1)


@dataclass(frozen=True)
class Pending:
    """What writers that died have left under way: ids to take back or erase, thumbnails to overwrite, packs to cut to
    so many bytes, ids whose rows may have changed."""

    removed: np.ndarray
    places: list[Place]
    cuts: list[tuple[int, int]]
    changed: list[int]


class Catalogue:
    """Methods may be called from several threads; those that write need the turn where the database is not shared."""

    def __init__(self, db: Database, writer: int = 0) -> None:
        """``writer``: the mark of this process in a database that several write to."""
        self.db, self._writer = db, writer
        text = self.setting(ORIGIN)
        if text is None:
            raise InputError(f"{db.location}: tells no network: the making of the gallery was cut short; make another")
        self.origin = Origin(**json.loads(text))

    @classmethod
    def make(cls, db: Database, origin: Origin, writer: int = 0) -> Catalogue:
        with db.transaction():
            if not db.run("SELECT next FROM counters"):
                db.many("INSERT INTO counters VALUES (?, 1)", [("entry",), ("name",), ("pack",), ("audit",)])
                db.run("INSERT INTO settings VALUES (?, ?)", ORIGIN, json.dumps(asdict(origin)))
        return cls(db, writer)

    # --- reading

    def __len__(self) -> int:
        return int(self.db.run("SELECT count(*) FROM entries")[0][0])

    def get(self, ids: Sequence[int]) -> list[Entry]:
        """In the order asked for. Raises InputError naming an id that is not there."""
        condition, listed = self.db.among("e.id", ids)
        there = {row[0]: _entry(row) for row in self.db.run(f"SELECT {COLUMNS} {FROM} WHERE {condition}", listed)}
        return [there[id] if id in there else self._missing(id) for id in ids]

    def present(self, ids: Sequence[int]) -> dict[int, Entry]:
        """Those of the ids that are there."""
        condition, listed = self.db.among("e.id", ids)
        return {row[0]: _entry(row) for row in self.db.run(f"SELECT {COLUMNS} {FROM} WHERE {condition}", listed)}

    def find(self, wanted: Filter = EVERYTHING, limit: int | None = None, after: int = 0) -> list[Entry]:
        """Entries that pass with an id above ``after``, by rising id, the first ``limit``."""
        narrow, parts = self.narrow(wanted), [("e.id > ?", after)]
        if narrow.cameras is not None:
            parts.append(self.db.among("e.camera", narrow.cameras))
        if narrow.identities is not None:
            parts.append(self.db.among("e.identity", narrow.identities))
        if narrow.without:
            some, listed = self.db.among("e.camera", narrow.without)
            parts.append((f"NOT ({some})", listed))
        bounds = (("e.last >= ?", wanted.start), ("e.time <= ?", wanted.end))
        parts += [(condition, value) for condition, value in bounds if value is not None]
        sql = f"SELECT {COLUMNS} {FROM} WHERE {' AND '.join(part for part, _ in parts)} ORDER BY e.id"
        values = [value for _, value in parts]
        rows = self.db.run(sql, *values) if limit is None else self.db.run(f"{sql} LIMIT ?", *values, limit)
        return [_entry(row) for row in rows]

    def of_source(self, source: str) -> list[Entry]:
        folder, name = _parted(source)
        sql = f"SELECT {COLUMNS} {FROM} WHERE f.text = ? AND e.name = ? ORDER BY e.id"
        return [_entry(row) for row in self.db.run(sql, folder, name)]

    def expired(self, oldest: float, limit: int) -> list[int]:
        """Ids put in before ``oldest``, the first by it."""
        return [
            id for (id,) in self.db.run("SELECT id FROM entries WHERE added < ? ORDER BY added LIMIT ?", oldest, limit)
        ]

    def places(self, ids: Sequence[int]) -> list[Place]:
        """Where the thumbnails lie. Raises InputError naming an id that is not there."""
        condition, listed = self.db.among("id", ids)
        rows = self.db.run(f"SELECT id, pack, start, size FROM entries WHERE {condition}", listed)
        there = {row[0]: Place(*row[1:]) for row in rows}
        return [there[id] if id in there else self._missing(id) for id in ids]

    def known(self, column: str, values: Sequence[int]) -> dict[int, list[int]]:
        """Ids of the entries of each ``place`` or ``content`` (see :func:`place_of`, :func:`content_of`) there is."""
        condition, listed = self.db.among(column, values)
        found: dict[int, list[int]] = {}
        for value, id in self.db.run(f"SELECT {column}, id FROM entries WHERE {condition} ORDER BY id", listed):
            found.setdefault(value, []).append(id)
        return found

    def erased(self, places: Sequence[int]) -> set[int]:
        """Those of the places whose image was erased, and not put in again since."""
        condition, listed = self.db.among("place", places)
        return {place for (place,) in self.db.run(f"SELECT place FROM erasures WHERE {condition}", listed)}

    def narrow(self, wanted: Filter) -> Narrow:
        """A filter in numbers, as the vectors know them."""
        if wanted == EVERYTHING:
            return ALL
        cameras, identities = (
            tuple(self._numbers(kind, names).values()) if names else None
            for kind, names in (("camera", wanted.cameras), ("identity", wanted.identities))
        )
        without = tuple(self._numbers("camera", wanted.without).values())
        return Narrow(cameras, identities, without, wanted.start, wanted.end)

    def rows(self, ids: Sequence[int]) -> np.ndarray:
        """(N,) ROW of those that are there, by rising id."""
        condition, listed = self.db.among("id", ids)
        found = self.db.run(f"SELECT {NUMBERS} FROM entries WHERE {condition} ORDER BY id", listed)
        return np.array([_row(*values) for values in found], ROW)

    def ids(self) -> np.ndarray:
        """All, rising, (N,) int64."""
        return np.array([id for (id,) in self.db.run("SELECT id FROM entries ORDER BY id")], np.int64)

    def names(self, kind: str) -> list[str]:
        """All of the kind "camera" or "identity" that some entry has, sorted."""
        sql = f"SELECT text FROM names WHERE kind = ? AND id IN (SELECT {kind} FROM entries)"
        return sorted(text for (text,) in self.db.run(sql, kind))

    def summary(self) -> Summary:
        cameras = dict(
            self.db.run(
                "SELECT c.text, g.number FROM (SELECT camera, count(*) AS number FROM entries GROUP BY camera) g "
                "JOIN names c ON c.id = g.camera"
            )
        )
        identities, named = self.db.run("SELECT count(DISTINCT identity), count(identity) FROM entries")[0]
        first, last = self.db.run("SELECT min(time), max(last) FROM entries")[0]
        count = sum(cameras.values())
        return Summary(count, identities, count - named, dict(sorted(cameras.items())), first, last)

    def setting(self, name: str) -> str | None:
        rows = self.db.run("SELECT value FROM settings WHERE name = ?", name)
        return rows[0][0] if rows else None

    # --- writing

    def set(self, name: str, value: str | None) -> None:
        with self.db.transaction():
            self.db.run("DELETE FROM settings WHERE name = ?", name)
            if value is not None:
                self.db.run("INSERT INTO settings VALUES (?, ?)", name, value)

    def record(self, who: str, action: str, entries: Sequence[int], numbers: Mapping[str, float]) -> int:
        """A line in the audit log; its number."""
        with self.db.transaction():
            number = self._reserve("audit", 1)
            texts = json.dumps([int(id) for id in entries]), json.dumps(dict(numbers), allow_nan=False)
            self.db.run("INSERT INTO audit VALUES (?, ?, ?, ?, ?, ?)", number, time.time(), who, action, *texts)
        return number

    def log(self, after: int = 0, limit: int = 1000) -> list[dict[str, Any]]:
        """Lines of the audit log with a number above ``after``, oldest first."""
        rows = self.db.run("SELECT * FROM audit WHERE id > ? ORDER BY id LIMIT ?", after, limit)
        return [
            {"number": id, "time": moment, "who": who, "action": action, "entries": json.loads(entries)}
            | json.loads(more)
            for id, moment, who, action, entries, more in rows
        ]

    def begin_adding(self, count: int, day: int) -> Adding:
        """Give ids to ``count`` entries and name the pack for their thumbnails."""
        with self.db.transaction():
            first = self._reserve("entry", count)
            mine = "SELECT id, size FROM packs WHERE day = ? AND writer = ? AND size < ? ORDER BY id DESC LIMIT 1"
            packs = self.db.run(mine, day, self._writer, LARGE)
            pack, start = packs[0] if packs else (self._reserve("pack", 1), 0)
            if not packs:
                self.db.run("INSERT INTO packs VALUES (?, ?, ?, 0)", pack, day, self._writer)
            adding = Adding(first, first + count - 1, pack, start)
            values = (self._writer, adding.first, adding.last, pack, start)
            self.db.run("INSERT INTO pending VALUES ('add', ?, ?, ?, ?, ?, 0)", *values)
            self.db.make_room(adding.last)
        return adding

    def finish_adding(
        self,
        adding: Adding,
        entries: Sequence[Entry],
        rows: np.ndarray,
        contents: Sequence[int | None],
        places: Sequence[Place],
    ) -> None:
        """The entries count from now on. ``rows`` as :meth:`number` gave them."""
        with self.db.transaction():
            self._keep_names(entries, rows)
            folders = self._named("folder", [_parted(entry.source)[0] for entry in entries])
            records = zip(entries, rows.tolist(), folders, contents, places, strict=True)
            marks = ", ".join("?" * 19)
            self.db.many(f"INSERT INTO entries VALUES ({marks})", (_record(*record) for record in records))
            condition, listed = self.db.among("place", [place_of(entry) for entry in entries])
            self.db.run(f"DELETE FROM erasures WHERE {condition}", listed)
            used = sum(place.size for place in places)
            self.db.run("UPDATE packs SET size = ? WHERE id = ?", adding.start + used, adding.pack)
            self._settle("add", [adding.first])

    def number(self, entries: Sequence[Entry]) -> np.ndarray:
        """(N,) ROW of entries that have an id and a time of adding; their names get numbers."""
        cameras = self._named("camera", [entry.camera for entry in entries])
        known = [entry.identity for entry in entries if entry.identity is not None]
        identities = dict(zip(known, self._named("identity", known), strict=True))
        rows = np.zeros(len(entries), ROW)
        for place, (entry, camera) in enumerate(zip(entries, cameras, strict=True)):
            identity = -1 if entry.identity is None else identities[entry.identity]
            rows[place] = _row(entry.id, camera, identity, entry.time, _last(entry), entry.added)
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
            return any([self._change(ids, dict(some)) for some, ids in alike.items()])

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

    def scrub(self, ids: Sequence[int]) -> None:
        """Leave nothing of what was erased or changed in the tables' files: names that no entry has any more too."""
        unused = "NOT EXISTS (SELECT 1 FROM entries e WHERE e.{0} = names.id)"
        with self.db.transaction():
            self._reserve("name", 0)
            names = 0
            for kind in ("camera", "identity", "folder"):
                gone = self.db.run(f"DELETE FROM names WHERE kind = ? AND {unused.format(kind)} RETURNING id", kind)
                names += len(gone)
        self.db.scrub(ids, names > 0)

    def emptied(self) -> list[int]:
        """Packs that hold no entry's thumbnail any more, and are of no one who is adding; they are forgotten."""
        free = "id NOT IN (SELECT pack FROM entries) AND id NOT IN (SELECT pack FROM pending) AND size > 0"
        with self.db.transaction():
            return [id for (id,) in self.db.run(f"DELETE FROM packs WHERE {free} RETURNING id")]

    def settle(self, kind: str, ids: Sequence[int]) -> None:
        """Strike off what was pending."""
        with self.db.transaction():
            self._settle(kind, ids)

    def is_pending(self, ids: np.ndarray) -> np.ndarray:
        """(...) bool: which ids are being added at this moment, and do not count yet."""
        pending = np.zeros(ids.shape, bool)
        for first, last in self.db.run("SELECT first, last FROM pending WHERE kind = 'add'"):
            pending |= (ids >= first) & (ids <= last)
        return pending

    def left(self) -> Pending | None:
        """What writers that died have left, and this one where something failed, if anything; for who has the turn."""
        rows = self.db.run("SELECT writer, kind, first, last, pack, start, size FROM pending")
        dead = {self._writer, *self.db.died(sorted({row[0] for row in rows} - {self._writer}))}
        rows = [row[1:] for row in rows if row[0] in dead]
        if not rows:
            return None
        removed = [np.arange(first, last + 1) for kind, first, last, *_ in rows if kind != "change"]
        return Pending(
            np.concatenate([np.empty(0, np.int64), *removed]),
            [Place(*place) for kind, _, _, *place in rows if kind == "remove"],
            [(pack, start) for kind, _, _, pack, start, _ in rows if kind == "add"],
            [first for kind, first, *_ in rows if kind == "change"],
        )

    def unfinished(self) -> list[str]:
        """A sentence for each kind of pending work: a writer is at it, or the next one will be."""
        rows = self.db.run("SELECT kind, count(*) FROM pending GROUP BY kind ORDER BY kind")
        return [f"unfinished: {count:,} to {kind}; goes on when the gallery is next written to" for kind, count in rows]

    # --- parts of these

    def _settle(self, kind: str, ids: Sequence[int]) -> None:
        condition, listed = self.db.among("first", ids)
        self.db.run(f"DELETE FROM pending WHERE kind = ? AND {condition}", kind, listed)

    def _reserve(self, counter: str, count: int) -> int:
        """The first of so many numbers; within a transaction."""
        sql = "UPDATE counters SET next = next + ? WHERE name = ? RETURNING next"
        return int(self.db.run(sql, count, counter)[0][0]) - count

    def _keep_names(self, entries: Sequence[Entry], rows: np.ndarray) -> None:
        """Within a transaction: the names that got these numbers before are there, and stay until it ends. Another
        process may have found them unused meanwhile; whoever adds or takes away names holds their counter."""
        self._reserve("name", 0)
        used = {(row["camera"], "camera", entry.camera) for entry, row in zip(entries, rows, strict=True)}
        used |= {(row["identity"], "identity", entry.identity) for entry, row in zip(entries, rows, strict=True)}
        kept = [(int(number), kind, text) for number, kind, text in used if text is not None]
        self.db.many("INSERT INTO names VALUES (?, ?, ?) ON CONFLICT DO NOTHING", kept)
        condition, listed = self.db.among("id", [number for number, *_ in kept])
        if self.db.run(f"SELECT count(*) FROM names WHERE {condition}", listed)[0][0] < len(kept):
            raise InputError(f"{self.db.location}: a name was erased and given anew meanwhile: add these once more")

    def _numbers(self, kind: str, names: Sequence[str]) -> dict[str, int]:
        condition, listed = self.db.among("text", names)
        return dict(self.db.run(f"SELECT text, id FROM names WHERE kind = ? AND {condition}", kind, listed))

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

    def _missing(self, id: int) -> Any:
        raise InputError(f"{self.db.location}: no entry {id}")


def check(entry: Entry) -> None:
    """
    Raises:
        InputError: for what cannot be kept: text that is no Unicode, times outside the years 1 to 9999.
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


def place_of(entry: Entry) -> int:
    """Where an image lay, its file, frame and box, as a number: the same for the same place alone, but for one chance in
    10^19."""
    box = None if entry.box is None else [int(edge) for edge in entry.box]
    return _digest(json.dumps([entry.source, entry.frame, box]).encode())


def content_of(image: bytes) -> int | None:
    """A thumbnail as a number, the same for the same picture; None without one."""
    return _digest(image) if image else None


def _digest(content: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "little", signed=True)


def _parted(source: str) -> tuple[str, str]:
    """The folder, with the slash behind it, and the name."""
    folder, slash, name = source.rpartition("/")
    return folder + slash, name


def _last(entry: Entry) -> float | None:
    """When an entry of known time ended."""
    return None if entry.time is None else entry.time if entry.until is None else entry.until


def _row(id: int, camera: int, identity: int, time: float | None, last: float | None, added: float) -> tuple[Any, ...]:
    """The values of ROW."""
    return id, camera, identity, np.nan if time is None else time, np.nan if last is None else last, int(added // DAY)


def _record(entry: Entry, row: tuple[Any, ...], folder: int, content: int | None, place: Place) -> tuple[Any, ...]:
    """The columns of the table of entries."""
    _, camera, identity, *_ = row
    box = (None,) * 4 if entry.box is None else [int(edge) for edge in entry.box]
    return (
        entry.id, folder, _parted(entry.source)[1], camera, None if identity < 0 else identity, entry.time, entry.until,
        _last(entry), None if entry.frame is None else int(entry.frame), *box, entry.added, place_of(entry), content,
        *place,
    )  # fmt: skip


def _entry(row: Row) -> Entry:
    """From the values of COLUMNS."""
    id, folder, name, camera, identity, time, until, frame, *edges, added = row
    box = None if edges[0] is None else (edges[0], edges[1], edges[2], edges[3])
    return Entry(folder + name, camera, identity, time, until, frame, box, id, added)
