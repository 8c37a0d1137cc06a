"""Vectors on a Milvus server or cluster. Milvus proposes, with the filter inside; distances computed here from the
vectors themselves decide.

Rows lie in partitions by their day of adding, so that what is erased by age goes by whole segments. How an approximate
index is searched, and the recall that was measured so, stands in the collection's properties, for all processes alike.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeVar

import numpy as np

from reid.errors import InputError
from reid.gallery.entries import Hits, NotThere
from reid.gallery.vectors.collection import TIMEOUT, among, expression, partition, reached
from reid.gallery.vectors.rows import ALL, IndexReport, Narrow, merged
from reid.progress import track
from reid.retrieval.search import decide, nearest

ANSWER = 32 * 2**20  # bytes of vectors in an answer to a search
MOST = 16_384  # that Milvus proposes to a query, and ids in an expression
SPARE = 22  # asked for beside the k nearest, so that rounding and a few ties leave the list certain
MARGIN = 1e-5  # above what float32 products of unit vectors are off by
FEW = 4096  # rows that pass which are sooner read than searched by an approximate index
INDEXED = 1024  # rows from which Milvus builds an index for a segment
LARGE = 200_000  # rows from which "auto" means an approximate index
BEHIND = 5  # what has no index is sealed and given one when it is more than one row in so many
PATIENCE = 900.0  # seconds without any progress until an index is given up
K, WANTED, HELD = 10, 0.99, 200  # recall@10 that is looked for, by rows held against all others
MEASURED = 100_000  # rows among which, at least where there are so many, in whole partitions
SHARES = (1, 2, 10)  # where all of these pass, one in two, one in ten
PROPERTY = "reid.search"
T = TypeVar("T")


class Kind(NamedTuple):
    """An index of Milvus: how it is built, and the parameter that it is searched with, from quick to sure."""

    build: dict[str, int]
    parameter: str = ""
    values: tuple[int, ...] = (0,)


# Only such as hold the vectors themselves: of those that do not (IVF_SQ8, IVF_PQ), a server 2.3.5 that keeps its files
# on a disk of its own deletes the files of the vectors when these are asked for.
KINDS = {
    "flat": Kind({}),
    "hnsw": Kind({"M": 24, "efConstruction": 200}, "ef", (32, 48, 64, 96, 128, 192, 256, 512, 1024)),
    "ivf_flat": Kind({"nlist": 1024}, "nprobe", (8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 512, 1024)),
}


class Setting(NamedTuple):
    """How the collection is searched: the parameter's value for each of SHARES, and the least recall@10 that was
    measured so; 0 before it was. ``turn`` rises as the replacing of an index begins, to an odd number, and ends."""

    kind: str = "flat"
    values: tuple[int, ...] = (0, 0, 0)
    recall: float = 1.0
    turn: int = 0

    @property
    def replacing(self) -> bool:
        return self.turn % 2 == 1

    def value(self, share: float) -> int:
        """The one for a filter that lets this share pass: the surest where it is smaller than those measured."""
        fitting = [value for value, one_in in zip(self.values, SHARES, strict=True) if share * one_in >= 1]
        return fitting[0] if fitting else KINDS[self.kind].values[-1]


class Milvus:
    """Has the methods of :class:`reid.gallery.vectors.segments.Segments`, which tells what they do."""

    shared = True

    def __init__(self, location: str, width: int, make: bool = False) -> None:
        """``location``: ``milvus://HOST:PORT/COLLECTION``; ``milvus+tls://`` encrypts; ``make``: the collection, of a
        new gallery. Raises InputError: nothing answers there; there is no such collection, or one of another width; the
        one to be made holds rows already."""
        self._collection = reached(location, width)
        if make and not self._collection("has_collection"):
            self._collection.create()
        self._collection.check()
        if not self._setting().replacing:
            if not self._collection("list_indexes"):  # a new one
                self._collection.index("flat", KINDS["flat"].build)
            self._collection("load_collection")
        if make and self._collection.count():
            raise InputError(f"{location}: the collection holds rows already; a new gallery needs another name")
        self._partitions = set(self._collection("list_partitions"))

    def add(self, rows: np.ndarray, vectors: np.ndarray) -> None:
        for name in sorted({partition(day) for day in rows["day"].tolist()} - self._partitions):
            try:
                self._collection("create_partition", partition_name=name)
            except InputError:
                if name not in self._collection("list_partitions"):  # no other process was quicker
                    raise
            self._partitions.add(name)
        self._collection.write("insert", rows, vectors)

    def change(self, rows: np.ndarray) -> None:
        rows = rows[np.unique(rows["id"], return_index=True)[1]]
        there, vectors = self._steadily(lambda _: self._collection.vectors(rows["id"]))
        self._collection.write("upsert", rows[np.isin(rows["id"], there)], vectors)

    def remove(self, ids: np.ndarray) -> None:
        """Gone from every answer; from Milvus' files when it compacts and collects, see docs/scale.md."""
        for low in range(0, len(ids), MOST):
            self._collection("delete", filter=among("id", ids[low : low + MOST].tolist()))
        if len(ids):
            self._collection("flush", _async=True)
            self._collection("compact")

    def fetch(self, ids: np.ndarray) -> np.ndarray:
        there, vectors = self._steadily(lambda _: self._collection.vectors(np.unique(ids)))
        missing = np.setdiff1d(ids, there)
        if len(missing):
            raise NotThere(f"{self._collection.location}: no entry {missing[0]}")
        return vectors[np.searchsorted(there, ids)]

    def search(self, queries: np.ndarray, k: int, narrow: Narrow = ALL, exact: bool = False) -> Hits:
        wanted = expression(narrow)
        if wanted is None or not k or not len(queries):
            return merged((), len(queries), k)
        return self._steadily(lambda setting: self._nearest(queries, k, wanted, exact, setting))

    def ids(self) -> np.ndarray:
        return self._steadily(lambda _: np.concatenate(list(self._collection.ids())))

    def report(self, kind: str | None) -> IndexReport:
        setting, segments = self._setting(), self._collection("list_loaded_segments")
        total = self._total()
        indexed = 0 if setting.kind == "flat" else sum(each.num_rows for each in segments if each.index_id)
        small = sum(each.num_rows for each in segments if not each.index_id) - _unindexed(segments)
        wanted, behind = _wanted(kind, total, setting.kind), max(total - indexed, 0)
        late = not setting.recall or (total - indexed - small) * BEHIND > total
        stale = setting.replacing or wanted != setting.kind or (wanted != "flat" and late)
        nbytes = indexed * (4 * self._collection.width + 8 * KINDS[setting.kind].build.get("M", 0))
        return IndexReport(setting.kind, setting.recall, indexed, nbytes, behind, wanted, stale)

    def tend(self, kind: str | None, progress: bool = False) -> Iterator[None]:
        """Milvus builds; a search waits for the some seconds in which one index takes the place of another."""
        report = self.report(kind)
        if not report.stale:
            return
        if report.wanted != report.kind or self._setting().replacing:
            yield from self._waiting(indexed=False)
            self._replace(report.wanted)
            yield
        if report.wanted != "flat":
            for _ in track(self._waiting(indexed=True), name="indexing", unit="check", shown=progress):
                yield
            measured = self._steadily(lambda _: self._measured(report.wanted))
            self._keep(measured._replace(turn=self._setting().turn))
            yield

    def problems(self) -> list[str]:
        return []  # the server looks after its files

    def close(self) -> None:
        self._collection.client.close()

    # --- parts of these

    def _setting(self) -> Setting:
        text = self._collection("describe_collection").get("properties", {}).get(PROPERTY)
        kind, values, recall, turn = json.loads(text) if text else Setting()
        return Setting(kind, tuple(values), recall, turn)

    def _keep(self, setting: Setting) -> None:
        self._collection("alter_collection_properties", properties={PROPERTY: json.dumps(setting)})

    def _total(self) -> int:
        """About how many rows there are, without waiting for what was just written."""
        return 0 if self._setting().replacing else self._collection.count(consistency_level="Eventually")

    def _steadily(self, read: Callable[[Setting], T]) -> T:
        """What is read while no index is being replaced: then a server of version 2.3 refuses, or answers with less
        than there is. Waits for the end of it; raises InputError where it takes too long: who did it died."""
        until = time.monotonic() + TIMEOUT
        while True:
            setting = self._setting()
            if not setting.replacing:
                try:
                    answer = read(setting)
                    if self._setting() == setting:
                        return answer
                except InputError:
                    if self._setting() == setting:
                        raise
            elif time.monotonic() > until:
                raise InputError(f"{self._collection.location}: its index is half replaced: build the index again")
            time.sleep(0.1)

    def _exact(self, queries: np.ndarray, k: int, wanted: str) -> Hits:
        """By the index "flat". A list is certain where its last row is clearly nearer than the farthest that was
        proposed, and so than all that were not. For the others more are asked for, and in the end all are read: of many
        equal ones none is forgotten."""
        hits = merged((), len(queries), k)
        left, limit = np.arange(len(queries)), k + SPARE
        while len(left) and limit <= MOST:
            hits.ids[left], hits.distances[left], farthest = self._propose(queries[left], k, limit, wanted)
            left = left[hits.distances[left, -1] + MARGIN >= farthest]
            limit = MOST if limit < MOST < 4 * limit else 4 * limit
        if len(left):
            rest = self._read(queries[left], k, wanted)
            hits.ids[left], hits.distances[left] = rest.ids, rest.distances
        return hits

    def _nearest(self, queries: np.ndarray, k: int, wanted: str, exact: bool, setting: Setting) -> Hits:
        if setting.kind == "flat":
            return self._exact(queries, k, wanted)
        share = 1.0
        if wanted:
            passing = self._collection.count(wanted, consistency_level="Eventually")
            share = passing / max(self._total(), 1)
            exact |= passing <= FEW
        if exact or k + SPARE > MOST:
            return self._read(queries, k, wanted)
        ids, distances, _ = self._propose(queries, k, k + SPARE, wanted, setting.kind, setting.value(share))
        return Hits(ids, distances, exhaustive=False)

    def _propose(
        self, queries: np.ndarray, k: int, limit: int, wanted: str, kind: str = "flat", value: int = 0, **options: Any
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Ids and distances (Q, k) of the nearest of the ``limit`` rows that Milvus finds for each query, and the
        farthest's distance (Q,), infinite where it finds fewer."""
        parameters = {KINDS[kind].parameter: max(value, limit) if kind == "hnsw" else value}
        ids, farthest = np.full((len(queries), limit), -1, np.int64), np.full(len(queries), np.inf)
        vectors: dict[int, np.ndarray] = {}
        step = max(ANSWER // (4 * queries.shape[1] * limit), 1)
        for low in range(0, len(queries), step):
            answers = self._collection(
                "search", data=list(queries[low : low + step]), limit=limit, filter=wanted, output_fields=["vector"],
                search_params={"metric_type": "IP", "params": parameters if value else {}},
                **{"consistency_level": "Strong"} | options,
            )  # fmt: skip
            for number, rows in enumerate(answers, low):
                ids[number, : len(rows)] = [row["id"] for row in rows]
                new = (row for row in rows if row["id"] not in vectors)
                vectors |= {row["id"]: np.array(row["entity"]["vector"], np.float32) for row in new}
                if len(rows) == limit:
                    farthest[number] = 1 - rows[-1]["distance"]
        nearest_ids, distances = decide(queries, ids, lambda some: np.array([vectors[id] for id in some.tolist()]), k)
        return nearest_ids, distances, farthest

    def _read(self, queries: np.ndarray, k: int, wanted: str, **options: Any) -> Hits:
        """From every row that passes, some at a time."""
        hits = merged((), len(queries), k)
        for some in self._collection.ids(wanted, **options):
            for low in range(0, len(some), self._collection.step):
                there, vectors = self._collection.vectors(some[low : low + self._collection.step])
                if len(there):
                    places, distances = nearest(queries, vectors, k)
                    part = Hits(np.where(places < 0, -1, there[places]), distances)
                    hits = merged((hits, part), len(queries), k)
        return hits

    def _replace(self, kind: str) -> None:
        """Put another index in place."""
        old = self._setting()
        turn = old.turn + 1 + old.turn % 2  # odd; one that died had begun
        self._keep(old._replace(turn=turn))
        self._collection("release_collection")
        if self._collection("list_indexes"):
            self._collection("drop_index", index_name="vector")
        self._collection.index(kind, KINDS[kind].build)
        unmeasured = KINDS[kind].values[-1:] * len(SHARES), float(kind == "flat")
        self._keep(Setting(kind, *unmeasured, turn + 1))

    def _waiting(self, indexed: bool) -> Iterator[None]:
        """Until all rows of this moment lie in sealed segments, and those large enough are searched by their index."""
        most, until, total = -1, 0.0, self._total()
        self._collection("flush")
        while True:
            segments = self._collection("list_loaded_segments")
            sealed, missing = sum(each.num_rows for each in segments), _unindexed(segments) if indexed else 0
            if sealed >= min(total, self._total()) and not missing:
                return
            if sealed - missing > most:
                most, until = sealed - missing, time.monotonic() + PATIENCE
            if time.monotonic() > until:
                raise InputError(f"{self._collection.location}: Milvus builds no index: see its log")
            yield
            time.sleep(0.2)

    def _measured(self, kind: str) -> Setting:
        """The quickest that finds enough of the exact 10 nearest, or else the surest."""
        names, total = list[str](), 0
        for name in self._collection("list_partitions"):
            if total < MEASURED:
                names, total = [*names, name], total + self._collection.count(partition_names=[name])
        # All of it has been waited for.
        options: dict[str, Any] = {"partition_names": names, "consistency_level": "Eventually"}
        ids = np.concatenate(list(self._collection.ids(**options)))
        held = np.sort(np.random.default_rng(0).choice(ids, min(HELD, len(ids)), replace=False))
        queries = self._collection.vectors(held)[1]
        chosen = list[tuple[int, float]]()
        for one_in in SHARES:
            wanted = f"id % {one_in} == 0"
            exact = self._read(queries, K + 1, wanted, **options).distances
            for value in KINDS[kind].values:
                _, near, _ = self._propose(queries, K + 1, K + 1 + SPARE, wanted, kind, value, **options)
                recall = float((near <= exact[:, -1:]).sum() / max(np.isfinite(exact).sum(), 1))
                if recall >= WANTED or np.isnan(exact).all():
                    break
            chosen.append((value, recall))
        return Setting(kind, tuple(value for value, _ in chosen), min(recall for _, recall in chosen))


def _wanted(kind: str | None, total: int, now: str) -> str:
    if kind in (None, "auto"):
        approximate = now if now != "flat" else "ivf_flat"
        return approximate if total >= (LARGE if now == "flat" else LARGE // 2) else "flat"
    if kind not in KINDS:
        raise InputError(f"index {kind!r} is not one of auto, {', '.join(KINDS)}")
    return kind


def _unindexed(segments: list[Any]) -> int:
    """Rows of segments that are to get an index and have none yet."""
    return sum(each.num_rows for each in segments if not each.index_id and each.num_rows >= INDEXED)
