"""The indexes of Milvus that a collection may have, and how it is searched with one.

Only such as hold the vectors themselves: of those that do not (IVF_SQ8, IVF_PQ), a server 2.3.5 that keeps its files
on a disk of its own deletes the files of the vectors when these are asked for.
"""

from __future__ import annotations

from typing import NamedTuple

SHARES = (1, 2, 10)  # where all of these pass, one in two, one in ten


class Kind(NamedTuple):
    """An index of Milvus: how it is built, and the parameter that it is searched with, from quick to sure."""

    build: dict[str, int]
    parameter: str = ""
    values: tuple[int, ...] = (0,)


KINDS = {
    "flat": Kind({}),
    "hnsw": Kind({"M": 24, "efConstruction": 200}, "ef", (32, 48, 64, 96, 128, 192, 256, 512, 1024)),
    "ivf_flat": Kind({"nlist": 1024}, "nprobe", (8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 512, 1024)),
}


class Setting(NamedTuple):
    """How the collection is searched: the parameter's value for each of SHARES, and the least recall@10 that was
    measured so; 0 before it was. ``turn`` rises as the replacing of an index begins, to an odd number, and ends."""

    kind: str = "flat"
    values: tuple[int, ...] = (0, 0, 0)
    recall: float = 1.0
    turn: int = 0

    @property
    def replacing(self) -> bool:
        return self.turn % 2 == 1

    def value(self, share: float) -> int:
        """The one for a filter that lets this share pass: the surest where it is smaller than those measured."""
        fitting = [value for value, one_in in zip(self.values, SHARES, strict=True) if share * one_in >= 1]
        return fitting[0] if fitting else KINDS[self.kind].values[-1]
