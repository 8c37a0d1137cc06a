import math
import random

import albumentations as A
import cv2
import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image
from scipy.ndimage import gaussian_filter1d
from scipy.stats import ks_2samp

from reid.data.transforms import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    MEAN_COLOUR,
    PerChannel,
    PerImage,
    RandomSteps,
    Transform,
    erased_box,
    evaluation_transform,
    pillow_transform,
    training_transform,
)


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(0, 256, (40, 20, 3), dtype=np.uint8)


def whole(transform: Transform, image: np.ndarray, stream=()) -> np.ndarray:
    """(3, H, W) float32: what the network gets of one image."""
    fitted = transform.fit(image)
    augmented = fitted if transform.augment is None else transform.augment(fitted, stream)
    return transform.normalise(as_batch(augmented[None]))[0].numpy()


def as_batch(images: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(images.copy()).permute(0, 3, 1, 2)


class Erasing(A.ImageOnlyTransform):
    """Random erasing as a step of albumentations, by Zhong et al. 2020, algorithm 1."""

    def apply(self, img, box=None, **params):
        if box is None:
            return img
        top, left, height, width = box
        erased = img.copy()
        erased[top : top + height, left : left + width] = [124, 116, 104]
        return erased

    def get_params_dependent_on_data(self, params, data):
        rows, columns = params["shape"][:2]
        for _ in range(100):
            area = self.random_generator.uniform(0.02, 0.4) * rows * columns
            ratio = self.random_generator.uniform(0.3, 1 / 0.3)
            height, width = round((area * ratio) ** 0.5), round((area / ratio) ** 0.5)
            if height < rows and width < columns:
                top = self.random_generator.integers(rows - height + 1)
                return {"box": (top, self.random_generator.integers(columns - width + 1), height, width)}
        return {"box": None}


def by_albumentations(height, width, flip=0.5, pad=10, erasing=0.5, jitter=0.0, standardise=False) -> A.Compose:
    """The transform as networks were trained with it before it was written out."""
    steps = [A.Resize(height, width, interpolation=cv2.INTER_LINEAR)]
    if flip > 0:
        steps.append(A.HorizontalFlip(p=flip))
    if pad > 0:
        steps += [A.Pad(pad, fill=0), A.RandomCrop(height, width)]
    if jitter > 0:
        around_one = (1 - jitter, 1 + jitter)
        steps.append(A.ColorJitter(around_one, around_one, around_one, (-jitter / 5, jitter / 5), p=1.0))
    if erasing > 0:
        steps.append(Erasing(p=erasing))
    standard = A.Normalize(mean=IMAGENET_MEAN, std=IMAGENET_STD)
    return A.Compose([*steps, A.Normalize(normalization="image_per_channel") if standardise else standard])


def composed(steps: A.Compose, image: np.ndarray, stream=()) -> np.ndarray:
    """(3, H, W) float32."""
    generator = np.random.default_rng(stream)
    steps.set_random_state(generator, random.Random(int(generator.integers(2**63))))
    return np.ascontiguousarray(steps(image=image)["image"].transpose(2, 0, 1), dtype=np.float32)


@pytest.mark.parametrize("size", [(40, 20), (64, 32), (37, 23)])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"flip": 0.0},
        {"flip": 1.0, "pad": 0},
        {"pad": 3, "erasing": 1.0},
        {"pad": 30, "erasing": 0.0},
        {"jitter": 0.4},
        {"flip": 0.2, "erasing": 0.9, "standardise": True},
    ],
    ids=str,
)
def test_training_gives_the_bits_of_albumentations(image, size, settings):
    ours, reference = training_transform(*size, **settings), by_albumentations(*size, **settings)
    given, before = image.copy(), image.copy()
    for position in range(60):
        stream = (3, position // 20, position)
        found, expected = whole(ours, given, stream), composed(reference, image, stream)
        if settings.get("standardise") and size != (64, 32):  # whose number of pixels is no power of two
            assert_allclose(found, expected, rtol=3e-7, atol=1e-7)
        else:
            assert_array_equal(found, expected)
    assert_array_equal(given, before)


@pytest.mark.parametrize(
    ("mean", "std", "scale"),
    [
        (IMAGENET_MEAN, IMAGENET_STD, 1.0),
        ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5), 1.0),
        ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0), 255.0),
        ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711), 1.0),
        ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375), 255.0),
    ],
)
def test_every_value_is_normalised_as_by_albumentations(mean, std, scale):
    values = np.repeat(np.arange(256, dtype=np.uint8).reshape(16, 16, 1), 3, axis=2)
    expected = A.Normalize(mean, std, max_pixel_value=255 / scale)(image=values)["image"]
    found = PerChannel(mean, std, scale)(as_batch(np.stack([values, values])))
    assert found.is_contiguous(memory_format=torch.channels_last) and found.dtype == torch.float32
    for image in found:
        assert_array_equal(image.permute(1, 2, 0).numpy(), expected)


@pytest.mark.parametrize("size", [(128, 64), (64, 32), (256, 128), (33, 17)])
def test_images_are_standardised_as_by_albumentations(size):
    rng = np.random.default_rng(0)
    images = np.clip(rng.normal(rng.uniform(0, 255, (12, 1, 1, 3)), 40, (12, *size, 3)), 0, 255).astype(np.uint8)
    images[0], images[1], images[1, 0, 0] = 7, 0, 255  # no deviation; one pixel further away than values go
    normalise = A.Normalize(normalization="image_per_channel")
    expected = np.stack([np.float32(normalise(image=image)["image"]) for image in images])
    found = PerImage()(as_batch(images))
    assert found.is_contiguous(memory_format=torch.channels_last)
    found = found.permute(0, 2, 3, 1).numpy()
    if size in ((128, 64), (64, 32)):
        assert_array_equal(found, expected)
    else:
        assert_allclose(found, expected, rtol=1.2e-7, atol=0)  # the last bit
        assert (found != expected).mean() < 1e-3


def test_evaluation_by_hand():
    flat = np.full((10, 5, 3), (10, 100, 200), np.uint8)
    out = whole(evaluation_transform(8, 4), flat)
    assert out.shape == (3, 8, 4) and out.dtype == np.float32
    expected = (np.array([10, 100, 200]) / 255 - IMAGENET_MEAN) / IMAGENET_STD
    assert_allclose(out, np.broadcast_to(expected[:, None, None], out.shape), rtol=1e-5)


@pytest.mark.parametrize("make", [evaluation_transform, training_transform])
def test_standardise(make, image):
    settings = {} if make is evaluation_transform else {"pad": 0, "erasing": 0}
    out = whole(make(32, 16, standardise=True, **settings), image, (0, 0, 0))
    assert_allclose(out.mean((1, 2)), 0, atol=1e-4)
    assert_allclose(out.std((1, 2)), 1, atol=1e-2)


def test_result_is_a_function_of_the_stream(image):
    settings = {"jitter": 0.3, "zoom": 0.2, "blur": 0.5}
    transform = training_transform(32, 16, **settings)
    first = whole(transform, image, (1, 2, 3))
    whole(transform, image, (7, 7, 7))
    assert_array_equal(whole(transform, image, (1, 2, 3)), first)
    assert_array_equal(whole(training_transform(32, 16, **settings), image, (1, 2, 3)), first)
    assert not np.array_equal(whole(transform, image, (1, 2, 4)), first)


def test_flip_and_erasing_are_independent(image):
    """One seed for every step would make them always, or never, happen together."""
    small = whole(evaluation_transform(40, 20), image)
    both = np.zeros((2, 2), int)
    transform = training_transform(40, 20, flip=0.5, pad=0, erasing=0.5)
    for position in range(400):
        out = whole(transform, image, (0, 0, position))
        flipped = (out == small[:, :, ::-1]).mean() > (out == small).mean()
        both[
            int(flipped),
            int(not np.isin(np.abs(out - small).max(), [0]) and not np.array_equal(out, small[:, :, ::-1])),
        ] += 1
    assert both.min() > 60, both  # 100 each expected; a standard deviation is 9


def steps(**settings) -> RandomSteps:
    off = {"flip": 0.0, "zoom": 0.0, "pad": 0, "jitter": None, "blur": 0.0, "erasing": 0.0}
    return RandomSteps(**{**off, **settings})


def test_pad_and_crop_move_the_image():
    white = np.full((32, 16, 3), 255, np.uint8)
    shifted = [steps(pad=5)(white, (0, 0, i))[:, :, 0] == 0 for i in range(100)]
    assert {int(black[:, 8].sum()) for black in shifted} == set(range(6))


def test_jitter_changes_colour_not_place(image):
    out = whole(training_transform(40, 20, flip=0, pad=0, erasing=0, jitter=0.4), image, (0, 0, 1))
    still = whole(evaluation_transform(40, 20), image)
    assert not np.allclose(out, still, atol=0.05)
    assert np.corrcoef(out.mean(0).ravel(), still.mean(0).ravel())[0, 1] > 0.9


def test_zoom_enlarges_and_crops():
    """Of a ramp down and one across, both of slope 1, a zoom by f leaves slope 1 / f and a part of their range."""
    ramps = np.zeros((120, 100, 3), np.uint8)
    ramps[..., 0], ramps[..., 1] = np.arange(120)[:, None], np.arange(100)
    factors, starts = [], []
    for position in range(300):
        out = steps(zoom=0.5)(ramps, (0, 0, position)).astype(float)
        assert out.shape == ramps.shape
        inner = out[2:-2, 2:-2]  # at its edge a ramp that was enlarged is flat
        down, across = (
            np.polyfit(np.arange(116), inner[:, 50, 0], 1)[0],
            np.polyfit(np.arange(96), inner[50, :, 1], 1)[0],
        )
        assert down == pytest.approx(across, abs=0.02)
        factors.append(1 / down)
        starts.append((inner[0, 50, 0], inner[50, 0, 1]))
    assert 0.99 < min(factors) < 1.03 and 1.47 < max(factors) < 1.52
    assert ks_2samp(factors, np.random.default_rng(0).uniform(1, 1.5, 2000)).pvalue > 1e-3
    assert abs(np.corrcoef(np.transpose(starts))[0, 1]) < 0.99  # where to crop is drawn twice
    assert max(start for start, _ in starts) > 30 and min(start for start, _ in starts) < 4


def test_blur_is_gaussian():
    large = np.random.default_rng(1).integers(0, 256, (60, 50, 3), dtype=np.uint8)
    for position in range(20):
        generator = np.random.default_rng((0, 0, position))
        draw = random.Random(int(generator.integers(2**63)))
        draw.random()
        deviation = draw.uniform(0.1, 2.0)
        expected = large.astype(float)
        for axis in (0, 1):
            expected = gaussian_filter1d(expected, deviation, axis, mode="mirror", truncate=4)
        found = steps(blur=1.0)(large, (0, 0, position))
        assert np.abs(found - expected).max() < 3, deviation
    share = np.mean([not np.array_equal(steps(blur=0.3)(large, (1, 0, i)), large) for i in range(400)])
    assert 0.15 < share < 0.4  # the least blurs change nothing


@pytest.mark.parametrize("other", [{"zoom": 0.4}, {"blur": 1.0}])
def test_zoom_and_blur_come_between_the_others(image, other):
    """Flip is drawn before them; erasing, by the other generator, is where it was."""
    plain, more = steps(flip=0.5, erasing=1.0), steps(flip=0.5, erasing=1.0, **other)
    changed = 0
    for position in range(30):
        first, second = plain(image, (0, 0, position)), more(image, (0, 0, position))
        box = (first == MEAN_COLOUR).all(axis=2)
        assert (second[box] == MEAN_COLOUR).all()
        changed += not np.array_equal(first, second)
    assert changed > 20


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize(("scale", "mean", "std"), [(1, IMAGENET_MEAN, IMAGENET_STD), (255, (0, 0, 0), (1, 1, 1))])
def test_pillow_transform_by_hand(image, interpolation, scale, mean, std):
    out = whole(pillow_transform(16, 8, interpolation, scale, mean, std), image)
    resized = Image.fromarray(image).resize((8, 16), Image.Resampling[interpolation.upper()])
    expected = (np.asarray(resized).astype(np.float64) * scale / 255 - mean) / std
    assert out.dtype == np.float32 and out.shape == (3, 16, 8)
    assert_allclose(out, expected.transpose(2, 0, 1), rtol=1e-5, atol=1e-5)
    if scale == 255:
        assert_array_equal(out, np.asarray(resized).transpose(2, 0, 1))


DRAWS = 4000


def boxes(rows: int, columns: int, erasing: float = 1.0) -> np.ndarray:
    """(N, 4) top, left, height, width of what turned to another colour in black images."""
    black = np.zeros((rows, columns, 3), np.uint8)
    found = []
    for position in range(DRAWS):
        erased = steps(erasing=erasing)(black, (3, 0, position))[:, :, 0] == MEAN_COLOUR[0]
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
    drawn, wanted = boxes(rows, columns), reference(rows, columns)
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
    drawn = boxes(rows, columns)
    area, ratio = drawn[:, 2] * drawn[:, 3] / (rows * columns), drawn[:, 2] / drawn[:, 3]
    assert area.min() > 0.018 and 0.38 < area.max() < 0.41
    assert area.mean() == pytest.approx(0.204, abs=0.006)
    assert np.median(ratio) == pytest.approx(1.90, abs=0.06)
    assert ratio.min() < 0.4 and 3 < ratio.max() < 3.6


def test_probability():
    share = len(boxes(64, 32, 0.3)) / DRAWS
    assert share == pytest.approx(0.3, abs=0.03)  # a standard deviation is 0.007


def test_what_never_fits_is_left_alone():
    """A row so long that 2 % of it are higher than it."""
    assert erased_box(1, 1000, np.random.default_rng(0)) is None
    row = np.full((1, 1000, 3), 9, np.uint8)
    assert_array_equal(steps(erasing=1.0)(row, (0,)), row)


def test_training_fills_with_the_mean_colour():
    """The fill is ImageNet's mean, so what is erased comes out of normalisation as almost nothing."""
    white = np.full((64, 32, 3), 255, np.uint8)
    transform = training_transform(64, 32, flip=0, pad=0, erasing=1.0)
    shares = []
    for position in range(50):
        erased = np.abs(whole(transform, white, (0, 0, position))).max(0) < 0.02
        shares.append(erased.mean())
        assert whole(transform, white, (0, 0, position))[0, ~erased] == pytest.approx(
            (1 - IMAGENET_MEAN[0]) / 0.229, rel=1e-4
        )
    assert 0.1 < np.mean(shares) < 0.3 and min(shares) > 0.018
