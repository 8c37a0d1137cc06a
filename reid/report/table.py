"""Tables of figures: plain text for a terminal and a README."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from reid.texts import align

CHECKED = "checked"  # as reid/evaluation/targets.py has it; imported from there it would load torch for every table
CROSS_CAMERA = "cross-camera"  # as reid/retrieval/features.py has it
ANY_CAMERA = (
    " (any camera)"  # behind the name of a target under the other protocol, as reid/evaluation/targets.py has it
)


@dataclass(frozen=True)
class Row:
    """One model on one target. Figures are fractions."""

    model: str
    source: str
    target: str
    seed: int | None  # None: of a network that this project did not train
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
    protocol: str = CROSS_CAMERA  # what is left out for a query; figures of two are not to be compared
    mAP_low: float | None = None  # of the 95 % interval; None where none can be computed
    mAP_high: float | None = None
    rank1_low: float | None = None
    rank1_high: float | None = None
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
            test["mAP"],
            test["cmc"][0],
            test["cmc"][4],
            test["mINP"],
            test["num_valid_queries"],
            test["num_gallery"],
            is_home(run, target),
            test.get("training_images", CHECKED),  # results written before say nothing: those were compared
            run.get("training_device", ""),
            run.get("training_precision", ""),
            test.get("device", ""),
            test.get("precision", ""),
            test.get("protocol", CROSS_CAMERA),
            adapted=(run.get("adapted") or {}).get("data", ""),
        )
        for target, test in results["targets"].items()
    ]


def is_home(run: dict[str, Any], target: str) -> bool:
    """Whether a target is the test split of a source of the run that results describe. One that was adapted to another
    site is at home on none of its sources: it left them."""
    label = target.removesuffix(ANY_CAMERA)
    return label in run["sources"] and (run.get("adapted") or {}).get("data", label) == label


def by_protocol(rows: Sequence[Row], table: Callable[[Sequence[Row]], str]) -> str:
    """``table`` of the rows of each protocol by themselves, each under its protocol's name where it is not the usual
    one."""
    tables = []
    for protocol in dict.fromkeys(row.protocol for row in rows):
        title = "" if protocol == CROSS_CAMERA else f"Protocol {protocol}:\n\n"
        tables.append(title + table([row for row in rows if row.protocol == protocol]))
    return "\n\n".join(tables)


def target_table(rows: Sequence[Row]) -> str:
    """All figures of one network, a line a target; a table a protocol."""
    return by_protocol(rows, _target_table)


def _target_table(rows: Sequence[Row]) -> str:
    lines = [["target", "mAP", "rank-1", "rank-5", "mINP", "queries", "gallery"]]
    for row in rows:
        lines.append(
            [
                row.target + _adapted(row) + (" (in-domain)" if row.in_domain else "") + _unchecked(row),
                with_interval(row.mAP, row.mAP_low, row.mAP_high),
                with_interval(row.rank1, row.rank1_low, row.rank1_high),
                *(f"{100 * value:.1f}" for value in (row.rank5, row.mINP)),
                str(row.queries),
                str(row.gallery),
            ]
        )
    return align(lines)


def with_interval(value: float, low: float | None, high: float | None) -> str:
    """A figure in %, and behind it its interval where there is one."""
    figure = f"{100 * value:.1f}"
    return figure if low is None or high is None else f"{figure} [{100 * low:.1f}, {100 * high:.1f}]"


def gap_table(rows: Sequence[Row]) -> str:
    """Models as lines, targets as columns: mAP, and behind it the drop against the same network's in-domain mAP.

    Of a source of several data sets the in-domain mAP is the plain mean of their test splits'. A table a protocol.
    """
    return by_protocol(rows, _gap_table)


def _gap_table(rows: Sequence[Row]) -> str:
    targets = list(dict.fromkeys(row.target for row in rows))
    notes = {row.target: _unchecked(row) for row in sorted(rows, key=lambda row: row.training_images != CHECKED)}
    lines = [["mAP in % (drop)", "trained on", "seed", *(target + notes[target] for target in targets)]]
    for model, source, seed in dict.fromkeys((row.model, row.source, row.seed) for row in rows):
        tested = {row.target: row for row in rows if (row.model, row.source, row.seed) == (model, source, seed)}
        home = [row.mAP for row in tested.values() if row.in_domain]
        cells = []
        for target in targets:
            if target not in tested:
                cells.append("-")
            elif tested[target].in_domain or not home:
                cells.append(f"{100 * tested[target].mAP:.1f}")
            else:
                drop = tested[target].mAP - sum(home) / len(home)
                cells.append(f"{100 * tested[target].mAP:.1f} ({100 * drop:+.1f})")
        lines.append([model, source, "-" if seed is None else str(seed), *cells])
    return align(lines)


def _adapted(row: Row) -> str:
    """As ``evaluate --adabn`` names what it has adapted."""
    return f" (AdaBN {row.adapted})" if row.adapted else ""


def _unchecked(row: Row) -> str:
    return "" if row.training_images == CHECKED else " (not checked for training images)"
