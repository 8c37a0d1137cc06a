from dataclasses import replace
from typing import get_args

import numpy as np
import pytest

from reid.sites.rendered.body.body import Body, Phenotype, Shape, load_body
from reid.sites.rendered.wear import hair, hats
from reid.sites.rendered.wear.attach import EYES, MOUTH
from reid.sites.rendered.wear.hair import STYLES, Hair, Worn, hair_mesh, sample_hair
from reid.sites.rendered.wear.hats import Hat, hat_mesh, hood_mesh, sample_hat
from reid.sites.rendered.wear.head import Head, head_mesh, paint_head, sample_head
from reid.sites.rendered.wear.mesh import Floats, Label, Mesh


@pytest.fixture(scope="module")
def body() -> Body:
    return load_body()


@pytest.fixture(scope="module")
def shape(body: Body) -> Shape:
    return body.shaped(Phenotype(gender=0.9, height=0.3))


def styled(style: hair.Style) -> Hair:
    rng = np.random.default_rng(1)
    return next(found for found in (sample_hair(rng, True, 25, 0.3) for _ in range(5000)) if found.style == style)


def worn(kind: hats.Kind) -> Hat:
    rng = np.random.default_rng(1)
    cloth = sample_hat(rng, True).cloth
    return next(hat for hat in (sample_hat(rng, True, cloth) for _ in range(5000)) if hat.kind == kind)


def check(mesh: Mesh, body: Body) -> None:
    """Finite, whole, with weights that sum to 1."""
    assert np.isfinite(mesh.vertices).all() and np.isfinite(mesh.coords).all()
    assert mesh.faces.min() >= 0 and mesh.faces.max() < len(mesh.vertices)
    assert mesh.bones.max() < len(body.bones)
    np.testing.assert_allclose(mesh.weights.sum(1), 1, atol=1e-5)
    assert {array.dtype for array in (mesh.vertices, mesh.weights, mesh.coords)} == {np.dtype(np.float32)}


def test_every_style_and_kind_has_a_share() -> None:
    assert get_args(hair.Style) == STYLES and get_args(hats.Kind) == hats.KINDS
    assert set(hats.EDGES) == set(hats.KINDS) - {"none"}


@pytest.mark.parametrize("style", [style for style in STYLES if style != "bald"])
def test_hair_covers_the_crown_and_leaves_the_face(style: hair.Style, body: Body, shape: Shape) -> None:
    mesh = hair_mesh(styled(style), body, shape, Worn(0.01, 0.0))
    check(mesh, body)
    skin = shape.vertices["body"]
    assert mesh.vertices[:, 2].max() > skin[:, 2].max()
    # nothing before eyes and mouth
    eyes = shape.heads[body.bone("head")] + (0, 0, EYES - 0.7185)
    before = mesh.vertices[(np.abs(mesh.vertices[:, 0]) < 0.03) & (mesh.vertices[:, 1] < skin[:, 1].min() * 0.4 - 0.05)]
    if len(before):
        assert before[:, 2].min() > eyes[2]


def test_the_bald_have_none(body: Body, shape: Shape) -> None:
    assert not len(hair_mesh(replace(styled("short"), style="bald"), body, shape, Worn(0.01, 0.0)).vertices)


def test_long_hair_lies_on_what_is_worn(body: Body, shape: Shape) -> None:
    long = replace(styled("long"), tip=0.35, before=False)
    thin, thick = (hair_mesh(long, body, shape, Worn(clearance, 0.0)) for clearance in (0.0, 0.05))
    low = thin.vertices[:, 2] < thin.vertices[:, 2].min() + 0.05
    assert 0.04 < np.median(thick.vertices[low, 1] - thin.vertices[low, 1]) < 0.06


def test_long_hair_falls_over_a_hood(body: Body, shape: Shape) -> None:
    long = replace(styled("long"), tip=0.35, before=False)
    over, without = (hair_mesh(long, body, shape, Worn(0.01, hood)).vertices for hood in (0.05, 0.0))
    apart = (over - without)[:, 1]
    assert apart.max() > 0.03 and apart.min() >= 0
    assert apart[without[:, 2] < without[:, 2].min() + 0.05].max() < 0.005


def test_a_hat_presses_the_hair_down(body: Body, shape: Shape) -> None:
    afro = styled("afro")
    worn = Worn(0.01, 0.0)
    free, pressed = hair_mesh(afro, body, shape, worn), hair_mesh(afro, body, shape, worn, flat_above=0.77)
    assert pressed.vertices[:, 2].max() < free.vertices[:, 2].max() - 0.02


def test_a_new_colour_for_every_call_and_the_same_again() -> None:
    first, again = np.random.default_rng(4), np.random.default_rng(4)
    for age in (15, 40, 80):
        one, other = sample_hair(first, True, age, 0.2), sample_hair(again, True, age, 0.2)
        np.testing.assert_array_equal(one.colour, other.colour)
        assert one.phases == other.phases


@pytest.mark.parametrize("kind", ["cap", "beanie", "brimmed", "headscarf", "hood", "helmet"])
def test_hats_stand_off_the_skull(kind: hats.Kind, body: Body, shape: Shape) -> None:
    mesh = hat_mesh(worn(kind), body, shape)
    check(mesh, body)
    assert mesh.vertices[:, 2].max() > shape.vertices["body"][:, 2].max() + 0.005


def test_as_many_wear_hats_as_stated() -> None:
    rng = np.random.default_rng(0)
    kinds = [sample_hat(rng, bool(number % 2)).kind for number in range(3000)]
    assert 0.11 < np.mean([kind != "none" for kind in kinds]) < 0.16
    assert "hood" not in kinds  # none of them wears a garment with one


def test_a_hood_on_the_back_is_behind_the_neck(body: Body, shape: Shape) -> None:
    mesh = hood_mesh(body, shape)
    check(mesh, body)
    neck = shape.heads[body.bone("neck01")]
    assert mesh.vertices[:, 1].max() > neck[1] + 0.08
    assert abs(mesh.vertices[:, 0].mean()) < 0.01


def painted(head: Head, places: list[tuple[float, float, float]]) -> Floats:
    coords = np.array([(*place, 0) for place in places], np.float32)
    colours = np.full((len(places), 3), 0.7, np.float32)
    paint_head(head, np.full(len(places), int(Label.SKIN_HEAD), np.int32), coords, colours)
    return colours


def test_eyes_are_dark_and_cheeks_are_not() -> None:
    head = sample_head(np.random.default_rng(3), True, 30, 0.2)
    head = replace(head, glasses="none", mask="none")
    eye, cheek = painted(head, [(0.031, -0.13, EYES), (0.045, -0.12, EYES - 0.035)])
    assert eye.mean() < 0.35
    np.testing.assert_allclose(cheek, 0.7)


@pytest.mark.parametrize(
    ("trait", "value", "place"), [("beard", "full", (0.0, -0.14, 0.67)), ("mask", "mouth", (0.0, -0.15, MOUTH))]
)
def test_beard_and_mask_hide_the_skin(trait: str, value: str, place: tuple[float, float, float]) -> None:
    head = replace(sample_head(np.random.default_rng(3), False, 30, 0.2), mask="none", beard="none", density=1.0)
    changed = replace(head, **{trait: value})  # type: ignore[arg-type]
    assert np.abs(painted(changed, [place]) - painted(head, [place])).max() > 0.1


def test_sunglasses_darken_both_eyes() -> None:
    head = replace(sample_head(np.random.default_rng(3), False, 30, 0.2), mask="none", glasses="sun")
    assert painted(head, [(-0.031, -0.13, EYES), (0.031, -0.13, EYES)]).max() < 0.1


def test_no_hair_is_seen_below_a_headscarf(body: Body, shape: Shape) -> None:
    head = replace(sample_head(np.random.default_rng(3), True, 30, 0.2), hat=worn("headscarf"), beard="none")
    mesh = head_mesh(head, body, shape)
    assert set(np.unique(mesh.labels)) == {Label.HEADSCARF, Label.HEADSCARF_END}
    bald = replace(head, hat=worn("none"), hair=replace(head.hair, style="bald"))
    assert not len(head_mesh(bald, body, shape).vertices)
