"""Reading video files: frames at a rate, with their times, and one frame by its number."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from reid.errors import InputError
from reid.progress import track
from reid.video.clock import Clock, open_capture, seconds_of

log = logging.getLogger(__name__)

NAMED = 5  # gaps that are told one by one
NEAR = 32  # frames to read on after a jump


class Frame(NamedTuple):
    """A frame's number from 0, its seconds since the video's start, and the image (h, w, 3) uint8 RGB, upright."""

    number: int
    seconds: float
    image: np.ndarray


def frames(path: Path, rate: float, progress: bool = True) -> Iterator[Frame]:
    """The video's frames, about ``rate`` a second: the first, and each that is the first of another 1 / rate seconds.

    Goes on after frames that cannot be decoded, up to :data:`reid.video.clock.TOLERATED` of them in a
    row. Says so in the log, and where, and when the file ends before the frames that it promises or its clock is
    broken.

    Raises:
        InputError: naming the file, when nothing in it can be read.
    """
    clock = Clock(path)
    if clock.note:
        log.warning(f"{path}: {clock.note}")
    looked, read, before = 0, 0, -1
    gaps = set(clock.holes)  # numbers before which frames are lost
    capture = open_capture(path)
    try:
        with track(name=path.name, unit="frame", total=clock.expected or None, shown=progress) as bar:
            for number, seconds in clock.read(capture):
                if number > before + 1:
                    gaps.add(number)
                read, before = read + 1, number
                bar.update()
                if seconds * rate > looked - 1e-6:  # times are rounded
                    image = _image(capture)
                    if image is None:
                        gaps.add(number + 1)
                        continue
                    looked = int(seconds * rate + 1e-6) + 1
                    yield Frame(number, seconds, image)
    finally:
        capture.release()
    if gaps or read < 0.99 * clock.expected:
        log.warning(
            f"{path}: ends early, or is damaged: {read} of {clock.expected} frames could be read{_places(gaps)}"
        )


def read_frame(path: Path, number: int) -> np.ndarray:
    """Frame ``number``, from 0, (h, w, 3) uint8 RGB, upright: the very one that :func:`frames` gives this number.

    Jumps there by its time where the file's time stamps are whole; else reads all before it.

    Raises:
        InputError: naming the file, when it cannot be read or has no such frame.
    """
    clock = Clock(path)
    capture = open_capture(path)
    try:
        if not _jump(clock, capture, number):
            capture.release()
            capture = open_capture(path)
            reached = next((place for place, _ in clock.read(capture) if place >= number), None)
            if number < 0 or reached != number:
                raise InputError(f"{path}: has no frame {number}, or it cannot be read")
        image = _image(capture)
        if image is None:
            raise InputError(f"{path}: frame {number} cannot be decoded")
        return image
    finally:
        capture.release()


def _jump(clock: Clock, capture: cv2.VideoCapture, number: int) -> bool:
    """Put the capture at the frame of this number; False where it does not get there."""
    if not 0 < number < len(clock.times):
        return False
    if not capture.set(cv2.CAP_PROP_POS_MSEC, 1000 * float(clock.times[number])):
        return False
    for _ in range(NEAR):
        if not capture.grab():
            return False
        place = clock.place(seconds_of(capture))
        if place is None or place >= number:
            return place == number
    return False


def _places(gaps: set[int]) -> str:
    if not gaps:
        return ""
    named = ", ".join(f"before frame {number}" for number in sorted(gaps)[:NAMED])
    more = f" and {len(gaps) - NAMED} more" if len(gaps) > NAMED else ""
    return f"; {len(gaps)} gap{'s' if len(gaps) > 1 else ''}: {named}{more}"


def _image(capture: cv2.VideoCapture) -> np.ndarray | None:
    """The frame that the capture stands at; None where it cannot be decoded."""
    done, image = capture.retrieve()
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB) if done else None
