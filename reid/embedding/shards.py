"""Crops in shards, tar files and Parquet, into one file of features a shard: those files are what is done so far."""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from PIL import Image

from reid.data.images import FORMATS, UNREADABLE, explain, read_image, upright_rgb
from reid.embedding.images import AT_ONCE, Item, embed_part, features_file
from reid.embedding.shard_contents import Crop, read_shard
from reid.errors import InputError
from reid.files import remove_leftover_partials
from reid.gallery.catalogue.thumbnails import thumbnail
from reid.networks import Network
from reid.networks.features_file import read_key

SUFFIXES = (".tar", ".parquet")
FORMAT = 1  # of what is made from a shard; part of the files' keys


@dataclass(frozen=True)
class Done:
    """What became of a shard.

    Attributes:
        rows: features in its file.
        left_out: a line for each image that has none.
        passed_over: the file was there already, of the same shard and network.
        problem: why there is no file; empty where there is one.
    """

    shard: str
    rows: int = 0
    left_out: tuple[str, ...] = ()
    passed_over: bool = False
    problem: str = ""


# --- which shards -----------------------------------------------------------------------------------------------------


def shards_of(names: Sequence[str]) -> list[Path]:
    """The whole paths of shards; a folder stands for those in it, by name.

    Raises:
        InputError: naming what is neither, a folder without one, or a shard that is named twice.
    """
    shards: list[Path] = []
    for name in names:
        path = Path(name)
        inside = sorted(p for p in path.iterdir() if p.suffix in SUFFIXES and p.is_file()) if path.is_dir() else [path]
        if not inside:
            raise InputError(f"{name}: no shard in it; expected files that end in {' or '.join(SUFFIXES)}")
        if path.suffix not in SUFFIXES and not path.is_dir():
            raise InputError(f"{name}: expected a shard, a file that ends in {' or '.join(SUFFIXES)}, or a folder")
        shards += [Path(os.path.realpath(shard)) for shard in inside]
    for shard in shards:
        if not shard.is_file():
            raise InputError(f"{shard}: no such file")
    if twice := sorted({str(shard) for shard in shards if shards.count(shard) > 1}) if len(shards) > 1 else []:
        raise InputError(f"{twice[0]}: the shard is named twice")
    return shards


def outputs_of(shards: Sequence[Path], folder: Path) -> list[Path]:
    """The features file of each shard: ``folder``/NAME.parquet.

    Raises:
        InputError: two shards of one name, or a folder that shards lie in.
    """
    folder = Path(os.path.realpath(folder))
    by_name: dict[str, Path] = {}
    for shard in shards:
        other = by_name.setdefault(shard.stem, shard)
        if other != shard:
            raise InputError(f"{shard}: would be written to {shard.stem}.parquet, as {other} is")
        if shard.parent == folder:
            raise InputError(f"{folder}: shards lie in it; their features need another folder")
    return [folder / f"{shard.stem}.parquet" for shard in shards]


# --- a shard into a file ----------------------------------------------------------------------------------------------


def embed_shards(shards: Sequence[Path], outputs: Sequence[Path], network: Network) -> Iterator[Done]:
    """One after the other; what is there already is passed over, what cannot be done says why.

    Raises:
        InputError: the folder of ``outputs`` cannot be written.
    """
    prepare(outputs[0].parent)
    for shard, output in zip(shards, outputs, strict=True):
        yield attempt(shard, output, network)


def prepare(folder: Path) -> None:
    """Make the folder of the features, and take away what writers that were killed have left in it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: cannot be written: {error}") from None
    remove_leftover_partials(folder)


def attempt(shard: Path, output: Path, network: Network) -> Done:
    """As :func:`embed_shard`; what is wrong with the shard is part of the answer, and no reason to end the others."""
    try:
        return embed_shard(shard, output, network)
    except InputError as error:
        return Done(str(shard), problem=str(error))


def embed_shard(shard: Path, output: Path, network: Network) -> Done:
    """Write the features of a shard's crops with their thumbnails, whole or not at all (see
    :class:`reid.networks.features_file.FeaturesFile`). Sources are named SHARD/NAME, or by the image's own path.

    A file that is there is kept where its key is the shard's, by path, size and time, and the network's fingerprint.

    Raises:
        InputError: naming the shard, that is damaged or holds no image that has a feature.
    """
    key = _key(shard, network)
    written = read_key(output)
    if written is not None and written[0] == key:
        return Done(str(shard), pq.read_metadata(output).num_rows, written[1], passed_over=True)
    items: list[Item] = []
    features: list[np.ndarray] = []
    pictures: list[bytes] = []
    left_out: list[str] = []
    with ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1)) as threads:
        for some in _decoded(read_shard(shard), threads):
            batch = [Item(crop.entry) for crop, _ in some]
            images = [read if isinstance(read, InputError) else read[0] for _, read in some]
            part = embed_part(batch, 0, images, network)
            items += [batch[row] for row in part.rows.tolist()]
            pictures += [read[1] for row in part.rows.tolist() if not isinstance(read := some[row][1], InputError)]
            features.append(part.features)
            left_out += part.left_out
    if not items:
        raise InputError("\n".join((f"{shard}: no image has a feature, and nothing is written", *left_out[:10])))
    features_file(items, np.concatenate(features), network, key, tuple(left_out), tuple(pictures)).save(output)
    return Done(str(shard), len(items), tuple(left_out))


def _key(shard: Path, network: Network) -> str:
    try:
        stat = shard.stat()
    except OSError as error:
        raise InputError(f"{shard}: cannot be read: {error.strerror}") from None
    made_from = [FORMAT, network.origin.fingerprint, str(shard), stat.st_size, stat.st_mtime_ns]
    return hashlib.sha256(json.dumps(made_from).encode()).hexdigest()


Read = tuple[np.ndarray, bytes] | InputError  # pixels (h, w, 3) and thumbnail, or why there are none


def _decoded(crops: Iterator[Crop], threads: ThreadPoolExecutor) -> Iterator[list[tuple[Crop, Read]]]:
    """Some crops at a time, decoded while those before are embedded."""
    ahead: list[tuple[Crop, Any]] = []
    while ahead or (ahead := _begun(crops, threads)):
        current, ahead = ahead, _begun(crops, threads)
        yield [(crop, future.result()) for crop, future in current]


def _begun(crops: Iterator[Crop], threads: ThreadPoolExecutor) -> list[tuple[Crop, Any]]:
    return [(crop, threads.submit(_decode, crop)) for crop in islice(crops, AT_ONCE)]


def _decode(crop: Crop) -> Read:
    if isinstance(crop.content, InputError):
        return crop.content
    try:
        if isinstance(crop.content, Path):
            pixels = read_image(crop.content)
        else:
            with Image.open(io.BytesIO(crop.content), formats=FORMATS) as image:
                pixels = upright_rgb(image)
    except InputError as error:
        return error
    except UNREADABLE as error:
        return InputError(f"{crop.entry.source}: not a readable image: {explain(error)}")
    return pixels, thumbnail(pixels)
