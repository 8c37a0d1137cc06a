"""The compressed index of a local store: derived from its vectors, named for the state that it was made from."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from reid.retrieval.search import nearest

if TYPE_CHECKING:
    from reid.retrieval.compressed import CompressedIndex, Kind

KINDS = ("auto", "flat", "rabitq", "sq8")
LARGE = 200_000  # entries from which "auto" means an index: exact search takes some 0.1 s a query there
FEWEST = 100  # entries worth an index
NAME = re.compile(r"index-(rabitq|sq8)-(\d+)-(\d+)\.faiss")


@dataclass(frozen=True)
class IndexReport:
    """How a store searches.

    Attributes:
        kind: "flat" (exact) or that of the index in use.
        recall: share of the exact 10 nearest that it finds, measured as it was built.
        size: rows that it covers.
        nbytes: what it needs in memory for them.
        behind: rows added since, which are searched exactly.
        wanted: the kind that the setting asks for; another than ``kind`` where the index is still to be built.
    """

    kind: str
    recall: float
    size: int
    nbytes: int
    behind: int
    wanted: str

    @property
    def stale(self) -> bool:
        """Whether building it anew is worth it: it is of another kind than wanted, or far behind."""
        return self.kind != self.wanted or (self.kind != "flat" and self.behind > self.size / 5)

    def __str__(self) -> str:
        if self.kind == "flat":
            return "exact" if self.wanted == "flat" else f"exact, until an index ({self.wanted}) is built"
        text = f"{self.kind}, recall@10 {self.recall:.3f} against exact search, {self.nbytes / 1e6:,.1f} MB in memory"
        return f"{text}; {self.behind:,} entries behind, searched exactly" if self.behind else text


def index_file(folder: Path, kind: str, generation: int, rows: int) -> Path:
    return folder / f"index-{kind}-{generation}-{rows}.faiss"


def index_files(folder: Path) -> Iterator[tuple[Path, str, int, int]]:
    """Each index in a folder, its kind, the generation of its vectors and the rows that it covers."""
    for path in sorted(folder.glob("index-*.faiss")):
        match = NAME.fullmatch(path.name)
        if match:
            yield path, match[1], int(match[2]), int(match[3])


def newest(folder: Path, kind: str, generation: int, rows: int) -> Path | None:
    """The index of that kind that covers most of the first ``rows`` of a vector file."""
    candidates = [(size, path) for path, *of, size in index_files(folder) if of == [kind, generation] and size <= rows]
    return max(candidates)[1] if candidates else None


def load(path: Path) -> CompressedIndex:
    from reid.retrieval.compressed import CompressedIndex

    return CompressedIndex.load(path)


def build(vectors: np.ndarray, kind: Kind, progress: bool) -> CompressedIndex:
    from reid.retrieval.compressed import CompressedIndex

    return CompressedIndex.build(vectors, kind, progress=progress)


def wanted_kind(setting: str | None, entries: int) -> Kind | Literal["flat"]:
    """What the setting "index" means for so many entries."""
    auto: Kind | Literal["flat"] = "rabitq" if entries >= LARGE else "flat"
    kinds: dict[str, Kind | Literal["flat"]] = {"auto": auto, "flat": "flat", "rabitq": "rabitq", "sq8": "sq8"}
    return kinds[setting or "auto"] if entries >= FEWEST else "flat"


def search(
    index: CompressedIndex | None, queries: np.ndarray, vectors: np.ndarray, k: int, allowed: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """As :func:`nearest`, by the index for the rows that it covers and exactly for those behind."""
    if index is None:
        return nearest(queries, vectors, k, allowed)
    first, rest = (None, None) if allowed is None else (allowed[: index.size], allowed[index.size :])
    rows, distances = index.search(queries, k, vectors[: index.size], first)
    if index.size == len(vectors):
        return rows, distances
    more, farther = nearest(queries, vectors[index.size :], k, rest)
    rows = np.concatenate([rows, np.where(more >= 0, more + index.size, -1)], axis=1)
    distances = np.concatenate([distances, farther], axis=1)
    best = np.argsort(distances, axis=1, kind="stable")[:, :k]  # NaN last; of equals, the smaller row stands first
    return np.take_along_axis(rows, best, axis=1), np.take_along_axis(distances, best, axis=1)


def report(index: CompressedIndex | None, vectors: np.ndarray, wanted: str) -> IndexReport:
    if index is None:
        return IndexReport("flat", 1.0, len(vectors), vectors.nbytes, 0, wanted)
    return IndexReport(index.kind, index.recall, index.size, index.nbytes, len(vectors) - index.size, wanted)
