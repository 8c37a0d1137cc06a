"""The tables of what was measured: means over seeds, differences, gaps, remedies, divergence."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd

from reid.report import statistics
from reid.report.inputs import Benchmark, Direction, lines
from reid.report.reading import DIVERGENCE, REMEDIES, RESULTS
from reid.report.tables import MISSING, Table, interval, percent, points, verdict

COMPARISONS, GAPS, GAP_DIFFERENCES = "comparisons.csv", "gaps.csv", "gap_differences.csv"
REMEDY_COMPARISONS = "remedy_comparisons.csv"
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
    own = results[results["in_domain"]]
    own = own.assign(wanted=own.groupby("source")["target"].transform("nunique"))
    grouped = own.groupby(run)
    home = grouped["mAP"].mean(skipna=False).where(grouped["target"].nunique() == grouped["wanted"].first())
    crossed = results[~results["in_domain"]].join(home.rename("own"), on=run)
    return means(crossed.assign(drop=crossed["mAP"] - crossed["own"]).dropna(subset="drop"), "drop")


def label(direction: Direction) -> str:
    return f"{direction} ({'in-domain' if direction.in_domain else 'cross-domain'})"


def headline(benchmark: Benchmark, comparisons: pd.DataFrame) -> Table:
    """Directions as lines, models as columns: mean mAP, and the drop behind it."""
    mAP, drop = means(benchmark.results), drops(benchmark.results)
    rows, bold = _models_by_direction(benchmark.main_directions, benchmark.models, mAP, drop, comparisons, rivals="all")
    note = (
        "mAP in %, mean over seeds; in brackets the drop against the same model's in-domain mAP, in percentage points, "
        "mean over the seeds tested in both. "
        "Bold: the paired interval against every other model excludes zero."
    )
    header = ("trained on → tested on", *(f"{model}: mAP, % (drop, points)" for model in benchmark.models))
    return Table("headline", "mAP at home and abroad", f"means of {RESULTS}", header, rows, bold=bold, note=note)


def _models_by_direction(
    directions: Sequence[Direction], models: Sequence[str], mAP: Means, drop: Means, frame: pd.DataFrame, rivals: str
) -> tuple[tuple[tuple[str, ...], ...], frozenset[tuple[int, int]]]:
    rows, bold = [], set()
    for number, direction in enumerate(directions):
        place = (direction.source, direction.target)
        here = {model: mAP[model, *place] for model in models if not math.isnan(mAP.get((model, *place), math.nan))}
        best = statistics.best(frame, here, *place, rivals=rivals)
        cells = [label(direction)]
        for column, model in enumerate(models, 1):
            loss = drop.get((model, *place), math.nan)
            cell = percent(here.get(model, math.nan))
            cells.append(cell if math.isnan(loss) or cell == MISSING else f"{cell} ({points(loss)})")
            if model == best:
                bold.add((number, column))
        rows.append(tuple(cells))
    return tuple(rows), frozenset(bold)


def every_figure(benchmark: Benchmark) -> Table:
    """One line a model and direction: every metric, mean over seeds."""
    rows = []
    for direction in benchmark.main_directions:
        for model in benchmark.models:
            own = benchmark.results.query("model == @model and source == @direction.source", engine="python")
            own = own[own["target"] == direction.target]
            if own.empty:
                continue
            low, high = own["mAP"].min(), own["mAP"].max()
            spread = MISSING if math.isnan(low) else f"{percent(low)} to {percent(high)}"
            figures = [percent(own[name].mean(skipna=False)) for name in ("rank1", "rank5", "rank10", "mINP")]
            counts = [" / ".join(f"{int(n)}" for n in own[name].dropna().unique()) for name in ("queries", "gallery")]
            rows.append(
                (
                    model,
                    label(direction),
                    str(len(own)),
                    percent(own["mAP"].mean(skipna=False)),
                    spread,
                    *figures,
                    *counts,
                )
            )
    header = (
        "model", "trained on → tested on", "seeds", "mAP, %", "mAP of the seeds, %",
        "rank-1, %", "rank-5, %", "rank-10, %", "mINP, %", "queries", "gallery",
    )  # fmt: skip
    return Table(
        "figures", "Every metric", f"means of {RESULTS}", header, tuple(rows), words=2, note="Means over seeds."
    )


def comparison_table(frame: pd.DataFrame) -> Table:
    """Every pair, direction and metric."""
    rows = [
        (
            f"{row.model_a} minus {row.model_b}",
            label(Direction(row.source, row.target, row.in_domain)),
            statistics.METRICS[row.metric],
            *_estimate(row),
            percent(row.better),
            percent(row.worse),
        )
        for row in lines(frame)
    ]
    header = ("models", "trained on → tested on", "metric", *ESTIMATE, "queries better, %", "queries worse, %")
    note = "Paired over the same queries; above zero the model named first is better."
    fewer = int((frame["left_out"] != "").sum())
    note += f" {fewer} rows leave out seeds that only one of the two was tested with (left_out)." if fewer else ""
    return Table("comparisons", "Paired differences", COMPARISONS, header, tuple(rows), words=3, note=note)


ESTIMATE = ("difference, points", "95 % interval, points", "verdict", "seeds")


def _estimate(row: Any) -> tuple[str, str, str, str]:
    return points(row.value), interval(row.low, row.high), verdict(row.significant), str(row.seeds)


def gap_tables(gaps: pd.DataFrame, differences: pd.DataFrame) -> list[Table]:
    """Each model's gap, and the differences between models: mAP at a glance, then everything."""
    own = [
        (row.model, f"{row.source} → {row.target}", statistics.METRICS[row.metric], *_estimate(row))
        for row in lines(gaps)
    ]
    pairs = [
        (
            f"{row.model_a} minus {row.model_b}",
            f"{row.source} → {row.target}",
            statistics.METRICS[row.metric],
            *_estimate(row),
        )
        for row in lines(differences)
    ]
    first = ("gap, points", *ESTIMATE[1:])
    tables = [
        Table("gaps", "Gap of each model", GAPS, ("model", "trained on → tested on", "metric", *first), tuple(own), 3,
              note="In-domain minus cross-domain: the drop with its sign turned; above zero the model loses abroad."),
        Table("gap-differences", "Differences of gaps", GAP_DIFFERENCES,
              ("models", "trained on → tested on", "metric", *ESTIMATE), tuple(pairs), 3,
              note="Below zero the model named first loses less abroad than the other."),
    ]  # fmt: skip
    glances = [
        _at_a_glance("gaps-at-a-glance", "Gaps in mAP", GAPS, gaps,
                     "In-domain minus cross-domain; above zero a model loses abroad."),
        _at_a_glance("gap-differences-at-a-glance", "Differences of gaps in mAP", GAP_DIFFERENCES, differences,
                     "Below zero the model named first loses less abroad."),
    ]  # fmt: skip
    return [table for table in (*glances, *tables) if table.rows]


def _at_a_glance(key: str, title: str, csv: str, frame: pd.DataFrame, note: str) -> Table:
    """Directions as lines, models or pairs of models as columns: mAP alone."""
    own = [
        (row.model if "model" in frame else f"{row.model_a} minus {row.model_b}", f"{row.source} → {row.target}", row)
        for row in lines(frame)
        if row.metric == "mAP"
    ]
    cells = {
        (name, direction): f"{points(row.value)} {interval(row.low, row.high)}{'' if row.significant else ' n.s.'}"
        for name, direction, row in own
    }
    names = tuple(dict.fromkeys(name for name, _, _ in own))
    directions = dict.fromkeys(direction for _, direction, _ in own)
    rows = tuple((way, *(cells.get((name, way), MISSING) for name in names)) for way in directions)
    header = ("trained on → tested on", *(f"{name}, points" for name in names))
    return Table(key, title, csv, header, rows, note=f"{note} 95 % intervals; n.s.: not significant.")


def remedy_tables(benchmark: Benchmark, frame: pd.DataFrame) -> list[Table]:
    """The first seed's models and remedies side by side, and each remedy against each model."""
    if benchmark.remedies.empty:
        return []
    seed = benchmark.seeds[0]
    results = pd.concat([benchmark.results, benchmark.remedies])
    results = results[results["seed"] == seed]
    remedies = list(dict.fromkeys(results.loc[~results["model"].isin(benchmark.models), "model"]))
    models = [*(model for model in benchmark.models if model in set(results["model"])), *remedies]
    rows, bold = _models_by_direction(
        benchmark.directions, models, means(results), drops(results), frame, rivals="next"
    )
    turned = tuple((model, *(row[place] for row in rows)) for place, model in enumerate(models, 1))
    flipped = frozenset((column - 1, row + 1) for row, column in bold)
    note = (
        f"mAP in % (drop in points), seed {seed} only: intervals are those of these networks, not of the methods. "
        "Bold: the interval against the next best excludes zero."
    )
    header = ("model", *(f"{label(direction)}: mAP, % (drop, points)" for direction in benchmark.directions))
    files = f"{RESULTS} and {REMEDIES}"
    table = Table("remedies", "One-line remedies beside the models", files, header, turned, bold=flipped, note=note)
    return [table, _remedy_pairs(frame, remedies, seed)]


def _remedy_pairs(frame: pd.DataFrame, remedies: Sequence[str], seed: int) -> Table:
    rows = tuple(
        (
            f"{row.model_a} minus {row.model_b}",
            label(Direction(row.source, row.target, row.in_domain)),
            *_estimate(row)[:3],
            percent(row.better),
            percent(row.worse),
        )
        for row in lines(frame)
        if row.model_a in remedies
    )
    header = ("models", "trained on → tested on", *ESTIMATE[:3], "queries better, %", "queries worse, %")
    note = f"mAP, seed {seed}; one seed: of these networks only. Above zero the model named first is better."
    return Table("remedy-pairs", "Remedies against the models", REMEDY_COMPARISONS, header, rows, words=2, note=note)


def divergence_table(benchmark: Benchmark) -> Table | None:
    """Per model, kind and stage: the median over pairs of sets (or sets) and seeds."""
    if benchmark.divergence.empty:
        return None
    rows = []
    known = [*benchmark.models, *dict.fromkeys(benchmark.divergence["model"])]
    frame = benchmark.divergence.assign(place=[known.index(model) for model in benchmark.divergence["model"]])
    for (by, _, model, stage), own in frame.groupby(["by", "place", "model", "stage"]):
        norm = "yes: near zero by construction" if own["instance_norm"].all() else "no"
        figures = [f"{own['mean'].median():.3g}", f"{own['median'].median():.3g}"]
        rows.append((str(model), f"between {PLURALS.get(str(by), by)}", str(stage), norm, *figures, str(len(own))))
    header = (
        "model", "divergence", "stage", "ends in instance norm",
        "mean over channels, nats", "median over channels, nats", "measured",
    )  # fmt: skip
    note = "Symmetric KL of Gaussians per channel; medians over seeds and pairs of data sets, their number last."
    return Table("divergence", "Feature divergence", DIVERGENCE, header, tuple(rows), words=4, note=note)


PLURALS = {"domain": "domains", "identity": "identities"}
