"""The tables of a data set: names, identities and cameras of its images, a split each; several of them as one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from reid.data.schema import Card
from reid.errors import InputError

HELD_OUT = (0, 0, 2)  # after the seed: apart from the images' and the sampler's (see samplers.py)


@dataclass(frozen=True, eq=False)
class Samples:
    """The images of one split, sorted by name; arrays of shape (N,)."""

    root: Path
    names: tuple[str, ...]  # posix, relative to root
    pids: NDArray[np.int64]
    camids: NDArray[np.int64]
    caption: str = ""  # what a reader knows them by, such as data set and split
    read_with: tuple[tuple[int, int], ...] | None = None  # `stats`, where the files were looked at for the table

    @property
    def title(self) -> str:
        """For progress bars: what they are known by, else the folder's name."""
        return self.caption or self.root.name

    def __len__(self) -> int:
        return len(self.names)

    def part(self, rows: slice) -> Samples:
        """The images of these rows."""
        return replace(self, names=self.names[rows], pids=self.pids[rows], camids=self.camids[rows])

    @cached_property
    def paths(self) -> tuple[Path, ...]:
        return tuple(self.root / name for name in self.names)

    @cached_property
    def stats(self) -> tuple[tuple[int, int], ...]:
        """Size in bytes and time of change in ns of each file, when the table was read or first asked for."""
        if self.read_with is not None:
            return self.read_with
        return tuple((stat.st_size, stat.st_mtime_ns) for stat in (path.stat() for path in self.paths))

    @property
    def identities(self) -> NDArray[np.int64]:
        """The identities, sorted; distractors (0) are none."""
        return np.unique(self.pids[self.pids > 0])

    @property
    def cameras(self) -> NDArray[np.int64]:
        """The cameras, sorted."""
        return np.unique(self.camids)


@dataclass(frozen=True, eq=False)
class DataSet:
    """What was read: the splits asked for, what was left out of them, and what differs from the card."""

    name: str
    version: str | None
    root: Path
    card: Card
    splits: dict[str, Samples]
    fingerprint: str  # SHA-256 over (split, name, size, pid, camid) of the splits that were read
    left_out: dict[str, int]
    differences: tuple[str, ...]  # from the card's counts, with both numbers
    notes: tuple[str, ...]  # the differences, and whatever else a reader of the numbers should know
    unmatched: dict[str, tuple[str, ...]]  # image files whose names the pattern does not match, by split
    passed_over: tuple[str, ...]  # in words: pictures in the splits' folders that are not read
    zeros: tuple[str, ...]  # in words: what is left out since its identity is 0
    rendered: str | None  # a drawn or rendered site's own fingerprint, over the bytes of all its images

    @property
    def label(self) -> str:
        """What results are filed under: the name, and the release or the random split where there are several."""
        return label_of(self.card, self.version)

    @property
    def title(self) -> str:
        """The name for a reader: with the release and the random split."""
        split = "" if self.card.trial is None else f"random split {self.card.trial}"
        return " ".join(part for part in (self.name, self.version, split) if part)


def label_of(card: Card, version: str | None) -> str:
    """The card's name, with the random split or the release where there are several."""
    if card.trials is not None:
        return f"{card.name}@{card.trial}"
    return f"{card.name}@{version}" if card.versions else card.name


def matchless(query: Samples, gallery: Samples, cross_camera_only: bool = True) -> NDArray[np.bool_]:
    """Which queries (N,) have no possible match: no gallery image of the same identity from another camera or, not
    ``cross_camera_only``, none but the query itself."""
    same_pid = Counter(gallery.pids.tolist())
    asked, there = (
        list(zip(side.pids.tolist(), side.camids.tolist() if cross_camera_only else side.names, strict=True))
        for side in (query, gallery)
    )
    same_mark = Counter(there)
    left_out = [same_mark[pair] for pair in asked]
    return np.asarray([same_pid[pid] for pid in query.pids.tolist()]) <= np.asarray(left_out)


def join(parts: Sequence[Samples]) -> Samples:
    """All images of several data sets, to train on; identities and cameras are numbered anew and never shared.

    Names are the images' whole paths, since the parts lie in folders of their own.
    """
    names: list[str] = []
    pids, camids = [], []
    people, cameras = 1, 1
    for part in parts:
        names += [path.resolve().as_posix().lstrip("/") for path in part.paths]
        known_pids, own_pids = np.unique(part.pids, return_inverse=True)
        known_cameras, own_cameras = np.unique(part.camids, return_inverse=True)
        pids.append(own_pids + people)
        camids.append(own_cameras + cameras)
        people, cameras = people + len(known_pids), cameras + len(known_cameras)
    return Samples(Path("/"), tuple(names), np.concatenate(pids), np.concatenate(camids))


def concatenate(parts: Sequence[Samples]) -> Samples:
    """All images of several splits of one data set, sorted by name, an image that stands in two of them once."""
    numbers: dict[str, tuple[int, int]] = {}
    for part in parts:
        numbers |= dict(zip(part.names, zip(part.pids.tolist(), part.camids.tolist(), strict=True), strict=True))
    names = sorted(numbers)
    pids, camids = np.array([numbers[name] for name in names], dtype=np.int64).T
    return Samples(parts[0].root, tuple(names), pids, camids, " + ".join(dict.fromkeys(part.title for part in parts)))


def hold_out(samples: Samples, share: float, seed: int) -> tuple[Samples, Samples]:
    """Split off ``share`` of the identities, at least two: (trained on, held out).

    Raises:
        InputError: too few identities for both, or none of those held out was seen by two cameras.
    """
    people = samples.identities
    count = max(2, round(share * len(people)))
    if count > len(people) - 2:
        raise InputError(f"{share}: leaves fewer than 2 of {len(people)} identities to train on")
    chosen = np.random.default_rng([seed, *HELD_OUT]).permutation(people)[:count]
    held = np.isin(samples.pids, chosen)
    validation = subset(samples, held)
    if matchless(validation, validation).all():
        raise InputError(f"{share}: none of the {count} held-out identities was seen by two cameras")
    return subset(samples, ~held), validation


def subset(samples: Samples, keep: np.ndarray) -> Samples:
    """The images that ``keep`` (N,) says."""
    names = tuple(name for name, kept in zip(samples.names, keep, strict=True) if kept)
    return Samples(samples.root, names, samples.pids[keep], samples.camids[keep])
