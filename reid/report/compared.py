"""Networks of any origin side by side, as text: one table a measure, and a file of all figures."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from reid.errors import InputError
from reid.evaluation.comparison import MEASURES, Standing, figures, queries_of, standings
from reid.evaluation.gap import trained_on
from reid.evaluation.interval import Estimate
from reid.evaluation.subject import NOT_KNOWN
from reid.report.inputs import MARK
from reid.report.table import ANY_CAMERA, CHECKED, CROSS_CAMERA, Row, with_interval
from reid.report.tables import MISSING, interval, points
from reid.texts import align

log = logging.getLogger(__name__)

NAMES = {"mAP": "mAP", "rank1": "rank-1"}
METHOD = "In brackets 95 % intervals over the identities of the queries: they hold for these networks."
PAIRED = "Differences are paired, query by query."
DROP = "The drop is against the network's own figure on the test split of what it was trained on."


def with_intervals(rows: Sequence[Row], folder: Path) -> list[Row]:
    """The rows of a network's results with the intervals of mAP and rank-1, from the queries in its ``folder``. Where a
    target has too few people for one, a warning says so."""
    told = []
    for row in rows:
        try:
            estimates = figures(queries_of(folder, row.target, row.model, row.source, row.target))
        except InputError as error:
            log.warning(f"{row.target}: no interval: {error}")
            told.append(row)
            continue
        told.append(_with_intervals(row, estimates))
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
    for protocol in protocols(rows):
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


def protocols(rows: Sequence[Row]) -> list[str]:
    """The protocols that rows were measured by, the usual one first."""
    return sorted({row.protocol for row in rows}, key=lambda protocol: (protocol != CROSS_CAMERA, protocol))
