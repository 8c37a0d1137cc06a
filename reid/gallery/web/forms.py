"""The forms that pictures come in: read within their bounds, and described for /openapi.json."""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.datastructures import UploadFile
from starlette.requests import Request

from reid.gallery.web import answers
from reid.gallery.web.uploads import FORMATS, Limits, Refused, read_form

Fields = TypeVar("Fields", bound=BaseModel)


def multipart(fields: type[BaseModel], images: int) -> dict[str, Any]:
    """The description of a form that read_form parses, not FastAPI, which would spool it to disk."""
    schema = fields.model_json_schema()
    image = {"type": "string", "format": "binary", "description": f"{', '.join(FORMATS)}, by content"}
    schema["properties"]["image"] = image if images == 1 else {"type": "array", "items": image, "maxItems": images}
    return {"requestBody": {"content": {"multipart/form-data": {"schema": schema}}, "required": True}}


async def received(
    request: Request, fields: type[Fields], repeatable: str, limits: Limits
) -> tuple[list[bytes], Fields]:
    """The pictures and the other fields of a form, of which one may be given several times.

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
    values = {name: each[0] if len(each) == 1 and name != repeatable else each for name, each in texts.items()}
    try:
        return images, fields.model_validate(values)
    except ValidationError as error:
        raise Refused(422, sentence(error.errors())) from None


def sentence(errors: Any) -> str:
    """Pydantic's findings in one line."""
    return "; ".join(
        f"{'.'.join(map(str, each['loc']))}: {each['msg'].removeprefix('Value error, ')}" for each in errors
    )


async def one_query(request: Request, limits: Limits) -> tuple[bytes | int, answers.Search]:
    """What is searched: the picture or the entry, of which there must be exactly one."""
    images, asked = await received(request, answers.Search, "camera", limits)
    queries: list[bytes | int] = [*images, *([] if asked.entry is None else [asked.entry])]
    if len(queries) != 1:
        raise Refused(422, f"expected one image or one entry, got {len(queries)}")
    return queries[0], asked
