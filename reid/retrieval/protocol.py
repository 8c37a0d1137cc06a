"""Which gallery images a query is not compared with, beside junk: those of its identity and camera, or its own alone.

The protocol of Market-1501 and of all tables in the field is *cross-camera*: a match in the query's own camera is too
easy to count. Where cameras are not known, *any-camera* is what can be measured: it counts such matches, so its figures
are others, usually higher, and carry its name.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from reid.errors import InputError
from reid.retrieval.features import Features

Protocol = Literal["cross-camera", "any-camera"]
PROTOCOLS: tuple[Protocol, ...] = ("cross-camera", "any-camera")

JUNK = -1

LEFT_OUT = {
    "cross-camera": "gallery images of the query's identity and camera",
    "any-camera": "the query's own image, which is the gallery image of its path; images of its camera count",
}
NO_MATCH = {
    "cross-camera": "from another camera; where cameras are not known, --protocol any-camera counts all images but the "
    "query's own",
    "any-camera": "beside its own image",
}


def left_out_marks(query: Features, gallery: Features, protocol: Protocol) -> tuple[np.ndarray, np.ndarray]:
    """(Q,) and (N,) int64 marks: a gallery image with the query's identity and mark is left out of its ranking.

    Marks are the cameras under ``cross-camera``; under ``any-camera`` a number for each path, so that the query's own
    image is left out alone.

    Raises:
        InputError: under ``any-camera``, features without paths, or a query's path that is of another identity in the
            gallery (junk aside, which is left out anyway).
    """
    if protocol == "cross-camera":
        return query.camids, gallery.camids
    for side in (query, gallery):
        if not side.paths:
            raise InputError(
                f"{side.origin}: has no paths, by which a query's own image is known: protocol any-camera needs them"
            )
    number_of: dict[str, int] = {}
    query_marks, gallery_marks = (
        np.array([number_of.setdefault(path, len(number_of)) for path in side.paths], np.int64)
        for side in (query, gallery)
    )
    pid_of = np.full(len(number_of), JUNK, np.int64)
    pid_of[query_marks] = query.pids
    asked = np.zeros(len(number_of), bool)
    asked[query_marks] = True
    for side, marks in ((query, query_marks), (gallery, gallery_marks)):
        bad = np.flatnonzero(asked[marks] & (side.pids != JUNK) & (side.pids != pid_of[marks]))
        if len(bad):
            raise InputError(
                f"{side.origin}: paths: {side.paths[bad[0]]!r} is of identity {side.pids[bad[0]]}, but of "
                f"{pid_of[marks[bad[0]]]} among the queries: under any-camera a path must name one image"
            )
    return query_marks, gallery_marks
