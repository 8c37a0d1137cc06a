"""What is met on labelled features: how often a threshold is right and wrong, pair by pair and in a search of the
gallery, and how far probabilities hold.

Pairs are those that the ranking compares: no junk, no query with identity <= 0, not the query's identity and camera.
A search is right when the nearest entry is within the threshold and shows the query's person (detection and
identification rate, DIR); with the person left out of the gallery it is wrong when any entry is within it (false
positive identification rate, FPIR): Phillips, Grother and Micheals 2005, *Evaluation methods in face recognition*,
who call the latter false alarm rate.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Annotated

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass
from scipy import sparse

from reid.errors import InputError
from reid.gallery.calibration.fitted import STRICT, Count, Likelihood, Probability, short
from reid.retrieval.features import JUNK, Features, check_widths
from reid.retrieval.unit import unit_rows

BINS = 10  # of the reliability curve, of equal width in probability
BLOCK = 2**21  # distances at once, 8 bytes each
RESAMPLES, LEVEL = 1000, 0.95
QUANTILES = ((1 - LEVEL) / 2, (1 + LEVEL) / 2)


@dataclass(frozen=True, config=STRICT)
class Share:
    """A share of ``count`` pairs or queries, with the 95 % interval of a bootstrap over people."""

    value: Probability
    low: Probability
    high: Probability
    count: Count


@dataclass(frozen=True, config=STRICT)
class Rates:
    """What a threshold meets on one data set; ``rate`` is the false-match rate that it was chosen for."""

    rate: Probability
    threshold: float
    false_match: Share
    true_match: Share
    fpir: Share
    dir: Share


Shares = tuple[Probability, ...]
Limits = Sequence[tuple[float, float]]  # wanted rates and their thresholds


@dataclass(frozen=True, config=STRICT)
class Curve:
    """What lies within each of some rising distances: shares of the pairs of one person and of two (``true_match``,
    ``false_match``), and of the queries that find any entry, their person left out (``fpir``), with its 95 % interval;
    the number of those queries, and of the entries that one of them is compared with (the mean)."""

    distances: tuple[float, ...]
    true_match: Shares
    false_match: Shares
    fpir: Shares
    low: Shares
    high: Shares
    queries: Annotated[int, Field(gt=0)]
    entries: Annotated[float, Field(gt=0)]

    def __post_init__(self) -> None:
        if not self.distances or any(len(each) != len(self.distances) for each in self._shares):
            raise ValueError("a curve needs distances, and as many of each share")
        rising = all(a <= b for shares in self._shares[:3] for a, b in pairwise(shares))
        if not rising or any(a >= b for a, b in pairwise(self.distances)):
            raise ValueError("a curve's distances must rise, and no share of what lies within them fall")

    @property
    def _shares(self) -> tuple[Shares, ...]:
        return self.true_match, self.false_match, self.fpir, self.low, self.high

    def at(self, distance: float) -> tuple[float, ...]:
        """Its five shares at a distance, in their order; straight lines lie between those that it holds."""
        return tuple(float(np.interp(distance, self.distances, each)) for each in self._shares)


@dataclass(frozen=True, config=STRICT)
class Bin:
    """Pairs of nearly one probability, at even odds: its mean; the share of one person among them, each kind of pair
    counting half in all; and how many are of one person and of two."""

    predicted: Probability
    met: Probability
    true: Count
    false: Count


@dataclass(frozen=True, config=STRICT)
class Measured:
    """One labelled data set, or half of one: its identities and its images, of both kinds those that count; a row a
    threshold, by rising rate; the reliability curve at even odds and its expected calibration error; and shares at any
    distance."""

    name: Annotated[str, Field(min_length=1)]
    people: Count
    queries: Count
    entries: Count
    rates: tuple[Rates, ...]
    bins: tuple[Bin, ...]
    calibration_error: Probability
    curve: Curve


def countable(query: Features, gallery: Features) -> tuple[Features, Features]:
    """Without the images that no pair counts: junk, and queries that are nobody. Raises InputError naming both, where
    features differ in width, or no pair of one person or of two is left."""
    check_widths(query, gallery)
    query, gallery = subset(query, query.pids > 0), subset(gallery, gallery.pids != JUNK)
    seen = np.unique(np.stack([query.pids, query.camids], axis=1), axis=0)
    true = any((gallery.camids[gallery.pids == pid] != camid).any() for pid, camid in seen)
    if not true or len(np.unique(gallery.pids[gallery.pids > 0])) < 2:
        where = f"{query.origin} and {gallery.origin}"
        raise InputError(f"{where}: two people are needed in the gallery, and a query of one of them in another camera")
    return query, gallery


def subset(features: Features, rows: np.ndarray) -> Features:
    """The rows of a mask (N,), without their paths. Raises InputError naming the features, where it leaves none."""
    if not rows.any():
        raise InputError(f"{features.origin}: no image is left that counts")
    return Features(features.features[rows], features.pids[rows], features.camids[rows], (), features.origin)


def pairs(query: Features, gallery: Features) -> Iterator[tuple[slice, np.ndarray, np.ndarray, np.ndarray]]:
    """All pairs of what is :func:`countable`, some queries at a time: which rows these are, and against the N entries
    (R, N) distances, 1 - cosine as a store's, whether a pair is of one person and counts, and whether it is of two."""
    width = query.features.shape[1]
    queries = unit_rows(query.features, width, query.origin).astype(np.float64)
    entries = unit_rows(gallery.features, width, gallery.origin).astype(np.float64).T
    step = max(1, BLOCK // len(gallery))
    for low in range(0, len(query), step):
        rows = slice(low, min(low + step, len(query)))
        person = query.pids[rows, None] == gallery.pids
        elsewhere = query.camids[rows, None] != gallery.camids
        yield rows, 1 - queries[rows] @ entries, person & elsewhere, ~person


class Reliability:
    """Adds up pairs, block by block, into the bins of a reliability curve."""

    def __init__(self, chances: Likelihood) -> None:
        self.chances = chances
        self.counts, self.sums = np.zeros((2, BINS)), np.zeros((2, BINS))

    def add(self, distances: np.ndarray, true: bool) -> None:
        """(N,) distances of pairs of one kind."""
        predicted = self.chances.probability(distances)
        places = np.minimum((predicted * BINS).astype(np.int64), BINS - 1)
        self.counts[int(true)] += np.bincount(places, minlength=BINS)
        self.sums[int(true)] += np.bincount(places, predicted, BINS)

    def bins(self) -> tuple[tuple[Bin, ...], float]:
        """The bins that hold pairs, and the expected calibration error: the mean of |predicted - met| over pairs, each
        kind counting half in all."""
        each = 0.5 / self.counts.sum(axis=1, keepdims=True)
        weight, predicted = ((each * some).sum(axis=0) for some in (self.counts, self.sums))
        met = each[1] * self.counts[1]
        bins = tuple(
            Bin(min(1.0, float(predicted[n] / weight[n])), min(1.0, float(met[n] / weight[n])), int(true), int(false))
            for n, (false, true) in enumerate(self.counts.T)
            if weight[n]
        )
        return bins, float(np.abs(predicted - met).sum())


def measure_at(
    limits: Limits, points: Sequence[float], odds: Likelihood, query: Features, gallery: Features, name: str, seed: int
) -> Measured:
    """Rates of ``limits``, the curve at rising ``points`` and the reliability of ``odds`` on labelled features. Raises
    InputError as :func:`countable`."""
    query, gallery = countable(query, gallery)
    pids = np.union1d(query.pids, gallery.pids[gallery.pids > 0])
    people = len(pids)  # each has a place, all distractors the one behind them
    asking = np.searchsorted(pids, query.pids)
    asked = np.where(gallery.pids > 0, np.searchsorted(pids, gallery.pids), people)
    reliability, up_to = Reliability(odds), np.zeros((2, len(points) + 1))
    matches, stranger, first = np.empty((3, len(query)))  # true pairs; distances of the nearest entry of another
    accepted = np.empty((len(limits), len(query)))  # person, and of that of all, infinite where it is no match
    wrong = [sparse.csr_array((people + 1, people + 1)) for _ in limits]
    for rows, distances, true, false in pairs(query, gallery):
        matches[rows] = true.sum(axis=1)
        stranger[rows] = np.where(false, distances, np.inf).min(axis=1)
        compared = np.where(true | false, distances, np.inf)
        nearest = compared.argmin(axis=1)[:, None]  # of equal ones the first, as everywhere
        is_match = np.take_along_axis(true, nearest, axis=1)
        first[rows] = np.where(is_match, np.take_along_axis(compared, nearest, axis=1), np.inf)[:, 0]
        for n, (_, threshold) in enumerate(limits):
            within = distances <= threshold
            accepted[n, rows] = (true & within).sum(axis=1)
            a, b = np.nonzero(false & within)
            places = asking[rows][a], asked[b]
            wrong[n] += sparse.coo_array((np.ones(len(a)), places), wrong[n].shape).tocsr()
        for kind, mask in enumerate((false, true)):
            up_to[kind] += np.bincount(np.searchsorted(points, distances[mask]), minlength=len(points) + 1)
            reliability.add(distances[mask], true=bool(kind))

    weights = np.ones((RESAMPLES, people + 1))  # how often each person is drawn; distractors stay as they are
    weights[:, :-1] = np.random.default_rng(seed).multinomial(people, np.full(people, 1 / people), RESAMPLES)
    queries, entries = (np.bincount(places, minlength=people + 1).astype(float) for places in (asking, asked))
    rates = tuple(
        Rates(
            rate,
            threshold,
            _false_share(wrong[n], queries, entries, weights),
            _share(accepted[n], matches, asking, weights),
            _share(stranger <= threshold, np.ones(len(query)), asking, weights),
            _share(first <= threshold, matches > 0, asking, weights),
        )
        for n, (rate, threshold) in enumerate(limits)
    )
    curve = _curve(points, up_to, stranger, asking, weights)
    return Measured(name, people, len(query), len(gallery), rates, *reliability.bins(), curve)


def _curve(
    points: Sequence[float], pairs: np.ndarray, stranger: np.ndarray, asking: np.ndarray, weights: np.ndarray
) -> Curve:
    """Of (2, K + 1) pairs of two people and of one up to each point, from the one before, and beyond all; and of each
    query's distance to the nearest stranger."""
    false_match, true_match = pairs.cumsum(axis=1)[:, :-1] / pairs.sum(axis=1, keepdims=True)
    found = np.zeros((weights.shape[1], len(points) + 1))
    np.add.at(found, (asking, np.searchsorted(points, stranger)), 1)
    within, of = found.cumsum(axis=1)[:, :-1], found.sum(axis=1)
    weights = weights[weights @ of > 0]  # the others drew no query
    low, high = np.quantile((weights @ within) / (weights @ of)[:, None], QUANTILES, axis=0)
    true, false, fpir = short(true_match), short(false_match), short(within.sum(axis=0) / of.sum())
    entries = float(f"{pairs[0].sum() / len(asking):.6g}")
    return Curve(tuple(points), true, false, fpir, short(low), short(high), len(asking), entries)


def _share(hits: np.ndarray, of: np.ndarray, asking: np.ndarray, weights: np.ndarray) -> Share:
    """Of (Q,) counts, a query each."""
    hits, of = (np.bincount(asking, values, weights.shape[1]) for values in (hits, of))
    return _interval(hits.sum(), of.sum(), weights @ hits, weights @ of)


def _false_share(wrong: sparse.csr_array, asked: np.ndarray, kept: np.ndarray, weights: np.ndarray) -> Share:
    """Of pairs of two people: one drawn a times and one drawn b times bring a * b times their pairs."""
    of_one = asked * kept  # the pairs that are of one person, whatever the cameras
    drawn = ((weights @ wrong) * weights).sum(axis=1)
    of = (weights @ asked) * (weights @ kept) - weights**2 @ of_one
    return _interval(wrong.sum(), asked.sum() * kept.sum() - of_one.sum(), drawn, of)


def _interval(hits: float, count: float, drawn: np.ndarray, of: np.ndarray) -> Share:
    """The share, and the middle 95 % of the resamples' (those without any such pair say nothing)."""
    shares = drawn[of > 0] / of[of > 0]
    low, high = np.quantile(shares, QUANTILES)
    return Share(float(hits / count), float(low), float(high), int(count))
