"""Vectors in a folder, in segments: the rows of one day, or a part of one, each with its index above a size.

    vectors/DAY-NUMBER/rows        ROW records, an entry each, in the order of adding; id below 0: erased
    vectors/DAY-NUMBER/features    float32 (D,) of length 1, a row each, little-endian
    vectors/DAY-NUMBER/index.faiss compressed index of the first rows

A row is there when its record is: features are written and synced first. Erasing overwrites both where they lie, and
writes the segment's index anew without it; a segment goes when nothing in it is left.
"""

from __future__ import annotations

import math
import os
import re
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from reid.errors import InputError
from reid.files import remove_leftover_partials
from reid.gallery.entries import Hits, NotThere
from reid.gallery.files import make_folder, put, sync_folder, writing
from reid.gallery.vectors.rows import ALL, ROW, IndexReport, Narrow, merged
from reid.progress import track
from reid.retrieval.search import nearest

if TYPE_CHECKING:
    from reid.retrieval.compressed import CompressedIndex

NAME = re.compile(r"-?\d+-\d+")  # of a segment's folder
FLOAT = np.dtype("<f4")
INDEX = "index.faiss"
ROWS = 2**17  # of a segment at most
KINDS = ("auto", "flat", "rabitq", "sq8")
LARGE = 200_000  # rows from which "auto" means indexes: exact search takes some 0.1 s a query there
FEWEST = 10_000  # rows of a segment that is worth one
BEHIND = 5  # an index is built anew when more than one in so many rows is not in it
ROUNDING = 1e-5  # of the length of a float32 row of length 1
BLOCK = 2**16  # rows at once


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

    @property
    def there(self) -> np.ndarray:
        """(N,) bool: which rows are not erased."""
        return self.rows["id"] > 0

    def now(self) -> Segment | None:
        """As the files are now; None where the segment is gone. Raises InputError for a file that is damaged."""
        path, rows, vectors = self.folder / "rows", self.rows, self.vectors
        try:
            status = path.stat()
            count = status.st_size // ROW.itemsize
            if count != len(rows) or status.st_ino != self.file:
                rows = _mapped(path, ROW, (count,))
                vectors = _mapped(self.folder / "features", FLOAT, (count, self.width))
        except FileNotFoundError as error:
            if error.filename != str(path) and path.exists():  # rows themselves may be made meanwhile
                raise InputError(f"{self.folder}: a file is missing: damaged") from None
            return None
        index, seen = self.index, self.seen
        # Another process may replace the index meanwhile, or take it away.
        while (there := _seen(self.folder / INDEX)) != seen:
            from reid.retrieval.compressed import CompressedIndex

            try:
                index, seen = CompressedIndex.load(self.folder / INDEX) if there else None, there
            except InputError:
                if _seen(self.folder / INDEX) == there:
                    raise
        if rows is self.rows and index is self.index:
            return self
        return replace(self, rows=rows, vectors=vectors, index=index, file=status.st_ino, seen=seen)

    def search(self, queries: np.ndarray, k: int, narrow: Narrow, exact: bool) -> Iterator[Hits]:
        """The k nearest of those that an index covers, and of the others."""
        if not len(self.rows):
            return
        vectors, index, allowed = self.vectors, self.index, narrow.passing(self.rows)
        if exact or index is None or index.is_exact(int(np.count_nonzero(allowed[: index.size])), k):
            yield self._hits(*nearest(queries, vectors, k, None if allowed.all() else allowed))
            return
        size = index.size
        # A filter that leaves a whole segment is one still: who is looked for may be in another, and the nearest here
        # are strangers then, for whom an index looks further. Erased rows are not in it.
        within = None if narrow == ALL else allowed[:size]
        yield self._hits(*index.search(queries, k, vectors[:size], within), exhaustive=False)
        yield self._hits(*nearest(queries, vectors[size:], k, allowed[size:]), start=size)

    def _hits(self, places: np.ndarray, distances: np.ndarray, start: int = 0, exhaustive: bool = True) -> Hits:
        """Of places counted from row ``start``. A row that was erased since it was found still has its id."""
        return Hits(np.where(places < 0, -1, np.abs(self.rows["id"][places + start])), distances, exhaustive)

    def place(self, ids: np.ndarray, erased: bool = False) -> np.ndarray:
        """Rows of (N,) ids, ``erased`` ones too; -1 where an id is not here."""
        if not len(self.rows):
            return np.full(len(ids), -1)
        all_ = np.abs(self.rows["id"])  # which rise: rows are in the order of adding
        near = np.minimum(np.searchsorted(all_, ids), len(all_) - 1)
        return np.where((all_ if erased else self.rows["id"])[near] == ids, near, -1)

    def put(self, places: np.ndarray, rows: np.ndarray) -> None:
        with writing(self.folder / "rows") as file:
            for place, row in zip(places.tolist(), rows, strict=True):
                put(file, row.tobytes(), place * ROW.itemsize)

    def beyond(self) -> list[tuple[Path, int]]:
        """Files with more than whole rows, of a writer that was killed, or failed; and the bytes of each that count."""
        sizes = {"rows": ROW.itemsize, "features": self.width * FLOAT.itemsize}
        files = [(self.folder / name, len(self.rows) * size) for name, size in sizes.items()]
        return [(path, size) for path, size in files if path.stat().st_size > size]

    def keep(self, index: CompressedIndex, erased: np.ndarray) -> None:
        """Put an index in its place, without the rows at these places."""
        index.without(erased[erased < index.size], self.vectors[: index.size]).save(self.folder / INDEX)
        (self.folder / INDEX).chmod(0o600)

    def is_worth(self, wanted: str) -> bool:
        """Whether it is to have an index of this kind."""
        return wanted != "flat" and int(np.count_nonzero(self.there)) >= FEWEST

    def is_stale(self, wanted: str) -> bool:
        """Whether it lacks this index, or has one that is not wanted."""
        if self.index is None or not self.is_worth(wanted):
            return (self.index is not None) != self.is_worth(wanted)
        return self.index.kind != wanted or len(self.rows) - self.index.size > self.index.size / BEHIND


class Segments:
    """Methods may be called from several threads; who writes has the turn, unless several processes may write at once,
    where the vectors are ``shared``."""

    shared = False

    def __init__(self, folder: Path, width: int, turn: Callable[[], AbstractContextManager[None]]) -> None:
        """``turn``: to be the only writer, for the moment in which an index is put in its place."""
        self.folder, self.width, self._turn = folder, width, turn
        self._lock = threading.RLock()  # around what is mapped; no search runs under it
        self._held: dict[str, Segment] = {}

    def add(self, rows: np.ndarray, vectors: np.ndarray) -> None:
        """(N,) ROW of new ids, rising, and (N, D) float32 of length 1."""
        for day in np.unique(rows["day"]).tolist():
            some = rows["day"] == day
            self._append(day, rows[some], np.ascontiguousarray(vectors[some], FLOAT))

    def change(self, rows: np.ndarray) -> None:
        """New values of (N,) ROW; ids that are not there are passed over."""
        for segment in self._segments():
            places = segment.place(rows["id"])
            if (places >= 0).any():
                segment.put(places[places >= 0], rows[places >= 0])

    def remove(self, ids: np.ndarray) -> None:
        """Erase (N,) ids; those that are not there are passed over, so that what was begun can be done once more."""
        for segment in self._segments():
            for path, size in segment.beyond():
                with writing(path) as file:
                    os.ftruncate(file, size)
            places = segment.place(ids, erased=True)  # a writer that was killed may have erased half of a row
            places = places[places >= 0]
            if not len(places):
                continue
            left = segment.there
            left[places] = False
            if not left.any():
                (segment.folder / "rows").unlink()
                continue
            remove_leftover_partials(segment.folder)  # of indexes
            index = segment.index
            if index is not None and index.present[places[places < index.size]].any():
                segment.keep(index, places)
            sync_folder(segment.folder)
            with writing(segment.folder / "features") as file:
                empty = bytes(self.width * FLOAT.itemsize)
                for place in places.tolist():
                    put(file, empty, place * len(empty))
            gone = np.zeros(len(places), ROW)
            gone["id"] = -np.abs(segment.rows["id"][places])
            segment.put(places, gone)
        for folder in self._folders():
            if not (folder / "rows").exists():  # what is left of a segment whose rows are gone
                shutil.rmtree(folder)
                sync_folder(self.folder)
        self._segments()  # what was erased is not kept mapped

    def fetch(self, ids: np.ndarray) -> np.ndarray:
        """(N, D) float32, in the order asked for. Raises NotThere with an id that is not there."""
        vectors, found = np.empty((len(ids), self.width), FLOAT), np.zeros(len(ids), bool)
        for segment in self._segments():
            places = segment.place(ids)
            here = places >= 0
            vectors[here] = segment.vectors[places[here]]
            found |= here
        if not found.all():
            raise NotThere(f"{self.folder}: no entry {ids[found.argmin()]}")
        return vectors

    def search(self, queries: np.ndarray, k: int, narrow: Narrow = ALL, exact: bool = False) -> Hits:
        """The k nearest of (Q, D) float32 of length 1; with ``exact`` every row that passes is compared."""
        parts = (hits for segment in self._segments() for hits in segment.search(queries, k, narrow, exact))
        return merged(parts, len(queries), k)

    def ids(self) -> np.ndarray:
        """All ids, rising, (N,) int64."""
        parts = [segment.rows["id"][segment.there] for segment in self._segments()]
        return np.sort(np.concatenate([np.empty(0, np.int64), *parts]))

    def report(self, kind: str | None) -> IndexReport:
        """How a search is done, where the setting "index" is ``kind``."""
        segments = self._segments()
        total = sum(int(np.count_nonzero(segment.there)) for segment in segments)
        wanted, indexes = self._wanted(kind, segments), [each.index for each in segments if each.index is not None]
        sizes = [int(np.count_nonzero(index.present)) for index in indexes]
        behind = total - sum(sizes)
        recall = sum(index.recall * count for index, count in zip(indexes, sizes, strict=True)) + behind
        now, nbytes = indexes[0].kind if indexes else "flat", sum(index.nbytes for index in indexes)
        stale = any(segment.is_stale(wanted) for segment in segments)
        return IndexReport(now, recall / total if total else 1.0, sum(sizes), nbytes, behind, wanted, stale)

    def tend(self, kind: str | None, progress: bool = False) -> Iterator[None]:
        """Build what :meth:`report` calls stale, a part at a time; takes the turn where it must, by itself."""
        from reid.retrieval.compressed import CompressedIndex

        segments = self._segments()
        wanted = self._wanted(kind, segments)
        stale = [segment for segment in segments if segment.is_stale(wanted)]
        for segment in track(stale, name="indexing", unit="segment", shown=progress and len(stale) > 0):
            index = None
            if segment.is_worth(wanted):
                there = segment.there
                index = CompressedIndex.build(np.array(segment.vectors), wanted, there)  # type: ignore[arg-type]
            with self._turn():
                now = segment.now()
                if now is None or now.file != segment.file:  # all of it was erased meanwhile
                    continue
                if index is None:
                    (segment.folder / INDEX).unlink(missing_ok=True)
                else:
                    now.keep(index, np.flatnonzero(~now.there))
            yield

    def problems(self) -> list[str]:
        """What is wrong with the files, a sentence each."""
        sentences = list[str]()
        for segment in self._segments():
            for path, _ in segment.beyond():
                sentences += [f"{path}: has more than its rows: a writer was cut off; goes with the next erasure"]
            for low in range(0, len(segment.rows), BLOCK):
                block = slice(low, low + BLOCK)
                lengths = np.sqrt((segment.vectors[block].astype(np.float64) ** 2).sum(axis=1))
                wrong = np.flatnonzero(~(abs(lengths - segment.there[block]) <= ROUNDING))
                if len(wrong):
                    row, length = low + wrong[0], lengths[wrong[0]]
                    sentences += [f"{segment.folder / 'features'}: row {row} has length {length:g}"]
        return sentences

    def close(self) -> None:
        with self._lock:
            self._held = {}

    def _segments(self) -> list[Segment]:
        """Those there are, by day and number, as their files are now."""
        with self._lock:
            held = [self._held.get(path.name) or Segment(path, self.width) for path in self._folders()]
            there = [segment for each in held if (segment := each.now()) is not None]
            self._held = {segment.folder.name: segment for segment in there}
            return there

    def _folders(self) -> list[Path]:
        """Of segments; what others put beside them (a desktop's .DS_Store) stays."""
        return sorted(path for path in self.folder.glob("*") if NAME.fullmatch(path.name))

    def _append(self, day: int, rows: np.ndarray, vectors: np.ndarray) -> None:
        while len(rows):
            of_day = [segment for segment in self._segments() if segment.part[0] == day]
            last = max(of_day, key=lambda segment: segment.part, default=None)
            # Within a segment ids rise; those of an adding that was taken back may come again.
            if last is None or len(last.rows) >= ROWS or (abs(last.rows["id"][-1:]) >= rows["id"][0]).any():
                number = 0 if last is None else last.part[1] + 1
                last = Segment(self.folder / f"{day:06d}-{number:06d}", self.width)
                make_folder(self.folder)
                make_folder(last.folder)
            start = len(last.rows)
            part = slice(0, ROWS - start)
            with writing(last.folder / "features") as file:
                put(file, vectors[part].data, start * self.width * FLOAT.itemsize)
            with writing(last.folder / "rows") as file:
                put(file, rows[part].tobytes(), start * ROW.itemsize)
            rows, vectors = rows[part.stop :], vectors[part.stop :]

    def _wanted(self, kind: str | None, segments: list[Segment]) -> str:
        if kind not in (None, *KINDS):
            raise InputError(f"index {kind!r} is not one of {', '.join(KINDS)}")
        total = sum(len(segment.rows) for segment in segments)
        return ("rabitq" if total >= LARGE else "flat") if kind in (None, "auto") else kind


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
