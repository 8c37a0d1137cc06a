from dataclasses import replace
from typing import get_args

import numpy as np
import pytest

from reid.sites.rendered.body.body import Body, Phenotype, Shape, load_body
from reid.sites.rendered.wear import bags as module
from reid.sites.rendered.wear.bags import (
    HANGING,
    KINDS,
    SHARES,
    Bag,
    bag_mesh,
    carried,
    hanging,
    paint_bag,
    paint_straps,
    sample_bag,
)
from reid.sites.rendered.wear.mesh import Floats, Label


@pytest.fixture(scope="module")
def body() -> Body:
    return load_body()


@pytest.fixture(scope="module")
def shape(body: Body) -> Shape:
    return body.shaped(Phenotype(weight=0.6, height=0.45))


def bag_of(kind: module.Kind, side: int = 1) -> Bag:
    rng = np.random.default_rng(2)
    found = next(bag for bag in (sample_bag(rng, True) for _ in range(2000)) if bag.kind == kind)
    return replace(found, side=side)


def test_every_kind_has_a_share_and_a_size() -> None:
    assert get_args(module.Kind) == KINDS == tuple(module._SIZES)
    np.testing.assert_allclose(np.sum(list(SHARES.values()), 0), 1)


def still(body: Body) -> Floats:
    return np.tile(np.eye(4, dtype=np.float32), (len(body.bones), 1, 1))


@pytest.mark.parametrize("kind", KINDS[1:])
@pytest.mark.parametrize("side", [1, -1])
def test_bags_are_on_their_side(kind: module.Kind, side: int, body: Body, shape: Shape) -> None:
    mesh = bag_mesh(bag_of(kind, side), body, shape)
    assert np.isfinite(mesh.vertices).all() and mesh.faces.max() < len(mesh.vertices)
    assert set(np.unique(mesh.labels)) <= {Label.BAG, Label.BAG_PART, Label.STRAP}
    if kind == "backpack":
        assert abs(mesh.vertices[:, 0].mean()) < 0.01
    else:
        assert mesh.vertices[:, 0].mean() * side > 0.1
    corners = mesh.vertices[mesh.faces[mesh.labels == Label.BAG]].astype(np.float64)
    corners -= corners.mean((0, 1))
    assert (corners[:, 0] * np.cross(corners[:, 1], corners[:, 2])).sum() > 0  # faces outwards


def test_a_backpack_lies_on_what_is_worn(body: Body, shape: Shape) -> None:
    bag = bag_of("backpack")
    near, far = (bag_mesh(bag, body, shape, clearance).vertices for clearance in (0.0, 0.04))
    np.testing.assert_allclose(far - near, np.broadcast_to([0, 0.04, 0], near.shape), atol=1e-5)
    assert near[:, 1].max() > shape.vertices["body"][:, 1].max() - 0.01


@pytest.mark.parametrize("kind", sorted(HANGING - {"suitcase"}))
def test_hanging_bags_stay_upright_below_the_hand(kind: module.Kind, body: Body, shape: Shape) -> None:
    bag, matrices = bag_of(kind), still(body)
    rest = hanging(bag, body, shape, matrices, -0.8)
    np.testing.assert_allclose(rest, bag_mesh(bag, body, shape).vertices, atol=1e-5)
    wrist = body.bone("wrist.L")
    tilt = np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]], np.float32)
    matrices[wrist, :3, :3] = tilt
    matrices[wrist, :3, 3] = (0, 0, 0.1) + shape.heads[wrist] - tilt @ shape.heads[wrist]
    moved = hanging(bag, body, shape, matrices, -0.8)
    offset = moved - rest  # the bag is not turned, though the hand is
    np.testing.assert_allclose(offset, np.broadcast_to(offset[:1], offset.shape), atol=1e-5)


def test_a_hanging_bag_turns_with_the_person(body: Body, shape: Shape) -> None:
    bag, matrices = bag_of("tote"), still(body)
    rest = hanging(bag, body, shape, matrices, 0.0)
    turn = np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1]], np.float32)
    matrices[:, :3, :3] = turn
    np.testing.assert_allclose(hanging(bag, body, shape, matrices, 0.0), rest @ turn.T, atol=1e-5)


def test_a_suitcase_stands_on_the_ground_and_reaches_the_hand(body: Body, shape: Shape) -> None:
    bag, matrices = bag_of("suitcase"), still(body)
    for ground in (-0.8, -0.9):
        vertices = hanging(bag, body, shape, matrices, ground)
        assert abs(vertices[:, 2].min() - ground) < 0.02
        hand = shape.heads[body.bone("wrist.L"), 2]
        assert abs(vertices[:, 2].max() - hand) < 0.1


def test_bags_are_put_down_as_often_as_stated() -> None:
    rng = np.random.default_rng(0)
    bag = replace(bag_of("tote"), presence=0.7)
    assert 0.65 < np.mean([carried(rng, bag) for _ in range(2000)]) < 0.75
    nothing = replace(bag, kind="none")
    first, other = np.random.default_rng(5), np.random.default_rng(5)
    assert not carried(first, nothing)
    carried(other, bag)
    assert first.random() == other.random()  # one draw in either case


@pytest.mark.parametrize(
    ("kind", "place"),
    [("backpack", (0.095, -0.1, 0.5)), ("shoulder", (0.125, -0.1, 0.52)), ("crossbody", (-0.071, -0.1, 0.56))],
)
def test_straps_lie_on_the_shoulder(kind: module.Kind, place: tuple[float, float, float]) -> None:
    coords = np.array([(*place, 0), (0.0, -0.1, 0.2, 0), (*place[:2], -0.3, 0)], np.float32)
    colours = np.full((3, 3), -1, np.float32)
    bag = bag_of(kind)
    paint_straps(bag, coords, colours)
    np.testing.assert_array_equal(colours[0], bag.strap)
    assert (colours[2] == -1).all()
    colours[:] = -1
    paint_straps(bag_of("tote"), coords, colours)
    assert (colours == -1).all()


def test_paint_touches_bags_only() -> None:
    labels = np.array([Label.BAG, Label.BAG_PART, Label.STRAP, Label.UPPER], np.int32)
    colours = np.full((4, 3), -1, np.float32)
    paint_bag(bag_of("backpack"), labels, np.zeros((4, 4), np.float32), colours)
    assert (colours[:3] >= 0).all() and (colours[:3] <= 1).all() and (colours[3] == -1).all()
