"""Losses by their name in a configuration. Each says by `input` which fields of the network's output it reads, by
`pairs` whether it compares the images of a batch, and so needs two of a person and a second person in it, and by
`cameras` whether it is told which camera each image is of. One with parameters of its own takes `classes` and
`channels`, and has them trained by plain gradient steps of size `rate`."""

from torch import nn

from reid.losses.identity import IdentityLoss
from reid.losses.triplet import TripletLoss

LOSSES: dict[str, type[nn.Module]] = {"identity": IdentityLoss, "triplet": TripletLoss}

__all__ = ["LOSSES", "IdentityLoss", "TripletLoss"]
