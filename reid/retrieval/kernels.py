"""Compiled loops of ranking: what is left of an evaluation once the matrix product is done. Cached on disk by numba."""

from __future__ import annotations

from collections.abc import Callable

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
    camids: np.ndarray,
    by_pid: np.ndarray,
    starts: np.ndarray,
    stops: np.ndarray,
    gallery_camids: np.ndarray,
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
        pids, camids: (B,) of the queries.
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
            if gallery_camids[g] == camids[b]:
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
                found = np.int32(0)  # 32 bits and loops over whole slices: what the compiler turns into vector code
                for j in range(before.size):
                    found = np.int32(found + (before[j] >= threshold))
                for j in range(after.size):
                    found = np.int32(found + (after[j] > threshold))
                nearer[m] += found
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
def pair_distances(queries: np.ndarray, own: np.ndarray, vectors: np.ndarray, others: np.ndarray) -> np.ndarray:
    """(P,) float64 distances, 1 - cosine in 0..2, of float32 unit rows: ``queries[own]`` and ``vectors[others]``.

    Each product of two float32 is exact in float64 and they are added in order, so that a distance depends on nothing
    but the two rows.
    """
    distances = np.empty(len(own), np.float64)
    for p in range(len(own)):
        x, y = queries[own[p]], vectors[others[p]]
        total = 0.0
        for j in range(x.size):
            total += np.float64(x[j]) * np.float64(y[j])
        distances[p] = min(max(1.0 - total, 0.0), 2.0)
    return distances


@compiled()
def reciprocal_sets(nearest: np.ndarray, reach: int, half_reach: int) -> tuple[np.ndarray, np.ndarray]:
    """Expanded k-reciprocal sets (Zhong et al. 2017, sec. 3.2) as CSR: (n + 1,) bounds and sorted members.

    A set is taken from the first ``reach`` (k1 + 1) of the lists ``nearest``, which start with the image itself or a
    twin of it. A candidate's own set, from the first ``half_reach`` of them, joins when more than two thirds of it is
    in the set already.
    """
    n = len(nearest)
    half = half_reach
    bounds = np.zeros(n + 1, np.int64)
    members = np.empty(n * reach * 2, np.int32)
    own, small = np.empty(reach, np.int64), np.empty(half, np.int64)
    mark = np.full(n, -1, np.int64)  # mark[j] == i: j is in i's own set
    joined = np.full(n, -1, np.int64)
    filled = 0
    for i in range(n):
        count = 0
        for a in range(reach):
            c = nearest[i, a]
            for b in range(reach):
                if nearest[c, b] == i:
                    own[count] = c
                    mark[c] = i
                    count += 1
                    break
        if filled + count * (half + 1) > len(members):
            larger = np.empty(2 * len(members) + count * (half + 1), np.int32)
            larger[:filled] = members[:filled]
            members = larger
        begun = filled
        for a in range(count):
            joined[own[a]] = i
            members[filled] = own[a]
            filled += 1
        for a in range(count):
            c = own[a]
            found, shared = 0, 0
            for b in range(half):
                d = nearest[c, b]
                for e in range(half):
                    if nearest[d, e] == c:
                        small[found] = d
                        found += 1
                        shared += mark[d] == i
                        break
            if shared > 2 / 3 * found:
                for b in range(found):
                    if joined[small[b]] != i:
                        joined[small[b]] = i
                        members[filled] = small[b]
                        filled += 1
        members[begun:filled] = np.sort(members[begun:filled])
        bounds[i + 1] = filled
    return bounds, members[:filled]


@compiled()
def average_rows(
    nearest: np.ndarray, k2: int, bounds: np.ndarray, members: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Local query expansion (sec. 3.4): each sparse row becomes the mean of its ``k2`` nearest images' rows, as CSR."""
    n = len(bounds) - 1
    k2 = min(k2, nearest.shape[1])
    total = 0
    for i in range(n):
        for a in range(k2):
            total += bounds[nearest[i, a] + 1] - bounds[nearest[i, a]]
    columns, values = np.empty(total, np.int32), np.empty(total, np.float32)
    new_bounds = np.zeros(n + 1, np.int64)
    sums, touched = np.zeros(n, np.float32), np.empty(n, np.int32)
    filled = 0
    for i in range(n):
        count = 0
        for a in range(k2):
            c = nearest[i, a]
            for place in range(bounds[c], bounds[c + 1]):
                j = members[place]
                if sums[j] == 0:
                    touched[count] = j
                    count += 1
                sums[j] += weights[place]
        for place in range(count):
            j = touched[place]
            columns[filled], values[filled] = j, sums[j] / np.float32(k2)
            sums[j] = 0
            filled += 1
        new_bounds[i + 1] = filled
    return new_bounds, columns[:filled].copy(), values[:filled].copy()


@compiled()
def jaccard_rows(
    first: int,
    bounds: np.ndarray,
    columns: np.ndarray,
    values: np.ndarray,
    column_bounds: np.ndarray,
    column_rows: np.ndarray,
    column_values: np.ndarray,
    weight: np.float32,
    scale: np.ndarray,
    out: np.ndarray,
) -> None:
    """``out`` (R, G): from similarities of the queries ``first``.. with the gallery to re-ranked distances, in place.

    ``(1 - weight) * jaccard + weight * (2 - 2 * similarity) / scale``; the Jaccard distance of two sparse rows, each of
    sum 1, is 1 - m / (2 - m) with m the sum of their smaller entries (sec. 3.3).
    """
    shared = np.zeros(out.shape[1], np.float32)
    for r in range(len(out)):
        i = first + r
        shared[:] = 0
        for place in range(bounds[i], bounds[i + 1]):
            j, value = columns[place], values[place]
            for entry in range(column_bounds[j], column_bounds[j + 1]):
                shared[column_rows[entry]] += min(value, column_values[entry])
        row = out[r]
        for g in range(row.size):
            original = max(np.float32(2) - np.float32(2) * row[g], np.float32(0)) / scale[r]
            jaccard = np.float32(1) - shared[g] / (np.float32(2) - shared[g])
            row[g] = jaccard * (np.float32(1) - weight) + original * weight


@compiled(fastmath=True)
def _dot(x: np.ndarray, y: np.ndarray) -> np.float32:
    total = np.float32(0)
    for j in range(x.size):
        total += x[j] * y[j]
    return total


@compiled()
def encode(
    query: np.ndarray,
    gallery: np.ndarray,
    inverse: np.ndarray,
    nearest: np.ndarray,
    similar: np.ndarray,
    farthest: np.ndarray,
    bounds: np.ndarray,
    members: np.ndarray,
) -> np.ndarray:
    """Weights of the sets' members: exp(-distance / the image's largest distance), summing to 1 in each row (eq. 7).

    A similarity that is in neither image's list is computed.
    """
    weights = np.empty(len(members), np.float32)
    for i in range(len(bounds) - 1):
        total = np.float32(0)
        for place in range(bounds[i], bounds[i + 1]):
            j = members[place]
            similarity = np.float32(np.nan)
            for a in range(nearest.shape[1]):
                if nearest[i, a] == j:
                    similarity = similar[i, a]
                    break
                if nearest[j, a] == i:
                    similarity = similar[j, a]
                    break
            if np.isnan(similarity):
                x = query[i] if i < len(query) else gallery[i - len(query)]
                y = query[j] if j < len(query) else gallery[j - len(query)]
                similarity = _dot(x, y) * inverse[i] * inverse[j]
            distance = max(np.float32(2) - np.float32(2) * similarity, np.float32(0))
            weights[place] = np.exp(-distance / farthest[i])
            total += weights[place]
        for place in range(bounds[i], bounds[i + 1]):
            weights[place] /= total
    return weights


@compiled()
def transpose_rows(
    bounds: np.ndarray, columns: np.ndarray, values: np.ndarray, first: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """CSC of the rows from ``first`` on, numbered from 0."""
    n = len(bounds) - 1
    new_bounds = np.zeros(n + 1, np.int64)
    for place in range(bounds[first], bounds[n]):
        new_bounds[columns[place] + 1] += 1
    for j in range(n):
        new_bounds[j + 1] += new_bounds[j]
    filled = new_bounds[:-1].copy()
    rows, new_values = np.empty(new_bounds[n], np.int32), np.empty(new_bounds[n], np.float32)
    for i in range(first, n):
        for place in range(bounds[i], bounds[i + 1]):
            j = columns[place]
            rows[filled[j]], new_values[filled[j]] = i - first, values[place]
            filled[j] += 1
    return new_bounds, rows, new_values
