"""Whether a local store is whole: its files against each other and against what they must hold."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import numpy as np

from reid.errors import InputError
from reid.gallery.audit import AuditLog
from reid.gallery.local import schema, vectors
from reid.gallery.local.erasing import leftovers
from reid.progress import track

ROUNDING = 1e-5  # of the length of a float32 row of length 1
WRONG = {  # what is wrong with the entries that a query finds
    "entries share a slot of the vector file": "SELECT count(*) - count(DISTINCT slot) FROM entries",
    "entries lie outside the vector file": "SELECT count(*) FROM entries, state WHERE slot NOT BETWEEN 0 AND slots - 1",
    "entries have a smaller slot than an older one": (
        "SELECT count(*) FROM (SELECT slot, lag(slot) OVER (ORDER BY id) AS before FROM entries) WHERE slot < before"
    ),
    "entries have no row for their thumbnail": (
        "SELECT count(*) FROM entries WHERE id NOT IN (SELECT id FROM thumbnails)"
    ),
    "thumbnails belong to no entry": "SELECT count(*) FROM thumbnails WHERE id NOT IN (SELECT id FROM entries)",
    "thumbnails are no JPEG": (
        "SELECT count(*) FROM thumbnails WHERE length(jpeg) > 0 AND substr(jpeg, 1, 3) != x'FFD8FF'"
    ),
}


def problems(db: sqlite3.Connection, folder: Path, width: int, progress: bool = False) -> list[str]:
    """One sentence a problem; none for a whole store. While a writer is at work, its unfinished files count as such."""
    with schema.transaction(db, "DEFERRED"):
        state = schema.read_state(db)
        sentences = [f"entries.db: {text}" for (text,) in db.execute("PRAGMA integrity_check") if text != "ok"]
        counts = {text: db.execute(query).fetchone()[0] for text, query in WRONG.items()}
        taken = np.fromiter((slot for (slot,) in db.execute("SELECT slot FROM entries ORDER BY slot")), np.int64)
    sentences += [f"entries.db: {count} {text}" for text, count in counts.items() if count]
    sentences += _vector_problems(vectors.vector_file(folder, state.generation), state, width, taken, progress)
    if state.erasing:
        sentences.append("erasing is not finished; it goes on when the gallery is next opened for writing")
    sentences += [f"{path.name}: left over or stale; the next writer removes it" for path in leftovers(folder, state)]
    sentences += [f"audit.jsonl: line {line} is torn or no record" for line in AuditLog(folder).torn()]
    return sentences


def _vector_problems(path: Path, state: schema.State, width: int, taken: np.ndarray, progress: bool) -> list[str]:
    try:
        rows = vectors.mapped(path, state.slots, width)
    except (InputError, FileNotFoundError) as error:
        return [str(error)]
    sentences = []
    extra = path.stat().st_size - state.slots * width * vectors.FLOAT.itemsize
    if extra:
        sentences.append(f"{path.name}: {extra} bytes behind the committed ones; the next writer cuts them off")
    wrong = 0
    taken = taken[(taken >= 0) & (taken < state.slots)]
    for low in track(range(0, len(taken), vectors.BLOCK), name="vectors", unit="block", shown=progress):
        block = rows[taken[low : low + vectors.BLOCK]].astype(np.float64)
        wrong += int((~(np.abs(np.sqrt((block**2).sum(axis=1)) - 1) <= ROUNDING)).sum())
    if wrong:
        sentences.append(f"{path.name}: {wrong} features have not length 1: damaged")
    return sentences
