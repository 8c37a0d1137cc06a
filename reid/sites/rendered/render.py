"""The images of one identity in a rendered world."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache

import numpy as np

from reid.sites.rendered.backdrop.backgrounds import Background, Place, Setting, sample_background
from reid.sites.rendered.backdrop.occluders import sample_occluder
from reid.sites.rendered.cameras import Camera, sample_camera
from reid.sites.rendered.figure import Walker, sample_walker
from reid.sites.rendered.image import STRANGERS, render_content, sample_shot, take
from reid.sites.rendered.settings import RenderedSettings
from reid.sites.rendered.wear.outfit import Wardrobe
from reid.sites.rendered.worlds import WORLDS
from reid.sites.schedule import (
    PlannedImage,
    camera_generator,
    person_generator,
    scene_generator,
    shot_generator,
    stranger_generator,
)

_BACKGROUNDS = 3  # of a camera


# What is kept is what the seeds say, whenever it is made: it changes no image. It takes 1 MB a camera, 3 a stranger.
@lru_cache(maxsize=256)
def _camera(settings: RenderedSettings, number: int) -> tuple[Camera, tuple[Background, ...]]:
    camera = sample_camera(camera_generator(settings, number), WORLDS[settings.site])
    pitch = np.arctan2(camera.mount.height - 0.9, camera.mount.distance)
    setting = Setting(Place(camera.place), float(np.clip(pitch, 0, 1.5)), camera.mount.distance)
    rng = scene_generator(settings, number)
    return camera, tuple(sample_background(rng, setting) for _ in range(_BACKGROUNDS))


@lru_cache(maxsize=STRANGERS)
def _stranger(settings: RenderedSettings, number: int) -> Walker:
    return sample_walker(stranger_generator(settings, number), Wardrobe(WORLDS[settings.site].wardrobe))


def forget() -> None:
    """Drop the cameras and strangers that are kept."""
    _camera.cache_clear()
    _stranger.cache_clear()


def _render_image(settings: RenderedSettings, image: PlannedImage, walker: Walker) -> bytes:
    camera, backgrounds = _camera(settings, image.camera)
    shot = sample_shot(shot_generator(settings, image), WORLDS[settings.site], camera)
    occluder = sample_occluder(np.random.default_rng(shot.seeds[2])) if shot.occluded else None
    content = render_content(
        walker,
        shot,
        camera,
        backgrounds[int(shot.background * _BACKGROUNDS)],
        None if shot.neighbour is None else _stranger(settings, shot.neighbour.number),
        occluder,
        settings.height,
    )
    return take(content, shot, camera, settings.style, settings.degradation)


def render_identity(settings: RenderedSettings, images: Sequence[PlannedImage]) -> Iterator[bytes]:
    """The JPEG of each of the planned images, all of one identity."""
    walker = sample_walker(person_generator(settings, images[0].pid), Wardrobe(WORLDS[settings.site].wardrobe))
    for image in images:
        yield _render_image(settings, image, walker)
