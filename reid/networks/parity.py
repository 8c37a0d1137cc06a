"""Whether an exported file does what the run does: features, figures on data sets, and how long both take."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import cv2
import numpy as np

from reid.data.images import read_image
from reid.data.samples import DataSet
from reid.engine import build
from reid.errors import InputError
from reid.networks import open_foreign
from reid.networks.base import Network
from reid.networks.export import Form, Precision, as_input, squash
from reid.networks.graphs import openvino_core
from reid.networks.trained import TrainedNetwork
from reid.progress import track
from reid.retrieval.features import Features, Protocol
from reid.retrieval.ranking import Distance, evaluate

TOLERANCE: dict[Precision, float] = {"float32": 0.001, "half": 0.005, "int8": 0.005}  # of mAP, a fraction
LOADED = 1e-3  # cosine distance
RELATIVE = 1e-2  # of a feature's length: what 16 bits may change
TOGETHER = 32  # crops that are in memory at a time


class Exported:
    """The file by itself, as a tracker has it: crops of any size go in as they are, by OpenVINO."""

    def __init__(self, file: Path, form: Form, threads: int | None) -> None:
        settings = {"INFERENCE_PRECISION_HINT": "f32"} | ({} if threads is None else {"INFERENCE_NUM_THREADS": threads})
        self._network, self._form = openvino_core().compile_model(str(file), "CPU", settings), form

    def __call__(self, crops: Sequence[np.ndarray]) -> np.ndarray:
        """(N, D) unit features of N crops (h, w, 3) uint8 RGB; those of one size that follow each other go together."""
        alike = [list(group) for _, group in groupby(crops, key=lambda crop: crop.shape)]
        return np.concatenate([self._network([as_input(group, self._form)])[0] for group in alike])


@dataclass(frozen=True)
class Figures:
    """Fractions."""

    mAP: float
    rank1: float


@dataclass(frozen=True)
class Parity:
    """On one data set, both fed the same crops.

    Attributes:
        plain: the run's figures on crops that were not squashed; None where none are.
        furthest: largest cosine distance between the two features of an image.
        loaded: the same between the file's by itself and those that :func:`reid.networks.load` has of it, on the first
            images: it gives OpenVINO one size instead of any, which then computes by other code, at times wrongly
            (2026.4: attention over three patches).
    """

    target: str
    original: Figures
    exported: Figures
    plain: Figures | None
    furthest: float
    loaded: float = 0.0

    @property
    def difference(self) -> float:
        return self.exported.mAP - self.original.mAP


def compare(network: TrainedNetwork, file: Path, form: Form, data: DataSet) -> Parity:
    """The run and its exported file on a data set with query and gallery, at the run's distance and under the
    protocol of the data set's card.

    Raises:
        InputError: an image that cannot be read.
    """
    testing = build.testing(network.config)
    loader = open_foreign(str(file), testing)
    packed = form.format == "safetensors"  # which is loaded, and nothing else
    exported = loader.embed if packed else Exported(file, form, network.config.threads)
    records: dict[str, list[Features]] = {"original": [], "exported": [], "plain": []}
    furthest, loaded = 0.0, 0.0
    for split in ("query", "gallery"):
        samples = data.splits[split]
        rows: dict[str, list[np.ndarray]] = {name: [] for name in records}
        for crops in _crops(samples.paths, f"{split} of {data.label}"):
            fed = [squash(crop, form.square) for crop in crops] if form.square else crops
            rows["original"].append(network.embed(fed))
            rows["exported"].append(exported(fed))
            rows["plain"].append(network.embed(crops) if form.square else rows["original"][-1])
        for name, features in rows.items():
            made = Features(np.concatenate(features), samples.pids, samples.camids, samples.names, name)
            records[name].append(made)
        original, other = records["original"][-1].features, records["exported"][-1].features
        furthest = max(furthest, _furthest(original, other))
        if packed:
            continue
        assert isinstance(exported, Exported)
        first = [read_image(path) for path in samples.paths[:TOGETHER]]
        loaded = max(loaded, _furthest(loader.embed(first), _as_loaded(exported, first, network, form)))
    how = (network.config.evaluation.distance, data.card.protocol)
    figures = {name: _figures(both[0], both[1], *how) for name, both in records.items()}
    plain = figures["plain"] if form.square else None
    return Parity(data.label, figures["original"], figures["exported"], plain, furthest, loaded)


def _as_loaded(exported: Exported, crops: Sequence[np.ndarray], network: TrainedNetwork, form: Form) -> np.ndarray:
    """The file's features of crops that have the size which :func:`reid.networks.load` gives them."""
    size = (form.square,) * 2 if form.square else (network.config.data.width, network.config.data.height)
    return exported([cv2.resize(crop, size, interpolation=cv2.INTER_LINEAR) for crop in crops])


def _furthest(features: np.ndarray, others: np.ndarray) -> float:
    """The largest cosine distance between features (N, D) and their counterparts."""
    lengths = np.linalg.norm(features, axis=1) * np.linalg.norm(others, axis=1)
    return float(1 - ((features * others).sum(axis=1) / lengths).min())


def _figures(query: Features, gallery: Features, distance: Distance, protocol: Protocol) -> Figures:
    evaluation = evaluate(query, gallery, distance, protocol=protocol)
    return Figures(evaluation.mAP, float(evaluation.cmc[0]))


def _crops(paths: Sequence[Path], name: str) -> Iterator[list[np.ndarray]]:
    starts = range(0, len(paths), TOGETHER)
    for low in track(starts, name=name, unit="batch", total=len(starts), shown=True):
        yield [read_image(path) for path in paths[low : low + TOGETHER]]


def refuse(parities: Sequence[Parity], form: Form, distance: Distance = "cosine") -> None:
    """
    Raises:
        InputError: naming the data sets on which the exported mAP is further from the run's than its precision may be,
            or on which the file gives other features once it is loaded.
    """
    misread = [f"{parity.target} {parity.loaded:.1e}" for parity in parities if not parity.loaded <= LOADED]
    if misread:
        raise InputError(
            "the exported network is not kept: OpenVINO computes other features of it at one size than at any size "
            f"(cosine distance): {', '.join(misread)}"
        )
    allowed = TOLERANCE[form.precision]
    beyond = [parity for parity in parities if not abs(parity.difference) <= allowed]
    apart = [f"{parity.target} {parity.difference:+.4f}" for parity in beyond]
    if apart:
        hint = ""
        if distance == "euclidean":
            hint = (
                "; the run is tested at euclidean distance of features of any length, and exported ones have length 1: "
                "evaluation.distance=cosine compares what they keep"
            )
        raise InputError(
            f"the exported network is not kept: its mAP differs from the run's by more than {allowed:g} "
            f"({form.precision}): {', '.join(apart)}{hint}"
        )


def refuse_other_features(network: TrainedNetwork, file: Path, crops: Sequence[np.ndarray]) -> None:
    """
    Raises:
        InputError: features that the file gives of crops (h, w, 3) uint8 RGB, once it is loaded, are further from the
            run's than RELATIVE of their lengths.
    """
    own, others = network.embed(crops), open_foreign(str(file), build.testing(network.config)).embed(crops)
    apart = float((np.linalg.norm(others - own, axis=1) / np.linalg.norm(own, axis=1)).max())
    if not apart <= RELATIVE:
        raise InputError(
            f"the exported network is not kept: its features differ from the run's by {apart:.1e} of their lengths, "
            f"more than {RELATIVE:g}"
        )


@dataclass(frozen=True)
class Speed:
    """Attributes:
    latency: milliseconds for one crop, its preparation included.
    rate: crops a second, many at a time.
    """

    latency: float
    rate: float


def speeds(network: TrainedNetwork, file: Path, crops: Sequence[np.ndarray]) -> tuple[Speed, Speed]:
    """Of the run and of the exported file, measured in turn on the same threads."""
    both: list[Network] = [network, open_foreign(str(file), build.testing(network.config))]
    latencies: list[list[float]] = [[], []]
    rates: list[list[float]] = [[], []]
    for round_ in range(12):
        for place, way in enumerate(both):
            latencies[place].append(_seconds(way, crops[:1]))
            if round_ % 3 == 0:
                rates[place].append(len(crops) / _seconds(way, crops))
    first, second = (
        Speed(1000 * statistics.median(latency), statistics.median(rate))
        for latency, rate in zip(latencies, rates, strict=True)
    )
    return first, second


def _seconds(network: Network, crops: Sequence[np.ndarray]) -> float:
    begin = time.perf_counter()
    network.embed(crops)
    return time.perf_counter() - begin
