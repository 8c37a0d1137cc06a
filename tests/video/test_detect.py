"""Detectors: rows of a foreign network by hand, torchvision's against itself, and what a person can get wrong."""

from urllib.error import URLError

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from tiny_onnx import describe, save_onnx
from torchvision.models import detection

from reid.errors import InputError
from reid.video.detect import load_detector
from reid.video.track import Box

FRAME = np.zeros((50, 200, 3), np.uint8)
SSD = {"layout": "ssd", "person": 1}


def fixed_rows(path, rows):
    """A network whose output (1, 1, N, 7) is ``rows``, whatever the image."""
    nodes = [
        ("ReduceMean", ["image"], "mean", {"keepdims": 0}),
        ("Mul", ["mean", "zero"], "nothing", {}),
        ("Add", ["rows", "nothing"], "found", {}),
    ]
    constants = {"rows": np.float32(rows)[None, None], "zero": np.float32(0)}
    return save_onnx(path, nodes, {"found": (1, 1, *np.shape(rows))}, constants)


def test_rows_become_boxes_of_people_in_pixels_the_surest_first(tmp_path):
    file = fixed_rows(tmp_path / "net.onnx", [
        (0, 1, 0.50, 0.10, 0.20, 0.20, 0.80),
        (0, 2, 0.99, 0.10, 0.20, 0.20, 0.80),  # no person
        (0, 1, 0.75, -0.10, 0.50, 0.50, 1.50),  # beyond the borders
        (0, 1, 0.90, 1.10, 0.50, 1.50, 1.00),  # nothing left of it
        (0, 1, 0.90, 0.50, 0.50, 0.50, 1.00),  # no width
        (-1, 1, 0.99, 0.00, 0.00, 1.00, 1.00),  # the end
        (0, 1, 0.99, 0.00, 0.00, 1.00, 1.00),
    ])  # fmt: skip
    describe(file, **SSD)
    detector = load_detector(str(file), threads=1)
    found = detector.detect(FRAME)
    expected = [Box(0, 25, 100, 50, 0.75), Box(20, 10, 40, 40, 0.5)]
    assert len(found) == 2
    for own, wanted in zip(found, expected, strict=True):
        np.testing.assert_allclose(list(vars(own).values()), list(vars(wanted).values()), rtol=1e-5)
    assert detector.describe() == "net"


def test_a_description_without_what_a_detector_needs(tmp_path):
    file = fixed_rows(tmp_path / "net.onnx", np.zeros((2, 7)))
    describe(file)
    with pytest.raises(InputError, match=r"(?s)net.yaml: layout: is missing.*person: is missing"):
        load_detector(str(file))
    describe(file, layout="yolo", person=1)
    with pytest.raises(InputError, match=r"net.yaml: layout: input should be 'ssd', got 'yolo'"):
        load_detector(str(file))
    other = fixed_rows(tmp_path / "other.onnx", np.zeros((2, 5)))
    describe(other, **SSD)
    with pytest.raises(InputError, match=r"other.onnx: output 'found' is \(1, 1, 2, 5\), not \(1, 1, N, 7\)"):
        load_detector(str(other))
    with pytest.raises(InputError, match=r"'retail' is neither a file .*choices: person-detection-retail-0013"):
        load_detector("retail")


@pytest.fixture
def network():
    """Torchvision's detector with random weights."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return detection.fasterrcnn_mobilenet_v3_large_320_fpn(weights=None, weights_backbone=None).eval()


@pytest.mark.parametrize(("suffix", "label"), [(".pth", 1), (".safetensors", 1), (".pth", 2)])
def test_torchvision_with_weights_from_a_file(network, tmp_path, suffix, label):
    with torch.no_grad():
        network.roi_heads.box_predictor.cls_score.bias[label] += 5  # all that it sees is of this label; 1 is a person
    path = tmp_path / f"own{suffix}"
    (torch.save if suffix == ".pth" else save_file)(network.state_dict(), path)
    detector = load_detector(f"torchvision:{path}", threads=1)
    frame = np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8)
    found = detector.detect(frame)
    with torch.inference_mode():
        expected = network([torch.from_numpy(frame).permute(2, 0, 1) / 255])[0]
    assert len(expected["labels"]) > 0 and (expected["labels"] == label).all()
    assert len(found) == (len(expected["labels"]) if label == 1 else 0)
    rows = torch.cat([expected["boxes"], expected["scores"][:, None]], dim=1).numpy()
    order = np.argsort(-rows[:, 4], kind="stable")[: len(found)]
    wanted = [Box(*map(float, rows[row])) for row in order]
    for own, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(list(vars(own).values()), list(vars(other).values()), rtol=1e-4, atol=1e-3)
    assert detector.describe() == f"fasterrcnn_mobilenet_v3_large_320_fpn, own{suffix}"


class _Runs:
    def __reduce__(self):
        return print, ("run",)


def test_weights_of_something_else_code_or_no_file(network, tmp_path):
    path = tmp_path / "own.pth"
    for content, message in (
        ({"fc.weight": torch.zeros(2)}, r"own.pth: does not hold the weights of fasterrcnn"),
        ([1, 2], r"own.pth: does not hold the weights of fasterrcnn"),
        (_Runs(), r"own.pth: damaged, or holds more than tensors"),
    ):
        torch.save(content, path)
        with pytest.raises(InputError, match=message):
            load_detector(f"torchvision:{path}")
    with pytest.raises(
        InputError, match=r"gone.pth: not a file that ends in .pth, .pt, .pyth, .tar, .ckpt, .safetensors"
    ):
        load_detector(f"torchvision:{tmp_path / 'gone.pth'}")


def test_torchvision_s_own_weights_that_cannot_be_fetched(network, monkeypatch):
    def fail(*_arguments, **_more):
        raise URLError("no way out")

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", fail)
    with pytest.raises(InputError, match=r"could not fetch .*no way out.*give a file as torchvision:FILE"):
        load_detector("torchvision")
