"""Which differences and gaps hold? Tables of them from a benchmark's queries, and means and drops of its results.

All differences are oriented so that the model named later in benchmark.json is `model_a`: above 0 it is the better one.
What cannot be compared (no seed in common, a target with one identity) is left out, and named with the reason.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import Any

import pandas as pd

from reid.errors import InputError
from reid.evaluation import gap
from reid.evaluation.interval import Estimate
from reid.report.benchmark import Benchmark, Direction, lines

METRICS = {"mAP": "mAP", "rank1": "rank-1", "mINP": "mINP"}
ESTIMATE = ["value", "low", "high", "standard_error", "degrees", "method", "seeds", "identities", "significant"]
COMPARISONS = [
    "model_a", "model_b", "source", "target", "metric", *ESTIMATE, "left_out", "in_domain", "better", "worse",
]  # fmt: skip
GAPS = ["model", "source", "target", "metric", *ESTIMATE, "left_out"]
GAP_DIFFERENCES = ["model_a", "model_b", "source", "target", "metric", *ESTIMATE, "left_out"]
Means = dict[tuple[str, str, str], float]  # (model, source, target)


def means(results: pd.DataFrame, column: str = "mAP") -> Means:
    """The mean over seeds of each model in each direction; missing where that of one seed is."""
    grouped = results.groupby(["model", "source", "target"], sort=False)[column].mean(skipna=False).reset_index()
    return {(row.model, row.source, row.target): float(row[-1]) for row in lines(grouped)}


def drops(results: pd.DataFrame) -> Means:
    """Cross-domain minus in-domain mAP of the same model and seed, mean over the seeds that have both.

    Of a source of several data sets the in-domain mAP is the plain mean of their test splits', of all of them.
    """
    run = ["model", "source", "seed"]
    in_domain = results[results["in_domain"]]
    in_domain = in_domain.assign(wanted=in_domain.groupby("source")["target"].transform("nunique"))
    grouped = in_domain.groupby(run)
    home = grouped["mAP"].mean(skipna=False).where(grouped["target"].nunique() == grouped["wanted"].first())
    crossed = results[~results["in_domain"]].join(home.rename("home"), on=run)
    return means(crossed.assign(drop=crossed["mAP"] - crossed["home"]).dropna(subset="drop"), "drop")


def comparisons(benchmark: Benchmark) -> tuple[pd.DataFrame, list[str]]:
    """Paired differences (fractions) of every two models in every direction, one row a metric; what is left out."""
    return _compare(benchmark.queries, benchmark, benchmark.models)


def _compare(queries: pd.DataFrame, benchmark: Benchmark, order: Sequence[str]) -> tuple[pd.DataFrame, list[str]]:
    rows, left_out = [], []
    for source, target in dict.fromkeys(zip(queries["source"], queries["target"], strict=True)):
        here = queries[(queries["source"] == source) & (queries["target"] == target)]
        for b, a in combinations(sorted(here["model"].unique(), key=order.index), 2):
            try:
                compared = gap.compare_models(here[here["model"].isin([a, b])], benchmark.in_domain)
            except InputError as error:
                left_out.append(f"{a} minus {b}, {source} → {target}: {error}")
                continue
            rows += [_oriented(row_of(comparison, COMPARISONS), order) for comparison in compared]
    return _sorted(pd.DataFrame(rows, columns=COMPARISONS), benchmark, order), left_out


def gaps(benchmark: Benchmark) -> tuple[pd.DataFrame, pd.DataFrame, list[str]]:
    """In-domain minus cross-domain (fractions): each model's, the differences of two models' gaps; what is left out."""
    each_model: list[dict[str, Any]] = []
    differences: list[dict[str, Any]] = []
    left_out: list[str] = []
    for direction in benchmark.main_directions:
        queries = _with_in_domain(benchmark, direction)
        if queries.empty:
            continue
        of_models, of_pairs, lost = _gaps(benchmark, queries)
        each_model += [row_of(each, GAPS) for each in of_models]
        differences += [_oriented(row_of(each, GAP_DIFFERENCES), benchmark.models) for each in of_pairs]
        left_out += [f"{name}, {direction}: {reason}" for name, reason in lost]
    return (
        _sorted(pd.DataFrame(each_model, columns=GAPS), benchmark, benchmark.models),
        _sorted(pd.DataFrame(differences, columns=GAP_DIFFERENCES), benchmark, benchmark.models),
        left_out,
    )


def _gaps(
    benchmark: Benchmark, queries: pd.DataFrame
) -> tuple[list[gap.Gap], list[gap.GapDifference], list[tuple[str, str]]]:
    """One direction's, of all models at once; where that is refused, model by model and pair by pair."""
    try:
        return *gap.gaps(queries, benchmark.in_domain), []
    except InputError:
        each_model, differences, left_out = [], [], []
    for model in sorted(queries["model"].unique(), key=benchmark.models.index):
        try:
            each_model += gap.gaps(queries[queries["model"] == model], benchmark.in_domain)[0]
        except InputError as error:
            left_out.append((model, str(error)))
    for b, a in combinations(dict.fromkeys(row.model for row in each_model), 2):
        try:
            differences += gap.gaps(queries[queries["model"].isin([a, b])], benchmark.in_domain)[1]
        except InputError as error:
            left_out.append((f"{a} minus {b}", str(error)))
    return each_model, differences, left_out


def _with_in_domain(benchmark: Benchmark, direction: Direction) -> pd.DataFrame:
    """The queries of a cross-domain direction and of its source's own test splits, of the models tested on all."""
    home = [way.target for way in benchmark.main_directions if way.in_domain and way.source == direction.source]
    if direction.in_domain or not home:
        return benchmark.queries.iloc[:0]
    targets = [*home, direction.target]
    rows = benchmark.queries[
        (benchmark.queries["source"] == direction.source) & benchmark.queries["target"].isin(targets)
    ]
    tested = rows.groupby("model")["target"].nunique()
    return rows[rows["model"].isin(tested.index[tested == len(targets)])]


def remedy_seed(benchmark: Benchmark) -> int:
    """The seed remedies are compared on: theirs; of several the smallest, if possible one that models have too."""
    seeds = {int(seed) for seed in benchmark.remedies["seed"]}
    return min(seeds & set(benchmark.seeds) or seeds)


def remedy_comparisons(benchmark: Benchmark) -> tuple[pd.DataFrame, list[str]]:
    """One seed, mAP: each remedy against each model of the main table, and in every direction the best against the
    next best of those that do not see the target. Intervals are of these networks. Then what is left out."""
    if benchmark.remedies.empty:
        return pd.DataFrame(columns=COMPARISONS), []
    queries = pd.concat([benchmark.queries, benchmark.remedies_queries])
    queries = queries[queries["seed"] == remedy_seed(benchmark)]
    remedies = list(dict.fromkeys(benchmark.remedies["model"]))
    order = [*benchmark.models, *remedies]
    frames, left_out = [pd.DataFrame(columns=COMPARISONS)], []
    for source, target in dict.fromkeys(zip(queries["source"], queries["target"], strict=True)):
        here = queries[(queries["source"] == source) & (queries["target"] == target)]
        means = here.groupby("model")["ap"].mean().sort_values(ascending=False)
        wanted = [{model, remedy} for model in benchmark.models for remedy in remedies]
        wanted += [two for two in [set(means.index[~means.index.isin(benchmark.sees_target)][:2])] if two not in wanted]
        for pair in wanted:
            if len(pair) == 2 and pair <= set(means.index):
                compared, lost = _compare(here[here["model"].isin(pair)], benchmark, order)
                frames.append(compared)
                left_out += lost
    frame = pd.concat([part for part in frames if len(part)] or frames)
    return _sorted(frame[frame["metric"] == "mAP"], benchmark, order), left_out


def best(frame: pd.DataFrame, means: Mapping[str, float], source: str, target: str, rivals: str = "all") -> str | None:
    """The model with the highest mAP where the interval against every other (``rivals`` "all"), or against the next
    best ("next"), excludes 0; else None. ``means``: mAP of each model in this direction."""
    ranked = sorted(means, key=lambda model: -means[model])
    if len(ranked) < 2:
        return None
    here = frame[(frame["source"] == source) & (frame["target"] == target) & (frame["metric"] == "mAP")]
    for rival in ranked[1:] if rivals == "all" else ranked[1:2]:
        if ahead(here, ranked[0], rival) is not True:
            return None
    return ranked[0]


def ahead(frame: pd.DataFrame, model: str, rival: str) -> bool | None:
    """Whether ``model`` is significantly ahead of ``rival``; None where the two were not compared."""
    for row in lines(frame):
        if {row.model_a, row.model_b} == {model, rival}:
            return bool(row.significant) and (row.value > 0) == (row.model_a == model)
    return None


def row_of(measured: gap.Comparison | gap.Gap | gap.GapDifference, columns: Sequence[str]) -> dict[str, Any]:
    """One row of a table: the fields named by ``columns``, those of the estimate among them."""
    estimate: Estimate = measured.estimate
    row = {name: getattr(estimate if name in ESTIMATE else measured, name) for name in columns}
    row["identities"] = "+".join(str(count) for count in estimate.identities)
    row["left_out"] = " ".join(str(seed) for seed in measured.left_out)
    return row


def _oriented(row: dict[str, Any], order: Sequence[str]) -> dict[str, Any]:
    if order.index(row["model_a"]) > order.index(row["model_b"]):
        return row
    turned = row | {"model_a": row["model_b"], "model_b": row["model_a"]}
    turned |= {"value": -row["value"], "low": -row["high"], "high": -row["low"]}
    return turned | ({"better": row["worse"], "worse": row["better"]} if "better" in row else {})


def _sorted(frame: pd.DataFrame, benchmark: Benchmark, models: Sequence[str]) -> pd.DataFrame:
    """Pairs, then directions (in-domain first), then metrics, each in the order of the tables."""
    directions = [(direction.source, direction.target) for direction in benchmark.directions]
    order: dict[str, Iterable[Any]] = {
        name: [models.index(model) for model in frame[name]]
        for name in ("model", "model_b", "model_a")
        if name in frame
    }
    order["direction"] = [directions.index(pair) for pair in zip(frame["source"], frame["target"], strict=True)]
    order["metric"] = [list(METRICS).index(metric) for metric in frame["metric"]]
    places = pd.DataFrame(order, index=range(len(frame))).sort_values(list(order), kind="stable").index
    return frame.iloc[places].reset_index(drop=True)
