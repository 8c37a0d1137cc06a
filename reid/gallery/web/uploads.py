"""Pictures that come over the network: bounded before they are decoded, decoded strictly, never written to disk."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from reid.data import images

if TYPE_CHECKING:
    from starlette.datastructures import FormData
    from starlette.requests import Request

FORMATS = tuple(name for name in images.FORMATS if name != "TIFF")  # a tile may be larger than its picture by far
SIDE = 16_384  # pixels; wider is no crop, and OpenCV's resize was not made for it
SCANS = 100  # a progressive JPEG has about ten; each of thousands would be a pass over all pixels
FIELDS = 512
PICTURES = 8  # of one person, in one request


@dataclass(frozen=True)
class Limits:
    """What one client may cost.

    Attributes:
        bytes: of a request's body, counted while it arrives; of those without a picture some kB (see bodies.py).
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


class Refused(Exception):
    """An answer that is an error, with its HTTP status: the client asked for what it cannot have."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status, self.message = status, message


async def read_form(request: Request, limit: int) -> FormData:
    """The fields of a multipart body, whose length is bounded already (see bodies.py); all of it stays in memory.

    Raises:
        Refused: not multipart, or damaged.
    """
    from starlette.formparsers import MultiPartException, MultiPartParser

    kind = request.headers.get("content-type", "")
    if kind.partition(";")[0].strip().lower() != "multipart/form-data":
        raise Refused(415, f"expected a body of multipart/form-data, got {kind or 'no content type'!r}")
    bounds = {"max_files": PICTURES, "max_fields": FIELDS, "max_part_size": 10_000}
    parser = MultiPartParser(request.headers, request.stream(), **bounds)
    parser.spool_max_size = limit + 1  # larger parts would be spooled to a temporary file
    try:
        return await parser.parse()
    except MultiPartException as error:
        raise Refused(400, f"not a readable form: {error.message}") from None


def decode(content: bytes, limits: Limits) -> np.ndarray:
    """The picture in ``content`` as (h, w, 3) uint8 RGB, upright; what follows it is left alone.

    Raises:
        Refused: nothing there, not one of FORMATS by its content, too many pixels, or damaged.
    """
    if not content:
        raise Refused(400, "the file is empty")
    if content.startswith(b"\xff\xd8") and content.count(b"\xff\xda") > SCANS:
        raise Refused(422, f"the picture has more than {SCANS} scans")
    try:
        image = Image.open(io.BytesIO(content), formats=FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise Refused(413, f"the picture has more than {limits.pixels:,} pixels") from None
    except Exception:  # Pillow raises whatever hostile bytes make it trip over
        raise Refused(415, f"not a picture of the formats {', '.join(FORMATS)}") from None
    with image:
        width, height = image.size
        if width * height > limits.pixels or max(width, height) > SIDE:
            most = f"{limits.pixels:,} pixels and {SIDE:,} a side"
            raise Refused(413, f"the picture has {width:,} x {height:,} pixels; allowed are {most}")
        try:
            return images.upright_rgb(image)
        except Exception as error:
            raise Refused(422, f"the picture is damaged or cut short: {error}") from None
