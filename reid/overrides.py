"""Nested mappings laid over each other: files that extend others, and ``key=value`` of a command line, a text as it
stands, all else as YAML; what a schema lets a key hold, and what pydantic finds wrong with it, in words."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from reid.errors import InputError
from reid.files import parse_yaml, read_yaml, resolve

NUMBER = re.compile(r"[-+]?(0|[1-9][0-9]*)(\.[0-9]*)?([eE][-+]?[0-9]+)?")
# One text of a list: in quotes, as YAML reads them, or as it stands up to the next comma.
ITEM = re.compile(r"""\s*(?:("(?:[^"\\]|\\.)*"|'(?:[^']|'')*')\s*|([^,]*))(?:,|$)""")


def parse_override(schema: type[BaseModel], override: str, origin: str) -> dict[str, Any]:
    """The value of one ``key=value``, in a mapping for each section of its dotted key.

    A key that holds a text takes it literally, so that a path with '#' or ':' or a name of digits is what was given;
    ``null`` stands for none where the key may hold none. A list of texts is ``[a, b]``; one with a comma is quoted.

    Raises:
        InputError: beginning with ``origin``, and naming the key.
    """
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise InputError(f"{origin}: {override!r} is not of the form key=value")
    where, types = f"{origin}: {key}: {text[:80]!r}", types_of(schema, key)
    listed = tuple in types and str in types_of(schema, f"{key}.0")
    if listed and text.startswith("[") and text.endswith("]"):
        return nested(key, _parse_texts(text[1:-1], where))
    if listed and str not in types:
        raise InputError(f"{where}: expected a list of texts: [{text or 'a, b'}]")
    if str in types:
        if NoneType in types and text in ("", "null"):
            return nested(key, None)
        if not text:
            raise InputError(f"{where}: expected a text, got nothing")
        return nested(key, text)
    value = parse_yaml(text, where)
    if "#" in text and not isinstance(value, Mapping | list):
        raise InputError(f"{where}: is no value; '#' begins a comment")
    return nested(key, value)


def nested(key: str, value: Any) -> dict[str, Any]:
    """A mapping for each section of a dotted key, the innermost with the value."""
    for part in reversed(key.split(".")):
        value = {part: value}
    return dict(value)


def types_of(schema: type[BaseModel], key: str) -> set[Any]:
    """As :func:`types_at`, of a dotted key."""
    return types_at(schema, key.split("."))


def types_at(schema: type[BaseModel], parts: Sequence[str]) -> set[Any]:
    """The plain types (``str``, ``int``, ``NoneType``, ``tuple``, ...) that a key may hold, of which ``parts`` are the
    names from the outermost section on; none for a key that is not there. Any part below a tuple means its items."""
    types: list[Any] = [schema]
    for part in parts:
        below: list[Any] = []
        for each in types:
            if isinstance(each, type) and issubclass(each, BaseModel):
                if part in fields_of(each):
                    below += _alternatives(fields_of(each)[part])
            elif get_origin(each) is tuple:
                below += _alternatives(get_args(each)[0])
            elif get_origin(each) is dict:
                below += _alternatives(get_args(each)[1])
        types = below
    return {get_origin(each) or each for each in types}


def fields_of(section: type[BaseModel]) -> dict[str, Any]:
    """The keys of a section, as they are written in a file, each with its type."""
    return {str(field.validation_alias or name): field.annotation for name, field in section.model_fields.items()}


def mistyped(value: object, types: set[Any]) -> str:
    """What was expected, where the schema's own conversions would take a value for another; else nothing."""
    if isinstance(value, bool) and types and bool not in types:  # else True would pass for the number 1
        return "a number or a text"
    if isinstance(value, str) and types and str not in types:
        number = NUMBER.fullmatch(value) and bool(types & {int, float})  # YAML takes 5e-4 for a text
        if bool in types and not number:  # else "off" would pass for False
            return "a number, or true or false" if types & {int, float} else "true or false"
        if types & {int, float} and any(map(str.isdigit, value)) and not NUMBER.fullmatch(value):
            return "a number in plain decimal digits"  # else "010" and "1_0" would pass for 10
    return ""


def _parse_texts(text: str, where: str) -> list[str]:
    """The texts between the brackets of ``[a, "b, c"]``."""
    texts: list[str] = []
    while text.strip():
        item = ITEM.match(text)
        if item is None:
            raise InputError(f"{where}: is no list; behind a text in quotes comes a comma or the end")
        texts.append(str(parse_yaml(item[1], where)) if item[1] else item[2].strip())
        text = text[item.end() :]
    if not all(texts):
        raise InputError(f"{where}: text {texts.index('') + 1} of the list is empty")
    return texts


def _alternatives(annotation: Any) -> Iterator[Any]:
    """The types of a union, without what is annotated to them; those of a literal's values."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        yield from _alternatives(arguments[0])
    elif origin in (Union, UnionType):
        for each in arguments:
            yield from _alternatives(each)
    elif origin is Literal:
        yield from (type(value) for value in arguments)
    else:
        yield annotation


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
