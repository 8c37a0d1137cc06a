"""Benchmark grids: models x sources x targets x seeds, and networks of other origin beside them, tested as they are.

A grid is a YAML file (configs/benchmarks). Its runs are ordinary runs in ordinary folders, so whatever is trained and
tested already counts, and a grid that was killed goes on where it stopped.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from reid.errors import InputError
from reid.files import read_yaml, resolve
from reid.overrides import validate


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
