"""What the vectors know of an entry: numbers that filters need, a row each; names stay in the catalogue."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from reid.gallery.entries import Hits

# camera, identity: numbers of names, identity -1 where not known; time, last: NaN where not known; day: of adding.
ROW = np.dtype(
    [("id", "<i8"), ("camera", "<i4"), ("identity", "<i4"), ("time", "<f8"), ("last", "<f8"), ("day", "<i4")]
)


@dataclass(frozen=True)
class Narrow:
    """A :class:`reid.gallery.entries.Filter` in numbers; None lets all pass, an empty tuple none."""

    cameras: tuple[int, ...] | None = None
    identities: tuple[int, ...] | None = None
    without: tuple[int, ...] = ()
    start: float | None = None
    end: float | None = None

    def passing(self, rows: np.ndarray) -> np.ndarray:
        """(N,) bool: which of (N,) ROW count."""
        passing = rows["id"] > 0
        for column, numbers in (("camera", self.cameras), ("identity", self.identities)):
            if numbers is not None:
                passing &= np.isin(rows[column], numbers)
        if self.without:
            passing &= ~np.isin(rows["camera"], self.without)
        if self.start is not None:
            passing &= rows["last"] >= self.start
        if self.end is not None:
            passing &= rows["time"] <= self.end
        return passing


ALL = Narrow()


def merged(parts: Iterable[Hits], count: int, k: int) -> Hits:
    """The k nearest for each of ``count`` queries, of all parts."""
    ids, distances, exhaustive = np.full((count, k), -1, np.int64), np.full((count, k), np.nan), True
    for part in parts:
        ids, distances = np.hstack([ids, part.ids]), np.hstack([distances, part.distances])
        order = np.lexsort((ids, distances), axis=1)[:, :k]  # NaN last
        ids, distances = np.take_along_axis(ids, order, axis=1), np.take_along_axis(distances, order, axis=1)
        exhaustive &= part.exhaustive
    return Hits(ids, distances, exhaustive)


@dataclass(frozen=True)
class IndexReport:
    """How a search is done.

    Attributes:
        kind: "flat" (exact) or that of the indexes in use.
        recall: share of the exact 10 nearest that they find, measured; 1 where the search is exact.
        size: rows that indexes cover.
        nbytes: what these need in memory.
        behind: rows that none covers, which are searched exactly.
        wanted: the kind that the setting asks for.
        stale: whether there is something to build.
    """

    kind: str
    recall: float
    size: int
    nbytes: int
    behind: int
    wanted: str
    stale: bool

    def __str__(self) -> str:
        if self.kind == "flat":
            return f"exact, until an index ({self.wanted}) is built" if self.stale else "exact"
        text = f"{self.kind}, recall@10 {self.recall:.3f} against exact search, {self.nbytes / 1e6:,.1f} MB in memory"
        return f"{text}; {self.behind:,} entries are searched exactly" if self.behind else text
