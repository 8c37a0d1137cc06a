"""A gallery of the earlier version on Milvus: a collection of entries, and one of texts beside it."""

from __future__ import annotations

import base64
import json
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from reid.errors import InputError
from reid.gallery.entries import Entry
from reid.gallery.transfer.earlier import PAGE, SPAN, Earlier
from reid.gallery.transfer.parquet import Block
from reid.networks import Origin

ADDRESS = re.compile(r"milvus://(\[[0-9a-fA-F:]+\]|[^\s/:@]+):(\d{1,5})/([A-Za-z_]\w{0,199})")
NO_TIME = -1e300  # stands for a time that is not known
PICTURES = 512  # thumbnails in one call, of up to 64 kB; a server sends no more than 64 MB
CALL, CONNECTING = 60.0, 10.0  # seconds
FIELDS = ["id", "identity", "known", "camera", "source", "time", "until", "frame", "box", "added", "vector"]


@contextmanager
def collections(location: str, token: str) -> Iterator[Earlier]:
    """
    Raises:
        InputError: naming the location: nothing answers there, or it is no gallery of the earlier version.
    """
    reader = _Reader(location, token)
    try:
        values = json.loads(reader.text("origin") or "{}")
        if values.pop("format", None) != 1:
            raise InputError(f"{location}: is no gallery of an earlier version")
        settings = {key.partition(":")[2]: text for key, text in reader.texts('key like "setting:%"').items()}
        audit = Path("runs/galleries") / reader.name / "audit.jsonl"  # where the earlier version kept it
        yield Earlier(location, Origin(**values), settings, audit, reader.pages)
    finally:
        reader.client.close()


class _Reader:
    """What is asked of the two collections.

    Attributes:
        name: of the gallery.
        client: a ``pymilvus.MilvusClient``.
    """

    def __init__(self, location: str, token: str) -> None:
        self.location, match = location, ADDRESS.fullmatch(location)
        lite = location.endswith(".db") and not location.startswith("milvus:")
        if match is None and not (lite and Path(location).exists()):
            raise InputError(f"{location}: expected milvus://HOST:PORT/COLLECTION, or a file of Milvus Lite")
        self.name = match[3] if match else Path(location).stem
        uri = f"http://{match[1]}:{match[2]}" if match else str(Path(location).absolute())
        self.client = _client(location, uri, token)
        entries = match[3] if match else "gallery"
        try:
            self._entries, self._texts = (self._there(each) for each in (entries, f"{entries}_texts"))
        except BaseException:
            self.client.close()
            raise

    def text(self, key: str) -> str | None:
        return self.texts(f'key == "{key}"').get(key)

    def texts(self, condition: str) -> dict[str, str]:
        return {row["key"]: row["value"] for row in self._query(self._texts, condition, ["key", "value"])}

    def pages(self) -> Iterator[Block]:
        """Entries whose adding or erasing was cut off are condemned, and left out."""
        stretches = [pair for text in self.texts('key like "condemned:%"').values() for pair in json.loads(text)]
        last = int(self.text("next") or 1) - 1
        for low in range(0, last, SPAN):
            rows = self._query(self._entries, f"id > {low} and id <= {low + SPAN}", ["id"])
            ids = np.sort(np.array([row["id"] for row in rows], np.int64))
            for first, final in stretches:
                ids = ids[(ids < first) | (ids > final)]
            for start in range(0, len(ids), PAGE):
                yield self._page(ids[start : start + PAGE].tolist())

    def _page(self, ids: list[int]) -> Block:
        rows = {row["id"]: row for row in self._query(self._entries, f"id in {ids}", FIELDS)}
        images: dict[str, str] = {}
        for low in range(0, len(ids), PICTURES):
            keys = ", ".join(f'"thumbnail:{id}"' for id in ids[low : low + PICTURES])
            images |= self.texts(f"key in [{keys}]")
        there = [rows[id] for id in ids if id in rows]
        vectors = np.array([row["vector"] for row in there], np.float32)
        pictures = [base64.b64decode(images.get(f"thumbnail:{row['id']}", "")) for row in there]
        return [_entry(row) for row in there], vectors, pictures

    def _there(self, collection: str) -> str:
        """The collection, or the copy that was to take its place when an erasure on Milvus Lite was cut off."""
        for name in (collection, f"{collection}_copy"):
            if self._call("has_collection", name):
                self._call("load_collection", name)
                return name
        raise InputError(f"{self.location}: there is no gallery: it has no collection {collection!r}")

    def _query(self, collection: str, condition: str, fields: list[str]) -> list[dict[str, Any]]:
        found = self._call("query", collection, filter=condition, output_fields=fields, consistency_level="Strong")
        return list(found)

    def _call(self, method: str, *values: object, **options: object) -> Any:
        from pymilvus import MilvusException

        try:
            return getattr(self.client, method)(*values, timeout=CALL, **options)
        except MilvusException as error:
            raise InputError(f"{self.location}: Milvus cannot {method.replace('_', ' ')}: {error.message}") from None


def _client(location: str, uri: str, token: str) -> Any:
    try:
        from pymilvus import MilvusClient, MilvusException
    except ImportError:
        raise InputError(f"{location}: needs the package pymilvus: pip install 'reid-gap[scale]'") from None
    for name in ("pymilvus", "milvus_lite"):  # what they log, with a traceback each, they raise as well
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        return MilvusClient(uri, token=token, timeout=CONNECTING)
    except MilvusException as error:
        raise InputError(
            f"{location}: no Milvus server answers there, or the package milvus-lite is missing: {error.message}"
        ) from None


def _entry(row: dict[str, Any]) -> Entry:
    time, until = (None if row[name] == NO_TIME else row[name] for name in ("time", "until"))
    box = json.loads(row["box"]) if row["box"] else None
    return Entry(
        row["source"], row["camera"], row["identity"] if row["known"] else None, time, until,
        None if row["frame"] < 0 else row["frame"], box and tuple(box), row["id"], row["added"],
    )  # fmt: skip
