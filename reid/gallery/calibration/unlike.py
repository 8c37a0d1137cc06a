"""Whether a crop shows a person at all, by its feature: which side it lies on between people and pictures of nothing.

How far a feature lies from those of people does not tell it well: a network that was trained on people only may put
pavement into their midst. So pictures without people are shown to it as well, and the direction in which they differ
(Fisher's linear discriminant, with a ridge) is cut where a small share of the people is beyond.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass

from reid.errors import InputError
from reid.gallery.calibration.probability import STRICT, Probability, short
from reid.retrieval.features import Features
from reid.retrieval.unit import unit_rows, usable

SHARE = 0.01  # of the people's images that may be beyond
RIDGE = 1.0  # of the mean variance, added to each
FOLDS = 4  # of people and pictures: each is judged by a direction that is from the others
FEWEST = 40  # pictures
SENTENCE = "Unlike the people that were calibrated on: no person, or another kind of place."


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
    limit = float(f"{np.quantile(scores, 1 - SHARE):.6g}")
    met, caught = (_rows(held) @ weights > limit).mean(), (nobody > limit).mean()
    return Unlike(tuple(weights.tolist()), limit, SHARE, float(met), float(caught))


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
