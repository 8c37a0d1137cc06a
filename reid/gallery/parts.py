"""Where the parts of a gallery are, the catalogue and the vectors, and how they are opened."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from reid.errors import InputError
from reid.files import read_yaml, write_atomically
from reid.gallery.catalogue.database import Database, SQLite
from reid.networks import Origin

if TYPE_CHECKING:
    from reid.gallery.vectors.milvus import Milvus
    from reid.gallery.vectors.segments import Segments

MARK = "gallery.json"
FORMAT = 2  # 1: galleries before the catalogue and the vectors were parted


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


def write_layout(folder: Path, layout: Layout) -> None:
    """Raises InputError, when it cannot be written."""
    write_atomically(folder / MARK, json.dumps({"format": FORMAT, **layout.__dict__}) + "\n")
    (folder / MARK).chmod(0o600)


def read_layout(folder: Path) -> Layout:
    """Raises InputError: there is none, or one of another format."""
    if (folder / "entries.db").exists() and not (folder / MARK).exists():
        raise InputError(
            f"{folder}: is a gallery of an earlier version; search.py convert {folder} --store NEW makes one of this"
        )
    if not (folder / MARK).is_file():
        raise InputError(f"{folder}: is not a gallery: it has no {MARK} (search.py add makes one)")
    values = read_yaml(folder / MARK)
    if values.pop("format", None) != FORMAT or set(values) != set(HERE.__dict__):
        raise InputError(f"{folder / MARK}: is not one of this version of reid")
    return Layout(**values)


def open_database(folder: Path, layout: Layout, writer: int, make: bool) -> Database:
    """``writer``: the mark of this process, where several may write; ``make``: the tables, where there are none. Raises
    InputError for another kind, what is no catalogue, or a server that does not answer."""
    if layout.catalogue == "sqlite":
        return SQLite(folder / "catalogue.db", make)
    if not str(layout.catalogue).startswith("postgresql://"):
        raise InputError(
            f"{folder}: catalogue {layout.catalogue!r} is neither sqlite nor postgresql://USER@HOST:PORT/DATABASE"
        )
    if re.search("//[^/?@]*:[^/?@]*@|password=", layout.catalogue):  # messages tell the location
        raise InputError(f"{folder}: the catalogue's location holds a password: it belongs in PGPASSWORD or ~/.pgpass")
    try:
        from reid.gallery.catalogue.postgresql import PostgreSQL
    except ImportError:
        raise InputError(f"{layout.catalogue}: needs psycopg: pip install 'reid-gap[scale]'") from None
    return PostgreSQL(layout.catalogue, writer, make)


def open_vectors(
    folder: Path, layout: Layout, origin: Origin, turn_: Callable[[], AbstractContextManager[None]], make: bool
) -> Segments | Milvus:
    """``make``: those of a new gallery. Raises InputError for another kind, or a server that does not answer."""
    if layout.vectors == "segments":
        from reid.gallery.vectors.segments import Segments

        return Segments(folder / "vectors", origin.width, turn_)
    if not str(layout.vectors).startswith(("milvus://", "milvus+tls://")):
        choices = "segments nor milvus://HOST:PORT/COLLECTION"
        raise InputError(f"{folder}: vectors {layout.vectors!r} is neither {choices}")
    from reid.gallery.vectors.milvus import Milvus

    return Milvus(layout.vectors, origin.width, make)
