"""How often a threshold is right and wrong on labelled features: pair by pair, and in a search of the gallery.

Pairs are those that the ranking compares: no junk, no query with identity <= 0, not the query's identity and camera.
A search is right when the nearest entry is within the threshold and shows the query's person (detection and
identification rate, DIR); with the person left out of the gallery it is wrong when any entry is within it (false
positive identification rate, FPIR): Phillips, Grother and Micheals 2005, *Evaluation methods in face recognition*,
who call the latter false alarm rate.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass as plain
from itertools import pairwise
from typing import Annotated

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass
from scipy import sparse

from reid.errors import InputError
from reid.gallery.calibration.probability import STRICT, Bin, Count, Likelihood, Probability, Reliability, short
from reid.retrieval.features import JUNK, Features, check_widths
from reid.retrieval.unit import unit_rows

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


@dataclass(frozen=True, config=STRICT)
class Curve:
    """What lies within each of some rising distances.

    Attributes:
        true_match, false_match: shares of the pairs of one person and of two.
        fpir, low, high: share of the queries that find any entry within, their person left out, and its 95 % interval.
        queries, entries: those queries, and the entries that one of them is compared with (the mean).
    """

    distances: tuple[float, ...]
    true_match: Shares
    false_match: Shares
    fpir: Shares
    low: Shares
    high: Shares
    queries: Annotated[int, Field(gt=0)]
    entries: Annotated[float, Field(gt=0)]

    def __post_init__(self) -> None:
        shares = (self.true_match, self.false_match, self.fpir, self.low, self.high)
        if not self.distances or any(len(each) != len(self.distances) for each in shares):
            raise ValueError("a curve needs distances, and as many of each share")
        if any(a >= b for a, b in pairwise(self.distances)) or any(a > b for s in shares[:3] for a, b in pairwise(s)):
            raise ValueError("a curve's distances must rise, and no share of what lies within them fall")


@dataclass(frozen=True, config=STRICT)
class Measured:
    """One labelled data set, or half of one.

    Attributes:
        people: identities in it; ``queries`` and ``entries`` are its images, of both kinds those that count.
        rates: a row a threshold, by rising rate.
        bins, calibration_error: the reliability curve at even odds and its expected calibration error.
        curve: shares at any distance.
    """

    name: Annotated[str, Field(min_length=1)]
    people: Count
    queries: Count
    entries: Count
    rates: tuple[Rates, ...]
    bins: tuple[Bin, ...]
    calibration_error: Probability
    curve: Curve


@plain(frozen=True)
class Block:
    """Some queries against the whole gallery: ``rows`` of the queries, and (R, N) each of distances, whether a pair is
    of one person and counts, and whether it is of two.
    """

    rows: slice
    distances: np.ndarray
    true: np.ndarray
    false: np.ndarray


def countable(query: Features, gallery: Features) -> tuple[Features, Features]:
    """Without the images that no pair counts: junk, and queries that are nobody.

    Raises:
        InputError: naming both, where features differ in width, or no pair of one person or of two is left.
    """
    check_widths(query, gallery)
    query, gallery = subset(query, query.pids > 0), subset(gallery, gallery.pids != JUNK)
    true = any((gallery.camids[gallery.pids == pid] != camid).any() for pid, camid in _seen(query))
    if not true or len(np.unique(gallery.pids[gallery.pids > 0])) < 2:
        where = f"{query.origin} and {gallery.origin}"
        raise InputError(f"{where}: two people are needed in the gallery, and a query of one of them in another camera")
    return query, gallery


def subset(features: Features, rows: np.ndarray) -> Features:
    """The rows of a mask (N,), without their paths.

    Raises:
        InputError: naming the features, where it leaves none.
    """
    if not rows.any():
        raise InputError(f"{features.origin}: no image is left that counts")
    return Features(features.features[rows], features.pids[rows], features.camids[rows], (), features.origin)


def _seen(features: Features) -> np.ndarray:
    """(K, 2) pairs of identity and camera."""
    return np.unique(np.stack([features.pids, features.camids], axis=1), axis=0)


def pairs(query: Features, gallery: Features) -> Iterator[Block]:
    """All pairs of what is :func:`countable`; distances are 1 - cosine, as a store's."""
    width = query.features.shape[1]
    queries = unit_rows(query.features, width, query.origin).astype(np.float64)
    entries = unit_rows(gallery.features, width, gallery.origin).astype(np.float64).T
    step = max(1, BLOCK // len(gallery))
    for low in range(0, len(query), step):
        rows = slice(low, min(low + step, len(query)))
        person = query.pids[rows, None] == gallery.pids
        elsewhere = query.camids[rows, None] != gallery.camids
        yield Block(rows, 1 - queries[rows] @ entries, person & elsewhere, ~person)


@plain(frozen=True)
class _Counts:
    """What the blocks add up to. P people, then one place for all distractors; T thresholds, Q queries.

    Attributes:
        asked, kept: (P + 1,) images of each among queries and entries; ``true`` of true pairs; ``accepted`` (T, P + 1)
            of those within each threshold.
        wrong: T matrices (P + 1, P + 1) of false matches, the query's person and the entry's.
        person: (Q,) places of the queries' people.
        stranger, person_first: (Q,) distances of the nearest entry of another person, and of the nearest of all entries
            that count where that is the query's person; infinite where it is not. ``match`` (Q,): whether there is one.
        pairs: (2, K + 1) pairs of two people and of one up to each of K points, from the one before, and beyond all.
    """

    asked: np.ndarray
    kept: np.ndarray
    true: np.ndarray
    accepted: np.ndarray
    wrong: list[sparse.csr_array]
    person: np.ndarray
    stranger: np.ndarray
    person_first: np.ndarray
    match: np.ndarray
    pairs: np.ndarray


def measure_at(
    limits: Sequence[tuple[float, float]],
    points: Sequence[float],
    chances: Likelihood,
    query: Features,
    gallery: Features,
    name: str,
    seed: int,
) -> Measured:
    """Rates of (wanted rate, threshold) pairs, the curve at ``points`` and the reliability of ``chances`` on labelled
    features.

    Raises:
        InputError: see :func:`countable`.
    """
    query, gallery = countable(query, gallery)
    reliability = Reliability(chances)
    counts = _count([threshold for _, threshold in limits], points, query, gallery, reliability)
    weights = _resampled(counts, seed)
    people = len(counts.asked) - 1

    def of_queries(hit: np.ndarray, of: np.ndarray) -> Share:
        hits, all_ = (np.bincount(counts.person, values, people + 1) for values in (hit & of, of))
        return _share(hits, all_, weights)

    everyone = np.ones(len(query), bool)
    rates = tuple(
        Rates(
            rate,
            threshold,
            _false_share(counts.wrong[n], counts.asked, counts.kept, weights),
            _share(counts.accepted[n], counts.true, weights),
            of_queries(counts.stranger <= threshold, everyone),
            of_queries(counts.person_first <= threshold, counts.match),
        )
        for n, (rate, threshold) in enumerate(limits)
    )
    curve = _curve(points, counts, weights)
    return Measured(name, people, len(query), len(gallery), rates, *reliability.bins(), curve)


def curve_of(points: Sequence[float], query: Features, gallery: Features, seed: int) -> Curve:
    """The curve at rising ``points`` of what is :func:`countable`."""
    counts = _count([], points, query, gallery, None)
    return _curve(points, counts, _resampled(counts, seed))


def _resampled(counts: _Counts, seed: int) -> np.ndarray:
    """(RESAMPLES, P + 1) how often each person is drawn; distractors stay as they are."""
    people = len(counts.asked) - 1
    weights = np.ones((RESAMPLES, people + 1))
    weights[:, :-1] = np.random.default_rng(seed).multinomial(people, np.full(people, 1 / people), RESAMPLES)
    return weights


def _curve(points: Sequence[float], counts: _Counts, weights: np.ndarray) -> Curve:
    false_match, true_match = counts.pairs.cumsum(axis=1)[:, :-1] / counts.pairs.sum(axis=1, keepdims=True)
    found = np.zeros((weights.shape[1], len(points) + 1))
    np.add.at(found, (counts.person, np.searchsorted(points, counts.stranger)), 1)
    within, asked = found.cumsum(axis=1)[:, :-1], found.sum(axis=1)
    weights = weights[weights @ asked > 0]  # the others drew no query
    low, high = np.quantile((weights @ within) / (weights @ asked)[:, None], QUANTILES, axis=0)
    true, false, fpir = short(true_match), short(false_match), short(within.sum(axis=0) / asked.sum())
    entries = counts.pairs[0].sum() / len(counts.person)
    return Curve(tuple(points), true, false, fpir, short(low), short(high), len(counts.person), float(f"{entries:.6g}"))


def _count(
    thresholds: Sequence[float],
    points: Sequence[float],
    query: Features,
    gallery: Features,
    reliability: Reliability | None,
) -> _Counts:
    pids = np.union1d(query.pids, gallery.pids[gallery.pids > 0])
    size = len(pids) + 1
    asked = np.searchsorted(pids, query.pids)
    kept = np.where(gallery.pids > 0, np.searchsorted(pids, gallery.pids), len(pids))
    true, accepted = np.zeros(size), np.zeros((len(thresholds), size))
    wrong = [sparse.csr_array((size, size)) for _ in thresholds]
    up_to = np.zeros((2, len(points) + 1))
    stranger, person_first, match = np.empty(len(query)), np.empty(len(query)), np.empty(len(query), bool)
    for block in pairs(query, gallery):
        person = asked[block.rows]
        true += np.bincount(person, block.true.sum(axis=1), size)
        for n, threshold in enumerate(thresholds):
            within = block.distances <= threshold
            accepted[n] += np.bincount(person, (block.true & within).sum(axis=1), size)
            rows, columns = np.nonzero(block.false & within)
            wrong[n] += sparse.coo_array((np.ones(len(rows)), (person[rows], kept[columns])), (size, size)).tocsr()
        stranger[block.rows] = np.where(block.false, block.distances, np.inf).min(axis=1)
        compared = np.where(block.true | block.false, block.distances, np.inf)
        first = compared.argmin(axis=1)[:, None]  # of equal ones the first, as everywhere
        is_match = np.take_along_axis(block.true, first, axis=1)
        person_first[block.rows] = np.where(is_match, np.take_along_axis(compared, first, axis=1), np.inf)[:, 0]
        match[block.rows] = block.true.any(axis=1)
        for kind, mask in enumerate((block.false, block.true)):
            distances = block.distances[mask]
            up_to[kind] += np.bincount(np.searchsorted(points, distances), minlength=len(points) + 1)
            if reliability is not None:
                reliability.add(distances, true=bool(kind))
    images = [np.bincount(places, minlength=size).astype(np.float64) for places in (asked, kept)]
    return _Counts(images[0], images[1], true, accepted, wrong, asked, stranger, person_first, match, up_to)


def _share(hits: np.ndarray, of: np.ndarray, weights: np.ndarray) -> Share:
    """Of counts by person."""
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
