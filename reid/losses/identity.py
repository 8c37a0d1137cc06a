"""Identity classification: cross-entropy with label smoothing.

Szegedy et al., "Rethinking the Inception Architecture for Computer Vision", CVPR 2016, section 7; for re-ID Luo et
al., "Bag of Tricks and a Strong Baseline for Deep Person Re-identification", CVPR Workshops 2019, section 3.3.
"""

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from reid.errors import InputError


class IdentityLoss(nn.Module):
    """Cross-entropy against (1 - smoothing) * onehot + smoothing / K over K identities, mean over the batch.

    Raises InputError for a smoothing outside [0, 1).
    """

    input: ClassVar[tuple[str, ...]] = ("logits",)
    pairs: ClassVar[bool] = False
    cameras: ClassVar[bool] = False

    def __init__(self, smoothing: float = 0.1) -> None:
        super().__init__()
        if not 0 <= smoothing < 1:
            raise InputError(f"identity smoothing {smoothing!r}: wanted a number in [0, 1)")
        self.smoothing = smoothing

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Loss, a scalar, of logits (N, K) and identities (N,) in 0..K-1; float32, or the logits' wider type."""
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        # The published implementation's targets are float32 whatever the logits are; in float64 the eighth digit shows.
        targets = (1 - self.smoothing) * F.one_hot(labels, logits.shape[1]).float() + self.smoothing / logits.shape[1]
        return F.cross_entropy(logits, targets.to(logits.dtype))
