"""What is said of distances in a gallery of some size: a word, how many strangers' images come as near, a probability,
and the sentences that page, command line and JSON share.

*Near* is said within the distance at which no more than the wanted share of strangers, people who are not in the
gallery, find any entry; *far* beyond the distance within which ``LIKELY`` of the pairs of one person on two cameras
lie. Where a network tells people so well that the second comes first, what lies between is rare for strangers and for
one person alike: then "near" ends at the first and "far" begins at the second, and both stay true.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike

from reid.errors import InputError
from reid.gallery.calibration.fitted import NONE_SEEN, SENTENCE
from reid.gallery.calibration.rates import Curve, Share
from reid.gallery.calibration.thresholds import EXPECTED, Calibration

Word = Literal["near", "cannot tell", "far"]
SHARE = 0.05  # of strangers that may find an entry that is called near
PAIR_SHARE = 0.01  # of pairs of two people that may be called near where two images are given
LIKELY = 0.95  # of the pairs of one person lie nearer than what is called far
PRESENT = 0.5  # prior of the query's person being in the gallery at all, where each of the people is as likely


@dataclass(frozen=True)
class Judgement:
    """Of one entry at some distance from the query. ``strangers``: entries expected this near, were all of them of
    other people, and in words the ``sentence``. ``probability``: that it shows the query's person; None where it is not
    known how many people there are. ``shade``: 0..1, the share of the pairs of one person that lie farther."""

    word: Word
    strangers: float
    probability: float | None
    shade: float
    sentence: str


@dataclass(frozen=True)
class Compared:
    """Two given images: ``probability`` that they show one person where both are as likely beforehand."""

    word: Word
    probability: float
    sentences: tuple[str, ...]


@dataclass(frozen=True)
class Judge:
    """What a calibration says in a gallery: a search goes over so many ``entries``, of so many ``people``, if all have
    names; ``share`` of strangers may find an entry called near, or the threshold of ``rate``, a calibrated false-match
    rate, stands for that. Raises InputError for a number out of its range, or a rate that has no threshold."""

    calibration: Calibration
    entries: int
    people: int | None = None
    share: float = SHARE
    rate: float | None = None

    def __post_init__(self) -> None:
        if not 0 < self.share < 1:
            raise InputError(f"share {self.share!r}: wanted a number between 0 and 1")
        people, entries = self.people, self.entries
        if entries < 0 or (people is not None and not 1 <= people <= entries):
            raise InputError(f"{people} people in {entries} entries: wanted one at least, one an entry at most")
        if self.rate is not None:
            self.calibration.at(self.rate)

    @cached_property
    def least_share(self) -> float:
        """The least share of strangers that the calibration resolves in a gallery of this size: one of which its
        queries, or the pairs of two people among them, let ``EXPECTED`` expect within the threshold."""
        fitted = self.calibration.fitted
        some = min(1.0, EXPECTED / fitted.curve.queries)
        return float(carried(fitted.curve, some, some, EXPECTED / fitted.false, self.entries))

    @cached_property
    def _limits(self) -> tuple[float | None, float]:
        """Where near ends and far begins, of two distances: within which no more strangers than wanted find an entry,
        or the threshold of ``rate``; and within which ``LIKELY`` of the pairs of one person lie. Counted is the upper
        end of the interval: by the share itself half of all calibrations would let more through."""
        curve = self.calibration.fitted.curve
        likely = curve.distances[min(int(np.searchsorted(curve.true_match, LIKELY)), len(curve.distances) - 1)]
        if self.rate is not None:
            limit = self.calibration.at(self.rate).threshold
        else:
            seen = carried(curve, curve.high, curve.fpir, curve.false_match, self.entries)
            within = int(np.argmax(np.append(seen, 2) > self.share))
            if not within or self.share < self.least_share:
                return None, likely
            limit = curve.distances[within - 1]
        return min(limit, likely), max(limit, likely)

    @property
    def near(self) -> float | None:
        """The largest distance called near; None where nothing is."""
        return self._limits[0]

    @property
    def far(self) -> float:
        """The largest distance that is not called far."""
        return self._limits[1]

    @cached_property
    def met(self) -> tuple[tuple[str, Share], ...]:
        """Of people to whom nothing was fitted, the source's held half and each data set that the calibration was
        measured on: the share that finds an entry called near as strangers, carried over to the gallery's entries."""
        if self.near is None:
            return ()
        met = []
        for measured in (self.calibration.held, *self.calibration.targets):
            _, false, *shares = measured.curve.at(self.near)
            value, low, high = carried(measured.curve, shares, shares[0], false, self.entries).tolist()
            met.append((measured.name, Share(value, low, high, measured.curve.queries)))
        return tuple(met)

    def word(self, distance: float) -> Word:
        """Raises InputError for a distance that is none."""
        if not np.isfinite(distance):
            raise InputError(f"distance {distance!r}: wanted a number")
        if self.near is not None and distance <= self.near:
            return "near"
        return "far" if distance > self.far else "cannot tell"

    def judge(self, distance: float) -> Judgement:
        """Raises InputError for a distance that is none."""
        fitted = self.calibration.fitted
        true, false, *_ = fitted.curve.at(distance)
        unseen = min(1.0, NONE_SEEN / fitted.false)
        strangers = self.entries * max(false, unseen)
        probability = None
        if self.people is not None:
            probability = float(self.calibration.likelihood.probability(distance, PRESENT / self.people))
        count = f"about {float(f'{strangers:.2g}'):,.0f}"
        if false < unseen or strangers < 0.95:
            count = f"fewer than {np.ceil(strangers):,.0f}"
        sentence = f"of {self.entries:,} images of other people {count} would come this near"
        return Judgement(self.word(distance), strangers, probability, 1 - true, sentence)

    def sentences_of(self, words: Sequence[Word]) -> tuple[str, ...]:
        """What is said of a list of the nearest entries, by the words for them, before :attr:`sentences`."""
        near, unclear, far = (words.count(word) for word in get_args(Word))
        first = f"{near} near, {unclear} cannot be told, {far} far."
        return ("Nobody: none is nearer than far." if far == len(words) else first, *self.sentences)

    @cached_property
    def sentences(self) -> tuple[str, ...]:
        """What words and percentages mean in this gallery, what was met elsewhere, and where all of it is from."""
        fitted, entries = self.calibration.fitted, f"{self.entries:,} images"
        source = f"{fitted.curve.queries:,} queries and {fitted.curve.entries:,.0f} images of {fitted.people:,} people"
        if self.near is None:
            told = f"; they tell it of a share of {percent(self.least_share)}" if self.least_share < 0.5 else ""
            near = (
                f"Nothing is called near: {source} are too few to tell what {percent(self.share)} of strangers find "
                f"among {entries}{told}."
            )
        else:
            wanted = f"where at most {percent(self.share)} of strangers should find any of {entries}"
            if self.rate is not None:
                wanted = f"the threshold for {percent(self.rate)} of the pairs of two people, whatever strangers find"
            met = [f"{percent(m.value)} ({percent(m.low)} to {percent(m.high)}) on {where}" for where, m in self.met]
            near = f"Near: within {self.near:.3f}, {wanted}. Found by strangers among {entries}: {'; '.join(met)}."
        chances = "No percentages: not every image has a name, so how many people there are is not known."
        if self.people is not None:
            chances = (
                f"Percentages hold where the person is here in {percent(PRESENT)} of all searches, and each of the "
                f"{self.people:,} people as often."
            )
        return (
            near,
            f"Far: beyond {self.far:.3f}; {percent(LIKELY)} of the pairs of one person on two cameras lie nearer.",
            chances,
            f"Calibrated on {source} of {self.calibration.source}; other places have other rates.",
        )


def carried(curve: Curve, shares: ArrayLike, fpir: ArrayLike, false: ArrayLike, entries: int) -> np.ndarray:
    """Shares of strangers that find any of ``entries``, where ``shares`` find any of those of the curve: ``fpir``, its
    shares of strangers at some distances, or an end of its interval. There ``false`` are its shares of pairs of two.

    More entries are more people like those there, who are independent, while a person's images stay together:
    1 - (1 - share)^(entries / entries there). As some strangers resemble many people and others nobody, this says too
    much rather than too little (Jensen). Fewer find no more than those there, nor more than each adds alone.
    """
    shares, fpir, false = (np.array(each, float) for each in (shares, fpir, false))
    if entries >= curve.entries:
        return -np.expm1(entries / curve.entries * np.log1p(-np.minimum(shares, 1 - 1e-12)))
    alone = np.divide(entries * false, fpir, out=np.zeros_like(fpir), where=fpir > 0)
    return shares * np.minimum(1, alone)


def compare(calibration: Calibration, distance: float, rate: float | None = None, strange: bool = False) -> Compared:
    """Of two given images, each of which is as good as a gallery of one: near where no more than ``PAIR_SHARE`` of the
    pairs of two people lie, or within the threshold of ``rate``; ``strange``: one is said to show no person. Raises
    InputError for a distance that is none, or a rate that has no threshold."""
    word = Judge(calibration, 1, share=PAIR_SHARE, rate=rate).word(distance)
    probability, held = float(calibration.likelihood.probability(distance)), calibration.held
    true, false, *_ = map(percent, held.curve.at(distance))
    sentences: tuple[str, ...] = (
        f"Probability of one person {percent(probability)}, if as likely as not before looking.",
        f"{false} of the pairs of two people lie as near and {true} of the pairs of one, on {held.name}; other places "
        "have other rates.",
    )
    if strange:
        word, sentences = "far" if word == "far" else "cannot tell", (SENTENCE, *sentences)
    return Compared(word, probability, sentences)


def percent(share: float) -> str:
    """A share in words, which are never surer than it is."""
    value = 100 * share
    if 99.5 <= value < 100:
        return "over 99 %"
    if 0 < value < 0.01:
        return "under 0.01 %"
    return f"{value:.0f} %" if value >= 10 else f"{value:.2g} %"
