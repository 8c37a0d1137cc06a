"""Pictures of figures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from reid.drawing import COLORS, png
from reid.evaluation.subject import NOT_KNOWN
from reid.files import write_atomically
from reid.report.figures import legend_above
from reid.report.inputs import MARK
from reid.report.table import Row

HATCH = "///"


def gap_plot(rows: Sequence[Row], path: Path) -> None:
    """Bars of mAP, with their intervals where the rows have them: a colour a target, hatched where it is in-domain."""
    runs = list(dict.fromkeys((row.model, row.source, row.seed) for row in rows))
    targets = list(dict.fromkeys(row.target for row in rows))
    colors = {target: COLORS[place % (len(COLORS) - 1)] for place, target in enumerate(targets)}  # black hides hatches
    height = 0.8 / len(targets)
    figure = Figure(figsize=(8, 1.3 + 0.22 * len(runs) * (len(targets) + 1)), layout="constrained")
    axes = figure.add_subplot()
    for row in rows:
        line, place = runs.index((row.model, row.source, row.seed)), targets.index(row.target)
        _bar(axes, row, line + (place - (len(targets) - 1) / 2) * height, height, colors[row.target])
    axes.set_yticks(range(len(runs)), [_name(rows, *run) for run in runs], fontsize=9)
    axes.invert_yaxis()
    axes.set_xlim(0, 100)
    seeds = list(dict.fromkeys(run[2] for run in runs))
    label = "mAP in %" if None in seeds else f"mAP in %, seed {', '.join(map(str, seeds))}"
    axes.set_xlabel(label + ", with 95 % intervals over identities" * any(row.mAP_low is not None for row in rows))
    axes.spines[["top", "right"]].set_visible(False)
    seen = {row.target for row in rows if row.in_domain or row.adapted or row.source == NOT_KNOWN}
    names = {target: f"on {target}" + ", never seen in training" * (target not in seen) for target in targets}
    patches = [Patch(color=colors[target], label=name) for target, name in names.items()]
    if any(row.in_domain for row in rows):
        label = "hatched: in-domain (the source's own test split)"
        patches.append(Patch(facecolor="#9aa5b1", edgecolor="white", hatch=HATCH, lw=0, label=label))
    legend_above(figure, patches)
    write_atomically(path, png(figure))


def _bar(axes: Axes, row: Row, y: float, height: float, color: str) -> None:
    value, end = 100 * row.mAP, 100 * row.mAP
    hatch = HATCH if row.in_domain else None
    axes.barh(y, value, height * 0.92, color=color, hatch=hatch, edgecolor="white", lw=0)
    if row.mAP_low is not None and row.mAP_high is not None:
        low, end = 100 * row.mAP_low, 100 * row.mAP_high
        axes.plot([low, end], [y, y], color="#222222", lw=1.2, solid_capstyle="butt")
    axes.annotate(f"{value:.1f}", (max(value, end), y), (3, 0), textcoords="offset points", va="center", fontsize=8)


def _name(rows: Sequence[Row], model: str, source: str, seed: int | None) -> str:
    if source == NOT_KNOWN:
        return model
    images = next((row.adapted for row in rows if (row.model, row.source, row.seed) == (model, source, seed)), "")
    return f"{model} {MARK}\n(trained on {source}, AdaBN {images})" if images else f"{model}\n(trained on {source})"
