"""Forest plot: paired differences with their intervals."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from reid.drawing import Picture, Style, png, styles
from reid.report.inputs import lines


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
    axes.grid(axis="x", color="#dddddd", lw=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)


def _ahead(rows: pd.DataFrame, look: dict[str, Style]) -> list[Line2D]:
    shown = {row.model_a if row.value > 0 else row.model_b for row in lines(rows)}
    handles = [
        Line2D([], [], color=style.color, marker=style.marker, label=f"{model} ahead")
        for model, style in look.items()
        if model in shown
    ]
    return [*handles, Line2D([], [], color="#444444", marker="o", mfc="white", ls="none", label="not significant")]
