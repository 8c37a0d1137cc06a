"""Stand-ins for NumPy's types in a pickle: numbers beside the weights (`rank1`, `mAP`), as trainers save them.

NumPy's own reconstructors take any dtype, also of objects. These take numbers and truth values, and give Python's.
"""

import re
from collections.abc import Callable

import numpy as np


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
