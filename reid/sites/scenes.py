"""Backgrounds: one fixed drawn scene a camera, larger than an image, of which each image shows a window."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

Scene = NDArray[np.uint8]  # (SCENE_HEIGHT, SCENE_WIDTH, 3) RGB at twice the size of an image

SCENE_HEIGHT, SCENE_WIDTH = 300, 280

_Colour = tuple[int, int, int]


def _vary(rng: np.random.Generator, colour: _Colour, by: int = 14) -> _Colour:
    red, green, blue = np.clip(
        np.array(colour) + rng.integers(-by, by + 1) + rng.integers(-by // 2, by // 2 + 1, 3), 0, 255
    )
    return (int(red), int(green), int(blue))


def _pick(rng: np.random.Generator, *colours: _Colour) -> _Colour:
    return _vary(rng, colours[int(rng.integers(len(colours)))])


def _box(scene: Scene, x: float, y: float, width: float, height: float, colour: _Colour) -> None:
    cv2.rectangle(scene, (round(x), round(y)), (round(x + width) - 1, round(y + height) - 1), colour, -1)


def _poly(scene: Scene, colour: _Colour, *points: tuple[float, float]) -> None:
    cv2.fillPoly(scene, [np.round(np.array(points) * 8).astype(np.int32)], colour, cv2.LINE_AA, 3)


def _disc(scene: Scene, x: float, y: float, rx: float, ry: float, colour: _Colour) -> None:
    cv2.ellipse(scene, ((x, y), (2 * rx, 2 * ry), 0.0), colour, -1, cv2.LINE_AA)


def _line(scene: Scene, x0: float, y0: float, x1: float, y1: float, colour: _Colour, width: int = 1) -> None:
    cv2.line(scene, (round(x0), round(y0)), (round(x1), round(y1)), colour, width, cv2.LINE_AA)


def _shift(colour: _Colour, by: int) -> _Colour:
    red, green, blue = np.clip(np.array(colour) + by, 0, 255)
    return (int(red), int(green), int(blue))


def _floor(scene: Scene, rng: np.random.Generator, horizon: float, colour: _Colour, slabs: bool) -> None:
    """Ground from the horizon down; slabs are drawn in perspective."""
    _box(scene, 0, horizon, SCENE_WIDTH, SCENE_HEIGHT, colour)
    joint = _shift(colour, -16)
    if not slabs:
        for x, y in rng.uniform((0, horizon), (SCENE_WIDTH, SCENE_HEIGHT), (40, 2)):
            _line(scene, x, y, x + 5, y, joint)
        return
    vanishing = rng.uniform(0.2, 0.8) * SCENE_WIDTH
    for share in np.linspace(-2.5, 3.5, 26):
        _line(
            scene,
            vanishing + (share * SCENE_WIDTH - vanishing) * 0.15,
            horizon,
            share * SCENE_WIDTH,
            SCENE_HEIGHT,
            joint,
        )
    y, step = horizon, 6.0
    while y < SCENE_HEIGHT:
        _line(scene, 0, y, SCENE_WIDTH, y, joint)
        y, step = y + step, step * 1.3


def _window(scene: Scene, x: float, y: float, width: float, height: float, glass: _Colour, frame: _Colour) -> None:
    _box(scene, x - 3, y - 3, width + 6, height + 6, frame)
    _box(scene, x, y, width, height, glass)
    _poly(scene, _shift(glass, 22), (x, y + height * 0.6), (x + width * 0.7, y), (x + width, y), (x, y + height))
    _line(scene, x + width / 2, y, x + width / 2, y + height, frame, 2)


def _tree(scene: Scene, rng: np.random.Generator, x: float, ground: float) -> None:
    green = _vary(rng, (112, 144, 96))
    _box(scene, x - 4, ground - 70, 8, 70, (116, 96, 80))
    for dx, dy, radius in ((-16, -84, 24), (16, -86, 24), (0, -108, 28)):
        _disc(scene, x + dx, ground + dy, radius, radius, _shift(green, int(rng.integers(-12, 13))))


def _facade(scene: Scene, rng: np.random.Generator, horizon: float, wall: _Colour) -> None:
    """House front with a row of windows and, below, a row of doors."""
    _box(scene, 0, 0, SCENE_WIDTH, horizon, wall)
    glass, frame = _pick(rng, (128, 148, 160), (150, 158, 156), (108, 120, 132)), _shift(wall, 26)
    pitch = rng.uniform(52, 74)
    for x in np.arange(rng.uniform(-20, 10), SCENE_WIDTH, pitch):
        top = horizon - 128
        while top > -60:
            _window(scene, x, top, pitch * 0.46, 40, glass, frame)
            top -= 62
        _box(scene, x - 2, horizon - 66, pitch * 0.56, 66, _shift(wall, -30))
    _box(scene, 0, horizon - 80, SCENE_WIDTH, 5, _shift(wall, -18))


def _plaza(scene: Scene, rng: np.random.Generator) -> None:
    horizon = rng.uniform(60, 170)
    _facade(scene, rng, horizon, _pick(rng, (188, 172, 154), (180, 180, 174), (186, 158, 140), (170, 174, 178)))
    if rng.random() < 0.6:  # an awning
        x, stripe = rng.uniform(0, 160), _pick(rng, (186, 96, 86), (100, 136, 120), (96, 120, 160))
        for i in range(8):
            left, colour = x + i * 14, stripe if i % 2 else (226, 222, 212)
            _poly(
                scene,
                colour,
                (left, horizon - 84),
                (left + 14, horizon - 84),
                (left + 16, horizon - 58),
                (left + 2, horizon - 58),
            )
    _floor(scene, rng, horizon, _pick(rng, (176, 170, 160), (166, 166, 162), (180, 172, 164)), True)
    for _ in range(int(rng.integers(1, 3))):
        _tree(scene, rng, rng.uniform(10, SCENE_WIDTH - 10), horizon + rng.uniform(4, 20))
    if rng.random() < 0.5:  # a bench
        x, y = rng.uniform(20, 200), horizon + 24
        for dy in (0, 7, 18):
            _box(scene, x, y + dy, 62, 4, (142, 112, 86))
        for dx in (6, 52):
            _box(scene, x + dx, y, 4, 34, (84, 84, 86))


def _station(scene: Scene, rng: np.random.Generator) -> None:
    horizon = rng.uniform(70, 170)
    wall = _pick(rng, (186, 190, 186), (166, 174, 178), (192, 184, 170), (158, 166, 158))
    _box(scene, 0, 0, SCENE_WIDTH, horizon, wall)
    kind = rng.random()
    if kind < 0.4:  # a train
        body, band = (
            _pick(rng, (200, 200, 202), (150, 164, 180), (178, 170, 160)),
            _pick(rng, (150, 70, 66), (70, 100, 140), (90, 128, 96)),
        )
        _box(scene, 0, horizon - 112, SCENE_WIDTH, 108, body)
        _box(scene, 0, horizon - 44, SCENE_WIDTH, 10, band)
        _box(scene, 0, horizon - 5, SCENE_WIDTH, 6, (58, 58, 62))
        start = rng.uniform(-40, 0)
        for i in range(5):
            x = start + i * 74
            _window(scene, x, horizon - 98, 40, 36, (112, 126, 136), _shift(body, -34))
            _box(scene, x + 50, horizon - 102, 18, 98, _shift(body, -22))
            _line(scene, x + 59, horizon - 102, x + 59, horizon - 5, _shift(body, -56))
    else:  # tiles, with a band or a poster
        for x in np.arange(0, SCENE_WIDTH, 16.0):
            _line(scene, x, 0, x, horizon, _shift(wall, -13))
        for y in np.arange(int(horizon) % 12, horizon, 12.0):
            _line(scene, 0, y, SCENE_WIDTH, y, _shift(wall, -13))
        _box(scene, 0, horizon - 84, SCENE_WIDTH, 14, _pick(rng, (80, 110, 140), (110, 128, 100), (150, 96, 80)))
        for _ in range(int(rng.integers(1, 3))):
            x, paper = rng.uniform(0, 220), _pick(rng, (214, 206, 186), (150, 176, 190), (200, 160, 130))
            _box(scene, x, horizon - 64, 44, 56, (84, 86, 90))
            _box(scene, x + 3, horizon - 61, 38, 50, paper)
            _disc(scene, x + 22, horizon - 42, 11, 11, _shift(paper, -46))
            _box(scene, x + 8, horizon - 24, 28, 4, _shift(paper, -70))
    floor = _pick(rng, (160, 162, 160), (146, 148, 152), (170, 164, 154))
    _floor(scene, rng, horizon, floor, rng.random() < 0.7)
    if rng.random() < 0.7:  # tactile paving along the edge
        y = horizon + rng.uniform(12, 34)
        _box(scene, 0, y, SCENE_WIDTH, 13, (206, 180, 92))
        for x in range(4, SCENE_WIDTH, 9):
            _disc(scene, x, y + 6, 2, 2, (184, 158, 76))
    for x in rng.uniform(0, SCENE_WIDTH, int(rng.integers(0, 3))):  # columns
        _box(scene, x, 0, 26, horizon + 26, _shift(wall, -34))
        _box(scene, x, 0, 7, horizon + 26, _shift(wall, -16))
        _box(scene, x - 4, horizon + 20, 34, 9, _shift(wall, -52))


def _street(scene: Scene, rng: np.random.Generator) -> None:
    horizon = rng.uniform(60, 150)
    wall = _pick(rng, (170, 134, 120), (166, 162, 160), (182, 170, 154), (156, 150, 146))
    _facade(scene, rng, horizon, wall)
    for row, y in enumerate(np.arange(0.0, horizon, 9.0)):  # a few courses of brick show
        for x in rng.uniform(0, SCENE_WIDTH, 3):
            _box(scene, x + row % 2 * 5, y, 9, 4, _shift(wall, -10))
    pavement = _pick(rng, (172, 170, 166), (160, 162, 164))
    _floor(scene, rng, horizon, pavement, True)
    if rng.random() < 0.6:  # the carriageway beyond the kerb, with a parked car
        y = horizon + 8
        _box(scene, 0, y, SCENE_WIDTH, 44, (128, 130, 134))
        _box(scene, 0, y + 44, SCENE_WIDTH, 5, (190, 188, 184))
        x, paint = rng.uniform(-40, 190), _pick(rng, (150, 66, 62), (72, 96, 132), (196, 196, 196), (66, 70, 76))
        _poly(scene, _shift(paint, -20), (x + 22, y - 12), (x + 36, y - 34), (x + 88, y - 34), (x + 106, y - 12))
        _poly(scene, (142, 160, 172), (x + 30, y - 13), (x + 40, y - 30), (x + 84, y - 30), (x + 98, y - 13))
        _poly(
            scene,
            paint,
            (x, y - 10),
            (x + 12, y - 16),
            (x + 116, y - 14),
            (x + 130, y - 4),
            (x + 128, y + 14),
            (x, y + 14),
        )
        for dx in (28, 102):
            _disc(scene, x + dx, y + 14, 12, 12, (44, 44, 48))
            _disc(scene, x + dx, y + 14, 5, 5, (150, 150, 152))
    else:  # a crossing
        for x in range(-20, SCENE_WIDTH, 44):
            _poly(
                scene,
                (206, 204, 198),
                (x + 8, horizon + 30),
                (x + 26, horizon + 30),
                (x + 20, horizon + 74),
                (x - 4, horizon + 74),
            )
    if rng.random() < 0.7:  # a lamp post
        x = rng.uniform(20, 260)
        _box(scene, x, 0, 6, horizon + 30, (78, 84, 84))
        _box(scene, x - 4, horizon + 20, 14, 12, (70, 74, 76))


SCENERIES: dict[str, Callable[[Scene, np.random.Generator], None]] = {
    "plaza": _plaza,
    "station": _station,
    "street": _street,
}


def draw_scene(rng: np.random.Generator, scenery: str) -> Scene:
    """A camera's background; `scenery` is a key of SCENERIES."""
    scene = np.zeros((SCENE_HEIGHT, SCENE_WIDTH, 3), np.uint8)
    SCENERIES[scenery](scene, rng)
    return scene
