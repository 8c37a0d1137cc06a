"""Networks that this project did not make: an ONNX or OpenVINO file, and a small YAML that says how to feed it.

They run by OpenVINO (extra ``openvino``) on the CPU in float32, an image at a time: a feature does not depend on what
else was in its batch.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Annotated, Any, Literal, TypeVar

import cv2
import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from reid.errors import InputError
from reid.files import read_yaml
from reid.paths import resolve
from reid.validation import validate

SUFFIXES = (".onnx", ".xml")
RESIZES = {"bilinear": cv2.INTER_LINEAR, "bicubic": cv2.INTER_CUBIC}
FOLDER = "REID_MODELS"  # environment variable: where the files lie that are not beside their description

Side = Annotated[int, Field(ge=1, le=4096)]
Number = Annotated[float, Field(allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Description(BaseModel):
    """What the YAML says: the network's one input is (1, 3, height, width), holding (pixel - mean) / std.

    An input of whole numbers takes them only where these values are whole for all pixels (uint8: scale 255 alone).

    Attributes:
        file: an .onnx or .xml file: absolute, or relative to the YAML, or else to ``$REID_MODELS``.
        colour: order of the channels, also of ``mean`` and ``std``.
        scale: the value of the brightest pixel before ``mean`` and ``std``: 255 or 1.
        resize: how the image gets the size; its proportions are not kept.
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
    output: str | None = None

    def prepare(self, image: np.ndarray) -> np.ndarray:
        """(1, 3, height, width) float32 of an image (h, w, 3) uint8 RGB."""
        resized = cv2.resize(image, (self.width, self.height), interpolation=RESIZES[self.resize])
        values = self.normalise(resized if self.colour == "rgb" else resized[..., ::-1])
        return np.ascontiguousarray(values.transpose(2, 0, 1)[None])

    def normalise(self, pixels: np.ndarray) -> np.ndarray:
        """(…, 3) float32 of uint8 pixels (…, 3) in the network's order of channels."""
        mean, std = np.array(self.mean, np.float32), np.array(self.std, np.float32)
        return (pixels.astype(np.float32) * np.float32(self.scale / 255) - mean) / std


D = TypeVar("D", bound=Description)


def find_description(name: str) -> Path:
    """The YAML: itself, the one beside an .onnx or .xml file (of the same stem), or a bundled one by its bare name.

    Raises:
        InputError: there is none; with the choices.
    """
    path = Path(name)
    if path.suffix in SUFFIXES:
        beside = path.with_suffix(".yaml")
        if not beside.is_file():
            raise InputError(f"{name}: needs {beside} beside it, which says how to feed it (see configs/foreign)")
        return beside
    return resolve("configs/foreign", name)


def read_description(name: str, kind: type[D]) -> tuple[D, Path]:
    """The description that ``name`` finds, and the path of the network that it describes.

    Raises:
        InputError: naming file, key and value.
    """
    path = find_description(name)
    description = validate(kind, read_yaml(path), path)
    file = _network_file(path, description.file)
    if Path(name).suffix in SUFFIXES and not (Path(name).is_file() and file.samefile(name)):
        raise InputError(f"{path}: file: {description.file!r} is not {name}")
    return description, file


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
    found = hashlib.sha256()
    for path in (file, *_weights(file)):
        try:
            with path.open("rb") as stream:
                found.update(hashlib.file_digest(stream, "sha256").digest())
        except OSError as error:
            raise InputError(f"{path}: the weights of {file.name} cannot be read: {error}") from None
    return found.hexdigest()


def _weights(file: Path) -> list[Path]:
    """An .xml file's .bin; of an .onnx file, those that its ``external_data`` fields name.

    Such a field is a key and a value, ``location`` and the name, in Protocol Buffers' wire format: fields 1 and 2,
    each a tag, a length and the text.
    """
    if file.suffix == ".xml":
        return [file.with_suffix(".bin")]
    content = file.read_bytes()
    places = re.finditer(rb"\x0a\x08location\x12([\x80-\xff]?)([\x01-\x7f])", content)
    lengths = ((place.end(), (place[1][0] - 128 + 128 * place[2][0]) if place[1] else place[2][0]) for place in places)
    names = {content[start : start + length] for start, length in lengths}
    return [file.parent / os.fsdecode(name) for name in sorted(names)]


_starting = Lock()


def _core() -> Any:
    """OpenVINO's one core of this process, which lives as long as it does.

    With a core a network, the second to go, or one that goes in another thread, leaves this thread's stack for signals
    in memory that is no longer there (OpenVINO 2026.4, its CPU plugin): the next Ctrl-C, SIGTERM or end of a child
    then ends the process without a word.
    """
    import openvino

    with _starting:
        return _start(openvino.Core)


@cache
def _start(core: Callable[[], Any]) -> Any:
    return core()


class Graph:
    """A foreign network, loaded. May be called from several threads, which then wait for each other.

    Raises:
        InputError: OpenVINO is not installed, the file is damaged, or its inputs or outputs are not as described.
    """

    def __init__(self, description: Description, file: Path, threads: int | None) -> None:
        try:
            core = _core()
        except ImportError:
            raise InputError(f"{file}: needs OpenVINO: pip install 'reid-gap[openvino]'") from None
        self.description, self.file = description, file
        shape = [1, 3, description.height, description.width]
        settings: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32"}
        if threads is not None:
            settings["INFERENCE_NUM_THREADS"] = threads
        try:
            graph = core.read_model(file)
        except RuntimeError as error:
            raise InputError(f"{file}: not a readable network: {_first_line(error)}") from None
        if len(graph.inputs) != 1:
            raise InputError(f"{file}: has {len(graph.inputs)} inputs, expected one, an image")
        self._kind = _input_kind(graph.input(0).get_element_type().get_type_name(), description, file)
        _check_shape(graph.input(0).partial_shape, shape, file)
        try:
            graph.reshape(shape)
            compiled = core.compile_model(graph, "CPU", settings)
        except RuntimeError as error:
            own = graph.input(0).partial_shape
            raise InputError(f"{file}: does not take {shape}, its input is {own}: {_first_line(error)}") from None
        self._output, self.output = self._choose(compiled.outputs)
        self._request, self._lock = compiled.create_infer_request(), Lock()

    def _choose(self, outputs: list[Any]) -> tuple[int, str]:
        names = [output.get_names() for output in outputs]
        wanted = self.description.output
        found = [place for place, own in enumerate(names) if wanted is None or wanted in own]
        if len(found) != 1:
            choices = ", ".join(sorted(set().union(*names)))
            raise InputError(f"{self.file}: output: {wanted!r} is not one of its outputs; choices: {choices}")
        name = wanted or min(names[found[0]], default="")
        kind = outputs[found[0]].get_element_type()
        if not kind.is_real():
            raise InputError(
                f"{self.file}: output {name!r} holds {kind.get_type_name()}: whole numbers, as quantised networks "
                "give; expected real ones"
            )
        return found[0], name

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """The output, float32, for an image (h, w, 3) uint8 RGB."""
        values = self.description.prepare(image).astype(self._kind, copy=False)
        with self._lock:
            self._request.infer([values])
            return np.array(self._request.get_output_tensor(self._output).data, np.float32)


# OpenVINO's names of what an input may hold
INPUTS: dict[str, type[Any]] = {
    "f64": np.float64, "f32": np.float32, "f16": np.float16, "u8": np.uint8, "i8": np.int8, "u16": np.uint16,
    "i16": np.int16, "u32": np.uint32, "i32": np.int32, "u64": np.uint64, "i64": np.int64,
}  # fmt: skip


def _input_kind(name: str, description: Description, file: Path) -> type[Any]:
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


def _check_shape(own: Any, shape: list[int], file: Path) -> None:
    """InputError where the input's shape, open sides and the batch apart, is not the described one."""
    sides = None if own.rank.is_dynamic else [None if side.is_dynamic else side.get_length() for side in own]
    if sides is None or (
        len(sides) == 4 and all(side in (None, want) for side, want in zip(sides[1:], shape[1:], strict=True))
    ):
        return
    last = len(sides) == 4 and sides[3] == 3 and sides[1] != 3
    hint = "its channels come last: export it with (N, 3, height, width)" if last else "see height and width"
    raise InputError(f"{file}: does not take {shape}, its input is {own}: {hint}")


def _first_line(error: Exception) -> str:
    """Of a message that goes on with lines of a foreign source file: the last, which says what was wrong."""
    return str(error).strip().splitlines()[-1][:300]
