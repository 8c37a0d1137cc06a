"""What pydantic finds wrong in a file's values, in words: file, key, value, the choices, and what was perhaps meant."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from reid.errors import InputError
from reid.overrides import fields_of, types_at

M = TypeVar("M", bound=BaseModel)


def validate(schema: type[M], values: object, where: Path | Callable[[str], str]) -> M:
    """``values`` as ``schema``; ``where`` is the file that holds them, or tells the file of a dotted key.

    Raises:
        InputError: a line for each value at fault.
    """
    try:
        return schema.model_validate(values)
    except ValidationError as error:
        place = where if callable(where) else lambda _: str(where)
        raise InputError("\n".join(_explain(schema, dict(problem), place) for problem in error.errors())) from None


def _explain(schema: type[BaseModel], problem: dict[str, Any], where: Callable[[str], str]) -> str:
    parts = [str(part) for part in problem["loc"] if part != "[key]"]
    key = ".".join(parts)
    start, kind, message, value = where(key), problem["type"], problem["msg"], problem.get("input")
    if kind == "extra_forbidden":
        sections = [
            each for each in types_at(schema, parts[:-1]) if isinstance(each, type) and issubclass(each, BaseModel)
        ]
        choices = [name for section in sections for name in fields_of(section)]
        return f"{start}: unknown key {key!r}; the keys here are {', '.join(choices)}{_meant(parts[-1], choices)}"
    if kind == "missing":
        return f"{start}: {key}: is missing"
    if kind == "value_error":  # of a check in words of our own, which name the value
        return f"{start}: {key + ': ' if key else ''}{message.removeprefix('Value error, ')}"
    shown = "a section" if isinstance(value, Mapping) else f"{value!r:.80}"
    meant = _meant(value, re.findall(r"'([^']*)'", message)) if kind == "literal_error" else ""
    return f"{start}: {key + ': ' if key else ''}{message[0].lower()}{message[1:]}, got {shown}{meant}"


def _meant(word: object, choices: list[str]) -> str:
    close = difflib.get_close_matches(str(word), choices, n=1)
    return f". Did you mean {close[0]!r}?" if close else ""
