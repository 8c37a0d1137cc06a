"""One image: a person in a pose before a camera's scene, at times with a passer-by or an object in the way."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from reid.sites.drawn.body import VIEWS, Pose, draw_person
from reid.sites.drawn.camera import Camera
from reid.sites.drawn.canvas import (
    AXIS,
    GROUND,
    IMAGE_HEIGHT,
    IMAGE_WIDTH,
    SUPERSAMPLE,
    Layer,
)
from reid.sites.drawn.occluders import OCCLUDERS, draw_occluder
from reid.sites.drawn.people import Person, sample_person
from reid.sites.photometry import (
    ShadowEdge,
    apply_photometry,
    around,
    degrade,
    encode,
    scale_degradation,
    scale_photometry,
)
from reid.sites.scenes import SCENE_HEIGHT, SCENE_WIDTH, Scene

_HEIGHT, _WIDTH = IMAGE_HEIGHT * SUPERSAMPLE, IMAGE_WIDTH * SUPERSAMPLE


@dataclass(frozen=True)
class PasserBy:
    """Somebody else in the image."""

    person: Person
    pose: Pose
    aside: float  # from the middle, in supersampled pixels
    nearer: bool  # to the camera than the person whom the image shows


@dataclass(frozen=True)
class Shot:
    """Everything drawn by lot for one image, but its noise. Depends on no setting: see settings.DrawnSettings."""

    pose: Pose
    scale: float  # of the person
    dx: float  # of the person from the middle, in supersampled pixels
    dy: float
    lean: float  # radians
    window: tuple[int, int]  # row and column of the image in the scene
    occluder: str | None
    occluder_x: float
    passer_by: PasserBy | None
    edge: ShadowEdge
    exposure: float  # stops, around the camera's, at strength 1
    tint: tuple[float, float, float]  # log gains, around the camera's, at strength 1


def _sample_pose(rng: np.random.Generator) -> Pose:
    return Pose(
        view=VIEWS[int(rng.choice(4, p=[0.3, 0.3, 0.2, 0.2]))],
        phase=float(rng.uniform(0, 2 * np.pi)),
        stride=float(rng.uniform(0.3, 1.0)),
    )


def sample_shot(rng: np.random.Generator, season: str) -> Shot:
    """Draw the lots of one image. Every draw is made, in one order, whatever the image shows."""
    pose = _sample_pose(rng)
    scale, dx, dy = rng.uniform(0.88, 1.16), rng.normal(0, 7), rng.normal(0, 6)
    lean = rng.normal(0, 0.03)
    window = (int(rng.integers(SCENE_HEIGHT - _HEIGHT + 1)), int(rng.integers(SCENE_WIDTH - _WIDTH + 1)))
    hidden, kind, occluder_x = (
        rng.random() < 0.25,
        list(OCCLUDERS)[int(rng.integers(len(OCCLUDERS)))],
        rng.uniform(-44, 44),
    )
    joined, side = rng.random() < 0.25, rng.choice([-1, 1]) * rng.uniform(40, 64)
    passer_by = PasserBy(sample_person(rng, season), _sample_pose(rng), float(side), nearer=bool(rng.random() < 0.4))
    edge = ShadowEdge(
        angle=float(rng.uniform(0, 2 * np.pi)),
        offset=float(rng.uniform(-0.45, 0.3)),
        softness=float(rng.uniform(0.03, 0.12)),
    )
    red, green, blue = rng.normal(0, 0.03, 3)
    return Shot(
        pose=pose,
        scale=float(scale),
        dx=float(dx),
        dy=float(dy),
        lean=float(lean),
        window=window,
        occluder=kind if hidden else None,
        occluder_x=float(occluder_x),
        passer_by=passer_by if joined else None,
        edge=edge,
        exposure=float(rng.normal(0, 0.14)),
        tint=(float(red), float(green), float(blue)),
    )


def _place(layer: Layer, scale_x: float, scale_y: float, x: float, y: float, lean: float) -> Layer:
    """The layer resized about its soles, which land at (x, y) of the image (256, 128, 4)."""
    sin, cos = np.sin(lean), np.cos(lean)
    linear = np.array([[cos * scale_x, -sin * scale_y], [sin * scale_x, cos * scale_y]])
    shift = np.array([x, y]) - linear @ (AXIS, GROUND)
    matrix = np.concatenate([linear, shift[:, None]], axis=1)
    return np.asarray(cv2.warpAffine(layer, matrix, (_WIDTH, _HEIGHT), flags=cv2.INTER_LINEAR), np.uint8)


def _over(image: NDArray[np.uint8], layer: Layer) -> None:
    """Lay the premultiplied layer over the image, in place."""
    rest = 255 - layer[..., 3:].astype(np.uint16)
    image[:] = layer[..., :3] + (image * rest + 127) // 255


def _ground_shadow(image: NDArray[np.uint8], x: float, y: float, width: float) -> None:
    """A soft spot under the feet that sets them on the ground."""
    spot = np.zeros((_HEIGHT, _WIDTH), np.uint8)
    cv2.ellipse(spot, ((x, y), (2 * width, 14.0), 0.0), (90,), -1, cv2.LINE_AA)
    rows = slice(max(0, int(y) - 14), min(_HEIGHT, int(y) + 16))
    dark = cv2.blur(spot[rows], (9, 5))[..., None].astype(np.uint16)
    image[rows] = (image[rows] * (255 - dark) + 127) // 255


def person_alpha(person: Person, shot: Shot) -> NDArray[np.uint8]:
    """Where the person stands in the image (256, 128), 0..255, occluders aside."""
    return _place_person(person, shot)[..., 3]


def _place_person(person: Person, shot: Shot) -> Layer:
    width, height = person.width * shot.scale, person.height * shot.scale
    x, y = _WIDTH / 2 + shot.dx, GROUND + 4 + shot.dy
    return _place(draw_person(person, shot.pose), width, height, x, y, shot.lean)


def _draw_passer_by(image: NDArray[np.uint8], other: PasserBy, scale: float, y: float) -> None:
    x, width, height = _WIDTH / 2 + other.aside, other.person.width * scale, other.person.height * scale
    _ground_shadow(image, x, y, 24)
    _over(image, _place(draw_person(other.person, other.pose), width, height, x, y, 0.0))


def draw_content(person: Person, shot: Shot, scene: Scene) -> NDArray[np.float32]:
    """What stands before the camera (128, 64, 3), RGB 0..1, before photometry and degradation."""
    top, left = shot.window
    image = scene[top : top + _HEIGHT, left : left + _WIDTH].copy()
    if shot.passer_by is not None and not shot.passer_by.nearer:
        _draw_passer_by(image, shot.passer_by, 0.96, GROUND - 4.0)
    _ground_shadow(image, _WIDTH / 2 + shot.dx, GROUND + 4 + shot.dy, 30)
    _over(image, _place_person(person, shot))
    if shot.passer_by is not None and shot.passer_by.nearer:
        _draw_passer_by(image, shot.passer_by, 1.06, GROUND + 12.0)
    if shot.occluder is not None:
        _over(image, _place(draw_occluder(shot.occluder, shot.occluder_x), 1.0, 1.0, _WIDTH / 2, GROUND, 0.0))
    small = cv2.resize(image, (IMAGE_WIDTH, IMAGE_HEIGHT), interpolation=cv2.INTER_AREA)
    return small.astype(np.float32) / np.float32(255)


def take(
    content: NDArray[np.float32], shot: Shot, camera: Camera, style: float, degradation: float, rng: np.random.Generator
) -> bytes:
    """The JPEG that the camera makes of `content`, at the two strengths; `rng` gives the noise."""
    photometry = around(camera.photometry, shot.exposure, shot.tint)
    lit = apply_photometry(content, scale_photometry(photometry, style), shot.edge)
    losses = scale_degradation(camera.degradation, degradation)
    return encode(degrade(lit, losses, rng), losses.jpeg_quality)
