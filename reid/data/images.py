"""Decoding image files, strictly and only in the formats that data sets use."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from reid.errors import InputError

# Pillow would try all that it knows, whatever the file's name: for an EPS file it starts Ghostscript.
FORMATS = ("JPEG", "PNG", "BMP")
UNREADABLE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError, Image.DecompressionBombWarning)


def read_image(path: Path) -> np.ndarray:
    """Decode to (h, w, 3) uint8 RGB. Pillow refuses truncated files, where OpenCV would fill them with grey.

    Raises:
        InputError: naming the file, when it is missing or cannot be decoded whole.
    """
    try:
        with Image.open(path, formats=FORMATS) as image:
            return np.asarray(image.convert("RGB"))
    except UNREADABLE as error:
        raise InputError(f"{path}: not a readable image: {error}") from None
