"""What is in a shard: a tar file as WebDataset writes them, an image and beside it, where there is one, ``NAME.json``
with camera, identity and time; or a Parquet file of images' bytes or paths.

A tar file is read from its stream alone: nothing is unpacked, whatever its members are called. Of a Parquet file only
columns of plain types are read.
"""

from __future__ import annotations

import json
import os
import struct
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from reid.data.layouts import is_image
from reid.data.names import refuse_unwritable
from reid.data.times import seconds
from reid.embedding.images import AT_ONCE
from reid.errors import InputError
from reid.gallery.entries import Entry
from reid.gallery.ingest.images import BOX, written_name

LARGEST = 256 * 2**20  # bytes of a member that is read
BLOCK = 512  # bytes of a tar file's unit
DAMAGED = (tarfile.TarError, OSError, EOFError, ValueError, ArithmeticError, struct.error)
OF_IMAGE = ("camera", "identity", "time")


@dataclass(frozen=True)
class Crop:
    """One image of a shard: the bytes of its file, the file's path, or why there is none."""

    entry: Entry
    content: bytes | Path | InputError


def read_shard(shard: Path) -> Iterator[Crop]:
    """The images of a shard, in its order; those that cannot be had, with the reason.

    Raises:
        InputError: naming the shard, which is damaged, or the place of a wrong value in it; some images may have been
            given by then.
    """
    seen: set[str] = set()
    crops = _of_tar(shard) if shard.suffix == ".tar" else _of_parquet(shard)
    for crop in crops:
        if crop.entry.source in seen:
            crop = Crop(crop.entry, InputError(f"{crop.entry.source}: is in the shard twice; the first one counts"))
        seen.add(crop.entry.source)
        yield crop
    if not seen:
        raise InputError(f"{shard}: holds no image")


def _of_tar(shard: Path) -> Iterator[Crop]:
    try:
        with shard.open("rb") as file, tarfile.open(fileobj=file, mode="r:") as archive:
            for _, members in groupby(_members(archive), _sample):
                yield from _crops(shard, archive, list(members))
            file.seek(archive.offset)  # tarfile takes a damaged header, and a missing one, for the end
            if file.read(BLOCK) != bytes(BLOCK):
                raise InputError(f"{shard}: damaged or cut short: no end of the archive behind its last member")
    except InputError:  # which is a ValueError, and says what it is of
        raise
    except DAMAGED as error:
        raise InputError(f"{shard}: damaged or cut short: {error}") from None


def _members(archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    before = -1
    for member in archive:
        if member.size < 0 or member.offset <= before:  # up to Python 3.13.5 tarfile goes round for ever
            raise tarfile.ReadError(f"{member.name!a}: {member.size} bytes")
        before = member.offset
        yield member


def _sample(member: tarfile.TarInfo) -> str:
    """What the files of one sample share: the path up to the first point in its last part."""
    folder, _, name = member.name.rpartition("/")
    return f"{folder}/{name.partition('.')[0]}"


def _crops(shard: Path, archive: tarfile.TarFile, members: Sequence[tarfile.TarInfo]) -> Iterator[Crop]:
    told: dict[str, Any] = {}
    images = [member for member in members if is_image(PurePosixPath(member.name).name)]
    for member in members:
        if member.isreg() and member.name.endswith(".json"):
            if not images:
                raise InputError(f"{shard}: {member.name!a}: no image stands beside it in the archive")
            place = f"{shard}: {member.name!a}"
            told = _json(place, _content(archive, member, place))
    for member in images:
        where, place = f"{shard}/{member.name}", f"{shard}: {member.name!a}"
        entry = _entry(where, place, told)
        try:
            if not member.isreg():
                raise InputError(f"{where!a}: is a link or no file; images are expected")
            yield Crop(_entry(_inside(shard, member.name), where, told), _content(archive, member, place))
        except InputError as error:
            yield Crop(entry, error)


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo, place: str) -> bytes:
    if member.issparse():  # holes take no room in the archive, but their zeros would in memory
        raise InputError(f"{place}: has holes (a sparse file); pack it without --sparse")
    if member.size > LARGEST:
        raise InputError(f"{place}: {member.size:,} bytes, more than the {LARGEST:,} of an image")
    file = archive.extractfile(member)  # an open part of the archive, no file on the disk
    assert file is not None  # a regular member
    return file.read()


def _inside(shard: Path, name: str) -> str:
    """How an image of a shard is called: as a path that leads nowhere else, whoever joins and shortens it."""
    source = str(shard / PurePosixPath(name.lstrip("/")))
    if ".." in PurePosixPath(name).parts or "\0" in name or source == str(shard):
        raise InputError(f"{shard}: {name!a}: a name that leads out of the shard")
    refuse_unwritable(source)
    return source


def _json(where: str, content: bytes) -> dict[str, Any]:
    try:
        told = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where}: not readable JSON: {error}") from None
    if not isinstance(told, dict):
        raise InputError(f"{where}: expected a mapping with {', '.join(OF_IMAGE)}, got a {type(told).__name__}")
    return told


def _of_parquet(shard: Path) -> Iterator[Crop]:
    row = 0
    try:
        with pq.ParquetFile(shard, page_checksum_verification=True) as file:
            names = _columns(shard, file.schema_arrow)
            for batch in file.iter_batches(AT_ONCE, columns=names):
                columns = {name: batch.column(name) for name in names}
                if (image := columns.get("image")) is not None and pa.types.is_struct(image.type):
                    columns["image"] = pc.struct_field(image, "bytes")
                for values in pa.record_batch(list(columns.values()), list(columns)).to_pylist():
                    yield _of_row(shard, row, values)
                    row += 1
    except (OSError, pa.ArrowException, UnicodeDecodeError, OverflowError) as error:  # the last: times before year 1
        raise InputError(f"{shard}: cannot be read as Parquet: {error}") from None


def _columns(shard: Path, schema: pa.Schema) -> list[str]:
    """Those that are read, whose types are plain: of others, that packages register, reading might run code."""
    if boxes := [name for name in BOX if name in schema.names]:
        raise InputError(f"{shard}: column {boxes[0]}: shards hold crops; embed.py --output cuts out boxes")
    names = [name for name in ("image", "path", *OF_IMAGE) if name in schema.names]
    if not {"image", "path"} & set(names):
        raise InputError(f"{shard}: has no column image (the bytes of a file) nor path (of a file)")
    for name in names:
        if schema.names.count(name) > 1:
            raise InputError(f"{shard}: column {name!r} stands there twice")
        kind = schema.field(name).type
        if name == "image" and pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
            if any(isinstance(field.type, pa.BaseExtensionType) for field in kind):
                raise InputError(f"{shard}: column image is {kind}, expected plain columns in it")
            kind = kind.field("bytes").type
        if not _plain(name, kind):
            raise InputError(f"{shard}: column {name} is {kind}, which is not read as {name}")
    return names


def _plain(name: str, kind: pa.DataType) -> bool:
    types = pa.types
    if name == "image":
        return types.is_binary(kind) or types.is_large_binary(kind)
    if types.is_dictionary(kind):
        kind = kind.value_type
    text = types.is_string(kind) or types.is_large_string(kind) or types.is_null(kind)
    number = name != "path" and types.is_integer(kind)
    return text or number or (name == "time" and (types.is_floating(kind) or types.is_timestamp(kind)))


def _of_row(shard: Path, row: int, values: dict[str, Any]) -> Crop:
    where = f"{shard}: row {row}"
    content, path = values.get("image"), values.get("path")
    try:
        if "image" in values:
            source = _inside(shard, path or f"{row:09d}")
            if content is None:
                raise InputError(f"{where}: no image")
            return Crop(_entry(source, where, values), content)
        if not path or "\0" in path:
            raise InputError(f"{where}: no path")
        source = os.path.realpath(shard.parent / path)
        refuse_unwritable(source)
    except _Wrong:
        raise
    except InputError as error:
        return Crop(_entry(f"{shard}/{row:09d}", where, values), error)
    return Crop(_entry(source, where, values), Path(source))


class _Wrong(InputError):
    """A value that says something false of an image ends the shard, as a wrong line ends a CSV file."""


def _entry(source: str, where: str, values: dict[str, Any]) -> Entry:
    try:
        camera, identity = (_name(values.get(name), where, name) for name in ("camera", "identity"))
        return Entry(source, camera, identity or None, _time(values.get("time"), f"{where}: time"))
    except InputError as error:
        raise _Wrong(str(error)) from None


def _name(value: object, where: str, column: str) -> str:
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise InputError(f"{where}: {column}: {value!r}: expected a name or a whole number")
    return written_name(str(value), where, column)


def _time(value: object, what: str) -> float | None:
    if value is None or value == "":
        return None
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise InputError(f"{what}: {value!r}: expected a time as text or in seconds since 1970")
    return seconds(str(value), what)
