"""Typed configuration: base.yaml < what the config file extends < the config file < key=value on the command line.

Unknown keys and wrong types raise :class:`InputError` naming the file and the key. The schema holds no defaults: every
default stands, with its comment, in configs/base.yaml. What a run's config.yaml lacks because it was written before the
key came stands in ``INTRODUCED``.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

import yaml
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr

from reid.errors import InputError
from reid.files import bundled, data_root, read_yaml, resolve
from reid.overrides import (
    drop,
    flatten,
    merge,
    mistyped,
    nested,
    origin_of,
    parse_override,
    read_chain,
    types_of,
    validate,
)

# By the schema number of the first config.yaml that holds them: new keys (dotted), each with the value that stands for
# what the code did before. A run's file of a smaller number lacks them and takes these values; and while a key has this
# value it does not count in a config's hash, so that what was trained before stays the same config. A key never goes or
# changes its name: a run's file that holds one which is not in the schema cannot be read.
INTRODUCED: dict[int, dict[str, Any]] = {
    1: {},  # the number itself: files without one are of schema 0
    2: {
        "compile": False,
        "sync_batchnorm": False,
        "model.pooling": "average",
        "data.cache": "none",
        "data.cache_gb": 4.0,
        "transforms.zoom": 0.0,
        "transforms.blur": 0.0,
        "sampler.accumulate": 1,
        "optim.name": "adam",
        "optim.momentum": 0.9,
        "optim.nesterov": False,
        "optim.backbone_lr": 1.0,
        "optim.freeze": 0,
        "optim.clip": None,
        "optim.ema": 0.0,
    },
}

Probability = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ModelConfig(_Section):
    backbone: str
    weights: str
    width: Positive
    last_stride: Literal[1, 2]
    pooling: Literal["average", "max", "gem"]
    neck_feature: Literal["after", "before"]
    mixstyle: Probability


class DataConfig(_Section):
    root: str | None
    sites_root: str
    source: str | Annotated[tuple[str, ...], Field(min_length=2)]
    height: Annotated[int, Field(ge=16, le=2048)]
    width: Annotated[int, Field(ge=16, le=2048)]
    workers: Annotated[int, Field(ge=0)] | None
    cache: Literal["none", "ram"]
    cache_gb: Positive

    @property
    def sources(self) -> tuple[str, ...]:
        """The data sets trained on."""
        return (self.source,) if isinstance(self.source, str) else self.source

    @property
    def folder(self) -> Path:
        """Where the data sets lie."""
        return data_root(self.root)


class TransformsConfig(_Section):
    flip: Probability
    pad: Annotated[int, Field(ge=0)]
    erasing: Probability
    jitter: Probability
    zoom: Probability
    blur: Probability
    standardise: bool


class SamplerConfig(_Section):
    name: str
    identities: Count
    images: Count
    accumulate: Count


class OptimConfig(_Section):
    name: Literal["adam", "adamw", "sgd"]
    lr: Positive
    backbone_lr: Positive
    momentum: Annotated[float, Field(ge=0, lt=1)]
    nesterov: bool
    weight_decay: NonNegative
    epochs: Count
    steps: Count | None
    warmup: NonNegative
    schedule: Literal["steps", "cosine"]
    milestones: tuple[NonNegative, ...]
    gamma: Probability
    freeze: NonNegative
    clip: Positive | None
    ema: Annotated[float, Field(ge=0, lt=1)]


class SelectionConfig(_Section):
    holdout: Annotated[float, Field(ge=0, lt=1)]
    patience: Count | None
    keep_epochs: bool


class EvaluationConfig(_Section):
    batch_size: Count
    distance: Literal["cosine", "euclidean"]
    flip: bool
    top_k: Annotated[int, Field(ge=50, le=10_000)]


class Config(_Section):
    """A whole experiment. ``name`` is the config file's stem; ``origin`` says which layer set a key."""

    seed: Annotated[int, Field(ge=0, lt=2**63)]
    device: Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:\d{1,3})?)$")]
    precision: Literal["auto", "float32", "tf32", "bf16", "fp16"]
    compile: bool
    sync_batchnorm: bool
    threads: Annotated[int, Field(ge=1, le=1024)] | None
    output: str
    run: str | None
    targets: tuple[str, ...]
    model: ModelConfig
    data: DataConfig
    transforms: TransformsConfig
    sampler: SamplerConfig
    losses: dict[str, dict[str, float | bool | None]]
    optim: OptimConfig
    selection: SelectionConfig
    evaluation: EvaluationConfig

    _name: str = PrivateAttr(default="config")
    _overridden: dict[str, Any] = PrivateAttr(default_factory=dict)
    _origins: dict[str, str] = PrivateAttr(default_factory=dict)

    @property
    def name(self) -> str:
        return self._name

    def origin(self, key: str) -> str:
        """The file (or "command line") that set ``key`` (dotted), or the nearest key above it."""
        return origin_of(self._origins, key)

    def fail(self, key: str, problem: str) -> NoReturn:
        """Raise :class:`InputError` for the value of ``key``, saying where it was set."""
        raise InputError(f"{self.origin(key)}: {key}: {problem}")

    def training(self) -> dict[str, Any]:
        """The keys that decide what is trained; a run's folder holds one value of them."""
        plain = self.model_dump(mode="json")
        for key in ("device", "output", "run", "targets", "evaluation", "precision", "threads", "compile"):
            del plain[key]
        for key in ("root", "sites_root", "workers", "cache", "cache_gb"):
            del plain["data"][key]
        del plain["model"]["neck_feature"], plain["selection"]["keep_epochs"]
        return plain

    def hash(self) -> str:
        """Twelve hexadecimal digits over :meth:`training`, without the keys that do as was done before they came."""
        counted = self.training()
        for number in INTRODUCED:
            for key, before in INTRODUCED[number].items():
                drop(counted, key.split("."), before)
        return hashlib.sha256(json.dumps(counted, sort_keys=True).encode()).hexdigest()[:12]

    @property
    def run_folder(self) -> Path:
        """``output/run``, where the run's name defaults to file name, source if it is overridden, seed and a hash of
        all training overrides. A folder that is there under the name without the source, as it once was, stays it."""
        if self.run:
            return Path(self.output) / self.run
        suffix = hashlib.sha256(json.dumps(self._overridden, sort_keys=True).encode()).hexdigest()[:6]
        ending = f"seed{self.seed}" + (f"_{suffix}" if self._overridden else "")
        before = Path(self.output) / f"{self.name}_{ending}"
        if "data.source" not in self._overridden or before.is_dir():
            return before
        return Path(self.output) / f"{self.name}_{_in_words(self.data.sources)}_{ending}"


def _in_words(sources: Sequence[str]) -> str:
    """Data sets as part of a file's name: their names, of paths the last part; the hash beside it tells like ones
    apart."""
    words = [re.sub(r"[^A-Za-z0-9_.@-]+", "-", Path(source).name).strip(".-") or "data" for source in sources]
    return "+".join(word.removesuffix(".csv")[:40] for word in words)[:80]


COMMAND_LINE = "command line"


def _later(origins: Mapping[str, str], layer: Mapping[str, Any], origin: str) -> dict[str, str]:
    """Which layer set each key, those of the last layer at the end: a section is said to be of the last that set any of
    its keys."""
    new = dict.fromkeys(flatten(layer), origin)
    return {key: value for key, value in origins.items() if key not in new} | new


def load_config(name: str, overrides: Sequence[str] = (), values: Mapping[str, Any] | None = None) -> Config:
    """Read a config file (a path, or the bare name of a bundled one) over base.yaml, then ``key=value`` overrides.

    ``values`` are overrides too, dotted keys to what is no text of a command line but the value itself.

    Raises:
        InputError: naming the file and key, for a missing file, bad YAML, an unknown key or a value of the wrong type.
    """
    base_path, path = bundled("configs") / "base.yaml", resolve("configs", name)
    layers = [(base_path.name, read_yaml(base_path)), *read_chain(path)]
    merged: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for origin, layer in layers:
        origins = _later(origins, layer, origin)
        merged = merge(merged, layer)
    plain = make_config(merged, path.stem, origins)
    changes = _changes(overrides)
    for key, value in (values or {}).items():
        changes = merge(changes, nested(key, value))
    config = make_config(merge(merged, changes), path.stem, _later(origins, changes, COMMAND_LINE))
    before, after = flatten(plain.training()), flatten(config.training())
    config._overridden = {key: value for key, value in after.items() if before.get(key, ...) != value and key != "seed"}
    return config


def make_config(values: Mapping[str, Any], name: str, origins: Mapping[str, str]) -> Config:
    """Validate plain ``values``; ``origins`` maps dotted keys to the files that set them."""
    for key, value in flatten(values).items():
        parts = [(f"{key}.{number}", item) for number, item in enumerate(value)] if isinstance(value, list) else []
        for place, item in [(key, value), *parts]:
            problem = mistyped(item, types_of(Config, place))
            if problem:
                raise InputError(f"{origin_of(origins, key)}: {place}: expected {problem}, got {item!r}")
    config = validate(Config, values, lambda key: origin_of(origins, key))
    config._name, config._origins = name, dict(origins)
    return config


def load_resolved(path: Path, overrides: Sequence[str] = ()) -> Config:
    """Read the resolved config saved with a run (every key stands in it; its name is stored beside them).

    Raises:
        InputError: as :func:`resolved`.
    """
    return resolved(read_yaml(path), path, path.parent.name, overrides)


def resolved(stored: Mapping[str, Any], path: Path, unnamed: str, overrides: Sequence[str] = ()) -> Config:
    """The config of plain values that :func:`resolved_values` made and the file at ``path`` kept.

    Keys that came after the file was written take the value that stands for what was done before (``INTRODUCED``).

    Args:
        unnamed: the config's name where none is stored.

    Raises:
        InputError: as :func:`load_config`; a file that newer code wrote.
    """
    values = dict(stored)
    name, written = str(values.pop("name", unnamed)), values.pop("schema", 0)
    if type(written) is not int or written < 0:
        raise InputError(f"{path}: schema: expected a whole number, got {written!r}")
    if written > max(INTRODUCED):
        raise InputError(
            f"{path}: schema: {written}, but this version of reid-gap reads up to {max(INTRODUCED)}: newer code wrote "
            "this run, and may have trained in a way that this code knows nothing of; update reid-gap"
        )
    for number in sorted(INTRODUCED):
        for key, before in INTRODUCED[number].items() if number > written else ():
            values = merge(nested(key, deepcopy(before)), values)
    extra = _changes(overrides)
    origins = {key: str(path) for key in ("", *flatten(values))} | dict.fromkeys(flatten(extra), COMMAND_LINE)
    return make_config(merge(values, extra), name, origins)


def resolved_values(config: Config) -> dict[str, Any]:
    """Every key of a config as plain values, with its name and the schema's number: :func:`resolved` takes them."""
    return {"schema": max(INTRODUCED), "name": config.name, **config.model_dump(mode="json")}


def dump_resolved(config: Config) -> str:
    """YAML text of every key, as :func:`load_resolved` reads it."""
    return yaml.safe_dump(resolved_values(config), sort_keys=False)


def _changes(overrides: Sequence[str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for override in overrides:
        values = merge(values, parse_override(Config, override, COMMAND_LINE))
    return values
