"""Vectors in a folder, in segments: the rows of one day, or a part of one, each with its index above a size.

    vectors/DAY-NUMBER/rows        ROW records, an entry each, in the order of adding; id below 0: erased
    vectors/DAY-NUMBER/features    float32 (D,) of length 1, a row each, little-endian
    vectors/DAY-NUMBER/index.faiss compressed index of the first rows

A row is there when its record is: features are written and synced first. Erasing overwrites both where they lie, and
writes the segment's index anew without it; a segment goes when nothing in it is left.
"""

from __future__ import annotations

import os
import re
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from reid.errors import InputError
from reid.files import remove_leftover_partials
from reid.gallery.entries import Hits, NotThere
from reid.gallery.files import make_folder, put, sync_folder, writing
from reid.gallery.vectors.rows import ALL, ROW, IndexReport, Narrow, merged
from reid.gallery.vectors.segment import FLOAT, INDEX, Segment
from reid.progress import track

if TYPE_CHECKING:
    from reid.retrieval.compressed import CompressedIndex

NAME = re.compile(r"-?\d+-\d+")  # of a segment's folder
ROWS = 2**17  # of a segment at most
KINDS = ("auto", "flat", "rabitq", "sq8")
LARGE = 200_000  # rows from which "auto" means indexes: exact search takes some 0.1 s a query there
FEWEST = 10_000  # rows of a segment that is worth one
BEHIND = 5  # an index is built anew when more than one in so many rows is not in it
ROUNDING = 1e-5  # of the length of a float32 row of length 1
BLOCK = 2**16  # rows at once


class Segments:
    """See :class:`reid.gallery.vectors.rows.Vectors`."""

    shared = False

    def __init__(self, folder: Path, width: int, turn: Callable[[], AbstractContextManager[None]]) -> None:
        """
        Args:
            turn: to be the only writer, for the moment in which an index is put in its place.
        """
        self.folder, self.width, self._turn = folder, width, turn
        self._lock = threading.RLock()  # around what is mapped; no search runs under it
        self._held: dict[str, Segment] = {}

    def add(self, rows: np.ndarray, vectors: np.ndarray) -> None:
        for day in np.unique(rows["day"]).tolist():
            some = rows["day"] == day
            self._append(day, rows[some], np.ascontiguousarray(vectors[some], FLOAT))

    def change(self, rows: np.ndarray) -> None:
        for segment in self._segments():
            places = segment.place(rows["id"])
            if (places >= 0).any():
                self._put(segment, places[places >= 0], rows[places >= 0])

    def remove(self, ids: np.ndarray) -> None:
        for segment in self._segments():
            self._cut(segment)
            places = segment.place(ids, erased=True)  # a writer that was killed may have erased half of a row
            places = places[places >= 0]
            if not len(places):
                continue
            left = segment.rows["id"] > 0
            left[places] = False
            if not left.any():
                (segment.folder / "rows").unlink()
                continue
            remove_leftover_partials(segment.folder)  # of indexes
            index = segment.index
            if index is not None and index.present[places[places < index.size]].any():
                _keep(index, segment, places)
            sync_folder(segment.folder)
            with writing(segment.folder / "features") as file:
                empty = bytes(self.width * FLOAT.itemsize)
                for place in places.tolist():
                    put(file, empty, place * len(empty))
            gone = np.zeros(len(places), ROW)
            gone["id"] = -np.abs(segment.rows["id"][places])
            self._put(segment, places, gone)
        self._sweep()
        self._segments()  # what was erased is not kept mapped

    def fetch(self, ids: np.ndarray) -> np.ndarray:
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
        parts = (hits for segment in self._segments() for hits in segment.search(queries, k, narrow, exact))
        return merged(parts, len(queries), k)

    def ids(self) -> np.ndarray:
        parts = [segment.rows["id"][segment.rows["id"] > 0] for segment in self._segments()]
        return np.sort(np.concatenate([np.empty(0, np.int64), *parts]))

    def report(self, kind: str | None) -> IndexReport:
        segments = self._segments()
        total = sum(int(np.count_nonzero(segment.rows["id"] > 0)) for segment in segments)
        wanted, indexes = self._wanted(kind, segments), [each.index for each in segments if each.index is not None]
        sizes = [int(np.count_nonzero(index.present)) for index in indexes]
        size = sum(sizes)
        recall = sum(index.recall * count for index, count in zip(indexes, sizes, strict=True)) + (total - size)
        return IndexReport(
            indexes[0].kind if indexes else "flat",
            recall / total if total else 1.0,
            size,
            sum(index.nbytes for index in indexes),
            total - size,
            wanted,
            any(self._is_stale(segment, wanted) for segment in segments),
        )

    def tend(self, kind: str | None, progress: bool = False) -> Iterator[None]:
        from reid.retrieval.compressed import CompressedIndex

        segments = self._segments()
        wanted = self._wanted(kind, segments)
        stale = [segment for segment in segments if self._is_stale(segment, wanted)]
        for segment in track(stale, name="indexing", unit="segment", shown=progress and len(stale) > 0):
            index = None
            if self._is_worth(segment, wanted):
                there = segment.rows["id"] > 0
                index = CompressedIndex.build(np.array(segment.vectors), wanted, there)  # type: ignore[arg-type]
            with self._turn():
                now = segment.now()
                if now is None or now.file != segment.file:  # all of it was erased meanwhile
                    continue
                if index is None:
                    (segment.folder / INDEX).unlink(missing_ok=True)
                else:
                    _keep(index, now, np.flatnonzero(now.rows["id"] < 0))
            yield

    def problems(self) -> list[str]:
        sentences = list[str]()
        for segment in self._segments():
            for path, size in self._sizes(segment):
                if path.stat().st_size > size:
                    sentences += [f"{path}: has more than its rows: a writer was cut off; goes with the next erasure"]
            for low in range(0, len(segment.rows), BLOCK):
                block = slice(low, low + BLOCK)
                lengths = np.sqrt((segment.vectors[block].astype(np.float64) ** 2).sum(axis=1))
                there = segment.rows["id"][block] > 0
                wrong = np.flatnonzero(~(abs(lengths - there) <= ROUNDING))
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
                last = self._new(day, 0 if last is None else last.part[1] + 1)
            start = len(last.rows)
            part = slice(0, ROWS - start)
            with writing(last.folder / "features") as file:
                put(file, vectors[part].data, start * self.width * FLOAT.itemsize)
            with writing(last.folder / "rows") as file:
                put(file, rows[part].tobytes(), start * ROW.itemsize)
            rows, vectors = rows[part.stop :], vectors[part.stop :]

    def _new(self, day: int, number: int) -> Segment:
        folder = self.folder / f"{day:06d}-{number:06d}"
        make_folder(self.folder)
        make_folder(folder)
        for name in ("features", "rows"):
            with writing(folder / name):
                pass
        return Segment(folder, self.width)

    def _put(self, segment: Segment, places: np.ndarray, rows: np.ndarray) -> None:
        with writing(segment.folder / "rows") as file:
            for place, row in zip(places.tolist(), rows, strict=True):
                put(file, row.tobytes(), place * ROW.itemsize)

    def _cut(self, segment: Segment) -> None:
        """Cut off what a writer that was killed, or failed, has left behind the last whole row."""
        for path, size in self._sizes(segment):
            if path.stat().st_size > size:
                with writing(path) as file:
                    os.ftruncate(file, size)

    def _sizes(self, segment: Segment) -> list[tuple[Path, int]]:
        """Of its files, the bytes that count."""
        count, folder = len(segment.rows), segment.folder
        return [(folder / "rows", count * ROW.itemsize), (folder / "features", count * self.width * FLOAT.itemsize)]

    def _sweep(self) -> None:
        """What is left of segments whose rows are gone."""
        for folder in self._folders():
            if not (folder / "rows").exists():
                shutil.rmtree(folder)
                sync_folder(self.folder)

    def _wanted(self, kind: str | None, segments: list[Segment]) -> str:
        if kind not in (None, *KINDS):
            raise InputError(f"index {kind!r} is not one of {', '.join(KINDS)}")
        total = sum(len(segment.rows) for segment in segments)
        return ("rabitq" if total >= LARGE else "flat") if kind in (None, "auto") else kind

    def _is_worth(self, segment: Segment, wanted: str) -> bool:
        return wanted != "flat" and int(np.count_nonzero(segment.rows["id"] > 0)) >= FEWEST

    def _is_stale(self, segment: Segment, wanted: str) -> bool:
        index = segment.index
        if index is None or not self._is_worth(segment, wanted):
            return (index is not None) != self._is_worth(segment, wanted)
        return index.kind != wanted or len(segment.rows) - index.size > index.size / BEHIND


def _keep(index: CompressedIndex, segment: Segment, erased: np.ndarray) -> None:
    """Put an index in its place, without the rows at these places."""
    path = segment.folder / INDEX
    index.without(erased[erased < index.size], segment.vectors[: index.size]).save(path)
    path.chmod(0o600)
