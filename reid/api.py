"""What ``import reid`` offers to other programs; docs/python.md says how it is used. The names in ``reid.__all__`` are
the stable part of the package."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from reid.errors import InputError
from reid.gallery.answers import Answer
from reid.gallery.catalogue.thumbnails import thumbnail
from reid.gallery.entries import EVERYTHING, Entry, Filter
from reid.gallery.parts import MARK
from reid.gallery.service import Service
from reid.gallery.store import Gallery as Store
from reid.networks import Network
from reid.networks import load as load_network
from reid.retrieval.features import PROTOCOLS, Protocol
from reid.retrieval.unit import unit_rows

__all__ = ["Answer", "Entry", "Filter", "Gallery", "Model", "evaluate", "load", "open_gallery"]


class Model:
    """A network of any origin, as a tracker or a notebook calls it. May be called from several threads.

    Args:
        overrides: those that it was loaded with.
    """

    def __init__(self, network: Network, overrides: Sequence[str] = ()) -> None:
        self.network, self.overrides = network, tuple(overrides)

    @property
    def name(self) -> str:
        return self.network.origin.name

    @property
    def width(self) -> int:
        """D, numbers a feature."""
        return self.network.origin.width

    @property
    def fingerprint(self) -> str:
        """SHA-256 of all that decides a feature, in hexadecimal: those of another one cannot be compared."""
        return self.network.origin.fingerprint

    def embed(self, crops: Sequence[np.ndarray]) -> np.ndarray:
        """(N, D) float32 features, of the length that the network gives them, of N crops (h, w, 3) uint8 RGB of any
        size.

        Raises:
            InputError: naming the crop that is none.
        """
        return self.network.embed([_pixels(crop, f"crop {number}") for number, crop in enumerate(crops)])

    def __call__(self, frame: np.ndarray, boxes: np.ndarray | Sequence[Sequence[float]]) -> np.ndarray:
        """(N, D) float32 features of length 1 of the people in a frame.

        Args:
            frame: (H, W, 3) uint8 RGB.
            boxes: (N, 4) left, top, right, bottom in pixels from the frame's upper left corner, whole or not: every
                pixel that a box touches counts. What reaches over the frame's edge is cut off. N may be 0.

        Raises:
            InputError: naming a box that is empty, lies outside the frame or is no number; a frame that is none; a
                crop in which the network finds nothing.
        """
        return unit_rows(self.embed(_crops(frame, boxes)), self.width, f"{self.name}: features of the boxes")


def load(name: str | Path, overrides: Sequence[str] = ()) -> Model:
    """The network that ``--model`` would name: a run's folder, a file, a bundled name (:func:`reid.networks.load`).

    Args:
        overrides: ``key=value`` of configs/base.yaml: where it runs and how it is tested, such as ``device=cpu``.

    Raises:
        InputError: naming what is missing or wrong.
    """
    return Model(load_network(name, overrides), overrides)


def evaluate(
    model: Model | str | Path,
    targets: str | Path | Sequence[str | Path],
    adabn: str | None = None,
    protocol: Protocol | None = None,
    progress: bool = False,
) -> dict[str, Any]:
    """Test a network on data sets: the results that evaluate.py writes to results.json, which is written too.

    Args:
        targets: data sets by name, card, CSV file or folder.
        adabn: first estimate batch-norm statistics anew on this data set or folder of images.
        protocol: ``cross-camera`` or ``any-camera``; None is what each target's card says.

    Returns:
        ``{"run": ..., "targets": {label: result}}``; figures are fractions: ``result["mAP"]``, ``result["mINP"]``, and
        ``result["cmc"]``, whose first number is rank-1.

    Raises:
        InputError: what evaluate.py refuses.
    """
    from reid.evaluation.adapted import adapted
    from reid.evaluation.evaluate import evaluate
    from reid.evaluation.subject import subject_of_network

    names = [targets] if isinstance(targets, str | Path) else list(targets)
    if not names:
        raise InputError("targets: none: name data sets, cards, CSV files or folders")
    if protocol not in (None, *PROTOCOLS):
        raise InputError(f"protocol: {protocol!r} is not one of {', '.join(PROTOCOLS)}")
    loaded = _model(model)
    subject = subject_of_network(loaded.network, loaded.overrides).under(protocol)
    if adabn is not None:
        subject = adapted(subject, adabn, progress)
    return evaluate(subject, [str(name) for name in names], progress)


class Gallery:
    """A gallery that lasts, and the network whose features it holds; to be closed, or used in a ``with`` block.

    Attributes:
        store: all else that can be done with it (:class:`reid.gallery.store.Gallery`), without a line in the audit log.
        service: the same with one (:class:`reid.gallery.service.Service`).
    """

    def __init__(self, store: Store, model: Model | None) -> None:
        self.store, self._model = store, model
        self.service = Service(store, "python", None if model is None else model.network)

    def __len__(self) -> int:
        return len(self.store)

    def add(self, crops: Sequence[np.ndarray], entries: Sequence[Entry]) -> list[int]:
        """Put N crops (h, w, 3) uint8 RGB in, with N entries that say whence; all or none. Returns their ids.

        Raises:
            InputError: a gallery without a model; as many entries as crops are wanted; a crop in which the network
                finds nothing.
        """
        if len(crops) != len(entries):
            raise InputError(f"{len(crops)} crops and {len(entries)} entries: expected one for each")
        ids = self.store.add(entries, self._embedded(crops), [thumbnail(crop) for crop in crops])
        self.store.record("python", "add", ids)
        return ids

    def search(self, crops: Sequence[np.ndarray], k: int = 10, wanted: Filter = EVERYTHING) -> list[Answer]:
        """The ``k`` nearest entries that pass ``wanted`` of each of the crops (h, w, 3) uint8 RGB, nearest first; where
        the gallery is calibrated, with what it says of them.

        Raises:
            InputError: a gallery opened without a model; k below 1; a crop in which the network finds nothing.
        """
        if k < 1:
            raise InputError(f"k: expected at least 1, got {k}")
        return self.service.answers(self._embedded(crops), k, wanted)

    def forget(self, ids: Sequence[int]) -> None:
        """Erase entries, features and thumbnails: gone from every file.

        Raises:
            InputError: an id that is not there.
        """
        self.service.forget(ids)

    def close(self) -> None:
        self.store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _embedded(self, crops: Sequence[np.ndarray]) -> np.ndarray:
        if self._model is None:
            raise InputError(f"{self.store.location}: was opened without a model, which crops need")
        return unit_rows(self._model.embed(crops), self._model.width, "features of the crops")


def open_gallery(where: str | Path, model: Model | str | Path | None = None, create: bool = False) -> Gallery:
    """The gallery in the folder ``where``.

    Args:
        model: the network whose features it holds; without one nothing can be added or searched for.
        create: make it where there is none; needs the model.

    Raises:
        InputError: it cannot be opened, or holds features of another network.
    """
    loaded, folder = None if model is None else _model(model), Path(where)
    if create and not (folder / MARK).exists():
        if loaded is None:
            raise InputError(f"{folder}: create: a new gallery needs the model whose features it is to hold")
        store = Store.create(folder, loaded.network.origin)
    else:
        store = Store.open(folder)
    try:
        return Gallery(store, loaded)
    except BaseException:
        store.close()
        raise


def _model(model: Model | str | Path) -> Model:
    return model if isinstance(model, Model) else load(model)


def _pixels(image: np.ndarray, what: str) -> np.ndarray:
    """The image, its rows and colours in order in memory (a view of another colour order is not), which resizing needs.

    Raises:
        InputError: naming ``what``.
    """
    if not isinstance(image, np.ndarray):
        raise InputError(f"{what}: expected an array (h, w, 3) uint8 RGB, got {type(image).__name__}")
    if image.ndim != 3 or image.shape[2] != 3 or image.size == 0 or image.dtype != np.uint8:
        raise InputError(f"{what}: expected (h, w, 3) uint8 RGB, got {image.shape} {image.dtype}")
    return np.ascontiguousarray(image)


def _crops(frame: np.ndarray, boxes: np.ndarray | Sequence[Sequence[float]]) -> list[np.ndarray]:
    """The pixels (h, w, 3) that each box touches."""
    frame = _pixels(frame, "frame")
    try:
        corners = np.asarray(boxes)
    except (ValueError, TypeError, RuntimeError) as error:  # rows of several lengths; a tensor on a card, or with grad
        raise InputError(f"boxes: expected (N, 4) left, top, right, bottom: {error}") from None
    if corners.shape in ((0,), (0, 4)):
        return []
    if corners.ndim != 2 or corners.shape[1] != 4 or corners.dtype.kind not in "iuf":
        raise InputError(f"boxes: expected (N, 4) left, top, right, bottom, got {corners.shape} {corners.dtype}")
    size = np.array(frame.shape[1::-1])
    corners = corners.astype(np.float64)
    low, high = np.floor(corners[:, :2]).clip(0), np.ceil(corners[:, 2:]).clip(max=size)
    problems = {
        "is no number": ~np.isfinite(corners).all(1),
        "is empty: right must exceed left, bottom top": (corners[:, 2:] <= corners[:, :2]).any(1),
        f"lies outside the frame of {size[0]} x {size[1]} pixels": (high <= low).any(1),
    }
    for problem, bad in problems.items():
        if bad.any():
            first = int(np.flatnonzero(bad)[0])
            raise InputError(f"box {first}, {corners[first].tolist()}: {problem} ({bad.sum()} such of {len(corners)})")
    edges = np.hstack([low, high]).astype(np.int64).tolist()
    return [frame[top:bottom, left:right] for left, top, right, bottom in edges]
