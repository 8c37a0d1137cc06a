"""The catalogue in a file: SQLite in WAL mode. Readers go on whatever a writer does; writers take turns."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from reid.errors import InputError
from reid.gallery.catalogue.database import Database, Row
from reid.gallery.catalogue.tables import FORMAT, tables
from reid.gallery.files import sync_folder

APPLICATION = 0x52654964  # "ReId", in the file's header
PATIENCE = 5.0  # seconds that a reader or another process may hold us up
TABLES = tuple(tables({"int": "INTEGER", "real": "REAL", "text": "TEXT"}, " STRICT"))


class SQLite(Database):
    """See :class:`reid.gallery.catalogue.database.Database`."""

    shared = False

    def __init__(self, path: Path) -> None:
        """
        Raises:
            InputError: for a file that is not a catalogue, one of another format, or one altered by others.
        """
        super().__init__(str(path))
        uri = f"{path.absolute().as_uri()}?mode=rw"
        with self._explained():
            self._db = sqlite3.connect(uri, uri=True, timeout=PATIENCE, isolation_level=None, check_same_thread=False)
            try:
                self._check()
            except BaseException:
                self._db.close()
                raise

    @classmethod
    def make(cls, path: Path) -> SQLite:
        """A new one, whole, in one file that its owner alone may read."""
        partial = path.with_name(f".{path.name}.partial{os.getpid()}")
        os.close(os.open(partial, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600))
        partial.chmod(0o600)
        db = sqlite3.connect(partial, isolation_level=None)
        try:
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("BEGIN")
            for statement in TABLES:
                db.execute(statement)
            db.execute(f"PRAGMA application_id = {APPLICATION}")
            db.execute(f"PRAGMA user_version = {FORMAT}")
            db.execute("COMMIT")
        except sqlite3.OperationalError as error:
            raise InputError(f"{path}: cannot be written: {error}") from None
        finally:
            db.close()
        partial.rename(path)
        sync_folder(path.parent)
        return cls(path)

    def run(self, sql: str, *values: object) -> list[Row]:
        with self._lock, self._explained():
            return self._db.execute(sql, values).fetchall()

    def many(self, sql: str, rows: Iterable[Sequence[object]]) -> None:
        with self._lock, self._explained():
            self._db.executemany(sql, rows)

    def among(self, column: str, values: Sequence[int] | Sequence[str]) -> tuple[str, object]:
        listed = json.dumps([value if isinstance(value, str) else int(value) for value in values])
        return f"{column} IN (SELECT value FROM json_each(?))", listed

    def scrub(self, ids: Sequence[int], names: bool) -> None:
        """SQLite's ``secure_delete`` is not enough: it overwrites freed cells, but where a page was rebuilt to make
        room, copies of its cells stay in the gaps. A vacuumed file has only pages written anew."""
        self.run("VACUUM")
        if self.run("PRAGMA wal_checkpoint(TRUNCATE)")[0][0]:
            raise InputError(
                f"{self.location}: another program has been reading for more than {PATIENCE:g} seconds; what was "
                "erased may still lie in the file until the gallery is next written to"
            )

    def make_room(self, first: int, last: int) -> None:
        pass

    def died(self, writers: Sequence[int]) -> list[int]:
        return list(writers)  # whoever has the turn is alone

    def problems(self) -> list[str]:
        return [text for (text,) in self.run("PRAGMA integrity_check") if text != "ok"]

    def close(self) -> None:
        with self._lock:
            self._db.close()

    def _begin(self) -> None:
        self.run("BEGIN IMMEDIATE")

    def _end(self, commit: bool) -> None:
        if commit:
            self.run("COMMIT")
        elif self._db.in_transaction:  # a full disk ends it by itself
            self.run("ROLLBACK")

    def _check(self) -> None:
        self._db.execute("PRAGMA trusted_schema = OFF")
        if self._db.execute("PRAGMA application_id").fetchone()[0] != APPLICATION:
            raise InputError(f"{self.location}: is not the catalogue of a gallery")
        version = self._db.execute("PRAGMA user_version").fetchone()[0]
        if version != FORMAT:
            raise InputError(f"{self.location}: has format {version}, this version of reid reads format {FORMAT}")
        query = "SELECT sql FROM sqlite_schema WHERE name NOT LIKE 'sqlite!_%' ESCAPE '!'"
        if {text for (text,) in self._db.execute(query)} != set(TABLES):  # another's trigger would run as we write
            raise InputError(f"{self.location}: its tables are not those of format {FORMAT}: damaged, or altered")
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "secure_delete = ON", "temp_store = MEMORY"):
            self._db.execute(f"PRAGMA {pragma}")

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """SQLite's complaints about the file (disk full, damaged, locked) as InputError; its others are bugs."""
        try:
            yield
        except sqlite3.DatabaseError as error:
            if type(error) not in (sqlite3.DatabaseError, sqlite3.OperationalError):
                raise
            raise InputError(f"{self.location}: {error}") from None
