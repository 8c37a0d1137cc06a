from dataclasses import replace
from typing import get_args

import numpy as np
import pytest

from reid.sites.rendered.body.body import Phenotype, load_body
from reid.sites.rendered.wear import shoes as module
from reid.sites.rendered.wear.attach import SOLES
from reid.sites.rendered.wear.mesh import Label
from reid.sites.rendered.wear.shoes import KINDS, SHARES, Shoes, hidden_feet, paint_shoes, sample_shoes, shoes_mesh


def pair(kind: module.Kind) -> Shoes:
    rng = np.random.default_rng(2)
    return next(found for found in (sample_shoes(rng, True) for _ in range(500)) if found.kind == kind)


def test_every_kind_has_a_share() -> None:
    assert get_args(module.Kind) == KINDS
    np.testing.assert_allclose(np.sum(list(SHARES.values()), 0), 1)


@pytest.mark.parametrize("kind", KINDS)
def test_shoes_enclose_the_feet_and_mirror_each_other(kind: module.Kind) -> None:
    body = load_body()
    shape = body.shaped(Phenotype())
    mesh = shoes_mesh(pair(kind), body, shape)
    left, right = mesh.vertices[mesh.vertices[:, 0] > 0], mesh.vertices[mesh.vertices[:, 0] < 0]
    np.testing.assert_allclose(left.min(0)[1:], right.min(0)[1:], atol=0.004)
    np.testing.assert_allclose(left.max(0)[0], -right.min(0)[0], atol=0.004)
    foot = body.parts["body"].reference
    foot = foot[(foot[:, 2] < -0.78) & (foot[:, 0] > 0)]
    assert left[:, 1].min() < foot[:, 1].min() and left[:, 0].max() > foot[:, 0].max()
    assert left[:, 2].min() < SOLES - 0.005
    np.testing.assert_allclose(mesh.weights.sum(1), 1, atol=0.01)
    names = {body.bones[bone][:4] for bone in np.unique(mesh.bones[mesh.weights > 0])}
    assert names <= {"foot", "toes", "lowe", "uppe"}


def test_high_heels_raise_the_person_and_stand_level() -> None:
    body = load_body()
    shape = body.shaped(Phenotype())
    flat = replace(pair("heels"), heel=0.0, thick=0.01)
    high = replace(flat, heel=0.08)
    low, raised = (shoes_mesh(shoes, body, shape).vertices for shoes in (flat, high))
    assert abs((low[:, 2].min() - raised[:, 2].min()) - 0.08) < 0.006
    heel, ball = raised[raised[:, 1] > 0.0], raised[raised[:, 1] < -0.1]
    assert abs(heel[:, 2].min() - ball[:, 2].min()) < 0.008


def test_feet_are_hidden_and_knees_are_not() -> None:
    body = load_body()
    part = body.parts["body"]
    hidden = hidden_feet(body, pair("trainers"))
    heights = part.reference[part.faces][..., 2]
    assert hidden[(heights < -0.77).all(1)].all() and not hidden[(heights > -0.6).any(1)].any()


def test_open_shoes_keep_what_is_below_and_closed_ones_do_not() -> None:
    labels = np.array([Label.SHOE, Label.SHOE, Label.SOLE, Label.HAT], np.int32)
    coords = np.array([[0.5, 0, 0.9, 0], [0.9, 0, 0.5, 0], [0.5, 0, 0, 0], [0, 0, 0, 0]], np.float32)
    for kind, kept in (("heels", True), ("boots", False)):
        colours = np.full((4, 3), -1, np.float32)
        shoes = pair(kind)  # type: ignore[arg-type]
        paint_shoes(shoes, labels, coords, colours)
        assert (colours[0] == -1).all() == kept
        np.testing.assert_array_equal(colours[1], shoes.colour)
        np.testing.assert_array_equal(colours[2], shoes.sole)
        assert (colours[3] == -1).all()
