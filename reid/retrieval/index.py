"""The nearest gallery images of each query by FAISS's heaps, from keys that the ranking has computed anyway."""

from __future__ import annotations

from typing import Any

import faiss
import numpy as np


def largest(keys: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Columns (B, k) int64 of the largest of each row of (B, N) contiguous float32 ``keys``, and those keys (B, k)
    float32: largest first, of equal ones the smaller column. NaN is left out; -1 and NaN where fewer are left.

    A heap keeps any of the keys that are equal at its border. So it holds one more than is wanted, and a row whose
    border falls among equal keys is looked through once more.
    """
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
