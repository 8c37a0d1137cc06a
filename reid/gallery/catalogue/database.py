"""The small layer between the catalogue's SQL and a database: statements with ``?``, transactions, errors told."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

Row = tuple[Any, ...]


class Database(ABC):
    """One connection; its methods may be called from several threads, of which one at a time is let in.

    Attributes:
        shared: several processes may write at once; else they take turns.
    """

    shared: bool

    def __init__(self, location: str) -> None:
        self.location = location
        self._lock, self._within = threading.RLock(), False

    @abstractmethod
    def run(self, sql: str, *values: object) -> list[Row]:
        """All rows of one statement. Raises InputError for what a person can mend: a full disk, a server gone."""

    @abstractmethod
    def many(self, sql: str, rows: Iterable[Sequence[object]]) -> None:
        """One statement for each row of values."""

    @abstractmethod
    def among(self, column: str, values: Sequence[int] | Sequence[str]) -> tuple[str, object]:
        """A condition that the column holds one of the values, however many, and its one parameter."""

    @abstractmethod
    def scrub(self, ids: Sequence[int], names: bool) -> None:
        """Write the tables anew, so that no file of theirs holds what was deleted or changed: the parts of ``entries``
        that ``ids`` lie in, and ``names`` where some went."""

    @abstractmethod
    def make_room(self, first: int, last: int) -> None:
        """Be ready for entries with ids from ``first`` to ``last``; called within a transaction that gave them."""

    @abstractmethod
    def died(self, writers: Sequence[int]) -> list[int]:
        """Of these marks of writers those whose process has ended."""

    @abstractmethod
    def problems(self) -> list[str]:
        """What the database says is wrong with its own files, a sentence each."""

    @abstractmethod
    def close(self) -> None: ...

    @abstractmethod
    def _begin(self) -> None: ...

    @abstractmethod
    def _end(self, commit: bool) -> None: ...

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing; within another one, a part of that."""
        with self._lock:
            if self._within:
                yield
                return
            self._begin()
            self._within = True
            try:
                yield
            except BaseException:
                self._end(commit=False)
                raise
            else:
                self._end(commit=True)
            finally:
                self._within = False
