"""Compiled loops, as `reid.retrieval.kernels` has them too: what that folder holds decides figures on record."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

from numba import njit

Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(function: Function) -> Function:
    """``njit``, cached on disk where there is a place to write to (a read-only installation may have none)."""
    try:
        return cast(Function, njit(cache=True)(function))
    except RuntimeError:  # numba finds no place for its cache
        return cast(Function, njit(function))
