"""Where the parts of a gallery are, the catalogue and the vectors, and how they are opened."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from reid.gallery.catalogue.database import Database
from reid.gallery.vectors.rows import Vectors
from reid.networks import Origin


@dataclass(frozen=True)
class Layout:
    """Where the parts of a gallery are.

    Attributes:
        catalogue: "sqlite", in the folder, or ``postgresql://USER@HOST:PORT/DATABASE``.
        vectors: "segments", in the folder, or ``milvus://HOST:PORT/COLLECTION``; ``milvus+tls://`` encrypts.
    """

    catalogue: str = "sqlite"
    vectors: str = "segments"


HERE = Layout()


def open_database(folder: Path, layout: Layout, writer: int, make: bool) -> Database:
    if layout.catalogue == "sqlite":
        from reid.gallery.catalogue.sqlite import SQLite

        path = folder / "catalogue.db"
        return SQLite.make(path) if make and not path.exists() else SQLite(path)
    from reid.gallery.catalogue.postgresql import PostgreSQL

    return PostgreSQL(layout.catalogue, writer, make)


def open_vectors(
    folder: Path, layout: Layout, origin: Origin, turn_: Callable[[], AbstractContextManager[None]]
) -> Vectors:
    if layout.vectors == "segments":
        from reid.gallery.vectors.segments import Segments

        return Segments(folder / "vectors", origin.width, turn_)
    from reid.gallery.vectors.milvus import Milvus

    return Milvus(layout.vectors, origin.width)
