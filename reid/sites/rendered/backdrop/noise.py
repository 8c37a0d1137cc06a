"""Random fields: noise of several octaves, and courses of bricks, tiles and slabs."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.float32]  # (height, width)
Colour = NDArray[np.float32]  # (3,) sRGB, 0..1


_COARSE = 12.0  # pixels


def octaves(
    rng: np.random.Generator,
    height: int,
    width: int,
    coarse: float,
    fine: float = 2.0,
    persistence: float = 1.0,
    stretch: float = 1.0,
) -> Field:
    """Smooth noise (height, width) of mean 0 and standard deviation 1.

    Blobs measure from `coarse` down to `fine` pixels, halved from octave to octave; each octave has `persistence` times
    the amplitude of the coarser one (1: a spectrum of amplitudes like 1/f, as photographs have). `stretch` above 1
    makes blobs wider than high.
    """
    small = (max(2, height // 4), max(2, width // 4))  # coarse octaves are summed small and enlarged once
    shape = small if coarse >= _COARSE else (height, width)
    total = np.zeros(shape, np.float32)
    size, amplitude = coarse, np.float32(1.0)
    while True:
        if size < _COARSE and total.shape != (height, width):
            total = np.asarray(cv2.resize(total, (width, height), interpolation=cv2.INTER_CUBIC), np.float32)
        cells = (max(2, round(height / size)), max(2, round(width / (size * stretch))))
        grid = amplitude * rng.standard_normal(cells, np.float32)
        total += cv2.resize(grid, total.shape[::-1], interpolation=cv2.INTER_CUBIC)
        size, amplitude = size / 2, amplitude * np.float32(persistence)
        if size < fine:
            break
    mean, deviation = (float(value[0, 0]) for value in cv2.meanStdDev(total))
    total -= np.float32(mean)
    total *= np.float32(1 / max(deviation, 1e-6))
    if total.shape != (height, width):
        total = np.asarray(cv2.resize(total, (width, height), interpolation=cv2.INTER_CUBIC), np.float32)
    return total


def plain(rng: np.random.Generator, low: float, high: float, warmth: float = 0.03, spread: float = 0.05) -> Colour:
    """A colour of brightness `low`..`high` (sRGB), nearly grey: `warmth` moves its mean from blue to red."""
    warm, green = rng.normal(warmth, spread), rng.normal(0, spread / 3)
    return np.array(rng.uniform(low, high) * np.array([1 + warm, 1 + green, 1 - warm]), np.float32)


def masonry(
    rng: np.random.Generator,
    s: Field,
    t: Field,
    unit: tuple[float, float],
    joint: float,
    bond: float = 0.5,
) -> tuple[Field, Field]:
    """Courses of bricks, tiles or slabs: a tone for each unit, about N(0, 1), and how much of a pixel is joint, 0..1.

    Args:
        rng: draws the tones.
        s: (height, width) metres along the courses at each pixel.
        t: (height, width) metres across them.
        unit: width and height of one unit in metres, its joint included.
        joint: width of a joint in metres.
        bond: by what share of a unit a course is shifted against the one before.

    Both fade out where a pixel covers more than half a unit.
    """
    course = np.floor(t / np.float32(unit[1]))
    along = s / np.float32(unit[0]) + course * np.float32(bond)
    column = np.floor(along)
    tones = rng.standard_normal((64, 64), np.float32)
    tone = tones[course.astype(np.int32) & 63, column.astype(np.int32) & 63]
    cover = np.zeros(s.shape, np.float32)
    fade = np.ones(s.shape, np.float32)
    offsets = (along - column, t / np.float32(unit[1]) - course)
    for axis, (values, offset) in enumerate(zip((s, t), offsets, strict=True)):
        dy, dx = np.gradient(values)
        pixel = np.abs(dx) + np.abs(dy) + np.float32(1e-6)
        distance = (np.float32(0.5) - np.abs(offset - np.float32(0.5))) * np.float32(unit[axis])
        inside = np.clip((joint / 2 - distance) / pixel + 0.5, 0, 1) * np.minimum(joint / pixel, 1)
        cover = np.maximum(cover, inside)
        fade *= np.clip(unit[axis] / pixel / 2 - 0.5, 0, 1)
    return np.asarray(tone * fade, np.float32), np.asarray(cover * fade, np.float32)
