"""Writing files so that a reader never sees half of one."""

from __future__ import annotations

import os
from pathlib import Path

from reid.errors import InputError


def write_atomically(path: Path, content: bytes | str) -> None:
    """Write beside ``path``, sync, then rename into place: after a kill or on a full disk the old file still stands.

    Raises:
        InputError: naming the path, when it cannot be written.
    """
    data = content.encode() if isinstance(content, str) else content
    partial = path.with_name(f".{path.name}.partial{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with partial.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error}") from None
