"""Writing files so that a reader never sees half of one."""

from __future__ import annotations

import fcntl
import os
import re
from collections import Counter
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from reid.errors import InputError


def write_atomically(path: Path, content: bytes | str) -> None:
    """Write beside ``path``, sync, then rename into place: after a kill or on a full disk the old file still stands.

    Raises:
        InputError: naming the path, when it cannot be written.
    """
    data = content.encode() if isinstance(content, str) else content
    try:
        partial = path.with_name(f".{path.name}.partial{os.getpid()}")
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with partial.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be written: {error}") from None


@contextmanager
def locked(folder: Path, wait: bool = False) -> Iterator[None]:
    """Hold ``folder`` for one writer; the lock goes with the process, however it ends.

    Raises:
        InputError: another process holds it and we do not ``wait`` for it, or the folder cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / ".lock").open("w")
    except OSError as error:
        raise InputError(f"{folder}: cannot be written: {error}") from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except OSError:
            raise InputError(f"{folder}: another process is at work in it") from None
        for left in folder.glob(".*.partial*"):  # of a writer that was killed
            left.unlink(missing_ok=True)
        yield


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
        return yaml.load(text, Loader=_Loader)
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError, TypeError) as error:
        raise InputError(f"{where}: not valid YAML: {error}") from None


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
