"""The nearest entries on Milvus, exactly: it proposes, distances computed here from the vectors themselves decide."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from reid.gallery.entries import Hits
from reid.gallery.milvus.client import Connection
from reid.retrieval.search import decide

SPARE = 22  # asked for beside the k nearest, so that rounding and a few ties leave the list certain
MOST = 16_384  # that Milvus proposes to a query
MARGIN = 1e-5  # above what float32 products of unit vectors are off by
RESULT_BYTES = 32 * 2**20  # of vectors in one answer; a server refuses to send more than 100 MB


def search(connection: Connection, expression: str, queries: np.ndarray, k: int) -> Hits:
    """The k nearest of each of (Q, D) float32 unit ``queries`` among the entries that match.

    A list is certain where its last entry is clearly nearer than the farthest that was proposed, and so than all that
    were not. For the others more are asked for, and in the end all are read: of many equal ones none is forgotten.
    """
    hits = Hits(np.full((len(queries), k), -1, np.int64), np.full((len(queries), k), np.nan))
    left, limit = np.arange(len(queries) if k else 0), k + SPARE
    while len(left) and limit <= MOST:
        at_once, unsure = max(RESULT_BYTES // (4 * queries.shape[1] * limit), 1), []
        for low in range(0, len(left), at_once):
            part = left[low : low + at_once]
            ids, vectors, farthest = _propose(connection, expression, queries[part], limit)
            fetch = _fetch(vectors, queries.shape[1])
            hits.ids[part], hits.distances[part] = decide(queries[part], ids, fetch, k)
            all_proposed = ids[:, -1] < 0
            unsure.append(part[~(all_proposed | (hits.distances[part, -1] + MARGIN < farthest))])
        left, limit = np.concatenate(unsure), MOST if limit < MOST < 4 * limit else 4 * limit
    if len(left):
        hits.ids[left], hits.distances[left] = _read_all(connection, expression, queries[left], k)
    return hits


def _propose(
    connection: Connection, expression: str, queries: np.ndarray, limit: int
) -> tuple[np.ndarray, dict[int, Any], np.ndarray]:
    """Ids (Q, limit) with -1 where fewer match, their vectors by id, and the farthest's distance (Q,)."""
    answers = connection(
        "search", connection.collection, data=list(queries), limit=limit, filter=expression, output_fields=["vector"],
        search_params={"metric_type": "IP"}, consistency_level="Strong",
    )  # fmt: skip
    ids, farthest = np.full((len(queries), limit), -1, np.int64), np.full(len(queries), np.inf)
    vectors: dict[int, Any] = {}
    for number, rows in enumerate(answers):
        for place, row in enumerate(rows):
            ids[number, place] = row["id"]
            vectors.setdefault(row["id"], row["entity"]["vector"])
            farthest[number] = 1 - row["distance"]
    return ids, vectors, farthest


def _read_all(connection: Connection, expression: str, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """As :func:`search`, from every entry that matches, page by page."""
    ids, distances = np.full((len(queries), k), -1, np.int64), np.full((len(queries), k), np.nan)
    vectors: dict[int, Any] = {}
    for page in connection.pages(connection.collection, expression or "id > 0", ["id", "vector"]):
        vectors |= {row["id"]: row["vector"] for row in page}
        new = np.broadcast_to([row["id"] for row in page], (len(queries), len(page)))
        ids, distances = decide(queries, np.hstack([ids, new]), _fetch(vectors, queries.shape[1]), k)
        vectors = {id: vectors[id] for id in np.unique(ids[ids >= 0]).tolist()}
    return ids, distances


def _fetch(vectors: dict[int, Any], width: int) -> Callable[[np.ndarray], np.ndarray]:
    return lambda ids: np.array([vectors[id] for id in ids.tolist()], np.float32).reshape(len(ids), width)
