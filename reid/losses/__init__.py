"""Losses by their name in a configuration; each says by `input` whether it reads the features or the logits, and by
`pairs` whether it compares the images of a batch, and so needs two of a person and a second person in it."""

from torch import nn

from reid.losses.identity import IdentityLoss
from reid.losses.triplet import TripletLoss

LOSSES: dict[str, type[nn.Module]] = {"identity": IdentityLoss, "triplet": TripletLoss}

__all__ = ["LOSSES", "IdentityLoss", "TripletLoss"]
