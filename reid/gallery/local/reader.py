"""The reading half of a local store; see :mod:`reid.gallery.local.store`. It needs no lock, whatever a writer does."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from sqlite3 import Connection
from types import TracebackType
from typing import TYPE_CHECKING, Literal, NoReturn, Self

import numpy as np

from reid.errors import InputError
from reid.gallery.entries import EVERYTHING, Entry, Filter, Hits, Summary
from reid.gallery.local import indexing, schema, vectors
from reid.gallery.local.columns import ROW, Columns
from reid.gallery.local.indexing import IndexReport
from reid.gallery.local.verify import problems
from reid.retrieval.unit import unit_rows

if TYPE_CHECKING:
    from reid.retrieval.compressed import CompressedIndex, Kind

DATABASE = "entries.db"


@dataclass(frozen=True)
class Snapshot:
    """One committed state, in memory; the vectors are mapped."""

    state: schema.State
    columns: Columns
    vectors: np.ndarray


class StoreReader:
    """Methods may be called from several threads. Between calls no transaction is open."""

    def __init__(self, folder: Path, write: bool) -> None:
        self.folder, self.location = folder, str(folder)
        self._lock = threading.RLock()  # around the connection and what is held; no search runs under it
        self._held: Snapshot | None = None
        self._index: tuple[Path, CompressedIndex] | None = None
        with schema.explained(folder / DATABASE):
            self._db = schema.connect(folder / DATABASE, write)
            self.origin = schema.read_origin(self._db)

    def close(self) -> None:
        with self._lock:
            self._held = self._index = None
            self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __len__(self) -> int:
        with self._reading() as db:
            return int(db.execute("SELECT count(*) FROM entries").fetchone()[0])

    def get(self, ids: Sequence[int]) -> list[Entry]:
        with self._reading() as db:
            query = f"SELECT {schema.COLUMNS} FROM entries WHERE {schema.ANY_ID}"
            entries = {entry.id: entry for entry in map(schema.to_entry, db.execute(query, [schema.listed(ids)]))}
        return [entries[id] if id in entries else self._missing(id) for id in ids]

    def find(self, wanted: Filter = EVERYTHING, limit: int | None = None, after: int = 0) -> list[Entry]:
        condition, values = schema.where(wanted)
        query = f"SELECT {schema.COLUMNS} FROM entries WHERE id > ? AND {condition} ORDER BY id LIMIT ?"
        with self._reading() as db:
            rows = db.execute(query, [after, *values, -1 if limit is None else limit])
            return [schema.to_entry(row) for row in rows]

    def thumbnail(self, id: int) -> bytes:
        with self._reading() as db:
            row = db.execute("SELECT jpeg FROM thumbnails WHERE id = ?", [int(id)]).fetchone()
        return row[0] if row else self._missing(id)

    def features(self, ids: Sequence[int]) -> np.ndarray:
        held = self._snapshot()
        slots = held.columns.slots(np.array(ids, np.int64).reshape(-1))
        if (slots < 0).any():
            self._missing(ids[int(np.argmin(slots))])
        return held.vectors[slots]

    def search(self, queries: np.ndarray, k: int, wanted: Filter = EVERYTHING) -> Hits:
        queries = unit_rows(queries, self.origin.width, "queries")
        with self._lock:
            held = self._snapshot(whole=wanted != EVERYTHING)
            index = self._loaded_index(held)
        allowed = held.columns.allowed(wanted, held.state.slots)
        slots, distances = indexing.search(index, queries, held.vectors, k, allowed)
        return Hits(held.columns.ids(slots), distances)

    def summary(self) -> Summary:
        return self._snapshot(whole=True).columns.summary()

    def setting(self, name: str) -> str | None:
        with self._reading() as db:
            row = db.execute("SELECT value FROM settings WHERE name = ?", [name]).fetchone()
        return row[0] if row else None

    def index_state(self) -> IndexReport:
        """How a search is done now."""
        with self._lock:
            held = self._snapshot()
            return indexing.report(self._loaded_index(held), held.vectors, self._wanted_kind(held))

    def verify(self, progress: bool = False) -> list[str]:
        """What is wrong with the files, one sentence a problem; see :func:`reid.gallery.local.verify.problems`."""
        with self._reading() as db:
            return problems(db, self.folder, self.origin.width, progress)

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        with self._lock, schema.explained(self.folder / DATABASE):
            yield self._db

    def _missing(self, id: int) -> NoReturn:
        raise InputError(f"{self.location}: no entry {id}")

    def _snapshot(self, whole: bool = False) -> Snapshot:
        """What is committed now, with ``whole`` columns where asked for; read again only where that changed."""
        with self._reading() as db:
            while True:
                with schema.transaction(db, "DEFERRED"):
                    state = schema.read_state(db)
                    if self._held and self._held.state == state and (self._held.columns.whole or not whole):
                        return self._held
                    columns = self._columns(state, whole).extended(db)
                rows = self._mapped(state)
                if rows is not None:
                    self._held = Snapshot(state, columns, rows)
                    return self._held

    def _columns(self, state: schema.State, whole: bool) -> Columns:
        """Those held, where they will do and entries were only added since; else none."""
        held, none = self._held, Columns(np.empty(0, ROW)) if whole else Columns()
        if held is None or (whole and not held.columns.whole):
            return none
        only_added = (held.state.generation, held.state.revision) == (state.generation, state.revision)
        return held.columns if only_added else none

    def _mapped(self, state: schema.State) -> np.ndarray | None:
        """The vectors; None where a writer has replaced the file since ``state`` was read."""
        path = vectors.vector_file(self.folder, state.generation)
        try:
            return vectors.mapped(path, state.slots, self.origin.width)
        except FileNotFoundError:
            if schema.read_state(self._db) == state:
                raise InputError(f"{path}: is missing: the gallery is damaged") from None
            return None

    def _wanted_kind(self, held: Snapshot) -> Kind | Literal["flat"]:
        return indexing.wanted_kind(self.setting("index"), len(held.columns.rows))

    def _loaded_index(self, held: Snapshot) -> CompressedIndex | None:
        """The newest index of these vectors that is of the wanted kind, if there is one."""
        while True:
            path = indexing.newest(self.folder, self._wanted_kind(held), held.state.generation, held.state.slots)
            if path is None:
                self._index = None  # what was erased is not kept mapped
                return None
            if self._index is None or self._index[0] != path:
                try:
                    self._index = (path, indexing.load(path))
                except InputError:
                    if path.exists():
                        raise
                    continue  # a writer has just replaced it
            return self._index[1]
