"""ONNX and OpenVINO files run by OpenVINO (extra ``openvino``) on the CPU, in float32."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Lock
from typing import Any

import numpy as np

from reid.errors import InputError
from reid.networks.description import Description, input_kind

_starting = Lock()


def openvino_core() -> Any:
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


@dataclass(frozen=True)
class _Compiled:
    """A network that is ready, and its ends: what it takes, which of its outputs counts, images a pass."""

    network: Any
    kind: type[Any]
    place: int
    output: str
    batch: int

    def result(self, request: Any) -> np.ndarray:
        return np.array(request.get_output_tensor(self.place).data, np.float32)


def _compile(description: Description, file: Path, batch: int | None, settings: dict[str, Any]) -> _Compiled:
    """``batch`` None takes the network's own, 1 where that is open.

    Raises:
        InputError: OpenVINO is not installed, the file is damaged, or its inputs or outputs are not as described.
    """
    try:
        core = openvino_core()
    except ImportError:
        raise InputError(f"{file}: needs OpenVINO: pip install 'reid-gap[openvino]'") from None
    try:
        graph = core.read_model(file)
    except RuntimeError as error:
        raise InputError(f"{file}: not a readable network: {_first_line(error)}") from None
    if len(graph.inputs) != 1:
        raise InputError(f"{file}: has {len(graph.inputs)} inputs, expected one, an image")
    kind = input_kind(graph.input(0).get_element_type().get_type_name(), description, file)
    taken = graph.input(0).partial_shape
    sides = None if taken.rank.is_dynamic else [None if side.is_dynamic else side.get_length() for side in taken]
    check_shape(sides, str(taken), description, file)
    batch = batch or (sides[0] if sides else None) or 1
    shape = [batch, *description.shape]
    try:
        graph.reshape(shape)
        network = core.compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32", **settings})
    except RuntimeError as error:
        raise InputError(f"{file}: does not take {shape}, its input is {taken}: {_first_line(error)}") from None
    names = [sorted(output.get_names()) for output in network.outputs]
    place, name = choose_output(names, description, file)
    gives = network.outputs[place].get_element_type()
    if not gives.is_real():
        raise InputError(
            f"{file}: output {name!r} holds {gives.get_type_name()}: whole numbers, as quantised networks give; "
            "expected real ones"
        )
    return _Compiled(network, kind, place, name, batch)


class Graph:
    """A network for one image at a time, each on all cores. May be called from several threads, which then wait for
    each other.

    Raises:
        InputError: OpenVINO is not installed, the file is damaged, or its inputs or outputs are not as described.
    """

    def __init__(self, description: Description, file: Path, threads: int | None) -> None:
        self.description, self.file = description, file
        self._compiled = _compile(description, file, 1, _threads(threads))
        self.output = self._compiled.output
        self._request, self._lock = self._compiled.network.create_infer_request(), Lock()

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """The output, float32, for an image (h, w, 3) uint8 RGB."""
        values = self.description.arrange(self.description.fit(image)[None], self._compiled.kind)
        with self._lock:
            self._request.infer([values])
            return self._compiled.result(self._request)


class Streams:
    """A network for many images: a core, or a few, takes a batch while others take the next ones.

    Every batch has the same number of images, the network's own, else 1: measured on two cores, larger ones are not
    faster (a ResNet-18 of 256 x 128: 14.8 ms an image at 1, 15.1 at 8, 17.6 at 64). May be called from several threads.

    Attributes:
        batch: images a batch.
        output: the name of the output that counts.

    Raises:
        InputError: OpenVINO is not installed, the file is damaged, or its inputs or outputs are not as described.
    """

    def __init__(self, description: Description, file: Path, threads: int | None) -> None:
        settings = {"PERFORMANCE_HINT": "THROUGHPUT", **_threads(threads)}
        self._description = description
        self._compiled = _compile(description, file, None, settings)
        self.batch, self.output = self._compiled.batch, self._compiled.output
        streams = self._compiled.network.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS")
        self._idle: SimpleQueue[Any] = SimpleQueue()
        for _ in range(streams + 1):  # one waits, so that no core does
            self._idle.put(self._compiled.network.create_infer_request())

    def __call__(self, batches: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """The outputs, float32, in order, of batches (batch, height, width, 3) uint8 of fitted images."""
        running: deque[Any] = deque()
        try:
            for fitted in batches:
                values = self._description.arrange(fitted, self._compiled.kind)
                try:
                    request = self._idle.get(block=not running)  # who holds some waits for those, not for others'
                except Empty:
                    request = running.popleft()
                    request.wait()
                    result = self._compiled.result(request)
                    request.start_async([values])
                    running.append(request)
                    yield result
                else:
                    request.start_async([values])
                    running.append(request)
            while running:
                running[0].wait()
                result = self._compiled.result(running[0])
                self._idle.put(running.popleft())
                yield result
        finally:
            for request in running:
                request.wait()
                self._idle.put(request)


def _threads(threads: int | None) -> dict[str, Any]:
    return {} if threads is None else {"INFERENCE_NUM_THREADS": threads}


def choose_output(names: list[list[str]], description: Description, file: Path) -> tuple[int, str]:
    """Place and name of the described one of the outputs, each of which may have several ``names``.

    Raises:
        InputError: there is no such output, or none is named among several.
    """
    wanted = description.output
    places = [place for place, aliases in enumerate(names) if wanted is None or wanted in aliases]
    if len(places) != 1:
        choices = ", ".join(sorted(set().union(*names)))
        raise InputError(f"{file}: output: {wanted!r} is not one of its outputs; choices: {choices}")
    return places[0], wanted or min(names[places[0]], default="")


def check_shape(sides: list[int | None] | None, taken: str, description: Description, file: Path) -> None:
    """``sides`` of the input's shape, None where open; the whole None where even their number is.

    Raises:
        InputError: open sides and the batch apart, it is not the described one.
    """
    shape = [1, *description.shape]
    if sides is None or (
        len(sides) == 4 and all(side in (None, want) for side, want in zip(sides[1:], shape[1:], strict=True))
    ):
        return
    last = description.channels == "first" and len(sides) == 4 and sides[3] == 3 and sides[1] != 3
    hint = "its channels come last: channels: last" if last else "see height, width and channels"
    raise InputError(f"{file}: does not take {shape}, its input is {taken}: {hint}")


def _first_line(error: Exception) -> str:
    """Of a message that goes on with lines of a foreign source file: the last, which says what was wrong."""
    return str(error).strip().splitlines()[-1][:300]
