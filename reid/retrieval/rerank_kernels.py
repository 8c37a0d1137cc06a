"""Compiled loops of re-ranking: sets of neighbours, sparse rows and their distances."""

from __future__ import annotations

import numpy as np

from reid.retrieval.kernels import compiled


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
    mutual, small = np.empty(reach, np.int64), np.empty(half, np.int64)
    mark = np.full(n, -1, np.int64)  # mark[j] == i: j is in i's own set
    joined = np.full(n, -1, np.int64)
    filled = 0
    for i in range(n):
        count = 0
        for a in range(reach):
            c = nearest[i, a]
            for b in range(reach):
                if nearest[c, b] == i:
                    mutual[count] = c
                    mark[c] = i
                    count += 1
                    break
        if filled + count * (half + 1) > len(members):
            larger = np.empty(2 * len(members) + count * (half + 1), np.int32)
            larger[:filled] = members[:filled]
            members = larger
        begun = filled
        for a in range(count):
            joined[mutual[a]] = i
            members[filled] = mutual[a]
            filled += 1
        for a in range(count):
            c = mutual[a]
            half_count, shared = 0, 0
            for b in range(half):
                d = nearest[c, b]
                for e in range(half):
                    if nearest[d, e] == c:
                        small[half_count] = d
                        half_count += 1
                        shared += mark[d] == i
                        break
            if shared > 2 / 3 * half_count:
                for b in range(half_count):
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
