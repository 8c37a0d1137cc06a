"""ONNX files run by onnxruntime, as they are on CUDA (extra ``onnx``; on the card's machine ``onnxruntime-gpu``)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from reid.errors import InputError
from reid.networks.description import Description, input_kind
from reid.networks.graphs import check_shape, choose_output

CUDA, CPU = "CUDAExecutionProvider", "CPUExecutionProvider"
# onnxruntime's names of what an input may hold, as OpenVINO has them
KINDS = {
    "tensor(double)": "f64", "tensor(float)": "f32", "tensor(float16)": "f16", "tensor(uint8)": "u8",
    "tensor(int8)": "i8", "tensor(uint16)": "u16", "tensor(int16)": "i16", "tensor(uint32)": "u32",
    "tensor(int32)": "i32", "tensor(uint64)": "u64", "tensor(int64)": "i64",
}  # fmt: skip


class RuntimeSession:
    """A network for many images: batches of one size, the network's own, else ``batch``. May be called from several
    threads.

    Args:
        provider: of onnxruntime: on which device it computes; nothing else is taken in its place.
        options: of that provider.

    Attributes:
        batch: images a batch.
        output: the name of the output that counts.

    Raises:
        InputError: onnxruntime or its provider is not there, the file is damaged, or its inputs or outputs are not as
            described.
    """

    def __init__(
        self,
        description: Description,
        file: Path,
        batch: int,
        provider: str,
        options: dict[str, Any],
        threads: int | None,
    ) -> None:
        if file.suffix != ".onnx":
            raise InputError(f"{file}: OpenVINO's files run on the CPU: device=cpu; on CUDA an .onnx does")
        try:
            import onnxruntime
        except ImportError:
            raise InputError(
                f"{file}: on CUDA it runs by onnxruntime, which is not installed: pip install onnxruntime-gpu; "
                "or device=cpu"
            ) from None
        available = onnxruntime.get_available_providers()
        if provider not in available:
            raise InputError(
                f"{file}: the installed onnxruntime {onnxruntime.__version__} has no {provider}, only "
                f"{', '.join(available)}: pip install onnxruntime-gpu in its place; or device=cpu"
            )
        settings = onnxruntime.SessionOptions()
        settings.log_severity_level = 3
        if threads is not None:
            settings.intra_op_num_threads = threads
        try:
            session = onnxruntime.InferenceSession(str(file), settings, [(provider, options)])
        except Exception as error:  # its own classes have no common base but this
            raise InputError(f"{file}: onnxruntime does not take it: {str(error).splitlines()[0][:300]}") from None
        if session.get_providers()[0] != provider:  # it goes on without the one that it cannot start
            raise InputError(f"{file}: onnxruntime could not start {provider}: see what CUDA and cuDNN it needs")
        inputs = session.get_inputs()
        if len(inputs) != 1:
            raise InputError(f"{file}: has {len(inputs)} inputs, expected one, an image")
        sides = [side if isinstance(side, int) else None for side in inputs[0].shape]
        check_shape(sides, str(inputs[0].shape), description, file)
        outputs = session.get_outputs()
        place, self.output = choose_output([[output.name] for output in outputs], description, file)
        if outputs[place].type not in ("tensor(float)", "tensor(float16)", "tensor(double)"):
            raise InputError(f"{file}: output {self.output!r} holds {outputs[place].type}; expected real numbers")
        self.batch = sides[0] or batch
        self._kind = input_kind(KINDS.get(inputs[0].type, inputs[0].type), description, file)
        self._description, self._session, self._input = description, session, inputs[0].name

    def __call__(self, batches: Iterable[np.ndarray], count: int | None = None) -> Iterator[np.ndarray]:
        """The outputs, float32, in order, of batches (batch, height, width, 3) uint8 of fitted images."""
        for fitted in batches:
            values = self._description.arrange(fitted, self._kind)
            (result,) = self._session.run([self.output], {self._input: values})
            yield np.asarray(result, np.float32)


def has_cuda() -> bool:
    """Whether onnxruntime is installed and built for CUDA."""
    try:
        import onnxruntime
    except ImportError:
        return False
    return CUDA in onnxruntime.get_available_providers()


def on_cuda(description: Description, file: Path, batch: int, device: int) -> RuntimeSession:
    """On the CUDA device of that number, in IEEE float32.

    Raises:
        InputError: see :class:`RuntimeSession`.
    """
    options = {"device_id": str(device), "use_tf32": "0"}
    return RuntimeSession(description, file, batch, CUDA, options, None)
