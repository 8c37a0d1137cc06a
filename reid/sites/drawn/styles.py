"""What tells the sites apart: light, colour and contrast, and a little of the season and the scenery."""

from __future__ import annotations

from dataclasses import dataclass

from reid.sites.photometry import Photometry


@dataclass(frozen=True)
class SiteStyle:
    """A site: its photometry at strength 1, how far its cameras scatter around that, its season and scenery."""

    number: int  # enters every random generator: never change or reuse one
    description: str
    season: str  # key of people.SEASONS
    scenery: str  # key of reid.sites.scenes.SCENERIES
    photometry: Photometry
    spread: float  # of the cameras, in units of the scatter of camera.sample_camera


SITES: dict[str, SiteStyle] = {
    "plaza": SiteStyle(
        number=1,
        description="a square in summer: warm, bright, saturated, hard shadows",
        season="summer",
        scenery="plaza",
        photometry=Photometry(
            illuminant=(1.22, 1.0, 0.70),
            exposure=0.40,
            gamma=0.92,
            contrast=1.15,
            saturation=1.18,
            haze=0.04,
            haze_colour=(0.95, 0.88, 0.74),
            mixing=0.0,
            vignette=0.08,
            shadow=0.34,
        ),
        spread=1.0,
    ),
    "station": SiteStyle(
        number=2,
        description="a station hall in winter: dim, greenish, flat light",
        season="winter",
        scenery="station",
        photometry=Photometry(
            illuminant=(0.80, 1.10, 0.82),
            exposure=-1.0,
            gamma=1.06,
            contrast=0.66,
            saturation=0.66,
            haze=0.12,
            haze_colour=(0.34, 0.44, 0.36),
            mixing=0.10,
            vignette=0.30,
            shadow=0.0,
        ),
        spread=1.0,
    ),
    "street": SiteStyle(
        number=3,
        description="a street on an autumn evening: cool blue, overcast, with pools of shade",
        season="autumn",
        scenery="street",
        photometry=Photometry(
            illuminant=(0.76, 0.94, 1.34),
            exposure=-0.35,
            gamma=1.02,
            contrast=0.92,
            saturation=0.84,
            haze=0.08,
            haze_colour=(0.50, 0.58, 0.74),
            mixing=0.05,
            vignette=0.20,
            shadow=0.18,
        ),
        spread=1.2,
    ),
}
