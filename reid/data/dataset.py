"""From a list of images to batches of tensors, in any number of processes with the same result."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from reid.data.images import read_image
from reid.data.transforms import Transform
from reid.errors import InputError
from reid.processes import end_with_parent, fork_server, starting

CUT_OFF = (EOFError, ConnectionError, FileNotFoundError)  # of a worker that ended while a batch was handed over


class Draw(NamedTuple):
    """One sample of an epoch: an image's row in the table and the stream of random numbers that augments it."""

    row: int
    stream: tuple[int, ...]


class Batch(NamedTuple):
    """Images (B, 3, H, W) float32, and the indices (B,) of their rows in the table."""

    images: Tensor
    indices: Tensor


class ImageDataset(Dataset[tuple[np.ndarray, int] | InputError]):
    """Images by :class:`Draw`. A bad file comes back as the error itself, since a raise would cross the process
    boundary as a traceback; :func:`batches` raises it."""

    def __init__(self, paths: Sequence[Path], transform: Transform) -> None:
        self._paths = [str(path) for path in paths]
        self._transform = transform

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, draw: Draw) -> tuple[np.ndarray, int] | InputError:
        try:
            return self._transform(read_image(Path(self._paths[draw.row])), draw.stream), draw.row
        except InputError as error:
            return error


def training_draws(batches: Sequence[Sequence[int]], seed: int, epoch: int, start: int = 0) -> list[list[Draw]]:
    """Give each sample of an epoch's batches, from batch ``start`` on, its stream (seed, epoch, position)."""
    size = len(batches[0])
    return [
        [Draw(index, (seed, epoch, place * size + offset)) for offset, index in enumerate(batch)]
        for place, batch in enumerate(batches)
        if place >= start
    ]


def evaluation_draws(count: int, size: int) -> list[list[Draw]]:
    """All ``count`` images in order, ``size`` a batch."""
    return [[Draw(index, ()) for index in range(low, min(low + size, count))] for low in range(0, count, size)]


def batches(dataset: ImageDataset, draws: Iterable[Sequence[Draw]], workers: int) -> Iterator[Batch]:
    """Load each list of draws as one batch, in this process or in ``workers`` others; the batches are the same.

    With workers, ``draws`` is read a few batches ahead. They begin with no thread and nothing of the calling script
    (see :mod:`reid.processes`): a transform defined there, not in a module, cannot be handed to them. The first call
    in a process takes seconds to start them, later ones do not.

    Raises:
        InputError: naming the first file that cannot be read, or a worker process that was killed.
    """
    loader: DataLoader = DataLoader(
        dataset,
        batch_sampler=draws,  # type: ignore[arg-type]  # typed for indices; any key reaches __getitem__ as it is
        collate_fn=_collate,
        num_workers=workers,
        worker_init_fn=_prepare_worker,
        multiprocessing_context=fork_server(__name__) if workers else None,
        generator=torch.Generator(),  # else every loader would draw a seed, that nothing needs, from the global one
        pin_memory=torch.cuda.is_available(),
    )
    with starting():
        loaded = iter(loader)
    while True:
        try:
            batch = next(loaded, None)
        except (RuntimeError, *CUT_OFF) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            ended = isinstance(error, CUT_OFF) or reason.startswith("DataLoader worker")
            if not workers or not ended or reason.startswith("Caught"):  # the last in a worker that lives
                raise  # a fault in the code
            raise InputError(
                f"data.workers: a worker process ended ({reason}); out of memory? Try fewer, or 0"
            ) from None
        if batch is None:
            return
        if isinstance(batch, InputError):
            raise batch
        yield batch


def _collate(samples: list[tuple[np.ndarray, int] | InputError]) -> Batch | InputError:
    loaded = []
    for sample in samples:
        if isinstance(sample, InputError):
            return sample
        loaded.append(sample)
    images, indices = zip(*loaded, strict=True)
    return Batch(torch.from_numpy(np.stack(images)), torch.tensor(indices))


def _prepare_worker(worker: int) -> None:
    cv2.setNumThreads(1)  # workers are the parallelism
    end_with_parent()
