"""Who is nearest to a query, and whether anyone is near enough."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from reid.errors import InputError
from reid.gallery.calibration.thresholds import Calibration
from reid.gallery.entries import EVERYTHING, Entry, Filter, Hits, Store
from reid.retrieval.kernels import pair_distances
from reid.retrieval.ranking import CMC_RANKS


def distance_between(first: np.ndarray, second: np.ndarray) -> float:
    """1 - cosine, in 0..2, of two (D,) float32 unit rows: what a search says of them."""
    row = np.zeros(1, np.int64)
    return float(pair_distances(first[None], row, second[None], row)[0])


@dataclass(frozen=True)
class Hit:
    """An entry in an answer. ``probability`` that it is the query's person, and ``same`` if it lies within the
    threshold; both None where nothing was calibrated."""

    rank: int
    entry: Entry
    distance: float
    probability: float | None = None
    same: bool | None = None


@dataclass(frozen=True)
class Answer:
    """The nearest entries of one query; ``nobody``: none is within the threshold; None where there is none."""

    hits: list[Hit]
    nobody: bool | None


def answer(
    store: Store,
    features: np.ndarray,
    k: int,
    wanted: Filter = EVERYTHING,
    calibration: Calibration | None = None,
    rate: float | None = None,
) -> list[Answer]:
    """The k nearest of each of (Q, D) features, judged at the calibration's false-match ``rate`` (None: the usual one).

    Raises:
        InputError: a rate that was not calibrated, a calibration of another network.
    """
    return judge(store, store.search(features, k, wanted), calibration, rate)


def judge(store: Store, hits: Hits, calibration: Calibration | None, rate: float | None) -> list[Answer]:
    """Entries and verdicts of what was found."""
    if calibration is not None:
        calibration.check(store.origin, store.location)
        rate = calibration.usual if rate is None else rate
    entries = _entries(store, [id for id in np.unique(hits.ids).tolist() if id >= 0])
    answers = []
    for row, distances in zip(hits.ids.tolist(), hits.distances.tolist(), strict=True):
        nearest = [(entries[id], distance) for id, distance in zip(row, distances, strict=True) if id in entries]
        ranked = [_hit(rank, entry, distance, calibration, rate) for rank, (entry, distance) in enumerate(nearest, 1)]
        answers.append(Answer(ranked, None if calibration is None else not any(hit.same for hit in ranked)))
    return answers


def _entries(store: Store, ids: list[int]) -> dict[int, Entry]:
    """By id; without those that another process has erased since they were found."""
    try:
        there = store.get(ids)
    except InputError:
        there = [entry for id in ids for entry in store.find(limit=1, after=id - 1) if entry.id == id]
    return {entry.id: entry for entry in there}


def _hit(rank: int, entry: Entry, distance: float, calibration: Calibration | None, rate: float | None) -> Hit:
    if calibration is None or rate is None:
        return Hit(rank, entry, distance)
    verdict = calibration.verdict(distance, rate)
    return Hit(rank, entry, distance, verdict.probability, verdict.same)


def first_ranks(store: Store, queries: Sequence[Entry], features: np.ndarray) -> np.ndarray:
    """(Q,) int64 rank of each query's first match as the evaluation counts it: entries of its person *and* camera are
    left out. 0 where there is no match to find; more than 50 counts as 51."""
    ranks = np.zeros(len(queries), np.int64)
    people = tuple({query.identity for query in queries if query.identity is not None})
    if not people:
        return ranks
    there = Counter((entry.identity, entry.camera) for entry in store.find(Filter(identities=people)))
    of_person: Counter[str | None] = Counter()
    for (person, _), count in there.items():
        of_person[person] += count
    most = max((there[query.identity, query.camera] for query in queries), default=0)
    hits = store.search(features, CMC_RANKS + most)
    entries = {entry.id: entry for entry in store.get(np.unique(hits.ids[hits.ids >= 0]).tolist())}
    for number, query in enumerate(queries):
        if query.identity is None or of_person[query.identity] == there[query.identity, query.camera]:
            continue
        nearest = [entries[id] for id in hits.ids[number].tolist() if id >= 0]
        counted = [entry for entry in nearest if (entry.identity, entry.camera) != (query.identity, query.camera)]
        matches = (rank for rank, entry in enumerate(counted, 1) if entry.identity == query.identity)
        ranks[number] = min(next(matches, CMC_RANKS + 1), CMC_RANKS + 1)
    return ranks
