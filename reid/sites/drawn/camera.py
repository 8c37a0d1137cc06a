"""The cameras of a drawn site."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from reid.sites.drawn.styles import SiteStyle
from reid.sites.photometry import Degradation, Photometry


@dataclass(frozen=True)
class Camera:
    """One camera of a site, at strengths 1."""

    photometry: Photometry
    degradation: Degradation


def sample_camera(rng: np.random.Generator, site: SiteStyle) -> Camera:
    """A camera that scatters around its site's photometry; degradation does not depend on the site."""
    mean, spread = site.photometry, site.spread
    around = rng.normal(0.0, spread, 14).clip(-2 * spread, 2 * spread)
    red, green, blue = mean.illuminant * np.exp(np.array([0.07, 0.03, 0.09]) * around[:3])
    haze_red, haze_green, haze_blue = np.clip(mean.haze_colour + 0.04 * around[3:6], 0, 1)
    photometry = Photometry(
        illuminant=(float(red), float(green), float(blue)),
        exposure=float(mean.exposure + 0.16 * around[6]),
        gamma=float(mean.gamma * np.exp(0.06 * around[7])),
        contrast=float(mean.contrast * np.exp(0.07 * around[8])),
        saturation=float(mean.saturation * np.exp(0.10 * around[9])),
        haze=float(np.clip(mean.haze + 0.02 * around[10], 0, 1)),
        haze_colour=(float(haze_red), float(haze_green), float(haze_blue)),
        mixing=float(np.clip(mean.mixing + 0.02 * around[11], 0, 0.3)),
        vignette=float(np.clip(mean.vignette + 0.06 * around[12], 0, 0.6)),
        shadow=float(np.clip(mean.shadow + 0.05 * around[13], 0, 0.6)),
    )
    degradation = Degradation(
        blur=float(rng.uniform(0.4, 1.8)),
        shrink=float(rng.uniform(0.15, 0.8)),
        noise=float(rng.uniform(0.01, 0.06)),
        jpeg_quality=95 - int(rng.integers(20, 50)),
    )
    return Camera(photometry, degradation)
