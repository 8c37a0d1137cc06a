"""The tables that say how it was measured: runs, data, packages."""

from __future__ import annotations

from typing import Any

import pandas as pd

from reid.evaluation.subject import NOT_KNOWN
from reid.report.inputs import Benchmark
from reid.report.reading import DESCRIPTION, REMEDIES, RESULTS
from reid.report.tables import MISSING, Table

RUN = {
    "epoch": "epoch tested", "config_hash": "config hash", "checkpoint": "checkpoint", "train_device": "trained on a",
    "train_precision": "trained in", "device": "tested on a", "precision": "tested in", "code": "code",
    "run": "run's folder",
}  # fmt: skip
OF_OTHER_ORIGIN = dict.fromkeys(("seed", "epoch", "config_hash"), "none") | dict.fromkeys(
    ("train_device", "train_precision"), NOT_KNOWN
)


def run_table(benchmark: Benchmark) -> Table:
    """One line a network."""
    frame = pd.concat([benchmark.results, benchmark.remedies]).drop_duplicates(["model", "source", "seed", "run"])
    foreign = benchmark.foreign.drop_duplicates(["model", "source"]).assign(**OF_OTHER_ORIGIN)
    rows = tuple(
        (row["model"], row["source"], _cell(row["seed"]), *(_cell(row.get(column)) for column in RUN))
        for part in (frame, foreign)
        for _, row in part.iterrows()
    )
    files = f"{RESULTS} and {REMEDIES}" if len(benchmark.remedies) else RESULTS
    return Table("runs", "Networks", files, ("model", "trained on", "seed", *RUN.values()), rows, words=12)


def data_table(benchmark: Benchmark) -> Table:
    """One line a data set."""
    known: dict[str, Any] = benchmark.description.get("data", {})
    labels = list(dict.fromkeys([*benchmark.results["target"], *known]))
    rows = []
    for label in labels:
        tested = benchmark.results[benchmark.results["target"] == label]
        counts = [
            " / ".join(f"{int(n)}" for n in tested[name].dropna().unique()) or MISSING
            for name in ("queries", "gallery")
        ]
        entry = known.get(label, {})
        notes = entry.get("notes") or []
        notes = "; ".join(map(str, notes)) if isinstance(notes, list | tuple) else str(notes)
        rows.append(
            (label, str(entry.get("version") or "none"), *counts, _cell(entry.get("fingerprint")), notes or "none")
        )
    header = ("data set", "version", "valid queries", "gallery images", "fingerprint (SHA-256)", "notes")
    return Table("data", "Data", DESCRIPTION, header, tuple(rows), words=6)


def package_table(benchmark: Benchmark) -> Table:
    """One line a package."""
    packages: dict[str, Any] = benchmark.description.get("packages", {})
    rows = tuple((str(name), str(version)) for name, version in packages.items())
    return Table("packages", "Packages", DESCRIPTION, ("package", "version"), rows, words=2)


def _cell(value: Any) -> str:
    return MISSING if value is None or value == "" or (isinstance(value, float) and pd.isna(value)) else str(value)
