"""Networks that are one file, by their names: those that travel in the package, and what `reid export` wrote. Without a
look at the tensors, which needs torch; :mod:`reid.networks.packed` opens them."""

from __future__ import annotations

import json
import logging
from functools import cache
from pathlib import Path

import reid
from reid.errors import InputError

log = logging.getLogger(__name__)

PEOPLE = "people"  # trained on rendered people alone: MODEL_CARD.md beside its file
NAMES = (PEOPLE,)

SUFFIX = ".safetensors"
NOTE = "reid"  # key in a file's header of what it says of itself
LONGEST = 1 << 20  # bytes of a header: a few hundred names and the note


def file_of(name: str) -> Path:
    """Where the network of one of NAMES lies, whether it is there or not."""
    return Path(reid.__file__).resolve().parent / "networks" / f"{name}.safetensors"


def shipped_file(name: str) -> Path | None:
    """The file of the network that a bare name stands for; None for every other text.

    The name means the package's network whatever is called so in the working folder; ``./people`` is that.

    Raises:
        InputError: a name of one that should be in the package and is not.
    """
    if name not in NAMES:
        return None
    file = file_of(name)
    if not file.is_file():
        raise InputError(
            f"{name}: the network of that name travels in the package, but {file} is not there: install reid-gap anew, "
            "or name another network by --model"
        )
    _say_if_another(name)
    return file


@cache
def _say_if_another(name: str) -> None:
    """Say once which of two is taken, where the working folder has a run or a file of that name too."""
    if Path(name).is_file() or (Path(name) / "config.yaml").exists():
        log.info(f"{name}: the network of the package is taken; {Path(name).resolve()} would be ./{name}")


def packed_file(name: str) -> Path | None:
    """The file that a name stands for: of a network in the package, or one that :func:`reid.networks.packed.pack`
    wrote; None for all else.

    Raises:
        InputError: as :func:`shipped_file`.
    """
    if (file := shipped_file(name)) is not None:
        return file
    path = Path(name)
    return path if is_packed(path) else None


def is_packed(path: Path) -> bool:
    """Whether a file is one that :func:`reid.networks.packed.pack` wrote, by its header alone."""
    if path.suffix.lower() != SUFFIX or not path.is_file():
        return False
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(length)) if length <= LONGEST else {}
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(header, dict) and NOTE in (header.get("__metadata__") or {})
