"""An ONNX or OpenVINO file as a :class:`reid.networks.base.Network`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch

from reid.engine.extract import Placement
from reid.errors import InputError
from reid.networks.base import Origin
from reid.networks.cuda import has_cuda, on_cuda
from reid.networks.description import Description, digest, read_description
from reid.progress import track

if TYPE_CHECKING:
    from reid.data.samples import Samples
    from reid.engine.extract import Testing

ON_CPU = Placement(torch.device("cpu"))


class Runner(Protocol):
    """What computes: OpenVINO's streams, or a session of onnxruntime.

    Attributes:
        batch: images a batch; no more, no fewer.
        output: the name of the network's output that counts.
    """

    batch: int
    output: str

    def __call__(self, batches: Iterable[np.ndarray], count: int | None = None) -> Iterator[np.ndarray]:
        """The outputs, float32, in order, of batches (batch, height, width, 3) uint8 of fitted images; ``count`` says
        how many there are, where that is known."""
        ...


@dataclass(frozen=True)
class Fitted:
    """:meth:`Description.fit` as that of a :class:`reid.data.dataset.ImageDataset`."""

    description: Description

    @property
    def height(self) -> int:
        return self.description.height

    @property
    def width(self) -> int:
        return self.description.width

    def __call__(self, image: np.ndarray) -> np.ndarray:
        return self.description.fit(image)


def open_graph(name: str, testing: Testing) -> ForeignNetwork:
    """The network by its file, with a YAML beside it unless this project exported it; by the YAML; or by a bundled
    one's bare name. It runs on the CPU by OpenVINO; an ONNX file on CUDA by onnxruntime, where that device is named or
    is there and onnxruntime is built for it.

    Raises:
        InputError: naming file, key and value; also for an output that is not a feature, and for a device that is named
            and cannot be used.
    """
    description, file = read_description(name, Description)
    placement = testing.placement
    runner: Runner
    if placement.device.type == "cuda" and (placement.named or (file.suffix == ".onnx" and has_cuda())):
        runner = on_cuda(description, file, testing.batch_size, placement.device.index or 0)
    else:
        from reid.networks.graphs import Streams

        placement = replace(placement, device=torch.device("cpu"))
        runner = Streams(description, file, placement.threads)
    placement = replace(placement, dtype=None)
    return ForeignNetwork(description, file, runner, testing.batch_size, testing.workers, placement)


class ForeignNetwork:
    """See :func:`open_graph`; the output is the feature, (N, D) or (N, D, 1, 1).

    A batch that is not full is filled up with black images, so that a feature does not depend on how many came with
    it.

    Args:
        batch_size, workers: images that ``extract`` has loaded at a time, and processes that load them.
        placement: where it computes, whatever was asked for.

    Raises:
        InputError: an output of another shape.
    """

    def __init__(
        self,
        description: Description,
        file: Path,
        runner: Runner,
        batch_size: int = 128,
        workers: int = 0,
        placement: Placement = ON_CPU,
    ) -> None:
        self.placement = placement
        self._description, self._runner, self._workers = description, runner, workers
        self._loaded = max(1, batch_size // runner.batch) * runner.batch
        black = np.zeros((runner.batch, description.height, description.width, 3), np.uint8)
        (shape,) = (result.shape for result in runner([black]))
        width = int(np.prod(shape)) // runner.batch
        if width < 2 or shape[:2] != (runner.batch, width):
            raise InputError(f"{file}: output {runner.output!r} is {shape}, expected a feature, (N, D) or (N, D, 1, 1)")
        steps = {
            **description.model_dump(exclude={"file", "channels"}),
            "output": runner.output,
            "precision": "float32",
        }
        if description.channels == "last":  # else a gallery made before there was this key would not know the network
            steps["channels"] = "last"
        self.origin = Origin(file.stem, width, digest(file), json.dumps(steps, sort_keys=True))

    def embed(self, crops: Sequence[np.ndarray]) -> np.ndarray:
        size = self._runner.batch
        slices = (crops[low : low + size] for low in range(0, len(crops), size))
        return self._features(([self._description.fit(crop) for crop in some] for some in slices), len(crops))

    def extract(self, samples: Samples, progress: bool = True) -> np.ndarray:
        from reid.data.dataset import ImageDataset, batches, evaluation_draws

        images = ImageDataset(samples.paths, Fitted(self._description))
        draws = evaluation_draws(len(samples), self._loaded)
        name = f"{self.origin.name}: features of {samples.title}"
        loaded = track(batches(images, draws, self._workers), name=name, unit="batch", total=len(draws), shown=progress)
        size = self._runner.batch
        fitted = (batch.images.permute(0, 2, 3, 1).numpy() for batch in loaded)
        slices = (some[low : low + size] for some in fitted for low in range(0, len(some), size))
        return self._features(slices, len(samples))

    def _features(self, batches: Iterable[Sequence[np.ndarray]], count: int) -> np.ndarray:
        """(count, D) of fitted images, a full batch at a time, the last perhaps less."""
        size = self._runner.batch
        rows = [result.reshape(size, -1) for result in self._runner(map(self._fill, batches), -(-count // size))]
        return np.concatenate([np.empty((0, self.origin.width), np.float32), *rows])[:count]

    def _fill(self, images: Sequence[np.ndarray]) -> np.ndarray:
        batch = np.zeros((self._runner.batch, self._description.height, self._description.width, 3), np.uint8)
        batch[: len(images)] = images
        return batch
