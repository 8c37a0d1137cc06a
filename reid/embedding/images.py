"""Features of many images into one file, a part at a time: what was interrupted goes on where it was."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path

import numpy as np

from reid.data.card import load_card
from reid.data.images import read_image
from reid.data.layouts import is_image
from reid.data.names import refuse_unwritable, whole
from reid.data.reading import Roots, warn_once
from reid.data.samples import DataSet
from reid.data.schema import SPLITS
from reid.data.times import taken
from reid.data.unlabelled import passed_over
from reid.errors import InputError
from reid.files import Busy, bundled_names, locked, write_atomically
from reid.gallery.entries import Entry
from reid.gallery.ingest.images import csv_entries, cut, folder_entries, nothing_in
from reid.networks import Network
from reid.networks.features_file import WHOLE, FeaturesFile, check_suffix, read_key
from reid.progress import track
from reid.retrieval.features import Features, read_arrays
from reid.retrieval.unit import usable

PART = 512  # images in one file of what is done so far: at most so many are lost
AT_ONCE = 128  # images read ahead, and embedded together


@dataclass(frozen=True)
class Item:
    """An image or a box in one, and the numbers that its data set gives the person and the camera; None: none."""

    entry: Entry
    pid: int | None = None
    camid: int | None = None


@dataclass(frozen=True)
class Written:
    """What became of the images.

    Attributes:
        rows: features in the file.
        left_out: a line for each image that has none.
        resumed: images that an earlier call had done.
    """

    rows: int
    left_out: tuple[str, ...]
    resumed: int


# --- which images -----------------------------------------------------------------------------------------------------


def items_of(names: Sequence[str], roots: Roots, splits: Sequence[str] | None = None) -> list[Item]:
    """The images that names stand for: an image file, a folder (all below it), a CSV file as a gallery takes it (its
    column camera may be missing) or a data set; an image or box that is named twice counts once.

    Args:
        splits: of data sets; None is all that they have. With splits a folder is a data set, one folder a person.

    Raises:
        InputError: naming what is missing or wrong.
    """
    items: dict[tuple[str, object], Item] = {}
    for name in names:
        for item in _items(name, roots, splits):
            items.setdefault((item.entry.source, item.entry.box), item)
    if len(names) > 1:  # each data set counts people from 1
        return [Item(item.entry, 0 if item.pid == 0 else None) for item in items.values()]
    return list(items.values())


def _items(name: str, roots: Roots, splits: Sequence[str] | None) -> list[Item]:
    path = Path(name)
    if path.is_file() and is_image(path.name):
        return [Item(Entry(str(path.resolve()), ""))]
    if path.suffix.lower() == ".csv" and not _is_manifest(path):
        return [Item(entry) for entry in csv_entries(path, cameras=False)]
    if splits is None and path.is_dir() and name not in bundled_names("datasets"):
        for note in passed_over(path):
            warn_once(f"{name}: {note}")
        return [Item(entry) for entry in folder_entries(path, "")]
    try:
        card = load_card(name)
    except InputError as error:
        if path.exists():
            raise
        raise InputError(f"{name}: neither an image, a folder, a CSV file of images nor a data set: {error}") from None
    data = roots.read(card, splits)
    return [item for split in SPLITS if split in data.splits for item in _of_split(data, split)]


def _is_manifest(path: Path) -> bool:
    """Whether a CSV file is a data set's: it says identities in a column pid."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as lines:
            return "pid" in next(csv.reader(lines), [])
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: cannot be read as CSV: {error}") from None


def _of_split(data: DataSet, split: str) -> Iterator[Item]:
    samples, times = data.splits[split], taken(data, split)
    rows = zip(samples.paths, samples.pids.tolist(), samples.camids.tolist(), times, strict=True)
    for path, pid, camid, time in rows:
        person = f"{data.label}/{pid}" if pid > 0 else None
        yield Item(Entry(str(path.resolve()), f"{data.label}/{camid}", person, time), pid, camid)


# --- into a file ------------------------------------------------------------------------------------------------------


def embed_to_file(items: Sequence[Item], network: Network, output: Path, progress: bool = True) -> Written:
    """Embed images and write their features, with boxes, names and the network's origin (see :class:`FeaturesFile`).

    Every ``PART`` images are kept beside ``output`` until all are done; a later call with the same network and the same
    images, by path, size and time, goes on from there, and does nothing where the file is there already.

    Raises:
        InputError: a file that cannot be written, another process at work on it, or no image that has a feature.
    """
    check_suffix(output)
    if output.is_dir():
        raise InputError(f"{output}: is a folder; expected the name of a file")
    key = _key(items, network)
    written = read_key(output)
    if written is not None and written[0] == key:
        return Written(len(items) - len(written[1]), written[1], len(items))
    folder = output.with_name(f".{output.name}.embed-{key[:16]}")
    with locked(folder):
        try:
            parts, resumed = _parts(items, network, folder, progress)
            rows = np.concatenate([part.rows for part in parts])
            left_out = tuple(line for part in parts for line in part.left_out)
            if len(rows):
                features = np.concatenate([part.features for part in parts])
                features_file([items[row] for row in rows.tolist()], features, network, key, left_out).save(output)
            shutil.rmtree(folder)
        finally:
            if not list(folder.glob("*.npz")):
                shutil.rmtree(folder, ignore_errors=True)  # nothing is lost with it
    _remove_abandoned(output)
    if not len(rows):
        raise InputError("\n".join(("no image has a feature, and nothing is written:", *left_out[:10])))
    return Written(len(rows), left_out, resumed)


@dataclass(frozen=True)
class Part:
    """Of some images the places (N,) of those that have a feature, the features (N, D), and a line for each other."""

    rows: np.ndarray
    features: np.ndarray
    left_out: list[str]

    def save(self, path: Path) -> None:
        content = io.BytesIO()
        np.savez(content, rows=self.rows, features=self.features, left_out=np.array(self.left_out, np.str_))
        write_atomically(path, content.getvalue())


def _load_part(path: Path) -> Part | None:
    """None where it is not there, or was damaged."""
    try:
        arrays = read_arrays(path)
        return Part(arrays["rows"], arrays["features"], [str(line) for line in arrays["left_out"]])
    except (InputError, KeyError):
        return None


def _parts(items: Sequence[Item], network: Network, folder: Path, progress: bool) -> tuple[list[Part], int]:
    lows = range(0, len(items), PART)
    stored = {low: part for low in lows if (part := _load_part(folder / f"{low:09d}.npz")) is not None}
    done = sum(min(PART, len(items) - low) for low in stored)
    width = network.origin.width
    with (
        track(name="images", unit="image", total=len(items), done=done, shown=progress) as bar,
        _Reader([item.entry for item in items]) as reader,
    ):
        missing = [low for low in lows if low not in stored]
        spans = [
            (start, min(start + AT_ONCE, low + PART, len(items)))
            for low in missing
            for start in range(low, min(low + PART, len(items)), AT_ONCE)
        ]
        part = Part(np.empty(0, np.int64), np.empty((0, width), np.float32), [])
        for (start, end), crops in zip(spans, reader.read(spans), strict=True):
            part = _joined(part, embed_part(items, start, crops, network))
            bar.update(end - start)
            low = start - start % PART
            if end == min(low + PART, len(items)):
                part.save(folder / f"{low:09d}.npz")
                stored[low] = part
                part = Part(np.empty(0, np.int64), np.empty((0, width), np.float32), [])
    return [stored[low] for low in lows], done


def _joined(a: Part, b: Part) -> Part:
    rows, features = np.concatenate([a.rows, b.rows]), np.concatenate([a.features, b.features])
    return Part(rows, features, a.left_out + b.left_out)


def embed_part(items: Sequence[Item], start: int, crops: Sequence[np.ndarray | InputError], network: Network) -> Part:
    """Embed the crops of the items from ``start`` on, or say why one has no feature."""
    rows = np.array([start + place for place, crop in enumerate(crops) if not isinstance(crop, InputError)], np.int64)
    left_out = [str(crop) for crop in crops if isinstance(crop, InputError)]
    if not len(rows):
        return Part(rows, np.empty((0, network.origin.width), np.float32), left_out)
    features = network.embed([crop for crop in crops if not isinstance(crop, InputError)])
    good = usable(features)
    left_out += [nothing_in(items[row].entry) for row in rows[~good].tolist()]
    return Part(rows[good], features[good].astype(np.float32), left_out)


class _Reader:
    """Crops, read by threads while others are embedded: decoding does not hold Python's lock."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        self._entries = entries
        self._threads = ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1))

    def __enter__(self) -> _Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self._threads.shutdown(cancel_futures=True)

    def read(self, spans: Sequence[tuple[int, int]]) -> Iterator[list[np.ndarray | InputError]]:
        """For each span of entries its crops, or why one cannot be read; the next span is read ahead."""
        ahead = self._begin(*spans[0]) if spans else []
        for place in range(len(spans)):
            current, ahead = ahead, self._begin(*spans[place + 1]) if place + 1 < len(spans) else []
            yield [crop for future in current for crop in future.result()]

    def _begin(self, start: int, end: int) -> list[Future[list[np.ndarray | InputError]]]:
        groups = groupby(self._entries[start:end], key=lambda entry: entry.source)
        return [self._threads.submit(_crops, source, list(some)) for source, some in groups]


def _crops(source: str, entries: Sequence[Entry]) -> list[np.ndarray | InputError]:
    """Of one image, which is decoded once."""
    try:
        refuse_unwritable(source)
        image = read_image(Path(source))
    except InputError as error:
        return [error] * len(entries)
    crops: list[np.ndarray | InputError] = []
    for entry in entries:
        try:
            crops.append(image if entry.box is None else cut(image, entry).copy())  # a view would keep all the image
        except InputError as error:
            crops.append(error)
    return crops


def _key(items: Sequence[Item], network: Network) -> str:
    digest = hashlib.sha256(json.dumps([network.origin.fingerprint, PART]).encode())
    for item in items:
        try:
            stat = Path(item.entry.source).stat()
            state = [stat.st_size, stat.st_mtime_ns]
        except (OSError, ValueError):  # it will be listed as what cannot be read
            state = []
        digest.update(json.dumps([asdict(item.entry), item.pid, item.camid, state]).encode())
    return digest.hexdigest()


def features_file(
    items: Sequence[Item],
    features: np.ndarray,
    network: Network,
    key: str,
    left_out: tuple[str, ...],
    thumbnails: tuple[bytes, ...] | None = None,
) -> FeaturesFile:
    """The record of items and their features (N, D)."""
    entries = [item.entry for item in items]
    identities, cameras = tuple(entry.identity or "" for entry in entries), tuple(entry.camera for entry in entries)
    people, places = _numbers(identities), _numbers(cameras)
    pids = [
        people.get(name, -1) if item.pid is None else item.pid for item, name in zip(items, identities, strict=True)
    ]
    camids = [
        places.get(name, 0) if item.camid is None else item.camid for item, name in zip(items, cameras, strict=True)
    ]
    record = Features(
        features,
        np.array(pids, np.int64),
        np.array(camids, np.int64),
        tuple(entry.source for entry in entries),
        network.origin.name,
    )
    boxes = np.array([entry.box or WHOLE for entry in entries], np.int64)
    times = np.array([np.nan if entry.time is None else entry.time for entry in entries], np.float64)
    return FeaturesFile(record, boxes, identities, cameras, times, network.origin, key, left_out, thumbnails)


def _numbers(names: Sequence[str]) -> dict[str, int]:
    """A number for each name: itself where all are whole numbers, else its place among them, sorted, from 1."""
    words = sorted(set(names) - {""})
    values = [whole(word) for word in words]
    known = [value for value in values if value is not None]
    return dict(zip(words, known if len(known) == len(words) else range(1, len(words) + 1), strict=True))


def _remove_abandoned(output: Path) -> None:
    """What was begun for this file with other images or another network, and is not being gone on with."""
    for folder in sorted(output.parent.glob(f".{output.name}.embed-*")):
        try:
            with locked(folder):
                shutil.rmtree(folder)
        except Busy:
            continue
