"""Losses by their name in a configuration. Each says by `input` which fields of the network's output it reads, by
`pairs` whether it compares the images of a batch, and so needs two of a person and a second person in it, and by
`cameras` whether it is told which camera each image is of. One with parameters of its own takes `classes` and
`channels`, and has them trained by plain gradient steps of size `rate`. All compute in float32 at least, also under
autocast, and none waits for the device."""

from torch import nn

from reid.losses.identity import ArcFaceLoss, CentreLoss, CosFaceLoss, IdentityLoss
from reid.losses.pairs import CircleLoss, SupervisedContrastiveLoss, TripletLoss, WeightedTripletLoss

LOSSES: dict[str, type[nn.Module]] = {
    "identity": IdentityLoss,
    "arcface": ArcFaceLoss,
    "cosface": CosFaceLoss,
    "centre": CentreLoss,
    "triplet": TripletLoss,
    "weighted_triplet": WeightedTripletLoss,
    "circle": CircleLoss,
    "supcon": SupervisedContrastiveLoss,
}

__all__ = [
    "LOSSES",
    "ArcFaceLoss",
    "CentreLoss",
    "CircleLoss",
    "CosFaceLoss",
    "IdentityLoss",
    "SupervisedContrastiveLoss",
    "TripletLoss",
    "WeightedTripletLoss",
]
