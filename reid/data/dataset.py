"""From a list of images to batches of tensors, in any number of processes with the same result."""

from __future__ import annotations

import itertools
import logging
import mmap
import multiprocessing
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from multiprocessing import reduction
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from reid.data.images import read_image
from reid.data.transforms import Augment, Fit
from reid.errors import InputError
from reid.processes import end_with_parent, fork_server, starting

log = logging.getLogger(__name__)

SHARED = Path("/dev/shm")  # where Linux has what processes share: often 64 MB in a container
AHEAD = 2  # batches that each worker prepares ahead
HELD = 2  # batches that the consumer has: the one at work, and the next while it is handed over
CUT_OFF = (EOFError, ConnectionError, FileNotFoundError)  # of a worker that ended while a batch was handed over


class Draw(NamedTuple):
    """One sample of an epoch: an image's row in the table and the stream of random numbers that augments it."""

    row: int
    stream: tuple[int, ...]


class Batch(NamedTuple):
    """Images (B, 3, H, W) uint8 in channels_last, and the indices (B,) of their rows in the table."""

    images: Tensor
    indices: Tensor


class ImageCache:
    """Fitted images of a table's first rows, in memory that this process and its loaders' workers share.

    As many as fit. An image is put in by whoever reads it first, and no page is taken before that.

    Args:
        images: of the table.
        height, width: pixels of a fitted image.
        budget: bytes that it may take.

    Raises:
        InputError: naming data.cache_gb, when it would take more than the machine has left, or no image fits.
    """

    def __init__(self, images: int, height: int, width: int, budget: int) -> None:
        self._shape = (height, width, 3)
        size = height * width * 3
        self.images, self.rows = images, min(images, budget // (size + 1))  # a byte says that it is there
        if self.rows == 0:
            raise InputError(f"data.cache_gb: {budget / 1e9:g}: an image of {height} x {width} takes {size / 1e9:g}")
        bytes_ = self.rows * (size + 1)
        left = _free_memory()
        if left is not None and bytes_ > left:
            raise InputError(
                f"data.cache_gb: {budget / 1e9:g}: {self.rows} images take {bytes_ / 1e9:.2f}, and this machine has "
                f"{left / 1e9:.2f} of memory left; choose less, or data.cache=none"
            )
        self._lock = multiprocessing.get_context("forkserver").Lock()
        file = _anonymous_file()
        os.ftruncate(file, bytes_)
        self._open(file)

    def _open(self, file: int) -> None:
        self._file = mmap.mmap(file, self.rows * (int(np.prod(self._shape)) + 1))
        self._handle = file
        everything = np.frombuffer(self._file, np.uint8)
        self._there, pixels = everything[: self.rows], everything[self.rows :]
        self._pixels = pixels.reshape(self.rows, *self._shape)

    def __getstate__(self) -> dict[str, Any]:
        """For a worker that is being started, which takes over the file and not what is in it."""
        plain = {name: value for name, value in vars(self).items() if name in ("_shape", "images", "rows", "_lock")}
        return plain | {"_handle": reduction.DupFd(self._handle)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        file = state.pop("_handle").detach()
        vars(self).update(state)
        self._open(file)

    def __str__(self) -> str:
        taken = self._pixels.nbytes / 1e9
        return f"data.cache=ram: {self.rows:,} of {self.images:,} images are kept in memory, {taken:.2f} GB"

    def get(self, row: int, read: Callable[[int], np.ndarray]) -> np.ndarray:
        """The fitted image (H, W, 3) of ``row``, by ``read`` where it is not kept, or not yet; not to be written to."""
        if row >= self.rows:
            return read(row)
        with self._lock:  # else another processor may see that an image is there before it sees its pixels
            there = self._there[row]
        if not there:
            self._pixels[row] = read(row)  # by two workers at a time, perhaps: the same pixels
            with self._lock:
                self._there[row] = 1
        return self._pixels[row]


def _anonymous_file() -> int:
    """A file in memory, outside /dev/shm; where the system has no such (macOS), one on disk without a name."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("reid-images", os.MFD_CLOEXEC)
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def _free_memory() -> int | None:
    """Bytes that can still be taken; None where the system does not tell."""
    meminfo = Path("/proc/meminfo")
    if not meminfo.exists():
        return None
    lines = (line.split() for line in meminfo.read_text().splitlines())
    return next(1024 * int(words[1]) for words in lines if words[0] == "MemAvailable:")


class ImageDataset(Dataset[tuple[np.ndarray, int] | InputError]):
    """Images by :class:`Draw`. A bad file comes back as the error itself, since a raise would cross the process
    boundary as a traceback; :func:`batches` raises it.

    Args:
        paths: of the table's rows.
        fit: what gives an image its size.
        augment: what happens to a fitted image by a stream; None: nothing does.
        cache: keeps fitted images.
    """

    def __init__(
        self, paths: Sequence[Path], fit: Fit, augment: Augment | None = None, cache: ImageCache | None = None
    ) -> None:
        self._paths = [str(path) for path in paths]
        self._fit, self._augment, self._cache = fit, augment, cache

    def __len__(self) -> int:
        return len(self._paths)

    @property
    def image_bytes(self) -> int:
        """Of a fitted image."""
        return self._fit.height * self._fit.width * 3

    def __getitem__(self, draw: Draw) -> tuple[np.ndarray, int] | InputError:
        try:
            image = self._read(draw.row) if self._cache is None else self._cache.get(draw.row, self._read)
        except InputError as error:
            return error
        return (image if self._augment is None else self._augment(image, draw.stream)), draw.row

    def _read(self, row: int) -> np.ndarray:
        return self._fit(read_image(self._paths[row]))


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

    Batches travel through shared memory: where those in flight would not fit, fewer are prepared ahead and in the end by
    fewer workers, which is said; it costs time and changes no result.

    Raises:
        InputError: naming the first file that cannot be read, or a worker process that was killed; shared memory
            without room for the batches of one worker.
    """
    draws = iter(draws)
    ahead = AHEAD
    if workers and (first := next(draws, None)) is not None:
        draws = itertools.chain([first], draws)
        workers, ahead = _in_shared_memory(workers, len(first) * dataset.image_bytes)
    loader: DataLoader = DataLoader(
        dataset,
        batch_sampler=draws,  # type: ignore[arg-type]  # typed for indices; any key reaches __getitem__ as it is
        collate_fn=_collate,
        num_workers=workers,
        prefetch_factor=ahead if workers else None,
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


def _in_shared_memory(workers: int, size: int) -> tuple[int, int]:
    """Workers and the batches that each prepares ahead, of ``size`` bytes each, as asked for or as many as fit.

    torch would end a worker by a bus error in the middle of the training.
    """
    if not SHARED.is_dir():
        return workers, AHEAD
    free = os.statvfs(SHARED)
    room = free.f_bavail * free.f_frsize // size - HELD
    if room >= workers * AHEAD:
        return workers, AHEAD
    if room < 1:
        raise InputError(
            f"data.workers: {workers}: a batch takes {size / 1e6:.1f} MB, and {SHARED} has "
            f"{free.f_bavail * free.f_frsize / 1e6:.1f} MB left where {HELD + 1} must lie; make it larger "
            "(docker run --shm-size), or take 0 workers"
        )
    fewer = min(workers, room)
    log.warning(
        f"{SHARED} has no room for the {workers * AHEAD + HELD} batches of {size / 1e6:.1f} MB that {workers} workers "
        f"have in flight: {fewer} prepare 1 ahead each, not {AHEAD}; make it larger (docker run --shm-size)"
    )
    return fewer, 1


def _collate(samples: list[tuple[np.ndarray, int] | InputError]) -> Batch | InputError:
    loaded = []
    for sample in samples:
        if isinstance(sample, InputError):
            return sample
        loaded.append(sample)
    images, indices = zip(*loaded, strict=True)
    return Batch(torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2), torch.tensor(indices))


def _prepare_worker(worker: int) -> None:
    cv2.setNumThreads(1)  # workers are the parallelism
    end_with_parent()
