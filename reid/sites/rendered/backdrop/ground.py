"""What the ground is made of: albedo (HEIGHT, WIDTH, 3) sRGB, 0..1, as a function of the ground's metres."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from reid.sites.rendered.backdrop.noise import Colour, Field, masonry, plain
from reid.sites.rendered.backdrop.surfaces import HEIGHT, WIDTH, Surface, View
from reid.sites.rendered.smooth import smoothstep

Material = Callable[[np.random.Generator, Surface], Field]


def tint(tone: Field, colour: Colour) -> Field:
    """A brightness (H, W) in a colour (3,)."""
    return np.asarray(tone[..., None] * colour, np.float32)


def blend(below: Field, above: Field, share: Field) -> Field:
    """`above` (H, W, 3) or (3,) over `below` (H, W, 3) by `share` (H, W), 0..1."""
    return np.asarray(below + (above - below) * share[..., None], np.float32)


def asphalt(rng: np.random.Generator, at: Surface) -> Field:
    """Worn asphalt: stains, patches, cracks, lines and arrows of paint."""
    tone = 1 + rng.uniform(0.03, 0.1) * at.noise(rng, 160, 5, 0.6) + rng.uniform(0.02, 0.1) * at.noise(rng, 3, 1.5)
    albedo = tint(tone, plain(rng, 0.32, 0.62, -0.01))
    if rng.random() < 0.4:  # a patch of another year
        s, t = at.turned(rng.uniform(-0.5, 0.5))
        x, y = rng.uniform(-2, 1), rng.uniform(-2, 4)
        patch = (s > x) & (s < x + rng.uniform(0.6, 2)) & (t > y) & (t < y + rng.uniform(0.8, 5))
        albedo[patch] *= np.float32(rng.uniform(0.7, 1.15))
    if rng.random() < 0.5:  # cracks: where a smooth field passes 0
        field = at.noise(rng, 160, 8, 0.6)
        albedo *= 1 - np.float32(0.35) * np.exp(-((field / 0.035) ** 2))[..., None]
    if rng.random() < 0.6:
        albedo = blend(albedo, plain(rng, 0.75, 0.95, 0.08 if rng.random() < 0.7 else 0.35), _paint(rng, at))
    return albedo


def _paint(rng: np.random.Generator, at: Surface) -> Field:
    """How much of a pixel road paint covers: one line, a broken line, a crossing, or parking bays."""
    s, t = at.turned(rng.choice([0, np.pi / 2]) + rng.normal(0, 0.5))
    s = s + np.float32(rng.uniform(-1, 1))
    kind = rng.integers(4)
    width = rng.uniform(0.08, 0.2)
    line = np.abs(s) < width / 2
    if kind == 1:
        line &= (t % 3.0) < 1.6
    elif kind == 2:
        line = ((s % 1.0) < 0.45) & (np.abs(t - rng.uniform(-1, 2)) < 1.6)
    elif kind == 3:
        line |= np.abs((t % 2.4) - 1.2) < width / 2
    worn = smoothstep(-2.2, 0.6, at.noise(rng, 40, 2, 0.8) + np.float32(rng.uniform(0, 1.2)))
    return np.asarray(line * worn * np.float32(rng.uniform(0.6, 0.95)), np.float32)


def slabs(rng: np.random.Generator, at: Surface) -> Field:
    """Paving: slabs or setts, each of its own tone, joints dark or light."""
    s, t = at.turned(rng.uniform(-0.8, 0.8))
    width = float(np.exp(rng.uniform(np.log(0.12), np.log(0.9))))
    unit = (width, width * float(rng.choice([0.5, 0.67, 1.0, 1.0])))
    tone, joint = masonry(rng, s, t, unit, rng.uniform(0.006, 0.02), float(rng.choice([0.0, 0.5, 0.33])))
    colour = plain(rng, 0.42, 0.78, 0.03, 0.05)
    shade = 1 + rng.uniform(0.01, 0.09) * tone + 0.06 * at.noise(rng, 160, 5, 0.6) + 0.03 * at.noise(rng, 4, 1.5)
    albedo = tint(shade, colour)
    if rng.random() < 0.25:  # a band of darker slabs
        band = np.abs(np.floor(t / np.float32(unit[1])) % rng.integers(4, 8)) < 1
        albedo[band] *= np.float32(rng.uniform(0.6, 0.85))
    return albedo * (1 - rng.uniform(0.15, 0.5) * joint[..., None]) * np.float32(1)


def concrete(rng: np.random.Generator, at: Surface) -> Field:
    """Cast concrete: large stains, few joints."""
    tone = 1 + rng.uniform(0.04, 0.13) * at.noise(rng, 180, 6, 0.6) + 0.03 * at.noise(rng, 4, 1.5)
    s, t = at.turned(rng.uniform(-0.6, 0.6))
    _, joint = masonry(rng, s, t, (rng.uniform(1.5, 4), rng.uniform(1.5, 4)), 0.015, 0)
    return tint(tone * (1 - 0.3 * joint), plain(rng, 0.5, 0.85, 0.03))


def gravel(rng: np.random.Generator, at: Surface) -> Field:
    """Pebbles and trodden gravel."""
    tone = 1 + rng.uniform(0.12, 0.3) * at.noise(rng, 6, 1.5) + 0.1 * at.noise(rng, 160, 8)
    return tint(np.maximum(tone, 0.2), plain(rng, 0.4, 0.72, 0.06, 0.04))


def soil(rng: np.random.Generator, at: Surface) -> Field:
    """Earth, lighter where people walk."""
    tone = 1 + 0.13 * at.noise(rng, 140, 3) + 0.12 * at.noise(rng, 5, 1.5)
    return tint(tone, plain(rng, 0.4, 0.7, 0.12, 0.05))


def grass(rng: np.random.Generator, at: Surface) -> Field:
    """Lawn with bare and yellow patches."""
    green = np.array([0.42, 0.47, 0.30], np.float32) * np.float32(rng.uniform(0.6, 1.25))
    green *= (1 + rng.normal(0, 0.06, 3)).astype(np.float32)
    tone = 1 + rng.uniform(0.12, 0.28) * at.noise(rng, 10, 1.5, 0.9, 0.6) + 0.12 * at.noise(rng, 150, 8)
    bare = smoothstep(0.2, 1.6, at.noise(rng, 120, 3) + np.float32(rng.uniform(-0.8, 0.9)))
    return blend(tint(np.maximum(tone, 0.2), green), soil(rng, at), bare)


def floor(rng: np.random.Generator, at: Surface) -> Field:
    """A floor indoors: stone tiles, terrazzo or sheet; often a border of another colour."""
    s, t = at.turned(rng.uniform(-0.9, 0.9))
    width = float(rng.choice([0.3, 0.6, 0.6, 0.8, 1.2]))
    tone, joint = masonry(rng, s, t, (width, width), rng.uniform(0.004, 0.012), 0)
    colour = plain(rng, 0.45, 0.88, 0.04, 0.04)
    marble = rng.uniform(0.0, 0.06) * at.noise(rng, 40, 2, 0.8) + rng.uniform(0, 0.05) * at.noise(rng, 3, 1.5)
    albedo = tint(1 + rng.uniform(0, 0.04) * tone + marble + 0.04 * at.noise(rng, 180, 20), colour)
    if rng.random() < 0.35:  # a chequered or striped pattern
        column, row = np.floor(s / np.float32(width)), np.floor(t / np.float32(width))
        period = int(rng.integers(2, 6))
        other = (column + row) % 2 == 0 if rng.random() < 0.3 else column % period == 0
        albedo[other] *= np.float32(rng.uniform(0.5, 0.9))
    return albedo * (1 - rng.uniform(0.1, 0.4) * joint[..., None]) * np.float32(1)


def carpet(rng: np.random.Generator, at: Surface) -> Field:
    """Carpet or rubber studs: dark, fine grain."""
    tone = 1 + 0.1 * at.noise(rng, 3, 1.5) + 0.07 * at.noise(rng, 160, 8)
    return tint(tone, plain(rng, 0.22, 0.5, 0.0, 0.1))


def tactile(rng: np.random.Generator, at: Surface) -> tuple[Field, Colour]:
    """How much of a pixel a strip of tactile paving covers, and its colour."""
    s, t = at.turned(rng.uniform(-0.4, 0.4) + rng.choice([0, np.pi / 2]))
    inside = np.abs(t - rng.uniform(-1, 1.5)) < 0.2
    studs = 0.8 + 0.2 * np.sin(s * 42) * np.sin(t * 42)
    yellow = np.array([0.72, 0.62, 0.30], np.float32) if rng.random() < 0.7 else plain(rng, 0.4, 0.8)
    return np.asarray(inside * studs * 0.85, np.float32), yellow


def scatter_leaves(rng: np.random.Generator, albedo: Field, view: View, ground: Surface) -> None:
    """Fallen leaves, litter and stains on the ground, in place."""
    count = int(np.exp(rng.uniform(np.log(20), np.log(500))))
    rows = rng.uniform(max(0.0, view.horizon + 8), HEIGHT, count)
    columns = rng.uniform(0, WIDTH, count)
    palette = np.array([[0.5, 0.38, 0.25], [0.62, 0.5, 0.32], [0.3, 0.22, 0.16], [0.75, 0.7, 0.6], [0.36, 0.38, 0.22]])
    palette = palette * rng.uniform(0.7, 1.2)
    size, flat = rng.uniform(0.03, 0.08), max(float(np.sin(view.pitch)), 0.25)
    clumps = ground.noise(rng, 120, 8)
    for row, column in zip(rows, columns, strict=True):
        r, c = int(row), int(column)
        if not ground.seen[r, c] or clumps[r, c] < -0.3:
            continue
        radius = view.focal / float(ground.depth[r, c]) * size * rng.uniform(0.4, 1.2)
        if radius < 0.6:
            continue
        axes = (max(radius, 0.8), max(radius * flat * rng.uniform(0.5, 1), 0.6))
        colour = palette[int(rng.integers(len(palette)))] * rng.uniform(0.7, 1.2)
        box = ((column, row), (2 * axes[0], 2 * axes[1]), float(rng.uniform(-30, 30)))
        cv2.ellipse(albedo, box, [float(value) for value in colour], -1)


OUTDOORS: tuple[Material, ...] = (asphalt, asphalt, slabs, slabs, concrete, gravel, soil, grass, grass)
INDOORS: tuple[Material, ...] = (floor, floor, floor, floor, concrete, carpet)
