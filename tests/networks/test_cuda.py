"""onnxruntime against OpenVINO, on its CPU provider; and what stands in the way of the one for CUDA."""

import dataclasses
import sys

import numpy as np
import pytest
import torch
from tiny_onnx import describe, mean_colours, typed

from reid.errors import InputError
from reid.networks import default_testing, load
from reid.networks.cuda import CPU, CUDA, RuntimeSession
from reid.networks.description import Description, read_description
from reid.networks.foreign import ForeignNetwork, open_graph

WEIGHTS = np.random.default_rng(0).normal(size=(5, 3))
IMAGES = list(np.random.default_rng(1).integers(0, 256, (11, 9, 7, 3), np.uint8))


@pytest.fixture
def runtime():
    return pytest.importorskip("onnxruntime", reason="onnxruntime is not installed (pip install -e '.[dev]')")


def on_cpu(yaml, batch):
    description, file = read_description(str(yaml), Description)
    return ForeignNetwork(description, file, RuntimeSession(description, file, batch, CPU, {}, 1))


@pytest.mark.parametrize(("shape", "batch"), [(("N", 3, 4, 2), 1), (("N", 3, 4, 2), 4), ((8, 3, 4, 2), 3)])
def test_the_features_are_openvino_s_whatever_the_batch(tmp_path, runtime, shape, batch):
    yaml = describe(mean_colours(tmp_path / "net.onnx", WEIGHTS, shape), output="flat", colour="bgr", scale=1)
    network, expected = on_cpu(yaml, batch), load(yaml)
    np.testing.assert_allclose(network.embed(IMAGES), expected.embed(IMAGES), rtol=0, atol=1e-5)
    assert network.embed([]).shape == (0, 5)
    assert network.origin == expected.origin


@pytest.mark.parametrize("count", [1, 3, 4, 5])
def test_a_feature_does_not_depend_on_its_neighbours(tmp_path, runtime, count):
    network = on_cpu(describe(mean_colours(tmp_path / "net.onnx", WEIGHTS), output="flat"), 4)
    one_by_one = np.concatenate([network.embed([image]) for image in IMAGES[:count]])
    np.testing.assert_allclose(network.embed(IMAGES[:count]), one_by_one, rtol=0, atol=1e-5)


def test_an_input_of_whole_numbers(tmp_path, runtime):
    yaml = describe(typed(tmp_path / "net.onnx", "UINT8"))
    np.testing.assert_allclose(on_cpu(yaml, 2).embed(IMAGES), load(yaml).embed(IMAGES), rtol=1e-5)
    with pytest.raises(InputError, match=r"takes whole numbers \(u8\), but scale 1"):
        on_cpu(describe(typed(tmp_path / "net.onnx", "UINT8"), scale=1), 2)


@pytest.mark.parametrize(("network", "keys", "message"), [
    ({"gives": "INT32"}, {}, r"output 'feature' holds tensor\(int32\); expected real numbers"),
    ({"takes": "BOOL"}, {}, r"takes tensor\(bool\); expected one of"),
    ({}, {"output": "flatt"}, r"output: 'flatt' is not one of its outputs; choices: feature"),
    ({}, {"width": 3}, r"does not take \[1, 3, 4, 3\], its input is \['N', 3, 4, 2\]: see height, width"),
])  # fmt: skip
def test_a_network_that_is_not_as_described(tmp_path, runtime, network, keys, message):
    with pytest.raises(InputError, match=message):
        on_cpu(describe(typed(tmp_path / "net.onnx", **network), **keys), 2)


def test_a_damaged_file(tmp_path, runtime):
    yaml = describe(mean_colours(tmp_path / "net.onnx", WEIGHTS), output="flat")
    (tmp_path / "net.onnx").write_bytes((tmp_path / "net.onnx").read_bytes()[:90])
    with pytest.raises(InputError, match=r"net.onnx: onnxruntime does not take it: "):
        on_cpu(yaml, 2)


def on_a_card(named=True):
    testing = default_testing()
    placement = dataclasses.replace(testing.placement, device=torch.device("cuda:0"), named=named)
    return dataclasses.replace(testing, placement=placement)


def test_cuda_is_not_replaced_by_the_cpu(tmp_path, runtime, monkeypatch):
    yaml = str(describe(mean_colours(tmp_path / "net.onnx", WEIGHTS), output="flat"))
    built_without = CUDA not in runtime.get_available_providers()
    monkeypatch.setattr(runtime, "get_available_providers", lambda: [CPU])
    with pytest.raises(InputError, match=r"has no CUDAExecutionProvider, only CPU.*onnxruntime-gpu.*or device=cpu"):
        open_graph(yaml, on_a_card())
    if built_without:  # it then goes on with the CPU, and says so as a warning
        monkeypatch.setattr(runtime, "get_available_providers", lambda: [CUDA, CPU])
        with (
            pytest.warns(UserWarning, match=CUDA),
            pytest.raises(InputError, match=r"could not start CUDAExecutionProvider"),
        ):
            open_graph(yaml, on_a_card())


def test_without_onnxruntime(tmp_path, monkeypatch):
    yaml = str(describe(mean_colours(tmp_path / "net.onnx", WEIGHTS), output="flat"))
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(InputError, match=r"net.onnx: on CUDA it runs by onnxruntime, which is not installed"):
        open_graph(yaml, on_a_card())
    assert load(yaml, ["device=cpu"]).embed(IMAGES).shape == (11, 5)


def test_a_card_that_is_there_but_not_asked_for_needs_no_onnxruntime(tmp_path, monkeypatch):
    yaml = str(describe(mean_colours(tmp_path / "net.onnx", WEIGHTS), output="flat"))
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    network = open_graph(yaml, on_a_card(named=False))
    assert network.placement.device.type == "cpu" and network.embed(IMAGES).shape == (11, 5)
