"""From files to a gallery: which images there are (a folder, a CSV file, a data set), and putting them in."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from reid.data.card import DataSet, Samples
from reid.data.images import read_image
from reid.data.names import whole
from reid.data.unlabelled import read_unlabelled
from reid.errors import InputError
from reid.gallery.entries import Entry, Store
from reid.gallery.networks.model import Model
from reid.gallery.thumbnails import crop, thumbnail
from reid.progress import track
from reid.retrieval.features import Features

COLUMNS = ("path", "camera", "identity", "time", "left", "top", "right", "bottom")
BOX = COLUMNS[4:]
EARLIEST, LATEST = -62_135_596_800.0, 253_402_300_799.0  # seconds since 1970: the years 1 to 9999
AT_ONCE = 256  # images embedded, and committed, together


# --- which images -----------------------------------------------------------------------------------------------------


def folder_entries(folder: Path, camera: str, identity: str | None = None) -> list[Entry]:
    """Every image below a folder, by name, all of one camera and of one person or of nobody known.

    Raises:
        InputError: as :func:`reid.data.unlabelled.read_unlabelled`.
    """
    paths = read_unlabelled(folder).paths
    return [Entry(source=str(path.resolve()), camera=camera, identity=identity) for path in paths]


def csv_entries(file: Path) -> list[Entry]:
    """Rows of a CSV file with columns path, camera and optionally identity, time and left, top, right, bottom.

    Paths are relative to the file's folder; an empty identity or time is an unknown one. Time as :func:`seconds`
    reads it. A name written 1.0 is 1. A box is in pixels of the upright image (:func:`reid.data.images.read_image`).

    Raises:
        InputError: naming the file, the line and the column.
    """
    try:
        with file.open(newline="", encoding="utf-8-sig") as lines:
            rows = csv.DictReader(lines, strict=True)
            names = tuple(rows.fieldnames or ())
            unknown = [name for name in names if name not in COLUMNS]
            if unknown or not {"path", "camera"} <= set(names):
                wrong = f"unknown column {unknown[0]!r}" if unknown else "no column path, or no column camera"
                raise InputError(f"{file}: {wrong}; the columns are {', '.join(COLUMNS)}; path and camera must be")
            return [_csv_entry(row, f"{file}, line {rows.line_num}", file.parent) for row in rows]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{file}: cannot be read as CSV: {error}") from None


def _csv_entry(row: dict[str, str | None], where: str, folder: Path) -> Entry:
    if None in row or not row["path"] or not row["camera"] or "\0" in row["path"]:
        raise InputError(f"{where}: expected a value for path and camera, and no more values than columns")
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
    source = str((folder / row["path"]).resolve())
    identity, camera = _written(row.get("identity") or ""), _written(row["camera"])
    return Entry(source=source, camera=camera, identity=identity or None, time=time, box=box)


def _written(name: str) -> str:
    """A name as it stands there, but 1 for 1.0, as pandas writes whole numbers beside a missing one."""
    number = whole(name) if re.fullmatch(r"-?[0-9]+\.0+", name) else None
    return name if number is None else str(number)


def seconds(text: str, what: str) -> float:
    """Seconds since 1970 of a number of them, or of an ISO 8601 date and time, which is UTC where it names no zone.

    Raises:
        InputError: beginning with ``what``.
    """
    try:
        found = float(text)
    except ValueError:
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            raise InputError(f"{what}: {text!r} is neither seconds since 1970 nor like 2026-03-01T17:05:00") from None
        found = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    if not EARLIEST <= found <= LATEST:
        raise InputError(f"{what}: {text!r} is no point in time of the years 1 to 9999")
    return found


def split_entries(data: DataSet, split: str) -> list[Entry]:
    """The images of one split, in the card's order, which decides ties. People and cameras carry the data set's name:
    "plaza/17", since numbers of different data sets mean different ones. Junk is left out, distractors are unknown."""
    samples = data.splits[split]
    return [
        Entry(
            source=str(path.resolve()),
            camera=f"{data.label}/{camera}",
            identity=f"{data.label}/{person}" if person > 0 else None,
        )
        for path, person, camera in zip(samples.paths, samples.pids.tolist(), samples.camids.tolist(), strict=True)
        if person >= 0
    ]


def labelled(data: DataSet, model: Model, progress: bool = True) -> tuple[Features, Features]:
    """Features of the query and the gallery split, with people and cameras, as thresholds are calibrated on.

    Raises:
        InputError: an image that cannot be read.
    """
    query, gallery = (
        Features(
            np.concatenate([model.embed(images) for images in _read(data.splits[split], progress)]),
            data.splits[split].pids,
            data.splits[split].camids,
            data.splits[split].names,
            f"{data.label}/{split}",
        )
        for split in ("query", "gallery")
    )
    return query, gallery


def _read(samples: Samples, progress: bool) -> Iterator[list[np.ndarray]]:
    with track(name=f"images of {samples.root.name}", unit="image", total=len(samples), shown=progress) as bar:
        for low in range(0, len(samples), AT_ONCE):
            images = [read_image(path) for path in samples.paths[low : low + AT_ONCE]]
            yield images
            bar.update(len(images))


# --- putting them in --------------------------------------------------------------------------------------------------


Fragment = tuple[Entry, np.ndarray, bytes]  # entry, feature (D,), thumbnail


@dataclass(frozen=True)
class Added:
    """What became of the images: ids of the new entries, images that were there already, and what could not be read."""

    ids: list[int]
    known: int
    problems: list[str]


@dataclass(frozen=True)
class Embedded:
    """Some images: their entries, features (N, D) float32 and thumbnails (JPEG)."""

    entries: list[Entry]
    features: np.ndarray
    thumbnails: list[bytes]


def read_crop(entry: Entry) -> np.ndarray:
    """The person's pixels (h, w, 3) uint8 RGB, from an image.

    Raises:
        InputError: naming the file, when it cannot be read or the box lies outside it.
    """
    try:
        entry.source.encode()
    except UnicodeEncodeError:
        raise InputError(f"{entry.source!r}: a name that is not UTF-8 cannot be kept") from None
    image = read_image(Path(entry.source))
    if entry.box is None:
        return image
    *_, right, bottom = entry.box
    if right > image.shape[1] or bottom > image.shape[0]:
        raise InputError(f"{entry.source}: box {entry.box} lies outside its {image.shape[1]} x {image.shape[0]} pixels")
    return crop(image, entry.box)


def embed_entries(
    entries: Sequence[Entry], model: Model, problems: list[str], progress: bool = True
) -> Iterator[Embedded]:
    """Read and embed, some images at a time; a line to ``problems`` for each that cannot be read."""
    with track(name="images", unit="image", total=len(entries), shown=progress) as bar:
        for low in range(0, len(entries), AT_ONCE):
            some = entries[low : low + AT_ONCE]
            read, images = [], []
            for entry in some:
                try:
                    images.append(read_crop(entry))
                    read.append(entry)
                except InputError as error:
                    problems.append(str(error))
            if read:
                yield Embedded(read, model.embed(images), [thumbnail(image) for image in images])
            bar.update(len(some))


def add_images(store: Store, entries: Sequence[Entry], model: Model, progress: bool = True) -> Added:
    """Put images in, a batch a commit: after an interruption the same call goes on where it was.

    An image is known by its source and box; one that is there already is passed over.
    """
    known = {_place(entry) for entry in store.find()}
    new = list({_place(entry): entry for entry in entries if _place(entry) not in known}.values())
    ids: list[int] = []
    problems: list[str] = []
    for some in embed_entries(new, model, problems, progress):
        ids += store.add(some.entries, some.features, some.thumbnails)
    return Added(ids, len(entries) - len(new), problems)


def add_fragments(store: Store, fragments: Iterable[Fragment]) -> Added:
    """Put fragments of tracks in as they end, a commit each; one that is there already is passed over."""
    known = {_place(entry) for entry in store.find()}
    ids: list[int] = []
    passed = 0
    for entry, feature, image in fragments:
        if _place(entry) in known:
            passed += 1
        else:
            ids += store.add([entry], feature[None], [image])
    return Added(ids, passed, [])


def _place(entry: Entry) -> tuple[str, int | None, tuple[int, int, int, int] | None]:
    return entry.source, entry.frame, entry.box
