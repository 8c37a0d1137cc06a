"""Benchmark grids: models x sources x targets x seeds -> one tidy table, with a figure of every query beside it.

A grid is a YAML file (configs/benchmarks). Its runs are ordinary runs in ordinary folders, so whatever is trained and
tested already counts, and a grid that was killed goes on where it stopped.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from reid.config import Config, load_config
from reid.engine import build
from reid.engine.train import is_trained
from reid.errors import InputError
from reid.evaluation.adapted import adapted, read_adaptation
from reid.evaluation.divergence import domain_divergence, identity_divergence, rows_of
from reid.evaluation.evaluate import is_evaluated
from reid.evaluation.moments import moments_of
from reid.evaluation.results import QUERIES_FILE, read_results
from reid.evaluation.subject import Subject, subject_of_run
from reid.evaluation.targets import Adaptation, Target, read_targets, result_key
from reid.files import read_yaml, write_atomically
from reid.paths import resolve
from reid.progress import track
from reid.validation import validate


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Model(_Section):
    """One model of a grid: a config file; whether batch-norm statistics are estimated anew on each target; whether each
    target's best epoch is shown beside the tested one."""

    cfg: str
    adabn: bool = False
    oracle: bool = False


class Benchmark(_Section):
    """A grid. ``remedies`` are tested with the first seed alone; ``leave_one_out`` trains on all sources but one."""

    models: Annotated[dict[str, Model], Field(min_length=1)]
    remedies: dict[str, Model] = {}
    sources: Annotated[tuple[str, ...], Field(min_length=1)]
    targets: Annotated[tuple[str, ...], Field(min_length=1)]
    seeds: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1)]
    leave_one_out: bool = False


@dataclass(frozen=True)
class Run:
    """One trained network of a grid under one label, with the targets that it is tested on."""

    label: str
    remedy: bool
    config: Config
    adabn: bool
    targets: tuple[str, ...]
    divergence: bool
    oracle: bool = False

    @property
    def described(self) -> str:
        """The run in words, for messages."""
        return f"{self.label} of {'+'.join(self.config.data.sources)}, seed {self.config.seed}"

    def tests(self) -> Iterator[tuple[Target, Adaptation | None]]:
        """Each target, and the images whose statistics are taken for it."""
        testing = build.testing(self.config)
        for target in read_targets(testing.roots, self.targets):
            yield target, read_adaptation(testing, target.given) if self.adabn else None

    def subject(self) -> Subject:
        """The finished run."""
        return subject_of_run(self.config, self.config.run_folder)

    def missing(self) -> list[str]:
        """Targets without valid figures; all of them where the network is not trained."""
        if not is_trained(self.config):
            return list(self.targets)
        subject = self.subject()
        return [
            target.given
            for target in read_targets(subject.testing.roots, self.targets)
            if not is_evaluated(adapted(subject, target.given) if self.adabn else subject, target, self.oracle)
        ]


@dataclass(frozen=True)
class Failure:
    """What kept a run, or its test on one ``target`` (as given), from being done; ``bug``: no other input mends it."""

    folder: Path
    run: str
    target: str | None
    problem: str
    bug: bool = False

    def __str__(self) -> str:
        return f"{self.run}{f' on {self.target}' if self.target else ''} ({self.folder}): {self.problem}"

    @property
    def reason(self) -> str:
        """The problem in a line: of a traceback the last."""
        lines = self.problem.strip().splitlines()
        return lines[-1] if self.bug else " ".join(lines)

    def keeps(self, run: Run, target: str) -> bool:
        """Whether this is why the run lacks the target."""
        own = self.target is None or (self.target == target and self.run == run.described)
        return own and self.folder == run.config.run_folder


def lacking(run: Run, failures: Sequence[Failure]) -> dict[str, str]:
    """The targets (as given) that a run has no valid figures of, each with the reason."""
    own = [failure for failure in failures if failure.folder == run.config.run_folder]
    if not own:
        return {}
    try:
        missing = run.missing()
    except InputError:
        missing = list(run.targets)
    reasons = {name: [one.reason for one in own if one.keeps(run, name)] for name in missing}
    return {name: "; ".join(found) or "an earlier step failed" for name, found in reasons.items()}


def load_benchmark(name: str) -> tuple[str, Benchmark]:
    """Name and grid of a YAML file: a path, or a bundled one's name.

    Raises:
        InputError: naming the file and key.
    """
    path = resolve("configs/benchmarks", name)
    values = read_yaml(path)
    for part in ("models", "remedies"):
        if isinstance(values.get(part), dict):  # a bare file name is short for {cfg: NAME}
            values[part] = {k: {"cfg": v} if isinstance(v, str) else v for k, v in values[part].items()}
    benchmark = validate(Benchmark, values, path)
    for label, model in (benchmark.models | benchmark.remedies).items():
        if model.oracle and model.adabn:
            raise InputError(f"{path}: {label}: oracle and adabn exclude each other")
    both = set(benchmark.models) & set(benchmark.remedies)
    if both:
        raise InputError(f"{path}: remedies: {sorted(both)[0]!r} is also a model")
    for key in ("sources", "targets", "seeds"):
        if len(set(getattr(benchmark, key))) < len(getattr(benchmark, key)):
            raise InputError(f"{path}: {key}: one is named twice: {', '.join(map(str, getattr(benchmark, key)))}")
    if benchmark.leave_one_out and len(benchmark.sources) < 2:
        raise InputError(f"{path}: leave_one_out: needs two sources, got {len(benchmark.sources)}")
    return path.stem, benchmark


def runs_of(benchmark: Benchmark, overrides: Sequence[str] = ()) -> list[Run]:
    """Every run of the grid: models seed by seed, then remedies; ``overrides`` apply to all.

    Raises:
        InputError: a config that cannot be read, or two labels that mean one run.
    """
    for key in ("seed", "data.source", "run"):
        if any(override.partition("=")[0] == key for override in overrides):
            raise InputError(f"command line: {key}: the benchmark sets it")
    sources = [[source] for source in benchmark.sources]
    if benchmark.leave_one_out:
        sources = [[other for other in benchmark.sources if other != left] for left in benchmark.sources]
    cells = [(seed, label, model, False) for seed in benchmark.seeds for label, model in benchmark.models.items()]
    cells += [(benchmark.seeds[0], label, model, True) for label, model in benchmark.remedies.items()]
    runs: list[Run] = []
    seen: dict[tuple[Path, bool], str] = {}
    for seed, label, model, remedy in cells:
        for names in sources:
            set_here = {"data.source": names[0] if len(names) == 1 else names, "seed": seed}
            config = load_config(model.cfg, overrides, set_here)
            if seed == benchmark.seeds[0]:
                build.check(config)
            place = (config.run_folder, model.adabn)
            if place in seen:
                raise InputError(f"{label!r} and {seen[place]!r} are the same run, {config.run_folder}")
            seen[place] = label
            divergence = not remedy and not model.adabn and seed == benchmark.seeds[0]
            runs.append(Run(label, remedy, config, model.adabn, benchmark.targets, divergence, model.oracle))
    return runs


def check_sources(config: Config, benchmark: Benchmark) -> None:
    """Refuse two sources that the tables would have under one name.

    Raises:
        InputError: naming both; a source that cannot be read.
    """
    found: dict[str, str] = {}
    for source in benchmark.sources:
        label = build.roots(config).label(source)
        if label in found:
            raise InputError(f"sources: {found[label]} and {source} are both named {label}; rename one")
        found[label] = source


def write_benchmark(
    name: str, benchmark: Benchmark, runs: Sequence[Run], output: Path, failures: Sequence[Failure] = ()
) -> list[pd.DataFrame]:
    """Gather the finished runs' files into the grid's: results, a row a query, divergence, and what it was; returns the
    tables of results. Cells lacking after ``failures`` are named in benchmark.json; without a cell nothing is written.

    ``results`` and ``queries`` hold the models; ``remedies`` and ``remedies_queries`` the remedies.
    """
    lacks = [lacking(run, failures) for run in runs]
    if all(len(own) == len(run.targets) for run, own in zip(runs, lacks, strict=True)):
        return []
    tables: list[pd.DataFrame] = []
    described: dict[str, tuple[str, dict[str, Any]]] = {}
    for remedy, prefix in ((False, ""), (True, "remedies_")):
        rows, queries = [], []
        for run, lost in ((run, own) for run, own in zip(runs, lacks, strict=True) if run.remedy == remedy):
            if len(lost) == len(run.targets):
                continue
            results = read_results(run.config.run_folder)
            for target, adaptation in run.tests():
                if target.given in lost:
                    continue
                key = result_key(target.label, adaptation)
                row = _row(run, target.label, results["run"], results["targets"][key])
                described.setdefault(target.given, (target.label, results["targets"][key]))
                own = pd.read_parquet(run.config.run_folder / "targets" / key / QUERIES_FILE)
                names = {column: row[column] for column in ("model", "source", "target", "seed")}
                queries.append(own.assign(**names)[[*names, *own.columns]])
                rows.append(row)
        stem = prefix.rstrip("_") or "results"
        if not rows:
            for file in (f"{stem}.csv", f"{stem}.parquet", f"{prefix}queries.parquet"):
                (output / file).unlink(missing_ok=True)  # of an earlier form of the grid
        else:
            tables.append(table := pd.DataFrame(rows))
            write_atomically(output / f"{stem}.csv", table.to_csv(index=False, lineterminator="\n"))
            write_atomically(output / f"{stem}.parquet", table.to_parquet(index=False))
            write_atomically(output / f"{prefix}queries.parquet", pd.concat(queries).to_parquet(index=False))
    first = [run for run in runs if run.divergence]
    bar = track(first, name="divergence", unit="run", total=len(first))
    divergence = pd.DataFrame([row for run in bar for row in _divergence(run, failures)])
    write_atomically(output / "divergence.csv", divergence.to_csv(index=False, lineterminator="\n"))
    description = _describe(name, benchmark, described)
    missing = [one for run, lost in zip(runs, lacks, strict=True) for one in _missing_cells(run, lost)]
    write_atomically(output / "benchmark.json", json.dumps({**description, "missing": missing}, indent=1) + "\n")
    return tables


def _missing_cells(run: Run, lost: Mapping[str, str]) -> list[dict[str, Any]]:
    """As the rows of results.csv name a cell, as far as the data can be read, with the reason."""
    return [
        {"model": run.label, "source": source, "target": target, "seed": run.config.seed, "reason": reason}
        for name, reason in lost.items()
        for source, target in [(_label(run.config, run.config.data.sources), _label(run.config, [name]))]
    ]


def _label(config: Config, names: Sequence[str]) -> str:
    try:
        return "+".join(build.roots(config).label(name) for name in names)
    except InputError:
        return "+".join(names)


def _row(run: Run, target: str, trained: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    return {
        "model": run.label,
        "source": trained["source"],
        "target": target,
        "seed": trained["seed"],
        "in_domain": target in trained["sources"],
        "mAP": own["mAP"],
        "rank1": own["cmc"][0],
        "rank5": own["cmc"][4],
        "rank10": own["cmc"][9],
        "mINP": own["mINP"],
        "queries": own["num_valid_queries"],
        "gallery": own["num_gallery"],
        "spread": own.get("spread", {}).get("mAP"),
        "run": run.config.run_folder.as_posix(),
        "epoch": trained["epoch"],
        "epoch_choice": "held-out identities" if run.config.selection.holdout > 0 else "last",
        "oracle_epoch": own.get("oracle", {}).get("epoch"),
        "oracle_mAP": own.get("oracle", {}).get("mAP"),
        "adabn": run.adabn or bool(trained.get("adapted")),
        "config_hash": trained["config_hash"],
        "checkpoint": trained["checkpoint"],
        "data_fingerprint": own["dataset"]["fingerprint"],
        "train_device": trained["training_device"],
        "train_precision": trained["training_precision"],
        "device": own["device"],
        "precision": own["precision"],
        "code": own["code"],
    }


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
    own: dict[str, Any] = {}
    for given in (given for given in benchmark.targets if given in described):
        label, own = described[given]
        targets[label], data[label] = given, own["dataset"]
    return {
        "name": name,
        **benchmark.model_dump(mode="json", include={"models", "remedies", "sources", "leave_one_out", "seeds"}),
        "targets": targets,
        "data": data,
        "definitions": own["definitions"],
        "packages": own["packages"],
    }
