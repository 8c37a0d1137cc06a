"""Images whose features were made before and lie in files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from reid.errors import InputError
from reid.gallery.entries import Entry
from reid.networks import Origin
from reid.networks.features_file import WHOLE, FeaturesFile, read_features_file
from reid.retrieval.unit import usable


def features_files(paths: Sequence[Path]) -> list[Path]:
    """The files that paths name; a folder stands for the Parquet files in it, by name.

    Raises:
        InputError: a folder without one.
    """
    files: list[Path] = []
    for path in paths:
        inside = sorted(path.glob("[!.]*.parquet")) if path.is_dir() else [path]
        if not inside:
            raise InputError(f"{path}: no .parquet file in it")
        files += inside
    return files


def read_given(path: Path, camera: str | None, model: Origin | None) -> tuple[FeaturesFile, Origin, list[Entry]]:
    """A features file whose rows can all go into a gallery, what made it, and its entries, in order; those of no known
    camera are of ``camera``.

    Raises:
        InputError: it does not tell which network made it, or is of another one than ``model``; a row has no camera, a
            path that is not absolute, or a feature of zeros.
    """
    file = read_features_file(path)
    if file.origin is None:
        raise InputError(f"{path}: does not tell which network made its features; reid embed writes files that do")
    if model is not None:
        file.origin.check(model, str(path))
    unseen = sum(not name for name in file.cameras)
    if unseen and not camera:
        raise InputError(f"{path}: {unseen:,} of {len(file):,} rows have no camera: give --camera NAME for them")
    relative = [source for source in file.features.paths if not Path(source).is_absolute()]
    if relative:
        raise InputError(f"{path}: path {relative[0]!r}: expected the whole path, as reid embed writes it")
    good = usable(file.features.features)
    if not good.all():
        first = file.features.paths[good.argmin()]
        raise InputError(f"{path}: {(~good).sum():,} features are all zeros, as that of {first}")
    entries = []
    for row, source in enumerate(file.features.paths):
        left, top, right, bottom = map(int, file.boxes[row])
        box = None if (left, top, right, bottom) == WHOLE else (left, top, right, bottom)
        time = None if np.isnan(file.times[row]) else float(file.times[row])
        person = file.identities[row] or None
        entries.append(Entry(source, file.cameras[row] or str(camera), person, time, box=box))
    return file, file.origin, entries
