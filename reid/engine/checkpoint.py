"""Checkpoints: one safetensors file with every tensor of the run, and plain JSON beside them in its header.

Nothing in such a file can be executed on loading, a truncated one is recognised, and it is replaced atomically.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from reid.config import Config, load_resolved
from reid.errors import InputError
from reid.files import write_atomically
from reid.overrides import flatten

FILE, CONFIG_FILE, LOG_FILE = "checkpoint.safetensors", "config.yaml", "log.jsonl"
VALIDATION_FILE = "validation.jsonl"
SELECTED, EPOCHS = "selected.safetensors", "epochs"
NO_CODE = "code not recorded"  # in checkpoints written before it was


@dataclass(frozen=True)
class Progress:
    """Where a run stands, and what it must find again to go on bit for bit.

    A field that joins these gets a default: what stands for it in checkpoints written before.

    Attributes:
        step: optimiser steps done.
        total_steps: steps of the whole run; it is finished when they are equal.
        num_classes: identities trained on.
        source, data: label and fingerprint of the source's data.
        threads, device, precision, packages, cpu: what the arithmetic ran on.
        seconds: training time so far.
        weights: what was loaded into the backbone at the start.
        best_epoch, best_mAP: on held-out identities (from 1; 0 before the first validation, or without any).
        stopped: ended early, for want of a better epoch.
        code: digests of the sources that trained it (:func:`reid.engine.code.training_code`); several, in order, where
            it went on with changed ones.
        world_size: processes that trained it together.
        compiled: whether by a compiled network.
        adapted: of a network whose batch-norm statistics were estimated anew after training: from which run and images,
            and how (:mod:`reid.evaluation.adapted`). Empty for a network as it was trained.
    """

    step: int
    total_steps: int
    num_classes: int
    config_hash: str
    source: str
    data: str
    threads: int
    device: str
    precision: str
    packages: str
    cpu: str
    seconds: float
    weights: str
    best_epoch: int = 0
    best_mAP: float = 0.0
    stopped: bool = False
    code: str = NO_CODE
    world_size: int = 1
    compiled: bool = False
    adapted: dict[str, Any] = field(default_factory=dict)

    @property
    def finished(self) -> bool:
        return self.stopped or self.step >= self.total_steps


def network_file(folder: Path, held_out: bool, epoch: int | None = None) -> Path:
    """The file in a run's folder whose network is tested: the best on ``held_out`` identities where there are any, else
    the last; or that of one ``epoch`` (from 1), where each was kept."""
    if epoch is not None:
        return folder / EPOCHS / f"{epoch:04d}.safetensors"
    return folder / (SELECTED if held_out else FILE)


def check_resumable(checkpoint: Path, stored: Progress, now: Progress) -> None:
    """Refuse to go on where the result would not be that of a run never interrupted."""
    reasons = {
        "device": "arithmetic differs between devices",
        "precision": "arithmetic differs between precisions",
        "packages": "other versions compute other bits",
        "total_steps": "the schedule differs",
        "world_size": "a process' share of a batch differs, and with it batch statistics and the hardest pairs",
        "compiled": "compiled kernels compute other bits",
        "num_classes": "the source's identities changed",
    }
    if now.device == "cpu":
        reasons["cpu"] = "kernels differ between instruction sets"
    for key, why in reasons.items():
        was, is_now = getattr(stored, key), getattr(now, key)
        if was != is_now:
            raise InputError(f"{checkpoint}: cannot be resumed: {key} was {was!r}, is {is_now!r} ({why})")


def check_same_config(config: Config, folder: Path) -> None:
    old, new = flatten(load_resolved(folder / CONFIG_FILE).training()), flatten(config.training())
    differing = [key for key in sorted(old.keys() | new.keys()) if old.get(key) != new.get(key)]
    if differing:
        shown = "; ".join(f"{key} was {old.get(key)!r}, is {new.get(key)!r}" for key in differing[:5])
        raise InputError(f"{folder}: holds a run of another config ({shown}). Choose another run=NAME, or delete it")


def check_same_data(folder: Path, stored: Progress, fingerprint: str, root: Path) -> None:
    if stored.data != fingerprint:
        raise InputError(
            f"{folder}: was trained on other files of {stored.source} (fingerprint {stored.data[:12]}, the files in "
            f"{root} have {fingerprint[:12]}). Choose another run=NAME, or delete it"
        )


def refuse_adapted(folder: Path, stored: Progress) -> None:
    """Refuse to take an adapted network for the run that it was made from, to be trained or gone on with."""
    if stored.adapted:
        raise InputError(
            f"{folder}: holds a network adapted to {stored.adapted['data']} (adapt.py), which is not trained any "
            f"further; it was made from the run {stored.adapted['run']}. Choose another run=NAME, or delete it"
        )


class CheckpointWriter:
    """Writes checkpoints beside the training that goes on meanwhile, one after the other.

    Raises (each of its methods, and leaving the block):
        InputError: naming the path, when an earlier one could not be written (a full disk), or held weights that are
            no numbers; the one before it then still stands.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._thread = ThreadPoolExecutor(1, "checkpoint")
        self._writing: Future[None] | None = None

    def __enter__(self) -> CheckpointWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._thread.shutdown()
        if kind is None:
            self.wait()

    @property
    def busy(self) -> bool:
        """Whether one is being written."""
        if self._writing is not None and self._writing.done():
            self.wait()
        return self._writing is not None

    def write(self, tensors: Mapping[str, Tensor], progress: Progress) -> None:
        """Begin to write these tensors as they are now."""
        self.wait()
        copies = {name: value.detach().to("cpu", copy=True) for name, value in tensors.items()}
        self._writing = self._thread.submit(_save_finite, self._path, copies, progress)

    def wait(self) -> None:
        """Until all are written."""
        if self._writing is not None:
            writing, self._writing = self._writing, None
            writing.result()


def save_model(path: Path, model: nn.Module, progress: Progress) -> None:
    """Write the model's tensors alone.

    Raises:
        InputError: naming the path, when it cannot be written.
    """
    _save(path, {f"model.{name}": value for name, value in model.state_dict().items()}, progress)


def read_progress(path: Path) -> Progress:
    """The header alone.

    Raises:
        InputError: naming the file, when it is missing, truncated, not a checkpoint of this project or one of newer
            code.
    """
    try:
        try:
            stored = _metadata(path)
        except RuntimeError:  # it was replaced in the moment between its opening and its mapping
            stored = _metadata(path)
        return progress_of(dict(json.loads(stored["progress"])), path)
    except InputError:
        raise
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: not a readable checkpoint (truncated, or of another origin): {error}") from None


def progress_of(header: Mapping[str, Any], path: Path) -> Progress:
    """What a file's header says, checked against what is known here.

    Raises:
        InputError: a file of newer code.
        TypeError: a field is missing.
    """
    unknown = sorted(header.keys() - {field.name for field in fields(Progress)})
    if unknown:
        raise InputError(
            f"{path}: its header holds {', '.join(map(repr, unknown))}, which this version of reid-gap does not "
            "know: newer code wrote it; update reid-gap"
        )
    return Progress(**header)


def _metadata(path: Path) -> dict[str, str]:
    with safe_open(path, framework="pt") as file:
        return file.metadata() or {}


def read_width(path: Path) -> int:
    """Numbers a feature of the stored model, from the file's header alone.

    Raises:
        InputError: naming the file, when it is missing, truncated or not a checkpoint of this project.
    """
    try:
        with safe_open(path, framework="pt") as file:
            return int(file.get_slice("model.neck.weight").get_shape()[0])
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path}: not a readable checkpoint (truncated, or of another origin): {error}") from None


def load_model(path: Path, model: nn.Module) -> None:
    """Copy the stored model's tensors into ``model``, all of them and no others; of one trained with a moving average
    the average's.

    Raises:
        InputError: naming the file.
    """
    stored = read_tensors(path)
    prefix = "average." if any(name.startswith("average.") for name in stored) else "model."
    state = {name.removeprefix(prefix): value for name, value in stored.items() if name.startswith(prefix)}
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise InputError(f"{path}: does not fit the network of its config: {error}") from None


def read_tensors(path: Path) -> dict[str, Tensor]:
    """All tensors by name.

    Raises:
        InputError: naming the file.
    """
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # not a dict
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path}: not a readable checkpoint (truncated, or of another origin): {error}") from None


def _save_finite(path: Path, tensors: Mapping[str, Tensor], progress: Progress) -> None:
    for name, value in tensors.items():
        if name.startswith("model.") and not torch.isfinite(value).all():
            raise InputError(f"{path}: not written: weights are no longer finite after step {progress.step}")
    _save(path, tensors, progress)


def _save(path: Path, tensors: Mapping[str, Tensor], progress: Progress) -> None:
    stored = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    write_atomically(path, save(stored, metadata={"progress": json.dumps(asdict(progress))}))
