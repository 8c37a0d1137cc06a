"""The forms that pictures come in: read within their bounds, and described for /openapi.json."""

from __future__ import annotations

from itertools import zip_longest
from typing import Any, TypeVar

import numpy as np
from pydantic import BaseModel, ValidationError
from starlette.datastructures import UploadFile
from starlette.requests import Request

from reid.gallery.catalogue.thumbnails import crop
from reid.gallery.web.uploads import FORMATS, PICTURES, Limits, Refused, decode, read_form

Fields = TypeVar("Fields", bound=BaseModel)
REPEATED = ("entry", "camera", "without", "box")


def multipart(fields: type[BaseModel]) -> dict[str, Any]:
    """The description of a form that read_form parses, not FastAPI, which would spool it to disk."""
    schema = fields.model_json_schema()
    image = {"type": "string", "format": "binary", "description": f"{', '.join(FORMATS)}, by content"}
    schema["properties"]["image"] = {"type": "array", "items": image, "maxItems": PICTURES}
    return {"requestBody": {"content": {"multipart/form-data": {"schema": schema}}, "required": True}}


async def received(request: Request, fields: type[Fields], limits: Limits) -> tuple[list[bytes], Fields]:
    """The pictures and the other fields of a form.

    Raises:
        Refused: the body cannot be read; a field that is unknown or wrong.
    """
    form = await read_form(request, limits.bytes)
    images: list[bytes] = []
    texts: dict[str, list[str]] = {}
    try:
        for name, value in form.multi_items():
            if not isinstance(value, UploadFile):
                texts.setdefault(name, []).append(value)
            elif name == "image":
                images.append(await value.read())
            else:
                raise Refused(422, f"{name}: expected text, got a file")
    finally:
        await form.close()  # each picture is in memory once
    values = {name: each[0] if len(each) == 1 and name not in REPEATED else each for name, each in texts.items()}
    try:
        return images, fields.model_validate(values)
    except ValidationError as error:
        raise Refused(422, sentence(error.errors())) from None


def sentence(errors: Any) -> str:
    """Pydantic's findings in one line."""
    return "; ".join(
        f"{'.'.join(map(str, each['loc']))}: {each['msg'].removeprefix('Value error, ')}" for each in errors
    )


def crops(images: list[bytes], boxes: list[tuple[int, int, int, int]], limits: Limits) -> list[np.ndarray]:
    """The pictures, (h, w, 3) uint8 RGB each, or what lies in their boxes, of which there is none or one a picture.

    Raises:
        Refused: a picture that cannot be decoded, too many pixels in all; another number of boxes, or one that lies
            outside.
    """
    if boxes and len(boxes) != len(images):
        raise Refused(422, f"box: {len(boxes)} for {len(images)} images, expected one for each, or none")
    kept: list[np.ndarray] = []
    for content, box in zip_longest(images, boxes):
        picture = decode(content, limits)
        if box is not None:
            (height, width), (left, top, right, bottom) = picture.shape[:2], box
            if not (0 <= left < right <= width and 0 <= top < bottom <= height):
                told = ",".join(map(str, box))
                raise Refused(422, f"box: {told} lies outside of {width} x {height} pixels, or is empty")
            picture = crop(picture, box).copy()  # the rest of the picture is let go
        kept.append(picture)
        if sum(picture.size for picture in kept) > 3 * limits.pixels:
            raise Refused(413, f"the pictures have more than {limits.pixels:,} pixels together")
    return kept
