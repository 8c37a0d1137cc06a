"""Benchmark grids: models x sources x targets x seeds, and networks of other origin beside them, tested as they are.

A grid is a YAML file (configs/benchmarks). Its runs are ordinary runs in ordinary folders, so whatever is trained and
tested already counts, and a grid that was killed goes on where it stopped.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from reid.config import Config, load_config
from reid.engine import build
from reid.engine.train import is_trained
from reid.errors import InputError
from reid.evaluation.adapted import adapted, read_adaptation
from reid.evaluation.evaluate import is_evaluated
from reid.evaluation.subject import NOT_KNOWN, Subject, foreign_subject, subject_of_run
from reid.evaluation.targets import Adaptation, Target, read_targets
from reid.files import read_yaml
from reid.paths import resolve
from reid.validation import validate


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Model(_Section):
    """One model of a grid: a config file; whether batch-norm statistics are estimated anew on each target; whether each
    target's best epoch is shown beside the tested one."""

    cfg: str
    adabn: bool = False
    oracle: bool = False


class Foreign(_Section):
    """A network of a grid that is not trained by it: by the name that ``--model`` takes; the data set that it was
    trained on, where that is known: as a target is given, or in words."""

    model: str
    trained_on: str | None = None


class Benchmark(_Section):
    """A grid. ``foreign`` stand among the models in its file. ``remedies`` are tested with the first seed alone;
    ``leave_one_out`` trains on all sources but one."""

    models: Annotated[dict[str, Model], Field(min_length=1)]
    foreign: dict[str, Foreign] = {}
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


def load_benchmark(name: str) -> tuple[str, Benchmark]:
    """Name and grid of a YAML file: a path, or a bundled one's name.

    Raises:
        InputError: naming the file and key.
    """
    path = resolve("configs/benchmarks", name)
    values = read_yaml(path)
    foreign = _take_foreign(values, path)
    for part in ("models", "remedies"):
        if isinstance(values.get(part), dict):  # a bare file name is short for {cfg: NAME}
            values[part] = {k: {"cfg": v} if isinstance(v, str) else v for k, v in values[part].items()}
    benchmark = validate(Benchmark, values, path).model_copy(update={"foreign": foreign})
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


def _take_foreign(values: dict[str, Any], path: Path) -> dict[str, Foreign]:
    """The foreign networks, taken out of the models of a grid's ``values``."""
    if "foreign" in values:
        raise InputError(f"{path}: foreign: networks of other origin stand among the models: {{NAME: {{model: WHAT}}}}")
    models = values.get("models")
    if not isinstance(models, dict):
        return {}
    named = {label: model for label, model in models.items() if isinstance(model, dict) and "model" in model}
    if named and len(named) == len(models):
        raise InputError(
            f"{path}: models: names no model to train (cfg); networks as they are go to cross_domain --models"
        )
    values["models"] = {label: model for label, model in models.items() if label not in named}
    foreign = {str(label): validate(Foreign, model, _Where(path, label)) for label, model in named.items()}
    for label, network in foreign.items():
        if Path(network.model).is_dir():
            raise InputError(f"{path}: models: {label}: {network.model} is a folder; of a run of this project give cfg")
        if label in (values.get("remedies") or {}):
            raise InputError(f"{path}: remedies: {label!r} is also a model")
    return foreign


@dataclass(frozen=True)
class _Where:
    """The place of a foreign network's keys, for messages."""

    path: Path
    label: object

    def __call__(self, key: str) -> str:
        return f"{self.path}: models: {self.label}"


def foreign_of(benchmark: Benchmark, config: Config) -> list[ForeignEntry]:
    """The foreign networks of the grid, tested as ``config`` says.

    Raises:
        InputError: one that cannot be opened, or two labels that mean one.
    """
    entries: list[ForeignEntry] = []
    seen: dict[Path, str] = {}
    for label, network in benchmark.foreign.items():
        entry = ForeignEntry(label, network.model, network.trained_on, config, benchmark.targets)
        folder = entry.subject().folder
        if folder in seen:
            raise InputError(f"{label!r} and {seen[folder]!r} are the same network, {network.model}")
        seen[folder] = label
        entries.append(entry)
    return entries


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
    named: dict[str, str] = {}
    for source in benchmark.sources:
        label = build.roots(config).label(source)
        if label in named:
            raise InputError(f"sources: {named[label]} and {source} are both named {label}; rename one")
        named[label] = source


def label_of(config: Config, names: Sequence[str]) -> str:
    """The label of one data set, or of several as one, as far as the data can be read."""
    try:
        return "+".join(build.roots(config).label(name) for name in names)
    except InputError:
        return "+".join(names)
