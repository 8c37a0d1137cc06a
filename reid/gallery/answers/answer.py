"""An answer of a gallery: the nearest entries, what is said of them, and where and when they were seen."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from reid.gallery.calibration.judgement import Judge, Judgement, Word
from reid.gallery.calibration.unlike import SENTENCE
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
        for hit in sorted(self.hits, key=lambda hit: (_lane(hit), hit.entry.time or 0.0)):
            until = last_of(hit.entry) or 0.0
            if runs and _lane(runs[-1][0]) == _lane(hit) and (hit.entry.time or 0.0) - end <= APART:
                runs[-1].append(hit)
                end = max(end, until)
            else:
                runs.append([hit])
                end = until
        return tuple(sorted(map(_sighting, runs), key=lambda each: each.hits[0].rank))


def answer_of(
    row: int, k: int, there: Mapping[int, Entry], found: Hits, judge: Judge | None, strange: bool, own: Collection[str]
) -> Answer:
    """Of one query, to its first ``k`` entries of those that are ``there``; ``strange``: it is unlike all that was
    calibrated; ``own``: the cameras that it is known to be from."""
    nearest = zip(found.ids[row].tolist(), found.distances[row].tolist(), strict=True)
    pairs = [(there[id], distance) for id, distance in nearest if id in there][:k]
    if judge is None or not judge.entries:
        hits = [Hit(rank, *pair) for rank, pair in enumerate(pairs, 1)]
        return Answer(tuple(hits), None, found.exhaustive, () if judge is None else (EMPTY,))
    hits = []
    for rank, (entry, distance) in enumerate(pairs, 1):
        judged = judge.judge(distance)
        if entry.camera in own:
            judged = replace(judged, probability=None)
        hits.append(Hit(rank, entry, distance, judged))
    words = [judge.word(distance) for _, distance in pairs]
    best: Word = "near" if "near" in words and not strange else "cannot tell" if set(words) - {"far"} else "far"
    sentences = judge.sentences_of(words)
    if best == "far" and not found.exhaustive:
        sentences = (MISSED, *sentences[1:])
    if strange:
        sentences = (SENTENCE, *sentences)
    if judge.people is not None and any(entry.camera in own for entry, _ in pairs):
        sentences = (*sentences, OWN)
    return Answer(tuple(hits), best, found.exhaustive, sentences)


def _lane(hit: Hit) -> tuple[str, int, str]:
    """What the images of a sighting have in common: the camera; of unknown time, the person too, who is known."""
    if hit.entry.time is not None:
        return hit.entry.camera, 0, ""
    return hit.entry.camera, 0 if hit.entry.identity else hit.rank, hit.entry.identity or ""


def _sighting(hits: Sequence[Hit]) -> Sighting:
    """Of its images by rising time."""
    first, ends = hits[0].entry, [until for hit in hits if (until := last_of(hit.entry)) is not None]
    by_rank = tuple(sorted(hits, key=lambda hit: hit.rank))
    return Sighting(first.camera, first.time, max(ends, default=None), by_rank)
