"""People drawn, dressed, posed and painted."""

from dataclasses import dataclass, replace

import numpy as np
import pytest

from reid.sites.rendered.body.body import YOUNGEST, load_body
from reid.sites.rendered.body.pose import Carrying
from reid.sites.rendered.wear.bags import HANGING
from reid.sites.rendered.wear.dress import _ARMS, Dressed, dress
from reid.sites.rendered.wear.garments import HIPS, opening
from reid.sites.rendered.wear.mesh import Label
from reid.sites.rendered.wear.outfit import Outfit, Wardrobe
from reid.sites.rendered.wear.people import Person, sample_person

COUNT = 16


@dataclass(frozen=True)
class _Seen:
    labels: np.ndarray
    coords: np.ndarray
    normals: np.ndarray


def _person(seed: int, wardrobe: Wardrobe = Wardrobe.MIXED) -> Person:
    return sample_person(np.random.default_rng(seed), wardrobe)


def _still() -> np.ndarray:
    return np.broadcast_to(np.eye(4, dtype=np.float32), (len(load_body().bones), 4, 4)).copy()


@pytest.fixture(scope="module")
def dressed() -> list[Dressed]:
    return [dress(_person(seed), load_body()) for seed in range(COUNT)]


def _seen(one: Dressed) -> _Seen:
    """The middle of every triangle."""
    normals = np.random.default_rng(0).standard_normal((len(one.faces), 3))
    unit = normals / np.linalg.norm(normals, axis=1, keepdims=True)
    return _Seen(one.labels, one.coords[one.faces].mean(1), unit.astype(np.float32))


def _outfits(wardrobe: Wardrobe) -> list[Outfit]:
    return [_person(seed, wardrobe).outfit for seed in range(60)]


def test_people_come_from_their_seed_alone():
    first, second = dress(_person(7), load_body()), dress(_person(7), load_body())
    np.testing.assert_array_equal(first.mesh.vertices, second.mesh.vertices)
    np.testing.assert_array_equal(first.paint(_seen(first)), second.paint(_seen(second)))
    posed = [one.posed(_still(), np.random.default_rng(1))[0] for one in (first, second)]
    np.testing.assert_array_equal(*posed)
    assert not np.array_equal(_person(7).skin, _person(8).skin)


def test_people_are_youths_adults_and_old_and_as_tall_as_these():
    people = [_person(seed) for seed in range(200)]
    ages = np.array([person.phenotype.age for person in people])
    assert YOUNGEST < ages.min() < 0.6 and (ages < 0.61).mean() < 0.15 and ages.max() > 0.9
    bodies = [load_body().shaped(person.phenotype).vertices["body"] for person in people]
    statures, female = np.array([np.ptp(body[:, 2]) for body in bodies]), np.array([one.female for one in people])
    assert 1.67 < statures[~female].mean() < 1.75 and 1.57 < statures[female].mean() < 1.65
    assert (statures < 1.4).mean() < 0.03


def test_every_way_to_carry_belongs_to_a_bag():
    assert {*_ARMS.values(), Carrying.NOTHING} == set(Carrying)


def test_people_dress_for_the_season():
    layered = {wardrobe: np.mean([o.outer is not None for o in _outfits(wardrobe)]) for wardrobe in Wardrobe}
    assert layered[Wardrobe.SUMMER] < 0.2 < layered[Wardrobe.MIXED] < 0.7 < layered[Wardrobe.WINTER]
    bare = {w: np.mean([not o.bottom.skirt and o.bottom.hem > -0.5 for o in _outfits(w)]) for w in Wardrobe}
    assert bare[Wardrobe.WINTER] < 0.05 and bare[Wardrobe.SUMMER] > 0.15


def test_meshes_are_whole(dressed):
    for one in dressed:
        vertices, coords, faces, labels = one.posed(_still(), np.random.default_rng(0))
        assert len(vertices) == len(coords) == faces.max() + 1
        assert len(faces) == len(labels) and set(labels) <= {int(label) for label in Label}
        assert np.isfinite(vertices).all() and np.abs(vertices).max() < 1.3
        np.testing.assert_allclose(one.mesh.weights.sum(1), 1, atol=1e-4)
        np.testing.assert_allclose(vertices[: len(one.mesh.vertices)], one.mesh.vertices, atol=1e-5)


def test_garments_end_at_their_hems(dressed):
    for one in dressed:
        top = one.person.outfit.outer or one.person.outfit.top
        names = (Label.OUTER, Label.OUTER_TAIL) if one.person.outfit.outer else (Label.UPPER, Label.UPPER_TAIL)
        mine = one.coords[one.faces[np.isin(one.labels, names)]].reshape(-1, 4)
        lowest = mine[mine[:, 3] <= 0, 2].min()
        expected = max(top.hem, HIPS) if top.tucked and not one.person.outfit.outer else top.hem
        if not (one.person.outfit.outer and top.tucked):
            assert lowest == pytest.approx(expected, abs=2e-3)


def test_an_open_front_is_open_in_front_only(dressed):
    for one in dressed:
        outer = one.person.outfit.outer
        if outer is None or not outer.gap:
            continue
        coords = one.coords[one.faces[one.labels == Label.OUTER]].reshape(-1, 4)
        coords = coords[coords[:, 3] <= 0]
        assert opening(outer, coords).min() > -0.02
        assert ((np.abs(coords[:, 0]) < 0.02) & (coords[:, 1] > 0)).any()


def test_cloth_below_the_hips_goes_around_the_legs():
    """Standing as at rest, no part of the legs' surface lies outside a long coat."""
    seed = next(s for s in range(500) if (o := _person(s).outfit.outer) is not None and o.hem < -0.3 and not o.gap)
    one = dress(_person(seed), load_body())
    vertices, _, faces, labels = one.posed(_still(), np.random.default_rng(0))
    coat = vertices[np.unique(faces[labels == Label.OUTER_TAIL])]
    legs = vertices[np.unique(faces[labels == Label.LOWER])]
    for height in np.arange(coat[:, 2].min() + 0.05, coat[:, 2].max() - 0.1, 0.05):
        ring = coat[np.abs(coat[:, 2] - height) < 0.04]
        inside = legs[np.abs(legs[:, 2] - height) < 0.02]
        for angle in np.linspace(0, np.pi, 7):
            direction = np.array([np.cos(angle), np.sin(angle)])
            if len(inside):
                assert (inside[:, :2] @ direction).max() < (ring[:, :2] @ direction).max() + 0.01


def test_a_bag_is_there_in_some_images_and_hangs_below_the_hand():
    seed = next(s for s in range(200) if (b := _person(s).bag).kind in HANGING - {"suitcase"} and b.presence < 0.9)
    one = dress(_person(seed), load_body())
    shown = [one.shown(np.random.default_rng(k)) for k in range(60)]
    assert {look.bag for look in shown} == {True, False}
    without = next(look for look in shown if not look.bag)
    assert one.carrying in (Carrying.LEFT_HAND, Carrying.RIGHT_HAND) and without.carrying is Carrying.NOTHING
    vertices, _, faces, labels = one.posed(_still(), np.random.default_rng(0))
    bag = vertices[faces[labels == Label.BAG]].reshape(-1, 3)
    hand = one.shape.heads[load_body().bone("wrist.L" if one.carrying is Carrying.LEFT_HAND else "wrist.R")]
    assert bag[:, 2].max() < hand[2] and np.abs(bag[:, :2].mean(0) - hand[:2]).max() < 0.2
    assert not (without.labels == Label.BAG).any()


def test_who_wears_a_headscarf_shows_neither_arms_nor_legs():
    women = (_person(seed, Wardrobe.SUMMER) for seed in range(400))
    scarfed = [woman for woman in women if woman.head.hat.kind == "headscarf"]
    assert len(scarfed) > 3
    for woman in scarfed:
        outfit = woman.outfit
        assert outfit.top.sleeve > 0.9 and outfit.scarf is None
        assert outfit.bottom.hem < max(-0.7, woman.shoes.top)  # trousers may end in boots


def test_slim_trousers_go_into_boots():
    for seed in range(100):
        person = _person(seed)
        bottom, shoes = person.outfit.bottom, person.shoes
        if shoes.kind == "boots" and not bottom.skirt and bottom.ankle < 0.05 and shoes.top > -0.6:
            assert bottom.hem >= shoes.top - 0.031


def test_paint_gives_colours_and_folds_are_in_cloth_only(dressed):
    for one in dressed:
        seen = _seen(one)
        colours = one.paint(seen)
        assert colours.shape == (len(seen.labels), 3) and colours.dtype == np.float32
        assert colours.min() >= 0 and colours.max() <= 1
        folds = one.fold(seen, np.random.default_rng(1))
        assert np.isfinite(folds).all() and folds.shape == colours.shape
        assert not folds[(seen.labels <= Label.HAT) | (seen.labels >= Label.SHOE) & (seen.labels <= Label.STRAP)].any()
        assert folds[seen.labels == Label.UPPER].any()


def test_inner_and_outer_garments_have_their_own_colours():
    seed = next(s for s in range(500) if (o := _person(s).outfit.outer) is not None and o.gap > 0.06)
    person = _person(seed)
    black, white = np.zeros(3, np.float32), np.ones(3, np.float32)
    assert person.outfit.outer is not None

    def plain(colour):
        cloth = replace(person.outfit.top.cloth, pattern="plain", base=colour, weave=0, wear=0, quilt=0)
        return {"cloth": cloth, "sleeves": cloth, "details": (), "trim": colour}

    outfit = replace(
        person.outfit,
        top=replace(person.outfit.top, **plain(white)),
        outer=replace(person.outfit.outer, **plain(black)),
    )
    one = dress(replace(person, outfit=outfit), load_body())
    one = one.put_down or one  # without straps
    colours = one.paint(_seen(one))
    assert (colours[one.labels == Label.UPPER] == 1).all()
    assert (colours[np.isin(one.labels, [Label.OUTER, Label.OUTER_TAIL, Label.OUTER_SLEEVE])] == 0).all()
