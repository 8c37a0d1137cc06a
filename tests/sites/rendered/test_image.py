from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from rendered_shapes import BoxFigure

from reid.sites.rendered.cameras import sample_camera
from reid.sites.rendered.image import Neighbour, render_content, sample_shot, take
from reid.sites.rendered.worlds import WORLDS

WORLD = WORLDS["people"]
CAMERA = sample_camera(np.random.default_rng(3), WORLD)
BACKGROUND = np.full((360, 300, 3), (90, 120, 60), np.uint8)
BACKGROUND[200:, :, 0] = 200


def _shot(seed=0, **changes):
    plain = {"neighbour": None, "occluded": False}
    return replace(sample_shot(np.random.default_rng(seed), WORLD, CAMERA), **{**plain, **changes})


def _content(shot, height=128, stranger=None, occluder=None):
    return render_content(BoxFigure(), shot, CAMERA, BACKGROUND, stranger, occluder, height)


@pytest.mark.parametrize("height", [64, 128, 256])
def test_images_are_twice_as_high_as_wide_and_alike_at_any_height(height):
    content = _content(_shot(), height)
    assert content.shape == (height, height // 2, 3) and content.dtype == np.float32
    assert content.min() >= 0 and content.max() <= 1
    jpeg = take(content, _shot(), CAMERA, 1.0, 1.0)
    assert Image.open(io.BytesIO(jpeg)).size == (height // 2, height)
    step = height // 32
    small, other = (
        one.reshape(32, size, 16, size, 3).mean(axis=(1, 3)) for one, size in ((content, step), (_content(_shot()), 4))
    )
    assert np.abs(small - other).mean() < 0.02


def test_the_same_lots_give_the_same_bytes_in_any_order():
    def images(seeds):
        return {seed: take(_content(_shot(seed)), _shot(seed), CAMERA, 1.0, 1.0) for seed in seeds}

    assert images([1, 2, 3]) == images([3, 1, 2])


def test_strengths_change_neither_lots_nor_content():
    neutral = take(_content(_shot()), _shot(), CAMERA, 0.0, 0.0)
    pixels = np.asarray(Image.open(io.BytesIO(neutral)), np.float32) / 255
    assert np.abs(pixels - _content(_shot())).mean() < 0.02
    assert take(_content(_shot()), _shot(), CAMERA, 1.0, 1.0) != neutral


def test_no_image_is_too_dark_to_see_somebody():
    camera = replace(CAMERA, photometry=replace(CAMERA.photometry, exposure=-3.6, haze=0.0), darkest=0.1)
    taken = [take(_content(_shot()), _shot(), one, 1.0, 0.0) for one in (replace(camera, darkest=0.0), camera)]
    without, image = (np.asarray(Image.open(io.BytesIO(jpeg)))[:, 16:48].mean() / 255 for jpeg in taken)
    assert without < 0.09 and 0.095 < image < 0.2


def test_a_person_hides_the_neighbour_behind_and_is_hidden_by_one_before():
    dark = BoxFigure(grey=0.02)
    alone = _content(_shot())
    for behind, hides in ((1.0, False), (-1.0, True)):
        shot = _shot(neighbour=Neighbour(0, aside=0.0, behind=behind, azimuth=0.0))
        content = _content(shot, stranger=dark)
        middle = np.s_[56:72, 28:36]
        assert (np.abs(content - alone)[middle].mean() > 0.1) == hides
        beside = _content(replace(shot, neighbour=replace(shot.neighbour, aside=0.6)), stranger=dark)
        np.testing.assert_allclose(beside[60:68, 30:32], alone[60:68, 30:32], atol=0.02)
        assert np.abs(beside - alone).max() > 0.1


def test_things_in_front_cover_what_they_are_said_to():
    occluder = np.zeros((256, 128, 4), np.uint8)
    occluder[200:] = (128, 0, 0, 128)
    alone, covered = _content(_shot()), _content(_shot(), occluder=occluder)
    np.testing.assert_array_equal(covered[:100], alone[:100])
    np.testing.assert_allclose(covered[101:], alone[101:] * 0.5 + np.array([0.5, 0, 0]), atol=0.01)


def test_shots_are_as_common_as_the_world_says():
    rng = np.random.default_rng(0)
    shots = [sample_shot(rng, WORLD, CAMERA) for _ in range(600)]
    assert np.mean([shot.neighbour is not None for shot in shots]) == pytest.approx(WORLD.neighbours, abs=0.05)
    assert np.mean([shot.occluded for shot in shots]) == pytest.approx(WORLD.occluders, abs=0.05)
    assert np.mean([shot.dimmed < 1 for shot in shots]) == pytest.approx(CAMERA.shade, abs=0.06)
