"""Thresholds with known error rates: chosen on a labelled source, measured on its other half and on other data sets."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, Literal, Self

import numpy as np
from pydantic import Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from reid.errors import InputError
from reid.gallery.calibration.fitted import STRICT, Count, Likelihood, Unlike, fit_likelihood, fit_unlike, short
from reid.gallery.calibration.rates import Curve, Measured, Rates, countable, measure_at, pairs, subset
from reid.networks import Origin
from reid.retrieval.features import Features

RATES = (1e-4, 1e-3, 1e-2)
SETTING = "calibration"  # of a store that keeps one
EXPECTED = 10  # false matches that a rate must stand for among the pairs that it is chosen on
ROUNDING = 1e-6  # a threshold stays as far below the next false pair: other stores round in float32
CELLS = 2**16  # of the distances 0 to 2, in which pairs are counted for the likelihood
STEPS = 64  # distances of a curve: among those of strangers' nearest, of pairs of two, and of pairs of one person

Name = Annotated[str, Field(min_length=1)]


@dataclass(frozen=True, config=STRICT)
class Unresolved:
    """A rate for which there are too few pairs of two people: ``needed`` of them, not ``pairs``."""

    rate: Annotated[float, Field(gt=0, lt=1)]
    pairs: Count
    needed: Count


@dataclass(frozen=True, config=STRICT)
class Fitted:
    """The half that all comes from: people, pairs of one person and of two, and the curve of it."""

    people: Count
    true: Count
    false: Count
    curve: Curve


@dataclass(frozen=True, config=STRICT)
class Calibration:
    """What the distances of features of one origin (``model``, ``fingerprint``) mean, as a file or a gallery's setting
    keeps it. The people of a labelled data set, the ``source``, are halved by ``seed``: all is ``fitted`` on one half,
    and ``held`` measured on the other, pairs of people of different halves unused; the rates of ``held`` are the
    thresholds, by rising rate. ``likelihood``: of one person to two, by distance. ``unlike``: what shows no person;
    None where the network was not there to look at pictures of nothing. ``unresolved``: rates asked for that have no
    threshold. ``targets``: measured on other data sets."""

    version: Literal[2]
    model: Name
    fingerprint: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    source: Name
    seed: Count
    distance: Literal["1 - cosine of the features"]
    fitted: Fitted
    likelihood: Likelihood
    held: Measured
    unlike: Unlike | None = None
    unresolved: tuple[Unresolved, ...] = ()
    targets: tuple[Measured, ...] = ()

    def __post_init__(self) -> None:
        limits = [(row.rate, row.threshold) for row in self.held.rates]
        if not limits or any(a[0] >= b[0] or a[1] > b[1] for a, b in pairwise(limits)):
            raise ValueError("held.rates: rates must rise, and no threshold fall")
        for measured in (self.held, *self.targets):
            if measured.curve.distances != self.fitted.curve.distances:
                raise ValueError(f"{measured.name!r}: its curve has other distances than that of fitted")
        for target in self.targets:
            if [(row.rate, row.threshold) for row in target.rates] != limits:
                raise ValueError(f"targets: {target.name!r} has other rates or thresholds than held")

    def to_json(self) -> str:
        return TypeAdapter(Calibration).dump_json(self).decode() + "\n"

    @classmethod
    def from_json(cls, text: str, where: str) -> Self:
        """Raises InputError, naming ``where`` and the key at fault."""
        try:
            return TypeAdapter(cls).validate_json(text)
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(str(part) for part in first["loc"])
            what = f"not a calibration: {f'{key}: ' if key else ''}{first['msg']}"
            if first["loc"] == ("version",) and '"fingerprint"' in text:
                what = "made by another version of reid: calibrate again (search.py calibrate)"
            raise InputError(f"{where}: {what}") from None

    def check(self, origin: Origin, where: str) -> None:
        """Raises InputError, naming ``where`` and both, when it was made for other features."""
        if origin.fingerprint != self.fingerprint:
            raise InputError(
                f"{where}: calibrated for {self.model!r} ({self.fingerprint[:12]}), whose distances are not those of "
                f"{origin.name!r} ({origin.fingerprint[:12]}): calibrate that model"
            )

    def at(self, rate: float) -> Rates:
        """The threshold chosen for a false-match rate, with what it met on the source's held half. Raises InputError
        naming the rates there are."""
        for row in self.held.rates:
            if row.rate == rate:
                return row
        there = ", ".join(f"{row.rate:g}" for row in self.held.rates)
        few = [f"; it has {lack.pairs} pairs of {lack.needed} needed" for lack in self.unresolved if lack.rate == rate]
        why = f"{self.source} gave no threshold for it, but for {there}{''.join(few)}"
        raise InputError(f"false-match rate {rate:g}: {why}")

    def strange(self, features: np.ndarray) -> np.ndarray:
        """(Q,) bool: which of (Q, D) features are said to show no person; none where that was not calibrated."""
        return np.zeros(len(features), bool) if self.unlike is None else self.unlike.says(features)


def calibrate(
    query: Features,
    gallery: Features,
    origin: Origin,
    source: str,
    rates: Sequence[float] = RATES,
    seed: int = 0,
    nothing: np.ndarray | None = None,
) -> Calibration:
    """Thresholds at chosen false-match rates, curve and likelihood, of one half of the people; rates met, of the other.
    ``nothing`` (M, D) are features of :func:`reid.sites.drawn.nothing.pictures`, which show no person. Raises
    InputError for a rate that is none, or twice, too few people or pairs, or not one rate that can be resolved."""
    if not rates or not all(0 < rate < 1 for rate in rates) or len(set(rates)) < len(rates):
        raise InputError(f"false-match rates {list(rates)}: wanted different numbers between 0 and 1")
    fit, held = halves(query, gallery, seed)
    true, false, found, nearest = _histograms(*fit, max(rates))
    count, rates = int(false.sum()), sorted(rates)
    few = [Unresolved(rate, count, int(np.ceil(EXPECTED / rate))) for rate in rates if rate * count < EXPECTED]
    limits = [(rate, float(nearest[int(rate * count)] - ROUNDING)) for rate in rates if rate * count >= EXPECTED]
    if not limits:
        raise InputError(
            f"{source}: {count} pairs of different people in half of it are too few for any of the false-match rates "
            f"{rates}: {rates[-1]:g} takes {few[-1].needed}"
        )
    seen = np.flatnonzero(true + false)
    likelihood = fit_likelihood((seen + 0.5) * 2 / CELLS, true[seen], false[seen])
    points = _points(true, false, found)
    fitted = measure_at(limits, points, likelihood, *fit, f"{source}, fitted half", seed)
    return Calibration(
        version=2,
        model=origin.name,
        fingerprint=origin.fingerprint,
        source=source,
        seed=seed,
        distance="1 - cosine of the features",
        fitted=Fitted(fitted.people, int(true.sum()), count, fitted.curve),
        likelihood=likelihood,
        held=measure_at(limits, points, likelihood, *held, f"{source}, held half", seed),
        unlike=None if nothing is None else fit_unlike(fit, held, nothing),
        unresolved=tuple(few),
    )


def measure(calibration: Calibration, query: Features, gallery: Features, target: str) -> Measured:
    """What thresholds, curve and likelihood meet on another labelled data set, whole. Raises InputError naming the
    features, where no pair of one person or of two is left."""
    limits = [(row.rate, row.threshold) for row in calibration.held.rates]
    points = calibration.fitted.curve.distances
    return measure_at(limits, points, calibration.likelihood, query, gallery, target, calibration.seed)


def halves(query: Features, gallery: Features, seed: int) -> list[tuple[Features, Features]]:
    """Half of the people each, the larger half first; each distractor image counts as a person of its own. Raises
    InputError naming both, where a half has no pair of one person or of two."""
    query, gallery = countable(query, gallery)
    rng = np.random.default_rng(seed)
    people = rng.permutation(np.union1d(query.pids, gallery.pids[gallery.pids > 0]))
    distractors = rng.permutation(np.flatnonzero(gallery.pids == 0))
    result = []
    for part in range(2):
        rows = [np.isin(side.pids, people[part::2]) for side in (query, gallery)]
        rows[1][distractors[part::2]] = True
        try:
            result.append(countable(subset(query, rows[0]), subset(gallery, rows[1])))
        except InputError as error:
            raise InputError(f"half of the people ({len(people[part::2])}, drawn with seed {seed}): {error}") from None
    return result


def _histograms(query: Features, gallery: Features, rate: float) -> tuple[np.ndarray, ...]:
    """In each cell of distance the pairs of one person, those of two, and the queries whose nearest entry of another
    person is there; and the least distances of pairs of two, sorted, one more than the largest rate lets through."""
    true, false, found = np.zeros((3, CELLS))
    nearest, most = np.empty(0), int(rate * len(query) * len(gallery)) + 1
    for _, distances, of_one, of_two in pairs(query, gallery):
        others = distances[of_two]
        strangers = np.where(of_two, distances, np.inf).min(axis=1)
        for counts, some in ((true, distances[of_one]), (false, others), (found, strangers)):
            cells = np.clip(some * (CELLS / 2), 0, CELLS - 1).astype(np.int64)
            counts += np.bincount(cells, minlength=CELLS)
        nearest = np.concatenate([nearest, others])
        if len(nearest) > most:
            nearest = np.partition(nearest, most - 1)[:most]
    return true, false, found, np.sort(nearest)


def _points(true: np.ndarray, false: np.ndarray, found: np.ndarray) -> tuple[float, ...]:
    """Distances at which a curve is kept: edges of cells just below chosen pairs. Of strangers' nearest entries and of
    pairs of two each some per cent more than before, as the few nearest decide; of pairs of one in equal steps."""
    places = [np.searchsorted(true.cumsum(), np.linspace(0, true.sum(), STEPS))]
    for counts in (found, false):
        places.append(np.searchsorted(counts.cumsum(), np.geomspace(1, counts.sum(), STEPS) - 0.5))
    return short(np.unique(np.clip(np.concatenate(places), 1, CELLS - 1)) * (2 / CELLS))
