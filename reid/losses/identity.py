"""Identity classification: cross-entropy with label smoothing, of angles with a margin; a centre for each person.

Szegedy et al., "Rethinking the Inception Architecture for Computer Vision", CVPR 2016, section 7; for re-ID Luo et
al., "Bag of Tricks and a Strong Baseline for Deep Person Re-identification", CVPR Workshops 2019, section 3.3.
"""

import math
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from reid.errors import InputError
from reid.losses.pairs import products, unit, wide


def one_hot(labels: Tensor, count: int) -> Tensor:
    """(N, count) truth values: which of so many people each of the `labels` (N,) is. torch's function of that name
    reads the labels to check them, except on CUDA."""
    return labels[:, None] == torch.arange(count, device=labels.device)


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
        logits = wide(logits)
        # The published implementation's targets are float32 whatever the logits are; in float64 the eighth digit shows.
        targets = (1 - self.smoothing) * one_hot(labels, logits.shape[1]).float() + self.smoothing / logits.shape[1]
        return F.cross_entropy(logits, targets.to(logits.dtype))


def check_scale(name: str, scale: float) -> None:
    """Raise InputError for a scale of cosines that is not above 0 and finite."""
    if not 0 < scale < math.inf:
        raise InputError(f"{name} scale {scale!r}: wanted a number above 0")


class ArcFaceLoss(nn.Module):
    """Cross-entropy, mean over the batch, of scale * cos(angle) between embeddings and the classifier's rows, with
    `margin` (radians) added to the angle t to one's own row. Where t + margin is over pi it is cos(t) - margin *
    sin(margin) instead, as in the authors' code, so that it goes on falling with t.

    Deng et al., "ArcFace: Additive Angular Margin Loss for Deep Face Recognition", CVPR 2019, equation 3 and section
    3.1, whose scale and margin are the defaults.

    Raises InputError for a scale that is not above 0 or a margin outside [0, pi / 2).
    """

    input: ClassVar[tuple[str, ...]] = ("embeddings", "classes")
    pairs: ClassVar[bool] = False
    cameras: ClassVar[bool] = False

    def __init__(self, scale: float = 64.0, margin: float = 0.5) -> None:
        super().__init__()
        check_scale("arcface", scale)
        if not 0 <= margin < math.pi / 2:
            raise InputError(f"arcface margin {margin!r}: wanted radians in [0, pi / 2)")
        self.scale, self.margin = scale, margin

    def forward(self, embeddings: Tensor, classes: Tensor, labels: Tensor) -> Tensor:
        """Loss, a scalar, of embeddings (N, D), the classifier's rows (K, D) and identities (N,) in 0..K-1."""
        x, rows = unit(embeddings), unit(classes)
        cosines = products(x, rows)
        wanted = rows[labels]
        cosine = (x * wanted).sum(dim=1)
        # By the lengths of x - row and x + row: sqrt(1 - cosine ** 2) has no finite gradient at angle 0.
        sine = torch.linalg.vector_norm(x - wanted, dim=1) * torch.linalg.vector_norm(x + wanted, dim=1) / 2
        turned = cosine * math.cos(self.margin) - sine * math.sin(self.margin)
        turned = torch.where(cosine >= -math.cos(self.margin), turned, cosine - self.margin * math.sin(self.margin))
        logits = torch.where(one_hot(labels, len(classes)), turned[:, None], cosines)
        return F.cross_entropy(self.scale * logits, labels)


class CosFaceLoss(nn.Module):
    """Cross-entropy, mean over the batch, of scale * cosine between embeddings and the classifier's rows, less `margin`
    for one's own row.

    Wang et al., "CosFace: Large Margin Cosine Loss for Deep Face Recognition", CVPR 2018, equation 4; the defaults are
    the scale and margin of its experiments.

    Raises InputError for a scale that is not above 0 or a margin outside [0, 1].
    """

    input: ClassVar[tuple[str, ...]] = ("embeddings", "classes")
    pairs: ClassVar[bool] = False
    cameras: ClassVar[bool] = False

    def __init__(self, scale: float = 64.0, margin: float = 0.35) -> None:
        super().__init__()
        check_scale("cosface", scale)
        if not 0 <= margin <= 1:
            raise InputError(f"cosface margin {margin!r}: wanted a number in [0, 1]")
        self.scale, self.margin = scale, margin

    def forward(self, embeddings: Tensor, classes: Tensor, labels: Tensor) -> Tensor:
        """Loss, a scalar, of embeddings (N, D), the classifier's rows (K, D) and identities (N,) in 0..K-1."""
        cosines = products(unit(embeddings), unit(classes))
        logits = torch.where(one_hot(labels, len(classes)), cosines - self.margin, cosines)
        return F.cross_entropy(self.scale * logits, labels)


class CentreLoss(nn.Module):
    """Squared Euclidean distance of each image to the centre of its person, mean over the batch.

    Wen et al., "A Discriminative Feature Learning Approach for Deep Face Recognition", ECCV 2016; for re-ID Luo et al.
    2019, section 3.6: weight 0.0005 beside the identity and triplet losses, and centres trained by plain gradient
    steps of 0.5 on the loss without that weight. As in their code it is the mean, not half the sum, and the centres
    begin at standard normal numbers; here drawn from a generator of their own, so that nothing else draws others.
    """

    input: ClassVar[tuple[str, ...]] = ("features",)
    pairs: ClassVar[bool] = False
    cameras: ClassVar[bool] = False
    rate: ClassVar[float] = 0.5

    def __init__(self, classes: int, channels: int) -> None:
        super().__init__()
        self.centres = nn.Parameter(torch.randn(classes, channels, generator=torch.Generator().manual_seed(0)))

    def forward(self, features: Tensor, labels: Tensor) -> Tensor:
        """Loss, a scalar, of features (N, D) before the neck and identities (N,) in 0..classes-1."""
        return (wide(features) - self.centres[labels]).square().sum(dim=1).mean()
