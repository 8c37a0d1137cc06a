"""Light on people and on the ground: sun or lamps, sky, what stands in its way."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from reid.sites.compiled import compiled
from reid.sites.photometry import DISPLAY_GAMMA
from reid.sites.rendered.raster import Buffer, Floats, Fragments, Ints, bounds, rasterise
from reid.sites.rendered.view import View

_SHADOW_MAP = 128  # height in pixels of the picture that the sun has of a person
_SHADOW_BIAS = 0.03  # metres that a point may lie behind what the sun sees and be lit
_FEET = 0.22  # metres: what is lower shadows the ground by contact
_FAINT = 0.05  # depth of shadows that are not worth their time
_REACH = 0.08  # metres: a pixel that lies so far behind its surroundings gets a good half of the sky's light


@dataclass(frozen=True)
class Lamp:
    """A light from far away."""

    direction: tuple[float, float, float]  # to the lamp, of length 1; z up, y away from the camera
    colour: tuple[float, float, float]  # linear R, G, B that it gives a surface that faces it
    softness: float  # 0: a point; 1: light reaches what is turned away, as of a wide lamp


@dataclass(frozen=True)
class Light:
    """What falls on a person.

    Attributes:
        lamps: the first is the sun or the strongest lamp; it casts shadows.
        sky: linear R, G, B on a surface that faces up.
        ground: the same on a surface that faces down.
        occlusion: how much less of the sky reaches hollows, 0..1.
        shadow: depth of the first lamp's shadows, 0..1.
        contact: depth of the shadow below the feet, 0..1.
    """

    lamps: tuple[Lamp, ...]
    sky: tuple[float, float, float]
    ground: tuple[float, float, float]
    occlusion: float
    shadow: float
    contact: float


def direction(azimuth: float, elevation: float) -> tuple[float, float, float]:
    """A vector of length 1; azimuth 0 lies behind the camera, pi / 2 at the image's right, radians."""
    flat = np.cos(elevation)
    return (float(np.sin(azimuth) * flat), float(-np.cos(azimuth) * flat), float(np.sin(elevation)))


def occlusion(buffer: Buffer, view: View) -> Floats:
    """How open to the sky each pixel (H, W) is, 0..1: by how far it lies behind the person around it.

    A cheap stand-in for rays: it darkens arm pits, inner legs, what is under a chin or a jacket's hem.
    """
    seen = buffer.nearness > 0
    depth = np.zeros_like(buffer.nearness)
    np.divide(1, buffer.nearness, out=depth, where=seen)
    mask = seen.astype(np.float32)
    open_ = np.ones_like(depth)
    for share in (0.02, 0.06):  # of the image's height: creases, and limbs before the torso
        side = 2 * int(share * view.height) + 1
        window = (max(3, side * view.width * 2 // view.height | 1), max(3, side))
        area = np.maximum(cv2.blur(mask, window), 1e-3)
        behind = depth - cv2.blur(depth, window) / area
        open_ /= 1 + np.maximum(behind, 0) / np.float32(_REACH * (0.5 if share < 0.05 else 1))
    return np.asarray(open_, np.float32)


def _seen_by(lamp: Lamp, points: Floats, scale: float, corner: Floats) -> Floats:
    """Column, row and nearness of points (N, 3) in the picture that a lamp has of a person."""
    to = np.array(lamp.direction, np.float32)
    right = np.array([-to[1], to[0], 0], np.float32) + np.array([1e-4, 0, 0], np.float32)
    right /= np.linalg.norm(right)
    axes = np.stack([right, np.cross(right, to), to]).astype(np.float32)
    return _onto(points, axes, corner, np.float32(scale))


@compiled
def _onto(points: Floats, axes: Floats, corner: Floats, scale: np.float32) -> Floats:
    out = np.empty((points.shape[0], 3), np.float32)
    for i in range(points.shape[0]):
        x, y, z = points[i, 0], points[i, 1], points[i, 2]
        for k in range(3):
            out[i, k] = axes[k, 0] * x + axes[k, 1] * y + axes[k, 2] * z - corner[k]
        out[i, 0] *= scale
        out[i, 1] *= scale
    return out


@compiled
def _lit_share(nearness: Floats, points: Floats, bias: float) -> Floats:
    """Share of the four pixels around each point (N, 3) that show nothing nearer to the lamp."""
    out = np.empty(points.shape[0], np.float32)
    for i in range(points.shape[0]):
        column, row = int(np.floor(points[i, 0] - 0.5)), int(np.floor(points[i, 1] - 0.5))
        lit = 0
        for y in (row, row + 1):
            for x in (column, column + 1):
                outside = y < 0 or x < 0 or y >= nearness.shape[0] or x >= nearness.shape[1]
                lit += 1 if outside or nearness[y, x] < points[i, 2] + bias else 0
        out[i] = lit / 4
    return out


def self_shadow(light: Light, vertices: Floats, faces: Ints, positions: Floats) -> Floats:
    """How much of the first lamp's light reaches positions (N, 3), 0..1, past the mesh itself.

    All of it does where the lamp is too weak for its shadows to show.
    """
    lamp = light.lamps[0]
    if light.shadow * max(lamp.colour) < 2 * _FAINT:
        return np.ones(len(positions), np.float32)
    seen = _seen_by(lamp, vertices, 1.0, np.zeros(3, np.float32))
    low, high = bounds(seen)
    scale = _SHADOW_MAP / float(high[1] - low[1])
    corner = low - np.array([0, 0, 1], np.float32)  # nearness must be above 0
    width = max(1, int((high[0] - low[0]) * scale))
    both = np.ones(len(faces), np.bool_)
    buffer = rasterise(_seen_by(lamp, vertices, scale, corner), faces, both, _SHADOW_MAP, width)
    return np.asarray(_lit_share(buffer.nearness, _seen_by(lamp, positions, scale, corner), _SHADOW_BIAS), np.float32)


@compiled
def _shade(
    albedo: Floats,
    normals: Floats,
    open_: Floats,
    lit: Floats,
    lamps: Floats,
    sky: Floats,
    ground: Floats,
) -> Floats:
    out = np.empty_like(albedo)
    one = np.float32(1)
    for i in range(albedo.shape[0]):
        nx, ny, nz = normals[i, 0], normals[i, 1], normals[i, 2]
        up = np.float32(0.5) + np.float32(0.5) * nz
        red = (ground[0] + (sky[0] - ground[0]) * up) * open_[i]
        green = (ground[1] + (sky[1] - ground[1]) * up) * open_[i]
        blue = (ground[2] + (sky[2] - ground[2]) * up) * open_[i]
        for k in range(lamps.shape[0]):
            soft = lamps[k, 6]
            falls = (nx * lamps[k, 0] + ny * lamps[k, 1] + nz * lamps[k, 2] + soft) / (one + soft)
            if falls > 0:
                falls *= lit[i] if k == 0 else open_[i]
                red += falls * lamps[k, 3]
                green += falls * lamps[k, 4]
                blue += falls * lamps[k, 5]
        out[i, 0], out[i, 1], out[i, 2] = albedo[i, 0] * red, albedo[i, 1] * green, albedo[i, 2] * blue
    return out


def shade(albedo: Floats, fragments: Fragments, light: Light, open_: Floats, lit: Floats) -> Floats:
    """Colours (N, 3) that a neutral camera shows, 0..1.

    Args:
        albedo: (N, 3) sRGB values, 0..1.
        fragments: what the pixels show, with the folds of cloth in their normals.
        light: what falls on them.
        open_: (N,) of `occlusion`.
        lit: (N,) of `self_shadow` for the first lamp.
    """
    lamps = np.array([(*lamp.direction, *lamp.colour, lamp.softness) for lamp in light.lamps], np.float32)
    linear = _shade(
        np.power(albedo, np.float32(DISPLAY_GAMMA)),
        fragments.normals,
        (1 - light.occlusion * (1 - open_)).astype(np.float32),
        (1 - light.shadow * (1 - lit)).astype(np.float32),
        lamps.reshape(-1, 7),
        np.array(light.sky, np.float32),
        np.array(light.ground, np.float32),
    )
    return np.power(np.clip(linear, 0, 1), np.float32(1 / DISPLAY_GAMMA))


@compiled
def _flattened(vertices: Floats, x: np.float32, y: np.float32) -> Floats:
    """Vertices (V, 3) moved onto the ground, by `x` and `y` metres a metre that they are high."""
    out = np.zeros_like(vertices)
    for i in range(vertices.shape[0]):
        out[i, 0] = vertices[i, 0] - vertices[i, 2] * x
        out[i, 1] = vertices[i, 1] - vertices[i, 2] * y
    return out


def _cast(vertices: Floats, faces: Ints, to: tuple[float, float, float], view: View, shrink: int) -> Floats:
    """Where the mesh's shadow lies on the ground, in an image `shrink` times smaller, 0 or 1."""
    steep = max(to[2], 0.3)
    small = replace(view, height=view.height // shrink, width=view.width // shrink)
    points = small.project(_flattened(vertices, np.float32(to[0] / steep), np.float32(to[1] / steep)))
    both = np.ones(len(faces), np.bool_)
    buffer = rasterise(points, faces, both, small.height, small.width)
    return (buffer.triangles >= 0).astype(np.float32)


def ground_shadow(vertices: Floats, faces: Ints, light: Light, view: View) -> Floats:
    """What is left of the light on the ground, (H, W) 0..1: the first lamp's shadow, and contact below the feet."""
    shrink = 2
    unit = view.height / 256  # pixels of an image at twice 128 rows
    size = (view.width, view.height)
    left: Floats = np.ones((view.height, view.width), np.float32)
    if light.contact > 0:
        low = (vertices[:, 2] < _FEET)[faces[:, 0]]
        mask = _cast(vertices, np.ascontiguousarray(faces[low]), (0.0, 0.0, 1.0), view, shrink)
        near = cv2.GaussianBlur(mask, (0, 0), 2.2 * unit)
        wide = cv2.GaussianBlur(mask, (0, 0), 8.0 * unit, sigmaY=4.0 * unit)
        dark = np.clip(0.8 * near + 1.6 * wide, 0, 1)
        left *= 1 - np.float32(light.contact) * cv2.resize(dark, size, interpolation=cv2.INTER_LINEAR)
    lamp = light.lamps[0]
    power = sum(lamp.colour) * lamp.direction[2]
    depth = light.shadow * power / (power + sum(light.sky))
    if depth > _FAINT:
        mask = _cast(vertices, faces, lamp.direction, view, shrink)
        blur = (0.8 + 5 * lamp.softness) * unit
        dark = cv2.resize(cv2.GaussianBlur(mask, (0, 0), blur), size, interpolation=cv2.INTER_LINEAR)
        left *= 1 - np.float32(depth) * dark
    return left


def lay_on(image: NDArray[np.float32], left: Floats) -> None:
    """Darken an image (H, W, 3) of display values in place, as linear light times `left` would."""
    image *= np.power(left, np.float32(1 / DISPLAY_GAMMA))[..., None]
