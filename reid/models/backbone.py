"""What is asked of a backbone, whatever it is built of; MixStyle between its stages; the embedder on top of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from reid.errors import InputError


class Backbone(nn.Module, ABC):
    """Images (N, 3, H, W) to one vector an image.

    Attributes:
        channels: D, width of the vector.
        width: factor on the published channel counts; 1 where there is none.
    """

    channels: int
    width: float = 1.0

    @abstractmethod
    def pooled(self, x: Tensor) -> Tensor:
        """Vectors (N, channels) of images (N, 3, H, W): float32 also under autocast, float64 where the weights are."""

    @abstractmethod
    def stages(self, x: Tensor) -> list[Tensor]:
        """Maps (N, C, h, w) of the four stages for images (N, 3, H, W).

        Raises:
            InputError: a network that has none.
        """

    @property
    @abstractmethod
    def ends_in_instance_norm(self) -> tuple[bool, ...]:
        """For each stage: whether the last thing before its output is an instance norm."""


def global_average(maps: Tensor) -> Tensor:
    """Means (N, C) over the places of maps (N, C, H, W), in float32 at least."""
    return maps.mean(dim=(2, 3), dtype=torch.promote_types(maps.dtype, torch.float32))


class GlobalAverage(nn.Module):
    """Means (N, C) over the places of maps (N, C, H, W), in float32 at least."""

    def forward(self, maps: Tensor) -> Tensor:
        return global_average(maps)


class GlobalMax(nn.Module):
    """Largest values (N, C) of maps (N, C, H, W), in float32 at least. Equal ones share the gradient."""

    def forward(self, maps: Tensor) -> Tensor:
        return maps.amax(dim=(2, 3)).to(torch.promote_types(maps.dtype, torch.float32))


LEAST = 1e-6  # what GeM takes smaller values for, as published


class GeM(nn.Module):
    """Generalised mean (N, C) of maps (N, C, H, W): the p-th root of the mean p-th power, in float32 at least.

    Radenovic et al., "Fine-tuning CNN Image Retrieval with No Human Annotation", TPAMI 2018, equation 3: the
    average at p = 1, the maximum at infinity. One p for all channels, trained, from 3 on.
    """

    def __init__(self) -> None:
        super().__init__()
        self.p = nn.Parameter(torch.full((1,), 3.0))

    def forward(self, maps: Tensor) -> Tensor:
        maps = maps.to(torch.promote_types(maps.dtype, torch.float32)).clamp(min=LEAST)
        p = self.p.to(maps.dtype)
        # In units of the largest value: the power of a map of zeros would be 0 from p = 8 on, its gradient infinite.
        largest = maps.detach().amax(dim=(2, 3), keepdim=True)
        return largest.flatten(1) * (maps / largest).pow(p).mean(dim=(2, 3)).pow(1 / p)


GEM_EXPONENT = "pooling.p"  # in the state dict of a backbone that has one
# By the name in a configuration.
POOLINGS: dict[str, Callable[[], nn.Module]] = {"average": GlobalAverage, "max": GlobalMax, "gem": GeM}


def make_pooling(name: str) -> nn.Module:
    """From maps (N, C, H, W) to vectors (N, C).

    Raises:
        InputError: ``name`` is not one of POOLINGS.
    """
    if name not in POOLINGS:
        raise InputError(f"pooling {name!r} is not one of {', '.join(POOLINGS)}")
    return POOLINGS[name]()


class _ChannelsLast(torch.autograd.Function):
    """Maps laid out channels last; the gradient goes back laid out as the norm before it sums."""

    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        return x.contiguous(memory_format=torch.channels_last)

    @staticmethod
    def backward(ctx: object, gradient: Tensor) -> Tensor:
        return gradient.contiguous()


class _Joined(torch.autograd.Function):
    """Two maps as one of all their channels, laid out channels last in one pass; gradients go back as to a norm."""

    @staticmethod
    def forward(ctx: Any, first: Tensor, rest: Tensor) -> Tensor:
        ctx.channels = first.shape[1]
        size = (len(first), first.shape[1] + rest.shape[1], *first.shape[2:])
        both = torch.empty(size, dtype=first.dtype, device=first.device, memory_format=torch.channels_last)
        both[:, : ctx.channels], both[:, ctx.channels :] = first, rest
        return both

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        gradient = gradient.contiguous()
        return gradient[:, : ctx.channels], gradient[:, ctx.channels :]


def joined_as(x: Tensor, first: Tensor, rest: Tensor) -> Tensor:
    """The channels of two normed maps as one map in the memory format of ``x``; see :func:`laid_as`."""
    channels_last = x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()
    if channels_last and first.dtype == rest.dtype and torch.is_grad_enabled() and not torch.compiler.is_exporting():
        return _Joined.apply(first, rest)
    return laid_as(x, torch.cat((first, rest), dim=1))


def laid_as(x: Tensor, normed: Tensor) -> Tensor:
    """``normed`` in the memory format of ``x``: torch's instance norm leaves its output channel after channel, in which
    every layer after it, pooling above all, is slower. The sums of the norms stay as they are, bit for bit."""
    if not x.is_contiguous(memory_format=torch.channels_last) or x.is_contiguous():
        return normed
    if torch.is_grad_enabled() and normed.requires_grad and not torch.compiler.is_exporting():
        return _ChannelsLast.apply(normed)
    return normed.contiguous(memory_format=torch.channels_last)


class InstanceNorm(nn.InstanceNorm2d):
    """``nn.InstanceNorm2d`` with weights, whose output lies in memory as its input does."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, affine=True)

    def forward(self, x: Tensor) -> Tensor:
        return laid_as(x, super().forward(x))


EPSILON = 1e-6  # below the variance, as published


class MixStyle(nn.Module):
    """Each image takes on part of another's style in training, so that style tells the network nothing.

    Zhou et al., "Domain Generalization with MixStyle", ICLR 2021, section 2.2. Maps (N, C, H, W) to the same shape; the
    identity in evaluation mode.

    With `probability`, per batch: each image's mean and standard deviation per channel become a mixture of its own and
    those of another image of the batch, weighted by a draw from Beta(`alpha`, `alpha`). No gradient flows through the
    statistics. Draws come from torch's CPU generator, whatever the device.
    """

    def __init__(self, probability: float = 0.5, alpha: float = 0.1) -> None:
        super().__init__()
        self.probability, self.alpha = probability, alpha

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.probability == 0 or torch.rand((), device="cpu").item() >= self.probability:
            return x
        concentration = torch.full((len(x), 1, 1, 1), self.alpha, device="cpu")
        weight = torch.distributions.Beta(concentration, concentration).sample().to(x.device, non_blocking=True)
        other = torch.randperm(len(x), device="cpu").to(x.device, non_blocking=True)
        variance, mean = torch.var_mean(x.detach().float(), dim=(2, 3), keepdim=True)
        deviation = (variance + EPSILON).sqrt()
        mixed_mean = weight * mean + (1 - weight) * mean[other]
        mixed_deviation = weight * deviation + (1 - weight) * deviation[other]
        return ((x - mean) / deviation * mixed_deviation + mixed_mean).to(x.dtype)


class TrainOutput(NamedTuple):
    """What the losses read: `features` (N, D) from before the neck, `embeddings` (N, D) from after it, their `logits`
    (N, K) and the classifier's rows (K, D), one a person, which are `classes`."""

    features: Tensor
    embeddings: Tensor
    logits: Tensor
    classes: Tensor


class Embedder(nn.Module):
    """A backbone's pooled vector, BNNeck, and the classifier that training needs.

    Luo et al., "Bag of Tricks and a Strong Baseline for Deep Person Re-identification", CVPR Workshops 2019, section
    3.5. Images (N, 3, H, W) to a TrainOutput in training mode, to embeddings (N, D) in evaluation mode.

    Metric losses act before the neck, the identity loss after it; `neck_feature` is the side that retrieval uses,
    "after" (the paper's choice) or "before". Everything from the pooling on is computed in float32 also under
    autocast (in float64 where the backbone is).

    Raises InputError for an unknown `neck_feature`.
    """

    def __init__(self, backbone: Backbone, num_classes: int, neck_feature: str = "after") -> None:
        super().__init__()
        if neck_feature not in ("after", "before"):
            raise InputError(f"neck_feature {neck_feature!r} is not one of ['after', 'before']")
        self.neck_feature = neck_feature
        self.backbone = backbone
        self.channels = backbone.channels
        self.neck = nn.BatchNorm1d(self.channels)
        self.neck.bias.requires_grad_(False)  # stays 0: the identity loss' hyperplanes pass through the origin
        self.classifier = nn.Linear(self.channels, num_classes, bias=False)
        nn.init.normal_(self.classifier.weight, std=0.001)

    def forward(self, x: Tensor) -> TrainOutput | Tensor:
        if not self.training:
            return self.after_neck(x) if self.neck_feature == "after" else self.before_neck(x)
        features = self.before_neck(x)
        with torch.autocast(features.device.type, enabled=False):
            embeddings = self.neck(features)
            return TrainOutput(features, embeddings, self.classifier(embeddings), self.classifier.weight)

    def before_neck(self, x: Tensor) -> Tensor:
        """(N, D) features that metric losses act on."""
        return self.backbone.pooled(x)

    def after_neck(self, x: Tensor) -> Tensor:
        """(N, D) features that the identity loss' classifier reads."""
        return self.neck(self.before_neck(x))
