"""Pictures of figures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib.figure import Figure

from reid.evaluation.subject import NOT_KNOWN
from reid.files import write_atomically
from reid.report.figures import png
from reid.report.table import Row

IN_DOMAIN, CROSS_DOMAIN = "#9aa5b1", ("#d1495b", "#edae49", "#00798c", "#6a4c93")


def gap_plot(rows: Sequence[Row], path: Path) -> None:
    """Bars of mAP: every model's in-domain targets in grey, the others in colour."""
    runs = list(dict.fromkeys((row.model, row.source, row.seed) for row in rows))
    targets = list(dict.fromkeys(row.target for row in rows))
    height = 0.8 / len(targets)
    figure = Figure(figsize=(8, 1.3 + 0.22 * len(runs) * (len(targets) + 1)), layout="constrained")
    axes = figure.add_subplot()
    labelled: set[str] = set()
    abroad = {row.target: f"on {row.target}, never seen in training" for row in rows}
    abroad |= {row.target: f"on {row.target}" for row in rows if row.source == NOT_KNOWN or row.adapted}
    for line, run in enumerate(runs):
        for place, target in enumerate(targets):
            tested = [row for row in rows if (row.model, row.source, row.seed) == run and row.target == target]
            if not tested:
                continue
            row = tested[0]
            label = "in-domain (the source's own test split)" if row.in_domain else abroad[target]
            y = line + (place - (len(targets) - 1) / 2) * height
            axes.barh(
                y,
                100 * row.mAP,
                height * 0.92,
                color=IN_DOMAIN if row.in_domain else CROSS_DOMAIN[place % len(CROSS_DOMAIN)],
                label=None if label in labelled else label,
            )
            axes.annotate(
                f"{100 * row.mAP:.1f}",
                (100 * row.mAP, y),
                (3, 0),
                textcoords="offset points",
                va="center",
                fontsize=8,
            )
            labelled.add(label)
    adapted = {row.model: f", AdaBN {row.adapted}" for row in rows if row.adapted}
    names = [
        model if source == NOT_KNOWN else f"{model}\n(trained on {source}{adapted.get(model, '')})"
        for model, source, _ in runs
    ]
    axes.set_yticks(range(len(runs)), names, fontsize=9)
    axes.invert_yaxis()
    axes.set_xlim(0, 100)
    seeds = list(dict.fromkeys(run[2] for run in runs))
    axes.set_xlabel("mAP in %" if None in seeds else f"mAP in %, seed {', '.join(map(str, seeds))}")
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside upper center", ncols=2, fontsize=9, frameon=False)
    write_atomically(path, png(figure))
