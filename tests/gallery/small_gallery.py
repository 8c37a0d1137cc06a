"""A gallery of twelve drawn crops for the tests of service, page and commands: six people in plain colours, two cameras
each."""

from __future__ import annotations

import io
from functools import cache

import numpy as np
from PIL import Image

from reid.gallery.calibration.thresholds import SETTING, calibrate
from reid.gallery.entries import Entry
from reid.gallery.service import Service
from reid.gallery.store import Gallery
from reid.networks import Origin
from reid.retrieval.features import Features

COLOURS = {
    "P1": (200, 30, 30),
    "P2": (30, 160, 60),
    "P3": (40, 60, 200),
    "P4": (220, 190, 40),
    "P5": (150, 60, 170),
    None: (60, 60, 60),
}
STRANGER = (90, 200, 250)  # a colour that nobody wears
ORIGIN = Origin("colours", 4, "none", "mean colour and a constant")
START = 1_700_000_000.0


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
        return np.array([[*(image.mean(axis=(0, 1)) / 128 - 1), 0.01] for image in images], np.float32).reshape(-1, 4)


@cache
def calibration(source="drawn"):
    """Of 400 people in colours drawn at random, by whom two cameras see them alike but for some noise."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(400, 4)) * [1, 1, 1, 0]
    seen = [(rows + rng.normal(scale=0.1, size=rows.shape)).astype(np.float32) for _ in range(2)]
    people = np.arange(1, 401)
    query, gallery = (Features(side, people, np.full(400, camera)) for camera, side in enumerate(seen, 1))
    return calibrate(query, gallery, ORIGIN, source, (0.01, 0.1))


def fill(gallery, folder):
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
    return gallery.add(entries, Colours().embed(images), [encoded(image, "JPEG") for image in images])


def small_gallery(folder, calibrated=False, empty=False):
    """The gallery in ``folder / "gallery"``, made where there is none; the sources lie in the folder."""
    if (folder / "gallery").exists():
        return Gallery.open(folder / "gallery")
    gallery = Gallery.create(folder / "gallery", ORIGIN)
    if not empty:
        fill(gallery, folder)
    if calibrated:
        gallery.set(SETTING, calibration().to_json())
    return gallery


def application(folder, calibrated=False, token=None, empty=False, **more):
    """The page's application on such a gallery, which is ``app.state.desk.service.gallery``."""
    from reid.gallery.web.app import create_app

    service = Service(small_gallery(folder, calibrated, empty), "page" if token is None else "token", Colours())
    return create_app(service, token=token, **more)


def lines(gallery):
    """The audit log without times and numbers of lines: [(who, action, entries, the rest)]."""
    return [
        (line.pop("who"), line.pop("action"), line.pop("entries"), line)
        for line in (
            {key: line[key] for key in line if key not in ("time", "number")} for line in gallery.catalogue.log()
        )
    ]
