"""Against OpenCV's own."""

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from reid.networks.bilinear import resize


def as_opencv(image, height, width):
    given = torch.from_numpy(image).permute(2, 0, 1)[None].float()
    expected = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
    np.testing.assert_array_equal(resize(given, height, width)[0].permute(1, 2, 0).numpy(), expected)


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 300), st.integers(1, 300), st.integers(0, 2**32 - 1))
def test_pixels_of_any_size(height, width, seed):
    as_opencv(np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8), 128, 64)


@pytest.mark.parametrize("size", [(256, 128), (32, 16), (1, 1), (8, 256)])
def test_to_powers_of_two(size):
    rng = np.random.default_rng(0)
    for shape in ((128, 48), (224, 224), (2, 500), (1, 1), (1080, 600)):
        as_opencv(rng.integers(0, 256, (*shape, 3), np.uint8), *size)
        as_opencv(rng.choice(np.array([0, 255], np.uint8), (*shape, 3)), *size)


@pytest.mark.parametrize("size", [(96, 33), (160, 60), (384, 128), (7, 200)])
def test_to_other_sizes_a_few_pixels_differ_by_one(size):
    image = np.random.default_rng(1).integers(0, 256, (1080, 600, 3), np.uint8)
    expected = cv2.resize(image, size[::-1], interpolation=cv2.INTER_LINEAR).astype(int)
    given = resize(torch.from_numpy(image).permute(2, 0, 1)[None].float(), *size)[0].permute(1, 2, 0).numpy()
    assert np.abs(given - expected).max() <= 1 and (given != expected).mean() < 0.005


def test_the_same_size_changes_nothing():
    image = torch.randint(0, 256, (2, 3, 40, 20), generator=torch.Generator().manual_seed(0)).float()
    assert torch.equal(resize(image, 40, 20), image)
