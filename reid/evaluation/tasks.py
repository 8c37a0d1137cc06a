"""What a grid lacks, a task a run's or a network's folder, and about how long that takes."""

from __future__ import annotations

import os
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from reid.config import Config
from reid.engine import build
from reid.engine.checkpoint import FILE, LOG_FILE, read_progress
from reid.engine.train import is_trained, planned_steps
from reid.errors import InputError
from reid.evaluation.entries import Entry, Run
from reid.evaluation.targets import read_targets


@dataclass(frozen=True)
class Task:
    """All that is missing of one run's folder: training, and tests of one or more of the grid's labels; of a network of
    other origin tests alone. ``number``: of its folder among the grid's, from 1; ``name``: what its log is called."""

    number: int
    name: str
    runs: tuple[Entry, ...]
    missing: tuple[tuple[str, ...], ...]  # targets of each of ``runs``
    steps: int  # still to train
    tests: int  # the time of its tests, in steps: a test image costs a third of a training image

    @property
    def config(self) -> Config:
        return self.runs[0].config

    @property
    def folder(self) -> Path:
        return self.runs[0].folder

    @property
    def foreign(self) -> bool:
        return not isinstance(self.runs[0], Run)

    def log(self) -> Log | None:
        """Of its training, where there is one."""
        return None if self.foreign else Log(self.folder)


@dataclass(frozen=True)
class Part:
    """Of a grid's folders the share number ``number`` (from 1) of ``of``: every ``of``-th."""

    number: int = 1
    of: int = 1


WHOLE = Part()


def folders_of(entries: Sequence[Entry]) -> dict[str, tuple[Entry, ...]]:
    """The entries of each run's folder, in the grid's order, by the folder's name; of two of one name the second has a
    number behind it."""
    together: dict[Path, list[Entry]] = {}
    for entry in entries:
        together.setdefault(entry.folder, []).append(entry)
    named: dict[str, tuple[Entry, ...]] = {}
    for folder, of_folder in together.items():
        alike = sum(name == folder.name or name.startswith(f"{folder.name} ") for name in named)
        named[f"{folder.name} {alike + 1}" if alike else folder.name] = tuple(of_folder)
    return named


def share_of(entries: Sequence[Entry], part: Part) -> list[Entry]:
    """The entries of a part's folders."""
    groups = list(folders_of(entries).values())
    return [entry for group in groups[part.number - 1 :: part.of] for entry in group]


def tasks_of(entries: Sequence[Entry], part: Part = WHOLE) -> list[Task]:
    """What is missing, in the grid's order, a task a run's folder. A run of which that cannot be told (a damaged file,
    a folder that holds another run) misses all: the process that takes it up fails, and says why."""
    tasks = []
    numbered = list(enumerate(folders_of(entries).items(), 1))
    for number, (name, runs) in numbered[part.number - 1 :: part.of]:
        lacking = [(run, missing) for run in runs if (missing := _missing(run))]
        if not lacking:
            continue
        first = lacking[0][0]
        targets = tuple(names for _, names in lacking)
        try:
            steps = _steps_left(first.config) if isinstance(first, Run) else 0
            tests = _test_steps(first.config, targets)
        except InputError:
            steps, tests = int(isinstance(first, Run)), 1
        tasks.append(Task(number, name, tuple(run for run, _ in lacking), targets, steps, tests))
    return tasks


def _missing(run: Entry) -> tuple[str, ...]:
    try:
        return tuple(run.missing())
    except InputError:
        return run.targets


def _steps_left(config: Config) -> int:
    return 0 if is_trained(config) else max(1, planned_steps(config) - Log(config.run_folder).steps())


def _test_steps(config: Config, missing: Sequence[Sequence[str]]) -> int:
    sets = [data for names in missing for target in read_targets(build.roots(config), names) for data in target.trials]
    images = sum(len(data.splits[split]) for data in sets for split in ("query", "gallery"))
    return max(1, round(images / (3 * config.sampler.identities * config.sampler.images)))


def estimate(tasks: Sequence[Task], runs: Sequence[Entry], jobs: int) -> float | None:
    """About how many seconds the tasks take, by the seconds a step that ``runs`` took so far with networks of the same
    kind on such a device; None where there are none of a kind, or of a network of other origin. Nothing is run to find
    out: the progress bar will tell."""
    of_kind: dict[str, list[float]] = {}
    for folder, config in {run.folder: run.config for run in runs if isinstance(run, Run)}.items():
        try:
            stored = read_progress(folder / FILE) if (folder / FILE).exists() else None
        except InputError:
            continue  # a damaged file: the process that takes the run up says so
        if stored is not None and stored.step and stored.device == build.device(config).type:
            of_kind.setdefault(network_key(config), []).append(stored.seconds / stored.step)
    total = 0.0
    for task in tasks:
        known = None if task.foreign else of_kind.get(network_key(task.config))
        if known is None:
            return None
        total += statistics.median(known) * (task.steps + task.tests)
    return total / max(1, min(_at_once(jobs, tasks[0].config), len(tasks))) if tasks else 0.0


def _at_once(jobs: int, config: Config) -> int:
    """Jobs that do not take each other's time: one a GPU, or as many as there are cores for their threads."""
    if build.device(config).type == "cuda":
        return min(jobs, torch.cuda.device_count())
    cores = os.cpu_count() or 1
    return min(jobs, max(1, cores // (config.threads or cores)))


class Log:
    """Counts the lines of a run's log, which is a line a step, reading only what came since the last time."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / LOG_FILE
        self._file, self._read, self._lines = -1, 0, 0  # inode, bytes, lines

    def steps(self) -> int:
        try:
            with self._path.open("rb") as file:
                stat = os.fstat(file.fileno())
                if stat.st_ino != self._file or stat.st_size < self._read:  # training cut it, and went on
                    self._file, self._read, self._lines = stat.st_ino, 0, 0
                file.seek(self._read)
                while block := file.read(1 << 20):
                    self._read += len(block)
                    self._lines += block.count(b"\n")
        except OSError:
            pass  # not there yet, or what the run's own process fails on, and tells
        return self._lines


def network_key(config: Config) -> str:
    """Runs of one key take about as long a step."""
    model, data = config.model, config.data
    batch = config.sampler.identities * config.sampler.images
    return f"{model.backbone} {model.width} {model.last_stride} {data.height} {data.width} {batch} {config.threads}"
