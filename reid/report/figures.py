"""Pictures of figures for the report's page. Every one is a PNG with what it says in words (the alternative text)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.textpath import TextPath

from reid.drawing import Picture, Style, png, styles
from reid.report.inputs import Benchmark, Direction
from reid.report.measured import drops, label, means

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
        image = None
        for place, panel in enumerate(panels):
            if place >= len(benchmark.models):
                panel.set_visible(False)
                continue
            model = benchmark.models[place]
            grid = np.array([[values.get((model, s, t), math.nan) for t in targets] for s in sources])
            image = _heat_map(panel, grid, scale, signed=half == 1)
            panel.set_title(f"{model}: {name}", fontsize=10)
            panel.set_xticks(range(len(targets)), targets, rotation=30, ha="right", fontsize=8)
            panel.set_yticks(range(len(sources)), sources, fontsize=8)
        if image is not None:
            bar = figure.colorbar(image, ax=panels, shrink=0.9)
            bar.ax.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f}")
    figure.supxlabel("tested on", fontsize=9)
    figure.supylabel("trained on", fontsize=9)
    caption = (
        "mAP (above) and its drop against the same model's in-domain mAP (below); means over seeds, one scale each."
    )
    alt = f"Heat maps of mAP and drop, sources {', '.join(sources)} by targets {', '.join(targets)}, one a model."
    return Picture("heat_maps", png(figure), caption, f"{alt} The headline table holds the figures.")


def _heat_map(axes: Axes, grid: np.ndarray, scale: dict, signed: bool):  # type: ignore[no-untyped-def]
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
    panels = figure.subplots(down, across, sharex=True, sharey=True, squeeze=False)
    look = styles(benchmark.models)
    for place, panel in enumerate(panels.flat):
        if place < len(directions):
            _cmc_panel(panel, benchmark, directions[place], look)
        else:
            panel.set_visible(False)
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
    axes.set_title(label(direction).replace(" (", "\n("), fontsize=9)
    axes.set_xticks([1, 5, 10, 15, 20])
    axes.tick_params(labelbottom=True)  # a shared axis labels the last row alone, which may be short
    axes.set_ylim(0, 101)
    axes.grid(color="#dddddd", lw=0.6)
    axes.spines[["top", "right"]].set_visible(False)
