"""What is painted on garments beside their cloth: stripes, prints, pockets, belts. Each is a mask over coords."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from reid.sites.rendered.wear.materials import noise
from reid.sites.rendered.wear.outfit import Detail

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]

# (coords (N, 4), metres around (N,), metres along (N,), numbers) -> where the colour is (N,)
_Paint = Callable[[Floats, Floats, Floats, tuple[float, ...]], Mask]


def _front(coords: Floats) -> Mask:
    return coords[:, 1] < -0.04


def _patch(coords: Floats, numbers: tuple[float, ...], letters: bool) -> Mask:
    x, z, width, height, shape, phase = numbers
    a, b = (coords[:, 0] - x) / width, (coords[:, 2] - z) / height
    inside = (np.abs(a) < 1) & (np.abs(b) < 1)
    if letters:  # rows of blocks with gaps, as letters look from afar
        rows = 1 + int(shape) % 3
        row, cell = np.floor((b + 1) / 2 * rows), (a + 1) / 2 * max(3, round(width / 0.022))
        ink = noise(np.floor(cell * 2) * 1.7 + 40 * phase, row * 3.1 + np.floor((b + 1) * rows * 1.5)) > 0.36
        return inside & ink & (cell % 1 < 0.8) & (((b + 1) / 2 * rows) % 1 < 0.72)
    masks = (
        inside,
        a * a + b * b < 1,
        inside & ((b * 2) % 1 < 0.6),
        np.abs(a) + np.abs(b) < 1,
        (a * a + b * b < 1) & (noise(a * 2.5 + 30 * phase, b * 2.5) > 0.42),
    )
    return np.asarray(masks[int(shape)], np.bool_)


def _logo(coords: Floats, u: Floats, v: Floats, numbers: tuple[float, ...]) -> Mask:
    return _patch(coords, numbers, False) & _front(coords)


def _letters(coords: Floats, u: Floats, v: Floats, numbers: tuple[float, ...]) -> Mask:
    return _patch(coords, numbers, True) & _front(coords)


def _back_logo(coords: Floats, u: Floats, v: Floats, numbers: tuple[float, ...]) -> Mask:
    return _patch(coords, (0.0, *numbers[1:]), False) & (coords[:, 1] > 0.01)


def _back_letters(coords: Floats, u: Floats, v: Floats, numbers: tuple[float, ...]) -> Mask:
    return _patch(coords, (0.0, *numbers[1:]), True) & (coords[:, 1] > 0.01)


def _yoke(coords: Floats, u: Floats, v: Floats, numbers: tuple[float, ...]) -> Mask:
    return coords[:, 2] > numbers[0]


def _low(coords: Floats, u: Floats, v: Floats, numbers: tuple[float, ...]) -> Mask:
    return coords[:, 2] < numbers[0]


def _band(coords: Floats, u: Floats, v: Floats, numbers: tuple[float, ...]) -> Mask:
    return np.abs(v - numbers[0]) < numbers[1] / 2


def _bands(coords: Floats, u: Floats, v: Floats, numbers: tuple[float, ...]) -> Mask:
    return (np.abs(v - numbers[0]) < numbers[1] / 2) | (np.abs(v - numbers[0] - numbers[2]) < numbers[1] / 2)


def _sides(coords: Floats, u: Floats, v: Floats, numbers: tuple[float, ...]) -> Mask:
    return (np.abs(coords[:, 0]) > numbers[0]) & (coords[:, 2] < 0.46)


def _stripes(u: Floats, numbers: tuple[float, ...]) -> Mask:
    """One to three lines beside each other about u = 0, each as wide as the first number."""
    width, count = numbers
    at = u / (1.9 * width) + count / 2
    return np.asarray((at > 0) & (at < count) & (at % 1 < 0.53), np.bool_)


def _limb_stripe(coords: Floats, u: Floats, v: Floats, numbers: tuple[float, ...]) -> Mask:
    return _stripes(u, numbers)


def _placket(coords: Floats, u: Floats, v: Floats, numbers: tuple[float, ...]) -> Mask:
    return (np.abs(coords[:, 0]) < numbers[0]) & _front(coords)


def _pockets(coords: Floats, u: Floats, v: Floats, numbers: tuple[float, ...]) -> Mask:
    """Slanting slits on both sides of the belly."""
    z, half = numbers
    along = (coords[:, 2] - z) / half
    return (np.abs(np.abs(coords[:, 0]) - 0.105 - 0.02 * along) < 0.007) & (np.abs(along) < 1) & _front(coords)


def _belt(coords: Floats, u: Floats, v: Floats, numbers: tuple[float, ...]) -> Mask:
    return np.abs(coords[:, 2] - numbers[0]) < numbers[1] / 2


def _cargo(coords: Floats, u: Floats, v: Floats, numbers: tuple[float, ...]) -> Mask:
    """Outlines of pockets outside the thighs."""
    a, b = np.abs(u) / 0.06, np.abs(v - numbers[0]) / 0.07
    edge = np.maximum(a, b)
    return (edge < 1) & ((edge > 0.86) | (np.abs(v - numbers[0] - 0.045) < 0.006))


def _fade(coords: Floats, u: Floats, v: Floats, numbers: tuple[float, ...]) -> Mask:
    """Where denim has gone pale: the front of the thighs and knees, thread by thread."""
    strength = numbers[0] * np.exp(-(((v + 0.22) / 0.17) ** 2)) * (coords[:, 1] < -0.03)
    return noise(u / 0.006, v / 0.006) * 0.8 + 0.2 * noise(u / 0.03, v / 0.05) < 0.75 * strength


TORSO: dict[str, _Paint] = {
    "yoke": _yoke,
    "sleeve yoke": _yoke,
    "low": _low,
    "band": _band,
    "bands": _bands,
    "sides": _sides,
    "pockets": _pockets,
    "placket": _placket,
    "logo": _logo,
    "letters": _letters,
    "back logo": _back_logo,
    "back letters": _back_letters,
    "belt": _belt,
}
SLEEVE: dict[str, _Paint] = {"sleeve stripe": _limb_stripe, "sleeve yoke": _yoke, "band": _band, "bands": _bands}
LEG: dict[str, _Paint] = {"side stripe": _limb_stripe, "cargo": _cargo, "fade": _fade}
EDGES = frozenset({"edges", "waistband", "turn-up"})  # painted by paint.py, which knows where hems are


def paint_details(
    details: tuple[Detail, ...], paints: dict[str, _Paint], coords: Floats, u: Floats, v: Floats, colours: Floats
) -> None:
    """The details that `paints` knows, over `colours` (N, 3), in place."""
    for detail in details:
        paint = paints.get(detail.kind)
        if paint is None:
            continue
        mask = paint(coords, u, v, detail.numbers)
        colours[mask] = detail.colour
        if detail.kind == "logo" and detail.numbers[4] < 2:  # a smaller one within
            x, z, width, height, shape, phase = detail.numbers
            inner = _logo(coords, u, v, (x, z, 0.55 * width, 0.5 * height, (shape + 2) % 5, phase))
            colours[inner] = detail.second
