"""Drawing primitives: antialiased shapes on a premultiplied RGBA layer at twice the size of the final image."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Colour = tuple[int, int, int]  # RGB, 0..255
Layer = NDArray[np.uint8]  # (LAYER_HEIGHT, LAYER_WIDTH, 4), premultiplied RGBA
Points = NDArray[np.float64]  # (N, 2) pixels; x counts from the body's axis, y downwards

IMAGE_HEIGHT, IMAGE_WIDTH = 128, 64
SUPERSAMPLE = 2
LAYER_HEIGHT, LAYER_WIDTH = 256, 176  # wider than an image: a stride or a suitcase may leave the frame
AXIS = LAYER_WIDTH // 2
GROUND = 240  # the soles, in layer pixels

_SHIFT = 3  # OpenCV's fixed point: 1/8 pixel
_ANGLES = np.linspace(0.0, 2 * np.pi, 28, endpoint=False)
_CIRCLE = np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], axis=1)


def new_layer() -> Layer:
    """An empty layer: colour 0, alpha 0."""
    return np.zeros((LAYER_HEIGHT, LAYER_WIDTH, 4), np.uint8)


def polygon(*points: tuple[float, float]) -> Points:
    """Points (N, 2) from pairs."""
    return np.array(points, np.float64)


def mirrored(*right: tuple[float, float]) -> Points:
    """A closed outline (2 N, 2) from its right half, listed from top to bottom."""
    half = polygon(*right)
    return np.concatenate([half, half[::-1] * (-1.0, 1.0)])


def moved(points: Points, x: float, y: float) -> Points:
    """The points shifted by (x, y)."""
    return points + np.array([x, y])


def rounded(points: Points, rounds: int = 2) -> Points:
    """The closed outline with its corners cut `rounds` times (Chaikin): N points become N * 2 ** rounds."""
    for _ in range(rounds):
        following = np.concatenate([points[1:], points[:1]])
        points = np.stack([0.75 * points + 0.25 * following, 0.25 * points + 0.75 * following], 1).reshape(-1, 2)
    return points


def ellipse(x: float, y: float, rx: float, ry: float) -> Points:
    """An ellipse's outline (28, 2)."""
    return _CIRCLE * (rx, ry) + (x, y)


def arc(x: float, y: float, rx: float, ry: float, start: float, end: float) -> Points:
    """Part of an ellipse (12, 2), angles in degrees, clockwise from +x since y points down."""
    angles = np.radians(np.linspace(start, end, 12))
    return np.stack([x + rx * np.cos(angles), y + ry * np.sin(angles)], axis=1)


def capsule(start: tuple[float, float], end: tuple[float, float], r0: float, r1: float) -> Points:
    """A limb's outline (14, 2): two half discs of radii r0 at `start` and r1 at `end`, joined."""
    heading = np.arctan2(end[1] - start[1], end[0] - start[0])
    turns = np.linspace(np.pi / 2, 3 * np.pi / 2, 7) + heading
    half = np.stack([np.cos(turns), np.sin(turns)], axis=1)
    return np.concatenate([half * r0 + start, -half * r1 + end])


def _fixed(points: Points, x: float = AXIS, y: float = 0.0) -> NDArray[np.int32]:
    return np.round(moved(points, x, y) * (1 << _SHIFT)).astype(np.int32)


def fill(layer: Layer, points: Points, colour: Colour) -> None:
    """Fill the outline; antialiasing a premultiplied layer blends colour and alpha alike."""
    cv2.fillPoly(layer, [_fixed(points)], (*colour, 255), cv2.LINE_AA, _SHIFT)


def stroke(layer: Layer, points: Points, colour: Colour, width: int, closed: bool = False) -> None:
    """Draw a line of `width` layer pixels through the points."""
    cv2.polylines(layer, [_fixed(points)], closed, (*colour, 255), width, cv2.LINE_AA, _SHIFT)


def _mask(layer: Layer, *outlines: Points) -> tuple[tuple[slice, slice], NDArray[np.uint16]] | None:
    """The outlines' window in the layer and their joint coverage (h, w, 1), 0..255; None if they lie outside."""
    low = np.floor(np.min([points.min(axis=0) for points in outlines], axis=0)).astype(int) - 1
    high = np.ceil(np.max([points.max(axis=0) for points in outlines], axis=0)).astype(int) + 2
    x0, x1 = max(0, low[0] + AXIS), min(layer.shape[1], high[0] + AXIS)
    y0, y1 = max(0, low[1]), min(layer.shape[0], high[1])
    if x0 >= x1 or y0 >= y1:
        return None
    mask = np.zeros((y1 - y0, x1 - x0), np.uint8)
    for points in outlines:  # one call for all would leave holes where they overlap
        cv2.fillPoly(mask, [_fixed(points, AXIS - x0, -y0)], (255,), cv2.LINE_AA, _SHIFT)
    return (slice(y0, y1), slice(x0, x1)), mask[..., None].astype(np.uint16)


def paint(layer: Layer, points: Points, cloth: Layer) -> None:
    """Fill the outline from `cloth`, a sheet of the layer's size that lies under the body."""
    coverage = _mask(layer, points)
    if coverage is None:
        return
    window, mask = coverage
    layer[window] = (layer[window] * (255 - mask) + cloth[window] * mask + 127) // 255


def shade(layer: Layer, amount: float, *outlines: Points) -> None:
    """Darken what is drawn inside the outlines by `amount` (0..1): folds, and limbs that lie over a body."""
    coverage = _mask(layer, *outlines)
    if coverage is None:
        return
    window, mask = coverage
    colour = layer[window][..., :3]
    colour[:] = colour * (65025 - (mask * int(255 * amount)).astype(np.uint32)) // 65025


def darker(colour: Colour, factor: float = 0.8) -> Colour:
    """The colour times `factor` (0..1)."""
    return (int(colour[0] * factor), int(colour[1] * factor), int(colour[2] * factor))


def lighter(colour: Colour, share: float = 0.25) -> Colour:
    """The colour moved by `share` (0..1) of its way to white."""
    return (
        int(colour[0] + (255 - colour[0]) * share),
        int(colour[1] + (255 - colour[1]) * share),
        int(colour[2] + (255 - colour[2]) * share),
    )
