import math
import random

import albumentations as A
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image
from scipy.stats import ks_2samp

from reid.data.transforms import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    RandomErasing,
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


DRAWS = 4000


def boxes(rows: int, columns: int, erasing: RandomErasing) -> np.ndarray:
    """(N, 4) top, left, height, width of what turned white in black images."""
    compose = A.Compose([erasing])
    compose.set_random_state(np.random.default_rng(3), random.Random(3))
    black = np.zeros((rows, columns, 3), np.uint8)
    found = []
    for _ in range(DRAWS):
        erased = compose(image=black)["image"][:, :, 0] == 255
        ys, xs = np.flatnonzero(erased.any(1)), np.flatnonzero(erased.any(0))
        if len(ys):
            found.append((ys[0], xs[0], len(ys), len(xs)))
            assert erased.sum() == len(ys) * len(xs)  # one whole rectangle
    assert not black.any()  # the image given is left as it was
    return np.array(found)


def reference(rows: int, columns: int) -> np.ndarray:
    """Zhong et al. 2020, algorithm 1, by plain loops."""
    rng, found = random.Random(7), []
    while len(found) < DRAWS:
        area, ratio = rng.uniform(0.02, 0.4) * rows * columns, rng.uniform(0.3, 1 / 0.3)
        height, width = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if height < rows and width < columns:
            found.append((rng.randint(0, rows - height), rng.randint(0, columns - width), height, width))
    return np.array(found)


@pytest.mark.parametrize(("rows", "columns"), [(256, 128), (128, 64), (128, 48)])
def test_rectangles_are_those_of_the_paper(rows, columns):
    drawn, wanted = boxes(rows, columns, RandomErasing(fill=(255,) * 3, p=1.0)), reference(rows, columns)
    assert len(drawn) == DRAWS
    for name, of in {
        "area": lambda box: box[:, 2] * box[:, 3],
        "height / width": lambda box: box[:, 2] / box[:, 3],
        "top": lambda box: box[:, 0],
        "left": lambda box: box[:, 1],
        "bottom": lambda box: rows - box[:, 0] - box[:, 2],
    }.items():
        assert ks_2samp(of(drawn), of(wanted)).pvalue > 1e-3, name


@pytest.mark.parametrize(("rows", "columns"), [(256, 128), (128, 64)])
def test_area_and_shape_at_both_sizes(rows, columns):
    """Uniform in 2 to 40 % and 0.3 to 3.33, less what does not fit: mean 20.4 %, median 1.90 (by integration)."""
    drawn = boxes(rows, columns, RandomErasing(fill=(255,) * 3, p=1.0))
    area, ratio = drawn[:, 2] * drawn[:, 3] / (rows * columns), drawn[:, 2] / drawn[:, 3]
    assert area.min() > 0.018 and 0.38 < area.max() < 0.41
    assert area.mean() == pytest.approx(0.204, abs=0.006)
    assert np.median(ratio) == pytest.approx(1.90, abs=0.06)
    assert ratio.min() < 0.4 and 3 < ratio.max() < 3.6


def test_probability():
    share = len(boxes(64, 32, RandomErasing(fill=(255,) * 3, p=0.3))) / DRAWS
    assert share == pytest.approx(0.3, abs=0.03)  # a standard deviation is 0.007


def test_what_never_fits_is_left_alone():
    erasing = RandomErasing(area=(0.9, 1.0), ratio=(3.0, 3.3), fill=(255,) * 3, p=1.0)
    assert len(boxes(64, 32, erasing)) == 0


def test_training_fills_with_the_mean_colour():
    """The fill is ImageNet's mean, so what is erased comes out of normalisation as almost nothing."""
    white = np.full((64, 32, 3), 255, np.uint8)
    transform = training_transform(64, 32, flip=0, pad=0, erasing=1.0)
    shares = []
    for position in range(50):
        erased = np.abs(transform(white, (0, 0, position))).max(0) < 0.02
        shares.append(erased.mean())
        assert transform(white, (0, 0, position))[0, ~erased] == pytest.approx((1 - IMAGENET_MEAN[0]) / 0.229, rel=1e-4)
    assert 0.1 < np.mean(shares) < 0.3 and min(shares) > 0.018
