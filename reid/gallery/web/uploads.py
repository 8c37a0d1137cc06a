"""Forms and pictures that come over the network: bounded before they are parsed and decoded, decoded strictly, never
written to disk; and described for /openapi.json."""

from __future__ import annotations

import io
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any, TypeVar

import numpy as np
from PIL import Image
from pydantic import BaseModel, ValidationError
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from reid.data.images import FORMATS as READABLE
from reid.data.images import upright_rgb

FORMATS = tuple(name for name in READABLE if name != "TIFF")  # a tile may be larger than its picture by far
SIDE = 16_384  # pixels; wider is no crop, and OpenCV's resize was not made for it
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
    """The pictures and the other fields of a form, whose length is bounded already (see guard.py).

    Raises:
        HTTPException: not multipart, or damaged; a field that is unknown or wrong.
    """
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
    try:
        for name, value in form.multi_items():
            if isinstance(value, str):
                texts.setdefault(name, []).append(value)
            elif name == "image":
                images.append(await value.read())
            else:
                raise HTTPException(422, f"{name}: expected text, got a file")
    finally:
        await form.close()  # each picture is in memory once
    values = {name: each[0] if len(each) == 1 and name not in REPEATED else each for name, each in texts.items()}
    try:
        return images, fields.model_validate(values)
    except ValidationError as error:
        raise HTTPException(422, sentence(error.errors())) from None


def sentence(errors: Any) -> str:
    """Pydantic's findings in one line."""
    return "; ".join(
        f"{'.'.join(map(str, each['loc']))}: {each['msg'].removeprefix('Value error, ')}" for each in errors
    )


def decode(content: bytes, limits: Limits) -> np.ndarray:
    """The picture in ``content`` as (h, w, 3) uint8 RGB, upright; what follows it is left alone.

    Raises:
        HTTPException: nothing there, not one of FORMATS by its content, too many pixels, or damaged.
    """
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
    """The pictures, (h, w, 3) uint8 RGB each, or what lies in their boxes, of which there is none or one a picture.

    Raises:
        HTTPException: a picture that cannot be decoded, too many pixels in all; another number of boxes, or one that
            lies outside.
    """
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
