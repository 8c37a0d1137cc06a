"""Checkpoints: one safetensors file with every tensor of the run, and plain JSON beside them in its header.

Nothing in such a file can be executed on loading, a truncated one is recognised, and it is replaced atomically.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from reid.errors import InputError
from reid.files import write_atomically

FILE, CONFIG_FILE, LOG_FILE = "checkpoint.safetensors", "config.yaml", "log.jsonl"
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
        "num_classes": "the source's identities changed",
    }
    if now.device == "cpu":
        reasons["cpu"] = "kernels differ between instruction sets"
    for key, why in reasons.items():
        was, is_now = getattr(stored, key), getattr(now, key)
        if was != is_now:
            raise InputError(f"{checkpoint}: cannot be resumed: {key} was {was!r}, is {is_now!r} ({why})")


def save_checkpoint(path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, progress: Progress) -> None:
    """Write model, optimiser state and torch's random state.

    Raises:
        InputError: naming the path, when it cannot be written (a full disk), or weights that are no numbers; the old
            checkpoint then still stands.
    """
    if not all(torch.isfinite(parameter).all() for parameter in model.parameters()):
        raise InputError(f"{path}: not written: weights are no longer finite after step {progress.step}")
    tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
    for number, parameter in enumerate(_parameters(optimizer)):
        for key, value in optimizer.state[parameter].items():
            tensors[f"optimizer.{number}.{key}"] = value
    tensors["random"] = torch.get_rng_state()
    _save(path, tensors, progress)


def save_model(path: Path, model: nn.Module, progress: Progress) -> None:
    """Write the model's tensors alone. Raises InputError as :func:`save_checkpoint` does."""
    _save(path, {f"model.{name}": value for name, value in model.state_dict().items()}, progress)


def read_progress(path: Path) -> Progress:
    """The header alone.

    Raises:
        InputError: naming the file, when it is missing, truncated, not a checkpoint of this project or one of newer
            code.
    """
    try:
        with safe_open(path, framework="pt") as file:
            header = dict(json.loads((file.metadata() or {})["progress"]))
        unknown = sorted(header.keys() - {field.name for field in fields(Progress)})
        if unknown:
            raise InputError(
                f"{path}: its header holds {', '.join(map(repr, unknown))}, which this version of reid-gap does not "
                "know: newer code wrote it; update reid-gap"
            )
        return Progress(**header)
    except InputError:
        raise
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: not a readable checkpoint (truncated, or of another origin): {error}") from None


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
    """Copy the stored model tensors into ``model``, all of them and no others.

    Raises:
        InputError: naming the file.
    """
    stored = _read(path)
    state = {name.removeprefix("model."): value for name, value in stored.items() if name.startswith("model.")}
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise InputError(f"{path}: does not fit the network of its config: {error}") from None


def load_training(path: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Restore model, optimiser state and torch's random state.

    Raises:
        InputError: naming the file.
    """
    load_model(path, model)
    stored = _read(path)
    for number, parameter in enumerate(_parameters(optimizer)):
        prefix = f"optimizer.{number}."
        state = {name.removeprefix(prefix): value for name, value in stored.items() if name.startswith(prefix)}
        optimizer.state[parameter] = {name: _like(value, parameter) for name, value in state.items()}
    torch.set_rng_state(stored["random"])


def _save(path: Path, tensors: dict[str, Tensor], progress: Progress) -> None:
    stored = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    write_atomically(path, save(stored, metadata={"progress": json.dumps(asdict(progress))}))


def _parameters(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def _like(value: Tensor, parameter: Tensor) -> Tensor:
    """``value`` where and how the parameter lies in memory: fused steps need channels_last beside channels_last."""
    if value.shape != parameter.shape:
        return value.to(parameter.device)
    return torch.empty_like(parameter, dtype=value.dtype, requires_grad=False).copy_(value)


def _read(path: Path) -> dict[str, Tensor]:
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # not a dict
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path}: not a readable checkpoint (truncated, or of another origin): {error}") from None
