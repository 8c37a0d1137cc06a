"""What an embedder and the measurement of stages ask of a backbone, whatever it is built of."""

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
