"""The gallery, its catalogue in SQLite or PostgreSQL, its vectors in segments or on Milvus, against the reference in
memory."""

from __future__ import annotations

import itertools

import pytest
import sequences

from reid.gallery.parts import Layout
from reid.gallery.vectors import segments

CATALOGUES, VECTORS = ("sqlite", "postgresql"), ("segments", "milvus")
NUMBERS = itertools.count()


@pytest.mark.parametrize(("catalogue", "vectors"), [*itertools.product(CATALOGUES, VECTORS)])
def test_any_order_of_operations(request, monkeypatch, catalogue, vectors):
    monkeypatch.setattr(segments, "ROWS", 7)
    tables = None if catalogue == "sqlite" else request.getfixturevalue("postgresql")
    server = None if vectors == "segments" else request.getfixturevalue("quick")

    def layout():
        where = "segments" if server is None else f"{server}/sequences{next(NUMBERS)}"
        return Layout("sqlite" if tables is None else tables.location(), where)

    sequences.run(layout, **({} if server is None else {"examples": 4, "steps": 12}))
