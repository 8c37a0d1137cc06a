"""Feature divergence, stage by stage."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from reid.drawing import Picture, Style, png, styles
from reid.evaluation.readiness import Readiness
from reid.report.figures import legend_above


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
    axes.grid(color="#dddddd", lw=0.6)
    axes.spines[["top", "right"]].set_visible(False)


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
