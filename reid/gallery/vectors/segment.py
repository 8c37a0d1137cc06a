"""One segment of the vectors in a folder, as its files were at a moment; see
:mod:`reid.gallery.vectors.segments`."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from reid.errors import InputError
from reid.gallery.entries import Hits
from reid.gallery.vectors.rows import ALL, ROW, Narrow
from reid.retrieval.search import nearest

if TYPE_CHECKING:
    from reid.retrieval.compressed import CompressedIndex

FLOAT = np.dtype("<f4")
INDEX = "index.faiss"


@dataclass(frozen=True)
class Segment:
    """One folder as its files were at a moment: (N,) rows, (N, D) vectors, both mapped, and the index."""

    folder: Path
    width: int
    rows: np.ndarray = field(default_factory=lambda: np.empty(0, ROW))
    vectors: np.ndarray = field(default_factory=lambda: np.empty(0, FLOAT))
    index: CompressedIndex | None = None
    file: int = 0  # the inode of the rows: a segment of this name may come again
    seen: tuple[int, ...] = ()  # inode and time of the index

    @property
    def part(self) -> tuple[int, int]:
        """The day, which is negative before 1970, and the number."""
        day, _, number = self.folder.name.rpartition("-")
        return int(day), int(number)

    def now(self) -> Segment | None:
        """As the files are now; None where the segment is gone.

        Raises:
            InputError: for a file that is damaged.
        """
        path = self.folder / "rows"
        try:
            status = path.stat()
            count, same = status.st_size // ROW.itemsize, status.st_ino == self.file
            rows, vectors = self.rows, self.vectors
            if count != len(rows) or not same:
                rows = _mapped(path, ROW, (count,))
                vectors = _mapped(self.folder / "features", FLOAT, (count, self.width))
        except FileNotFoundError:
            if path.exists():
                raise InputError(f"{self.folder}: a file is missing: damaged") from None
            return None
        index, seen = self._index()
        if rows is self.rows and index is self.index and same:
            return self
        return Segment(self.folder, self.width, rows, vectors, index, status.st_ino, seen)

    def _index(self) -> tuple[CompressedIndex | None, tuple[int, ...]]:
        """The one there is, and what its file is; another process may replace it meanwhile, or take it away."""
        path, index, seen = self.folder / INDEX, self.index, self.seen
        while (there := _seen(path)) != seen:
            from reid.retrieval.compressed import CompressedIndex

            try:
                index, seen = CompressedIndex.load(path) if there else None, there
            except InputError:
                if _seen(path) == there:
                    raise
        return index, seen

    def search(self, queries: np.ndarray, k: int, narrow: Narrow, exact: bool) -> Iterator[Hits]:
        """The k nearest of those that an index covers, and of the others."""
        if not len(self.rows):
            return
        rows, vectors, index = self.rows, self.vectors, self.index
        allowed = narrow.passing(rows)
        if exact or index is None or index.is_exact(int(np.count_nonzero(allowed[: index.size])), k):
            places, distances = nearest(queries, vectors, k, None if allowed.all() else allowed)
            yield Hits(self._ids(places), distances)
            return
        size = index.size
        # A filter that leaves a whole segment is one still: who is looked for may be in another, and the nearest here
        # are strangers then, for whom an index looks further. Erased rows are not in it.
        places, distances = index.search(queries, k, vectors[:size], None if narrow == ALL else allowed[:size])
        yield Hits(self._ids(places), distances, exhaustive=False)
        places, distances = nearest(queries, vectors[size:], k, allowed[size:])
        yield Hits(self._ids(np.where(places < 0, -1, places + size)), distances)

    def _ids(self, places: np.ndarray) -> np.ndarray:
        """Ids of places of any shape; -1 for -1. A row that was erased since it was found still has its id."""
        return np.where(places < 0, -1, np.abs(self.rows["id"][places]))

    def place(self, ids: np.ndarray, erased: bool = False) -> np.ndarray:
        """Rows of (N,) ids, ``erased`` ones too; -1 where an id is not here."""
        if not len(self.rows):
            return np.full(len(ids), -1)
        all_ = np.abs(self.rows["id"])  # which rise: rows are in the order of adding
        near = np.minimum(np.searchsorted(all_, ids), len(all_) - 1)
        return np.where((all_ if erased else self.rows["id"])[near] == ids, near, -1)


def _mapped(path: Path, kind: np.dtype, shape: tuple[int, ...]) -> np.ndarray:
    """The beginning of a file, which may be longer; of nothing there is no map."""
    needed = math.prod(shape) * kind.itemsize
    if path.stat().st_size < needed:
        raise InputError(f"{path}: has {path.stat().st_size} bytes where {needed} were written: damaged")
    return np.asarray(np.memmap(path, kind, "r", shape=shape)) if needed else np.empty(shape, kind)


def _seen(path: Path) -> tuple[int, ...]:
    """What tells a file from others of its name; empty where there is none."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return ()
    return status.st_ino, status.st_mtime_ns
