"""The drawn images of one identity."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache

from reid.sites.drawn.camera import Camera, sample_camera
from reid.sites.drawn.compose import draw_content, sample_shot, take
from reid.sites.drawn.people import Person, sample_person
from reid.sites.drawn.settings import DrawnSettings
from reid.sites.drawn.styles import SITES
from reid.sites.scenes import Scene, draw_scene
from reid.sites.schedule import PlannedImage, camera_generator, person_generator, scene_generator, shot_generator


@lru_cache(maxsize=16)
def _scene_and_camera(settings: DrawnSettings, camera: int) -> tuple[Scene, Camera]:
    site = SITES[settings.site]
    return (
        draw_scene(scene_generator(settings, camera), site.scenery),
        sample_camera(camera_generator(settings, camera), site),
    )


def forget() -> None:
    """Drop the scenes and cameras that are kept."""
    _scene_and_camera.cache_clear()


def _draw_image(settings: DrawnSettings, image: PlannedImage, person: Person) -> bytes:
    scene, camera = _scene_and_camera(settings, image.camera)
    rng = shot_generator(settings, image)
    shot = sample_shot(rng, SITES[settings.site].season)
    content = draw_content(person, shot, scene)
    return take(content, shot, camera, settings.style, settings.degradation, rng)


def draw_identity(settings: DrawnSettings, images: Sequence[PlannedImage]) -> Iterator[bytes]:
    """The JPEG of each of the planned images, all of one identity."""
    person = sample_person(person_generator(settings, images[0].pid), SITES[settings.site].season)
    for image in images:
        yield _draw_image(settings, image, person)
