"""Cloth below the hips: rings that follow the legs once the body is posed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reid.sites.rendered.body.body import Body, Shape
from reid.sites.rendered.wear.attach import grid_faces
from reid.sites.rendered.wear.garments import HIPS, along, leg_axis, radii_of_supports
from reid.sites.rendered.wear.mesh import Label
from reid.sites.rendered.wear.surface import Form, Region

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Ints = NDArray[np.int32]

_COLUMNS = 48
_TOP = HIPS + 0.03  # the first ring overlaps the shell above
_LEG_BONES = ("upperleg01", "lowerleg01", "foot", "toes")


@dataclass(frozen=True)
class Tail:
    """A ring mesh; its vertices are placed by `hang`, once a pose."""

    label: Label
    angles: Doubles  # (N,) directions of the columns, from one edge of the front around the back to the other
    drops: Doubles  # (K,) metres of the rows below the first
    supports: Doubles  # (_COLUMNS,) how far the first ring reaches in each direction from the body's middle
    centre: Doubles  # (3,) of the first ring, at rest
    legs: Doubles  # (K,) radius of a leg with what it wears, at each row
    flare: float  # metres a metre
    cling: float  # metres a metre that it falls back in below what bulges
    pleats: int  # folds around, 0: a few soft ones
    depth: float  # of the folds at the hem, metres
    coords: Floats  # (K * N, 4)
    faces: Ints  # (T, 3)


_EVEN = np.linspace(-np.pi, np.pi, _COLUMNS, endpoint=False)


def make_tail(
    body: Body,
    shape: Shape,
    form: Form,
    surface: Floats,
    label: Label,
    hem: float,
    *,
    ease: float,
    flare: float,
    cling: float,
    pleats: int,
    gap: float,
) -> Tail:
    """The rings of a garment that ends at height `hem` of coords, below HIPS.

    `surface` (V, 3) are the places of `form`'s vertices with all that is worn, this garment included above HIPS. `ease`
    is how far it stands off the legs, `gap` half the width of an open front.
    """
    z = form.coords[:, 2]
    belt = surface[(form.regions == Region.TORSO) & (np.abs(z - HIPS) < 0.03)]
    centre = np.array([0.0, (belt[:, 1].min() + belt[:, 1].max()) / 2, 0.0])
    near = np.abs(z - _TOP) < 0.03
    centre[2] = float(np.median(surface[near & (form.regions == Region.TORSO), 2]))
    directions = np.stack([np.cos(_EVEN), np.sin(_EVEN)], 1)
    supports = along(belt[:, :2] - centre[:2], directions).max(0) + 0.004
    rows = max(3, 1 + round((_TOP - hem) / 0.055))
    levels = np.linspace(_TOP, hem, rows)
    hips, feet = (body.bone(f"{name}.L") for name in ("upperleg01", "foot"))
    scale = (shape.heads[hips, 2] - shape.heads[feet, 2]) / (body.heads[hips, 2] - body.heads[feet, 2])
    leg = np.flatnonzero((form.regions == Region.LEG) & (form.coords[:, 0] > 0))
    axis = leg_axis(body, shape.heads, z[leg], np.ones(len(leg), np.bool_))
    away = np.linalg.norm((surface[leg] - axis)[:, :2], axis=1)
    radii = [np.quantile(away[np.abs(z[leg] - min(level, -0.05)) < 0.05], 0.7) + 0.5 * ease for level in levels]
    opened = gap / max(float(supports.mean()), 0.1)
    angles = np.linspace(-np.pi / 2 + opened, 1.5 * np.pi - opened, _COLUMNS + 1)
    places = np.stack([0.19 * np.cos(angles), -0.02 + 0.13 * np.sin(angles)], 1)
    coords = np.zeros((rows, _COLUMNS + 1, 4), np.float32)
    coords[:, :, :2] = places
    coords[:, :, 2] = levels[:, None]
    return Tail(
        label,
        angles,
        (_TOP - levels) * float(scale),
        supports,
        centre,
        np.array(radii),
        flare,
        cling,
        pleats,
        (0.03 + 0.12 * flare) * float(_TOP - hem) if pleats else 0.02 * float(_TOP - hem),
        coords.reshape(-1, 4),
        grid_faces(rows, _COLUMNS + 1),
    )


def _moved(matrix: Floats, point: Floats | Doubles) -> Doubles:
    return np.asarray((matrix[:3, :3] * point).sum(1) + matrix[:3, 3], np.float64)


def hang(
    tail: Tail, body: Body, shape: Shape, matrices: Floats, phase: float, inner: tuple[Doubles, Doubles] | None
) -> tuple[Floats, tuple[Doubles, Doubles]]:
    """Places (K * N, 3) of a tail's vertices on a posed body, and what it takes: heights and supports of its rings.

    `matrices` (B, 4, 4) move the bones from rest, `phase` turns the folds, `inner` is what the tail below took.
    """
    root = matrices[body.bone("root")]
    top = _moved(root, tail.centre)
    yaw = float(np.arctan2(root[1, 0], root[0, 0]))
    heights = top[2] - tail.drops
    directions = np.stack([np.cos(_EVEN), np.sin(_EVEN)], 1)
    # supports are measured from the world's origin, in the world's directions
    turned = np.interp(_EVEN - yaw, _EVEN, tail.supports, period=2 * np.pi)
    own = np.empty((len(heights), _COLUMNS))
    own[0] = turned + along(top[:2], directions)
    middles = np.empty((len(heights), 2))
    reach = np.full((len(heights), _COLUMNS), -np.inf)
    for side in "LR":
        joints = np.array([_moved(matrices[i], shape.heads[i]) for i in (body.bone(f"{n}.{side}") for n in _LEG_BONES)])
        falling = np.minimum.accumulate(joints[:, 2]) - np.arange(len(joints)) * 1e-3
        path = np.stack([np.interp(-heights, -falling, joints[:, k]) for k in (0, 1)], 1)
        # a slanting leg is cut by a level plane in an ellipse
        slopes = np.diff(joints[:, :2], axis=0) / -np.diff(falling)[:, None]
        slope = slopes[np.clip((heights[:, None] < falling[1:]).sum(1), 0, len(slopes) - 1)]
        slope = slope * np.minimum(1, 1.5 / np.maximum(np.linalg.norm(slope, axis=1, keepdims=True), 1e-9))
        widths = tail.legs[:, None] * np.sqrt(1 + along(slope, directions) ** 2)
        reach = np.maximum(reach, along(path, directions) + widths)
        middles = path if side == "L" else (middles + path) / 2
    middles[0] = top[:2]
    for k in range(1, len(heights)):
        step = tail.drops[k] - tail.drops[k - 1]
        # cloth is pushed out by a leg gradually, the less the nearer to the hips
        steepest = 0.45 + 2 * tail.drops[k] + 20 * max(0.0, tail.drops[k] - 0.25)
        pushed = np.minimum(reach[k], own[k - 1] + steepest * step)
        own[k] = np.maximum(pushed, own[k - 1] + (tail.flare - tail.cling) * step)
    if inner is not None:
        for k in range(len(heights)):
            below = np.array([np.interp(-heights[k], -inner[0], inner[1][:, j]) for j in range(_COLUMNS)])
            if heights[k] > inner[0][-1]:
                own[k] = np.maximum(own[k], below + 0.006)
    supports = own - along(middles, directions)
    radii = radii_of_supports(supports, _EVEN)
    angles = tail.angles + yaw
    at = np.stack([np.interp(angles, _EVEN, row, period=2 * np.pi) for row in radii])
    fold = (
        np.cos(tail.pleats * tail.angles + phase)
        if tail.pleats
        else np.cos(4 * tail.angles + phase) * np.cos(1.5 * tail.angles - 2 * phase)
    )
    share = (tail.drops / tail.drops[-1])[:, None]
    at += tail.depth * share * fold
    out = np.empty((len(heights), len(angles), 3), np.float32)
    out[:, :, 0] = middles[:, :1] + at * np.cos(angles)
    out[:, :, 1] = middles[:, 1:] + at * np.sin(angles)
    out[:, :, 2] = heights[:, None]
    return out.reshape(-1, 3), (heights, own + tail.depth * share)
