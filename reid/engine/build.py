"""The only place where configuration becomes objects. Everything below takes plain values."""

from __future__ import annotations

import hashlib
import inspect
import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from reid.config import Config
from reid.data.card import load_card
from reid.data.halves import trials
from reid.data.join import concatenate, join
from reid.data.names import refuse_unwritable
from reid.data.reading import read_dataset
from reid.data.samplers import SAMPLERS, PKSampler, RandomSampler, share_with_pairs
from reid.data.samples import DataSet, Samples
from reid.data.schema import Card
from reid.data.transforms import Transform, evaluation_transform, training_transform
from reid.data.unlabelled import passed_over, read_unlabelled
from reid.errors import InputError
from reid.losses import LOSSES
from reid.models import BACKBONES, Embedder
from reid.models.weights import check_weights, load_weights
from reid.paths import bundled_names

log = logging.getLogger(__name__)

_kept: ContextVar[dict[tuple[object, ...], DataSet] | None] = ContextVar("tables that were read", default=None)


def check(config: Config) -> None:
    """Check every name and value that the schema cannot, before anything is rendered, downloaded or trained.

    Raises:
        InputError: naming the file, the key, the value and the choices.
    """
    check_tested(config)
    model = config.model
    if config.sampler.name not in SAMPLERS:
        config.fail("sampler.name", f"{config.sampler.name!r} is not one of {', '.join(SAMPLERS)}")
    _naming(config, "model.weights", lambda: check_weights(model.backbone, model.width, model.weights))
    _naming(config, "losses", lambda: _losses(config))
    if config.selection.patience is not None and config.selection.holdout == 0:
        config.fail("selection.patience", "needs selection.holdout above 0: without held-out people no epoch is better")
    for source in config.data.sources:
        _naming(config, "data.source", lambda source=source: load_card(source))  # type: ignore[misc]
    for target in config.targets:
        _naming(config, "targets", lambda target=target: load_card(target))  # type: ignore[misc]
    _check_shapes(config)
    _check_pairs(config)


def _check_pairs(config: Config) -> None:
    """Refuse batches in which a loss that compares images has nothing to compare: it would be 0 for ever."""
    own, names = config.sampler, _pair_losses(config)
    if own.name == "pk" and names and own.images == 1:
        config.fail("sampler.images", f"1: no batch of sampler.name=pk holds two images of a person{_dead(names)}")
    if own.name == "pk" and names and own.identities == 1:
        config.fail("sampler.identities", f"1: no batch of sampler.name=pk holds two people{_dead(names)}")


def _dead(names: Sequence[str]) -> str:
    choices = " ".join(f"losses.{name}.weight=0" for name in names)
    return f", and the loss {', '.join(names)} would be 0 for ever; change that, or leave the loss out: {choices}"


def check_tested(config: Config) -> None:
    """Check what a trained network's test needs; what it was trained from (source, weights, losses) may be gone.

    Raises:
        InputError: naming the file, the key, the value and the choices.
    """
    if config.model.backbone not in BACKBONES:
        config.fail("model.backbone", f"{config.model.backbone!r} is not one of {', '.join(BACKBONES)}")
    _naming(config, "device", lambda: device(config))


def _check_shapes(config: Config) -> None:
    """Send a batch without content through the backbone: maps can be too small for a norm, a batch for the neck's."""
    size = (config.sampler.identities * config.sampler.images, 3, config.data.height, config.data.width)
    if size[0] < 2:
        config.fail("sampler.identities", "a batch of one image: the BNNeck needs two; or raise sampler.images")
    with torch.device("meta"):
        try:
            backbone = embedder(config, num_classes=2).backbone.train()
        except InputError as error:
            config.fail("model.width", str(error))
        try:
            backbone(torch.empty(size))
        except (ValueError, RuntimeError) as error:
            config.fail("data.height", f"a batch of {size} does not go through {config.model.backbone}: {error}")


def dataset(config: Config, name: str, splits: Sequence[str]) -> DataSet:
    """Read the tables of a data set by name; a drawn site is rendered first."""
    return _read(config, load_card(name), splits)


def datasets(config: Config, name: str, splits: Sequence[str]) -> list[DataSet]:
    """As :func:`dataset`, but each of its random splits where the card has several and the name picks none."""
    return [_read(config, card, splits) for card in trials(load_card(name))]


def label(config: Config, name: str) -> str:
    """What the results of a data set, or of all its random splits, are filed under."""
    own = datasets(config, name, ())
    return own[0].label if len(own) == 1 else own[0].name


def images(config: Config, name: str, training: bool) -> tuple[str, Samples]:
    """Label and images of a folder, whatever its layout, or of a data set: its training split where ``training`` and
    it has one, else its test splits together."""
    if name and Path(name).is_dir() and name not in bundled_names("datasets"):
        for note in passed_over(Path(name)):
            _note(f"{name}: {note}")
        samples = read_unlabelled(Path(name))
        for path in (Path(name).resolve(), *samples.paths):
            refuse_unwritable(str(path))
        return f"{Path(name).resolve().name} (folder)", samples
    card = load_card(name)
    known = card.splits or _table(config, card, None).splits
    data = _read(config, card, ["train"] if training and "train" in known else ["query", "gallery"])
    return data.label, concatenate(list(data.splits.values()))


@contextmanager
def tables_kept() -> Iterator[None]:
    """Within the block each table is read once, however many runs ask for it: for a command that takes the data to stay
    as it is."""
    token = _kept.set({} if (before := _kept.get()) is None else before)
    try:
        yield
    finally:
        _kept.reset(token)


def _table(config: Config, card: Card, splits: Sequence[str] | None) -> DataSet:
    folder, sites = config.data.folder, Path(config.data.sites_root)
    kept = _kept.get()
    if kept is None:
        return read_dataset(card, folder, sites, splits)
    key = (repr(card), folder, sites, None if splits is None else tuple(splits))
    if key not in kept:
        kept[key] = read_dataset(card, folder, sites, splits)
    return kept[key]


def _read(config: Config, card: Card, splits: Sequence[str]) -> DataSet:
    data = _table(config, card, splits)
    for note in data.notes:
        _note(f"{data.name}: {note}")
    return data


@dataclass(frozen=True)
class Source:
    """What is trained on; several data sets are one, their identities and cameras kept apart."""

    label: str
    samples: Samples
    fingerprint: str


def source(config: Config) -> Source:
    """Read the training split of the source, or of each of the sources."""
    sets = [dataset(config, name, ["train"]) for name in config.data.sources]
    if len(sets) == 1:
        return Source(sets[0].label, sets[0].splits["train"], sets[0].fingerprint)
    labels = [data.label for data in sets]
    if len(set(labels)) < len(labels) or any("+" in label for label in labels):
        config.fail("data.source", f"names must differ and hold no '+' to be joined by it: {', '.join(labels)}")
    fingerprint = joint_fingerprint([data.fingerprint for data in sets])
    return Source("+".join(labels), join([data.splits["train"] for data in sets]), fingerprint)


def joint_fingerprint(fingerprints: Sequence[str]) -> str:
    """One of several data sets, or of the random splits of one; of a single one its own."""
    if len(fingerprints) == 1:
        return fingerprints[0]
    return hashlib.sha256("".join(fingerprints).encode()).hexdigest()


@lru_cache
def _note(text: str) -> None:
    """Warn once: a command reads the same data set several times."""
    log.warning(text)


def embedder(config: Config, num_classes: int) -> Embedder:
    """A new network, its weights drawn from torch's generator; :func:`pretrained` replaces the backbone's."""
    model = config.model
    backbone = BACKBONES[model.backbone](
        num_classes=None, last_stride=model.last_stride, width=model.width, mixstyle=model.mixstyle
    )
    return Embedder(backbone, num_classes, model.neck_feature)


def pretrained(config: Config, network: Embedder) -> str:
    """Load ``model.weights`` into the backbone; returns what was loaded, missing and unused in a line."""
    report = load_weights(network.backbone, config.model.backbone, config.model.weights)
    return report.summary()


@dataclass(frozen=True)
class WeightedLoss:
    """One term of the total loss; ``input`` is the field of the network's output that it reads."""

    name: str
    weight: float
    loss: nn.Module
    input: str


def losses(config: Config) -> list[WeightedLoss]:
    """The losses with a weight above 0."""
    return _losses(config)


def sampler(config: Config, labels: np.ndarray) -> PKSampler | RandomSampler:
    """Which images form a batch, for (N,) ``labels``.

    Raises:
        InputError: too few to fill a batch, one identity only, or no two images of one for a loss that compares them.
    """
    own = config.sampler
    try:
        built = SAMPLERS[own.name](labels, own.identities, own.images, config.seed)
    except InputError as error:
        config.fail("sampler", str(error))
    images = np.unique(labels, return_counts=True)[1]
    if len(images) < 2:
        config.fail("data.source", "one identity to train on: there is nothing to tell it from")
    names = _pair_losses(config)
    if own.name == "random" and names and images.max() < 2:
        config.fail("sampler.name", f"random: no person has two images{_dead(names)}")
    return built


def few_pairs(config: Config, sampler: PKSampler | RandomSampler, labels: np.ndarray) -> str:
    """How few images of the first epoch a loss of pairs can learn from, as a sentence; empty where it can from all."""
    names = _pair_losses(config)
    share = share_with_pairs(sampler.epoch(0), labels) if names else 1
    if share == 1:
        return ""
    why = {
        "pk": "a person with a single image meets only that one again, augmented anew",
        "random": "sampler.name=pk brings the images of a person together",
    }[config.sampler.name]
    return (
        f"sampler.name={config.sampler.name}: {share:.1%} of the images in a batch have another image of their person "
        f"beside them, which the loss {', '.join(names)} needs; {why}"
    )


def train_transform(config: Config) -> Transform:
    """The random transform of training."""
    own = config.transforms
    return training_transform(
        config.data.height, config.data.width, own.flip, own.pad, own.erasing, own.jitter, own.standardise
    )


def test_transform(config: Config) -> Transform:
    """The transform of testing, standardising as the run was trained."""
    return evaluation_transform(config.data.height, config.data.width, config.transforms.standardise)


test_transform.__test__ = False  # type: ignore[attr-defined]  # not a test, whatever its name looks like to pytest


def device(config: Config) -> torch.device:
    """The configured device; ``auto`` is CUDA when there is one.

    Raises:
        InputError: CUDA asked for where there is none.
    """
    if config.device == "auto":
        chosen = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    else:
        chosen = torch.device(config.device)
    if chosen.type == "cuda" and (chosen.index or 0) >= torch.cuda.device_count():
        raise InputError(f"{config.device!r}: this machine has {torch.cuda.device_count()} CUDA devices")
    return chosen


def exact_float32() -> None:
    """Have float32 mean IEEE float32 in every product and convolution of this process, not TF32 or bf16.

    Called where a process takes up a network: training, testing, detecting. Each operation is set by itself, since one
    that was set before does not follow its parent. torch's older switches (``allow_tf32``) do not go with these.
    """
    backends: Any = torch.backends  # its types do not tell all of the operations
    for part in (backends, backends.cuda.matmul, backends.cudnn, backends.cudnn.conv, backends.cudnn.rnn,
                 backends.mkldnn, backends.mkldnn.matmul, backends.mkldnn.conv, backends.mkldnn.rnn):  # fmt: skip
        part.fp32_precision = "ieee"


def autocast_dtype(config: Config, on: torch.device) -> torch.dtype | None:
    """bf16 or None (float32). ``auto`` takes bf16 only where the hardware has it: emulation is many times slower."""
    if config.precision == "auto":
        return torch.bfloat16 if has_bf16(on) else None
    return torch.bfloat16 if config.precision == "bf16" else None


def has_bf16(on: torch.device) -> bool:
    """Whether the hardware of this device computes in bf16 (``torch.cuda.is_bf16_supported`` asks the current one)."""
    if on.type == "cuda":
        return torch.version.hip is not None or torch.cuda.get_device_capability(on) >= (8, 0)
    capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return any(capabilities.get(name, False) for name in ("avx512_bf16", "amx_bf16"))


def _losses(config: Config) -> list[WeightedLoss]:
    built = []
    for name, parameters in config.losses.items():
        if name not in LOSSES:
            raise InputError(f"{name!r} is not one of {', '.join(LOSSES)}")
        choices = list(inspect.signature(LOSSES[name]).parameters)
        unknown = sorted(set(parameters) - {"weight", *choices})
        if unknown:
            raise InputError(f"{name}: unknown key {unknown[0]!r}; the keys here are weight, {', '.join(choices)}")
        weight = parameters.get("weight", 1.0)
        if weight is None or not 0 <= weight < math.inf:
            raise InputError(f"{name}.weight: expected a number of at least 0, got {weight!r}")
        own = {key: value for key, value in parameters.items() if key != "weight"}
        try:
            loss = LOSSES[name](**own)
        except TypeError:  # null where the loss knows none
            raise InputError(f"{name}: does not take {own}") from None
        if weight > 0:
            built.append(WeightedLoss(name, weight, loss, str(loss.input)))
    if not built:
        raise InputError("every loss has weight 0; nothing is left to train with")
    return built


def total_loss(terms: Sequence[WeightedLoss], output: Any, labels: Tensor) -> tuple[Tensor, Mapping[str, Tensor]]:
    """Weighted sum, and each term before its weight."""
    values = {term.name: term.loss(getattr(output, term.input), labels) for term in terms}
    total = torch.stack([term.weight * values[term.name] for term in terms]).sum()
    return total, values


def _pair_losses(config: Config) -> list[str]:
    return [term.name for term in losses(config) if term.loss.pairs]


def _naming(config: Config, key: str, build: Callable[[], object]) -> None:
    try:
        build()
    except InputError as error:
        config.fail(key, str(error))
