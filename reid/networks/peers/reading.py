"""A checkpoint of torchreid or fast-reid, recognised by the names and shapes of its tensors."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from reid.data.transforms import pillow_transform
from reid.engine.extract import Extractor, Testing
from reid.errors import InputError
from reid.files import sha256_of
from reid.models.osnet import EMBEDDING
from reid.models.state_dicts import (
    SUFFIXES,
    first_of,
    has_tensor_suffix,
    misfits,
    read_tensors,
    unwrapped,
    without_prefixes,
)
from reid.networks.base import Origin
from reid.networks.peers.fastreid import FastReid
from reid.networks.peers.kinds import FASTREID, PEERS, TORCHREID, Input, input_of
from reid.networks.peers.torchreid import TorchreidOSNet, TorchreidResNet
from reid.networks.pytorch import TorchNetwork
from reid.networks.shipped import is_packed

log = logging.getLogger(__name__)

CLASSIFIERS = ("classifier.", "heads.classifier.", "heads.weight")
COUNTER = "num_batches_tracked"
NECKS = ("heads.bottleneck.0.", "heads.bnneck.")


@dataclass(frozen=True)
class Recognised:
    """What a checkpoint holds.

    Attributes:
        kind: a name in PEERS.
        network: filled from the file, in evaluation mode, on the CPU in float32.
        input: what it takes.
    """

    kind: str
    network: nn.Module
    input: Input


def split_kind(name: str) -> tuple[str | None, Path]:
    """Kind and path of "KIND:PATH", where a file does not tell its kind itself; None and the path of a plain path.

    Raises:
        InputError: an unknown kind.
    """
    kind, colon, path = name.partition(":")
    if not colon or Path(name).exists() or not kind.startswith(("torchreid/", "fastreid/", "fastreid_v")):
        return None, Path(name)
    if kind not in PEERS:
        raise InputError(f"{name}: {kind!r} is not one of {', '.join(PEERS)}")
    return kind, Path(path)


def read_checkpoint(path: Path, kind: str | None = None) -> Recognised:
    """The network in a file, of the kind that its tensors tell, or of the given one.

    Raises:
        InputError: no such file, a damaged one or one that holds more than plain data; of no known kind, or a tensor
            that is missing, left over, of another shape or not finite, by the file's own names.
    """
    if not has_tensor_suffix(path):
        raise InputError(f"{path}: expected a checkpoint, a file that ends in {', '.join(SUFFIXES)}")
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    if is_packed(path):
        raise InputError(f"{path}: is a run of this project as one file, of no other kind; give its path alone")
    content = read_tensors(path)
    if isinstance(content, dict) and "model.classifier.weight" in content and "model.neck.weight" in content:
        raise InputError(f"{path}: is a checkpoint of this project; give its run's folder, the one with config.yaml")
    held = unwrapped(content, path)
    tensors = without_prefixes(held, ("module.", "_orig_mod."), path)
    kind = kind or _kind_of(tensors, path)
    # Batch counters mean nothing in evaluation; converted files have them as floats, or left over from other names.
    # What is left over and no tensor is no part of a network: numbers and texts of a trainer (`epoch`, `rank1`).
    names = {name: key for name, key in _fitting_names(kind, tensors).items() if not name.endswith(COUNTER)}
    source = {name: tensors[key] for name, key in names.items()}
    with torch.device("meta"):
        network = _build(kind, tensors)
    target = network.state_dict()
    whole = dict(zip(tensors, map(str, held), strict=True))  # a tensor's name in the file, prefixes and all
    known = {name: whole[key] for name, key in names.items()}
    phrases = misfits(source, target, known, "network") + [
        f"{known[name]} is left over" for name in source if name not in target and isinstance(source[name], Tensor)
    ]
    if phrases:
        raise InputError(
            f"{path}: taken for {kind}, but {len(phrases)} tensors do not fit: {first_of(phrases)}; {_known_kinds()}"
        )
    counters = {name: torch.zeros((), dtype=torch.long) for name in target if name.endswith(COUNTER)}
    values = {name: value.to(target[name].dtype, copy=True) for name, value in source.items() if name in target}
    network.load_state_dict({**values, **counters}, assign=True)
    return Recognised(kind, network.requires_grad_(False).eval(), input_of(kind))


def open_checkpoint(name: str | Path, testing: Testing) -> TorchNetwork:
    """The network in a checkpoint, "PATH" or "KIND:PATH" (see :func:`split_kind`), fed as its own project feeds it.

    Raises:
        InputError: as :func:`split_kind` and :func:`read_checkpoint`.
    """
    kind, path = split_kind(str(name))
    recognised = read_checkpoint(path, kind)
    module, expected = recognised.network, recognised.input
    placement = testing.placement
    steps = {
        "kind": recognised.kind,
        **asdict(expected),
        "resize": f"Pillow, {expected.interpolation}",
        "flip": testing.flip,
        "precision": placement.origin_precision,
    }
    del steps["interpolation"]
    origin = Origin(path.stem, feature_width(module), sha256_of(path), json.dumps(steps, sort_keys=True))
    transform = pillow_transform(
        expected.height, expected.width, expected.interpolation, expected.scale, expected.mean, expected.std
    )

    def build() -> Extractor:
        placement.take_up()
        placed = module.to(placement.device).to(memory_format=torch.channels_last)
        return Extractor(placed, transform, placement, testing.batch_size, testing.workers, testing.flip)

    return TorchNetwork(origin, build)


def feature_width(network: nn.Module) -> int:
    """D of a network of PEERS."""
    if isinstance(network, FastReid):
        return network.backbone.channels
    assert isinstance(network, TorchreidOSNet | TorchreidResNet)
    return network.channels if network.fc is None else EMBEDDING


def _kind_of(tensors: Mapping[str, Any], path: Path) -> str:
    if "conv1.conv.weight" in tensors:
        kind = f"torchreid/osnet_{_osnet_variant(tensors)}"
    elif "backbone.conv1.weight" in tensors and any(name.startswith("heads.") for name in tensors):
        kind = _fastreid_kind(tensors, path)
    elif "conv1.weight" in tensors and "layer1.0.conv1.weight" in tensors:
        kind = "torchreid/resnet50_fc512" if "fc.0.weight" in tensors else "torchreid/resnet50"
    else:
        names = ", ".join(map(repr, list(tensors)[:4]))
        raise InputError(f"{path}: is of no known kind: its first tensors are {names}; {_known_kinds()}")
    if kind not in PEERS:
        raise InputError(f"{path}: is of no known kind: looks like a {kind}; {_known_kinds()}")
    return kind


def _osnet_variant(tensors: Mapping[str, Any]) -> str:
    stem = getattr(tensors["conv1.conv.weight"], "shape", (0,))[0]
    width = {64: "x1_0", 48: "x0_75", 32: "x0_5", 16: "x0_25"}.get(stem, f"of {stem} channels in the stem")
    if "conv2.0.conv2.0.layers.0.conv1.weight" in tensors:
        return f"ain_{width}"
    return f"ibn_{width}" if "conv2.0.IN.weight" in tensors else width


def _fastreid_kind(tensors: Mapping[str, Any], path: Path) -> str:
    """Version by the neck's name and the pixel statistics, method by the layers, and where those do not tell AGW from
    SBS (one network, other image sizes) by the file's name."""
    net = "R101" if "backbone.layer3.6.conv1.weight" in tensors else "R50"
    net += "-ibn" if "backbone.layer1.0.bn1.IN.weight" in tensors else ""
    version = "fastreid_v1.0.0" if "pixel_mean" in tensors else "fastreid"
    if any(name.startswith("heads.bnneck.") for name in tensors):  # also left over beside the later name
        version = "fastreid_v0.1.1"
    if "backbone.NL_2.0.g.weight" not in tensors:
        # a configuration of one's own may leave the non-local blocks out of SBS, or pool BoT by GeM
        learnt = "heads.pool_layer.p" in tensors
        method = "sbs" if learnt and "sbs" in path.stem.lower() else "bagtricks"
    elif "heads.pool_layer.p" not in tensors:
        method = "AGW"
    else:
        stem = path.stem.lower()
        method = "AGW" if "agw" in stem else "sbs"
        if version != "fastreid" and "agw" not in stem and "sbs" not in stem:
            other = _listed(f"{version}/AGW_{net}")
            log.warning(
                f"{path}: fast-reid's SBS (for images of 384 x 128) or AGW (256 x 128), which have the same tensors; "
                f"taken as SBS, and as AGW by the name '{other}:{path}'"
            )
    return _listed(f"{version}/{method}_{net}")


def _listed(kind: str) -> str:
    """Of version 1.0.0 not every network is listed; the latest version builds the rest in the same way."""
    return kind if kind in PEERS else kind.replace("_v1.0.0", "")


def _build(kind: str, tensors: Mapping[str, Any]) -> nn.Module:
    """The network of a kind with what differs between files of one kind as the tensors say."""
    if kind in TORCHREID:
        return PEERS[kind]()
    design = FASTREID[kind]
    inner = [getattr(tensors.get(f"backbone.NL_{number}.0.g.weight"), "shape", (1,))[0] for number in (2, 3)]
    if design.non_local is not None:
        blocks = any(name.startswith("backbone.NL_") for name in tensors)
        design = replace(design, non_local=(inner[0], inner[1]) if blocks else None)
    if "heads.pool_layer.p" in tensors:
        design = replace(design, pooling="learnt gem")
    return FastReid(replace(design, stored_pixels="pixel_mean" in tensors))


def _fitting_names(kind: str, tensors: Mapping[str, Any]) -> dict[str, str]:
    """The network's name of each tensor, and its name here: without the classifier, the neck by the kind's name.

    Of a neck under both names what is left of one without its weights is dropped.
    """
    names = {name: name for name in tensors if not name.startswith(CLASSIFIERS)}
    if kind in TORCHREID:
        return names
    wanted = f"heads.{FASTREID[kind].neck}."
    other = next(neck for neck in NECKS if neck != wanted)
    if f"{other}weight" in names and f"{wanted}weight" not in names:
        wanted, other = other, wanted
    if f"{other}weight" not in names:
        names = {name: key for name, key in names.items() if not name.startswith(other)}
    target = f"heads.{FASTREID[kind].neck}."
    return {target + name.removeprefix(wanted) if name.startswith(wanted) else name: key for name, key in names.items()}


def _known_kinds() -> str:
    projects: dict[str, list[str]] = {}
    for kind in PEERS:
        project, _, name = kind.partition("/")
        projects.setdefault(project, []).append(name)
    return "known kinds: " + "; ".join(f"{project}/ {', '.join(names)}" for project, names in projects.items())
