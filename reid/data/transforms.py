"""What happens to an image between the file and the network, in three parts.

Fitting gives it the network's size, on 8 bits a colour; nothing is random, so what it gives can be kept. Augmenting is
training's: flip, zoom, pad and crop, colour jitter, blur, erasing, all on 8 bits. Normalising turns a whole batch into
real numbers, on the device: a quarter of the bytes travel there. For networks of other projects the resizing is
Pillow's, with which they were trained.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Literal, Protocol

import cv2
import numpy as np
import torch
from PIL import Image
from torch import Tensor

if TYPE_CHECKING:
    import albumentations as A

# Else albumentations' import asks the network for a newer version; here, since workers' server imports this module.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

Interpolation = Literal["bilinear", "bicubic"]
TRIES = 100  # of a rectangle to erase, which may not fit
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
MEAN_COLOUR = tuple(round(255 * value) for value in IMAGENET_MEAN)
AREA, RATIO = (0.02, 0.4), (0.3, 1 / 0.3)  # of what is erased: share of the image, height / width
SIGMA = (0.1, 2.0)  # of the blur, pixels
LEAST_DEVIATION, FURTHEST = 1e-4, 20.0  # of standardising: added to a deviation; where values end


class Fit(Protocol):
    """An image (h, w, 3) uint8 to (height, width, 3) uint8."""

    @property
    def height(self) -> int: ...

    @property
    def width(self) -> int: ...

    def __call__(self, image: np.ndarray) -> np.ndarray: ...


Augment = Callable[[np.ndarray, Sequence[int]], np.ndarray]
Normalise = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Transform:
    """What a network wants done to its images.

    Attributes:
        fit: an image (h, w, 3) uint8 RGB to (height, width, 3) uint8.
        normalise: a batch (B, 3, height, width) uint8 to float32 in channels_last, on the device that it lies on.
        augment: a fitted image, which stays as it is, and a stream to one of the same size; None where nothing is
            random.
    """

    fit: Fit
    normalise: Normalise
    augment: Augment | None = None


def training_transform(
    height: int,
    width: int,
    flip: float = 0.5,
    pad: int = 10,
    erasing: float = 0.5,
    jitter: float = 0.0,
    standardise: bool = False,
    zoom: float = 0.0,
    blur: float = 0.0,
) -> Transform:
    """The random transform of training.

    Args:
        height, width: pixels of the result.
        flip: probability of a horizontal flip.
        pad: pixels of black added around, before a random crop back to the size.
        erasing: probability of :func:`erased_box` filled with ImageNet's mean colour.
        jitter: strength s: brightness, contrast and saturation in 1 +- s, hue in +- s / 5 of the circle; 0 is off.
        standardise: every image to mean 0, variance 1 per channel, instead of ImageNet's statistics.
        zoom: strength s: enlarged by a factor in 1 to 1 + s, before a random crop back to the size; 0 is off.
        blur: probability of a Gaussian blur, its standard deviation in 0.1 to 2 pixels.
    """
    augment = RandomSteps(flip, zoom, pad, _colour_jitter(jitter) if jitter > 0 else None, blur, erasing)
    return Transform(Resize(height, width), _normalisation(standardise), augment)


def evaluation_transform(height: int, width: int, standardise: bool = False) -> Transform:
    """The transform of testing: nothing random."""
    return Transform(Resize(height, width), _normalisation(standardise))


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
    return Transform(PillowResize(height, width, interpolation), PerChannel(tuple(mean), tuple(std), scale))


@dataclass(frozen=True)
class Resize:
    """Images (h, w, 3) uint8 to (height, width, 3) by OpenCV; those that have the size already are not copied."""

    height: int
    width: int
    interpolation: int = cv2.INTER_LINEAR

    def __call__(self, image: np.ndarray) -> np.ndarray:
        if image.shape[:2] == (self.height, self.width):
            return image
        return cv2.resize(image, (self.width, self.height), interpolation=self.interpolation)


@dataclass(frozen=True)
class PillowResize:
    """Images (h, w, 3) uint8 to (height, width, 3) uint8 by Pillow."""

    height: int
    width: int
    interpolation: Interpolation

    def __call__(self, image: np.ndarray) -> np.ndarray:
        filters = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
        return np.asarray(Image.fromarray(image).resize((self.width, self.height), filters[self.interpolation]))


@dataclass(frozen=True)
class RandomSteps:
    """The steps of :func:`training_transform` that are random.

    ``stream`` is a sequence of non-negative integers, such as (seed, epoch, position): the same stream gives the same
    result in any process. The two generators of an image are drawn from in the order in which albumentations 2.0.8
    does, by which networks were trained before; the steps of strength 0 draw nothing.
    """

    flip: float
    zoom: float
    pad: int
    jitter: A.ColorJitter | None
    blur: float
    erasing: float

    def __call__(self, image: np.ndarray, stream: Sequence[int]) -> np.ndarray:
        """(H, W, 3) uint8, of an image of that size, which stays as it is."""
        generator = np.random.default_rng(stream)
        draw = random.Random(int(generator.integers(2**63)))
        draw.random()  # whether to do anything at all, for albumentations
        if _happens(self.flip, draw):
            image = cv2.flip(image, 1)
        if self.zoom > 0:
            image = _zoomed(image, draw.uniform(1, 1 + self.zoom), draw)
        if self.pad > 0:
            image = _shifted(image, self.pad, draw)
        if self.jitter is not None:
            self.jitter.set_random_state(generator, draw)
            image = self.jitter(image=image)["image"]
        if _happens(self.blur, draw):
            image = cv2.GaussianBlur(image, (0, 0), draw.uniform(*SIGMA))
        rows, columns = image.shape[:2]
        if _happens(self.erasing, draw) and (box := erased_box(rows, columns, generator)) is not None:
            top, left, height, width = box
            image = image.copy()
            image[top : top + height, left : left + width] = MEAN_COLOUR
        return image


def _happens(probability: float, draw: random.Random) -> bool:
    """Draws only where chance decides, as albumentations does."""
    return probability >= 1 or (probability > 0 and draw.random() < probability)


def _start(room: int, draw: random.Random) -> int:
    """Where a crop begins that has ``room`` pixels more than it takes: 0 to ``room``."""
    return int((room + 1) * draw.random())


def _zoomed(image: np.ndarray, factor: float, draw: random.Random) -> np.ndarray:
    height, width = image.shape[:2]
    enlarged = Resize(round(height * factor), round(width * factor))(image)
    top = _start(enlarged.shape[0] - height, draw)
    left = _start(enlarged.shape[1] - width, draw)
    return np.ascontiguousarray(enlarged[top : top + height, left : left + width])


def _shifted(image: np.ndarray, pad: int, draw: random.Random) -> np.ndarray:
    """A crop of the size out of the image with ``pad`` pixels of black around it."""
    down, right = pad - _start(2 * pad, draw), pad - _start(2 * pad, draw)
    shifted = np.zeros_like(image)
    _overlap(shifted, down, right)[:] = _overlap(image, -down, -right)
    return shifted


def _overlap(image: np.ndarray, down: int, right: int) -> np.ndarray:
    """What lies in both the image and itself moved by so many pixels; empty where nothing does."""
    height, width = image.shape[:2]
    return image[max(down, 0) : max(height + down, 0), max(right, 0) : max(width + right, 0)]


def erased_box(rows: int, columns: int, draw: np.random.Generator) -> tuple[int, int, int, int] | None:
    """The rectangle (top, left, height, width), pixels, of random erasing as published; None where no try fitted.

    Zhong et al., "Random Erasing Data Augmentation", AAAI 2020, algorithm 1.

    Area (2 to 40 % of the image) and height / width (0.3 to 3.33) are drawn uniformly, again until the rectangle is
    lower and narrower than the image: on images twice as high as wide a mean area of 20 % and a median height / width
    of 1.9. ``albumentations.Erasing`` caps the area so that every ratio fits: at most 15 % there, mostly in wide bars.
    """
    for _ in range(TRIES):
        pixels, ratio = draw.uniform(*AREA) * rows * columns, draw.uniform(*RATIO)
        height, width = round((pixels * ratio) ** 0.5), round((pixels / ratio) ** 0.5)
        if height < rows and width < columns:
            return int(draw.integers(rows - height + 1)), int(draw.integers(columns - width + 1)), height, width
    return None


def _colour_jitter(strength: float) -> A.ColorJitter:
    import albumentations as A  # half a second, which only who asks for it waits

    around_one = (1 - strength, 1 + strength)
    return A.ColorJitter(around_one, around_one, around_one, (-strength / 5, strength / 5), p=1.0)


def _normalisation(standardise: bool) -> Normalise:
    return PerImage() if standardise else PerChannel(IMAGENET_MEAN, IMAGENET_STD)


@dataclass(frozen=True)
class PerChannel:
    """``(pixel * scale / 255 - mean) / std``, in float32, rounded as albumentations 2.0.8 does."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    scale: float = 1.0

    def __call__(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) float32 in channels_last, of images (B, 3, H, W) uint8 on any device."""
        mean, factor = _constants(self, images.shape[3], images.device)
        rows = images.permute(0, 2, 3, 1).flatten(2).to(torch.float32)
        return rows.sub_(mean).mul_(factor).unflatten(2, (-1, 3)).permute(0, 3, 1, 2)


@cache
def _constants(of: PerChannel, width: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Mean and factor of a row of ``width`` pixels, (3 * width,), kept on the device: each copy would wait for it."""
    white = 255 / of.scale
    mean = np.array(of.mean, np.float32) * white
    factor = np.reciprocal(np.array(of.std, np.float32) * white)
    on_host = (torch.from_numpy(np.tile(values, width)) for values in (mean, factor))
    first, second = (values.to(device, non_blocking=True) for values in on_host)
    return first, second


@dataclass(frozen=True)
class PerImage:
    """Every channel of every image to mean 0 and variance 1.

    The sums are whole numbers and thus exact on any device. NumPy's, by which albumentations 2.0.8 did this, are so for
    128 x 64 pixels and fewer where their number is a power of two; elsewhere they are rounded, and about one value in
    100,000 differs in its last bit.
    """

    def __call__(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) float32 in channels_last, of images (B, 3, H, W) uint8 on any device."""
        pixels = images.permute(0, 2, 3, 1).flatten(1, 2).to(torch.float64)
        count = pixels.shape[1]
        total = pixels.sum(dim=1, keepdim=True)
        squares = pixels.square().sum(dim=1, keepdim=True)
        deviation = ((count * squares.long() - total.long().square()).double() / count**2).sqrt_()
        values = pixels.sub_(total / count).div_(deviation.add_(LEAST_DEVIATION)).clamp_(-FURTHEST, FURTHEST)
        return values.to(torch.float32).unflatten(1, images.shape[2:]).permute(0, 3, 1, 2)
