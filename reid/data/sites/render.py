"""Render a site into a folder: in parallel, the same bytes for any number of processes, and safe to kill."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import lru_cache
from itertools import groupby
from multiprocessing import get_context
from pathlib import Path

import cv2

from reid.data.sites.camera import Camera, sample_camera
from reid.data.sites.compose import draw_content, sample_shot, take
from reid.data.sites.folder import check_finished, finish, open_partial
from reid.data.sites.people import Person, sample_person
from reid.data.sites.scenes import Scene, draw_scene
from reid.data.sites.schedule import (
    PlannedImage,
    camera_generator,
    person_generator,
    plan,
    scene_generator,
    shot_generator,
)
from reid.data.sites.settings import RenderSettings
from reid.data.sites.styles import SITES
from reid.errors import InputError
from reid.files import holding, replacing
from reid.processes import end_with_parent, starting
from reid.progress import track


@lru_cache(maxsize=16)
def _scene_and_camera(settings: RenderSettings, camera: int) -> tuple[Scene, Camera]:
    site = SITES[settings.site]
    return (
        draw_scene(scene_generator(settings, camera), site.scenery),
        sample_camera(camera_generator(settings, camera), site),
    )


def draw_image(settings: RenderSettings, image: PlannedImage, person: Person) -> bytes:
    """The JPEG of one planned image."""
    scene, camera = _scene_and_camera(settings, image.camera)
    rng = shot_generator(settings, image)
    shot = sample_shot(rng, SITES[settings.site].season)
    content = draw_content(person, shot, scene)
    return take(content, shot, camera, settings.style, settings.degradation, rng)


def _draw_identity(folder: Path, settings: RenderSettings, images: list[PlannedImage]) -> int:
    """Write the images of one identity below `folder`; returns how many."""
    person = sample_person(person_generator(settings, images[0].pid), SITES[settings.site].season)
    for image in images:
        drawn = draw_image(settings, image, person)
        with replacing(folder / image.name, sync=False) as file:  # there are thousands: one that is lost is drawn again
            file.write(drawn)
    return len(images)


def _start_worker() -> None:
    cv2.setNumThreads(1)
    end_with_parent()  # a killed parent closes no queue of its workers: they would wait for ever


@contextmanager
def _one_opencv_thread() -> Iterator[None]:
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)


def _available_processes() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _draw_missing(partial: Path, settings: RenderSettings, processes: int, progress: bool) -> None:
    """Draw the images that `partial` lacks."""
    images = plan(settings)
    there = {path.relative_to(partial).as_posix() for path in partial.glob("*/*.jpg") if path.stat().st_size > 0}
    missing = [image for image in images if image.name not in there]
    identities = [list(group) for _, group in groupby(missing, key=lambda image: image.pid)]
    processes = min(processes, len(identities))
    done = len(images) - len(missing)
    with track(name=f"drawing {settings.site}", unit="image", total=len(images), done=done, shown=progress) as bar:
        if processes <= 1:
            with _one_opencv_thread():
                for identity in identities:
                    bar.update(_draw_identity(partial, settings, identity))
            return
        # spawn: forking a process whose libraries run threads (OpenCV, torch) can deadlock.
        with ProcessPoolExecutor(processes, get_context("spawn"), _start_worker) as pool:
            try:
                with starting():
                    jobs = [pool.submit(_draw_identity, partial, settings, identity) for identity in identities]
                for job in as_completed(jobs):
                    bar.update(job.result())
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise


def render_site(folder: Path, settings: RenderSettings, processes: int | None = None, progress: bool = True) -> str:
    """Draw a site into `folder` in Market-1501's layout, unless it stands there already.

    The images are drawn in a hidden folder beside `folder` which is renamed when complete: what a killed run leaves is
    kept and completed by the next. A second process that renders the same folder waits for the first.

    Args:
        folder: where the site goes.
        settings: what to draw.
        processes: how many processes draw, at least 1; by default one for each processor at hand.
        progress: whether to show a progress bar on stderr.

    Returns:
        The fingerprint: SHA-256 (hex) over the names and bytes of all images.

    Raises:
        InputError: the folder holds something else (another site, other settings, an older renderer's images, lost or
            changed files), cannot be written, or a drawing process was killed.
    """
    if processes is not None and processes < 1:
        raise InputError(f"{folder}: {processes} drawing processes, not at least 1")
    try:
        fingerprint = check_finished(folder, settings)
        if fingerprint is not None:
            return fingerprint
        folder.parent.mkdir(parents=True, exist_ok=True)
        with holding(folder.parent / f".{folder.name}.lock", folder, wait=True):
            fingerprint = check_finished(folder, settings)  # another process may have drawn it meanwhile
            if fingerprint is not None:
                return fingerprint
            partial = open_partial(folder, settings)
            _draw_missing(partial, settings, processes or _available_processes(), progress)
            return finish(partial, folder, settings)
    except BrokenProcessPool as error:
        raise InputError(
            f"{folder}: a drawing process was killed (out of memory?); run again, finished images are kept"
        ) from error
    except OSError as error:
        raise InputError(f"{folder}: cannot draw the site there: {error}") from error
