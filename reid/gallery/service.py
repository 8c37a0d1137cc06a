"""What is asked of a gallery and done with it, by the page, the command line and Python alike: each has its line in the
audit log, and says the same."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from reid.data.times import zone
from reid.errors import InputError
from reid.gallery.answers import SEVERAL, Answer, answer_of
from reid.gallery.calibration.judgement import SHARE, Compared, Judge, Word, compare
from reid.gallery.calibration.thresholds import SETTING, Calibration
from reid.gallery.entries import EVERYTHING, Change, Entry, Filter, NotThere, Unfit
from reid.gallery.store import INDEX, Gallery
from reid.networks import Network
from reid.retrieval.kernels import pair_distances
from reid.retrieval.unit import unit_rows, usable

if TYPE_CHECKING:
    from reid.gallery.ingest.adding import Added
    from reid.gallery.transfer.parquet import Exported

K = 24
CONFIRMED = 2_000_000  # entries up to which "nobody" is confirmed by comparing all of them
ZONES = "zones"  # the setting: names of cameras and their time zones, as JSON
RETENTION = "retention_days"  # the setting: a positive number of days; without it entries are kept for good
DAY, PORTION = 86_400.0, 5_000  # seconds; entries that are dropped in one turn


@dataclass
class Service:
    """Attributes:
    who: the part that asks, for the audit log: "page", "token", "command line", "python" or "retention".
    network: makes features of crops; None where none are given.
    given: a calibration; None: the one that is kept with the gallery, if any.
    """

    gallery: Gallery
    who: str
    network: Network | None = None
    given: Calibration | None = None

    def __post_init__(self) -> None:
        if self.network is not None:
            self.gallery.origin.check(self.network.origin, self.gallery.location)
        if self.given is not None:
            self.given.check(self.gallery.origin, self.gallery.location)

    # --- asking

    @property
    def calibration(self) -> Calibration | None:
        if self.given is not None or (text := self.gallery.setting(SETTING)) is None:
            return self.given
        calibration = Calibration.from_json(text, f"{self.gallery.location}: {SETTING}")
        calibration.check(self.gallery.origin, self.gallery.location)
        return calibration

    def features(self, crops: Sequence[np.ndarray]) -> np.ndarray:
        """(N, D) float32 of length 1 of N crops (h, w, 3) uint8 RGB; N may be 0. Raises InputError naming the crop in
        which the network finds nothing."""
        if not crops:
            return np.empty((0, self.gallery.origin.width), np.float32)
        if self.network is None:
            raise Unfit(f"{self.gallery.location}: was opened without a network, which crops need")
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
        rate: float | None = None,
        cameras: Sequence[str] = (),
    ) -> Answer:
        """Who is this? All of (N, D) ``features`` and the ``entries``, by id, show one person: their mean is looked
        for, and the entries are left out of the answer.

        Args:
            elsewhere: leave the cameras of ``entries`` out.
            share: of strangers that may see a confident answer; None: the usual one.
            rate: in its place a false-match rate that was calibrated, whose threshold is taken.
            cameras: of ``features``, as far as known.

        Raises InputError: neither features nor entries, an entry that is not there, a share or rate that is none."""
        rows = np.concatenate([features, self.gallery.features(entries)])
        if not len(rows):
            raise Unfit("expected images or entries of a person, got none")
        own = {entry.camera for entry in self.gallery.get(entries)}
        if elsewhere:
            wanted = replace(wanted, without=(*wanted.without, *sorted(own)))
        mean = unit_rows(rows, rows.shape[1], "queries").mean(axis=0, keepdims=True)
        (answer,) = self._answers(mean, k, wanted, share, rate, [{*own, *cameras}], entries)
        more = {"queries": len(rows)} if len(rows) > 1 else {}
        if more and answer.sentences:
            first, *rest = answer.sentences
            answer = replace(answer, sentences=(f"{first} {SEVERAL}", *rest))
        if len(entries) == 1:
            more["query"] = entries[0]
            pairs = self.gallery.catalogue.decisions(entries[0])
            said = {first + second - entries[0]: same for (first, second), same in pairs.items()}  # by the other one
            answer = replace(answer, hits=tuple(replace(hit, decided=said.get(hit.entry.id)) for hit in answer.hits))
        number = self.gallery.record(self.who, "search", [hit.entry.id for hit in answer.hits], k=k, **more)
        return replace(answer, number=number)

    def answers(
        self,
        features: np.ndarray,
        k: int = K,
        wanted: Filter = EVERYTHING,
        share: float | None = None,
        rate: float | None = None,
        cameras: Sequence[str] = (),
    ) -> list[Answer]:
        """An answer for each of (Q, D) ``features``, in one line of the audit log; ``cameras``: of each, if known."""
        own = [{camera} for camera in cameras] or [set[str]()] * len(features)
        answers = self._answers(features, k, wanted, share, rate, own)
        ids = sorted({hit.entry.id for answer in answers for hit in answer.hits})
        number = self.gallery.record(self.who, "search", ids, queries=len(features))
        return [replace(answer, number=number) for answer in answers]

    def compare(
        self, first: np.ndarray, second: np.ndarray, entries: Sequence[int] = (), rate: float | None = None
    ) -> tuple[float, Compared | None]:
        """Are two (D,) features of one person? Their distance, and what the calibration says, where there is one.
        ``entries`` are those of them that are in the gallery."""
        calibration = self.calibration
        self.gallery.record(self.who, "compare", entries)
        return compared(calibration, first, second, rate)

    def source(self, id: int) -> Entry:
        """An entry whose source is looked at. Raises InputError where it is not there."""
        (entry,) = self.gallery.get([id])
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
        each, start = dict.fromkeys(ids, changes), changes.get("time")
        for entry in self.gallery.get(ids):
            if isinstance(start, (int, float)) and entry.time is not None and entry.until is not None:
                each[entry.id] = {"until": start + entry.until - entry.time, **changes}
        self.gallery.record(self.who, "update", ids)
        self.gallery.update(each)

    def decide(self, first: int, second: int, same: bool | None) -> None:
        """A person says whether two entries are one person; None takes it back."""
        self.gallery.decide(first, second, same)
        self.gallery.record(self.who, "decide", [first, second], same=-1 if same is None else int(same))

    def decided(self) -> dict[Word, tuple[int, int]]:
        """Of the pairs of entries that people decided on, by the word that is said of two given images: how many there
        are, and how many of them are one person. Empty without a calibration."""
        calibration, pairs = self.calibration, self.gallery.catalogue.decisions()
        if calibration is None or not pairs:
            return {}
        first, second = (self.gallery.features([pair[side] for pair in pairs]) for side in (0, 1))
        rows = np.arange(len(pairs))
        words = [compare(calibration, each).word for each in pair_distances(first, rows, second, rows).tolist()]
        said = list(zip(words, pairs.values(), strict=True))
        return {word: (words.count(word), said.count((word, True))) for word in dict.fromkeys(words)}

    def retain(self, days: str) -> list[int]:
        """Keep entries for a positive number of days from when they were put in, or "none" for good; ids of those that
        are dropped at once. Raises InputError for what is neither."""
        kept = None if days == "none" else check_days(days, self.gallery.location)
        self.gallery.set(RETENTION, kept)
        self.gallery.record(self.who, "retention", days=float(kept or 0))
        return self.drop_expired()

    def drop_expired(self) -> list[int]:
        """Erase what was put in longer ago than the retention time, a portion a turn, recorded as of "retention"; the
        ids."""
        days, dropped = self.gallery.setting(RETENTION), list[int]()
        if days is None:
            return dropped
        oldest = time.time() - float(check_days(days, self.gallery.location)) * DAY
        while ids := self.gallery.catalogue.expired(oldest, PORTION):
            self.gallery.record("retention", "forget", ids)
            with suppress(NotThere):  # another process erased some meanwhile; what is left is found anew
                self.gallery.remove(ids)
                dropped += ids
        return dropped

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
        zones, there = self.zones(), self.gallery.catalogue.names("camera")
        zones.pop(camera, None)
        if name:
            if camera not in there:
                listed = ", ".join(there) or "none"
                raise InputError(f"{self.gallery.location}: has no camera {camera!r}; its cameras: {listed}")
            zones[camera] = str(zone(name, f"time zone of {camera}"))
        self.gallery.set(ZONES, json.dumps(dict(sorted(zones.items()))))
        self.gallery.record(self.who, "zone")

    def export(self, path: Path) -> int:
        """Write all to a Parquet file; the number of entries."""
        from reid.gallery.transfer.parquet import export

        self.gallery.record(self.who, "export")
        return export(self.gallery, path)

    def import_(self, file: Exported, again: bool = False) -> Added:
        """Add the entries of a file that :meth:`export` wrote, opened; what became of them."""
        from reid.gallery.transfer.parquet import import_

        return import_(file, self.gallery, again, self.who)

    def _answers(
        self,
        features: np.ndarray,
        k: int,
        wanted: Filter,
        share: float | None,
        rate: float | None,
        own: Sequence[set[str]],
        without: Sequence[int] = (),
    ) -> list[Answer]:
        """To each of (Q, D) queries of ``own`` cameras, the entries ``without`` left out; where nobody is found by an
        index that may have missed somebody, all are compared."""
        calibration, judge, strange = self.calibration, None, np.zeros(len(features), bool)
        if calibration is not None:
            counts = self.gallery.catalogue.counts(wanted)
            judge = Judge(calibration, *counts, SHARE if share is None else share, rate)
            strange = calibration.strange(features)
        elif share is not None or rate is not None:
            raise Unfit(f"{self.gallery.location}: has no calibration, so that no share or rate can be chosen")

        def nearest(rows: list[int], exact: bool) -> dict[int, Answer]:
            hits = self.gallery.search(features[rows], k + len(without), wanted, exact)
            ids = np.setdiff1d(hits.ids, [-1, *without])
            there = self.gallery.catalogue.present(ids.tolist())  # others were erased meanwhile
            told = (answer_of(at, k, there, hits, judge, bool(strange[row]), own[row]) for at, row in enumerate(rows))
            return dict(zip(rows, told, strict=True))

        answers = nearest(list(range(len(features))), exact=False)
        doubtful = [row for row, answer in answers.items() if answer.found == "far" and not answer.exhaustive]
        if doubtful and len(self.gallery) <= CONFIRMED:
            answers |= nearest(doubtful, exact=True)
        return list(answers.values())


def check_days(days: str, where: str) -> str:
    """A retention time as it is. Raises InputError, beginning with ``where``, when it is no positive number of days."""
    with suppress(ValueError):
        if 0 < float(days) < math.inf:
            return days
    raise InputError(f"{where}: {RETENTION} {days!r} is no number above 0, nor none")


def compared(
    calibration: Calibration | None, first: np.ndarray, second: np.ndarray, rate: float | None = None
) -> tuple[float, Compared | None]:
    """The distance (1 - cosine, 0..2) of two (D,) float32 features of length 1, and what the calibration says of it."""
    row = np.zeros(1, np.int64)
    apart = float(pair_distances(first[None], row, second[None], row)[0])
    if calibration is None:
        return apart, None
    return apart, compare(calibration, apart, rate, bool(calibration.strange(np.stack([first, second])).any()))
