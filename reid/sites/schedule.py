"""Who passes which camera: the list of a site's images, with the generator that belongs to each thing in it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from reid.sites.settings import SPLITS, SiteSettings


@dataclass(frozen=True)
class PlannedImage:
    """One image to make."""

    split: str
    pid: int
    camera: int  # from 1
    shot: int  # from 1

    @property
    def name(self) -> str:
        """Path below the site's folder, as in Market-1501: pid, camera and sequence, frame, box."""
        return f"{SPLITS[self.split]}/{self.pid:04d}_c{self.camera}s1_{self.shot:06d}_00.jpg"


def _generator(settings: SiteSettings, pid: int, camera: int, shot: int) -> np.random.Generator:
    # Strengths stay out of the seed: another style shows the same people in the same poses.
    return np.random.default_rng([settings.seed, settings.number, pid, camera, shot])


def person_generator(settings: SiteSettings, pid: int) -> np.random.Generator:
    """For the traits of an identity; pids start at 1."""
    return _generator(settings, pid, 0, 0)


def presence_generator(settings: SiteSettings, pid: int) -> np.random.Generator:
    """For the cameras that an identity passes."""
    return _generator(settings, pid, 0, 1)


def visit_generator(settings: SiteSettings, pid: int) -> np.random.Generator:
    """For the times at which an identity passes them."""
    return _generator(settings, pid, 0, 2)


def scene_generator(settings: SiteSettings, camera: int) -> np.random.Generator:
    """For a camera's background; cameras start at 1."""
    return _generator(settings, 0, camera, 0)


def camera_generator(settings: SiteSettings, camera: int) -> np.random.Generator:
    """For a camera's photometry and degradation."""
    return _generator(settings, 0, camera, 1)


def stranger_generator(settings: SiteSettings, number: int) -> np.random.Generator:
    """For the traits of somebody who is no identity and at times stands beside one; numbers start at 0."""
    return _generator(settings, 0, 0, number)


def shot_generator(settings: SiteSettings, image: PlannedImage) -> np.random.Generator:
    """For one image: pose, occluders, noise."""
    return _generator(settings, image.pid, image.camera, image.shot)


def cameras_of(settings: SiteSettings, pid: int) -> list[int]:
    """The cameras that an identity passes, in order, at least two."""
    lots = presence_generator(settings, pid).random(settings.cameras)
    return [int(camera) + 1 for camera in np.flatnonzero(settings.passed(lots))]


def plan(settings: SiteSettings) -> list[PlannedImage]:
    """Every image of the site's splits, by identity, camera and shot.

    A test identity's first image in a camera is a query, the others are gallery: every query has a match, since the
    identity passes another camera too.
    """
    images = []
    for pid in range(1, settings.train_identities + settings.test_identities + 1):
        training = pid <= settings.train_identities
        for camera in cameras_of(settings, pid):
            for shot in range(1, (settings.train_shots if training else settings.test_shots) + 1):
                split = "train" if training else "query" if shot == 1 else "gallery"
                if split in settings.splits:
                    images.append(PlannedImage(split, pid, camera, shot))
    return images
