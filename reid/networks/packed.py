"""A run as one file: the tensors that a test needs, and in the header, as JSON, all that tells how they are used.

Neither optimiser nor classifier, and nothing of the machine it was trained on: where it runs, and where data sets lie,
is the business of whoever opens it. Nothing in such a file can be executed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from reid.config import Config, dump_resolved, load_config, resolved, resolved_values
from reid.engine import build
from reid.engine.checkpoint import CONFIG_FILE, FILE, LOG_FILE, Progress, network_file, progress_of, save_model
from reid.engine.extract import Extractor, Testing
from reid.errors import InputError
from reid.files import write_atomically
from reid.models import Embedder
from reid.models.state_dicts import first_of, misfits
from reid.networks import shipped
from reid.networks.base import Origin
from reid.networks.shipped import NAMES, NOTE
from reid.networks.trained import TrainedNetwork, content_of, preprocessing, refuse_other_training

FORMAT = 1
UNUSED = "classifier."  # which training alone needs
COUNTER = "num_batches_tracked"
# Of a config what belongs to the machine, not to the network; float32, so that a gallery filled on one machine is
# searched on another: ``auto`` would be another arithmetic on each.
HERE = ("device", "threads", "compile", "output", "run", "targets")
HERE_DATA = ("root", "sites_root", "workers", "cache", "cache_gb")
PRECISION = "float32"


@dataclass(frozen=True)
class Note:
    """What a file says of itself.

    Attributes:
        config: of the run, without what belongs to a machine.
        progress: the header of the run's checkpoint: what it was trained on, by which code, how long.
        epoch: the one whose network this is (from 1), and how it was chosen.
        run: the run's name and the SHA-256 of its network's file.
    """

    config: Config
    progress: Progress
    epoch: tuple[int, str]
    run: dict[str, str]


def pack(network: TrainedNetwork, file: Path, half: bool) -> None:
    """Write a run to ``file``, in float32; with ``half`` its matrices and filters in 16 bits. The norms' vectors, a
    hundredth of it, stay in 32.

    Raises:
        InputError: a weight that 16 bits cannot hold; a file that cannot be written.
    """
    module = network.extractor.network
    assert isinstance(module, nn.Module)
    tensors: dict[str, Tensor] = {}
    for name, value in module.state_dict().items():
        if name.startswith(UNUSED) or name.endswith(COUNTER):
            continue
        kept = value.detach().cpu().float()
        if half and kept.dim() > 1:
            kept = kept.half()
        if not kept.isfinite().all():
            raise InputError(f"{file}: not written: {name} holds what {kept.dtype} cannot")
        tensors[name] = kept.contiguous()
    note = _said(network)
    note["digest"] = digest_of(note, save(tensors))
    write_atomically(file, save(tensors, {NOTE: json.dumps(note, sort_keys=True)}))


def _said(network: TrainedNetwork) -> dict[str, Any]:
    """What a file says of a network, as plain values; without its digest."""
    plain = load_config("base.yaml")
    here = {key: getattr(plain, key) for key in HERE} | {"precision": PRECISION}
    data = network.config.data.model_copy(update={key: getattr(plain.data, key) for key in HERE_DATA})
    config = network.config.model_copy(update={**here, "data": data})
    return {
        "format": FORMAT,
        "config": resolved_values(config),
        "progress": asdict(network.stored),
        "epoch": network.tested_epoch(),
        "run": network.run(),
    }


def open_packed(path: Path, overrides: Sequence[str] = (), testing: Testing | None = None) -> PackedNetwork:
    """The network in a file; ``overrides`` (``key=value``) or ``testing`` may change how it is tested.

    Raises:
        InputError: naming the file: it is damaged, of newer code or cannot be read; overrides of what was trained.
    """
    content = content_of(path)
    note = read_note(path, content)
    config = note.config
    if overrides:
        config = resolved(resolved_values(config), path, path.stem, overrides)
        refuse_other_training(config, note.config, overrides)
    if testing is not None:
        config = _as_tested(config, testing)
    return PackedNetwork(path, content, replace(note, config=config))


def read_note(path: Path, content: bytes) -> Note:
    """
    Raises:
        InputError: naming the file: damaged, or of newer code.
    """
    try:
        length = int.from_bytes(content[:8], "little")
        values = json.loads(json.loads(content[8 : 8 + length])["__metadata__"][NOTE])
        if type(values["format"]) is not int or values["format"] > FORMAT:
            raise InputError(
                f"{path}: is of format {values['format']!r}, and this version of reid-gap reads up to {FORMAT}: newer "
                "code wrote it; update reid-gap"
            )
        if digest_of(values, content) != values["digest"]:
            raise _damaged(path, ": its content is not what was written (SHA-256)")
        config = resolved(values["config"], path, path.stem)
        progress = progress_of(values["progress"], path)
        epoch, choice = values["epoch"]
        run = {key: str(values["run"][key]) for key in ("name", "network")}
        note = Note(config, progress, (int(epoch), str(choice)), run)
    except InputError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise _damaged(path, f", or not what reid export wrote: its header: {error!r}") from None
    if progress.config_hash != config.hash():
        raise _damaged(path, f": its config is not the one trained: {config.hash()}, {progress.config_hash}")
    return note


class PackedNetwork(TrainedNetwork):
    """A run's network from one file; what a run's folder holds besides (log, epochs, optimiser) is not there.

    Args:
        content: of the file at ``path``.
        note: its header; the config says how it is tested.
    """

    def __init__(self, path: Path, content: bytes, note: Note) -> None:
        build.check_tested(note.config)
        tensors = _tensors(path, content)
        width = tensors["neck.weight"].shape[0] if "neck.weight" in tensors else 0
        origin = Origin(path.stem, width, hashlib.sha256(content).hexdigest(), preprocessing(note.config))
        place = Path(note.config.output) / "networks" / f"{origin.name}_{origin.fingerprint[:8]}"
        network = _filled(path, note, tensors)

        def extractor() -> Extractor:
            on = build.placement(note.config)
            on.take_up()
            placed = network.to(on.device).to(memory_format=torch.channels_last).eval()
            return build.extractor(note.config, placed)

        super().__init__(note.config, place, note.progress, origin, extractor)
        self._note = note

    def describe(self) -> dict[str, Any]:
        return {**super().describe(), "name": self.origin.name}

    def tested_epoch(self) -> tuple[int, str]:
        return self._note.epoch

    def run(self) -> dict[str, str]:
        return self._note.run

    def of_epoch(self, epoch: int) -> TrainedNetwork | None:
        return None  # the others stay in the run's folder

    def adapted_folder(self, ending: str) -> Path:
        return Path(self.config.output) / f"{self.origin.name}_{ending}"

    def write_adapted(self, place: Path, network: nn.Module, record: Mapping[str, Any]) -> None:
        epoch, _ = self.tested_epoch()
        held_out = self.config.selection.holdout > 0
        progress = replace(self.stored, adapted=dict(record), num_classes=1)  # of the classifier that this module has
        for file in {place / FILE, network_file(place, held_out)}:
            save_model(file, network, replace(progress, best_epoch=epoch) if held_out else progress)
        write_atomically(place / CONFIG_FILE, dump_resolved(self.config))
        write_atomically(place / LOG_FILE, json.dumps({"step": progress.step, "epoch": epoch}) + "\n")


def _filled(path: Path, note: Note, tensors: Mapping[str, Tensor]) -> Embedder:
    """The network of the note's config, in float32 on the CPU. Its classifier, which no test reads, knows one person.

    Raises:
        InputError: naming the tensors that do not fit.
    """
    with torch.random.fork_rng(devices=[]):
        network = build.embedder(note.config, num_classes=1)
    target = network.state_dict()
    held = {name: value.float() for name, value in tensors.items()}
    held |= {name: torch.zeros(value.shape) for name, value in target.items() if name.startswith(UNUSED)}
    phrases = misfits(held, target, what="network") + [f"{name} is left over" for name in held if name not in target]
    if phrases:
        raise _damaged(path, f", or of other code: {first_of(phrases)}")
    network.load_state_dict(held, strict=False)  # all that has not to do with counting batches
    return network.requires_grad_(False).eval()


def _tensors(path: Path, content: bytes) -> dict[str, Tensor]:
    try:
        return dict(load(content))
    except (SafetensorError, ValueError, TypeError) as error:
        raise _damaged(path, f": {error}") from None


def _damaged(path: Path, why: str) -> InputError:
    anew = "; it travels in the package: install reid-gap anew" if path in map(shipped.file_of, NAMES) else ""
    return InputError(f"{path}: damaged{why}{anew}")


def digest_of(note: Mapping[str, Any], content: bytes) -> str:
    """SHA-256 of what a file says of itself, but for this, and of the tensors behind the header of ``content``."""
    said = json.dumps({key: value for key, value in note.items() if key != "digest"}, sort_keys=True).encode()
    return hashlib.sha256(said + content[8 + int.from_bytes(content[:8], "little") :]).hexdigest()


def _as_tested(config: Config, testing: Testing) -> Config:
    """``config``, tested on another's terms, as the networks of a grid are."""
    placement = testing.placement
    evaluation = config.evaluation.model_copy(
        update={
            "batch_size": testing.batch_size, "flip": testing.flip, "distance": testing.distance,
            "top_k": testing.top_k,
        }
    )  # fmt: skip
    places = {"root": str(testing.roots.folder), "sites_root": str(testing.roots.sites), "workers": testing.workers}
    return config.model_copy(
        update={
            "device": str(placement.device), "precision": placement.precision, "threads": placement.threads,
            "output": testing.output, "evaluation": evaluation, "data": config.data.model_copy(update=places),
        }
    )  # fmt: skip
