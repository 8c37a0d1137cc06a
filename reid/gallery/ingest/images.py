"""From files to a gallery: which images there are (a folder, a CSV file, a data set), and putting them in."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from reid.data.images import read_image
from reid.data.names import DECIMAL, refuse_missing, whole
from reid.data.samples import DataSet
from reid.data.times import seconds, shown, taken
from reid.data.unlabelled import read_unlabelled
from reid.errors import InputError
from reid.gallery.catalogue.thumbnails import crop, thumbnail
from reid.gallery.entries import Entry, Store
from reid.networks import Network
from reid.progress import track
from reid.retrieval.features import Features
from reid.retrieval.unit import usable

COLUMNS = ("path", "camera", "identity", "time", "left", "top", "right", "bottom")
BOX = COLUMNS[4:]
TOLD = ("camera", "identity", "time")  # what a person says of an image
AT_ONCE = 256  # images embedded, and committed, together


# --- which images -----------------------------------------------------------------------------------------------------


def folder_entries(folder: Path, camera: str, identity: str | None = None) -> list[Entry]:
    """Every image below a folder, by name, all of one camera and of one person or of nobody known.

    Raises:
        InputError: as :func:`reid.data.unlabelled.read_unlabelled`.
    """
    paths = read_unlabelled(folder).paths
    return [Entry(source=str(path.resolve()), camera=camera, identity=identity) for path in paths]


def csv_entries(file: Path, cameras: bool = True) -> list[Entry]:
    """Rows of a CSV file with columns path, camera and optionally identity, time and left, top, right, bottom.

    Paths are relative to the file's folder; an empty identity or time is an unknown one. Time as
    :func:`reid.data.times.seconds` reads it. A name written 1.0 is 1. A box is in pixels of the upright image
    (:func:`reid.data.images.read_image`). Without ``cameras`` a row may do without one, which is then "".

    Raises:
        InputError: naming the file, the line and the column.
    """
    needed = ("path", "camera") if cameras else ("path",)
    try:
        with file.open(newline="", encoding="utf-8-sig") as lines:
            rows = csv.DictReader(lines, strict=True)
            names = tuple(rows.fieldnames or ())
            unknown = [name for name in names if name not in COLUMNS]
            twice = [name for name in names if names.count(name) > 1]
            if twice:
                raise InputError(f"{file}: column {twice[0]!r} stands there twice")
            if unknown or not set(needed) <= set(names):
                lacking = ", or ".join(f"no column {name}" for name in needed)
                wrong = f"unknown column {unknown[0]!r}" if unknown else lacking
                raise InputError(
                    f"{file}: {wrong}; the columns are {', '.join(COLUMNS)}; {' and '.join(needed)} must be"
                )
            return [_csv_entry(row, f"{file}, line {rows.line_num}", file.parent, needed) for row in rows]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{file}: cannot be read as CSV: {error}") from None


def _csv_entry(row: dict[str, str | None], where: str, folder: Path, needed: Sequence[str]) -> Entry:
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
    moment = row.get("time")
    time = seconds(moment, f"{where}: time") if moment else None
    source = os.path.realpath(folder / path)  # unlike Path.resolve, no error where links go round
    identity, camera = (written_name(row.get(name) or "", where, name) for name in ("identity", "camera"))
    return Entry(source=source, camera=camera, identity=identity or None, time=time, box=box)


def written_name(name: str, where: str, column: str) -> str:
    """A name as it stands there, but 1 for 1.0, as pandas writes whole numbers beside a missing one.

    Raises:
        InputError: beginning with ``where``, for a word that stands for a missing value.
    """
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
        Entry(
            source=str(path.resolve()),
            camera=f"{label}/{camera}",
            identity=f"{label}/{person}" if person > 0 else None,
            time=time,
        )
        for path, person, camera, time in zip(samples.paths, *numbers, strict=True)
        if person >= 0
    ]


def labelled(
    data: DataSet, model: Network, progress: bool = True, problems: list[str] | None = None
) -> tuple[Features, Features]:
    """Features of the query and the gallery split, with people and cameras, as thresholds are calibrated on.

    Args:
        problems: gets a line for each image that is left out, as it cannot be read or has no feature.

    Raises:
        InputError: naming those images, where there is no list for them; or none is left.
    """
    query, gallery = (_labelled(data, split, model, progress, problems) for split in ("query", "gallery"))
    return query, gallery


def _labelled(data: DataSet, split: str, model: Network, progress: bool, problems: list[str] | None) -> Features:
    samples, unreadable = data.splits[split], list[str]()
    parts = list(_embedded([Entry(str(path), "") for path in samples.paths], model, unreadable, progress))
    if unreadable and (problems is None or not parts):
        raise InputError("\n".join(unreadable))
    if problems is not None:
        problems += unreadable
    kept = np.concatenate([part.rows for part in parts])
    return Features(
        np.concatenate([part.features for part in parts]),
        samples.pids[kept],
        samples.camids[kept],
        tuple(samples.names[row] for row in kept.tolist()),
        f"{data.label}/{split}",
    )


# --- putting them in --------------------------------------------------------------------------------------------------


Fragment = tuple[Entry, np.ndarray, bytes]  # entry, feature (D,), thumbnail


@dataclass(frozen=True)
class Added:
    """What became of the images.

    Attributes:
        ids: of the new entries.
        known: images that were there already.
        problems: a line for each image that was left out: it cannot be read, or the network finds nothing in it.
        differences: a line for each value that was given for an image and is not the stored one, which stays.
    """

    ids: list[int]
    known: int
    problems: list[str]
    differences: list[str]


@dataclass(frozen=True)
class Embedded:
    """Some images: their entries, features (N, D) float32 and thumbnails (JPEG)."""

    entries: list[Entry]
    features: np.ndarray
    thumbnails: list[bytes]


@dataclass(frozen=True)
class _Embedded:
    """Some images: their places (N,) in the list, features (N, D) float32 and pixels."""

    rows: np.ndarray
    features: np.ndarray
    crops: list[np.ndarray]


def read_crop(entry: Entry) -> np.ndarray:
    """The person's pixels (h, w, 3) uint8 RGB, from an image.

    Raises:
        InputError: naming the file, when it cannot be read or the box lies outside it.
    """
    try:
        entry.source.encode()
    except UnicodeEncodeError:
        raise InputError(f"{entry.source!r}: a name that is not UTF-8 cannot be kept") from None
    return cut(read_image(Path(entry.source)), entry)


def cut(image: np.ndarray, entry: Entry) -> np.ndarray:
    """The person's pixels, a view, in the image (h, w, 3) that the entry is of.

    Raises:
        InputError: naming the file, when the box lies outside it.
    """
    if entry.box is None:
        return image
    *_, right, bottom = entry.box
    if right > image.shape[1] or bottom > image.shape[0]:
        raise InputError(f"{entry.source}: box {entry.box} lies outside its {image.shape[1]} x {image.shape[0]} pixels")
    return crop(image, entry.box)


def embed_entries(
    entries: Sequence[Entry], model: Network, problems: list[str], progress: bool = True
) -> Iterator[Embedded]:
    """Read and embed, some images at a time; a line to ``problems`` for each that cannot be read, or that the network
    finds nothing in."""
    for some in _embedded(entries, model, problems, progress):
        embedded = [entries[row] for row in some.rows.tolist()]
        yield Embedded(embedded, some.features, [thumbnail(image) for image in some.crops])


def _embedded(entries: Sequence[Entry], model: Network, problems: list[str], progress: bool) -> Iterator[_Embedded]:
    with track(name="images", unit="image", total=len(entries), shown=progress) as bar:
        for low in range(0, len(entries), AT_ONCE):
            some = entries[low : low + AT_ONCE]
            rows, crops = [], []
            for row, entry in enumerate(some, low):
                try:
                    crops.append(read_crop(entry))
                    rows.append(row)
                except InputError as error:
                    problems.append(str(error))
            if rows:
                features = model.embed(crops)
                good = usable(features)
                problems += [nothing_in(entries[row]) for row, fine in zip(rows, good, strict=True) if not fine]
                if good.any():
                    crops = [image for image, fine in zip(crops, good, strict=True) if fine]
                    yield _Embedded(np.array(rows)[good], features[good], crops)
            bar.update(len(some))


def nothing_in(entry: Entry) -> str:
    """The line for a crop without a feature."""
    return f"{_named(entry)}: the network finds nothing to compare in it: its feature is all zeros, or no number"


def add_images(store: Store, entries: Sequence[Entry], model: Network, progress: bool = True) -> Added:
    """Put images in, a batch a commit: after an interruption the same call goes on where it was.

    An image is known by its source and box; one that is there already is passed over, and what is given for it now and
    is not what is stored is told. A field that no entry has, such as the person of a folder's images, says nothing.
    """
    there, fields = There(store), told_fields(entries)
    new = [entry for entry in entries if there.is_new(entry, fields)]
    ids: list[int] = []
    problems: list[str] = []
    for some in embed_entries(new, model, problems, progress):
        ids += store.add(some.entries, some.features, some.thumbnails)
    return Added(ids, len(entries) - len(new), problems, there.differences)


def add_fragments(store: Store, fragments: Iterable[Fragment]) -> Added:
    """Put fragments of tracks in as they end, a commit each; one that is there already is passed over as an image is,
    one without a feature is left out."""
    there = There(store)
    ids: list[int] = []
    problems: list[str] = []
    passed = 0
    for entry, feature, image in fragments:
        if not there.is_new(entry, ("camera", "time")):  # nobody has said who it is
            passed += 1
        elif usable(feature[None])[0]:
            ids += store.add([entry], feature[None], [image])
        else:
            problems.append(nothing_in(entry))
    return Added(ids, passed, problems, there.differences)


def told_fields(entries: Sequence[Entry]) -> list[str]:
    """Those of TOLD that some entry has."""
    return [name for name in TOLD if any(getattr(entry, name) is not None for entry in entries)]


class There:
    """The images that a gallery holds, by source, frame and box, and how what is given for them now differs."""

    def __init__(self, store: Store) -> None:
        self._by_place = {_place(entry): entry for entry in store.find()}
        self.differences: list[str] = []

    def is_new(self, entry: Entry, fields: Sequence[str]) -> bool:
        """Whether it is not there; from now on it is. If it is, the ``fields`` are compared."""
        place = _place(entry)
        if place not in self._by_place:
            self._by_place[place] = entry
            return True
        stored = self._by_place[place]
        number = f"entry {stored.id}" if stored.id else "given twice"
        for name in fields:
            old, given = getattr(stored, name), getattr(entry, name)
            if old != given:
                what = f"{name}: {_told(old)} is stored, {_told(given)} was given"
                self.differences.append(f"{_named(entry)} ({number}): {what}")
        return False


def _told(value: str | float | None) -> str:
    if isinstance(value, float):
        return shown(value)
    return "nothing" if value is None else repr(value)


def _place(entry: Entry) -> tuple[str, int | None, tuple[int, int, int, int] | None]:
    return entry.source, entry.frame, entry.box


def _named(entry: Entry) -> str:
    frame = "" if entry.frame is None else f", frame {entry.frame}"
    return f"{entry.source}{frame}" + ("" if entry.box is None else f", box {entry.box}")
