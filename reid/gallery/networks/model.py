"""A network that turns crops of people into features: a run of this project, or a foreign ONNX / OpenVINO file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from reid.errors import InputError
from reid.gallery.entries import Origin


class Model(Protocol):
    """Crops in, features out. May be called from several threads."""

    origin: Origin

    def embed(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """(N, D) float32 features, of any length, of N crops (h, w, 3) uint8 RGB of any size."""
        ...


def load_model(path: Path, threads: int | None = None) -> Model:
    """A run's folder; or a foreign network: its file with a YAML beside it, the YAML, or a bundled one's bare name.

    Args:
        threads: of the CPU; None is the library's own choice.

    Raises:
        InputError: naming what is missing or wrong.
    """
    if path.is_dir():
        from reid.gallery.networks.trained import TrainedModel

        return TrainedModel(path, threads)
    from reid.gallery.networks.embedder import ForeignModel
    from reid.gallery.networks.foreign import find_description

    try:
        find_description(str(path))
    except InputError as error:
        raise InputError(f"{path}: is neither a run's folder nor a foreign network: {error}") from None
    return ForeignModel(str(path), threads)
