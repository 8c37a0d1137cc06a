"""Progress bars: lively in a terminal, a line now and then in a log file."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

from tqdm import tqdm


def track(
    items: Iterable[Any] | None = None,
    *,
    name: str,
    unit: str,
    total: int | None = None,
    done: int = 0,
    shown: bool = True,
) -> tqdm:
    """A bar over ``items``, or one of ``total`` units of which ``done`` are done, to be updated by hand."""
    terminal = sys.stderr.isatty()
    return tqdm(
        items,
        desc=name,
        unit=unit,
        total=total,
        initial=done,
        disable=not shown,
        dynamic_ncols=True,
        leave=total is not None,
        mininterval=0.1 if terminal else 20,
    )
