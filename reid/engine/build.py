"""The only place where configuration becomes objects. Everything below takes plain values."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from reid.config import Config
from reid.data.card import load_card
from reid.data.dataset import ImageCache
from reid.data.reading import Roots, joint_fingerprint
from reid.data.samplers import (
    SAMPLERS,
    Sampler,
    check_batches,
    check_pairs,
    note_on_identities,
    note_on_pairs,
    without_pairs,
)
from reid.data.samples import Samples, join, matchless
from reid.data.transforms import Transform, evaluation_transform, training_transform
from reid.engine.distributed import local_rank, local_world, world_size
from reid.engine.extract import Extractor, Placement, Testing, has_bf16
from reid.engine.objective import WeightedLoss, make_losses
from reid.errors import InputError
from reid.models import Embedder, check_backbone, make_backbone
from reid.models.weights import check_weights, load_weights

BACKBONE_KEYS = ("last_stride", "width", "mixstyle", "pooling")  # an error of a backbone begins with that it is about


def check(config: Config) -> None:
    """Check every name and value that the schema cannot, before anything is rendered, downloaded or trained.

    Raises:
        InputError: naming the file, the key, the value and the choices.
    """
    check_tested(config)
    model = config.model
    if config.sync_batchnorm and device(config).type != "cuda":
        config.fail("sync_batchnorm", "true: is computed on CUDA alone; on a CPU the choice is false")
    _check_sampler(config, check_batches, len(config.data.sources), parts_of_batch(config))
    _naming(config, "model.weights", lambda: check_weights(model.backbone, model.width, model.weights))
    _naming(config, "losses", lambda: losses(config))
    if config.selection.patience is not None and config.selection.holdout == 0:
        config.fail("selection.patience", "needs selection.holdout above 0: without held-out people no epoch is better")
    if config.optim.name == "sgd" and config.optim.nesterov and config.optim.momentum == 0:
        config.fail("optim.nesterov", "true: needs optim.momentum above 0")
    for source in config.data.sources:
        _naming(config, "data.source", lambda source=source: load_card(source))  # type: ignore[misc]
    for target in config.targets:
        _naming(config, "targets", lambda target=target: load_card(target))  # type: ignore[misc]
    _check_shapes(config)
    names, count = _pair_losses(config)
    _check_sampler(config, check_pairs, count, names)
    _check_precision(config)
    _check_freezing(config)


def _check_precision(config: Config) -> None:
    if (asked := config.precision) in ("tf32", "fp16") and device(config).type != "cuda":
        config.fail("precision", f"{asked!r} is computed on CUDA alone; the choices here are auto, float32, bf16")


def _check_freezing(config: Config) -> None:
    terms = losses(config) if config.optim.freeze > 0 else []
    if terms and all(term.loss.input == ("features",) and not list(term.loss.parameters()) for term in terms):
        problem = "no loss has anything to train behind the backbone; choose 0"
        config.fail("optim.freeze", f"{config.optim.freeze:g}: {problem}")


def parts_of_batch(config: Config) -> int:
    """Into how many parts a batch is cut, each computed by itself: ``sampler.accumulate`` for each process."""
    return config.sampler.accumulate * world_size()


def _check_sampler(config: Config, check: Callable[..., None], *more: object) -> None:
    """Run a check of reid.data.samplers, whose errors begin with the key that they are about."""
    sampling = config.sampler
    try:
        check(sampling.name, sampling.identities, sampling.images, *more)
    except InputError as error:
        key, _, problem = str(error).partition(": ")
        config.fail(f"sampler.{key}", problem)


def check_tested(config: Config) -> None:
    """Check what a trained network's test needs; what it was trained from (source, weights, losses) may be gone.

    Raises:
        InputError: naming the file, the key, the value and the choices.
    """
    _naming(config, "model.backbone", lambda: check_backbone(config.model.backbone))
    _naming(config, "device", lambda: device(config))


def _check_shapes(config: Config) -> None:
    """Send a batch without content through the backbone: maps can be too small for a norm, a batch for the neck's."""
    images = config.sampler.identities * config.sampler.images // parts_of_batch(config)
    size = (images, 3, config.data.height, config.data.width)
    if images < 2:
        config.fail(
            "sampler.identities", "a batch, or a part, of one image: the BNNeck needs two; or raise sampler.images"
        )
    with torch.device("meta"):
        try:
            backbone = embedder(config, num_classes=2).backbone.train()
        except InputError as error:
            named = next((key for key in BACKBONE_KEYS if str(error).startswith(key)), "backbone")
            config.fail(f"model.{named}", str(error))
        try:
            backbone(torch.empty(size))
        except (ValueError, RuntimeError) as error:
            config.fail("data.height", f"a batch of {size} does not go through {config.model.backbone}: {error}")


@dataclass(frozen=True)
class Source:
    """What is trained on; several data sets are one, their identities and cameras kept apart."""

    label: str
    samples: Samples
    fingerprint: str
    domains: np.ndarray  # (N,) number of the data set that each image is of, in the order of data.source

    def domains_of(self, people: np.ndarray) -> np.ndarray:
        """Of images (M,) of these ``people``, such as are left after holding some out, the data sets' numbers (M,)."""
        known, firsts = np.unique(self.samples.pids, return_index=True)  # nobody is in two
        return self.domains[firsts[np.searchsorted(known, people)]]


def source(config: Config) -> Source:
    """Read the training split of the source, or of each of the sources."""
    sets = [roots(config).dataset(name, ["train"]) for name in config.data.sources]
    if len(sets) == 1:
        samples = sets[0].splits["train"]
        return Source(sets[0].label, samples, sets[0].fingerprint, np.zeros(len(samples), int))
    labels = [data.label for data in sets]
    if len(set(labels)) < len(labels) or any("+" in label for label in labels):
        config.fail("data.source", f"names must differ and hold no '+' to be joined by it: {', '.join(labels)}")
    fingerprint = joint_fingerprint([data.fingerprint for data in sets])
    trained_on = [data.splits["train"] for data in sets]
    domains = np.repeat(np.arange(len(sets)), [len(samples) for samples in trained_on])
    return Source("+".join(labels), join(trained_on), fingerprint, domains)


def embedder(config: Config, num_classes: int) -> Embedder:
    """A new network, its weights drawn from torch's generator; :func:`pretrained` replaces the backbone's."""
    model = config.model
    size = (config.data.height, config.data.width)
    backbone = make_backbone(model.backbone, model.last_stride, model.width, model.mixstyle, model.pooling, size)
    return Embedder(backbone, num_classes, model.neck_feature)


def pretrained(config: Config, network: Embedder) -> str:
    """Load ``model.weights`` into the backbone; returns what was loaded, missing and unused in a line."""
    report = load_weights(network.backbone, config.model.backbone, config.model.weights)
    return report.summary()


def losses(config: Config, classes: int = 2, channels: int = 2) -> list[WeightedLoss]:
    """The losses with a weight above 0, for so many people and numbers a feature."""
    return make_losses(config.losses, classes, channels)


def sampler(config: Config, labels: np.ndarray, domains: np.ndarray) -> Sampler:
    """Which images form a batch, for (N,) ``labels`` and the number (N,) of each one's source.

    Raises:
        InputError: too few to fill a batch, one identity only, or no two images of one for a loss that compares them.
    """
    sampling = config.sampler
    arguments: list[object] = [labels, sampling.identities, sampling.images, config.seed]
    if sampling.name == "balanced":
        arguments.append(domains)
        if len(np.unique(domains)) < len(config.data.sources):
            config.fail("selection.holdout", "leaves nobody of one of the sources to train on")
    try:
        built = SAMPLERS[sampling.name](*arguments)
    except InputError as error:
        config.fail("sampler", str(error))
    images = np.unique(labels, return_counts=True)[1]
    if len(images) < 2:
        config.fail("data.source", "one identity to train on: there is nothing to tell it from")
    names, _ = _pair_losses(config)
    if sampling.name == "random" and names and images.max() < 2:
        config.fail("sampler.name", f"random: no person has two images{without_pairs(names)}")
    return built


def check_cameras(config: Config, samples: Samples) -> None:
    """Refuse a loss across cameras where nobody was seen by two: it would be 0 for ever."""
    names = [term.name for term in losses(config) if term.loss.cameras]
    if names and matchless(samples, samples).all():
        config.fail("losses", f"{names[0]}.cross_camera: true, but nobody to train on was seen by two cameras")


def few_pairs(config: Config, sampler: Sampler, labels: np.ndarray) -> str:
    """How few images of the first epoch a loss of pairs can learn from, as a sentence; empty where it can from all."""
    names, count = _pair_losses(config)
    return note_on_pairs(sampler.epoch(0), count, labels, config.sampler.name, names) if names else ""


def shares(config: Config) -> str:
    """What part of a batch each process computes at once, as a sentence; empty where that is all of it."""
    sampling, count, each = config.sampler, parts_of_batch(config), config.sampler.accumulate
    if count == 1:
        return ""
    among = " x ".join([f"{world_size()} processes"] * (world_size() > 1) + [f"{each} parts in turn"] * (each > 1))
    if sampling.name == "random":
        images = sampling.identities * sampling.images
        return f"{among}, each {images // count} of {images} images"
    return f"{among}, each {sampling.identities // count} of {sampling.identities} people x {sampling.images} images"


def few_identities(config: Config) -> str:
    """How few people a loss of pairs finds in a part of a batch, as a sentence; empty where they are enough."""
    names, count = _pair_losses(config)
    known = names and config.sampler.name != "random"
    return note_on_identities(config.sampler.identities, count, names) if known else ""


def train_transform(config: Config) -> Transform:
    """The random transform of training."""
    return training_transform(config.data.height, config.data.width, **config.transforms.model_dump())


def image_cache(config: Config, images: int) -> ImageCache | None:
    """What keeps decoded images of a training on so many, where that is asked for.

    Raises:
        InputError: naming data.cache_gb, when the memory is not there.
    """
    if config.data.cache == "none":
        return None
    budget = round(config.data.cache_gb * 1e9)
    try:
        return ImageCache(images, config.data.height, config.data.width, budget, local_world())
    except InputError as error:
        config.fail("data.cache_gb", str(error).removeprefix("data.cache_gb: "))


def test_transform(config: Config) -> Transform:
    """The transform of testing, standardising as the run was trained."""
    return evaluation_transform(config.data.height, config.data.width, config.transforms.standardise)


test_transform.__test__ = False  # type: ignore[attr-defined]  # not a test, whatever its name looks like to pytest


def device(config: Config) -> torch.device:
    """The configured device; ``auto`` is CUDA when there is one. Of several processes each has a GPU of its own.

    Raises:
        InputError: CUDA asked for where there is none, or one GPU for several processes.
    """
    if config.device == "auto":
        chosen = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    else:
        chosen = torch.device(config.device)
    if chosen.type == "cuda" and (number := local_rank()) is not None:
        if chosen.index is not None:
            raise InputError(f"{config.device!r}: of several processes each takes a GPU of its own; give cuda or auto")
        chosen = torch.device("cuda", number)
    if chosen.type == "cuda" and (chosen.index or 0) >= torch.cuda.device_count():
        raise InputError(f"{str(chosen)!r}: this machine has {torch.cuda.device_count()} CUDA devices")
    return chosen


def placement(config: Config) -> Placement:
    """Device, precision and threads; ``auto`` takes bf16 only where the hardware has it: emulation is many times
    slower. On CUDA without it fp16 is the fast one.

    Raises:
        InputError: CUDA asked for where there is none, or a precision that is CUDA's.
    """
    _naming(config, "device", lambda: device(config))
    on = device(config)
    precision: str = config.precision
    if precision == "auto":
        precision = "bf16" if has_bf16(on) else "fp16" if on.type == "cuda" else "float32"
    _check_precision(config)
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision)
    return Placement(on, dtype, config.threads, named=config.device != "auto", tf32=precision == "tf32")


def workers(config: Config) -> int:
    """Processes that read images; by default two on a CPU, whose cores train, and up to eight for a GPU. Processes that
    train together share the cores."""
    if config.data.workers is not None:
        return config.data.workers
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(8 if device(config).type == "cuda" else 2, max(1, cores // local_world()))


def roots(config: Config) -> Roots:
    """Where data sets and the sites that are made here lie."""
    return Roots(config.data.folder, Path(config.data.sites_root))


def testing(config: Config) -> Testing:
    """How networks are tested under this configuration.

    Raises:
        InputError: as :func:`placement`.
    """
    return Testing(
        placement=placement(config),
        roots=roots(config),
        batch_size=config.evaluation.batch_size,
        workers=workers(config),
        flip=config.evaluation.flip,
        distance=config.evaluation.distance,
        top_k=config.evaluation.top_k,
        seed=config.seed,
        output=config.output,
    )


def extractor(config: Config, network: Embedder) -> Extractor:
    """``network``, in evaluation mode on the configured device, as a run of this configuration is tested."""
    how = testing(config)
    return Extractor(network, test_transform(config), how.placement, how.batch_size, how.workers, how.flip)


def _pair_losses(config: Config) -> tuple[list[str], int]:
    """The losses of pairs that see the smallest parts of a batch, and how many parts those are."""
    terms = [term for term in losses(config) if term.loss.pairs]
    apart = any(not term.gather for term in terms)
    names = [term.name for term in terms if not (apart and term.gather)]
    return names, parts_of_batch(config) if apart else config.sampler.accumulate


def _naming(config: Config, key: str, build: Callable[[], object]) -> None:
    try:
        build()
    except InputError as error:
        config.fail(key, str(error))
