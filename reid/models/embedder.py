"""Backbone to embedding: its pooled vector, BNNeck, and the classifier that training needs.

Luo et al., "Bag of Tricks and a Strong Baseline for Deep Person Re-identification", CVPR Workshops 2019, section 3.5.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from reid.errors import InputError
from reid.models.backbone import Backbone


class TrainOutput(NamedTuple):
    """What the losses read: `features` (N, D) from before the neck, `logits` (N, K) from after it."""

    features: Tensor
    logits: Tensor


class Embedder(nn.Module):
    """Images (N, 3, H, W) to a TrainOutput in training mode, to embeddings (N, D) in evaluation mode.

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
            return TrainOutput(features, self.classifier(self.neck(features)))

    def before_neck(self, x: Tensor) -> Tensor:
        """(N, D) features that metric losses act on."""
        return self.backbone.pooled(x)

    def after_neck(self, x: Tensor) -> Tensor:
        """(N, D) features that the identity loss' classifier reads."""
        return self.neck(self.before_neck(x))
