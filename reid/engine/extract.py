"""From a trained run and a list of images to a :class:`Features` record."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from reid.config import Config, load_resolved
from reid.data.dataset import Batch, Draw, ImageDataset, batches, evaluation_draws
from reid.data.samples import Samples
from reid.engine import build
from reid.engine.checkpoint import FILE, load_model, read_progress
from reid.errors import InputError
from reid.models import Embedder
from reid.progress import track
from reid.retrieval.features import Features

CONFIG_FILE, SELECTED, EPOCHS = "config.yaml", "selected.safetensors", "epochs"


def run_config(folder: Path, overrides: Sequence[str] = ()) -> Config:
    """The config of a finished run; ``overrides`` may change how it is tested, not what was trained."""
    if not (folder / CONFIG_FILE).is_file():
        raise InputError(f"{folder}: is not a run's folder: it holds no {CONFIG_FILE}")
    config = load_resolved(folder / CONFIG_FILE, overrides)
    if config.training() != load_resolved(folder / CONFIG_FILE).training():
        raise InputError(f"command line: {' '.join(overrides)}: would change what was trained, not how it is tested")
    return config


def network_file(config: Config, folder: Path, epoch: int | None = None) -> Path:
    """The file whose network is tested: the best on held-out identities where there are any, else the last; or that
    of one ``epoch`` (from 1), where each was kept."""
    if epoch is not None:
        return folder / EPOCHS / f"{epoch:04d}.safetensors"
    return folder / (SELECTED if config.selection.holdout > 0 else FILE)


def load_network(config: Config, folder: Path, epoch: int | None = None) -> Embedder:
    """The network of a finished run (see :func:`network_file`), in evaluation mode on the configured device.

    Raises:
        InputError: no checkpoint, an unfinished or a damaged one.
    """
    build.check_tested(config)
    build.exact_float32()
    checkpoint = folder / FILE
    if not checkpoint.exists():
        raise InputError(f"{folder}: holds no {FILE}; train it first")
    stored = read_progress(checkpoint)
    if not stored.finished:
        raise InputError(f"{folder}: stopped at step {stored.step} of {stored.total_steps}; train it to the end")
    if stored.config_hash != config.hash():
        raise InputError(f"{folder}: its config changed after training: hash {config.hash()}, was {stored.config_hash}")
    network = build.embedder(config, stored.num_classes)
    load_model(network_file(config, folder, epoch), network)
    return network.to(build.device(config)).to(memory_format=torch.channels_last).eval()


def batches_on_device(
    samples: Samples, draws: Sequence[Sequence[Draw]], config: Config, name: str, progress: bool = True
) -> Iterator[Batch]:
    """The images of ``draws``, a batch at a time, as tested and on the configured device, under a bar of that name.

    Raises:
        InputError: an image that cannot be read.
    """
    device = build.device(config)
    images = ImageDataset(samples.paths, build.test_transform(config))
    loaded = batches(images, draws, config.data.workers)
    for batch in track(loaded, name=f"{name} of {samples.root.name}", unit="batch", total=len(draws), shown=progress):
        inputs = batch.images.to(device, non_blocking=True, memory_format=torch.channels_last)
        yield Batch(inputs, batch.indices)


@torch.inference_mode()
def embed(network: Embedder, inputs: Tensor, config: Config) -> np.ndarray:
    """Features (B, D) float32 of images (B, 3, H, W), as tested and on the configured device."""
    dtype = build.autocast_dtype(config, inputs.device)
    with torch.autocast(inputs.device.type, dtype, enabled=dtype is not None):
        features = network(inputs).float()
        if config.evaluation.flip:
            features = (features + network(inputs.flip(3)).float()) / 2
    return features.cpu().numpy()


def extract(network: Embedder, samples: Samples, config: Config, origin: str, progress: bool = True) -> Features:
    """Embed every image, in order, as float32.

    Raises:
        InputError: an image that cannot be read, or a feature that is no number, with the origin named.
    """
    draws = evaluation_draws(len(samples), config.evaluation.batch_size)
    loaded = batches_on_device(samples, draws, config, "features", progress)
    rows = [embed(network, inputs, config) for inputs, _ in loaded]
    return Features(np.concatenate(rows), samples.pids, samples.camids, samples.names, origin)
