"""Simple solids that stand for people."""

from __future__ import annotations

import numpy as np

from reid.sites.rendered.image import Posed
from reid.sites.rendered.wear.mesh import Label


def box(low, high):
    """Vertices (8, 3) and faces (12, 3) of a box, counter-clockwise seen from outside."""
    low, high = np.array(low, np.float32), np.array(high, np.float32)
    corners = np.array([[i >> 2 & 1, i >> 1 & 1, i & 1] for i in range(8)], np.float32)
    vertices = low + corners * (high - low)
    quads = [[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]]
    faces = [[q[0], q[k], q[k + 1]] for q in quads for k in (1, 2)]
    return vertices, np.array(faces, np.int32)


class BoxFigure:
    """A box as tall as a person, which draws its own lots as a person would."""

    def __init__(self, grey: float = 0.5) -> None:
        self.grey = grey

    def posed(self, rng):
        vertices, faces = box((-0.25, -0.15, 0), (0.25, 0.15, 1.6 + 0.2 * rng.random()))
        coords = np.concatenate([vertices, vertices[:, :1]], axis=1)
        return Posed(vertices, coords, faces, np.full(len(faces), Label.UPPER, np.int32), self)

    def paint(self, fragments):
        return np.full((len(fragments.rows), 3), self.grey, np.float32)

    def fold(self, fragments, rng):
        return rng.normal(0, 0.05, (len(fragments.rows), 3)).astype(np.float32)
