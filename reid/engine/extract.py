"""From images to features: the one way in which a torch network is asked for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from reid.data.dataset import Batch, Draw, ImageDataset, batches, evaluation_draws
from reid.data.samples import Samples
from reid.data.transforms import Transform
from reid.engine.setup import Placement
from reid.progress import track


@dataclass(frozen=True)
class Extractor:
    """A network and how it is fed.

    Attributes:
        network: images (B, 3, H, W) float32 to features (B, D), in evaluation mode, on the placement's device.
        transform: an image (h, w, 3) uint8 RGB to (3, H, W) float32.
        batch_size: images a forward pass.
        workers: processes that read images; never changes a result.
        flip: whether a feature is the mean of the image's and its mirror image's.
    """

    network: Callable[[Tensor], Tensor]
    transform: Transform
    placement: Placement
    batch_size: int
    workers: int
    flip: bool

    def embed(self, crops: Sequence[np.ndarray]) -> np.ndarray:
        """(N, D) float32 features of N crops (h, w, 3) uint8 RGB of any size, N at least 1."""
        rows = []
        for low in range(0, len(crops), self.batch_size):
            batch = np.stack([self.transform(crop, ()) for crop in crops[low : low + self.batch_size]])
            inputs = torch.from_numpy(batch).to(self.placement.device, memory_format=torch.channels_last)
            rows.append(self.features(inputs))
        return np.concatenate(rows)

    def extract(self, samples: Samples, name: str = "features", progress: bool = True) -> np.ndarray:
        """(N, D) float32 features of every image, in order, under a progress bar of that name.

        Raises:
            InputError: an image that cannot be read.
        """
        draws = evaluation_draws(len(samples), self.batch_size)
        return np.concatenate([self.features(inputs) for inputs, _ in self.batches(samples, draws, name, progress)])

    @torch.inference_mode()
    def features(self, inputs: Tensor) -> np.ndarray:
        """(B, D) float32 of images (B, 3, H, W) that lie on the device."""
        with self.placement.autocast():
            features = self.network(inputs).float()
            if self.flip:
                features = (features + self.network(inputs.flip(3)).float()) / 2
        return features.cpu().numpy()

    def batches(
        self, samples: Samples, draws: Sequence[Sequence[Draw]], name: str, progress: bool = True
    ) -> Iterator[Batch]:
        """The images of ``draws``, a batch at a time, as tested and on the device, under a bar of that name.

        Raises:
            InputError: an image that cannot be read.
        """
        loaded = batches(ImageDataset(samples.paths, self.transform), draws, self.workers)
        title = f"{name} of {samples.root.name}"
        for batch in track(loaded, name=title, unit="batch", total=len(draws), shown=progress):
            inputs = batch.images.to(self.placement.device, non_blocking=True, memory_format=torch.channels_last)
            yield Batch(inputs, batch.indices)
