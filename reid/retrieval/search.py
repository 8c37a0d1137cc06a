"""The nearest rows of unit features, exactly, with the rule that every list here follows: the distance is computed in
float64 from the two rows alone, so that equal rows get equal distances, and of those the smaller row comes first.

Float32 products propose, :func:`decide` decides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from reid.retrieval.kernels import keep_nearest, pair_distances

ROUNDING = 1e-5  # of float32 sums of products, with room to spare
QUERIES = 1024  # at once
BLOCK_BYTES = 4 * 2**20  # of products, or of rows brought together
SPARE = 22  # kept beside the k nearest, so that rounding and a few ties leave the list certain
GATHERED = 3  # to bring a row together with others takes as long as its products with so many queries
MOST = 8  # with more than one row in so many wanted, keeping the nearest is no less work than ordering all


def nearest(
    queries: np.ndarray, vectors: np.ndarray, k: int, allowed: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Rows (Q, k) int64 of the nearest ``vectors`` and their distances (Q, k) float64, 1 - cosine in 0..2; -1 and NaN
    where fewer are allowed.

    Args:
        queries: (Q, D) float32 of length 1.
        vectors: (N, D) float32 of length 1; may be a memory-mapped file.
        allowed: (N,) bool, rows that count; None for all.
    """
    queries, vectors = np.ascontiguousarray(queries, np.float32), np.asarray(vectors)
    rows, distances = np.full((len(queries), k), -1, np.int64), np.full((len(queries), k), np.nan)
    for low in range(0, len(queries), QUERIES):
        block = slice(low, low + QUERIES)
        rows[block], distances[block] = _nearest(queries[block], vectors, k, allowed)
    return rows, distances


def decide(
    queries: np.ndarray, proposed: np.ndarray, fetch: Callable[[np.ndarray], np.ndarray], k: int
) -> tuple[np.ndarray, np.ndarray]:
    """The k nearest of each query's ``proposed`` rows, as :func:`nearest` gives them.

    Args:
        queries: (Q, D) float32 of length 1.
        proposed: (Q, C) int64 rows in any order, each at most once a query; -1 for none.
        fetch: the (M, D) float32 unit vectors of (M,) rows, given rising and each once; called for some MB at a time.
    """
    proposed = np.sort(proposed, axis=1)
    exact = distances_to(queries, proposed, fetch)
    best = np.argsort(exact, axis=1, kind="stable")[:, :k]
    rows, distances = np.full((len(queries), k), -1, np.int64), np.full((len(queries), k), np.nan)
    rows[:, : best.shape[1]] = np.take_along_axis(proposed, best, axis=1)
    distances[:, : best.shape[1]] = np.take_along_axis(exact, best, axis=1)
    distances[rows < 0] = np.nan
    return rows, distances


def distances_to(queries: np.ndarray, proposed: np.ndarray, fetch: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """(Q, C) float64 distances to the ``proposed`` rows, infinite for none; see :func:`decide`."""
    distances, asked = np.full(proposed.shape, np.inf), proposed.ravel()
    places = np.flatnonzero(asked >= 0)
    places = places[np.argsort(asked[places], kind="stable")]
    wanted, numbers = np.unique(asked[places], return_inverse=True)
    at_once = max(BLOCK_BYTES // (4 * max(queries.shape[1], 1)), 1)
    for low in range(0, len(wanted), at_once):
        vectors = np.ascontiguousarray(fetch(wanted[low : low + at_once]), np.float32)
        pairs = slice(*np.searchsorted(numbers, [low, low + at_once]))
        query = places[pairs] // proposed.shape[1]
        distances.ravel()[places[pairs]] = pair_distances(queries, query, vectors, numbers[pairs] - low)
    return distances


def products(
    queries: np.ndarray, vectors: np.ndarray, allowed: np.ndarray | None = None
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Blocks of rows (C,), rising, and their float32 products (Q, C) with the queries: -inf for a row that does not
    count. A block is overwritten by the next."""
    count = len(vectors) if allowed is None else int(np.count_nonzero(allowed))
    fewer = count * (len(queries) + GATHERED) < len(vectors) * len(queries)
    gathered = np.flatnonzero(allowed) if allowed is not None and fewer else None
    total = len(vectors) if gathered is None else count
    width = max(min(BLOCK_BYTES // (4 * max(queries.shape)), total), 1)
    buffer = np.empty(len(queries) * width, np.float32)
    for low in range(0, total, width):
        columns = slice(low, min(low + width, total))
        block = buffer[: len(queries) * (columns.stop - low)].reshape(len(queries), -1)
        if gathered is not None:
            np.matmul(queries, vectors[gathered[columns]].T, out=block)
            yield gathered[columns], block
            continue
        np.matmul(queries, vectors[columns].T, out=block)
        if allowed is not None and count < total:
            block += np.where(allowed[columns], np.float32(0), np.float32(-np.inf))
        yield np.arange(columns.start, columns.stop), block


def _nearest(
    queries: np.ndarray, vectors: np.ndarray, k: int, allowed: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    total = len(vectors) if allowed is None else int(np.count_nonzero(allowed))
    count = k + SPARE
    if MOST * count > total:
        return _within(queries, vectors, np.full(len(queries), -3.0), k, allowed)
    kept = np.full((len(queries), count), -1, np.int64)
    similar = np.full((len(queries), count), -np.inf, np.float32)
    unused = np.empty(len(queries), np.float32)
    for columns, block in products(queries, vectors, allowed):
        keep_nearest(block, 0, columns, kept, similar, unused)
    rows, distances = decide(queries, kept, vectors.__getitem__, k)
    # A list is certain where its last row is clearly nearer than the last one kept, and so than all that were not.
    certain = distances[:, -1] + ROUNDING < 1 - similar[:, -1]
    if not certain.all():
        again = np.flatnonzero(~certain)
        least = 1 - distances[again, -1] - ROUNDING
        rows[again], distances[again] = _within(queries[again], vectors, least, k, allowed)
    return rows, distances


def _within(
    queries: np.ndarray, vectors: np.ndarray, least: np.ndarray, k: int, allowed: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """The k nearest of all rows whose product with the query is at ``least`` (Q,), however many these are."""
    rows, distances = np.full((len(queries), k), -1, np.int64), np.full((len(queries), k), np.nan)
    for columns, block in products(queries, vectors, allowed):
        near = block >= least[:, None]
        counts = near.sum(axis=1)
        proposed = np.full((len(queries), counts.max(initial=0)), -1, np.int64)
        proposed[np.arange(proposed.shape[1]) < counts[:, None]] = columns[np.nonzero(near)[1]]
        rows, distances = decide(queries, np.hstack([rows, proposed]), vectors.__getitem__, k)
    return rows, distances
