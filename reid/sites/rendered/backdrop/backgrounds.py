"""What stands behind people: one picture a camera, larger than an image, of which each image shows a window.

Ground and walls are planes in perspective, each pixel's colour a function of its metres; light, things and blur follow.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import cv2
import numpy as np
from numpy.typing import NDArray

from reid.errors import InputError
from reid.sites.rendered.backdrop import ground, things, walls
from reid.sites.rendered.backdrop.illumination import daylight, lamplight
from reid.sites.rendered.backdrop.noise import Field, octaves, plain
from reid.sites.rendered.backdrop.surfaces import HEIGHT, WIDTH, Surface, View
from reid.sites.rendered.smooth import smoothstep
from reid.sites.scenes import draw_scene

Background = NDArray[np.uint8]  # (HEIGHT, WIDTH, 3) RGB at twice the size of an image

_DRAWN = 0.15  # share of views that are drawn scenes
_SOFT: dict[things.Thing, float] = {things.person: 2.0, things.car: 1.6}  # least blur, pixels
_MARGIN = 20  # pixels that blur and shadow reach beyond a thing
_LEVEL = 0.35  # radians: the drawn scenes show a horizon, as cameras do that look down less


class Place(StrEnum):
    """Where a camera hangs, and when."""

    INDOOR = "indoor"
    OUTDOOR = "outdoor"
    NIGHT = "night"


@dataclass(frozen=True)
class Setting:
    """What a camera's background has to fit.

    Attributes:
        place: indoors, outdoors by day, or outdoors by night.
        pitch: radians by which the camera looks down, 0..1.5.
        distance: metres between camera and people, 2..60; with the pitch it decides where the horizon lies.

    Raises:
        InputError: pitch or distance is out of its range, or `place` is none.
    """

    place: Place
    pitch: float
    distance: float = 9.0

    def __post_init__(self) -> None:
        if self.place not in list(Place):
            raise InputError(f"background: place {self.place!r} is not one of {[place.value for place in Place]}")
        for name, low, high in (("pitch", 0.0, 1.5), ("distance", 2.0, 60.0)):
            value = getattr(self, name)
            if not low <= value <= high:
                raise InputError(f"background: {name} is {value}, not in {low}..{high}")


def sample_background(rng: np.random.Generator, setting: Setting) -> Background:
    """A camera's background, uint8 (HEIGHT, WIDTH, 3) RGB.

    The person of an image stands with the feet about row 300, 140 pixels a metre. Takes one draw from `rng`, whatever
    the picture shows.
    """
    rng = np.random.default_rng(int(rng.integers(2**63)))
    night = setting.place is Place.NIGHT
    if setting.pitch < _LEVEL and not night and rng.random() < _DRAWN:
        linear = _drawn(rng, setting)
    else:
        linear = _view(rng, setting)
    return _developed(rng, linear, night)


def _drawn(rng: np.random.Generator, setting: Setting) -> Field:
    """A drawn scene with the light and the grain of a photograph, linear (HEIGHT, WIDTH, 3)."""
    names = ("station", "plaza") if setting.place is Place.INDOOR else ("plaza", "street")
    scene = draw_scene(rng, names[int(rng.integers(2))])
    scale = HEIGHT / scene.shape[0]
    wide = cv2.resize(scene, (round(scene.shape[1] * scale), HEIGHT), interpolation=cv2.INTER_CUBIC)
    albedo = wide[:, :WIDTH].astype(np.float32) / 255
    albedo *= (1 + 0.06 * octaves(rng, HEIGHT, WIDTH, 100))[..., None]
    light = daylight(rng, [View(setting.pitch, setting.distance).ground()])[0]
    linear = np.asarray(albedo * albedo * light, np.float32)
    return np.asarray(cv2.GaussianBlur(linear, (0, 0), rng.uniform(0.5, 1.8)), np.float32)


def _ground_albedo(rng: np.random.Generator, view: View, at: Surface, materials: tuple[ground.Material, ...]) -> Field:
    """Ground of one or several materials, with kerbs, strips, leaves."""
    albedo = materials[int(rng.integers(len(materials)))](rng, at)
    for _ in range(int(rng.choice(3, p=[0.4, 0.42, 0.18]))):
        along, _ = at.turned(rng.normal(np.pi / 2, 0.7))
        edge = rng.normal(0.5, 1.2)
        other = materials[int(rng.integers(len(materials)))](rng, at)
        ragged = np.float32(rng.choice([0.0, 0.0, 0.06]))
        field = along + ragged * at.noise(rng, 40, 3)
        albedo = ground.blend(albedo, other, smoothstep(edge, edge + 0.02, field))
        if ragged == 0 and rng.random() < 0.6:  # a kerb and its shadow
            width = rng.uniform(0.08, 0.25)
            albedo = ground.blend(
                albedo, plain(rng, 0.5, 0.9), smoothstep(width / 2, width / 2 - 0.02, np.abs(field - edge))
            )
            albedo *= (1 - 0.4 * smoothstep(0.06, 0.0, np.abs(field - edge + width / 2)))[..., None]
    if rng.random() < 0.08:
        share, rgb = ground.tactile(rng, at)
        albedo = ground.blend(albedo, rgb, share)
    return albedo


def _far(rng: np.random.Generator, view: View, indoor: bool, lit: float) -> tuple[Field, Surface]:
    """What is seen beyond everything: trees or houses before the sky, or the far end of a hall; albedo and plane."""
    at = view.wall(0, rng.uniform(15, 40), rng.normal(0, 0.2))
    materials = walls.INDOORS if indoor else (walls.hedge, walls.hedge, walls.facade)
    albedo = materials[int(rng.integers(len(materials)))](rng, at, lit)
    top = rng.uniform(3, 6) if indoor else rng.uniform(3, 25)
    sky = plain(rng, 0.5, 0.9) if indoor else plain(rng, 0.9, 1.4, -0.05) * np.float32(1 if lit <= 1 else 0.25)
    return ground.blend(albedo, sky, smoothstep(top - 0.5, top + 0.5, at.t + 0.8 * at.noise(rng, 60))), at


def _view(rng: np.random.Generator, setting: Setting) -> Field:
    """Ground, walls and things in their light, linear (HEIGHT, WIDTH, 3)."""
    view = View(setting.pitch, setting.distance)
    indoor, night = setting.place is Place.INDOOR, setting.place is Place.NIGHT
    lit = 1.0 if setting.place is Place.OUTDOOR else rng.uniform(1.0, 1.5) if indoor else rng.uniform(1.2, 3.0)
    plane = view.ground()
    albedo = _ground_albedo(rng, view, plane, ground.INDOORS if indoor else ground.OUTDOORS)
    if not indoor and rng.random() < 0.6:
        ground.scatter_leaves(rng, albedo, view, plane)
    parts: list[tuple[Field, Surface, NDArray[np.bool_]]] = [(albedo, plane, plane.seen)]
    if not plane.seen.all():
        far, at = _far(rng, view, indoor, lit)
        parts.insert(0, (far, at, np.ones_like(plane.seen)))
    for _ in range(int(rng.choice(3, p=[0.2, 0.55, 0.25]))):
        y, yaw = float(np.exp(rng.uniform(np.log(0.6), np.log(14)))), rng.normal(0, 0.4)
        at = view.wall(rng.normal(0, 0.8), y, yaw)
        height = rng.uniform(0.3, 1.4) if rng.random() < 0.25 else 30.0
        seen = at.seen & (at.t > 0) & (at.t < height) & (at.depth < np.where(plane.seen, plane.depth, np.inf))
        if rng.random() < 0.4:  # it ends within the picture
            seen &= at.s * float(rng.choice([-1, 1])) > rng.normal(-0.5, 0.6)
        if seen.sum() > 200:
            materials = walls.INDOORS if indoor else walls.OUTDOORS
            parts.append((materials[int(rng.integers(len(materials)))](rng, at, lit), at, seen))
    surfaces = [at for _, at, _ in parts]
    lights = lamplight(rng, surfaces, night) if indoor or night else daylight(rng, surfaces)
    linear, depth = np.zeros((HEIGHT, WIDTH, 3), np.float32), np.full((HEIGHT, WIDTH), 1e3, np.float32)
    for (part, at, seen), light in zip(parts, lights, strict=True):
        nearer = seen & (at.depth < depth)
        np.copyto(linear, np.maximum(part, 0) ** 2 * light, where=nearer[..., None])
        np.copyto(depth, at.depth, where=nearer)
    foot = _contact(plane, depth)
    linear *= foot[..., None]
    if indoor and rng.random() < 0.6:
        _polish(rng, linear, plane, depth)
    blurred = np.asarray(cv2.GaussianBlur(linear, (0, 0), rng.uniform(1.5, 4.5)), np.float32)
    share = smoothstep(1.15, rng.uniform(1.6, 4), depth / np.float32(setting.distance))
    seen_through = cv2.GaussianBlur(ground.blend(linear, blurred, share), (0, 0), rng.uniform(0.5, 1.1))
    walls_at = np.where(depth < plane.depth - 0.02, depth, np.float32(np.inf))
    linear = _with_things(rng, np.asarray(seen_through, np.float32), view, indoor, walls_at, float(lights[-1].mean()))
    return _with_lamps(rng, linear, view) if night else linear


def _contact(plane: Surface, depth: Field) -> Field:
    """A factor: the ground is darker where a wall stands on it."""
    wall = (depth < plane.depth - 0.02).astype(np.float32)
    wall[~plane.seen] = 0
    near = cv2.GaussianBlur(wall, (0, 0), 6)
    return np.asarray(1 - 0.5 * near * (1 - wall), np.float32)


def _polish(rng: np.random.Generator, linear: Field, plane: Surface, depth: Field) -> None:
    """A polished floor mirrors what stands on it and lamps above, smeared downwards; in place."""
    floor = (np.abs(depth - plane.depth) < 1e-3) & plane.seen
    foot = HEIGHT - np.count_nonzero(floor, axis=0)
    rows = np.clip(2 * foot[None] - np.arange(HEIGHT)[:, None], 0, HEIGHT - 1)
    mirrored = np.take_along_axis(linear, np.broadcast_to(rows[..., None], linear.shape), axis=0)
    lamps = smoothstep(1.2, 2.4, octaves(rng, HEIGHT, WIDTH, 50, 12, 0.8, rng.uniform(0.3, 1.0)))
    mirrored = mirrored + np.float32(rng.uniform(0.3, 1.5)) * lamps[..., None]
    smeared = cv2.GaussianBlur(np.asarray(mirrored, np.float32), (0, 0), sigmaX=2.0, sigmaY=rng.uniform(4, 14))
    share = np.float32(rng.uniform(0.08, 0.4)) * floor
    linear += (smeared - linear) * share[..., None]


def _with_things(
    rng: np.random.Generator, linear: Field, view: View, indoor: bool, walls_at: Field, light: float
) -> Field:
    """Things at several distances stand in the picture, out of focus by their distance, hidden by nearer walls."""
    kinds = things.INDOORS if indoor else things.OUTDOORS
    count = int(rng.choice(6, p=[0.25, 0.25, 0.2, 0.12, 0.1, 0.08]))
    places = np.stack([rng.normal(0, 1, count), np.exp(rng.uniform(np.log(0.7), np.log(25), count))], axis=1)
    places = places[np.argsort(-places[:, 1], kind="stable")]
    for x, y in places:
        wide = WIDTH / view.focal * (view.distance + y) / 2
        kind = kinds[int(rng.integers(len(kinds)))]
        if kind in (things.person, things.car):  # far enough to be out of focus
            y += 3
        at = things.stand(view, float(x) * 0.7 * wide, float(y))
        layer = things.empty()
        for _ in range(int(rng.integers(2, 7)) if kind is things.person and y > 6 and rng.random() < 0.4 else 1):
            kind(rng, layer, at)
            at = things.stand(view, float(rng.normal(0, 0.6)) * wide, float(y) * rng.uniform(0.8, 1.2))
        layer[walls_at < view.focal / at.across] = 0
        soft = _SOFT.get(kind, 0.7) + rng.uniform(0.5, 2.5) * min(y / view.distance, 2.0)
        bright = light * rng.uniform(0.6, 1.2)
        grain = 1 + 0.05 * octaves(rng, HEIGHT, WIDTH, 40, 4)
        left, top, wide_px, high_px = cv2.boundingRect(np.ascontiguousarray(layer[..., 3]))
        if not wide_px:
            continue
        rows = slice(max(0, top - _MARGIN), top + high_px + _MARGIN)
        columns = slice(max(0, left - _MARGIN), left + wide_px + _MARGIN)
        alpha = layer[rows, columns, 3].astype(np.float32) / 255
        rgba = cv2.GaussianBlur(layer[rows, columns].astype(np.float32) / 255, (0, 0), soft)
        shaded = (rgba[..., :3] * grain[rows, columns, None]) ** 2 * np.float32(bright)
        fallen = cv2.GaussianBlur(np.roll(alpha, 3, axis=0), (0, 0), 5)
        behind = linear[rows, columns] * (1 - 0.25 * fallen[..., None])
        linear[rows, columns] = behind * (1 - rgba[..., 3:]) + shaded
    return linear


def _with_lamps(rng: np.random.Generator, linear: Field, view: View) -> Field:
    """Lamps, headlights and lit signs far off, as discs out of focus with a halo."""
    lamps = np.zeros((HEIGHT, WIDTH, 3), np.float32)
    for _ in range(int(rng.integers(0, 7))):
        x, y = rng.uniform(0, WIDTH), rng.uniform(-10, max(view.horizon + 40, 50))
        warm, power = rng.normal(0.2, 0.25), rng.uniform(0.5, 3)
        rgb = (power * (1 + warm), power, power * max(1 - 1.3 * warm, 0.1))
        cv2.circle(lamps, (int(x), int(y)), int(rng.integers(2, 9)), rgb, -1)
    small = cv2.resize(lamps, (WIDTH // 6, HEIGHT // 6), interpolation=cv2.INTER_AREA)
    halo = cv2.resize(cv2.GaussianBlur(small, (0, 0), 4), (WIDTH, HEIGHT), interpolation=cv2.INTER_LINEAR)
    return np.asarray(linear + cv2.GaussianBlur(lamps, (0, 0), 1.2) + 1.5 * halo, np.float32)


def _developed(rng: np.random.Generator, linear: Field, night: bool) -> Background:
    """Exposure, haze and saturation: linear light -> uint8 sRGB."""
    target = rng.uniform(0.14, 0.4) if night else rng.uniform(0.3, 0.66)
    middle = float(np.mean(np.sqrt(np.maximum(linear, 0))))
    srgb = np.sqrt(np.maximum(linear, 0)) * np.float32(target / max(middle, 1e-3))
    grey = srgb @ np.array([0.3, 0.59, 0.11], np.float32)
    srgb = grey[..., None] + (srgb - grey[..., None]) * np.float32(rng.uniform(0.7, 1.2))
    return np.asarray(np.clip(srgb * 255 + 0.5, 0, 255), np.uint8)
