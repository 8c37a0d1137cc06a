"""What a gallery holds, what narrows an answer, and what an answer is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from reid.errors import InputError

Change = Literal["identity", "camera", "time", "until"]
CHANGES = ("identity", "camera", "time", "until")


class NotThere(InputError):
    """An entry that is not in the gallery."""


class ServerProblem(InputError):
    """What PostgreSQL or Milvus says, or who cannot reach it: the words may tell where it is."""


class Unfit(InputError):
    """What was asked for cannot be had: a crop without a feature, a share of strangers without a calibration."""


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
        id: given by the gallery, positive, rising and never used again; 0 before.
        added: when it was put in, seconds since 1970, UTC; set by the gallery where it is 0.
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


@dataclass(frozen=True)
class Filter:
    """Which entries count; an empty field lets all pass.

    Attributes:
        cameras, identities: names, any of which.
        without: cameras, none of which.
        start, end: seconds since 1970; entries whose time, from ``time`` to ``until``, meets [start, end]. Entries of
            unknown time do not pass where either is given.
    """

    cameras: tuple[str, ...] = ()
    identities: tuple[str, ...] = ()
    start: float | None = None
    end: float | None = None
    without: tuple[str, ...] = ()


EVERYTHING = Filter()


@dataclass(frozen=True)
class Hits:
    """The nearest entries of each query, nearest first; at equal distance the smaller id first.

    Attributes:
        ids: (Q, k) int64; -1 where fewer pass the filter.
        distances: (Q, k) float64, 1 - cosine, in 0..2; NaN where fewer pass.
        exhaustive: every entry that passes was compared; else a nearer one may have been missed.
    """

    ids: np.ndarray
    distances: np.ndarray
    exhaustive: bool = True


@dataclass(frozen=True)
class Summary:
    """Counts of a gallery: entries, people with a name, entries without one, entries a camera, first and last time."""

    entries: int
    identities: int
    unknown: int
    cameras: dict[str, int] = field(default_factory=dict)
    first: float | None = None
    last: float | None = None
