"""The tables of one-line remedies, on one seed, beside the models of the main table."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from reid.report import statistics
from reid.report.inputs import Benchmark, Direction, lines
from reid.report.measured import (
    ESTIMATE,
    NO_RIVAL,
    drops,
    estimate,
    label,
    means,
    models_by_direction,
    pair,
    with_marks,
)
from reid.report.reading import REMEDIES, RESULTS
from reid.report.tables import Table, percent

REMEDY_COMPARISONS = "remedy_comparisons.csv"


def remedy_tables(benchmark: Benchmark, frame: pd.DataFrame) -> list[Table]:
    """One seed's models and remedies side by side, and each remedy against each model."""
    if benchmark.remedies.empty:
        return []
    seed = statistics.remedy_seed(benchmark)
    results = pd.concat([benchmark.results, benchmark.remedies])
    results = results[results["seed"] == seed]
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
    note = with_marks(note, [row[0] for row in turned], NO_RIVAL)
    header = ("mAP, % (drop, points)", *(str(direction) for direction in benchmark.directions))
    note += " A source tested on itself is in-domain."
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
            label(Direction(row.source, row.target, row.in_domain)),
            *estimate(row)[:3],
            percent(row.better),
            percent(row.worse),
        )
        for row in lines(frame)
        if row.model_a in remedies
    )
    header = ("models", "trained on → tested on", *ESTIMATE[:3], "queries better, %", "queries worse, %")
    note = f"mAP, seed {seed}; one seed: of these networks only. Above zero the model named first is better."
    note = with_marks(note, [row[0] for row in rows])
    return Table("remedy-pairs", "Remedies against the models", REMEDY_COMPARISONS, header, rows, words=2, note=note)
