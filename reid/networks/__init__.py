"""Networks of any origin behind one door: this project's runs, ONNX and OpenVINO files."""

from __future__ import annotations

from pathlib import Path

from reid.errors import InputError
from reid.networks.base import Network, Origin

__all__ = ["Network", "Origin", "load"]


def load(name: str | Path, threads: int | None = None) -> Network:
    """A run's folder; or a foreign network: its file with a YAML beside it, the YAML, or a bundled one's bare name.

    Args:
        threads: of the CPU; None is the library's own choice.

    Raises:
        InputError: naming what is missing or wrong.
    """
    path = Path(name)
    if path.is_dir():
        from reid.networks.trained import TrainedNetwork

        return TrainedNetwork(path, threads)
    from reid.networks.foreign import ForeignNetwork
    from reid.networks.graphs import find_description

    try:
        find_description(str(path))
    except InputError as error:
        raise InputError(f"{path}: is neither a run's folder nor a foreign network: {error}") from None
    return ForeignNetwork(str(path), threads)
