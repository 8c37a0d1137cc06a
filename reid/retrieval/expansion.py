"""Average query expansion (Chum et al. 2007): a query becomes the mean of itself and its nearest gallery images."""

from __future__ import annotations

from dataclasses import replace

from reid.errors import InputError
from reid.retrieval.features import Features, check_widths
from reid.retrieval.search import nearest
from reid.retrieval.unit import unit_rows


def expand_queries(query: Features, gallery: Features, count: int) -> Features:
    """Queries (Q, D) of unit length: the mean of the query's and its ``count`` nearest gallery images' unit features.

    Neighbours are chosen by cosine alone, junk included, without a look at identities or cameras: at search time there
    are none. Of equally near ones the smaller index comes first. A row of zeros, which has no direction, adds nothing.

    Raises:
        InputError: ``count`` below 1.
    """
    if count < 1:
        raise InputError(f"query expansion by {count} images: wanted at least 1")
    check_widths(query, gallery)
    width = query.features.shape[1]
    mean = unit_rows(query.features, width, query.origin, zeros=True)
    units = unit_rows(gallery.features, width, gallery.origin, zeros=True)
    rows, _ = nearest(mean, units, min(count, len(gallery)))
    for place in range(rows.shape[1]):
        mean += units[rows[:, place]]
    expanded = unit_rows(mean, width, query.origin, zeros=True)
    return replace(query, features=expanded, origin=f"{query.origin}, expanded by {count}")
