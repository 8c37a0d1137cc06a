from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from rendered_shapes import box

from reid.sites.rendered.view import Aim, Mount, make_view, sample_aim, turned

MOUNT = Mount(4.0, 9.0, (0.3, 3.4), 0.3, 0.4, 0.03, 0.03, 0.02, 0.4, 0.03, 0.2)
PLAIN = Aim(0.0, 1.5, 10.0, 0.0, 0.0, 0.1, (0.0, 0.0), (1.0, 1.0), (0.0, 0.0))


def _seen(aim, height=128):
    vertices, _ = box((-0.3, -0.2, 0), (0.3, 0.2, 1.8))
    vertices = turned(vertices, aim.azimuth)
    return make_view(aim, vertices, height, height // 2), vertices


def test_a_tight_box_touches_the_person_on_all_sides():
    for roll in (0.0, 0.1):
        view, vertices = _seen(replace(PLAIN, roll=roll, azimuth=0.7))
        points = view.project(vertices)
        np.testing.assert_allclose(points[:, :2].min(axis=0), 0, atol=1e-3)
        np.testing.assert_allclose(points[:, :2].max(axis=0), (64, 128), atol=1e-3)


def test_projection_is_that_of_similar_triangles():
    view, _ = _seen(replace(PLAIN, height=0.9))  # looks along the ground
    points = np.array([[0, 0, 0.9], [0.2, 0, 0.9], [0.2, 10, 0.9], [0, 0, 1.1]], np.float32)
    columns, rows, nearness = view.project(points).T
    np.testing.assert_allclose(1 / nearness, [10, 10, 20, 10], rtol=1e-5)
    assert columns[0] == pytest.approx(32, abs=1e-3) and rows[0] == pytest.approx(64, abs=1e-3)
    assert columns[1] - columns[0] == pytest.approx(2 * (columns[2] - columns[0]), rel=1e-4)
    assert rows[3] < rows[0]  # what is higher is further up
    assert (view.project(np.array([[0, -30, 1]], np.float32))[:, 2] <= 0).all()  # behind the camera


def test_margins_shifts_and_cuts_move_the_window():
    tight, vertices = _seen(PLAIN)
    loose, _ = _seen(replace(PLAIN, margin=0.1))
    assert loose.size[1] == pytest.approx(1.2 * tight.size[1])
    right, _ = _seen(replace(PLAIN, shift=(0.1, 0.0)))
    assert (right.project(vertices)[:, 0] < tight.project(vertices)[:, 0]).all()
    without_feet, _ = _seen(replace(PLAIN, lost=(0.0, 0.2)))
    rows = without_feet.project(vertices)[:, 1]
    assert rows.min() == pytest.approx(0, abs=1e-3) and rows.max() == pytest.approx(160, abs=1e-2)
    wide, _ = _seen(replace(PLAIN, aspect=0.5))
    assert wide.size[0] == pytest.approx(0.5 * wide.size[1])


def test_turning_by_a_quarter_brings_the_face_to_the_right():
    front = np.array([[0, -1, 0.5], [0, 0, 0.2]], np.float32)
    np.testing.assert_allclose(turned(front, np.pi / 2), [[1, 0, 0.3], [0, 0, 0]], atol=1e-6)


def test_aims_keep_to_their_mount():
    rng = np.random.default_rng(0)
    aims = [sample_aim(rng, MOUNT) for _ in range(400)]
    azimuths = np.array([aim.azimuth for aim in aims])
    assert np.histogram(azimuths, 8, (0, 2 * np.pi))[0].min() > 10  # somebody goes in each direction
    near = np.abs(azimuths[:, None] - [0.3, 3.4]) < 0.6
    assert near.any(axis=1).mean() > 0.5  # but most along the paths
    steepest = max((aim.height - 0.9) / aim.distance for aim in aims)
    assert steepest < 0.95
    assert 0.1 < np.mean([sum(aim.lost) > 0 for aim in aims]) < 0.3
    assert sample_aim(np.random.default_rng(5), MOUNT) == sample_aim(np.random.default_rng(5), MOUNT)
