"""ONNX and OpenVINO files run by OpenVINO (extra ``openvino``) on the CPU, in float32."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
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


def _read(description: Description, file: Path, batch: int | None) -> Any:
    """OpenVINO's graph of the file for batches of ``batch`` images; None takes the network's own number, 1 where
    that is open.

    Raises:
        InputError: OpenVINO is not installed, the file is damaged, or its input is not as described.
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
    taken = graph.input(0).partial_shape
    sides = None if taken.rank.is_dynamic else [None if side.is_dynamic else side.get_length() for side in taken]
    check_shape(sides, str(taken), description, file)
    shape = [batch or (sides[0] if sides else None) or 1, *description.shape]
    try:
        graph.reshape(shape)
    except RuntimeError as error:
        raise InputError(f"{file}: does not take {shape}, its input is {taken}: {_first_line(error)}") from None
    return graph


def _compile(graph: Any, description: Description, file: Path, settings: dict[str, Any]) -> _Compiled:
    """
    Raises:
        InputError: its input or outputs are not as described, or OpenVINO cannot run it.
    """
    kind = input_kind(graph.input(0).get_element_type().get_type_name(), description, file)
    try:
        network = openvino_core().compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32", **settings})
    except RuntimeError as error:
        raise InputError(f"{file}: OpenVINO cannot run it: {_first_line(error)}") from None
    names = [sorted(output.get_names()) for output in network.outputs]
    place, name = choose_output(names, description, file)
    gives = network.outputs[place].get_element_type()
    if not gives.is_real():
        raise InputError(
            f"{file}: output {name!r} holds {gives.get_type_name()}: whole numbers, as quantised networks give; "
            "expected real ones"
        )
    return _Compiled(network, kind, place, name, graph.input(0).partial_shape[0].get_length())


class Graph:
    """A network for one image at a time, each on all cores. May be called from several threads, which then wait for
    each other.

    Raises:
        InputError: OpenVINO is not installed, the file is damaged, or its inputs or outputs are not as described.
    """

    def __init__(self, description: Description, file: Path, threads: int | None) -> None:
        self.description, self.file = description, file
        self._compiled = _compile(_read(description, file, 1), description, file, _threads(threads))
        self.output = self._compiled.output
        self._request, self._lock = self._compiled.network.create_infer_request(), Lock()

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """The output, float32, for an image (h, w, 3) uint8 RGB."""
        values = self.description.arrange(self.description.fit(image)[None], self._compiled.kind)
        with self._lock:
            self._request.infer([values])
            return self._compiled.result(self._request)


class _Requests:
    """What computes a batch of a network, as many as are asked for at a time: one that an interrupt has lost is made
    anew, so nobody ever waits for it."""

    def __init__(self, compiled: _Compiled) -> None:
        self.compiled = compiled
        self._idle: list[Any] = []  # several threads may append to and pop from a list

    def take(self) -> Any:
        try:
            return self._idle.pop()
        except IndexError:
            return self.compiled.network.create_infer_request()

    def give_back(self, request: Any) -> None:
        self._idle.append(request)


class Streams:
    """A network for many images: a core, or a few, takes a batch while others take the next ones. A batch that comes
    alone has all cores, by the same graph compiled for that when the first one comes (a narrow ResNet-18 on two cores:
    0.9 ms, against 1.5).

    Every batch has the same number of images, the network's own, else 1: measured on two cores, larger ones are not
    faster (a ResNet-18 of 256 x 128: 14.8 ms an image at 1, 15.1 at 8, 17.6 at 64). May be called from several threads.

    Attributes:
        batch: images a batch.
        output: the name of the output that counts.

    Raises:
        InputError: OpenVINO is not installed, the file is damaged, or its inputs or outputs are not as described.
    """

    def __init__(self, description: Description, file: Path, threads: int | None) -> None:
        self._description, self._file, self._settings = description, file, _threads(threads)
        graph = _read(description, file, None)
        self._many = _Requests(self._compiled(graph, "THROUGHPUT"))
        self.batch, self.output = self._many.compiled.batch, self._many.compiled.output
        streams = self._many.compiled.network.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS")
        self._most = streams + 1  # under way at a time: one waits, so that no core does
        self._lone, self._starting = self._many if streams == 1 else None, Lock()
        # Kept till a batch comes alone: by then there may be another file of the name, or none.
        self._graph = None if streams == 1 else graph

    _lone: _Requests | None

    def __call__(self, batches: Iterable[np.ndarray], count: int | None = None) -> Iterator[np.ndarray]:
        """The outputs, float32, in order, of batches (batch, height, width, 3) uint8 of fitted images; ``count`` says
        how many there are, where that is known."""
        requests = self._requests(alone=count == 1)
        compiled = requests.compiled
        running: deque[Any] = deque()
        try:
            for fitted in batches:
                values = self._description.arrange(fitted, compiled.kind)
                if len(running) < self._most:
                    request = requests.take()
                    request.start_async([values])
                    running.append(request)
                    continue
                request = running.popleft()
                request.wait()
                result = compiled.result(request)
                request.start_async([values])
                running.append(request)
                yield result
            while running:
                running[0].wait()
                result = compiled.result(running[0])
                requests.give_back(running.popleft())
                yield result
        finally:
            for request in running:
                request.wait()
                requests.give_back(request)

    def _requests(self, alone: bool) -> _Requests:
        if not alone:
            return self._many
        with self._starting:
            if self._lone is None:
                self._lone, self._graph = _Requests(self._compiled(self._graph, "LATENCY")), None
            return self._lone

    def _compiled(self, graph: Any, hint: str) -> _Compiled:
        return _compile(graph, self._description, self._file, {"PERFORMANCE_HINT": hint, **self._settings})


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
