"""Average query expansion (Chum et al. 2007): a query becomes the mean of itself and its nearest gallery images."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from reid.errors import InputError
from reid.retrieval.features import Features, check_widths
from reid.retrieval.index import FlatIndex


def expand_queries(query: Features, gallery: Features, count: int) -> Features:
    """Queries (Q, D) of unit length: the mean of the query's and its ``count`` nearest gallery images' unit features.

    Neighbours are chosen by cosine alone, junk included, without a look at identities or cameras: at search time there
    are none.

    Raises:
        InputError: ``count`` below 1.
    """
    if count < 1:
        raise InputError(f"query expansion by {count} images: wanted at least 1")
    check_widths(query, gallery)
    nearest = FlatIndex(gallery).propose(query.features, min(count, len(gallery)))
    mean = _unit(query.features)
    for place in range(nearest.shape[1]):
        mean += _unit(gallery.features[nearest[:, place]])
    return replace(query, features=_unit(mean), origin=f"{query.origin}, expanded by {count}")


def _unit(features: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(features, axis=-1, keepdims=True)
    return (features / np.where(lengths > 0, lengths, 1)).astype(np.float32)
