"""Erasing for good: what was removed from a local store lies in none of its files any more."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from reid.errors import InputError
from reid.files import leftover_partials, remove_leftover_partials
from reid.gallery.local import schema, vectors
from reid.gallery.local.indexing import index_files

# Once without erased entries: the slots that are left, in order, and their new numbers.
RENUMBER = """
UPDATE entries SET slot = ranked.number
FROM (SELECT id, row_number() OVER (ORDER BY slot) - 1 AS number FROM entries) AS ranked
WHERE ranked.id = entries.id AND slot != ranked.number
"""


def leftovers(folder: Path, state: schema.State) -> Iterator[Path]:
    """Vector files and indexes in a store that are not those of its committed state, and unfinished files."""
    current = vectors.vector_file(folder, state.generation)
    yield from sorted(path for path in folder.glob("vectors-*.f32") if path != current)
    yield from (path for path, _, generation, _ in index_files(folder) if generation != state.generation)
    yield from leftover_partials(folder)


def drop_leftovers(folder: Path, state: schema.State) -> None:
    removed = remove_leftover_partials(folder)
    stale = list(leftovers(folder, state))
    for path in stale:
        path.unlink()
    if removed or stale:
        vectors.sync_folder(folder)


def finish(db: sqlite3.Connection, folder: Path, width: int) -> None:
    """Leave nothing of what was erased or changed in any file, then take the mark ``erasing`` off.

    SQLite's ``secure_delete`` is not enough: it overwrites freed cells, but where a page was rebuilt to make room,
    copies of its cells stay in the gaps. A vacuumed file has only pages written anew.

    Raises:
        InputError: it cannot be done now; the mark stays.
    """
    try:
        _rewrite_vectors(db, folder, width)
        drop_leftovers(folder, schema.read_state(db))
        db.execute("VACUUM")
        if db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
            raise InputError(f"another program has been reading for more than {schema.PATIENCE:g} seconds")
        db.execute("UPDATE state SET erasing = 0")
    except (InputError, OSError, sqlite3.OperationalError) as error:
        raise InputError(
            f"{folder}: erasing is not finished, old contents may still lie in its files: {error}. "
            "It goes on when the gallery is next opened for writing"
        ) from None


def _rewrite_vectors(db: sqlite3.Connection, folder: Path, width: int) -> None:
    state = schema.read_state(db)
    slots = np.fromiter((slot for (slot,) in db.execute("SELECT slot FROM entries ORDER BY slot")), np.int64)
    if len(slots) == state.slots:
        return
    old = vectors.mapped(vectors.vector_file(folder, state.generation), state.slots, width)
    vectors.rewrite(old, vectors.vector_file(folder, state.generation + 1), slots)
    with schema.transaction(db):
        db.execute(RENUMBER)
        change = "UPDATE state SET generation = generation + 1, revision = revision + 1, slots = ?"
        db.execute(change, [len(slots)])
