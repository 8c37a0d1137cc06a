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
from reid.commands.shared import add_overrides, check_targets, count, split_overrides, with_sources
from reid.errors import InputError
from reid.files import write_atomically

if TYPE_CHECKING:
    from reid.evaluation.benchmark import Failure, Run


def cross_domain_arguments(parser: argparse.ArgumentParser) -> None:
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--cfgs", nargs="+", metavar="FILE", help="config files, one a model and source")
    what.add_argument(
        "--benchmark", metavar="FILE", help="a grid: models x sources x targets x seeds (configs/benchmarks)"
    )
    parser.add_argument("--targets", nargs="+", default=[], metavar="NAME", help="with --cfgs: data sets to test on")
    parser.add_argument(
        "--jobs", type=count, default=1, metavar="N", help="runs at once; with several GPUs each has one of its own"
    )
    parser.add_argument(
        "--output",
        type=Path,
        metavar="DIR",
        help="folder of the tables (default: runs/cross_domain, runs/benchmarks/NAME)",
    )
    add_overrides(parser)


def cross_domain(arguments: argparse.Namespace) -> None:
    targets, overrides = split_overrides(arguments.targets, arguments.overrides)
    if arguments.benchmark:
        if targets:
            raise InputError(f"--targets {' '.join(targets)}: the benchmark's file names its targets")
        _run_benchmark(arguments.benchmark, overrides, arguments.jobs, arguments.output)
        return
    if not targets:
        raise InputError("--cfgs needs --targets NAME ...: the data sets to test on")
    names, overrides = split_overrides(arguments.cfgs, overrides)
    _compare(names, targets, overrides, arguments.jobs, arguments.output or Path("runs/cross_domain"))


def _compare(names: Sequence[str], targets: Sequence[str], overrides: Sequence[str], jobs: int, output: Path) -> None:
    import pandas as pd

    from reid.config import load_config
    from reid.data.roots import tables_kept
    from reid.evaluation.benchmark import Run, lacking
    from reid.evaluation.results import read_results
    from reid.evaluation.targets import refuse_namesakes
    from reid.report.alike import mixtures
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
        failures = _do_missing(f"{len(runs)} runs", runs, jobs)
        rows: list[Row] = []
        for run in runs:
            lost = lacking(run, failures)
            if len(lost) < len(run.targets):
                results = read_results(run.config.run_folder)
                own = [target.label for target, _ in run.tests() if target.given not in lost]
                rows += rows_of({**results, "targets": {label: results["targets"][label] for label in own}})
    if not rows:
        _raise(failures, len(runs))
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
    _raise(failures, len(runs))


def _run_benchmark(name: str, overrides: Sequence[str], jobs: int, output: Path | None) -> None:
    import pandas as pd

    from reid.data.roots import tables_kept
    from reid.evaluation.benchmark import check_sources, load_benchmark, runs_of, write_benchmark
    from reid.files import locked
    from reid.report.alike import mixtures

    stem, benchmark = load_benchmark(name)
    with tables_kept():
        runs = runs_of(benchmark, overrides)
        for run in {run.config.data.sources: run for run in runs}.values():
            check_targets(run.config, benchmark.targets)
        check_sources(runs[0].config, benchmark)
        output = output or Path("runs/benchmarks") / stem
        with locked(output):
            failures = _do_missing(f"{stem}: {len(runs)} runs", runs, jobs)
            tables = write_benchmark(stem, benchmark, runs, output, failures)
    if tables:
        for text in mixtures(pd.concat(tables, ignore_index=True)):
            print(text, file=sys.stderr)
        print(f"written: {output}/results.csv and the files beside it; python tools/report.py {output} makes a page")
    _raise(failures, len(runs))


def _raise(failures: Sequence[Failure], runs: int) -> None:
    """End with what failed, if anything did, and say that what did not is kept.

    Raises:
        InputError: all of it can be mended by other input.
        RuntimeError: some of it cannot.
    """
    if not failures:
        return
    count = len({failure.folder for failure in failures})
    head = f"{count} of {runs} runs failed; what did not is kept, and the same command does what is missing:"
    text = "\n".join([head, *map(str, failures)])
    raise RuntimeError(text) if any(failure.bug for failure in failures) else InputError(text)


def _do_missing(name: str, runs: Sequence[Run], jobs: int) -> list[Failure]:
    """Say what is missing and, where it is known, about how long it takes; then do it; returns what failed."""
    from reid.evaluation.scheduler import estimate, tasks_of, work

    tasks = tasks_of(runs)
    cells = sum(len(missing) for task in tasks for missing in task.missing)
    train = sum(task.steps > 0 for task in tasks)
    text = f"{name}, {sum(len(run.targets) for run in runs)} cells; missing: {cells} cells, {train} runs to train"
    if tasks:
        seconds = estimate(tasks, runs, jobs)
        if seconds is None:
            text += (
                "; the time is not known yet: no such network was trained here, the bar shows it from the first steps"
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
