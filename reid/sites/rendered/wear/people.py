"""People who never lived: body, skin, head, clothes and what they carry, drawn from one generator each."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from reid.sites.rendered.body.body import AVERAGE_HEIGHT, OLD, YOUNG, YOUNGEST, Phenotype
from reid.sites.rendered.body.pose import Habits, sample_habits
from reid.sites.rendered.wear.bags import Bag, sample_bag
from reid.sites.rendered.wear.head import Head, sample_head
from reid.sites.rendered.wear.outfit import Outfit, Wardrobe, sample_outfit
from reid.sites.rendered.wear.palette import Colour, colour, skin_colour
from reid.sites.rendered.wear.shoes import Shoes, sample_shoes


@dataclass(frozen=True)
class Person:
    """All that stays with somebody from image to image."""

    female: bool
    phenotype: Phenotype
    habits: Habits
    skin: Colour
    head: Head
    outfit: Outfit
    shoes: Shoes
    bag: Bag  # of the kind "none": has none
    sock: Colour
    sock_top: float  # height of coords, below the ground: no socks


_LONG = -0.72  # height of a hem at the ankles
_SLIM = 0.057  # radius of trousers at the ankle that go into boots


# how many people are mostly African, Asian (East and South), Caucasian, and how dark their skin is: mean and scatter
_PEOPLES = (
    (0.18, (1.0, 0.0, 0.0), 0.80, 0.13),
    (0.42, (0.0, 1.0, 0.0), 0.36, 0.16),
    (0.40, (0.0, 0.0, 1.0), 0.20, 0.14),
)


def _phenotype(rng: np.random.Generator, female: bool, main: tuple[float, float, float]) -> Phenotype:
    age = float(
        rng.choice([rng.uniform(0.56, 0.64), rng.uniform(0.64, 0.80), rng.uniform(0.80, 0.96)], p=[0.1, 0.68, 0.22])
    )
    mixed = np.array(main) + rng.uniform(0, 0.35, 3)
    height = float(np.clip(rng.normal(AVERAGE_HEIGHT, 0.055), 0.22, 0.55))  # a standard deviation of 6 cm
    weight = float(np.clip(rng.normal(0.36 + 0.25 * (age - 0.67), 0.14), 0.05, 0.85))
    gender = float(np.clip((0.86 if female else 0.12) + rng.normal(0, 0.08), 0, 1))
    muscle = float(np.clip(rng.normal(0.45 if female else 0.55, 0.14), 0.1, 0.9))
    proportions = float(rng.uniform(0.2, 0.8))
    african, asian, caucasian = (float(share) for share in mixed / mixed.sum())
    return Phenotype(age, gender, muscle, weight, height, proportions, african, asian, caucasian)


def _years(age: float) -> float:
    """Years of an age on the scale of Phenotype."""
    return float(np.interp(age, [YOUNGEST, YOUNG, OLD], [14, 25, 90]))


def _in_boots(outfit: Outfit, shoes: Shoes) -> Outfit:
    """Slim trousers end in the shafts of boots."""
    bottom = outfit.bottom
    if bottom.skirt or shoes.kind != "boots" or shoes.top < -0.68 or bottom.ankle > _SLIM or bottom.hem > shoes.top:
        return outfit
    return replace(outfit, bottom=replace(bottom, hem=shoes.top - 0.03, ankle=min(bottom.ankle, 0.045)))


def _covered(outfit: Outfit) -> Outfit:
    """With long sleeves, trousers or a skirt down to the ankles, and no scarf: as who wears a headscarf dresses."""
    bottom, top = outfit.bottom, outfit.top
    if bottom.skirt or bottom.hem > _LONG:
        bottom = replace(bottom, hem=min(bottom.hem, _LONG), ankle=max(bottom.ankle, _SLIM), tights=None)
    return replace(outfit, bottom=bottom, top=replace(top, sleeve=max(top.sleeve, 0.95)), scarf=None)


def sample_person(rng: np.random.Generator, wardrobe: Wardrobe) -> Person:
    """Somebody of 14 years or more, dressed as `wardrobe` says."""
    female = bool(rng.random() < 0.5)
    people = _PEOPLES[int(rng.choice(3, p=[share for share, *_ in _PEOPLES]))]
    phenotype = _phenotype(rng, female, people[1])
    depth = float(np.clip(rng.normal(people[2], people[3]), 0, 1))
    skin = skin_colour(rng, depth)
    outfit = sample_outfit(rng, wardrobe, female)
    socks = {"black": 45, "white": 25, "grey": 10, "charcoal": 10, "navy": 5, "red": 1, "pink": 1, "beige": 3}
    sock, sock_top = colour(rng, socks), float(rng.choice([-0.79, -0.70, -0.62], p=[0.4, 0.4, 0.2]))
    habits, shoes, bag = sample_habits(rng), sample_shoes(rng, female), sample_bag(rng, female)
    hood = None if outfit.hooded is None else outfit.hooded.cloth
    head = sample_head(rng, female, _years(phenotype.age), depth, hood)
    if head.hat.kind == "headscarf":
        outfit = _covered(outfit)
    bare = bool(shoes.open) or (outfit.bottom.skirt and sock_top > -0.75)
    return Person(
        female,
        phenotype,
        habits,
        skin,
        head,
        _in_boots(outfit, shoes),
        shoes,
        bag,
        sock,
        -1.0 if bare else sock_top,
    )
