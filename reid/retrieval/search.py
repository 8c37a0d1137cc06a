"""The nearest rows of unit features, exactly, with the rule that every list here follows: the distance is computed in
float64 from the rows themselves, so that equal rows get equal distances, and of those the smaller row comes first.
"""

from __future__ import annotations

import numpy as np

BLOCK = 256  # queries at once


def nearest(
    queries: np.ndarray, vectors: np.ndarray, k: int, allowed: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Rows (Q, k) int64 of the nearest ``vectors`` and their distances (Q, k) float64, 1 - cosine; -1 and NaN where
    fewer are allowed.

    Args:
        queries: (Q, D) float32 of length 1.
        vectors: (N, D) float32 of length 1; may be a memory-mapped file.
        allowed: (N,) bool, rows that count; None for all.
    """
    rows, distances = np.full((len(queries), k), -1, np.int64), np.full((len(queries), k), np.nan)
    own = np.arange(len(vectors)) if allowed is None else np.flatnonzero(allowed)
    some = vectors[own].astype(np.float64)
    for low in range(0, len(queries), BLOCK):
        found = 1 - queries[low : low + BLOCK].astype(np.float64) @ some.T
        best = np.argsort(found, axis=1, kind="stable")[:, :k]
        rows[low : low + BLOCK, : best.shape[1]] = own[best]
        distances[low : low + BLOCK, : best.shape[1]] = np.take_along_axis(found, best, axis=1)
    return rows, distances
