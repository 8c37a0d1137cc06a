"""The audit log of a gallery: who searched or erased what and when. It holds ids and numbers, no names and no paths."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from reid.errors import InputError
from reid.gallery.local.vectors import open_private


class AuditLog:
    """``audit.jsonl`` in a folder: one record a line, only ever appended to, by any number of processes."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "audit.jsonl"

    def record(self, who: str, action: str, entries: Sequence[int] = (), **numbers: int | float) -> None:
        """Append a record and sync it.

        Args:
            who: the part that acted, such as "local" or "token"; not a person's name.
            action: such as "search" or "forget".
            entries: ids of the entries concerned.

        Raises:
            InputError: naming the file, when it cannot be written.
        """
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        values = {"time": now, "who": who, "action": action, "entries": [int(id) for id in entries], **numbers}
        line = json.dumps(values, allow_nan=False).encode() + b"\n"
        try:
            file = open_private(self.path, os.O_RDWR | os.O_APPEND)
            try:
                size = os.fstat(file).st_size
                if size and os.pread(file, 1, size - 1) != b"\n":  # torn by a kill: it stays, on a line of its own
                    line = b"\n" + line
                written = os.write(file, line)
                os.fsync(file)
            finally:
                os.close(file)
        except OSError as error:
            raise InputError(f"{self.path}: cannot be written: {error.strerror}") from None
        if written < len(line):
            raise InputError(f"{self.path}: cannot be written: no space left for a whole record")

    def read(self) -> Iterator[dict[str, Any]]:
        """The whole records, oldest first; :meth:`torn` tells of others."""
        return (record for _, record in self._lines() if record is not None)

    def torn(self) -> list[int]:
        """Numbers, from 1, of lines that are no records: a writer was killed there, or someone wrote by hand."""
        return [number for number, record in self._lines() if record is None]

    def _lines(self) -> Iterator[tuple[int, dict[str, Any] | None]]:
        try:
            file = self.path.open("rb")
        except FileNotFoundError:
            return
        with file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield number, _record(line)


def _record(line: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) and line.endswith(b"\n") else None
