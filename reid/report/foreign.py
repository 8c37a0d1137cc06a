"""Networks of other origin beside the grid's own models: figures, paired differences, a picture.

They have no seeds, so that no mean and no interval over seeds holds one. A difference against a trained model is
against the mean over its seeds, whose spread is in the interval.
"""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from reid.drawing import COLORS, Picture, png
from reid.errors import InputError
from reid.evaluation import gap
from reid.evaluation.comparison import turned
from reid.evaluation.interval import Estimate
from reid.report.figures import ACROSS
from reid.report.inputs import Benchmark, Direction, lines
from reid.report.measured import ESTIMATE, estimate, label, with_marks
from reid.report.reading import RESULTS
from reid.report.statistics import METRICS
from reid.report.tables import Table, interval, percent, points

NETWORKS, NETWORK_COMPARISONS = "networks.csv", "network_comparisons.csv"
FIGURES = ["model", "source", "target", "metric", "foreign", "in_domain", "value", "low", "high", "seeds", "identities"]
COMPARISONS = [
    "network", "model", "source", "target", "metric", "in_domain", "value", "low", "high", "significant", "seeds",
    "better", "worse",
]  # fmt: skip
DROPS = ["drop", "drop_low", "drop_high"]


def network_figures(benchmark: Benchmark) -> tuple[pd.DataFrame, list[str]]:
    """Every network and model on the targets of the networks of other origin, one row a metric, with intervals and the
    drop from home. Then what is left out, with the reason."""
    rows: list[dict[str, Any]] = []
    left_out: list[str] = []
    fixed = benchmark.foreign_queries.assign(seed=0)
    for target in dict.fromkeys(benchmark.foreign["target"]):
        for frame, foreign in ((benchmark.queries, False), (fixed, True)):
            queries = frame[frame["target"] == target]
            for (model, source), tested in queries.groupby(["model", "source"], sort=False):
                try:
                    levels = gap.levels(tested)
                except InputError as error:
                    left_out.append(f"{model}, {source} → {target}: {error}")
                    continue
                home = _is_home(benchmark, str(model), target) if foreign else benchmark.in_domain(str(source), target)
                drops: dict[str, Estimate] = {}
                if not home:
                    try:
                        drops = _drops(benchmark, str(model), None if foreign else str(source), target, frame)
                    except InputError as error:
                        where = target if foreign else f"{source} → {target}"
                        left_out.append(f"{model}, drop on {where}: {error}")
                rows += [_figure_row(level, foreign, home, drops.get(level.metric)) for level in levels]
    return pd.DataFrame(rows, columns=[*FIGURES, *DROPS]), left_out


def _is_home(benchmark: Benchmark, network: str, target: str) -> bool:
    rows = benchmark.foreign
    return bool(rows.loc[(rows["model"] == network) & (rows["target"] == target), "in_domain"].any())


def _drops(
    benchmark: Benchmark, model: str, source: str | None, target: str, queries: pd.DataFrame
) -> dict[str, Estimate]:
    """What a model of a ``source``, or a network of other origin, loses on a target against its own data set (a source
    of several: the mean of theirs), by metric; nothing where it was not tested there.

    Raises:
        InputError: fewer than two identities in its own data set, or no seed tested both there and on the target.
    """
    rows = queries[queries["model"] == model]
    if source is None:
        home = [place for place in dict.fromkeys(rows["target"]) if _is_home(benchmark, model, place)]
    else:
        rows = rows[rows["source"] == source]
        home = [way.target for way in benchmark.main_directions if way.in_domain and way.source == source]
        if not set(home) <= set(rows["target"]):
            return {}
    gaps, _ = gap.gaps(rows[rows["target"].isin([*home, target])], lambda _, place: place in home)
    return {each.metric: turned(each.estimate) for each in gaps}


def _figure_row(level: gap.Level, foreign: bool, home: bool, drop: Estimate | None) -> dict[str, Any]:
    measured = level.estimate
    return {
        "model": level.model, "source": level.source, "target": level.target, "metric": level.metric,
        "foreign": foreign, "in_domain": home, "value": measured.value, "low": measured.low, "high": measured.high,
        "seeds": None if foreign else measured.seeds, "identities": measured.identities[0],
        "drop": drop.value if drop else math.nan, "drop_low": drop.low if drop else math.nan,
        "drop_high": drop.high if drop else math.nan,
    }  # fmt: skip


def network_comparisons(benchmark: Benchmark) -> tuple[pd.DataFrame, list[str]]:
    """Every network of other origin minus the first model, of each source on each target; what is left out."""
    first = benchmark.models[0]
    rows: list[dict[str, Any]] = []
    left_out: list[str] = []
    trained = benchmark.queries[benchmark.queries["model"] == first]
    for network, target in dict.fromkeys(zip(benchmark.foreign["model"], benchmark.foreign["target"], strict=True)):
        queries = benchmark.foreign_queries
        queries = queries[(queries["model"] == network) & (queries["target"] == target)]
        for source, tested in trained[trained["target"] == target].groupby("source", sort=False):
            # the network against each seed's: the same queries beside each
            repeated = [queries.assign(source=source, seed=seed) for seed in tested["seed"].unique()]
            try:
                comparisons = gap.compare_models(pd.concat([*repeated, tested]), benchmark.in_domain)
            except InputError as error:
                left_out.append(f"{network} minus {first}, {source} → {target}: {error}")
                continue
            rows += [_comparison_row(network, first, comparison) for comparison in comparisons]
    return pd.DataFrame(rows, columns=COMPARISONS), left_out


def _comparison_row(network: str, first: str, comparison: gap.Comparison) -> dict[str, Any]:
    paired = comparison.estimate
    return {
        "network": network, "model": first, "source": comparison.source, "target": comparison.target,
        "metric": comparison.metric, "in_domain": comparison.in_domain, "value": paired.value, "low": paired.low,
        "high": paired.high, "significant": paired.significant, "seeds": paired.seeds, "better": comparison.better,
        "worse": comparison.worse,
    }  # fmt: skip


def network_tables(benchmark: Benchmark, figures: pd.DataFrame, comparisons: pd.DataFrame) -> list[Table]:
    """A line a network and target beside the models' lines; and each network against the first model."""
    if not benchmark.networks:
        return []
    return [_figure_table(benchmark, figures), _comparison_table(benchmark, comparisons)]


def _figure_table(benchmark: Benchmark, figures: pd.DataFrame) -> Table:
    rows = []
    for key, tested in figures.groupby(["target", "model", "source", "foreign"], sort=False):
        target, model, source, foreign = key
        by_metric = {row.metric: row for row in lines(tested)}
        mAP, rank1 = by_metric["mAP"], by_metric["rank1"]
        rows.append(
            (
                str(model) if foreign else benchmark.shown(str(model)),
                str(source),
                f"{target} (in-domain)" if mAP.in_domain else str(target),
                "none" if foreign else str(int(mAP.seeds)),
                f"{percent(mAP.value)} [{percent(mAP.low)}, {percent(mAP.high)}]",
                f"{percent(rank1.value)} [{percent(rank1.low)}, {percent(rank1.high)}]",
                "" if math.isnan(mAP.drop) else f"{points(mAP.drop)} {interval(mAP.drop_low, mAP.drop_high)}",
            )
        )
    header = ("network", "trained on", "tested on", "seeds", "mAP, %", "rank-1, %", "drop in mAP, points")
    note = (
        "In brackets 95 % intervals: of networks of other origin, which have no seeds, over identities; of the grid's "
        "models over identities and, where they are means over several seeds, over those. Drops are against the "
        "same network's own data set, where that is among the targets; what networks of other origin were trained on "
        f"was not compared with the targets. Rows of {RESULTS}."
    )
    note = with_marks(note, [row[0] for row in rows])
    return Table("networks", "Networks of other origin beside the models", NETWORKS, header, tuple(rows), 3, note=note)


def _comparison_table(benchmark: Benchmark, comparisons: pd.DataFrame) -> Table:
    rows = tuple(
        (
            f"{row.network} minus {benchmark.shown(row.model)}",
            label(Direction(row.source, row.target, row.in_domain)),
            METRICS[row.metric],
            *estimate(row),
            percent(row.better),
            percent(row.worse),
        )
        for row in lines(comparisons)
    )
    header = ("networks", f"{benchmark.models[0]} trained on → both tested on", "metric", *ESTIMATE,
              "queries better, %", "queries worse, %")  # fmt: skip
    note = (
        "Paired over the same queries, against the mean over the model's seeds; the spread of several is in the "
        "interval. Above zero the network of other origin is better."
    )
    note = with_marks(note, [row[0] for row in rows])
    title = f"Networks of other origin against {benchmark.models[0]}"
    return Table("network-pairs", title, NETWORK_COMPARISONS, header, rows, words=3, note=note)


def network_picture(figures: pd.DataFrame) -> Picture | None:
    """mAP with its interval: a panel a target, a line a network or a model of a source."""
    rows = figures[figures["metric"] == "mAP"]
    if rows.empty:
        return None
    groups = list(rows.groupby("target", sort=False))
    across = min(len(groups), ACROSS)
    down = math.ceil(len(groups) / across)
    longest = max(len(shown) for _, shown in groups)
    figure = Figure(figsize=(1.0 + 3.0 * across, down * (0.9 + 0.24 * longest)), layout="constrained")
    panels = figure.subplots(down, across, sharex=True, squeeze=False)
    for place, panel in enumerate(panels.flat):
        if place >= len(groups):
            panel.set_visible(False)
            continue
        target, shown = groups[place]
        names = []
        for y, row in enumerate(lines(shown)):
            color, marker = (COLORS[1], "s") if row.foreign else (COLORS[0], "o")
            panel.plot([100 * row.low, 100 * row.high], [y, y], color=color, lw=1.6)
            panel.plot(100 * row.value, y, color=color, marker=marker, ms=5, ls="none")
            names.append(row.model if row.foreign else f"{row.model} ({row.source})")
        panel.set_yticks(range(len(names)), names, fontsize=8)
        panel.invert_yaxis()
        panel.set_title(str(target), fontsize=9)
        panel.tick_params(labelbottom=True)
        panel.grid(axis="x", color="#dddddd", lw=0.6)
        panel.spines[["top", "right"]].set_visible(False)
    figure.supxlabel("mAP, %, with 95 % interval", fontsize=9)
    caption = (
        "mAP of networks of other origin (squares) and of the grid's models (circles; in brackets what they were "
        "trained on), with 95 % intervals."
    )
    return Picture("networks", png(figure), caption, f"{caption} The table holds the figures.")
