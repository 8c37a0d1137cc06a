"""What a render depends on, checked."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from reid.data.sites.styles import SITES
from reid.errors import InputError

RENDERER = 3  # raise it with any change that changes an image: old folders are then refused instead of mixed

SPLITS: dict[str, str] = {  # split: its folder in Market-1501's layout
    "train": "bounding_box_train",
    "query": "query",
    "gallery": "bounding_box_test",
}

_RANGES: dict[str, tuple[float, float]] = {
    "seed": (0, 2**32 - 1),
    "style": (0.0, 1.5),
    "degradation": (0.0, 1.5),
    "train_identities": (1, 5000),
    "test_identities": (1, 4999),  # with the above, a pid has at most four digits
    "cameras": (2, 9),  # the file name gives a camera one digit
    "train_shots": (1, 99),
    "test_shots": (2, 99),  # one for the query, the others for the gallery
    "missing": (0.0, 0.9),
}


@dataclass(frozen=True)
class RenderSettings:
    """What one site's render depends on; equal settings give equal people, poses and scenes.

    Attributes:
        site: key of SITES.
        seed: of every generator, 0..2**32 - 1.
        style: strength of light and colour, 0..1.5; at 0 every camera of every site is neutral, at 1 it is the site's.
        degradation: strength of blur, lost resolution, noise and JPEG, 0..1.5.
        train_identities: number of training identities; their pids start at 1.
        test_identities: number of test identities; their pids follow.
        cameras: number of cameras, 2..9.
        train_shots: images of a training identity in a camera.
        test_shots: images of a test identity in a camera; the first is a query.
        missing: probability that an identity never passes a camera; each passes at least two.
        splits: which of train, query and gallery to render.

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
    missing: float = 0.15
    splits: tuple[str, ...] = ("train", "query", "gallery")

    def __post_init__(self) -> None:
        if self.site not in SITES:
            raise InputError(f"site {self.site!r} is not one of {sorted(SITES)}")
        for name, (low, high) in _RANGES.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise InputError(f"drawn site {self.site!r}: {name} is {value}, not in {low}..{high}")
            if isinstance(low, int) and not isinstance(value, int):
                raise InputError(f"drawn site {self.site!r}: {name} is {value!r}, not a whole number")
        unknown = [split for split in self.splits if split not in SPLITS]
        if unknown or not self.splits:
            raise InputError(f"drawn site {self.site!r}: splits {list(self.splits)} are not some of {list(SPLITS)}")
        object.__setattr__(self, "splits", tuple(split for split in SPLITS if split in self.splits))

    def as_json(self) -> dict[str, Any]:
        """The settings as they stand in site.json."""
        values: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return values
