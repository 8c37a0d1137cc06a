"""What a rendered site's images depend on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from reid.errors import InputError
from reid.sites.rendered.worlds import WORLDS
from reid.sites.settings import SiteSettings

if TYPE_CHECKING:
    from reid.sites.schedule import PlannedImage


@dataclass(frozen=True)
class RenderedSettings(SiteSettings):
    """Settings of a rendered site, see :class:`reid.sites.settings.SiteSettings`; `site` is one of the worlds.

    Attributes:
        style: at 0 every camera shows the scene in its own light, exposed and coloured neutrally, at 1 as the world
            states, up to 1.5.
        degradation: at 0 images lose nothing, at 1 what the world states, up to 1.5.
        cameras: number of cameras, 2..200.
        passes: how many of them each identity passes, 2..cameras.
        height: of the images, pixels, a multiple of 4 from 32 to 384; their width is half of it.

    Raises:
        InputError: a value is out of its range; the message names it.
    """

    style: float = 1.0
    degradation: float = 1.0
    train_identities: int = 300
    test_identities: int = 200
    cameras: int = 6
    train_shots: int = 3
    test_shots: int = 2
    passes: int = 4
    height: int = 128

    kind: ClassVar[str] = "rendered"
    verb: ClassVar[str] = "rendering"
    version: ClassVar[int] = 1  # raise it with any change that changes an image
    ranges: ClassVar[dict[str, tuple[float, float]]] = {
        "seed": (0, 2**32 - 1),
        "style": (0.0, 1.5),
        "degradation": (0.0, 1.5),
        "train_identities": (0, 99_999),
        "test_identities": (0, 99_999),
        "cameras": (2, 200),
        "train_shots": (1, 99),
        "test_shots": (2, 99),  # one for the query, the others for the gallery
        "passes": (2, 200),
        "height": (32, 384),
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        name = f"rendered site {self.site!r}"
        if self.passes > self.cameras:
            raise InputError(f"{name}: passes is {self.passes}, more than cameras, which is {self.cameras}")
        if self.height % 4:
            raise InputError(f"{name}: height is {self.height}, not a multiple of 4")
        people = self.train_identities + self.test_identities
        if not 1 <= people <= 99_999:
            raise InputError(f"{name}: train_identities and test_identities are {people} together, not in 1..99999")

    @classmethod
    def sites(cls) -> Sequence[str]:
        return list(WORLDS)

    @property
    def number(self) -> int:
        return WORLDS[self.site].number

    def passed(self, lots: NDArray[np.float64]) -> NDArray[np.bool_]:
        keep = np.zeros(len(lots), np.bool_)
        keep[np.argsort(lots)[-self.passes :]] = True
        return keep

    def identity(self, images: Sequence[PlannedImage]) -> Iterator[bytes]:
        from reid.sites.rendered.render import render_identity  # here: settings alone need no renderer

        return render_identity(self, images)

    def forget(self) -> None:
        from reid.sites.rendered.render import forget

        forget()
