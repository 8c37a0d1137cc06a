"""Which images there are (a folder, a CSV file, a data set, files of features), and their features."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator, Sequence
from datetime import UTC, tzinfo
from pathlib import Path

import numpy as np

from reid.data.images import read_image
from reid.data.names import DECIMAL, refuse_missing, refuse_unwritable, whole
from reid.data.samples import DataSet
from reid.data.times import seconds, taken
from reid.data.unlabelled import read_unlabelled
from reid.errors import InputError
from reid.gallery.catalogue.thumbnails import crop, thumbnail
from reid.gallery.entries import Entry
from reid.networks import Network, Origin
from reid.networks.features_file import WHOLE, FeaturesFile, read_features_file
from reid.progress import track
from reid.retrieval.features import Features
from reid.retrieval.unit import usable

COLUMNS = ("path", "camera", "identity", "time", "left", "top", "right", "bottom")
BOX = COLUMNS[4:]
AT_ONCE = 256  # images embedded together


# --- which images -----------------------------------------------------------------------------------------------------


def folder_entries(folder: Path, camera: str, identity: str | None = None) -> list[Entry]:
    """Every image below a folder, by name, all of one camera and of one person or of nobody known. Raises InputError as
    :func:`reid.data.unlabelled.read_unlabelled`."""
    paths = read_unlabelled(folder).paths
    return [Entry(source=str(path.resolve()), camera=camera, identity=identity) for path in paths]


def csv_entries(file: Path, cameras: bool = True, zone: tzinfo = UTC) -> list[Entry]:
    """Rows of a CSV file with columns path, camera and optionally identity, time and left, top, right, bottom.

    Paths are relative to the file's folder; an empty identity or time is an unknown one. Time as
    :func:`reid.data.times.seconds` reads it, in ``zone`` where it names none. A name written 1.0 is 1. A box is in
    pixels of the upright image (:func:`reid.data.images.read_image`). Without ``cameras`` a row may do without one,
    which is then "". Raises InputError naming the file, the line and the column.
    """
    needed = ("path", "camera") if cameras else ("path",)
    try:
        with file.open(newline="", encoding="utf-8-sig") as lines:
            rows = csv.DictReader(lines, strict=True)
            names = rows.fieldnames or []
            choices = f"; the columns are {', '.join(COLUMNS)}; {' and '.join(needed)} must be"
            wrong = [f"column {name!r} stands there twice" for name in names if names.count(name) > 1]
            wrong += [f"unknown column {name!r}{choices}" for name in names if name not in COLUMNS]
            if not set(needed) <= set(names):
                wrong.append(", or ".join(f"no column {name}" for name in needed) + choices)
            if wrong:
                raise InputError(f"{file}: {wrong[0]}")
            return [_csv_entry(row, f"{file}, line {rows.line_num}", file.parent, needed, zone) for row in rows]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{file}: cannot be read as CSV: {error}") from None


def _csv_entry(row: dict[str, str | None], where: str, folder: Path, needed: Sequence[str], zone: tzinfo) -> Entry:
    path = row["path"]
    if None in row or not path or any(not (row[name] or "").strip() for name in needed) or "\0" in path:
        raise InputError(f"{where}: expected a value for {' and '.join(needed)}, and no more values than columns")
    given = [row.get(name) for name in BOX]
    box = None
    if any(given):
        sides = [side for value in given if (side := whole(value or "")) is not None]
        if len(sides) < len(BOX):
            raise InputError(f"{where}: {', '.join(BOX)}: expected four whole numbers, got {given}")
        left, top, right, bottom = sides
        if not (0 <= left < right and 0 <= top < bottom):
            raise InputError(f"{where}: box {given}: expected 0 <= left < right and 0 <= top < bottom")
        box = (left, top, right, bottom)
    time = seconds(moment, f"{where}: time", zone) if (moment := row.get("time")) else None
    source = os.path.realpath(folder / path)  # unlike Path.resolve, no error where links go round
    identity, camera = (written_name(row.get(name) or "", where, name) for name in ("identity", "camera"))
    return Entry(source=source, camera=camera, identity=identity or None, time=time, box=box)


def written_name(name: str, where: str, column: str) -> str:
    """A name as it stands there, but 1 for 1.0, as pandas writes whole numbers beside a missing one. Raises InputError,
    beginning with ``where``, for a word that stands for a missing value."""
    name = name.strip(" \t")
    refuse_missing(name, where, column)
    number = whole(name) if DECIMAL.fullmatch(name) else None
    return name if number is None else str(number)


def split_entries(data: DataSet, split: str, name: str | None = None) -> list[Entry]:
    """The images of one split, in the card's order, which decides ties. People and cameras carry the data set's name,
    or another one: "plaza/17", since numbers of different data sets mean different ones. Junk is left out, distractors
    are unknown. Times are those of drawn and rendered sites."""
    samples, label = data.splits[split], name or data.label
    numbers = (samples.pids.tolist(), samples.camids.tolist(), taken(data, split))
    return [
        Entry(str(path.resolve()), f"{label}/{camera}", f"{label}/{person}" if person > 0 else None, time)
        for path, person, camera, time in zip(samples.paths, *numbers, strict=True)
        if person >= 0
    ]


def features_files(paths: Sequence[Path]) -> list[Path]:
    """The files that paths name; a folder stands for the Parquet files in it, by name. Raises InputError for a folder
    without one."""
    files: list[Path] = []
    for path in paths:
        inside = sorted(path.glob("[!.]*.parquet")) if path.is_dir() else [path]
        if not inside:
            raise InputError(f"{path}: no .parquet file in it")
        files += inside
    return files


def read_given(path: Path, camera: str | None, model: Origin | None) -> tuple[FeaturesFile, Origin, list[Entry]]:
    """A features file whose rows can all go into a gallery, what made it, and its entries, in order; those of no known
    camera are of ``camera``. Raises InputError where it does not tell which network made it, or is of another one than
    ``model``, or a row has no camera, a path that is not absolute, or a feature of zeros."""
    file = read_features_file(path)
    if file.origin is None:
        raise InputError(f"{path}: does not tell which network made its features; reid embed writes files that do")
    if model is not None:
        file.origin.check(model, str(path))
    unseen = file.cameras.count("")
    if unseen and not camera:
        raise InputError(f"{path}: {unseen:,} of {len(file):,} rows have no camera: give --camera NAME for them")
    names = file.features.paths
    relative = [source for source in names if not Path(source).is_absolute()]
    if relative:
        raise InputError(f"{path}: path {relative[0]!r}: expected the whole path, as reid embed writes it")
    good = usable(file.features.features)
    if not good.all():
        raise InputError(f"{path}: {(~good).sum():,} features are all zeros, as that of {names[good.argmin()]}")
    entries = []
    for row, source in enumerate(names):
        left, top, right, bottom = map(int, file.boxes[row])
        box = None if (left, top, right, bottom) == WHOLE else (left, top, right, bottom)
        time = None if np.isnan(file.times[row]) else float(file.times[row])
        entries.append(Entry(source, file.cameras[row] or str(camera), file.identities[row] or None, time, box=box))
    return file, file.origin, entries


# --- their pixels -----------------------------------------------------------------------------------------------------


def in_parts(rows: Sequence[int], size: int, progress: bool) -> Iterator[Sequence[int]]:
    """Places in a list of images, ``size`` of them at a time, with a bar."""
    with track(name="images", unit="image", total=len(rows), shown=progress) as bar:
        for low in range(0, len(rows), size):
            part = rows[low : low + size]
            yield part
            bar.update(len(part))


def read_crops(entries: Sequence[Entry], rows: Sequence[int], problems: list[str]) -> dict[int, np.ndarray]:
    """As :func:`read_crop`, of those of the places ``rows`` that can be read; a line to ``problems`` for each other."""
    crops = {}
    for row in rows:
        try:
            crops[row] = read_crop(entries[row])
        except InputError as error:
            problems.append(str(error))
    return crops


def read_crop(entry: Entry) -> np.ndarray:
    """The person's pixels (h, w, 3) uint8 RGB, from an image. Raises InputError naming the file, when it cannot be read
    or the box lies outside it."""
    refuse_unwritable(entry.source)
    return cut(read_image(Path(entry.source)), entry)


def cut(image: np.ndarray, entry: Entry) -> np.ndarray:
    """The person's pixels, a view, in the image (h, w, 3) that the entry is of. Raises InputError naming the file, when
    the box lies outside it."""
    if entry.box is None:
        return image
    *_, right, bottom = entry.box
    if right > image.shape[1] or bottom > image.shape[0]:
        raise InputError(f"{entry.source}: box {entry.box} lies outside its {image.shape[1]} x {image.shape[0]} pixels")
    return crop(image, entry.box)


def named(entry: Entry) -> str:
    """An image for people: its file, frame and box."""
    frame = "" if entry.frame is None else f", frame {entry.frame}"
    return f"{entry.source}{frame}" + ("" if entry.box is None else f", box {entry.box}")


# --- their features ---------------------------------------------------------------------------------------------------


def embed_entries(
    entries: Sequence[Entry], model: Network, problems: list[str], progress: bool = True
) -> tuple[list[int], np.ndarray, list[bytes]]:
    """Read and embed, some images at a time: the places of those that have a feature, these (N, D) float32, and N
    thumbnails (JPEG); a line to ``problems`` for each that cannot be read, or that the network finds nothing in."""
    rows, features, thumbnails = list[int](), [np.empty((0, model.origin.width), np.float32)], list[bytes]()
    for part in in_parts(range(len(entries)), AT_ONCE, progress):
        if crops := read_crops(entries, part, problems):
            found = model.embed(list(crops.values()))
            good = usable(found)
            problems += [nothing_in(entries[row]) for row, fine in zip(crops, good, strict=True) if not fine]
            features.append(found[good])
            rows += [row for row, fine in zip(crops, good, strict=True) if fine]
            thumbnails += [thumbnail(crop) for crop, fine in zip(crops.values(), good, strict=True) if fine]
    return rows, np.concatenate(features), thumbnails


def nothing_in(entry: Entry) -> str:
    """The line for a crop without a feature."""
    return f"{named(entry)}: the network finds nothing to compare in it: its feature is all zeros, or no number"


def labelled(data: DataSet, model: Network, problems: list[str], progress: bool = True) -> tuple[Features, Features]:
    """Features of the query and the gallery split, with people and cameras, as thresholds are calibrated on; a line to
    ``problems`` for each image that is left out, as it cannot be read or has no feature. Raises InputError naming those
    images, where none is left."""
    sides = []
    for split in ("query", "gallery"):
        samples, left_out = data.splits[split], list[str]()
        rows, features, _ = embed_entries([Entry(str(path), "") for path in samples.paths], model, left_out, progress)
        if not rows:
            raise InputError("\n".join(left_out))
        problems += left_out
        names = tuple(samples.names[row] for row in rows)
        sides.append(Features(features, samples.pids[rows], samples.camids[rows], names, f"{data.label}/{split}"))
    return sides[0], sides[1]
