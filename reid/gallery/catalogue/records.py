"""Entries as rows of the catalogue's tables, and what may stand in them."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

from reid.data.times import EARLIEST, LATEST
from reid.errors import InputError
from reid.gallery.catalogue.database import Row
from reid.gallery.catalogue.thumbnails import Place
from reid.gallery.entries import Entry

NO_TEXT = re.compile("[\0\ud800-\udfff]")  # what databases cannot hold
ENTRIES = (
    "SELECT e.id, f.text, e.name, c.text, n.text, e.time, e.until, e.frame, e.x0, e.y0, e.x1, e.y1, e.added "
    "FROM entries e JOIN names f ON f.id = e.folder JOIN names c ON c.id = e.camera "
    "LEFT JOIN names n ON n.id = e.identity"
)


def check(entry: Entry) -> None:
    """
    Raises:
        InputError: for what cannot be kept: text that is no Unicode, times outside the years 1 to 9999.
    """
    for name in ("source", "camera", "identity"):
        text = getattr(entry, name)
        if NO_TEXT.search(text or "") or (text is None and name != "identity"):
            raise InputError(f"entry: {name} {text!r} is not valid text")
    for name in ("time", "until", "added"):
        value = getattr(entry, name)
        if value is not None and not EARLIEST <= value <= LATEST:
            raise InputError(
                f"entry of {entry.source}: {name} is {value}, expected seconds since 1970 in the years 1 to 9999, or "
                "nothing"
            )


def place_of(entry: Entry) -> int:
    """Where an image lay, its file, frame and box, as a number: the same for the same place alone, but for
    one chance in 10^19."""
    box = None if entry.box is None else [int(edge) for edge in entry.box]
    return _digest(json.dumps([entry.source, entry.frame, box]).encode())


def content_of(image: bytes) -> int | None:
    """A thumbnail as a number, the same for the same picture; None without one."""
    return _digest(image) if image else None


def _digest(content: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "little", signed=True)


def parted(source: str) -> tuple[str, str]:
    """The folder, with the slash behind it, and the name."""
    folder, slash, name = source.rpartition("/")
    return folder + slash, name


def last_of(entry: Entry) -> float | None:
    """When an entry of known time ended."""
    return None if entry.time is None else entry.time if entry.until is None else entry.until


def record_of(entry: Entry, row: tuple[Any, ...], folder: int, thumbnail: bytes, place: Place) -> tuple[Any, ...]:
    """The columns of the table of entries; ``row``: the values of its ROW."""
    _, camera, identity, *_ = row
    box = (None,) * 4 if entry.box is None else [int(edge) for edge in entry.box]
    return (
        entry.id, folder, parted(entry.source)[1], camera, None if identity < 0 else identity, entry.time, entry.until,
        last_of(entry), None if entry.frame is None else int(entry.frame), *box, entry.added, place_of(entry),
        content_of(thumbnail), *place,
    )  # fmt: skip


def entry_of(row: Row) -> Entry:
    """From a row of ENTRIES."""
    id, folder, name, camera, identity, time, until, frame, *edges, added = row
    box = None if edges[0] is None else (edges[0], edges[1], edges[2], edges[3])
    return Entry(folder + name, camera, identity, time, until, frame, box, id, added)
