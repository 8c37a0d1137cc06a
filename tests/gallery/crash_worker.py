"""Works on a gallery in a process that may be killed at any moment, forked from this one, which is warm.

Reads lines of JSON from standard input: {"operation", "folder", "layout", "environment"}. Prints what the operation
prints, then {"status"}, as ``os.waitpid`` gives it, when the fork has ended.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import subprocess
import sys
import tempfile
import traceback
from dataclasses import asdict
from itertools import count
from pathlib import Path

import numpy as np

import reid.gallery.catalogue.postgresql
import reid.retrieval.compressed  # noqa: F401  # warm, as the one above
from reid.gallery.entries import Entry
from reid.gallery.parts import Layout
from reid.gallery.store import Gallery
from reid.gallery.vectors import segments
from reid.networks import Origin

WIDTH = 8
ORIGIN = Origin("run", WIDTH, "0" * 64, "none")
DAY = 1.5e9  # on which all were added


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


def feed(gallery):
    """Add batches of 20 until killed, telling the first id of each."""
    say(pid=os.getpid())
    for number in count():
        rows = np.random.default_rng(number).standard_normal((20, gallery.origin.width))
        entries = [Entry(f"/fed/{number}", "feed", f"F{number}")] * 20
        say(first=gallery.add(entries, rows, [b"\xff\xd8\xff" * 99] * 20)[0])


OPERATIONS = {
    "create": lambda gallery: None,
    "add": lambda gallery: add(gallery, [1001, 1002, 1003]),
    "remove": lambda gallery: gallery.remove([2, 5, 12]),
    "update": lambda gallery: gallery.update({id: {"identity": "Renamed", "camera": "plaza/2"} for id in (3, 4)}),
    "recover": lambda gallery: gallery.set("any", "thing"),
    "tend": lambda gallery: gallery.tend(),
    "feed": feed,
    "loop": lambda gallery: loop(gallery, int(os.environ["LOOP_SEED"])),
}


class Worker:
    """The parent's side."""

    def __init__(self, library):
        environment = {**os.environ, "LD_PRELOAD": str(library), "OMP_NUM_THREADS": "1"}
        root = str(Path(__file__).parents[2])
        environment["PYTHONPATH"] = os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "bufsize": 0}
        self.process = subprocess.Popen([sys.executable, __file__], env=environment, **pipes)

    def begin(self, operation, folder, layout, **environment):
        task = {"operation": operation, "folder": str(folder), "layout": asdict(layout), "environment": environment}
        self.process.stdin.write(json.dumps(task).encode() + b"\n")

    def line(self):
        return json.loads(self.process.stdout.readline())

    def killed(self, operation, folder, layout, at, torn, within="."):
        """Whether the operation was killed at that call, rather than done before it came.

        Args:
            torn: "1": where the call writes, half of that is written.
            within: the part of the gallery whose calls count; with all of it those that send to a server do.
        """
        environment = {"KILL_FOLDER": str(folder / within), "KILL_SENDING": str(within == ".")}
        self.begin(operation, folder, layout, KILL_AT=str(at), KILL_TORN=torn, **environment)
        status = self.line()["status"]
        assert status in (0, signal.SIGKILL)
        return status == signal.SIGKILL

    def kill(self, pid):
        """End what is at work; what it printed that was not read."""
        os.kill(pid, signal.SIGKILL)
        lines = []
        while "status" not in (line := self.line()):
            lines.append(line)
        assert line["status"] == signal.SIGKILL
        return lines


def main():
    segments.FEWEST = 100
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
