"""Pictures of figures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib.figure import Figure

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
    for line, run in enumerate(runs):
        for place, target in enumerate(targets):
            found = [row for row in rows if (row.model, row.source, row.seed) == run and row.target == target]
            if not found:
                continue
            own = found[0].in_domain
            label = "in-domain (the source's own test split)" if own else f"on {target}, never seen in training"
            y = line + (place - (len(targets) - 1) / 2) * height
            axes.barh(
                y,
                100 * found[0].mAP,
                height * 0.92,
                color=IN_DOMAIN if own else CROSS_DOMAIN[place % len(CROSS_DOMAIN)],
                label=None if label in labelled else label,
            )
            axes.annotate(
                f"{100 * found[0].mAP:.1f}",
                (100 * found[0].mAP, y),
                (3, 0),
                textcoords="offset points",
                va="center",
                fontsize=8,
            )
            labelled.add(label)
    axes.set_yticks(range(len(runs)), [f"{model}\n(trained on {source})" for model, source, _ in runs], fontsize=9)
    axes.invert_yaxis()
    axes.set_xlim(0, 100)
    axes.set_xlabel(f"mAP in %, seed {', '.join(str(seed) for seed in dict.fromkeys(run[2] for run in runs))}")
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside upper center", ncols=2, fontsize=9, frameon=False)
    write_atomically(path, png(figure))
