"""From a video to entries: one for each fragment of a person's track, with a feature and a thumbnail."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from reid.errors import InputError
from reid.gallery.catalogue.thumbnails import crop, thumbnail
from reid.gallery.entries import Entry
from reid.networks import Network
from reid.retrieval.unit import unit_rows, usable
from reid.video.clock import LEAP
from reid.video.detect import Detector
from reid.video.frames import Frame, frames
from reid.video.track import Box, Linker

log = logging.getLogger(__name__)

RATE, MIN_HEIGHT, MIN_CONFIDENCE = 5.0, 64, 0.5
# Linking: overlap; seconds; frames looked at. A person in two fragments is found twice, two in one are mixed up.
MIN_OVERLAP, GAP, MIN_FRAMES = 0.3, 1.0, 2
CROPS = 5  # of a fragment, whose features are averaged


def fragments(
    path: Path,
    camera: str,
    detector: Detector,
    model: Network,
    rate: float = RATE,
    min_height: int = MIN_HEIGHT,
    min_confidence: float = MIN_CONFIDENCE,
    start: float | None = None,
    progress: bool = True,
) -> Iterator[tuple[Entry, np.ndarray, bytes]]:
    """An entry, its feature (D,) float32 and its thumbnail, a JPEG, for each fragment, in the order of their ends.

    The feature is the mean of the unit features of up to five crops, evenly spread over the fragment; shown is the
    frame where confidence times height is largest. A fragment in which the network finds nothing has a feature of
    zeros. Holds the crops of the open fragments only, at most eleven each.

    Looked at are ``rate`` frames a second, all of a video that has fewer; a box counts from ``min_height`` pixels and
    ``min_confidence``, 0..1, on. ``start`` is when the video begins, seconds since 1970, UTC; None where not known: its
    times then count from 1970. Raises InputError for an argument out of range; or naming the file, when nothing in it
    can be read.
    """
    if not (0 < rate <= 1000 and 0 <= min_confidence <= 1):
        raise InputError(f"rate {rate}, confidence {min_confidence}: expected above 0 to 1000, and 0 to 1")
    if start is None:
        log.warning(f"{path}: no start time given, so its times count from 1970-01-01 00:00:00 UTC")
    kept = short = 0
    for track in _tracks(path, detector, rate, min_height, min_confidence, progress):
        if track.seen < MIN_FRAMES:
            short += 1
            continue
        kept += 1
        yield track.entry(path, camera, start or 0.0), track.feature(model), thumbnail(track.shown)
    log.info(f"{path}: {kept} track fragments; {short} seen in fewer than {MIN_FRAMES} frames left out")


class _Track:
    """What is kept of a fragment: its best crop, and up to ten spread over it."""

    def __init__(self, first: float) -> None:
        self.seen = 0  # times
        self._stride = 1
        self._crops: list[np.ndarray] = []  # those seen at multiples of the stride
        self._first = self._last = first  # seconds
        self._best = (-1.0, 0, (0, 0, 0, 0))  # confidence times height, frame and box
        self.shown = np.empty((0, 0, 3), np.uint8)

    def see(self, frame: Frame, box: Box) -> None:
        """Add the person's box in the next frame."""
        pixels = box.pixels(*frame.image.shape[1::-1])
        image = crop(frame.image, pixels).copy()  # a view would keep the whole frame
        self._last = frame.seconds
        if self.seen % self._stride == 0:
            self._crops.append(image)
        if len(self._crops) > 2 * CROPS:
            self._crops, self._stride = self._crops[::2], 2 * self._stride
        if (size := box.confidence * box.height) > self._best[0]:
            self._best, self.shown = (size, frame.number, pixels), image
        self.seen += 1

    def entry(self, path: Path, camera: str, start: float) -> Entry:
        return Entry(str(path.resolve()), camera, None, start + self._first, start + self._last, *self._best[1:])

    def feature(self, model: Network) -> np.ndarray:
        """(D,) float32: the mean of the unit features of up to CROPS crops, without those that have none; zeros where
        no crop has one."""
        places = np.unique(np.linspace(0, len(self._crops) - 1, CROPS).round().astype(int))
        features = model.embed([self._crops[place] for place in places])
        features = features[usable(features)]
        if not len(features):
            return np.zeros(model.origin.width, np.float32)
        return unit_rows(features, model.origin.width, "crops of a video").mean(axis=0)


def _tracks(
    path: Path, detector: Detector, rate: float, min_height: int, min_confidence: float, progress: bool
) -> Iterator[_Track]:
    """The fragments, as they end."""
    linker, tracks, before = Linker(MIN_OVERLAP, math.floor(GAP * rate)), dict[int, _Track](), 0.0
    for frame in frames(path, rate, progress):
        if frame.seconds > before + LEAP:  # the recording paused: who stands there now is found anew
            yield from map(tracks.pop, linker.end())
        before = frame.seconds
        detected = detector.detect(frame.image)
        boxes = [box for box in detected if box.height >= min_height and box.confidence >= min_confidence]
        numbers, ended = linker.step(boxes)
        for number, box in zip(numbers, boxes, strict=True):
            tracks.setdefault(number, _Track(frame.seconds)).see(frame, box)
        yield from map(tracks.pop, ended)
    yield from map(tracks.pop, linker.end())
