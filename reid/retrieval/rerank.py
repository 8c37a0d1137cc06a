"""k-reciprocal re-ranking (Zhong et al. 2017), sparse: neighbour lists from a symmetric blocked product, then sets.

The original's ranked-list definition: distances are 2 - 2 cosine (the squared euclidean distance of unit features),
divided by the largest distance of the same image; each image's list starts with itself. Time is that of half the
matrix product of all images with themselves; no n x n matrix exists.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from reid.errors import InputError
from reid.progress import track
from reid.retrieval.features import Features, check_widths
from reid.retrieval.kernels import keep_nearest
from reid.retrieval.ranking import find_twins, row_lengths
from reid.retrieval.rerank_kernels import average_rows, encode, jaccard_rows, reciprocal_sets, transpose_rows

log = logging.getLogger(__name__)

DEFINITION = "k-reciprocal re-ranking, k1 20, k2 6, lambda 0.3, of 2 - 2 cosine; ranked-list definition"

# Images along one side of a block of similarities; no power of two, for then a column's entries would share one place
# in the cache, and transposing a block take seven times as long.
TILE = 1040


@dataclass(frozen=True)
class Settings:
    """k1: reach of the reciprocal neighbours; k2: of the query expansion; weight: lambda, of the original distance."""

    k1: int = 20
    k2: int = 6
    weight: float = 0.3

    def __post_init__(self) -> None:
        if self.k1 < 1 or self.k2 < 1 or not 0 <= self.weight <= 1:
            raise InputError(
                f"re-ranking: k1 {self.k1}, k2 {self.k2}, lambda {self.weight}: wanted k1, k2 >= 1 and 0 <= lambda <= 1"
            )


DEFAULT = Settings()


class Sparse(NamedTuple):
    """Compressed rows (or columns): (n + 1,) int64 bounds, int32 places and float32 values."""

    bounds: np.ndarray
    places: np.ndarray
    values: np.ndarray


@dataclass(frozen=True)
class Reranker:
    """Sparse encodings of all images, from which rows of re-ranked distances are computed.

    Attributes:
        inverse_lengths: (Q + G,) float32.
        farthest: (Q,) float32 largest 2 - 2 cosine of each query with any image.
        rows: (Q + G) sparse encodings as CSR; ``by_column`` the gallery's as CSC.
        similarities: (Q, G) float32 cosines, where there was memory to keep them; else they are computed again.
        twins: (T, 2) gallery images and earlier ones that they equal bit for bit.
    """

    query: Features
    gallery: Features
    settings: Settings
    inverse_lengths: np.ndarray
    farthest: np.ndarray
    rows: Sparse
    by_column: Sparse
    similarities: np.ndarray | None
    twins: np.ndarray

    def distances(self, within: slice, out: np.ndarray) -> None:
        """Write re-ranked distances (R, G) float32 of the queries ``within`` to ``out``."""
        if self.similarities is not None:
            out[:] = self.similarities[within]
        else:
            np.matmul(self.query.features[within], self.gallery.features.T, out=out)
            out *= self.inverse_lengths[len(self.query) :]
            out *= self.inverse_lengths[within, None]
            out[:, self.twins[:, 0]] = out[:, self.twins[:, 1]]
        weight = np.float32(self.settings.weight)
        jaccard_rows(within.start, *self.rows, *self.by_column, weight, self.farthest[within], out)


def memory_needed(query: int, gallery: int, settings: Settings, keep_similarities: bool) -> int:
    """Bytes, about: tiles; lists and encodings, of which 50 bytes a neighbour were measured, with room for twice."""
    n = query + gallery
    reach = min(max(settings.k1 + 1, settings.k2), n)
    return 3 * 4 * TILE**2 + 112 * n * reach + (4 * query * gallery if keep_similarities else 0)


def plan_memory(query: int, gallery: int, settings: Settings = DEFAULT, max_memory: int | None = None) -> bool:
    """Whether there is room to keep the query x gallery similarities (1 GiB in all where no budget is given).

    Raises:
        InputError: even without them more is needed than allowed, with both numbers.
    """
    keep = memory_needed(query, gallery, settings, True) <= (2**30 if max_memory is None else max_memory)
    needed = memory_needed(query, gallery, settings, keep)
    if max_memory is not None and needed > max_memory:
        raise InputError(
            f"re-ranking needs about {needed / 2**20:,.0f} MiB, more than the {max_memory / 2**20:,.0f} allowed"
        )
    return keep


def rerank(
    query: Features,
    gallery: Features,
    settings: Settings = DEFAULT,
    max_memory: int | None = None,
    progress: bool = False,
) -> Reranker:
    """Encode all images.

    Args:
        max_memory: bytes that this may take beside the features; query x gallery similarities are kept where they fit
            (1 GiB where None is given), computed twice where not.

    Raises:
        InputError: more memory needed than allowed, with both numbers; features of different width.
    """
    check_widths(query, gallery)
    keep = plan_memory(len(query), len(gallery), settings, max_memory)
    needed = memory_needed(len(query), len(gallery), settings, keep)
    log.info(f"re-ranking {len(query)} x {len(gallery)}: about {needed / 2**20:,.0f} MiB beside the features")
    lengths = np.concatenate([row_lengths(query), row_lengths(gallery)])
    inverse = (1 / np.where(lengths > 0, lengths, 1)).astype(np.float32)
    images = _Images(query.features, gallery.features)
    twins = images.twins(lengths)
    similarities = np.empty((len(query), len(gallery)), np.float32) if keep and not len(twins) else None
    reach = max(settings.k1 + 1, settings.k2)
    nearest, similar, least = _neighbours(images, inverse, twins, reach, similarities, progress)
    farthest = np.maximum(2 - 2 * least, np.float32(1e-12))

    reach, half = (min(k + 1, nearest.shape[1]) for k in (settings.k1, round(settings.k1 / 2)))
    bounds, members = reciprocal_sets(nearest, reach, half)
    weights = encode(query.features, gallery.features, inverse, nearest, similar, farthest, bounds, members)
    rows = Sparse(bounds, members, weights)
    if settings.k2 > 1:
        rows = Sparse(*average_rows(nearest, settings.k2, *rows))
    by_column = Sparse(*transpose_rows(*rows, len(query)))
    gallery_twins = twins[twins[:, 1] >= len(query)] - len(query)  # of the gallery with the gallery
    return Reranker(
        query, gallery, settings, inverse, farthest[: len(query)], rows, by_column, similarities, gallery_twins
    )


class _Images:
    """Query and gallery as one list of rows, without a copy."""

    def __init__(self, query: np.ndarray, gallery: np.ndarray) -> None:
        self.query, self.gallery = query, gallery

    def __len__(self) -> int:
        return len(self.query) + len(self.gallery)

    def rows(self, ids: np.ndarray) -> np.ndarray:
        """Rows of ascending ``ids``: a view where they are neighbours on one side."""
        first, last = int(ids[0]), int(ids[-1])
        count = len(self.query)
        if last - first + 1 == len(ids) and (last < count or first >= count):
            side, start = (self.query, first) if last < count else (self.gallery, first - count)
            return side[start : start + len(ids)]
        return np.concatenate([self.query[ids[ids < count]], self.gallery[ids[ids >= count] - count]])

    def twins(self, lengths: np.ndarray) -> np.ndarray:
        """(T, 2) rows that equal an earlier one bit for bit, and that one."""
        order = np.argsort(lengths, kind="stable")
        same = np.flatnonzero(lengths[order[1:]] == lengths[order[:-1]])
        ids = np.unique(np.concatenate([order[same], order[same + 1]]))
        if not len(ids):
            return np.empty((0, 2), np.int64)
        return ids[find_twins(self.rows(ids), lengths[ids])]


def _neighbours(
    images: _Images, inverse: np.ndarray, twins: np.ndarray, reach: int, similarities: np.ndarray | None, progress: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(n, k) nearest images of each image, their similarities, and (n,) the smallest similarity.

    Each pair of tiles is multiplied once. Of images that are equal bit for bit only the first takes part, since the
    product may give two of them another similarity; the others join its place afterwards, in the order of their index.
    """
    n = len(images)
    k = min(reach, n)
    nearest, similar = np.zeros((n, k), np.int32), np.full((n, k), -np.inf, np.float32)
    least = np.full(n, np.inf, np.float32)
    unique = np.setdiff1d(np.arange(n), twins[:, 0])
    sides = (unique[unique < len(images.query)], unique[unique >= len(images.query)])
    tiles = [side[low : low + TILE] for side in sides for low in range(0, len(side), TILE)]
    starts = np.cumsum([0, *(len(tile) for tile in tiles)])
    pairs = [(a, b) for a in range(len(tiles)) for b in range(a, len(tiles))]
    for a, b in track(pairs, name="neighbours", unit="tile", shown=progress):
        rows, columns = tiles[a], tiles[b]
        tile = images.rows(rows) @ images.rows(columns).T
        tile *= inverse[columns]
        tile *= inverse[rows, None]
        keep_nearest(tile, starts[a], np.arange(starts[b], starts[b + 1]), nearest, similar, least)
        if b > a:
            places = np.arange(starts[a], starts[a + 1])
            keep_nearest(np.ascontiguousarray(tile.T), starts[b], places, nearest, similar, least)
        if similarities is not None and rows[0] < len(images.query) <= columns[0]:
            top, left = rows[0], columns[0] - len(images.query)
            similarities[top : top + len(rows), left : left + len(columns)] = tile
    if len(twins):
        return _with_twins(unique, twins, nearest, similar, least)
    return nearest, similar, least


def _with_twins(
    unique: np.ndarray, twins: np.ndarray, nearest: np.ndarray, similar: np.ndarray, least: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Lists over all images from lists over the unique ones, which stand first and name their places in ``unique``."""
    k = nearest.shape[1]
    copies = [[int(image)] for image in unique]
    place_of = {int(image): place for place, image in enumerate(unique)}
    for image, first in twins.tolist():
        copies[place_of[first]].append(image)
    lists, values, smallest = np.zeros_like(nearest), np.zeros_like(similar), np.empty_like(least)
    for place in range(len(unique)):
        ranked = [
            (-float(value), image)
            for other, value in zip(nearest[place], similar[place], strict=True)
            if value > -np.inf
            for image in copies[other]
        ]
        ranked.sort()
        for image in copies[place]:
            lists[image] = [other for _, other in ranked[:k]]
            values[image] = [-value for value, _ in ranked[:k]]
            smallest[image] = least[place]
    return lists, values, smallest
