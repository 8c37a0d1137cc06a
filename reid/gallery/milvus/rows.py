"""Entries as rows of a Milvus collection, and filters as its expressions.

A server of version 2.3 knows no missing values, so that each has a stand-in: ``known`` is false where there is no
identity, times are ``NO_TIME``, frames -1, boxes an empty text.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from reid.data.times import EARLIEST, LATEST
from reid.errors import InputError
from reid.gallery.entries import Entry, Filter

NO_TIME = -1e300  # seconds; real times are checked to lie above
LENGTHS = {"identity": 1024, "camera": 1024, "source": 8192}  # bytes of UTF-8
VALUE = 65_535  # bytes: the most that a text of Milvus holds
COLUMNS = ("id", "identity", "known", "camera", "source", "time", "until", "last", "frame", "box", "added")
# What both the server's grammar and Milvus Lite's read alike; other characters stand for themselves.
ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"})


def entry_schema(width: int) -> Any:
    """Columns of the collection of entries."""
    from pymilvus import DataType, MilvusClient

    schema = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False)
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=width)
    for name, length in LENGTHS.items():
        schema.add_field(name, DataType.VARCHAR, max_length=length)
    schema.add_field("known", DataType.BOOL)
    for name in ("time", "until", "last", "added"):
        schema.add_field(name, DataType.DOUBLE)
    schema.add_field("frame", DataType.INT64)
    schema.add_field("box", DataType.VARCHAR, max_length=128)
    return schema


def text_schema() -> Any:
    """Columns of the collection of texts; the vector is there because a server demands one."""
    from pymilvus import DataType, MilvusClient

    schema = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False)
    schema.add_field("key", DataType.VARCHAR, max_length=512, is_primary=True)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=2)
    schema.add_field("value", DataType.VARCHAR, max_length=VALUE)
    return schema


def check_entry(entry: Entry, where: str) -> None:
    """
    Raises:
        InputError: naming ``where``, the field and its value, for what Milvus cannot hold.
    """
    for name, length in LENGTHS.items():
        check_text(getattr(entry, name) or "", length, f"{where}: {name}")
    for name in ("time", "until", "added"):
        value = getattr(entry, name)
        if value is not None and not EARLIEST <= value <= LATEST:
            raise InputError(f"{where}: {name} {value!r} is not a time in the years 1 to 9999")


def check_text(text: str, length: int, what: str) -> None:
    """
    Raises:
        InputError: naming ``what``, for a text that is no valid Unicode or takes more than ``length`` bytes.
    """
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise InputError(f"{what}: {text!r} is not valid Unicode") from None
    if size > length:
        raise InputError(f"{what}: {text[:40]!r}… takes {size:,} bytes, more than the {length:,} that Milvus may hold")


def row_of(entry: Entry, vector: np.ndarray) -> dict[str, Any]:
    """The row of an entry and its (D,) float32 vector."""
    last = entry.until if entry.until is not None else entry.time
    return {
        "id": entry.id,
        "vector": vector,
        "identity": entry.identity or "",
        "known": entry.identity is not None,
        "camera": entry.camera,
        "source": entry.source,
        "time": NO_TIME if entry.time is None else float(entry.time),
        "until": NO_TIME if entry.until is None else float(entry.until),
        "last": NO_TIME if entry.time is None or last is None else float(last),
        "frame": -1 if entry.frame is None else int(entry.frame),
        "box": "" if entry.box is None else json.dumps([int(side) for side in entry.box]),
        "added": entry.added,
    }


def entry_of(row: dict[str, Any]) -> Entry:
    """The entry that :func:`row_of` made the row of."""
    box = json.loads(row["box"]) if row["box"] else None
    return Entry(
        source=row["source"],
        camera=row["camera"],
        identity=row["identity"] if row["known"] else None,
        time=None if row["time"] == NO_TIME else row["time"],
        until=None if row["until"] == NO_TIME else row["until"],
        frame=None if row["frame"] < 0 else row["frame"],
        box=None if box is None else (box[0], box[1], box[2], box[3]),
        id=row["id"],
        added=row["added"],
    )


def expression(wanted: Filter) -> str:
    """What passes, in Milvus' language; empty where all do. Agrees with :meth:`Filter.passes`."""
    parts = []
    if wanted.cameras:
        parts.append(f"camera in {texts(wanted.cameras)}")
    if wanted.identities:
        parts.append(f"known == true and identity in {texts(wanted.identities)}")
    if wanted.start is not None:
        parts.append(f"last > {NO_TIME!r} and last >= {_time(wanted.start, 'start')}")
    if wanted.end is not None:
        parts.append(f"time > {NO_TIME!r} and time <= {_time(wanted.end, 'end')}")
    return " and ".join(parts)


def texts(values: Iterable[str]) -> str:
    """A list of texts in Milvus' language, whatever they hold."""
    return "[" + ", ".join(f'"{_valid(value).translate(ESCAPES)}"' for value in values) + "]"


def _valid(value: str) -> str:
    check_text(value, VALUE, "filter")
    return value


def _time(value: float, what: str) -> str:
    if math.isnan(value):
        raise InputError(f"filter: {what} {value!r} is not a time")
    return repr(float(min(max(value, NO_TIME), -NO_TIME)))
