"""The rendered worlds: what tells their cameras apart. Frozen before networks are compared."""

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
class Place:
    """Where cameras hang: indoors, outdoors or at night, as backgrounds and light differ."""

    share: float  # of a world's cameras
    lighting: Lighting


@dataclass(frozen=True)
class World:
    """One rendered site."""

    number: int  # enters every random generator: never change or reuse one (1 to 3 are drawn sites)
    description: str
    wardrobe: str  # what people wear: "summer", "winter" or "mixed"
    places: dict[str, Place]  # "indoor", "outdoor", "night"
    mounting: Mounting
    photometry: Photometry
    scatter: Scatter
    losing: Losing
    neighbours: float = 0.2  # share of images with somebody else in it
    occluders: float = 0.12  # share of images with a thing in front
    wandering_light: Span = field(default=(0.15, 0.03))  # of an image around its camera's: stops, log gains


_SUN = (1.04, 1.0, 0.92)
_SKY = (0.94, 0.99, 1.08)
_WHITE = (1.0, 1.0, 1.0)

_DAYLIGHT = Lighting(
    power=(0.05, 0.85),
    elevation=(0.45, 1.25),
    softness=(0.0, 0.3),
    lamps=0,
    sun_colour=_SUN,
    sky_colour=_SKY,
    ground=(0.2, 0.5),
    occlusion=(0.6, 1.0),
    shadow=(0.5, 1.0),
    contact=(0.3, 0.7),
    shade=0.25,
)
_HALL = Lighting(
    power=(0.25, 0.65),
    elevation=(0.8, 1.45),
    softness=(0.3, 0.8),
    lamps=2,
    sun_colour=_WHITE,
    sky_colour=_WHITE,
    ground=(0.25, 0.5),
    occlusion=(0.6, 1.0),
    shadow=(0.2, 0.6),
    contact=(0.3, 0.7),
    shade=0.1,
)
_LANTERNS = Lighting(
    power=(0.4, 0.85),
    elevation=(0.6, 1.35),
    softness=(0.1, 0.5),
    lamps=1,
    sun_colour=(1.08, 1.0, 0.85),
    sky_colour=(0.95, 1.0, 1.05),
    ground=(0.1, 0.35),
    occlusion=(0.6, 1.0),
    shadow=(0.3, 0.8),
    contact=(0.2, 0.6),
    shade=0.2,
)

WORLDS: dict[str, World] = {
    "people": World(
        number=11,
        description="for training: cameras as unlike as real ones, indoors and outdoors, by day and night",
        wardrobe="mixed",
        places={
            "outdoor": Place(0.55, _DAYLIGHT),
            "indoor": Place(0.3, _HALL),
            "night": Place(0.15, _LANTERNS),
        },
        mounting=Mounting(
            height=(1.8, 6.0),
            distance=(5.0, 18.0),
            heading_scatter=(0.25, 0.9),
            wandering=0.45,
            roll=(0.01, 0.05),
            margin=(0.0, 0.06),
            margin_scatter=(0.01, 0.04),
            aspect=(0.32, 0.5),
            jitter=(0.01, 0.045),
            cut=(0.02, 0.14),
        ),
        photometry=Photometry(exposure=0.1, contrast=1.08, saturation=0.95, haze_colour=(0.6, 0.6, 0.6)),
        scatter=Scatter(
            warm=0.16,
            green=0.07,
            exposure=0.42,
            gamma=0.18,
            contrast=0.2,
            saturation=0.28,
            mixing=0.1,
            vignette=0.2,
            shadow=0.4,
            haze=0.22,
            hazy=0.4,
            grey=0.07,
            night=0.12,
            washed=0.12,
        ),
        losing=Losing(
            far=0.6,
            shrink=(0.1, 0.6),
            blur=(0.1, 0.9),
            moving=0.2,
            motion=(1.0, 3.5),
            interlaced=0.06,
            comb=(0.5, 1.5),
            sharpened=0.55,
            sharpen=(0.2, 1.4),
            halo=(0.8, 2.0),
            noise=(0.0, 0.025),
            colour_noise=(0.0, 0.02),
            jpeg=(30, 95),
        ),
    ),
    "mall": World(
        number=12,
        description="a mall: lamps from above, yellowish green, cameras high, tight boxes",
        wardrobe="mixed",
        places={"indoor": Place(1.0, _HALL)},
        mounting=Mounting(
            height=(3.6, 5.5),
            distance=(4.0, 8.0),
            heading_scatter=(0.3, 0.6),
            wandering=0.35,
            roll=(0.03, 0.05),
            margin=(-0.01, 0.015),
            margin_scatter=(0.01, 0.02),
            aspect=(0.36, 0.42),
            jitter=(0.01, 0.02),
            cut=(0.02, 0.08),
        ),
        photometry=Photometry(
            illuminant=(1.06, 1.08, 0.74),
            exposure=0.15,
            gamma=1.05,
            contrast=1.05,
            saturation=0.9,
            haze=0.03,
            haze_colour=(0.6, 0.62, 0.45),
            mixing=0.03,
            vignette=0.1,
        ),
        scatter=Scatter(
            warm=0.08,
            green=0.05,
            exposure=0.22,
            gamma=0.06,
            contrast=0.07,
            saturation=0.1,
            mixing=0.03,
            vignette=0.1,
            shadow=0.0,
            haze=0.05,
        ),
        losing=Losing(
            far=0.7,
            shrink=(0.2, 0.5),
            blur=(0.3, 0.8),
            moving=0.1,
            motion=(1.0, 2.5),
            interlaced=0.0,
            comb=(0.0, 0.0),
            sharpened=0.7,
            sharpen=(0.4, 1.2),
            halo=(0.9, 1.5),
            noise=(0.004, 0.015),
            colour_noise=(0.002, 0.01),
            jpeg=(50, 85),
        ),
    ),
    "campus": World(
        number=13,
        description="a campus in the sun: bright, warm, hard shadows, cameras low, loose boxes",
        wardrobe="summer",
        places={
            "outdoor": Place(
                1.0,
                Lighting(
                    power=(0.45, 0.9),
                    elevation=(0.5, 1.2),
                    softness=(0.0, 0.15),
                    lamps=0,
                    sun_colour=_SUN,
                    sky_colour=_SKY,
                    ground=(0.25, 0.5),
                    occlusion=(0.7, 1.0),
                    shadow=(0.8, 1.0),
                    contact=(0.4, 0.7),
                    shade=0.25,
                ),
            )
        },
        mounting=Mounting(
            height=(1.7, 3.0),
            distance=(7.0, 18.0),
            heading_scatter=(0.3, 0.7),
            wandering=0.35,
            roll=(0.01, 0.03),
            margin=(0.05, 0.09),
            margin_scatter=(0.03, 0.05),
            aspect=(0.4, 0.5),
            jitter=(0.025, 0.05),
            cut=(0.02, 0.1),
        ),
        photometry=Photometry(
            illuminant=(1.08, 1.0, 0.9),
            exposure=0.35,
            gamma=0.95,
            contrast=1.18,
            saturation=1.15,
            haze_colour=(0.8, 0.78, 0.7),
        ),
        scatter=Scatter(
            warm=0.12,
            green=0.03,
            exposure=0.25,
            gamma=0.06,
            contrast=0.08,
            saturation=0.12,
            mixing=0.03,
            vignette=0.08,
            shadow=0.3,
            haze=0.08,
            hazy=0.3,
        ),
        losing=Losing(
            far=0.3,
            shrink=(0.1, 0.3),
            blur=(0.1, 0.5),
            moving=0.1,
            motion=(1.0, 2.0),
            interlaced=0.0,
            comb=(0.0, 0.0),
            sharpened=0.6,
            sharpen=(0.3, 1.0),
            halo=(0.8, 1.4),
            noise=(0.0, 0.01),
            colour_noise=(0.0, 0.006),
            jpeg=(70, 95),
        ),
    ),
    "night": World(
        number=14,
        description="a street at night: dark, greyish, low contrast, noisy, tight boxes of far people",
        wardrobe="winter",
        places={"night": Place(1.0, _LANTERNS)},
        mounting=Mounting(
            height=(2.8, 5.0),
            distance=(9.0, 20.0),
            heading_scatter=(0.3, 0.6),
            wandering=0.35,
            roll=(0.01, 0.04),
            margin=(-0.02, 0.01),
            margin_scatter=(0.01, 0.025),
            aspect=(0.34, 0.42),
            jitter=(0.01, 0.03),
            cut=(0.04, 0.12),
        ),
        photometry=Photometry(
            illuminant=(0.98, 1.0, 0.97),
            exposure=-1.0,
            gamma=0.95,
            contrast=0.75,
            saturation=0.42,
            haze=0.1,
            haze_colour=(0.2, 0.21, 0.22),
            mixing=0.08,
            vignette=0.2,
        ),
        scatter=Scatter(
            warm=0.1,
            green=0.03,
            exposure=0.3,
            gamma=0.08,
            contrast=0.1,
            saturation=0.25,
            mixing=0.05,
            vignette=0.15,
            shadow=0.15,
            haze=0.08,
            hazy=0.3,
        ),
        losing=Losing(
            far=0.9,
            shrink=(0.35, 0.65),
            blur=(0.4, 1.0),
            moving=0.3,
            motion=(1.0, 3.0),
            interlaced=0.1,
            comb=(0.5, 1.0),
            sharpened=0.5,
            sharpen=(0.3, 1.0),
            halo=(0.9, 1.8),
            noise=(0.01, 0.035),
            colour_noise=(0.005, 0.025),
            jpeg=(35, 75),
        ),
    ),
}
