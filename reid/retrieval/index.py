"""Nearest neighbours by FAISS. It proposes; the ranking's own distances decide (it orders ties as it likes)."""

from __future__ import annotations

import faiss
import numpy as np

from reid.retrieval.features import Features
from reid.retrieval.ranking import Distance


class FlatIndex:
    """Exact flat index over a gallery: inner product of unit features for ``cosine``, L2 for ``euclidean``."""

    def __init__(self, gallery: Features, distance: Distance = "cosine") -> None:
        self._distance = distance
        width = gallery.features.shape[1]
        self._index = faiss.IndexFlatIP(width) if distance == "cosine" else faiss.IndexFlatL2(width)
        self._index.add(self._prepare(gallery.features))

    def propose(self, queries: np.ndarray, count: int) -> np.ndarray:
        """(Q, count) gallery rows, nearest first, for (Q, D) float32 queries."""
        return self._index.search(self._prepare(queries), count)[1]

    def _prepare(self, features: np.ndarray) -> np.ndarray:
        prepared = np.ascontiguousarray(features, dtype=np.float32)
        if self._distance == "cosine":
            prepared = prepared.copy()
            faiss.normalize_L2(prepared)
        return prepared
