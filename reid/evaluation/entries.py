"""What a grid's rows are of: its runs, and its networks of other origin; what they lack, and why."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reid.config import Config, load_config
from reid.engine import build
from reid.engine.checkpoint import FILE
from reid.engine.train import is_trained
from reid.errors import InputError
from reid.evaluation.adapted import adapted, read_adaptation
from reid.evaluation.evaluate import is_evaluated
from reid.evaluation.grid import Benchmark
from reid.evaluation.subject import NOT_KNOWN, Subject, foreign_subject, subject_of_run
from reid.evaluation.targets import SUFFIX, Adaptation, Target, read_targets


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

    @property
    def folder(self) -> Path:
        return self.config.run_folder

    def subject(self, config: Config | None = None) -> Subject:
        """The finished run; placed as ``config`` says."""
        return subject_of_run(config or self.config, self.folder)

    def place(self, described: Mapping[str, Any], target: Target) -> dict[str, Any]:
        """How the tables name a test: by what the results say of the network."""
        return {
            "source": described["source"],
            "seed": described["seed"],
            "in_domain": target.label in described["sources"],
        }

    def missing_place(self) -> dict[str, Any]:
        """As :meth:`place`, of a test that was not made."""
        return {"source": label_of(self.config, self.config.data.sources), "seed": self.config.seed}

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
class ForeignEntry:
    """One network of other origin under its label, with the targets that it is tested on, as ``config`` says: the
    grid's first model's."""

    label: str
    name: str
    trained_on: str | None
    config: Config
    targets: tuple[str, ...]
    remedy: bool = False
    adabn: bool = False
    divergence: bool = False
    oracle: bool = False

    @property
    def described(self) -> str:
        """The network in words, for messages."""
        return f"{self.label} ({self.name})" if self.label != self.name else self.name

    @property
    def folder(self) -> Path:
        """What stands for the network in messages: its results' folder is known when it has been opened."""
        return Path(self.name)

    def tests(self) -> Iterator[tuple[Target, Adaptation | None]]:
        """Each target."""
        for target in read_targets(build.roots(self.config), self.targets):
            yield target, None

    def subject(self, config: Config | None = None) -> Subject:
        """The network; placed as ``config`` says."""
        return foreign_subject(self.name, build.testing(config or self.config))

    def missing(self) -> list[str]:
        """Targets without valid figures."""
        subject = self.subject()
        return [target.given for target, _ in self.tests() if not is_evaluated(subject, target)]

    def place(self, described: Mapping[str, Any], target: Target) -> dict[str, Any]:
        """How the tables name a test; a foreign network has no seed."""
        known = {name for name in (target.label, target.given) if name == self.trained_on}
        return {**self.missing_place(), "in_domain": bool(known)}

    def missing_place(self) -> dict[str, Any]:
        """As :meth:`place`, of a test that was not made."""
        if self.trained_on in self.targets:
            return {"source": label_of(self.config, [self.trained_on]), "seed": None}
        return {"source": self.trained_on or NOT_KNOWN, "seed": None}


Entry = Run | ForeignEntry


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

    def keeps(self, run: Entry, target: str) -> bool:
        """Whether this is why the run lacks the target."""
        concerns = self.target is None or (self.target == target and self.run == run.described)
        return concerns and self.folder == run.folder


def lacking(run: Entry, failures: Sequence[Failure]) -> dict[str, str]:
    """The targets (as given) that a run has no valid figures of, each with the reason."""
    concerned = [failure for failure in failures if failure.folder == run.folder]
    if not concerned:
        return {}
    try:
        missing = run.missing()
    except InputError:
        missing = list(run.targets)
    reasons = {name: [failure.reason for failure in concerned if failure.keeps(run, name)] for name in missing}
    return {name: "; ".join(texts) or "an earlier step failed" for name, texts in reasons.items()}


def foreign_of(benchmark: Benchmark, config: Config) -> list[ForeignEntry]:
    """The foreign networks of the grid, tested as ``config`` says; none is opened."""
    return [
        ForeignEntry(label, network.model, network.trained_on, config, benchmark.targets)
        for label, network in benchmark.foreign.items()
    ]


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
            place = (config.run_folder, model.adabn)
            if place in seen:
                raise InputError(f"{label!r} and {seen[place]!r} are the same run, {config.run_folder}")
            seen[place] = label
            divergence = not remedy and not model.adabn and seed == benchmark.seeds[0]
            runs.append(Run(label, remedy, config, model.adabn, benchmark.targets, divergence, model.oracle))
    return runs


def check_runs(runs: Sequence[Run]) -> None:
    """Check the config of each label that has runs which are not begun, before any is trained.

    Raises:
        InputError: naming the file, the key, the value and the choices.
    """
    new = {run.label: run.config for run in reversed(runs) if not (run.folder / FILE).exists()}
    for config in reversed(new.values()):
        build.check(config)


def refuse_one_network_twice(entries: Sequence[Entry]) -> None:
    """Open the foreign networks, and refuse two labels that mean one.

    Raises:
        InputError: naming both; a network that cannot be opened.
    """
    seen: dict[Path, str] = {}
    for entry in (entry for entry in entries if isinstance(entry, ForeignEntry)):
        folder = entry.subject().folder
        if folder in seen:
            raise InputError(f"{entry.label!r} and {seen[folder]!r} are the same network, {entry.name}")
        seen[folder] = entry.label


def check_sources(config: Config, benchmark: Benchmark) -> None:
    """Refuse two sources that the tables would have under one name.

    Raises:
        InputError: naming both; a source that cannot be read.
    """
    named: dict[str, str] = {}
    for source in benchmark.sources:
        label = build.roots(config).label(source)
        if label in named:
            raise InputError(f"sources: {named[label]} and {source} are both named {label}; rename one")
        named[label] = source


def refuse_two_protocols(targets: Sequence[Target]) -> None:
    """A grid's tables hold figures of one protocol alone.

    Raises:
        InputError: naming a target of each.
    """
    for target in targets[1:]:
        if target.protocol != targets[0].protocol:
            raise InputError(
                f"targets: {targets[0].label} is measured {targets[0].protocol}, {target.label} {target.protocol}: "
                "such figures do not stand in one table; make a grid of each, or change cross_camera_only in a card"
            )


def filed_as(config: Config, name: str) -> str:
    """The name of a target in tables, as far as the data can be read."""
    try:
        sets = build.roots(config).datasets(name, ())
    except InputError:
        return name
    return label_of(config, [name]) + SUFFIX[sets[0].card.protocol]


def label_of(config: Config, names: Sequence[str]) -> str:
    """The label of one data set, or of several as one, as far as the data can be read."""
    try:
        return "+".join(build.roots(config).label(name) for name in names)
    except InputError:
        return "+".join(names)
