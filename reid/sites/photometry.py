"""What a camera does to an image: photometry (light and colour), then degradation (blur, noise, JPEG)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.float32]  # (H, W, 3) RGB, 0..1

_MIDDLE_GREY = 0.45
DISPLAY_GAMMA = 2.2
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


@dataclass(frozen=True)
class Photometry:
    """A camera's light and colour. The defaults are neutral: they leave an image as it is."""

    illuminant: tuple[float, float, float] = (1.0, 1.0, 1.0)  # gains of linear R, G, B
    exposure: float = 0.0  # stops
    gamma: float = 1.0  # above 1 darkens the middle tones
    contrast: float = 1.0  # slope about the middle grey
    saturation: float = 1.0
    haze: float = 0.0  # share of the haze colour in the image, 0..1
    haze_colour: tuple[float, float, float] = (0.7, 0.7, 0.7)
    mixing: float = 0.0  # share of each channel that leaks into its neighbours, 0..1
    vignette: float = 0.0  # darkening in the corners, 0..1
    shadow: float = 0.0  # depth of a shadow cast across the image, 0..1


@dataclass(frozen=True)
class Degradation:
    """A camera's losses. The defaults leave an image as it is, but for JPEG."""

    blur: float = 0.0  # sigma, pixels
    shrink: float = 0.0  # share of the resolution lost, 0..1
    noise: float = 0.0  # sigma, of a range 0..1
    jpeg_quality: int = 95


@dataclass(frozen=True)
class ShadowEdge:
    """Where a cast shadow's edge crosses the image; its depth is the camera's."""

    angle: float  # radians
    offset: float  # from the centre, in image heights
    softness: float  # width of the edge, in image heights


def around(photometry: Photometry, stops: float, tint: tuple[float, float, float]) -> Photometry:
    """Of one image: exposed `stops` longer than its camera's, the channels times the exponentials of `tint`."""
    red, green, blue = np.array(photometry.illuminant) * np.exp(tint)
    return replace(photometry, exposure=photometry.exposure + stops, illuminant=(float(red), float(green), float(blue)))


def scale_photometry(photometry: Photometry, strength: float) -> Photometry:
    """Move from neutral (0) to the photometry given (1) and beyond; gains move on a log scale."""
    red, green, blue = np.power(photometry.illuminant, strength)
    return Photometry(
        illuminant=(float(red), float(green), float(blue)),
        exposure=photometry.exposure * strength,
        gamma=photometry.gamma**strength,
        contrast=photometry.contrast**strength,
        saturation=photometry.saturation**strength,
        haze=min(photometry.haze * strength, 1.0),
        haze_colour=photometry.haze_colour,
        mixing=photometry.mixing * strength,
        vignette=min(photometry.vignette * strength, 1.0),
        shadow=min(photometry.shadow * strength, 1.0),
    )


def scale_degradation(degradation: Degradation, strength: float) -> Degradation:
    """Move from none (0) to the degradation given (1) and beyond."""
    return Degradation(
        blur=degradation.blur * strength,
        shrink=min(degradation.shrink * strength, 0.9),
        noise=degradation.noise * strength,
        jpeg_quality=max(5, round(95 - (95 - degradation.jpeg_quality) * strength)),
    )


def _grid(height: int, width: int) -> tuple[Image, Image]:
    """Row and column of each pixel from the centre, in image heights."""
    y = (np.arange(height) + 0.5 - height / 2) / height
    x = (np.arange(width) + 0.5 - width / 2) / height
    return y.astype(np.float32)[:, None], x.astype(np.float32)[None, :]


def apply_photometry(image: Image, photometry: Photometry, edge: ShadowEdge) -> Image:
    """Expose the image (H, W, 3), 0..1, under the camera's light; neutral photometry returns it unchanged."""
    if photometry == Photometry(haze_colour=photometry.haze_colour):
        return image
    y, x = _grid(*image.shape[:2])
    distance = x * np.float32(np.cos(edge.angle)) + y * np.float32(np.sin(edge.angle)) - edge.offset
    lit = np.clip(distance / edge.softness + 0.5, 0, 1)
    light = (1 - photometry.shadow * (1 - lit)) * (1 - photometry.vignette * np.minimum((x * 2) ** 2 + y**2 * 2, 1))
    mixing = np.full((3, 3), photometry.mixing / 2) + np.eye(3) * (1 - 1.5 * photometry.mixing)
    gains = mixing * np.array(photometry.illuminant) * 2.0**photometry.exposure

    linear = np.power(image, DISPLAY_GAMMA)
    linear = linear @ gains.T.astype(np.float32) * light[..., None]
    shown = np.power(np.clip(linear, 0, 1), photometry.gamma / DISPLAY_GAMMA)
    shown = (shown - _MIDDLE_GREY) * photometry.contrast + _MIDDLE_GREY
    grey = (shown @ _LUMA)[..., None]
    shown = grey + (shown - grey) * photometry.saturation
    shown = shown * (1 - photometry.haze) + np.array(photometry.haze_colour, np.float32) * photometry.haze
    return np.clip(shown, 0, 1).astype(np.float32)


def degrade(image: Image, degradation: Degradation, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Lose resolution, blur and add noise; returns (H, W, 3) RGB, 0..255. JPEG is the writer's."""
    height, width = image.shape[:2]
    if degradation.shrink > 0:
        small = (max(1, round(width * (1 - degradation.shrink))), max(1, round(height * (1 - degradation.shrink))))
        image = np.asarray(
            cv2.resize(cv2.resize(image, small, interpolation=cv2.INTER_AREA), (width, height)), np.float32
        )
    if degradation.blur > 0.05:
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), degradation.blur), np.float32)
    draws = rng.standard_normal((height, width, 4), np.float32)
    grain = 0.6 * draws[..., :3] + 0.8 * draws[..., 3:]  # most noise that survives a camera is noise of brightness
    return np.clip((image + grain * degradation.noise) * 255 + 0.5, 0, 255).astype(np.uint8)


def encode(image: NDArray[np.uint8], quality: int) -> bytes:
    """JPEG bytes of an RGB image."""
    _, data = cv2.imencode(".jpg", np.ascontiguousarray(image[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, quality])
    return bytes(data)
