"""The record that extraction writes and retrieval reads: features with the identity and camera of each image; and which
of them a query is not compared with.

The protocol of Market-1501 and of all tables in the field is *cross-camera*: a match in the query's own camera is too
easy to count. Where cameras are not known, *any-camera* is what can be measured: it counts such matches, so its figures
are others, usually higher, and carry its name.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from reid.errors import InputError
from reid.files import replacing

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Features:
    """One row an image.

    Attributes:
        features: (N, D) float32, finite, of any length.
        pids: (N,) int64 identities; -1 is junk, 0 a distractor.
        camids: (N,) int64 cameras, numbered across the whole data set.
        paths: N names, relative to the data set's folder; empty where they are not known.
        origin: what the features came from, for messages and for finding out whether they are still valid.
    """

    features: np.ndarray
    pids: np.ndarray
    camids: np.ndarray
    paths: tuple[str, ...] = ()
    origin: str = "features"

    def __post_init__(self) -> None:
        """Check what every later step relies on.

        Raises:
            InputError: naming ``origin`` and the array, for a wrong shape or type, lengths that differ or a NaN.
        """
        if self.features.ndim != 2 or self.features.dtype != np.float32 or 0 in self.features.shape:
            self._fail("features", f"expected float32 (N, D), got {self.features.dtype} {self.features.shape}")
        for name in ("pids", "camids"):
            values = getattr(self, name)
            if values.ndim != 1 or values.dtype != np.int64:
                self._fail(name, f"expected int64 (N,), got {values.dtype} {values.shape}")
            if len(values) != len(self):
                self._fail(name, f"has {len(values)} entries for {len(self)} features")
        if self.paths and len(self.paths) != len(self):
            self._fail("paths", f"has {len(self.paths)} entries for {len(self)} features")
        largest = max(float(self.features.max()), -float(self.features.min()))  # NaN if there is one; takes no memory
        if not np.isfinite(largest):
            rows = np.flatnonzero(~np.isfinite(self.features).all(axis=1))
            self._fail("features", f"{len(rows)} rows hold NaN or infinity, the first is row {rows[0]}")

    def __len__(self) -> int:
        return len(self.features)

    def save(self, path: Path) -> None:
        """Write an .npz with arrays ``features``, ``pids``, ``camids``, ``paths`` and ``origin``; no pickle.

        Raises:
            InputError: naming the path, when it cannot be written.
        """
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path) as file:  # not by way of memory: there may be as much as there are features
                np.savez(
                    file,
                    features=self.features,
                    pids=self.pids,
                    camids=self.camids,
                    paths=np.array(self.paths, dtype=np.str_),
                    origin=np.array(self.origin),
                )
        except (OSError, ValueError) as error:
            raise InputError(f"{path}: cannot be written: {error}") from None

    def _fail(self, array: str, problem: str) -> None:
        raise InputError(f"{self.origin}: {array}: {problem}")


def check_widths(query: Features, gallery: Features) -> None:
    """Raise InputError, naming both, where the features' widths differ."""
    if query.features.shape[1] != gallery.features.shape[1]:
        raise InputError(
            f"{query.origin} has features of width {query.features.shape[1]}, "
            f"{gallery.origin} of width {gallery.features.shape[1]}"
        )


def load_features(path: Path) -> Features:
    """Read an .npz of any origin: ``features`` (N, D) of a float type, ``pids`` and ``camids`` (N,) integers, and
    optionally ``paths`` (N,) strings.

    Raises:
        InputError: naming the file and the array at fault.
    """
    arrays = read_arrays(path)
    missing = [name for name in ("features", "pids", "camids") if name not in arrays]
    if missing:
        raise InputError(f"{path}: has no array {', '.join(missing)}; it holds {', '.join(sorted(arrays)) or 'none'}")
    if not np.issubdtype(arrays["features"].dtype, np.floating):
        raise InputError(f"{path}: features: expected a float type, got {arrays['features'].dtype}")
    for name in ("pids", "camids"):
        if not np.issubdtype(arrays[name].dtype, np.integer):
            raise InputError(f"{path}: {name}: expected integers, got {arrays[name].dtype}")
        if arrays[name].size and int(arrays[name].max()) > np.iinfo(np.int64).max:
            raise InputError(f"{path}: {name}: {arrays[name].max()} does not fit 64 bits with a sign")
    with np.errstate(over="ignore"):  # what does not fit becomes infinite, and is refused as such
        rows = arrays.pop("features").astype(np.float32, copy=False)
    return Features(
        rows,
        arrays["pids"].astype(np.int64),
        arrays["camids"].astype(np.int64),
        tuple(str(name) for name in np.atleast_1d(arrays.get("paths", ()))),
        str(path),
    )


def saved_origin(path: Path) -> str | None:
    """The ``origin`` in a file that :meth:`Features.save` wrote; None when there is no such file, or one that cannot be
    opened. Nothing else is read, so it does not tell that the arrays are whole."""
    try:
        return str(read_arrays(path, ("origin",))["origin"])
    except InputError:
        return None


def load_saved(path: Path, origin: str) -> Features | None:
    """The features that :meth:`Features.save` wrote with this ``origin``; None when there is no such file, when it is
    of another origin, or damaged: then they are to be computed again."""
    if saved_origin(path) != origin:
        return None
    try:
        return replace(load_features(path), origin=origin)
    except InputError as error:
        log.warning(f"{error}; computed again")
        return None


def read_arrays(path: Path, names: Sequence[str] | None = None) -> dict[str, np.ndarray]:
    """The arrays in an .npz file, or the ``names`` of them alone; nothing is unpickled.

    Raises:
        InputError: naming the file.
    """
    try:
        archive = np.load(path, allow_pickle=False)
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise ValueError("it holds one bare array")
        with archive:
            arrays = {name: archive[name] for name in (archive.files if names is None else names)}
    except Exception as error:  # a damaged archive raises nearly anything
        raise InputError(f"{path}: not a readable .npz file: {error}") from None
    for name, array in arrays.items():
        if not isinstance(array, np.ndarray):
            raise InputError(f"{path}: {name}: is no array")
    return arrays


Protocol = Literal["cross-camera", "any-camera"]
PROTOCOLS: tuple[Protocol, ...] = ("cross-camera", "any-camera")

JUNK = -1

LEFT_OUT = {
    "cross-camera": "gallery images of the query's identity and camera",
    "any-camera": "the query's own image, which is the gallery image of its path; images of its camera count",
}
NO_MATCH = {
    "cross-camera": "from another camera; where cameras are not known, --protocol any-camera counts all images but the "
    "query's own",
    "any-camera": "beside its own image",
}


def left_out_marks(query: Features, gallery: Features, protocol: Protocol) -> tuple[np.ndarray, np.ndarray]:
    """(Q,) and (N,) int64 marks: a gallery image with the query's identity and mark is left out of its ranking.

    Marks are the cameras under ``cross-camera``; under ``any-camera`` a number for each path, so that the query's own
    image is left out alone.

    Raises:
        InputError: under ``any-camera``, features without paths, or a query's path that is of another identity in the
            gallery (junk aside, which is left out anyway).
    """
    if protocol == "cross-camera":
        return query.camids, gallery.camids
    for side in (query, gallery):
        if not side.paths:
            raise InputError(
                f"{side.origin}: has no paths, by which a query's own image is known: protocol any-camera needs them"
            )
    number_of: dict[str, int] = {}
    query_marks, gallery_marks = (
        np.array([number_of.setdefault(path, len(number_of)) for path in side.paths], np.int64)
        for side in (query, gallery)
    )
    pid_of = np.full(len(number_of), JUNK, np.int64)
    known = query.pids != JUNK
    pid_of[query_marks[known]] = query.pids[known]
    asked = np.zeros(len(number_of), bool)
    asked[query_marks[known]] = True
    for side, marks in ((query, query_marks), (gallery, gallery_marks)):
        bad = np.flatnonzero(asked[marks] & (side.pids != JUNK) & (side.pids != pid_of[marks]))
        if len(bad):
            raise InputError(
                f"{side.origin}: paths: {side.paths[bad[0]]!r} is of identity {side.pids[bad[0]]}, but of "
                f"{pid_of[marks[bad[0]]]} among the queries: under any-camera a path must name one image"
            )
    return query_marks, gallery_marks
