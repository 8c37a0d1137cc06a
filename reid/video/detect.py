"""Finding people in frames: a foreign network by OpenVINO, or torchvision's Faster R-CNN."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from reid.errors import InputError
from reid.networks.description import Description, read_description
from reid.networks.graphs import Graph
from reid.video.track import Box


class Detector(Protocol):
    """Frames in, people out."""

    def detect(self, frame: np.ndarray) -> list[Box]:
        """The people in a frame (h, w, 3) uint8 RGB, however unsure, within its borders, the surest first."""
        ...

    def describe(self) -> str:
        """What detects, in a few words for people."""
        ...


def load_detector(name: str, threads: int | None = None) -> Detector:
    """``torchvision`` (its own weights, which it fetches and keeps), ``torchvision:FILE`` (.pth or .safetensors); or a
    foreign network: its file with a YAML beside it, the YAML, or a bundled one's bare name.

    Raises:
        InputError: naming what is missing or wrong.
    """
    kind, _, file = name.partition(":")
    if kind == "torchvision":
        return TorchvisionDetector(Path(file).expanduser() if file else None, threads)
    return ForeignDetector(name, threads)


class DetectorDescription(Description):
    """Of a network that finds people.

    Attributes:
        layout: what the output holds; ``ssd``: (1, 1, N, 7) rows of image, label, confidence, left, top, right,
            bottom, the corners in 0..1; image -1 ends the list.
        person: the label of people.
    """

    layout: Literal["ssd"]
    person: int


class ForeignDetector:
    """See :func:`load_detector`."""

    def __init__(self, name: str, threads: int | None) -> None:
        self._description, file = read_description(name, DetectorDescription)
        self._network = Graph(self._description, file, threads)
        shape = self._network(np.zeros((2, 2, 3), np.uint8)).shape
        if shape[-1] != 7 or shape[:-2] != (1, 1):
            raise InputError(f"{file}: output {self._network.output!r} is {shape}, not (1, 1, N, 7): layout: ssd")

    def detect(self, frame: np.ndarray) -> list[Box]:
        rows = self._network(frame).reshape(-1, 7)
        ends = np.flatnonzero(rows[:, 0] < 0)
        rows = rows[: ends[0]] if len(ends) else rows
        people = rows[rows[:, 1] == self._description.person]
        height, width = frame.shape[:2]
        return _boxes(people[:, 3:] * np.array([width, height, width, height]), people[:, 2], frame)

    def describe(self) -> str:
        return self._network.file.stem


TORCHVISION = "fasterrcnn_mobilenet_v3_large_320_fpn"
PERSON = 1  # in COCO's list of labels


class TorchvisionDetector:
    """See :func:`load_detector`. Runs on CUDA when there is one, else on the CPU."""

    def __init__(self, weights: Path | None, threads: int | None) -> None:
        import torch
        from torchvision.models.detection import fasterrcnn_mobilenet_v3_large_320_fpn as network

        from reid.engine.extract import exact_float32

        exact_float32()
        if threads is not None:
            torch.set_num_threads(threads)
        if weights is None:
            self._network, self._weights = _with_default_weights(network), "torchvision's weights"
        else:
            self._network, self._weights = network(weights=None, weights_backbone=None), weights.name
            _load(self._network, weights)
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._network.to(self._device).eval()

    def detect(self, frame: np.ndarray) -> list[Box]:
        import torch

        image = torch.from_numpy(np.ascontiguousarray(frame.transpose(2, 0, 1))).to(self._device).float() / 255
        with torch.inference_mode():
            outputs = {key: value.cpu().numpy() for key, value in self._network([image])[0].items()}
        people = outputs["labels"] == PERSON
        return _boxes(outputs["boxes"][people], outputs["scores"][people], frame)

    def describe(self) -> str:
        return f"{TORCHVISION}, {self._weights}"


def _with_default_weights(network: Any) -> Any:
    try:
        return network(weights="DEFAULT")
    except (OSError, RuntimeError) as error:  # no connection; a wrong hash
        raise InputError(
            f"torchvision could not fetch the weights of {TORCHVISION}: {error}; give a file as torchvision:FILE"
        ) from None


def _load(network: Any, path: Path) -> None:
    from reid.models.weights import SUFFIXES, read_tensors

    if path.suffix not in SUFFIXES or not path.is_file():
        raise InputError(f"torchvision:{path}: not a file that ends in {', '.join(SUFFIXES)}")
    try:
        network.load_state_dict(read_tensors(path))
    except (RuntimeError, TypeError) as error:
        reason = " ".join(str(error).split())[:300]
        raise InputError(f"{path}: does not hold the weights of {TORCHVISION}: {reason}") from None


def _boxes(corners: np.ndarray, confidences: np.ndarray, frame: np.ndarray) -> list[Box]:
    """Boxes of (N, 4) pixels and (N,) confidences, cut at the frame's borders; without those that leave nothing."""
    height, width = frame.shape[:2]
    corners = np.clip(corners, 0, [width, height, width, height])
    order = np.argsort(-confidences, kind="stable")
    boxes = []
    for row in order:
        left, top, right, bottom = map(float, corners[row])
        if right > left and bottom > top:
            boxes.append(Box(left, top, right, bottom, float(confidences[row])))
    return boxes
