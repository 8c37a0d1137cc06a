"""A gallery that lasts: a catalogue that knows the entries, and vectors that find them, in a folder or on servers.

gallery.json   where both are: {"catalogue": "sqlite" or postgresql://..., "vectors": "segments" or milvus://...}
catalogue.db   SQLite, where the catalogue is here
vectors/       where they are here (reid/gallery/vectors/segments.py)
thumbnails/    (reid/gallery/catalogue/thumbnails.py)
"""

from __future__ import annotations

import os
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Self

import numpy as np

from reid.errors import InputError
from reid.gallery.catalogue.catalogue import Catalogue
from reid.gallery.catalogue.records import check
from reid.gallery.catalogue.thumbnails import Packs, Place
from reid.gallery.entries import EVERYTHING, Change, Entry, Filter, Hits
from reid.gallery.files import LOCKS, make_folder, open_private, turn
from reid.gallery.parts import HERE, MARK, Layout, open_database, open_vectors, read_layout, write_layout
from reid.gallery.vectors.rows import IndexReport
from reid.networks import Origin
from reid.retrieval.unit import unit_rows

INDEX = "index"  # the setting that says how it is searched
BATCH = 8192  # entries that are put in at once
SECRETS = 2**62


class Gallery:
    """Made by :meth:`create` or :meth:`open`. Methods may be called from several threads; any number of processes may
    read and write it. They write in turns, a batch or an erasure each, and who erases comes next.

    Attributes:
        location: as a person names it: the folder.
        origin: what made its features.
        catalogue: knows the entries; what is only asked of it is asked there.
    """

    def __init__(self, folder: Path, layout: Layout, origin: Origin | None = None) -> None:
        """``origin``: of a new gallery."""
        self.folder, self.location, self.layout = folder, str(folder), layout
        self._lock = threading.RLock()  # one thread writes
        writer = 0 if layout.catalogue == "sqlite" else secrets.randbelow(SECRETS) + 1
        db = open_database(folder, layout, writer, make=origin is not None)
        try:
            self.catalogue = Catalogue(db, writer) if origin is None else Catalogue.make(db, origin, writer)
            self.origin = self.catalogue.origin
            self._vectors = open_vectors(folder, layout, self.origin, self._turn, make=origin is not None)
        except BaseException:
            db.close()
            raise
        self._packs = Packs(folder / "thumbnails")

    @classmethod
    def create(cls, folder: Path | str, origin: Origin, layout: Layout = HERE) -> Self:
        """A new, empty gallery; only its owner may read its folder. Raises InputError where the folder holds a gallery,
        or other files, already, or a server does not answer."""
        folder = Path(folder)
        make_folder(folder)
        try:
            # A catalogue without a mark is of one who was killed as he made it: Catalogue.make sees that it is empty.
            others = {path.name for path in folder.iterdir() if not path.name.startswith((".", "catalogue.db"))}
            if others:
                what = "is a gallery already" if MARK in others else f"is not empty: it holds {min(others)}"
                raise InputError(f"{folder}: {what}; a new gallery needs a new folder")
            folder.chmod(0o700)
            for lock in LOCKS:
                os.close(open_private(folder / lock, os.O_WRONLY))
        except OSError as error:
            raise InputError(f"{folder}: cannot be written: {error.strerror}") from None
        with turn(folder, urgent=False):
            if (folder / MARK).exists():  # another process was quicker
                raise InputError(f"{folder}: is a gallery already")
            gallery = cls(folder, layout, origin)
            write_layout(folder, layout)
        return gallery

    @classmethod
    def open(cls, folder: Path | str) -> Self:
        """Raises InputError: there is no gallery, it is damaged or of another format, a server does not answer."""
        folder = Path(folder)
        return cls(folder, read_layout(folder))

    # --- reading

    def __len__(self) -> int:
        return len(self.catalogue)

    def get(self, ids: Sequence[int]) -> list[Entry]:
        """In the order asked for. Raises InputError naming an id that is not there."""
        return self.catalogue.get(ids)

    def find(self, wanted: Filter = EVERYTHING, limit: int | None = None, after: int = 0) -> list[Entry]:
        """Entries that pass with an id above ``after``, by rising id, the first ``limit``."""
        return self.catalogue.find(wanted, limit, after)

    def thumbnails(self, ids: Sequence[int]) -> list[bytes]:
        """JPEGs; empty where an entry has none. Raises InputError for an id that is not there."""
        return self._packs.read(self.catalogue.places(ids))

    def features(self, ids: Sequence[int]) -> np.ndarray:
        """(N, D) float32 of length 1, in the order asked for. Raises InputError for an id that is not there."""
        self.catalogue.places(ids)
        return self._vectors.fetch(np.array(ids, np.int64).reshape(-1))

    def search(self, queries: np.ndarray, k: int, wanted: Filter = EVERYTHING, exact: bool = False) -> Hits:
        """The k nearest of each of (Q, D) ``queries``, of any length but 0, among the entries that pass; ``exact``:
        every one of them is compared, also where there is an index."""
        queries, narrow = unit_rows(queries, self.origin.width, "queries"), self.catalogue.narrow(wanted)
        if not (len(queries) and k):
            return Hits(np.empty((len(queries), k), np.int64), np.empty((len(queries), k)))
        more = k
        while True:
            hits = self._vectors.search(queries, more, narrow, exact)
            pending = self.catalogue.is_pending(hits.ids)
            lacking = int(pending.sum(axis=1).max())
            if more - lacking >= k:
                order = np.argsort(pending, axis=1, kind="stable")[:, :k]
                ids, distances = (np.take_along_axis(each, order, axis=1) for each in (hits.ids, hits.distances))
                return Hits(ids, distances, hits.exhaustive)
            more += 2 * lacking

    def setting(self, name: str) -> str | None:
        """A text kept with the gallery (a calibration, the retention time), or None."""
        return self.catalogue.setting(name)

    def index_state(self) -> IndexReport:
        """How a search is done now."""
        return self._vectors.report(self.setting(INDEX))

    # --- writing

    def add(
        self, entries: Sequence[Entry], features: np.ndarray, thumbnails: Sequence[bytes], keep_ids: bool = False
    ) -> list[int]:
        """All or none; returns the ids, rising. ``features`` (N, D) float of any length but 0; thumbnails are JPEGs,
        empty where there is none; ``keep_ids``: the entries' own, which rise, and lie above those of all others. Raises
        InputError for what cannot be kept, or written."""
        if not len(entries) == len(features) == len(thumbnails):
            raise ValueError(f"{len(entries)} entries, {len(features)} features, {len(thumbnails)} thumbnails")
        vectors = unit_rows(features, self.origin.width, "features")
        for entry in entries:
            check(entry)
        if not entries:
            return []
        with self._writing():
            adding = self.catalogue.begin_adding(entries, keep_ids)
            places = self._packs.append(adding.pack, adding.start, thumbnails)
            self._vectors.add(adding.rows, vectors)
            self.catalogue.finish_adding(adding, thumbnails, places)
        return [entry.id for entry in adding.entries]

    def update(self, changes: Mapping[int, Mapping[Change, object]]) -> None:
        """Set identity, camera, time or until of entries, by id: all or none. Setting what was not known is quick;
        where an old value gives way, it is erased as by :meth:`remove`. Raises InputError for an id not there."""
        with self._writing(urgent=True):
            self.catalogue.begin_changing(changes)

    def remove(self, ids: Sequence[int]) -> None:
        """Erase entries, features and thumbnails: gone from every file here. Raises InputError for an id not there."""
        with self._writing(urgent=True):
            self.catalogue.begin_removing(sorted(set(ids)))

    def set(self, name: str, value: str | None) -> None:
        """Raises InputError for "index" with a value that it cannot have."""
        with self._writing():
            if name == INDEX:
                self._vectors.report(value)
            self.catalogue.set(name, value)

    def decide(self, first: int, second: int, same: bool | None) -> None:
        """Keep what a person says of two entries; None takes it back. Raises NotThere for an id that is not there."""
        with self._writing():
            self.catalogue.decide(first, second, same)

    def record(self, who: str, action: str, entries: Sequence[int] = (), **numbers: float) -> int:
        """A line in the audit log: the part that acted ("page", "command line"), what it did, to or with which entries;
        its number. No names and no paths."""
        return self.catalogue.record([(time.time(), who, action, entries, numbers)])

    def tend(self, progress: bool = False, until: Callable[[], bool] = lambda: False) -> bool:
        """Build the indexes that the setting "index" asks for and that are missing or behind, a part at a time, as long
        as not ``until``; searching and writing go on meanwhile. Whether there was something to build."""
        built = False
        for _ in self._vectors.tend(self.setting(INDEX), progress):
            built = True
            if until():
                break
        return built

    def verify(self) -> list[str]:
        """What is wrong with the files, one sentence a problem; while a writer is at work, what it has not finished."""
        sentences, db = list[str](), self.catalogue.db
        for part in (db.problems, self._vectors.problems, self._unmatched, self.catalogue.unfinished, self._pictures):
            try:
                sentences += part()
            except InputError as error:  # damaged so that it cannot be read
                sentences.append(str(error))
        return list(dict.fromkeys(sentences))

    def close(self) -> None:
        self._vectors.close()
        self.catalogue.db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- parts of these

    @contextmanager
    def _writing(self, urgent: bool = False) -> Iterator[None]:
        """Be the only writer where there can be one only. What writers left that died is put right first; what this one
        begins is brought to its end, or undone where it fails, if it can be."""
        with self._lock, self._turn(urgent):
            self._settle()
            try:
                yield
                self._settle(begun_now=True)
            except BaseException:
                with suppress(InputError):  # else the next writer does it; what went wrong first is to be told
                    self._settle()
                raise

    def _turn(self, urgent: bool = False) -> AbstractContextManager[None]:
        if self.catalogue.db.shared and self._vectors.shared:
            return nullcontext()
        return turn(self.folder, urgent)

    def _settle(self, begun_now: bool = False) -> None:
        """Bring vectors and thumbnails to what the catalogue says, where something is under way of this process or was
        left by one that died; ``begun_now``: what is of this process was not tried before."""
        writers, left = self.catalogue.left()
        if not left:
            return
        added, removed = ([each for each in left if each.kind == kind] for kind in ("add", "remove"))
        changed = [each.first for each in left if each.kind in ("change", "set")]
        if changed:
            self._change(changed)
        for each in added:
            self._packs.cut(each.pack, each.start)
        gone = [id for each in (*added, *removed) for id in range(each.first, each.last + 1)]
        if gone:
            self._vectors.remove(np.array(gone, np.int64))
            self._packs.blank(Place(each.pack, each.start, each.size) for each in removed)
            self.catalogue.drop_packs({each.pack for each in (*added, *removed)}, writers, self._packs.drop)
        scrubbed = gone + [each.first for each in left if each.kind == "change"]
        if scrubbed:
            self.catalogue.scrub(scrubbed, again=not begun_now or len(writers) > 1)
        self.catalogue.settle(writers)

    def _change(self, ids: Sequence[int]) -> None:
        """Bring the vectors' rows to what the catalogue says. Where several write at once, another may change an entry
        meanwhile, or erase it, whose vector must not come back."""
        put, rows = None, self.catalogue.rows(ids)
        while put != rows.tobytes():
            self._vectors.change(rows)
            put, rows = rows.tobytes(), self.catalogue.rows(ids)
        self._vectors.remove(np.setdiff1d(np.array(ids, np.int64), rows["id"]))

    def _unmatched(self) -> list[str]:
        ids, there, where = self.catalogue.ids(), self._vectors.ids(), self.catalogue.db.location
        found = {
            "entries have no feature": np.setdiff1d(ids, there),
            "features belong to no entry": np.setdiff1d(there, ids),
        }
        return [f"{where}: {len(some):,} {what}, the first {some[0]}" for what, some in found.items() if len(some)]

    def _pictures(self) -> list[str]:
        sentences, after = [], 0
        while places := self.catalogue.places_after(after, BATCH):
            sentences += self._packs.problems(places)
            after = max(places)
        return sentences
