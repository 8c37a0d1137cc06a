"""How do networks of any origin compare, for the commands? Rows of figures as text, in a file and as bars."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from reid.drawing import COLORS, png
from reid.errors import InputError
from reid.evaluation.comparison import MEASURES, Standing, figures, queries_of, standings
from reid.evaluation.gap import trained_on
from reid.evaluation.interval import Estimate
from reid.evaluation.subject import NOT_KNOWN
from reid.evaluation.targets import CHECKED, SUFFIX
from reid.files import write_atomically
from reid.report.benchmark import CROSS_CAMERA
from reid.report.formats import MARK, MISSING, interval, points
from reid.texts import align

if TYPE_CHECKING:
    from matplotlib.axes import Axes

log = logging.getLogger(__name__)

NAMES = {"mAP": "mAP", "rank1": "rank-1"}
METHOD = "In brackets 95 % intervals over the identities of the queries: they hold for these networks."
PAIRED = "Differences are paired, query by query."
DROP = "The drop is against the network's own figure on the test split of what it was trained on."
ANY_CAMERA = SUFFIX["any-camera"]  # behind the name of a target under the other protocol
HATCH = "///"


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


def with_intervals(rows: Sequence[Row], folder: Path) -> list[Row]:
    """The rows of a network's results with the intervals of mAP and rank-1, from the queries in its ``folder``. Where a
    target has too few people for one, a warning says so."""
    told = []
    for row in rows:
        try:
            queries = queries_of(folder, row.target, row.model, row.source, row.target)
            told.append(_with_intervals(row, figures(queries)))
        except InputError as error:
            log.warning(f"{row.target}: no interval: {error}")
            told.append(row)
    return told


def _with_intervals(row: Row, estimates: Mapping[str, Estimate]) -> Row:
    mAP, rank1 = estimates["mAP"], estimates["rank1"]
    return replace(row, mAP_low=mAP.low, mAP_high=mAP.high, rank1_low=rank1.low, rank1_high=rank1.high)


def compared(
    rows: Sequence[Row], queries: pd.DataFrame, home: pd.DataFrame | None
) -> tuple[str, pd.DataFrame, list[Row]]:
    """The tables of networks as text, a line a network and target with all figures, and the rows with intervals; a
    protocol's rows by themselves. ``queries`` and ``home`` as :func:`reid.evaluation.comparison.standings` takes
    them."""
    parts: list[str] = []
    frames: list[pd.DataFrame] = []
    every: list[Standing] = []
    bounded: list[Row] = []
    protocols = dict.fromkeys(row.protocol for row in rows)
    for protocol in sorted(protocols, key=lambda name: (name != CROSS_CAMERA, name)):  # the usual one first
        alike = [row for row in rows if row.protocol == protocol]
        told, left_out = standings(
            queries[queries["target"].isin({row.target for row in alike})],
            _at_home(alike),
            home[home["target"].str.endswith(ANY_CAMERA) == (protocol != CROSS_CAMERA)] if home is not None else None,
        )
        parts += [f"Protocol {protocol}:"] * (protocol != CROSS_CAMERA)
        parts += [standing_tables(told, alike), *(f"Left out: {text}" for text in left_out)]
        alike = [_bounded(row, told) for row in alike]
        frames.append(standing_frame(told, alike))
        every, bounded = every + told, bounded + alike
    return "\n\n".join([*parts, *_notes(rows, every)]), pd.concat(frames, ignore_index=True), bounded


def _bounded(row: Row, standings: Sequence[Standing]) -> Row:
    """The row with the intervals of its standings, where there are any."""
    tested = [each for each in standings if (each.model, each.target) == (row.model, row.target)]
    estimates = {each.measure: each.figure for each in tested if each.figure}
    return _with_intervals(row, estimates) if len(estimates) == len(MEASURES) else row


def _at_home(rows: Sequence[Row]) -> Callable[[str, str, str], bool]:
    """Whether a network is at home on a target: as the rows say, or by its name where it has no row."""
    told = {(row.model, row.target): row.in_domain for row in rows}
    return lambda model, source, target: told.get((model, target), trained_on(source, target.removesuffix(ANY_CAMERA)))


def standing_tables(standings: Sequence[Standing], rows: Sequence[Row]) -> str:
    """A table a measure: a line a network and target, target by target. ``rows`` tell the figures (of random splits
    the mean over splits) and what was left unsaid of each test."""
    measured = {(row.model, row.target): row for row in rows}
    first = rows[0].model
    lead, drop = (_has(standings, name) for name in ("lead", "drop"))
    parts = []
    for measure in MEASURES:
        head = ["network", "trained on", "tested on", f"{NAMES[measure]}, %"]
        lines = [[*head, *[f"minus {first}, points"] * lead, *["drop, points"] * drop]]
        for standing in (standing for standing in standings if standing.measure == measure):
            row = measured[standing.model, standing.target]
            bounds = (standing.figure.low, standing.figure.high) if standing.figure else (None, None)
            shown = with_interval(getattr(row, measure), *bounds)
            where = standing.target + (" (in-domain)" if standing.in_domain else "")
            source = MISSING if standing.source == NOT_KNOWN else standing.source
            differences = [_difference(standing.lead)] * lead + [_difference(standing.drop)] * drop
            network = f"{standing.model} {MARK}" if row.adapted else standing.model
            lines.append([network, source, where, shown, *differences])
        parts.append(align(lines))
    return "\n\n".join(parts)


def _difference(difference: Estimate | None) -> str:
    return MISSING if difference is None else f"{points(difference.value)} {interval(difference.low, difference.high)}"


def _has(standings: Sequence[Standing], name: str) -> bool:
    """Whether the tables have the column of the difference ``name``."""
    return any(getattr(standing, name) for standing in standings)


def _notes(rows: Sequence[Row], standings: Sequence[Standing]) -> Iterable[str]:
    lead, drop = (_has(standings, name) for name in ("lead", "drop"))
    yield " ".join([METHOD, *[PAIRED] * (lead or drop), *[DROP] * drop])
    for model, source, images in dict.fromkeys((row.model, row.source, row.adapted) for row in rows if row.adapted):
        seen = f"{MARK} {model} has seen unlabelled images of {images}: statistics of batch norm from them (AdaBN)"
        yield f"{seen}." if trained_on(source, images) else f"{seen}; it is no longer at home on {source}: no drop."
    unchecked: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        if row.training_images != CHECKED:
            unchecked.setdefault((row.training_images, row.model), []).append(row.target)
    for reason in dict.fromkeys(reason for reason, _ in unchecked):
        cells = [f"{model} on {', '.join(targets)}" for (why, model), targets in unchecked.items() if why == reason]
        yield f"Whether a target holds images that were trained on: {reason}: {'; '.join(cells)}."


def standing_frame(standings: Sequence[Standing], rows: Sequence[Row]) -> pd.DataFrame:
    """A line a network and target: the row's fields, then the difference and the drop of each measure."""
    tested = {(standing.model, standing.target, standing.measure): standing for standing in standings}
    lines: list[dict[str, Any]] = []
    for row in rows:
        line: dict[str, Any] = dict(vars(row))
        for measure in MEASURES:
            standing = tested[row.model, row.target, measure]
            for name in ("lead", "drop"):
                difference: Estimate | None = getattr(standing, name)
                for field in ("value", "low", "high"):
                    column = f"{measure}_{name}" + ("" if field == "value" else f"_{field}")
                    line[column] = getattr(difference, field) if difference else None
        lines.append(line)
    return pd.DataFrame(lines).astype({"seed": "Int64"})


def gap_plot(rows: Sequence[Row], path: Path) -> None:
    """Bars of mAP, with their intervals where the rows have them: a colour a target, hatched where it is in-domain."""
    from matplotlib.figure import Figure  # where tables alone are asked for it is not loaded
    from matplotlib.patches import Patch

    from reid.report.plots import legend_above

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
