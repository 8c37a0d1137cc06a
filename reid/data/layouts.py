"""From a card and a folder to rows (name, identity, camera, size), one function a layout; nothing is dropped here."""

import csv
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from reid.data.schema import SPLITS, Card, Split, escapes
from reid.errors import InputError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp")
LISTED = re.compile(  # a line of a list file: path [pid [camera]]
    rf"(?P<path>.+?(?:{'|'.join(map(re.escape, IMAGE_SUFFIXES))}))(?:\s+(?P<pid>-?\d+)(?:\s+(?P<cam>-?\d+))?)?",
    re.IGNORECASE,
)
MANIFEST_COLUMNS = ("path", "pid", "camid", "split")


@dataclass(frozen=True)
class Row:
    """An image file; identity and camera as written, before they become numbers."""

    name: str  # posix, relative to the root
    pid: str
    cam: str
    size: int  # bytes


@dataclass(frozen=True)
class Scan:
    """The rows of one split, and the image files whose names do not match the card's pattern."""

    rows: tuple[Row, ...]
    unmatched: tuple[str, ...] = ()


def some(names: list[str] | tuple[str, ...], limit: int = 3) -> str:
    """The first few names, and how many more there are."""
    rest = len(names) - limit
    return ", ".join(names[:limit]) + (f" and {rest} more" if rest > 0 else "")


def is_image(name: str) -> bool:
    """By suffix, in either case; hidden files (.DS_Store, macOS's ._twin of an image) are none."""
    return not name.startswith(".") and name.lower().endswith(IMAGE_SUFFIXES)


def images_in(folder: Path) -> Iterator[tuple[str, int]]:
    """Name and size of each image file directly in the folder."""
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if is_image(entry.name) and not entry.is_dir():
                    yield entry.name, entry.stat().st_size
    except OSError as error:  # no permission, or a link to nothing
        raise InputError(f"{error.filename or folder}: cannot be read: {error.strerror}") from None


def scan_split(card: Card, split_name: str, split: Split, dirs: tuple[str, ...], root: Path, hint: str) -> Scan:
    """The rows of one split of a card without a manifest; `hint` ends the message where something is missing."""
    rows: list[Row] = []
    unmatched: list[str] = []
    pattern = re.compile(card.pattern) if card.pattern is not None else None
    cameras = split.camera or (None,)
    for place, directory in enumerate(dirs):
        folder = root / directory
        if not folder.is_dir():
            raise InputError(f"card {card.name}, split {split_name}: no folder {folder}. {hint}")
        camera = cameras[place if len(cameras) > 1 else 0]
        if split.lists:
            found = _listed(card, split_name, split.lists, directory, root, hint)
        elif card.layout == "folders":
            found = _folders(root, directory)
        else:
            found = ((_join(directory, name), None, None, size) for name, size in images_in(folder))
        for name, pid, cam, size in found:
            match = pattern.search(name.rpartition("/")[2]) if pattern is not None else None
            groups = match.groupdict() if match is not None else {}
            pid = groups.get("pid") if pid is None else pid
            cam = groups.get("cam") if cam is None else cam
            cam = cam if camera is None else str(camera)
            if pid is None or cam is None:
                unmatched.append(name)
            else:
                rows.append(Row(name, pid, cam, size))
    if not rows:
        where = ", ".join(str(root / directory) for directory in dirs)
        if unmatched:
            what = f"pattern {card.pattern!r} matches none"
            if split.lists:
                what = f"{', '.join(split.lists)} and pattern {card.pattern!r} tell identity and camera of none"
            raise InputError(
                f"card {card.name}, split {split_name}: {what} of the "
                f"{len(unmatched)} image files in {where}: {some(sorted(unmatched))}"
            )
        raise InputError(
            f"card {card.name}, split {split_name}: no image file ({', '.join(IMAGE_SUFFIXES)}) in {where}. {hint}"
        )
    return Scan(tuple(sorted(rows, key=lambda row: row.name)), tuple(sorted(unmatched)))


def _join(directory: str, name: str) -> str:
    """The posix path of `name` in `directory`, without a leading './'."""
    parts = [part for part in directory.split("/") if part not in ("", ".")]
    return "/".join([*parts, name])


def _folders(root: Path, directory: str) -> Iterator[tuple[str, str, None, int]]:
    for folder in sorted(path for path in (root / directory).iterdir() if path.is_dir() and path.name[0] != "."):
        for name, size in images_in(folder):
            yield _join(directory, f"{folder.name}/{name}"), folder.name, None, size


def _listed(
    card: Card, split_name: str, lists: tuple[str, ...], directory: str, root: Path, hint: str
) -> Iterator[tuple[str, str | None, str | None, int]]:
    """Name, identity and camera where the line tells them, and size, of every entry of the list files."""
    missing: list[str] = []
    seen: set[str] = set()
    for list_name in lists:
        path = root / list_name
        if not path.is_file():
            raise InputError(f"card {card.name}, split {split_name}: no list file {path}. {hint}")
        for number, line in enumerate(_text(path).splitlines(), 1):
            if not line.strip():
                continue
            match = LISTED.fullmatch(line.strip())
            if match is None:
                suffixes = ", ".join(IMAGE_SUFFIXES)
                raise InputError(
                    f"{path}, line {number}: {line.strip()!r} is not 'path [identity [camera]]', the path an image's "
                    f"({suffixes}), the others whole numbers"
                )
            entry, pid, cam = match.group("path", "pid", "cam")
            name = _checked(entry, directory, seen, f"{path}, line {number}")
            size = _size(root / name)
            if size is None:
                missing.append(name)
            else:
                yield name, pid, cam, size
    if missing:
        raise InputError(
            f"card {card.name}, split {split_name}: {len(missing)} files that {', '.join(lists)} lists are not in "
            f"{root}: {some(missing)}. {hint}"
        )


def scan_manifest(card: Card, root: Path, hint: str) -> dict[str, Scan]:
    """The splits of a CSV manifest with the columns path, pid, camid and split; paths are relative to the root."""
    path = root / str(card.manifest)
    if not path.is_file():
        raise InputError(f"card {card.name}: no manifest {path}. {hint}")
    reader = csv.DictReader(_text(path).splitlines(), skipinitialspace=True)
    lacking = [column for column in MANIFEST_COLUMNS if column not in (reader.fieldnames or ())]
    if lacking:
        found = ", ".join(reader.fieldnames or ()) or "none"
        raise InputError(f"{path}: no column {', '.join(lacking)}; it needs {', '.join(MANIFEST_COLUMNS)}, has {found}")
    splits: dict[str, list[Row]] = {}
    seen: dict[str, set[str]] = {}
    missing: list[str] = []
    for record in _records(reader, path):
        where = f"{path}, line {reader.line_num}"
        values = {column: (record[column] or "").strip() for column in MANIFEST_COLUMNS}
        empty = [column for column, value in values.items() if not value]
        if empty:
            raise InputError(f"{where}: {', '.join(empty)} is empty")
        split_name = values["split"]
        if split_name not in SPLITS:
            raise InputError(f"{where}: split {split_name!r} is not one of {', '.join(SPLITS)}")
        name = _checked(values["path"], ".", seen.setdefault(split_name, set()), where)
        size = _size(root / name)
        if size is None:
            missing.append(name)
        else:
            splits.setdefault(split_name, []).append(Row(name, values["pid"], values["camid"], size))
    if missing:
        raise InputError(f"{path}: {len(missing)} files that it lists are not in {root}: {some(missing)}")
    if not splits:
        raise InputError(f"{path}: no rows below the header")
    return {name: Scan(tuple(sorted(rows, key=lambda row: row.name))) for name, rows in splits.items()}


def _records(reader: csv.DictReader, path: Path) -> Iterator[dict[str, str]]:
    try:
        yield from reader
    except csv.Error as error:
        raise InputError(f"{path}, line {reader.line_num}: not readable as CSV: {error}") from None


def _checked(entry: str, directory: str, seen: set[str], where: str) -> str:
    """An entry's name relative to the root: an image, below the root, and not listed before."""
    if escapes(entry):
        raise InputError(f"{where}: {entry!r} leaves the data set's root; paths must be relative, without '..'")
    name = _join(directory, "/".join(part for part in entry.split("/") if part not in ("", ".")))
    if not name.lower().endswith(IMAGE_SUFFIXES):
        raise InputError(f"{where}: {entry!r} is no image file; suffixes: {', '.join(IMAGE_SUFFIXES)}")
    if name in seen:
        raise InputError(f"{where}: {entry!r} is listed twice")
    seen.add(name)
    return name


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size if path.is_file() else None
    except OSError:
        return None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as UTF-8 text: {error}") from None
