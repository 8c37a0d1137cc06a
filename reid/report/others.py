"""How do others do beside the grid's models? Networks of other origin, measured here, and published figures.

Networks of other origin have no seeds, so that no mean and no interval over seeds holds one. A difference against a
trained model is against the mean over its seeds, whose spread is in the interval. Published rows flagged as of another
kind stand apart and are never ranked against ours; docs/published.md says where the rows and each flag come from.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pandas as pd

from reid.errors import InputError
from reid.evaluation import gap
from reid.evaluation.comparison import turned
from reid.evaluation.interval import Estimate
from reid.report.benchmark import RESULTS, Benchmark, Direction, lines
from reid.report.formats import MARK, MARKED, MISSING, Table, interval, percent, points, with_marks
from reid.report.model_tables import ESTIMATE, QUERIES, estimate, shares
from reid.report.statistics import METRICS, means, row_of

NETWORKS, NETWORK_COMPARISONS = "networks.csv", "network_comparisons.csv"
FIGURES = ["model", "source", "target", "metric", "foreign", "in_domain", "value", "low", "high", "seeds", "identities"]
COMPARISONS = [
    "network", "model", "source", "target", "metric", "in_domain", "value", "low", "high", "significant", "seeds",
    "better", "worse",
]  # fmt: skip
DROPS = ["drop", "drop_low", "drop_high"]
FILE = Path(__file__).with_name("published_results.csv")
FLAGS = {
    "pairwise matcher": "a network that compares two images, not one feature an image",
    "extra data": "trained on all images of the source, or on other sets too",
    "epoch chosen on the target": "of several epochs the one that is best on the target",
    "input size": "images of another size than 256 x 128",
    "Duke": "trained or tested on DukeMTMC-reID, which was withdrawn",
}
PUBLISHED = ("method", "backbone", "trained on → tested on", "mAP, %", "rank-1, %", "mINP, %", "source", "note")
DUKE, OURS = "dukemtmc", "this report"
NOT_HERE = "see below"  # for the backbone: the runs' settings stand in the last section


def network_figures(benchmark: Benchmark) -> tuple[pd.DataFrame, list[str]]:
    """Every network and model on the targets of the networks of other origin, one row a metric, with intervals and the
    drop from home. Then what is left out, with the reason."""
    rows: list[dict[str, Any]] = []
    left_out: list[str] = []
    fixed = benchmark.foreign_queries.assign(seed=0)
    for target in dict.fromkeys(benchmark.foreign["target"]):
        for frame, foreign in ((benchmark.queries, False), (fixed, True)):
            queries = frame[frame["target"] == target]
            for (model, source), tested in queries.groupby(["model", "source"], sort=False):
                try:
                    levels = gap.levels(tested)
                except InputError as error:
                    left_out.append(f"{model}, {source} → {target}: {error}")
                    continue
                home = _is_home(benchmark, str(model), target) if foreign else benchmark.in_domain(str(source), target)
                drops: dict[str, Estimate] = {}
                if not home:
                    try:
                        drops = _drops(benchmark, str(model), None if foreign else str(source), target, frame)
                    except InputError as error:
                        where = target if foreign else f"{source} → {target}"
                        left_out.append(f"{model}, drop on {where}: {error}")
                rows += [_figure_row(level, foreign, home, drops.get(level.metric)) for level in levels]
    return pd.DataFrame(rows, columns=[*FIGURES, *DROPS]), left_out


def _is_home(benchmark: Benchmark, network: str, target: str) -> bool:
    rows = benchmark.foreign
    return bool(rows.loc[(rows["model"] == network) & (rows["target"] == target), "in_domain"].any())


def _drops(
    benchmark: Benchmark, model: str, source: str | None, target: str, queries: pd.DataFrame
) -> dict[str, Estimate]:
    """What a model of a ``source``, or a network of other origin, loses on a target against its own data set (a source
    of several: the mean of theirs), by metric; nothing where it was not tested there.

    Raises:
        InputError: fewer than two identities in its own data set, or no seed tested both there and on the target.
    """
    rows = queries[queries["model"] == model]
    if source is None:
        home = [place for place in dict.fromkeys(rows["target"]) if _is_home(benchmark, model, place)]
    else:
        rows = rows[rows["source"] == source]
        home = [way.target for way in benchmark.main_directions if way.in_domain and way.source == source]
        if not set(home) <= set(rows["target"]):
            return {}
    gaps, _ = gap.gaps(rows[rows["target"].isin([*home, target])], lambda _, place: place in home)
    return {each.metric: turned(each.estimate) for each in gaps}


def _figure_row(level: gap.Level, foreign: bool, home: bool, drop: Estimate | None) -> dict[str, Any]:
    measured = level.estimate
    return {
        **{name: getattr(level, name) for name in FIGURES[:4]},
        "foreign": foreign, "in_domain": home, "value": measured.value, "low": measured.low, "high": measured.high,
        "seeds": None if foreign else measured.seeds, "identities": measured.identities[0],
        "drop": drop.value if drop else math.nan, "drop_low": drop.low if drop else math.nan,
        "drop_high": drop.high if drop else math.nan,
    }  # fmt: skip


def network_comparisons(benchmark: Benchmark) -> tuple[pd.DataFrame, list[str]]:
    """Every network of other origin minus the first model, of each source on each target; what is left out."""
    first = benchmark.models[0]
    rows: list[dict[str, Any]] = []
    left_out: list[str] = []
    trained = benchmark.queries[benchmark.queries["model"] == first]
    for network, target in dict.fromkeys(zip(benchmark.foreign["model"], benchmark.foreign["target"], strict=True)):
        queries = benchmark.foreign_queries
        queries = queries[(queries["model"] == network) & (queries["target"] == target)]
        for source, tested in trained[trained["target"] == target].groupby("source", sort=False):
            # the network against each seed's: the same queries beside each
            repeated = [queries.assign(source=source, seed=seed) for seed in tested["seed"].unique()]
            try:
                comparisons = gap.compare_models(pd.concat([*repeated, tested]), benchmark.in_domain)
            except InputError as error:
                left_out.append(f"{network} minus {first}, {source} → {target}: {error}")
                continue
            names = {"network": network, "model": first}
            rows += [names | row_of(comparison, COMPARISONS[2:]) for comparison in comparisons]
    return pd.DataFrame(rows, columns=COMPARISONS), left_out


def network_tables(benchmark: Benchmark, figures: pd.DataFrame, comparisons: pd.DataFrame) -> list[Table]:
    """A line a network and target beside the models' lines; and each network against the first model."""
    if not benchmark.networks:
        return []
    return [_figure_table(benchmark, figures), _comparison_table(benchmark, comparisons)]


def _figure_table(benchmark: Benchmark, figures: pd.DataFrame) -> Table:
    rows = []
    for key, tested in figures.groupby(["target", "model", "source", "foreign"], sort=False):
        target, model, source, foreign = key
        by_metric = {row.metric: row for row in lines(tested)}
        mAP, rank1 = by_metric["mAP"], by_metric["rank1"]
        rows.append(
            (
                str(model) if foreign else benchmark.shown(str(model)),
                str(source),
                f"{target} (in-domain)" if mAP.in_domain else str(target),
                "none" if foreign else str(int(mAP.seeds)),
                f"{percent(mAP.value)} [{percent(mAP.low)}, {percent(mAP.high)}]",
                f"{percent(rank1.value)} [{percent(rank1.low)}, {percent(rank1.high)}]",
                "" if math.isnan(mAP.drop) else f"{points(mAP.drop)} {interval(mAP.drop_low, mAP.drop_high)}",
            )
        )
    header = ("network", "trained on", "tested on", "seeds", "mAP, %", "rank-1, %", "drop in mAP, points")
    note = (
        "In brackets 95 % intervals: of networks of other origin, which have no seeds, over identities; of the grid's "
        "models over identities and, where they are means over several seeds, over those. Drops are against the "
        "same network's own data set, where that is among the targets; what networks of other origin were trained on "
        f"was not compared with the targets. Rows of {RESULTS}."
    )
    title = "Networks of other origin beside the models"
    return Table("networks", title, NETWORKS, header, tuple(rows), 3, note=with_marks(note, rows))


def _comparison_table(benchmark: Benchmark, comparisons: pd.DataFrame) -> Table:
    rows = tuple(
        (
            f"{row.network} minus {benchmark.shown(row.model)}",
            Direction(row.source, row.target, row.in_domain).label,
            METRICS[row.metric],
            *estimate(row),
            *shares(row),
        )
        for row in lines(comparisons)
    )
    header = ("networks", f"{benchmark.models[0]} trained on → both tested on", "metric", *ESTIMATE, *QUERIES)
    note = (
        "Paired over the same queries, against the mean over the model's seeds; the spread of several is in the "
        "interval. Above zero the network of other origin is better."
    )
    title = f"Networks of other origin against {benchmark.models[0]}"
    return Table("network-pairs", title, NETWORK_COMPARISONS, header, rows, words=3, note=with_marks(note, rows))


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


def published_tables(benchmark: Benchmark, published: Sequence[Published]) -> list[Table]:
    """Published rows on the directions measured, ours above; where there is none, the cross-domain ones as context."""
    ways = {(_card(direction.source), _card(direction.target)) for direction in benchmark.main_directions}
    same = [row for row in published if (row.train.removesuffix("_all"), row.test) in ways]
    if not same:
        crossed = [row for row in published if row.train.removesuffix("_all") != row.test]
        return _split(crossed, [], "published-context", "Published cross-domain figures")
    ours = _ours(benchmark, {(row.train.removesuffix("_all"), row.test) for row in same})
    return _split(same, ours, "published", "Ours and published figures")


def _card(label: str) -> str:
    """The data set of a label, without the split that stands behind it."""
    return label.partition("@")[0]


def _split(rows: Sequence[Published], ours: Sequence[Published], key: str, title: str) -> list[Table]:
    """Rows without a flag, and those with one in a table of their own; in both ours above."""
    every = [*ours, *rows]
    plain, flagged = [row for row in every if not row.flags], [row for row in every if row.flags]
    used = {flag for row in flagged for flag in row.flags}
    meanings = " ".join(f"{flag}: {meaning}." for flag, meaning in FLAGS.items() if flag in used)
    tables = [
        Table(key, title, FILE.name + (f" and means of {RESULTS}" if ours else ""), PUBLISHED,
              _cells(plain, lambda row: row.note), words=3,
              note="Nothing is bold: there is no paired interval against figures of others."),
        Table(f"{key}-flagged", f"{title}, of another kind" if not ours else "Figures of another kind",
              FILE.name + (f" and means of {RESULTS}" if any(row.flags for row in ours) else ""),
              (*PUBLISHED[:-1], "flags"), _cells(flagged, _flags_and_note), words=3,
              note=f"Not to be ranked against any other row. {meanings}"),
    ]  # fmt: skip
    return [table for table in tables if table.rows]


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
    figures = [means(benchmark.results, name) for name in ("rank1", "mAP", "mINP")]
    rows = []
    for direction in benchmark.main_directions:
        sets = (_card(direction.source), _card(direction.target))
        for model in benchmark.models if sets in directions else ():
            key = (model, direction.source, direction.target)
            if key in figures[0]:
                rank1, mAP, mINP = (None if math.isnan(mean[key]) else 100 * mean[key] for mean in figures)
                flags = ("Duke",) if DUKE in sets else ()
                note = MARKED.removeprefix(f"{MARK} ") if model in benchmark.sees_target else ""
                head = (f"ours: {benchmark.shown(model)}", NOT_HERE, direction.source, direction.target)
                rows.append(Published(*head, rank1, mAP, mINP, flags, OURS, note))
    return rows
