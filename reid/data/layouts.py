"""From a card and a folder to rows (name, identity, camera, size), one function a layout; nothing is dropped here."""

import csv
import io
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from reid.data.names import NUMBER, camera_in, label, refuse_missing, refuse_splits_as_people, refuse_unwritable, some
from reid.data.schema import SPLITS, Card, Split, escapes
from reid.errors import InputError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".webp", ".tif", ".tiff")
OTHER_SUFFIXES = (  # of pictures that are not read: they are counted and named
    ".gif", ".heic", ".heif", ".avif", ".jp2", ".j2k", ".jxl", ".ppm", ".pgm", ".pbm", ".pnm", ".ico", ".tga", ".svg",
    ".psd", ".exr", ".hdr", ".dds", ".pcx", ".mpo", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2", ".raf",
)  # fmt: skip
LISTED = re.compile(  # a line of a list file: path [pid [camera]]
    rf"(?P<path>.+?(?:{'|'.join(map(re.escape, IMAGE_SUFFIXES))}))"
    rf"(?:[ \t]+(?P<pid>{NUMBER.pattern})(?:[ \t]+(?P<cam>{NUMBER.pattern}))?)?",
    re.IGNORECASE,
)
MANIFEST_COLUMNS = ("path", "pid", "camid", "split")
_File = tuple[str, str | None, str | None, int]  # name, identity and camera where they are told, bytes


@dataclass(frozen=True)
class Row:
    """An image file; identity and camera as written, before they become numbers."""

    name: str  # posix, relative to the root
    pid: str
    cam: str
    size: int  # bytes


@dataclass(frozen=True)
class Scan:
    """The rows of one split, the image files whose names do not match the card's pattern, and pictures that are not
    read, since they lie where none are looked for or are of other formats."""

    rows: tuple[Row, ...]
    unmatched: tuple[str, ...] = ()
    passed_over: tuple[str, ...] = ()


@dataclass(frozen=True)
class Listing:
    """What lies directly in a folder, but for hidden files and folders."""

    images: list[tuple[str, int]]  # name, bytes
    folders: list[str]


def is_image(name: str) -> bool:
    """By suffix, in either case; hidden files (.DS_Store, macOS's ._twin of an image) are none."""
    return not name.startswith(".") and name.lower().endswith(IMAGE_SUFFIXES)


def listing(folder: Path) -> Listing:
    """What lies directly in the folder, each kind sorted by name.

    Raises:
        InputError: the folder cannot be read, or a link leads to nothing.
    """
    there = Listing([], [])
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if entry.is_dir():
                    there.folders.append(entry.name)
                elif is_image(entry.name):
                    there.images.append((entry.name, entry.stat().st_size))
    except OSError as error:  # no permission, or a link to nothing
        raise InputError(f"{error.filename or folder}: cannot be read: {error.strerror}") from None
    return Listing(sorted(there.images), sorted(there.folders))


def pictures_below(
    folder: Path, skip: Iterable[Path] = (), onerror: Callable[[OSError], None] | None = None
) -> Iterator[str]:
    """Every picture below the folder, of formats that are read and of others, relative to it.

    Folders in ``skip``, resolved, are not gone into, nor is one twice, so that links which go round end; one that
    cannot be read is passed over (lost+found is nobody's to read) unless ``onerror`` raises.
    """
    seen = {folder.resolve(), *skip}
    for top, folders, files in os.walk(folder, onerror=onerror, followlinks=True):
        prefix = Path(top).relative_to(folder).as_posix().removeprefix(".")
        for name in files:
            if not name.startswith(".") and name.lower().endswith((*IMAGE_SUFFIXES, *OTHER_SUFFIXES)):
                yield f"{prefix}/{name}" if prefix else name
        deeper = {name: (Path(top) / name).resolve() for name in sorted(folders) if not name.startswith(".")}
        folders.clear()
        for name, path in deeper.items():
            if path not in seen:
                seen.add(path)
                folders.append(name)


def unread_pictures(names: Sequence[str]) -> list[str]:
    """Pictures that are passed over, in words: a line for those of other formats, one for those in other places."""
    other = [name for name in names if not is_image(name.rpartition("/")[2])]
    deeper = [name for name in names if is_image(name.rpartition("/")[2])]
    lines = []
    if other:
        suffixes = ", ".join(IMAGE_SUFFIXES)
        lines.append(f"{len(other)} pictures are not read, since only {suffixes} are: {some(other)}")
    if deeper:
        lines.append(f"{len(deeper)} images are not read, since none are looked for where they lie: {some(deeper)}")
    return lines


def scan_split(card: Card, split_name: str, split: Split, dirs: tuple[str, ...], root: Path, hint: str) -> Scan:
    """The rows of one split of a card without a manifest; `hint` ends the message where something is missing."""
    rows: list[Row] = []
    unmatched: list[str] = []
    passed_over: list[str] = []
    pattern = re.compile(card.pattern) if card.pattern is not None else None
    cameras = split.camera or (None,)
    where = f"card {card.name}, split {split_name}"
    for place, directory in enumerate(dirs):
        folder = root / directory
        if not folder.is_dir():
            raise InputError(f"{where}: no folder {folder}. {hint}")
        camera = cameras[place if len(cameras) > 1 else 0]
        files: Iterable[_File]
        if split.lists:  # they say what is in the split: files that they do not name are not missed
            files = _listed(card, split_name, split.lists, directory, root, hint)
        else:
            inside = list(_folders(folder) if card.layout == "folders" else _flat(folder))
            files = ((_join(directory, name), pid, cam, size) for name, pid, cam, size in inside)
            elsewhere = [(root / other).resolve() for other in _all_dirs(card)]
            passed_over += [
                _join(directory, name)
                for name in set(pictures_below(folder, elsewhere)) - {name for name, *_ in inside}
            ]
        for name, pid, cam, size in files:
            refuse_unwritable(name)
            file = name.rpartition("/")[2]
            if pattern is not None:
                match = pattern.search(file)
                groups = match.groupdict() if match is not None else {}
                pid = groups.get("pid") if pid is None else pid
                cam = groups.get("cam") if cam is None else cam
            elif cam is None and camera is None and card.layout == "folders":
                cam = _camera(file, f"{where}: {name}")
            cam = cam if camera is None else str(camera)
            if pid is None or cam is None:
                unmatched.append(name)
            else:
                pid, cam = label(pid, f"{where}: {name}", "identity"), label(cam, f"{where}: {name}", "camera")
                rows.append(Row(name, pid, cam, size))
    if not rows:
        folders = ", ".join(str(root / directory) for directory in dirs)
        if unmatched:
            what = f"pattern {card.pattern!r} matches none"
            if card.pattern is None and card.layout == "folders":
                what = "the rule for cameras (c1 or cam1 as a word of its own) matches none"
            if split.lists:
                what = f"{', '.join(split.lists)} and pattern {card.pattern!r} tell identity and camera of none"
            raise InputError(
                f"{where}: {what} of the {len(unmatched)} image files in {folders}: {some(sorted(unmatched))}"
            )
        more = "".join(f"{line}. " for line in unread_pictures(sorted(passed_over)))
        raise InputError(f"{where}: no image file ({', '.join(IMAGE_SUFFIXES)}) in {folders}. {more}{hint}")
    return Scan(
        tuple(sorted(rows, key=lambda row: row.name)), tuple(sorted(unmatched)), tuple(sorted(set(passed_over)))
    )


def _all_dirs(card: Card) -> set[str]:
    """The folders of all splits, whichever are read: what lies in one of them is not missed in another."""
    named = {name for version in card.versions.values() for dirs in version.dirs.values() for name in dirs}
    return named.union(*(split.dir for split in card.splits.values()))


def _camera(file: str, where: str) -> str | None:
    try:
        return camera_in(file)
    except ValueError as error:
        raise InputError(f"{where}: {error}: which one took it? Name one alone, as c1 or cam1") from None


def _join(directory: str, name: str) -> str:
    """The posix path of `name` in `directory`, without a leading './'."""
    parts = [part for part in directory.split("/") if part not in ("", ".")]
    return "/".join([*parts, name])


def _flat(folder: Path) -> Iterator[_File]:
    for name, size in listing(folder).images:
        yield name, None, None, size


def _folders(folder: Path) -> Iterator[_File]:
    people = {name: images for name in listing(folder).folders if (images := listing(folder / name).images)}
    refuse_splits_as_people(folder, people)
    for person, images in people.items():
        for name, size in images:
            yield f"{person}/{name}", person, None, size


def _listed(
    card: Card, split_name: str, lists: tuple[str, ...], directory: str, root: Path, hint: str
) -> Iterator[_File]:
    """Name, identity and camera where the line tells them, and size, of every entry of the list files."""
    missing: list[str] = []
    seen: set[str] = set()
    for list_name in lists:
        path = root / list_name
        if not path.is_file():
            raise InputError(f"card {card.name}, split {split_name}: no list file {path}. {hint}")
        for number, raw in enumerate(re.split(r"\r\n|\r|\n", _text(path)), 1):  # splitlines would cut a name at U+2028
            line = raw.strip(" \t")
            if not line:
                continue
            match = LISTED.fullmatch(line)
            if match is None:
                suffixes = ", ".join(IMAGE_SUFFIXES)
                raise InputError(
                    f"{path}, line {number}: {line!r} is not 'path [identity [camera]]', the path an image's "
                    f"({suffixes}), the others whole numbers"
                )
            entry, pid, cam = match.group("path", "pid", "cam")
            for text, what in ((pid, "identity"), (cam, "camera")):
                label(text or "", f"{path}, line {number}", what)
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
    # The reader finds the ends of lines itself: splitlines would cut a name at U+2028 and its like.
    reader = csv.DictReader(io.StringIO(_text(path), newline=""), skipinitialspace=True, strict=True)
    records = _records(reader, path)
    splits: dict[str, list[Row]] = {}
    seen: dict[str, set[str]] = {}
    missing: list[str] = []
    for record in records:
        where = f"{path}, line {reader.line_num}"
        if any(record.get(None, ())):  # a comma that ends a line adds nothing
            raise InputError(f"{where}: more values than columns; a path with a comma stands in double quotes")
        values = {column: (record[column] or "").strip(" \t") for column in MANIFEST_COLUMNS}
        empty = [column for column, value in values.items() if not value]
        if empty:
            raise InputError(f"{where}: {', '.join(empty)} is empty")
        for column in ("pid", "camid"):
            refuse_missing(values[column], where, column)
            label(values[column], where, column)
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
        slashes = " (folders are told apart by /, not by \\)" if "\\" in missing[0] else ""
        raise InputError(f"{path}: {len(missing)} files that it lists are not in {root}{slashes}: {some(missing)}")
    if not splits:
        raise InputError(f"{path}: no rows below the header")
    return {name: Scan(tuple(sorted(rows, key=lambda row: row.name))) for name, rows in splits.items()}


def _records(reader: csv.DictReader, path: Path) -> Iterator[dict[str | None, str]]:
    try:
        _check_columns(list(reader.fieldnames or ()), path)
        yield from reader
    except csv.Error as error:
        raise InputError(f"{path}, line {reader.line_num}: not readable as CSV: {error}") from None


def _check_columns(columns: list[str], path: Path) -> None:
    lacking = [column for column in MANIFEST_COLUMNS if column not in columns]
    if lacking:
        other = next((mark for mark in (";", "\t", "|") if any(mark in name for name in columns)), None)
        marks = "" if other is None else f"; it is separated by {other!r}, expected are commas"
        raise InputError(
            f"{path}: no column {', '.join(lacking)}; it needs {', '.join(MANIFEST_COLUMNS)}, "
            f"has {', '.join(columns) or 'none'}{marks}"
        )
    twice = [column for column in MANIFEST_COLUMNS if columns.count(column) > 1]
    if twice:
        raise InputError(f"{path}: column {twice[0]} stands there twice")


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
    """The text of a file with its line ends as they are."""
    try:
        content = path.read_bytes()
        if content.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise InputError(f"{path}: is UTF-16 text; save it as UTF-8")
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InputError(f"{path}, line {line}: cannot be read as UTF-8 text: {error}; save it as UTF-8") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read as UTF-8 text: {error}") from None
