"""What is left of ranking and search once the matrix product is done: FAISS's heaps; compiled loops, which numba caches
on disk."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit


def compiled(fastmath: bool | set[str] = False) -> Callable[[Callable], Callable]:
    """``njit``, cached on disk where there is a place to write to (a read-only installation may have none)."""

    def decorate(function: Callable) -> Callable:
        try:
            return njit(cache=True, nogil=True, fastmath=fastmath)(function)
        except RuntimeError:  # numba finds no place for its cache
            return njit(nogil=True, fastmath=fastmath)(function)

    return decorate


CHUNK = 4096  # floats of a row looked at by all of its matches while they lie in the first-level cache


@compiled()
def row_squares(features: np.ndarray) -> np.ndarray:
    """(N,) float64 squared lengths of float32 rows, added in order: equal rows have equal ones."""
    squares = np.empty(len(features), np.float64)
    for i in range(len(features)):
        total = 0.0
        for value in features[i]:
            total += np.float64(value) * np.float64(value)
        squares[i] = total
    return squares


@compiled()
def rank_rows(
    keys: np.ndarray,
    scale: np.ndarray,
    twins: np.ndarray,
    pids: np.ndarray,
    marks: np.ndarray,
    by_pid: np.ndarray,
    starts: np.ndarray,
    stops: np.ndarray,
    gallery_marks: np.ndarray,
    ap: np.ndarray,
    ap_trapezoid: np.ndarray,
    inp: np.ndarray,
    first_rank: np.ndarray,
) -> None:
    """Turn products into keys (larger is nearer) in place, and rank each match by counting the nearer keys.

    Args:
        keys: (B, N) float32, such as products of queries and gallery; afterwards times ``scale``, and NaN for what is
            left out: a NaN is neither larger than nor equal to anything, so it is never counted.
        scale: (N,) float32; a NaN leaves a gallery image out for every query.
        twins: (T, 2) gallery rows and the earlier rows that they equal bit for bit: they get the same product,
            whatever the matrix product's blocking made of them.
        pids: (B,) of the queries.
        marks: (B,) of the queries, ``gallery_marks`` (N,): a gallery image of a query's identity and mark is left out.
        by_pid: (N,) gallery rows ordered by identity, then row; ``starts`` and ``stops`` (B,) bound each query's.
        ap, ap_trapezoid, inp, first_rank: (B,) results; left as they are for a query without a match.
    """
    size = keys.shape[1]
    most = 0
    for b in range(len(pids)):
        most = max(most, stops[b] - starts[b])
    matches = np.empty(most, np.int64)
    thresholds = np.empty(most, np.float32)
    nearer = np.empty(most, np.int64)
    for b in range(len(pids)):
        row = keys[b]
        for t in range(len(twins)):
            row[twins[t, 0]] = row[twins[t, 1]]
        for j in range(row.size):
            row[j] = row[j] * scale[j]
        count = 0
        for place in range(starts[b], stops[b]):
            g = by_pid[place]
            if gallery_marks[g] == marks[b]:
                row[g] = np.nan
            elif pids[b] > 0:
                matches[count] = g
                count += 1
        if count == 0:
            continue
        for m in range(count):
            thresholds[m] = row[matches[m]]
            nearer[m] = 0
        for low in range(0, size, CHUNK):
            high = min(low + CHUNK, size)
            for m in range(count):
                g, threshold = matches[m], thresholds[m]
                middle = min(max(g, low), high)  # an equal key before the match is ranked before it
                before, after = row[low:middle], row[middle:high]
                closer = np.int32(0)  # 32 bits and loops over whole slices: what the compiler turns into vector code
                for j in range(before.size):
                    closer = np.int32(closer + (before[j] >= threshold))
                for j in range(after.size):
                    closer = np.int32(closer + (after[j] > threshold))
                nearer[m] += closer
        ranks = np.sort(nearer[:count]) + 1
        total, before_each = 0.0, 0.0
        for m in range(count):
            total += (m + 1) / ranks[m]
            before_each += m / (ranks[m] - 1) if ranks[m] > 1 else 1.0
        ap[b] = total / count
        ap_trapezoid[b] = (total + before_each) / (2 * count)
        inp[b] = count / ranks[count - 1]
        first_rank[b] = ranks[0]


@compiled(fastmath={"nnan", "nsz"})
def keep_nearest(
    products: np.ndarray, first: int, columns: np.ndarray, nearest: np.ndarray, similar: np.ndarray, least: np.ndarray
) -> None:
    """Fold a block of similarities into its rows' neighbour lists.

    Args:
        products: (R, C) float32 similarities, none of them NaN, of rows ``first``.. with the ``columns`` (C,), which
            come in ascending order from call to call, so that equal similarities keep the smaller index first.
        nearest, similar: (n, k) lists so far, nearest first; ``similar`` starts at -inf.
        least: (n,) smallest similarity so far.
    """
    k = nearest.shape[1]
    for r in range(products.shape[0]):
        mine, values = nearest[first + r], similar[first + r]
        smallest = least[first + r]
        for low in range(0, products.shape[1], 64):
            part = products[r, low : low + 64]
            largest = part[0]
            for c in range(part.size):  # vector code: most parts hold nothing near enough and are done with here
                largest = max(largest, part[c])
                smallest = min(smallest, part[c])
            if largest <= values[k - 1]:
                continue
            for c in range(part.size):
                value = part[c]
                if value > values[k - 1]:
                    place = k - 1
                    while place > 0 and values[place - 1] < value:
                        values[place], mine[place] = values[place - 1], mine[place - 1]
                        place -= 1
                    values[place], mine[place] = value, columns[low + c]
        least[first + r] = smallest


@compiled()
def pair_distances(queries: np.ndarray, asked: np.ndarray, vectors: np.ndarray, others: np.ndarray) -> np.ndarray:
    """(P,) float64 distances, 1 - cosine in 0..2, of float32 unit rows: ``queries[asked]`` and ``vectors[others]``.

    Each product of two float32 is exact in float64 and they are added in order, so that a distance depends on nothing
    but the two rows.
    """
    distances = np.empty(len(asked), np.float64)
    for p in range(len(asked)):
        x, y = queries[asked[p]], vectors[others[p]]
        total = 0.0
        for j in range(x.size):
            total += np.float64(x[j]) * np.float64(y[j])
        distances[p] = min(max(1.0 - total, 0.0), 2.0)
    return distances


def largest(keys: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Columns (B, k) int64 of the largest of each row of (B, N) contiguous float32 ``keys``, and those keys (B, k)
    float32: largest first, of equal ones the smaller column. NaN is left out; -1 and NaN where fewer are left.

    A heap keeps any of the keys that are equal at its border. So it holds one more than is wanted, and a row whose
    border falls among equal keys is looked through once more.
    """
    import faiss  # here: it takes a while, and figures without lists need it not

    rows, size = keys.shape
    count = min(k + 1, size)
    columns, values = np.empty((rows, count), np.int64), np.empty((rows, count), np.float32)
    heaps: Any = faiss.float_minheap_array_t()  # does not own what it points to
    heaps.nh, heaps.k = rows, count
    heaps.ids, heaps.val = faiss.swig_ptr(columns), faiss.swig_ptr(values)
    heaps.heapify()
    heaps.addn(size, faiss.swig_ptr(keys), 0, 0, rows)
    heaps.reorder()
    values[columns < 0] = np.nan  # which sorts last
    order = np.lexsort((columns, -values), axis=1)
    columns, values = np.take_along_axis(columns, order, axis=1), np.take_along_axis(values, order, axis=1)
    if count <= k:
        missing = ((0, 0), (0, k - count))
        return np.pad(columns, missing, constant_values=-1), np.pad(values, missing, constant_values=np.nan)
    for row in np.flatnonzero(values[:, k - 1] == values[:, k]):
        near = np.flatnonzero(keys[row] >= values[row, k - 1])
        near = near[np.argsort(-keys[row, near], kind="stable")][:k]
        columns[row, :k], values[row, :k] = near, keys[row, near]
    return columns[:, :k], values[:, :k]
