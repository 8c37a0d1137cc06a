"""What a search needs to know of the entries, as arrays."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, field

import numpy as np

from reid.gallery.entries import EVERYTHING, Filter, Summary
from reid.gallery.local.schema import LAST

PLACE = np.dtype([("id", "i8"), ("slot", "i8")])
ROW = np.dtype([*PLACE.descr, ("camera", "i4"), ("identity", "i4"), ("time", "f8"), ("last", "f8")])
PLACES = "SELECT id, slot FROM entries WHERE id > ? ORDER BY id"
# The infinity stands for NULL, which an array cannot take up.
ROWS = f"""SELECT id, slot, camera, identity, ifnull(time, 9e999), ifnull({LAST}, 9e999) FROM entries
WHERE id > ? ORDER BY id"""


@dataclass(frozen=True)
class Columns:
    """Entries by rising id, which is also by rising slot.

    Attributes:
        rows: (N,) of PLACE, which is read four times as fast and will do for a search without filter, or of ROW:
            cameras and identities as numbers, times NaN where not known.
        cameras, identities: the number of each name; -1 stands for None.
    """

    rows: np.ndarray = field(default_factory=lambda: np.empty(0, PLACE))
    cameras: dict[str, int] = field(default_factory=dict)
    identities: dict[str | None, int] = field(default_factory=lambda: {None: -1})

    @property
    def whole(self) -> bool:
        return self.rows.dtype == ROW

    def extended(self, db: sqlite3.Connection) -> Columns:
        """These and the entries added since."""
        last = int(self.rows["id"][-1]) if len(self.rows) else 0
        if not self.whole:
            return Columns(np.concatenate([self.rows, np.fromiter(db.execute(PLACES, [last]), PLACE)]))
        cameras, identities = dict(self.cameras), dict(self.identities)
        added = (
            (id, slot, cameras.setdefault(camera, len(cameras)), identities.setdefault(name, len(identities)), *times)
            for id, slot, camera, name, *times in db.execute(ROWS, [last])
        )
        rows = np.fromiter(added, ROW)
        for name in ("time", "last"):
            rows[name][np.isinf(rows[name])] = np.nan
        return Columns(np.concatenate([self.rows, rows]), cameras, identities)

    def allowed(self, wanted: Filter, slots: int) -> np.ndarray | None:
        """(slots,) bool, the slots of entries that pass; None where all slots do."""
        passing = np.ones(len(self.rows), bool) if wanted == EVERYTHING else self._passing(wanted)
        if len(passing) == slots and passing.all():
            return None
        mask = np.zeros(slots, bool)
        mask[self.rows["slot"][passing]] = True
        return mask

    def _passing(self, wanted: Filter) -> np.ndarray:
        """(N,) bool: :meth:`Filter.passes` of each."""
        passing = np.ones(len(self.rows), bool)
        if wanted.cameras:
            passing &= np.isin(self.rows["camera"], [self.cameras.get(name, -2) for name in wanted.cameras])
        if wanted.identities:
            passing &= np.isin(self.rows["identity"], [self.identities.get(name, -2) for name in wanted.identities])
        if wanted.start is not None:
            passing &= self.rows["last"] >= wanted.start
        if wanted.end is not None:
            passing &= self.rows["time"] <= wanted.end
        return passing

    def ids(self, slots: np.ndarray) -> np.ndarray:
        """Ids of the entries in ``slots`` of any shape; -1 for -1."""
        ids = np.full(slots.shape, -1, np.int64)
        taken = slots >= 0
        ids[taken] = self.rows["id"][np.searchsorted(self.rows["slot"], slots[taken])]
        return ids

    def slots(self, ids: np.ndarray) -> np.ndarray:
        """Slots of the entries ``ids`` (N,); -1 for an id that is not there."""
        if len(self.rows) == 0:
            return np.full(len(ids), -1)
        near = np.minimum(np.searchsorted(self.rows["id"], ids), len(self.rows) - 1)
        return np.where(self.rows["id"][near] == ids, self.rows["slot"][near], -1)

    def summary(self) -> Summary:
        known = self.rows["identity"] >= 0
        counts = np.bincount(self.rows["camera"], minlength=len(self.cameras))
        cameras = {name: int(counts[number]) for name, number in sorted(self.cameras.items())}
        times, lasts = (values[~np.isnan(values)] for values in (self.rows["time"], self.rows["last"]))
        return Summary(
            entries=len(self.rows),
            identities=len(np.unique(self.rows["identity"][known])),
            unknown=int((~known).sum()),
            cameras=cameras,
            first=float(times.min()) if len(times) else None,
            last=float(lasts.max()) if len(lasts) else None,
        )
