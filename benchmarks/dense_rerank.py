"""k-reciprocal re-ranking as it was published and is usually run (Zhong et al. 2017): dense n x n matrices in float32,
all lists sorted whole. What ours is compared with; memory is about 5 n^2 floats."""

from __future__ import annotations

import numpy as np


def dense_rerank(query: np.ndarray, gallery: np.ndarray, k1: int = 20, k2: int = 6, weight: float = 0.3) -> np.ndarray:
    """(Q, G) float32 re-ranked distances of unit features."""
    rows = np.concatenate([query, gallery])
    n, queries = len(rows), len(query)
    euclidean = np.sqrt(np.maximum(2 - 2 * (rows @ rows.T), 0))
    original = np.power(euclidean, 2)
    del euclidean
    original /= original.max(axis=1, keepdims=True)
    ranked = np.argsort(original, axis=1).astype(np.int32)

    def reciprocal(i: int, k: int) -> np.ndarray:
        forward = ranked[i, : k + 1]
        return forward[(ranked[forward, : k + 1] == i).any(axis=1)]

    encoding = np.zeros((n, n), np.float32)
    for i in range(n):
        neighbours = reciprocal(i, k1)
        expanded = neighbours
        for candidate in neighbours:
            half = reciprocal(int(candidate), round(k1 / 2))
            if len(np.intersect1d(half, neighbours)) > 2 / 3 * len(half):
                expanded = np.append(expanded, half)
        expanded = np.unique(expanded)
        weights = np.exp(-original[i, expanded])
        encoding[i, expanded] = weights / weights.sum()
    original = original[:queries]
    expanded_encoding = np.zeros_like(encoding)
    for i in range(n):
        expanded_encoding[i] = encoding[ranked[i, :k2]].mean(axis=0)
    encoding = expanded_encoding
    columns = [np.flatnonzero(encoding[:, j]) for j in range(n)]
    jaccard = np.zeros((queries, n), np.float32)
    for i in range(queries):
        shared = np.zeros(n, np.float32)
        for j in np.flatnonzero(encoding[i]):
            shared[columns[j]] += np.minimum(encoding[i, j], encoding[columns[j], j])
        jaccard[i] = 1 - shared / (2 - shared)
    return (jaccard * (1 - weight) + original * weight)[:, queries:]
