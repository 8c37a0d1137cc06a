"""Networks of the timm library as backbones: ``timm:NAME``, with features taken before the classifier.

Wightman, "PyTorch Image Models", 2019, https://github.com/huggingface/pytorch-image-models. timm is imported only where
such a network is asked for: it is the extra ``timm`` of this package.
"""

from __future__ import annotations

import difflib
from types import ModuleType
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from reid.errors import InputError
from reid.models.backbone import Backbone

PREFIX = "timm:"
STAGES = 4


class TimmBackbone(Backbone):
    """A network of timm without its classifier; the vector is what timm's ``forward_head(pre_logits=True)`` gives.

    Args:
        name: of timm, with or without the tag of its published weights: "vit_small_patch16_224.augreg_in1k".
        size: height and width of the images, pixels. A transformer's position embeddings are laid out for it.

    Raises:
        InputError: an unknown name, timm not installed, or a size that does not go through the network.
    """

    def __init__(self, name: str, size: tuple[int, int]) -> None:
        super().__init__()
        check_name(name)
        self.name, self.size = name, size
        self.channels = feature_width(name, size)
        self.timm = create(name, size)
        self._check_patches()
        self._reductions = [stage.get("reduction", 0) for stage in getattr(self.timm, "feature_info", None) or ()]

    def _check_patches(self) -> None:
        """Refuse a size of which rows or columns would be left over without a word."""
        embed = getattr(self.timm, "patch_embed", None)
        patch, grid = getattr(embed, "patch_size", None), getattr(embed, "grid_size", None)
        if patch and grid and any(g * p < side for g, p, side in zip(grid, patch, self.size, strict=True)):
            raise InputError(
                f"backbone '{PREFIX}{self.name}': {self.size[0]} x {self.size[1]} pixels do not divide into its "
                f"patches of {patch[0]} x {patch[1]}"
            )

    def pooled(self, x: Tensor) -> Tensor:
        features = _before_classifier(self.timm, x)
        return features.to(torch.promote_types(features.dtype, torch.float32))

    def forward(self, x: Tensor) -> Tensor:
        """As :meth:`pooled`."""
        return self.pooled(x)

    def stages(self, x: Tensor) -> list[Tensor]:
        """Maps of the last four stages, each smaller than the one before.

        Raises:
            InputError: a network without such stages, as a plain vision transformer.
        """
        if not self._has_stages():
            raise InputError(
                f"{PREFIX}{self.name}: has no stages of falling resolution, as a ResNet or a ConvNeXt has: there is "
                "nothing to measure a divergence stage by stage on"
            )
        maps: list[Tensor] = self.timm.forward_intermediates(
            x, indices=STAGES, norm=False, output_fmt="NCHW", intermediates_only=True
        )
        return maps

    def _has_stages(self) -> bool:
        rising = all(a < b for a, b in zip(self._reductions, self._reductions[1:], strict=False))
        return len(self._reductions) >= STAGES and rising and hasattr(self.timm, "forward_intermediates")

    @property
    def ends_in_instance_norm(self) -> tuple[bool, ...]:
        """None does, in timm's networks; empty where there are no stages."""
        return (False,) * STAGES if self._has_stages() else ()

    @property
    def classifier(self) -> tuple[str, ...]:
        """Names of the layers that a published file has and this network has not."""
        named = self.timm.pretrained_cfg.get("classifier") or ()
        return (named,) if isinstance(named, str) else tuple(named)


def check_name(name: str) -> None:
    """
    Raises:
        InputError: timm is not installed, or has no network or no weights of this name; naming close ones.
    """
    timm = _timm()
    if not timm.is_model(name):
        known = timm.list_models()
        if name.partition(".")[0].startswith(("resnet", "resnext")) and "_ibn" in name:
            hint = "timm has no IBN networks; this project's are named without 'timm:'"
        else:
            start = name.partition(".")[0]
            alike = [other for other in known if start and other.startswith(start)][:3]
            close = alike or difflib.get_close_matches(start, known, n=3) or known[:3]
            hint = f"choices: {', '.join(close)} and others of its {len(known)} (timm.list_models())"
        raise InputError(f"backbone '{PREFIX}{name}': timm {timm.__version__} has no network {name!r}; {hint}")
    try:
        timm.models.get_pretrained_cfg(name, allow_unregistered=False)
    except RuntimeError:
        architecture, _, tag = name.partition(".")
        tags = [known.partition(".")[2] for known in timm.list_pretrained(f"{architecture}.*")]
        raise InputError(
            f"backbone '{PREFIX}{name}': {tag!r} is none of the weights that timm names for {architecture}: "
            f"{', '.join(tags) or 'none'}"
        ) from None


class PublishedInput(NamedTuple):
    """What the images are to be that a network's published weights were trained on: normalised by ``mean`` and ``std``
    of red, green and blue in 0..1, resized by ``interpolation`` (bicubic, bilinear, ...)."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: str


def published_input(name: str) -> PublishedInput:
    """Of a network that :func:`check_name` passes."""
    described = _timm().models.get_pretrained_cfg(name)
    return PublishedInput(tuple(described.mean), tuple(described.std), str(described.interpolation))


def has_published_weights(name: str) -> bool:
    """Whether timm can download weights for a network that :func:`check_name` passes."""
    return bool(_timm().models.get_pretrained_cfg(name).has_weights)


def create(name: str, size: tuple[int, int], pretrained: bool = False) -> Any:
    """timm's module without a classifier, for images of ``size``; random weights drawn from torch's generator, or the
    published ones, which timm downloads and fits to the size."""
    timm = _timm()
    try:
        return timm.create_model(name, pretrained=pretrained, num_classes=0, img_size=size)
    except TypeError as error:
        if "img_size" not in str(error):
            raise
    return timm.create_model(name, pretrained=pretrained, num_classes=0)  # takes images of any size


def feature_width(name: str, size: tuple[int, int]) -> int:
    """Width of the vector that a network gives for images of ``size``, found without its weights.

    Raises:
        InputError: such images do not go through it.
    """
    height, width = size
    with torch.device("meta"), torch.no_grad():
        try:
            network = create(name, size).eval()
            shape = tuple(_before_classifier(network, torch.empty(1, 3, height, width)).shape)
        except (AssertionError, RuntimeError, ValueError, IndexError) as error:
            raise InputError(
                f"backbone '{PREFIX}{name}': images of {height} x {width} pixels do not go through it: {error}"
            ) from None
    if len(shape) != 2:
        raise InputError(f"backbone '{PREFIX}{name}': gives {shape} before its classifier, expected a vector an image")
    return shape[1]


def _before_classifier(network: Any, x: Tensor) -> Tensor:
    features: Tensor = network.forward_head(network.forward_features(x), pre_logits=True)
    return features


def resampled_positions(network: nn.Module, name: str, stored: Tensor) -> Tensor | None:
    """Position embeddings (1, P + n * n, D) of a file, made for n x n patches behind P prefix tokens, interpolated to
    the grid of ``network``; None where they are no such thing."""
    from timm.layers import resample_abs_pos_embed

    grid = getattr(getattr(network, "patch_embed", None), "grid_size", None)
    if name != "pos_embed" or grid is None or stored.ndim != 3:
        return None
    prefix = 0 if getattr(network, "no_embed_class", False) else int(getattr(network, "num_prefix_tokens", 0))
    side = round(max(0, stored.shape[1] - prefix) ** 0.5)
    if side == 0 or side * side != stored.shape[1] - prefix:
        return None
    fitted: Tensor = resample_abs_pos_embed(stored, new_size=list(grid), num_prefix_tokens=prefix)
    return fitted


def _timm() -> ModuleType:
    try:
        import timm
    except ImportError:
        raise InputError("networks of timm need the package timm: pip install 'reid-gap[timm]'") from None
    module: ModuleType = timm
    return module
