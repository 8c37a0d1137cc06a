import pickle
import types
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch

from reid.errors import InputError
from reid.models.state_dicts import has_tensor_suffix, read_tensors


@pytest.mark.parametrize("archive", [True, False])
@pytest.mark.parametrize("number", [
    np.float64(0.875), np.float32(-0.25), np.float16(0.5), np.int64(-3), np.uint8(200), np.bool_(True),
    np.dtype(">f8").type(0.1), np.array([7], ">i4")[0],
])  # fmt: skip
def test_numbers_of_numpy_beside_the_weights(tmp_path: Path, number: np.generic, archive: bool) -> None:
    content = {"state_dict": {"w": torch.ones(2)}, "rank1": number}
    torch.save(content, tmp_path / "w.pth", _use_new_zipfile_serialization=archive)
    held = read_tensors(tmp_path / "w.pth")["rank1"]
    assert held == number.item() and type(held) is type(number.item())


def test_numbers_as_numpy_1_named_their_maker(tmp_path: Path) -> None:
    torch.save({"w": torch.ones(2), "rank1": np.float64(0.875)}, tmp_path / "w.pth",
               _use_new_zipfile_serialization=False)  # fmt: skip
    data = (tmp_path / "w.pth").read_bytes()
    assert b"numpy._core.multiarray" in data
    (tmp_path / "w.pth").write_bytes(data.replace(b"numpy._core.multiarray", b"numpy.core.multiarray"))
    assert read_tensors(tmp_path / "w.pth")["rank1"] == 0.875


@pytest.mark.parametrize(
    ("held", "named"),
    [
        (np.ones(3), "it asks for numpy.*_reconstruct"),
        (np.str_("x"), r"it asks for numpy.dtype\('U1'\)"),
        (np.datetime64("2020-01-01"), r"it asks for numpy.dtype\('M8'\)"),
        (np.dtype("O"), r"it asks for numpy.dtype\('O8'\)"),
        (np.complex128(1j), r"it asks for numpy.dtype\('c16'\)"),
        (np.sum, "it asks for numpy"),
    ],
)
def test_nothing_else_of_numpy_is_read(tmp_path: Path, held: object, named: str) -> None:
    torch.save({"w": torch.ones(2), "x": held}, tmp_path / "w.pth")
    with pytest.raises(InputError, match=named):
        read_tensors(tmp_path / "w.pth")


def test_other_readers_are_not_given_the_stand_ins(tmp_path: Path) -> None:
    torch.save({"rank1": np.float64(0.5)}, tmp_path / "w.pth")
    read_tensors(tmp_path / "w.pth")
    with pytest.raises(pickle.UnpicklingError):
        torch.load(tmp_path / "w.pth", weights_only=True)


class Python2Pickler(pickle._Pickler):
    """Writes texts and bytes as Python 2 did: one kind, of bytes."""

    dispatch: ClassVar = dict(pickle._Pickler.dispatch)

    def _save_bytes(self, value: str | bytes) -> None:
        content = value.encode("latin1") if isinstance(value, str) else value
        self.write(pickle.SHORT_BINSTRING + bytes([len(content)]) + content)
        self.memoize(value)

    dispatch[str] = dispatch[bytes] = _save_bytes


def test_a_file_of_python_2(tmp_path: Path) -> None:
    module = types.SimpleNamespace(
        __name__="python2",
        Pickler=Python2Pickler,
        dump=lambda value, file, protocol: Python2Pickler(file, protocol).dump(value),
    )
    content = {"state_dict": {"fc.weight": torch.arange(3.0)}, "author": "Zoë", "rank1": np.float64(-0.7)}
    torch.save(content, tmp_path / "w.pth", pickle_module=module, _use_new_zipfile_serialization=False)
    assert b"Zo\xeb" in (tmp_path / "w.pth").read_bytes()
    held = read_tensors(tmp_path / "w.pth")
    assert torch.equal(held["state_dict"]["fc.weight"], torch.arange(3.0))
    assert held["author"] == "Zoë" and held["rank1"] == -0.7


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("w.pth", True), ("w.pt", True), ("w.pyth", True), ("model.pth.tar", True), ("model.pth.tar-60", True),
        ("w.ckpt", True), ("w.safetensors", True), ("w.PTH", True), ("w.pkl", False), ("w.pth-", False),
        ("w.pth-a", False), ("pth", False), ("w.onnx", False), ("", False),
    ],
)  # fmt: skip
def test_suffixes(name: str, expected: bool) -> None:
    assert has_tensor_suffix(Path(name)) == expected
