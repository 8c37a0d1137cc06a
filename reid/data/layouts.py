"""From a card and a folder to rows (name, identity, camera, size), one function a layout; nothing is dropped here."""

import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISREG

from reid.data.names import NUMBER, camera_in, label, refuse_splits_as_people, refuse_unwritable, some
from reid.data.schema import Card, Split, escapes
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
UNKNOWN_CAMERA = "0"  # of images whose camera nothing tells: as if one had taken them all
Stat = tuple[int, int]  # of a file: bytes, time of change in ns
_File = tuple[str, str | None, str | None, Stat]  # name, identity and camera where they are told


@dataclass(frozen=True)
class Row:
    """An image file; identity and camera as written, before they become numbers."""

    name: str  # posix, relative to the root
    pid: str
    cam: str
    stat: Stat


@dataclass(frozen=True)
class Scan:
    """The rows of one split, the image files whose names do not match the card's pattern, pictures that are not read,
    since they lie where none are looked for or are of other formats, and whether the camera of some is not known."""

    rows: tuple[Row, ...]
    unmatched: tuple[str, ...] = ()
    passed_over: tuple[str, ...] = ()
    without_camera: bool = False


@dataclass(frozen=True)
class Listing:
    """What lies directly in a folder, but for hidden files and folders."""

    images: list[tuple[str, Stat]]  # with their names
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
                    status = entry.stat()
                    there.images.append((entry.name, (status.st_size, status.st_mtime_ns)))
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
    nowhere: list[Row] = []  # taken by nobody knows which camera
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
            files = ((_join(directory, name), pid, cam, stat) for name, pid, cam, stat in inside)
            elsewhere = [(root / other).resolve() for other in _all_dirs(card)]
            passed_over += [
                _join(directory, name)
                for name in set(pictures_below(folder, elsewhere)) - {name for name, *_ in inside}
            ]
        for name, pid, cam, stat in files:
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
            if pid is None:
                unmatched.append(name)
                continue
            pid = label(pid, f"{where}: {name}", "identity")
            if cam is None:
                nowhere.append(Row(name, pid, UNKNOWN_CAMERA, stat))
            else:
                rows.append(Row(name, pid, label(cam, f"{where}: {name}", "camera"), stat))
    # Where no image of a folder of people tells its camera there are none; where some do, the others are misnamed.
    if not card.cross_camera_only or (card.layout == "folders" and pattern is None and not rows):
        rows += nowhere
    else:
        unmatched += [row.name for row in nowhere]
        nowhere = []
    if not rows:
        folders = ", ".join(str(root / directory) for directory in dirs)
        if unmatched:
            what = f"pattern {card.pattern!r} matches none"
            if split.lists:
                what = f"{', '.join(split.lists)} and pattern {card.pattern!r} tell identity and camera of none"
            raise InputError(
                f"{where}: {what} of the {len(unmatched)} image files in {folders}: {some(sorted(unmatched))}"
            )
        more = "".join(f"{line}. " for line in unread_pictures(sorted(passed_over)))
        raise InputError(f"{where}: no image file ({', '.join(IMAGE_SUFFIXES)}) in {folders}. {more}{hint}")
    return Scan(
        tuple(sorted(rows, key=lambda row: row.name)),
        tuple(sorted(unmatched)),
        tuple(sorted(set(passed_over))),
        bool(nowhere),
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
    for name, stat in listing(folder).images:
        yield name, None, None, stat


def _folders(folder: Path) -> Iterator[_File]:
    people = {name: images for name in listing(folder).folders if (images := listing(folder / name).images)}
    refuse_splits_as_people(folder, people)
    for person, images in people.items():
        for name, stat in images:
            yield f"{person}/{name}", person, None, stat


def _listed(
    card: Card, split_name: str, lists: tuple[str, ...], directory: str, root: Path, hint: str
) -> Iterator[_File]:
    """Every entry of the list files: name, identity and camera where the line tells them, what the file is."""
    missing: list[str] = []
    seen: set[str] = set()
    for list_name in lists:
        path = root / list_name
        if not path.is_file():
            raise InputError(f"card {card.name}, split {split_name}: no list file {path}. {hint}")
        for number, raw in enumerate(
            re.split(r"\r\n|\r|\n", text_of(path)), 1
        ):  # not splitlines: names may hold U+2028
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
            name = checked_name(entry, directory, seen, f"{path}, line {number}")
            stat = stat_of(f"{root}/{name}")
            if stat is None:
                missing.append(name)
            else:
                yield name, pid, cam, stat
    if missing:
        raise InputError(
            f"card {card.name}, split {split_name}: {len(missing)} files that {', '.join(lists)} lists are not in "
            f"{root}: {some(missing)}. {hint}"
        )


def checked_name(entry: str, directory: str, seen: set[str], where: str) -> str:
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


def stat_of(path: str) -> Stat | None:
    """Of a file; None where there is none."""
    try:
        status = os.stat(path)  # noqa: PTH116  # of a hundred thousand files a Path each takes as long as the rest
    except (OSError, ValueError):  # not there, or no name that a file can have
        return None
    return (status.st_size, status.st_mtime_ns) if S_ISREG(status.st_mode) else None


def text_of(path: Path) -> str:
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
