"""An answer of a gallery: the nearest entries, what is said of them, and where and when they were seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import cast

from reid.gallery.calibration.judgement import Judge, Judgement, Word
from reid.gallery.entries import Entry, Hits

APART = 60.0  # seconds without an image of an answer after which another sighting begins


@dataclass(frozen=True)
class Hit:
    """An entry in an answer, at a distance (1 - cosine, 0..2); ``judged`` where the gallery is calibrated; ``decided``:
    what a person said of it and the entry that was looked for."""

    rank: int
    entry: Entry
    distance: float
    judged: Judgement | None = None
    decided: bool | None = None


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
        by_camera = sorted(self.hits, key=lambda hit: hit.entry.camera)
        found: list[Sighting] = []
        for camera, some in groupby(by_camera, key=lambda hit: hit.entry.camera):
            hits = list(some)
            untimed = [hit for hit in hits if hit.entry.time is None]
            for _, each in groupby(sorted(untimed, key=_person), key=_person):
                found.append(Sighting(camera, None, None, tuple(each)))
            for run in _runs(sorted((hit for hit in hits if hit.entry.time is not None), key=_start)):
                until = max(_end(hit) for hit in run)
                found.append(Sighting(camera, _start(run[0]), until, tuple(sorted(run, key=lambda hit: hit.rank))))
        return tuple(sorted(found, key=lambda sighting: sighting.hits[0].rank))


def answer_of(row: int, there: Mapping[int, Entry], found: Hits, judge: Judge | None) -> Answer:
    nearest = zip(found.ids[row].tolist(), found.distances[row].tolist(), strict=True)
    pairs = [(there[id], distance) for id, distance in nearest if id in there]
    hits = tuple(
        Hit(rank, entry, distance, None if judge is None else judge.judge(distance))
        for rank, (entry, distance) in enumerate(pairs, 1)
    )
    sentences = () if judge is None else judge.summary([hit.distance for hit in hits]).sentences
    return Answer(hits, best_word(hits, judge), found.exhaustive, sentences)


def best_word(hits: Sequence[Hit], judged: object) -> Word | None:
    words = {hit.judged.word for hit in hits if hit.judged is not None}
    best: tuple[Word, ...] = ("near", "cannot tell", "far")
    return None if judged is None else next((word for word in best if word in words), "far")


def _person(hit: Hit) -> str:
    return hit.entry.identity or ""


def _start(hit: Hit) -> float:
    return cast(float, hit.entry.time)


def _end(hit: Hit) -> float:
    return _start(hit) if hit.entry.until is None else hit.entry.until


def _runs(hits: Sequence[Hit]) -> list[list[Hit]]:
    """Hits by rising time, parted where a pause begins."""
    runs: list[list[Hit]] = []
    for hit in hits:
        if runs and _start(hit) - max(_end(other) for other in runs[-1]) <= APART:
            runs[-1].append(hit)
        else:
            runs.append([hit])
    return runs
