"""Tables of figures: plain text for a terminal and a README."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

CHECKED = "checked"  # as reid/evaluation/leakage.py has it; imported from there it would load torch for every table


@dataclass(frozen=True)
class Row:
    """One model on one target. Figures are fractions."""

    model: str
    source: str
    target: str
    seed: int
    mAP: float
    rank1: float
    rank5: float
    mINP: float
    queries: int
    gallery: int
    in_domain: bool
    training_images: str = CHECKED  # else why the target was not compared with the images trained on
    train_device: str = ""  # of older results, which do not tell
    train_precision: str = ""
    device: str = ""
    precision: str = ""
    adapted: str = ""  # the images from which the network's batch-norm statistics are, where not those of training


def rows_of(results: dict[str, Any]) -> list[Row]:
    """One row a target of a run's results."""
    run = results["run"]
    return [
        Row(
            run["model"],
            run["source"],
            target,
            run["seed"],
            own["mAP"],
            own["cmc"][0],
            own["cmc"][4],
            own["mINP"],
            own["num_valid_queries"],
            own["num_gallery"],
            target in run["sources"],
            own.get("training_images", CHECKED),  # results written before say nothing: those were compared
            run.get("training_device", ""),
            run.get("training_precision", ""),
            own.get("device", ""),
            own.get("precision", ""),
            (run.get("adapted") or {}).get("data", ""),
        )
        for target, own in results["targets"].items()
    ]


def target_table(rows: Sequence[Row]) -> str:
    """All figures of one run, a line a target."""
    lines = [["target", "mAP", "rank-1", "rank-5", "mINP", "queries", "gallery"]]
    for row in rows:
        lines.append(
            [
                row.target + _adapted(row) + (" (in-domain)" if row.in_domain else "") + _unchecked(row),
                *(f"{100 * value:.1f}" for value in (row.mAP, row.rank1, row.rank5, row.mINP)),
                str(row.queries),
                str(row.gallery),
            ]
        )
    return align(lines)


def gap_table(rows: Sequence[Row]) -> str:
    """Models as lines, targets as columns: mAP, and behind it the drop against the same network's in-domain mAP.

    Of a source of several data sets the in-domain mAP is the plain mean of their test splits'.
    """
    targets = list(dict.fromkeys(row.target for row in rows))
    notes = {row.target: _unchecked(row) for row in sorted(rows, key=lambda row: row.training_images != CHECKED)}
    lines = [["mAP in % (drop)", "trained on", "seed", *(target + notes[target] for target in targets)]]
    for model, source, seed in dict.fromkeys((row.model, row.source, row.seed) for row in rows):
        own = {row.target: row for row in rows if (row.model, row.source, row.seed) == (model, source, seed)}
        home = [row.mAP for row in own.values() if row.in_domain]
        cells = []
        for target in targets:
            if target not in own:
                cells.append("-")
            elif own[target].in_domain or not home:
                cells.append(f"{100 * own[target].mAP:.1f}")
            else:
                drop = own[target].mAP - sum(home) / len(home)
                cells.append(f"{100 * own[target].mAP:.1f} ({100 * drop:+.1f})")
        lines.append([model, source, str(seed), *cells])
    return align(lines)


def _adapted(row: Row) -> str:
    """As ``evaluate --adabn`` names what it has adapted."""
    return f" (AdaBN {row.adapted})" if row.adapted else ""


def _unchecked(row: Row) -> str:
    return "" if row.training_images == CHECKED else " (not checked for training images)"


def align(lines: Sequence[Sequence[str]]) -> str:
    """Columns of equal width as a Markdown table; the first is left-aligned, the others right-aligned."""
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]

    def render(line: Sequence[str]) -> str:
        padded = (cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True))
        return "| " + " | ".join([line[0].ljust(widths[0]), *padded]) + " |"

    rule = "| " + " | ".join(["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]) + " |"
    return "\n".join([render(lines[0]), rule, *map(render, lines[1:])])
