"""A grid's tables: the files of its finished runs gathered into one tidy table, a row a query beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from reid.evaluation.divergence import domain_divergence, identity_divergence, rows_of
from reid.evaluation.entries import Entry, Failure, ForeignEntry, Run, filed_as, lacking
from reid.evaluation.grid import Benchmark
from reid.evaluation.moments import moments_of
from reid.evaluation.results import read_queries, read_results
from reid.evaluation.targets import Target, result_key
from reid.files import write_atomically
from reid.progress import track


def write_benchmark(
    name: str, benchmark: Benchmark, runs: Sequence[Entry], output: Path, failures: Sequence[Failure] = ()
) -> list[pd.DataFrame]:
    """Gather the finished runs' files into the grid's: results, a row a query, divergence, and what it was; returns the
    tables of results. Cells lacking after ``failures`` are named in benchmark.json; without a cell nothing is written.

    ``results`` and ``queries`` hold the models; ``remedies`` and ``remedies_queries`` the remedies.

    Raises:
        InputError: a run's file that cannot be read.
    """
    lacks = [lacking(run, failures) for run in runs]
    if all(len(lost) == len(run.targets) for run, lost in zip(runs, lacks, strict=True)):
        return []
    tables: list[pd.DataFrame] = []
    described: dict[str, tuple[str, dict[str, Any]]] = {}
    for remedy, prefix in ((False, ""), (True, "remedies_")):
        rows, queries = [], []
        for run, lost in ((run, lost) for run, lost in zip(runs, lacks, strict=True) if run.remedy == remedy):
            if len(lost) == len(run.targets):
                continue
            folder = run.folder if isinstance(run, Run) else run.subject().folder
            results = read_results(folder)
            for target, adaptation in run.tests():
                if target.given in lost:
                    continue
                key = result_key(target.label, target.protocol, adaptation)
                row = _row(run, target, results["run"], results["targets"][key], folder)
                described.setdefault(target.given, (target.filed, results["targets"][key]))
                tested = read_queries(folder, key)
                names = {column: row[column] for column in ("model", "source", "target", "seed")}
                queries.append(tested.assign(**names)[[*names, *tested.columns]])
                rows.append(row)
        stem = prefix.rstrip("_") or "results"
        if not rows:
            for file in (f"{stem}.csv", f"{stem}.parquet", f"{prefix}queries.parquet"):
                (output / file).unlink(missing_ok=True)  # of an earlier form of the grid
        else:
            tables.append(table := _frame(rows))
            write_atomically(output / f"{stem}.csv", table.to_csv(index=False, lineterminator="\n"))
            write_atomically(output / f"{stem}.parquet", table.to_parquet(index=False))
            every = pd.concat([frame.astype({"seed": table["seed"].dtype}) for frame in queries])
            write_atomically(output / f"{prefix}queries.parquet", every.to_parquet(index=False))
    first = [run for run in runs if isinstance(run, Run) and run.divergence]
    bar = track(first, name="divergence", unit="run", total=len(first))
    divergence = pd.DataFrame([row for run in bar for row in _divergence(run, failures)])
    write_atomically(output / "divergence.csv", divergence.to_csv(index=False, lineterminator="\n"))
    description = _describe(name, benchmark, described)
    missing = [one for run, lost in zip(runs, lacks, strict=True) for one in _missing_cells(run, lost)]
    write_atomically(output / "benchmark.json", json.dumps({**description, "missing": missing}, indent=1) + "\n")
    return tables


def _missing_cells(run: Entry, lost: Mapping[str, str]) -> list[dict[str, Any]]:
    """As the rows of results.csv name a cell, as far as the data can be read, with the reason."""
    place = run.missing_place()
    return [
        {
            "model": run.label,
            "source": place["source"],
            "target": filed_as(run.config, name),
            "seed": place["seed"],
            "reason": reason,
        }
        for name, reason in lost.items()
    ]


def _row(
    run: Entry, target: Target, subject: Mapping[str, Any], test: Mapping[str, Any], folder: Path
) -> dict[str, Any]:
    place = run.place(subject, target)
    return {
        "model": run.label,
        "source": place["source"],
        "target": target.filed,
        "seed": place["seed"],
        "in_domain": place["in_domain"],
        "mAP": test["mAP"],
        "rank1": test["cmc"][0],
        "rank5": test["cmc"][4],
        "rank10": test["cmc"][9],
        "mINP": test["mINP"],
        "queries": test["num_valid_queries"],
        "gallery": test["num_gallery"],
        "spread": test.get("spread", {}).get("mAP"),
        "run": folder.as_posix(),
        "epoch": subject.get("epoch"),
        "epoch_choice": _epoch_choice(run),
        "oracle_epoch": test.get("oracle", {}).get("epoch"),
        "oracle_mAP": test.get("oracle", {}).get("mAP"),
        "adabn": run.adabn,
        "config_hash": subject.get("config_hash"),
        "checkpoint": subject["checkpoint"],
        "data_fingerprint": test["dataset"]["fingerprint"],
        "train_device": subject.get("training_device"),
        "train_precision": subject.get("training_precision"),
        "device": test["device"],
        "precision": test["precision"],
        "code": test["code"],
        "foreign": isinstance(run, ForeignEntry),
        "protocol": target.protocol,
    }


def _epoch_choice(run: Entry) -> str | None:
    if isinstance(run, ForeignEntry):
        return None
    return "held-out identities" if run.config.selection.holdout > 0 else "last"


def _frame(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Rows as a table; of foreign networks the seed and the epoch are empty, and the others' remain whole numbers."""
    frame = pd.DataFrame(rows)
    return frame.astype({name: "Int64" for name in ("seed", "epoch") if frame[name].isna().any()})


def _divergence(run: Run, failures: Sequence[Failure]) -> list[dict[str, Any]]:
    """Rows of one run: each source against every other target, and the identities of every target."""
    names = [name for name in run.targets if not any(failure.keeps(run, name) for failure in failures)]
    if not names:
        return []
    subject = run.subject()
    sets = [moments_of(subject, name, progress=False) for name in names]
    trained = read_results(subject.folder)["run"]
    rows: list[dict[str, Any]] = []
    for a in (a for a in sets if a.label in trained["sources"]):
        for b in (b for b in sets if b.label != a.label):
            rows += rows_of(a, b, "domain", domain_divergence(a.moments, b.moments))
    for one in sets:
        rows += rows_of(one, one, "identity", identity_divergence(one.moments))
    return [{"model": run.label, "source": trained["source"], "seed": run.config.seed, **row} for row in rows]


def _describe(name: str, benchmark: Benchmark, described: Mapping[str, tuple[str, dict[str, Any]]]) -> dict[str, Any]:
    """What the tables are of, for their reader: the grid, definitions, versions, data. ``described``: label and figures
    of one test on each target (as given)."""
    targets: dict[str, str] = {}
    data: dict[str, Any] = {}
    test: dict[str, Any] = {}
    for given in (given for given in benchmark.targets if given in described):
        label, test = described[given]
        targets[label], data[label] = given, test["dataset"]
    grid = benchmark.model_dump(mode="json", include={"models", "remedies", "sources", "leave_one_out", "seeds"})
    foreign = {label: network.model_dump(mode="json") for label, network in benchmark.foreign.items()}
    return {
        "name": name,
        **grid,
        "models": grid["models"] | foreign,
        "targets": targets,
        "data": data,
        "definitions": test["definitions"],
        "packages": test["packages"],
    }
