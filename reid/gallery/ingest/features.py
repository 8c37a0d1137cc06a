"""Putting images into a gallery whose features were made before and lie in files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from reid.errors import InputError
from reid.gallery.catalogue.thumbnails import thumbnail
from reid.gallery.entries import Entry
from reid.gallery.ingest.adding import Added, new_rows, told_fields, unseen_rows
from reid.gallery.ingest.images import AT_ONCE, read_crop
from reid.gallery.store import Gallery
from reid.networks import Origin
from reid.networks.features_file import WHOLE, FeaturesFile, read_features_file
from reid.progress import track
from reid.retrieval.unit import usable

MADE = 2048  # images with thumbnails that are committed together


def features_entries(file: FeaturesFile, camera: str | None, where: str) -> list[Entry]:
    """The rows of a features file, in order; those of no known camera are of ``camera``.

    Raises:
        InputError: naming ``where`` the file lies: it does not tell which network made it, a row has no camera, or its
            path is not absolute.
    """
    if file.origin is None:
        raise InputError(f"{where}: does not tell which network made its features; reid embed writes files that do")
    unseen = sum(not name for name in file.cameras)
    if unseen and not camera:
        raise InputError(f"{where}: {unseen:,} of {len(file):,} rows have no camera: give --camera NAME for them")
    relative = [path for path in file.features.paths if not Path(path).is_absolute()]
    if relative:
        raise InputError(f"{where}: path {relative[0]!r}: expected the whole path, as reid embed writes it")
    entries = []
    for row, path in enumerate(file.features.paths):
        left, top, right, bottom = map(int, file.boxes[row])
        box = None if (left, top, right, bottom) == WHOLE else (left, top, right, bottom)
        time = None if np.isnan(file.times[row]) else float(file.times[row])
        person = file.identities[row] or None
        entries.append(Entry(path, file.cameras[row] or str(camera), person, time, box=box))
    return entries


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
    """A features file whose rows can all go into a gallery, what made it, and its entries.

    Raises:
        InputError: as :func:`features_entries`; it is of another network than ``model``, or a feature is all zeros.
    """
    file = read_features_file(path)
    entries = features_entries(file, camera, str(path))
    assert file.origin is not None  # else features_entries refuses
    if model is not None:
        file.origin.check(model, str(path))
    good = usable(file.features.features)
    if not good.all():
        first = entries[good.argmin()].source
        raise InputError(f"{path}: {(~good).sum():,} features are all zeros, as that of {first}")
    return file, file.origin, entries


def add_features(
    gallery: Gallery,
    entries: Sequence[Entry],
    features: np.ndarray,
    thumbnails: Sequence[bytes] | None = None,
    again: bool = False,
    added: Added | None = None,
    progress: bool = True,
) -> Added:
    """As :func:`reid.gallery.ingest.adding.add_images`, with features (N, D) that were made before.

    Args:
        thumbnails: N JPEGs; None: they are made, for which the images are read.
        added: gets what became of these, too; for several calls.
    """
    added, fields = added or Added(), told_fields(entries)
    new = new_rows(gallery, entries, fields, added, again)
    size = AT_ONCE if thumbnails is None else MADE
    with track(name="images", unit="image", total=len(new), shown=progress) as bar:
        for low in range(0, len(new), size):
            pictures: dict[int, bytes] = {}
            for row in new[low : low + size]:
                try:
                    pictures[row] = thumbnail(read_crop(entries[row])) if thumbnails is None else thumbnails[row]
                except InputError as error:
                    added.problems.append(str(error))
            rows, images = list(pictures), list(pictures.values())
            kept = unseen_rows(gallery, [entries[row] for row in rows], images, fields, added)
            rows, images = [rows[place] for place in kept], [images[place] for place in kept]
            if rows:
                added.ids += gallery.add([entries[row] for row in rows], features[rows], images)
            bar.update(len(new[low : low + size]))
    return added
