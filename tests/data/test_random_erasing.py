"""Rectangles that random erasing draws, against the published algorithm in plain Python and numbers known by hand."""

from __future__ import annotations

import math
import random

import albumentations as A
import numpy as np
import pytest
from scipy.stats import ks_2samp

from reid.data.transforms import IMAGENET_MEAN, RandomErasing, training_transform

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
