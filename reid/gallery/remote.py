"""The gallery on Milvus: a server or cluster, or a local file of Milvus Lite."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import asdict, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from reid.errors import InputError
from reid.gallery.entries import CHANGES, EVERYTHING, Change, Entry, Filter, Hits, Origin, Summary, unit_rows
from reid.gallery.milvus import PAGE, Connection
from reid.gallery.milvus_erase import erase, recover
from reid.gallery.milvus_rows import (
    COLUMNS,
    NO_TIME,
    VALUE,
    check_entry,
    entry_of,
    entry_schema,
    expression,
    row_of,
    text_schema,
)  # fmt: skip
from reid.gallery.milvus_search import search
from reid.gallery.milvus_texts import Texts, turn

FORMAT = 1
THUMBNAIL = 49_149  # bytes, which take 65,532 as base64
SLICE_BYTES = 16 * 2**20  # of vectors or thumbnails in one call


class MilvusStore:
    """See :class:`reid.gallery.entries.Store`. Made by :meth:`create` or :meth:`open`.

    Reads see all that was written before, by anyone ("Strong" consistency; a server takes some 0.2 s to be sure).
    Writers take turns, call by call (:func:`reid.gallery.milvus_texts.turn`).

    Milvus knows no transactions. Ids are written down as condemned before their entries are added or removed, and
    struck off that list when all of them were added, or are gone. Where a writer fails between, it removes what is
    condemned; where it was killed, the next writer does. Until then, and while an ``add`` of more than one call's
    worth (:data:`SLICE_BYTES`) is under way, readers may see a part of it.
    """

    def __init__(self, connection: Connection, write: bool) -> None:
        self.location, self.writable = connection.location, write
        name = Path(connection.location).stem if connection.lite else connection.collection
        self.folder = Path("runs/galleries") / name
        self._connection, self._texts = connection, Texts(connection)
        self._writer = threading.Lock()
        # Milvus Lite puts new collections in place of the old to erase, and nobody may look then.
        self._whole: AbstractContextManager[Any] = threading.RLock() if connection.lite else nullcontext()
        for collection in (connection.collection, self._texts.collection):
            recover(connection, collection)
            if not connection("has_collection", collection):
                raise InputError(f"{self.location}: there is no gallery: it has no collection {collection!r}")
            connection("load_collection", collection)
        self.origin = _read_origin(self._texts)

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

    @classmethod
    def create(cls, location: str, origin: Origin, token: str = "") -> Self:
        """A new, empty gallery, opened for writing.

        Raises:
            InputError: nothing answers there, or its collections are there already.
        """
        connection = Connection(location, token)
        texts = Texts(connection)
        for collection in (connection.collection, texts.collection):
            if connection("has_collection", collection):
                raise InputError(f"{location}: there is a collection {collection!r}; a new gallery needs another name")
        connection.create(texts.collection, text_schema())
        connection.create(connection.collection, entry_schema(origin.width))
        texts.put({"origin": json.dumps({"format": FORMAT, **asdict(origin)}), "next": "1"})
        return cls(connection, write=True)

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

    def add(self, entries: Sequence[Entry], features: np.ndarray, thumbnails: Sequence[bytes]) -> list[int]:
        """Raises InputError for a thumbnail of more than :data:`THUMBNAIL` bytes, or a text longer than Milvus holds."""
        if not len(entries) == len(features) == len(thumbnails):
            raise ValueError(f"{len(entries)} entries, {len(features)} features, {len(thumbnails)} thumbnails")
        rows = unit_rows(features, self.origin.width, "features")
        for number, (entry, image) in enumerate(zip(entries, thumbnails, strict=True)):
            check_entry(entry, f"{self.location}: entry {number} of {len(entries)}")
            if len(image) > THUMBNAIL:
                raise InputError(
                    f"{self.location}: the thumbnail of {entry.source} has {len(image):,} bytes, more than the "
                    f"{THUMBNAIL:,} that Milvus may hold"
                )
        if not entries:
            return []
        step = self._step(2 * max(map(len, thumbnails)))
        with self._writing() as alive:
            first = int(self._texts.get(["next"])["next"])
            ids = list(range(first, first + len(entries)))
            now = time.time()
            given = [replace(entry, id=id, added=now) for id, entry in zip(ids, entries, strict=True)]
            self._texts.put({"next": str(first + len(ids)), **_condemned(ids)})
            try:
                for low in range(0, len(ids), step):
                    alive()
                    own = slice(low, low + step)
                    self._insert(given[own], rows[own], thumbnails[own])
            except BaseException:
                with suppress(InputError):  # the next writer does it, and what went wrong first is to be told
                    self._strike(alive)
                raise
            self._texts.drop(list(_condemned(ids)))
        return ids

    def update(self, ids: Sequence[int], changes: Mapping[Change, object]) -> None:
        unknown = set(changes) - set(CHANGES)
        if unknown:
            raise InputError(f"{self.location}: {min(unknown)!r} cannot be changed, only {', '.join(CHANGES)}")
        with self._writing() as alive:
            rows = self._rows(ids, [*COLUMNS, "vector"])
            entries = [replace(entry_of(row), **changes) for row in rows]  # type: ignore[arg-type]
            for entry in entries:
                check_entry(entry, f"{self.location}: entry {entry.id}")
            new = [row_of(entry, row["vector"]) for entry, row in zip(entries, rows, strict=True)]
            for low in range(0, len(new), self._step()):
                alive()
                self._connection("upsert", self._connection.collection, data=new[low : low + self._step()])

    def remove(self, ids: Sequence[int]) -> None:
        """On a server the bytes go later: see :func:`reid.gallery.milvus_erase.erase`."""
        with self._writing() as alive:
            self._rows(ids, ["id"])
            self._texts.put(_condemned(sorted(set(ids))))
            self._strike(alive)

    def get(self, ids: Sequence[int]) -> list[Entry]:
        return [entry_of(row) for row in self._rows(ids, list(COLUMNS))]

    def find(self, wanted: Filter = EVERYTHING, limit: int | None = None, after: int = 0) -> list[Entry]:
        passing, found = expression(wanted), list[Entry]()
        if limit == 0:
            return []
        pages = self._pages(f"id > {after}" + (f" and {passing}" if passing else ""), list(COLUMNS), limit)
        for page in pages:
            found += map(entry_of, page)
            if limit is not None and len(found) >= limit:
                break
        return found[:limit]

    def thumbnail(self, id: int) -> bytes:
        with self._whole:
            found = self._texts.get([_thumbnail(id)])
        if not found:
            raise InputError(f"{self.location}: no entry {id}")
        return base64.b64decode(found[_thumbnail(id)])

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
        for page in self._pages("id > 0", ["camera", "identity", "known", "time", "last"], None):
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

    def set(self, name: str, value: str | None) -> None:
        with self._writing():
            if value is None:
                self._texts.drop([f"setting:{name}"])
            else:
                self._texts.put({f"setting:{name}": value})

    def close(self) -> None:
        """The file of Milvus Lite is free for other processes when this one ends."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @contextmanager
    def _writing(self) -> Iterator[Callable[[], None]]:
        """Be the only writer, what others left half done removed. Yields a sign of life for long works."""
        if not self.writable:
            raise InputError(f"{self.location}: was opened for reading only")
        with self._writer, nullcontext(lambda: None) if self._connection.lite else turn(self._texts) as alive:
            self._strike(alive)
            yield alive

    def _strike(self, alive: Callable[[], None]) -> None:
        """Remove what is condemned, and then the list of it."""
        condemned = self._texts.starting("condemned:")
        if not condemned:
            return
        ids = [id for text in condemned.values() for first, last in json.loads(text) for id in range(first, last + 1)]
        for low in range(0, len(ids), PAGE):
            alive()
            self._connection("delete", self._connection.collection, ids=ids[low : low + PAGE])
            self._texts.drop([_thumbnail(id) for id in ids[low : low + PAGE]])
        alive()
        with self._whole:
            erase(self._connection, self._connection.collection, entry_schema(self.origin.width), self._step())
            erase(self._connection, self._texts.collection, text_schema(), self._step(VALUE))
        self._texts.drop(list(condemned))

    def _insert(self, entries: Sequence[Entry], rows: np.ndarray, thumbnails: Sequence[bytes]) -> None:
        # Thumbnails first, so that no entry is seen without its own.
        images = {_thumbnail(entry.id): base64.b64encode(image).decode() for entry, image in zip(entries, thumbnails)}
        self._texts.put(images)
        data = [row_of(entry, row) for entry, row in zip(entries, rows, strict=True)]
        self._connection("insert", self._connection.collection, data=data)

    def _rows(self, ids: Sequence[int], columns: list[str]) -> list[dict[str, Any]]:
        """In the order of the ids; InputError for one that is not there."""
        found: dict[int, dict[str, Any]] = {}
        wanted, step = sorted(set(ids)), self._step()
        for low in range(0, len(wanted), step):
            with self._whole:
                some = ", ".join(str(int(id)) for id in wanted[low : low + step])
                rows = self._connection.query(self._connection.collection, f"id in [{some}]", columns)
                found |= {row["id"]: row for row in rows}
        for id in ids:
            if id not in found:
                raise InputError(f"{self.location}: no entry {id}")
        return [found[id] for id in ids]

    def _pages(self, passing: str, columns: list[str], limit: int | None) -> Iterator[list[dict[str, Any]]]:
        size = PAGE if limit is None else min(limit, PAGE)
        with self._whole:
            yield from self._connection.pages(self._connection.collection, passing, columns, size)

    def _step(self, text: int = 0) -> int:
        """Rows a call: with their vectors, or texts of so many bytes, not more than :data:`SLICE_BYTES`."""
        return max(min(PAGE, SLICE_BYTES // max(4 * self.origin.width, text, 1)), 1)


def _thumbnail(id: int) -> str:
    return f"thumbnail:{id}"


def _condemned(ids: Sequence[int]) -> dict[str, str]:
    """The list of rising ids as texts, by key: stretches (first, last), of which some 1000 fit into one."""
    ids_ = np.asarray(ids, np.int64)
    starts = np.flatnonzero(np.diff(ids_, prepend=-1) != 1)
    ends = np.append(starts[1:], len(ids_)) - 1
    stretches = np.stack([ids_[starts], ids_[ends]], axis=1).tolist()
    return {f"condemned:{low}": json.dumps(stretches[low : low + 1000]) for low in range(0, len(stretches), 1000)}


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
