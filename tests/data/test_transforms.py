import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image

from reid.data.transforms import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    evaluation_transform,
    pillow_transform,
    training_transform,
)


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(0, 256, (40, 20, 3), dtype=np.uint8)


def test_evaluation_by_hand():
    flat = np.full((10, 5, 3), (10, 100, 200), np.uint8)
    out = evaluation_transform(8, 4)(flat, ())
    assert out.shape == (3, 8, 4) and out.dtype == np.float32
    expected = (np.array([10, 100, 200]) / 255 - IMAGENET_MEAN) / IMAGENET_STD
    assert_allclose(out, np.broadcast_to(expected[:, None, None], out.shape), rtol=1e-5)


@pytest.mark.parametrize("make", [evaluation_transform, training_transform])
def test_standardise(make, image):
    settings = {} if make is evaluation_transform else {"pad": 0, "erasing": 0}
    out = make(32, 16, standardise=True, **settings)(image, (0, 0, 0))
    assert_allclose(out.mean((1, 2)), 0, atol=1e-4)
    assert_allclose(out.std((1, 2)), 1, atol=1e-2)


def test_result_is_a_function_of_the_stream(image):
    transform = training_transform(32, 16, jitter=0.3)
    first = transform(image, (1, 2, 3))
    transform(image, (7, 7, 7))
    assert_array_equal(transform(image, (1, 2, 3)), first)
    assert_array_equal(training_transform(32, 16, jitter=0.3)(image, (1, 2, 3)), first)
    assert not np.array_equal(transform(image, (1, 2, 4)), first)


def test_flip_and_erasing_are_independent(image):
    """One seed for every step would make them always, or never, happen together."""
    small = evaluation_transform(40, 20)(image, ())
    both = np.zeros((2, 2), int)
    transform = training_transform(40, 20, flip=0.5, pad=0, erasing=0.5)
    for position in range(400):
        out = transform(image, (0, 0, position))
        flipped = (out == small[:, :, ::-1]).mean() > (out == small).mean()
        both[
            int(flipped),
            int(not np.isin(np.abs(out - small).max(), [0]) and not np.array_equal(out, small[:, :, ::-1])),
        ] += 1
    assert both.min() > 60, both  # 100 each expected; a standard deviation is 9


def test_pad_and_crop_move_the_image():
    image = np.full((32, 16, 3), 255, np.uint8)
    transform = training_transform(32, 16, flip=0, pad=5, erasing=0)
    black = (0 - np.array(IMAGENET_MEAN)) / IMAGENET_STD
    shifts = {int(np.isclose(transform(image, (0, 0, i))[0, :, 8], black[0], atol=1e-5).sum()) for i in range(100)}
    assert shifts == set(range(6))


def test_jitter_changes_colour_not_place(image):
    out = training_transform(40, 20, flip=0, pad=0, erasing=0, jitter=0.4)(image, (0, 0, 1))
    still = evaluation_transform(40, 20)(image, ())
    assert not np.allclose(out, still, atol=0.05)
    assert np.corrcoef(out.mean(0).ravel(), still.mean(0).ravel())[0, 1] > 0.9


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize(("scale", "mean", "std"), [(1, IMAGENET_MEAN, IMAGENET_STD), (255, (0, 0, 0), (1, 1, 1))])
def test_pillow_transform_by_hand(image, interpolation, scale, mean, std):
    out = pillow_transform(16, 8, interpolation, scale, mean, std)(image, ())
    resized = Image.fromarray(image).resize((8, 16), Image.Resampling[interpolation.upper()])
    expected = (np.asarray(resized).astype(np.float64) * scale / 255 - mean) / std
    assert out.dtype == np.float32 and out.shape == (3, 16, 8)
    assert_allclose(out, expected.transpose(2, 0, 1), rtol=1e-5, atol=1e-5)
    if scale == 255:
        assert_array_equal(out, np.asarray(resized).transpose(2, 0, 1))
