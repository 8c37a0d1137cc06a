"""Published figures beside ours. Rows flagged as of another kind stand apart and are never ranked against ours.

docs/published.md says where the rows and each flag come from.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from reid.errors import InputError
from reid.report.inputs import MARK, MARKED, Benchmark
from reid.report.measured import means
from reid.report.reading import RESULTS
from reid.report.tables import MISSING, Table

FILE = Path(__file__).with_name("published_results.csv")
FLAGS = {
    "pairwise matcher": "a network that compares two images, not one feature an image",
    "extra data": "trained on all images of the source, or on other sets too",
    "epoch chosen on the target": "of several epochs the one that is best on the target",
    "input size": "images of another size than 256 x 128",
    "Duke": "trained or tested on DukeMTMC-reID, which was withdrawn",
}
HEADER = ("method", "backbone", "trained on → tested on", "mAP, %", "rank-1, %", "mINP, %", "source", "note")


@dataclass(frozen=True)
class Published:
    """One row of published_results.csv; figures in %, None where the source gives none."""

    method: str
    backbone: str
    train: str
    test: str
    rank1: float | None
    mAP: float | None
    mINP: float | None
    flags: tuple[str, ...]
    source: str
    note: str


@dataclass(frozen=True)
class Comparison:
    """``matching``: on the same data as ours; if there is none, ``context`` alone, on other data."""

    matching: list[Table]
    context: list[Table]


def read_published(path: Path = FILE) -> list[Published]:
    """The rows of the checked-in table.

    Raises:
        InputError: a flag that is not known, a figure that is no number.
    """
    rows = []
    with path.open(encoding="utf-8", newline="") as file:
        for line, row in enumerate(csv.DictReader(file), 2):
            flags = tuple(flag for flag in row["flags"].split("; ") if flag)
            for flag in flags:
                if flag not in FLAGS:
                    raise InputError(f"{path}, line {line}: flag {flag!r} is not one of {', '.join(FLAGS)}")
            values = {field.name: row[field.name] for field in fields(Published)}
            try:
                numbers = {name: float(row[name]) if row[name] else None for name in ("rank1", "mAP", "mINP")}
            except ValueError as error:
                raise InputError(f"{path}, line {line}: {error}") from None
            rows.append(Published(**{**values, **numbers, "flags": flags}))  # type: ignore[arg-type]
    return rows


def compare(benchmark: Benchmark, published: Sequence[Published]) -> Comparison:
    """Published rows on the directions measured; where there is none, the cross-domain ones as context."""
    ours = {
        (direction.source.partition("@")[0], direction.target.partition("@")[0])
        for direction in benchmark.main_directions
    }
    same = [row for row in published if (row.train.removesuffix("_all"), row.test) in ours]
    if not same:
        crossed = [row for row in published if row.train.removesuffix("_all") != row.test]
        return Comparison([], _split(crossed, [], "published-context", "Published cross-domain figures"))
    directions = {(row.train.removesuffix("_all"), row.test) for row in same}
    return Comparison(_split(same, _ours(benchmark, directions), "published", "Ours and published figures"), [])


def _split(rows: Sequence[Published], ours: Sequence[Published], key: str, title: str) -> list[Table]:
    """Rows without a flag, and those with one in a table of their own; in both ours above."""
    every = [*ours, *rows]
    plain, flagged = [row for row in every if not row.flags], [row for row in every if row.flags]
    meanings = " ".join(f"{flag}: {meaning}." for flag, meaning in FLAGS.items() if _used(flagged, flag))
    tables = [
        Table(key, title, "published_results.csv" + (f" and means of {RESULTS}" if ours else ""), HEADER,
              _cells(plain, lambda row: row.note), words=3,
              note="Nothing is bold: there is no paired interval against figures of others."),
        Table(f"{key}-flagged", f"{title}, of another kind" if not ours else "Figures of another kind",
              "published_results.csv" + (f" and means of {RESULTS}" if any(row.flags for row in ours) else ""),
              (*HEADER[:-1], "flags"), _cells(flagged, _flags_and_note), words=3,
              note=f"Not to be ranked against any other row. {meanings}"),
    ]  # fmt: skip
    return [table for table in tables if table.rows]


def _used(rows: Sequence[Published], flag: str) -> bool:
    return any(flag in row.flags for row in rows)


def _cells(rows: Sequence[Published], last: Callable[[Published], str]) -> tuple[tuple[str, ...], ...]:
    return tuple(
        (
            row.method, row.backbone, f"{row.train} → {row.test}",
            *(MISSING if value is None else f"{value:.1f}" for value in (row.mAP, row.rank1, row.mINP)),
            row.source, last(row),
        )
        for row in rows
    )  # fmt: skip


def _flags_and_note(row: Published) -> str:
    """Our notes stand beside the flags; those of published rows do not."""
    return "; ".join([*row.flags, *([row.note] if row.source == OURS and row.note else [])])


def _ours(benchmark: Benchmark, directions: set[tuple[str, str]]) -> list[Published]:
    """Our means over seeds in these directions, with the flags that published rows would carry."""
    figures = {name: means(benchmark.results, name) for name in ("rank1", "mAP", "mINP")}
    rows = []
    for direction in benchmark.main_directions:
        sets = (direction.source.partition("@")[0], direction.target.partition("@")[0])
        for model in benchmark.models if sets in directions else ():
            key = (model, direction.source, direction.target)
            if key in figures["mAP"]:
                percent = {name: None if math.isnan(mean[key]) else 100 * mean[key] for name, mean in figures.items()}
                flags = ("Duke",) if DUKE in sets else ()
                note = MARKED.removeprefix(f"{MARK} ") if model in benchmark.sees_target else ""
                head = (f"ours: {benchmark.shown(model)}", MISSING_BACKBONE, direction.source, direction.target)
                rows.append(Published(*head, percent["rank1"], percent["mAP"], percent["mINP"], flags, OURS, note))
    return rows


DUKE, OURS = "dukemtmc", "this report"
MISSING_BACKBONE = "see below"  # the runs' settings stand in the last section
