"""What tells one rendered world's cameras from another's."""

from __future__ import annotations

from dataclasses import dataclass, field

from reid.sites.photometry import Photometry

Span = tuple[float, float]  # least and greatest value of what is drawn uniformly


@dataclass(frozen=True)
class Mounting:
    """Spans of :class:`reid.sites.rendered.view.Mount`."""

    height: Span  # metres
    distance: Span  # metres
    heading_scatter: Span  # radians
    wandering: float  # share of people who follow no path
    roll: Span  # radians
    margin: Span
    margin_scatter: Span
    aspect: Span
    jitter: Span
    cut: Span


@dataclass(frozen=True)
class Lighting:
    """Spans of :class:`reid.sites.rendered.light.Light`."""

    power: Span  # of the sun or the lamps against sky and walls, 0..1
    elevation: Span  # radians
    softness: Span
    lamps: int  # further ones, weaker and soft
    sun_colour: tuple[float, float, float]
    sky_colour: tuple[float, float, float]
    ground: Span  # light from below as a share of that from above
    occlusion: Span
    shadow: Span
    contact: Span
    shade: float  # share of images in which the first lamp does not reach the person


@dataclass(frozen=True)
class Scatter:
    """How far cameras scatter around their world's photometry: standard deviations (of logarithms where it
    multiplies), greatest additions, and shares of cameras that are unlike the others."""

    warm: float  # red against blue
    green: float  # green against both
    exposure: float  # stops
    gamma: float
    contrast: float
    saturation: float
    mixing: float  # greatest
    vignette: float  # greatest
    shadow: float  # greatest
    haze: float  # greatest
    hazy: float = 0.0  # share with haze of a colour of its own
    grey: float = 0.0  # share that shows nearly no colour
    night: float = 0.0  # share that is one to two stops darker
    washed: float = 0.0  # share that is overexposed


@dataclass(frozen=True)
class Losing:
    """Spans of :class:`reid.sites.rendered.losses.Losses`, with the shares of cameras that have them."""

    far: float
    shrink: Span
    blur: Span
    moving: float
    motion: Span
    interlaced: float
    comb: Span
    sharpened: float
    sharpen: Span
    halo: Span
    noise: Span
    colour_noise: Span
    jpeg: Span


@dataclass(frozen=True)
class Spot:
    """Cameras of one place."""

    share: float  # of a world's cameras
    lighting: Lighting


@dataclass(frozen=True)
class World:
    """One rendered site."""

    number: int  # enters every random generator: never change or reuse one (1 to 3 are drawn sites)
    description: str
    wardrobe: str  # what people wear: "summer", "winter" or "mixed"
    places: dict[str, Spot]  # by backgrounds.Place: "indoor", "outdoor", "night"
    mounting: Mounting
    photometry: Photometry
    scatter: Scatter
    losing: Losing
    neighbours: float = 0.2  # share of images with somebody else in it
    occluders: float = 0.12  # share of images with a thing in front
    darkest: float = 0.11  # mean of the middle half of an image, 0..1, below which a camera exposes longer
    wandering_light: Span = field(default=(0.15, 0.03))  # of an image around its camera's: stops, log gains
