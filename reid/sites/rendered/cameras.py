"""One camera of a rendered world: how it hangs, its light, its colours and its losses, drawn around its world's."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from reid.sites.photometry import Photometry
from reid.sites.rendered.light import Lamp, Light, direction
from reid.sites.rendered.losses import Losses
from reid.sites.rendered.view import Mount
from reid.sites.rendered.world import Lighting, Losing, Mounting, Scatter, Span, World

_HARDEST = 1.5  # contrast beyond which clothes lose their colours to black and white


@dataclass(frozen=True)
class Camera:
    """One camera, at strengths 1."""

    mount: Mount
    light: Light
    shade: float  # share of images in which the first lamp does not reach the person
    photometry: Photometry
    losses: Losses
    place: str  # where it hangs: a key of World.places
    darkest: float  # mean of the middle half of an image, 0..1, below which it exposes longer


def _within(rng: np.random.Generator, span: Span) -> float:
    return float(rng.uniform(*span))


def _mostly_none(rng: np.random.Generator, share: float, span: Span) -> float:
    """A number of the span in a share of cameras, else 0."""
    value, lot = rng.uniform(*span), rng.random()
    return float(value) if lot < share else 0.0


def _sample_mount(rng: np.random.Generator, mounting: Mounting) -> Mount:
    first, several, turn = rng.uniform(0, 2 * np.pi), rng.random() < 0.6, rng.normal(np.pi, 0.4)
    return Mount(
        height=_within(rng, mounting.height),
        distance=_within(rng, mounting.distance),
        headings=(float(first), float(first + turn)) if several else (float(first),),
        heading_scatter=_within(rng, mounting.heading_scatter),
        wandering=mounting.wandering,
        roll=_within(rng, mounting.roll),
        margin=_within(rng, mounting.margin),
        margin_scatter=_within(rng, mounting.margin_scatter),
        aspect=_within(rng, mounting.aspect),
        jitter=_within(rng, mounting.jitter),
        cut=_within(rng, mounting.cut),
    )


def _sample_light(rng: np.random.Generator, lighting: Lighting) -> Light:
    """Sun and sky, or lamps below a ceiling; the sum of what falls on a person is much the same in all."""
    power, elevation = _within(rng, lighting.power), _within(rng, lighting.elevation)
    first = rng.uniform(0, 2 * np.pi)
    others, turns = rng.uniform(0.3, 0.9, 2), rng.normal((2.1, 4.2), 0.5)
    heights, warm = rng.uniform(0.7, 1.4, 2), rng.normal(0, 0.05)
    softness = _within(rng, lighting.softness)
    colour = np.array([1 + warm, 1.0, 1 - 1.4 * warm]) * lighting.sun_colour
    sun = Lamp(direction(first, elevation), _triple(1.7 * power * colour), softness)
    lamps = [sun]
    for k in range(lighting.lamps):
        strength = 0.5 * power * others[k % 2] * colour
        lamps.append(Lamp(direction(first + turns[k % 2], heights[k % 2]), _triple(strength), 0.5))
    ambient = 1 - 0.65 * power
    return Light(
        lamps=tuple(lamps),
        sky=_triple(1.1 * ambient * np.array(lighting.sky_colour)),
        ground=_triple(ambient * _within(rng, lighting.ground) * np.array([1.0, 0.97, 0.92])),
        occlusion=_within(rng, lighting.occlusion),
        shadow=_within(rng, lighting.shadow),
        contact=_within(rng, lighting.contact),
    )


def _triple(values: np.ndarray) -> tuple[float, float, float]:
    return (float(values[0]), float(values[1]), float(values[2]))


def _sample_photometry(rng: np.random.Generator, mean: Photometry, scatter: Scatter) -> Photometry:
    around = rng.normal(0, 1, 8).clip(-2.2, 2.2)
    warm, green = scatter.warm * around[0], scatter.green * around[1]
    gains = np.array(mean.illuminant) * np.exp([warm - green / 2, green, -warm - green / 2])
    grey, greyness = rng.random() < scatter.grey, rng.uniform(0.05, 0.45)
    hazy, haze, level = rng.random() < scatter.hazy, rng.uniform(0.03, scatter.haze), rng.uniform(0.15, 0.85)
    night, darkness = rng.random() < scatter.night, rng.uniform(0.6, 1.5)
    washed, excess = rng.random() < scatter.washed, rng.uniform(0.5, 1.1)
    tinted = np.clip(level * np.exp(rng.normal(0, 0.12, 3)), 0, 1)
    mixing, vignette, edge = rng.uniform(0, 1, 3)
    exposure = mean.exposure + scatter.exposure * around[2]
    saturation = mean.saturation * np.exp(scatter.saturation * around[5]) * (greyness if grey else 1.0)
    contrast = mean.contrast * np.exp(scatter.contrast * around[4])
    if night:
        exposure, saturation, contrast = exposure - darkness, saturation * 0.6, contrast * 0.95
    elif washed:
        exposure, contrast = max(exposure, 0) + excess, contrast * 0.85
    return Photometry(
        illuminant=_triple(gains),
        exposure=float(exposure),
        gamma=float(mean.gamma * np.exp(scatter.gamma * around[3])),
        contrast=float(min(contrast, _HARDEST)),
        saturation=float(saturation),
        haze=float(np.clip(mean.haze + (haze if hazy else 0), 0, 0.5)),
        haze_colour=_triple(tinted) if hazy else mean.haze_colour,
        mixing=float(np.clip(mean.mixing + scatter.mixing * mixing, 0, 0.3)),
        vignette=float(np.clip(mean.vignette + scatter.vignette * vignette, 0, 0.6)),
        shadow=float(np.clip(mean.shadow + scatter.shadow * max(0.0, 2 * edge - 1), 0, 0.6)),
    )


def _sample_losses(rng: np.random.Generator, losing: Losing) -> Losses:
    return Losses(
        shrink=_mostly_none(rng, losing.far, losing.shrink),
        blur=_within(rng, losing.blur),
        motion=_mostly_none(rng, losing.moving, losing.motion),
        comb=_mostly_none(rng, losing.interlaced, losing.comb),
        sharpen=_mostly_none(rng, losing.sharpened, losing.sharpen),
        halo=_within(rng, losing.halo),
        noise=_within(rng, losing.noise),
        colour_noise=_within(rng, losing.colour_noise),
        jpeg_quality=round(_within(rng, losing.jpeg)),
    )


def sample_camera(rng: np.random.Generator, world: World) -> Camera:
    """A camera that scatters around its world's means. Every draw is made, in one order."""
    places = list(world.places)
    shares = np.array([world.places[place].share for place in places])
    place = places[int(rng.choice(len(places), p=shares / shares.sum()))]
    lighting = world.places[place].lighting
    mount = _sample_mount(rng, world.mounting)
    light = _sample_light(rng, lighting)
    photometry = _sample_photometry(rng, world.photometry, world.scatter)
    losses = _sample_losses(rng, world.losing)
    return Camera(mount, light, lighting.shade, photometry, losses, place, world.darkest)


def in_shade(light: Light, dimmed: float) -> Light:
    """The light where the first lamp is dimmed to a share of it and the sky's is a little brighter."""
    sun = light.lamps[0]
    lost = (1 - dimmed) * 0.25
    return replace(
        light,
        lamps=(replace(sun, colour=_triple(dimmed * np.array(sun.colour))), *light.lamps[1:]),
        sky=_triple(np.array(light.sky) + lost * np.array(sun.colour)),
    )
