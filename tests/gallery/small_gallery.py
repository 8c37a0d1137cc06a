"""A gallery of twelve drawn crops for the page's tests: six people in plain colours, two cameras each."""

from __future__ import annotations

import io
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
from memory_store import MemoryStore
from PIL import Image

from reid.gallery.entries import Entry
from reid.gallery.web.app import create_app
from reid.networks import Origin

COLOURS = {
    "P1": (200, 30, 30),
    "P2": (30, 160, 60),
    "P3": (40, 60, 200),
    "P4": (220, 190, 40),
    "P5": (150, 60, 170),
    None: (60, 60, 60),
}
ORIGIN = Origin("colours", 4, "none", "mean colour and a constant")
START = 1_700_000_000.0
RATES = {0.001: 0.01, 0.01: 0.05, 0.1: 0.4}


def crop(colour, brighter=0, size=(32, 64)):
    """(h, w, 3) uint8: a person in that colour on grey."""
    image = np.full((size[1], size[0], 3), 128, np.uint8)
    image[8:-4, 6:-6] = np.clip(np.array(colour) + brighter, 0, 255)
    return image


def encoded(image, kind="PNG"):
    file = io.BytesIO()
    Image.fromarray(image).save(file, kind)
    return file.getvalue()


class Colours:
    """Feature: the mean colour of the middle against grey, and a small constant."""

    origin = ORIGIN

    def embed(self, images):
        return np.array([[*(image.mean(axis=(0, 1)) / 128 - 1), 0.01] for image in images], np.float32)


class Verdicts:
    """A calibration made up: the probability falls in a line with the distance."""

    source, usual = "drawn", 0.01
    held = SimpleNamespace(rates=[SimpleNamespace(rate=rate, threshold=edge) for rate, edge in RATES.items()])

    def check(self, origin, where):
        pass

    def verdict(self, distance, rate):
        return SimpleNamespace(
            same=distance <= RATES[rate],
            probability=float(np.clip(1 - distance, 0, 1)),
            threshold=RATES[rate],
            false_match_rate=rate * 1.5,
            true_match_rate=0.9,
        )


class Log(list):
    def record(self, who, action, entries=(), **numbers):
        self.append((who, action, list(entries), numbers))


def fill(store, folder):
    """Two images of each person, an hour apart; the second of the last has no time. Sources lie in the folder."""
    entries, images = [], []
    for number, (identity, colour) in enumerate(COLOURS.items()):
        for camera in range(2):
            image = crop(colour, brighter=8 * camera)
            path = folder / f"{number}_{camera}.png"
            path.write_bytes(encoded(np.pad(image, ((20, 20), (30, 30), (0, 0)))))
            start = START + 60 * number + 3600 * camera
            unknown = identity is None and camera == 1
            time, until = (None, None) if unknown else (start, start + 5)
            entries.append(Entry(str(path), f"hall/{camera}", identity, time, until, box=(30, 20, 62, 84)))
            images.append(image)
    return store.add(entries, Colours().embed(images), [encoded(image, "JPEG") for image in images])


def application(folder, calibration=None, token=None, empty=False, **more):
    """The application on a filled store in memory; its parts as attributes of its state."""
    store, log = MemoryStore(ORIGIN, folder), Log()
    if not empty:
        fill(store, folder)

    @contextmanager
    def writer():
        yield store

    settings = {"audit": log, "writer": writer, "drop_expired": lambda: None, **more}
    app = create_app(store, Colours(), calibration, token=token, **settings)
    app.state.store, app.state.log = store, log
    return app
