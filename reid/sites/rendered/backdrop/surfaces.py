"""A fixed camera's planes: which point of the ground or of a wall each pixel of a background shows."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from reid.sites.rendered.backdrop.noise import Field, octaves

HEIGHT, WIDTH = 360, 300  # pixels of a background: a window of 256 x 128 fits at zooms 0.6 to 1.4
SCALE = 140.0  # pixels a metre at the person's distance
_MIDDLE = 0.9  # metres above the ground at which a camera aims
_CANVAS = 360  # pixels of a noise; beyond, it is mirrored
_FARTHEST = 300.0  # metres; what lies beyond is the horizon's


@dataclass(frozen=True)
class Surface:
    """A plane as the camera sees it, all arrays (HEIGHT, WIDTH).

    Attributes:
        s: metres along it; on the ground to the right of the person.
        t: metres up it; on the ground away from the camera, beyond the person.
        depth: metres from the camera along its axis.
        seen: whether the pixel's ray meets the plane in front of the camera.
        grain: pixels a metre along and up it, where it is nearest: finer noise would not be seen.
        start: the mean s and the smallest t in the picture (0 or more on a wall): where noise begins.
    """

    s: Field
    t: Field
    depth: Field
    seen: NDArray[np.bool_]
    grain: tuple[float, float]
    start: tuple[float, float]

    def noise(
        self,
        rng: np.random.Generator,
        coarse: float = 100,
        fine: float = 2,
        persistence: float = 0.9,
        stretch: float = 1,
    ) -> Field:
        """Noise of mean 0 and deviation 1 on the plane, blobs `coarse` to `fine` pixels large where it is nearest."""
        canvas = octaves(rng, _CANVAS, _CANVAS, coarse, fine, persistence, stretch)
        u = (self.s - np.float32(self.start[0])) * np.float32(self.grain[0]) + np.float32(_CANVAS / 2)
        v = (self.t - np.float32(self.start[1])) * np.float32(self.grain[1]) + 2
        return np.asarray(cv2.remap(canvas, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT), np.float32)

    def turned(self, angle: float) -> tuple[Field, Field]:
        """s and t in axes turned by `angle` (radians)."""
        c, s = np.float32(np.cos(angle)), np.float32(np.sin(angle))
        return c * self.s + s * self.t, c * self.t - s * self.s


@dataclass(frozen=True)
class View:
    """A camera that looks at a person 0.9 m above the ground, `pitch` radians downwards, `distance` metres away.

    Points are metres: x to the right, y away from the camera, z up; the person stands at the origin.
    """

    pitch: float
    distance: float

    @property
    def focal(self) -> float:
        """In pixels of the background."""
        return SCALE * self.distance

    @cached_property
    def _axes(self) -> NDArray[np.float64]:
        c, s = np.cos(self.pitch), np.sin(self.pitch)
        return np.array([[1.0, 0.0, 0.0], [0.0, s, c], [0.0, c, -s]])  # right, up, forward

    @property
    def horizon(self) -> float:
        """The row of the ground's horizon; below 0 where it lies above the background."""
        return HEIGHT / 2 - self.focal * float(np.tan(self.pitch))

    def project(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """(N, 3) metres -> (N, 3): column, row, and depth in metres."""
        right, up, depth = ((points - (0, 0, _MIDDLE)) @ self._axes.T).T
        depth = depth + self.distance
        safe = np.maximum(depth, 0.1)
        columns, rows = WIDTH / 2 + self.focal * right / safe, HEIGHT / 2 - self.focal * up / safe
        return np.stack([columns, rows, depth], axis=1)

    def _meet(self, origin: NDArray[np.float64], along: NDArray[np.float64], across: NDArray[np.float64]) -> Surface:
        right, up, forward = self._axes
        camera = np.array([0, 0, _MIDDLE]) - self.distance * forward
        columns = (np.arange(WIDTH, dtype=np.float32) + 0.5 - WIDTH / 2) / self.focal
        rows = (HEIGHT / 2 - np.arange(HEIGHT, dtype=np.float32) - 0.5) / self.focal

        def rays(axis: NDArray[np.float64]) -> Field:
            """The component of every pixel's ray along an axis."""
            return (columns[None] * (right @ axis) + rows[:, None] * (up @ axis) + forward @ axis).astype(np.float32)

        normal = np.cross(along, across)
        slope = rays(normal)
        safe = np.where(np.abs(slope) < 1e-6, np.float32(1e-6), slope)
        depth = np.float32((origin - camera) @ normal) / safe
        seen = (depth > 0.5) & (depth < _FARTHEST)
        depth = np.clip(depth, 0.5, _FARTHEST)
        s: Field = np.asarray(depth * rays(along) + np.float32((camera - origin) @ along), np.float32)
        t: Field = np.asarray(depth * rays(across) + np.float32((camera - origin) @ across), np.float32)
        upright = abs(normal[2]) < 0.5
        shown = seen & (t > 0) if upright else seen  # a wall's noise begins at its foot
        nearest, start = self.distance, (0.0, 0.0)
        if shown.any():
            nearest, start = float(depth[shown].min()), (float(s[shown].mean()), float(t[shown].min()))
        scale = self.focal / max(nearest, 1.0)
        grain = (scale, scale if upright else scale * max(abs(float(forward @ normal)), 0.06))
        return Surface(s, t, np.asarray(depth, np.float32), seen, grain, start)

    def ground(self) -> Surface:
        """The plane that the person stands on."""
        return self._meet(np.zeros(3), np.array([1.0, 0, 0]), np.array([0, 1.0, 0]))

    def wall(self, x: float, y: float, yaw: float) -> Surface:
        """A vertical plane through (x, y) metres, turned by `yaw` radians about the vertical; t is the height."""
        return self._meet(np.array([x, y, 0.0]), np.array([np.cos(yaw), np.sin(yaw), 0]), np.array([0, 0, 1.0]))
