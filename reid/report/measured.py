"""The tables of what was measured: means over seeds, differences, gaps, remedies, divergence."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd

from reid.report import statistics
from reid.report.inputs import MARK, MARKED, Benchmark, Direction, lines
from reid.report.reading import DIVERGENCE, RESULTS
from reid.report.tables import MISSING, Table, interval, percent, points, verdict

COMPARISONS, GAPS, GAP_DIFFERENCES = "comparisons.csv", "gaps.csv", "gap_differences.csv"
NO_RIVAL = "Such a model is neither bold nor a rival where others are."
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


def label(direction: Direction) -> str:
    return f"{direction} ({'in-domain' if direction.in_domain else 'cross-domain'})"


def with_marks(note: str, cells: Iterable[str], more: str = "") -> str:
    """The note and, where a cell has the mark, what it means."""
    marked = any(MARK in cell for cell in cells)
    return " ".join(part for part in (note, *((MARKED, more) if marked else ())) if part)


def pair(benchmark: Benchmark, row: Any) -> str:
    """A row's two models, the minuend first."""
    return f"{benchmark.shown(row.model_a)} minus {benchmark.shown(row.model_b)}"


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
    names = [benchmark.shown(model) for model in benchmark.models]
    note = with_marks(note, names, NO_RIVAL)
    header = ("trained on → tested on", *(f"{name}: mAP, % (drop, points)" for name in names))
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
            here = benchmark.results.query("model == @model and source == @direction.source", engine="python")
            here = here[here["target"] == direction.target]
            if here.empty:
                continue
            low, high = here["mAP"].min(), here["mAP"].max()
            spread = MISSING if math.isnan(low) else f"{percent(low)} to {percent(high)}"
            figures = [percent(here[name].mean(skipna=False)) for name in ("rank1", "rank5", "rank10", "mINP")]
            counts = [" / ".join(f"{int(n)}" for n in here[name].dropna().unique()) for name in ("queries", "gallery")]
            rows.append(
                (
                    benchmark.shown(model),
                    label(direction),
                    str(len(here)),
                    percent(here["mAP"].mean(skipna=False)),
                    spread,
                    *figures,
                    *counts,
                )
            )
    header = (
        "model", "trained on → tested on", "seeds", "mAP, %", "mAP of the seeds, %",
        "rank-1, %", "rank-5, %", "rank-10, %", "mINP, %", "queries", "gallery",
    )  # fmt: skip
    note = with_marks("Means over seeds.", [row[0] for row in rows])
    return Table("figures", "Every metric", f"means of {RESULTS}", header, tuple(rows), words=2, note=note)


def comparison_table(benchmark: Benchmark, frame: pd.DataFrame) -> Table:
    """Every pair, direction and metric."""
    rows = [
        (
            pair(benchmark, row),
            label(Direction(row.source, row.target, row.in_domain)),
            statistics.METRICS[row.metric],
            *estimate(row),
            percent(row.better),
            percent(row.worse),
        )
        for row in lines(frame)
    ]
    header = ("models", "trained on → tested on", "metric", *ESTIMATE, "queries better, %", "queries worse, %")
    note = "Paired over the same queries; above zero the model named first is better."
    fewer = int((frame["left_out"] != "").sum())
    note += f" {fewer} rows leave out seeds that only one of the two was tested with (left_out)." if fewer else ""
    note = with_marks(note, [row[0] for row in rows])
    return Table("comparisons", "Paired differences", COMPARISONS, header, tuple(rows), words=3, note=note)


ESTIMATE = ("difference, points", "95 % interval, points", "verdict", "seeds")


def estimate(row: Any) -> tuple[str, str, str, str]:
    return points(row.value), interval(row.low, row.high), verdict(row.significant), str(row.seeds)


def gap_tables(benchmark: Benchmark, gaps: pd.DataFrame, differences: pd.DataFrame) -> list[Table]:
    """Each model's gap, and the differences between models: mAP at a glance, then everything."""
    each = [
        (benchmark.shown(row.model), f"{row.source} → {row.target}", statistics.METRICS[row.metric], *estimate(row))
        for row in lines(gaps)
    ]
    pairs = [
        (
            pair(benchmark, row),
            f"{row.source} → {row.target}",
            statistics.METRICS[row.metric],
            *estimate(row),
        )
        for row in lines(differences)
    ]
    first = ("gap, points", *ESTIMATE[1:])
    tables = [
        Table("gaps", "Gap of each model", GAPS, ("model", "trained on → tested on", "metric", *first), tuple(each), 3,
              note=with_marks("In-domain minus cross-domain: the drop with its sign turned; above zero the model loses "
                              "abroad.", [row[0] for row in each])),
        Table("gap-differences", "Differences of gaps", GAP_DIFFERENCES,
              ("models", "trained on → tested on", "metric", *ESTIMATE), tuple(pairs), 3,
              note=with_marks("Below zero the model named first loses less abroad than the other.",
                              [row[0] for row in pairs])),
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
    note = with_marks(f"{note} 95 % intervals; n.s.: not significant.", names)
    return Table(key, title, csv, header, rows, note=note)


def divergence_table(benchmark: Benchmark) -> Table | None:
    """Per model, kind and stage: the median over pairs of sets (or sets) and seeds."""
    if benchmark.divergence.empty:
        return None
    rows = []
    known = [*benchmark.models, *dict.fromkeys(benchmark.divergence["model"])]
    frame = benchmark.divergence.assign(place=[known.index(model) for model in benchmark.divergence["model"]])
    for (by, _, model, stage), of_stage in frame.groupby(["by", "place", "model", "stage"]):
        norm = "yes: near zero by construction" if of_stage["instance_norm"].all() else "no"
        figures = [f"{of_stage['mean'].median():.3g}", f"{of_stage['median'].median():.3g}"]
        rows.append((str(model), f"between {PLURALS.get(str(by), by)}", str(stage), norm, *figures, str(len(of_stage))))
    header = (
        "model", "divergence", "stage", "ends in instance norm",
        "mean over channels, nats", "median over channels, nats", "measured",
    )  # fmt: skip
    note = "Symmetric KL of Gaussians per channel; medians over seeds and pairs of data sets, their number last."
    return Table("divergence", "Feature divergence", DIVERGENCE, header, tuple(rows), words=4, note=note)


PLURALS = {"domain": "domains", "identity": "identities"}
