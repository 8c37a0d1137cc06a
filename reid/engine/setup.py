"""Where a network runs and how it is tested: plain values, built once from a configuration (reid/engine/build.py)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch

from reid.data.roots import Roots
from reid.retrieval.protocol import Protocol
from reid.retrieval.ranking import Distance

Precision = Literal["float32", "bf16"]


@dataclass(frozen=True)
class Placement:
    """Where and in what arithmetic a network computes.

    Attributes:
        dtype: of the products and convolutions under autocast; None is float32 throughout.
        threads: of the CPU; None is torch's own choice.
    """

    device: torch.device
    dtype: torch.dtype | None = None
    threads: int | None = None

    @property
    def precision(self) -> Precision:
        return "float32" if self.dtype is None else "bf16"

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
