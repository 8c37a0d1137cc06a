"""From a list of images to batches of tensors, in any number of processes with the same result."""

from __future__ import annotations

import ctypes
import itertools
import math
import mmap
import multiprocessing
import os
import sys
import tempfile
import weakref
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

AHEAD = 2  # batches that each worker prepares ahead
GROUPS = Path("/sys/fs/cgroup")  # Linux: what containers and jobs (Slurm's) may take, and take
LIMITS = {  # by what a line of /proc/self/cgroup names: files of limit and use, and how counts with subgroups begin
    "": ("memory.max", "memory.current", ""),  # version 2, where one hierarchy limits everything
    "memory": ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_"),  # version 1
}


class Draw(NamedTuple):
    """One sample of an epoch: an image's row in the table and the stream of random numbers that augments it."""

    row: int
    stream: tuple[int, ...]


class Batch(NamedTuple):
    """Images (B, 3, H, W) uint8 in channels_last, and the indices (B,) of their rows in the table."""

    images: Tensor
    indices: Tensor


class SharedArray:
    """Numbers of 8 bits, at first 0, in memory that this process shares with those that it starts with this.

    The memory is taken as it is written to. It is none of /dev/shm, of which a container often has 64 MB.

    Attributes:
        array: the numbers.

    Raises:
        InputError: where it takes a file in a temporary folder instead, for which there is no room.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        size = math.prod(shape)
        handle = _memory_file()
        if handle is None:  # macOS: a file without a name, which the system keeps in memory as well as it can
            handle = _temporary_file(size)
        os.ftruncate(handle, size)
        self._open(handle, shape)

    def _open(self, handle: int, shape: tuple[int, ...]) -> None:
        self._handle = handle
        weakref.finalize(self, os.close, handle)
        self.array = np.frombuffer(mmap.mmap(handle, math.prod(shape)), np.uint8).reshape(shape)

    def __getstate__(self) -> tuple[Any, tuple[int, ...]]:
        return reduction.DupFd(self._handle), self.array.shape

    def __setstate__(self, state: tuple[Any, tuple[int, ...]]) -> None:
        handle, shape = state
        self._open(handle.detach(), shape)


def _memory_file() -> int | None:
    """A file that lies in memory; None where the system has none."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("reid")
    if sys.platform != "linux":
        return None
    library = ctypes.CDLL(None)  # many a Python of conda and uv lacks the function that its system has
    handle = library.memfd_create(b"reid", 1) if hasattr(library, "memfd_create") else -1  # 1: not for other programs
    return handle if handle >= 0 else None


def _temporary_file(size: int) -> int:
    """A file without a name of so many bytes, taken at once where that can be: a process that writes where the disk
    has no room is ended by a bus error."""
    with tempfile.TemporaryFile() as file:
        try:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, size)
        except OSError as error:
            where = tempfile.gettempdir()
            raise InputError(f"{where}: {size / 1e9:.2f} GB for images: {error.strerror}; $TMPDIR says where") from None
        return os.dup(file.fileno())


class ImageCache:
    """Fitted images of a table's first rows, as many as fit, in memory that loaders' workers share.

    An image is put in by whoever reads it first.

    Args:
        images: of the table.
        height, width: pixels of a fitted image.
        budget: bytes that it may take.
        processes: on this machine that keep as many, each for itself.

    Raises:
        InputError: naming data.cache_gb, when it would take more than the machine has left, or no image fits.
    """

    def __init__(self, images: int, height: int, width: int, budget: int, processes: int = 1) -> None:
        size = height * width * 3
        rows = min(images, budget // size)
        given = f"data.cache_gb: {budget / 1e9:g}"
        if rows == 0:
            raise InputError(f"{given}: an image of {height} x {width} takes {size / 1e9:g} GB")
        left = _free_memory()
        if left is not None and processes * rows * size > left:
            each = "" if processes == 1 else f" in each of {processes} processes"
            raise InputError(
                f"{given}: {rows:,} images take {rows * size / 1e9:.2f} GB{each}, and this machine has "
                f"{left / 1e9:.2f} GB of memory left; choose less, or data.cache=none"
            )
        self._images, self._pixels, self._there = images, SharedArray((rows, height, width, 3)), SharedArray((rows,))
        self._lock = multiprocessing.get_context("forkserver").Lock()

    def __str__(self) -> str:
        pixels = self._pixels.array
        return f"{len(pixels):,} of {self._images:,} images are kept in memory, {pixels.nbytes / 1e9:.2f} GB"

    def get(self, row: int, read: Callable[[int], np.ndarray]) -> np.ndarray:
        """The fitted image (H, W, 3) of ``row``, by ``read`` where it is not kept, or not yet; not to be written to."""
        pixels, there = self._pixels.array, self._there.array
        if row >= len(pixels):
            return read(row)
        with self._lock:  # else a processor may see that an image is there before it sees its pixels
            known = there[row]
        if not known:
            pixels[row] = read(row)  # perhaps by two workers at a time: the same pixels
            with self._lock:
                there[row] = 1
        return pixels[row]


def _free_memory(proc: Path = Path("/proc"), groups: Path = GROUPS) -> int | None:
    """Bytes that can still be taken, by the machine and by the limits of its containers and jobs; None where the system
    does not tell."""
    machine, belongs = proc / "meminfo", proc / "self" / "cgroup"
    if not machine.is_file():
        return None
    lines = (line.split() for line in machine.read_text().splitlines())
    left = [1024 * int(words[1]) for words in lines if words[0] == "MemAvailable:"]
    for line in belongs.read_text().splitlines() if belongs.is_file() else []:
        _, kind, place = line.split(":", 2)
        if kind in LIMITS:
            left += _left_of_groups(groups / kind, place.lstrip("/"), *LIMITS[kind])
    return min(left, default=None)


def _left_of_groups(root: Path, place: str, limit: str, usage: str, total: str) -> list[int]:
    """What each of the groups has left that a process belongs to, from the one at ``place`` to the ``root``."""
    left = []
    for name in (place, *map(str, Path(place).parents)) if place else (".",):
        folder = root / name
        try:  # a container sees its own group as the root, whatever its place is called outside
            most, taken = (folder / limit).read_text().strip(), int((folder / usage).read_text())
            counts = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
        except FileNotFoundError:
            continue
        if most != "max":
            files = int(counts[f"{total}active_file"]) + int(counts[f"{total}inactive_file"])  # given back when needed
            left.append(max(0, int(most) - taken + files))
    return left


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
    def shape(self) -> tuple[int, int, int]:
        """Of an image: height, width, 3."""
        return self._fit.height, self._fit.width, 3

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


class _Slots(Dataset[InputError | list[int]]):
    """What a worker loads from: batches are written into places of their own in shared memory, used again and again,
    and their rows alone are sent. New memory for each would cost a worker more time than the decoding does.
    """

    def __init__(self, images: ImageDataset, number: int, size: int) -> None:
        self._images, self._slots = images, SharedArray((number, size, *images.shape))

    def __getitems__(self, batch: tuple[int, Sequence[Draw]]) -> InputError | list[int]:
        slot, draws = batch
        return _load(self._images, draws, self._slots.array[slot])

    def take(self, slot: int, rows: list[int]) -> Batch:
        """A copy of what lies there; in pinned memory where CUDA is used, which copies from it by itself."""
        lying = torch.from_numpy(self._slots.array[slot, : len(rows)])
        images = torch.empty(lying.shape, dtype=torch.uint8, pin_memory=_pinned())
        return _batch(images.copy_(lying), rows)


def batches(dataset: ImageDataset, draws: Iterable[Sequence[Draw]], workers: int) -> Iterator[Batch]:
    """Load each list of draws as one batch, in this process or in ``workers`` others; the batches are the same.

    With workers, ``draws`` is read a few batches ahead, and no list may be longer than the first. They begin with no
    thread and nothing of the calling script (see :mod:`reid.processes`): what fits and augments must be defined in a
    module. The first call in a process takes seconds to start them, later ones do not.

    Raises:
        InputError: naming the first file that cannot be read, or a worker process that was killed.
    """
    return _by_workers(dataset, iter(draws), workers) if workers else _here(dataset, draws)


def _here(dataset: ImageDataset, draws: Iterable[Sequence[Draw]]) -> Iterator[Batch]:
    for some in draws:
        images = torch.empty((len(some), *dataset.shape), dtype=torch.uint8, pin_memory=_pinned())
        rows = _load(dataset, some, images.numpy())
        if isinstance(rows, InputError):
            raise rows
        yield _batch(images, rows)


def _by_workers(dataset: ImageDataset, draws: Iterator[Sequence[Draw]], workers: int) -> Iterator[Batch]:
    first = next(draws, None)
    if first is None:
        return
    # A batch is begun when the one that workers * AHEAD before it is handed over, which then still lies in its slot.
    number = workers * AHEAD + 1
    slots = _Slots(dataset, number, len(first))
    loader: DataLoader = DataLoader(
        slots,
        batch_sampler=zip(itertools.cycle(range(number)), itertools.chain([first], draws)),  # type: ignore[arg-type]
        collate_fn=_as_it_is,
        num_workers=workers,
        prefetch_factor=AHEAD,
        worker_init_fn=_prepare_worker,
        multiprocessing_context=fork_server(__name__),
        generator=torch.Generator(),  # else every loader would draw a seed, that nothing needs, from the global one
    )
    with starting():
        loaded = iter(loader)
    for slot in itertools.cycle(range(number)):
        try:
            rows = next(loaded, None)
        except RuntimeError as error:
            if not str(error).startswith("DataLoader worker"):
                raise  # a fault in the code
            reason = str(error).splitlines()[0]
            raise InputError(
                f"data.workers: a worker process ended ({reason}); out of memory? Try fewer, or 0"
            ) from None
        if rows is None:
            return
        if isinstance(rows, InputError):
            raise rows
        yield slots.take(slot, rows)


def _load(dataset: ImageDataset, draws: Sequence[Draw], images: np.ndarray) -> InputError | list[int]:
    """Write the images into the first of ``images`` (N, H, W, 3); their rows, or the first error."""
    for place, draw in zip(images[: len(draws)], draws, strict=True):
        loaded = dataset[draw]
        if isinstance(loaded, InputError):
            return loaded
        place[:], _ = loaded
    return [draw.row for draw in draws]


def _pinned() -> bool:
    """Whether this process has begun to use CUDA: for one that computes on the CPU, pinned memory would do so."""
    return torch.cuda.is_initialized()


def _batch(images: Tensor, rows: list[int]) -> Batch:
    """Of images (B, H, W, 3) in this order in memory, which is channels_last of torch's (B, 3, H, W)."""
    return Batch(images.permute(0, 3, 1, 2), torch.tensor(rows))


def _as_it_is(loaded: InputError | list[int]) -> InputError | list[int]:
    return loaded


def _prepare_worker(worker: int) -> None:
    cv2.setNumThreads(1)  # workers are the parallelism
    end_with_parent()
