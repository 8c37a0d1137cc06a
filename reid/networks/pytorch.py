"""Networks that are torch modules, as :class:`reid.networks.base.Network`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Lock
from typing import Any, Protocol

import numpy as np
from torch import Tensor

from reid.data.samples import Samples
from reid.engine.extract import Extractor
from reid.errors import InputError
from reid.networks.base import Network, Origin


class TorchNetwork:
    """A torch module and how it is fed; loaded when a feature is first asked for.

    Args:
        origin: known before anything is loaded.
        build: makes the extractor; called once.
    """

    def __init__(self, origin: Origin, build: Callable[[], Extractor]) -> None:
        self.origin = origin
        self._build, self._built, self._lock = build, None, Lock()

    _built: Extractor | None

    @property
    def extractor(self) -> Extractor:
        """
        Raises:
            InputError: a file that is damaged or gone.
        """
        with self._lock:
            if self._built is None:
                self._built = self._build()
            return self._built

    def embed(self, crops: Sequence[np.ndarray]) -> np.ndarray:
        return self.extractor.embed(crops) if len(crops) else np.empty((0, self.origin.width), np.float32)

    def extract(self, samples: Samples, progress: bool = True) -> np.ndarray:
        return self.extractor.extract(samples, f"{self.origin.name}: features", progress)


class Staged(Protocol):
    """A backbone of four stages."""

    ends_in_instance_norm: tuple[bool, ...]

    def stages(self, x: Tensor) -> list[Tensor]:
        """Maps (B, C, H, W) that the four stages give for images (B, 3, H, W)."""
        ...


def staged(network: Network) -> tuple[Extractor, Staged]:
    """How the network is fed, and its backbone.

    Raises:
        InputError: a network without four stages to look into.
    """
    if not isinstance(network, TorchNetwork):
        raise InputError(
            f"{network.origin.name}: its stages cannot be looked into: only features come out of it; choices: a run, a "
            "peer's checkpoint, a timm network with stages"
        )
    module = network.extractor.network
    # fast-reid's normalises the pixels on the way to its backbone, and so has stages of its own.
    backbone: Any = module if hasattr(module, "stages") else getattr(module, "backbone", module)
    if not hasattr(backbone, "stages") or len(getattr(backbone, "ends_in_instance_norm", ())) != 4:
        raise InputError(f"{network.origin.name}: has no four stages of maps to look into")
    return network.extractor, backbone
