"""The picture that an entry was cut from, with the person marked."""

from __future__ import annotations

import io
import os
from pathlib import Path

from PIL import Image, ImageDraw

from reid.data.images import read_image
from reid.errors import InputError
from reid.gallery.entries import Entry, NotThere
from reid.video.frames import read_frame

LARGEST = 1920  # pixels a side of what is sent


def source_picture(entry: Entry) -> bytes:
    """The source image or video frame as a JPEG, at most LARGEST a side, the entry's box drawn on it.

    Raises:
        NotThere: the source is not there any more, or cannot be read; without its folder.
    """
    path = Path(entry.source)
    if not os.path.isfile(path):  # noqa: PTH113  (Path.is_file raises where a folder is closed, or a name too long)
        raise NotThere(f"{path.name}: the source of entry {entry.id} is not there any more")
    try:
        image = Image.fromarray(read_image(path) if entry.frame is None else read_frame(path, entry.frame))
    except InputError as error:
        raise NotThere(str(error).replace(entry.source, path.name)) from None
    whole = image.width
    image.thumbnail((LARGEST, LARGEST))
    if entry.box is not None:
        left, top, right, bottom = (round(side * image.width / whole) for side in entry.box)
        width = max(2, max(image.size) // 300)
        draw = ImageDraw.Draw(image)
        # Dark around bright: seen on any ground.
        for colour, grow in (((0, 0, 0), 2 * width), ((255, 214, 0), width)):
            corners = (left - grow, top - grow, max(left, right) + grow, max(top, bottom) + grow)
            draw.rectangle(corners, outline=colour, width=width)
    file = io.BytesIO()
    image.save(file, "JPEG", quality=85)
    return file.getvalue()
