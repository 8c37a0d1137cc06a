"""Images of nobody in particular: a folder of crops as they fall, without identities or cameras."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from reid.data.layouts import IMAGE_SUFFIXES, is_image, pictures_below, unread_pictures
from reid.data.samples import Samples
from reid.errors import InputError


def read_unlabelled(folder: Path) -> Samples:
    """Every image below ``folder``, at any depth, sorted by name; identities all -1 (junk), cameras all 0.

    Hidden files and folders are passed over; a folder reached twice through links is read once.

    Raises:
        InputError: naming the folder, when it is not there, cannot be read or holds no image.
    """
    root = folder.expanduser()
    pictures = _pictures(root)
    names = tuple(name for name in pictures if is_image(name.rpartition("/")[2]))
    if not names:
        more = "".join(f"; {line}" for line in unread_pictures(pictures))
        raise InputError(f"{root}: no image file ({', '.join(IMAGE_SUFFIXES)}) in it or below it{more}")
    for name in names:
        if not (root / name).is_file():
            raise InputError(f"{root / name}: cannot be read: a link to nothing, or no file")
    return Samples(root, names, np.full(len(names), -1, dtype=np.int64), np.zeros(len(names), dtype=np.int64))


def passed_over(folder: Path) -> list[str]:
    """In words, the pictures below ``folder`` of formats that :func:`read_unlabelled` does not read."""
    return unread_pictures([name for name in _pictures(folder.expanduser()) if not is_image(name.rpartition("/")[2])])


def _pictures(root: Path) -> list[str]:
    if not root.is_dir():
        raise InputError(f"no folder {root}")
    return sorted(pictures_below(root, onerror=_refuse))


def _refuse(error: OSError) -> None:
    raise InputError(f"{error.filename}: cannot be read: {error.strerror}") from None
