"""The small layer between the catalogue's SQL and a database: statements with ``?``, transactions, errors told."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from reid.errors import InputError

Row = tuple[Any, ...]


class Database(ABC):
    """One connection, as Python's DB-API 2.0 has it (PEP 249); its methods may be called from several threads, of which
    one at a time is let in.

    Attributes:
        shared: several processes may write at once; else they take turns.
        begin: the statement that begins a transaction.
        mark, among: what stands for a value, and for ``AMONG ?``.
    """

    shared: bool
    begin: str
    mark: str
    among: str
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

    @abstractmethod
    def make_room(self, first: int, last: int) -> None:
        """Be ready for entries with ids from ``first`` to ``last``; called within a transaction that gave them."""

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
                if self._has_begun():
                    self.run("ROLLBACK")
                raise
            finally:
                self._within = False

    @contextmanager
    def _cursor(self) -> Iterator[Any]:
        with self._lock, self._explained():
            yield self._connection().cursor()

    def _connection(self) -> Any:
        return self._db

    def _held_up(self, patience: float) -> InputError:
        return InputError(
            f"{self.location}: another program has been reading for more than {patience:g} seconds; what was erased "
            "may still lie there until the gallery is next written to"
        )

    def _own(self, sql: str) -> str:
        return sql.replace("AMONG ?", self.among).replace("?", self.mark)

    def _listed(self, values: Iterable[int | str]) -> object:
        """The one parameter that stands for many."""
        return [value if isinstance(value, str) else int(value) for value in values]

    @abstractmethod
    def _has_begun(self) -> bool:
        """Whether a transaction is to be rolled back: what went wrong may have ended it."""

    @abstractmethod
    def _explained(self) -> AbstractContextManager[None]:
        """What a person can mend as InputError; other complaints are bugs."""
