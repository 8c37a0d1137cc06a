"""Exact CMC, mAP and mINP over the whole gallery; what is left out is what Market-1501's evaluator leaves out.

AP is the mean of the precision at each match, as scikit-learn, torchreid and fast-reid have it. The original Matlab
evaluator (Zheng et al. 2015) takes, at each match, the mean of that precision and the precision one rank before: some
points less. That is the *trapezoid*, a figure of its own name.

A gallery image with the query's identity *and* camera is left out, and so are junk images (pid -1). Queries without a
match left are left out and counted, so are queries with pid <= 0 (junk, distractor). Ties keep gallery order: the
smaller index comes first. Where cameras are not known, the protocol *any-camera* leaves out the query's own image alone
in the place of all of its camera: another figure, usually a higher one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from reid.errors import InputError
from reid.progress import track
from reid.retrieval.features import JUNK, LEFT_OUT, NO_MATCH, Features, Protocol, check_widths, left_out_marks
from reid.retrieval.kernels import rank_rows, row_squares

Distance = Literal["cosine", "euclidean"]
AveragePrecision = Literal["precision", "trapezoid"]

CMC_RANKS = 50
BLOCK_BYTES = 40 * 2**20
SHORTEST = 1e-15

DISTANCES = {"cosine": "1 - cosine of the features", "euclidean": "euclidean distance of the features"}
AP_DEFINITIONS = {
    "precision": "mean over the matches of (matches so far / rank); mAP its mean over valid queries",
    "trapezoid": "mean over the matches of the mean of (matches so far / rank) and the same one rank before (1 before "
    "rank 1), as the original Matlab evaluator of Market-1501 has it; mAP_trapezoid its mean over valid queries",
}
DEFINITIONS = {
    "ties": "stable: the smaller gallery index first",
    "mINP": "mean over valid queries of (matches / rank of the last match)",
    "CMC": "share of valid queries whose first match is within rank k",
}


def definitions(
    distance: Distance, ap: AveragePrecision = "precision", protocol: Protocol = "cross-camera"
) -> dict[str, str]:
    """What the figures mean, for results files."""
    left_out = f"{LEFT_OUT[protocol]}; junk (pid -1); queries without a match; queries with pid <= 0"
    return {
        "distance": DISTANCES[distance],
        "protocol": protocol,
        "left_out": left_out,
        **DEFINITIONS,
        "AP": AP_DEFINITIONS[ap],
    }


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
        ap, ap_trapezoid, inp: (Q,) float64, NaN for a query without a match.
        first_rank: (Q,) int64 rank of the first match, from 1; 0 for a query without a match.
        num_gallery: gallery images, junk included.
        protocol: what was left out; figures of two protocols are not to be compared.
        lists: the ranked lists, where they were asked for.
    """

    ap: np.ndarray
    ap_trapezoid: np.ndarray
    inp: np.ndarray
    first_rank: np.ndarray
    num_gallery: int
    protocol: Protocol = "cross-camera"
    lists: RankedLists | None = None

    @property
    def valid(self) -> np.ndarray:
        return self.first_rank > 0

    @property
    def mAP(self) -> float:
        return float(self.ap[self.valid].mean())

    @property
    def mAP_trapezoid(self) -> float:
        return float(self.ap_trapezoid[self.valid].mean())

    @property
    def mINP(self) -> float:
        return float(self.inp[self.valid].mean())

    @property
    def cmc(self) -> np.ndarray:
        """(50,) CMC at ranks 1 to 50."""
        return cmc_curve(self.first_rank)

    def summary(self, ap: AveragePrecision = "precision") -> dict[str, object]:
        """The figures and counts that results files carry: ``mAP``, or in its place ``mAP_trapezoid``."""
        return {
            **({"mAP": self.mAP} if ap == "precision" else {"mAP_trapezoid": self.mAP_trapezoid}),
            "mINP": self.mINP,
            "cmc": self.cmc.tolist(),
            "num_valid_queries": int(self.valid.sum()),
            "num_queries": len(self.ap),
            "num_gallery": self.num_gallery,
            "protocol": self.protocol,
        }


def cmc_curve(first_rank: np.ndarray) -> np.ndarray:
    """CMC at ranks 1 to 50 from each query's first match rank (from 1; 0 where there is no match to find)."""
    matched = first_rank[first_rank > 0]
    return (matched[:, None] <= np.arange(1, CMC_RANKS + 1)).mean(axis=0)


def evaluate(
    query: Features,
    gallery: Features,
    distance: Distance = "cosine",
    top_k: int | None = None,
    protocol: Protocol = "cross-camera",
    distances: Callable[[slice, np.ndarray], None] | None = None,
    max_memory: int | None = None,
    progress: bool = False,
) -> Evaluation:
    """Rank the whole gallery for each query by counting: blocks of the float32 matrix product, no sort, no matrix.

    Args:
        top_k: also keep each query's so many nearest, by FAISS's heaps over the same blocks; CMC read from these lists
            must equal CMC of the whole ranking.
        distances: writes other distances than the product's, for the queries of a slice, into (R, N) float32:
            re-ranked ones, say.
        max_memory: most bytes for a block of products, which otherwise takes 40 MiB, or 256 queries where those need
            more.

    Raises:
        InputError: features of different width, not one query with a match, or see :func:`left_out_marks`.
        AssertionError: the lists contradict the whole ranking.
    """
    check_widths(query, gallery)
    query_marks, gallery_marks = left_out_marks(query, gallery, protocol)
    ap, ap_trapezoid, inp = (np.full(len(query), np.nan) for _ in range(3))
    first_rank = np.zeros(len(query), dtype=np.int64)
    shape = (len(query), top_k or 0)
    lists = RankedLists(np.full(shape, -1), np.full(shape, np.nan), np.zeros(shape, dtype=bool))

    row_lengths(query)
    keys = None if distances is not None else Keys(gallery, distance)
    if keys is not None:
        scale, twins = keys.scale.copy(), find_twins(gallery.features, keys.lengths)
    else:
        scale, twins = np.full(len(gallery), -1, np.float32), np.empty((0, 2), np.int64)
    scale[gallery.pids == JUNK] = np.nan
    by_pid = np.argsort(gallery.pids, kind="stable")
    starts = np.searchsorted(gallery.pids[by_pid], query.pids, side="left")
    stops = np.searchsorted(gallery.pids[by_pid], query.pids, side="right")

    rows = block_rows(len(query), len(gallery), max_memory)
    products = np.empty((rows, len(gallery)), dtype=np.float32)
    for low in track(range(0, len(query), rows), name="ranking", unit="block", shown=progress):
        within = slice(low, min(low + rows, len(query)))
        block = products[: within.stop - low]
        if distances is not None:
            distances(within, block)
        elif keys is not None:
            keys.write(query.features[within], block)
        rank_rows(
            block,
            scale,
            twins,
            query.pids[within],
            query_marks[within],
            by_pid,
            starts[within],
            stops[within],
            gallery_marks,
            ap[within],
            ap_trapezoid[within],
            inp[within],
            first_rank[within],
        )
        if top_k is not None:
            _fill_lists(lists, within, query, gallery, block, keys)
    if not first_rank.any():
        raise InputError(f"{query.origin}: no query has a match in {gallery.origin} {NO_MATCH[protocol]}")
    if top_k is None:
        return Evaluation(ap, ap_trapezoid, inp, first_rank, len(gallery), protocol)
    _assert_lists_agree(lists, first_rank)
    return Evaluation(ap, ap_trapezoid, inp, first_rank, len(gallery), protocol, lists)


def block_rows(queries: int, gallery: int, max_memory: int | None = None) -> int:
    """Queries a block: enough for a fast matrix product, at most all, and no more than fit ``max_memory`` bytes."""
    rows = max(BLOCK_BYTES // (4 * gallery), 256)
    if max_memory is not None:
        rows = min(rows, max(max_memory // (4 * gallery), 1))
    return min(rows, queries)


def row_lengths(features: Features) -> np.ndarray:
    """(N,) float64 lengths of the rows.

    Raises:
        InputError: naming the first row, other than one of zeros, whose square float32 cannot hold.
    """
    lengths = np.sqrt(row_squares(features.features))
    bad = np.flatnonzero((lengths > 0) & ((lengths < SHORTEST) | (lengths > 1 / SHORTEST)))
    if len(bad):
        raise InputError(
            f"{features.origin}: features: row {bad[0]} has the length {lengths[bad[0]]:.3g}, whose square float32 "
            f"cannot hold ({len(bad)} such rows): rescale them"
        )
    return lengths


class Keys:
    """Keys of queries against a gallery, a block at a time: larger is nearer, for any one query.

    Cosine: the float32 product, to be multiplied by ``scale``, 1 / the gallery row's length. Euclidean: minus the
    squared distance, computed in float64, since it is a small difference of large numbers.
    """

    def __init__(self, gallery: Features, distance: Distance) -> None:
        self.lengths = row_lengths(gallery)
        self.distance = distance
        self._gallery = gallery.features
        cosine = distance == "cosine"
        self.scale = (1 / np.where(cosine & (self.lengths > 0), self.lengths, 1)).astype(np.float32)

    def write(self, queries: np.ndarray, out: np.ndarray) -> None:
        """Unscaled keys (B, N) float32 of (B, D) queries."""
        if self.distance == "cosine":
            np.matmul(queries, self._gallery.T, out=out)
            return
        wide = queries.astype(np.float64)
        squares = (wide**2).sum(axis=1, keepdims=True)
        for low in range(0, len(self._gallery), 1024):
            part = slice(low, low + 1024)
            out[:, part] = 2 * (wide @ self._gallery[part].astype(np.float64).T) - squares - self.lengths[part] ** 2
        np.minimum(out, 0, out=out)

    def distances(self, keys: np.ndarray, queries: np.ndarray) -> np.ndarray:
        """float64 distances of scaled keys (..., K) of the queries (..., D)."""
        if self.distance == "euclidean":
            return np.sqrt(-keys.astype(np.float64))
        lengths = np.linalg.norm(queries.astype(np.float64), axis=-1, keepdims=True)
        return 1 - keys.astype(np.float64) / np.where(lengths > 0, lengths, 1)


def find_twins(features: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """(T, 2): each row that equals an earlier one bit for bit, and the first such row; found by their equal lengths."""
    order = np.argsort(lengths, kind="stable")
    same = np.flatnonzero(lengths[order[1:]] == lengths[order[:-1]])
    pairs: list[tuple[int, int]] = []
    seen: dict[bytes, int] = {}
    for row in sorted({*order[same].tolist(), *order[same + 1].tolist()}):
        first = seen.setdefault(hashlib.blake2b(features[row].tobytes(), digest_size=16).digest(), row)
        if first != row:
            pairs.append((row, first))
    return np.array(pairs, dtype=np.int64).reshape(-1, 2)


def _fill_lists(
    lists: RankedLists, within: slice, query: Features, gallery: Features, block: np.ndarray, keys: Keys | None
) -> None:
    """Write one block's lists from its keys, which are minus the distances where no ``keys`` tell more."""
    from reid.retrieval.kernels import largest  # here: FAISS is slow to load, and figures alone do without it

    indices, values = largest(block, lists.indices.shape[1])
    lists.indices[within] = indices
    lists.distances[within] = -values if keys is None else keys.distances(values, query.features[within])
    pids = query.pids[within, None]
    lists.matches[within] = (indices >= 0) & (gallery.pids[indices] == pids) & (pids > 0)


def _assert_lists_agree(lists: RankedLists, first_rank: np.ndarray) -> None:
    from_lists = np.where(lists.matches.any(axis=1), lists.matches.argmax(axis=1) + 1, 0)
    expected = np.where(first_rank <= lists.matches.shape[1], first_rank, 0)
    if not np.array_equal(from_lists, expected):
        wrong = np.flatnonzero(from_lists != expected)
        raise AssertionError(
            f"ranked lists and whole ranking disagree on the first match of {len(wrong)} queries, first {wrong[0]}: "
            f"{from_lists[wrong[0]]} and {expected[wrong[0]]}"
        )
