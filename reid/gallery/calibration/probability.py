"""From the distance of two images to the probability that they show one person, and how far such a statement holds.

How much more often pairs of one person lie at a distance than pairs of two, the likelihood ratio, is counted, and falls
with the distance (isotonic regression: Zadrozny and Elkan 2002, *Transforming classifier scores into accurate
multiclass probability estimates*). Bayes' rule makes a probability of it and a prior: even, or that of a search among
many people, where pairs decide that lie nearer than nearly all of two.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated

import numpy as np
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from scipy import special

from reid.errors import InputError

STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
BINS = 10  # of the reliability curve, of equal width in probability
PARTS = 200  # most places at which a ratio is counted, by pairs of one person
SOME = 10  # pairs of each kind that a place takes where there are enough
ALONE = 0.25  # of the pairs of one person: a place that takes them needs none of two
NONE_SEEN = 3  # pairs that may be there, one in 20 times, where none of many was seen (rule of three)

Probability = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]


@dataclass(frozen=True, config=STRICT)
class Likelihood:
    """Logarithms of the likelihood ratio, one person to two, at rising distances: straight lines between them, level
    beyond the first and the last."""

    distances: tuple[float, ...]
    log_ratios: tuple[float, ...]

    def __post_init__(self) -> None:
        if not 2 <= len(self.distances) == len(self.log_ratios):
            raise ValueError("as many distances as log_ratios are needed, and two of them")
        if any(a >= b for a, b in pairwise(self.distances)) or any(a < b for a, b in pairwise(self.log_ratios)):
            raise ValueError("distances must rise, and no log_ratio either")

    def probability(self, distances: np.ndarray, prior: float = 0.5) -> np.ndarray:
        """That pairs are of one person, of the same shape as ``distances``, where a share ``prior`` of those in
        question is. Raises InputError for a prior outside 0 to 1, or at either."""
        if not 0 < prior < 1:
            raise InputError(f"prior {prior!r}: wanted a number between 0 and 1")
        return special.expit(np.interp(distances, self.distances, self.log_ratios) + special.logit(prior))


@dataclass(frozen=True, config=STRICT)
class Bin:
    """Pairs of nearly one probability, at even odds: its mean; the share of one person among them, each kind of pair
    counting half in all; and how many are of one person and of two."""

    predicted: Probability
    met: Probability
    true: Count
    false: Count


def fit_likelihood(distances: np.ndarray, true: np.ndarray, false: np.ndarray) -> Likelihood:
    """Counted place by place from the nearest pair on, and made to fall: at rising ``distances`` (B,) lie ``true`` (B,)
    pairs of one person and ``false`` (B,) of two.

    A place takes ``SOME`` pairs of each kind, and more where there are very many; near by, where there are none of two,
    a quarter of those of one. ``NONE_SEEN`` stands for fewer, so that nothing is certain. Raises InputError where pairs
    of one person lie no nearer than others.
    """
    from scipy.optimize import isotonic_regression  # takes its time to load, and no query needs it

    all_true, all_false = true.sum(), false.sum()
    some = max(1, min(SOME, all_true // 8, all_false // 8))
    least = max(some, all_true / PARTS)
    ends, a, b = [], 0.0, 0.0
    for place, (one, two) in enumerate(zip(true.tolist(), false.tolist(), strict=True)):
        a, b = a + one, b + two
        if a >= least and (b >= some or a >= ALONE * all_true):
            ends.append(place + 1)
            a = b = 0.0
    starts = np.array([0, *ends])[: max(1, len(ends) + (b >= some))]  # what is left is the last place, or goes to it
    floor = min(NONE_SEEN, some)
    same = np.maximum(np.add.reduceat(true, starts), floor) / all_true
    other = np.maximum(np.add.reduceat(false, starts), floor) / all_false
    weights = same + other
    level = isotonic_regression(same / weights, weights=weights, increasing=False)
    pooled, pairs = level.blocks[:-1], true / all_true + false / all_false
    middle = np.add.reduceat(distances * pairs, starts[pooled]) / np.add.reduceat(pairs, starts[pooled])
    if len(pooled) < 2:
        raise InputError("pairs of the same person lie no nearer than pairs of different people: nothing to calibrate")
    ratios = special.logit(level.x[pooled])
    return Likelihood(short(middle), short(ratios))


def short(values: np.ndarray) -> tuple[float, ...]:
    """(N,) numbers to six places, for a file."""
    return tuple(float(f"{value:.6g}") for value in values.tolist())


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
