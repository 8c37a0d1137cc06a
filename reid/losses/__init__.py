"""Losses by their name in a configuration; each says by `input` whether it reads the features or the logits."""

from torch import nn

from reid.losses.identity import IdentityLoss
from reid.losses.triplet import TripletLoss

LOSSES: dict[str, type[nn.Module]] = {"identity": IdentityLoss, "triplet": TripletLoss}

__all__ = ["LOSSES", "IdentityLoss", "TripletLoss"]
