"""Same person or not, pair by pair: the share of true pairs found at chosen rates of false ones, with the thresholds.

Pairs are those that the ranking compares: query and gallery, without junk and what the protocol leaves out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from reid.errors import InputError
from reid.progress import track
from reid.retrieval.features import JUNK, Features, Protocol, check_widths, left_out_marks
from reid.retrieval.ranking import Distance, Keys, block_rows, row_lengths

FALSE_POSITIVE_RATES = (1e-4, 1e-3, 1e-2)


@dataclass(frozen=True)
class OperatingPoint:
    """Call a pair the same person up to ``threshold``: the rates met among false and among true pairs, as fractions.

    ``wanted`` is the false positive rate asked for; the threshold is the largest that does not exceed it.
    """

    wanted: float
    threshold: float
    false_positive_rate: float
    true_positive_rate: float


def verify(
    query: Features,
    gallery: Features,
    distance: Distance = "cosine",
    rates: Sequence[float] = FALSE_POSITIVE_RATES,
    protocol: Protocol = "cross-camera",
    max_memory: int | None = None,
    progress: bool = False,
) -> list[OperatingPoint]:
    """Points of the ROC curve, exact: all true pairs are kept, and of the false ones as many as the largest rate takes.

    Raises:
        InputError: a rate outside (0, 1], no true or no false pair, or see :func:`left_out_marks`.
    """
    if not all(0 < rate <= 1 for rate in rates):
        raise InputError(f"false positive rates {list(rates)}: wanted numbers in (0, 1]")
    check_widths(query, gallery)
    row_lengths(query)
    query_marks, gallery_marks = left_out_marks(query, gallery, protocol)
    keys = Keys(gallery, distance)
    same, false_count = [], 0
    most = int(max(rates) * len(query) * len(gallery)) + 1
    nearest = np.empty(0, np.float32)
    rows = max(1, block_rows(len(query), len(gallery), max_memory) // 4)  # with what is selected from a block
    whole = np.empty((rows, len(gallery)), np.float32)
    for low in track(range(0, len(query), rows), name="pairs", unit="block", shown=progress):
        within = slice(low, min(low + rows, len(query)))
        block = whole[: within.stop - low]
        keys.write(query.features[within], block)
        block *= keys.scale
        for number, row in zip(range(within.start, within.stop), block, strict=True):
            row[:] = keys.distances(row, query.features[number])
        person = gallery.pids == query.pids[within, None]
        compared = (gallery.pids != JUNK) & ~(person & (gallery_marks == query_marks[within, None]))
        compared &= query.pids[within, None] > 0
        same.append(block[person & compared])
        other = block[~person & compared]
        false_count += len(other)
        bar = nearest.max() if len(nearest) >= most else np.inf
        nearest = np.concatenate([nearest, other[other < bar]])
        if len(nearest) > most:
            nearest = np.partition(nearest, most - 1)[:most]
    true_pairs, nearest = np.sort(np.concatenate(same)), np.sort(nearest)
    if not len(true_pairs) or not false_count:
        raise InputError(f"{query.origin} and {gallery.origin}: {len(true_pairs)} true and {false_count} false pairs")
    points = []
    for rate in rates:
        allowed = int(rate * false_count)
        threshold = np.inf if allowed >= false_count else np.nextafter(nearest[allowed], np.float32(-np.inf))
        points.append(
            OperatingPoint(
                rate,
                float(threshold),
                float(np.searchsorted(nearest, threshold, side="right") / false_count),
                float(np.searchsorted(true_pairs, threshold, side="right") / len(true_pairs)),
            )
        )
    return points
