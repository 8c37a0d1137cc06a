"""Networks of fast-reid (He et al., "FastReID", arXiv 2006.02631, 2020): BoT, AGW and SBS on ResNet-50 and 101.

BoT is Luo et al. 2019 (bag of tricks); AGW adds non-local blocks (Wang et al., "Non-local Neural Networks", CVPR 2018)
and generalised-mean pooling (Radenović et al., TPAMI 2019), after Ye et al., "Deep Learning for Person
Re-identification", TPAMI 2021; SBS is fast-reid's own stronger baseline, with the same layers for larger images.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from reid.models import ResNet
from reid.models.backbone import global_average
from reid.models.resnet import Stages
from reid.networks.peers.torchreid import in_float32

PIXEL_MEAN, PIXEL_STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)  # of RGB 0 to 255
_DEPTHS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}
_NON_LOCAL = {50: (2, 3), 101: (2, 9)}  # blocks of layer2 and layer3, the last ones, that a non-local block follows
_IBN_A: Stages = ("a", "a", "a", None)


@dataclass(frozen=True)
class Design:
    """What tells one fast-reid network from another.

    Attributes:
        depth: 50 or 101 layers.
        ibn: whether IBN-a, as IBN-Net's `resnet50_ibn_a`.
        non_local: channels inside the non-local blocks of layer2 and of layer3; None: there are none.
        pooling: "average"; "gem" with exponent 3; "learnt gem" with the exponent in `heads.pool_layer.p`.
        neck: name of the batch norm behind the pooling, within `heads`.
        stored_pixels: whether `pixel_mean` and `pixel_std` are in the state dict.
        padded: max pooling of the stem with padding 1, as ResNet's; else without, from the first pixel on.
    """

    depth: Literal[50, 101]
    ibn: bool
    non_local: tuple[int, int] | None
    pooling: Literal["average", "gem", "learnt gem"]
    neck: Literal["bnneck", "bottleneck.0"]
    stored_pixels: bool
    padded: bool


class NonLocal(nn.Module):
    """Adds to each place a sum over all places, weighted by a product of both divided by their number (no softmax).

    Maps (N, channels, H, W) to the same shape; `inner` channels inside.
    """

    def __init__(self, channels: int, inner: int) -> None:
        super().__init__()
        self.g = nn.Conv2d(channels, inner, 1)
        self.W = nn.Sequential(nn.Conv2d(inner, channels, 1), nn.BatchNorm2d(channels))
        self.theta = nn.Conv2d(channels, inner, 1)
        self.phi = nn.Conv2d(channels, inner, 1)

    def forward(self, x: Tensor) -> Tensor:
        g, theta, phi = (layer(x).flatten(2) for layer in (self.g, self.theta, self.phi))
        # (theta' phi) g' = theta' (phi g'): the small product first, since H * W is large and `inner` small
        summed = (g @ phi.transpose(1, 2) / g.shape[2]) @ theta
        result: Tensor = self.W(summed.unflatten(2, x.shape[2:])) + x
        return result


class FastReidResNet(ResNet):
    """ResNet with last stride 1, fast-reid's max pooling, and non-local blocks within layer2 and layer3."""

    def __init__(self, design: Design) -> None:
        ibn: Stages = _IBN_A if design.ibn else (None, None, None, None)
        super().__init__(_DEPTHS[design.depth], bottleneck=True, ibn=ibn, num_classes=None, last_stride=1)
        if not design.padded:
            self.maxpool = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        if design.non_local is not None:
            numbers, (second, third) = _NON_LOCAL[design.depth], design.non_local
            self.NL_2 = nn.ModuleList(NonLocal(512, second) for _ in range(numbers[0]))
            self.NL_3 = nn.ModuleList(NonLocal(1024, third) for _ in range(numbers[1]))
        self.has_non_local = design.non_local is not None

    def stages(self, x: Tensor) -> list[Tensor]:
        """Outputs of the four stages, the non-local blocks among them, for normalised images (N, 3, H, W)."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        first = self.layer1(x)
        if self.has_non_local:
            second = _interleaved(self.layer2, self.NL_2, first)
            third = _interleaved(self.layer3, self.NL_3, second)
        else:
            second = self.layer2(first)
            third = self.layer3(second)
        return [first, second, third, self.layer4(third)]


def _interleaved(blocks: nn.Sequential, non_local: nn.ModuleList, x: Tensor) -> Tensor:
    """The blocks one after the other, each of the last ones followed by its non-local block."""
    plain = len(blocks) - len(non_local)
    for place, block in enumerate(blocks):
        x = block(x)
        if place >= plain:
            x = non_local[place - plain](x)
    return x


class GeneralisedMean(nn.Module):
    """Pools maps (N, C, H, W) to (N, C): the mean of the values' p-th powers, and of that the p-th root; values below
    1e-6 count as 1e-6. Exponent `p`, 3 at the start, is a parameter where `learnt`."""

    def __init__(self, learnt: bool) -> None:
        super().__init__()
        self.p: nn.Parameter | float = nn.Parameter(torch.full((1,), 3.0)) if learnt else 3.0

    def forward(self, maps: Tensor) -> Tensor:
        wide = maps.to(torch.promote_types(maps.dtype, torch.float32))
        with torch.autocast(maps.device.type, enabled=False):
            result: Tensor = wide.clamp(min=1e-6).pow(self.p).mean(dim=(2, 3)).pow(1 / self.p)
        return result


class Average(nn.Module):
    """Pools maps (N, C, H, W) to their means (N, C)."""

    def forward(self, maps: Tensor) -> Tensor:
        return global_average(maps)


class Heads(nn.Module):
    """Pooling and neck: maps (N, C, H, W) to features (N, C)."""

    def __init__(self, design: Design, channels: int) -> None:
        super().__init__()
        learnt = design.pooling == "learnt gem"
        self.pool_layer = Average() if design.pooling == "average" else GeneralisedMean(learnt)
        if design.neck == "bnneck":
            self.bnneck = nn.BatchNorm1d(channels)
        else:
            self.bottleneck = nn.Sequential(nn.BatchNorm1d(channels))
        self.neck_name = design.neck

    def forward(self, maps: Tensor) -> Tensor:
        return in_float32(self.get_submodule(self.neck_name), self.pool_layer(maps))


class FastReid(nn.Module):
    """Images (N, 3, H, W), RGB 0 to 255 and not normalised, to features (N, 2048) of any length, from after the neck.

    The state dict is fast-reid's without the classifier. The pixels' mean and standard deviation are kept in float64,
    so that they are exact in whatever precision the images come.
    """

    def __init__(self, design: Design) -> None:
        super().__init__()
        self.pixel_mean: Tensor | tuple[float, ...]
        self.pixel_std: Tensor | tuple[float, ...]
        if design.stored_pixels:
            self.register_buffer("pixel_mean", torch.tensor(PIXEL_MEAN, dtype=torch.float64).view(1, 3, 1, 1))
            self.register_buffer("pixel_std", torch.tensor(PIXEL_STD, dtype=torch.float64).view(1, 3, 1, 1))
        else:
            self.pixel_mean, self.pixel_std = PIXEL_MEAN, PIXEL_STD
        self.backbone = FastReidResNet(design)
        self.heads = Heads(design, self.backbone.channels)

    def normalised(self, x: Tensor) -> Tensor:
        """Images (N, 3, H, W) as the backbone takes them."""
        mean, std = (_as_pixels(value, x) for value in (self.pixel_mean, self.pixel_std))
        return (x - mean) / std

    def stages(self, x: Tensor) -> list[Tensor]:
        """Outputs of the backbone's four stages for images as `forward` takes them."""
        return self.backbone.stages(self.normalised(x))

    @property
    def ends_in_instance_norm(self) -> tuple[bool, ...]:
        """Of the backbone's stages."""
        return self.backbone.ends_in_instance_norm

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.heads(self.stages(x)[-1])
        return result


def _as_pixels(value: Tensor | tuple[float, ...], x: Tensor) -> Tensor:
    """(1, 3, 1, 1) in the precision and on the device of `x`."""
    return value.to(x) if isinstance(value, Tensor) else x.new_tensor(value).view(1, 3, 1, 1)
