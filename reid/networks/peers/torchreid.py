"""Networks of torchreid (Zhou and Xiang, "Torchreid", arXiv 1910.10093, 2019) up to the feature that retrieval uses.

Normalised images (N, 3, H, W) in, features (N, D) of any length out. State dicts are torchreid's without `classifier`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from reid.models import OSNet, ResNet
from reid.models.osnet import Variant, feature_layer


class TorchreidOSNet(OSNet):
    """OSNet up to its feature of 512 numbers, none of them negative: a ReLU is the last step."""

    def __init__(self, factor: float, variant: Variant = None) -> None:
        super().__init__(factor, variant, num_classes=None)
        self.fc = feature_layer(self.channels)

    def forward(self, x: Tensor) -> Tensor:
        assert self.fc is not None
        return in_float32(self.fc, self.pooled(x))


class TorchreidResNet(ResNet):
    """ResNet-50 up to its pooled vector of 2048 numbers; with `fc512` a last stride of 1, and the 512 numbers of a
    layer behind the pooling that ends in a ReLU."""

    def __init__(self, fc512: bool = False) -> None:
        super().__init__((3, 4, 6, 3), bottleneck=True, num_classes=None, last_stride=1 if fc512 else 2)
        self.fc = feature_layer(self.channels) if fc512 else None

    def forward(self, x: Tensor) -> Tensor:
        features = self.pooled(x)
        return features if self.fc is None else in_float32(self.fc, features)


def in_float32(layer: nn.Module, features: Tensor) -> Tensor:
    """`layer` of features (N, C) without autocast: behind the pooling nothing is rounded to bf16."""
    with torch.autocast(features.device.type, enabled=False):
        result: Tensor = layer(features)
    return result
