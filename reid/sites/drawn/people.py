"""Who a drawn person is: build, face, hair and clothes, drawn from one generator and a season's palette."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from reid.sites.drawn.canvas import Colour

# One wardrobe for every site: seasons only weight it, so that clothes alone do not tell the sites apart.
WARDROBE: dict[str, Colour] = {
    "black": (40, 40, 46),
    "charcoal": (78, 80, 88),
    "grey": (150, 152, 158),
    "white": (238, 236, 230),
    "navy": (38, 54, 98),
    "blue": (58, 108, 178),
    "sky": (150, 190, 222),
    "red": (196, 54, 52),
    "burgundy": (116, 36, 56),
    "pink": (228, 152, 164),
    "mustard": (220, 170, 60),
    "orange": (224, 120, 54),
    "olive": (108, 114, 64),
    "green": (50, 122, 84),
    "teal": (44, 130, 136),
    "beige": (212, 190, 152),
    "brown": (122, 84, 58),
    "purple": (114, 82, 144),
}

_DARK = {"black": 6.0, "charcoal": 4.0, "navy": 5.0, "burgundy": 1.2, "brown": 1.4}
_LIGHT = {"white": 6.0, "sky": 2.5, "beige": 2.5, "grey": 3.0}
SEASONS: dict[str, dict[str, float]] = {  # weights of the wardrobe's colours; a colour not named weighs 1
    "summer": {**_LIGHT, "navy": 4.0, "blue": 2.0, "black": 3.0, "mustard": 1.2, "pink": 1.2},
    "autumn": {**_DARK, "beige": 2.0, "olive": 1.6, "white": 2.5, "grey": 3.0},
    "winter": {**_DARK, "grey": 3.0, "white": 2.0, "blue": 1.5},
}
_LOWER = {"black": 3.0, "charcoal": 2.0, "navy": 3.0, "blue": 2.6, "beige": 1.6, "grey": 1.4, "brown": 1.0,
          "olive": 1.0, "white": 0.8, "burgundy": 0.5, "green": 0.4, "red": 0.4, "pink": 0.4}  # fmt: skip

SKINS: tuple[Colour, ...] = (
    (246, 212, 186), (234, 190, 156), (214, 162, 124), (180, 126, 90), (138, 92, 64), (98, 64, 46),
)  # fmt: skip
HAIRS: tuple[Colour, ...] = (
    (36, 30, 30), (66, 46, 36), (108, 72, 44), (172, 124, 70), (214, 178, 112), (150, 66, 40), (168, 166, 166),
)  # fmt: skip

HAIR_STYLES = ("bald", "short", "bob", "long", "bun", "ponytail", "curly")
HATS = ("none", "cap", "beanie", "brim", "headscarf")
PATTERNS = ("plain", "hoops", "pinstripes", "check", "dots", "block", "band", "sash", "argyle")
GRAPHICS = ("none", "disc", "ring", "square", "triangle", "star", "heart", "cross", "bars", "number")
SLEEVES = ("long", "short", "none")
OUTERS = ("none", "coat", "jacket")
LOWERS = ("trousers", "shorts", "skirt", "long skirt")
BAGS = ("none", "backpack", "crossbody", "tote", "suitcase")


@dataclass(frozen=True)
class Person:
    """The traits that stay with an identity in every image; lengths are factors of the mean body's."""

    height: float
    width: float
    shoulders: float
    hips: float
    head: float
    skin: Colour
    hair: Colour
    hair_style: str
    beard: bool
    glasses: bool
    hat: str
    hat_colour: Colour
    scarf: Colour | None
    outer: str
    outer_colour: Colour
    pattern: str
    upper: tuple[Colour, Colour]  # ground and figure of the pattern
    pitch: float  # the pattern's period, in layer pixels
    sleeves: str
    sleeve_colour: Colour | None  # None: as the upper garment
    front_graphic: str
    back_graphic: str
    graphic_colour: Colour
    number: int
    lower: str
    lower_colour: Colour
    stripe: Colour | None  # along trousers and shorts, around a skirt's hem
    socks: Colour | None
    shoes: Colour
    sole: Colour
    boots: bool
    bag: str
    bag_colour: Colour
    bag_side: int  # +1: the person's left hand


def _contrast(a: Colour, b: Colour) -> float:
    return float(np.abs(np.subtract(a, b)).sum())


def _choose(rng: np.random.Generator, weights: dict[str, float]) -> str:
    names = list(weights)
    shares = np.array([weights[name] for name in names])
    return names[int(rng.choice(len(names), p=shares / shares.sum()))]


def _colour(rng: np.random.Generator, weights: dict[str, float], apart_from: Colour | None = None) -> Colour:
    """A wardrobe colour; with `apart_from`, one that can be seen on it."""
    allowed = {
        name: weight
        for name, weight in weights.items()
        if apart_from is None or _contrast(WARDROBE[name], apart_from) > 150
    }
    return WARDROBE[_choose(rng, allowed)]


def _chance(rng: np.random.Generator, probability: float) -> bool:
    return bool(rng.random() < probability)


def sample_person(rng: np.random.Generator, season: str) -> Person:
    """A person dressed for `season`, a key of SEASONS. Every draw is made, in one order, whatever is worn."""
    warm = season == "summer"
    palette = {name: SEASONS[season].get(name, 1.0) for name in WARDROBE}
    ground = _colour(rng, palette)
    figure = _colour(rng, palette, apart_from=ground)
    outer_colour = _colour(rng, palette, apart_from=ground)
    graphic_colour = _colour(rng, palette, apart_from=ground)
    sleeve_colour = _colour(rng, palette, apart_from=ground)
    lower_colour = _colour(rng, _LOWER)
    stripe = _colour(rng, palette, apart_from=lower_colour)
    scarf = _colour(rng, palette, apart_from=ground)
    curvy = _chance(rng, 0.5)
    hair_style = _choose(
        rng,
        {"bald": 0.3, "short": 0.6, "bob": 1.6, "long": 1.8, "bun": 1.2, "ponytail": 1.4, "curly": 0.8}
        if curvy
        else {"bald": 1.0, "short": 3.6, "bob": 0.4, "long": 0.4, "bun": 0.2, "ponytail": 0.2, "curly": 0.9},
    )
    outer = _choose(rng, {"none": 3.0 if warm else 1.6, "coat": 0.6 if warm else 1.2, "jacket": 1.0 if warm else 1.2})
    return Person(
        height=float(rng.uniform(0.9, 1.03)),
        width=float(rng.uniform(0.86, 1.16)),
        shoulders=float(rng.uniform(0.86, 0.98) if curvy else rng.uniform(0.98, 1.14)),
        hips=float(rng.uniform(1.0, 1.18) if curvy else rng.uniform(0.88, 1.02)),
        head=float(rng.uniform(0.94, 1.08)),
        skin=SKINS[rng.choice(len(SKINS), p=[0.24, 0.24, 0.18, 0.14, 0.12, 0.08])],
        hair=HAIRS[rng.choice(len(HAIRS), p=[0.26, 0.22, 0.18, 0.1, 0.09, 0.06, 0.09])],
        hair_style=hair_style,
        beard=_chance(rng, 0.3) and not curvy,
        glasses=_chance(rng, 0.22),
        hat=_choose(rng, {"none": 6.0, "cap": 1.4, "beanie": 0.5 if warm else 1.4, "brim": 0.8, "headscarf": 0.5}),
        hat_colour=_colour(rng, palette),
        scarf=scarf if _chance(rng, 0.08 if warm else 0.26) else None,
        outer=outer,
        outer_colour=outer_colour,
        pattern=_choose(rng, {name: 6.0 if name == "plain" else 1.0 for name in PATTERNS}),
        upper=(ground, figure),
        pitch=float(rng.choice([15.0, 20.0, 26.0])),
        sleeves=_choose(rng, {"long": 1.0, "short": 2.0, "none": 0.4} if warm else {"long": 3.0, "short": 0.6}),
        sleeve_colour=sleeve_colour if _chance(rng, 0.15) else None,
        front_graphic=_choose(rng, {name: 14.0 if name == "none" else 1.0 for name in GRAPHICS}),
        back_graphic=_choose(rng, {name: 16.0 if name == "none" else 1.0 for name in GRAPHICS}),
        graphic_colour=graphic_colour,
        number=int(rng.integers(1, 10)),
        lower=_choose(
            rng,
            {
                "trousers": 3.0 if warm else 5.0,
                "shorts": 1.6 if warm else 0.5,
                "skirt": 1.4 if curvy else 0.04,
                "long skirt": 0.9 if curvy else 0.04,
            },
        ),
        lower_colour=lower_colour,
        stripe=stripe if _chance(rng, 0.15) else None,
        socks=WARDROBE["white"] if _chance(rng, 0.4) else None,
        shoes=_colour(rng, {"black": 2.4, "white": 2.4, "brown": 1.6, "grey": 1, "red": 0.8, "navy": 0.8, "blue": 0.5}),
        sole=(236, 236, 232) if _chance(rng, 0.5) else (50, 46, 46),
        boots=_chance(rng, 0.08 if warm else 0.25),
        bag=_choose(rng, {"none": 4.5, "backpack": 1.5, "crossbody": 1.1, "tote": 1.0, "suitcase": 0.7}),
        bag_colour=_colour(rng, palette, apart_from=ground),
        bag_side=1 if _chance(rng, 0.5) else -1,
    )
