"""What is worn: trousers or a skirt, something above, perhaps something over it. Heights are coords' (metres)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np

from reid.sites.rendered.wear import palette
from reid.sites.rendered.wear.materials import Cloth, sample_cloth
from reid.sites.rendered.wear.palette import Colour, Mix
from reid.sites.rendered.wear.wardrobe import COOL_TOPS, LIGHT_OUTERS, MILD_OUTERS, OUTERS, TOPS, WARM_OUTERS, Kind

NECK = 0.6


class Wardrobe(StrEnum):
    """The season that a world's people dress for."""

    SUMMER = "summer"
    WINTER = "winter"
    MIXED = "mixed"


@dataclass(frozen=True)
class Detail:
    """Something on a garment that is painted: a stripe, a print, a pocket (see details.py)."""

    kind: str  # a key of TORSO, SLEEVE or LEG, or one of EDGES, in details.py
    colour: Colour
    second: Colour
    numbers: tuple[float, ...]


@dataclass(frozen=True)
class Top:
    """A garment on the torso, below others or over them."""

    cloth: Cloth
    sleeves: Cloth
    sleeve: float  # where sleeves end: 0 shoulder, 1 wrist
    ease: float  # how far it stands off what is below
    cling: float  # how fast it falls back in below chest and belly: 0 straight down, 1 fitted
    flare: float  # widening below the hips, metres a metre
    hem: float  # height
    neck: float  # height of the neckline at the side
    drop: float  # how much lower it is in front
    vee: bool  # drops as a V, else round
    collar: float  # height of what stands up at the neck, 0: none
    trim: Colour  # of the collar and the edges
    gap: float  # half the width of an open front, 0: closed
    hood: bool  # lies on the back
    tucked: bool  # into what is below
    details: tuple[Detail, ...]


@dataclass(frozen=True)
class Bottom:
    """Trousers, shorts, leggings or a skirt."""

    skirt: bool
    cloth: Cloth
    rise: float  # height of the waistband
    hem: float  # height
    ease: float  # at hips and thighs
    knee: float  # radius at the knee
    ankle: float  # radius at the ankle
    flare: float  # of a skirt, metres a metre
    pleats: int  # folds around a skirt's hem
    tights: Cloth | None  # on the legs below
    details: tuple[Detail, ...]


@dataclass(frozen=True)
class Outfit:
    """All cloth of one person."""

    bottom: Bottom
    top: Top
    outer: Top | None
    scarf: Cloth | None
    scarf_end: float  # height on the chest where an end of it hangs; NECK: none hangs

    @property
    def hooded(self) -> Top | None:
        """What has a hood, the outermost first."""
        return next((top for top in (self.outer, self.top) if top is not None and top.hood), None)


def _draw(rng: np.random.Generator, pair: tuple[float, float]) -> float:
    return float(rng.uniform(*pair))


def _name(rng: np.random.Generator, kinds: dict[str, Kind], names: tuple[str, ...], female: bool) -> str:
    shares = np.array([kinds[name].share[female] for name in names])
    return names[int(rng.choice(len(names), p=shares / shares.sum()))]


def _print(rng: np.random.Generator, ground: Colour, kind: str) -> Detail:
    """A logo or letters; kind tells front (`logo`, `letters`) from back (`back logo`, `back letters`)."""
    size = float(np.exp(rng.uniform(np.log(0.03), np.log(0.14))))
    numbers = (
        float(rng.choice([0.0, rng.normal(0, 0.06)])),  # x
        float(rng.uniform(0.28, 0.46)),  # z
        size,
        float(size * rng.uniform(0.35, 1.1)),
        float(rng.integers(5)),  # shape
        float(rng.random()),  # phase of letters
    )
    second = palette.colour(rng, palette.VIVID)
    return Detail(kind, palette.beside(rng, ground, palette.TRIM, 0.4), second, numbers)


def _contrasts(rng: np.random.Generator, ground: Colour) -> list[Detail]:
    """What makes a garment of more than one colour: yoke, band, sides, halves, stripes along the sleeves."""
    other = palette.beside(rng, ground, palette.TRIM, 0.3)
    third = palette.beside(rng, other, palette.TRIM, 0.3)
    u = rng.random(4)
    kind = ("yoke", "low", "band", "bands", "sides", "sleeve stripe", "sleeve yoke")[int(rng.integers(7))]
    numbers = {
        "yoke": (0.3 + 0.17 * u[0],),
        "low": (0.03 + 0.24 * u[0],),
        "band": (0.14 + 0.26 * u[0], 0.03 + 0.1 * u[1]),
        "bands": (0.16 + 0.2 * u[0], 0.02 + 0.03 * u[1], 0.07 + 0.06 * u[2]),
        "sides": (0.085 + 0.04 * u[0],),
        "sleeve stripe": (0.006 + 0.016 * u[0], float(1 + int(3 * u[1]))),
        "sleeve yoke": (0.34 + 0.14 * u[0],),
    }[kind]
    return [Detail(kind, other, third, tuple(float(number) for number in numbers))]


def _top(rng: np.random.Generator, name: str, kind: Kind, outer: bool) -> Top:
    quilted = bool(rng.random() < kind.quilted)
    cloth = sample_cloth(rng, kind.mix, plain=kind.plain, folds=kind.folds, quilted=quilted)
    if name == "suit jacket" and cloth.pattern not in ("plain", "melange", "window", "columns"):
        cloth = replace(cloth, pattern="plain")
    sleeves = cloth
    other = sample_cloth(rng, palette.TRIM, plain=0.9, folds=kind.folds)
    details: list[Detail] = []
    contrasts, printed, back, special = rng.random(4)
    drawn = _contrasts(rng, cloth.base)
    if contrasts < kind.contrast * 0.4:
        sleeves = replace(other, quilt=cloth.quilt)
    elif contrasts < kind.contrast + (0.04 if outer else 0.0):
        details += drawn
    front = _print(rng, cloth.base, "logo" if rng.random() < 0.6 else "letters")
    behind = _print(rng, cloth.base, "back logo" if rng.random() < 0.5 else "back letters")
    is_open = bool(rng.random() < kind.open)
    if printed < kind.printed or (outer and not is_open and printed < 0.10):
        details.append(front)
    if back < 0.25 * kind.printed + (0.06 if outer else 0.0):
        details.append(behind)
    trim = palette.shade(cloth.base, 0.75)
    if rng.random() < 0.16:
        trim = palette.beside(rng, cloth.base, palette.TRIM)
    seams = palette.shade(cloth.base, float(rng.uniform(0.45, 0.8)))
    metal = np.full(3, rng.uniform(0.3, 0.8), np.float32)
    if outer and not is_open and name != "cardigan":
        details.append(Detail("placket", metal if special < 0.4 else seams, seams, (float(rng.uniform(0.004, 0.012)),)))
    if name in ("shirt", "rolled shirt", "polo", "overshirt"):
        details.append(Detail("placket", seams, seams, (0.006,)))
    if outer or rng.random() < 0.2:
        details.append(
            Detail("pockets", seams, seams, (float(rng.uniform(-0.02, 0.1)), float(rng.uniform(0.03, 0.06))))
        )
    if rng.random() < (0.45 if kind.cling[0] < 0.1 else 0.15):
        details.append(Detail("edges", trim, trim, (float(rng.uniform(0.02, 0.06)), float(rng.uniform(0.04, 0.1)))))
    if outer and rng.random() < 0.035:
        silver = np.array([0.82, 0.84, 0.8], np.float32)
        details.append(Detail("bands", silver, silver, (0.12, 0.045, 0.14)))
    long = kind.hem[0] < -0.3
    if long and rng.random() < 0.35:
        details.append(Detail("belt", palette.shade(cloth.base, 0.6), metal, (float(rng.uniform(0.15, 0.2)), 0.04)))
    return Top(
        cloth,
        sleeves,
        _draw(rng, kind.sleeve),
        _draw(rng, kind.ease),
        _draw(rng, kind.cling),
        float(rng.uniform(0, 2 * kind.flare)),
        _draw(rng, kind.hem),
        float(rng.uniform(0.598, 0.618)),
        _draw(rng, kind.drop),
        bool(rng.random() < kind.vee),
        _draw(rng, kind.collar),
        trim,
        float(rng.uniform(0.03, 0.115)) if is_open else 0.0,
        bool(rng.random() < kind.hood),
        bool(rng.random() < kind.tucked),
        tuple(details),
    )


def _trousers(rng: np.random.Generator, female: bool, short: bool) -> Bottom:
    legs = rng.random()
    leggings = not short and legs < (0.17 if female else 0.01)
    mix: Mix = palette.SHORTS if short else palette.TIGHTS if leggings else palette.TROUSERS
    cloth = sample_cloth(rng, mix, plain=0.86, lower=True, folds=0.35 if leggings else 1.0)
    widths = [(0.052, 0.042), (0.066, 0.054), (0.075, 0.068), (0.095, 0.098), (0.068, 0.10)]  # slim .. wide, flared
    shares = [0.40, 0.26, 0.14, 0.14, 0.06] if female else [0.22, 0.36, 0.29, 0.12, 0.01]
    knee, ankle = widths[int(rng.choice(5, p=shares))]
    ease = float(rng.uniform(0.004, 0.016))
    hem = float(rng.uniform(-0.79, -0.74))
    if rng.random() < (0.2 if female else 0.1):
        hem = float(rng.uniform(-0.72, -0.58))
    if short:
        hem, knee, ease = (
            float(rng.uniform(-0.44, -0.16)),
            float(rng.uniform(0.08, 0.11)),
            float(rng.uniform(0.01, 0.025)),
        )
    if leggings:
        knee, ankle, ease = 0.03, 0.03, 0.003
    details: list[Detail] = []
    u = rng.random(5)
    sporty = u[0] < 0.09
    stripe = palette.beside(rng, cloth.base, {"white": 6, "red": 1, "blue": 1, "grey": 1, "black": 2}, 0.35)
    if sporty:
        details.append(
            Detail("side stripe", stripe, stripe, (float(rng.uniform(0.006, 0.02)), float(1 + int(3 * u[1]))))
        )
    if u[2] < 0.45 and not leggings:
        leather = palette.colour(rng, {"black": 5, "brown": 4, "beige": 1})
        details.append(Detail("waistband", leather, leather, (0.035,)))
    if cloth.pattern == "plain" and cloth.wear >= 0.16 and u[3] < 0.6:
        pale = palette.shade(cloth.base, float(rng.uniform(1.25, 1.8)))
        details.append(Detail("fade", pale, pale, (float(rng.uniform(0.3, 0.9)),)))
    if u[4] < 0.08 and not short:
        turned = palette.shade(cloth.base, 1.35)
        details.append(Detail("turn-up", turned, turned, (0.045,)))
    elif u[4] < 0.16:
        seam = palette.shade(cloth.base, 0.6)
        details.append(Detail("cargo", seam, seam, (-0.24,)))
    tights = None
    if short and female and rng.random() < 0.3:
        tights = sample_cloth(rng, palette.TIGHTS, plain=1.0, folds=0.2)
    rise = float(rng.uniform(0.13, 0.23) if female else rng.uniform(0.12, 0.18))
    return Bottom(False, cloth, rise, hem, ease, knee, ankle, 0.0, 0, tights, tuple(details))


def _skirt(rng: np.random.Generator, cold: bool, cloth: Cloth | None) -> Bottom:
    own = sample_cloth(rng, palette.SKIRTS, plain=0.66, lower=True)
    length = float(
        rng.choice(
            [rng.uniform(-0.27, -0.17), rng.uniform(-0.42, -0.28), rng.uniform(-0.74, -0.45)], p=[0.34, 0.36, 0.3]
        )
    )
    flare = float(
        rng.choice([rng.uniform(0.0, 0.06), rng.uniform(0.1, 0.25), rng.uniform(0.25, 0.5)], p=[0.35, 0.4, 0.25])
    )
    pleats = int(rng.integers(7, 15)) if flare > 0.08 else 0
    tights = sample_cloth(rng, palette.TIGHTS, plain=0.97, folds=0.15)
    bare = rng.random() < (0.15 if cold else 0.6)
    rise = float(rng.uniform(0.15, 0.23))
    return Bottom(
        True,
        own if cloth is None else cloth,
        rise,
        length,
        0.006,
        0.0,
        0.0,
        flare,
        pleats,
        None if bare else tights,
        (),
    )


def sample_outfit(rng: np.random.Generator, wardrobe: Wardrobe, female: bool) -> Outfit:
    """Clothes of one person, dressed for the season."""
    drawn = ("winter", "mild", "summer")[int(rng.choice(3, p=[0.36, 0.36, 0.28]))]
    warmth = {Wardrobe.WINTER: "winter", Wardrobe.SUMMER: "summer"}.get(wardrobe, drawn)
    layered = rng.random() < {"winter": 0.88, "mild": 0.5, "summer": 0.07}[warmth]
    tops = COOL_TOPS if warmth == "summer" else tuple(TOPS)
    outers = {"winter": WARM_OUTERS, "mild": MILD_OUTERS, "summer": LIGHT_OUTERS}[warmth]
    if rng.random() < 0.12 and warmth != "summer":
        outers = tuple(OUTERS)
    name = _name(rng, TOPS, tops, female)
    over = _name(rng, OUTERS, outers, female)
    top, outer = _top(rng, name, TOPS[name], False), _top(rng, over, OUTERS[over], True)
    u = rng.random(3)
    dressed_in_one = female and u[0] < {"winter": 0.08, "mild": 0.12, "summer": 0.2}[warmth]
    skirted = dressed_in_one or (female and u[1] < {"winter": 0.12, "mild": 0.16, "summer": 0.2}[warmth])
    trousers = _trousers(rng, female, bool(u[2] < {"winter": 0.01, "mild": 0.08, "summer": 0.34}[warmth]))
    skirt = _skirt(rng, warmth != "summer", top.cloth if dressed_in_one else None)
    bottom = skirt if skirted else trousers
    if dressed_in_one:
        top = replace(top, tucked=True, ease=min(top.ease, 0.014))
    suited = over == "suit jacket" and rng.random() < 0.6 and not skirted
    if suited and layered:
        bottom = replace(bottom, cloth=outer.cloth)
    scarf = sample_cloth(rng, palette.OUTER_WINTER, plain=0.6)
    scarfed = rng.random() < {"winter": 0.22, "mild": 0.08, "summer": 0.0}[warmth] and layered
    if layered:  # what is below is thin, so that what is over it does not swell
        sleeve = top.sleeve if rng.random() < 0.25 else min(top.sleeve, max(outer.sleeve - 0.08, 0.3))
        top = replace(top, ease=min(top.ease, 0.012), hood=False, sleeve=sleeve)
    end = float(rng.uniform(0.12, 0.45)) if rng.random() < 0.55 else NECK
    return Outfit(bottom, top, outer if layered else None, scarf if scarfed else None, end)
