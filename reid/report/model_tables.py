"""How do the models of a grid compare? Tables of their means, differences, gaps, remedies and divergence."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd

from reid.report import statistics
from reid.report.benchmark import DIVERGENCE, REMEDIES, RESULTS, Benchmark, Direction, lines
from reid.report.formats import MISSING, Table, counts, interval, percent, points, with_marks
from reid.report.statistics import Means, drops, means

COMPARISONS, GAPS, GAP_DIFFERENCES = "comparisons.csv", "gaps.csv", "gap_differences.csv"
REMEDY_COMPARISONS = "remedy_comparisons.csv"
NO_RIVAL = "Such a model is neither bold nor a rival where others are."
ESTIMATE = ("difference, points", "95 % interval, points", "verdict", "seeds")
QUERIES = ("queries better, %", "queries worse, %")


def pair(benchmark: Benchmark, row: Any) -> str:
    """A row's two models, the minuend first."""
    return f"{benchmark.shown(row.model_a)} minus {benchmark.shown(row.model_b)}"


def estimate(row: Any) -> tuple[str, str, str, str]:
    """Cells below ``ESTIMATE``."""
    verdict = "significant" if row.significant else "not significant"
    return points(row.value), interval(row.low, row.high), verdict, str(row.seeds)


def shares(row: Any) -> tuple[str, str]:
    """Cells below ``QUERIES``."""
    return percent(row.better), percent(row.worse)


def headline(benchmark: Benchmark, comparisons: pd.DataFrame) -> Table:
    """Directions as lines, models as columns: mean mAP, and the drop behind it."""
    mAP, drop = means(benchmark.results), drops(benchmark.results)
    rows, bold = models_by_direction(
        benchmark, benchmark.main_directions, benchmark.models, mAP, drop, comparisons, rivals="all"
    )
    note = (
        "mAP in %, mean over seeds; in brackets the drop against the same model's in-domain mAP, in percentage points, "
        "mean over the seeds tested in both. "
        "Bold: the paired interval against every other model excludes zero."
    )
    header = ("trained on → tested on", *(f"{benchmark.shown(m)}: mAP, % (drop, points)" for m in benchmark.models))
    note = with_marks(note, [header], NO_RIVAL)
    return Table("headline", "mAP at home and abroad", f"means of {RESULTS}", header, rows, bold=bold, note=note)


def models_by_direction(
    benchmark: Benchmark, directions: Sequence[Direction], models: Sequence[str], mAP: Means, drop: Means,
    frame: pd.DataFrame, rivals: str,
) -> tuple[tuple[tuple[str, ...], ...], frozenset[tuple[int, int]]]:  # fmt: skip
    """Directions as lines, models as columns; bold the best of those that do not see the target's images."""
    rows, bold = [], set()
    for number, direction in enumerate(directions):
        place = (direction.source, direction.target)
        here = {model: mAP[model, *place] for model in models if not math.isnan(mAP.get((model, *place), math.nan))}
        blind = {model: value for model, value in here.items() if model not in benchmark.sees_target}
        best = statistics.best(frame, blind, *place, rivals=rivals)
        cells = [direction.label]
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
            here = benchmark.results.query("model == @model and source == @direction.source", engine="python")
            here = here[here["target"] == direction.target]
            if here.empty:
                continue
            low, high = here["mAP"].min(), here["mAP"].max()
            spread = MISSING if math.isnan(low) else f"{percent(low)} to {percent(high)}"
            figures = [percent(here[name].mean(skipna=False)) for name in ("rank1", "rank5", "rank10", "mINP")]
            rows.append(
                (
                    benchmark.shown(model),
                    direction.label,
                    str(len(here)),
                    percent(here["mAP"].mean(skipna=False)),
                    spread,
                    *figures,
                    *(counts(here[name]) for name in ("queries", "gallery")),
                )
            )
    header = (
        "model", "trained on → tested on", "seeds", "mAP, %", "mAP of the seeds, %",
        "rank-1, %", "rank-5, %", "rank-10, %", "mINP, %", "queries", "gallery",
    )  # fmt: skip
    note = with_marks("Means over seeds.", rows)
    return Table("figures", "Every metric", f"means of {RESULTS}", header, tuple(rows), words=2, note=note)


def comparison_table(benchmark: Benchmark, frame: pd.DataFrame) -> Table:
    """Every pair, direction and metric."""
    rows = tuple(
        (
            pair(benchmark, row),
            Direction(row.source, row.target, row.in_domain).label,
            statistics.METRICS[row.metric],
            *estimate(row),
            *shares(row),
        )
        for row in lines(frame)
    )
    header = ("models", "trained on → tested on", "metric", *ESTIMATE, *QUERIES)
    note = "Paired over the same queries; above zero the model named first is better."
    fewer = int((frame["left_out"] != "").sum())
    note += f" {fewer} rows leave out seeds that only one of the two was tested with (left_out)." if fewer else ""
    return Table("comparisons", "Paired differences", COMPARISONS, header, rows, words=3, note=with_marks(note, rows))


def gap_tables(benchmark: Benchmark, gaps: pd.DataFrame, differences: pd.DataFrame) -> list[Table]:
    """Each model's gap, and the differences between models: mAP at a glance, then everything."""
    each, pairs = (
        tuple(
            (
                benchmark.shown(row.model) if frame is gaps else pair(benchmark, row),
                f"{row.source} → {row.target}",
                statistics.METRICS[row.metric],
                *estimate(row),
            )
            for row in lines(frame)
        )
        for frame in (gaps, differences)
    )
    tables = [
        Table("gaps", "Gap of each model", GAPS,
              ("model", "trained on → tested on", "metric", "gap, points", *ESTIMATE[1:]), each, 3,
              note=with_marks("In-domain minus cross-domain: the drop with its sign turned; above zero the model loses "
                              "abroad.", each)),
        Table("gap-differences", "Differences of gaps", GAP_DIFFERENCES,
              ("models", "trained on → tested on", "metric", *ESTIMATE), pairs, 3,
              note=with_marks("Below zero the model named first loses less abroad than the other.", pairs)),
    ]  # fmt: skip
    glances = [
        _at_a_glance(benchmark, "gaps-at-a-glance", "Gaps in mAP", GAPS, gaps,
                     "In-domain minus cross-domain; above zero a model loses abroad."),
        _at_a_glance(benchmark, "gap-differences-at-a-glance", "Differences of gaps in mAP", GAP_DIFFERENCES,
                     differences, "Below zero the model named first loses less abroad."),
    ]  # fmt: skip
    return [table for table in (*glances, *tables) if table.rows]


def _at_a_glance(benchmark: Benchmark, key: str, title: str, csv: str, frame: pd.DataFrame, note: str) -> Table:
    """Directions as lines, models or pairs of models as columns: mAP alone."""
    shown = [
        (benchmark.shown(row.model) if "model" in frame else pair(benchmark, row), f"{row.source} → {row.target}", row)
        for row in lines(frame)
        if row.metric == "mAP"
    ]
    cells = {
        (name, direction): f"{points(row.value)} {interval(row.low, row.high)}{'' if row.significant else ' n.s.'}"
        for name, direction, row in shown
    }
    names = tuple(dict.fromkeys(name for name, _, _ in shown))
    directions = dict.fromkeys(direction for _, direction, _ in shown)
    rows = tuple((way, *(cells.get((name, way), MISSING) for name in names)) for way in directions)
    header = ("trained on → tested on", *(f"{name}, points" for name in names))
    note = with_marks(f"{note} 95 % intervals; n.s.: not significant.", [header])
    return Table(key, title, csv, header, rows, note=note)


def divergence_table(benchmark: Benchmark) -> Table | None:
    """Per model, kind and stage: the median over pairs of sets (or sets) and seeds."""
    if benchmark.divergence.empty:
        return None
    rows, plurals = [], {"domain": "domains", "identity": "identities"}
    known = [*benchmark.models, *dict.fromkeys(benchmark.divergence["model"])]
    frame = benchmark.divergence.assign(place=[known.index(model) for model in benchmark.divergence["model"]])
    for (by, _, model, stage), of_stage in frame.groupby(["by", "place", "model", "stage"]):
        norm = "yes: near zero by construction" if of_stage["instance_norm"].all() else "no"
        figures = [f"{of_stage['mean'].median():.3g}", f"{of_stage['median'].median():.3g}"]
        rows.append((str(model), f"between {plurals.get(str(by), by)}", str(stage), norm, *figures, str(len(of_stage))))
    header = (
        "model", "divergence", "stage", "ends in instance norm",
        "mean over channels, nats", "median over channels, nats", "measured",
    )  # fmt: skip
    note = "Symmetric KL of Gaussians per channel; medians over seeds and pairs of data sets, their number last."
    return Table("divergence", "Feature divergence", DIVERGENCE, header, tuple(rows), words=4, note=note)


def remedy_tables(benchmark: Benchmark, frame: pd.DataFrame) -> list[Table]:
    """One seed's models and remedies side by side, and each remedy against each model."""
    if benchmark.remedies.empty:
        return []
    seed = statistics.remedy_seed(benchmark)
    results = benchmark.rows[benchmark.rows["seed"] == seed]
    remedies = list(dict.fromkeys(results.loc[~results["model"].isin(benchmark.models), "model"]))
    models = [*(model for model in benchmark.models if model in set(results["model"])), *remedies]
    rows, bold = models_by_direction(
        benchmark, benchmark.directions, models, means(results), drops(results), frame, rivals="next"
    )
    turned = tuple((benchmark.shown(model), *(row[place] for row in rows)) for place, model in enumerate(models, 1))
    flipped = frozenset((column - 1, row + 1) for row, column in bold)
    note = (
        f"mAP in % (drop in points), seed {seed} only: intervals are those of these networks, not of the methods."
        f"{_other_seeds(benchmark, seed)} Bold: the interval against the next best excludes zero."
    )
    note = with_marks(note, turned, NO_RIVAL) + " A source tested on itself is in-domain."
    header = ("mAP, % (drop, points)", *map(str, benchmark.directions))
    files = f"{RESULTS} and {REMEDIES}"
    table = Table("remedies", "One-line remedies beside the models", files, header, turned, bold=flipped, note=note)
    return [table, _remedy_pairs(benchmark, frame, remedies, seed)]


def _other_seeds(benchmark: Benchmark, seed: int) -> str:
    """What is not shown because its seed is another."""
    others = sorted({int(other) for other in benchmark.remedies["seed"]} - {seed})
    text = f" Seeds of remedies that are not shown: {', '.join(map(str, others))}." if others else ""
    for frame, word in ((benchmark.results, "Models"), (benchmark.remedies, "Remedies")):
        shown = set(frame.loc[frame["seed"] == seed, "model"])
        lost = [model for model in dict.fromkeys(frame["model"]) if model not in shown]
        text += f" {word} without seed {seed}, left out: {', '.join(lost)}." if lost else ""
    return text


def _remedy_pairs(benchmark: Benchmark, frame: pd.DataFrame, remedies: Sequence[str], seed: int) -> Table:
    rows = tuple(
        (
            pair(benchmark, row),
            Direction(row.source, row.target, row.in_domain).label,
            *estimate(row)[:3],
            *shares(row),
        )
        for row in lines(frame)
        if row.model_a in remedies
    )
    header = ("models", "trained on → tested on", *ESTIMATE[:3], *QUERIES)
    note = f"mAP, seed {seed}; one seed: of these networks only. Above zero the model named first is better."
    note = with_marks(note, rows)
    return Table("remedy-pairs", "Remedies against the models", REMEDY_COMPARISONS, header, rows, words=2, note=note)
