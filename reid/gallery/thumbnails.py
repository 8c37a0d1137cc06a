"""Small pictures of crops, kept with the entries."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

SIZE = (128, 256)  # width, height
QUALITY = 85


def crop(image: np.ndarray, box: tuple[int, int, int, int]) -> np.ndarray:
    """The part of an image (h, w, 3) in a box (left, top, right, bottom), pixels, that lies inside of it."""
    left, top, right, bottom = box
    return image[top:bottom, left:right]


def thumbnail(image: np.ndarray, box: tuple[int, int, int, int] | None = None) -> bytes:
    """JPEG of an image (h, w, 3) uint8 RGB, or of a box in it, shrunk to fit 128 x 256 (width x height) pixels with
    its own proportions; a smaller one stays as it is."""
    picture = Image.fromarray(np.ascontiguousarray(image if box is None else crop(image, box)))
    picture.thumbnail(SIZE)
    content = io.BytesIO()
    picture.save(content, "JPEG", quality=QUALITY)
    return content.getvalue()
