"""Cloth: the sheets that garments are cut from, one per person and side, with pattern and graphic in place."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from reid.data.sites.canvas import (
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
from reid.data.sites.people import Person

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


def pattern_mask(name: str, pitch: float) -> NDArray[np.bool_]:
    """Where the pattern shows its figure (LAYER_HEIGHT, LAYER_WIDTH); `pitch` is the period in layer pixels.

    Raises:
        ValueError: the pattern has no drawing.
    """
    if name == "plain":
        return np.zeros(_X.shape, np.bool_)
    if name == "hoops":
        return _wave(_Y, pitch) < 0.5
    if name == "pinstripes":
        return _wave(_X + pitch / 2, pitch * 0.6) < 0.36
    if name == "check":
        return (_wave(_X, pitch) < 0.5) ^ (_wave(_Y, pitch) < 0.5)
    if name == "dots":
        row = np.floor(_Y / (pitch * 0.6))
        dx = (_X + row % 2 * pitch / 2) % pitch - pitch / 2
        dy = _Y % (pitch * 0.6) - pitch * 0.3
        return np.hypot(dx, dy) < pitch * 0.24
    if name == "block":
        return _Y - pitch * 1.2 > 10
    if name == "band":
        return np.abs(_Y - 20 - pitch * 0.6) < 9
    if name == "sash":
        return np.abs(_X * 1.15 + _Y - 40) < pitch * 0.75
    if name == "argyle":
        return _wave(_X, pitch * 1.3) + _wave(_Y, pitch * 1.9) < 0.8
    raise ValueError(f"pattern {name!r} has no drawing")


def _star(x: float, y: float, radius: float) -> Points:
    angles = -np.pi / 2 + np.arange(10) * np.pi / 5
    radii = np.where(np.arange(10) % 2, radius * 0.45, radius)
    return np.stack([x + radii * np.cos(angles), y + radii * np.sin(angles)], axis=1)


def _draw_graphic(sheet: Layer, name: str, colour: Colour, ground: Colour, number: int) -> None:
    """Print the graphic on the chest, on a patch of the ground colour so that no pattern hides it."""
    if name == "none":
        return
    y = _CHEST
    fill(sheet, ellipse(0, y, 15, 15), ground)
    if name == "disc":
        fill(sheet, ellipse(0, y, 11, 11), colour)
    elif name == "ring":
        stroke(sheet, ellipse(0, y, 9, 9), colour, 5, closed=True)
    elif name == "square":
        fill(sheet, polygon((-10, y - 10), (10, y - 10), (10, y + 10), (-10, y + 10)), colour)
    elif name == "triangle":
        fill(sheet, polygon((0, y - 12), (13, y + 9), (-13, y + 9)), colour)
    elif name == "star":
        fill(sheet, _star(0, y, 15), colour)
    elif name == "heart":
        fill(sheet, ellipse(-5.5, y - 4, 6.5, 6.5), colour)
        fill(sheet, ellipse(5.5, y - 4, 6.5, 6.5), colour)
        fill(sheet, polygon((-11.5, y - 1), (11.5, y - 1), (0, y + 13)), colour)
    elif name == "cross":
        fill(sheet, polygon((-4, y - 12), (4, y - 12), (4, y + 12), (-4, y + 12)), colour)
        fill(sheet, polygon((-12, y - 4), (12, y - 4), (12, y + 4), (-12, y + 4)), colour)
    elif name == "bars":
        for offset in (-9, 0, 9):
            fill(sheet, capsule((-9, y + offset), (9, y + offset), 2.6, 2.6), colour)
    elif name == "number":
        stroke(sheet, polygon(*_DIGITS[number]) * (6, 10) + np.array([0, y]), colour, 5)
    else:
        raise ValueError(f"graphic {name!r} has no drawing")


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
