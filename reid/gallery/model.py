"""A network that turns crops of people into features: a run of this project, or a foreign ONNX / OpenVINO file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from reid.gallery.entries import Origin


class Model(Protocol):
    """Crops in, features out."""

    origin: Origin

    def embed(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """(N, D) float32 features, of any length, of N crops (h, w, 3) uint8 RGB of any size."""
        ...
