"""``reid cross-domain``: many runs on many targets, here or, a part of them each, on several machines."""

from __future__ import annotations

import argparse
import csv
import io
import re
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

from reid.commands.command import Command, add_overrides, add_protocol, count, split_overrides
from reid.commands.evaluating import check_targets, with_sources
from reid.commands.networks import compare_networks
from reid.data.names import counted
from reid.errors import InputError
from reid.files import locked, write_atomically
from reid.networks import ANY
from reid.processes import end_with_starter

if TYPE_CHECKING:
    from reid.evaluation.entries import Entry, Failure, Run
    from reid.evaluation.grid import Benchmark
    from reid.evaluation.tasks import Task


@dataclass(frozen=True)
class Grid:
    """What was asked for.

    Attributes:
        title: its name and size.
        words: the command line that asks for it again.
        output: the folder of its tables.
        collect: writes them, given what failed.
    """

    title: str
    words: list[str]
    entries: list[Entry]
    output: Path
    collect: Callable[[Sequence[Failure]], None]


def part(text: str) -> tuple[int, int]:
    numbers = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", text)
    if not numbers or not 1 <= int(numbers[1]) <= int(numbers[2]):
        raise argparse.ArgumentTypeError(f"{text!r} is not I/N, the share I (from 1) of N")
    return int(numbers[1]), int(numbers[2])


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
    how = parser.add_mutually_exclusive_group()
    how.add_argument(
        "--list", action="store_true", help="print a command for each run's folder, each of which any machine may do"
    )
    how.add_argument(
        "--part", type=part, metavar="I/N", help="train and test every N-th run's folder from the I-th on; no tables"
    )
    how.add_argument("--collect", action="store_true", help="write the tables of what is there")
    how.add_argument("--ray", metavar="ADDRESS", help="runs on a Ray cluster (host:port, auto, local), a task each")
    add_protocol(parser)
    add_overrides(parser)


def cross_domain(arguments: argparse.Namespace) -> None:
    targets, overrides = split_overrides(arguments.targets, arguments.overrides)
    if arguments.protocol and not arguments.models:
        raise InputError(
            "--protocol goes with --models; of configs and grids each target's card says it (cross_camera_only)"
        )
    if arguments.benchmark and targets:
        raise InputError(f"--targets {' '.join(targets)}: the benchmark's file names its targets")
    if not arguments.benchmark and not targets:
        raise InputError(
            f"{'--models' if arguments.models else '--cfgs'} needs --targets NAME ...: the data sets to test on"
        )
    if arguments.ray and arguments.jobs > 1:
        raise InputError(f"--jobs {arguments.jobs}: on a Ray cluster as many run at once as there is room for")
    if arguments.models:
        if arguments.jobs > 1:
            raise InputError(f"--jobs {arguments.jobs}: the networks of --models are tested one after the other")
        for option in ("list", "part", "collect", "ray"):
            if getattr(arguments, option):
                raise InputError(f"--{option} goes with --benchmark or --cfgs; --models tests one after the other")
        output = arguments.output or Path("runs/networks")
        compare_networks(arguments.models, targets, overrides, arguments.protocol, output)
        return
    if arguments.part:
        end_with_starter()

    from reid.data.reading import tables_kept

    with tables_kept():
        if arguments.benchmark:
            grid = _of_benchmark(arguments.benchmark, overrides, arguments.output, arguments.part)
        else:
            names, overrides = split_overrides(arguments.cfgs, overrides)
            grid = _of_configs(names, targets, overrides, arguments.output)
        if arguments.list:
            _list(grid)
        elif arguments.part:
            _do_part(grid, arguments.part, arguments.jobs)
        else:
            _complete(grid, arguments.jobs, arguments.collect, arguments.ray)


def _of_benchmark(name: str, overrides: Sequence[str], output: Path | None, part: tuple[int, int] | None) -> Grid:
    """A grid's file. Of a ``part`` what it does not do is not looked at, but for its place in the grid."""
    from reid.evaluation.entries import (
        Run,
        check_runs,
        check_sources,
        foreign_of,
        refuse_one_network_twice,
        refuse_two_protocols,
        runs_of,
    )
    from reid.evaluation.grid import load_benchmark
    from reid.evaluation.tasks import WHOLE, Part, share_of

    stem, benchmark = load_benchmark(name)
    runs = runs_of(benchmark, overrides)
    entries: list[Entry] = [*runs, *foreign_of(benchmark, runs[0].config)]
    if part is None:
        check_runs(runs)
    share = [entry for entry in share_of(entries, Part(*part) if part else WHOLE) if isinstance(entry, Run)]
    for run in {run.config.data.sources: run for run in share}.values():
        refuse_two_protocols(check_targets(run.config, benchmark.targets))
    if part is None:
        check_sources(runs[0].config, benchmark)
        refuse_one_network_twice(entries)
    foreign = len(entries) - len(runs)
    title = f"{stem}: {counted(len(runs), 'run')}" + (f", {counted(foreign, 'foreign network')}" if foreign else "")
    place = output or Path("runs/benchmarks") / stem
    words = ["--benchmark", name, *(["--output", str(output)] if output else []), *overrides]
    return Grid(title, words, entries, place, lambda failures: _write_grid(stem, benchmark, entries, place, failures))


def _write_grid(
    stem: str, benchmark: Benchmark, entries: Sequence[Entry], output: Path, failures: Sequence[Failure]
) -> None:
    import pandas as pd

    from reid.evaluation.benchmark import write_benchmark
    from reid.report.provenance import mixtures

    tables = write_benchmark(stem, benchmark, entries, output, failures)
    if tables:
        for text in mixtures(pd.concat(tables, ignore_index=True)):
            print(text, file=sys.stderr)
        print(f"written: {output}/results.csv and the files beside it; python tools/report.py {output} makes a page")


def _of_configs(names: Sequence[str], targets: Sequence[str], overrides: Sequence[str], output: Path | None) -> Grid:
    from reid.config import load_config
    from reid.evaluation.entries import Run
    from reid.evaluation.targets import refuse_namesakes

    configs = [load_config(name, overrides) for name in names]
    runs, tested = [], []
    named: dict[Path, str] = {}
    for name, config in zip(names, configs, strict=True):
        if config.run_folder in named:  # a folder holds one network, whose figures would stand under both
            raise InputError(f"--cfgs: {named[config.run_folder]} and {name} are the same run, {config.run_folder}")
        named[config.run_folder] = name
        wanted = tuple(with_sources(config, targets))
        tested += check_targets(config, wanted)
        runs.append(Run(config.name, False, config, False, wanted, False))
    refuse_namesakes(tested)  # each target is a column of one table
    place = output or Path("runs/cross_domain")
    words = ["--cfgs", *names, "--targets", *targets, *(["--output", str(output)] if output else []), *overrides]
    title = counted(len(runs), "run")
    return Grid(title, words, [*runs], place, lambda failures: _write_comparison(runs, place, failures))


def _write_comparison(runs: Sequence[Run], output: Path, failures: Sequence[Failure]) -> None:
    import pandas as pd

    from reid.evaluation.entries import lacking
    from reid.evaluation.results import read_results
    from reid.report.provenance import mixtures
    from reid.report.side_by_side import Row, gap_plot, gap_table, rows_of, with_intervals

    rows: list[Row] = []
    for run in runs:
        lost = lacking(run, failures)
        if len(lost) < len(run.targets):
            results = read_results(run.config.run_folder)
            labels = [target.filed for target, _ in run.tests() if target.given not in lost]
            done = rows_of({**results, "targets": {label: results["targets"][label] for label in labels}})
            rows += with_intervals(done, run.config.run_folder)
    if not rows:
        return
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


def _list(grid: Grid) -> None:
    """Print the commands that do the grid, one a run's folder, and how many have something to do."""
    from reid.evaluation.tasks import folders_of, tasks_of

    folders, missing = len(folders_of(grid.entries)), len(tasks_of(grid.entries))
    command = ["python", sys.argv[0]] if Path(sys.argv[0]).name == CROSS_DOMAIN.tool else ["reid", "cross-domain"]
    for number in range(1, folders + 1):
        print(shlex.join([*command, *grid.words, "--part", f"{number}/{folders}"]))
    print(f"{grid.title}; {counted(folders, 'part')}, {missing} missing", file=sys.stderr)


def _do_part(grid: Grid, share: tuple[int, int], jobs: int) -> None:
    """One run's folder here; of several each in a process of its own."""
    from reid.evaluation.parts import do
    from reid.evaluation.scheduler import work
    from reid.evaluation.tasks import Part, folders_of, share_of, tasks_of

    number, of = share
    entries = share_of(grid.entries, Part(number, of))
    tasks = tasks_of(grid.entries, Part(number, of))
    _announce(f"{grid.title}, part {number} of {of}: {counted(len(entries), 'run')}", tasks, entries, jobs)
    if len(folders_of(entries)) == 1:
        failures = [failure for task in tasks for failure in do(task, grid.output)]
    else:
        failures = work(tasks, jobs, _command_for(grid), grid.output)
    raise_failures(failures, _count(failures, entries))


def _complete(grid: Grid, jobs: int, collect_alone: bool, ray: str | None) -> None:
    """Do what is missing, here or on a Ray cluster, unless told not to; then write the tables."""
    from reid.commands.on_ray import work_on
    from reid.evaluation.parts import lacking_of
    from reid.evaluation.scheduler import work
    from reid.evaluation.tasks import tasks_of

    with locked(grid.output):
        if collect_alone:
            failures = lacking_of(grid.entries, grid.output)
        else:
            tasks = tasks_of(grid.entries)
            _announce(grid.title, tasks, grid.entries, None if ray else jobs)
            if ray and tasks:
                failures = work_on(ray, tasks, _words_for(grid), grid.output)
            else:
                failures = work(tasks, jobs, _command_for(grid), grid.output)
        grid.collect(failures)
    raise_failures(failures, _count(failures, grid.entries), INCOMPLETE if collect_alone else FAILED)


def _command_for(grid: Grid) -> Callable[[Task], list[str]]:
    """The command by which another process does a task; -P: nothing is imported from the working directory."""
    words = _words_for(grid)
    return lambda task: [sys.executable, "-P", "-m", "reid.cli", *words(task)]


def _words_for(grid: Grid) -> Callable[[Task], list[str]]:
    from reid.evaluation.tasks import folders_of

    folders = len(folders_of(grid.entries))
    return lambda task: ["cross-domain", *grid.words, "--part", f"{task.number}/{folders}"]


def _count(failures: Sequence[Failure], runs: Sequence[Entry]) -> str:
    return f"{len({failure.folder for failure in failures})} of {counted(len(runs), 'run')}"


FAILED = "{} failed; what did not is kept, and the same command does what is missing:"
INCOMPLETE = "{} not complete; the tables hold the rest, and the same command without --collect does what is missing:"


def raise_failures(failures: Sequence[Failure], of_all: str, head: str = FAILED) -> None:
    """End with what failed, if anything did, and say that what did not is kept.

    Raises:
        InputError: all of it can be mended by other input.
        RuntimeError: some of it cannot.
    """
    if not failures:
        return
    text = "\n".join([head.format(of_all), *map(str, failures)])
    raise RuntimeError(text) if any(failure.bug for failure in failures) else InputError(text)


def _announce(title: str, tasks: Sequence[Task], entries: Sequence[Entry], jobs: int | None) -> None:
    """Say what is missing and, where it is known, about how long it takes; None: other machines take their share."""
    from reid.evaluation.tasks import estimate

    cells = sum(len(missing) for task in tasks for missing in task.missing)
    train = sum(task.steps > 0 for task in tasks)
    every = counted(sum(len(entry.targets) for entry in entries), "cell")
    text = f"{title}, {every}; missing: {counted(cells, 'cell')}, {counted(train, 'run')} to train"
    if train and jobs is not None:  # tests alone take little time, and none is known of networks of other origin
        seconds = estimate(tasks, entries, jobs)
        if seconds is None:
            text += (
                "; the time is not known yet: no such networks were timed here, the bar shows it from the first steps"
            )
        else:
            minutes = seconds / 60
            text += f"; about {max(1, round(minutes))} min" if minutes < 120 else f"; about {minutes / 60:.0f} h"
    print(text, flush=True)


CROSS_DOMAIN = Command(
    "cross_domain.py",
    "Train what is missing, test every model on every target, show the gap.",
    "--benchmark sites.yaml --jobs 2 --output runs/report",
    cross_domain_arguments,
    cross_domain,
)
