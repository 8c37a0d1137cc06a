"""Every network of torchreid and fast-reid that is known here by name, and how images are fed to it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

from torch import nn

from reid.data.transforms import IMAGENET_MEAN, IMAGENET_STD, Interpolation
from reid.networks.peers.fastreid import Design, FastReid
from reid.networks.peers.torchreid import TorchreidOSNet, TorchreidResNet


@dataclass(frozen=True)
class Input:
    """What a network takes: images (3, height, width) RGB that hold (pixel * scale / 255 - mean) / std.

    Attributes:
        interpolation: Pillow's, by which an image gets the size, as the project that trained the network does it.
        scale: value of the brightest pixel before mean and std.
    """

    height: int
    width: int
    interpolation: Interpolation
    scale: Literal[1, 255]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    colour: Literal["rgb"] = "rgb"


_TORCHREID = Input(256, 128, "bilinear", 1, IMAGENET_MEAN, IMAGENET_STD)
# Normalised inside the network.
_FASTREID = Input(256, 128, "bicubic", 255, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
_FASTREID_SBS = Input(384, 128, "bicubic", 255, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))

TORCHREID: dict[str, Callable[[], nn.Module]] = {
    "torchreid/osnet_x1_0": partial(TorchreidOSNet, 1.0),
    "torchreid/osnet_x0_75": partial(TorchreidOSNet, 0.75),
    "torchreid/osnet_x0_5": partial(TorchreidOSNet, 0.5),
    "torchreid/osnet_x0_25": partial(TorchreidOSNet, 0.25),
    "torchreid/osnet_ibn_x1_0": partial(TorchreidOSNet, 1.0, "ibn"),
    "torchreid/osnet_ain_x1_0": partial(TorchreidOSNet, 1.0, "ain"),
    "torchreid/osnet_ain_x0_75": partial(TorchreidOSNet, 0.75, "ain"),
    "torchreid/osnet_ain_x0_5": partial(TorchreidOSNet, 0.5, "ain"),
    "torchreid/osnet_ain_x0_25": partial(TorchreidOSNet, 0.25, "ain"),
    "torchreid/resnet50": TorchreidResNet,
    "torchreid/resnet50_fc512": partial(TorchreidResNet, fc512=True),
}

# The neck's name, whether pixel statistics are stored, and the stem's max pooling, by version of fast-reid. The pooling
# changed in November 2020 (commit 42cadae); version 1.0.0 is of January 2021.
_V011 = partial(Design, neck="bnneck", stored_pixels=True, padded=True)
_V100 = partial(Design, neck="bottleneck.0", stored_pixels=True, padded=False)
_LAST = partial(Design, neck="bottleneck.0", stored_pixels=False, padded=False)
# One channel inside a non-local block: what all three versions build. Files tell by their shapes.
_SLIM = (1, 1)

FASTREID: dict[str, Design] = {
    "fastreid_v0.1.1/bagtricks_R50": _V011(50, False, None, "average"),
    "fastreid_v0.1.1/bagtricks_R50-ibn": _V011(50, True, None, "average"),
    "fastreid_v0.1.1/bagtricks_R101-ibn": _V011(101, True, None, "average"),
    "fastreid_v0.1.1/AGW_R50": _V011(50, False, _SLIM, "learnt gem"),
    "fastreid_v0.1.1/AGW_R50-ibn": _V011(50, True, _SLIM, "learnt gem"),
    "fastreid_v0.1.1/AGW_R101-ibn": _V011(101, True, _SLIM, "learnt gem"),
    "fastreid_v0.1.1/sbs_R50": _V011(50, False, _SLIM, "learnt gem"),
    "fastreid_v0.1.1/sbs_R50-ibn": _V011(50, True, _SLIM, "learnt gem"),
    "fastreid_v0.1.1/sbs_R101-ibn": _V011(101, True, _SLIM, "learnt gem"),
    "fastreid_v1.0.0/bagtricks_R50": _V100(50, False, None, "average"),
    "fastreid_v1.0.0/bagtricks_R50-ibn": _V100(50, True, None, "average"),
    "fastreid_v1.0.0/sbs_R50": _V100(50, False, _SLIM, "learnt gem"),
    "fastreid_v1.0.0/sbs_R50-ibn": _V100(50, True, _SLIM, "learnt gem"),
    "fastreid/bagtricks_R50": _LAST(50, False, None, "average"),
    "fastreid/bagtricks_R50-ibn": _LAST(50, True, None, "average"),
    "fastreid/bagtricks_R101-ibn": _LAST(101, True, None, "average"),
    "fastreid/AGW_R50": _LAST(50, False, _SLIM, "gem"),
    "fastreid/AGW_R50-ibn": _LAST(50, True, _SLIM, "gem"),
    "fastreid/AGW_R101-ibn": _LAST(101, True, _SLIM, "gem"),
    "fastreid/sbs_R50": _LAST(50, False, _SLIM, "learnt gem"),
    "fastreid/sbs_R50-ibn": _LAST(50, True, _SLIM, "learnt gem"),
    "fastreid/sbs_R101-ibn": _LAST(101, True, _SLIM, "learnt gem"),
}

# Names as in the projects' model zoos: PEERS["torchreid/osnet_x1_0"]() is that network with random weights.
PEERS: dict[str, Callable[[], nn.Module]] = {
    **TORCHREID,
    **{name: partial(FastReid, design) for name, design in FASTREID.items()},
}


def input_of(kind: str) -> Input:
    """What a network of PEERS takes."""
    if kind in TORCHREID:
        return _TORCHREID
    return _FASTREID_SBS if "/sbs_" in kind else _FASTREID
