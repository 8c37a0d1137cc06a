"""The vector file of a local store: float32 rows (N, D), little-endian, without a header; row = slot."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from reid.errors import InputError
from reid.files import replacing

FLOAT = np.dtype("<f4")
BLOCK = 8192  # rows at once


def vector_file(folder: Path, generation: int) -> Path:
    return folder / f"vectors-{generation}.f32"


def open_private(path: Path, flags: int) -> int:
    """A descriptor of a file that only its owner may read, whatever the umask."""
    file = os.open(path, flags | os.O_CREAT | os.O_CLOEXEC, 0o600)
    os.fchmod(file, 0o600)
    return file


@contextmanager
def writing(path: Path) -> Iterator[int]:
    """A descriptor to write to; synced at the end.

    Raises:
        InputError: naming the path, when it cannot be written (a full disk).
    """
    try:
        file = open_private(path, os.O_WRONLY)
        try:
            yield file
            os.fsync(file)
        finally:
            os.close(file)
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror}") from None


def put(file: int, rows: np.ndarray, offset: int) -> None:
    """All of ``rows`` at ``offset`` bytes; the system may take them piece by piece."""
    left = memoryview(np.ascontiguousarray(rows, FLOAT).data).cast("B")
    while left:
        written = os.pwrite(file, left, offset)
        left, offset = left[written:], offset + written


def sync_folder(folder: Path) -> None:
    """Make new, renamed and removed names in a folder last."""
    file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def rewrite(old: np.ndarray, path: Path, slots: np.ndarray) -> None:
    """Write rows ``slots`` of ``old``, in that order, as a new file; whole or not at all.

    Raises:
        InputError: naming the path, when it cannot be written.
    """
    try:
        with replacing(path, 0o600) as file:
            for low in range(0, len(slots), BLOCK):
                put(file.fileno(), old[slots[low : low + BLOCK]], low * old.shape[1] * FLOAT.itemsize)
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror}") from None
    sync_folder(path.parent)


def trim(path: Path, rows: int, width: int) -> None:
    """Cut off what a writer left behind the committed rows."""
    size = rows * width * FLOAT.itemsize
    if path.stat().st_size > size:
        os.truncate(path, size)


def mapped(path: Path, rows: int, width: int) -> np.ndarray:
    """The committed rows (rows, width), read-only, read as they are used.

    Raises:
        InputError: for a file that is shorter.
        FileNotFoundError: it is not there, as after another process rewrote it.
    """
    size, needed = path.stat().st_size, rows * width * FLOAT.itemsize
    if size < needed:
        raise InputError(f"{path}: has {size} bytes where {needed} were written: damaged")
    if rows == 0:
        return np.empty((0, width), FLOAT)
    return np.asarray(np.memmap(path, FLOAT, mode="r", shape=(rows, width)))
