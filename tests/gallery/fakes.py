"""Models without a network, images for them, and a gallery of their features."""

from __future__ import annotations

from contextlib import contextmanager

import numpy as np
from PIL import Image

from reid.gallery.store import Gallery
from reid.networks import Origin

ORIGIN = Origin("mean colours", 4, "0" * 64, "mean red, green and blue, and 1")


class MeanColours:
    """Feature: mean red, green and blue in 0..1, and 1."""

    origin = ORIGIN

    def embed(self, images):
        return np.array([[*(image.reshape(-1, 3).mean(axis=0) / 255), 1] for image in images], np.float32)


class Blind(MeanColours):
    """Finds nothing in black: zeros, NaN or infinity."""

    def __init__(self, nothing):
        self.nothing = nothing

    def embed(self, images):
        features = super().embed(images)
        features[[not image.any() for image in images]] = self.nothing
        return features


class Counting(MeanColours):
    """Counts the crops that it sees, and stops at a number of them."""

    def __init__(self, stop_at=None):
        self.seen, self.stop_at = 0, stop_at

    def embed(self, images):
        if self.stop_at is not None and self.seen + len(images) > self.stop_at:
            raise KeyboardInterrupt
        self.seen += len(images)
        return super().embed(images)


NOTHING = [0.0, np.nan, np.inf, [np.nan, 0, 0, 0], [1.0, np.inf, 0, 0]]


def paint(path, colour, size=(48, 96)):
    """Write an image of one colour, (width, height); returns its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)
    return path


@contextmanager
def new_gallery(folder, origin=ORIGIN):
    """An empty one, which must be in order in the end."""
    with Gallery.create(folder, origin) as gallery:
        yield gallery
        assert gallery.verify() == []
