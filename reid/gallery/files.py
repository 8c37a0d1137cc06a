"""Bytes of a gallery's files, for their owner alone, written in place and synced; and whose turn it is to write."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from reid.errors import InputError
from reid.files import holding


def open_private(path: Path, flags: int) -> int:
    """A descriptor of a file that only its owner may read, whatever the umask."""
    file = os.open(path, flags | os.O_CREAT | os.O_CLOEXEC, 0o600)
    os.fchmod(file, 0o600)
    return file


@contextmanager
def writing(path: Path) -> Iterator[int]:
    """A descriptor to write to; synced at the end, a new file's name too. Raises InputError naming the path, when it
    cannot be written (a full disk)."""
    try:
        new = not path.exists()
        file = open_private(path, os.O_WRONLY)
        try:
            yield file
            os.fsync(file)
        finally:
            os.close(file)
        if new:
            sync_folder(path.parent)
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror}") from None


def put(file: int, data: memoryview | bytes, offset: int) -> None:
    """All of ``data`` at ``offset`` bytes; the system may take it piece by piece."""
    left = memoryview(data).cast("B")
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


def make_folder(folder: Path) -> None:
    """A folder that only its owner may enter, where there is none yet. Raises InputError, when it cannot be made."""
    try:
        if not folder.is_dir():
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(0o700)
            sync_folder(folder.parent)
    except OSError as error:
        raise InputError(f"{folder}: cannot be written: {error.strerror}") from None


LOCKS = (".urgent", ".lock")


@contextmanager
def turn(folder: Path, urgent: bool) -> Iterator[None]:
    """Be the only writer of a folder, among processes and threads; wait for it. Held for moments: a batch, an erasure.

    Who is ``urgent`` comes next: he holds a second lock while he waits, at which the others wait before the first.
    """
    first, second = (folder / name for name in LOCKS)
    with holding(first, folder, wait=True, told=False) if urgent else nullcontext():
        if not urgent:
            with holding(first, folder, wait=True, told=False):
                pass
        with holding(second, folder, wait=True, told=False):
            yield
