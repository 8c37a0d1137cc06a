"""Benchmark grids: models x sources x targets x seeds -> one tidy table, with a figure of every query beside it.

A grid is a YAML file (configs/benchmarks). Its runs are ordinary runs in ordinary folders, so whatever is trained and
tested already counts, and a grid that was killed goes on where it stopped.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from reid.config import Config, load_config
from reid.engine import build
from reid.engine.train import is_trained
from reid.errors import InputError
from reid.evaluation.divergence import domain_divergence, identity_divergence, rows_of
from reid.evaluation.evaluate import QUERIES_FILE, is_evaluated, read_results
from reid.evaluation.moments import moments_of
from reid.evaluation.targets import Adaptation, Target, read_adaptation, read_targets, result_key
from reid.files import read_yaml, write_atomically
from reid.paths import resolve
from reid.progress import track


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

    def tests(self) -> Iterator[tuple[Target, Adaptation | None]]:
        """Each target, and the images whose statistics are taken for it."""
        for target in read_targets(self.config, self.targets):
            yield target, read_adaptation(self.config, target.given) if self.adabn else None

    def missing(self) -> list[str]:
        """Targets without valid figures; all of them where the network is not trained."""
        if not is_trained(self.config):
            return list(self.targets)
        folder = self.config.run_folder
        return [
            target.given
            for target, own in self.tests()
            if not is_evaluated(self.config, folder, target, own, oracle=self.oracle)
        ]


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
    try:
        benchmark = Benchmark.model_validate(values)
    except ValidationError as error:
        lines = [f"{path}: {'.'.join(map(str, e['loc']))}: {e['msg']}, got {e['input']!r:.80}" for e in error.errors()]
        raise InputError("\n".join(lines) + f"\nkeys: {', '.join(Benchmark.model_fields)}") from None
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


def write_benchmark(name: str, benchmark: Benchmark, runs: Sequence[Run], output: Path) -> None:
    """Gather the finished runs' files into the grid's: results, a row a query, divergence, and what it was.

    ``results`` and ``queries`` hold the models; ``remedies`` and ``remedies_queries`` the remedies.
    """
    for remedy, prefix in ((False, ""), (True, "remedies_")):
        rows, queries = [], []
        for run in (run for run in runs if run.remedy == remedy):
            results = read_results(run.config.run_folder)
            for target, adaptation in run.tests():
                key = result_key(target.label, adaptation)
                row = _row(run, target.label, results["run"], results["targets"][key])
                own = pd.read_parquet(run.config.run_folder / "targets" / key / QUERIES_FILE)
                names = {column: row[column] for column in ("model", "source", "target", "seed")}
                queries.append(own.assign(**names)[[*names, *own.columns]])
                rows.append(row)
        stem = prefix.rstrip("_") or "results"
        if not rows:
            for name in (f"{stem}.csv", f"{stem}.parquet", f"{prefix}queries.parquet"):
                (output / name).unlink(missing_ok=True)  # of an earlier form of the grid
        else:
            table = pd.DataFrame(rows)
            write_atomically(output / f"{stem}.csv", table.to_csv(index=False, lineterminator="\n"))
            write_atomically(output / f"{stem}.parquet", table.to_parquet(index=False))
            write_atomically(output / f"{prefix}queries.parquet", pd.concat(queries).to_parquet(index=False))
    first = [run for run in runs if run.divergence]
    bar = track(first, name="divergence", unit="run", total=len(first))
    divergence = pd.DataFrame([row for run in bar for row in _divergence(run)])
    write_atomically(output / "divergence.csv", divergence.to_csv(index=False, lineterminator="\n"))
    write_atomically(output / "benchmark.json", json.dumps(_describe(name, benchmark, runs), indent=1) + "\n")


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
        "adabn": run.adabn,
        "config_hash": trained["config_hash"],
        "checkpoint": trained["checkpoint"],
        "data_fingerprint": own["dataset"]["fingerprint"],
        "device": own["device"],
        "precision": own["precision"],
        "code": own["code"],
    }


def _divergence(run: Run) -> list[dict[str, Any]]:
    """Rows of one run: each source against every other target, and the identities of every target."""
    config, folder = run.config, run.config.run_folder
    own = [moments_of(config, folder, name, progress=False) for name in run.targets]
    trained = read_results(folder)["run"]
    rows: list[dict[str, Any]] = []
    for a in (a for a in own if a.label in trained["sources"]):
        for b in (b for b in own if b.label != a.label):
            rows += rows_of(a, b, "domain", domain_divergence(a.moments, b.moments))
    for one in own:
        rows += rows_of(one, one, "identity", identity_divergence(one.moments))
    return [{"model": run.label, "source": trained["source"], "seed": config.seed, **row} for row in rows]


def _describe(name: str, benchmark: Benchmark, runs: Sequence[Run]) -> dict[str, Any]:
    """What the tables are of, for their reader: the grid, definitions, versions, data."""
    results = read_results(runs[0].config.run_folder)["targets"]
    targets, data, own = {}, {}, {}
    for target in read_targets(runs[0].config, benchmark.targets):
        own = results[target.label]
        targets[target.label], data[target.label] = target.given, own["dataset"]
    return {
        "name": name,
        **benchmark.model_dump(mode="json", include={"models", "remedies", "sources", "leave_one_out", "seeds"}),
        "targets": targets,
        "data": data,
        "definitions": own["definitions"],
        "packages": own["packages"],
    }
