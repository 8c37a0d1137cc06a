"""What file names, folder names and table cells say: numbers, cameras, splits; and which names cannot be kept."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping
from decimal import Decimal
from pathlib import Path

from reid.errors import InputError

NUMBER = re.compile(r"[+-]?\d+(?:\.\d*)?(?:e[+-]?\d{1,3})?", re.IGNORECASE)
# What no word looks like: 1.0, 1,5 (a comma for a point), 1e+00.
DECIMAL = re.compile(r"[+-]?(?:\d+[.,]\d*|[.,]\d+|\d+(?=e[+-]))(?:e[+-]?\d+)?", re.IGNORECASE)
BARE_POWER = re.compile(r"\d+e\d+", re.IGNORECASE)  # 12e5: a number, or a word of hexadecimal digits
DIGITS = 15  # of a number at most: float64, as tables hold them, is exact as far
MISSING = {  # what writers of tables (pandas, R, Excel, databases) put where nothing is known
    "nan", "NaN", "NAN", "None", "null", "NULL", "<NA>", "NA", "N/A", "n/a", "#N/A",
}  # fmt: skip

UUID = re.compile(r"(?i)(?<![0-9a-f])[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}(?![0-9a-f])")
# A bare c takes four digits at most: a longer token is a hexadecimal number.
CAMERA = re.compile(r"(?:c(?P<short>\d{1,4})|cam(?:era)?(?P<long>\d{1,15}))(?:s\d+)?", re.IGNORECASE | re.ASCII)

SPLIT = {
    "train", "training", "trainset", "trainval", "test", "testing", "testset", "query", "queries", "gallery", "probe",
    "probes",
}  # fmt: skip
# One of these may be a person's name (Val, Dev) or stand in it; where all folders are so named, none is a person.
GENERAL = SPLIT | {
    "val", "valid", "validation", "dev", "eval", "image", "images", "img", "imgs", "picture", "pictures", "photo",
    "photos", "crop", "crops", "frame", "frames", "data", "dataset", "all", "cam", "camera", "view", "scene", "set",
    "fold", "split", "batch", "day", "site", "domain", "source", "target", "reference", "holdout",
}  # fmt: skip
KIND = "|".join(sorted(GENERAL, key=len, reverse=True))


# --- numbers ----------------------------------------------------------------------------------------------------------


def whole(text: str) -> int | None:
    """The whole number that a text means, in whatever notation: 1, 01, +1, 1.0, 1e0, with digits of any script.

    None for a word, a fraction, and a number of more than 15 digits.
    """
    plain = unicodedata.normalize("NFKC", text).strip().replace("\N{MINUS SIGN}", "-")
    if NUMBER.fullmatch(plain) is None:
        return None
    value = Decimal(plain)
    return int(value) if value.adjusted() < DIGITS and value == value.to_integral_value() else None


def label(text: str, where: str, what: str) -> str:
    """An identity or a camera as written.

    Raises:
        InputError: beginning with ``where``: a fraction (1.5, 1,5) or a number too large (1.0e+15), which is neither a
            number of a person nor a name.
    """
    if DECIMAL.fullmatch(text.strip()) and whole(text) is None:
        raise InputError(f"{where}: {what} {text!r} is no whole number of at most {DIGITS} digits, such as 12 or 12.0")
    return text


def refuse_missing(text: str, where: str, what: str) -> None:
    """Raise InputError, beginning with ``where``, for a word that stands for nothing: it is nobody's name."""
    if text in MISSING:
        raise InputError(f"{where}: {what} is {text!r}, a missing value; give one, or leave it out")


def numbers(words: Iterable[str], what: str, where: str) -> dict[str, int]:
    """The number of each identity or camera: itself where all are whole numbers, else its place from 1, sorted.

    Raises:
        InputError: beginning with ``where``: numbers and words are mixed, or two words are one but for spaces around
            them or the way that Unicode composes a letter.
    """
    wholes = {word: whole(word) for word in words}
    values = {word: number for word, number in wholes.items() if number is not None}
    if len(values) == len(wholes):
        return values
    plain = [word for word in values if not BARE_POWER.fullmatch(word)]
    if plain:
        raise InputError(
            f"{where}: {what} are whole numbers ({min(plain)}, ...) but for {min(set(wholes) - set(values))!r} and the "
            "like; give all as numbers of at most 15 digits, or all as words"
        )
    refuse_twins({word: unicodedata.normalize("NFC", word).strip() for word in wholes}, what, where)
    return {word: place for place, word in enumerate(sorted(wholes), 1)}


def refuse_twins(meanings: Mapping[str, str | int], what: str, where: str) -> None:
    """Raise InputError, beginning with ``where``, where two different words mean one."""
    groups: dict[str | int, list[str]] = defaultdict(list)
    for word in sorted(meanings):
        groups[meanings[word]].append(word)
    twins = [group for group in groups.values() if len(group) > 1]
    if twins:
        named = " and ".join(map(ascii, twins[0]))
        more = f" (and {len(twins) - 1} more such groups)" if len(twins) > 1 else ""
        raise InputError(f"{where}: {what} {named} would be one and the same{more}; write them alike, or more apart")


# --- cameras ----------------------------------------------------------------------------------------------------------


def camera_in(name: str) -> str | None:
    """The camera that a file's name tells as a word of its own: c1, cam1, camera1, c1s3 (a sequence); else None.

    Words end at whatever is no letter or digit. An identifier of hexadecimal digits is none: it may hold any of them.

    Raises:
        ValueError: two different cameras.
    """
    cameras: dict[int, str] = {}
    for word in re.split(r"[\W_]+", UUID.sub(" ", name)):
        if match := CAMERA.fullmatch(word):
            cameras.setdefault(int(match["short"] or match["long"]), word)
    if len(cameras) > 1:
        raise ValueError(f"names the cameras {' and '.join(cameras.values())}")
    return str(next(iter(cameras))) if cameras else None


# --- splits -----------------------------------------------------------------------------------------------------------


def refuse_splits_as_people(folder: Path, names: Iterable[str]) -> None:
    """Folders that are to be people, one each, must not be named as splits, cameras or kinds of files are.

    Raises:
        InputError: naming the folders.
    """
    words = {name: _words(name) for name in names}
    strange = [name for name, parts in words.items() if parts & SPLIT]
    general = [
        name for name, parts in words.items() if parts & GENERAL and all(w in GENERAL or len(w) == 1 for w in parts)
    ]
    if len(general) == len(words):
        strange = general
    if strange:
        raise InputError(
            f"{folder}: {some(sorted(strange))}: expected one folder a person here, but this is no person's name; "
            "people's folders lie in train, query and gallery, or directly in the folder that is named; rename what is "
            "a person, or list the images in a CSV file"
        )


def _words(name: str) -> set[str]:
    """The words in a folder's name; one that is made of kinds alone, like traincrops, is each of them."""
    words = {word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+", name)}
    glued = {word for word in words if re.fullmatch(f"(?:{KIND})+", word)}
    return (words - glued).union(*(re.findall(KIND, word) for word in glued))


# --- names that can be kept and shown ---------------------------------------------------------------------------------


def refuse_unwritable(path: str) -> None:
    """A path is kept in tables, and these are UTF-8.

    Raises:
        InputError: naming it with what is not UTF-8 escaped, so that every terminal can show it.
    """
    try:
        path.encode()
    except UnicodeEncodeError:
        raise InputError(f"{path!a}: a name that is not UTF-8 cannot be kept; rename it") from None


def counted(count: int, noun: str, plural: str = "") -> str:
    """A number and what it counts: 1 run, 1,200 images, 2 people."""
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"


def some(names: list[str] | tuple[str, ...], limit: int = 3) -> str:
    """The first few names, on one line whatever is in them, and how many more there are."""
    rest = len(names) - limit
    shown = [name if name.isprintable() else ascii(name) for name in names[:limit]]
    return ", ".join(shown) + (f" and {rest} more" if rest > 0 else "")
