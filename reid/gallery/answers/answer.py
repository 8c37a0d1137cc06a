"""An answer of a gallery: the nearest entries, what is said of them, and where and when they were seen."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from reid.gallery.calibration.fitted import SENTENCE
from reid.gallery.calibration.judgement import Judge, Judgement, Word
from reid.gallery.catalogue.records import last_of
from reid.gallery.entries import Entry, Hits

APART = 60.0  # seconds without an image of an answer after which another sighting begins
OWN = (
    "No percentages for images of the query's own camera: calibrated are pairs of two, and the same place looks alike."
)
SEVERAL = "Calibrated are single images: with several, more strangers may be called near than said."
EMPTY = "No image passes the filter, so that there is nothing to compare with."
MISSED = "None of those found is nearer than far; not all were compared, so that a nearer one may have been missed."


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
    """Images of an answer that one camera took without a pause; of unknown time, all of a camera and a person with a
    name, and each of the others.

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
        found: the best word among them, "cannot tell" at most of a picture that seems to show no person; "far" where
            there is none; None without a calibration, and where no entry passes the filter.
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
        """Whether nobody here is like the query, as far as all were compared; None as ``found``."""
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


def answer_of(
    row: int, k: int, there: Mapping[int, Entry], found: Hits, judge: Judge | None, strange: bool, own: Collection[str]
) -> Answer:
    """Of one query, to its first ``k`` entries of those that are ``there``; ``strange``: it is unlike all that was
    calibrated; ``own``: the cameras that it is known to be from."""
    nearest = zip(found.ids[row].tolist(), found.distances[row].tolist(), strict=True)
    pairs = [(there[id], distance) for id, distance in nearest if id in there][:k]
    hits = tuple(
        Hit(rank, *pair, None if judge is None else judge.judge(pair[1])) for rank, pair in enumerate(pairs, 1)
    )
    if judge is None or not judge.entries:
        return Answer(hits, None, found.exhaustive, () if judge is None else (EMPTY,))
    words = [judge.word(distance) for _, distance in pairs]
    best: Word = "near" if "near" in words and not strange else "cannot tell" if set(words) - {"far"} else "far"
    sentences = judge.sentences_of(words)
    if best == "far" and not found.exhaustive:
        sentences = (MISSED, *sentences[1:])
    if strange:
        sentences = (SENTENCE, *sentences)
    if judge.people is not None and any(hit.entry.camera in own for hit in hits):
        hits = tuple(_without_percentage(hit) if hit.entry.camera in own else hit for hit in hits)
        sentences = (*sentences, OWN)
    return Answer(hits, best, found.exhaustive, sentences)


def _without_percentage(hit: Hit) -> Hit:
    return replace(hit, judged=hit.judged and replace(hit.judged, probability=None))


def _lane(hit: Hit) -> tuple[str, int, str]:
    """What the images of a sighting have in common: the camera; of unknown time, the person too, who is known."""
    if hit.entry.time is not None:
        return hit.entry.camera, 0, ""
    return hit.entry.camera, 0 if hit.entry.identity else hit.rank, hit.entry.identity or ""


def _times(hit: Hit) -> tuple[float, float]:
    """Of its beginning and end; zeros where they are not known."""
    return hit.entry.time or 0.0, last_of(hit.entry) or 0.0


def _sighting(hits: Sequence[Hit]) -> Sighting:
    entry, times = hits[0].entry, [_times(hit) for hit in hits]
    start, until = min(start for start, _ in times), max(until for _, until in times)
    timed = entry.time is not None
    return Sighting(entry.camera, start if timed else None, until if timed else None, tuple(hits))
