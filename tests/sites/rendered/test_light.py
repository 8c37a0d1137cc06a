from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from rendered_shapes import box

from reid.sites.rendered.light import (
    Lamp,
    Light,
    direction,
    ground_shadow,
    lay_on,
    occlusion,
    self_shadow,
    shade,
)
from reid.sites.rendered.raster import Fragments, rasterise
from reid.sites.rendered.view import Aim, make_view

FRONT = Lamp(direction(0.0, 0.6), (0.8, 0.8, 0.8), 0.0)
LIGHT = Light((FRONT,), (0.4, 0.5, 0.6), (0.1, 0.1, 0.1), 1.0, 1.0, 0.5)
AIM = Aim(0.0, 3.0, 8.0, 0.0, 0.3, 0.8, (0.0, 0.0), (1.0, 1.0), (0.0, 0.0))


def _fragments(normals):
    normals = np.array(normals, np.float32)
    count = len(normals)
    zeros = np.zeros(count, np.int32)
    return Fragments(zeros, zeros, zeros, np.zeros((count, 4)), normals, np.zeros((count, 3)))


def _shaded(normals, light, open_=1.0, lit=1.0):
    count = len(normals)
    albedo = np.full((count, 3), 0.6, np.float32)
    return shade(albedo, _fragments(normals), light, np.full(count, open_, np.float32), np.full(count, lit, np.float32))


def test_shade_is_the_sum_of_lamps_and_sky():
    normals = np.array([[0, -1, 0], [0, 0, 1], [0, 0, -1], [0.6, 0.8, 0], [0, -0.6, 0.8]], np.float32)
    to = np.array(FRONT.direction)
    for open_, lit in ((1.0, 1.0), (0.4, 0.3)):
        expected = []
        for normal in normals:
            up = 0.5 + 0.5 * normal[2]
            ambient = (np.array(LIGHT.ground) * (1 - up) + np.array(LIGHT.sky) * up) * open_
            linear = 0.6**2.2 * (ambient + max(0, normal @ to) * lit * np.array(FRONT.colour))
            expected.append(np.clip(linear, 0, 1) ** (1 / 2.2))
        np.testing.assert_allclose(_shaded(normals, LIGHT, open_, lit), expected, rtol=1e-4)


def test_soft_lamps_reach_what_is_turned_away():
    hard, soft = (replace(LIGHT, lamps=(replace(FRONT, softness=value),)) for value in (0.0, 0.8))
    away = [[0, 0.3, -0.954]]
    assert _shaded(away, soft).sum() > _shaded(away, hard).sum()
    assert direction(np.pi / 2, 0.0) == pytest.approx((1, 0, 0))


def test_a_box_shadows_what_lies_behind_it_and_not_itself():
    vertices, faces = box((-0.2, -0.2, 0), (0.2, 0.2, 1.8))
    lamp = Lamp(direction(0.0, 0.5), (1, 1, 1), 0.0)
    behind, beside = [[0.0, 0.6, 0.8], [0.0, 0.4, 0.1]], [[0.6, 0.0, 1.0], [0.0, 4.0, 1.0]]
    front = [[0.0, -0.2, 0.5], [0.1, -0.2, 1.0], [0.0, 0.0, 1.8]]
    positions = np.array(behind + beside + front, np.float32)
    np.testing.assert_allclose(
        self_shadow(replace(LIGHT, lamps=(lamp,)), vertices, faces, positions), [0, 0, 1, 1, 1, 1, 1]
    )
    faint = replace(LIGHT, lamps=(replace(lamp, colour=(0.05, 0.05, 0.05)),))
    np.testing.assert_array_equal(self_shadow(faint, vertices, faces, positions), 1)


def test_what_lies_behind_its_surroundings_gets_less_of_the_sky():
    near, faces = box((-0.3, -0.1, 0), (-0.05, 0.1, 1.8))
    far, more = box((-0.05, 0.3, 0), (0.3, 0.5, 1.8))
    vertices, faces = np.concatenate([near, far]), np.concatenate([faces, more + 8])
    view = make_view(AIM, vertices, 128, 64)
    points = view.project(vertices)
    buffer = rasterise(points, faces, np.zeros(len(faces), bool), 128, 64)
    open_ = occlusion(buffer, view)
    assert ((open_ > 0) & (open_ <= 1)).all()
    seen = buffer.triangles[64]
    edge = int(np.flatnonzero(seen >= 12)[0])
    assert open_[64, edge + 1] < 0.6 * open_[64, np.flatnonzero(seen >= 12)[-1]] + 0.3
    assert open_[64, edge + 1] < open_[64, edge - 2]


def _shadow(light):
    vertices, faces = box((-0.2, -0.2, 0), (0.2, 0.2, 1.8))
    view = make_view(AIM, vertices, 256, 128)
    return ground_shadow(vertices, faces, light, view), view


def test_the_shadow_falls_away_from_the_sun():
    left, view = _shadow(replace(LIGHT, lamps=(Lamp(direction(np.pi / 2, 0.8), (1.5, 1.5, 1.5), 0.0),), contact=0.0))
    assert left.shape == (256, 128) and left.min() > 0 and left.max() == pytest.approx(1)
    points = np.array([[-0.7, 0, 0], [0.7, 0, 0]], np.float32)
    (away_x, away_y), (to_x, to_y) = view.project(points)[:, :2].astype(int)
    assert left[away_y, away_x] < 0.75
    assert left[to_y, to_x] > 0.99


def test_without_shadow_and_contact_the_ground_stays_as_it_is():
    left, _ = _shadow(replace(LIGHT, shadow=0.0, contact=0.0))
    np.testing.assert_array_equal(left, 1)
    image = np.full((256, 128, 3), 0.5, np.float32)
    lay_on(image, left)
    np.testing.assert_allclose(image, 0.5)
    lay_on(image, left * 0.5)
    np.testing.assert_allclose(image**2.2, 0.5 * 0.5**2.2, rtol=1e-4)
