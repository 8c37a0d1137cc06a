"""A smooth step, as edges of paint, cloth, walls and light have it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def smoothstep(low: float, high: float, values: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """0 below `low`, 1 above `high`, a smooth S between, of the shape of `values`; with `low` above `high` it falls."""
    t = np.clip((values - np.float32(low)) / np.float32(high - low), 0, 1)
    return np.asarray(t * t * (3 - 2 * t), np.float32)
