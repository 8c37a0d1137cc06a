"""The small layer between the catalogue's SQL and a database: statements with ``?``, transactions, errors told; the
catalogue's tables, for every database; and SQLite.

A source is kept as its folder, which many share, and its name.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from reid.errors import InputError
from reid.gallery.files import writing

Row = tuple[Any, ...]
FORMAT = 2

ENTRIES = """CREATE TABLE entries (id {int} PRIMARY KEY, folder {int} NOT NULL, name {text} NOT NULL,
camera {int} NOT NULL, identity {int}, time {real}, until {real}, last {real}, frame {int},
x0 {int}, y0 {int}, x1 {int}, y1 {int}, added {real} NOT NULL, place {int} NOT NULL, content {int},
pack {int} NOT NULL, start {int} NOT NULL, size {int} NOT NULL)"""
INDEXED = ("folder", "camera", "identity", "time", "added", "place", "content")
OTHERS = (
    # What entries refer to: kind is "camera", "identity" or "folder".
    "CREATE TABLE names (id {int} PRIMARY KEY, kind {text} NOT NULL, text {text} NOT NULL, UNIQUE (kind, text))",
    "CREATE TABLE settings (name {text} PRIMARY KEY, value {text} NOT NULL)",
    "CREATE TABLE audit (id {int} PRIMARY KEY, time {real} NOT NULL, who {text} NOT NULL, action {text} NOT NULL,"
    " entries {text} NOT NULL, numbers {text} NOT NULL)",
    # What people say of two entries, the smaller id first: one person (1) or two (0).
    "CREATE TABLE decisions (first {int} NOT NULL, second {int} NOT NULL, same {int} NOT NULL, time {real} NOT NULL,"
    " PRIMARY KEY (first, second))",
    # Where erased images had lain and what they showed, as numbers, so that they are not put in again unasked.
    "CREATE TABLE erasures (number {int} PRIMARY KEY, time {real} NOT NULL)",
    # Files of thumbnails and their committed bytes.
    "CREATE TABLE packs (id {int} PRIMARY KEY, day {int} NOT NULL, writer {int} NOT NULL, size {int} NOT NULL)",
    # What is under way beyond the database: kind is "add" (ids from first to last), "remove" or "change" (one id).
    "CREATE TABLE pending (kind {text} NOT NULL, writer {int} NOT NULL, first {int} NOT NULL, last {int} NOT NULL,"
    " pack {int} NOT NULL, start {int} NOT NULL, size {int} NOT NULL)",
    # The next number of an entry, a name, a pack, a line of the audit log: rising, never used again.
    "CREATE TABLE counters (name {text} PRIMARY KEY, next {int} NOT NULL)",
)


def tables(types: Mapping[str, str], ending: str = "", partition: str = "") -> list[str]:
    """The statements that make them: ``ending`` goes behind each table, ``partition`` behind that of entries."""
    made = [ENTRIES + (partition or ending), *(table + ending for table in OTHERS)]
    indexes = [f"CREATE INDEX entries_{column} ON entries ({column})" for column in INDEXED]
    return [statement.format_map(types) for statement in (*made, *indexes)]


class Database(ABC):
    """One connection, as Python's DB-API 2.0 has it (PEP 249); its methods may be called from several threads, of which
    one at a time is let in.

    Attributes:
        shared: several processes may write at once; else they take turns.
        begin: the statement that begins a transaction.
        mark, among: what stands for a value, and for ``AMONG ?``.
        patience: seconds that another program may hold an erasure up.
    """

    shared: bool
    begin: str
    mark: str
    among: str
    patience = 5.0
    _db: Any

    def __init__(self, location: str) -> None:
        self.location = location
        self._lock, self._within = threading.RLock(), False

    def run(self, sql: str, *values: Any) -> list[Row]:
        """All rows of one statement; ``column AMONG ?`` takes a sequence of numbers or of texts, however many. Raises
        InputError for what a person can mend: a full disk, a server gone."""
        given = [value if isinstance(value, str | int | float | None) else self._listed(value) for value in values]
        with self._cursor() as cursor:
            cursor.execute(self._own(sql), given)
            return cursor.fetchall() if cursor.description else []

    def many(self, sql: str, rows: Iterable[Sequence[object]]) -> None:
        """One statement for each row of values."""
        with self._cursor() as cursor:
            cursor.executemany(self._own(sql), rows)

    @abstractmethod
    def scrub(self, ids: Sequence[int], names: bool) -> None:
        """Write the tables anew, so that no file of theirs holds what was deleted or changed: the parts of ``entries``
        that ``ids`` lie in, and ``names`` where some went."""

    def make_room(self, first: int, last: int) -> None:
        """Be ready for entries with ids from ``first`` to ``last``; called within a transaction that gave them."""
        return

    def died(self, writers: Sequence[int]) -> list[int]:
        """Of these marks of writers those whose process has ended: all, where who has the turn is alone."""
        return list(writers)

    def problems(self) -> list[str]:
        """What the database says is wrong with its own files, a sentence each; a server looks after them itself."""
        return []

    def close(self) -> None:
        with self._lock:
            self._db.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing; within another one, a part of that."""
        with self._lock:
            if self._within:
                yield
                return
            self.run(self.begin)
            self._within = True
            try:
                yield
                self.run("COMMIT")
            except BaseException:
                if not getattr(self._db, "closed", False):  # else it went with the server
                    with self._explained():
                        self._db.rollback()  # does nothing where it is over: a full disk ends it
                raise
            finally:
                self._within = False

    @contextmanager
    def _cursor(self) -> Iterator[Any]:
        with self._lock, self._explained():
            yield self._db.cursor()

    def _held_up(self) -> InputError:
        why = f"another program has been reading for more than {self.patience:g} seconds"
        still = "what was erased may still lie there until the gallery is next written to"
        return InputError(f"{self.location}: {why}; {still}")

    def _own(self, sql: str) -> str:
        return sql.replace("AMONG ?", self.among).replace("?", self.mark)

    def _listed(self, values: Iterable[int | str]) -> object:
        """The one parameter that stands for many."""
        return [value if isinstance(value, str) else int(value) for value in values]

    @abstractmethod
    def _explained(self) -> AbstractContextManager[None]:
        """What a person can mend as InputError; other complaints are bugs."""


APPLICATION = 0x52654964  # "ReId", in the file's header
MARKS = (f"PRAGMA application_id = {APPLICATION}", f"PRAGMA user_version = {FORMAT}")
WAITING = 60.0  # seconds for another process that writes: an erasure writes all of a file of some GB anew
TABLES = tuple(tables({"int": "INTEGER", "real": "REAL", "text": "TEXT"}, " STRICT"))


class SQLite(Database):
    """The catalogue in a file, in WAL mode: readers go on whatever a writer does; writers take turns."""

    shared = False
    begin, mark, among = "BEGIN IMMEDIATE", "?", "IN (SELECT value FROM json_each(?))"

    def __init__(self, path: Path, make: bool = False) -> None:
        """``make``: the file, which its owner alone may read, and the tables, where there are none. Raises InputError
        for a file that is not a catalogue, one of another format, or one altered by others."""
        super().__init__(str(path))
        if make:
            with writing(path):
                pass
        uri = f"{path.absolute().as_uri()}?mode=rw"
        with self._explained():
            self._db = sqlite3.connect(uri, uri=True, timeout=WAITING, isolation_level=None, check_same_thread=False)
        try:
            self.run("PRAGMA trusted_schema = OFF")
            if make and not self._tables():
                with self.transaction():
                    for statement in (*TABLES, *MARKS):
                        self.run(statement)
            self._check()
        except BaseException:
            self.close()
            raise

    def scrub(self, ids: Sequence[int], names: bool) -> None:
        """SQLite's ``secure_delete`` is not enough: it overwrites freed cells, but where a page was rebuilt to make
        room, copies of its cells stay in the gaps. A vacuumed file has only pages written anew."""
        self.run("VACUUM")
        self.run(f"PRAGMA busy_timeout = {1000 * self.patience:.0f}")
        try:
            if self.run("PRAGMA wal_checkpoint(TRUNCATE)")[0][0]:
                raise self._held_up()
        finally:
            self.run(f"PRAGMA busy_timeout = {1000 * WAITING:.0f}")

    def problems(self) -> list[str]:
        return [text for (text,) in self.run("PRAGMA integrity_check") if text != "ok"]

    def _tables(self) -> set[str]:
        query = "SELECT sql FROM sqlite_schema WHERE name NOT LIKE 'sqlite!_%' ESCAPE '!'"
        return {text for (text,) in self.run(query)}

    def _check(self) -> None:
        if self.run("PRAGMA application_id") != [(APPLICATION,)]:
            raise InputError(f"{self.location}: is not the catalogue of a gallery")
        version = self.run("PRAGMA user_version")[0][0]
        if version != FORMAT:
            raise InputError(f"{self.location}: has format {version}, this version of reid reads format {FORMAT}")
        if self._tables() != set(TABLES):  # another's trigger would run as we write
            raise InputError(f"{self.location}: its tables are not those of format {FORMAT}: damaged, or altered")
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "secure_delete = ON", "temp_store = MEMORY"):
            self.run(f"PRAGMA {pragma}")

    def _listed(self, values: Iterable[int | str]) -> str:
        return json.dumps(super()._listed(values))

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """SQLite's complaints about the file (disk full, damaged, locked) and numbers too large for it as InputError;
        its others are bugs."""
        try:
            yield
        except (sqlite3.DatabaseError, OverflowError) as error:
            if type(error) not in (sqlite3.DatabaseError, sqlite3.OperationalError, OverflowError):
                raise
            raise InputError(f"{self.location}: {error}") from None
