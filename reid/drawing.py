"""What pictures are made of: how a model looks in a plot, a plot as a PNG, framed crops with captions."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe and Ito's palette: told apart with every common form of colour blindness; markers and dashes say it again.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS, DASHES = ("o", "s", "^", "D", "v", "P", "X"), ("-", "--", "-.", ":")
CELL, GAP, CAPTION = (128, 64), 10, 30  # pixels: (height, width) of a thumbnail, space between, two lines of text below
LINE = CAPTION // 2
RIGHT, WRONG, QUERY, INK = "#1b9e4b", "#d7301f", "#555555", "#1a1a1a"
FRAME = 4


@dataclass(frozen=True)
class Picture:
    """A PNG, the name of its file, its caption and its alternative text."""

    name: str
    content: bytes
    caption: str
    alt: str


@dataclass(frozen=True)
class Style:
    color: str
    marker: str
    dash: str


def styles(models: Sequence[str]) -> dict[str, Style]:
    """Each model's look, the same in every figure."""
    return {
        model: Style(COLORS[n % len(COLORS)], MARKERS[n % len(MARKERS)], DASHES[n % len(DASHES)])
        for n, model in enumerate(models)
    }


def png(figure: Figure) -> bytes:
    """The figure as a PNG, the same bytes for the same figure. A $ in it is a $, no formula: names come from users."""
    from matplotlib.text import Text  # not where only crops are drawn

    ticks = [tick for axes in figure.axes for axis in (axes.xaxis, axes.yaxis) if axis.get_scale() == "log"
             for tick in axis.get_ticklabels(which="both")]  # fmt: skip
    powers = {id(text) for text in ticks}  # of ten, which matplotlib writes as formulas itself
    for text in figure.findobj(Text):
        if isinstance(text, Text) and id(text) not in powers:
            text.set_parse_math(False)
    content = io.BytesIO()
    figure.savefig(content, dpi=150, facecolor="white", metadata={"Software": None})
    return content.getvalue()


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
