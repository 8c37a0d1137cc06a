"""What the page and the API ask of a gallery, without HTTP."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Semaphore

import numpy as np

from reid.errors import InputError
from reid.gallery.audit import AuditLog
from reid.gallery.calibration.thresholds import Calibration
from reid.gallery.entries import Entry, Filter, Store
from reid.gallery.query import answer, distance_between
from reid.gallery.web.answers import (
    CalibrationAnswer,
    CompareAnswer,
    EntryAnswer,
    Hit,
    Index,
    Lane,
    Page,
    Rate,
    SearchAnswer,
    SummaryAnswer,
    TimelineAnswer,
)
from reid.gallery.web.sources import source_picture
from reid.gallery.web.uploads import Limits, Refused, decode
from reid.networks import Network
from reid.retrieval.unit import unit_rows, usable

TIMELINE = 500  # hits at most
Query = bytes | int  # the bytes of a picture, or an entry's id


@dataclass(frozen=True)
class Service:
    """Answers from ``store``; ``writer`` opens the same gallery for writing, for the moment of an erasure."""

    store: Store
    model: Network
    calibration: Calibration | None
    audit: AuditLog
    writer: Callable[[], AbstractContextManager[Store]]
    limits: Limits
    embedding: Semaphore = field(default_factory=lambda: Semaphore(os.cpu_count() or 1))

    def summary(self) -> SummaryAnswer:
        counts, origin = self.store.summary(), self.store.origin
        state = getattr(self.store, "index_state", None)
        calibration = None
        if self.calibration is not None:
            rates = [Rate(rate=each.rate, threshold=each.threshold) for each in self.calibration.held.rates]
            usual = self.calibration.usual
            calibration = CalibrationAnswer(source=self.calibration.source, rates=rates, rate=usual)
        return SummaryAnswer(
            name=Path(self.store.location).name,
            entries=counts.entries,
            identities=counts.identities,
            unknown=counts.unknown,
            cameras=counts.cameras,
            first=counts.first,
            last=counts.last,
            model=origin.name,
            width=origin.width,
            fingerprint=origin.fingerprint,
            index=None if state is None else Index.model_validate(state()),
            calibration=calibration,
        )

    def entry(self, id: int) -> Entry:
        entry = look_up(self.store, id)
        if entry is None:
            raise Refused(404, f"there is no entry {id}")
        return entry

    def browse(self, wanted: Filter, limit: int, after: int) -> Page:
        stored = self.store.find(wanted, limit + 1, after)
        entries = [EntryAnswer.of(entry) for entry in stored[:limit]]
        return Page(entries=entries, next=entries[-1].id if len(stored) > limit else None)

    def thumbnail(self, id: int) -> bytes:
        self.entry(id)
        content = self.store.thumbnail(id)
        if not content:
            raise Refused(404, f"entry {id} was put in without a picture")
        return content

    def source(self, who: str, id: int) -> bytes:
        entry = self.entry(id)
        self.audit.record(who, "source", [id])
        try:
            return source_picture(entry)
        except InputError as error:
            raise Refused(404, str(error).replace(entry.source, Path(entry.source).name)) from None

    def search(self, who: str, query: Query, wanted: Filter, k: int, rate: float | None) -> SearchAnswer:
        rate, threshold = self._operating(rate)
        hits = self._hits(query, wanted, k, rate)
        nobody = rate is not None and not any(hit.match for hit in hits)
        self._record(who, "search", query, hits, k=k)
        return SearchAnswer(rate=rate, threshold=threshold, hits=hits, nobody=nobody)

    def timeline(self, who: str, query: Query, wanted: Filter, k: int, rate: float | None) -> TimelineAnswer:
        rate, threshold = self._operating(rate)
        within = rate is not None
        hits = self._hits(query, wanted, TIMELINE if within else k, rate)
        kept = [hit for hit in hits if hit.match] if within else hits
        self._record(who, "timeline", query, kept)
        timed = sorted((hit for hit in kept if hit.time is not None), key=lambda hit: (hit.time or 0.0, hit.id))
        lanes = [
            Lane(camera=camera, hits=[hit for hit in timed if hit.camera == camera])
            for camera in sorted({hit.camera for hit in timed})
        ]
        untimed = [hit for hit in kept if hit.time is None]
        cut = within and len(kept) == TIMELINE
        return TimelineAnswer(rate=rate, threshold=threshold, within=within, cut=cut, lanes=lanes, untimed=untimed)

    def compare(self, who: str, pair: Sequence[Query], rate: float | None) -> CompareAnswer:
        rate, threshold = self._operating(rate)
        first, second = (self._feature(query, f"picture {number}")[0] for number, query in enumerate(pair, 1))
        distance = distance_between(first, second)
        self.audit.record(who, "compare", [query for query in pair if isinstance(query, int)])
        if self.calibration is None or rate is None:
            return CompareAnswer(
                rate=None, threshold=None, distance=distance, probability=None, same=None,
                false_match_rate=None, true_match_rate=None, source=None,
            )  # fmt: skip
        verdict = self.calibration.verdict(distance, rate)
        return CompareAnswer(
            rate=rate,
            threshold=threshold,
            distance=distance,
            probability=verdict.probability,
            same=verdict.same,
            false_match_rate=verdict.false_match_rate,
            true_match_rate=verdict.true_match_rate,
            source=self.calibration.source,
        )

    def forget(self, who: str, ids: Sequence[int], identity: str | None) -> list[int]:
        """Erase entries by id, or all of a person; returns their ids."""
        with self.writer() as store:
            if identity is None:
                for id in ids:
                    if look_up(store, id) is None:
                        raise Refused(404, f"there is no entry {id}; nothing was erased")
                erased = sorted(set(ids))
            else:
                erased = [entry.id for entry in store.find(Filter(identities=(identity,)))]
                if not erased:
                    raise Refused(404, f"there is no entry of {identity!r}")
            self.audit.record(who, "forget", erased)  # before: an erasure that is cut off is on record too
            store.remove(erased)
        return erased

    def _record(self, who: str, action: str, query: Query, hits: Sequence[Hit], **numbers: int) -> None:
        if isinstance(query, int):
            numbers["query"] = query
        self.audit.record(who, action, [hit.id for hit in hits], **numbers)

    def _operating(self, rate: float | None) -> tuple[float | None, float | None]:
        """The calibration's rate and threshold; None and None where there is no calibration."""
        if self.calibration is None:
            if rate is not None:
                raise Refused(422, f"rate {rate:g}: this gallery has no calibration")
            return None, None
        thresholds = {each.rate: each.threshold for each in self.calibration.held.rates}
        if rate is None:
            rate = self.calibration.usual
        if rate not in thresholds:
            raise Refused(422, f"rate {rate:g} is not one of {', '.join(f'{each:g}' for each in thresholds)}")
        return rate, thresholds[rate]

    def _feature(self, query: Query, what: str = "this picture") -> np.ndarray:
        """(1, D) float32, of length 1."""
        if isinstance(query, int):
            self.entry(query)
            return self.store.features([query])
        image = decode(query, self.limits)
        with self.embedding:  # as many at once as there are cores: see one_thread_each
            features = self.model.embed([image])
        if not usable(features)[0]:
            raise Refused(422, f"the network finds nothing to compare in {what}")
        return unit_rows(features, self.store.origin.width, what)

    def _hits(self, query: Query, wanted: Filter, k: int, rate: float | None) -> list[Hit]:
        features = self._feature(query)
        (result,) = answer(self.store, features, k + isinstance(query, int), wanted, self.calibration, rate)
        return [Hit.of_ranked(hit) for hit in result.hits if hit.entry.id != query][:k]


def look_up(store: Store, id: int) -> Entry | None:
    entries = store.find(limit=1, after=id - 1)
    return entries[0] if entries and entries[0].id == id else None
