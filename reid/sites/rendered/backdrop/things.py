"""Things that stand in a background: people out of focus, cars, trunks, posts, railings, shrubs, benches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from reid.sites.rendered.backdrop.noise import octaves
from reid.sites.rendered.backdrop.surfaces import HEIGHT, WIDTH, View
from reid.sites.rendered.smooth import smoothstep

Layer = NDArray[np.uint8]  # (height, width, 4), premultiplied RGBA
_SHIFT = 3


def colour(rng: np.random.Generator, low: float, high: float, spread: float = 0.05) -> NDArray[np.float64]:
    """(3,) sRGB 0..255, nearly grey, its brightness between `low` and `high` (0..1)."""
    warm = rng.normal(0.02, spread)
    return np.clip(255 * rng.uniform(low, high) * np.array([1 + warm, 1 + rng.normal(0, spread / 2), 1 - warm]), 0, 255)


def fill(layer: Layer, points: NDArray[np.float64], rgb: NDArray[np.float64], factor: float = 1.0) -> None:
    """Fill a polygon (N, 2) of columns and rows, antialiased."""
    r, g, b = np.clip(rgb * factor, 0, 255).astype(int).tolist()
    fixed = np.round(np.clip(points, -4000, 4000) * (1 << _SHIFT)).astype(np.int32)
    cv2.fillPoly(layer, [fixed], (r, g, b, 255), cv2.LINE_AA, _SHIFT)


def box(layer: Layer, x0: float, y0: float, x1: float, y1: float, rgb: NDArray[np.float64], factor: float = 1) -> None:
    """Fill a rectangle."""
    fill(layer, np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]]), rgb, factor)


def oval(
    layer: Layer,
    x: float,
    y: float,
    rx: float,
    ry: float,
    rgb: NDArray[np.float64],
    factor: float = 1.0,
    turn: float = 0,
) -> None:
    """Fill an ellipse of radii rx and ry, turned by `turn` radians."""
    angles = np.linspace(0, 2 * np.pi, 20, endpoint=False)
    c, s = np.cos(turn), np.sin(turn)
    u, v = rx * np.cos(angles), ry * np.sin(angles)
    fill(layer, np.stack([x + c * u - s * v, y + s * u + c * v], axis=1), rgb, factor)


def cylinder(
    layer: Layer, x: float, top: float, foot: float, radius: float, rgb: NDArray[np.float64], lean: float = 0.0
) -> None:
    """An upright round thing, lit from one side, its foot at `foot`; its top is `lean` pixels aside."""
    for left, right, factor in ((-1, 1, 0.62), (-0.8, 0.6, 0.85), (-0.6, 0.1, 1.08), (-0.45, -0.15, 1.2)):
        a, b = left * radius, right * radius
        corners = [[x + lean + a, top], [x + lean + b, top], [x + b, foot], [x + a, foot]]
        fill(layer, np.array(corners), rgb, factor)


@dataclass(frozen=True)
class Stand:
    """Where a thing stands: column and row of its foot, pixels a metre across and up, and of depth on the ground."""

    x: float
    y: float
    across: float
    up: float
    away: float


def person(rng: np.random.Generator, layer: Layer, at: Stand) -> None:
    """Somebody too far off to be more than clothes, hair and skin."""
    k, u = at.across, at.up
    tall = rng.uniform(1.5, 1.85)
    upper = colour(rng, 0.08, 0.4, 0.1) if rng.random() < 0.75 else colour(rng, 0.4, 0.95, 0.15)
    lower = colour(rng, 0.06, 0.4, 0.06)
    skin = np.array([200.0, 156, 130]) * rng.uniform(0.45, 1.0)
    stride = rng.uniform(0, 0.12)
    for side in (-1, 1):
        hip, foot = side * 0.07 * k, side * (0.03 + stride) * k
        lift = rng.uniform(0, 0.06) * u
        corners = [[hip - 0.1 * k, -0.52 * tall * u], [hip + 0.1 * k, -0.52 * tall * u]]
        corners += [[foot + 0.06 * k, -lift], [foot - 0.06 * k, -lift]]
        fill(layer, np.add(corners, (at.x, at.y)), lower, 0.8 + 0.15 * side)
    wide = rng.uniform(0.16, 0.24)
    oval(layer, at.x, at.y - 0.65 * tall * u, wide * k, 0.21 * tall * u, upper)
    oval(layer, at.x - 0.3 * wide * k, at.y - 0.7 * tall * u, 0.5 * wide * k, 0.13 * tall * u, upper, 1.25)
    for side in (-1, 1):
        x = at.x + side * wide * k
        oval(layer, x, at.y - 0.63 * tall * u, 0.055 * k, 0.16 * tall * u, upper, 0.85)
        oval(layer, x, at.y - 0.47 * tall * u, 0.045 * k, 0.05 * u, skin)
    oval(layer, at.x, at.y - 0.93 * tall * u, 0.09 * k, 0.12 * u, skin)
    oval(layer, at.x, at.y - 0.955 * tall * u, 0.1 * k, 0.09 * u, colour(rng, 0.05, 0.2))


def car(rng: np.random.Generator, layer: Layer, at: Stand) -> None:
    """A parked car seen from its side."""
    k, u, way = at.across, at.up, float(rng.choice([-1, 1]))
    body = colour(rng, 0.08, 0.9, 0.04) if rng.random() < 0.85 else np.array([120.0, 40, 40])
    oval(layer, at.x, at.y - 0.06 * u, 2.2 * k, 0.16 * u, colour(rng, 0.02, 0.08))
    hull = [[-2.2, 0.25], [-2.2, 0.75], [-1.9, 0.9], [-1.2, 0.95], [-0.6, 1.42], [0.8, 1.45], [1.5, 0.98]]
    hull += [[2.1, 0.88], [2.25, 0.6], [2.25, 0.25]]
    roof = [[-1.05, 0.96], [-0.52, 1.34], [0.75, 1.37], [1.3, 0.98]]

    def placed(points: list[list[float]]) -> NDArray[np.float64]:
        array = np.array(points)
        return np.stack([at.x + way * array[:, 0] * k, at.y - array[:, 1] * u], axis=1)

    fill(layer, placed(hull), body)
    fill(layer, placed([[-2.2, 0.25], [-2.2, 0.55], [2.25, 0.5], [2.25, 0.25]]), body, 0.6)
    fill(layer, placed([[-2.1, 0.82], [-1.2, 0.93], [1.5, 0.96], [2.1, 0.86], [0, 0.86]]), body, 1.3)
    fill(layer, placed(roof), colour(rng, 0.08, 0.3, 0.02))
    fill(layer, placed([[-0.5, 1.0], [-0.2, 1.34], [0.1, 1.34], [-0.1, 1.0]]), colour(rng, 0.2, 0.6, 0.02))
    fill(layer, placed([[0.1, 0.96], [0.14, 1.37], [0.22, 1.37], [0.22, 0.96]]), body, 0.8)
    for x in (-1.35, 1.4):
        oval(layer, at.x + way * x * k, at.y - 0.3 * u, 0.33 * k, 0.33 * u, colour(rng, 0.03, 0.12))
        oval(layer, at.x + way * x * k, at.y - 0.3 * u, 0.18 * k, 0.18 * u, colour(rng, 0.35, 0.7))
    oval(layer, at.x - way * 2.12 * k, at.y - 0.7 * u, 0.1 * k, 0.08 * u, np.array([255.0, 244, 225]))
    oval(layer, at.x + way * 2.15 * k, at.y - 0.72 * u, 0.08 * k, 0.09 * u, np.array([170.0, 34, 30]))


def trunk(rng: np.random.Generator, layer: Layer, at: Stand) -> None:
    """A tree's trunk that leaves the picture at its top."""
    radius, bark = rng.uniform(0.06, 0.25) * at.across, colour(rng, 0.1, 0.45, 0.08)
    top = at.y - rng.uniform(3, 5) * at.up
    lean = rng.normal(0, 0.25) * at.across
    oval(layer, at.x, at.y, 1.5 * radius, 0.4 * radius, bark, 0.6)
    cylinder(layer, at.x, top, at.y, radius, bark, lean)
    if rng.random() < 0.5:  # a branch
        height, way = rng.uniform(1.2, 2.5), float(rng.choice([-1, 1]))
        start = np.array([at.x + lean * height / 4, at.y - height * at.up])
        tip = np.add(start, (way * rng.uniform(0.6, 1.5) * at.across, -rng.uniform(0.5, 1.5) * at.up))
        wedge = [np.subtract(start, (0, 0.4 * radius)), tip, np.add(start, (0, 0.5 * radius))]
        fill(layer, np.array(wedge), bark, 0.8)


def post(rng: np.random.Generator, layer: Layer, at: Stand) -> None:
    """A lamp post, bollard or column."""
    radius = float(np.exp(rng.uniform(np.log(0.04), np.log(0.3))))
    height = rng.uniform(0.7, 1.1) if rng.random() < 0.4 else 5.0
    cylinder(layer, at.x, at.y - height * at.up, at.y, radius * at.across, colour(rng, 0.15, 0.8))


def railing(rng: np.random.Generator, layer: Layer, at: Stand) -> None:
    """A railing of posts and bars across the picture."""
    rgb, height = colour(rng, 0.1, 0.8), rng.uniform(0.8, 1.2) * at.up
    thick = max(rng.uniform(0.03, 0.06) * at.across, 1.2)
    for share in np.linspace(0.1, 1, int(rng.integers(2, 6))):
        row = at.y - share * height
        box(layer, -5, row, WIDTH + 5, row + thick, rgb, 1 if share < 1 else 1.3)
    gap = rng.uniform(0.12, 0.3) if rng.random() < 0.5 else rng.uniform(0.9, 1.8)
    for x in np.arange(at.x % (gap * at.across), WIDTH, max(gap * at.across, 4)):
        box(layer, x, at.y - height, x + thick, at.y, rgb, 0.8)


def foliage(rng: np.random.Generator, layer: Layer, shape: NDArray[np.float32]) -> None:
    """Leaves where `shape` (height, width), about 0..1, and noise together pass 0.5; lit from above."""
    height, width = layer.shape[:2]
    leaves = octaves(rng, height, width, 24, 1.5, 0.9)
    cover = smoothstep(0.4, 0.6, np.asarray(shape + 0.22 * leaves, np.float32))
    green = np.array([92, 98, 62], np.float32) * (1 + rng.normal(0, 0.07, 3)).astype(np.float32)
    lit = 0.75 + 0.35 * octaves(rng, height, width, 12, 1.5, 0.9) + 0.2 * np.roll(leaves, 2, axis=0)
    tone = np.float32(rng.uniform(0.5, 1.2)) * np.clip(lit, 0.12, 2.0)
    grey = np.float32(0.3) * np.maximum(tone - 1, 0)  # what shines mirrors the sky
    rgb = np.clip(tone[..., None] * green * (1 + grey[..., None]), 0, 255)
    below = layer.astype(np.float32)
    leafy = np.concatenate([rgb, np.full((height, width, 1), 255, np.float32)], axis=-1)
    layer[:] = (below + (leafy - below) * cover[..., None] + 0.5).astype(np.uint8)


def mound(height: int, width: int, x: float, y: float, rx: float, ry: float) -> NDArray[np.float32]:
    """1 in the middle (x, y) of an ellipse, 0.5 on its edge of radii rx and ry, falling on outside."""
    rows, columns = np.ogrid[0:height, 0:width]
    distance = np.sqrt(((columns - x) / rx) ** 2 + ((rows - y) / ry) ** 2)
    return np.asarray(np.clip(1 - distance / 2, -1, 1), np.float32)


def shrub(rng: np.random.Generator, layer: Layer, at: Stand) -> None:
    """A bush, or plants in a pot."""
    size = rng.uniform(0.3, 0.9)
    if rng.random() < 0.3:
        half = 0.6 * size * at.across
        box(layer, at.x - half, at.y - 0.4 * at.up, at.x + half, at.y, colour(rng, 0.2, 0.7))
    shape = mound(HEIGHT, WIDTH, at.x, at.y - 0.7 * size * at.up, size * at.across, 0.75 * size * at.up + 1)
    foliage(rng, layer, shape)


def furniture(rng: np.random.Generator, layer: Layer, at: Stand) -> None:
    """A bench, bin, kiosk or box: blocks with a lit top and a dark side."""
    rgb = colour(rng, 0.1, 0.75, 0.12)
    wide, tall, deep = rng.uniform(0.25, 1.0), rng.uniform(0.4, 1.3), rng.uniform(0.3, 0.7) * at.away
    left, right = at.x - wide * at.across, at.x + wide * at.across
    if rng.random() < 0.4:  # a bench: legs and boards
        for x in (left, right):
            box(layer, x - 0.04 * at.across, at.y - 0.45 * at.up, x + 0.04 * at.across, at.y, rgb, 0.5)
        for height in (0.42, 0.6, 0.75):
            box(layer, left, at.y - (height + 0.08) * at.up, right, at.y - height * at.up, rgb, 0.8 + height / 2)
        return
    box(layer, left, at.y - tall * at.up - deep, right, at.y - tall * at.up, rgb, 1.3)
    box(layer, left, at.y - tall * at.up, right, at.y, rgb)
    split = left + rng.uniform(0.2, 0.8) * (right - left)
    box(layer, split, at.y - tall * at.up, right, at.y, rgb, 0.65)


Thing = Callable[[np.random.Generator, Layer, Stand], None]
OUTDOORS: tuple[Thing, ...] = (person, person, car, car, trunk, trunk, trunk, post, railing, shrub, shrub, furniture)
INDOORS: tuple[Thing, ...] = (person, person, person, person, post, post, railing, shrub, furniture, furniture)


def stand(view: View, x: float, y: float) -> Stand:
    """The place of a thing whose foot is at (x, y) metres on the ground."""
    column, row, depth = view.project(np.array([[x, y, 0.0]]))[0]
    scale = view.focal / max(depth, 1.0)
    c, s = np.cos(view.pitch), np.sin(view.pitch)
    return Stand(float(column), float(row), scale, scale * float(c), scale * float(s))


def empty() -> Layer:
    """A layer (HEIGHT, WIDTH, 4) without anything on it."""
    return np.zeros((HEIGHT, WIDTH, 4), np.uint8)
