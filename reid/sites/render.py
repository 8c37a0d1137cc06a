"""Render a site into a folder: in parallel, the same bytes for any number of processes, and safe to kill."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from itertools import groupby
from multiprocessing import get_context
from pathlib import Path

import cv2

from reid.errors import InputError
from reid.files import holding, replacing
from reid.processes import end_with_parent, starting
from reid.progress import track
from reid.sites.folder import check_finished, finish, open_partial
from reid.sites.schedule import PlannedImage, plan
from reid.sites.settings import SiteSettings


def _make_identity(folder: Path, settings: SiteSettings, images: list[PlannedImage]) -> int:
    """Write the images of one identity below `folder`; returns how many."""
    for image, made in zip(images, settings.identity(images), strict=True):
        with replacing(folder / image.name, sync=False) as file:  # there are thousands: one that is lost is made again
            file.write(made)
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


def _make_missing(partial: Path, settings: SiteSettings, processes: int, progress: bool) -> None:
    """Make the images that `partial` lacks."""
    images = plan(settings)
    there = {path.relative_to(partial).as_posix() for path in partial.glob("*/*.jpg") if path.stat().st_size > 0}
    missing = [image for image in images if image.name not in there]
    identities = [list(group) for _, group in groupby(missing, key=lambda image: image.pid)]
    processes = min(processes, len(identities))
    done = len(images) - len(missing)
    with track(
        name=f"{settings.verb} {settings.site}", unit="image", total=len(images), done=done, shown=progress
    ) as bar:
        if processes <= 1:
            with _one_opencv_thread():
                try:
                    for identity in identities:
                        bar.update(_make_identity(partial, settings, identity))
                finally:
                    settings.forget()  # this process lives on, to train or to search
            return
        # spawn: forking a process whose libraries run threads (OpenCV, torch) can deadlock.
        with ProcessPoolExecutor(processes, get_context("spawn"), _start_worker) as pool:
            try:
                with starting():
                    jobs = [pool.submit(_make_identity, partial, settings, identity) for identity in identities]
                for job in as_completed(jobs):
                    bar.update(job.result())
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise


def render_site(folder: Path, settings: SiteSettings, processes: int | None = None, progress: bool = True) -> str:
    """Make a site in `folder` in Market-1501's layout, unless it stands there already.

    The images are made in a hidden folder beside `folder` which is renamed when complete: what a killed run leaves is
    kept and completed by the next. A second process that renders the same folder waits for the first.

    Args:
        folder: where the site goes.
        settings: what to make.
        processes: how many processes work, at least 1; by default one for each processor at hand.
        progress: whether to show a progress bar on stderr.

    Returns:
        The fingerprint: SHA-256 (hex) over the names and bytes of all images.

    Raises:
        InputError: the folder holds something else (another site, other settings, an older renderer's images, lost or
            changed files), cannot be written, or a process was killed.
    """
    if processes is not None and processes < 1:
        raise InputError(f"{folder}: {processes} processes, not at least 1")
    try:
        fingerprint = check_finished(folder, settings)
        if fingerprint is not None:
            return fingerprint
        folder.parent.mkdir(parents=True, exist_ok=True)
        with holding(folder.parent / f".{folder.name}.lock", folder, wait=True):
            fingerprint = check_finished(folder, settings)  # another process may have made it meanwhile
            if fingerprint is not None:
                return fingerprint
            partial = open_partial(folder, settings)
            _make_missing(partial, settings, processes or _available_processes(), progress)
            return finish(partial, folder, settings)
    except BrokenProcessPool as error:
        raise InputError(
            f"{folder}: a process was killed (out of memory?); run again, finished images are kept"
        ) from error
    except OSError as error:
        raise InputError(f"{folder}: cannot make the site there: {error}; what is finished is kept") from error
