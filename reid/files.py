"""Files: written so that a reader never sees half of one; and where the bundled YAML lies: beside the package's modules
in a wheel, beside the package in a checkout."""

from __future__ import annotations

import difflib
import errno
import fcntl
import hashlib
import logging
import os
import re
import secrets
import shutil
from collections import Counter
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from functools import lru_cache
from pathlib import Path
from typing import IO, Any, BinaryIO, Literal

import yaml

import reid
from reid.errors import InputError

log = logging.getLogger(__name__)

PARTIAL = ".{}.partial*"  # what unfinished files are named
LOCK = ".lock"
NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)


class Busy(InputError):
    """Another process is at work in a folder; later it may not be."""


def write_atomically(path: Path, content: bytes | str) -> None:
    """Write beside ``path``, sync, then rename into place: after a kill or on a full disk the old file still stands.

    Raises:
        InputError: naming the path, when it cannot be written.
    """
    data = content.encode() if isinstance(content, str) else content
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as file:
            file.write(data)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be written: {error}") from None


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal.

    Raises:
        InputError: naming the file, when it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error}") from None


@contextmanager
def replacing(path: Path, mode: int = 0o666, sync: bool = True) -> Iterator[BinaryIO]:
    """A file that takes the place of ``path`` when the block ends; after an error the old one stands.

    ``sync``: the content is on the disk before it has its name. Without it a power cut may leave an empty file.

    Raises:
        OSError: it cannot be written.
    """
    partial, file = _open_partial(path, mode)
    try:
        with file:
            yield file
            file.flush()
            if sync:
                os.fsync(file.fileno())
            partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _open_partial(path: Path, mode: int) -> tuple[Path, BinaryIO]:
    """A new file beside ``path``, locked while it is open: so another process, on another host too, can tell that its
    writer lives. A process's number could not: it comes again, and says nothing of other hosts and threads."""
    while True:
        partial = path.with_name(f".{path.name}.partial-{secrets.token_hex(6)}")
        descriptor = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        file = os.fdopen(descriptor, "wb")
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError as error:
            if error.errno not in NO_LOCKS:
                file.close()
                partial.unlink(missing_ok=True)
                raise
            return partial, file  # without locks nobody tidies up either: see locked()
        if os.fstat(descriptor).st_nlink:
            return partial, file
        file.close()  # it was taken for a dead writer's in the moment before it was locked


def leftover_partials(folder: Path) -> list[Path]:
    """Unfinished files in ``folder`` whose writers have died."""
    return _leftovers(folder, remove=False)


def remove_leftover_partials(folder: Path, name: str = "*") -> list[Path]:
    """Delete those of the file ``name``, or of all; returns what they were."""
    return _leftovers(folder, remove=True, name=name)


def _leftovers(folder: Path, remove: bool, name: str = "*") -> list[Path]:
    leftovers = []
    for partial in sorted(folder.glob(PARTIAL.format(name))):
        try:
            file = partial.open("r+b")
        except (FileNotFoundError, IsADirectoryError, PermissionError):  # finished meanwhile, or not ours
            continue
        with file:
            try:
                _lock(file, partial, wait=False)
            except Busy:
                continue
            if remove:  # while it is locked: a writer that has only just made it then finds it gone, and makes another
                partial.unlink(missing_ok=True)
            leftovers.append(partial)
    return leftovers


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """An empty folder that takes its place at ``path``, whole, when the block ends; after an error or a kill nothing is
    there.

    Raises:
        InputError: naming the path: it cannot be written, or something is there by then that is no empty folder.
    """
    path = path.resolve()
    partial = path.with_name(f".{path.name}.partial")
    with locked(path.parent, wait=True):  # so what an earlier writer has left here is a dead one's
        try:
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir()
            yield partial
            partial.rename(path)
        except OSError as error:
            raise InputError(f"{path}: cannot be written: {error}") from None
        finally:
            shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def locked(folder: Path, wait: bool = False) -> Iterator[None]:
    """Hold ``folder`` for one writer; the lock goes with the process, however it ends.

    Raises:
        Busy: another process holds it and we do not ``wait`` for it.
        InputError: the folder cannot be made, or lies on a file system without locks.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: cannot be written: {error}") from None
    with holding(folder / LOCK, folder, wait):
        remove_leftover_partials(folder)
        yield


def in_use(folder: Path) -> bool:
    """Whether another process holds ``folder`` at this moment. A folder that cannot be locked at all is not in use: who
    takes it up says why."""
    if not (folder / LOCK).exists():
        return False
    try:
        with holding(folder / LOCK, folder, wait=False):
            return False
    except InputError as error:
        return isinstance(error, Busy)


@contextmanager
def holding(lock: Path, folder: Path, wait: bool, told: bool = True) -> Iterator[None]:
    """Hold the file ``lock``, which stands for ``folder``; ``told``: that we wait. Raises as :func:`locked` does."""
    try:
        file = lock.open("w")
    except OSError as error:
        raise InputError(f"{folder}: cannot be written: {error}") from None
    with file:
        _lock(file, folder, wait, told)
        yield


def _lock(file: IO[Any], what: Path, wait: bool, told: bool = True) -> None:
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if not wait:
                raise Busy(f"{what}: another process is at work in it") from None
            if told:
                log.warning(f"{what}: another process is at work in it; waiting for it to end")
            fcntl.flock(file, fcntl.LOCK_EX)
    except OSError as error:
        where = (
            "; the file system has no locks (flock): mount it with them (NFS: without nolock; Lustre: with flock), or "
            "choose a folder on a local disk"
        )
        hint = where if error.errno in NO_LOCKS else ""
        raise InputError(f"{what}: cannot be locked: {error.strerror}{hint}") from None


PLAIN = {  # what a number and a truth value may look like: YAML 1.1 has readings of other forms that nobody expects
    "int": re.compile(r"[-+]?(0|[1-9][0-9]*)"),
    "float": re.compile(r"[-+]?([0-9]+\.[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"),
    "bool": re.compile(r"true|True|TRUE|false|False|FALSE"),
}


class _Loader(yaml.SafeLoader):
    """YAML in which two things are errors that have cost people days: a key given twice, of which the last would win
    without a word, and 010, 0x8, 1_0, 1:30 or yes, which would be 8, 8, 10, 90 and true."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for key, count in Counter(map(str, keys)).items():
            if count > 1:
                raise yaml.constructor.ConstructorError(None, None, f"key {key!r} is given twice", node.start_mark)
        return super().construct_mapping(node, deep)


def _construct_plain(loader: _Loader, node: yaml.ScalarNode) -> Any:
    kind = node.tag.removeprefix("tag:yaml.org,2002:")
    if not PLAIN[kind].fullmatch(node.value):
        ways = "true or false" if kind == "bool" else "plain decimal digits"
        problem = f"{node.value} could be read in several ways; write {ways}, or '{node.value}' in quotes for a text"
        raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark)
    return getattr(yaml.SafeLoader, f"construct_yaml_{kind}")(loader, node)


for _kind in PLAIN:
    _Loader.add_constructor(f"tag:yaml.org,2002:{_kind}", _construct_plain)


def parse_yaml(text: str, where: str) -> Any:
    """Plain values of YAML text; nothing is executed.

    Raises:
        InputError: beginning with ``where``.
    """
    try:
        return deepcopy(_parsed(text))
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError, TypeError) as error:
        raise InputError(f"{where}: not valid YAML: {error}") from None


@lru_cache(maxsize=64)
def _parsed(text: str) -> Any:
    """Kept, since a grid's runs read the same few files again and again."""
    return yaml.load(text, Loader=_Loader)


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file; an empty file is an empty one.

    Raises:
        InputError: naming the file.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read: {error}") from None
    values = parse_yaml(text, str(path))
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise InputError(f"{path}: holds a {type(values).__name__}, expected a mapping of keys to values")
    return values


# --- where files lie --------------------------------------------------------------------------------------------------

Kind = Literal["configs", "configs/benchmarks", "configs/foreign", "datasets"]


def bundled(kind: Kind) -> Path:
    """The folder of the bundled YAML files; found by path and never imported, so no `datasets` package is shadowed."""
    package = Path(reid.__file__).resolve().parent
    candidates = (package / kind, package.parent / kind)
    for folder in candidates:
        if folder.is_dir():
            return folder
    raise InputError(f"no bundled {kind} folder: neither {candidates[0]} nor {candidates[1]} exists")


def bundled_names(kind: Kind) -> list[str]:
    """Names that resolve from any folder, without their suffix; files in sub-folders carry the folder's name."""
    folder = bundled(kind)
    return sorted(path.relative_to(folder).with_suffix("").as_posix() for path in folder.rglob("*.yaml"))


def resolve(kind: Kind, name: str) -> Path:
    """A file that exists wins; then the bundled folder, with or without `.yaml`."""
    path = Path(name)
    try:
        path = path.expanduser()
        if path.is_file():
            return path
    except (OSError, RuntimeError) as error:  # too long a name, an unknown user's home
        raise InputError(f"{name!r} is no path: {error}") from None
    folder = bundled(kind)
    if name and not path.is_absolute() and ".." not in path.parts:
        for candidate in (folder / name, folder / f"{name}.yaml"):
            if candidate.is_file():
                return candidate
    choices = bundled_names(kind)
    hint = meant(name, choices)
    if kind == "datasets":
        raise InputError(
            f"{name!r}: no such file or folder, nor one of the bundled datasets;{hint} choices: {', '.join(choices)}, "
            "the path of a folder of images, of a CSV file or of a card"
        )
    raise InputError(f"{name!r} is neither a file nor one of the bundled {kind};{hint} choices: {', '.join(choices)}")


def meant(name: str, choices: list[str]) -> str:
    """A guess in words, where one of the ``choices`` is much like a bare word; a path means itself."""
    close = difflib.get_close_matches(name.removesuffix(".yaml"), choices, n=1, cutoff=0.75)
    return f" did you mean {close[0]!r}?" if close and len(Path(name).parts) == 1 else ""


def data_root(root: str | Path | None) -> Path:
    """The folder that holds the data sets: the one given, else ``$REID_DATA``, else ``./data``."""
    return Path(root or os.environ.get("REID_DATA") or "data")
