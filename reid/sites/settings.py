"""What every site's images depend on, drawn or rendered, checked."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from reid.errors import InputError

if TYPE_CHECKING:
    from reid.sites.schedule import PlannedImage

SPLITS: dict[str, str] = {  # split: its folder in Market-1501's layout
    "train": "bounding_box_train",
    "query": "query",
    "gallery": "bounding_box_test",
}


@dataclass(frozen=True)
class SiteSettings(ABC):
    """What one site's images depend on; equal settings give equal people, poses and scenes.

    Attributes:
        site: its name, one of :meth:`sites`.
        seed: of every generator, 0..2**32 - 1.
        style: strength of the cameras' light and colour.
        degradation: strength of blur, lost resolution, noise and JPEG.
        train_identities: number of training identities; their pids start at 1.
        test_identities: number of test identities; their pids follow.
        cameras: number of cameras.
        train_shots: images of a training identity in a camera that it passes.
        test_shots: images of a test identity in a camera; the first is a query.
        splits: which of train, query and gallery to make.

    Raises:
        InputError: a value is out of its range; the message names it.
    """

    site: str
    seed: int = 0
    style: float = 0.75
    degradation: float = 0.4
    train_identities: int = 150
    test_identities: int = 80
    cameras: int = 5
    train_shots: int = 4
    test_shots: int = 3
    splits: tuple[str, ...] = ("train", "query", "gallery")

    kind: ClassVar[str]  # in messages: a drawn site, a rendered site
    verb: ClassVar[str]  # what the progress bar says: drawing, rendering
    version: ClassVar[int]  # of what makes the images: folders of another one are refused instead of mixed
    ranges: ClassVar[dict[str, tuple[float, float]]]  # key: least and greatest value; whole numbers where they are

    def __post_init__(self) -> None:
        if self.site not in self.sites():
            raise InputError(f"site {self.site!r} is not one of {sorted(self.sites())}")
        for name, (low, high) in self.ranges.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise InputError(f"{self.kind} site {self.site!r}: {name} is {value}, not in {low}..{high}")
            if isinstance(low, int) and not isinstance(value, int):
                raise InputError(f"{self.kind} site {self.site!r}: {name} is {value!r}, not a whole number")
        unknown = [split for split in self.splits if split not in SPLITS]
        if unknown or not self.splits:
            raise InputError(
                f"{self.kind} site {self.site!r}: splits {list(self.splits)} are not some of {list(SPLITS)}"
            )
        object.__setattr__(self, "splits", tuple(split for split in SPLITS if split in self.splits))

    @classmethod
    @abstractmethod
    def sites(cls) -> Sequence[str]:
        """Names of the sites of this kind."""

    @property
    def empty(self) -> dict[str, str]:
        """Folders of the layout that stay empty, each with what says so."""
        reasons = {}
        for split, folder in SPLITS.items():
            people = "train_identities" if split == "train" else "test_identities"
            if split not in self.splits:
                reasons[folder] = f"splits are {list(self.splits)}"
            elif not getattr(self, people):
                reasons[folder] = f"{people} is 0"
        return reasons

    @property
    @abstractmethod
    def number(self) -> int:
        """The site's in every seed: no two sites have the same."""

    @abstractmethod
    def passed(self, lots: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Which cameras an identity passes, at least two, by lots (cameras,) from 0..1, one each."""

    @abstractmethod
    def identity(self, images: Sequence[PlannedImage]) -> Iterator[bytes]:
        """The JPEG of each of the planned images, all of one identity."""

    @abstractmethod
    def forget(self) -> None:
        """Drop what :meth:`identity` keeps for other identities: of 200 rendered cameras half a gigabyte a process."""

    def as_json(self) -> dict[str, Any]:
        """The settings as they stand in site.json."""
        values: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return values
