"""How do figures look as plots? Each is a PNG with what it says in words, its caption and alternative text."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.textpath import TextPath

from reid.drawing import COLORS, Picture, Style, png, styles
from reid.evaluation.readiness import Readiness
from reid.report.benchmark import Benchmark, Direction, lines
from reid.report.statistics import drops, means

RANKS, ACROSS = 20, 3  # ranks of the CMC curves, panels in a row


def legend_above(figure: Figure, handles: Sequence[Line2D | Patch], size: int = 9) -> None:
    """A legend above all panels, in as many columns as the figure is wide enough for, up to four. A figure that is too
    narrow for the longest name is widened, and each row adds to its height."""
    font, longest = FontProperties(size=size), 0.0
    for handle in handles:
        plain = str(handle.get_label()).replace("$", "S")  # names are no formulas
        longest = max(longest, TextPath((0, 0), plain, prop=font).get_extents().width)
    entry = (1.05 * longest + 5 * size) / 72  # inches: hinting widens letters; beside the name the line, and space
    width, height = figure.get_size_inches()
    width = max(width, entry)
    columns = max(1, min(4, len(handles), int(width / entry)))
    rows = math.ceil(len(handles) / columns)
    figure.set_size_inches(width, height + (rows - 1) * 1.5 * size / 72)
    figure.legend(handles=handles, loc="outside upper center", ncols=columns, fontsize=size, frameon=False)


def _panels(figure: Figure, count: int, across: int, sharey: bool = False) -> list[Axes]:
    """So many panels in rows of ``across``; the rest of the last row stays empty."""
    down = math.ceil(count / across)
    panels = list(figure.subplots(down, across, sharex=True, sharey=sharey, squeeze=False).flat)
    for panel in panels[count:]:
        panel.set_visible(False)
    return panels[:count]


def _grid(axes: Axes, axis: Literal["both", "x", "y"] = "both", bare: Sequence[str] = ("top", "right")) -> None:
    """Faint lines across, and no frame on the ``bare`` sides."""
    axes.grid(axis=axis, color="#dddddd", lw=0.6)
    axes.spines[list(bare)].set_visible(False)


def heat_maps(benchmark: Benchmark) -> Picture:
    """Sources as rows, targets as columns, a panel a model: mAP above, drop below, each on one scale."""
    sources = list(dict.fromkeys(benchmark.results["source"]))
    targets = list(dict.fromkeys(benchmark.results["target"]))
    mAP, drop = means(benchmark.results), drops(benchmark.results)
    across = min(len(benchmark.models), ACROSS)
    down = math.ceil(len(benchmark.models) / across)
    size = (1.6 + across * (0.9 + 0.85 * len(targets)), 2 * down * (1.1 + 0.5 * len(sources)))
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(2 * down, across, squeeze=False)
    worst = max((abs(value) for value in drop.values() if not math.isnan(value)), default=0.01)
    for half, (values, name, scale) in enumerate(
        ((mAP, "mAP, %", {"vmin": 0, "vmax": 1, "cmap": "cividis"}),
         (drop, "drop, points", {"vmin": -worst, "vmax": worst, "cmap": "PuOr"}))
    ):  # fmt: skip
        panels = list(axes[half * down : (half + 1) * down].flat)
        for panel in panels[len(benchmark.models) :]:
            panel.set_visible(False)
        for model, panel in zip(benchmark.models, panels, strict=False):
            grid = np.array([[values.get((model, s, t), math.nan) for t in targets] for s in sources])
            image = _heat_map(panel, grid, scale, signed=half == 1)
            panel.set_title(f"{model}: {name}", fontsize=10)
            panel.set_xticks(range(len(targets)), targets, rotation=30, ha="right", fontsize=8)
            panel.set_yticks(range(len(sources)), sources, fontsize=8)
        bar = figure.colorbar(image, ax=panels, shrink=0.9)
        bar.ax.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f}")
    figure.supxlabel("tested on", fontsize=9)
    figure.supylabel("trained on", fontsize=9)
    caption = (
        "mAP (above) and its drop against the same model's in-domain mAP (below); means over seeds, one scale each."
    )
    alt = f"Heat maps of mAP and drop, sources {', '.join(sources)} by targets {', '.join(targets)}, one a model."
    return Picture("heat_maps", png(figure), caption, f"{alt} The headline table holds the figures.")


def _heat_map(axes: Axes, grid: np.ndarray, scale: dict[str, Any], signed: bool) -> Any:
    """Draw the cells of a (sources, targets) grid; returns the image, for the colour bar."""
    image = axes.imshow(np.ma.masked_invalid(grid), aspect="auto", **scale)
    axes.set_facecolor("#eeeeee")
    for (row, column), value in np.ndenumerate(grid):
        if math.isnan(value):
            text, color = "-", "#555555"
        else:
            text = f"{100 * value:+.1f}" if signed else f"{100 * value:.1f}"
            red, green, blue, _ = image.cmap(image.norm(value))
            color = "black" if 0.299 * red + 0.587 * green + 0.114 * blue > 0.5 else "white"
        axes.text(column, row, text, ha="center", va="center", color=color, fontsize=9)
    return image


def cmc_curves(benchmark: Benchmark) -> Picture:
    """Share of queries with a match within rank 1 to 20, mean over seeds; a panel a direction, in-domain first."""
    directions = benchmark.main_directions
    across = 2 if len(directions) == 4 else min(len(directions), ACROSS)
    down = math.ceil(len(directions) / across)
    figure = Figure(figsize=(0.6 + 2.9 * across, 0.7 + 2.3 * down), layout="constrained")
    look = styles(benchmark.models)
    panels = _panels(figure, len(directions), across, sharey=True)
    for panel, direction in zip(panels, directions, strict=True):
        _cmc_panel(panel, benchmark, direction, look)
    handles = [
        Line2D([], [], color=s.color, ls=s.dash, marker=s.marker, ms=4, label=model) for model, s in look.items()
    ]
    legend_above(figure, handles)
    figure.supxlabel("rank", fontsize=9)
    figure.supylabel("queries with a match within the rank, %", fontsize=9)
    caption = f"CMC, ranks 1 to {RANKS}, mean over seeds; in-domain first."
    alt = f"CMC curves of {', '.join(benchmark.models)} in {len(directions)} directions. Rank-1, 5 and 10 are tabled."
    return Picture("cmc", png(figure), caption, alt)


def cmc(first_ranks: pd.DataFrame) -> np.ndarray:
    """(RANKS,) share of queries with ``first_rank`` within 1..RANKS, the mean of each seed's."""
    ranks = np.arange(1, RANKS + 1)
    curves = [(rows["first_rank"].to_numpy()[:, None] <= ranks).mean(axis=0) for _, rows in first_ranks.groupby("seed")]
    return np.mean(curves, axis=0)


def _cmc_panel(axes: Axes, benchmark: Benchmark, direction: Direction, look: dict[str, Style]) -> None:
    queries = benchmark.queries
    here = queries[(queries["source"] == direction.source) & (queries["target"] == direction.target)]
    for model, style in look.items():
        rows = here[here["model"] == model]
        if len(rows):
            axes.plot(range(1, RANKS + 1), 100 * cmc(rows), color=style.color, ls=style.dash, marker=style.marker,
                      ms=4, markevery=[0, 4, 9, 19])  # fmt: skip
    axes.set_title(direction.label.replace(" (", "\n("), fontsize=9)
    axes.set_xticks([1, 5, 10, 15, 20])
    axes.tick_params(labelbottom=True)  # a shared axis labels the last row alone, which may be short
    axes.set_ylim(0, 101)
    _grid(axes)


def forest(comparisons: pd.DataFrame, models: Sequence[str], metric: str = "mAP") -> Picture | None:
    """Paired differences with their intervals: in-domain and cross-domain panels, pair by pair."""
    rows = comparisons[comparisons["metric"] == metric]
    if rows.empty:
        return None
    groups = [(name, rows[rows["in_domain"] == flag]) for name, flag in (("in-domain", True), ("cross-domain", False))]
    groups = [(name, differences) for name, differences in groups if len(differences)]
    heights = [len(differences) + differences.groupby(["model_a", "model_b"]).ngroups for _, differences in groups]
    figure = Figure(figsize=(7.5, 1.0 + 0.5 * len(groups) + 0.26 * sum(heights)), layout="constrained")
    panels = figure.subplots(len(groups), 1, sharex=True, squeeze=False, gridspec_kw={"height_ratios": heights})[:, 0]
    look = styles(models)
    for panel, (name, differences) in zip(panels, groups, strict=True):
        _forest(panel, differences, look)
        panel.set_title(name, loc="left", fontsize=10, fontweight="bold")
    panels[-1].set_xlabel(f"difference in {metric}, percentage points, with 95 % interval", fontsize=9)
    figure.legend(handles=_ahead(rows, look), loc="outside lower center", ncols=3, fontsize=8, frameon=False)
    open_ = int((~rows["significant"].astype(bool)).sum())
    caption = (
        f"Paired differences in {metric}; right of zero the model named first is better. Filled: significant; hollow: "
        f"not significant ({open_} of {len(rows)})."
    )
    return Picture(
        "forest", png(figure), caption, f"Forest plot of {len(rows)} paired differences in {metric}. {caption}"
    )


def _forest(axes: Axes, rows: pd.DataFrame, look: dict[str, Style]) -> None:
    y, ticks, names = 0, [], []
    for (later, earlier), differences in rows.groupby(["model_a", "model_b"], sort=False):
        axes.text(0, y, f"  {later} minus {earlier}", fontsize=8, fontweight="bold", va="center",
                  transform=axes.get_yaxis_transform())  # fmt: skip
        ticks.append(y)
        names.append("")
        for row in lines(differences):
            y += 1
            style = look[str(later if row.value > 0 else earlier)]
            axes.plot([100 * row.low, 100 * row.high], [y, y], color=style.color, lw=1.6)
            fill = style.color if row.significant else "white"
            axes.plot(100 * row.value, y, marker=style.marker, color=style.color, mfc=fill, ms=6.5, ls="none")
            ticks.append(y)
            names.append(f"{row.source} → {row.target}")
        y += 1
    axes.axvline(0, color="#444444", lw=1)
    axes.set_yticks(ticks, names, fontsize=8)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(y - 0.4, -0.7)
    axes.set_axisbelow(True)
    _grid(axes, "x", ("top", "right", "left"))


def _ahead(rows: pd.DataFrame, look: dict[str, Style]) -> list[Line2D]:
    shown = {row.model_a if row.value > 0 else row.model_b for row in lines(rows)}
    handles = [
        Line2D([], [], color=style.color, marker=style.marker, label=f"{model} ahead")
        for model, style in look.items()
        if model in shown
    ]
    return [*handles, Line2D([], [], color="#444444", marker="o", mfc="white", ls="none", label="not significant")]


def divergence(frame: pd.DataFrame, models: Sequence[str]) -> Picture | None:
    """Divergence a stage on a log scale: between domains, and between identities beside it.

    ``frame``: a benchmark's divergence.csv; ``models`` in the order of their colours, others follow.
    """
    kinds = [(by, name) for by, name in (("domain", "between domains"), ("identity", "between identities"))]
    kinds = [(by, name) for by, name in kinds if (frame["by"] == by).any()] if len(frame) else []
    if not kinds:
        return None
    look = styles([*models, *(m for m in dict.fromkeys(frame["model"]) if m not in models)])
    figure = Figure(figsize=(0.8 + 3.7 * len(kinds), 4.0), layout="constrained")
    panels = figure.subplots(1, len(kinds), sharey=True, squeeze=False)[0]
    for panel, (by, name) in zip(panels, kinds, strict=True):
        _divergence_panel(panel, frame[(frame["by"] == by) & (frame["mean"] > 0)], look)
        panel.set_title(name, fontsize=10)
    panels[0].set_ylabel("symmetric KL, mean over channels, nats", fontsize=9)
    handles = [
        Line2D([], [], color=look[model].color, ls=look[model].dash, marker=look[model].marker, ms=6, label=model)
        for model in look
        if (frame["model"] == model).any()
    ]
    handles.append(Line2D([], [], color="#444444", marker="o", mfc="white", ls="none", ms=9, label="instance norm"))
    legend_above(figure, handles)
    floors = sorted(set(frame["floor"])) if "floor" in frame else []
    caption = (
        "Feature divergence after each of the four stages (log scale): the line is the median over seeds and pairs of "
        "data sets, small dots are the single values. Hollow: the stage ends in instance norm, where divergence is "
        f"near zero by construction. Variances are floored{f' at {floors[0]}' if len(floors) == 1 else ''}."
    )
    caption += _ratios(frame, list(look))
    zeros = int((frame["mean"] <= 0).sum())
    caption += f" {zeros} values of zero cannot be drawn on a log scale." if zeros else ""
    return Picture("divergence", png(figure), caption, f"Divergence by stage, {', '.join(name for _, name in kinds)}.")


def _ratios(frame: pd.DataFrame, models: Sequence[str]) -> str:
    """How many times larger divergence between domains is than between identities, at the first and last stage."""
    medians = frame.groupby(["model", "by", "stage"])["mean"].median()
    texts = []
    for model in models:
        keys = [(model, by, stage) for stage in (1, 4) for by in ("domain", "identity")]
        if all(key in medians.index and medians[key] > 0 for key in keys):
            first, last = medians[keys[0]] / medians[keys[1]], medians[keys[2]] / medians[keys[3]]
            texts.append(f"{model} {first:.2g} times after stage 1, {last:.2g} times after stage 4")
    return f" Between domains it is, compared with identities: {'; '.join(texts)}." if texts else ""


def _divergence_panel(axes: Axes, frame: pd.DataFrame, look: dict[str, Style]) -> None:
    axes.set_yscale("log")
    present = [model for model in look if (frame["model"] == model).any()]
    for place, model in enumerate(present):
        rows, style = frame[frame["model"] == model], look[model]
        shift = 0.07 * (place - (len(present) - 1) / 2)
        axes.plot(rows["stage"] + shift, rows["mean"], ls="none", marker=".", ms=3, color=style.color, alpha=0.45)
        medians = rows.groupby("stage")["mean"].median()
        axes.plot(medians.index + shift, medians, color=style.color, ls=style.dash, lw=1.5)
        for stage in (1, 2, 3, 4):
            here = rows[rows["stage"] == stage]
            fill = "white" if here["instance_norm"].all() else style.color
            axes.plot(
                stage + shift, here["mean"].median(), marker=style.marker, ms=7, color=style.color, mfc=fill, ls="none"
            )
    axes.set_xticks([1, 2, 3, 4])
    axes.set_xlabel("stage", fontsize=9)
    _grid(axes)


def readiness(standing: Readiness, title: str) -> Picture:
    """Known data sets as points, divergence against drop in mAP; the new site, whose drop is not known, as a line."""
    known = [place for place in standing.places if place.drop is not None]
    (site,) = (place for place in standing.places if place.drop is None)
    figure = Figure(figsize=(6.4, 3.6), layout="constrained")
    axes = figure.add_subplot()
    axes.set_xscale("log")
    axes.axhline(0, color="#888888", lw=0.8)
    axes.scatter([place.figure for place in known], [place.drop or 0.0 for place in known], color="#0072b2", zorder=3)
    for place in known:
        axes.annotate(place.label, (place.figure, place.drop or 0.0), (6, 4), textcoords="offset points", fontsize=9)
    axes.axvline(site.figure, color="#d55e00", ls="--")
    axes.annotate(
        f"{site.label}: drop not known", (site.figure, 0.5), (-4, 0), xycoords=("data", "axes fraction"),
        textcoords="offset points", rotation=90, fontsize=9, color="#a04000", ha="right", va="center",
    )  # fmt: skip
    axes.margins(0.12)
    axes.set_xlabel("divergence from the source's test images (log scale)", fontsize=9)
    axes.set_ylabel("drop in mAP, points", fontsize=9)
    axes.set_title(title, fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    return Picture("readiness", png(figure), f"{standing.verdict} {standing.caveat}", standing.verdict)


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
    for panel, (target, shown) in zip(_panels(figure, len(groups), across), groups, strict=True):
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
        _grid(panel, "x")
    figure.supxlabel("mAP, %, with 95 % interval", fontsize=9)
    caption = (
        "mAP of networks of other origin (squares) and of the grid's models (circles; in brackets what they were "
        "trained on), with 95 % intervals."
    )
    return Picture("networks", png(figure), caption, f"{caption} The table holds the figures.")
