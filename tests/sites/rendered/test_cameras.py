from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from reid.sites.rendered.cameras import in_shade, sample_camera
from reid.sites.rendered.worlds import WORLDS


def _cameras(world, count=150):
    return [sample_camera(np.random.default_rng([1, number]), WORLDS[world]) for number in range(count)]


def test_numbers_of_worlds_are_their_own():
    numbers = [world.number for world in WORLDS.values()]
    assert len(set(numbers)) == len(numbers) and min(numbers) > 10


@pytest.mark.parametrize("world", list(WORLDS))
def test_cameras_keep_to_their_world(world):
    mounting, losing = WORLDS[world].mounting, WORLDS[world].losing
    for camera in _cameras(world, 40):
        assert mounting.height[0] <= camera.mount.height <= mounting.height[1]
        assert losing.jpeg[0] <= camera.losses.jpeg_quality <= losing.jpeg[1]
        assert camera.place in WORLDS[world].places
        assert 0 <= camera.photometry.haze <= 0.5 and min(camera.photometry.illuminant) > 0
        for lamp in camera.light.lamps:
            assert np.linalg.norm(lamp.direction) == pytest.approx(1) and lamp.direction[2] > 0


def test_cameras_for_training_cover_those_of_the_other_worlds():
    def measures(world):
        photometry = [camera.photometry for camera in _cameras(world)]
        red, green, blue = np.array([one.illuminant for one in photometry]).T
        rows = [np.log(red / blue), np.log(green / np.sqrt(red * blue)), [one.exposure for one in photometry]]
        return np.array([*rows, [one.saturation for one in photometry], [one.contrast for one in photometry]])

    people = measures("people")
    for world in ("mall", "campus", "night"):
        middle = np.median(measures(world), axis=1)
        assert (middle > people.min(axis=1)).all() and (middle < people.max(axis=1)).all(), world


def test_night_is_darker_and_greyer_than_campus():
    night, campus = ([camera.photometry for camera in _cameras(world, 40)] for world in ("night", "campus"))
    for name in ("exposure", "saturation", "contrast"):
        means = [np.mean([getattr(one, name) for one in each]) for each in (night, campus)]
        assert means[0] < means[1] - 0.2, name


def test_equal_generators_give_equal_cameras():
    assert _cameras("people", 3) == _cameras("people", 3)


def test_shade_dims_the_first_lamp_alone():
    light = _cameras("mall", 1)[0].light
    assert in_shade(light, 1.0) == light
    dim = in_shade(light, 0.2)
    np.testing.assert_allclose(dim.lamps[0].colour, 0.2 * np.array(light.lamps[0].colour))
    assert dim.lamps[1:] == light.lamps[1:] and min(np.subtract(dim.sky, light.sky)) > 0
    assert replace(dim, lamps=light.lamps, sky=light.sky) == light
