"""What the vectors know of an entry: numbers that filters need, a row each; names stay in the catalogue."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

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
        if self.cameras is not None:
            passing &= np.isin(rows["camera"], self.cameras)
        if self.without:
            passing &= ~np.isin(rows["camera"], self.without)
        if self.identities is not None:
            passing &= np.isin(rows["identity"], self.identities)
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


class Vectors(Protocol):
    """Where the features lie. Methods may be called from several threads; who writes has the turn.

    Attributes:
        shared: several processes may write at once; else they take turns.
    """

    shared: bool

    def add(self, rows: np.ndarray, vectors: np.ndarray) -> None:
        """(N,) ROW of new ids, rising, and (N, D) float32 of length 1."""

    def change(self, rows: np.ndarray) -> None:
        """New values of (N,) ROW; ids that are not there are passed over."""

    def remove(self, ids: np.ndarray) -> None:
        """Erase (N,) ids; those that are not there are passed over, so that what was begun can be done once more."""

    def fetch(self, ids: np.ndarray) -> np.ndarray:
        """(N, D) float32, in the order asked for. Raises NotThere with an id that is not there."""

    def search(self, queries: np.ndarray, k: int, narrow: Narrow = ALL, exact: bool = False) -> Hits:
        """The k nearest of (Q, D) float32 of length 1; with ``exact`` every row that passes is compared."""

    def ids(self) -> np.ndarray:
        """All ids, rising, (N,) int64."""

    def report(self, kind: str | None) -> IndexReport:
        """How a search is done, where the setting "index" is ``kind``."""

    def tend(self, kind: str | None, progress: bool = False) -> Iterable[None]:
        """Build what :meth:`report` calls stale, a part at a time; takes the turn where it must, by itself."""

    def problems(self) -> list[str]:
        """What is wrong with the files, a sentence each."""

    def close(self) -> None: ...
