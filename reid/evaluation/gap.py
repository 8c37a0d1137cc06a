"""Models compared on the same queries, and the gap from in-domain to cross-domain, each with a confidence interval.

The tables of queries are a benchmark's: a row a valid query, with the columns ``COLUMNS``. Models, sources and targets
keep the order of the table. docs/statistics.md explains the intervals, reid/evaluation/interval.py computes them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import cast

import numpy as np
import pandas as pd

from reid.errors import InputError
from reid.evaluation.interval import Estimate, Term, better_worse, estimate

FOOTNOTE = (
    "Intervals are 95 %, from resampling identities, not queries; they are not corrected for the number of "
    "comparisons: of 20 differences that are none, one is expected to exclude 0. With several seeds the spread between "
    "seeds is in the interval; with one seed it holds for these trained networks, not for the method."
)

RUN = ("model", "source", "target", "seed")
QUERY = ("trial", "path", "camid")
COLUMNS = (*RUN, *QUERY, "pid", "ap", "inp", "first_rank")
METRICS: dict[str, Callable[[pd.DataFrame], pd.Series]] = {
    "mAP": lambda queries: queries["ap"],
    "rank1": lambda queries: queries["first_rank"] == 1,
    "mINP": lambda queries: queries["inp"],
}

Runs = dict[tuple[str, str, str, int], pd.DataFrame]


@dataclass(frozen=True)
class Comparison:
    """Model a minus model b on one target, with the shares of queries whose mean over seeds is better, worse for a.

    ``seeds`` are those both were tested with; ``left_out`` those of only one of them, which do not count.
    """

    model_a: str
    model_b: str
    source: str
    target: str
    metric: str
    in_domain: bool
    estimate: Estimate
    better: float
    worse: float
    seeds: tuple[int, ...]
    left_out: tuple[int, ...]


@dataclass(frozen=True)
class Level:
    """A model's metric on one target, the mean over ``seeds``."""

    model: str
    source: str
    target: str
    metric: str
    estimate: Estimate
    seeds: tuple[int, ...]


@dataclass(frozen=True)
class Gap:
    """A model's in-domain minus its cross-domain metric; positive: the model loses on ``target``."""

    model: str
    source: str
    target: str
    metric: str
    estimate: Estimate
    seeds: tuple[int, ...]
    left_out: tuple[int, ...]


@dataclass(frozen=True)
class GapDifference:
    """Gap of model a minus gap of model b; positive: a loses more than b on ``target``."""

    model_a: str
    model_b: str
    source: str
    target: str
    metric: str
    estimate: Estimate
    seeds: tuple[int, ...]
    left_out: tuple[int, ...]


def trained_on(source: str, target: str) -> bool:
    """Whether ``target`` is among the data sets, joined with "+", of ``source``."""
    return target in source.split("+")


def levels(queries: pd.DataFrame, level: float = 0.95, resamples: int = 2000, seed: int = 0) -> list[Level]:
    """Every model of every source on every target, in mAP, rank-1 and mINP.

    Raises:
        InputError: as ``compare_models``.
    """
    runs, measured = _runs(queries), []
    for model, source, target in dict.fromkeys((model, source, target) for model, source, target, _ in runs):
        seeds, _ = _shared_seeds(runs, (model,), source, (target,))
        values, pids = _values(runs, (model,), source, target, seeds)
        for metric in METRICS:
            estimate = _estimate([Term(values[model][metric], pids)], (source, target, model), level, resamples, seed)
            measured.append(Level(model, source, target, metric, estimate, seeds))
    return measured


def compare_models(
    queries: pd.DataFrame,
    in_domain: Callable[[str, str], bool] = trained_on,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> list[Comparison]:
    """Every pair of a source's models on every target, in mAP, rank-1 and mINP over the same queries.

    Raises:
        InputError: a table that lacks columns or values, or holds a query twice; models or seeds tested on different
            queries; two models that share no seed on a target; what ``estimate`` refuses.
    """
    runs, comparisons = _runs(queries), []
    for source in _labels(queries, "source"):
        models = _labels(queries, "model", source)
        for target in _labels(queries, "target", source):
            for a, b in combinations(models, 2):
                seeds, left_out = _shared_seeds(runs, (a, b), source, (target,))
                values, pids = _values(runs, (a, b), source, target, seeds)
                for metric in METRICS:
                    one, two = values[a][metric], values[b][metric]
                    difference = _estimate([Term(one - two, pids)], (source, target, a, b), level, resamples, seed)
                    head = (a, b, source, target, metric, in_domain(source, target))
                    comparisons.append(Comparison(*head, difference, *better_worse(one, two), seeds, left_out))
    return comparisons


def gaps(
    queries: pd.DataFrame,
    in_domain: Callable[[str, str], bool] = trained_on,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> tuple[list[Gap], list[GapDifference]]:
    """In-domain minus cross-domain, for each model and cross-domain target; and its difference for each pair of models.

    A source of several data sets is in-domain on each of them: their plain mean counts. A source that was not tested
    in-domain, or nowhere else, has no gap.

    Raises:
        InputError: as ``compare_models``; a model that shares no seed between its targets.
    """
    runs = _runs(queries)
    own_gaps: list[Gap] = []
    differences: list[GapDifference] = []
    for source in _labels(queries, "source"):
        models, targets = _labels(queries, "model", source), _labels(queries, "target", source)
        home = [target for target in targets if in_domain(source, target)]
        for target in [target for target in targets if home and target not in home]:
            for chosen in [*((model,) for model in models), *combinations(models, 2)]:
                seeds, left_out = _shared_seeds(runs, chosen, source, (*home, target))
                for metric, terms in _gap_terms(runs, chosen, source, home, target, seeds).items():
                    estimate = _estimate(terms, (source, target, *chosen), level, resamples, seed)
                    tail = (source, target, metric, estimate, seeds, left_out)
                    if len(chosen) == 1:
                        own_gaps.append(Gap(chosen[0], *tail))
                    else:
                        differences.append(GapDifference(chosen[0], chosen[1], *tail))
    return own_gaps, differences


def _gap_terms(
    runs: Runs, models: Sequence[str], source: str, home: Sequence[str], target: str, seeds: Sequence[int]
) -> dict[str, list[Term]]:
    """For each metric the terms of one model's gap, or of the difference of two models' gaps."""
    terms: dict[str, list[Term]] = {metric: [] for metric in METRICS}
    for place, share, sign in [*((place, len(home), 1) for place in home), (target, 1, -1)]:
        values, pids = _values(runs, models, source, place, seeds)
        for metric in METRICS:
            rows = values[models[0]][metric]
            rows = rows - values[models[1]][metric] if len(models) == 2 else rows
            terms[metric].append(Term(rows / share, pids, sign))
    return terms


def _estimate(terms: Sequence[Term], where: Sequence[str], level: float, resamples: int, seed: int) -> Estimate:
    source, target, *models = where
    try:
        return estimate(terms, level, resamples, seed)
    except InputError as error:
        raise InputError(f"source {source}, target {target}, models {', '.join(models)}: {error}") from None


def _labels(queries: pd.DataFrame, column: str, source: str | None = None) -> list[str]:
    rows = queries if source is None else queries[queries["source"] == source]
    return [str(label) for label in rows[column].unique()]


def _runs(queries: pd.DataFrame) -> Runs:
    """The rows of each run on a target, sorted by what makes a query: trial, path, camera."""
    missing = [column for column in COLUMNS if column not in queries.columns]
    if missing or queries.empty:
        raise InputError(f"table of queries: {f'has no columns {missing}' if missing else 'is empty'}")
    for column in COLUMNS:
        if queries[column].isna().any():
            raise InputError(f"table of queries: column {column!r} lacks {int(queries[column].isna().sum())} values")
    runs: Runs = {}
    for group, rows in queries.groupby(list(RUN), sort=False):
        model, source, target, seed = (str(label) for label in cast(tuple, group))
        key = (model, source, target, int(seed))
        rows = rows.set_index(list(QUERY)).sort_index()
        twice = rows.index.duplicated()
        if twice.any():
            raise InputError(
                f"{_name(*key)}: {int(twice.sum())} queries stand twice in the table, "
                f"the first is {rows.index[twice][0][1]}"
            )
        runs[key] = rows
    return runs


def _shared_seeds(
    runs: Runs, models: Sequence[str], source: str, targets: Sequence[str]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The seeds that all ``models`` were tested with on all ``targets``, and those that only some were."""
    tested = {
        (model, target): {seed for *run, seed in runs if run == [model, source, target]}
        for model in models
        for target in targets
    }
    shared = set.intersection(*tested.values())
    if not shared:
        each = "; ".join(f"{model} on {target}: {sorted(seeds) or 'none'}" for (model, target), seeds in tested.items())
        raise InputError(f"source {source}: no seed in common. Seeds tested: {each}")
    return tuple(sorted(shared)), tuple(sorted(set.union(*tested.values()) - shared))


def _values(
    runs: Runs, models: Sequence[str], source: str, target: str, seeds: Sequence[int]
) -> tuple[dict[str, dict[str, np.ndarray]], np.ndarray]:
    """Values (S, Q) by model and metric, a column a query that is the same for all; identities (Q,)."""
    keys = [(model, source, target, seed) for model in models for seed in seeds]
    first = runs[keys[0]]
    for key in keys[1:]:
        _refuse_other_queries(keys[0], first, key, runs[key])
    values = {
        model: {
            metric: np.stack([read(runs[model, source, target, seed]).to_numpy(np.float64) for seed in seeds])
            for metric, read in METRICS.items()
        }
        for model in models
    }
    return values, first["pid"].to_numpy()


def _refuse_other_queries(
    key_a: tuple[str, str, str, int], a: pd.DataFrame, key_b: tuple[str, str, str, int], b: pd.DataFrame
) -> None:
    if not a.index.equals(b.index):
        only_a, only_b = a.index.difference(b.index), b.index.difference(a.index)
        raise InputError(
            f"{_name(*key_a)} and {_name(*key_b)} were tested on different queries: {len(only_a)} only in the former, "
            f"{len(only_b)} only in the latter, such as {(*only_a, *only_b)[0][1]}; evaluate both again"
        )
    differ = a["pid"].to_numpy() != b["pid"].to_numpy()
    if differ.any():
        raise InputError(
            f"{_name(*key_a)} and {_name(*key_b)}: {int(differ.sum())} queries have another identity in each, such as "
            f"{a.index[differ][0][1]}; evaluate both again"
        )


def _name(model: str, source: str, target: str, seed: int) -> str:
    return f"{model} (source {source}, target {target}, seed {seed})"
