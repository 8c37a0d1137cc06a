"""Traits and figures: every choice can be drawn, and the same generator gives the same person."""

from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reid.sites.drawn.body import VIEWS, Pose, draw_person
from reid.sites.drawn.canvas import AXIS, GROUND, capsule, fill, new_layer, shade
from reid.sites.drawn.clothes import pattern_mask, upper_sheet
from reid.sites.drawn.occluders import OCCLUDERS, draw_occluder
from reid.sites.drawn.people import (
    BAGS,
    GRAPHICS,
    HAIR_STYLES,
    HATS,
    LOWERS,
    OUTERS,
    PATTERNS,
    SEASONS,
    SLEEVES,
    WARDROBE,
    sample_person,
)

POSE = Pose("front", 1.0, 0.8)
PLAIN = replace(
    sample_person(np.random.default_rng(0), "summer"),
    hair_style="short",
    hat="none",
    scarf=None,
    outer="none",
    pattern="plain",
    sleeves="long",
    sleeve_colour=None,
    front_graphic="none",
    back_graphic="none",
    lower="trousers",
    bag="none",
)


@given(seed=st.integers(0, 2**32 - 1), season=st.sampled_from(sorted(SEASONS)))
@settings(max_examples=25, deadline=None)
def test_same_generator_gives_same_person(seed: int, season: str) -> None:
    first, second = (sample_person(np.random.default_rng(seed), season) for _ in range(2))
    assert first == second
    assert first.pattern in PATTERNS and first.lower in LOWERS and first.bag in BAGS and first.sleeves in SLEEVES
    assert first.hair_style in HAIR_STYLES and first.hat in HATS and first.outer in OUTERS
    assert first.front_graphic in GRAPHICS and first.back_graphic in GRAPHICS
    assert first.upper[0] in WARDROBE.values() and first.upper[0] != first.upper[1]


def test_people_differ() -> None:
    people = {sample_person(np.random.default_rng([0, pid]), "winter") for pid in range(200)}
    assert len(people) == 200
    for name, choices in {"pattern": PATTERNS, "lower": LOWERS, "bag": BAGS, "hair_style": HAIR_STYLES}.items():
        assert {getattr(person, name) for person in people} == set(choices)


def test_colours_are_shared() -> None:
    """Colours alone must not tell people apart: the same ground colour is worn by many."""
    grounds = [sample_person(np.random.default_rng([1, pid]), "autumn").upper[0] for pid in range(200)]
    assert len(set(grounds)) <= len(WARDROBE)
    assert max(grounds.count(colour) for colour in set(grounds)) >= 10


@pytest.mark.parametrize("view", VIEWS)
def test_figure_fills_its_place(view: str) -> None:
    layer = draw_person(PLAIN, Pose(view, 0.4, 1.0))
    rows = np.flatnonzero(layer[..., 3].max(axis=1))
    assert 15 < rows[0] < 35 and GROUND - 12 <= rows[-1] <= GROUND + 2
    assert layer[100, AXIS, 3] == 255
    assert (layer[..., :3] <= layer[..., 3:]).all(), "colours are premultiplied"


def test_left_mirrors_right_without_a_bag() -> None:
    right, left = (draw_person(PLAIN, Pose(view, 0.9, 1.0)) for view in ("right", "left"))
    np.testing.assert_array_equal(left, right[:, ::-1])


def test_unknown_view() -> None:
    with pytest.raises(ValueError, match="view 'above'"):
        draw_person(PLAIN, Pose("above", 0.0, 1.0))


CHOICES = [
    (name, choice)
    for name, choices in {
        "hair_style": HAIR_STYLES,
        "hat": HATS[1:],
        "outer": OUTERS[1:],
        "pattern": PATTERNS[1:],
        "sleeves": SLEEVES[1:],
        "front_graphic": GRAPHICS[1:],
        "lower": LOWERS[1:],
        "bag": BAGS[1:],
    }.items()
    for choice in choices
    if choice != "short" or name == "sleeves"
]


@pytest.mark.parametrize(("trait", "choice"), CHOICES)
def test_every_trait_shows(trait: str, choice: str) -> None:
    changed = draw_person(replace(PLAIN, **{trait: choice}), POSE)
    assert (changed != draw_person(PLAIN, POSE)).any(axis=2).sum() > 40


def test_back_graphic_shows_from_behind_only() -> None:
    printed = replace(PLAIN, back_graphic="star")
    for view in VIEWS:
        same = np.array_equal(draw_person(printed, Pose(view, 1.0, 0.8)), draw_person(PLAIN, Pose(view, 1.0, 0.8)))
        assert same == (view != "back")


def test_drawing_leaves_the_cached_cloth_alone() -> None:
    before = upper_sheet(PLAIN, "front").copy()
    draw_person(PLAIN, POSE)
    np.testing.assert_array_equal(upper_sheet(PLAIN, "front"), before)


@pytest.mark.parametrize("name", PATTERNS)
def test_pattern_covers_a_part_of_the_chest(name: str) -> None:
    chest = pattern_mask(name, 20.0)[70:140, AXIS - 22 : AXIS + 22]
    assert chest.mean() == 0 if name == "plain" else 0.1 < chest.mean() < 0.75


@pytest.mark.parametrize("kind", OCCLUDERS)
def test_occluders_hide_something(kind: str) -> None:
    assert (draw_occluder(kind, 10.0)[..., 3] == 255).mean() > 0.03


def test_person_holds_plain_values() -> None:
    """Persons are keys of the cloth's cache, so no trait may be an array."""
    for field in fields(PLAIN):
        assert isinstance(getattr(PLAIN, field.name), (str, float, int, bool, tuple, type(None))), field.name


def test_fill_and_shade_keep_alpha() -> None:
    layer = new_layer()
    fill(layer, capsule((0, 50), (0, 90), 10, 10), (200, 100, 40))
    alpha = layer[..., 3].copy()
    shade(layer, 0.5, capsule((0, 60), (0, 80), 10, 10))
    np.testing.assert_array_equal(layer[..., 3], alpha)
    assert abs(int(layer[70, AXIS, 0]) - 100) <= 2 and layer[45, AXIS, 0] == 200
