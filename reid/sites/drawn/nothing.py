"""Pictures without people, to see a network on: what may be cut out by mistake, as far as it can be drawn."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np

from reid.sites.scenes import draw_scene

SCENES, WINDOWS = 8, 10  # drawn places of each scenery, and pictures of each
EACH = 40  # pictures of each other kind
HEIGHT, WIDTH = 128, 48


def pictures(seed: int = 0) -> list[np.ndarray]:
    """Crops (h, w, 3) uint8 RGB without people: drawn places, plain colours, gradients, stripes, checks, noise."""
    rng = np.random.default_rng(seed)
    kinds = (_scenes, _plain, _gradients, _stripes, _checks, _noise)
    return [picture for kind in kinds for picture in kind(rng)]


def _scenes(rng: np.random.Generator) -> Iterator[np.ndarray]:
    for scenery in ("plaza", "station", "street"):
        for _ in range(SCENES):
            scene = draw_scene(rng, scenery)
            for _ in range(WINDOWS):
                high = int(rng.integers(60, scene.shape[0]))
                wide = high * WIDTH // HEIGHT
                top, left = rng.integers(scene.shape[0] - high + 1), rng.integers(scene.shape[1] - wide + 1)
                yield scene[top : top + high, left : left + wide].copy()


def _mixed(rng: np.random.Generator, share: np.ndarray) -> np.ndarray:
    """Two colours by a share (h, w) of the second."""
    one, two = rng.integers(0, 256, (2, 3))
    return (one + (two - one) * share[..., None]).astype(np.uint8)


def _plain(rng: np.random.Generator) -> Iterator[np.ndarray]:
    for _ in range(EACH):
        yield _mixed(rng, np.zeros((HEIGHT, WIDTH)))


def _gradients(rng: np.random.Generator) -> Iterator[np.ndarray]:
    down, across = np.mgrid[:HEIGHT, :WIDTH] / [[[HEIGHT]], [[WIDTH]]]
    for number in range(EACH):
        yield _mixed(rng, down if number % 2 else across)


def _stripes(rng: np.random.Generator) -> Iterator[np.ndarray]:
    down, across = np.mgrid[:HEIGHT, :WIDTH]
    for _ in range(EACH):
        turn = rng.uniform(0, np.pi)
        yield _mixed(rng, np.sin(rng.uniform(0.05, 1) * (across * np.cos(turn) + down * np.sin(turn))) > 0)


def _checks(rng: np.random.Generator) -> Iterator[np.ndarray]:
    down, across = np.mgrid[:HEIGHT, :WIDTH]
    for _ in range(EACH):
        yield _mixed(rng, (across // rng.integers(3, 16) + down // rng.integers(3, 24)) % 2)


def _noise(rng: np.random.Generator) -> Iterator[np.ndarray]:
    for number in range(EACH):
        noise = rng.normal(128, rng.uniform(50, 300), (HEIGHT, WIDTH, 3))
        blur = rng.uniform(1, 8) if number % 4 else 0.01
        yield np.clip(cv2.GaussianBlur(noise, (0, 0), blur), 0, 255).astype(np.uint8)
