"""How light falls on a background: sun through leaves, cast shadows, lamps; (HEIGHT, WIDTH, 3) on linear albedo."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from reid.sites.rendered.backdrop.noise import Field
from reid.sites.rendered.backdrop.surfaces import Surface
from reid.sites.rendered.smooth import smoothstep

_SUN = np.array([1.07, 1.0, 0.88], np.float32)
_SKY = np.array([0.91, 0.99, 1.12], np.float32)


def _dappled(rng: np.random.Generator, at: Surface) -> Field:
    """Spots of sun between the shadows of leaves, 0 shadow to 1 sun."""
    coarse = float(np.exp(rng.uniform(np.log(15), np.log(90))))
    field = at.noise(rng, coarse, 3, rng.uniform(0.4, 0.65), rng.uniform(1, 2)) + 0.8 * at.noise(rng, 200, 60)
    edge = rng.uniform(-0.7, 1.0)
    return smoothstep(edge, edge + rng.uniform(0.5, 1.8), field)


def _cast(rng: np.random.Generator, at: Surface) -> Field:
    """The shadows of houses, posts and railings with straight edges, 0 shadow to 1 sun."""
    s, _ = at.turned(rng.uniform(0, 2 * np.pi))
    soft = rng.uniform(0.02, 0.25)
    edge = rng.normal(0, 0.9)
    sun = smoothstep(edge, edge + soft, s + np.float32(rng.choice([0, 0.08])) * at.noise(rng, 60, 6))
    if rng.random() < 0.35:  # and of bars
        across, _ = at.turned(rng.uniform(0, 2 * np.pi))
        spacing = rng.uniform(0.3, 1.6)
        offset = np.abs(across / np.float32(spacing) % 1 - 0.5) * np.float32(spacing)
        sun = np.minimum(sun, smoothstep(rng.uniform(0.02, 0.12), 0.16, offset))
    return sun


def daylight(rng: np.random.Generator, surfaces: list[Surface]) -> list[Field]:
    """Sun or a clouded sky on each surface of an outdoor view, (HEIGHT, WIDTH, 3) each."""
    kind = rng.choice(4, p=[0.3, 0.25, 0.25, 0.2])  # clouded, dappled, cast, both
    shade = np.float32(rng.uniform(0.18, 0.5)) * _SKY
    lights: list[Field] = []
    for at in surfaces:
        soft = 1 + np.float32(0.12) * at.noise(rng, 250, 60)
        if kind == 0:
            lights.append(soft[..., None] * _SKY)
            continue
        sun = _dappled(rng, at) if kind != 2 else np.ones_like(at.s)
        if kind != 1:
            sun = np.minimum(sun, _cast(rng, at))
        lights.append(soft[..., None] * (shade + sun[..., None] * (_SUN - shade)))
    return lights


def lamplight(rng: np.random.Generator, surfaces: list[Surface], night: bool) -> list[Field]:
    """Pools of lamps on each surface, even indoors and few at night, (HEIGHT, WIDTH, 3) each."""
    ambient = rng.uniform(0.05, 0.3) if night else rng.uniform(0.5, 0.9)
    spacing = rng.uniform(2.5, 7) if night else rng.uniform(1.2, 4)
    warm = rng.normal(0.12, 0.12) if night else rng.normal(0.02, 0.05)
    lamp = np.array([1 + warm, 1, 1 - warm], np.float32)
    offset = rng.uniform(0, spacing, 2)
    reach = spacing * rng.uniform(0.25, 0.45)
    lights: list[Field] = []
    for at in surfaces:
        squared: NDArray[np.float32] = np.zeros_like(at.s)
        for axis, values in enumerate((at.s, at.t)):
            cells = (values + np.float32(offset[axis])) * np.float32(1 / spacing)
            near = cells - np.floor(cells) - np.float32(0.5)
            squared = squared + near * near
        pool = np.exp(squared * np.float32(-0.5 * (spacing / reach) ** 2))
        soft = 1 + np.float32(0.15) * at.noise(rng, 250, 60)
        lights.append((soft * (ambient + (1 - ambient) * pool))[..., None].astype(np.float32) * lamp)
    return lights
