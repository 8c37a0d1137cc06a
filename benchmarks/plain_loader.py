"""The loader that a re-identification project writes first: Pillow, albumentations, float32.

In a module of its own, since workers import it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import albumentations as A
import cv2
import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def steps(height: int, width: int, training: bool) -> A.Compose:
    """Resize, flip, pad and crop, erase, normalise; or resize and normalise alone."""
    random: list[A.BasicTransform] = [
        A.HorizontalFlip(p=0.5),
        A.Pad(10, fill=0),
        A.RandomCrop(height, width),
        A.Erasing(scale=(0.02, 0.4), ratio=(0.3, 3.3), fill=(124, 116, 104), p=0.5),
    ]
    return A.Compose([A.Resize(height, width), *(random if training else []), A.Normalize(MEAN, STD)])


class PlainImages(Dataset[Tensor]):
    """Images (3, height, width) float32 by their place in ``paths``."""

    def __init__(self, paths: Sequence[Path], height: int, width: int, training: bool) -> None:
        self._paths, self._steps = paths, steps(height, width, training)

    def __getitem__(self, place: int) -> Tensor:
        image = np.asarray(Image.open(self._paths[place]).convert("RGB"))
        return torch.from_numpy(self._steps(image=image)["image"].transpose(2, 0, 1).copy())


def plain_batches(dataset: PlainImages, order: Sequence[Sequence[int]]) -> Iterator[Tensor]:
    """Batches (B, 3, height, width) float32 by one worker."""
    return iter(
        DataLoader(
            dataset,
            batch_sampler=[list(places) for places in order],
            num_workers=1,
            worker_init_fn=_one_thread,
            multiprocessing_context="forkserver",
        )
    )


def _one_thread(worker: int) -> None:
    cv2.setNumThreads(1)
