"""The reading half of the gallery on Milvus."""

from __future__ import annotations

import base64
import json
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from reid.errors import InputError
from reid.gallery.entries import EVERYTHING, Entry, Filter, Hits, Summary
from reid.gallery.milvus.client import PAGE, Connection
from reid.gallery.milvus.erase import recover
from reid.gallery.milvus.rows import COLUMNS, NO_TIME, entry_of, expression
from reid.gallery.milvus.search import search
from reid.gallery.milvus.texts import Texts
from reid.networks import Origin
from reid.retrieval.unit import unit_rows

FORMAT = 1
SLICE_BYTES = 16 * 2**20  # of vectors or thumbnails in one call
WIDE = 2**20  # ids that one call asks for at most, some 10 MB of them; a server refuses to send more than 100


class MilvusReader:
    """See :class:`reid.gallery.milvus.store.MilvusStore`."""

    def __init__(self, connection: Connection, write: bool) -> None:
        self.location, self.writable = connection.location, write
        name = Path(connection.location).stem if connection.lite else connection.collection
        self.folder = Path("runs/galleries") / name
        self._connection, self._texts = connection, Texts(connection)
        self._writer = threading.Lock()
        # Milvus Lite puts new collections in place of the old to erase, and nobody may look then.
        self._whole: AbstractContextManager[Any] = threading.RLock() if connection.lite else nullcontext()
        for collection in (connection.collection, self._texts.collection):
            if write:
                recover(connection, collection)
            if not connection("has_collection", collection):
                raise InputError(f"{self.location}: there is no gallery: it has no collection {collection!r}")
            connection("load_collection", collection)
        self.origin = _read_origin(self._texts)
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise InputError(f"{self.folder}: cannot be made: {error}") from None

    @classmethod
    def open(cls, location: str, write: bool = False, token: str = "") -> Self:
        """
        Args:
            location: ``milvus://HOST:PORT/COLLECTION`` or ``PATH.db``.
            token: for a server that wants one.

        Raises:
            InputError: naming the location: nothing answers, there is no gallery, or one of another format.
        """
        if not location.startswith("milvus:") and not Path(location).exists():
            raise InputError(f"{location}: there is no gallery")
        return cls(Connection(location, token), write)

    @staticmethod
    def exists(location: str, token: str = "") -> bool:
        """Whether there is a collection of this name, or a file. Raises InputError where nothing answers."""
        if not location.startswith("milvus:"):
            return Path(location).exists()
        connection = Connection(location, token)
        return bool(connection("has_collection", connection.collection))

    def __len__(self) -> int:
        with self._whole:
            return int(self._connection.query(self._connection.collection, "", ["count(*)"])[0]["count(*)"])

    def get(self, ids: Sequence[int]) -> list[Entry]:
        return [entry_of(row) for row in self._rows(ids, list(COLUMNS))]

    def find(self, wanted: Filter = EVERYTHING, limit: int | None = None, after: int = 0) -> list[Entry]:
        passing, entries = expression(wanted), list[Entry]()
        if limit == 0:
            return []
        for page in self._pages(passing, list(COLUMNS), limit, after):
            entries += map(entry_of, page)
            if limit is not None and len(entries) >= limit:
                break
        return entries[:limit]

    def thumbnail(self, id: int) -> bytes:
        with self._whole:
            stored = self._texts.get([thumbnail_key(id)])
        if not stored:
            raise InputError(f"{self.location}: no entry {id}")
        return base64.b64decode(stored[thumbnail_key(id)])

    def features(self, ids: Sequence[int]) -> np.ndarray:
        rows = self._rows(ids, ["id", "vector"])
        return np.array([row["vector"] for row in rows], np.float32).reshape(len(ids), self.origin.width)

    def search(self, queries: np.ndarray, k: int, wanted: Filter = EVERYTHING) -> Hits:
        """Exact while the collection's index is, as the one that it is made with."""
        with self._whole:
            return search(self._connection, expression(wanted), unit_rows(queries, self.origin.width, "queries"), k)

    def summary(self) -> Summary:
        """Reads the names and times of all entries."""
        cameras, names, unknown, times, ends = Counter[str](), set[str](), 0, list[float](), list[float]()
        for page in self._pages("", ["id", "camera", "identity", "known", "time", "last"], None):
            cameras.update(row["camera"] for row in page)
            names |= {row["identity"] for row in page if row["known"]}
            unknown += sum(not row["known"] for row in page)
            timed = [row for row in page if row["time"] != NO_TIME]
            times = [min([*times, *(row["time"] for row in timed)])] if timed else times
            ends = [max([*ends, *(row["last"] for row in timed)])] if timed else ends
        return Summary(
            cameras.total(), len(names), unknown, dict(sorted(cameras.items())),
            min(times, default=None), max(ends, default=None),
        )  # fmt: skip

    def setting(self, name: str) -> str | None:
        with self._whole:
            return self._texts.get([f"setting:{name}"]).get(f"setting:{name}")

    def close(self) -> None:
        """The file of Milvus Lite is free for other processes when this one ends."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _rows(self, ids: Sequence[int], columns: list[str]) -> list[dict[str, Any]]:
        """In the order of the ids; InputError for one that is not there."""
        by_id: dict[int, dict[str, Any]] = {}
        wanted, step = sorted(set(ids)), self._step()
        for low in range(0, len(wanted), step):
            with self._whole:
                some = ", ".join(str(int(id)) for id in wanted[low : low + step])
                rows = self._connection.query(self._connection.collection, f"id in [{some}]", columns)
                by_id |= {row["id"]: row for row in rows}
        for id in ids:
            if id not in by_id:
                raise InputError(f"{self.location}: no entry {id}")
        return [by_id[id] for id in ids]

    def _pages(
        self, passing: str, columns: list[str], limit: int | None, after: int = 0
    ) -> Iterator[list[dict[str, Any]]]:
        """Rows that match, by rising id from above ``after``; where some suffice, ids are asked for in small parts."""
        size, wide = (PAGE, WIDE) if limit is None else (min(limit, PAGE), PAGE)
        with self._whole:
            low, last = after, int(self._texts.get(["next"])["next"]) - 1
            while low < last:
                condition = f"id > {low} and id <= {low + wide}" + (f" and {passing}" if passing else "")
                yield from self._connection.pages(self._connection.collection, condition, columns, size)
                low, wide = low + wide, min(4 * wide, WIDE)

    def _step(self, text: int = 0) -> int:
        """Rows a call: with their vectors, or texts of so many bytes, not more than :data:`SLICE_BYTES`."""
        return max(min(PAGE, SLICE_BYTES // max(4 * self.origin.width, text, 1)), 1)


def thumbnail_key(id: int) -> str:
    return f"thumbnail:{id}"


def _read_origin(texts: Texts) -> Origin:
    text = texts.get(["origin"]).get("origin")
    if text is None:
        raise InputError(
            f"{texts.connection.location}: the collection {texts.collection!r} holds no origin: it belongs to no "
            "gallery, or to one whose making was cut short; remove it, or take another name"
        )
    values = json.loads(text)
    if values.pop("format") != FORMAT:
        raise InputError(f"{texts.connection.location}: was written by another version, in another format")
    return Origin(**values)
