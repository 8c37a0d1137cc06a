"""One image: people before a camera's background, their light and shadows, what stands in front, the losses."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from reid.sites.photometry import Image, Photometry, ShadowEdge, apply_photometry, around, encode, scale_photometry
from reid.sites.rendered.cameras import Camera, in_shade
from reid.sites.rendered.light import Light, ground_shadow, lay_on, occlusion, self_shadow, shade
from reid.sites.rendered.losses import lose, scale_losses
from reid.sites.rendered.raster import Buffer, Floats, Fragments, Ints, gather, rasterise
from reid.sites.rendered.view import Aim, View, make_view, sample_aim, turned
from reid.sites.rendered.wear.mesh import TWO_SIDED, Label
from reid.sites.rendered.world import World

SUPERSAMPLE = 2
_HALF_STOPS = 16  # that a camera can expose longer by
BACKGROUND_FEET = 300  # row of a background where people stand
BACKGROUND_SCALE = 140  # pixels of a background a metre, there

_SEEN_FROM_BOTH = np.isin(np.arange(max(Label) + 1), [int(label) for label in TWO_SIDED])


class Look(Protocol):
    """What the surface of somebody is like."""

    def paint(self, fragments: Fragments) -> Floats:
        """Albedo (N, 3), sRGB 0..1."""

    def fold(self, fragments: Fragments, rng: np.random.Generator) -> Floats:
        """What folds of cloth add to the normals, (N, 3)."""


@dataclass(frozen=True)
class Posed:
    """Somebody's triangles in a pose, facing -y, metres, and their look."""

    vertices: Floats  # (V, 3)
    coords: Floats  # (V, 4)
    faces: Ints  # (T, 3)
    labels: Ints  # (T,)
    look: Look


class Figure(Protocol):
    """Somebody who can be rendered."""

    def posed(self, rng: np.random.Generator) -> Posed:
        """In a pose, with or without what is carried, drawn by lot."""


@dataclass(frozen=True)
class Neighbour:
    """Somebody else near the person."""

    number: int  # of the stranger, 0..STRANGERS - 1
    aside: float  # metres to the image's right
    behind: float  # metres away from the camera
    azimuth: float  # radians


@dataclass(frozen=True)
class Shot:
    """Everything drawn by lot for one image. Depends on no strength and no height."""

    aim: Aim
    window: tuple[float, float, float]  # of the background: metres down, share of the room at its left, zoom
    mirrored: bool  # the background
    background: float  # which of the camera's, 0..1
    dimmed: float  # share of the first lamp's light that reaches the person, 0..1
    edge: ShadowEdge
    exposure: float  # stops, around the camera's, at strength 1
    tint: tuple[float, float, float]  # log gains, around the camera's, at strength 1
    neighbour: Neighbour | None
    occluded: bool
    seeds: tuple[int, int, int, int]  # of pose and folds, of the neighbour's, of the thing in front, of losses


STRANGERS = 96


def sample_shot(rng: np.random.Generator, world: World, camera: Camera) -> Shot:
    """Draw the lots of one image. Every draw is made, in one order, whatever the image shows."""
    aim = sample_aim(rng, camera.mount)
    down, left, zoom, which = rng.normal(0, 0.12), rng.random(), rng.uniform(0.75, 1.3), rng.random()
    mirrored = bool(rng.random() < 0.5)
    shaded, dimmed = rng.random() < camera.shade, rng.uniform(0.0, 0.3)
    edge = ShadowEdge(
        angle=float(rng.uniform(0, 2 * np.pi)),
        offset=float(rng.uniform(-0.45, 0.3)),
        softness=float(rng.uniform(0.03, 0.2)),
    )
    exposure = rng.normal(0, world.wandering_light[0])
    red, green, blue = rng.normal(0, world.wandering_light[1], 3)
    joined, number = rng.random() < world.neighbours, int(rng.integers(STRANGERS))
    side, aside, behind = rng.choice([-1.0, 1.0]), rng.uniform(0.38, 0.8), rng.uniform(-0.7, 2.2)
    along, turn = rng.random() < 0.5, rng.uniform(0, 2 * np.pi)
    neighbour = Neighbour(
        number=number,
        aside=float(side * (aside + 0.05 * max(behind, 0))),
        behind=float(behind),
        azimuth=float(aim.azimuth + 0.3 * (turn / np.pi - 1) if along else turn),
    )
    occluded = bool(rng.random() < world.occluders)
    seeds = [int(seed) for seed in rng.integers(0, 2**63, 4)]
    return Shot(
        aim=aim,
        window=(float(down), float(left), float(zoom)),
        mirrored=mirrored,
        background=float(which),
        dimmed=float(dimmed if shaded else 1.0),
        edge=edge,
        exposure=float(exposure),
        tint=(float(red), float(green), float(blue)),
        neighbour=neighbour if joined else None,
        occluded=occluded,
        seeds=(seeds[0], seeds[1], seeds[2], seeds[3]),
    )


@dataclass(frozen=True)
class _Placed:
    """Somebody in the world before the camera."""

    posed: Posed
    rng: np.random.Generator

    def buffer(self, view: View) -> tuple[Floats, Buffer]:
        points = view.project(self.posed.vertices)
        two_sided = _SEEN_FROM_BOTH[self.posed.labels]
        return points, rasterise(points, self.posed.faces, two_sided, view.height, view.width)


def _place(figure: Figure, seed: int, azimuth: float, aside: float = 0.0, behind: float = 0.0) -> _Placed:
    rng = np.random.default_rng(seed)
    posed = figure.posed(rng)
    vertices = turned(posed.vertices, azimuth) + np.array([aside, behind, 0], np.float32)
    return _Placed(replace(posed, vertices=vertices.astype(np.float32)), rng)


def _coloured(
    placed: _Placed, points: Floats, buffer: Buffer, hidden: NDArray[np.bool_] | None, view: View, light: Light
) -> tuple[Fragments, Floats]:
    """What is seen of somebody, and its colours (N, 3), 0..1."""
    posed = placed.posed
    open_ = occlusion(buffer, view)
    if hidden is not None:
        buffer = replace(buffer, triangles=np.where(hidden, np.int32(-1), buffer.triangles))
    two_sided = _SEEN_FROM_BOTH[posed.labels]
    seen = gather(buffer, points, posed.faces, posed.labels, posed.coords, posed.vertices, two_sided, view.eye)
    folded = seen.with_normals(seen.normals + posed.look.fold(seen, placed.rng))
    lit = self_shadow(light, posed.vertices, posed.faces, seen.positions)
    return seen, shade(posed.look.paint(seen), folded, light, open_[seen.rows, seen.columns], lit)


def _cut_background(background: NDArray[np.uint8], shot: Shot, view: View) -> Image:
    """A window of the background, as large as the image, 0..1, with the ground where the person stands."""
    feet = view.project(np.zeros((1, 3), np.float32))[0]
    down, aside, zoom = shot.window
    scale = zoom * BACKGROUND_SCALE / (view.height / view.size[1] * float(feet[2]))  # background pixels a pixel
    rows = max(16, min(round(scale * view.height), background.shape[0]))
    shape = view.size[0] / view.size[1]
    columns = max(8, min(round(rows * shape), background.shape[1]))
    top = round(BACKGROUND_FEET + down * BACKGROUND_SCALE - float(feet[1]) * rows / view.height)
    top = min(max(top, 0), background.shape[0] - rows)
    left = round(aside * (background.shape[1] - columns))
    window = background[top : top + rows, left : left + columns]
    if shot.mirrored:
        window = window[:, ::-1]
    size = (view.width, view.height)
    resized = cv2.resize(np.ascontiguousarray(window), size, interpolation=cv2.INTER_LINEAR)
    return resized.astype(np.float32) / np.float32(255)


def render_content(
    figure: Figure,
    shot: Shot,
    camera: Camera,
    background: NDArray[np.uint8],
    stranger: Figure | None,
    occluder: NDArray[np.uint8] | None,
    height: int,
) -> Image:
    """What stands before the camera, (height, height / 2, 3), RGB 0..1, before photometry and losses.

    Args:
        figure: whom the image shows.
        shot: its lots.
        camera: how it is seen and lit.
        background: (rows, columns, 3) uint8; people stand in row BACKGROUND_FEET, BACKGROUND_SCALE pixels a metre.
        stranger: the neighbour of `shot`; None: there is none.
        occluder: (rows, columns, 4) uint8, premultiplied, in front of all; None: there is none.
        height: of the image, pixels.
    """
    rows, columns = SUPERSAMPLE * height, SUPERSAMPLE * (height // 2)
    light = in_shade(camera.light, shot.dimmed)
    people = [_place(figure, shot.seeds[0], shot.aim.azimuth)]
    view = make_view(shot.aim, people[0].posed.vertices, rows, columns)
    if stranger is not None and shot.neighbour is not None:
        other = shot.neighbour
        people.append(_place(stranger, shot.seeds[1], other.azimuth, other.aside, other.behind))
    image = _cut_background(background, shot, view)
    for person in people:
        lay_on(image, ground_shadow(person.posed.vertices, person.posed.faces, light, view))
    buffers = [person.buffer(view) for person in people]
    nearest = np.maximum.reduce([buffer.nearness for _, buffer in buffers])
    for person, (points, buffer) in zip(people, buffers, strict=True):
        hidden = buffer.nearness < nearest if len(people) > 1 else None
        seen, colours = _coloured(person, points, buffer, hidden, view, light)
        image[seen.rows, seen.columns] = colours
    if occluder is not None:
        layer = cv2.resize(occluder, (columns, rows), interpolation=cv2.INTER_LINEAR) * np.float32(1 / 255)
        image = image * (1 - layer[..., 3:]) + layer[..., :3]
    return np.asarray(cv2.resize(image, (height // 2, height), interpolation=cv2.INTER_AREA), np.float32)


def _exposed(content: Image, photometry: Photometry, edge: ShadowEdge, darkest: float) -> Image:
    """The image under a camera's light, exposed longer by half stops until its middle is bright enough."""
    quarter = content.shape[1] // 4
    lit = apply_photometry(content, photometry, edge)
    for _ in range(_HALF_STOPS):
        if lit[:, quarter : 3 * quarter].mean() >= darkest:
            break
        photometry = replace(photometry, exposure=photometry.exposure + 0.5)
        lit = apply_photometry(content, photometry, edge)
    return lit


def take(content: Image, shot: Shot, camera: Camera, style: float, degradation: float) -> bytes:
    """The JPEG that the camera makes of `content`, at the two strengths (0: neutral; 1: as the world states)."""
    photometry = around(camera.photometry, shot.exposure, shot.tint)
    lit = _exposed(content, scale_photometry(photometry, style), shot.edge, camera.darkest)
    losses = scale_losses(camera.losses, degradation)
    return encode(lose(lit, losses, np.random.default_rng(shot.seeds[3])), losses.jpeg_quality)
