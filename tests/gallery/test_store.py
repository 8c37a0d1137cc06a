"""The gallery, with its catalogue in SQLite or PostgreSQL, against the reference in memory; what only it promises."""

from __future__ import annotations

import pytest
import sequences

from reid.gallery.parts import Layout
from reid.gallery.vectors import segments


@pytest.fixture(params=["sqlite", "postgresql"])
def layout(request):
    """Gives the layout of an empty gallery, as often as it is called."""
    if request.param == "sqlite":
        return Layout
    server = request.getfixturevalue("postgresql")
    return lambda: Layout(catalogue=server.location())


def test_any_order_of_operations(layout, monkeypatch):
    monkeypatch.setattr(segments, "ROWS", 7)
    sequences.run(layout)
