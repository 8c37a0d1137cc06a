"""Where the parts of a gallery are, as its folder tells it."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from reid.errors import InputError
from reid.files import read_yaml, write_atomically
from reid.gallery.catalogue.database import Database
from reid.gallery.vectors.rows import Vectors

MARK = "gallery.json"
FORMAT = 2  # 1: galleries before the catalogue and the vectors were parted
EXTRA = "pip install 'reid-gap[scale]'"


@dataclass(frozen=True)
class Layout:
    """Where the parts of a gallery are.

    Attributes:
        catalogue: "sqlite", in the folder, or ``postgresql://USER@HOST:PORT/DATABASE``.
        vectors: "segments", in the folder, or ``milvus://HOST:PORT/COLLECTION``; ``milvus+tls://`` encrypts.
    """

    catalogue: str = "sqlite"
    vectors: str = "segments"

    def write(self, folder: Path) -> None:
        """
        Raises:
            InputError: it cannot be written.
        """
        write_atomically(folder / MARK, json.dumps({"format": FORMAT, **self.__dict__}) + "\n")
        (folder / MARK).chmod(0o600)

    @classmethod
    def read(cls, folder: Path) -> Layout:
        """
        Raises:
            InputError: there is none, or one of another format.
        """
        if (folder / "entries.db").exists() and not (folder / MARK).exists():
            raise InputError(
                f"{folder}: is a gallery of an earlier version: search.py convert {folder} makes it one of this"
            )
        if not (folder / MARK).is_file():
            raise InputError(f"{folder}: is not a gallery: it has no {MARK} (search.py add makes one)")
        values = read_yaml(folder / MARK)
        if values.pop("format", None) != FORMAT or set(values) != set(cls().__dict__):
            raise InputError(f"{folder / MARK}: is not one of this version of reid")
        return cls(**values)

    def database(self, folder: Path, writer: int, make: bool) -> Database:
        """
        Args:
            writer: the mark of this process, where several may write.
            make: the tables, where there are none.

        Raises:
            InputError: another kind, or what is there is no catalogue, or a server does not answer.
        """
        if self.catalogue == "sqlite":
            from reid.gallery.catalogue.sqlite import SQLite

            path = folder / "catalogue.db"
            return SQLite.make(path) if make and not path.exists() else SQLite(path)
        if not str(self.catalogue).startswith("postgresql://"):
            raise InputError(
                f"{folder}: catalogue {self.catalogue!r} is neither sqlite nor postgresql://USER@HOST:PORT/DATABASE"
            )
        try:
            from reid.gallery.catalogue.postgresql import PostgreSQL
        except ImportError:
            raise InputError(f"{self.catalogue}: needs psycopg: {EXTRA}") from None
        return PostgreSQL(self.catalogue, writer, make)

    def engine(self, folder: Path, width: int, turn: Callable[[], AbstractContextManager[None]]) -> Vectors:
        """Of features of ``width``; ``turn``: to be the only writer.

        Raises:
            InputError: another kind, or a server does not answer.
        """
        if self.vectors == "segments":
            from reid.gallery.vectors.segments import Segments

            return Segments(folder / "vectors", width, turn)
        if not str(self.vectors).startswith(("milvus://", "milvus+tls://")):
            raise InputError(
                f"{folder}: vectors {self.vectors!r} is neither segments nor milvus://HOST:PORT/COLLECTION"
            )
        from reid.gallery.vectors.milvus import Milvus

        return Milvus(self.vectors, width)


IN_THE_FOLDER = Layout()
