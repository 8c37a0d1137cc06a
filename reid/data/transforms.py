"""What happens to an image between the file and the network, by albumentations.

Training: resize, flip, pad and crop, colour jitter, erasing, normalise. Evaluation: resize, normalise; for networks of
other projects the resizing is Pillow's, with which they were trained.
"""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # else the import asks the network for a newer version
import albumentations as A
import cv2
from PIL import Image

Interpolation = Literal["bilinear", "bicubic"]
TRIES = 100  # of a rectangle to erase, which may not fit
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Transform:
    """``(image (h, w, 3) uint8 RGB, stream) -> (3, height, width) float32``.

    ``stream`` is a sequence of non-negative integers, such as (seed, epoch, position): the same stream gives the same
    result in any process. All steps draw from one generator; ``Compose.set_random_seed`` would start each step's own
    from the same seed, so that flip and erasing would always happen together.
    """

    def __init__(self, steps: Sequence[A.BasicTransform]) -> None:
        self._compose = A.Compose(list(steps))

    def __call__(self, image: np.ndarray, stream: Sequence[int]) -> np.ndarray:
        generator = np.random.default_rng(stream)
        self._compose.set_random_state(generator, random.Random(int(generator.integers(2**63))))
        channels_last = self._compose(image=image)["image"]
        return np.ascontiguousarray(channels_last.transpose(2, 0, 1), dtype=np.float32)


def training_transform(
    height: int,
    width: int,
    flip: float = 0.5,
    pad: int = 10,
    erasing: float = 0.5,
    jitter: float = 0.0,
    standardise: bool = False,
) -> Transform:
    """The random transform of training.

    Args:
        height, width: pixels of the result.
        flip: probability of a horizontal flip.
        pad: pixels of black added around, before a random crop back to the size.
        erasing: probability of :class:`RandomErasing` of 2 to 40 % of the image, with ImageNet's mean colour.
        jitter: strength s: brightness, contrast and saturation in 1 +- s, hue in +- s / 5 of the circle; 0 is off.
        standardise: every image to mean 0, variance 1 per channel, instead of ImageNet's statistics.
    """
    steps: list[A.BasicTransform] = [_resize(height, width)]
    if flip > 0:
        steps.append(A.HorizontalFlip(p=flip))
    if pad > 0:
        steps += [A.Pad(pad, fill=0), A.RandomCrop(height, width)]
    if jitter > 0:
        around_one = (1 - jitter, 1 + jitter)
        steps.append(A.ColorJitter(around_one, around_one, around_one, (-jitter / 5, jitter / 5), p=1.0))
    if erasing > 0:
        mean_colour = tuple(round(255 * value) for value in IMAGENET_MEAN)
        steps.append(RandomErasing(fill=mean_colour, p=erasing))
    return Transform([*steps, _normalise(standardise)])


def evaluation_transform(height: int, width: int, standardise: bool = False) -> Transform:
    """The transform of testing: nothing random, whatever the stream."""
    return Transform([_resize(height, width), _normalise(standardise)])


def pillow_transform(
    height: int,
    width: int,
    interpolation: Interpolation,
    scale: float,
    mean: Sequence[float],
    std: Sequence[float],
) -> Transform:
    """The transform of testing for networks of other projects: resize by Pillow, (pixel * scale / 255 - mean) / std.

    Where an image gets smaller, Pillow averages over all of its pixels; OpenCV's resizing takes a few of them.
    """
    return Transform([PillowResize(height, width, interpolation), A.Normalize(mean, std, max_pixel_value=255 / scale)])


class PillowResize(A.ImageOnlyTransform):
    """Images (h, w, 3) uint8 to (height, width, 3) uint8 by Pillow."""

    def __init__(self, height: int, width: int, interpolation: Interpolation) -> None:
        super().__init__(p=1.0)
        self.height, self.width, self.interpolation = height, width, interpolation

    def apply(self, img: np.ndarray, **_: Any) -> np.ndarray:
        filters = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
        return np.asarray(Image.fromarray(img).resize((self.width, self.height), filters[self.interpolation]))


def _resize(height: int, width: int) -> A.Resize:
    return A.Resize(height, width, interpolation=cv2.INTER_LINEAR)


def _normalise(standardise: bool) -> A.Normalize:
    if standardise:
        return A.Normalize(normalization="image_per_channel")
    return A.Normalize(mean=IMAGENET_MEAN, std=IMAGENET_STD)


class RandomErasing(A.ImageOnlyTransform):
    """Fill one rectangle of the image, with probability ``p``: random erasing as published.

    Zhong et al., "Random Erasing Data Augmentation", AAAI 2020, algorithm 1.

    Area and height / width are drawn uniformly, again until the rectangle is lower and narrower than the image: on
    images twice as high as wide a mean area of 20 % and a median height / width of 1.9. ``albumentations.Erasing``
    caps the area so that every ratio fits: at most 15 % there, mostly in wide bars.

    Args:
        area: least and largest share of the image.
        ratio: least and largest height / width.
        fill: colour of the rectangle, a value a channel in the image's own range.
    """

    def __init__(
        self,
        area: tuple[float, float] = (0.02, 0.4),
        ratio: tuple[float, float] = (0.3, 1 / 0.3),
        fill: tuple[int, ...] = (0, 0, 0),
        p: float = 0.5,
    ) -> None:
        super().__init__(p=p)
        self.area, self.ratio, self.fill = area, ratio, fill

    def apply(self, img: np.ndarray, box: tuple[int, int, int, int] | None = None, **params: Any) -> np.ndarray:
        """The image (h, w, C) with ``box`` (top, left, height, width) filled; as it is where there is none."""
        if box is None:
            return img
        top, left, height, width = box
        erased = img.copy()
        erased[top : top + height, left : left + width] = self.fill
        return erased

    def get_params_dependent_on_data(self, params: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
        """``box`` (top, left, height, width) in pixels; None where no try fitted, as in the published algorithm."""
        rows, columns = params["shape"][:2]
        draw = self.random_generator
        for _ in range(TRIES):
            pixels, ratio = draw.uniform(*self.area) * rows * columns, draw.uniform(*self.ratio)
            height, width = round((pixels * ratio) ** 0.5), round((pixels / ratio) ** 0.5)
            if height < rows and width < columns:
                top, left = draw.integers(rows - height + 1), draw.integers(columns - width + 1)
                return {"box": (int(top), int(left), height, width)}
        return {"box": None}
