"""What a surveillance camera takes from an image: sharpness, resolution, quiet; and what it adds: halos, blocks."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from reid.sites.photometry import Image

_ROWS = 128  # lengths in pixels below are of an image of so many rows
_MOST_SHRINK = 0.8
_BEST_QUALITY = 95


@dataclass(frozen=True)
class Losses:
    """A camera's losses. The defaults leave an image as it is, but for JPEG.

    Attributes:
        shrink: share of the resolution that is lost when a far person is enlarged, 0..1.
        blur: sigma of the lens and of bad focus, pixels.
        motion: length of the smear of a person in motion, pixels, mostly sideways.
        comb: by how far odd rows are shifted against even ones, as interlaced video does, pixels.
        sharpen: strength of the camera's sharpening, which leaves halos; 1 doubles what is finer than `halo`.
        halo: sigma of the blur that sharpening is measured against, pixels.
        noise: sigma of the brightness, of a range 0..1.
        colour_noise: sigma of the colours, coarser than the brightness's.
        jpeg_quality: 5..95.
    """

    shrink: float = 0.0
    blur: float = 0.0
    motion: float = 0.0
    comb: float = 0.0
    sharpen: float = 0.0
    halo: float = 1.2
    noise: float = 0.0
    colour_noise: float = 0.0
    jpeg_quality: int = _BEST_QUALITY


def scale_losses(losses: Losses, strength: float) -> Losses:
    """Move from none (0) to the losses given (1) and beyond."""
    return Losses(
        shrink=min(losses.shrink * strength, _MOST_SHRINK),
        blur=losses.blur * strength,
        motion=losses.motion * strength,
        comb=losses.comb * strength,
        sharpen=losses.sharpen * strength,
        halo=losses.halo,
        noise=losses.noise * strength,
        colour_noise=losses.colour_noise * strength,
        jpeg_quality=max(5, round(_BEST_QUALITY - (_BEST_QUALITY - losses.jpeg_quality) * strength)),
    )


def _smeared(image: Image, length: float, angle: float) -> Image:
    side = 2 * int(np.ceil(length / 2)) + 1
    kernel = np.zeros((side, side), np.float32)
    middle, reach = side // 2, length / 2
    step = np.array([np.cos(angle), np.sin(angle)]) * reach
    ends = np.round((np.array([middle - step, middle + step])) * 16).astype(int)
    cv2.line(kernel, ends[0].tolist(), ends[1].tolist(), (1.0,), 1, cv2.LINE_8, 4)
    return np.asarray(cv2.filter2D(image, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REPLICATE), np.float32)


def _combed(image: Image, shift: float) -> Image:
    out = image.copy()
    matrix = np.array([[1, 0, shift], [0, 1, 0]], np.float32)
    height, width = image.shape[:2]
    out[1::2] = cv2.warpAffine(image, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE)[1::2]
    return out


def lose(image: Image, losses: Losses, rng: np.random.Generator) -> NDArray[np.uint8]:
    """What is left of an image (H, W, 3), RGB 0..1; returns (H, W, 3) uint8. JPEG is the writer's.

    Noise and sharpening act on the shrunk image, as in a crop that is enlarged afterwards. The number of draws does not
    depend on the losses.
    """
    height, width = image.shape[:2]
    unit = height / _ROWS
    angle, side = rng.normal(0, 0.5), rng.choice([-1.0, 1.0])
    bright = rng.standard_normal((height, width, 1), np.float32)
    tinted = rng.standard_normal((height // 2, width // 2, 3), np.float32)
    if losses.motion * unit > 0.5:
        image = _smeared(image, losses.motion * unit, angle)
    if losses.comb * unit > 0.25:
        image = _combed(image, side * losses.comb * unit)
    rows, columns = height, width
    if losses.shrink > 0:
        rows, columns = max(8, round(height * (1 - losses.shrink))), max(4, round(width * (1 - losses.shrink)))
        image = np.asarray(cv2.resize(image, (columns, rows), interpolation=cv2.INTER_AREA), np.float32)
        unit *= rows / height
    if losses.blur * unit > 0.15:
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), losses.blur * unit), np.float32)
    if losses.noise > 0 or losses.colour_noise > 0:
        grain = cv2.resize(tinted, (width, height), interpolation=cv2.INTER_LINEAR)[:rows, :columns]
        image = image + losses.noise * bright[:rows, :columns] + losses.colour_noise * grain
    if losses.sharpen > 0:
        image = image + losses.sharpen * (image - cv2.GaussianBlur(image, (0, 0), max(losses.halo * unit, 0.5)))
    if rows != height:
        image = np.asarray(cv2.resize(np.clip(image, 0, 1), (width, height)), np.float32)
    return np.asarray(np.clip(image * 255 + 0.5, 0, 255), np.uint8)
