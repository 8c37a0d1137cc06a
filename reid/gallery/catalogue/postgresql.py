"""The catalogue on a PostgreSQL server, for several machines; transactions, users, TLS and locks are the server's.

The table of entries is parted by ranges of ids: a part is written anew where something of it was erased.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import psycopg

from reid.errors import InputError
from reid.gallery.catalogue.database import Database, tables
from reid.gallery.entries import ServerProblem

PART = 2**17  # ids of a part
TYPES = {"int": "BIGINT", "real": "DOUBLE PRECISION", "text": "TEXT"}
PARTED = " PARTITION BY RANGE (id)"
CONNECTING = 10  # seconds
PAUSE = 0.01
WRONG = (
    psycopg.OperationalError,
    psycopg.errors.InsufficientPrivilege,
    psycopg.errors.UndefinedTable,
    psycopg.errors.NumericValueOutOfRange,
)


class PostgreSQL(Database):
    """See :class:`reid.gallery.catalogue.database.Database`. Connects anew where the connection was lost."""

    shared = True
    begin, mark, among = "BEGIN", "%s", "= ANY(?)"

    def __init__(self, location: str, writer: int, make: bool = False) -> None:
        """``location``: ``postgresql://USER@HOST:PORT/DATABASE?sslmode=verify-full`` as libpq reads it; a password
        comes from PGPASSWORD or ~/.pgpass, never from here. A lock of the number ``writer`` is held as long as the
        connection lives. ``make``: the tables, where there are none."""
        super().__init__(location)
        self._writer = writer
        self._db = self._connected()
        there = self.run("SELECT to_regclass('entries')")[0][0]
        if make and not there:
            with self.transaction():
                for statement in tables(TYPES, partition=PARTED):
                    self.run(statement)
                # The server's statistics hold samples of what a column holds, longer than the entries.
                for table, column in (("entries", "name"), ("names", "text"), ("settings", "value")):
                    self.run(f"ALTER TABLE {table} ALTER COLUMN {column} SET STATISTICS 0")
        elif not there:
            self.close()
            raise InputError(f"{location}: holds no gallery")

    def scrub(self, ids: Sequence[int], names: bool) -> None:
        """A table written anew keeps what an older transaction may still read: those are waited for."""
        self._wait_for_readers()
        parts = [_part(part) for part in sorted({id // PART for id in ids})]
        there = [part for part in parts if self.run("SELECT to_regclass(?)", part)[0][0]]
        self.run(f"SET lock_timeout = {1000 * self.patience:.0f}")  # milliseconds
        try:
            for table in there + ["names"] * names:
                before = self.run("SELECT pg_relation_filenode(?)", table)
                self.run(f"VACUUM FULL {table}")
                if self.run("SELECT pg_relation_filenode(?)", table) == before:  # the server passed it over
                    still = "what was erased still lies there until the owner next writes to the gallery"
                    raise InputError(f"{self.location}: only its owner can write table {table} anew: {still}")
        finally:
            self.run("RESET lock_timeout")

    def _wait_for_readers(self) -> None:
        """Until no transaction in this database is older than this moment."""
        now = self.run("SELECT pg_current_xact_id()::xid")[0][0]
        others = "pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        age = "greatest(age(backend_xid), age(backend_xmin)) > age(CAST(? AS xid))"
        older = f"SELECT count(*) FROM {others} AND {age}"
        end = time.monotonic() + self.patience
        while self.run(older, now)[0][0]:
            if time.monotonic() > end:
                raise self._held_up()
            time.sleep(PAUSE)

    def make_room(self, first: int, last: int) -> None:
        for part in range(first // PART, last // PART + 1):
            if not self.run("SELECT to_regclass(?)", _part(part))[0][0]:
                bounds = f"FROM ({part * PART}) TO ({(part + 1) * PART})"
                self.run(f"CREATE TABLE {_part(part)} PARTITION OF entries FOR VALUES {bounds}")
                self.run(f"ALTER TABLE {_part(part)} ALTER COLUMN name SET STATISTICS 0")

    def died(self, writers: Sequence[int]) -> list[int]:
        ended = "SELECT CASE WHEN pg_try_advisory_lock(?) THEN pg_advisory_unlock(?) ELSE false END"
        return [writer for writer in writers if self.run(ended, writer, writer)[0][0]]

    @contextmanager
    def _cursor(self) -> Iterator[psycopg.Cursor]:
        with self._lock:
            if self._db.closed and not self._within:
                self._db = self._connected()
            with super()._cursor() as cursor:
                yield cursor

    def _connected(self) -> psycopg.Connection:
        with self._explained():
            try:
                db = psycopg.connect(self.location, autocommit=True, connect_timeout=CONNECTING)
            except psycopg.ProgrammingError as error:
                raise InputError(f"{self.location}: is no location of a database: {str(error).strip()}") from None
            db.execute("SELECT pg_advisory_lock(%s)", [self._writer])
            return db

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except psycopg.errors.LockNotAvailable:
            raise self._held_up() from None
        except WRONG as error:
            raise ServerProblem(f"{self.location}: {str(error).strip()}") from None


def _part(number: int) -> str:
    return f"entries_{number}"
