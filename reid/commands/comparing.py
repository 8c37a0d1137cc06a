"""``reid cross-domain``: many runs on many targets."""

from __future__ import annotations

import argparse
import csv
import io
import sys
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING

from reid.commands.command import Command
from reid.commands.networks import compare_networks
from reid.commands.shared import add_overrides, add_protocol, check_targets, count, split_overrides, with_sources
from reid.data.names import counted
from reid.errors import InputError
from reid.files import write_atomically
from reid.networks import ANY

if TYPE_CHECKING:
    from reid.evaluation.entries import Entry, Failure


def cross_domain_arguments(parser: argparse.ArgumentParser) -> None:
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--models", nargs="+", metavar="WHAT", help=f"networks as they are, each {ANY}")
    what.add_argument("--cfgs", nargs="+", metavar="FILE", help="config files, one a model and source")
    what.add_argument(
        "--benchmark", metavar="FILE", help="a grid: models x sources x targets x seeds (configs/benchmarks)"
    )
    parser.add_argument(
        "--targets", nargs="+", default=[], metavar="NAME", help="with --models, --cfgs: what to test on"
    )
    parser.add_argument(
        "--jobs", type=count, default=1, metavar="N", help="runs at once; with several GPUs each has one of its own"
    )
    parser.add_argument(
        "--output",
        type=Path,
        metavar="DIR",
        help="folder of the tables (default: runs/networks, runs/cross_domain, runs/benchmarks/NAME)",
    )
    add_protocol(parser)
    add_overrides(parser)


def cross_domain(arguments: argparse.Namespace) -> None:
    targets, overrides = split_overrides(arguments.targets, arguments.overrides)
    if arguments.protocol and not arguments.models:
        raise InputError(
            "--protocol goes with --models; of configs and grids each target's card says it (cross_camera_only)"
        )
    if arguments.models and arguments.jobs > 1:
        raise InputError(f"--jobs {arguments.jobs}: the networks of --models are tested one after the other")
    if arguments.benchmark:
        if targets:
            raise InputError(f"--targets {' '.join(targets)}: the benchmark's file names its targets")
        _run_benchmark(arguments.benchmark, overrides, arguments.jobs, arguments.output)
        return
    if not targets:
        raise InputError(
            f"{'--models' if arguments.models else '--cfgs'} needs --targets NAME ...: the data sets to test on"
        )
    if arguments.models:
        output = arguments.output or Path("runs/networks")
        compare_networks(arguments.models, targets, overrides, arguments.protocol, output)
        return
    names, overrides = split_overrides(arguments.cfgs, overrides)
    _compare(names, targets, overrides, arguments.jobs, arguments.output or Path("runs/cross_domain"))


def _compare(names: Sequence[str], targets: Sequence[str], overrides: Sequence[str], jobs: int, output: Path) -> None:
    import pandas as pd

    from reid.config import load_config
    from reid.data.reading import tables_kept
    from reid.evaluation.entries import Run, lacking
    from reid.evaluation.results import read_results
    from reid.evaluation.targets import refuse_namesakes
    from reid.report.alike import mixtures
    from reid.report.compared import with_intervals
    from reid.report.plots import gap_plot
    from reid.report.table import Row, gap_table, rows_of

    configs = [load_config(name, overrides) for name in names]
    runs, tested = [], []
    for config in configs:
        wanted = tuple(with_sources(config, targets))
        tested += check_targets(config, wanted)
        runs.append(Run(config.name, False, config, False, wanted, False))
    refuse_namesakes(tested)  # each target is a column of one table
    with tables_kept():
        failures = _do_missing(counted(len(runs), "run"), runs, jobs)
        rows: list[Row] = []
        for run in runs:
            lost = lacking(run, failures)
            if len(lost) < len(run.targets):
                results = read_results(run.config.run_folder)
                labels = [target.filed for target, _ in run.tests() if target.given not in lost]
                done = rows_of({**results, "targets": {label: results["targets"][label] for label in labels}})
                rows += with_intervals(done, run.config.run_folder)
    if not rows:
        raise_failures(failures, _count(failures, runs))
    table = "\n\n".join([gap_table(rows), *mixtures(pd.DataFrame(rows))])
    print(table)
    content = io.StringIO()
    writer = csv.DictWriter(content, [field.name for field in fields(Row)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(row) for row in rows)
    write_atomically(output / "table.md", table + "\n")
    write_atomically(output / "results.csv", content.getvalue())
    gap_plot(rows, output / "gap.png")
    print(f"written: {output}/table.md, results.csv, gap.png")
    raise_failures(failures, _count(failures, runs))


def _run_benchmark(name: str, overrides: Sequence[str], jobs: int, output: Path | None) -> None:
    import pandas as pd

    from reid.data.reading import tables_kept
    from reid.evaluation.benchmark import write_benchmark
    from reid.evaluation.entries import check_sources, foreign_of, refuse_two_protocols, runs_of
    from reid.evaluation.grid import load_benchmark
    from reid.files import locked
    from reid.report.alike import mixtures

    stem, benchmark = load_benchmark(name)
    with tables_kept():
        runs = runs_of(benchmark, overrides)
        for run in {run.config.data.sources: run for run in runs}.values():
            refuse_two_protocols(check_targets(run.config, benchmark.targets))
        check_sources(runs[0].config, benchmark)
        entries: list[Entry] = [*runs, *foreign_of(benchmark, runs[0].config)]
        output = output or Path("runs/benchmarks") / stem
        with locked(output):
            foreign = len(entries) - len(runs)
            title = f"{stem}: {counted(len(runs), 'run')}"
            title += f", {counted(foreign, 'foreign network')}" if foreign else ""
            failures = _do_missing(title, entries, jobs)
            tables = write_benchmark(stem, benchmark, entries, output, failures)
    if tables:
        for text in mixtures(pd.concat(tables, ignore_index=True)):
            print(text, file=sys.stderr)
        print(f"written: {output}/results.csv and the files beside it; python tools/report.py {output} makes a page")
    raise_failures(failures, _count(failures, entries))


def _count(failures: Sequence[Failure], runs: Sequence[Entry]) -> str:
    return f"{len({failure.folder for failure in failures})} of {counted(len(runs), 'run')}"


def raise_failures(failures: Sequence[Failure], of_all: str) -> None:
    """End with what failed, if anything did, and say that what did not is kept.

    Raises:
        InputError: all of it can be mended by other input.
        RuntimeError: some of it cannot.
    """
    if not failures:
        return
    head = f"{of_all} failed; what did not is kept, and the same command does what is missing:"
    text = "\n".join([head, *map(str, failures)])
    raise RuntimeError(text) if any(failure.bug for failure in failures) else InputError(text)


def _do_missing(name: str, runs: Sequence[Entry], jobs: int) -> list[Failure]:
    """Say what is missing and, where it is known, about how long it takes; then do it; returns what failed."""
    from reid.evaluation.scheduler import work
    from reid.evaluation.tasks import estimate, tasks_of

    tasks = tasks_of(runs)
    cells = sum(len(missing) for task in tasks for missing in task.missing)
    train = sum(task.steps > 0 for task in tasks)
    every = counted(sum(len(run.targets) for run in runs), "cell")
    text = f"{name}, {every}; missing: {counted(cells, 'cell')}, {counted(train, 'run')} to train"
    if train:  # tests alone take little time, and none is known of networks of other origin
        seconds = estimate(tasks, runs, jobs)
        if seconds is None:
            text += (
                "; the time is not known yet: no such networks were timed here, the bar shows it from the first steps"
            )
        else:
            minutes = seconds / 60
            text += f"; about {max(1, round(minutes))} min" if minutes < 120 else f"; about {minutes / 60:.0f} h"
    print(text, flush=True)
    return work(tasks, jobs)


CROSS_DOMAIN = Command(
    "cross_domain.py",
    "Train what is missing, test every model on every target, show the gap.",
    "--benchmark sites.yaml --jobs 2 --output runs/report",
    cross_domain_arguments,
    cross_domain,
)
