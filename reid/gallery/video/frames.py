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

log = logging.getLogger(__name__)


class Frame(NamedTuple):
    """A frame's number from 0, its seconds since the video's start, and the image (h, w, 3) uint8 RGB."""

    number: int
    seconds: float
    image: np.ndarray


def frames(path: Path, rate: float, progress: bool = True) -> Iterator[Frame]:
    """The video's frames, about ``rate`` a second: the first, and each that is the first of another 1 / rate seconds.

    Says so in the log when the file ends before the frames that it promises.

    Raises:
        InputError: naming the file, when nothing in it can be read.
    """
    capture = _open(path)
    expected, looked, number = _count(capture), 0, 0
    try:
        with track(name=path.name, unit="frame", total=expected or None, shown=progress) as bar:
            while capture.grab():
                seconds = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
                if seconds * rate > looked - 1e-6:  # times are rounded
                    looked = int(seconds * rate + 1e-6) + 1
                    yield Frame(number, seconds, _image(capture, path, number))
                number += 1
                bar.update()
    finally:
        capture.release()
    if number == 0:
        raise InputError(f"{path}: no frame in it can be read")
    if number < 0.99 * expected:
        log.warning(f"{path}: ends early, or is damaged: {number} of {expected} frames could be read")


def read_frame(path: Path, number: int) -> np.ndarray:
    """Frame ``number``, from 0, (h, w, 3) uint8 RGB: the very one that :func:`frames` counts so.

    Jumps there where the video's frames are evenly spaced from its first to its last; else reads all before it.

    Raises:
        InputError: naming the file, when it cannot be read or has no such frame.
    """
    capture = _open(path)
    try:
        count = _count(capture)
        even = number > 0 and _jump(capture, count - 1) and not capture.grab()
        if not (even and _jump(capture, number)):
            capture.release()
            capture = _open(path)
            for _ in range(number + 1):
                if not capture.grab():
                    raise InputError(f"{path}: has no frame {number}, or it cannot be read")
        return _image(capture, path, number)
    finally:
        capture.release()


def _jump(capture: cv2.VideoCapture, number: int) -> bool:
    """Grab the frame whose time is ``number`` / frames a second, if there is one within a tenth of a frame."""
    if number < 0 or not capture.set(cv2.CAP_PROP_POS_FRAMES, number) or not capture.grab():
        return False
    rate = capture.get(cv2.CAP_PROP_FPS)
    return abs(capture.get(cv2.CAP_PROP_POS_MSEC) / 1000 * rate - number) < 0.1


def _open(path: Path) -> cv2.VideoCapture:
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    capture = cv2.VideoCapture(str(path.resolve()), cv2.CAP_FFMPEG)  # others take a pattern for a list of images
    if not capture.isOpened():
        raise InputError(f"{path}: not a readable video")
    return capture


def _count(capture: cv2.VideoCapture) -> int:
    """Frames that the file promises; 0 where it promises none."""
    return max(0, int(capture.get(cv2.CAP_PROP_FRAME_COUNT)))


def _image(capture: cv2.VideoCapture, path: Path, number: int) -> np.ndarray:
    done, image = capture.retrieve()
    if not done:
        raise InputError(f"{path}: frame {number} cannot be decoded")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
