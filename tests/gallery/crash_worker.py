"""Works on a gallery in a process that may be killed at any moment, forked from this one, which is warm.

Reads lines of JSON from standard input: {"operation", "folder", "layout", "environment"}. Prints what the operation
prints, then {"status"}, as ``os.waitpid`` gives it, when the fork has ended.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import tempfile
import traceback
from pathlib import Path

import numpy as np

import reid.gallery.catalogue.postgresql
import reid.gallery.catalogue.sqlite
import reid.retrieval.compressed  # noqa: F401  # warm, as the two above
from reid.gallery.entries import Entry
from reid.gallery.parts import Layout
from reid.gallery.store import Gallery
from reid.gallery.vectors import segments
from reid.networks import Origin

WIDTH = 8
ORIGIN = Origin("run", WIDTH, "0" * 64, "none")
DAY = 1.5e9  # on which all were added
segments.FEWEST = 100
segments.ROWS = 130


def item(number):
    """Entry, feature (WIDTH,) and thumbnail that belong to a number and to no other."""
    entry = Entry(
        f"/source-{number:06d}/image-{number:06d}.jpg", "plaza/1", f"Person-{number:06d}", 1e9 + number,
        box=(1, 2, 3, 4), added=DAY,
    )  # fmt: skip
    feature = np.random.default_rng(number).standard_normal(WIDTH).astype(np.float32)
    return entry, feature, b"\xff\xd8\xffthumbnail-%06d" % number + np.random.default_rng(number).bytes(3000)


def add(gallery, numbers):
    entries, features, thumbnails = zip(*map(item, numbers), strict=True)
    return gallery.add(entries, np.stack(features), thumbnails)


def say(**values):
    os.write(1, json.dumps(values).encode() + b"\n")


def loop(gallery, seed):
    """Add and remove until killed, telling what begins and what is done."""
    rng = np.random.default_rng(seed)
    say(pid=os.getpid())
    while True:
        ids = [entry.id for entry in gallery.find()]
        if len(ids) < 30 and rng.random() < 0.6:
            numbers = rng.integers(10**6, size=rng.integers(1, 6)).tolist()
            say(start="add", numbers=numbers)
            say(end="add", ids=add(gallery, numbers))
        elif ids:
            some = rng.choice(ids, min(len(ids), int(rng.integers(1, 6))), replace=False).tolist()
            say(start="remove", ids=some)
            gallery.remove(some)
            say(end="remove", ids=some)


OPERATIONS = {
    "create": lambda gallery: None,
    "add": lambda gallery: add(gallery, [1001, 1002, 1003]),
    "remove": lambda gallery: gallery.remove([2, 5, 12]),
    "update": lambda gallery: gallery.update([3, 4], {"identity": "Renamed", "camera": "plaza/2"}),
    "recover": lambda gallery: gallery.set("any", "thing"),
    "tend": lambda gallery: gallery.tend(),
    "loop": lambda gallery: loop(gallery, int(os.environ["LOOP_SEED"])),
}


def main():
    with tempfile.TemporaryDirectory() as folder, Gallery.create(Path(folder) / "warm", ORIGIN) as gallery:
        add(gallery, range(12))
        OPERATIONS["remove"](gallery)
    gc.freeze()  # a fork that is not collected shares its memory with this process
    gc.disable()
    for line in sys.stdin:
        task = json.loads(line)
        child = os.fork()
        if child == 0:
            os.environ.update(task["environment"])
            try:
                folder, operation = Path(task["folder"]), task["operation"]
                layout = Layout(**task["layout"])
                with (
                    Gallery.create(folder, ORIGIN, layout) if operation == "create" else Gallery.open(folder)
                ) as gallery:
                    OPERATIONS[operation](gallery)
                os._exit(0)
            except BaseException:
                traceback.print_exc()
                os._exit(1)
        say(status=os.waitpid(child, 0)[1])


if __name__ == "__main__":
    main()
