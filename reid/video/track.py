"""Boxes of one person in frame after frame become a track fragment, by their overlap alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Box:
    """A person in a frame: pixels from its top left corner, confidence in 0..1."""

    left: float
    top: float
    right: float
    bottom: float
    confidence: float

    @property
    def height(self) -> float:
        return self.bottom - self.top

    def pixels(self, width: int, height: int) -> tuple[int, int, int, int]:
        """Left, top, right, bottom of all pixels that it touches in an image of that size."""
        right, bottom = min(width, math.ceil(self.right)), min(height, math.ceil(self.bottom))
        return max(0, math.floor(self.left)), max(0, math.floor(self.top)), right, bottom

    @property
    def area(self) -> float:
        return (self.right - self.left) * (self.bottom - self.top)


def overlap(a: Box, b: Box) -> float:
    """Intersection over union, in 0..1; 0 of two boxes without area."""
    width = min(a.right, b.right) - max(a.left, b.left)
    height = min(a.bottom, b.bottom) - max(a.top, b.top)
    shared = max(width, 0.0) * max(height, 0.0)
    union = a.area + b.area - shared
    return shared / union if union > 0 else 0.0


class Linker:
    """Links each frame's boxes with the fragments that are open; holds one box of each, however long the video.

    Greedy: of all pairs of an open fragment's last box and a new box the one that overlaps most is linked, then the
    most of those left (of equal ones the older fragment, then the earlier box). A box left over opens a fragment.

    Args:
        min_overlap: intersection over union from which a pair can be linked.
        max_gap: frames in a row in which a fragment may find no box and stay open.
    """

    def __init__(self, min_overlap: float, max_gap: int) -> None:
        self._min_overlap, self._max_gap = min_overlap, max_gap
        self._last: dict[int, Box] = {}  # by number of the fragment, rising
        self._missed: dict[int, int] = {}
        self._next = 0

    def step(self, boxes: Sequence[Box]) -> tuple[list[int], list[int]]:
        """The number of each box's fragment, from 0 in the order of opening, and the numbers of those now ended."""
        linked = self._link(boxes)
        numbers = []
        for place, box in enumerate(boxes):
            if place not in linked:
                linked[place] = self._next
                self._next += 1
            numbers.append(linked[place])
            self._last[linked[place]] = box
        self._missed = {number: 0 if number in numbers else self._missed[number] + 1 for number in self._last}
        return numbers, self._close([number for number, missed in self._missed.items() if missed > self._max_gap])

    def end(self) -> list[int]:
        """End all that are open; their numbers."""
        return self._close(list(self._last))

    def _link(self, boxes: Sequence[Box]) -> dict[int, int]:
        """Place of a box to number of the fragment that it goes on."""
        pairs = [
            (-overlap(last, box), number, place)
            for number, last in self._last.items()
            for place, box in enumerate(boxes)
        ]
        linked: dict[int, int] = {}
        for negative, number, place in sorted(pairs):
            free = place not in linked and number not in linked.values()
            if free and -negative >= max(self._min_overlap, np.finfo(float).tiny):
                linked[place] = number
        return linked

    def _close(self, numbers: list[int]) -> list[int]:
        for number in numbers:
            del self._last[number], self._missed[number]
        return numbers
