"""Exact CMC, mAP and mINP over the whole gallery, by the Market-1501 evaluator's rules (Zheng et al. 2015).

A gallery image with the query's identity *and* camera is left out, and so are junk images (pid -1). Queries without a
match left are left out and counted, so are queries with pid <= 0 (junk, distractor). Ties keep gallery order: the
smaller index comes first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from reid.errors import InputError
from reid.progress import track
from reid.retrieval.features import Features

Distance = Literal["cosine", "euclidean"]

CMC_RANKS = 50
ROUNDING = 1e-5  # of float32 sums of products, with room to spare
JUNK = -1

DISTANCES = {"cosine": "1 - cosine of the features", "euclidean": "euclidean distance of the features"}
DEFINITIONS = {
    "ties": "stable: the smaller gallery index first",
    "left_out": "gallery images of the query's identity and camera; junk (pid -1); queries without a match; "
    "queries with pid <= 0",
    "AP": "mean over the matches of (matches so far / rank); mAP its mean over valid queries",
    "mINP": "mean over valid queries of (matches / rank of the last match)",
    "CMC": "share of valid queries whose first match is within rank k",
}


def definitions(distance: Distance) -> dict[str, str]:
    """What the figures mean, for results files."""
    return {"distance": DISTANCES[distance], **DEFINITIONS}


@dataclass(frozen=True)
class RankedLists:
    """The first k gallery images of each query; -1 and NaN where fewer are left.

    Attributes:
        indices: (Q, k) int64 rows of the gallery.
        distances: (Q, k) float64.
        matches: (Q, k) bool.
    """

    indices: np.ndarray
    distances: np.ndarray
    matches: np.ndarray


@dataclass(frozen=True)
class Evaluation:
    """Figures of one query set against one gallery, as fractions.

    Attributes:
        ap, inp: (Q,) float64, NaN for a query without a match.
        first_rank: (Q,) int64 rank of the first match, from 1; 0 for a query without a match.
        num_gallery: gallery images, junk included.
        lists: the ranked lists, where an index proposed them.
    """

    ap: np.ndarray
    inp: np.ndarray
    first_rank: np.ndarray
    num_gallery: int
    lists: RankedLists | None = None

    @property
    def valid(self) -> np.ndarray:
        return self.first_rank > 0

    @property
    def mAP(self) -> float:
        return float(self.ap[self.valid].mean())

    @property
    def mINP(self) -> float:
        return float(self.inp[self.valid].mean())

    @property
    def cmc(self) -> np.ndarray:
        """(50,) CMC at ranks 1 to 50."""
        return cmc_curve(self.first_rank)

    def summary(self) -> dict[str, object]:
        """The figures and counts that results files carry."""
        return {
            "mAP": self.mAP,
            "mINP": self.mINP,
            "cmc": self.cmc.tolist(),
            "num_valid_queries": int(self.valid.sum()),
            "num_queries": len(self.ap),
            "num_gallery": self.num_gallery,
        }


class Proposer(Protocol):
    """Finds the gallery rows that may be among a query's nearest (see :mod:`reid.retrieval.index`)."""

    def propose(self, queries: np.ndarray, count: int) -> np.ndarray:
        """(Q, count) gallery rows, nearest first."""
        ...


def cmc_curve(first_rank: np.ndarray) -> np.ndarray:
    """CMC at ranks 1 to 50 from each query's first match rank (from 1; 0 where there is no match to find)."""
    found = first_rank[first_rank > 0]
    return (found[:, None] <= np.arange(1, CMC_RANKS + 1)).mean(axis=0)


def evaluate(
    query: Features,
    gallery: Features,
    distance: Distance = "cosine",
    proposer: Proposer | None = None,
    top_k: int = CMC_RANKS,
    progress: bool = False,
) -> Evaluation:
    """Rank the whole gallery for each query, in float64.

    With a ``proposer``, each query's ``top_k`` list is taken from what it proposes, widened until it is certain, and
    CMC read from the lists must equal CMC of the whole ranking.

    Raises:
        InputError: features of different width, or not one query with a match.
        AssertionError: the lists contradict the whole ranking.
    """
    if query.features.shape[1] != gallery.features.shape[1]:
        raise InputError(
            f"{query.origin} has features of width {query.features.shape[1]}, "
            f"{gallery.origin} of width {gallery.features.shape[1]}"
        )
    ap, inp = np.full(len(query), np.nan), np.full(len(query), np.nan)
    first_rank = np.zeros(len(query), dtype=np.int64)
    shape = (len(query), top_k)
    lists = RankedLists(np.full(shape, -1), np.full(shape, np.nan), np.zeros(shape, dtype=bool))
    rows = _DistanceRows(gallery, distance)
    block = 64
    for low in track(range(0, len(query), block), name="ranking", unit="block", shown=progress):
        within = slice(low, min(low + block, len(query)))
        distances = rows(query.features[within])
        kept = ~(
            ((gallery.pids == query.pids[within, None]) & (gallery.camids == query.camids[within, None]))
            | (gallery.pids == JUNK)
        )
        matches = kept & (gallery.pids == query.pids[within, None]) & (query.pids[within, None] > 0)
        for row, number in enumerate(range(within.start, within.stop)):
            if matches[row].any():
                ap[number], inp[number], first_rank[number] = _rank_one(distances[row], kept[row], matches[row])
        if proposer is not None:
            slack = ROUNDING * rows.largest_square(query.features[within])
            _fill_lists(lists, within, query.features[within], distances, kept, matches, proposer, slack)
    if not first_rank.any():
        raise InputError(f"{query.origin}: no query has a match in {gallery.origin} from another camera")
    if proposer is None:
        return Evaluation(ap, inp, first_rank, len(gallery))
    _assert_lists_agree(lists, first_rank)
    return Evaluation(ap, inp, first_rank, len(gallery), lists)


class _DistanceRows:
    """Rows of the distance matrix, in float64. Bit-identical gallery images get the same distance, whatever the matrix
    product's blocking makes of them; features that are exact in float32 (small integers, say) tie exactly."""

    def __init__(self, gallery: Features, distance: Distance) -> None:
        seen: dict[bytes, int] = {}
        self._twins = np.array([seen.setdefault(row.tobytes(), i) for i, row in enumerate(gallery.features)])
        self._gallery = gallery.features.astype(np.float64)
        self._squares = (self._gallery**2).sum(axis=1)
        self._distance = distance

    def largest_square(self, queries: np.ndarray) -> float:
        """Bound of a squared distance, to which float32 rounding is relative; (1 - cosine) squared is at most 4."""
        if self._distance == "cosine":
            return 4.0
        return 2 * float((queries.astype(np.float64) ** 2).sum(axis=1).max() + self._squares.max())

    def __call__(self, queries: np.ndarray) -> np.ndarray:
        queries = queries.astype(np.float64)
        products = (queries @ self._gallery.T)[:, self._twins]
        squares = (queries**2).sum(axis=1, keepdims=True)
        if self._distance == "euclidean":
            return np.sqrt(np.maximum(squares + self._squares[self._twins] - 2 * products, 0))
        lengths = np.sqrt(squares * self._squares[self._twins])
        return 1 - products / np.where(lengths > 0, lengths, 1)


def _rank_one(distances: np.ndarray, kept: np.ndarray, matches: np.ndarray) -> tuple[float, float, int]:
    """AP, INP and first match rank of one query with at least one match."""
    order = np.argsort(distances[kept], kind="stable")
    ranks = np.flatnonzero(matches[kept][order]) + 1
    return float((np.arange(1, len(ranks) + 1) / ranks).mean()), len(ranks) / int(ranks[-1]), int(ranks[0])


def _fill_lists(
    lists: RankedLists,
    within: slice,
    queries: np.ndarray,
    distances: np.ndarray,
    kept: np.ndarray,
    matches: np.ndarray,
    proposer: Proposer,
    slack: float,
) -> None:
    """Write one block's lists, asking for more proposals until no image outside them can belong in a list."""
    k, size = lists.indices.shape[1], kept.shape[1]
    waiting, count = np.arange(len(queries)), min(2 * k, size)
    while len(waiting):
        proposals = proposer.propose(queries[waiting], count)
        again = []
        for row, proposed in zip(waiting, proposals, strict=True):
            own = np.sort(proposed[kept[row, proposed]])
            best = own[np.argsort(distances[row, own], kind="stable")][:k]
            # float32 proposals may be out of order by rounding: the list is certain once its last entry is clearly
            # nearer than the farthest proposal, which also leaves no tie outside.
            farthest = distances[row, proposed].max()
            certain = len(best) == k and distances[row, best[-1]] ** 2 < farthest**2 - slack
            if count < size and not certain:
                again.append(row)
                continue
            number = within.start + row
            lists.indices[number, : len(best)] = best
            lists.distances[number, : len(best)] = distances[row, best]
            lists.matches[number, : len(best)] = matches[row, best]
        waiting, count = np.array(again, dtype=np.int64), min(4 * count, size)


def _assert_lists_agree(lists: RankedLists, first_rank: np.ndarray) -> None:
    from_lists = np.where(lists.matches.any(axis=1), lists.matches.argmax(axis=1) + 1, 0)
    expected = np.where(first_rank <= lists.matches.shape[1], first_rank, 0)
    if not np.array_equal(from_lists, expected):
        wrong = np.flatnonzero(from_lists != expected)
        raise AssertionError(
            f"ranked lists and whole ranking disagree on the first match of {len(wrong)} queries, first {wrong[0]}: "
            f"{from_lists[wrong[0]]} and {expected[wrong[0]]}"
        )
