"""The gallery on Milvus: a server or cluster, or a local file of Milvus Lite."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import asdict, replace
from typing import Self

import numpy as np

from reid.errors import InputError
from reid.gallery.entries import CHANGES, Change, Entry
from reid.gallery.milvus.client import PAGE, Connection
from reid.gallery.milvus.erase import erase
from reid.gallery.milvus.reader import FORMAT, MilvusReader, thumbnail_key
from reid.gallery.milvus.rows import COLUMNS, VALUE, check_entry, entry_of, entry_schema, row_of, text_schema
from reid.gallery.milvus.texts import Texts, turn
from reid.networks import Origin
from reid.retrieval.unit import unit_rows

THUMBNAIL = 49_149  # bytes, which take 65,532 as base64


class MilvusStore(MilvusReader):
    """See :class:`reid.gallery.entries.Store`. Made by :meth:`create` or :meth:`open`.

    Reads see all that was written before, by anyone ("Strong" consistency; a server takes some 0.2 s to be sure).
    Writers take turns, call by call (:func:`reid.gallery.milvus.texts.turn`).

    Milvus knows no transactions. Ids are written down as condemned before their entries are added or removed, and
    struck off that list when all of them were added, or are gone. Where a writer fails between, it removes what is
    condemned; where it was killed, the next writer does. Until then, and while an ``add`` of more than one call's
    worth (:data:`reid.gallery.milvus.reader.SLICE_BYTES`) is under way, readers may see a part of it.
    """

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

    def add(self, entries: Sequence[Entry], features: np.ndarray, thumbnails: Sequence[bytes]) -> list[int]:
        """Raises InputError for a thumbnail above :data:`THUMBNAIL` bytes, or a text longer than Milvus holds."""
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
                    part = slice(low, low + step)
                    self._insert(given[part], rows[part], thumbnails[part])
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
            # Each once: of an id twice in one call a server of version 2.3 loses others.
            rows = self._rows(sorted(set(ids)), [*COLUMNS, "vector"])
            entries = [replace(entry_of(row), **changes) for row in rows]  # type: ignore[arg-type]
            for entry in entries:
                check_entry(entry, f"{self.location}: entry {entry.id}")
            new = [row_of(entry, row["vector"]) for entry, row in zip(entries, rows, strict=True)]
            for low in range(0, len(new), self._step()):
                alive()
                self._connection("upsert", self._connection.collection, data=new[low : low + self._step()])

    def remove(self, ids: Sequence[int]) -> None:
        """On a server the bytes go later: see :func:`reid.gallery.milvus.erase.erase`."""
        with self._writing() as alive:
            self._rows(ids, ["id"])
            self._texts.put(_condemned(sorted(set(ids))))
            self._strike(alive)

    def set(self, name: str, value: str | None) -> None:
        with self._writing():
            if value is None:
                self._texts.drop([f"setting:{name}"])
            else:
                self._texts.put({f"setting:{name}": value})

    @contextmanager
    def _writing(self) -> Iterator[Callable[[], None]]:
        """Be the only writer, what others left half done removed. Yields a sign of life for long works."""
        if not self.writable:
            raise InputError(f"{self.location}: was opened for reading only")
        # One process at a time opens a file of Milvus Lite.
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
            self._texts.drop([thumbnail_key(id) for id in ids[low : low + PAGE]])
        alive()
        with self._whole:
            erase(self._connection, self._connection.collection, entry_schema(self.origin.width), self._step())
            erase(self._connection, self._texts.collection, text_schema(), self._step(VALUE))
        self._texts.drop(list(condemned))

    def _insert(self, entries: Sequence[Entry], rows: np.ndarray, thumbnails: Sequence[bytes]) -> None:
        # Thumbnails first, so that no entry is seen without its own.
        pairs = zip(entries, thumbnails, strict=True)
        self._texts.put({thumbnail_key(entry.id): base64.b64encode(image).decode() for entry, image in pairs})
        data = [row_of(entry, row) for entry, row in zip(entries, rows, strict=True)]
        self._connection("insert", self._connection.collection, data=data)


def _condemned(ids: Sequence[int]) -> dict[str, str]:
    """The list of rising ids as texts, by key: stretches (first, last), of which some 1000 fit into one."""
    ids_ = np.asarray(ids, np.int64)
    if not len(ids_):
        return {}
    starts = np.flatnonzero(np.diff(ids_, prepend=-1) != 1)
    ends = np.append(starts[1:], len(ids_)) - 1
    stretches = np.stack([ids_[starts], ids_[ends]], axis=1).tolist()
    return {f"condemned:{low}": json.dumps(stretches[low : low + 1000]) for low in range(0, len(stretches), 1000)}
