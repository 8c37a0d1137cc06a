"""Weights and images by the formula in tests/data/README.md, with which the golden features of peers were computed."""

import json
import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

DATA = Path(__file__).parent / "data"
LAYOUTS: dict[str, dict[str, list[int]]] = json.loads((DATA / "peers_layouts.json").read_text())
FEATURES = np.load(DATA / "peers_features.npz")
CLASSIFIERS = ("classifier.", "heads.classifier.", "heads.weight")
PIXELS = {"pixel_mean": (123.675, 116.28, 103.53), "pixel_std": (58.395, 57.12, 57.375)}


def state(kind: str, classifier: bool = True) -> dict[str, Tensor]:
    """The official network's state dict, float64."""
    return {
        name: _tensor(number, name, shape)
        for number, (name, shape) in enumerate(LAYOUTS[kind].items())
        if classifier or not name.startswith(CLASSIFIERS)
    }


def _tensor(number: int, name: str, shape: list[int]) -> Tensor:
    if name.endswith("num_batches_tracked"):
        return torch.zeros((), dtype=torch.long)
    if name in PIXELS:
        return torch.tensor(PIXELS[name], dtype=torch.float64).view(shape)
    i = np.arange(math.prod(shape), dtype=np.int64)
    cosines = np.cos(2 * math.pi * np.arange(10007) / 10007)
    s = torch.from_numpy(cosines[(3571 * i * i + 1237 * i + 2089 * number) % 10007]).view(shape)
    if name.endswith("running_var"):
        return 1 + 0.4 * s
    if name.endswith("running_mean"):
        return 0.2 * s
    if name.endswith("pool_layer.p"):
        return 3 + 0.4 * s
    if len(shape) >= 2:
        slim = ".NL_" in name and name.endswith((".g.weight", ".theta.weight", ".phi.weight"))
        return s * math.sqrt((0.01 if slim else 1.6) / math.prod(shape[1:]))
    return 1 + 0.2 * s if name.endswith("weight") else 0.15 * s


def images(kind: str) -> Tensor:
    """Two images as the network takes them, float64."""
    height = 384 if "/sbs_" in kind else 256
    i = torch.arange(2 * 3 * height * 128, dtype=torch.float64)
    x = (torch.cos(0.021 * i) + 0.4 * torch.sin(0.0037 * i)).view(2, 3, height, 128)
    return x if kind.startswith("torchreid/") else 127.5 * (1 + x / 1.4)


def error(ours: Tensor, golden: str, rows: slice = slice(None)) -> float:
    """Largest difference from a golden array, as a share of its largest number."""
    wanted = FEATURES[golden]
    return float(np.abs(ours.detach().numpy() - wanted[rows]).max() / np.abs(wanted).max())
