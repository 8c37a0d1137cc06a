"""What stands between camera and person: near, cut by the border, hiding legs and sides."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from reid.sites.rendered.backdrop.noise import octaves
from reid.sites.rendered.backdrop.things import Layer, box, colour, cylinder, fill, foliage, mound, oval

HEIGHT, WIDTH = 256, 128  # pixels of a layer: an image at twice its size

_BELOW = HEIGHT + 12.0  # the foot of what stands nearer than the person lies below the image
_LEAST, _MOST = 0.05, 0.40  # share of the image that is hidden
_RED, _YELLOW, _WHITE = (np.array(rgb, np.float64) for rgb in ((165, 52, 46), (206, 172, 74), (222, 222, 216)))


def _side(rng: np.random.Generator, depth: float = 0.3) -> float:
    """A column near the left or the right border, at most `depth` of the width inside."""
    share = rng.uniform(-0.03, depth)
    return WIDTH * (share if rng.random() < 0.5 else 1 - share)


def _stroke(layer: Layer, points: list[tuple[float, float]], width: float, rgb: NDArray[np.float64]) -> None:
    """A tube along the points: dark below, lit above."""
    line = [np.round(np.array(points) * 8).astype(np.int32)]
    for thick, factor, up in ((width, 0.7, 0.0), (width * 0.45, 1.25, width * 0.15)):
        r, g, b = np.clip(rgb * factor, 0, 255).astype(int).tolist()
        shifted = [line[0] - np.array([0, round(8 * up)], np.int32)]
        cv2.polylines(layer, shifted, False, (r, g, b, 255), max(1, round(thick)), cv2.LINE_AA, 3)


def _post(rng: np.random.Generator, layer: Layer) -> None:
    rgb, radius, x = colour(rng, 0.15, 0.75), rng.uniform(5, 16), _side(rng)
    cylinder(layer, x, -8, _BELOW, radius, rgb, rng.normal(0, 2))
    if rng.random() < 0.4:
        y = rng.uniform(20, 200)
        box(layer, x - radius, y, x + radius, y + rng.uniform(8, 40), _YELLOW if rng.random() < 0.3 else _WHITE, 0.8)


def _bollard(rng: np.random.Generator, layer: Layer) -> None:
    rgb, radius, x, top = colour(rng, 0.12, 0.7), rng.uniform(9, 22), _side(rng, 0.5), rng.uniform(140, 190)
    cylinder(layer, x, top, _BELOW, radius, rgb)
    oval(layer, x, top, radius, radius * 0.3, rgb, 1.3)
    box(layer, x - radius, top + 14, x + radius, top + 24, _WHITE if rng.random() < 0.5 else _RED, 0.9)


def _railing(rng: np.random.Generator, layer: Layer) -> None:
    rgb, top, slope = colour(rng, 0.1, 0.85), rng.uniform(130, 200), rng.normal(0, 0.12)
    thick = rng.uniform(4, 8)
    for share in np.linspace(0, 1, int(rng.integers(3, 6))):
        y = top + share * (250 - top)
        _stroke(layer, [(-5, y - 64 * slope), (WIDTH + 5, y + 64 * slope)], thick if share else 1.6 * thick, rgb)
    gap = rng.uniform(12, 22) if rng.random() < 0.5 else rng.uniform(50, 80)
    for x in np.arange(rng.uniform(0, gap), WIDTH, gap):
        y = top + (x - 64) * slope
        cylinder(layer, float(x), y, _BELOW, 0.35 * thick if gap < 25 else 0.8 * thick, rgb)


def _bin(rng: np.random.Generator, layer: Layer) -> None:
    rgb, x, top, half = colour(rng, 0.12, 0.6, 0.15), _side(rng, 0.3), rng.uniform(130, 190), rng.uniform(18, 34)
    cylinder(layer, x, top, _BELOW, half, rgb)
    box(layer, x - half - 2, top, x + half + 2, top + 9, rgb, 0.6)
    oval(layer, x, top, half + 2, half * 0.28, rgb, 1.35)
    oval(layer, x, top, half * 0.6, half * 0.15, rgb, 0.2)
    box(layer, x - half * 0.5, top + 28, x + half * 0.4, top + 46, _WHITE, 0.75)


def _bench(rng: np.random.Generator, layer: Layer) -> None:
    rgb, top = colour(rng, 0.15, 0.6, 0.15), rng.uniform(150, 190)
    left = rng.uniform(-60, 50)
    right = left + rng.uniform(80, 150)
    for x in (left + 8, right - 8):
        cylinder(layer, x, top, _BELOW, 4, rgb * 0.6)
    for y, thick in ((0, 10), (14, 10), (40, 7), (48, 7)):
        box(layer, left, top + y, right, top + y + thick, rgb, 0.75)
        box(layer, left, top + y, right, top + y + 3, rgb, 1.25)


def _bonnet(rng: np.random.Generator, layer: Layer) -> None:
    rgb = colour(rng, 0.08, 0.9, 0.05) if rng.random() < 0.85 else _RED
    top, tilt, bulge = rng.uniform(165, 215), rng.normal(0, 14), rng.uniform(8, 24)
    x = np.linspace(-20, WIDTH + 20, 24)
    edge = top + tilt * (x - 64) / 64 - bulge * np.cos((x - rng.uniform(30, 100)) / 70)

    def band(above: float, below: float, factor: float) -> None:
        upper, lower = np.stack([x, edge + above], 1), np.stack([x, edge + below], 1)
        fill(layer, np.concatenate([upper, lower[::-1]]), rgb, factor)

    for above, below, factor in ((0, 140, 0.75), (0, 34, 1.15), (6, 16, 1.7), (34, 40, 0.4), (60, 140, 0.5)):
        band(above, below, factor)
    lamp = rng.uniform(0, WIDTH)
    oval(layer, lamp, float(np.interp(lamp, x, edge)) + 50, 17, 9, _WHITE, 1.1, 0.2)
    oval(layer, lamp, float(np.interp(lamp, x, edge)) + 51, 8, 6, colour(rng, 0.2, 0.5))
    if rng.random() < 0.4:  # the windscreen before it rises at one side
        side = -20.0 if rng.random() < 0.5 else WIDTH + 20.0
        into = side + np.sign(64 - side) * rng.uniform(35, 60)
        y = float(np.interp(into, x, edge)) + 2
        fill(layer, np.array([[side, y - 70], [into, y], [side, y + 4]]), colour(rng, 0.1, 0.45))


def _hedge(rng: np.random.Generator, layer: Layer) -> None:
    rows = np.arange(HEIGHT, dtype=np.float32)[:, None]
    crest = rng.uniform(160, 225) + 12 * octaves(rng, 2, WIDTH, 60, 10)[:1]
    foliage(rng, layer, np.clip(0.5 + (rows - crest) / 40, -1, 2).astype(np.float32))


def _bush(rng: np.random.Generator, layer: Layer) -> None:
    x, y = _side(rng, 0.1), rng.uniform(110, 240)
    foliage(rng, layer, mound(HEIGHT, WIDTH, x, y, rng.uniform(18, 48), rng.uniform(50, 110)))


def _branches(rng: np.random.Generator, layer: Layer) -> None:
    x, y = _side(rng, 0.0), rng.uniform(-10, 120)
    _stroke(layer, [(x, y - 30), (x + (64 - x) * 0.7, y + rng.uniform(0, 40))], 3, colour(rng, 0.1, 0.3, 0.08))
    foliage(rng, layer, 0.85 * mound(HEIGHT, WIDTH, x, y, rng.uniform(45, 80), rng.uniform(25, 60)))


def _bicycle(rng: np.random.Generator, layer: Layer) -> None:
    rgb, tyre = colour(rng, 0.1, 0.7, 0.2), colour(rng, 0.04, 0.15)
    x, y, r = rng.uniform(-20, 40), rng.uniform(205, 228), rng.uniform(34, 42)
    far = x + 2.2 * r * rng.uniform(0.6, 1.0)  # seen aslant
    squeeze = (far - x) / (2.2 * r)
    angles = np.linspace(0, 2 * np.pi, 30)
    for hub in (x, far):
        rim = [(hub + squeeze * r * np.cos(a), y + r * np.sin(a)) for a in angles]
        _stroke(layer, rim, 5, tyre)
        for a in angles[:-1:3]:
            _stroke(layer, [(hub, y), (hub + squeeze * r * np.cos(a), y + r * np.sin(a))], 1, tyre * 3)
    seat, head = (x + 0.35 * (far - x), y - 1.25 * r), (far - 0.18 * (far - x), y - 1.3 * r)
    crank = (x + 0.45 * (far - x), y)
    for tube in ([(x, y), seat, head, (far, y)], [(x, y), crank, head], [seat, crank]):
        _stroke(layer, tube, 5, rgb)
    oval(layer, seat[0], seat[1] - 5, 12, 4, tyre)
    _stroke(layer, [head, (head[0] + 2, head[1] - 12), (head[0] - 10, head[1] - 18)], 4, tyre * 2)
    if rng.random() < 0.6:  # a basket
        box(layer, head[0] + 4, head[1] - 12, head[0] + 4 + 30 * squeeze, head[1] + 14, colour(rng, 0.1, 0.5, 0.1))


def _table(rng: np.random.Generator, layer: Layer) -> None:
    rgb, x, y, rx = colour(rng, 0.3, 0.9, 0.1), _side(rng, 0.35), rng.uniform(165, 205), rng.uniform(34, 62)
    cylinder(layer, x, y, _BELOW, 4, colour(rng, 0.1, 0.4))
    oval(layer, x, y + 4, rx, rx * 0.24, rgb, 0.55)
    oval(layer, x, y, rx, rx * 0.24, rgb)
    oval(layer, x - 0.2 * rx, y - 1, 0.5 * rx, 0.1 * rx, rgb, 1.15)
    oval(layer, x + 0.2 * rx, y - 6, 4, 7, _WHITE, 0.9)
    chair, back = x + (64 - x) * rng.uniform(0.3, 0.9), colour(rng, 0.08, 0.5, 0.1)
    box(layer, chair - 18, y + 4, chair + 18, y + 40, back, 0.85)
    box(layer, chair - 18, y + 4, chair + 18, y + 9, back, 1.3)
    for side in (-16, 16):
        cylinder(layer, chair + side, y + 4, _BELOW, 3, back)


def _sign(rng: np.random.Generator, layer: Layer) -> None:
    x = _side(rng, 0.3)
    if rng.random() < 0.5:  # a board that stands on the ground
        top, rgb = rng.uniform(140, 190), colour(rng, 0.1, 0.9, 0.15)
        fill(layer, np.array([[x - 26, top], [x + 24, top], [x + 32, _BELOW], [x - 34, _BELOW]]), rgb, 0.6)
        fill(layer, np.array([[x - 22, top + 5], [x + 20, top + 5], [x + 26, 250], [x - 28, 250]]), rgb)
        for y in np.arange(top + 14, 230, 11):
            half = rng.uniform(6, 17)
            box(layer, x - half, float(y), x + half, float(y) + 4, _WHITE if rgb.mean() < 130 else rgb * 0.3)
        return
    cylinder(layer, x, -8, _BELOW, 4, colour(rng, 0.3, 0.7))
    y, r = rng.uniform(20, 90), rng.uniform(20, 30)
    oval(layer, x, y, r, r, _RED if rng.random() < 0.5 else np.array([48.0, 74, 120]))
    oval(layer, x, y, r * 0.7, r * 0.7, _WHITE, 0.9)
    box(layer, x - r * 0.4, y - 3, x + r * 0.4, y + 4, colour(rng, 0.05, 0.3))
    box(layer, x - 18, y + r + 4, x + 18, y + r + 18, _WHITE, 0.8)


def _umbrella(rng: np.random.Generator, layer: Layer) -> None:
    rgb = colour(rng, 0.08, 0.6, 0.25)
    x, y, r = _side(rng, 0.12), rng.uniform(20, 110), rng.uniform(48, 70)
    cylinder(layer, x, y - r * 0.3, y + 130, 2.5, colour(rng, 0.2, 0.5))
    angles = np.linspace(np.pi, 2 * np.pi, 20)
    dome = np.stack([x + r * np.cos(angles), y + 0.6 * r * np.sin(angles)], 1)
    fill(layer, dome, rgb, 0.8)
    for i, factor in ((0, 0.65), (4, 1.0), (8, 1.3), (12, 1.05), (16, 0.75)):
        segment = np.concatenate([dome[i : i + 5], [[x, y - 0.05 * r]]])
        fill(layer, np.concatenate([segment, [[x, y - 0.6 * r]]]) if i == 8 else segment, rgb, factor)


def _trolley(rng: np.random.Generator, layer: Layer) -> None:
    rgb, x, top = colour(rng, 0.35, 0.8), _side(rng, 0.35), rng.uniform(150, 185)
    wide = rng.uniform(34, 52)
    low = top + rng.uniform(44, 60)
    if rng.random() < 0.6:  # bags in it
        for _ in range(4):
            oval(
                layer,
                x + rng.uniform(-0.6, 0.6) * wide,
                top + 18 + rng.uniform(0, 14),
                17,
                14,
                colour(rng, 0.2, 0.9, 0.2),
            )
    for share in np.linspace(-1, 1, 9):
        _stroke(layer, [(x + share * wide, top), (x + share * wide * 0.8, low)], 2, rgb)
    for share in np.linspace(0, 1, 6):
        half = wide * (1 - 0.2 * share)
        y = top + share * (low - top)
        _stroke(layer, [(x - half, y), (x + half, y)], 5 if share == 0 else 2, rgb)
    for side in (-0.8, 0.8):
        _stroke(layer, [(x + side * wide, low), (x + side * wide, 246)], 4, rgb)
        oval(layer, x + side * wide, 248, 6, 7, colour(rng, 0.05, 0.2))


def _ledge(rng: np.random.Generator, layer: Layer) -> None:
    rgb, top, slope = colour(rng, 0.3, 0.8, 0.06), rng.uniform(175, 225), rng.normal(0, 0.12)
    left, right = top - 64 * slope, top + 64 * slope
    fill(layer, np.array([[-2, left], [WIDTH + 2, right], [WIDTH + 2, _BELOW], [-2, _BELOW]]), rgb, 0.7)
    cap = rng.uniform(5, 16)
    fill(layer, np.array([[-2, left], [WIDTH + 2, right], [WIDTH + 2, right + cap], [-2, left + cap]]), rgb, 1.15)
    if rng.random() < 0.5:
        gap = rng.uniform(18, 60)
        for x in np.arange(rng.uniform(0, gap), WIDTH, gap):
            box(layer, float(x), top + cap, float(x) + 1.5, _BELOW, rgb, 0.45)


def _pillar(rng: np.random.Generator, layer: Layer) -> None:
    rgb, wide = colour(rng, 0.2, 0.9, 0.05), rng.uniform(12, 38)
    left = rng.random() < 0.5
    edge, out = (wide, -4.0) if left else (WIDTH - wide, WIDTH + 4.0)
    box(layer, min(edge, out), -4, max(edge, out), _BELOW, rgb, 0.7)
    face = edge + (out - edge) * rng.uniform(0.15, 0.4)
    box(layer, min(face, out), -4, max(face, out), _BELOW, rgb)


def _boxes(rng: np.random.Generator, layer: Layer) -> None:
    x, y = _side(rng, 0.25), _BELOW
    for _ in range(int(rng.integers(1, 4))):
        rgb, half, tall = colour(rng, 0.15, 0.75, 0.12), rng.uniform(22, 38), rng.uniform(26, 60)
        box(layer, x - half, y - tall, x + half, y, rgb, 0.8)
        box(layer, x + 0.4 * half, y - tall, x + half, y, rgb, 0.55)
        box(layer, x - half, y - tall, x + half, y - tall + 6, rgb, 1.25)
        y, x = y - tall, x + rng.normal(0, 6)


OCCLUDERS: dict[str, Callable[[np.random.Generator, Layer], None]] = {
    "post": _post,
    "bollard": _bollard,
    "railing": _railing,
    "bin": _bin,
    "bench": _bench,
    "bonnet": _bonnet,
    "hedge": _hedge,
    "bush": _bush,
    "branches": _branches,
    "bicycle": _bicycle,
    "table": _table,
    "sign": _sign,
    "umbrella": _umbrella,
    "trolley": _trolley,
    "ledge": _ledge,
    "pillar": _pillar,
    "boxes": _boxes,
}


def draw_occluder(rng: np.random.Generator, kind: str) -> Layer:
    """An object of a kind (key of OCCLUDERS), uint8 (HEIGHT, WIDTH, 4) premultiplied sRGB; it hides 5 to 40 %."""
    while True:
        layer: Layer = np.zeros((HEIGHT, WIDTH, 4), np.uint8)
        OCCLUDERS[kind](rng, layer)
        layer = _textured(rng, layer)
        if _LEAST <= float(layer[..., 3].mean()) / 255 <= _MOST:
            return layer


def sample_occluder(rng: np.random.Generator) -> Layer:
    """Something that stands before a person, uint8 (HEIGHT, WIDTH, 4) premultiplied sRGB; it hides 5 to 40 %.

    Takes one draw from `rng`, whatever it shows.
    """
    rng = np.random.default_rng(int(rng.integers(2**63)))
    kinds = list(OCCLUDERS)
    return draw_occluder(rng, kinds[int(rng.integers(len(kinds)))])


def _textured(rng: np.random.Generator, layer: Layer) -> Layer:
    """Stains, grain, light that falls off to one side and to the ground, and the blur of what is near."""
    tone = 1 + rng.uniform(0.02, 0.09) * octaves(rng, HEIGHT, WIDTH, 60, 1.5, 0.8)
    across = np.linspace(-1, 1, WIDTH, dtype=np.float32)[None] * np.float32(rng.normal(0, 0.15))
    down = np.linspace(0.1, -0.15, HEIGHT, dtype=np.float32)[:, None]
    tone = (tone + across + down) * np.float32(np.exp(rng.normal(-0.1, 0.3)))
    rgba = layer.astype(np.float32)
    rgba[..., :3] *= tone[..., None]
    rgba[..., :3] = np.minimum(rgba[..., :3], rgba[..., 3:])
    blurred = cv2.GaussianBlur(rgba, (0, 0), rng.uniform(0.6, 2.2))
    return np.asarray(np.clip(blurred + 0.5, 0, 255), np.uint8)
