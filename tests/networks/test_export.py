"""Exported files against the runs that they were made of."""

import dataclasses
import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import ROOT

pytest.importorskip("onnx", reason="onnx is not installed (pip install -e '.[dev]')")
pytest.importorskip("openvino", reason="openvino is not installed (pip install -e '.[dev]')")

from reid.commands.exporting import SUFFIXES
from reid.config import load_config
from reid.data.images import read_image
from reid.engine import build
from reid.engine.train import train
from reid.errors import InputError
from reid.networks import load
from reid.networks import parity as parity_module
from reid.networks.description import read_carried
from reid.networks.export import Form, as_input, export
from reid.networks.parity import Exported, compare, refuse, speeds, squash

SIZES = ((32, 16), (64, 32), (71, 30), (5, 40))


def crops(seed=0, sizes=SIZES, each=3):
    rng = np.random.default_rng(seed)
    return [rng.integers(0, 256, (*size, 3), np.uint8) for size in sizes for _ in range(each)]


def unit(features):
    return features / np.linalg.norm(features, axis=1, keepdims=True)


@pytest.fixture
def network(trained):
    return load(trained[1], ["precision=float32"])


@pytest.fixture
def standardised(tiny):
    config = load_config("market_bn.yaml", [*tiny, "optim.steps=3", "transforms.standardise=true", "run=standardised"])
    return load(train(config, progress=False), ["evaluation.flip=true"])


def written(network, form, tmp_path, calibration=()):
    file = tmp_path / f"{form.input}-{form.precision}{SUFFIXES[form.format]}"
    export(network, form, file, calibration)
    return file


@pytest.mark.parametrize("format", ["onnx", "openvino"])
@pytest.mark.parametrize("input", ["uint8", "float"])
def test_crops_of_any_size_give_the_run_s_features(network, standardised, tmp_path, format, input):
    form = Form(format, input=input)
    for run in (network, standardised):
        file = written(run, form, tmp_path)
        expected = unit(run.embed(crops()))
        np.testing.assert_allclose(Exported(file, form, 1)(crops()), expected, rtol=0, atol=1e-5)
        loaded = load(file, ["threads=1"])  # no YAML lies beside it
        np.testing.assert_allclose(loaded.embed(crops()), expected, rtol=0, atol=1e-5)
        assert loaded.origin.width == run.origin.width
        assert not file.with_suffix(".yaml").exists()


def test_flip_changes_the_features(standardised, trained, tmp_path):
    plain = load(standardised.folder, ["evaluation.flip=false"])
    assert np.abs(unit(plain.embed(crops())) - unit(standardised.embed(crops()))).max() > 1e-3


@pytest.mark.parametrize("input", ["uint8", "float"])
def test_a_square_input(network, tmp_path, input):
    form = Form("onnx", input=input, square=48)
    file = written(network, form, tmp_path)
    squashed = [squash(crop, 48) for crop in crops()]
    expected = unit(network.embed(squashed))
    np.testing.assert_allclose(Exported(file, form, 1)(squashed), expected, rtol=0, atol=1e-5)
    np.testing.assert_allclose(load(file).embed(crops()), expected, rtol=0, atol=1e-5)  # it squashes them itself


def test_onnxruntime_gives_the_same(network, tmp_path):
    runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed (pip install -e '.[dev]')")
    form = Form("onnx")
    session = runtime.InferenceSession(written(network, form, tmp_path), providers=["CPUExecutionProvider"])
    assert [side for side in session.get_inputs()[0].shape if isinstance(side, int)] == [3]
    images = crops(sizes=((71, 30),))
    (features,) = session.run(["feature"], {"image": as_input(images, form)})
    np.testing.assert_allclose(features, unit(network.embed(images)), rtol=0, atol=1e-5)


@pytest.mark.parametrize("format", ["onnx", "openvino"])
def test_half_is_near_and_small(network, tmp_path, format):
    whole, half = (written(network, Form(format, precision), tmp_path) for precision in ("float32", "half"))
    assert 0.45 < _weight(half) / _weight(whole) < 0.6
    features = load(half).embed(crops())
    cosines = (features * unit(network.embed(crops()))).sum(axis=1)
    assert cosines.min() > 0.999 and np.abs(features - load(whole).embed(crops())).max() > 1e-6


@pytest.mark.parametrize("format", ["onnx", "openvino"])
def test_eight_bits_are_calibrated(network, tmp_path, format):
    pytest.importorskip("nncf", reason="nncf is not installed (pip install -e '.[dev]')")
    form = Form(format, "int8")
    with pytest.raises(InputError, match="int8: needs images to calibrate on"):
        written(network, form, tmp_path)
    assert not any(tmp_path.glob("*int8*"))
    whole, small = written(network, Form(format), tmp_path), written(network, form, tmp_path, crops(1))
    assert _weight(small) / _weight(whole) < 0.45
    features = load(small).embed(crops())
    np.testing.assert_allclose(np.linalg.norm(features, axis=1), 1, atol=1e-5)  # which is not rounded to 8 bits
    cosines = (features * unit(network.embed(crops()))).sum(axis=1)
    assert 0.8 < cosines.min() < 0.99999


@pytest.mark.parametrize("format", ["onnx", "openvino"])
def test_eight_bits_of_a_square_input(network, tmp_path, format):
    pytest.importorskip("nncf", reason="nncf is not installed (pip install -e '.[dev]')")
    file = written(network, Form(format, "int8", "float", 48), tmp_path, crops(1))  # which are not squares
    expected = unit(network.embed([squash(crop, 48) for crop in crops()]))
    assert 0.8 < (load(file).embed(crops()) * expected).sum(axis=1).min() < 0.99999


def _weight(file):
    return (file.with_suffix(".bin") if file.suffix == ".xml" else file).stat().st_size


@pytest.mark.parametrize("format", ["onnx", "openvino"])
def test_what_a_file_says_of_itself(network, tmp_path, format):
    carried = read_carried(written(network, Form(format, "half", "float", 64), tmp_path))
    assert carried.precision == "half"
    assert carried.run == {
        "name": network.origin.name, "fingerprint": network.origin.fingerprint,
        "preprocessing": network.origin.preprocessing,
    }  # fmt: skip
    assert carried.feed == {
        "height": 64, "width": 64, "colour": "rgb", "scale": 1, "channels": "first", "output": "feature",
    }  # fmt: skip


def test_an_ir_that_others_made_of_our_onnx_says_it_too(network, tmp_path):
    import openvino

    file = written(network, Form("onnx"), tmp_path)
    openvino.save_model(openvino.Core().read_model(file), str(tmp_path / "other.xml"), compress_to_fp16=False)
    expected = load(file).embed(crops())
    np.testing.assert_allclose(load(tmp_path / "other.xml").embed(crops()), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("old", "new", "message"), [
    (b'"colour": "rgb"', b'"colour": "rgx"', r"colour: input should be 'rgb' or 'bgr', got 'rgx'"),
    (b'"precision"', b'"precisiom"', r"its metadata 'reid' is not what"),
    (b'"feed": {', b'"feed": [', r"its metadata 'reid' is not what"),
    (b'"feed": {', b'"feed":3,"a":{', r"its metadata 'reid' is not what"),
    (b'"feed"', b'"fees"', r"its metadata 'reid' is not what"),
])  # fmt: skip
def test_metadata_that_is_damaged(network, tmp_path, old, new, message):
    file = written(network, Form("onnx"), tmp_path)
    content = file.read_bytes()
    assert content.count(old) == 1
    file.write_bytes(content.replace(old, new))
    with pytest.raises(InputError, match=message):
        load(file)


def test_the_ranked_lists_and_figures_are_the_run_s(network, trained, tmp_path):
    data = build.roots(trained[0]).dataset("market1501", ["query", "gallery"])
    form = Form("onnx")
    file = written(network, form, tmp_path)
    parity = compare(network, file, form, data)
    assert parity.target == "market1501" and parity.plain is None
    assert parity.exported == parity.original and 0 <= parity.furthest + 1e-6 < 1e-5
    assert 0 <= parity.loaded + 1e-6 < 1e-5
    with pytest.raises(InputError, match="not kept: OpenVINO computes other .* market1501 1.0e-02"):
        refuse([dataclasses.replace(parity, loaded=0.01)], form)
    refuse([parity], form)
    similarities = []
    for way in (network, load(file)):
        query, gallery = (unit(way.extract(data.splits[split], progress=False)) for split in ("query", "gallery"))
        similarities.append(query @ gallery.T)
    order = np.argsort(-similarities[1], axis=1, kind="stable")
    ranked = np.take_along_axis(similarities[0], order, axis=1)  # falls, but for what float32 cannot tell apart
    assert np.diff(ranked, axis=1).max() < 1e-5 and np.ptp(ranked, axis=1).min() > 1e-3


@pytest.mark.parametrize("damaged", [b'{"feed": 3, "run": {}, "precision": "half"}', b"[]", b"3", b"[" * 100_000])
def test_metadata_that_holds_something_else(tmp_path, damaged):
    (tmp_path / "net.onnx").write_bytes(entry("reid", damaged))
    with pytest.raises(InputError, match="net.onnx: its metadata 'reid' is not what"):
        read_carried(tmp_path / "net.onnx")


def entry(key, value):
    """A key and a text in Protocol Buffers' wire format."""
    length, size = b"", len(value)
    while size > 127:
        length, size = length + bytes([size & 127 | 128]), size >> 7
    return b"\x0a" + bytes([len(key)]) + key.encode() + b"\x12" + length + bytes([size]) + value


def test_a_data_set_without_cameras_is_compared_under_its_protocol(network, trained, tmp_path):
    data = build.roots(trained[0]).dataset("market1501", ["query", "gallery"])
    splits = {name: dataclasses.replace(part, camids=np.zeros_like(part.camids)) for name, part in data.splits.items()}
    data = dataclasses.replace(data, card=data.card.under("any-camera"), splits=splits)
    form = Form("openvino")
    parity = compare(network, written(network, form, tmp_path), form, data)
    assert parity.exported == parity.original and parity.original.mAP > 0


def test_a_run_of_euclidean_distance_is_told_why_it_differs(network, trained, tmp_path):
    data = build.roots(trained[0]).dataset("market1501", ["query", "gallery"])
    form = Form("openvino")
    parity = compare(network, written(network, form, tmp_path), form, data)
    apart = dataclasses.replace(parity, exported=dataclasses.replace(parity.exported, mAP=parity.original.mAP - 0.1))
    with pytest.raises(InputError, match="not kept: .*exported ones have length 1: evaluation.distance=cosine"):
        refuse([apart], form, "euclidean")


@pytest.mark.parametrize("square", [None, 40])
def test_features_of_the_loaded_file_are_compared_too(network, trained, tmp_path, monkeypatch, square):
    data = build.roots(trained[0]).dataset("market1501", ["query", "gallery"])
    form = Form("openvino", square=square)
    file = written(network, form, tmp_path)
    assert abs(compare(network, file, form, data).loaded) < 1e-6

    def other(name, testing):
        loaded = load(name, ["threads=1"])
        monkeypatch.setattr(loaded, "embed", lambda crops, embed=loaded.embed: embed([crop // 4 for crop in crops]))
        return loaded

    monkeypatch.setattr(parity_module, "open_foreign", other)
    assert compare(network, file, form, data).loaded > 1e-3


def test_a_file_of_another_network_is_refused(network, standardised, trained, tmp_path):
    data = build.roots(trained[0]).dataset("market1501", ["query", "gallery"])
    form = Form("openvino", square=40)
    parity = compare(network, written(standardised, form, tmp_path), form, data)
    assert parity.furthest > 0.01 and parity.plain is not None
    apart = dataclasses.replace(parity, exported=dataclasses.replace(parity.exported, mAP=parity.original.mAP - 0.0011))
    with pytest.raises(
        InputError, match=r"not kept: its mAP differs .* more than 0.001 \(float32\): market1501 -0.0011"
    ):
        refuse([apart], form)
    refuse([apart], Form("openvino", "half"))
    lost = dataclasses.replace(parity, exported=dataclasses.replace(parity.exported, mAP=float("nan")))
    with pytest.raises(InputError, match="not kept"):
        refuse([lost], form)


def test_speeds_are_of_both(network, tmp_path):
    file = written(network, Form("openvino"), tmp_path)
    for speed in speeds(network, file, crops(sizes=((32, 16),))):
        assert 0 < speed.latency < 10_000 and speed.rate > 0


def test_samples_are_what_read_image_gives(network, trained, tmp_path):
    samples = build.roots(trained[0]).dataset("market1501", ["gallery"]).splits["gallery"]
    loaded = load(written(network, Form("openvino"), tmp_path), ["data.workers=0"])
    expected = loaded.embed([read_image(path) for path in samples.paths])
    assert np.array_equal(loaded.extract(samples, progress=False), expected)
    assert json.loads(loaded.origin.preprocessing)["channels"] == "last"


VIDEO = (
    Path(os.environ.get("REID_SHARED", ROOT.parent / "shared")) / "data" / "video" / "one-by-one-person-detection.mp4"
)


@pytest.mark.skipif(not VIDEO.exists(), reason="the video is not beside the checkout")
def test_the_loop_over_frames_and_boxes_of_the_docs(network, tmp_path, monkeypatch):
    form = Form("onnx", square=128)
    export(network, form, tmp_path / "square.onnx")
    code = (ROOT / "docs" / "export.md").read_text().partition("```python\n")[2].partition("```")[0]
    for written_there, here in (("runs/square.onnx", tmp_path / "square.onnx"), ("video.mp4", VIDEO)):
        assert code.count(f'"{written_there}"') == 1
        code = code.replace(f'"{written_there}"', repr(str(here)))
    frames = []

    class Reader:
        """The first frames only."""

        def __init__(self, name):
            self._video = capture(name)

        def read(self):
            there, frame = self._video.read()
            if not there or len(frames) == 4:
                return False, None
            frames.append(frame)
            return True, frame

    capture = cv2.VideoCapture
    monkeypatch.setattr(cv2, "VideoCapture", Reader)
    names = {}
    exec(code, names)
    assert len(frames) == 4 and names["distances"].shape == (2, 2)
    crops_ = [frames[-1][top:bottom, left:right, ::-1] for left, top, right, bottom in names["boxes"]]
    expected = unit(network.embed([squash(np.ascontiguousarray(crop), 128) for crop in crops_]))
    np.testing.assert_allclose(names["features"], expected, rtol=0, atol=1e-5)
