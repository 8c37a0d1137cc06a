"""What this project trained as a network: a run in its folder; :mod:`reid.networks.packed` has those in one file."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from reid.config import Config, load_resolved
from reid.engine import build
from reid.engine.checkpoint import (
    CONFIG_FILE,
    FILE,
    LOG_FILE,
    Progress,
    load_model,
    network_file,
    read_progress,
    read_width,
    save_model,
)
from reid.engine.extract import Extractor
from reid.errors import InputError
from reid.files import sha256_of, write_atomically
from reid.models import Embedder
from reid.networks.base import Origin
from reid.networks.pytorch import TorchNetwork


@dataclass(frozen=True)
class Trained:
    """What a network was trained on: names of data sets as they were given, their label, and their fingerprint."""

    sources: tuple[str, ...]
    label: str
    fingerprint: str


class TrainedNetwork(TorchNetwork, ABC):
    """A network that this project trained, fed as its configuration says.

    Args:
        folder: for the results of its tests.
        stored: the header of its run's checkpoint.
        origin, build: as :class:`TorchNetwork` has them.
    """

    def __init__(
        self, config: Config, folder: Path, stored: Progress, origin: Origin, build: Callable[[], Extractor]
    ) -> None:
        super().__init__(origin, build)
        self.config, self.folder, self.stored = config, folder, stored

    @abstractmethod
    def tested_epoch(self) -> tuple[int, str]:
        """The epoch (from 1) whose network it is, and how it was chosen."""

    @abstractmethod
    def run(self) -> dict[str, str]:
        """The ``name`` of the run that it is of, and the SHA-256 of the run's ``network``, as its file was there."""

    @abstractmethod
    def of_epoch(self, epoch: int) -> TrainedNetwork | None:
        """The network after ``epoch`` (from 1); None where it was not kept."""

    @abstractmethod
    def adapted_folder(self, ending: str) -> Path:
        """Where it lies, adapted to what ``ending`` names, unless another place is asked for."""

    @abstractmethod
    def write_adapted(self, place: Path, network: nn.Module, record: Mapping[str, Any]) -> None:
        """Write ``network``, which was made from it as ``record`` says, into the folder ``place``, as a run.

        Raises:
            InputError: what cannot be read or written.
        """

    @property
    def trained(self) -> Trained:
        return Trained(self.config.data.sources, self.stored.source, self.stored.data)

    @property
    def adapted(self) -> dict[str, Any]:
        """The images from which its batch-norm statistics are, and how; empty where they are those of training."""
        return self.stored.adapted

    def describe(self) -> dict[str, Any]:
        """For results files: what was trained, and how."""
        config, stored = self.config, self.stored
        epoch, choice = self.tested_epoch()
        return {
            "name": self.folder.name,
            "model": f"{config.name} (AdaBN {self.adapted['data']})" if self.adapted else config.name,
            "backbone": config.model.backbone,
            "source": stored.source,
            "sources": stored.source.split("+") if len(config.data.sources) > 1 else [stored.source],
            "source_fingerprint": stored.data,
            "seed": config.seed,
            "config_hash": config.hash(),
            "checkpoint": self.origin.network[:16],
            "steps": stored.step,
            "epoch": epoch,
            "epoch_choice": choice,
            "training_seconds": round(stored.seconds, 1),
            "training_precision": stored.precision,
            "compiled": stored.compiled,
            "training_device": stored.device if stored.world_size == 1 else f"{stored.world_size} x {stored.device}",
            "world_size": stored.world_size,
            "batch": config.sampler.identities * config.sampler.images,
            "accumulate": config.sampler.accumulate,
            "gather": sorted(term.name for term in build.losses(config) if term.gather),
            "sync_batchnorm": config.sync_batchnorm,
            "training_code": stored.code,
            "threads": stored.threads,
            "weights": stored.weights,
            "standardise": config.transforms.standardise,
            "adapted": self.adapted or None,
        }

    def settings(self) -> dict[str, Any]:
        """For results files: how a feature is taken from the network."""
        config = self.config
        return {
            "neck_feature": config.model.neck_feature,
            "flip": config.evaluation.flip,
            "seed": config.seed,
            "config_hash": config.hash(),
        }


class RunNetwork(TrainedNetwork):
    """The features that `reid evaluate` writes of a run in a folder: the network, transform and batch size of its
    configuration.

    Args:
        epoch: that epoch's network (from 1), where each was kept, instead of the one that is tested.

    Raises:
        InputError: an unfinished run or a damaged file.
    """

    def __init__(self, config: Config, folder: Path, epoch: int | None = None) -> None:
        build.check_tested(config)
        stored = finished(config, folder)
        file = network_file(folder, config.selection.holdout > 0, epoch)
        origin = Origin(folder.resolve().name, read_width(file), sha256_of(file), preprocessing(config))

        def extractor() -> Extractor:
            return build.extractor(config, load_network(config, folder, epoch))

        super().__init__(config, folder, stored, origin, extractor)

    def tested_epoch(self) -> tuple[int, str]:
        return _tested_epoch(self.config, self.folder)

    def run(self) -> dict[str, str]:
        return {"name": self.origin.name, "network": self.origin.network}

    def of_epoch(self, epoch: int) -> TrainedNetwork | None:
        if not network_file(self.folder, False, epoch).exists():
            return None
        return RunNetwork(self.config, self.folder, epoch)

    def adapted_folder(self, ending: str) -> Path:
        return self.folder.with_name(f"{self.origin.name}_{ending}")

    def write_adapted(self, place: Path, network: nn.Module, record: Mapping[str, Any]) -> None:
        for file in {FILE, network_file(self.folder, self.config.selection.holdout > 0).name}:
            save_model(place / file, network, replace(read_progress(self.folder / file), adapted=dict(record)))
        for file in (CONFIG_FILE, LOG_FILE):
            write_atomically(place / file, content_of(self.folder / file))


def open_run(folder: Path, overrides: Sequence[str] = ()) -> RunNetwork:
    """The run in ``folder``; ``overrides`` (``key=value``) may change how it is tested, not what was trained.

    Raises:
        InputError: no run's folder, an unfinished run or a damaged file.
    """
    return RunNetwork(run_config(folder, overrides), folder)


def preprocessing(config: Config) -> str:
    """All that changes a feature and does not stand in the network's file."""
    return json.dumps(
        {
            "colour": "rgb",
            "height": config.data.height,
            "width": config.data.width,
            "resize": "bilinear",
            "normalisation": "image per channel" if config.transforms.standardise else "ImageNet",
            "flip": config.evaluation.flip,
            "neck_feature": config.model.neck_feature,
            "precision": build.placement(config).origin_precision,
        },
        sort_keys=True,
    )


def _tested_epoch(config: Config, folder: Path) -> tuple[int, str]:
    """The epoch (from 1) whose network is tested, and how it was chosen."""
    if config.selection.holdout > 0:
        progress: Progress = read_progress(network_file(folder, held_out=True))
        return progress.best_epoch, (
            f"the best mAP ({progress.best_mAP:.4f}) on identities held out of the source's training split "
            f"(share {config.selection.holdout:g}); no target is looked at"
        )
    try:
        last = json.loads((folder / LOG_FILE).read_text(encoding="utf-8").splitlines()[-1])
        return int(last["epoch"]), "the last; no target is looked at"
    except (OSError, IndexError, KeyError, ValueError) as error:
        raise InputError(f"{folder / LOG_FILE}: does not tell the last epoch: {error!r}") from None


def run_config(folder: Path, overrides: Sequence[str] = ()) -> Config:
    """The config of a finished run; ``overrides`` may change how it is tested, not what was trained."""
    if not (folder / CONFIG_FILE).is_file():
        raise InputError(f"{folder}: is not a run's folder: it holds no {CONFIG_FILE}")
    config = load_resolved(folder / CONFIG_FILE, overrides)
    refuse_other_training(config, load_resolved(folder / CONFIG_FILE), overrides)
    return config


def refuse_other_training(config: Config, trained: Config, overrides: Sequence[str]) -> None:
    """
    Raises:
        InputError: ``overrides`` made a config of another network than the one ``trained``.
    """
    if config.training() != trained.training():
        raise InputError(f"command line: {' '.join(overrides)}: would change what was trained, not how it is tested")


def load_network(config: Config, folder: Path, epoch: int | None = None) -> Embedder:
    """The network of a finished run (see :func:`network_file`), in evaluation mode on the configured device.

    Raises:
        InputError: no checkpoint, an unfinished or a damaged one.
    """
    build.check_tested(config)
    on = build.placement(config)
    on.take_up()
    stored = finished(config, folder)
    network = build.embedder(config, stored.num_classes)
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


def content_of(path: Path) -> bytes:
    """
    Raises:
        InputError: naming the file, which cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error}") from None
