"""What an embedder and the measurement of stages ask of a backbone, whatever it is built of; and MixStyle, which goes
between the stages of any."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn


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


EPSILON = 1e-6  # below the variance, as published


class MixStyle(nn.Module):
    """Maps (N, C, H, W) to the same shape; the identity in evaluation mode.

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
        weight = torch.distributions.Beta(concentration, concentration).sample().to(x.device)
        other = torch.randperm(len(x), device="cpu").to(x.device)
        variance, mean = torch.var_mean(x.detach().float(), dim=(2, 3), keepdim=True)
        deviation = (variance + EPSILON).sqrt()
        mixed_mean = weight * mean + (1 - weight) * mean[other]
        mixed_deviation = weight * deviation + (1 - weight) * deviation[other]
        return ((x - mean) / deviation * mixed_deviation + mixed_mean).to(x.dtype)
