"""From the distance of two images to the probability that they show one person, and how far such a statement holds.

Where nothing else is said the prior is even: among the pairs spoken of, as many are of one person as of two. The map is
logistic in the distance (Platt 1999), with each kind of pair given half of the weight: two numbers, monotone, and
never sure, where isotonic regression says 0 and 1 beyond the last pair it saw.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from scipy import special

from reid.errors import InputError

STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
BINS = 10  # of the reliability curve, of equal width in probability

Probability = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]


@dataclass(frozen=True, config=STRICT)
class Map:
    """logit(probability) = slope * distance + intercept + logit(prior)."""

    slope: Annotated[float, Field(lt=0)]
    intercept: float

    def probability(self, distances: np.ndarray, prior: float = 0.5) -> np.ndarray:
        """Of the same shape as ``distances``.

        Raises:
            InputError: a prior outside 0 to 1, or at either.
        """
        if not 0 < prior < 1:
            raise InputError(f"prior {prior!r}: wanted a number between 0 and 1")
        return special.expit(self.slope * distances + self.intercept + special.logit(prior))


@dataclass(frozen=True, config=STRICT)
class Bin:
    """Pairs of nearly one probability, at even odds.

    Attributes:
        predicted: mean probability.
        met: share of one person among them, each kind of pair counting half in all.
        true, false: pairs of one person and of two.
    """

    predicted: Probability
    met: Probability
    true: Count
    false: Count


def fit_map(distances: np.ndarray, true: np.ndarray, false: np.ndarray) -> Map:
    """The map of likeliest parameters.

    Args:
        distances: (B,) at which pairs lie.
        true, false: (B,) numbers of pairs there, of one person and of two.

    Platt's targets, (n + 1) / (n + 2) in place of 1, keep it finite where no false pair is as near as a true one.

    Raises:
        InputError: pairs of one person lie no nearer than others.
    """
    from sklearn.linear_model import LogisticRegression  # a second to load, which no query needs

    positive, negative = true / true.sum(), false / false.sum()
    doubt_true, doubt_false = 1 / (true.sum() + 2), 1 / (false.sum() + 2)
    same = positive * (1 - doubt_true) + negative * doubt_false
    other = positive * doubt_true + negative * (1 - doubt_false)
    model = LogisticRegression(C=np.inf, solver="newton-cholesky", tol=1e-8, max_iter=1000)
    targets = np.repeat([1, 0], len(distances))
    middle, spread = distances.mean(), distances.std() or 1.0
    standard = (distances - middle) / spread
    model.fit(np.tile(standard, 2)[:, None], targets, np.concatenate([same, other]))
    slope = float(model.coef_[0, 0] / spread)
    if slope >= 0:
        raise InputError("pairs of the same person lie no nearer than pairs of different people: nothing to calibrate")
    return Map(slope, float(model.intercept_[0] - slope * middle))


class Reliability:
    """Adds up pairs, block by block, into the bins of a reliability curve."""

    def __init__(self, chances: Map) -> None:
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
        kind counting half in all.
        """
        each = 0.5 / self.counts.sum(axis=1, keepdims=True)
        weight, predicted, met = (
            (self.counts * each).sum(axis=0),
            (self.sums * each).sum(axis=0),
            self.counts[1] * each[1],
        )
        bins = tuple(
            Bin(
                min(1.0, float(predicted[n] / weight[n])),
                min(1.0, float(met[n] / weight[n])),
                int(self.counts[1, n]),
                int(self.counts[0, n]),
            )
            for n in np.flatnonzero(weight)
        )
        return bins, float(np.abs(predicted - met).sum())
