"""Backbone weights by `model.weights`: none, imagenet (the published files) or a local file.

Nothing in a file is executed and a backbone is changed only when every tensor fits.
"""

import hashlib
import http.client
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from reid.errors import InputError
from reid.files import sha256_of
from reid.models import BACKBONES
from reid.models.backbone import GEM_EXPONENT, Backbone
from reid.models.from_timm import PREFIX, TimmBackbone, check_name, create, has_published_weights, resampled_positions
from reid.models.state_dicts import (
    SUFFIXES,
    first_of,
    has_tensor_suffix,
    misfits,
    read_tensors,
    unwrapped,
    without_prefixes,
)

_IBN_NET = "https://github.com/XingangPan/IBN-Net/releases/download/v1.0"

# The hexadecimal digits in a file name are the first of its SHA-256, in torchvision's too.
IBN_NET: dict[str, str] = {
    "resnet18_ibn_a": f"{_IBN_NET}/resnet18_ibn_a-2f571257.pth",
    "resnet34_ibn_a": f"{_IBN_NET}/resnet34_ibn_a-94bc1577.pth",
    "resnet50_ibn_a": f"{_IBN_NET}/resnet50_ibn_a-d9d0bb7b.pth",
    "resnet101_ibn_a": f"{_IBN_NET}/resnet101_ibn_a-59ea0ac6.pth",
    "resnet18_ibn_b": f"{_IBN_NET}/resnet18_ibn_b-bc2f3c11.pth",
    "resnet34_ibn_b": f"{_IBN_NET}/resnet34_ibn_b-04134c37.pth",
    "resnet50_ibn_b": f"{_IBN_NET}/resnet50_ibn_b-9ca61e85.pth",
    "resnet101_ibn_b": f"{_IBN_NET}/resnet101_ibn_b-c55f6dba.pth",
    "resnext101_ibn_a": f"{_IBN_NET}/resnext101_ibn_a-6ace051d.pth",
}


@dataclass(frozen=True)
class WeightsReport:
    """Where a backbone's weights came from and which tensors, by name, that concerned."""

    origin: str  # "none", a URL or a path
    sha256: str = ""  # of the file, in hexadecimal
    loaded: list[str] = field(default_factory=list)
    # Only batch counters may be, which files before torch 0.4.1 lack, and GeM's p, which no published file has.
    missing: list[str] = field(default_factory=list)
    unused: list[str] = field(default_factory=list)  # in the file, not of the backbone: classifiers, necks
    resampled: list[str] = field(default_factory=list)  # position embeddings, laid out anew for another image size

    def summary(self) -> str:
        """One line for a log."""
        if not self.loaded:
            return f"weights {self.origin}: the backbone starts from its random initialisation"
        unused = f" ({', '.join(self.unused[:4])}{', …' if len(self.unused) > 4 else ''})" if self.unused else ""
        resampled = f", {', '.join(self.resampled)} resampled to the images' size" if self.resampled else ""
        counters = sum(key != GEM_EXPONENT for key in self.missing)
        fresh = f", {GEM_EXPONENT} starts anew" if counters < len(self.missing) else ""
        return (
            f"weights {self.origin} (sha256 {self.sha256[:8]}): {len(self.loaded)} tensors loaded, "
            f"{counters} batch counters missing{fresh}, {len(self.unused)} unused{unused}{resampled}"
        )


def published() -> dict[str, str]:
    """The addresses of the published ImageNet weights, by backbone: IBN-Net's, and torchvision's first (IMAGENET1K_V1),
    which are those that the papers used."""
    from torchvision import models  # here: it takes as long to load as torch, and only `imagenet` needs it

    plain = [name for name in BACKBONES if name in models.list_models()]
    return {name: models.get_model_weights(name).IMAGENET1K_V1.url for name in plain} | IBN_NET


def check_weights(name: str, width: float, weights: str) -> None:
    """Raise InputError where `weights` cannot suit the backbone `name` of that width; downloads and reads nothing."""
    if name.startswith(PREFIX):
        check_name(name.removeprefix(PREFIX))
    elif name not in BACKBONES:
        raise InputError(f"backbone {name!r} is not one of {sorted(BACKBONES)}")
    if weights == "none":
        return
    if weights == "imagenet":
        if name.startswith(PREFIX):
            if not has_published_weights(name.removeprefix(PREFIX)):
                raise InputError(f"weights imagenet: timm has none for {name}; choices: none, or a file's path")
            return
        if name not in (addresses := published()):
            raise InputError(
                f"weights imagenet: none published for {name!r}, only for {sorted(addresses)}; "
                "choices: none, or a file's path (torchreid's model zoo links those of OSNet)"
            )
        if width != 1:
            raise InputError(f"weights imagenet: published for width 1, not {width}; choices: none, or a file's path")
        return
    path = Path(weights).expanduser()
    if not has_tensor_suffix(path):
        raise InputError(f"weights {weights!r}: choices are none, imagenet, or a path that ends in {SUFFIXES}")
    if not path.is_file():
        raise InputError(f"weights {weights!r}: no such file")


def load_weights(backbone: Backbone, name: str, weights: str) -> WeightsReport:
    """Load `weights` (none, imagenet or a path) into `backbone`, which is BACKBONES[name] or timm's `timm:NAME`.

    A file may hold the bare state dict or keep it under `state_dict` or `model`; prefixes `module.`, `_orig_mod.` and
    `backbone.` are taken off. Tensors of the file outside the backbone are reported as unused.

    Raises InputError, with the backbone unchanged, for what `check_weights` refuses, a failed download or a wrong
    hash, a file that is damaged or holds more than plain data, and for a file of another architecture: a tensor
    of the backbone missing (except GeM's p, which then starts anew), of another shape or type or not finite, or a
    stage's tensor left over.
    """
    check_weights(name, backbone.width, weights)
    if weights == "none":
        return WeightsReport(origin="none")
    if isinstance(backbone, TimmBackbone):
        return _load_timm(backbone, weights)
    origin = published()[name] if weights == "imagenet" else weights
    path = _published_file(origin) if weights == "imagenet" else Path(weights).expanduser()
    source = _state_dict(read_tensors(path), path)
    target = backbone.state_dict()

    _refuse_misfits(source, target, name, path)
    loaded = [key for key in target if key in source]
    backbone.load_state_dict({key: source[key] for key in loaded}, strict=False)
    return WeightsReport(
        origin=origin,
        sha256=sha256_of(path),
        loaded=loaded,
        missing=[key for key in target if key not in source],
        unused=[key for key in source if key not in target],
    )


def _load_timm(backbone: TimmBackbone, weights: str) -> WeightsReport:
    """Load published weights by timm's own download, or a file: one of timm, or of a run with that backbone."""
    network, name = backbone.timm, PREFIX + backbone.name
    target = network.state_dict()
    if weights == "imagenet":
        try:
            downloaded = create(backbone.name, backbone.size, pretrained=True).state_dict()
        except Exception as error:  # a download fails with the errors of three libraries
            raise InputError(
                f"weights imagenet: timm could not get those of {name} ({type(error).__name__}: {error}); get the file "
                "another way and give its path instead of 'imagenet'"
            ) from error
        network.load_state_dict(downloaded)
        origin = f"timm:{network.pretrained_cfg.get('hf_hub_id') or network.pretrained_cfg.get('url')}"
        return WeightsReport(origin, state_digest(network), list(target))
    path = Path(weights).expanduser()
    source = {key.removeprefix("timm."): value for key, value in _state_dict(read_tensors(path), path).items()}
    classifier = tuple(f"{layer}." for layer in backbone.classifier)
    unused = [key for key in source if key not in target and key.startswith(classifier)]
    resampled = []
    for key, wanted in target.items():
        stored = source.get(key)
        if isinstance(stored, Tensor) and stored.is_floating_point() and stored.shape != wanted.shape:
            fitted = resampled_positions(network, key, stored)
            if fitted is not None:
                source[key] = fitted
                resampled.append(key)
    kept = {key: value for key, value in source.items() if key not in unused}
    _refuse_misfits(kept, target, name, path)
    loaded = [key for key in target if key in kept]
    network.load_state_dict({key: kept[key] for key in loaded}, strict=False)
    missing = [key for key in target if key not in kept]
    return WeightsReport(
        weights, sha256_of(path), loaded, missing, [key for key in source if key not in target], resampled
    )


def state_digest(network: nn.Module) -> str:
    """SHA-256, in hexadecimal, over name, type, shape and bytes of every tensor of a network, sorted by name."""
    digest = hashlib.sha256()
    for name, value in sorted(network.state_dict().items()):
        digest.update(f"{name}\0{value.dtype}\0{tuple(value.shape)}\0".encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _refuse_misfits(source: dict[str, Any], target: dict[str, Tensor], name: str, path: Path) -> None:
    """Also where every tensor of the backbone is there, and more of its parts: of a deeper network, or other norms."""
    parts = {key.split(".")[0] for key in target} - {"fc", "classifier"}
    left = [f"{key} is left over" for key in source if key not in target and key.split(".")[0] in parts]
    needed = {key: value for key, value in target.items() if key != GEM_EXPONENT or key in source}
    if phrases := misfits(source, needed) + left:
        raise InputError(f"{path}: not the weights of {name}, {len(phrases)} tensors do not fit: {first_of(phrases)}")


def _state_dict(content: Any, path: Path) -> dict[str, Any]:
    """The names and tensors in a file's content, out of the usual nesting and prefixes."""
    if isinstance(content, dict) and "model.classifier.weight" in content:  # a checkpoint of this project
        content = {key.removeprefix("model."): value for key, value in content.items() if key.startswith("model.")}
    return without_prefixes(unwrapped(content, path), ("module.", "_orig_mod.", "backbone."), path)


def _published_file(url: str) -> Path:
    """Path of the file at `url` in torch's hub folder, downloaded if it is not there; its hash is checked always."""
    path = Path(torch.hub.get_dir(), "checkpoints", url.rsplit("/", 1)[1])
    prefix = path.stem.rsplit("-", 1)[1]
    if not path.exists():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(url, str(path), hash_prefix=prefix)
        except (OSError, RuntimeError, http.client.HTTPException) as error:
            raise InputError(
                f"weights imagenet: could not get {url} into {path.parent} ({error});"
                " get the file another way and give its path instead of 'imagenet'"
            ) from error
    elif not (digest := sha256_of(path)).startswith(prefix):  # torch looks at it when it downloads alone
        raise InputError(f"{path}: its SHA-256 starts with {digest[: len(prefix)]}, not {prefix}; delete it and retry")
    return path
