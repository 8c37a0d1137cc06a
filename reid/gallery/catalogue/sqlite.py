"""The catalogue in a file: SQLite in WAL mode. Readers go on whatever a writer does; writers take turns."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from reid.errors import InputError
from reid.gallery.catalogue.database import Database
from reid.gallery.catalogue.tables import FORMAT, tables
from reid.gallery.files import writing

APPLICATION = 0x52654964  # "ReId", in the file's header
MARKS = (f"PRAGMA application_id = {APPLICATION}", f"PRAGMA user_version = {FORMAT}")
WAITING = 60.0  # seconds for another process that writes: an erasure writes all of a file of some GB anew
PATIENCE = 5.0  # seconds that a reader may hold an erasure up
TABLES = tuple(tables({"int": "INTEGER", "real": "REAL", "text": "TEXT"}, " STRICT"))


class SQLite(Database):
    """See :class:`reid.gallery.catalogue.database.Database`."""

    shared = False
    begin, mark, among = "BEGIN IMMEDIATE", "?", "IN (SELECT value FROM json_each(?))"

    def __init__(self, path: Path, make: bool = False) -> None:
        """
        Args:
            make: the file, which its owner alone may read, and the tables, where there are none.

        Raises:
            InputError: for a file that is not a catalogue, one of another format, or one altered by others.
        """
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
        self.run(f"PRAGMA busy_timeout = {1000 * PATIENCE:.0f}")
        try:
            if self.run("PRAGMA wal_checkpoint(TRUNCATE)")[0][0]:
                raise self._held_up(PATIENCE)
        finally:
            self.run(f"PRAGMA busy_timeout = {1000 * WAITING:.0f}")

    def make_room(self, first: int, last: int) -> None:
        pass

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

    def _has_begun(self) -> bool:
        return bool(self._db.in_transaction)  # a full disk ends it by itself

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
