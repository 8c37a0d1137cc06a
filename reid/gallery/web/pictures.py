"""Pictures in forms that come over the network: bounded before they are parsed and decoded, decoded strictly, never
written to disk; and described for /openapi.json. And the pictures that entries were cut from, on their way out."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from PIL import Image, ImageDraw
from pydantic import BaseModel, ValidationError
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from reid.data.images import FORMATS as READABLE
from reid.data.images import read_image, upright_rgb
from reid.errors import InputError
from reid.gallery.entries import Entry, NotThere
from reid.video.frames import read_frame

FORMATS = tuple(name for name in READABLE if name != "TIFF")  # a tile may be larger than its picture by far
SIDE = 16_384  # pixels; wider is no crop, and OpenCV's resize was not made for it
LARGEST = 1920  # pixels a side of what is sent
SCANS = 100  # a progressive JPEG has about ten; each of thousands would be a pass over all pixels
PICTURES = 8  # of one person, in one request
BOUNDS = {"max_files": PICTURES, "max_fields": 512, "max_part_size": 10_000}  # the last: bytes of a text
REPEATED = ("entry", "camera", "without", "box")
Fields = TypeVar("Fields", bound=BaseModel)


@dataclass(frozen=True)
class Limits:
    """What one client may cost.

    Attributes:
        bytes: of a request's body, counted while it arrives; of those without a picture some kB (see guard.py).
        pixels: of a picture, read from its header before it is decoded; each takes 14 bytes of memory meanwhile, a
            WebP's 22.
        seconds: for a body to arrive, and before that for its turn.
        uploads: bodies held in memory at once; more wait. As many beside them for signing in.
        decoding: pictures decoded and embedded at once; more wait.
    """

    bytes: int = 10_000_000
    pixels: int = 20_000_000
    seconds: float = 30.0
    uploads: int = 16
    decoding: int = 2


def multipart(fields: type[BaseModel]) -> dict[str, Any]:
    """The description of a form that :func:`received` reads, not FastAPI, which would spool it to disk."""
    schema = fields.model_json_schema()
    image = {"type": "string", "format": "binary", "description": f"{', '.join(FORMATS)}, by content"}
    schema["properties"]["image"] = {"type": "array", "items": image, "maxItems": PICTURES}
    return {"requestBody": {"content": {"multipart/form-data": {"schema": schema}}, "required": True}}


async def received(request: Request, fields: type[Fields], limits: Limits) -> tuple[list[bytes], Fields]:
    """The pictures and the other fields of a form, whose length is bounded already (see guard.py). Raises HTTPException
    when it is not multipart, or damaged, or for a field that is unknown or wrong."""
    kind = request.headers.get("content-type", "")
    if kind.partition(";")[0].strip().lower() != "multipart/form-data":
        raise HTTPException(415, f"expected a body of multipart/form-data, got {kind or 'no content type'!r}")
    parser = MultiPartParser(request.headers, request.stream(), **BOUNDS)
    parser.spool_max_size = limits.bytes + 1  # larger parts would be spooled to a temporary file
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise HTTPException(400, f"not a readable form: {error.message}") from None
    images: list[bytes] = []
    texts: dict[str, list[str]] = {}
    for name, value in form.multi_items():
        if isinstance(value, str):
            texts.setdefault(name, []).append(value)
        elif name == "image":
            images.append(await value.read())
            await value.close()  # each picture is in memory once
        else:
            raise HTTPException(422, f"{name}: expected text, got a file")
    values = {name: each[0] if len(each) == 1 and name not in REPEATED else each for name, each in texts.items()}
    try:
        return images, fields.model_validate(values)
    except ValidationError as error:
        raise HTTPException(422, sentence(error.errors())) from None


def sentence(errors: Any) -> str:
    """Pydantic's findings in one line."""
    return "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg'].removeprefix('Value error, ')}" for one in errors)


def decode(content: bytes, limits: Limits) -> np.ndarray:
    """The picture in ``content`` as (h, w, 3) uint8 RGB, upright; what follows it is left alone. Raises HTTPException
    where there is nothing, not one of FORMATS by its content, too many pixels, or damage."""
    if not content:
        raise HTTPException(400, "the file is empty")
    if content.startswith(b"\xff\xd8") and content.count(b"\xff\xda") > SCANS:
        raise HTTPException(422, f"the picture has more than {SCANS} scans")
    try:
        image = Image.open(io.BytesIO(content), formats=FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise HTTPException(413, f"the picture has more than {limits.pixels:,} pixels") from None
    except Exception:  # Pillow raises whatever hostile bytes make it trip over
        raise HTTPException(415, f"not a picture of the formats {', '.join(FORMATS)}") from None
    with image:
        width, height = image.size
        if width * height > limits.pixels or max(width, height) > SIDE:
            most = f"{limits.pixels:,} pixels and {SIDE:,} a side"
            raise HTTPException(413, f"the picture has {width:,} x {height:,} pixels; allowed are {most}")
        try:
            return upright_rgb(image)
        except Exception as error:
            raise HTTPException(422, f"the picture is damaged or cut short: {error}") from None


def crops(images: list[bytes], boxes: list[tuple[int, int, int, int]], limits: Limits) -> list[np.ndarray]:
    """The pictures, (h, w, 3) uint8 RGB each, or what lies in their boxes, none or one a picture. Raises HTTPException
    for one that cannot be decoded, too many pixels in all, another number of boxes, or one that lies outside."""
    if boxes and len(boxes) != len(images):
        raise HTTPException(422, f"box: {len(boxes)} for {len(images)} images, expected one for each, or none")
    kept: list[np.ndarray] = []
    for content, box in zip_longest(images, boxes):
        picture = decode(content, limits)
        if box is not None:
            (height, width), (left, top, right, bottom) = picture.shape[:2], box
            if not (0 <= left < right <= width and 0 <= top < bottom <= height):
                told = ",".join(map(str, box))
                raise HTTPException(422, f"box: {told} lies outside of {width} x {height} pixels, or is empty")
            picture = picture[top:bottom, left:right].copy()  # the rest of the picture is let go
        kept.append(picture)
        if sum(picture.size for picture in kept) > 3 * limits.pixels:
            raise HTTPException(413, f"the pictures have more than {limits.pixels:,} pixels together")
    return kept


def source_picture(entry: Entry) -> bytes:
    """The source image or video frame as a JPEG, at most LARGEST a side, the entry's box drawn on it. Raises NotThere,
    without its folder, where it is not there any more, or cannot be read."""
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
