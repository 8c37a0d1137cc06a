"""Objects that stand between camera and person and hide some of the legs."""

from __future__ import annotations

from collections.abc import Callable

from reid.sites.drawn.canvas import Layer, ellipse, fill, lighter, new_layer, polygon, rounded

_BELOW = 262.0  # beyond the lower edge: the objects stand nearer than the person


def _box(layer: Layer, x0: float, y0: float, x1: float, y1: float, colour: tuple[int, int, int]) -> None:
    fill(layer, polygon((x0, y0), (x1, y0), (x1, y1), (x0, y1)), colour)


def _bollard(layer: Layer, x: float) -> None:
    fill(layer, rounded(polygon((x - 11, 176), (x + 11, 176), (x + 12, _BELOW), (x - 12, _BELOW)), 1), (92, 94, 98))
    _box(layer, x - 11, 192, x + 11, 202, (212, 208, 200))


def _planter(layer: Layer, x: float) -> None:
    for dx, y, radius, light in ((-16, 168, 16, 0.05), (16, 170, 15, 0.05), (0, 158, 18, 0.11)):
        fill(layer, ellipse(x + dx, y, radius, radius), lighter((88, 124, 80), light))
    fill(layer, polygon((x - 30, 180), (x + 30, 180), (x + 25, _BELOW), (x - 25, _BELOW)), (146, 116, 96))


def _post(layer: Layer, x: float) -> None:
    _box(layer, x - 6, -4, x + 6, _BELOW, (104, 108, 112))
    _box(layer, x - 6, -4, x - 2, _BELOW, (140, 144, 146))


def _railing(layer: Layer, x: float) -> None:
    for y in (178, 206, 234):
        _box(layer, -88, y, 88, y + 6, (116, 120, 124))
    for post in (x - 60, x, x + 60):
        _box(layer, post - 4, 172, post + 4, _BELOW, (100, 104, 108))


def _sign(layer: Layer, x: float) -> None:
    fill(layer, polygon((x - 20, 160), (x + 20, 160), (x + 26, 258), (x - 26, 258)), (124, 96, 76))
    fill(layer, polygon((x - 15, 166), (x + 15, 166), (x + 20, 246), (x - 20, 246)), (66, 72, 72))
    for y in (182, 196, 210):
        _box(layer, x - 9, y, x + 9, y + 4, (206, 204, 196))


OCCLUDERS: dict[str, Callable[[Layer, float], None]] = {
    "bollard": _bollard,
    "planter": _planter,
    "post": _post,
    "railing": _railing,
    "sign": _sign,
}


def draw_occluder(kind: str, x: float) -> Layer:
    """An object (a key of OCCLUDERS) on a transparent layer (256, 176, 4), its middle at `x` from the axis."""
    layer = new_layer()
    OCCLUDERS[kind](layer, x)
    return layer
