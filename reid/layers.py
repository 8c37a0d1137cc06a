"""Nested mappings of keys to values, as YAML files hold them: read with what they extend, laid over each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from reid.errors import InputError
from reid.files import read_yaml
from reid.paths import resolve


def read_chain(path: Path, above: tuple[Path, ...] = ()) -> list[tuple[str, dict[str, Any]]]:
    """The file's keys, after those of the file that it names under ``extends`` (beside it, or bundled), each with the
    file's path; ``above`` are the files that led here.

    Raises:
        InputError: a file that cannot be read, or one that extends itself.
    """
    path = path.resolve()
    if path in above:
        raise InputError(f"{path}: extends: goes round in a circle: {' -> '.join(p.name for p in (*above, path))}")
    values = read_yaml(path)
    parent = values.pop("extends", None)
    if parent is None:
        return [(str(path), values)]
    if not isinstance(parent, str):
        raise InputError(f"{path}: extends: expected a file's name, got {parent!r}")
    beside = path.parent / parent
    parent_path = beside if beside.is_file() else resolve("configs", parent)
    return [*read_chain(parent_path, (*above, path)), (str(path), values)]


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings to one with dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """``below`` with the values of ``above`` over its own, section by section."""
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        merged[key] = merge(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return merged


def drop(values: dict[str, Any], parts: Sequence[str], unwanted: object) -> None:
    """Take the key out if it has this value, and every section that is left empty by it."""
    first, *rest = parts
    if rest and isinstance(values.get(first), dict):
        drop(values[first], rest, unwanted)
        if not values[first]:
            del values[first]
    elif not rest and first in values and values[first] == unwanted:
        del values[first]


def origin_of(origins: Mapping[str, str], key: str) -> str:
    """The file that set a dotted key, or else one of those that set a key below it, or the nearest above it."""
    while key:
        if key in origins:
            return origins[key]
        below = [origin for other, origin in origins.items() if other.startswith(f"{key}.")]
        if below:
            return below[-1]
        key = key.rpartition(".")[0]
    return origins.get("", "configuration")
