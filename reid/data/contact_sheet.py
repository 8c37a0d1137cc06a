"""A contact sheet: a few identities as rows, the data set's cameras as columns, one panel a split. Where there are many
cameras, a row shows the first of those that its identity passed, each numbered."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps

from reid.data.images import read_image
from reid.data.layouts import UNKNOWN_CAMERA
from reid.data.names import counted
from reid.data.samples import DataSet, Samples
from reid.errors import InputError

MARGIN, GAP, HEADER, LABEL = 16, 6, 48, 64  # pixels
CAPTION = 13  # points
PAPER, EMPTY, INK, FAINT = (255, 255, 255), (238, 238, 238), (30, 30, 30), (120, 120, 120)
WIDE = 6  # with more cameras than this the panels stand below each other
MANY, SHOWN = 16, 8  # with more cameras than the first, so many of its own stand in an identity's row


@dataclass(frozen=True)
class _Panel:
    split: str
    samples: Samples
    pids: list[int]


def contact_sheet(dataset: DataSet, path: Path, identities: int = 6, cell: tuple[int, int] = (128, 64)) -> None:
    """Write a PNG: identities spread evenly over each split's, the first image (by name) of each and each camera. A
    name that ends in .jpg makes it a JPEG.

    Query and gallery show the same people, so that a wrong identity or camera meets the eye. cell: (height, width).
    """
    cameras = sorted({int(camera) for samples in dataset.splits.values() for camera in samples.cameras})
    panels = [_Panel(name, samples, _rows(dataset, name, identities)) for name, samples in dataset.splits.items()]
    columns: list[int | None] = [*cameras] if len(cameras) <= MANY else [None] * min(SHOWN, max(map(_passed, panels)))
    heads = _heads(columns)
    font = ImageFont.load_default(CAPTION)
    least = max(_wide(_caption(panel), font) for panel in panels)  # titles do not run into each other
    least = max(least, LABEL + _wide(heads[-1], ImageFont.load_default(11)))
    width = max(LABEL + len(columns) * (cell[1] + GAP), least)
    heights = [HEADER + len(panel.pids) * (cell[0] + GAP) for panel in panels]
    stacked = len(columns) > WIDE
    across, down = (1, len(panels)) if stacked else (len(panels), 1)
    top = MARGIN + 28
    sheet_width = MARGIN + across * (width + MARGIN)
    sheet_height = top + (sum(heights) if stacked else max(heights)) + down * MARGIN
    title = ImageFont.load_default(18)
    least = 2 * MARGIN + _wide(dataset.title, title)
    sheet = Image.new("RGB", (max(sheet_width, least, 320), sheet_height), PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((MARGIN, MARGIN - 4), dataset.title, fill=INK, font=title)
    left = MARGIN
    for panel, height in zip(panels, heights, strict=True):
        _draw_panel(sheet, draw, panel, (left, top), columns, cell)
        if stacked:
            top += height + MARGIN
        else:
            left += width + MARGIN
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        sheet.save(path, format="JPEG" if path.suffix.lower() in (".jpg", ".jpeg") else "PNG", quality=85)
    except OSError as error:
        raise InputError(f"{path}: the contact sheet cannot be written: {error.strerror or error}") from None


def _passed(panel: _Panel) -> int:
    """The most cameras that one of the identities shown passed."""
    return max(len(np.unique(panel.samples.camids[panel.samples.pids == pid])) for pid in panel.pids)


def _heads(columns: Sequence[int | None]) -> list[str]:
    """What stands above the columns: nothing above those that are not one camera's. 0 alone is the number of images
    whose camera is not known."""
    cameras = [camera for camera in columns if camera is not None]
    if not cameras:
        return [""] * len(columns)
    return ["camera not known"] if cameras == [int(UNKNOWN_CAMERA)] else [f"camera {camera}" for camera in cameras]


def _caption(panel: _Panel) -> str:
    images, people = len(panel.samples), len(panel.samples.identities)
    return f"{panel.split}: {counted(images, 'image')}, {counted(people, 'person', 'people')}"


def _wide(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> int:
    return math.ceil(font.getlength(text))


def _rows(dataset: DataSet, split: str, limit: int) -> list[int]:
    """Evenly spread identities; the gallery's are the query's, and 0 (the distractors) after them."""
    samples = dataset.splits[split]
    source = dataset.splits.get("query", samples) if split == "gallery" else samples
    pids = source.identities.tolist()
    places = np.unique(np.linspace(0, len(pids) - 1, min(limit, len(pids))).round().astype(int))
    distractors = [0] if split == "gallery" and (samples.pids == 0).any() else []
    return [pids[place] for place in places] + distractors


def _draw_panel(
    sheet: Image.Image,
    draw: ImageDraw.ImageDraw,
    panel: _Panel,
    corner: tuple[int, int],
    columns: Sequence[int | None],
    cell: tuple[int, int],
) -> None:
    left, top = corner
    height, width = cell
    samples, small = panel.samples, ImageFont.load_default(11)
    draw.text((left, top), _caption(panel), fill=INK, font=ImageFont.load_default(CAPTION))
    for column, head in enumerate(_heads(columns)):
        here = left + LABEL + column * (width + GAP)
        draw.text((here, top + 24), head, fill=FAINT, font=small)
    for row, pid in enumerate(panel.pids):
        y = top + HEADER + row * (height + GAP)
        draw.text((left, y), "distractor" if pid == 0 else f"id {pid}", fill=INK, font=small)
        shots = int((samples.pids == pid).sum())
        draw.text((left, y + 15), counted(shots, "image"), fill=FAINT, font=small)
        passed = iter(np.unique(samples.camids[samples.pids == pid]).tolist())
        for column, of_all in enumerate(columns):
            x = left + LABEL + column * (width + GAP)
            draw.rectangle((x, y, x + width - 1, y + height - 1), fill=EMPTY)
            camera = next(passed, None) if of_all is None else of_all
            images = np.flatnonzero((samples.pids == pid) & (samples.camids == camera))
            if len(images):
                _paste(sheet, draw, samples.paths[images[0]], (x, y), cell)
            if of_all is None and camera is not None:
                number = f"c{camera}"
                draw.rectangle((x, y, x + _wide(number, small) + 3, y + 13), fill=PAPER)
                draw.text((x + 2, y), number, fill=INK, font=small)


def _paste(
    sheet: Image.Image, draw: ImageDraw.ImageDraw, path: Path, corner: tuple[int, int], cell: tuple[int, int]
) -> None:
    """The image, shrunk or enlarged to fit its cell with its own proportions; a word where it cannot be decoded."""
    height, width = cell
    try:
        fitted = ImageOps.contain(Image.fromarray(read_image(path)), (width, height))
    except InputError:
        draw.text((corner[0] + 4, corner[1] + 4), "unreadable", fill=(170, 0, 0), font=ImageFont.load_default(11))
        return
    sheet.paste(fitted, (corner[0] + (width - fitted.width) // 2, corner[1] + (height - fitted.height) // 2))
