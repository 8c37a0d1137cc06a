"""How a network that is a file wants its images: the YAML beside it, or what an exported file carries."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar
from xml.etree import ElementTree

import cv2
import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from reid.errors import InputError
from reid.files import read_yaml, resolve
from reid.overrides import validate

SUFFIXES = (".onnx", ".xml")
RESIZES = {"bilinear": cv2.INTER_LINEAR, "bicubic": cv2.INTER_CUBIC}
CARRIED = "reid"  # the key of an exported file's metadata
FOLDER = "REID_MODELS"  # environment variable: where the files lie that are not beside their description

Side = Annotated[int, Field(ge=1, le=4096)]
Number = Annotated[float, Field(allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Description(BaseModel):
    """What the YAML says: the network's one input is (N, 3, height, width), holding (pixel - mean) / std.

    An input of whole numbers takes them only where these values are whole for all pixels (uint8: scale 255 alone).

    Attributes:
        file: an .onnx or .xml file: absolute, or relative to the YAML, or else to ``$REID_MODELS``.
        colour: order of the channels, also of ``mean`` and ``std``.
        scale: the value of the brightest pixel before ``mean`` and ``std``: 255 or 1.
        resize: how the image gets the size; its proportions are not kept.
        channels: ``first``; or ``last``, for an input (N, height, width, 3).
        output: name of the output; not needed where there is one.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    file: str
    height: Side
    width: Side
    colour: Literal["rgb", "bgr"]
    scale: Literal[1, 255]
    mean: tuple[Number, Number, Number] = (0.0, 0.0, 0.0)
    std: tuple[Positive, Positive, Positive] = (1.0, 1.0, 1.0)
    resize: Literal["bilinear", "bicubic"] = "bilinear"
    channels: Literal["first", "last"] = "first"
    output: str | None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of one image, as the network's input has it."""
        size = (self.height, self.width)
        return (3, *size) if self.channels == "first" else (*size, 3)

    def fit(self, image: np.ndarray) -> np.ndarray:
        """(height, width, 3) uint8, the channels in the network's order, of an image (h, w, 3) uint8 RGB."""
        resized = cv2.resize(image, (self.width, self.height), interpolation=RESIZES[self.resize])
        return resized if self.colour == "rgb" else resized[..., ::-1]

    def arrange(self, fitted: np.ndarray, kind: type[Any]) -> np.ndarray:
        """What the network takes, (N, 3, height, width) or with the channels last, of fitted images (N, height, width,
        3) uint8."""
        values = fitted if self._as_they_are else self.normalise(fitted)
        ordered = values.transpose(0, 3, 1, 2) if self.channels == "first" else values
        return np.ascontiguousarray(ordered, dtype=kind)

    @property
    def _as_they_are(self) -> bool:
        return self.scale == 255 and not any(self.mean) and self.std == (1.0, 1.0, 1.0)

    def normalise(self, pixels: np.ndarray) -> np.ndarray:
        """(…, 3) float32 of uint8 pixels (…, 3) in the network's order of channels."""
        mean, std = np.array(self.mean, np.float32), np.array(self.std, np.float32)
        return (pixels.astype(np.float32) * np.float32(self.scale / 255) - mean) / std


D = TypeVar("D", bound=Description)


def find_description(name: str) -> Path:
    """Where it stands: the YAML, the one beside an .onnx or .xml file (of the same stem), or a bundled one by its bare
    name; or, where no YAML lies beside it, the file itself, which must then carry it.

    Raises:
        InputError: there is none; with the choices.
    """
    path = Path(name)
    if path.suffix not in SUFFIXES:
        return resolve("configs/foreign", name)
    beside = path.with_suffix(".yaml")
    if beside.is_file() or not path.is_file():
        return beside
    return path


def read_description(name: str, kind: type[D]) -> tuple[D, Path]:
    """The description that ``name`` finds, and the path of the network that it describes.

    Raises:
        InputError: naming file, key and value.
    """
    path = find_description(name)
    if path.suffix in SUFFIXES:
        carried = read_carried(path)
        if carried is None:
            raise InputError(
                f"{name}: needs {path.with_suffix('.yaml')} beside it, which says how to feed it (see "
                "configs/foreign): only files exported by this project say so themselves"
            )
        return validate(kind, {**carried.feed, "file": path.name}, path), path.resolve()
    if not path.is_file():
        raise InputError(f"{name}: no such file")
    description = validate(kind, read_yaml(path), path)
    file = _network_file(path, description.file)
    if Path(name).suffix in SUFFIXES and not (Path(name).is_file() and file.samefile(name)):
        raise InputError(f"{path}: file: {description.file!r} is not {name}")
    return description, file


@dataclass(frozen=True)
class Carried:
    """What an exported file says of itself.

    Attributes:
        feed: how it wants its images: a :class:`Description` without ``file``.
        run: the network that it was made of: its name, fingerprint and preprocessing.
        precision: float32, half or int8.
    """

    feed: dict[str, Any]
    run: dict[str, Any]
    precision: str

    def to_json(self) -> str:
        return json.dumps({"feed": self.feed, "run": self.run, "precision": self.precision}, sort_keys=True)


def read_carried(file: Path) -> Carried | None:
    """What an .onnx or .xml file carries under the key ``reid``; None where it carries nothing.

    Raises:
        InputError: it cannot be read, or what it carries is not what an export writes.
    """
    text = _in_ir(file) if file.suffix == ".xml" else _in_onnx(file)
    if text is None:
        return None
    try:
        values = json.loads(text)
        carried = Carried(**values)
        for key, kind in (("feed", dict), ("run", dict), ("precision", str)):
            if not isinstance(values[key], kind):
                raise TypeError(f"{key} holds a {type(values[key]).__name__}")
    except (ValueError, TypeError, RecursionError) as error:
        raise InputError(
            f"{file}: its metadata {CARRIED!r} is not what an export of this project writes: {error}"
        ) from None
    return carried


def _in_ir(file: Path) -> str | None:
    try:
        root = ElementTree.parse(file).getroot()
    except (OSError, ElementTree.ParseError) as error:
        raise InputError(f"{file}: not a readable network: {error}") from None
    places = (f"rt_info/{CARRIED}", f"rt_info/framework/{CARRIED}")  # the second where OpenVINO converted our ONNX
    entries = [entry for place in places if (entry := root.find(place)) is not None]
    return entries[0].get("value") if entries else None


def _in_onnx(file: Path) -> str | None:
    """A metadata entry is a key and a value, fields 1 and 2 of a message in Protocol Buffers' wire format."""
    values = list(_values_of(file.read_bytes(), CARRIED.encode()))
    return values[-1].decode(errors="replace") if values else None


def _values_of(content: bytes, key: bytes) -> Iterator[bytes]:
    """The values of all pairs of texts with this key: fields 1 and 2, each a tag, a length (7 bits a byte), a text."""
    begin = b"\x0a" + bytes([len(key)]) + key + b"\x12"
    for place in re.finditer(re.escape(begin) + rb"([\x80-\xff]{0,3}[\x01-\x7f])", content):
        length = sum((byte & 0x7F) << (7 * position) for position, byte in enumerate(place[1]))
        yield content[place.end() : place.end() + length]


def _network_file(description: Path, name: str) -> Path:
    if Path(name).suffix not in SUFFIXES:
        raise InputError(f"{description}: file: {name!r} does not end in {' or '.join(SUFFIXES)}")
    folders = [description.resolve().parent, *([Path(os.environ[FOLDER])] if os.environ.get(FOLDER) else [])]
    for folder in folders:
        if (folder / name).is_file():
            return (folder / name).resolve()
    hint = "" if len(folders) > 1 else f"; ${FOLDER}, which may name its folder, is not set"
    raise InputError(f"{description}: file: no {name!r} in {' or '.join(map(str, folders))}{hint}")


def digest(file: Path) -> str:
    """SHA-256, in hexadecimal, over the network's file and those that hold its weights.

    Raises:
        InputError: naming one that cannot be read.
    """
    whole = hashlib.sha256()
    for path in (file, *_weights(file)):
        try:
            with path.open("rb") as stream:
                whole.update(hashlib.file_digest(stream, "sha256").digest())
        except OSError as error:
            raise InputError(f"{path}: the weights of {file.name} cannot be read: {error}") from None
    return whole.hexdigest()


def _weights(file: Path) -> list[Path]:
    """An .xml file's .bin; of an .onnx file, those that the ``location`` of its ``external_data`` fields names."""
    if file.suffix == ".xml":
        return [file.with_suffix(".bin")]
    names = set(_values_of(file.read_bytes(), b"location"))
    return [file.parent / os.fsdecode(name) for name in sorted(names)]


# OpenVINO's names of what an input may hold
INPUTS: dict[str, type[Any]] = {
    "f64": np.float64, "f32": np.float32, "f16": np.float16, "u8": np.uint8, "i8": np.int8, "u16": np.uint16,
    "i16": np.int16, "u32": np.uint32, "i32": np.int32, "u64": np.uint64, "i64": np.int64,
}  # fmt: skip


def input_kind(name: str, description: Description, file: Path) -> type[Any]:
    """The type of the values to feed, which can hold those that every pixel is prepared to."""
    if name not in INPUTS:
        raise InputError(f"{file}: its input takes {name}; expected one of {', '.join(INPUTS)}")
    kind = INPUTS[name]
    values = description.normalise(np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1))
    real = issubclass(kind, np.floating)
    limits: Any = np.finfo(kind) if real else np.iinfo(kind)
    least, most = float(limits.min), float(limits.max)
    if not real and (values != np.rint(values)).any():
        odd = float(values[values != np.rint(values)][0])
        raise InputError(
            f"{file}: its input takes whole numbers ({name}), but scale {description.scale}, mean "
            f"{list(description.mean)} and std {list(description.std)} make others, as {odd:.4g}: perhaps it wants the "
            "pixels as they are: scale: 255, no mean, no std"
        )
    low, high = float(values.min()), float(values.max())
    if low < least or high > most:
        raise InputError(
            f"{file}: its input takes {name}, {least:g} to {most:g}, but scale {description.scale}, mean "
            f"{list(description.mean)} and std {list(description.std)} make {low:g} to {high:g}"
        )
    return kind
