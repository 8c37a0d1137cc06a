"""Cloth: the sheets that garments are cut from, one per person and side, with pattern and graphic in place."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from reid.sites.drawn.canvas import (
    AXIS,
    LAYER_HEIGHT,
    LAYER_WIDTH,
    Colour,
    Layer,
    Points,
    capsule,
    ellipse,
    fill,
    polygon,
    stroke,
)
from reid.sites.drawn.people import Person

_X, _Y = np.meshgrid(np.arange(LAYER_WIDTH) - AXIS + 0.5, np.arange(LAYER_HEIGHT) - 64.5)  # y from the collar
_CHEST = 97.0  # where a graphic sits, in layer pixels


_DIGITS: dict[int, tuple[tuple[float, float], ...]] = {  # strokes in a box of -1..1
    1: ((-0.6, -0.6), (0, -1), (0, 1)),
    2: ((-1, -0.7), (0, -1), (1, -0.6), (-1, 1), (1, 1)),
    3: ((-1, -1), (1, -1), (0, -0.1), (1, 0.4), (0, 1), (-1, 0.8)),
    4: ((0.5, 1), (0.5, -1), (-1, 0.4), (1, 0.4)),
    5: ((1, -1), (-0.9, -1), (-0.9, -0.1), (0.6, -0.1), (1, 0.4), (0.6, 1), (-1, 1)),
    6: ((0.7, -1), (-0.7, -0.2), (-1, 0.5), (0, 1), (1, 0.5), (0, 0), (-0.9, 0.3)),
    7: ((-1, -1), (1, -1), (-0.3, 1)),
    8: ((0, -0.1), (-0.9, -0.5), (0, -1), (0.9, -0.5), (0, -0.1), (-1, 0.5), (0, 1), (1, 0.5), (0, -0.1)),
    9: ((0.9, -0.3), (0, 0), (-1, -0.5), (0, -1), (1, -0.5), (0.7, 0.3), (-0.5, 1)),
}


def _wave(t: NDArray[np.float64], period: float) -> NDArray[np.float64]:
    """A triangle wave (0 at the middle of a stripe, 1 between two)."""
    return np.abs((t / period) % 1.0 - 0.5) * 2.0


def _dots(pitch: float) -> NDArray[np.bool_]:
    row = np.floor(_Y / (pitch * 0.6))
    dx = (_X + row % 2 * pitch / 2) % pitch - pitch / 2
    dy = _Y % (pitch * 0.6) - pitch * 0.3
    return np.hypot(dx, dy) < pitch * 0.24


_PATTERNS: dict[str, Callable[[float], NDArray[np.bool_]]] = {
    "plain": lambda pitch: np.zeros(_X.shape, np.bool_),
    "hoops": lambda pitch: _wave(_Y, pitch) < 0.5,
    "pinstripes": lambda pitch: _wave(_X + pitch / 2, pitch * 0.6) < 0.36,
    "check": lambda pitch: (_wave(_X, pitch) < 0.5) ^ (_wave(_Y, pitch) < 0.5),
    "dots": _dots,
    "block": lambda pitch: _Y - pitch * 1.2 > 10,
    "band": lambda pitch: np.abs(_Y - 20 - pitch * 0.6) < 9,
    "sash": lambda pitch: np.abs(_X * 1.15 + _Y - 40) < pitch * 0.75,
    "argyle": lambda pitch: _wave(_X, pitch * 1.3) + _wave(_Y, pitch * 1.9) < 0.8,
}


def pattern_mask(name: str, pitch: float) -> NDArray[np.bool_]:
    """Where a pattern of people.PATTERNS shows its figure (LAYER_HEIGHT, LAYER_WIDTH); `pitch`: period in pixels."""
    return _PATTERNS[name](pitch)


def _star(x: float, y: float, radius: float) -> Points:
    angles = -np.pi / 2 + np.arange(10) * np.pi / 5
    radii = np.where(np.arange(10) % 2, radius * 0.45, radius)
    return np.stack([x + radii * np.cos(angles), y + radii * np.sin(angles)], axis=1)


def _heart(y: float) -> list[Points]:
    halves = [ellipse(side * 5.5, y - 4, 6.5, 6.5) for side in (-1, 1)]
    return [*halves, polygon((-11.5, y - 1), (11.5, y - 1), (0, y + 13))]


def _cross(y: float) -> list[Points]:
    return [
        polygon((-4, y - 12), (4, y - 12), (4, y + 12), (-4, y + 12)),
        polygon((-12, y - 4), (12, y - 4), (12, y + 4), (-12, y + 4)),
    ]


_GRAPHICS: dict[str, Callable[[float], list[Points]]] = {  # filled outlines about (0, y)
    "disc": lambda y: [ellipse(0, y, 11, 11)],
    "square": lambda y: [polygon((-10, y - 10), (10, y - 10), (10, y + 10), (-10, y + 10))],
    "triangle": lambda y: [polygon((0, y - 12), (13, y + 9), (-13, y + 9))],
    "star": lambda y: [_star(0, y, 15)],
    "heart": _heart,
    "cross": _cross,
    "bars": lambda y: [capsule((-9, y + offset), (9, y + offset), 2.6, 2.6) for offset in (-9, 0, 9)],
}


def _draw_graphic(sheet: Layer, name: str, colour: Colour, ground: Colour, number: int) -> None:
    """Print a graphic of people.GRAPHICS on the chest, on a patch of the ground colour so that no pattern hides it."""
    if name == "none":
        return
    fill(sheet, ellipse(0, _CHEST, 15, 15), ground)
    if name == "ring":
        stroke(sheet, ellipse(0, _CHEST, 9, 9), colour, 5, closed=True)
    elif name == "number":
        stroke(sheet, polygon(*_DIGITS[number]) * (6, 10) + np.array([0, _CHEST]), colour, 5)
    else:
        for outline in _GRAPHICS[name](_CHEST):
            fill(sheet, outline, colour)


def _sheet(colour: Colour) -> Layer:
    sheet = np.full((LAYER_HEIGHT, LAYER_WIDTH, 4), 255, np.uint8)
    sheet[..., :3] = colour
    return sheet


def _with_folds(sheet: Layer) -> Layer:
    """Light from the upper left: cloth darkens a little to the right and downwards, so that a torso looks round."""
    light = 1.04 - 0.0045 * np.clip(_X, -26, 26) - 0.0006 * np.clip(_Y, 0, 170)
    sheet[..., :3] = np.clip(sheet[..., :3] * light[..., None], 0, 255).astype(np.uint8)
    return sheet


@lru_cache(maxsize=64)  # a person's images are drawn one after the other
def upper_sheet(person: Person, side: str) -> Layer:
    """The upper garment's cloth as seen from `side`: front, back or profile. Read only."""
    ground, figure = person.upper
    sheet = _sheet(ground)
    mask = pattern_mask(person.pattern, person.pitch)
    sheet[..., :3][mask[:, ::-1] if side == "back" else mask] = figure
    if side != "profile":
        graphic = person.front_graphic if side == "front" else person.back_graphic
        _draw_graphic(sheet, graphic, person.graphic_colour, ground, person.number)
    return _with_folds(sheet)


@lru_cache(maxsize=64)
def plain_sheet(colour: Colour) -> Layer:
    """Unpatterned cloth of one colour. Read only."""
    return _with_folds(_sheet(colour))


@lru_cache(maxsize=64)
def jacket_back_sheet(person: Person) -> Layer:
    """The open jacket's back, which carries the back graphic. Read only."""
    sheet = _sheet(person.outer_colour)
    _draw_graphic(sheet, person.back_graphic, person.upper[0], person.outer_colour, person.number)
    return _with_folds(sheet)
