"""A file of features as a network that computes nothing: it looks images up by their paths."""

from __future__ import annotations

import filecmp
import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import numpy as np

from reid.data.names import some
from reid.data.samples import Samples
from reid.errors import InputError
from reid.files import sha256_of
from reid.networks.base import Origin
from reid.networks.features_file import WHOLE, FeaturesFile, read_features_file

if TYPE_CHECKING:
    from reid.engine.extract import Testing


class FeaturesLookup:
    """See :func:`open_features`."""

    def __init__(self, path: Path) -> None:
        self._file, self._path = read_features_file(path), path
        self.origin = _origin(self._file, path)
        self._places = _Places(self._file)

    def embed(self, crops: Sequence[np.ndarray]) -> np.ndarray:
        raise InputError(
            f"{self._path}: holds features, not the network that made them: new images need the network itself"
        )

    def extract(self, samples: Samples, progress: bool = True) -> np.ndarray:
        rows = [self._places.find(name, path) for name, path in zip(samples.names, samples.paths, strict=True)]
        missing = [name for name, places in zip(samples.names, rows, strict=True) if not places]
        if missing:
            raise InputError(
                f"{self._path}: has no feature of {len(missing):,} of {len(samples):,} images below {samples.root}: "
                f"{some(missing, 10)}; it holds {some(self._file.features.paths, 2)}"
            )
        several = [name for name, places in zip(samples.names, rows, strict=True) if len(places) > 1]
        if several:
            name = several[0]
            both = [self._file.features.paths[row] for row in rows[samples.names.index(name)]]
            raise InputError(
                f"{self._path}: {len(several):,} images below {samples.root} could be several of its rows, as {name}: "
                f"{some(both, 3)}"
            )
        return self._file.features.features[[places[0] for places in rows]]


class _Places:
    """Rows of whole images, by path."""

    def __init__(self, file: FeaturesFile) -> None:
        self._paths = [PurePosixPath(path) for path in file.features.paths]
        self._whole: dict[str, list[int]] = defaultdict(list)
        self._last: dict[str, list[int]] = defaultdict(list)
        for row in np.flatnonzero((file.boxes == WHOLE).all(axis=1)).tolist():
            self._whole[file.features.paths[row]].append(row)
            self._last[self._paths[row].name].append(row)

    def find(self, name: str, path: Path) -> list[int]:
        """The rows of an image: of its absolute path, else of its ``name`` within the data set, else those whose path
        ends as the image's does, in whole names of folders, or the image's path as theirs. A row whose whole path leads
        to another picture is not taken: data sets share names."""
        for known in (str(path.resolve()), name):
            if known in self._whole:
                return self._whole[known]
        relative, absolute = PurePosixPath(name).parts, path.resolve().parts
        return [
            row
            for row in self._last.get(path.name, ())
            if (_ends(self._paths[row].parts, relative) or _ends(absolute, self._paths[row].parts))
            and not _is_of_another(self._paths[row], path)
        ]


def _ends(parts: Sequence[str], last: Sequence[str]) -> bool:
    return tuple(parts[-len(last) :]) == tuple(last)


def _is_of_another(stored: PurePosixPath, path: Path) -> bool:
    """Whether a row's path leads to a file that differs from the image; one of which that cannot be told is another."""
    if not stored.is_absolute() or not Path(stored).is_file() or not path.is_file():
        return False
    try:
        return not filecmp.cmp(stored, path, shallow=False)
    except OSError:
        return True


def _origin(file: FeaturesFile, path: Path) -> Origin:
    """The recorded network's, so that its features are known as the same; else the file itself stands for it."""
    if file.origin is not None:
        return Origin(path.stem, file.origin.width, file.origin.network, file.origin.preprocessing)
    preprocessing = json.dumps({"features": "read from a file"})
    return Origin(path.stem, file.features.features.shape[1], sha256_of(path), preprocessing)


def open_features(path: Path, testing: Testing) -> FeaturesLookup:
    """The features in a file, as a network that looks them up: :meth:`extract` finds each image by its path, and
    :meth:`embed` refuses.

    An image is the row of its absolute path; where there is none, that of its path within the data set; else the one
    row whose path ends with the image's path within the data set, or with which the image's absolute path ends, unless
    that row's own file is there and is another picture. Rows of boxes in an image are no images. ``testing`` changes
    nothing: the features are made.

    Raises:
        InputError: a file that cannot be read, without paths, or damaged; on looking up, images without a row or with
            several.
    """
    return FeaturesLookup(path)
