"""What walls and far views are made of: albedo (HEIGHT, WIDTH, 3) sRGB; lit windows and lamps may exceed 1."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from reid.sites.rendered.backdrop.ground import blend, tint
from reid.sites.rendered.backdrop.noise import Field, masonry, plain
from reid.sites.rendered.backdrop.surfaces import Surface
from reid.sites.rendered.smooth import smoothstep

Wall = Callable[[np.random.Generator, Surface, float], Field]  # the float: how bright what is behind its glass is


def _grime(rng: np.random.Generator, at: Surface) -> Field:
    """Stains that run down, and dirt near the ground; a factor (H, W)."""
    runs = at.noise(rng, 80, 6, 0.7, 0.2)
    foot = np.exp(-np.maximum(at.t, 0) / np.float32(rng.uniform(0.2, 0.8)))
    return np.asarray(1 + rng.uniform(0, 0.06) * runs - rng.uniform(0, 0.3) * foot, np.float32)


def brick(rng: np.random.Generator, at: Surface, lit: float) -> Field:
    """Brickwork."""
    size = rng.uniform(0.9, 1.2)
    tone, joint = masonry(rng, at.s, at.t, (0.24 * size, 0.08 * size), 0.012)
    colour = plain(rng, 0.35, 0.62, 0.14, 0.07)
    albedo = tint((1 + 0.12 * tone + 0.06 * at.noise(rng, 100)) * _grime(rng, at), colour)
    return blend(albedo, plain(rng, 0.4, 0.75, 0.04), 0.7 * joint)


def stone(rng: np.random.Generator, at: Surface, lit: float) -> Field:
    """Rough blocks of stone: dark joints, tones that differ."""
    bend = 0.03 * at.noise(rng, 40, 8)
    height = rng.uniform(0.18, 0.4)
    unit = (height * rng.uniform(1.2, 2.4), height)
    tone, joint = masonry(rng, at.s + bend, at.t + bend, unit, rng.uniform(0.02, 0.05))
    shade = 1 + 0.16 * tone + 0.12 * at.noise(rng, 30, 2)
    return tint(np.maximum(shade, 0.2) * (1 - 0.4 * joint) * _grime(rng, at), plain(rng, 0.35, 0.65, 0.03, 0.04))


def plaster(rng: np.random.Generator, at: Surface, lit: float) -> Field:
    """Plaster or painted concrete, often with a plinth or a band of paint."""
    tone = (1 + 0.05 * at.noise(rng, 160, 6, 0.6) + 0.015 * at.noise(rng, 3)) * _grime(rng, at)
    albedo = tint(tone, plain(rng, 0.45, 0.9, 0.05, 0.05))
    if rng.random() < 0.5:
        band = at.t < np.float32(rng.uniform(0.15, 1.3))
        albedo[band] *= plain(rng, 0.5, 0.95, 0.02, 0.08)
    return albedo


def panels(rng: np.random.Generator, at: Surface, lit: float) -> Field:
    """Cladding, shutters or tiles: large or small units with thin joints and a sheen."""
    unit = (rng.uniform(0.4, 2.4), rng.uniform(0.25, 1.4)) if rng.random() < 0.5 else (0.2, 0.2)
    if rng.random() < 0.25:
        unit = (30.0, rng.uniform(0.06, 0.12))  # a shutter's slats
    tone, joint = masonry(rng, at.s, at.t, unit, rng.uniform(0.006, 0.02), 0)
    sheen = at.noise(rng, 200, 40, 0.6, 0.5)
    shade = 1 + rng.uniform(0.005, 0.03) * tone + rng.uniform(0.02, 0.14) * sheen
    return tint(shade * (1 - 0.35 * joint), plain(rng, 0.4, 0.85, 0.0, 0.05))


def glass(rng: np.random.Generator, at: Surface, lit: float) -> Field:
    """A glass front: dim rooms and reflections of a bright outside between mullions."""
    width, height = rng.uniform(0.7, 2.2), rng.uniform(1.0, 3.0)
    frame = rng.uniform(0.03, 0.12)
    tone, joint = masonry(rng, at.s, at.t, (width, height), frame, 0)
    blocks, _ = masonry(rng, at.s, at.t, (rng.uniform(0.2, 1.2), rng.uniform(0.5, 2.0)), 0.0, 0.3)
    inside = np.maximum(0.7 + 0.2 * at.noise(rng, 80, 10, 0.5) + 0.2 * blocks + 0.15 * tone, 0.1)
    room = tint(inside, plain(rng, 0.2, 0.45, 0.0, 0.08)) * np.float32(lit)
    outside, _ = masonry(rng, at.s, at.t, (rng.uniform(0.5, 3), rng.uniform(1, 4)), 0.0, 0.2)
    reflected = 0.5 * at.noise(rng, 220, 20, 0.5, 0.4) + 0.6 * outside + 0.25 * tone
    mirrored = smoothstep(-0.9, 1.2, np.asarray(reflected, np.float32))
    pane = blend(room, plain(rng, 0.5, 1.0, -0.06), mirrored * np.float32(rng.uniform(0.15, 0.8)))
    lamps = smoothstep(2.0, 2.4, at.noise(rng, 16, 6, 0.8, 2.5)) * smoothstep(1.2, 2.2, at.t)
    pane += np.float32(1.2 * lit) * lamps[..., None]
    return blend(pane, plain(rng, 0.15, 0.75), np.clip(joint * 1.3, 0, 1))


def shop(rng: np.random.Generator, at: Surface, lit: float) -> Field:
    """Shelves or a shop window: rows of small goods, some of them colourful, and a lit fascia."""
    board = rng.uniform(0.18, 0.45)
    tone, gap = masonry(rng, at.s, at.t, (rng.uniform(0.04, 0.14), board), 0.02, 0.37)
    hue, _ = masonry(rng, at.s, at.t, (rng.uniform(0.2, 0.9), board), 0.0, 0.61)
    depth = at.t / np.float32(board)
    under = 1 - 0.55 * smoothstep(
        0.45, 1.0, np.asarray(depth - np.floor(depth), np.float32)
    )  # dark below the next board
    piles, _ = masonry(rng, at.s, at.t, (rng.uniform(0.3, 1.0), board / 2), 0.0, 0.43)
    goods = np.clip(0.5 + 0.1 * tone + 0.1 * piles + 0.15 * at.noise(rng, 30), 0.05, 1.1) * under
    phase = rng.uniform(0, 6.3)
    colour = np.stack([np.sin(hue * 2.2 + phase + shift) for shift in (0.0, 0.9, 2.2)], axis=-1)
    albedo = tint(goods, plain(rng, 0.6, 1.0, 0.05)) * (1 + np.float32(rng.uniform(0.03, 0.16)) * colour)
    albedo = blend(albedo, plain(rng, 0.05, 0.6), 0.3 * gap) * np.float32(lit)
    low, high = rng.uniform(0.0, 0.6), rng.uniform(2.0, 2.8)
    plinth, fascia = at.t < low, at.t > high
    albedo[plinth] = plain(rng, 0.2, 0.7)
    albedo[fascia] = plain(rng, 0.3, 1.0, 0.0, 0.15) * np.float32(lit if rng.random() < 0.5 else 1)
    letters = (np.abs(at.t - high - 0.35) < 0.16) & (at.noise(rng, 10, 4) > 0.5)
    albedo[letters] = plain(rng, 0.7, 1.0) * np.float32(lit)
    return np.asarray(albedo, np.float32)


def hedge(rng: np.random.Generator, at: Surface, lit: float) -> Field:
    """Leaves in sun and shade: a hedge, shrubs, or trees further off."""
    green = np.array([0.36, 0.39, 0.25], np.float32) * np.float32(rng.uniform(0.55, 1.2))
    green *= (1 + rng.normal(0, 0.06, 3)).astype(np.float32)
    clumps, leaves = at.noise(rng, 90, 12, 0.8), at.noise(rng, 12, 1.5)
    tone = np.maximum(0.75 + 0.3 * clumps + rng.uniform(0.2, 0.4) * leaves, 0.05)
    grey = np.float32(0.25) * np.maximum(tone - 0.9, 0)[..., None]  # what shines mirrors the sky
    field = at.noise(rng, 24, 3) + np.float32(0.2) * np.minimum(at.t, 5) - np.float32(rng.uniform(0.2, 1.2))
    gaps = smoothstep(0.8, 2.4, np.asarray(field, np.float32)) * np.float32(rng.uniform(0, 0.8))
    return blend(tint(tone, green) + grey, plain(rng, 0.7, 1.1, -0.03), gaps)


def facade(rng: np.random.Generator, at: Surface, lit: float) -> Field:
    """A house: wall with windows in rows; door openings below."""
    albedo = (brick, plaster, panels, stone)[int(rng.integers(4))](rng, at, lit)
    width, height = rng.uniform(1.4, 3.2), rng.uniform(2.6, 3.4)
    tone, _ = masonry(rng, at.s, at.t, (width, height), 0.0, 0)
    u, v = at.s / np.float32(width) % 1, at.t / np.float32(height) % 1
    half, sill, head = rng.uniform(0.2, 0.38), rng.uniform(0.15, 0.35), rng.uniform(0.65, 0.9)
    window = (np.abs(u - 0.5) < half) & (v > sill) & (v < head)
    frame = (np.abs(u - 0.5) < half + 0.04) & (v > sill - 0.03) & (v < head + 0.02)
    albedo[frame] = plain(rng, 0.25, 0.9)
    pane = glass(rng, at, lit) * (1 + 0.15 * tone[..., None])
    if lit > 1:
        pane = np.where(tone[..., None] > 0.4, pane * np.float32(lit), pane * np.float32(0.6))
    albedo[window] = pane[window]
    return albedo


def stairs(rng: np.random.Generator, at: Surface, lit: float) -> Field:
    """Steps seen from the front: bright treads, dark risers."""
    rise = rng.uniform(0.14, 0.2)
    step = at.t / np.float32(rise) % 1
    tone = np.where(step < rng.uniform(0.25, 0.45), 1.15, 0.7).astype(np.float32) * (1 - 0.25 * (step > 0.93))
    return tint(tone * (1 + 0.06 * at.noise(rng, 100)) * _grime(rng, at), plain(rng, 0.45, 0.75, 0.03))


OUTDOORS: tuple[Wall, ...] = (brick, stone, plaster, panels, glass, shop, hedge, hedge, hedge, facade, facade, stairs)
INDOORS: tuple[Wall, ...] = (plaster, panels, panels, glass, glass, shop, shop, shop, stairs)
