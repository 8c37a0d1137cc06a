"""A gallery in a folder: SQLite and a vector file are the truth, an index is derived from them.

    entries.db       entries, thumbnails, settings, and what is committed; SQLite in WAL mode
    vectors-N.f32    the features, row = slot; N rises each time that the file is rewritten without erased ones
    index-KIND-N-R.faiss  compressed index of the first R rows of vectors-N
    audit.jsonl      see :mod:`reid.gallery.audit`

Adding appends rows to the vector file, syncs it, and then commits the entries: rows behind the committed ones are of a
writer that was killed, and the next one cuts them off. Erasing commits first that it has begun, so that a writer who
finds it unfinished finishes it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from sqlite3 import Connection
from typing import Self

import numpy as np

from reid.errors import InputError
from reid.files import locked
from reid.gallery.entries import CHANGES, Change, Entry
from reid.gallery.local import erasing, indexing, schema, vectors
from reid.gallery.local.indexing import IndexReport
from reid.gallery.local.reader import DATABASE, StoreReader
from reid.networks import Origin
from reid.retrieval.unit import unit_rows

Block = tuple[Sequence[Entry], np.ndarray, Sequence[bytes]]  # entries, features (N, D) and thumbnails


class LocalStore(StoreReader):
    """See :class:`reid.gallery.entries.Store`. Made by :meth:`create` or :meth:`open`.

    One process writes at a time; others go on reading, and see its changes at their next call.
    """

    def __init__(self, folder: Path, write: bool) -> None:
        self.writable = write
        with ExitStack() as opening:
            if write:
                opening.enter_context(locked(folder))
                (folder / ".lock").chmod(0o600)
            super().__init__(folder, write)
            opening.callback(super().close)
            with self._reading() as db:
                state = schema.read_state(db)
                self._mapped(state)
                if write:
                    erasing.drop_leftovers(folder, state)
                    vectors.trim(vectors.vector_file(folder, state.generation), state.slots, self.origin.width)
                    if state.erasing:
                        erasing.finish(db, folder, self.origin.width)
            self._opened = opening.pop_all()

    def close(self) -> None:
        self._opened.close()

    @classmethod
    def create(cls, folder: Path, origin: Origin) -> Self:
        """A new, empty store, opened for writing; only its owner may read it.

        Raises:
            InputError: the folder holds a store, or other files, already.
        """
        folder = Path(folder)
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            others = {path.name for path in folder.iterdir() if not path.name.startswith(".")} - {"vectors-0.f32"}
            if others:
                what = "is a gallery already" if DATABASE in others else f"is not empty: it holds {min(others)}"
                raise InputError(f"{folder}: {what}; a new gallery needs a new folder")
            folder.chmod(0o700)
            with locked(folder):
                if (folder / DATABASE).exists():  # another process was quicker
                    raise InputError(f"{folder}: is a gallery already")
                with vectors.writing(vectors.vector_file(folder, 0)):
                    pass
                partial = folder / f".{DATABASE}.partial{os.getpid()}"
                os.close(vectors.open_private(partial, os.O_RDWR))
                with schema.explained(partial):
                    schema.make(partial, origin)
                partial.rename(folder / DATABASE)
                vectors.sync_folder(folder)
        except OSError as error:
            raise InputError(f"{folder}: cannot be written: {error}") from None
        return cls(folder, write=True)

    @classmethod
    def open(cls, folder: Path, write: bool = False) -> Self:
        """
        Raises:
            InputError: there is no store, it is damaged or of another format; or, to write, another process writes.
        """
        folder = Path(folder)
        try:
            if not (folder / DATABASE).is_file():
                raise InputError(f"{folder}: is not a gallery: it has no {DATABASE} (search.py add makes one)")
        except OSError as error:
            raise InputError(f"{folder}: cannot be read: {error.strerror}") from None
        return cls(folder, write)

    def add(self, entries: Sequence[Entry], features: np.ndarray, thumbnails: Sequence[bytes]) -> list[int]:
        return self.add_blocks([(entries, features, thumbnails)])

    def add_blocks(self, blocks: Iterable[Block]) -> list[int]:
        """As :meth:`add`, for more than memory holds: all of the blocks or none."""
        ids: list[int] = []
        with self._writing() as db:
            state = schema.read_state(db)
            path = vectors.vector_file(self.folder, state.generation)
            try:
                with schema.transaction(db), vectors.writing(path) as file:
                    last = db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'entries'").fetchone()
                    for block in blocks:
                        first = (last[0] if last else 0) + len(ids) + 1
                        ids += self._append(block, first, state.slots + len(ids), file)
                    db.execute("UPDATE state SET slots = slots + ?", [len(ids)])
            except BaseException:
                vectors.trim(path, schema.read_state(db).slots, self.origin.width)
                raise
        return ids

    def update(self, ids: Sequence[int], changes: Mapping[Change, object]) -> None:
        """Setting what was not known is quick; where an old value gives way, it is erased as by :meth:`remove`."""
        unknown = set(changes) - set(CHANGES)
        if unknown:
            raise InputError(f"{self.location}: {min(unknown)!r} cannot be changed, only {', '.join(CHANGES)}")
        schema.check(replace(Entry("", ""), **changes))  # type: ignore[arg-type]
        with self._writing() as db:
            self.get(ids)
            some, values = schema.listed(ids), list(changes.values())
            lost = " OR ".join(["0", *(f"({name} IS NOT NULL AND {name} IS NOT ?)" for name in changes)])
            query = f"SELECT EXISTS (SELECT 1 FROM entries WHERE {schema.ANY_ID} AND ({lost}))"
            erases = db.execute(query, [some, *values]).fetchone()[0]
            with schema.transaction(db):
                db.execute("UPDATE state SET erasing = max(erasing, ?), revision = revision + 1", [erases])
                for name, value in changes.items():
                    db.execute(f"UPDATE entries SET {name} = ? WHERE {schema.ANY_ID}", [value, some])
            if erases:
                erasing.finish(db, self.folder, self.origin.width)

    def remove(self, ids: Sequence[int]) -> None:
        with self._writing() as db:
            self.get(ids)
            with schema.transaction(db):
                db.execute("UPDATE state SET erasing = 1, revision = revision + 1")
                for table in ("entries", "thumbnails"):
                    db.execute(f"DELETE FROM {table} WHERE {schema.ANY_ID}", [schema.listed(ids)])
            self._held = self._index = None  # they keep the old files alive
            erasing.finish(db, self.folder, self.origin.width)

    def set(self, name: str, value: str | None) -> None:
        """Raises InputError for "index" with a value that it cannot have."""
        if name == "index" and value not in (None, *indexing.KINDS):
            raise InputError(f"{self.location}: index {value!r} is not one of {', '.join(indexing.KINDS)}")
        with self._writing() as db:
            if value is None:
                db.execute("DELETE FROM settings WHERE name = ?", [name])
            else:
                db.execute("INSERT OR REPLACE INTO settings VALUES (?, ?)", [name, value])

    def build_index(self, progress: bool = False) -> IndexReport:
        """Make the index that the setting "index" asks for, of all entries; searches use it from now on.

        Raises:
            InputError: entries were erased meanwhile.
        """
        with self._writing():
            held = self._snapshot()
            kind = self._wanted_kind(held)
        generation, rows = held.state.generation, held.state.slots
        path = indexing.index_file(self.folder, kind, generation, rows)
        index = None if kind == "flat" else indexing.build(held.vectors, kind, progress)
        with self._writing() as db:
            if schema.read_state(db).generation != generation:
                raise InputError(f"{self.location}: entries were erased while the index was built: build it again")
            if index is not None:
                index.save(path)
                path.chmod(0o600)
            for old, *_ in indexing.index_files(self.folder):
                if old != path:
                    old.unlink()
        return self.index_state()

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        if not self.writable:
            raise InputError(f"{self.location}: was opened for reading only")
        with self._reading() as db:
            yield db

    def _append(self, block: Block, id: int, slot: int, file: int) -> range:
        """Write a block with ids and slots from those given, not yet committed."""
        entries, features, thumbnails = block
        if not len(entries) == len(features) == len(thumbnails):
            raise ValueError(f"{len(entries)} entries, {len(features)} features, {len(thumbnails)} thumbnails")
        now, width = time.time(), self.origin.width
        for low in range(0, len(entries), vectors.BLOCK):
            rows = unit_rows(features[low : low + vectors.BLOCK], width, "features")
            vectors.put(file, rows, (slot + low) * width * vectors.FLOAT.itemsize)
        records = (schema.to_row(entry, id + number, slot + number, now) for number, entry in enumerate(entries))
        self._db.executemany(schema.INSERT, records)
        self._db.executemany("INSERT INTO thumbnails VALUES (?, ?)", enumerate(thumbnails, id))
        return range(id, id + len(entries))
