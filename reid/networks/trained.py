"""A run of this project as a :class:`reid.networks.base.Network`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from reid.config import Config
from reid.engine import build
from reid.engine.extract import embed, load_network, network_file, run_config
from reid.networks.base import Origin


class TrainedNetwork:
    """The features that `reid evaluate` writes: the network, transform and batch size of its configuration.

    Raises:
        InputError: no run's folder, an unfinished run or a damaged file.
    """

    def __init__(self, folder: Path, threads: int | None) -> None:
        self._config = run_config(folder)
        if threads is not None:
            torch.set_num_threads(threads)
        self._device = build.device(self._config)
        self._network = load_network(self._config, folder)
        self._transform = build.test_transform(self._config)
        with network_file(self._config, folder).open("rb") as file:
            network = hashlib.file_digest(file, "sha256").hexdigest()
        width = self._network.channels
        self.origin = Origin(folder.resolve().name, width, network, _preprocessing(self._config, self._device))

    def embed(self, images: Sequence[np.ndarray]) -> np.ndarray:
        rows = [np.empty((0, self.origin.width), np.float32)]
        size = self._config.evaluation.batch_size
        for low in range(0, len(images), size):
            batch = np.stack([self._transform(image, ()) for image in images[low : low + size]])
            inputs = torch.from_numpy(batch).to(self._device, memory_format=torch.channels_last)
            rows.append(embed(self._network, inputs, self._config))
        return np.concatenate(rows)


def _preprocessing(config: Config, device: torch.device) -> str:
    """All that changes a feature and does not stand in the network's file."""
    dtype = build.autocast_dtype(config, device) or torch.float32
    return json.dumps(
        {
            "colour": "rgb",
            "height": config.data.height,
            "width": config.data.width,
            "resize": "bilinear",
            "normalisation": "image per channel" if config.transforms.standardise else "ImageNet",
            "flip": config.evaluation.flip,
            "neck_feature": config.model.neck_feature,
            "precision": str(dtype).removeprefix("torch."),
        },
        sort_keys=True,
    )
