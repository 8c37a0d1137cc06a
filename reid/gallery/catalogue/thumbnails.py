"""Thumbnails: small JPEGs of crops, and the files that hold them beside the catalogue, many in one.

    thumbnails/PACK   JPEGs, one after the other; the catalogue knows where each begins and its bytes

A pack grows until it is large or its day is over. Erased ones are overwritten with zeros where they lie, and a pack
goes when nothing in it is left.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate, groupby
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from reid.errors import InputError
from reid.gallery.files import make_folder, put, sync_folder, writing

SIZE = (128, 256)  # width, height
QUALITY = 85
JPEG = b"\xff\xd8\xff"  # how one begins
LARGE = 2**30  # bytes from which another pack is begun


class Place(NamedTuple):
    """Where a thumbnail lies."""

    pack: int
    start: int
    size: int


def crop(image: np.ndarray, box: tuple[int, int, int, int]) -> np.ndarray:
    """The part of an image (h, w, 3) in a box (left, top, right, bottom), pixels, that lies inside of it."""
    left, top, right, bottom = box
    return image[top:bottom, left:right]


def thumbnail(image: np.ndarray, box: tuple[int, int, int, int] | None = None) -> bytes:
    """JPEG of an image (h, w, 3) uint8 RGB, or of a box in it, shrunk to fit 128 x 256 (width x height) pixels with
    its own proportions; a smaller one stays as it is."""
    picture = Image.fromarray(np.ascontiguousarray(image if box is None else crop(image, box)))
    picture.thumbnail(SIZE)
    content = io.BytesIO()
    picture.save(content, "JPEG", quality=QUALITY)
    return content.getvalue()


class Packs:
    """The files in a folder, which several machines may share: each writer has packs of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, pack: int) -> Path:
        return self.folder / f"{pack:012d}"

    def append(self, pack: int, start: int, images: Sequence[bytes]) -> list[Place]:
        """Write JPEGs from byte ``start`` on. Raises InputError naming the file, when it cannot be written."""
        make_folder(self.folder)
        with writing(self.path(pack)) as file:
            os.ftruncate(file, start)  # what a writer left there that was killed
            put(file, b"".join(images), start)
        sizes = [len(image) for image in images]
        return [Place(pack, at, size) for at, size in zip(accumulate(sizes, initial=start), sizes, strict=False)]

    def read(self, places: Iterable[Place]) -> list[bytes]:
        """The JPEGs, in the order asked for. Raises InputError naming the file, when it is missing or shorter."""
        files: dict[int, int] = {}
        images = []
        try:
            for pack, start, size in places:
                if size and pack not in files:
                    files[pack] = os.open(self.path(pack), os.O_RDONLY | os.O_CLOEXEC)
                images.append(os.pread(files[pack], size, start) if size else b"")
                if len(images[-1]) < size:
                    raise InputError(f"{self.path(pack)}: is shorter than what was written: damaged")
        except OSError as error:
            raise InputError(f"{error.filename}: cannot be read: {error.strerror}") from None
        finally:
            for file in files.values():
                os.close(file)
        return images

    def blank(self, places: Iterable[Place]) -> None:
        """Overwrite with zeros; a pack that is gone is gone."""
        for pack, some in groupby(sorted(place for place in places if place.size), key=lambda place: place.pack):
            if self.path(pack).exists():
                with writing(self.path(pack)) as file:
                    for _, start, size in some:
                        put(file, bytes(size), start)

    def cut(self, pack: int, size: int) -> None:
        """Cut off what lies behind ``size`` bytes."""
        if self.path(pack).exists() and self.path(pack).stat().st_size > size:
            with writing(self.path(pack)) as file:
                os.ftruncate(file, size)

    def drop(self, packs: Sequence[int]) -> None:
        for pack in packs:
            self.path(pack).unlink(missing_ok=True)
        if packs and self.folder.is_dir():
            sync_folder(self.folder)

    def problems(self, places: Mapping[int, Place]) -> list[str]:
        """What is wrong with the thumbnails of entries, by id."""
        try:
            images = self.read(places.values())
        except InputError as error:
            if len(places) == 1:
                return [str(error)]
            return [text for id, place in places.items() for text in self.problems({id: place})]
        wrong = [id for id, image in zip(places, images, strict=True) if image and not image.startswith(JPEG)]
        return [f"{self.path(places[id].pack)}: what lies there of entry {id} is no JPEG" for id in wrong]
