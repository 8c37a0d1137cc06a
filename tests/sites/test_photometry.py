"""Photometry and degradation against their definitions."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reid.sites.drawn.camera import sample_camera
from reid.sites.drawn.people import SEASONS
from reid.sites.drawn.styles import SITES
from reid.sites.photometry import (
    Degradation,
    Photometry,
    ShadowEdge,
    apply_photometry,
    degrade,
    encode,
    scale_degradation,
    scale_photometry,
)
from reid.sites.scenes import SCENE_HEIGHT, SCENE_WIDTH, SCENERIES, draw_scene

EDGE = ShadowEdge(angle=0.0, offset=0.0, softness=0.1)


def image(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((32, 16, 3), np.float32)


def test_neutral_photometry_changes_nothing() -> None:
    np.testing.assert_array_equal(apply_photometry(image(), Photometry(), EDGE), image())


@pytest.mark.parametrize("site", sorted(SITES))
def test_every_camera_is_neutral_at_strength_0(site: str) -> None:
    for seed in range(5):
        camera = sample_camera(np.random.default_rng(seed), SITES[site])
        neutral = scale_photometry(camera.photometry, 0.0)
        np.testing.assert_array_equal(apply_photometry(image(), neutral, EDGE), image())


def test_near_neutral_is_near() -> None:
    """The general path tends to the short cut for neutral photometry."""
    nearly = apply_photometry(image(), Photometry(exposure=1e-6), EDGE)
    np.testing.assert_allclose(nearly, image(), atol=1e-4)


@pytest.mark.parametrize("site", sorted(SITES))
def test_strength_1_is_the_camera_itself(site: str) -> None:
    photometry = sample_camera(np.random.default_rng(3), SITES[site]).photometry
    scaled = scale_photometry(photometry, 1.0)
    assert scaled.illuminant == pytest.approx(photometry.illuminant)
    assert scaled.exposure == pytest.approx(photometry.exposure)
    assert scaled.contrast == pytest.approx(photometry.contrast)


def test_one_stop_doubles_linear_light() -> None:
    grey = np.full((8, 8, 3), 0.3, np.float32)
    brighter = apply_photometry(grey, Photometry(exposure=1.0), EDGE)
    np.testing.assert_allclose(brighter**2.2, 2 * grey**2.2, rtol=1e-3)


def test_saturation_0_is_grey_of_equal_luma() -> None:
    grey = apply_photometry(image(), Photometry(saturation=0.0), EDGE)
    assert np.ptp(grey, axis=2).max() < 1e-5
    np.testing.assert_allclose(grey[..., 0], image() @ np.array([0.299, 0.587, 0.114]), atol=1e-4)


def test_contrast_is_a_slope_about_middle_grey() -> None:
    dim = np.full((8, 8, 3), 0.55, np.float32)
    np.testing.assert_allclose(apply_photometry(dim, Photometry(contrast=0.5), EDGE), 0.5, atol=1e-4)


def test_haze_1_shows_haze_alone() -> None:
    hazy = apply_photometry(image(), Photometry(haze=1.0, haze_colour=(0.2, 0.4, 0.6)), EDGE)
    np.testing.assert_allclose(hazy, np.broadcast_to([0.2, 0.4, 0.6], hazy.shape), atol=1e-5)


def test_mixing_keeps_grey() -> None:
    grey = np.full((8, 8, 3), 0.5, np.float32)
    np.testing.assert_allclose(apply_photometry(grey, Photometry(mixing=0.2), EDGE), grey, atol=1e-4)


def test_shadow_lies_on_one_side_of_its_edge() -> None:
    grey = np.full((32, 16, 3), 0.5, np.float32)
    shaded = apply_photometry(grey, Photometry(shadow=0.5), EDGE)
    np.testing.assert_allclose(shaded[:, :3] ** 2.2, 0.5 * grey[:, :3] ** 2.2, rtol=1e-3)
    np.testing.assert_allclose(shaded[:, -3:], 0.5, atol=1e-4)


@given(strength=st.floats(0, 1.5), seed=st.integers(0, 1000), site=st.sampled_from(sorted(SITES)))
@settings(max_examples=30, deadline=None)
def test_output_stays_in_range(strength: float, seed: int, site: str) -> None:
    camera = sample_camera(np.random.default_rng(seed), SITES[site])
    lit = apply_photometry(image(seed), scale_photometry(camera.photometry, strength), EDGE)
    assert lit.shape == (32, 16, 3) and lit.dtype == np.float32
    assert np.isfinite(lit).all() and lit.min() >= 0 and lit.max() <= 1
    losses = scale_degradation(camera.degradation, strength)
    pixels = degrade(lit, losses, np.random.default_rng(seed))
    assert pixels.shape == (32, 16, 3) and pixels.dtype == np.uint8 and 5 <= losses.jpeg_quality <= 95


def test_no_degradation_only_rounds() -> None:
    pixels = degrade(image(), scale_degradation(Degradation(1.0, 0.5, 0.1, 40), 0.0), np.random.default_rng(0))
    assert np.abs(pixels / 255 - image()).max() <= 0.5 / 255 + 1e-6


def test_noise_has_its_sigma() -> None:
    grey = np.full((128, 128, 3), 0.5, np.float32)
    pixels = degrade(grey, Degradation(noise=0.05), np.random.default_rng(0)).astype(float) / 255
    assert pixels.std() == pytest.approx(0.05, rel=0.1)


def test_encode_writes_rgb() -> None:
    red = np.zeros((16, 16, 3), np.uint8)
    red[..., 0] = 200
    decoded = cv2.imdecode(np.frombuffer(encode(red, 95), np.uint8), cv2.IMREAD_COLOR)
    assert decoded is not None and decoded[8, 8, 2] > 180 and decoded[8, 8, 0] < 20


def test_sites_name_what_exists() -> None:
    assert sorted(SITES) == ["plaza", "station", "street"]
    assert len({site.number for site in SITES.values()}) == len(SITES)
    assert all(site.season in SEASONS and site.scenery in SCENERIES for site in SITES.values())


@pytest.mark.parametrize("scenery", sorted(SCENERIES))
def test_scenes(scenery: str) -> None:
    first, again, other = (draw_scene(np.random.default_rng(seed), scenery) for seed in (1, 1, 2))
    assert first.shape == (SCENE_HEIGHT, SCENE_WIDTH, 3)
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
