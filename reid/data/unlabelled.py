"""Images of nobody in particular: a folder of crops as they fall, without identities or cameras."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from reid.data.card import Samples
from reid.data.layouts import IMAGE_SUFFIXES, images_in
from reid.errors import InputError


def read_unlabelled(folder: Path) -> Samples:
    """Every image below ``folder``, at any depth, sorted by name; identities all -1 (junk), cameras all 0.

    Hidden files and folders are passed over; a folder reached twice through links is read once.

    Raises:
        InputError: naming the folder, when it is not there, cannot be read or holds no image.
    """
    root = folder.expanduser()
    if not root.is_dir():
        raise InputError(f"no folder {root}")
    names = tuple(sorted(_names(root, "", {root.resolve()})))
    if not names:
        raise InputError(f"{root}: no image file ({', '.join(IMAGE_SUFFIXES)}) in it or below it")
    return Samples(root, names, np.full(len(names), -1, dtype=np.int64), np.zeros(len(names), dtype=np.int64))


def _names(folder: Path, prefix: str, seen: set[Path]) -> Iterator[str]:
    for name, _ in images_in(folder):
        yield prefix + name
    for below in sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")):
        if below.resolve() not in seen:  # else a link to a folder above would go round for ever
            seen.add(below.resolve())
            yield from _names(below, f"{prefix}{below.name}/", seen)
