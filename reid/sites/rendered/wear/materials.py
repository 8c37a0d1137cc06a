"""Cloth: patterns, weave and folds as functions of where on the garment (metres around it, metres along it)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reid.sites.compiled import compiled
from reid.sites.rendered.wear import palette
from reid.sites.rendered.wear.palette import Colour, Mix

Floats = NDArray[np.float32]
Reals = NDArray[np.floating[Any]]

_THREAD = 0.012  # metres of irregularity along threads: finer than pixels it turns into specks that sharpening whitens
_SIZE = 128  # of the table of noise, which repeats
_TABLE: Floats = np.random.default_rng(20).random((_SIZE, _SIZE), np.float32)


@compiled
def _noise(table: Floats, u: Floats, v: Floats) -> Floats:
    """Smooth noise, 0 to 1, of scale 1, at (N,) places."""
    out = np.empty(len(u), np.float32)
    size = table.shape[0]
    for i in range(len(u)):
        x0, y0 = np.floor(u[i]), np.floor(v[i])
        a, b = u[i] - x0, v[i] - y0
        a, b = a * a * (3 - 2 * a), b * b * (3 - 2 * b)
        x, y = int(x0) % size, int(y0) % size
        x1, y1 = (x + 1) % size, (y + 1) % size
        top = table[y, x] * (1 - a) + table[y, x1] * a
        low = table[y1, x] * (1 - a) + table[y1, x1] * a
        out[i] = top * (1 - b) + low * b
    return out


def noise(u: Reals, v: Reals) -> Floats:
    """Smooth noise, 0 to 1, with features of size 1, at places (N,), (N,); the same for ever."""
    return _noise(_TABLE, np.asarray(u, np.float32), np.asarray(v, np.float32))


@dataclass(frozen=True)
class Cloth:
    """A material: colours, pattern, weave, folds."""

    pattern: str  # one of PATTERNS
    base: Colour
    second: Colour
    third: Colour
    period: float  # metres
    duty: float  # share of the second colour, 0 to 1
    phase: tuple[float, float]  # shifts the pattern and the noise
    weave: float  # amplitude of fine irregularity, as a share of the albedo
    wear: float  # amplitude of slow irregularity: fades, stains, uneven dye
    folds: float  # how much folds tilt the surface, about the tangent of the angle
    fold_size: float  # metres across a fold
    quilt: float = 0.0  # height of the quilted rows in metres, 0: none


def _square(x: Reals, duty: float) -> Floats:
    return ((x % 1) < duty).astype(np.float32)


def _plain(cloth: Cloth, u: Floats, v: Floats) -> tuple[Floats, Floats]:
    none = np.zeros(len(u), np.float32)
    return none, none


def _rows(cloth: Cloth, u: Floats, v: Floats) -> tuple[Floats, Floats]:
    return _square(v / cloth.period + cloth.phase[0], cloth.duty), np.zeros(len(u), np.float32)


def _columns(cloth: Cloth, u: Floats, v: Floats) -> tuple[Floats, Floats]:
    return _square(u / cloth.period + cloth.phase[0], cloth.duty), np.zeros(len(u), np.float32)


def _groups(cloth: Cloth, u: Floats, v: Floats) -> tuple[Floats, Floats]:
    """Stripes in groups of two colours, as on rugby shirts and jumpers."""
    x = (v / (2 * cloth.period) + cloth.phase[0]) % 1
    return (x < cloth.duty).astype(np.float32), ((x > 0.7) & (x < 0.7 + 0.25 * cloth.duty)).astype(np.float32)


def _gingham(cloth: Cloth, u: Floats, v: Floats) -> tuple[Floats, Floats]:
    across, along = _square(u / cloth.period, cloth.duty), _square(v / cloth.period + cloth.phase[0], cloth.duty)
    return (across + along) * np.float32(0.5), np.zeros(len(u), np.float32)


def _tartan(cloth: Cloth, u: Floats, v: Floats) -> tuple[Floats, Floats]:
    x, y = u / cloth.period + cloth.phase[1], v / cloth.period + cloth.phase[0]
    broad = (_square(x, cloth.duty) + _square(y, cloth.duty)) * np.float32(0.5)
    thin = np.maximum(_square(x + 0.2, 0.07), _square(y + 0.2, 0.07)) * 0.8
    return broad, thin.astype(np.float32)


def _window(cloth: Cloth, u: Floats, v: Floats) -> tuple[Floats, Floats]:
    """Thin lines far apart both ways."""
    width = 0.05 + 0.12 * cloth.duty
    lines = np.maximum(_square(u / cloth.period, width), _square(v / cloth.period + cloth.phase[0], width))
    return np.asarray(lines, np.float32), np.zeros(len(u), np.float32)


def _dots(cloth: Cloth, u: Floats, v: Floats) -> tuple[Floats, Floats]:
    row = np.floor(v / cloth.period)
    x, y = (u / cloth.period + 0.5 * (row % 2)) % 1 - 0.5, (v / cloth.period) % 1 - 0.5
    return (x * x + y * y < (0.15 + 0.3 * cloth.duty) ** 2).astype(np.float32), np.zeros(len(u), np.float32)


def _flowers(cloth: Cloth, u: Floats, v: Floats) -> tuple[Floats, Floats]:
    """Blobs of two colours, each at a place, of a size and with petals of its own."""
    x, y = u / cloth.period + 7.3 * cloth.phase[0], v / cloth.period + 5.1 * cloth.phase[1]
    i, j = np.floor(x), np.floor(y)
    at = noise(i * 1.0, j * 1.0), noise(i + 31, j + 17), noise(i + 71, j + 53)
    a, b = x - i - 0.25 - 0.5 * at[0], y - j - 0.25 - 0.5 * at[1]
    angle = np.arctan2(b, a) * 5 + 6 * at[2]
    inside = np.sqrt(a * a + b * b) < (0.18 + 0.28 * cloth.duty) * (0.8 + 0.2 * np.cos(angle)) * (0.7 + 0.6 * at[2])
    other = at[2] > 0.5
    return (inside & ~other).astype(np.float32), (inside & other).astype(np.float32)


def _camouflage(cloth: Cloth, u: Floats, v: Floats) -> tuple[Floats, Floats]:
    x, y = u / cloth.period + 9 * cloth.phase[0], v / cloth.period + 9 * cloth.phase[1]
    first = noise(x, y) * 0.7 + noise(2.3 * x + 11, 2.3 * y) * 0.3
    other = noise(x + 41, y + 23) * 0.7 + noise(2.3 * x + 3, 2.3 * y + 57) * 0.3
    return (first > 0.63 - 0.25 * cloth.duty).astype(np.float32), (other > 0.66 - 0.15 * cloth.duty).astype(np.float32)


def _knit(cloth: Cloth, u: Floats, v: Floats) -> tuple[Floats, Floats]:
    """Ribs and cables: the second colour is the shade between them."""
    cable = 0.5 + 0.5 * np.sin(2 * np.pi * u / cloth.period + 0.8 * np.sin(2 * np.pi * v / (1.7 * cloth.period)))
    return (cloth.duty * cable).astype(np.float32), np.zeros(len(u), np.float32)


def _gradient(cloth: Cloth, u: Floats, v: Floats) -> tuple[Floats, Floats]:
    share = np.clip((v - 0.05 - 0.3 * cloth.phase[0]) / (0.15 + 2 * cloth.period), 0, 1)
    return share.astype(np.float32), np.zeros(len(u), np.float32)


def _melange(cloth: Cloth, u: Floats, v: Floats) -> tuple[Floats, Floats]:
    """Threads of two colours spun together."""
    return noise(u / _THREAD, v / (2 * _THREAD)) * np.float32(0.6 * cloth.duty), np.zeros(len(u), np.float32)


PATTERNS: dict[str, Callable[[Cloth, Floats, Floats], tuple[Floats, Floats]]] = {
    "plain": _plain,
    "rows": _rows,
    "columns": _columns,
    "groups": _groups,
    "gingham": _gingham,
    "tartan": _tartan,
    "window": _window,
    "dots": _dots,
    "flowers": _flowers,
    "camouflage": _camouflage,
    "knit": _knit,
    "gradient": _gradient,
    "melange": _melange,
}


def paint_cloth(cloth: Cloth, u: Floats, v: Floats) -> Floats:
    """Albedo (N, 3), sRGB 0 to 1, at `u` (N,) metres around the garment and `v` (N,) metres along it."""
    second, third = PATTERNS[cloth.pattern](cloth, u, v)
    colours = cloth.base + second[:, None] * (cloth.second - cloth.base)
    colours += third[:, None] * (cloth.third - colours)
    a, b = 17 * cloth.phase[0], 17 * cloth.phase[1]
    value = 1 + cloth.weave * (2 * noise(u / _THREAD + a, v / _THREAD + b) - 1)
    value += cloth.wear * (2 * noise(u / 0.11 + b, v / 0.16 + a) - 1)
    if cloth.quilt:  # seams between the rows are dark
        value *= 1 - 0.16 * np.exp(-((((v / cloth.quilt) % 1 - 0.5) / 0.09) ** 2))
    return np.clip(colours * value[:, None], 0, 1).astype(np.float32)


# how often a pattern is met; the rest is plain
_TOP_PATTERNS = {
    "rows": 6, "columns": 3, "groups": 2.5, "gingham": 2.5, "tartan": 4, "window": 1.5, "dots": 1.5, "flowers": 5,
    "camouflage": 1, "knit": 4, "gradient": 1, "melange": 6,
}  # fmt: skip
_LOWER_PATTERNS = {
    "columns": 2,
    "tartan": 1.5,
    "window": 1,
    "flowers": 1.2,
    "camouflage": 1.5,
    "melange": 4,
    "dots": 0.5,
}


def _pattern(rng: np.random.Generator, shares: dict[str, float], plain: float) -> str:
    names = ("plain", *shares)
    rest = (1 - plain) / sum(shares.values())
    return names[int(rng.choice(len(names), p=[plain, *(rest * share for share in shares.values())]))]


def sample_cloth(
    rng: np.random.Generator, mix: Mix, *, plain: float, lower: bool = False, folds: float = 1.0, quilted: bool = False
) -> Cloth:
    """A material: its base colour from `mix`, without a pattern as often as `plain` (0 to 1) says.

    `lower` draws the patterns of trousers and skirts, `folds` is how soft the cloth is (1: a cotton shirt).
    """
    name = palette.pick(rng, mix)
    base = palette.tone(rng, name)
    pattern = _pattern(rng, _LOWER_PATTERNS if lower else _TOP_PATTERNS, plain)
    second = palette.beside(rng, base, palette.TRIM if rng.random() < 0.7 else palette.VIVID)
    third = palette.colour(rng, palette.TRIM)
    period = float(np.exp(rng.uniform(np.log(0.012), np.log(0.15))))
    duty = float(rng.uniform(0.2, 0.6))
    phase = (float(rng.random()), float(rng.random()))
    weave, wear = float(rng.uniform(0.01, 0.05)), float(rng.uniform(0.03, 0.14))
    amount, size = float(folds * rng.uniform(0.5, 1.2)), float(rng.uniform(0.04, 0.1))
    quilt = float(rng.uniform(0.045, 0.11))
    if pattern in ("flowers", "camouflage", "gingham", "tartan"):
        period = max(period, 0.03)
    if pattern == "camouflage":
        second, third = (
            palette.shade(base, 0.45),
            palette.tone(rng, "khaki" if palette.lightness(base) < 0.5 else "grey"),
        )
    if pattern in ("knit", "melange"):
        second = palette.shade(base, 0.55) if palette.lightness(base) > 0.2 else 1.6 * base + np.float32(0.02)
        period = float(np.clip(period, 0.015, 0.05))
    if "denim" in name:
        weave, wear = max(weave, 0.045), max(wear, 0.16)
        pattern = "plain"
    return Cloth(
        pattern, base, second, third, period, duty, phase, weave, wear, amount, size, quilt if quilted else 0.0
    )


def fold_slopes(
    u: Floats, v: Floats, size: float, stretch: Floats, phase: tuple[float, float]
) -> tuple[Floats, Floats]:
    """Slopes (N,), (N,) around and along of wrinkles `size` metres across at `u`, `v` (N,) metres; about 1 at most.

    `stretch` (N,) is how much longer wrinkles are along than around (below 1: they run around, as at elbows and knees).
    """
    step = np.float32(0.12)
    a, b = u / (size * np.sqrt(1 / stretch)) + 50 * phase[0], v / (size * np.sqrt(stretch)) + 50 * phase[1]
    # bent by slower noise, so that no wrinkle is straight
    a, b = a + 0.9 * noise(0.4 * b + 9, 0.4 * a), b + 0.9 * noise(0.4 * a, 0.4 * b + 5)

    def height(x: Reals, y: Reals) -> Floats:
        ridge = 1 - np.abs(2 * noise(x, y) - 1)
        return np.asarray(ridge * ridge + 0.3 * noise(2.7 * x + 3, 2.7 * y + 8), np.float32)

    here = height(a, b)
    around, along = (height(a + step, b) - here) / step, (height(a, b + step) - here) / step
    root = np.sqrt(stretch)
    return np.asarray(around * root, np.float32), np.asarray(along / root, np.float32)
