"""Works on a store in a process that may be killed at any moment, forked from this one, which is warm.

Reads lines of JSON from standard input: {"operation", "folder", "environment"}. Prints what the operation prints, then
{"status"}, as ``os.waitpid`` gives it, when the fork has ended.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from pathlib import Path

import numpy as np

from reid.gallery.entries import Entry
from reid.gallery.local.store import LocalStore
from reid.networks import Origin

WIDTH = 8
ORIGIN = Origin("run", WIDTH, "0" * 64, "none")


def item(number):
    """Entry, feature (WIDTH,) and thumbnail that belong to a number and to no other."""
    entry = Entry(f"/source-{number:06d}.jpg", "plaza/1", f"Person-{number:06d}", 1e9 + number, box=(1, 2, 3, 4))
    feature = np.random.default_rng(number).standard_normal(WIDTH).astype(np.float32)
    return entry, feature, b"\xff\xd8\xffthumbnail-%06d" % number + np.random.default_rng(number).bytes(3000)


def add(store, numbers):
    entries, features, thumbnails = zip(*map(item, numbers), strict=True)
    return store.add(entries, np.stack(features), thumbnails)


def say(**values):
    os.write(1, json.dumps(values).encode() + b"\n")


def loop(store, seed):
    """Add and remove until killed, telling what begins and what is done."""
    rng = np.random.default_rng(seed)
    say(pid=os.getpid())
    while True:
        ids = [entry.id for entry in store.find()]
        if len(ids) < 30 and rng.random() < 0.6:
            numbers = rng.integers(10**6, size=rng.integers(1, 6)).tolist()
            say(start="add", numbers=numbers)
            say(end="add", ids=add(store, numbers))
        elif ids:
            some = rng.choice(ids, min(len(ids), int(rng.integers(1, 6))), replace=False).tolist()
            say(start="remove", ids=some)
            store.remove(some)
            say(end="remove", ids=some)


OPERATIONS = {
    "create": lambda store: None,
    "open": lambda store: None,
    "add": lambda store: add(store, [101, 102, 103]),
    "remove": lambda store: store.remove([2, 5, 12]),
    "update": lambda store: store.update([3, 4], {"identity": "Renamed", "camera": "plaza/2"}),
    "loop": lambda store: loop(store, int(os.environ["LOOP_SEED"])),
}


def main():
    for line in sys.stdin:
        task = json.loads(line)
        child = os.fork()
        if child == 0:
            os.environ.update(task["environment"])
            try:
                folder, operation = Path(task["folder"]), task["operation"]
                with (
                    LocalStore.create(folder, ORIGIN)
                    if operation == "create"
                    else LocalStore.open(folder, True) as store
                ):
                    OPERATIONS[operation](store)
                os._exit(0)
            except BaseException:
                traceback.print_exc()
                os._exit(1)
        say(status=os.waitpid(child, 0)[1])


if __name__ == "__main__":
    main()
