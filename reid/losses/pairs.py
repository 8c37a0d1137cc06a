"""Losses of the pairs of images in a batch: triplet losses of their distances, others of their cosines.

Hermans, Beyer and Leibe, "In Defense of the Triplet Loss for Person Re-Identification", 2017, section 2.
"""

import math
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from reid.errors import InputError


def wide(x: Tensor) -> Tensor:
    """`x` in float32, or in its own type where that is wider."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def unit(x: Tensor) -> Tensor:
    """Rows of (N, D) at length 1, in float32 at least; a row of zeros stays one, and its gradient finite."""
    x = wide(x)
    lengths = torch.linalg.vector_norm(x, dim=1, keepdim=True)
    return x / torch.where(lengths > 0, lengths, 1)


def products(a: Tensor, b: Tensor) -> Tensor:
    """Scalar products (N, M) of the rows of (N, D) and (M, D), never in fewer bits because of autocast."""
    with torch.autocast(a.device.type, enabled=False):
        return a @ b.T


def pairs_of(features: Tensor, labels: Tensor, cameras: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Which rows of `features` (N, D) are positives of a row, and which its negatives, each (N, N).

    Positives are the other rows with its identity in `labels` (N,), with `cameras` (N,) only those of other cameras
    than its own; negatives are all rows with another identity.

    Raises ValueError for shapes that do not belong together.
    """
    shapes = [tuple(each.shape) for each in (features, labels, cameras) if each is not None]
    if features.ndim != 2 or any(shape != shapes[0][:1] for shape in shapes[1:]):
        raise ValueError(f"features (N, D), labels (N,) and cameras (N,), if any, wanted, got {shapes}")
    same = labels[:, None] == labels
    itself = torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    return same & ~itself if cameras is None else same & (cameras[:, None] != cameras), ~same


def anchors_of(positive: Tensor, negative: Tensor) -> Tensor:
    """The rows (N,) that have a positive and a negative."""
    return positive.any(dim=1) & negative.any(dim=1)


def mean_over(anchors: Tensor, values: Tensor) -> Tensor:
    """Mean, a scalar, of the `values` (N,) where `anchors` (N,) says; 0, with a gradient of 0, where there are none."""
    return torch.where(anchors, values, 0).sum() / anchors.sum().clamp(min=1)


def only(chosen: Tensor, values: Tensor) -> Tensor:
    """`values` where `chosen`, elsewhere what has no share in a sum of exponentials: the least finite number, since
    with minus infinity a row without a choice would have no number as its gradient."""
    return values.masked_fill(~chosen, torch.finfo(values.dtype).min)


def distances_between(features: Tensor) -> Tensor:
    """Euclidean distances (N, N) between the rows of (N, D), by differences and not by products, so that near ties
    hold; at distance 0 the gradient is 0."""
    return torch.cdist(features, features, compute_mode="donot_use_mm_for_euclid_dist")


def hardest_pairs(features: Tensor, labels: Tensor, cameras: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """Distance of each row to its farthest positive and to its nearest negative, and which rows are anchors, each (N,).

    Anchors are the rows of `features` (N, D) that have another row with the same identity in `labels` (N,) and one
    with another identity; the distances of the others mean nothing. With `cameras` (N,) only rows of other cameras
    are positives. Euclidean distances, features not normalised, in float32 or in the wider type of the features. At
    distance 0 the gradient is 0. Nothing waits for the device.
    """
    positive, negative = pairs_of(features, labels, cameras)
    features = wide(features)
    with torch.no_grad():  # only the mined pairs need a gradient
        distances = distances_between(features)
        farthest = distances.masked_fill(~positive, -math.inf).argmax(dim=1)
        nearest = distances.masked_fill(~negative, math.inf).argmin(dim=1)
    # By index as the mined rows are: so the gradients add up in the order that trained every published figure.
    each = torch.arange(len(labels), device=labels.device)
    return (
        torch.linalg.vector_norm(features[each] - features[farthest], dim=1),
        torch.linalg.vector_norm(features[each] - features[nearest], dim=1),
        anchors_of(positive, negative),
    )


def log_means(positive: Tensor, negative: Tensor, anchors: Tensor) -> tuple[Tensor, Tensor]:
    """Means of the distances of :func:`hardest_pairs` for a log, without gradient; no number where no row is an
    anchor."""
    count = anchors.sum()
    first, second = (torch.where(anchors, values.detach(), 0).sum() / count for values in (positive, negative))
    return first, second


def check_margin(name: str, margin: float | None) -> None:
    """Raise InputError for a margin that is negative or not finite."""
    if margin is not None and not 0 <= margin < math.inf:
        raise InputError(f"{name} margin {margin!r}: wanted a number of at least 0, or none for the soft margin")


def with_margin(gap: Tensor, margin: float | None) -> Tensor:
    """max(0, margin + gap), or log(1 + exp(gap)), the soft margin, where margin is None."""
    return F.softplus(gap) if margin is None else F.relu(gap + margin)


class TripletLoss(nn.Module):
    """Mean over the anchors of max(0, margin + d(anchor, positive) - d(anchor, negative)), hardest pairs of the batch.

    margin None is the soft margin, log(1 + exp(d_ap - d_an)). Anchors without a positive or a negative in the batch
    (an identity with one image) are left out of the mean; with no anchor left the loss is 0, with a gradient of 0.
    cross_camera: positives are images of other cameras than the anchor's only, as retrieval is tested.

    Raises InputError for a margin that is negative or not finite.
    """

    input: ClassVar[tuple[str, ...]] = ("features",)
    pairs: ClassVar[bool] = True
    cameras: bool

    def __init__(self, margin: float | None = 0.3, cross_camera: bool = False) -> None:
        super().__init__()
        check_margin("triplet", margin)
        self.margin, self.cameras = margin, cross_camera
        self.hardest: tuple[Tensor, Tensor] | None = None  # mean distances of the last batch's pairs, for the log

    def forward(self, features: Tensor, labels: Tensor, cameras: Tensor | None = None) -> Tensor:
        """Loss, a scalar, of features (N, D) before the neck, identities (N,) and, for cross_camera, cameras (N,)."""
        if self.cameras != (cameras is not None):
            raise ValueError("cameras are wanted where, and only where, the loss is one across cameras")
        positive, negative, anchors = hardest_pairs(features, labels, cameras)
        self.hardest = log_means(positive, negative, anchors)
        return mean_over(anchors, with_margin(positive - negative, self.margin))


class WeightedTripletLoss(nn.Module):
    """Mean over the anchors of log(1 + exp(sum_p w_p d_p - sum_n w_n d_n)) over all positives and negatives, with
    weights w_p = softmax(d_p) and w_n = softmax(-d_n), through which the gradient goes too.

    Ristani and Tomasi, "Features for Multi-Target Multi-Camera Tracking and Re-Identification", CVPR 2018, section
    3.1, which has max(0, margin + ...): that is `margin`; without one it is the soft margin, as in Ye et al., "Deep
    Learning for Person Re-identification: A Survey and Outlook", TPAMI 2021, section 4. Anchors as in TripletLoss.

    Raises InputError for a margin that is negative or not finite.
    """

    input: ClassVar[tuple[str, ...]] = ("features",)
    pairs: ClassVar[bool] = True
    cameras: ClassVar[bool] = False

    def __init__(self, margin: float | None = None) -> None:
        super().__init__()
        check_margin("weighted_triplet", margin)
        self.margin = margin

    def forward(self, features: Tensor, labels: Tensor) -> Tensor:
        """Loss, a scalar, of features (N, D) before the neck and identities (N,)."""
        positive, negative = pairs_of(features, labels)
        distances = distances_between(wide(features))
        far = torch.where(positive, only(positive, distances).softmax(dim=1) * distances, 0).sum(dim=1)
        near = torch.where(negative, only(negative, -distances).softmax(dim=1) * distances, 0).sum(dim=1)
        return mean_over(anchors_of(positive, negative), with_margin(far - near, self.margin))


class CircleLoss(nn.Module):
    """Circle loss of pairs: mean over the anchors of log(1 + sum_p exp(-gamma a_p (s_p - 1 + margin)) sum_n exp(gamma
    a_n (s_n - margin))), with cosines s and weights a_p = max(0, 1 + margin - s_p), a_n = max(0, s_n + margin) that
    have no gradient.

    Sun et al., "Circle Loss: A Unified Perspective of Pair Similarity Optimization", CVPR 2020, section 3.2; the
    defaults are those of its experiments in re-ID. Here on the neck's output, which retrieval compares by cosines.

    Raises InputError for a margin outside [0, 1) or a gamma that is not above 0.
    """

    input: ClassVar[tuple[str, ...]] = ("embeddings",)
    pairs: ClassVar[bool] = True
    cameras: ClassVar[bool] = False

    def __init__(self, margin: float = 0.25, gamma: float = 128.0) -> None:
        super().__init__()
        if not 0 <= margin < 1:
            raise InputError(f"circle margin {margin!r}: wanted a number in [0, 1)")
        if not 0 < gamma < math.inf:
            raise InputError(f"circle gamma {gamma!r}: wanted a number above 0")
        self.margin, self.gamma = margin, gamma

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """Loss, a scalar, of embeddings (N, D) after the neck and identities (N,)."""
        positive, negative = pairs_of(embeddings, labels)
        rows = unit(embeddings)
        cosines = products(rows, rows)
        fixed = cosines.detach()
        attraction = -self.gamma * F.relu(1 + self.margin - fixed) * (cosines - 1 + self.margin)
        repulsion = self.gamma * F.relu(fixed + self.margin) * (cosines - self.margin)
        both = only(positive, attraction).logsumexp(dim=1) + only(negative, repulsion).logsumexp(dim=1)
        return mean_over(anchors_of(positive, negative), F.softplus(both))


class SupervisedContrastiveLoss(nn.Module):
    """Mean over the anchors of the mean over their positives p of -log(exp(s_p / tau) / sum_a exp(s_a / tau)), the sum
    over all other images of the batch; s are cosines.

    Khosla et al., "Supervised Contrastive Learning", NeurIPS 2020, equation 2 (L_out, whose mean stands outside of the
    logarithm). Here on the neck's output, without a projection head.

    Raises InputError for a tau that is not above 0.
    """

    input: ClassVar[tuple[str, ...]] = ("embeddings",)
    pairs: ClassVar[bool] = True
    cameras: ClassVar[bool] = False

    def __init__(self, tau: float = 0.1) -> None:
        super().__init__()
        if not 0 < tau < math.inf:
            raise InputError(f"supcon tau {tau!r}: wanted a number above 0")
        self.tau = tau

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """Loss, a scalar, of embeddings (N, D) after the neck and identities (N,)."""
        positive, negative = pairs_of(embeddings, labels)
        rows = unit(embeddings)
        similarities = products(rows, rows) / self.tau
        logarithms = similarities - only(positive | negative, similarities).logsumexp(dim=1, keepdim=True)
        sums = torch.where(positive, logarithms, 0).sum(dim=1)
        return mean_over(anchors_of(positive, negative), -sums / positive.sum(dim=1).clamp(min=1))
