"""Batch-hard triplet loss.

Hermans, Beyer and Leibe, "In Defense of the Triplet Loss for Person Re-Identification", 2017, section 2.
"""

import math
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from reid.errors import InputError


def hardest_pairs(features: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Distance of each row to its farthest positive and to its nearest negative, and which rows are anchors, each (N,).

    Anchors are the rows of `features` (N, D) that have another row with the same identity in `labels` (N,) and one
    with another identity; the distances of the others mean nothing. Euclidean distances, features not normalised, in
    float32 or in the wider type of the features. At distance 0 the gradient is 0. Nothing waits for the device.
    """
    if features.ndim != 2 or labels.shape != features.shape[:1]:
        raise ValueError(f"features (N, D) and labels (N,) wanted, got {tuple(features.shape)}, {tuple(labels.shape)}")
    features = features.to(torch.promote_types(features.dtype, torch.float32))
    same = labels[:, None] == labels
    positive = same & ~torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    with torch.no_grad():  # only the mined pairs need a gradient; differences, not products, so that near ties hold
        distances = torch.cdist(features, features, compute_mode="donot_use_mm_for_euclid_dist")
        farthest = distances.masked_fill(~positive, -math.inf).argmax(dim=1)
        nearest = distances.masked_fill(same, math.inf).argmin(dim=1)
    # By index as the mined rows are: so the gradients add up in the order that trained every published figure.
    each = torch.arange(len(labels), device=labels.device)
    return (
        torch.linalg.vector_norm(features[each] - features[farthest], dim=1),
        torch.linalg.vector_norm(features[each] - features[nearest], dim=1),
        positive.any(dim=1) & ~same.all(dim=1),
    )


def mean_over(anchors: Tensor, values: Tensor) -> Tensor:
    """Mean, a scalar, of the `values` (N,) where `anchors` (N,) says; 0, with a gradient of 0, where there are none."""
    return torch.where(anchors, values, 0).sum() / anchors.sum().clamp(min=1)


def log_means(positive: Tensor, negative: Tensor, anchors: Tensor) -> tuple[Tensor, Tensor]:
    """Means of the distances of :func:`hardest_pairs` for a log, without gradient; no number where no row is an
    anchor."""
    count = anchors.sum()
    first, second = (torch.where(anchors, values.detach(), 0).sum() / count for values in (positive, negative))
    return first, second


class TripletLoss(nn.Module):
    """Mean over the anchors of max(0, margin + d(anchor, positive) - d(anchor, negative)), hardest pairs of the batch.

    margin None is the soft margin, log(1 + exp(d_ap - d_an)). Anchors without a positive or a negative in the batch
    (an identity with one image) are left out of the mean; with no anchor left the loss is 0, with a gradient of 0.

    Raises InputError for a margin that is negative or not finite.
    """

    input: ClassVar[tuple[str, ...]] = ("features",)
    pairs: ClassVar[bool] = True
    cameras: ClassVar[bool] = False

    def __init__(self, margin: float | None = 0.3) -> None:
        super().__init__()
        if margin is not None and not 0 <= margin < math.inf:
            raise InputError(f"triplet margin {margin!r}: wanted a number of at least 0, or none for the soft margin")
        self.margin = margin
        self.hardest: tuple[Tensor, Tensor] | None = None  # mean distances of the last batch's pairs, for the log

    def forward(self, features: Tensor, labels: Tensor) -> Tensor:
        """Loss, a scalar, of features (N, D) before the neck and identities (N,)."""
        positive, negative, anchors = hardest_pairs(features, labels)
        self.hardest = log_means(positive, negative, anchors)
        gap = positive - negative
        losses = F.softplus(gap) if self.margin is None else F.relu(gap + self.margin)
        return mean_over(anchors, losses)
