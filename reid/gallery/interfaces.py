"""What the page and the API need of a calibration and of an audit log."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class Threshold(Protocol):
    @property
    def rate(self) -> float: ...

    @property
    def threshold(self) -> float: ...


class Held(Protocol):
    @property
    def rates(self) -> Sequence[Threshold]: ...


class Verdict(Protocol):
    @property
    def same(self) -> bool: ...

    @property
    def probability(self) -> float: ...

    @property
    def threshold(self) -> float: ...

    @property
    def false_match_rate(self) -> float: ...

    @property
    def true_match_rate(self) -> float: ...


class Calibration(Protocol):
    """What a distance means, as measured on labelled people."""

    @property
    def source(self) -> str: ...

    @property
    def held(self) -> Held: ...

    def verdict(self, distance: float, rate: float) -> Verdict: ...


class Audit(Protocol):
    def record(self, who: str, action: str, entries: Sequence[int] = (), **numbers: int | float) -> None: ...
