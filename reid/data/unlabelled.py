"""Images of nobody in particular: a folder of crops as they fall, without identities or cameras."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from reid.data.card import load_card
from reid.data.layouts import IMAGE_SUFFIXES, is_image, pictures_below, unread_pictures
from reid.data.names import refuse_unwritable
from reid.data.reading import Roots, warn_once
from reid.data.samples import Samples, concatenate
from reid.errors import InputError
from reid.files import bundled_names

FOLDER = " (folder)"  # ends the label of a folder, which a data set may share its name with


def images_of(roots: Roots, name: str, training: bool) -> tuple[str, Samples]:
    """Label and images of a folder, whatever its layout, or of a data set: its training split where ``training`` and
    it has one, else its test splits together.

    Raises:
        InputError: a data set or folder that cannot be read.
    """
    if name and Path(name).is_dir() and name not in bundled_names("datasets"):
        for note in passed_over(Path(name)):
            warn_once(f"{name}: {note}")
        samples = read_unlabelled(Path(name))
        for path in (Path(name).resolve(), *samples.paths):
            refuse_unwritable(str(path))
        return Path(name).resolve().name + FOLDER, samples
    card = load_card(name)
    known = card.splits or roots.table(card, None).splits
    data = roots.read(card, ["train"] if training and "train" in known else ["query", "gallery"])
    return data.label, concatenate(list(data.splits.values()))


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
