"""Files of named tensors: reading them without executing anything, out of what they are wrapped in, and what fits."""

import re
import warnings
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import Tensor

from reid.errors import InputError

SUFFIXES = (".pth", ".pt", ".pyth", ".tar", ".ckpt", ".safetensors")

# torchreid's trainer adds the epoch: model.pth.tar-60
_SUFFIX = re.compile(rf"({'|'.join(map(re.escape, SUFFIXES))})(-\d+)?", re.IGNORECASE)
_reading = Lock()  # what torch may unpickle is one setting of the whole process


def has_tensor_suffix(path: Path) -> bool:
    """Whether the name is one of a file of tensors."""
    return _SUFFIX.fullmatch(path.suffix) is not None


def read_tensors(path: Path) -> Any:
    """Content of a weights file: tensors, plain containers and numbers, NumPy's among them (given as Python's).

    Raises InputError for a file that is damaged or holds anything else. Nothing in it is executed.
    """
    try:
        if path.suffix.lower().startswith(".safetensors"):
            return safetensors.torch.load_file(path)
        archive = zipfile.is_zipfile(path)  # files before torch 1.6 are no archives: no checksums, no mapping
        if archive:
            with zipfile.ZipFile(path) as file:  # torch.load does not look at the checksums
                if damaged := file.testzip():
                    raise zipfile.BadZipFile(f"checksum of {damaged}")
        try:
            return _load(path, archive)
        except UnicodeDecodeError:
            return _load(path, archive, encoding="latin1")  # texts of Python 2 are bytes
    except Exception as error:  # a damaged file raises nearly anything
        # Of torch's own message only the offending name: the rest advises to load the file unsafely.
        wanted = re.search(r"GLOBAL (\S+)", str(error))
        name = wanted[1] if wanted else str(error) if isinstance(error, NotANumber) else None
        reason = f"it asks for {name}" if name else type(error).__name__
        raise InputError(
            f"{path}: damaged, or holds more than tensors, numbers and plain containers ({reason}); nothing in it was"
            " run"
        ) from error


def _load(path: Path, archive: bool, **encoding: str) -> Any:
    with _reading, torch.serialization.safe_globals(STAND_INS), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "pickle_load_args only works")  # the encoding does
        return torch.load(path, map_location="cpu", weights_only=True, mmap=archive, **encoding)


def unwrapped(content: Any, path: Path) -> dict[str, Any]:
    """The state dict in a file's content, bare or under `model` and `state_dict`, in any order and number; InputError
    where there is none."""
    while isinstance(content, dict):
        # `model` may also be the network's name beside its weights
        inside = [content[key] for key in ("model", "state_dict") if isinstance(content.get(key), dict)]
        if not inside:
            break
        content = inside[0]
    if not isinstance(content, dict) or not any(isinstance(value, Tensor) for value in content.values()):
        raise InputError(f"{path}: no state dict in it (named tensors, bare or under 'state_dict' or 'model')")
    return content


def without_prefixes(tensors: dict[str, Any], prefixes: Sequence[str], path: Path) -> dict[str, Any]:
    """Tensors under their names without `prefixes`, in whatever order and number those stand before it; InputError
    where two then have one name."""
    pattern = f"^({'|'.join(map(re.escape, prefixes))})+"
    names = {key: re.sub(pattern, "", str(key)) for key in tensors}
    if len(set(names.values())) < len(names):
        listed = " or ".join(map(repr, prefixes))
        raise InputError(f"{path}: holds some tensors twice, with and without a prefix {listed}")
    return {names[key]: value for key, value in tensors.items()}


def misfits(
    source: Mapping[str, Any],
    target: Mapping[str, Tensor],
    names: Mapping[str, str] | None = None,
    what: str = "backbone",
) -> list[str]:
    """What keeps `source` from filling `what` with state dict `target`, a phrase per tensor; only batch counters may be
    missing. `names`: what tensors are called in the file, where they have other names there."""
    phrases = []
    for key, wanted in target.items():
        held, name = source.get(key), (names or {}).get(key, key)
        if held is None:
            if not key.endswith("num_batches_tracked"):
                phrases.append(f"{name} is missing")
        elif not isinstance(held, Tensor) or held.shape != wanted.shape:
            phrases.append(f"{name} is {_describe(held)}, the {what}'s is {_describe(wanted)}")
        elif held.is_floating_point() != wanted.is_floating_point():
            phrases.append(f"{name} is {held.dtype}, the {what}'s is {wanted.dtype}")
        elif not held.isfinite().all():
            phrases.append(f"{name} is not finite")
    return phrases


def first_of(phrases: list[str]) -> str:
    """The first four, joined."""
    return "; ".join(phrases[:4]) + ("; …" if len(phrases) > 4 else "")


def _describe(value: Any) -> str:
    return str(tuple(value.shape)) if isinstance(value, Tensor) else f"a {type(value).__name__}"


# Stand-ins for NumPy's types in a pickle: numbers beside the weights (`rank1`, `mAP`), as trainers save them. NumPy's
# reconstructors take any dtype, also of objects; these take numbers and truth values, and give Python's.


class NotANumber(ValueError):
    """A pickle asks NumPy for something else than a number; the message is what."""


class Number:
    """Stands for `numpy.dtype`: of an integer, a float or a truth value, else NotANumber."""

    def __init__(self, code: str, *_: object) -> None:
        if not re.fullmatch(r"[biuf][1248]", code):
            raise NotANumber(f"numpy.dtype({code!r})")
        self.dtype = np.dtype(code)

    def __setstate__(self, state: tuple[object, ...]) -> None:
        if state[1] == ">":
            self.dtype = self.dtype.newbyteorder(">")


def scalar(number: Number, content: bytes | str) -> bool | int | float:
    """Stands for `numpy.core.multiarray.scalar`; the bytes are text in a pickle of Python 2, read as latin1."""
    if not isinstance(number, Number):
        raise NotANumber(f"a NumPy scalar of {type(number).__name__}")
    raw = content.encode("latin1") if isinstance(content, str) else content
    value: bool | int | float = np.frombuffer(raw, number.dtype, count=1)[0].item()
    return value


# Under the names that a pickle has, of NumPy before and since 2.
STAND_INS: list[Callable[..., object] | tuple[Callable[..., object], str]] = [
    (Number, "numpy.dtype"),
    (scalar, "numpy.core.multiarray.scalar"),
    (scalar, "numpy._core.multiarray.scalar"),
]
