"""Colours as people wear them, as sRGB values from 0 to 1."""

from __future__ import annotations

import colorsys
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

Colour = NDArray[np.float32]  # (3,) sRGB values, 0 to 1

# hue (degrees), its scatter, saturation from - to, value from - to
_TONES: dict[str, tuple[float, float, float, float, float, float]] = {
    "black": (225, 60, 0.00, 0.22, 0.035, 0.13),
    "charcoal": (220, 40, 0.00, 0.16, 0.14, 0.26),
    "grey": (220, 50, 0.00, 0.10, 0.30, 0.55),
    "pale grey": (220, 60, 0.00, 0.06, 0.58, 0.78),
    "white": (45, 40, 0.00, 0.06, 0.84, 0.97),
    "navy": (224, 9, 0.40, 0.75, 0.10, 0.28),
    "denim": (214, 6, 0.28, 0.58, 0.24, 0.55),
    "dark denim": (219, 7, 0.28, 0.55, 0.13, 0.27),
    "pale denim": (210, 6, 0.16, 0.38, 0.55, 0.80),
    "beige": (36, 6, 0.16, 0.36, 0.58, 0.86),
    "khaki": (40, 6, 0.28, 0.48, 0.36, 0.60),
    "brown": (24, 7, 0.35, 0.65, 0.15, 0.38),
    "camel": (32, 5, 0.42, 0.60, 0.50, 0.72),
    "olive": (66, 14, 0.22, 0.48, 0.17, 0.38),
    "burgundy": (350, 8, 0.50, 0.78, 0.20, 0.42),
    "red": (358, 6, 0.65, 0.92, 0.50, 0.85),
    "orange": (20, 7, 0.70, 0.95, 0.70, 0.95),
    "yellow": (47, 6, 0.55, 0.90, 0.75, 0.95),
    "lime": (80, 14, 0.55, 0.90, 0.60, 0.92),
    "green": (145, 18, 0.35, 0.80, 0.20, 0.58),
    "teal": (184, 10, 0.40, 0.80, 0.25, 0.60),
    "sky": (205, 9, 0.22, 0.55, 0.65, 0.92),
    "blue": (219, 8, 0.60, 0.90, 0.35, 0.80),
    "purple": (275, 14, 0.25, 0.65, 0.22, 0.55),
    "lilac": (265, 16, 0.14, 0.32, 0.65, 0.88),
    "pink": (342, 10, 0.18, 0.45, 0.75, 0.95),
    "fuchsia": (328, 10, 0.55, 0.85, 0.55, 0.88),
    "cream": (46, 6, 0.08, 0.20, 0.82, 0.94),
    "mint": (155, 14, 0.14, 0.30, 0.70, 0.88),
}
TONES = tuple(_TONES)

Mix = Mapping[str, float]  # shares of tones, in any unit

OUTER_WINTER: Mix = {
    "black": 30, "charcoal": 10, "grey": 6, "pale grey": 2, "navy": 14, "white": 3, "beige": 4, "khaki": 4, "camel": 4,
    "brown": 5, "olive": 5, "burgundy": 3, "red": 3.5, "orange": 1, "yellow": 1, "green": 1.5, "teal": 1, "blue": 3,
    "purple": 1, "pink": 1.5, "cream": 1, "dark denim": 1, "lilac": 0.5,
}  # fmt: skip
OUTER_MILD: Mix = {
    "black": 22, "charcoal": 7, "grey": 7, "pale grey": 4, "navy": 12, "white": 4, "beige": 6, "khaki": 5, "camel": 2,
    "brown": 3, "olive": 5, "burgundy": 2, "red": 4, "orange": 1, "yellow": 1.5, "green": 2, "teal": 1, "sky": 2,
    "blue": 4, "pink": 2, "cream": 2, "denim": 5, "dark denim": 3, "pale denim": 2, "lilac": 0.5, "purple": 0.5,
}  # fmt: skip
TOP: Mix = {
    "black": 19, "charcoal": 6, "grey": 8, "pale grey": 7, "white": 19, "navy": 9, "beige": 3, "cream": 2, "khaki": 1,
    "brown": 1.5, "olive": 2, "burgundy": 2.5, "red": 4, "orange": 1, "yellow": 2, "lime": 0.6, "green": 2, "teal": 1.2,
    "sky": 4, "blue": 4, "purple": 1, "lilac": 1, "pink": 3, "fuchsia": 0.7, "mint": 0.8, "denim": 1,
}  # fmt: skip
TROUSERS: Mix = {
    "black": 30, "charcoal": 8, "grey": 5, "pale grey": 1.5, "navy": 9, "dark denim": 13, "denim": 12, "pale denim": 4,
    "beige": 4, "khaki": 5, "brown": 2, "olive": 2, "white": 1.5, "burgundy": 0.8, "red": 0.4, "blue": 0.5,
    "green": 0.4,
}  # fmt: skip
SHORTS: Mix = {
    "black": 20, "charcoal": 6, "grey": 8, "navy": 12, "denim": 12, "pale denim": 6, "beige": 9, "khaki": 9, "olive": 5,
    "white": 4, "red": 1.5, "blue": 2.5, "green": 1, "orange": 0.4,
}  # fmt: skip
SKIRTS: Mix = {
    "black": 30, "charcoal": 5, "grey": 6, "navy": 9, "white": 6, "beige": 4, "brown": 4, "burgundy": 3, "red": 4,
    "denim": 5, "dark denim": 2, "olive": 2, "green": 2, "teal": 1, "sky": 2, "blue": 3, "pink": 4, "lilac": 1,
    "purple": 1, "yellow": 1.5, "cream": 3, "camel": 2,
}  # fmt: skip
TIGHTS: Mix = {"black": 70, "charcoal": 8, "grey": 5, "navy": 4, "brown": 4, "white": 3, "burgundy": 2}
TRIM: Mix = {
    "black": 16, "charcoal": 4, "grey": 8, "pale grey": 6, "white": 26, "navy": 6, "red": 9, "orange": 3, "yellow": 5,
    "lime": 2, "green": 3, "teal": 1, "sky": 3, "blue": 6, "pink": 2, "brown": 2, "beige": 3, "burgundy": 2,
}  # fmt: skip
VIVID: Mix = dict.fromkeys(
    ("red", "orange", "yellow", "lime", "green", "teal", "sky", "blue", "purple", "pink", "fuchsia", "white", "black"),
    1.0,
)

# albedo of skin, from the palest to the darkest
_SKINS = np.array(
    [
        [0.96, 0.80, 0.71],
        [0.93, 0.74, 0.62],
        [0.89, 0.69, 0.55],
        [0.82, 0.60, 0.45],
        [0.70, 0.48, 0.34],
        [0.55, 0.36, 0.25],
        [0.40, 0.26, 0.18],
        [0.27, 0.18, 0.13],
    ]
)


def tone(rng: np.random.Generator, name: str) -> Colour:
    """A colour of the tone `name`, one of TONES."""
    hue, scatter, saturation0, saturation1, value0, value1 = _TONES[name]
    u = rng.random(2)
    colour = colorsys.hsv_to_rgb(
        ((hue + scatter * float(rng.standard_normal())) / 360) % 1,
        saturation0 + (saturation1 - saturation0) * float(u[0]),
        value0 + (value1 - value0) * float(u[1]),
    )
    return np.array(colour, np.float32)


def pick(rng: np.random.Generator, mix: Mix) -> str:
    """The name of a tone, as often as `mix` says."""
    shares = np.array(list(mix.values()))
    return tuple(mix)[int(rng.choice(len(shares), p=shares / shares.sum()))]


def colour(rng: np.random.Generator, mix: Mix) -> Colour:
    """A colour drawn from `mix`."""
    return tone(rng, pick(rng, mix))


def lightness(value: Colour) -> float:
    """Luma of an sRGB colour, 0 to 1."""
    return float((value * np.array([0.299, 0.587, 0.114], np.float32)).sum())


def beside(rng: np.random.Generator, first: Colour, mix: Mix, least: float = 0.22) -> Colour:
    """A second colour from `mix` that is told apart from `first`: drawn nearer than `least` in every channel, it is
    `first` made lighter or darker instead."""
    second = colour(rng, mix)
    if float(np.abs(second - first).max()) < least:
        up = lightness(first) < 0.5
        second = first + (1 - first) * np.float32(0.45 + 0.4 * rng.random()) if up else first * np.float32(0.5)
    return np.clip(second, 0, 1).astype(np.float32)


def shade(value: Colour, factor: float) -> Colour:
    """`value` made darker (below 1) or lighter (above 1), kept within 0 to 1."""
    return np.clip(value * np.float32(factor), 0, 1).astype(np.float32)


def skin_colour(rng: np.random.Generator, depth: float) -> Colour:
    """Albedo of skin: `depth` 0 the palest to 1 the darkest, with what redness and sun add."""
    at = float(np.clip(depth, 0, 1)) * (len(_SKINS) - 1)
    low = min(int(at), len(_SKINS) - 2)
    base = _SKINS[low] + (_SKINS[low + 1] - _SKINS[low]) * (at - low)
    return np.clip(base * rng.uniform(0.93, 1.04) + rng.normal(0, 0.012, 3), 0, 1).astype(np.float32)
