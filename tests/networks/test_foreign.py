"""Feeding a foreign network: against numpy by hand, and everything that its description can get wrong."""

import dataclasses
import hashlib
import json
import os
import subprocess
import sys
import threading

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from tiny_onnx import FEED, describe, mean_colours, onnx, save_onnx, typed

from reid.data.images import read_image
from reid.data.unlabelled import read_unlabelled
from reid.errors import InputError
from reid.networks import graphs, load
from reid.networks.description import Description, digest, find_description, read_description
from reid.networks.graphs import Graph

WEIGHTS = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 2, -1]], np.float32)
IMAGE = np.random.default_rng(0).integers(0, 256, (4, 2, 3), np.uint8)


@pytest.fixture
def file(tmp_path):
    return mean_colours(tmp_path / "net.onnx", WEIGHTS)


@pytest.mark.parametrize("output", ["feature", "flat"])
@pytest.mark.parametrize("keys", [
    {},
    {"colour": "bgr"},
    {"scale": 1, "mean": [0.1, 0.2, 0.3], "std": [0.5, 0.25, 2.0]},
    {"colour": "bgr", "mean": [100.0, 0.0, 50.0], "std": [10.0, 1.0, 1.0]},
])  # fmt: skip
def test_pixels_arrive_as_described(file, keys, output):
    describe(file, output=output, **keys)
    model = load(file, ["threads=1"])
    pixels = IMAGE.astype(np.float64)
    if keys.get("colour") == "bgr":
        pixels = pixels[..., ::-1]
    values = (pixels / 255 * keys.get("scale", 255) - keys.get("mean", 0)) / keys.get("std", 1)
    expected = WEIGHTS @ values.mean(axis=(0, 1))
    found = model.embed([IMAGE, IMAGE[:, ::-1]])
    assert found.dtype == np.float32 and found.shape == (2, 4) and model.origin.width == 4
    np.testing.assert_allclose(found, [expected, expected], rtol=1e-5, atol=1e-5)
    assert model.embed([]).shape == (0, 4)


@pytest.mark.parametrize("resize", ["bilinear", "bicubic"])
def test_any_size_comes_in_and_a_plain_image_stays_plain(file, resize):
    describe(file, output="flat", resize=resize)
    plain = np.full((31, 17, 3), (10, 200, 30), np.uint8)
    np.testing.assert_allclose(load(file).embed([plain])[0], WEIGHTS @ [10, 200, 30], rtol=1e-5)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 2**32 - 1))
def test_the_size_is_as_described_whatever_the_image(height, width, seed):
    image = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    description = Description(file="x.onnx", **FEED)
    fitted = description.fit(image)
    assert fitted.shape == (4, 2, 3) and fitted.dtype == np.uint8
    values = description.arrange(fitted[None], np.float32)
    assert values.shape == (1, 3, 4, 2) and values.dtype == np.float32
    assert values.min() >= image.min() and values.max() <= image.max()


@pytest.mark.parametrize("shape", [(1, 3, 4, 2), (8, 3, 4, 2), ("N", 3, "H", "W")])
def test_a_fixed_or_open_batch_and_size(tmp_path, shape):
    file = mean_colours(tmp_path / "net.onnx", WEIGHTS, shape)
    describe(file, output="flat")
    np.testing.assert_allclose(load(file).embed([IMAGE])[0], WEIGHTS @ IMAGE.mean((0, 1)), rtol=1e-5)


def test_from_several_threads(file):
    describe(file, output="flat")
    model = load(file, ["threads=1"])
    images = [np.full((4, 2, 3), number, np.uint8) for number in range(100)]
    found = [None] * 8

    def work(place):
        found[place] = model.embed(images)

    threads = [threading.Thread(target=work, args=(place,)) for place in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for own in found:
        np.testing.assert_allclose(own[:, 0], np.arange(100), rtol=1e-6)


def test_an_interrupt_leaves_no_hang(file, monkeypatch):
    describe(file, output="flat")
    model, images, rows = load(file, ["threads=1"]), [IMAGE] * 9, []

    def interrupted(*_):
        raise KeyboardInterrupt

    def work():
        with monkeypatch.context() as patched:
            patched.setattr(graphs._Compiled, "result", interrupted)
            for _ in range(3):
                with pytest.raises(KeyboardInterrupt):
                    model.embed(images)
        rows.append(model.embed(images))

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(60)
    assert not thread.is_alive() and rows[0].shape == (9, 4)


def test_a_batch_that_comes_alone_has_all_cores(file):
    describe(file, output="flat")
    model = load(file, ["threads=2"])
    many = model.embed([IMAGE, IMAGE])
    file.write_bytes(b"another file by now")
    np.testing.assert_allclose(model.embed([IMAGE])[0], many[0], rtol=1e-6)
    lone, streams = (requests.compiled.network for requests in (model._runner._lone, model._runner._many))
    assert (lone.get_property("NUM_STREAMS"), lone.get_property("INFERENCE_NUM_THREADS")) == (1, 2)
    assert streams.get_property("NUM_STREAMS") == 2


def test_three_ways_to_name_it(file, tmp_path, monkeypatch):
    own = describe(file, output="flat")
    elsewhere = tmp_path / "descriptions" / "other.yaml"
    elsewhere.parent.mkdir()
    elsewhere.write_text(own.read_text())
    with pytest.raises(InputError, match=r"other.yaml: file: no 'net.onnx' in .*descriptions; \$REID_MODELS.*not set"):
        monkeypatch.delenv("REID_MODELS", raising=False)
        load(elsewhere)
    monkeypatch.setenv("REID_MODELS", str(tmp_path))
    origins = [load(path).origin for path in (file, own, elsewhere)]
    assert len(set(origins)) == 1 and origins[0].name == "net"
    elsewhere.write_text(yaml.safe_dump({"file": str(file), **FEED, "output": "flat"}))
    monkeypatch.delenv("REID_MODELS")
    assert load(elsewhere).origin == origins[0]
    assert find_description("person-reidentification-retail-0265").name == "person-reidentification-retail-0265.yaml"


def test_the_origin_tells_other_weights_and_other_feeding(file, tmp_path):
    describe(file, output="flat")
    first = load(file).origin
    assert load(file, ["threads=2"]).origin == first
    describe(file, output="flat", colour="bgr")
    assert load(file).origin.network == first.network
    assert load(file).origin.fingerprint != first.fingerprint
    other = mean_colours(tmp_path / "other.onnx", WEIGHTS + 1)
    describe(other, output="flat")
    assert load(other).origin.preprocessing == first.preprocessing
    assert load(other).origin.network != first.network


def test_the_digest_covers_weights_in_other_files(file, tmp_path):
    model = onnx.load(file)
    onnx.save(model, tmp_path / "out.onnx", save_as_external_data=True, location="some.weights", size_threshold=0)
    before = digest(tmp_path / "out.onnx")
    weights = tmp_path / "some.weights"
    changed = bytearray(weights.read_bytes())
    changed[0] ^= 1
    weights.write_bytes(changed)
    assert digest(tmp_path / "out.onnx") != before
    weights.unlink()
    with pytest.raises(InputError, match=r"some.weights: the weights of out.onnx cannot be read"):
        digest(tmp_path / "out.onnx")
    (tmp_path / "ir.xml").write_bytes(b"graph")
    (tmp_path / "ir.bin").write_bytes(b"weights")
    parts = b"".join(hashlib.sha256(own).digest() for own in (b"graph", b"weights"))
    assert digest(tmp_path / "ir.xml") == hashlib.sha256(parts).hexdigest()


@pytest.mark.parametrize(("keys", "message"), [
    ({"colour": "grey"}, r"net.yaml: colour: input should be 'rgb' or 'bgr', got 'grey'"),
    ({"scale": 127}, r"net.yaml: scale: .*got 127"),
    ({"height": 0}, r"net.yaml: height: .*got 0"),
    ({"std": [1, 0, 1]}, r"net.yaml: std.1: .*got 0"),
    ({"mean": [1, 2]}, r"net.yaml: mean.2: "),
    ({"mean": [1, 2, float("nan")]}, r"net.yaml: mean.2: .*finite"),
    ({"colours": "rgb"}, r"net.yaml: unknown key 'colours'; the keys here are file, height, width, colour,"),
    ({"resize": "area"}, r"net.yaml: resize: .*got 'area'"),
    ({"file": "net.pth"}, r"net.yaml: file: 'net.pth' does not end in .onnx or .xml"),
    ({"file": "gone.onnx"}, r"net.yaml: file: no 'gone.onnx' in "),
    ({"output": "flatt"}, r"net.onnx: output: 'flatt' is not one of its outputs; choices: feature, flat, maps"),
    ({}, r"net.onnx: output: None is not one of its outputs; choices: feature, flat, maps"),
    ({"output": "maps"}, r"net.onnx: output 'maps' is \(1, 4, 4, 2\), expected a feature"),
])  # fmt: skip
def test_a_description_that_is_wrong(file, monkeypatch, keys, message):
    monkeypatch.delenv("REID_MODELS", raising=False)
    with pytest.raises(InputError, match=message):
        load(describe(file, **keys))


def test_a_size_that_the_network_does_not_take(tmp_path):
    nodes = [("MatMul", ["image", "weights"], "maps", {}), ("Flatten", ["maps"], "flat", {})]
    file = save_onnx(
        tmp_path / "net.onnx", nodes, {"flat": (1, 36)}, {"weights": np.ones((2, 3), np.float32)}, (1, 3, 4, 2)
    )
    with pytest.raises(InputError, match=r"net.onnx: does not take \[1, 3, 4, 5\], its input is \[1,3,4,2\]"):
        load(describe(file, width=5))


@pytest.mark.parametrize(("takes", "keys"), [
    ("UINT8", {}),
    ("INT8", {"mean": [128.0, 128.0, 128.0]}),
    ("UINT16", {"std": [0.5, 1.0, 0.25]}),
    ("INT32", {"mean": [100.0, 0.0, 255.0]}),
    ("FLOAT16", {"mean": [124.0, 116.0, 104.0], "std": [58.0, 57.0, 57.0]}),
    ("DOUBLE", {"scale": 1, "mean": [0.5, 0.5, 0.5]}),
])  # fmt: skip
def test_an_input_that_holds_what_is_prepared_for_it(tmp_path, takes, keys):
    model = load(describe(typed(tmp_path / "net.onnx", takes), **keys))
    pixels = np.stack([np.arange(256, dtype=np.uint8)] * 3, axis=1).reshape(128, 2, 3)
    for image in (IMAGE, pixels[:4], pixels[-4:]):
        values = (image / 255 * keys.get("scale", 255) - keys.get("mean", 0)) / keys.get("std", 1)
        (found,) = model.embed([image])
        np.testing.assert_allclose(
            found, values.mean(axis=(0, 1)), rtol=2e-3 if takes == "FLOAT16" else 1e-5, atol=1e-3
        )


@pytest.mark.parametrize(("takes", "keys", "message"), [
    ("UINT8", {"scale": 1, "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]},
     r"takes whole numbers \(u8\), but scale 1, mean \[0.485, 0.456, 0.406\] and std .* make others, as -2.118"),
    ("UINT8", {"scale": 1}, r"takes whole numbers \(u8\), but scale 1, .* make others, as 0.0039.*scale: 255, no mean"),
    ("UINT8", {"mean": [0, 0, 0.5]}, r"takes whole numbers"),
    ("UINT8", {"std": [1, 1, 2]}, r"takes whole numbers"),
    ("UINT8", {"std": [1, 1, 0.5]}, r"takes u8, 0 to 255, but .* make 0 to 510"),
    ("UINT8", {"mean": [1, 0, 0]}, r"takes u8, 0 to 255, but .* make -1 to 255"),
    ("INT8", {}, r"takes i8, -128 to 127, but .* make 0 to 255"),
    ("INT64", {"scale": 1, "std": [0.5, 0.5, 0.5]}, r"takes whole numbers \(i64\)"),
    ("FLOAT16", {"std": [1e-3, 1, 1]}, r"takes f16, -65504 to 65504, but .* make 0 to 255000"),
    ("BOOL", {}, r"takes boolean; expected one of f64, f32, f16, u8, i8,"),
])  # fmt: skip
def test_an_input_that_cannot_hold_it(tmp_path, takes, keys, message):
    with pytest.raises(InputError, match=rf"net.onnx: its input {message}"):
        load(describe(typed(tmp_path / "net.onnx", takes), **keys))


@pytest.mark.parametrize("gives", ["UINT8", "INT8", "INT32"])
def test_a_feature_of_whole_numbers(tmp_path, gives):
    with pytest.raises(InputError, match=r"net.onnx: output 'feature' holds [ui]\d+: whole numbers"):
        load(describe(typed(tmp_path / "net.onnx", gives=gives)))


def test_a_feature_in_half_precision(tmp_path):
    model = load(describe(typed(tmp_path / "net.onnx", gives="FLOAT16")))
    found = model.embed([IMAGE])
    assert found.dtype == np.float32
    np.testing.assert_allclose(found[0], IMAGE.mean((0, 1)), rtol=1e-3)


@pytest.mark.parametrize(("shape", "message"), [
    ((1, 4, 2, 3), r"\[1,4,2,3\]: its channels come last: channels: last"),
    (("N", 2, 4, 3), r"\[\?,2,4,3\]: its channels come last"),
    (("N", 3, 2, 4), r"\[\?,3,2,4\]: see height, width and channels"),
    (("N", 1, 4, 2), r"\[\?,1,4,2\]: "),
    (("N", 3, 4, 2, 1), r"\[\?,3,4,2,1\]: "),
])  # fmt: skip
def test_an_input_of_another_shape(tmp_path, shape, message):
    file = typed(tmp_path / "net.onnx", shape=shape)
    with pytest.raises(InputError, match=rf"net.onnx: does not take \[1, 3, 4, 2\], its input is {message}"):
        load(describe(file))


def batch_of_three(path):
    """A network that takes three images at a time and no other number; the feature is the mean of the channels."""
    nodes = [("GlobalAveragePool", ["image"], "pooled", {}), ("Reshape", ["pooled", "shape"], "feature", {})]
    return save_onnx(path, nodes, {"feature": (3, 3)}, {"shape": np.array([3, -1])}, (3, 3, 4, 2))


@pytest.mark.parametrize("count", [1, 2, 3, 4, 7])
def test_a_batch_that_the_network_was_made_for(tmp_path, count):
    model = load(describe(batch_of_three(tmp_path / "net.onnx")))
    images = np.random.default_rng(count).integers(0, 256, (count, 4, 2, 3), np.uint8)
    np.testing.assert_allclose(model.embed(list(images)), images.mean(axis=(1, 2)), rtol=1e-5)
    assert model.embed([]).shape == (0, 3)


def test_an_output_that_mixes_its_batch(tmp_path):
    nodes = [("GlobalAveragePool", ["image"], "pooled", {}), ("Reshape", ["pooled", "shape"], "feature", {})]
    file = save_onnx(tmp_path / "net.onnx", nodes, {"feature": (1, 9)}, {"shape": np.array([1, 9])}, (3, 3, 4, 2))
    with pytest.raises(InputError, match=r"output 'feature' is \(1, 9\), expected a feature, \(N, D\)"):
        load(describe(file))


@pytest.fixture
def samples(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    rng = np.random.default_rng(5)
    paths = [folder / f"{number:02d}.png" for number in range(11)]
    for number, path in enumerate(paths):
        Image.fromarray(rng.integers(0, 256, (6 + number, 3 + number, 3), np.uint8)).save(path)
    return read_unlabelled(folder)


@pytest.mark.parametrize("fixed", [False, True])
def test_files_are_read_by_any_number_of_workers(file, tmp_path, samples, fixed):
    name = describe(batch_of_three(tmp_path / "three.onnx") if fixed else file, **({} if fixed else {"output": "flat"}))
    expected = load(name).embed([read_image(path) for path in samples.paths])
    assert len(expected) == 11
    for workers, size in ((0, 128), (0, 4), (2, 4)):
        model = load(name, [f"data.workers={workers}", f"evaluation.batch_size={size}"])
        assert np.array_equal(model.extract(samples, progress=False), expected)


def test_a_file_that_cannot_be_read_ends_it_and_the_network_goes_on(file, samples):
    model = load(describe(file, output="flat"), ["data.workers=0", "evaluation.batch_size=2"])
    expected = model.embed([IMAGE] * 9)
    for _ in range(10):  # more often than there are requests, which a failure must not keep
        broken = dataclasses.replace(samples, names=(*samples.names[:6], "gone.png", *samples.names[7:]))
        with pytest.raises(InputError, match="gone.png"):
            model.extract(broken, progress=False)
    assert np.array_equal(model.embed([IMAGE] * 9), expected)


def test_channels_last(tmp_path):
    nodes = [("Transpose", ["image"], "first", {"perm": [0, 3, 1, 2]}), ("GlobalAveragePool", ["first"], "pooled", {}),
             ("Flatten", ["pooled"], "flat", {})]  # fmt: skip
    file = save_onnx(tmp_path / "net.onnx", nodes, {"flat": (None, 3)}, {}, ("N", 4, 2, 3))
    model = load(describe(file, channels="last", colour="bgr", scale=1, mean=[0.5, 0.25, 0.0]))
    expected = IMAGE[..., ::-1].mean((0, 1)) / 255 - [0.5, 0.25, 0.0]
    np.testing.assert_allclose(model.embed([IMAGE])[0], expected, rtol=1e-5, atol=1e-6)
    assert json.loads(model.origin.preprocessing)["channels"] == "last"
    with pytest.raises(InputError, match=r"does not take \[1, 3, 4, 2\], its input is \[\?,4,2,3\]: .*channels: last"):
        load(describe(file))


def test_galleries_made_before_there_was_a_batch_know_their_network(file):
    describe(file, output="flat")
    assert json.loads(load(file).origin.preprocessing) == {
        "height": 4, "width": 2, "colour": "rgb", "scale": 255, "mean": [0.0, 0.0, 0.0], "std": [1.0, 1.0, 1.0],
        "resize": "bilinear", "output": "flat", "precision": "float32",
    }  # fmt: skip


def test_weights_in_other_files_that_are_gone(file, tmp_path):
    name = "w" * 150 + ".weights"
    onnx.save(onnx.load(file), tmp_path / "out.onnx", save_as_external_data=True, location=name, size_threshold=0)
    before = digest(tmp_path / "out.onnx")
    describe(tmp_path / "out.onnx", output="flat")
    np.testing.assert_allclose(load(tmp_path / "out.onnx").embed([IMAGE])[0], WEIGHTS @ IMAGE.mean((0, 1)), rtol=1e-5)
    weights = tmp_path / name
    weights.write_bytes(weights.read_bytes()[::-1])
    assert digest(tmp_path / "out.onnx") != before
    weights.unlink()
    with pytest.raises(InputError, match=r"out.onnx: not a readable network: .*w.weights"):
        load(tmp_path / "out.onnx")


def test_two_inputs_one_number_or_no_network(file, tmp_path):
    two = save_onnx(
        tmp_path / "two.onnx", [("Add", ["image", "b"], "sum", {})], {"sum": ("N", 3, 4, 2)}, {}, inputs=("image", "b")
    )
    with pytest.raises(InputError, match="two.onnx: has 2 inputs, expected one"):
        load(describe(two))
    one = mean_colours(tmp_path / "one.onnx", WEIGHTS[:1])
    with pytest.raises(InputError, match=r"one.onnx: output 'flat' is \(1, 1\), expected a feature"):
        load(describe(one, output="flat"))
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(InputError, match="net.onnx: not a readable network: "):
        load(describe(file))
    broken = tmp_path / "broken.xml"
    broken.write_text("<net")
    with pytest.raises(InputError, match="broken.xml: not a readable network: "):
        load(describe(broken))


def test_no_description_another_file_s_or_no_such_name(file, tmp_path):
    with pytest.raises(InputError, match=r"needs .*net.yaml beside it, which says how to feed it"):
        load(file)
    other = mean_colours(tmp_path / "other.onnx", WEIGHTS)
    describe(file).rename(other.with_suffix(".yaml"))
    with pytest.raises(InputError, match=r"other.yaml: file: 'net.onnx' is not .*other.onnx"):
        load(other)
    with pytest.raises(
        InputError, match=r"nothing: no such folder or file; --model takes a run's folder, .*parquet\)$"
    ):
        load(tmp_path / "nothing")
    with pytest.raises(InputError, match="no such folder or file; did you mean 'person-reidentification-retail-0265'?"):
        load("person-reidentification-retail-265")
    with pytest.raises(InputError, match="is no path"):
        load("x" * 5000)


def test_without_openvino_the_extra_is_named(file, monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    description, path = read_description(str(describe(file)), Description)
    with pytest.raises(InputError, match=r"pip install 'reid-gap\[openvino\]'"):
        Graph(description, path, None)
    with pytest.raises(InputError, match=r"reid-gap\[openvino\]"):
        load(file)


DROPPED = """
import os, signal, sys, threading
from pathlib import Path
from reid.networks.description import Description
from reid.networks.graphs import Graph

signal.signal(signal.SIGTERM, lambda number, frame: print("handled", flush=True))
file, how = Path(sys.argv[1]), sys.argv[2]
description = Description(file=file.name, height=4, width=2, colour="rgb", scale=255, output="flat")
networks = [Graph(description, file, 1) for _ in range(2)]
if how == "one after the other":
    del networks[0], networks[0]
else:
    thread = threading.Thread(target=networks.clear)
    thread.start()
    thread.join()
os.kill(os.getpid(), signal.SIGTERM)
print("going on")
"""


@pytest.mark.parametrize("how", ["one after the other", "in another thread"])
def test_a_signal_is_answered_after_networks_have_gone(file, how):
    """OpenVINO's plugin moves the stack for signals; a second core, or one that ends in another thread, leaves it in
    freed memory. faulthandler, as any debugger's help, gives the process such a stack to begin with."""
    command = [sys.executable, "-X", "faulthandler", "-c", DROPPED, str(file), how]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path))}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert (done.returncode, done.stdout) == (0, "handled\ngoing on\n"), done.stderr
