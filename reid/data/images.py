"""Decoding image files: strictly, only in the formats that data sets use, upright, and to 8 bits a colour."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, features

from reid.errors import InputError

# Pillow would try all that it knows, whatever the file's name: for an EPS file it starts Ghostscript.
FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "TIFF")
UNREADABLE = (  # what Pillow raises, damaged bytes make it trip over in many ways
    *(OSError, SyntaxError, ValueError, TypeError, LookupError, ArithmeticError, EOFError, struct.error),
    *(Image.DecompressionBombError, Image.DecompressionBombWarning),
)
EIGHT_BIT = ("RGB", "L", "1", "P", "RGBA", "LA", "PA", "RGBX", "CMYK", "YCbCr")  # Pillow's conversion is exact
SIXTEEN_BIT = ("I;16", "I;16L", "I;16B", "I;16N")
ORIENTATION = 0x0112  # EXIF: where the first row and the first column of the stored pixels lie
UPRIGHT: dict[int, Callable[[np.ndarray], np.ndarray]] = {  # views of (h, w, 3), without Pillow's copies
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.swapaxes(0, 1),
    6: lambda pixels: pixels[::-1].swapaxes(0, 1),
    7: lambda pixels: pixels[::-1, ::-1].swapaxes(0, 1),
    8: lambda pixels: pixels[:, ::-1].swapaxes(0, 1),
}


def read_image(path: Path | str) -> np.ndarray:
    """Decode a file to (h, w, 3) uint8 RGB, as :func:`upright_rgb` does.

    Raises:
        InputError: naming the file, when it is missing or cannot be decoded whole.
    """
    try:  # its bytes: a file given by name Pillow maps into memory, and shears a grey TIFF that lies on its side
        with io.FileIO(path) as file:
            content = file.readall()
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            return upright_rgb(image)
    except UNREADABLE as error:
        raise InputError(f"{path}: not a readable image: {explain(error)}") from None


def upright_rgb(image: Image.Image) -> np.ndarray:
    """The pixels (h, w, 3) uint8 RGB of an image that is open, turned as its EXIF orientation says.

    Pillow refuses truncated files, where OpenCV would fill them with grey. Opaque 8-bit colours and greys stay as they
    are. 16-bit (and TIFF's 12-bit) greys are scaled from the whole range of their format to 0 to 255 and rounded; of
    16-bit colours Pillow gives the upper byte. Transparency is dropped: the colour that a file stores behind it counts.

    Of an MPO and an animated PNG the first picture counts, which every viewer shows.

    Raises:
        UNREADABLE: damaged or cut short; floating-point or 32-bit pixels, which have no white; several pages or
            frames, of which none is *the* picture.
    """
    if image.format in ("TIFF", "WEBP") and (frames := getattr(image, "n_frames", 1)) > 1:
        raise ValueError(f"it holds {frames} pictures; one a file is expected")
    image.load()  # turns a TIFF's pixels, and takes its orientation away
    image.info.pop("transparency", None)  # of a palette's entries or of one colour; Pillow would try to convert it
    if image.mode in SIXTEEN_BIT:
        pixels = np.repeat(_sixteen_bit_grey(image)[..., None], 3, axis=2)
    elif image.mode in EIGHT_BIT:
        pixels = np.asarray(image if image.mode == "RGB" else image.convert("RGB"))
    else:
        raise ValueError(f"pixels of mode {image.mode} are not read; save 8 or 16 bits a pixel, grey or RGB")
    turn = UPRIGHT.get(_orientation(image))
    return pixels if turn is None else np.ascontiguousarray(turn(pixels))


def _sixteen_bit_grey(image: Image.Image) -> np.ndarray:
    tags = getattr(image, "tag_v2", {})  # a TIFF's
    white = 2 ** tags.get(258, (16,))[0] - 1  # bits a sample
    grey = np.asarray(image).astype(np.uint32)
    grey *= 255
    grey += white // 2
    grey //= white
    return (255 - grey if tags.get(262) == 0 else grey).astype(np.uint8)  # photometric interpretation: white is 0


def _orientation(image: Image.Image) -> int:
    """1 to 8 as stored; 1 (as it is) where the EXIF data is absent or damaged, as every viewer takes it."""
    try:
        orientation = image.getexif().get(ORIENTATION, 1)
    except Exception:  # Pillow raises whatever damaged tags make it trip over, and the pixels are whole
        return 1
    return orientation if isinstance(orientation, int) else 1


def explain(error: Exception) -> str:
    """What Pillow stumbled over, and whether it lacks a part that is left out of some builds."""
    if isinstance(error, Image.UnidentifiedImageError):
        lacking = "" if features.check("webp") else "; this Pillow was built without WebP"
        return f"cannot identify it as one of {', '.join(FORMATS)}{lacking}"
    return getattr(error, "strerror", None) or str(error)
