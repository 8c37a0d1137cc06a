"""A network that several processes have, each of which takes its share of the images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from reid.engine.distributed import in_shares, of_first
from reid.networks.base import Network

if TYPE_CHECKING:
    import numpy as np

    from reid.data.samples import Samples


class SharedNetwork:
    """The same network in all processes that train together. The first extracts features as from any network; the
    others :meth:`serve`, for only the first knows what is still valid and what is to be computed.

    Args:
        network: loaded in each process.
        batch_size: images a forward pass; a share is of whole batches, so that features are those of one process.
    """

    def __init__(self, network: Network, batch_size: int) -> None:
        self.origin = network.origin
        self._network, self._batch_size = network, batch_size

    def embed(self, crops: Sequence[np.ndarray]) -> np.ndarray:
        """Of this process alone."""
        return self._network.embed(crops)

    def extract(self, samples: Samples, progress: bool = True) -> np.ndarray:
        """Called in the first process: with the help of the others, that serve.

        Raises:
            InputError: an image that cannot be read, here; in another process that one says it and ends.
        """
        of_first(samples)
        rows = self._extract(samples, progress)
        assert rows is not None
        return rows

    def serve(self) -> None:
        """Called in the others: extract their shares of what the first asks for, until it releases them.

        Raises:
            InputError: an image that cannot be read.
        """
        while (samples := of_first(None)) is not None:
            self._extract(samples, progress=False)

    def release(self) -> None:
        """Called in the first process: nothing more will be asked for."""
        of_first(None)

    def _extract(self, samples: Samples, progress: bool) -> np.ndarray | None:
        return in_shares(
            len(samples), self._batch_size, lambda rows: self._network.extract(samples.part(rows), progress)
        )
