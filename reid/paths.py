"""Where the bundled YAML lies: beside the package's modules in a wheel, beside the package in a checkout."""

import difflib
import os
from pathlib import Path
from typing import Literal

import reid
from reid.errors import InputError

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
