"""When people pass the cameras of a site: made up, for timelines to show; no image depends on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import groupby

import numpy as np

from reid.sites.schedule import plan, visit_generator
from reid.sites.settings import SPLITS, SiteSettings

OPENS = datetime(2026, 3, 3, 7, tzinfo=UTC).timestamp()  # a Tuesday
OPEN = 13 * 3600.0  # seconds of a day: until 20:00
DAYS = 3
RETURNING = 0.3  # of the people
WALK = (20.0, 120.0)  # seconds from the door to a camera, and from the last image at one to the first at the next
PAUSE = (0.2, 2.0)  # seconds from an image to the next at the same camera


def moments(settings: SiteSettings) -> dict[str, float]:
    """When each image of the site was taken, by its name (:attr:`PlannedImage.name`): seconds since 1970, UTC.

    A person comes on one of three days, at any time between 7:00 and 20:00 UTC, and passes the cameras in the order of
    their numbers or the other way round. Three in ten come on two days, and pass some of the cameras on each. Seeded as
    people are, by seed, site and identity; the same whichever splits are made.
    """
    times: dict[str, float] = {}
    for pid, group in groupby(plan(replace(settings, splits=tuple(SPLITS))), key=lambda image: image.pid):
        images = list(group)
        cameras = list(dict.fromkeys(image.camera for image in images))
        of_person = _visits(visit_generator(settings, pid), cameras, images[-1].shot)
        times |= {image.name: of_person[image.camera][image.shot - 1] for image in images}
    return times


def _visits(lots: np.random.Generator, cameras: Sequence[int], shots: int) -> dict[int, list[float]]:
    """By camera, when the person's images there were taken."""
    returns, turned, cut = lots.random(3)
    order = cameras[::-1] if turned < 0.5 else cameras
    first = 1 + int(cut * (len(order) - 1))
    parts = [order[:first], order[first:]] if returns < RETURNING else [order]
    times: dict[int, list[float]] = {}
    for day, passed in zip(np.sort(np.argsort(lots.random(DAYS))[: len(parts)]), parts, strict=True):
        gaps = np.column_stack([lots.uniform(*WALK, len(passed)), lots.uniform(*PAUSE, (len(passed), shots - 1))])
        walked = np.cumsum(gaps).reshape(gaps.shape)
        enters = OPENS + 86_400 * day + lots.random() * (OPEN - gaps.sum())
        times |= dict(zip(passed, np.round(enters + walked, 3).tolist(), strict=True))
    return times
