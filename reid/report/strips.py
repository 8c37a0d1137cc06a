"""Thumbnails in a row: framed, a caption below."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps

CELL, GAP, CAPTION = (128, 64), 10, 30  # pixels: (height, width) of a thumbnail, space between, two lines of text below
LINE = CAPTION // 2
RIGHT, WRONG, QUERY, INK = "#1b9e4b", "#d7301f", "#555555", "#1a1a1a"
FRAME = 4


def paste(
    draw: ImageDraw.ImageDraw,
    sheet: Image.Image,
    pixels: np.ndarray,
    place: tuple[int, int],
    color: str,
    caption: Sequence[str],
    struck: bool = False,
) -> None:
    """One thumbnail of (h, w, 3) uint8 ``pixels``, its cell's (left, top) at ``place``; a slash in its corner where
    ``struck``, so that the frame's colour does not say it alone."""
    (height, width), (left, top) = CELL, place
    image = ImageOps.contain(Image.fromarray(pixels), (width, height))
    sheet.paste(image, (left + (width - image.width) // 2, top + (height - image.height) // 2))
    box = (left - FRAME // 2, top - FRAME // 2, left + width + FRAME // 2 - 1, top + height + FRAME // 2 - 1)
    draw.rectangle(box, outline=color, width=FRAME)
    font = ImageFont.load_default(13)
    for line, text in enumerate(caption):
        middle = (left + width // 2, top + height + 4 + LINE * line)
        draw.text(middle, text, fill=color if line == 0 else INK, font=font, anchor="ma")
    if struck:
        draw.line((left + width - 16, top + 16, left + width, top), fill=WRONG, width=FRAME)
