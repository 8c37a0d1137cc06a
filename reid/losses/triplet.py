"""Batch-hard triplet loss.

Hermans, Beyer and Leibe, "In Defense of the Triplet Loss for Person Re-Identification", 2017, section 2.
"""

import math
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from reid.errors import InputError


def hardest_pairs(features: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Distance of each anchor to its farthest positive and to its nearest negative, (A,) and (A,).

    Anchors are the rows of `features` (N, D) that have another row with the same identity in `labels` (N,) and one
    with another identity, in batch order; a row without either is left out, so A <= N. Euclidean distances, features
    not normalised, in float32 or in the wider type of the features. At distance 0 the gradient is 0.
    """
    if features.ndim != 2 or labels.shape != features.shape[:1]:
        raise ValueError(f"features (N, D) and labels (N,) wanted, got {tuple(features.shape)}, {tuple(labels.shape)}")
    features = features.to(torch.promote_types(features.dtype, torch.float32))
    same = labels[:, None] == labels
    positive = same & ~torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    with torch.no_grad():  # only the mined pairs need a gradient; differences, not products, so that near ties hold
        distances = torch.cdist(features, features, compute_mode="donot_use_mm_for_euclid_dist")
    anchors = (positive.any(dim=1) & ~same.all(dim=1)).nonzero().squeeze(1)
    if not len(anchors):
        return features.sum(dim=1)[anchors], features.sum(dim=1)[anchors]
    farthest = distances.masked_fill(~positive, -math.inf)[anchors].argmax(dim=1)
    nearest = distances.masked_fill(same, math.inf)[anchors].argmin(dim=1)
    return (
        torch.linalg.vector_norm(features[anchors] - features[farthest], dim=1),
        torch.linalg.vector_norm(features[anchors] - features[nearest], dim=1),
    )


class TripletLoss(nn.Module):
    """Mean over the anchors of max(0, margin + d(anchor, positive) - d(anchor, negative)), hardest pairs of the batch.

    margin None is the soft margin, log(1 + exp(d_ap - d_an)). Anchors without a positive or a negative in the batch
    (an identity with one image) are left out of the mean; with no anchor left the loss is 0, with a gradient of 0.

    Raises InputError for a margin that is negative or not finite.
    """

    input: ClassVar[str] = "features"
    pairs: ClassVar[bool] = True

    def __init__(self, margin: float | None = 0.3) -> None:
        super().__init__()
        if margin is not None and not 0 <= margin < math.inf:
            raise InputError(f"triplet margin {margin!r}: wanted a number of at least 0, or none for the soft margin")
        self.margin = margin

    def forward(self, features: Tensor, labels: Tensor) -> Tensor:
        """Loss, a scalar, of features (N, D) before the neck and identities (N,)."""
        positive, negative = hardest_pairs(features, labels)
        gap = positive - negative
        losses = F.softplus(gap) if self.margin is None else F.relu(gap + self.margin)
        return losses.sum() / max(len(losses), 1)
