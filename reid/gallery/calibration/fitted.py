"""What is fitted to one half of labelled features: how likely two images show one person, from their distance; and
whether a crop shows a person at all.

How much more often pairs of one person lie at a distance than pairs of two, the likelihood ratio, is counted, and falls
with the distance (isotonic regression: Zadrozny and Elkan 2002, *Transforming classifier scores into accurate
multiclass probability estimates*). Bayes' rule makes a probability of it and a prior: even, or that of a search among
many people, where pairs decide that lie nearer than nearly all of two.

How far a feature lies from those of people does not tell well whether it is of one: a network that was trained on
people only may put pavement into their midst. So pictures without people are shown to it as well, and the direction in
which they differ (Fisher's linear discriminant, with a ridge) is cut where a small share of the people is beyond.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated

import numpy as np
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from scipy import special

from reid.errors import InputError
from reid.retrieval.features import Features
from reid.retrieval.unit import unit_rows, usable

STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
PARTS = 200  # most places at which a ratio is counted, by pairs of one person
SOME = 10  # pairs of each kind that a place takes where there are enough
ALONE = 0.25  # of the pairs of one person: a place that takes them needs none of two
NONE_SEEN = 3  # pairs that may be there, one in 20 times, where none of many was seen (rule of three)
BEYOND = 0.01  # of the people's images that may be said to show nobody
RIDGE = 1.0  # of the mean variance, added to each
FOLDS = 4  # of people and pictures: each is judged by a direction that is from the others
FEWEST = 40  # pictures
SENTENCE = "Unlike the people that were calibrated on: no person, or another kind of place."

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

    def probability(self, distances: float | np.ndarray, prior: float = 0.5) -> np.ndarray:
        """That pairs are of one person, of the same shape as ``distances``, where a share ``prior`` of those in
        question is. Raises InputError for a prior outside 0 to 1, or at either, or a distance that is none."""
        if not np.isfinite(distances).all():
            raise InputError(f"distance {distances!r}: wanted a number")
        if not 0 < prior < 1:
            raise InputError(f"prior {prior!r}: wanted a number between 0 and 1")
        return special.expit(np.interp(distances, self.distances, self.log_ratios) + special.logit(prior))


@dataclass(frozen=True, config=STRICT)
class Unlike:
    """A direction (D,) among features of length 1 and where it is cut; the shares of images that lie beyond: of the
    fitted half's (``share``) and the held half's (``met``), and, by a direction that is not from them, of the pictures
    of nothing (``caught``)."""

    weights: Annotated[tuple[float, ...], Field(min_length=1)]
    limit: float
    share: Probability
    met: Probability
    caught: Probability

    def says(self, features: np.ndarray) -> np.ndarray:
        """(Q,) bool: of which of (Q, D) features, of any length, it is said that they show no person. Raises InputError
        for features of another width, or that have no direction."""
        return unit_rows(features, len(self.weights), "features") @ np.array(self.weights) > self.limit


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
    return Likelihood(short(middle), short(special.logit(level.x[pooled])))


def fit_unlike(fitted: tuple[Features, Features], held: tuple[Features, Features], nothing: np.ndarray) -> Unlike:
    """From queries and gallery of two sets of people, and (M, D) features of
    :func:`reid.sites.drawn.nothing.pictures`. Raises InputError for features of different width, or where hardly any
    picture has one."""
    rows = _rows(fitted)
    others = unit_rows(nothing[usable(nothing)], rows.shape[1], "pictures of nothing")
    if len(others) < FEWEST:
        raise InputError(f"{len(others)} pictures of nothing have a feature: wanted {FEWEST} at least")
    part = np.unique(np.concatenate([side.pids for side in fitted]), return_inverse=True)[1] % FOLDS
    turn = np.arange(len(others)) * FOLDS * FOLDS // len(others) % FOLDS  # neighbours are of one kind and place
    scores, nobody = np.empty(len(rows)), np.empty(len(others))
    for fold in range(FOLDS):
        weights = _direction(rows[part != fold], others[turn != fold])
        scores[part == fold], nobody[turn == fold] = rows[part == fold] @ weights, others[turn == fold] @ weights
    weights = np.array(short(_direction(rows, others)))
    limit = float(f"{np.quantile(scores, 1 - BEYOND):.6g}")
    met, caught = (_rows(held) @ weights > limit).mean(), (nobody > limit).mean()
    return Unlike(tuple(weights.tolist()), limit, BEYOND, float(met), float(caught))


def _rows(sides: tuple[Features, Features]) -> np.ndarray:
    """(N, D) of length 1, of both."""
    return np.concatenate([unit_rows(side.features, side.features.shape[1], side.origin) for side in sides])


def _direction(people: np.ndarray, nothing: np.ndarray) -> np.ndarray:
    """(D,), of length 1."""
    people, nothing = people.astype(np.float64), nothing.astype(np.float64)
    spread = (np.cov(people.T) + np.cov(nothing.T)) / 2
    spread += RIDGE * np.trace(spread) / len(spread) * np.eye(len(spread))
    weights = np.linalg.solve(spread, nothing.mean(axis=0) - people.mean(axis=0))
    return weights / np.linalg.norm(weights)


def short(values: np.ndarray) -> tuple[float, ...]:
    """(N,) numbers to six places, for a file."""
    return tuple(float(f"{value:.6g}") for value in values.tolist())
