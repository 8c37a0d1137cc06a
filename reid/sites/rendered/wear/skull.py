"""The skull of the reference body, on which hair and hats lie."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from reid.sites.rendered.body.body import Body
from reid.sites.rendered.wear.attach import HEAD_CENTRE, near, region, vector
from reid.sites.rendered.wear.mesh import Floats

# A shell over the skull has rows from the crown downwards and columns all around, the first once more as the last.
ROWS, COLUMNS = 12, 49
TURNS = np.linspace(-np.pi, np.pi, COLUMNS).astype(np.float32)  # angles of the columns from the front, left positive
_SLOPES = np.linspace(np.pi / 2, -np.pi / 3, 40)  # above the horizon, from the crown downwards


@dataclass(frozen=True)
class _Skull:
    tree: cKDTree  # unit directions from HEAD_CENTRE
    radii: Floats  # metres from there
    heights: NDArray[np.float64]  # (slopes, COLUMNS) of the surface, falling
    columns: Floats  # (slopes, COLUMNS): radii


def _radius(tree: cKDTree, radii: Floats, directions: Floats) -> Floats:
    rows, shares = near(tree, directions.reshape(-1, 3))
    return (radii[rows] * shares).sum(1).reshape(directions.shape[:-1]).astype(np.float32)


def _directions(slopes: NDArray[np.float64]) -> Floats:
    """Unit vectors (..., COLUMNS, 3) at angles above the horizon (..., COLUMNS)."""
    flat = np.cos(slopes)
    return np.stack([flat * np.sin(TURNS), -flat * np.cos(TURNS), np.sin(slopes)], -1).astype(np.float32)


@lru_cache(maxsize=2)
def _skull(body: Body) -> _Skull:
    """The head and neck without what lies inside it (eyes, mouth), made once a body."""
    points = region(body, "head").reference - vector(*HEAD_CENTRE)
    radii = np.linalg.norm(points, axis=1).astype(np.float32)
    directions = points / radii[:, None]
    outermost = radii[cKDTree(directions).query(directions, 12)[1]].max(1)
    seen = radii > 0.9 * outermost
    tree, radii = cKDTree(directions[seen]), radii[seen]
    slopes = np.repeat(_SLOPES[:, None], COLUMNS, 1)
    columns = _radius(tree, radii, _directions(slopes))
    heights = np.minimum.accumulate(columns * np.sin(slopes) + HEAD_CENTRE[2], 0)
    return _Skull(tree, radii, heights, columns)


def on_skull(body: Body, direction: Floats) -> Floats:
    """The point (3,) of the skull along a unit vector from `HEAD_CENTRE`."""
    skull = _skull(body)
    return vector(*HEAD_CENTRE) + direction * _radius(skull.tree, skull.radii, direction[None])[0]


def over_skull(body: Body, ends: Floats) -> tuple[Floats, Floats]:
    """Points (ROWS, COLUMNS, 3) on the skull from the crown down to heights `ends` (COLUMNS,), and the unit vectors
    outwards there."""
    skull = _skull(body)
    pairs = zip(ends, skull.heights.T, strict=True)
    lowest = np.array([np.interp(-end, -column, _SLOPES) for end, column in pairs])
    slopes = np.pi / 2 + (lowest - np.pi / 2) * np.linspace(0.0, 1.0, ROWS)[:, None]
    outward = _directions(slopes)
    step = np.clip((slopes - _SLOPES[0]) / (_SLOPES[1] - _SLOPES[0]), 0, len(_SLOPES) - 1.001)
    row = step.astype(np.int64)
    share = (step - row).astype(np.float32)
    column = np.arange(COLUMNS)
    radii = skull.columns[row, column] * (1 - share) + skull.columns[row + 1, column] * share
    return vector(*HEAD_CENTRE) + outward * radii[..., None], outward
