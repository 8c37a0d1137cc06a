"""What a gallery holds and answers, and the interface that every store of it has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Literal, Protocol, Self

import numpy as np

from reid.networks.base import Origin

Change = Literal["identity", "camera", "time", "until"]
CHANGES = ("identity", "camera", "time", "until")


@dataclass(frozen=True)
class Entry:
    """One image of a person, or one fragment of a track in a video.

    Attributes:
        source: absolute path of the image or the video.
        camera: its name, such as "plaza/3" or "entrance".
        identity: the person's name, or None where not known.
        time: when the image was taken, or the fragment began: seconds since 1970, UTC; None where not known.
        until: when the fragment ended; None for an image.
        frame: number of the shown frame in the video, from 0; None for an image.
        box: the person in the image or frame, (left, top, right, bottom) in pixels; None: all of it.
        id: given by the store, positive, rising and never used again; 0 before.
        added: when it was put in, seconds since 1970, UTC; set by the store.
    """

    source: str
    camera: str
    identity: str | None = None
    time: float | None = None
    until: float | None = None
    frame: int | None = None
    box: tuple[int, int, int, int] | None = None
    id: int = 0
    added: float = 0.0

    def as_dict(self) -> dict[str, object]:
        return asdict(self)


@dataclass(frozen=True)
class Filter:
    """Which entries count; an empty field lets all pass.

    Attributes:
        cameras, identities: names, any of which.
        start, end: seconds since 1970; entries whose time, from ``time`` to ``until``, meets [start, end]. Entries of
            unknown time do not pass where either is given.
    """

    cameras: tuple[str, ...] = ()
    identities: tuple[str, ...] = ()
    start: float | None = None
    end: float | None = None

    def passes(self, entry: Entry) -> bool:
        """Whether the entry counts: what each store's own query must agree with."""
        if self.cameras and entry.camera not in self.cameras:
            return False
        if self.identities and entry.identity not in self.identities:
            return False
        if self.start is None and self.end is None:
            return True
        if entry.time is None:
            return False
        last = entry.time if entry.until is None else entry.until
        return (self.start is None or last >= self.start) and (self.end is None or entry.time <= self.end)


EVERYTHING = Filter()


@dataclass(frozen=True)
class Hits:
    """The nearest entries of each query, nearest first; at equal distance the smaller id first.

    Attributes:
        ids: (Q, k) int64; -1 where fewer pass the filter.
        distances: (Q, k) float64, 1 - cosine, in 0..2; NaN where fewer pass.
    """

    ids: np.ndarray
    distances: np.ndarray


@dataclass(frozen=True)
class Summary:
    """Counts of a store: entries, people with a name, entries without one, entries a camera, first and last time."""

    entries: int
    identities: int
    unknown: int
    cameras: dict[str, int] = field(default_factory=dict)
    first: float | None = None
    last: float | None = None


class Store(Protocol):
    """A gallery that lasts. Methods may be called from several threads; writing needs a store opened for it.

    Attributes:
        location: as a person names it.
        origin: what made its features.
        folder: a local folder for what belongs to the gallery and is no entry: the audit log.
    """

    location: str
    origin: Origin
    folder: Path

    def __len__(self) -> int: ...

    def add(self, entries: Sequence[Entry], features: np.ndarray, thumbnails: Sequence[bytes]) -> list[int]:
        """All or none; returns the ids, rising. ``features`` (N, D) float of any length but 0; thumbnails are JPEGs."""
        ...

    def update(self, ids: Sequence[int], changes: Mapping[Change, object]) -> None:
        """Set identity, camera, time or until of some entries. Raises InputError for an id that is not there."""
        ...

    def remove(self, ids: Sequence[int]) -> None:
        """Erase entries, features and thumbnails: gone from every file. Raises InputError for an id not there."""
        ...

    def get(self, ids: Sequence[int]) -> list[Entry]:
        """In the order asked for. Raises InputError naming an id that is not there."""
        ...

    def find(self, wanted: Filter = EVERYTHING, limit: int | None = None, after: int = 0) -> list[Entry]:
        """Entries that pass with an id above ``after``, by rising id, the first ``limit``."""
        ...

    def thumbnail(self, id: int) -> bytes:
        """The JPEG. Raises InputError for an id that is not there."""
        ...

    def features(self, ids: Sequence[int]) -> np.ndarray:
        """(N, D) float32 of length 1, in the order asked for."""
        ...

    def search(self, queries: np.ndarray, k: int, wanted: Filter = EVERYTHING) -> Hits:
        """The k nearest of each of (Q, D) ``queries``, of any length but 0, among the entries that pass."""
        ...

    def summary(self) -> Summary: ...

    def setting(self, name: str) -> str | None:
        """A text kept with the gallery (a calibration, the retention time), or None."""
        ...

    def set(self, name: str, value: str | None) -> None: ...

    def close(self) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
