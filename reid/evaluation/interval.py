"""A mean over queries, or a difference of such means, with a confidence interval. docs/statistics.md explains it.

What is resampled are identities, never queries: the queries of one person succeed or fail together.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import special, stats

from reid.errors import InputError

ONE_SEED = "BCa cluster bootstrap"
SEVERAL_SEEDS = "t, cluster bootstrap + seeds"
ROUND_OFF = 1e-12  # metrics are fractions: what differs by less is equal but for rounding
CAUTION = 1 / 3  # 3 seeds then cover 94.2 to 95.8 %, whatever the seeds' share in the variance; plainly 92.2 to 95.1
BLOCK = 2**21  # indices drawn at once (16 MiB), however many identities there are


@dataclass(frozen=True)
class Term:
    """One set of queries: their mean enters the quantity with ``sign``.

    ``values`` (S, Q) holds a row a seed: a metric of each query, or the difference of two models' metrics, which is
    what keeps the models paired. ``pids`` (Q,) are the identities, the clusters that are resampled.
    """

    values: np.ndarray
    pids: np.ndarray
    sign: int = 1


@dataclass(frozen=True)
class Estimate:
    """A quantity with its interval; ``degrees`` of freedom are nan where no t distribution is used."""

    value: float
    low: float
    high: float
    standard_error: float
    degrees: float
    method: str
    seeds: int
    identities: tuple[int, ...]

    @property
    def significant(self) -> bool:
        """Whether the interval excludes 0."""
        return self.low > ROUND_OFF or self.high < -ROUND_OFF


@dataclass(frozen=True)
class _Clusters:
    """A term's identities: sums (S, C) of their queries' values, number of queries (C,), sign."""

    sums: np.ndarray
    sizes: np.ndarray
    sign: int

    def mean(self, chosen: np.ndarray) -> np.ndarray:
        """Signed mean (...) over the queries of the identities ``chosen`` (..., C), and over seeds."""
        sums = self.sums.mean(axis=0)
        return self.sign * sums[chosen].sum(axis=-1) / self.sizes[chosen].sum(axis=-1)

    def alike(self) -> bool:
        """Whether every identity has the same mean over seeds, so that resampling changes nothing."""
        means = self.sums.mean(axis=0) / self.sizes
        return float(np.ptp(means)) <= ROUND_OFF


def estimate(terms: Sequence[Term], level: float = 0.95, resamples: int = 2000, seed: int = 0) -> Estimate:
    """The sum of the terms' signed means over queries, and its ``level`` confidence interval.

    With one seed (the networks are fixed): BCa bootstrap over identities, those of each term resampled on their own
    (Efron 1987). With S: value +- t * standard error, where squared error = bootstrap variance over identities of each
    term's seed mean + variance between seeds / S, and ``degrees_of_freedom`` are Satterthwaite's, made cautious.
    Deterministic: resamples come from a generator seeded by ``seed``.

    Raises:
        InputError: no terms, a term with fewer than two identities or with values that are not finite, terms of
            different numbers of seeds, an impossible ``level`` or number of ``resamples``.
    """
    _check(terms, level, resamples)
    clusters = [_clusters(term) for term in terms]
    seeds, identities = len(terms[0].values), tuple(len(c.sizes) for c in clusters)
    value = float(sum(c.mean(np.arange(len(c.sizes))) for c in clusters))
    rng = np.random.default_rng(seed)
    if seeds == 1:
        error, low, high = _bca(clusters, level, resamples, rng)
        return Estimate(value, value + low, value + high, error, math.nan, ONE_SEED, seeds, identities)
    error, degrees = _error_with_seeds(clusters, resamples, rng)
    half = error * float(special.stdtrit(degrees, (1 + level) / 2)) if error else 0.0
    return Estimate(value, value - half, value + half, error, degrees, SEVERAL_SEEDS, seeds, identities)


def better_worse(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    """Shares of queries whose mean over seeds is higher, and lower, in ``a`` than in ``b``, both (S, Q)."""
    difference = (a - b).mean(axis=0)
    return float((difference > ROUND_OFF).mean()), float((difference < -ROUND_OFF).mean())


def _error_with_seeds(clusters: list[_Clusters], resamples: int, rng: np.random.Generator) -> tuple[float, float]:
    """Standard error over identities and seeds, and its degrees of freedom (nan where the error is 0)."""
    variances, freedoms = [], []
    for c in clusters:
        count = len(c.sizes)
        rows = [min(BLOCK // count + 1, resamples - done) for done in range(0, resamples, BLOCK // count + 1)]
        drawn = np.concatenate([c.mean(rng.integers(0, count, (n, count))) for n in rows])
        # C drawn with replacement from C vary (C - 1) / C as much as C new ones
        variances.append(float(np.var(drawn, ddof=1)) * count / (count - 1))
        freedoms.append(count - 1)
    by_seed = sum(c.sign * c.sums.sum(axis=1) / c.sizes.sum() for c in clusters)  # (S,): the quantity of each seed
    seeds = len(clusters[0].sums)
    variances.append(float(np.var(by_seed, ddof=1)) / seeds)
    freedoms.append(seeds - 1)
    total = sum(variances)
    if total <= ROUND_OFF**2:
        return 0.0, math.nan
    return math.sqrt(total), degrees_of_freedom(variances, freedoms)


def degrees_of_freedom(variances: Sequence[float], freedoms: Sequence[int], quantile: float = CAUTION) -> float:
    """Satterthwaite's degrees of freedom of a sum of ``variances`` that were estimated with ``freedoms``.

    Each variance is weighed at its upper confidence bound, variance * d / (``quantile`` of chi-squared with d). At its
    face value, as in Satterthwaite (1946), a seed variance that came out small by chance counts for too little: the
    sum then claims far more degrees than the S - 1 it rests on.
    """
    d = np.array(freedoms, float)
    weights = np.array(variances) * d / special.chdtri(d, 1 - quantile)
    return float(weights.sum() ** 2 / (weights**2 / d).sum())


def _bca(clusters: list[_Clusters], level: float, resamples: int, rng: np.random.Generator) -> tuple[float, ...]:
    """Standard error, and the interval's ends as seen from the value."""
    if all(c.alike() for c in clusters):  # no resample can differ: BCa is not defined, and the interval has no width
        return 0.0, 0.0, 0.0
    result = _bootstrap(clusters, level, resamples, rng)
    low, high = (float(bound) for bound in result.confidence_interval)
    if not (math.isfinite(low) and math.isfinite(high)):
        raise InputError(f"level {level}: {resamples} resamples give no BCa interval; take more, or a lower level")
    return float(result.standard_error), low, high


def _bootstrap(clusters: list[_Clusters], level: float, resamples: int, rng: np.random.Generator) -> Any:
    """BCa bootstrap of how far the quantity moves when identities are drawn again, those of each term on their own."""
    counts = [len(c.sizes) for c in clusters]

    def quantity(*chosen: np.ndarray) -> np.ndarray:
        return sum((c.mean(indices) for c, indices in zip(clusters, chosen, strict=True)), np.zeros(()))

    value = quantity(*map(np.arange, counts))

    def moved(*chosen: np.ndarray, axis: int) -> np.ndarray:
        distance = quantity(*chosen) - value
        # BCa counts the resamples below and at the value: rounding must not tell one order of a sum from another
        return np.where(np.abs(distance) <= ROUND_OFF, 0.0, distance)

    return stats.bootstrap(
        [np.arange(count) for count in counts],
        moved,
        n_resamples=resamples,
        batch=max(1, BLOCK // sum(counts)),
        vectorized=True,
        confidence_level=level,
        method="BCa",
        rng=rng,
    )


def _clusters(term: Term) -> _Clusters:
    pids, places = np.unique(term.pids, return_inverse=True)
    sums = np.stack([np.bincount(places, row, len(pids)) for row in term.values])
    return _Clusters(sums, np.bincount(places, minlength=len(pids)), term.sign)


def _check(terms: Sequence[Term], level: float, resamples: int) -> None:
    if not terms:
        raise InputError("terms: there is none")
    if not 0 < level < 1:
        raise InputError(f"level {level!r}: must lie between 0 and 1")
    if resamples < 100:
        raise InputError(f"resamples {resamples!r}: an interval takes at least 100")
    for number, term in enumerate(terms, 1):
        if term.values.ndim != 2 or not len(term.values) or term.values.shape[1:] != term.pids.shape:
            raise InputError(
                f"term {number}: values {term.values.shape} must be (seeds, queries), pids {term.pids.shape} (queries,)"
            )
        if term.sign not in (1, -1):
            raise InputError(f"term {number}: sign {term.sign!r} is neither 1 nor -1")
        if not np.isfinite(term.values).all():
            raise InputError(f"term {number}: {int((~np.isfinite(term.values)).sum())} values are not finite")
        if len(np.unique(term.pids)) < 2:
            raise InputError(f"term {number}: has {len(np.unique(term.pids))} identities; resampling takes at least 2")
        if len(term.values) != len(terms[0].values):
            raise InputError(f"term {number}: has {len(term.values)} seeds, the first has {len(terms[0].values)}")
