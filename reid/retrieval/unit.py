"""Rows of length 1: the one way in which this project makes them."""

from __future__ import annotations

import numpy as np

from reid.errors import InputError

BLOCK = 4096  # rows in float64 at once


def unit_rows(features: np.ndarray, width: int, what: str, zeros: bool = False) -> np.ndarray:
    """(N, D) float32 rows of length 1, computed in float64, the same bits for the same row wherever it stands.

    Args:
        zeros: let a row of zeros, which has no direction, stay one: its cosine with every other is 0.

    Raises:
        InputError: naming ``what``, for another shape than (N, ``width``), a row that holds NaN or infinity or, unless
            allowed, a row of zeros.
    """
    if features.ndim != 2 or features.shape[1] != width:
        raise InputError(f"{what}: expected features (N, {width}), got {features.shape}")
    unit, bad = np.empty(features.shape, np.float32), []
    for low in range(0, len(features), BLOCK):
        wide = features[low : low + BLOCK].astype(np.float64)
        lengths = _lengths(wide)
        if zeros:
            lengths[lengths == 0] = 1
        bad += (low + np.flatnonzero(~_measurable(lengths))).tolist()
        if not bad:
            unit[low : low + BLOCK] = wide / lengths[:, None]
    if bad:
        kind = "holds NaN or infinity" if zeros else "is all zeros, or holds NaN or infinity"
        raise InputError(f"{what}: row {bad[0]} {kind} ({len(bad)} such rows)")
    return unit


def usable(features: np.ndarray) -> np.ndarray:
    """(N,) bool: which rows of (N, D) have a direction. A crop of one colour may give zeros, or NaN."""
    return _measurable(_lengths(features.astype(np.float64)))


def _lengths(rows: np.ndarray) -> np.ndarray:
    """(N,) of (N, D) float64."""
    return np.sqrt((rows**2).sum(axis=1))


def _measurable(lengths: np.ndarray) -> np.ndarray:
    return (lengths > 0) & np.isfinite(lengths)
