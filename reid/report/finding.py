"""Sentences computed from the figures: what was measured, and what came out. Nothing here knows the result."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from reid.data.names import counted
from reid.report.inputs import Benchmark, lines
from reid.report.tables import interval, points

LISTED = 4  # up to so many directions are named one by one


def subject(benchmark: Benchmark) -> str:
    """What was measured, in two or three sentences."""
    sources = list(dict.fromkeys(benchmark.results["source"]))
    targets = list(dict.fromkeys(benchmark.results["target"]))
    queries = benchmark.results.groupby("target", sort=False)["queries"].max()
    seeds = benchmark.seeds
    cells = len(benchmark.models) * len(benchmark.main_directions)
    upto = "up to " if len(benchmark.results) < cells * len(seeds) else ""
    first = (
        f"{counted(len(benchmark.models), 'model')} ({listed(benchmark.models)}), each trained on "
        f"{listed(sources, 'or')} with {upto}{counted(len(seeds), 'seed')} ({', '.join(map(str, seeds))}), "
        f"{'were' if len(benchmark.models) > 1 else 'was'} tested on {listed(targets)}."
    )
    counts = listed([f"{t} {'not known' if pd.isna(queries[t]) else f'{int(queries[t]):,}'}" for t in targets])
    seeing = [model for model in benchmark.models if model in benchmark.sees_target]
    more = (
        f" Of these, {listed(seeing)} took batch-norm statistics from the target's unlabelled images." if seeing else ""
    )
    networks = benchmark.networks
    beside = f" Networks of other origin, in a table of their own: {listed(networks)}." if networks else ""
    return f"{first}{more}{beside} Valid queries: {counts}; in-domain means the test split of the data trained on."


def findings(
    benchmark: Benchmark, comparisons: pd.DataFrame, gaps: pd.DataFrame, left_out: Sequence[str] = ()
) -> list[str]:
    """The last model against the first, abroad and at home, in mAP; with one model, what it loses abroad.

    ``left_out``: the comparisons that could not be made.
    """
    if len(benchmark.models) < 2:
        return losses(benchmark.models[0], gaps)
    first, last = benchmark.models[0], benchmark.models[-1]
    pairs = comparisons.query("model_a == @last and model_b == @first and metric == 'mAP'", engine="python")
    pairs = pairs.astype({"in_domain": bool, "significant": bool})
    sentences = []
    for rows, where in ((pairs[~pairs["in_domain"]], "Cross-domain"), (pairs[pairs["in_domain"]], "In-domain")):
        if len(rows):
            sentences.append(f"{where}, {_against(last, first, rows)}{_one_seed(rows)}")
    if not sentences:
        sentences = [f"There is no direction in which {last} and {first} could be compared."]
    if left_out:
        sentences.append(f"{counted(len(left_out), 'comparison')} of two models could not be made; named below.")
    return sentences + [text for model in (first, last) for text in losses(model, gaps)]


def _against(last: str, first: str, rows: pd.DataFrame) -> str:
    above, below = rows[rows["significant"] & (rows["value"] > 0)], rows[rows["significant"] & (rows["value"] < 0)]
    neither = rows[~rows["significant"]]
    parts = []
    for group, word in ((above, "above"), (below, "below")):
        if len(group):
            parts.append(
                f"significantly {word} {first} in mAP on {len(group)} of {_directions(len(rows))}: {_each(group)}"
            )
    text = f"{last} is {'; it is '.join(parts)}" if parts else ""
    if len(neither):
        open_ = (
            f"on {len(neither)} of {_directions(len(rows))} the difference in mAP is not significant: {_each(neither)}"
        )
        text = f"{text}; {open_}" if text else f"{open_}, so nothing is claimed for {last} against {first}"
    return f"{text}."


def _each(rows: pd.DataFrame) -> str:
    """mAP differences in points with their intervals, one by one or, where there are many, the smallest and largest."""
    rows = rows.sort_values("value", ascending=False)
    many = len(rows) > LISTED
    shown = rows.iloc[[0, -1]] if many else rows
    texts = [
        f"{points(row.value)} points {interval(row.low, row.high)} ({row.source} → {row.target})"
        for row in lines(shown)
    ]
    return f"from {texts[1]} to {texts[0]}" if many else ", ".join(texts)


def losses(model: str, gaps: pd.DataFrame) -> list[str]:
    """What a model loses abroad, in mAP."""
    rows = gaps[(gaps["model"] == model) & (gaps["metric"] == "mAP")]
    if rows.empty:
        return []
    rows = rows.assign(value=-rows["value"], low=-rows["high"], high=-rows["low"])
    open_ = rows[~rows["significant"].astype(bool)]
    text = f"From home to abroad {model}'s mAP changes: {_each(rows)}"
    if len(open_):
        text += f"; not significant on {listed([f'{row.source} → {row.target}' for row in lines(open_)])}"
    return [f"{text}.{_one_seed(rows)}"]


def _one_seed(rows: pd.DataFrame) -> str:
    """What is to be said where rows have one seed alone: of all of them, or of those named."""
    alone = rows[rows["seeds"] == 1]
    if alone.empty:
        return ""
    where = "" if len(alone) == len(rows) else f" on {listed([f'{row.source} → {row.target}' for row in lines(alone)])}"
    return f" One seed{where}: this holds for these trained networks, not for the methods."


def _directions(count: int) -> str:
    return counted(count, "direction")


def listed(names: Sequence[str], word: str = "and") -> str:
    """Names as in a sentence: a, b and c."""
    names = [str(name) for name in names]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} {word} {names[-1]}"
