"""What a network is here, whatever it came from: crops of people in, features out, and where those come from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from reid.errors import InputError

if TYPE_CHECKING:
    import numpy as np

    from reid.data.samples import Samples


@dataclass(frozen=True)
class Origin:
    """What made some features; those of different origin cannot be compared.

    Attributes:
        name: for people: the run's folder or the file's name. Not part of the fingerprint.
        width: D, numbers a feature.
        network: SHA-256 of the network's file or files.
        preprocessing: what happens to an image before it, and to the output after it; in full.
    """

    name: str
    width: int
    network: str
    preprocessing: str

    @property
    def fingerprint(self) -> str:
        """SHA-256 of all but the name, in hexadecimal."""
        return hashlib.sha256(json.dumps([self.width, self.network, self.preprocessing]).encode()).hexdigest()

    def check(self, other: Origin, where: str) -> None:
        """
        Raises:
            InputError: naming ``where`` and both, when ``other`` made other features.
        """
        if self.fingerprint == other.fingerprint:
            return
        parts = ("width", "network", "preprocessing")
        differs = [part for part in parts if getattr(self, part) != getattr(other, part)]
        raise InputError(
            f"{where}: holds features of {self.name!r} ({self.fingerprint[:12]}), which cannot be compared with "
            f"those of {other.name!r} ({other.fingerprint[:12]}): other {', '.join(differs)}"
        )


class Network(Protocol):
    """Crops in, features out. May be called from several threads."""

    origin: Origin

    def embed(self, crops: Sequence[np.ndarray]) -> np.ndarray:
        """(N, D) float32 features, of any length, of N crops (h, w, 3) uint8 RGB of any size."""
        ...

    def extract(self, samples: Samples, progress: bool = True) -> np.ndarray:
        """(N, D) float32 features, of any length, of a data set's images, in order.

        Raises:
            InputError: an image that cannot be read.
        """
        ...
