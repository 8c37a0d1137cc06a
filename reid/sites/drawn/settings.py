"""What a drawn site's images depend on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from reid.sites.drawn.styles import SITES
from reid.sites.settings import SiteSettings

if TYPE_CHECKING:
    from reid.sites.schedule import PlannedImage


@dataclass(frozen=True)
class DrawnSettings(SiteSettings):
    """Settings of a drawn site, see :class:`reid.sites.settings.SiteSettings`.

    Attributes:
        style: at 0 every camera of every site is neutral, at 1 it is the site's, up to 1.5.
        missing: probability that an identity never passes a camera; each passes at least two.
    """

    missing: float = 0.15

    kind: ClassVar[str] = "drawn"
    verb: ClassVar[str] = "drawing"
    version: ClassVar[int] = 3  # raise it with any change that changes an image
    ranges: ClassVar[dict[str, tuple[float, float]]] = {
        "seed": (0, 2**32 - 1),
        "style": (0.0, 1.5),
        "degradation": (0.0, 1.5),
        "train_identities": (1, 5000),
        "test_identities": (1, 4999),  # with the above, a pid has at most four digits
        "cameras": (2, 9),
        "train_shots": (1, 99),
        "test_shots": (2, 99),  # one for the query, the others for the gallery
        "missing": (0.0, 0.9),
    }

    @classmethod
    def sites(cls) -> Sequence[str]:
        return list(SITES)

    @property
    def number(self) -> int:
        return SITES[self.site].number

    def passed(self, lots: NDArray[np.float64]) -> NDArray[np.bool_]:
        keep = lots >= self.missing
        keep[np.argsort(lots)[-2:]] = True
        return keep

    def identity(self, images: Sequence[PlannedImage]) -> Iterator[bytes]:
        from reid.sites.drawn.draw import draw_identity  # here: settings alone need no brush

        return draw_identity(self, images)

    def forget(self) -> None:
        from reid.sites.drawn.draw import forget

        forget()
