from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from reid.sites.rendered import render
from reid.sites.rendered.settings import RenderedSettings
from reid.sites.schedule import plan

SETTINGS = {
    "train_identities": 2,
    "test_identities": 0,
    "cameras": 2,
    "passes": 2,
    "train_shots": 5,
    "splits": ("train",),
}


def _rendered(settings, images):
    return dict(zip([image.name for image in images], settings.identity(images), strict=True))


@pytest.fixture(scope="module")
def first():
    """Settings, the plan of the first identity, its images by name."""
    settings = RenderedSettings("campus", **SETTINGS)
    images = [image for image in plan(settings) if image.pid == 1]
    return settings, images, _rendered(settings, images)


def test_images_depend_on_nothing_that_was_rendered_before(first):
    settings, images, rendered = first
    settings.forget()
    assert render._camera.cache_info().currsize == render._stranger.cache_info().currsize == 0
    others = [image for image in plan(settings) if image.pid == 2]
    list(settings.identity(others[:2]))
    assert _rendered(settings, images[::-1]) == rendered
    assert _rendered(settings, images[3:4]) == {images[3].name: rendered[images[3].name]}


def test_splits_left_out_move_no_image(first):
    _, images, rendered = first
    whole = RenderedSettings("campus", **{**SETTINGS, "test_identities": 3, "splits": ("train", "query", "gallery")})
    assert [image for image in plan(whole) if image.pid == 1] == images
    assert next(whole.identity(images[:1])) == rendered[images[0].name]


def test_images_differ_and_have_the_height_asked_for(first):
    _, images, rendered = first
    assert len(set(rendered.values())) == len(images) == 10
    for data in rendered.values():
        assert Image.open(io.BytesIO(data)).size == (64, 128)
    higher = RenderedSettings("campus", height=192, **SETTINGS)
    assert Image.open(io.BytesIO(next(higher.identity(images[:1])))).size == (96, 192)


def test_strengths_change_the_look_and_not_the_people(first):
    _, images, rendered = first
    neutral = RenderedSettings("campus", style=0.0, degradation=0.0, **SETTINGS)
    other = RenderedSettings("campus", seed=1, style=0.0, degradation=0.0, **SETTINGS)
    pixels = [
        np.asarray(Image.open(io.BytesIO(data)).convert("L"), np.float32).ravel()
        for data in (rendered[images[0].name], next(neutral.identity(images[:1])), next(other.identity(images[:1])))
    ]
    alike = np.corrcoef(pixels)
    assert alike[0, 1] > 0.7 > alike[0, 2]
