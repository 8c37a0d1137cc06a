"""How was it measured, and all of it alike? Runs, epochs, data, packages as tables; what is not alike, in words."""

from __future__ import annotations

from typing import Any

import pandas as pd

from reid.evaluation.subject import NOT_KNOWN
from reid.report.benchmark import DESCRIPTION, REMEDIES, RESULTS, Benchmark, lines
from reid.report.formats import MISSING, Table, counts, percent, points, with_marks

MEASURED = {
    "train_device": "device of training",
    "train_precision": "precision of training",
    "device": "device of testing",
    "precision": "precision of testing",
}
RUN = {
    "epoch": "epoch tested", "config_hash": "config hash", "checkpoint": "checkpoint", "train_device": "trained on a",
    "train_precision": "trained in", "device": "tested on a", "precision": "tested in", "code": "code",
    "run": "run's folder",
}  # fmt: skip
OF_OTHER_ORIGIN = dict.fromkeys(("seed", "epoch", "config_hash"), "none") | dict.fromkeys(
    ("train_device", "train_precision"), NOT_KNOWN
)
ORACLE = (
    "The oracle-best epoch is chosen by looking at the target: it is an upper bound, and is used nowhere else in this "
    "report."
)


def warnings(benchmark: Benchmark) -> list[str]:
    """Sentences on what a reader of the figures must know before any of them."""
    count = len(benchmark.missing)
    cells = f"{count} cell{'s are' if count > 1 else ' is'}"
    incomplete = f"The grid is not complete: {cells} missing, named below; what is said here is of the others."
    sentences = [incomplete] * bool(count) + mixtures(benchmark.rows)
    if benchmark.networks:
        first = benchmark.models[0]
        both = pd.concat([benchmark.rows[benchmark.rows["model"] == first], benchmark.foreign], ignore_index=True)
        sentences += mixtures(both, f"{first} and the networks of other origin")
    return sentences


def mixtures(results: pd.DataFrame, compared: str | None = None) -> list[str]:
    """A sentence for each source and each of :data:`MEASURED` that is not the same in all rows of that source, which
    are what is compared: models, seeds, home and abroad. Rows that do not tell (of older files) say nothing.

    Args:
        results: with the columns model, source, target, seed and those of :data:`MEASURED`.
        compared: what is compared, in words, where it is all rows, of whatever source.
    """
    groups = [(f"networks trained on {source}", rows) for source, rows in results.groupby("source", sort=False)]
    sentences = []
    for words, rows in groups if compared is None else [(compared, results)]:
        for column, measured in MEASURED.items():
            kinds = rows[column].fillna("").astype(str).map(_kind)
            known = [kind for kind in dict.fromkeys(kinds) if kind]
            if len(known) > 1:
                each = "; ".join(f"{kind}: {_who(rows[kinds == kind], rows)}" for kind in known)
                sentences.append(
                    f"Not measured alike: of {words} the {measured} differs ({each}); a difference between them may "
                    "come from that."
                )
    return sentences


def _kind(value: str) -> str:
    """``cpu (AVX2)`` and ``cpu`` are one kind, all GPUs by their names another, several processes of one (``2 x cuda``)
    a third; precisions are what they are."""
    if value in ("", "float32", "tf32", "bf16", "fp16"):
        return value
    processes, times, device = value.rpartition(" x ")
    return processes + times + ("cpu" if device.split(" ")[0] == "cpu" else "cuda")


def _who(alike: pd.DataFrame, all_rows: pd.DataFrame) -> str:
    """The rows of one kind, by no more columns than tell them from the others."""
    other = all_rows.drop(index=alike.index)
    for columns in (["model"], ["target"], ["seed"], ["model", "seed"], ["model", "seed", "target"]):
        names = {"seed": "seed ", "target": "on "}
        groups = alike[columns].drop_duplicates()
        if groups.merge(other[columns].drop_duplicates(), on=columns).empty:
            break
    return ", ".join(
        " ".join(f"{names.get(name, '')}{value}" for name, value in zip(columns, row, strict=True) if pd.notna(value))
        for row in lines(groups)
    )


def run_table(benchmark: Benchmark) -> Table:
    """One line a network."""
    frame = benchmark.rows.drop_duplicates(["model", "source", "seed", "run"])
    foreign = benchmark.foreign.drop_duplicates(["model", "source"]).assign(**OF_OTHER_ORIGIN)
    rows = tuple(
        (row["model"], row["source"], _cell(row["seed"]), *(_cell(row.get(column)) for column in RUN))
        for part in (frame, foreign)
        for _, row in part.iterrows()
    )
    return Table("runs", "Networks", _files(benchmark), ("model", "trained on", "seed", *RUN.values()), rows, words=12)


def data_table(benchmark: Benchmark) -> Table:
    """One line a data set."""
    known: dict[str, Any] = benchmark.description.get("data", {})
    labels = list(dict.fromkeys([*benchmark.results["target"], *known]))
    rows = []
    for label in labels:
        tested = benchmark.results[benchmark.results["target"] == label]
        entry = known.get(label, {})
        notes = entry.get("notes") or []
        notes = "; ".join(map(str, notes)) if isinstance(notes, list | tuple) else str(notes)
        sizes = [counts(tested[name]) or MISSING for name in ("queries", "gallery")]
        cells = (label, str(entry.get("version") or "none"), *sizes, _cell(entry.get("fingerprint")), notes or "none")
        rows.append(cells)
    header = ("data set", "version", "valid queries", "gallery images", "fingerprint (SHA-256)", "notes")
    return Table("data", "Data", DESCRIPTION, header, tuple(rows), words=6)


def package_table(benchmark: Benchmark) -> Table:
    """One line a package."""
    packages: dict[str, Any] = benchmark.description.get("packages", {})
    rows = tuple((str(name), str(version)) for name, version in packages.items())
    return Table("packages", "Packages", DESCRIPTION, ("package", "version"), rows, words=2)


def _cell(value: Any) -> str:
    return MISSING if value is None or value == "" or (isinstance(value, float) and pd.isna(value)) else str(value)


def epoch_table(benchmark: Benchmark) -> Table | None:
    """One line a network and target whose oracle-best epoch was measured; None where none was."""
    measured = benchmark.rows[benchmark.rows["oracle_mAP"].notna()]
    if measured.empty:
        return None
    rows = tuple(
        (
            benchmark.shown(row.model),
            f"{row.source} → {row.target}",
            str(row.seed),
            f"{row.epoch or MISSING} ({row.epoch_choice})" if row.epoch_choice else row.epoch or MISSING,
            percent(row.mAP),
            MISSING if pd.isna(row.oracle_epoch) else str(int(row.oracle_epoch)),
            percent(row.oracle_mAP),
            points(row.oracle_mAP - row.mAP),
        )
        for row in lines(measured)
    )
    rest = len(benchmark.rows) - len(measured)
    note = f"{ORACLE} Difference: the oracle's mAP minus that of the epoch tested."
    note += f" Not measured for {rest} of {len(benchmark.rows)} networks and targets." if rest else ""
    header = (
        "model", "trained on → tested on", "seed", "epoch tested (how chosen)", "mAP, %",
        "oracle-best epoch", "mAP, %", "difference, points",
    )  # fmt: skip
    title = "Epoch tested and oracle-best epoch"
    return Table("epochs", title, _files(benchmark), header, rows, words=4, note=with_marks(note, rows))


def _files(benchmark: Benchmark) -> str:
    return f"{RESULTS} and {REMEDIES}" if len(benchmark.remedies) else RESULTS
