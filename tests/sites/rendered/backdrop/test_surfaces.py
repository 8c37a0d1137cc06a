import numpy as np
import pytest

from reid.sites.rendered.backdrop.surfaces import HEIGHT, SCALE, WIDTH, View


@pytest.mark.parametrize(("pitch", "distance"), [(0.0, 6.0), (0.2, 9.0), (0.7, 15.0)])
def test_each_pixel_shows_the_point_that_is_projected_onto_it(pitch: float, distance: float):
    view, rng = View(pitch, distance), np.random.default_rng(0)
    wall = view.wall(0.4, 3.0, 0.5)
    for at, place in (
        (view.ground(), lambda s, t: (s, t, 0.0)),
        (wall, lambda s, t: (0.4 + s * np.cos(0.5), 3.0 + s * np.sin(0.5), t)),
    ):
        rows, columns = np.nonzero(at.seen & (at.depth < 60))
        for index in rng.integers(len(rows), size=20):
            row, column = rows[index], columns[index]
            point = np.array([place(float(at.s[row, column]), float(at.t[row, column]))])
            x, y, depth = view.project(point)[0]
            assert (x, y) == pytest.approx((column + 0.5, row + 0.5), abs=0.05)
            assert depth == pytest.approx(float(at.depth[row, column]), rel=1e-3)


def test_a_person_stands_in_the_middle_at_the_stated_scale():
    view = View(0.0, 8.0)
    feet, head = view.project(np.array([[0, 0, 0.0], [0, 0, 1.8]]))[:, :2]
    assert feet == pytest.approx([WIDTH / 2, HEIGHT / 2 + 0.9 * SCALE])
    assert head == pytest.approx([WIDTH / 2, HEIGHT / 2 - 0.9 * SCALE])


@pytest.mark.parametrize(("pitch", "distance"), [(0.05, 6.0), (0.1, 9.0)])
def test_the_ground_ends_at_the_horizon(pitch: float, distance: float):
    view = View(pitch, distance)
    seen = view.ground().seen.all(axis=1)
    height = 0.9 + distance * np.sin(pitch)
    last = view.horizon + view.focal * height / 300  # the ground is followed for 300 metres
    assert int(np.argmax(seen)) == pytest.approx(last, abs=1.5)
    assert seen[int(last) + 2 :].all()


def test_a_steep_camera_sees_ground_alone():
    view = View(0.6, 9.0)
    assert view.horizon < 0
    assert view.ground().seen.all()
