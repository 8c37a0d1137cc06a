"""The only place where configuration becomes objects. Everything below takes plain values."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from reid.config import Config, load_resolved
from reid.data.card import load_card
from reid.data.reading import Roots, joint_fingerprint
from reid.data.samplers import SAMPLERS, Sampler, share_with_pairs
from reid.data.samples import Samples, join
from reid.data.transforms import Transform, evaluation_transform, training_transform
from reid.engine.checkpoint import CONFIG_FILE, FILE, Progress, load_model, network_file, read_progress
from reid.engine.distributed import local_rank, planned_world
from reid.engine.extract import Extractor, Placement, Testing, has_bf16
from reid.engine.objective import WeightedLoss, make_losses
from reid.errors import InputError
from reid.models import Embedder, check_backbone, make_backbone
from reid.models.weights import check_weights, load_weights

FEW_PEOPLE = 8  # a part of a batch; with fewer batch-hard soon finds no hard pair
BACKBONE_KEYS = ("last_stride", "width", "mixstyle")  # an error of a backbone begins with the one that it is about


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
    _naming(config, "losses", lambda: losses(config))
    if config.selection.patience is not None and config.selection.holdout == 0:
        config.fail("selection.patience", "needs selection.holdout above 0: without held-out people no epoch is better")
    for source in config.data.sources:
        _naming(config, "data.source", lambda source=source: load_card(source))  # type: ignore[misc]
    for target in config.targets:
        _naming(config, "targets", lambda target=target: load_card(target))  # type: ignore[misc]
    _check_parts(config)
    _check_shapes(config)
    _check_pairs(config)


def _check_parts(config: Config) -> None:
    """Refuse a batch that cannot be dealt out in whole people, and statistics of all processes where there are none."""
    people, count = config.sampler.identities, _parts(config)
    if people % count:
        near = ", ".join(str(count * number) for number in (people // count, people // count + 1) if number)
        problem = f"{people} people a batch are not as many for each of {_dealt_to(config)}; choices: {near}, ..."
        config.fail("sampler.identities", f"{problem}, or other processes or parts")
    if config.sync_batchnorm and device(config).type != "cuda":
        config.fail("sync_batchnorm", "true: is computed on CUDA alone; on a CPU the choice is false")


def _parts(config: Config) -> int:
    """Into how many parts a batch is cut, for all processes together."""
    return planned_world() * config.sampler.accumulate


def _dealt_to(config: Config) -> str:
    each = config.sampler.accumulate
    return f"{planned_world()} processes" + (f" x {each} parts (sampler.accumulate)" if each > 1 else "")


def shares(config: Config) -> str:
    """What part of a batch each process takes, as a sentence; empty where a batch is one part."""
    people, count, images = config.sampler.identities, _parts(config), config.sampler.images
    if count == 1:
        return ""
    if config.sampler.name == "random":
        return f"{_dealt_to(config)}, each {people // count * images} of {people * images} images"
    return f"{_dealt_to(config)}, each {people // count} of {people} people x {images} images"


def few_people(config: Config) -> str:
    """How few people's images are a part of a batch, as a sentence; empty where they are enough, or a batch is one."""
    people, count = config.sampler.identities, _parts(config)
    if count == 1 or people // count >= FEW_PEOPLE:
        return ""
    local = [term.name for term in losses(config) if term.loss.pairs and not term.gather]
    gather = f"; losses.{local[0]}.gather=true takes its pairs from all processes" if local and planned_world() > 1 else ""
    return (
        f"sampler.identities={people}: {people // count} people a part, of which batch norm's statistics and the losses' "
        f"pairs are, are fewer than {FEW_PEOPLE}: raise it, or take fewer parts{gather}"
    )


def _check_pairs(config: Config) -> None:
    """Refuse batches in which a loss that compares images has nothing to compare: it would be 0 for ever."""
    sampling, names = config.sampler, _pair_losses(config)
    local = [term.name for term in losses(config) if term.loss.pairs and not term.gather]
    if sampling.name != "random" and local and sampling.identities == _parts(config) > 1:
        what = f"{sampling.identities}: none of {_dealt_to(config)} holds two people"
        config.fail("sampler.identities", f"{what}{_dead(local)}; or losses.NAME.gather=true")
    if sampling.name == "pk" and names and sampling.images == 1:
        config.fail("sampler.images", f"1: no batch of sampler.name=pk holds two images of a person{_dead(names)}")
    if sampling.name == "pk" and names and sampling.identities == 1:
        config.fail("sampler.identities", f"1: no batch of sampler.name=pk holds two people{_dead(names)}")


def _dead(names: Sequence[str]) -> str:
    choices = " ".join(f"losses.{name}.weight=0" for name in names)
    return f", and the loss {', '.join(names)} would be 0 for ever; change that, or leave the loss out: {choices}"


def check_tested(config: Config) -> None:
    """Check what a trained network's test needs; what it was trained from (source, weights, losses) may be gone.

    Raises:
        InputError: naming the file, the key, the value and the choices.
    """
    _naming(config, "model.backbone", lambda: check_backbone(config.model.backbone))
    _naming(config, "device", lambda: device(config))


def _check_shapes(config: Config) -> None:
    """Send a batch without content through the backbone: maps can be too small for a norm, a batch for the neck's."""
    images = config.sampler.identities // _parts(config) * config.sampler.images
    size = (images, 3, config.data.height, config.data.width)
    if size[0] < 2:
        config.fail("sampler.identities", "a batch of one image: the BNNeck needs two; or raise sampler.images")
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


def source(config: Config) -> Source:
    """Read the training split of the source, or of each of the sources."""
    sets = [roots(config).dataset(name, ["train"]) for name in config.data.sources]
    if len(sets) == 1:
        return Source(sets[0].label, sets[0].splits["train"], sets[0].fingerprint)
    labels = [data.label for data in sets]
    if len(set(labels)) < len(labels) or any("+" in label for label in labels):
        config.fail("data.source", f"names must differ and hold no '+' to be joined by it: {', '.join(labels)}")
    fingerprint = joint_fingerprint([data.fingerprint for data in sets])
    return Source("+".join(labels), join([data.splits["train"] for data in sets]), fingerprint)


def embedder(config: Config, num_classes: int) -> Embedder:
    """A new network, its weights drawn from torch's generator; :func:`pretrained` replaces the backbone's."""
    model = config.model
    size = (config.data.height, config.data.width)
    backbone = make_backbone(model.backbone, model.last_stride, model.width, model.mixstyle, size)
    return Embedder(backbone, num_classes, model.neck_feature)


def pretrained(config: Config, network: Embedder) -> str:
    """Load ``model.weights`` into the backbone; returns what was loaded, missing and unused in a line."""
    report = load_weights(network.backbone, config.model.backbone, config.model.weights)
    return report.summary()


def losses(config: Config, classes: int = 2, channels: int = 2) -> list[WeightedLoss]:
    """The losses with a weight above 0, for so many people and numbers a feature."""
    return make_losses(config.losses, classes, channels)


def sampler(config: Config, labels: np.ndarray) -> Sampler:
    """Which images form a batch, for (N,) ``labels``.

    Raises:
        InputError: too few to fill a batch, one identity only, or no two images of one for a loss that compares them.
    """
    sampling = config.sampler
    try:
        built = SAMPLERS[sampling.name](labels, sampling.identities, sampling.images, config.seed)
    except InputError as error:
        config.fail("sampler", str(error))
    images = np.unique(labels, return_counts=True)[1]
    if len(images) < 2:
        config.fail("data.source", "one identity to train on: there is nothing to tell it from")
    names = _pair_losses(config)
    if sampling.name == "random" and names and images.max() < 2:
        config.fail("sampler.name", f"random: no person has two images{_dead(names)}")
    return built


def few_pairs(config: Config, sampler: Sampler, labels: np.ndarray) -> str:
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
    steps = config.transforms
    return training_transform(
        config.data.height, config.data.width, steps.flip, steps.pad, steps.erasing, steps.jitter, steps.standardise
    )


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
    if on.type != "cuda" and precision in ("tf32", "fp16"):
        config.fail("precision", f"{precision!r} is computed on CUDA alone; the choices here are auto, float32, bf16")
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision)
    return Placement(on, dtype, config.threads, named=config.device != "auto", tf32=precision == "tf32")


def workers(config: Config) -> int:
    """Processes that read images; by default two on a CPU, whose cores train, and on CUDA a core's worth each."""
    if config.data.workers is not None:
        return config.data.workers
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(8, cores) if device(config).type == "cuda" else min(2, cores)


def roots(config: Config) -> Roots:
    """Where data sets and drawn sites lie."""
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


def run_config(folder: Path, overrides: Sequence[str] = ()) -> Config:
    """The config of a finished run; ``overrides`` may change how it is tested, not what was trained."""
    if not (folder / CONFIG_FILE).is_file():
        raise InputError(f"{folder}: is not a run's folder: it holds no {CONFIG_FILE}")
    config = load_resolved(folder / CONFIG_FILE, overrides)
    if config.training() != load_resolved(folder / CONFIG_FILE).training():
        raise InputError(f"command line: {' '.join(overrides)}: would change what was trained, not how it is tested")
    return config


def load_network(config: Config, folder: Path, epoch: int | None = None) -> Embedder:
    """The network of a finished run (see :func:`network_file`), in evaluation mode on the configured device.

    Raises:
        InputError: no checkpoint, an unfinished or a damaged one.
    """
    check_tested(config)
    on = placement(config)
    on.take_up()
    stored = finished(config, folder)
    network = embedder(config, stored.num_classes)
    load_model(network_file(folder, config.selection.holdout > 0, epoch), network)
    return network.to(on.device).to(memory_format=torch.channels_last).eval()


def finished(config: Config, folder: Path) -> Progress:
    """The header of a finished run's checkpoint.

    Raises:
        InputError: there is none, it is unfinished or damaged, or of another config.
    """
    checkpoint = folder / FILE
    if not checkpoint.exists():
        raise InputError(f"{folder}: holds no {FILE}; train it first")
    stored = read_progress(checkpoint)
    if not stored.finished:
        raise InputError(f"{folder}: stopped at step {stored.step} of {stored.total_steps}; train it to the end")
    if stored.config_hash != config.hash():
        raise InputError(f"{folder}: its config changed after training: hash {config.hash()}, was {stored.config_hash}")
    return stored


def _pair_losses(config: Config) -> list[str]:
    return [term.name for term in losses(config) if term.loss.pairs]


def _naming(config: Config, key: str, build: Callable[[], object]) -> None:
    try:
        build()
    except InputError as error:
        config.fail(key, str(error))
