"""What is asked of a gallery and done with it, by the page, the command line and Python alike: each has its line in the
audit log, and says the same."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Semaphore
from typing import Any, cast

import numpy as np

from reid.data.times import zone
from reid.errors import InputError
from reid.gallery.calibration.judgement import SHARE, Compared, Judge, Judgement, Word, compare
from reid.gallery.calibration.thresholds import SETTING, Calibration
from reid.gallery.catalogue.records import last_of
from reid.gallery.entries import EVERYTHING, Change, Entry, Filter, Hits, Unfit
from reid.gallery.retention import drop_expired, set_retention
from reid.gallery.store import INDEX, Gallery
from reid.networks import Network
from reid.retrieval.kernels import pair_distances
from reid.retrieval.unit import unit_rows, usable

K = 24
APART = 60.0  # seconds without an image of an answer after which another sighting begins
CONFIRMED = 2_000_000  # entries up to which "nobody" is confirmed by comparing all of them
MISSED = "None of those found is nearer than far; not all were compared, so that a nearer one may have been missed."
ZONES = "zones"  # the setting: names of cameras and their time zones, as JSON


@dataclass(frozen=True)
class Hit:
    """An entry in an answer, at a distance (1 - cosine, 0..2); ``judged`` where the gallery is calibrated."""

    rank: int
    entry: Entry
    distance: float
    judged: Judgement | None = None


@dataclass(frozen=True)
class Sighting:
    """Images of an answer that one camera took without a pause; of unknown time, all of a camera and a person.

    Attributes:
        hits: nearest first.
        time, until: of the first image and the last, seconds since 1970; None where not known.
    """

    camera: str
    time: float | None
    until: float | None
    hits: tuple[Hit, ...]


@dataclass(frozen=True)
class Answer:
    """To one query.

    Attributes:
        hits: nearest first.
        found: the best word among them; "far" where there are none; None without a calibration.
        exhaustive: every entry that passes the filter was compared.
        sentences: what is said of all of it.
        number: of its line in the audit log.
    """

    hits: tuple[Hit, ...]
    found: Word | None
    exhaustive: bool
    sentences: tuple[str, ...]
    number: int = 0

    @property
    def nobody(self) -> bool | None:
        """Whether nobody here is like the query, as far as all were compared; None without a calibration."""
        return None if self.found is None else self.found == "far" and self.exhaustive

    def sightings(self) -> tuple[Sighting, ...]:
        """The images by camera and time, the sighting of the nearest image first."""
        runs: list[list[Hit]] = []
        end = 0.0
        for hit in sorted(self.hits, key=lambda hit: (_lane(hit), _times(hit))):
            start, until = _times(hit)
            if runs and _lane(runs[-1][0]) == _lane(hit) and start - end <= APART:
                runs[-1].append(hit)
                end = max(end, until)
            else:
                runs.append([hit])
                end = until
        ranked = sorted((sorted(run, key=lambda hit: hit.rank) for run in runs), key=lambda run: run[0].rank)
        return tuple(_sighting(run) for run in ranked)


@dataclass
class Service:
    """Attributes:
    who: the part that asks, for the audit log: "page", "token", "command line", "python" or "retention".
    network: makes features of crops; None where none are given.
    calibration: None: the one that is kept with the gallery, if any.
    """

    gallery: Gallery
    who: str
    network: Network | None = None
    given: Calibration | None = None
    embedding: Semaphore = field(default_factory=lambda: Semaphore(os.cpu_count() or 1))

    def __post_init__(self) -> None:
        if self.network is not None:
            self.gallery.origin.check(self.network.origin, self.gallery.location)
        if self.given is not None:
            self.given.check(self.gallery.origin, self.gallery.location)

    # --- asking

    @property
    def calibration(self) -> Calibration | None:
        text = None if self.given is not None else self.gallery.setting(SETTING)
        if text is None:
            return self.given
        calibration = Calibration.from_json(text, f"{self.gallery.location}: {SETTING}")
        calibration.check(self.gallery.origin, self.gallery.location)
        return calibration

    def features(self, crops: Sequence[np.ndarray]) -> np.ndarray:
        """(N, D) float32 of length 1 of N crops (h, w, 3) uint8 RGB; N may be 0.

        Raises:
            InputError: naming the crop in which the network finds nothing.
        """
        if not crops:
            return np.empty((0, self.gallery.origin.width), np.float32)
        if self.network is None:
            raise Unfit(f"{self.gallery.location}: was opened without a network, which crops need")
        with self.embedding:  # as many at once as there are cores
            features = self.network.embed(crops)
        good = usable(features)
        if not good.all():
            which = "this picture" if len(crops) == 1 else f"picture {good.argmin() + 1}"
            raise Unfit(f"the network finds nothing to compare in {which}")
        return unit_rows(features, self.gallery.origin.width, "crops")

    def search(
        self,
        features: np.ndarray,
        entries: Sequence[int] = (),
        k: int = K,
        wanted: Filter = EVERYTHING,
        elsewhere: bool = False,
        share: float | None = None,
    ) -> Answer:
        """Who is this? All of (N, D) ``features`` and the ``entries``, by id, show one person: their mean is looked
        for, and the entries are left out of the answer.

        Args:
            elsewhere: leave the cameras of ``entries`` out.
            share: of strangers that may see a confident answer; None: the usual one.

        Raises:
            InputError: neither of both, an entry that is not there, a share that is none.
        """
        rows = np.concatenate([features, self.gallery.features(entries)])
        if not len(rows):
            raise Unfit("expected images or entries of a person, got none")
        if elsewhere:
            cameras = {entry.camera for entry in self.gallery.get(entries)}
            wanted = replace(wanted, without=(*wanted.without, *sorted(cameras)))
        mean = unit_rows(rows, rows.shape[1], "queries").mean(axis=0, keepdims=True)
        (answer,) = self._answers(mean, k, wanted, share, entries)
        more = {"query": entries[0]} if len(entries) == 1 else {}
        if len(rows) > 1:
            more["queries"] = len(rows)
        number = self.gallery.record(self.who, "search", [hit.entry.id for hit in answer.hits], k=k, **more)
        return replace(answer, number=number)

    def answers(
        self, features: np.ndarray, k: int = K, wanted: Filter = EVERYTHING, share: float | None = None
    ) -> list[Answer]:
        """An answer for each of (Q, D) ``features``, in one line of the audit log."""
        answers = self._answers(features, k, wanted, share)
        ids = sorted({hit.entry.id for answer in answers for hit in answer.hits})
        number = self.gallery.record(self.who, "search", ids, queries=len(features))
        return [replace(answer, number=number) for answer in answers]

    def compare(
        self, first: np.ndarray, second: np.ndarray, entries: Sequence[int] = ()
    ) -> tuple[float, Compared | None]:
        """Are two (D,) features of one person? Their distance, and what the calibration says, where there is one.
        ``entries`` are those of them that are in the gallery."""
        row, calibration = np.zeros(1, np.int64), self.calibration
        distance = float(pair_distances(first[None], row, second[None], row)[0])
        self.gallery.record(self.who, "compare", entries)
        return distance, None if calibration is None else compare(calibration, distance)

    def entry(self, id: int) -> Entry:
        """Raises InputError where it is not there."""
        return self.gallery.get([id])[0]

    def source(self, id: int) -> Entry:
        """An entry whose source is looked at."""
        entry = self.entry(id)
        self.gallery.record(self.who, "source", [id])
        return entry

    def browse(self, wanted: Filter, limit: int, after: int) -> tuple[list[Entry], bool]:
        """Entries by rising id, and whether there are more; looking for a person by name is recorded."""
        entries = self.gallery.find(wanted, limit + 1, after)
        if wanted.identities:
            self.gallery.record(self.who, "browse", [entry.id for entry in entries[:limit]])
        return entries[:limit], len(entries) > limit

    def zones(self) -> dict[str, str]:
        """Time zones of cameras, by name."""
        return json.loads(self.gallery.setting(ZONES) or "{}")

    # --- changing

    def forget(self, ids: Sequence[int]) -> None:
        """Erase entries. Raises InputError, and erases nothing, for an id that is not there."""
        self.gallery.get(ids)
        self.gallery.record(self.who, "forget", sorted(set(ids)))  # before: one that is cut off is on record too
        self.gallery.remove(ids)

    def update(self, ids: Sequence[int], changes: Mapping[Change, object]) -> None:
        """Name a person, or set camera or time; a fragment keeps its length where its beginning changes."""
        entries, start = self.gallery.get(ids), cast(float | None, changes.get("time"))
        self.gallery.record(self.who, "update", ids)
        each = dict[int, Mapping[Change, object]]()
        for entry in entries:
            lasting = start is not None and entry.time is not None and entry.until is not None
            each[entry.id] = {"until": start + entry.until - entry.time, **changes} if lasting else changes  # type: ignore[operator]
        self.gallery.update_each(each)

    def retain(self, days: str) -> list[int]:
        """Keep entries for a number of days from now on, or "none" for good; ids of those that are dropped at once."""
        set_retention(self.gallery, days)
        self.gallery.record(self.who, "retention", days=float(days) if days != "none" else 0)
        return self.drop_expired()

    def drop_expired(self) -> list[int]:
        """Erase what is expired, recorded as of "retention"."""
        return drop_expired(self.gallery, time.time())

    def calibrate(self, calibration: Calibration) -> None:
        """Keep a calibration with the gallery."""
        calibration.check(self.gallery.origin, self.gallery.location)
        self.gallery.set(SETTING, calibration.to_json())
        self.gallery.record(self.who, "calibrate")

    def choose_index(self, kind: str) -> None:
        self.gallery.set(INDEX, kind)
        self.gallery.record(self.who, "index")

    def set_zone(self, camera: str, name: str) -> None:
        """A camera's time zone, such as Europe/Berlin; an empty name for none. Raises InputError for another name, or a
        camera that is not there."""
        zones, there = self.zones(), self.gallery.summary().cameras
        zones.pop(camera, None)
        if name:
            if camera not in there:
                listed = ", ".join(there) or "none"
                raise InputError(f"{self.gallery.location}: has no camera {camera!r}; its cameras: {listed}")
            zones[camera] = str(zone(name, f"time zone of {camera}"))
        self.gallery.set(ZONES, json.dumps(dict(sorted(zones.items()))))
        self.gallery.record(self.who, "zone")

    def export(self, path: Path, thumbnails: bool = True) -> int:
        """Write all to a Parquet file; the number of entries."""
        from reid.gallery.transfer.parquet import export

        self.gallery.record(self.who, "export")
        return export(self.gallery, path, thumbnails)

    def import_(self, path: Path, again: bool = False) -> Any:
        """Add the entries of a Parquet file that :meth:`export` wrote; what became of them."""
        from reid.gallery.transfer.parquet import import_

        added = import_(path, self.gallery, again)
        self.gallery.record(self.who, "import", added.ids)
        return added

    # --- parts of these

    def _answers(
        self, features: np.ndarray, k: int, wanted: Filter, share: float | None, without: Sequence[int] = ()
    ) -> list[Answer]:
        """To each of (Q, D) queries, the entries ``without`` left out; where nobody is found by an index that may have
        missed somebody, all are compared."""
        calibration, judge = self.calibration, None
        if calibration is not None:
            entries, people = self.gallery.counts(wanted)
            judge = Judge(calibration, entries, people, SHARE if share is None else share)
        elif share is not None:
            raise Unfit(f"{self.gallery.location}: has no calibration, so that no share of strangers can be chosen")
        answers = self._nearest(features, k, wanted, judge, without)
        doubtful = [row for row, answer in enumerate(answers) if answer.found == "far" and not answer.exhaustive]
        if doubtful and len(self.gallery) <= CONFIRMED:
            exact = self._nearest(features[doubtful], k, wanted, judge, without, exact=True)
            for row, answer in zip(doubtful, exact, strict=True):
                answers[row] = answer
        return answers

    def _nearest(
        self, features: np.ndarray, k: int, wanted: Filter, judge: Judge | None, without: Sequence[int],
        exact: bool = False,
    ) -> list[Answer]:  # fmt: skip
        hits = self.gallery.search(features, k + len(without), wanted, exact)
        there = self.gallery.present(np.unique(hits.ids[hits.ids >= 0]).tolist())  # others were erased meanwhile
        for id in without:
            there.pop(id, None)
        return [_answer(row, k, there, hits, judge) for row in range(len(features))]


def _answer(row: int, k: int, there: Mapping[int, Entry], found: Hits, judge: Judge | None) -> Answer:
    nearest = zip(found.ids[row].tolist(), found.distances[row].tolist(), strict=True)
    pairs = [(there[id], distance) for id, distance in nearest if id in there][:k]
    if judge is None:
        hits = tuple(Hit(rank, *pair) for rank, pair in enumerate(pairs, 1))
        return Answer(hits, None, found.exhaustive, ())
    hits = tuple(Hit(rank, *pair, judge.judge(pair[1])) for rank, pair in enumerate(pairs, 1))
    said = judge.summary([distance for _, distance in pairs])
    best: Word = "near" if said.near else "cannot tell" if said.cannot_tell else "far"
    sentences = said.sentences
    if said.nobody and not found.exhaustive:
        sentences = (MISSED, *sentences[1:])
    return Answer(hits, best, found.exhaustive, sentences)


def _lane(hit: Hit) -> tuple[str, bool, str]:
    """What the images of a sighting have in common: the camera; of unknown time, the person too."""
    timed = hit.entry.time is not None
    return hit.entry.camera, timed, "" if timed else hit.entry.identity or ""


def _times(hit: Hit) -> tuple[float, float]:
    """Of its beginning and end; zeros where they are not known."""
    return hit.entry.time or 0.0, last_of(hit.entry) or 0.0


def _sighting(hits: Sequence[Hit]) -> Sighting:
    entry, times = hits[0].entry, [_times(hit) for hit in hits]
    start, until = min(start for start, _ in times), max(until for _, until in times)
    timed = entry.time is not None
    return Sighting(entry.camera, start if timed else None, until if timed else None, tuple(hits))
