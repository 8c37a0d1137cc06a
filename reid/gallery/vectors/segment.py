"""One segment of the vectors in a folder, as its files were at a moment; see
:mod:`reid.gallery.vectors.segments`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from reid.errors import InputError
from reid.gallery.vectors.rows import ALL, ROW, Narrow
from reid.retrieval.search import nearest

if TYPE_CHECKING:
    from reid.retrieval.compressed import CompressedIndex

FLOAT = np.dtype("<f4")


@dataclass(frozen=True)
class Segment:
    """One folder as its files were at a moment: (N,) rows, (N, D) vectors, both mapped, and the index."""

    folder: Path
    width: int
    rows: np.ndarray = field(default_factory=lambda: np.empty(0, ROW))
    vectors: np.ndarray = field(default_factory=lambda: np.empty(0, FLOAT))
    index: CompressedIndex | None = None
    file: int = 0  # the inode of the rows: a segment of this name may come again
    seen: tuple[int, ...] = ()  # of the index's file

    @property
    def day(self) -> int:
        return int(self.folder.name.rpartition("-")[0])  # before 1970 it is negative

    @property
    def number(self) -> int:
        return int(self.folder.name.rpartition("-")[2])

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
                rows = np.asarray(np.memmap(path, ROW, "r", shape=(count,))) if count else np.empty(0, ROW)
                vectors = self._features(count)
        except FileNotFoundError:
            if path.exists():
                raise InputError(f"{self.folder}: a file is missing: damaged") from None
            return None
        index, seen = self._index()
        if rows is self.rows and index is self.index and same:
            return self
        return Segment(self.folder, self.width, rows, vectors, index, status.st_ino, seen)

    def _index(self) -> tuple[CompressedIndex | None, tuple[int, ...]]:
        """The newest one, and what its file is; another process may put one in its place meanwhile."""
        while True:
            paths = sorted(self.folder.glob("*.faiss"))
            try:
                seen = tuple(number for each in paths for number in (each.stat().st_ino, each.stat().st_mtime_ns))
                if seen == self.seen:
                    return self.index, seen
                return load_index(paths[-1]) if paths else None, seen
            except FileNotFoundError:
                continue
            except InputError:
                if all(path.exists() for path in paths):
                    raise

    def _features(self, count: int) -> np.ndarray:
        path, needed = self.folder / "features", count * self.width * FLOAT.itemsize
        if path.stat().st_size < needed:
            raise InputError(f"{path}: has {path.stat().st_size} bytes where {needed} were written: damaged")
        shape = (count, self.width)
        return np.asarray(np.memmap(path, FLOAT, "r", shape=shape)) if count else np.empty(shape, FLOAT)

    def search(self, queries: np.ndarray, k: int, narrow: Narrow, exact: bool) -> tuple[np.ndarray, np.ndarray, bool]:
        """Ids and distances (Q, k), and whether all that pass were compared."""
        rows, vectors, index = self.rows, self.vectors, self.index
        allowed = narrow.passing(rows)
        if exact or index is None or index.is_exact(int(np.count_nonzero(allowed[: index.size])), k):
            places, distances = nearest(queries, vectors, k, None if allowed.all() else allowed)
            return _ids(rows, places), distances, True
        size, rest = index.size, allowed[index.size :]
        # A filter that leaves a whole segment is one still: who is looked for may be in another, and the nearest here
        # are strangers then, for whom an index looks further. Erased rows are not in it.
        places, distances = index.search(queries, k, vectors[:size], None if narrow == ALL else allowed[:size])
        if size < len(rows):
            more, farther = nearest(queries, vectors[size:], k, rest)
            places = np.hstack([places, np.where(more >= 0, more + size, -1)])
            distances = np.hstack([distances, farther])
        return _ids(rows, places), distances, False

    def place(self, ids: np.ndarray, erased: bool = False) -> np.ndarray:
        """Rows of (N,) ids, ``erased`` ones too; -1 where an id is not here."""
        if not len(self.rows):
            return np.full(len(ids), -1)
        all_ = np.abs(self.rows["id"])  # which rise: rows are in the order of adding
        near = np.minimum(np.searchsorted(all_, ids), len(all_) - 1)
        return np.where((all_ if erased else self.rows["id"])[near] == ids, near, -1)


def _ids(rows: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Ids of places of any shape; -1 for -1. A row that was erased since it was found still has its id."""
    ids = np.full(places.shape, -1, np.int64)
    ids[places >= 0] = np.abs(rows["id"][places[places >= 0]])
    return ids


def load_index(path: Path) -> CompressedIndex:
    from reid.retrieval.compressed import CompressedIndex

    return CompressedIndex.load(path)
