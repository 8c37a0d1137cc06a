"""When the frames of a video file are, and what their numbers are: by its time stamps, or by counting."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from reid.errors import InputError

TOLERATED = 1000  # failures in a row after which a video is taken to be at its end: there a grab just fails, too
REORDERED = 16  # frames: how far apart H.264 and H.265 may store a frame from its place
LEAP = 60.0  # seconds: a longer step in a clock that is broken elsewhere is not believed
FASTEST = 1000.0  # frames a second


class Clock:
    """Numbers and seconds of a file's frames, the same ones whoever reads it, from wherever.

    Of a file whose coded frames all bear different time stamps, stored in the order of showing but for what codecs
    reorder, a frame's number is its place among them: a frame that cannot be decoded leaves its number out. Elsewhere
    (streams without a clock, segments put together) frames are counted, failures among them too, and one whose
    time stamp stands still, falls, or leaps lasts a ``period``.

    Attributes:
        path: the file.
        times: (N,) rising seconds of all coded frames, by number; empty where they are counted.
        holes: numbers before which the file itself lacks frames.
        expected: how many frames there should be, as far as the file says.
        note: what people are told about a broken clock; empty where it is whole.
    """

    def __init__(self, path: Path) -> None:
        """
        Raises:
            InputError: naming the file, when it holds no video, or neither time stamps nor a rate.
        """
        self.path = path
        stored, self.holes = _stored(path)
        capture = open_capture(path)
        try:
            promised = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
            rate = capture.get(cv2.CAP_PROP_FPS)
            first = next((seconds_of(capture) for _ in range(TOLERATED) if capture.grab()), None)
        finally:
            capture.release()
        if first is None:
            raise InputError(f"{path}: no frame in it can be read")
        self.expected = max(len(stored) + len(self.holes), promised)
        self.times, self.note = np.empty(0), ""
        if _whole(stored, first):
            self.times = np.sort(stored)
            if promised > len(stored) + len(self.holes):
                steps = np.diff(self.times)
                self.holes = (np.flatnonzero(steps > 1.5 * np.median(steps)) + 1).tolist()
        else:
            self._period = _period(path, rate, stored)
            self.note = (
                "its time stamps are missing, stand still or fall: where they do, a frame counts for "
                f"1/{1 / self._period:.4g} s"
            )

    def read(self, capture: cv2.VideoCapture) -> Iterator[tuple[int, float]]:
        """Number and seconds since the start of each frame from the first on, while the capture stands at it."""
        number, seconds, before, failed = -1, 0.0, math.nan, 0
        while failed < TOLERATED:
            if not capture.grab():
                failed += 1
                continue
            stamp = seconds_of(capture)
            if len(self.times):
                place = self.place(stamp)
                if place is None or place <= number:
                    failed += 1
                    continue
                number, seconds = place, stamp - float(self.times[0])
            else:
                step = stamp - before
                known = 0 < step <= LEAP
                seconds += step if known else self._period * (failed + (number >= 0))
                number, before = number + 1 + failed, stamp
            failed = 0
            yield number, seconds

    def place(self, seconds: float) -> int | None:
        """The number of the frame of this time."""
        place = int(np.searchsorted(self.times, seconds))
        return place if place < len(self.times) and self.times[place] == seconds else None


def open_capture(path: Path, *, coded: bool = False) -> cv2.VideoCapture:
    """The file, at its start; ``coded``: its frames as they are stored, not decoded.

    Raises:
        InputError: naming the file, when it cannot be opened.
    """
    settings = [cv2.CAP_PROP_FORMAT, -1] if coded else []
    # Other readers than FFmpeg take a pattern for a list of images.
    capture = cv2.VideoCapture(str(path.resolve()), cv2.CAP_FFMPEG, settings)
    if not capture.isOpened():
        raise InputError(f"{path}: not a readable video{_why(path)}")
    return capture


def _stored(path: Path) -> tuple[np.ndarray, list[int]]:
    """(N,) seconds of the coded frames in the file's order, and those places before which one is damaged."""
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    stat = path.stat()
    times, holes = _read_stored(path, stat.st_size, stat.st_mtime_ns)
    return np.array(times, np.float64), list(holes)


@lru_cache(maxsize=4)
def _read_stored(path: Path, size: int, changed: int) -> tuple[tuple[float, ...], tuple[int, ...]]:
    """Reads all of the file, so the last few are remembered: a page shows many frames of one. ``size`` and ``changed``
    belong to the key."""
    times, holes, failed = list[float](), list[int](), 0
    capture = open_capture(path, coded=True)
    try:
        while failed < TOLERATED:
            if capture.grab():
                holes += [len(times)] if failed else []
                times.append(seconds_of(capture))
                failed = 0
            else:
                failed += 1
    finally:
        capture.release()
    if len(times) == 1 and cv2.haveImageReader(str(path.resolve())):
        raise InputError(f"{path}: not a readable video: it is a picture")
    return tuple(times), tuple(holes)


def seconds_of(capture: cv2.VideoCapture) -> float:
    """The time stamp of the frame that it stands at, from the file's first; 0 where it has none."""
    return float(capture.get(cv2.CAP_PROP_POS_MSEC)) / 1000


def _whole(stored: np.ndarray, first: float) -> bool:
    """Whether all time stamps differ, and rise but for what codecs reorder; ``first``: the first decoded frame's."""
    if not len(stored):
        return False
    order = np.argsort(stored, kind="stable")
    steps = np.diff(stored[order])
    return (
        bool((steps > 0).all())
        and (len(steps) == 0 or float(np.median(steps)) >= 1 / FASTEST)
        and int(np.abs(order - np.arange(len(order))).max()) <= REORDERED
        and first == stored[order[0]]
    )


def _period(path: Path, rate: float, stored: np.ndarray) -> float:
    """Seconds from a frame to the next, where its time stamps do not say."""
    if 0 < rate <= FASTEST:
        return 1 / rate
    steps = np.diff(stored)
    steps = steps[(steps >= 1 / FASTEST) & (steps <= LEAP)]
    if not len(steps):
        raise InputError(
            f"{path}: has neither time stamps nor a frame rate (it says {rate:g} a second); write it anew with one: "
            "ffmpeg -r 25 -i IN OUT.mp4"
        )
    return float(np.median(steps))


def _why(path: Path) -> str:
    """What an .mp4 or .mov file that cannot be opened lacks: its index, which recorders write last."""
    boxes, place, size = list[bytes](), 0, path.stat().st_size
    with path.open("rb") as file:
        while place + 8 <= size and len(boxes) < 1000:
            file.seek(place)
            head = file.read(16)
            boxes.append(head[4:8])
            length = int.from_bytes(head[:4], "big")
            if length == 1:
                length = int.from_bytes(head[8:16], "big")
            if length < 8:
                break
            place += length
    if boxes[:1] == [b"ftyp"] and b"moov" not in boxes:
        return ": its index (moov) is missing, as in a recording that was cut off"
    return ""
