"""Where a network runs and how it is tested, plain values that reid/engine/build.py makes once of a configuration; and
from images to features, the one way in which a torch network is asked for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from reid.data.dataset import Batch, Draw, ImageDataset, batches, evaluation_draws
from reid.data.reading import Roots
from reid.data.samples import Samples
from reid.data.transforms import Transform
from reid.progress import track
from reid.retrieval.features import Protocol
from reid.retrieval.ranking import Distance


@dataclass(frozen=True)
class Extractor:
    """A network and how it is fed.

    Attributes:
        network: images (B, 3, H, W) float32 to features (B, D), in evaluation mode, on the placement's device.
        transform: how an image (h, w, 3) uint8 RGB becomes one of those.
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
            fitted = np.stack([self.transform.fit(crop) for crop in crops[low : low + self.batch_size]])
            rows.append(self.features(self.inputs(torch.from_numpy(fitted).permute(0, 3, 1, 2))))
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
        """What the network takes of ``draws``, a batch at a time: (B, 3, H, W) float32 on the device; under a bar of
        that name.

        Raises:
            InputError: an image that cannot be read.
        """
        loaded = batches(ImageDataset(samples.paths, self.transform.fit), draws, self.workers)
        title = f"{name} of {samples.title}"
        for batch in track(loaded, name=title, unit="batch", total=len(draws), shown=progress):
            yield Batch(self.inputs(batch.images), batch.indices)

    def inputs(self, images: Tensor) -> Tensor:
        """What the network takes, on the device, of fitted images (B, 3, H, W) uint8."""
        return self.transform.normalise(images.to(self.placement.device, non_blocking=True))


Precision = Literal["float32", "tf32", "bf16", "fp16"]


@dataclass(frozen=True)
class Placement:
    """Where and in what arithmetic a network computes.

    Attributes:
        dtype: of the products and convolutions under autocast; None is float32 throughout.
        tf32: whether float32's products may be rounded to TF32's 10 bits, on CUDA.
        threads: of the CPU; None is torch's own choice.
        named: whether the device was asked for by name, so that no other may stand in for it.
    """

    device: torch.device
    dtype: torch.dtype | None = None
    threads: int | None = None
    named: bool = False
    tf32: bool = False

    @property
    def precision(self) -> Precision:
        if self.dtype is None:
            return "tf32" if self.tf32 else "float32"
        return "fp16" if self.dtype == torch.float16 else "bf16"

    @property
    def origin_precision(self) -> str:
        """As a network's :class:`~reid.networks.base.Origin` has it: bf16 by its long name, as galleries hold it."""
        return {"bf16": "bfloat16"}.get(self.precision, self.precision)

    @property
    def device_name(self) -> str:
        """For results files: the card's name, or the processor's best instruction set."""
        if self.device.type == "cuda":
            return torch.cuda.get_device_name(self.device)
        return f"cpu ({torch.backends.cpu.get_cpu_capability()})"

    def autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, self.dtype, enabled=self.dtype is not None)

    def take_up(self) -> None:
        """Set this process's threads and arithmetic as they are here; called before a network is built or loaded."""
        exact_float32()
        if self.tf32:
            backends: Any = torch.backends
            for part in (backends.cuda.matmul, backends.cudnn, backends.cudnn.conv, backends.cudnn.rnn):
                part.fp32_precision = "tf32"
        if self.threads is not None:
            torch.set_num_threads(self.threads)


@dataclass(frozen=True)
class Testing:
    """How a network, of whatever origin, is tested; the keys ``evaluation``, ``data`` and ``seed`` of a configuration.

    Attributes:
        roots: where data sets lie.
        batch_size: images a forward pass.
        workers: processes that read images; never changes a result.
        flip: whether a feature is the mean of the image's and its mirror image's.
        top_k: length of the ranked lists written.
        seed: of the order in which AdaBN takes its images.
        output: folder for the results of networks that have none of their own.
        protocol: what is left out for a query; None is what each target's card says.
    """

    placement: Placement
    roots: Roots
    batch_size: int
    workers: int
    flip: bool
    distance: Distance
    top_k: int
    seed: int
    output: str
    protocol: Protocol | None = None


def exact_float32() -> None:
    """Have float32 mean IEEE float32 in every product and convolution of this process, not TF32 or bf16.

    Called where a process takes up a network: training, testing, detecting. Each operation is set by itself, since one
    that was set before does not follow its parent. torch's older switches (``allow_tf32``) do not go with these.
    """
    backends: Any = torch.backends  # its types do not tell all of the operations
    for part in (backends, backends.cuda.matmul, backends.cudnn, backends.cudnn.conv, backends.cudnn.rnn,
                 backends.mkldnn, backends.mkldnn.matmul, backends.mkldnn.conv, backends.mkldnn.rnn):  # fmt: skip
        part.fp32_precision = "ieee"


def has_bf16(on: torch.device) -> bool:
    """Whether the hardware of this device computes in bf16 (``torch.cuda.is_bf16_supported`` asks the current one)."""
    if on.type == "cuda":
        return torch.version.hip is not None or torch.cuda.get_device_capability(on) >= (8, 0)
    capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return any(capabilities.get(name, False) for name in ("avx512_bf16", "amx_bf16"))
