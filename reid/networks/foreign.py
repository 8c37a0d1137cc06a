"""An ONNX or OpenVINO file as a :class:`reid.networks.base.Network`."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np

from reid.data.images import read_image
from reid.data.samples import Samples
from reid.errors import InputError
from reid.networks.base import Origin
from reid.networks.graphs import Description, Graph, digest, read_description
from reid.progress import track


class ForeignNetwork:
    """See :func:`reid.networks.load`; the output is the feature, (1, D) or (1, D, 1, 1).

    Raises:
        InputError: naming file, key and value; also for an output of another shape.
    """

    def __init__(self, name: str, threads: int | None) -> None:
        description, file = read_description(name, Description)
        self._network = Graph(description, file, threads)
        shape = self._network(np.zeros((description.height, description.width, 3), np.uint8)).shape
        if len(shape) < 2 or shape[1] < 2 or shape[1] != np.prod(shape):
            raise InputError(
                f"{file}: output {self._network.output!r} is {shape}, expected a feature, (1, D) or (1, D, 1, 1)"
                + (": made for a batch of several, export it with an open one" if shape[:1] > (1,) else "")
            )
        steps = {**description.model_dump(exclude={"file"}), "output": self._network.output, "precision": "float32"}
        self.origin = Origin(file.stem, shape[1], digest(file), json.dumps(steps, sort_keys=True))

    def embed(self, images: Sequence[np.ndarray]) -> np.ndarray:
        rows = [self._network(image).reshape(-1) for image in images]
        return np.array(rows, np.float32).reshape(len(images), self.origin.width)

    def extract(self, samples: Samples, progress: bool = True) -> np.ndarray:
        bar = track(samples.paths, name=f"features of {samples.root.name}", unit="image", shown=progress)
        return np.concatenate([self.embed([read_image(path)]) for path in bar])
