"""Models: a run's features are those that evaluate writes, a public network's those of its own runtime."""

import hashlib
import json
import os
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from conftest import ROOT
from runs import features_of

from reid.data.images import read_image
from reid.engine import build
from reid.engine.extract import Placement
from reid.errors import InputError
from reid.networks import load
from reid.networks.trained import load_network, preprocessing

SHARED = Path(os.environ.get("REID_SHARED", ROOT.parent / "shared"))
MODELS = SHARED / "models" / "openvino"
NAME = "person-reidentification-retail-0265"


def _change(folder, old, new):
    path = folder / "config.yaml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


@pytest.mark.parametrize("flip", [False, True])
def test_a_run_gives_the_features_that_evaluate_writes(trained, flip):
    config, folder = trained
    if flip:
        _change(folder, "  distance: cosine\n  flip: false", "  distance: cosine\n  flip: true")
        config = config.model_copy(update={"evaluation": config.evaluation.model_copy(update={"flip": True})})
    samples = build.roots(config).dataset("market1501", ["query", "gallery"]).splits["gallery"]
    expected = features_of(load_network(config, folder), samples, config, "test").features
    model = load(folder, ["threads=1"])
    found = model.embed([read_image(path) for path in samples.paths])
    assert found.dtype == np.float32 and model.origin.width == found.shape[1]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)
    assert model.embed([]).shape == (0, model.origin.width)


def test_batches_leave_no_trace_and_threads_do_not_meet(trained):
    _config, folder = trained
    images = list(np.random.default_rng(0).integers(0, 256, (11, 40, 20, 3), np.uint8))
    whole = load(folder).embed(images)
    _change(folder, "batch_size: 128", "batch_size: 3")
    model = load(folder)
    found = [None] * 6

    def work(place):
        found[place] = model.embed(images)

    threads = [threading.Thread(target=work, args=(place,)) for place in range(len(found))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for own in found:
        np.testing.assert_allclose(own, whole, rtol=1e-4, atol=1e-5)


def test_the_origin_of_a_run(trained):
    _config, folder = trained
    first = load(folder).origin
    assert first.name == folder.name
    assert first.network == hashlib.sha256((folder / "checkpoint.safetensors").read_bytes()).hexdigest()
    assert json.loads(first.preprocessing) == {
        "colour": "rgb", "height": 32, "width": 16, "resize": "bilinear", "normalisation": "ImageNet",
        "flip": False, "neck_feature": "after", "precision": "float32",
    }  # fmt: skip
    _change(folder, "neck_feature: after", "neck_feature: before")
    other = load(folder).origin
    assert other.network == first.network and other.fingerprint != first.fingerprint
    with pytest.raises(InputError, match="other preprocessing"):
        first.check(other, "gallery")


def test_features_of_each_precision_are_told_apart(trained, monkeypatch):
    config, _ = trained
    cpu = torch.device("cpu")
    placements = {
        "float32": Placement(cpu),
        "tf32": Placement(cpu, tf32=True),
        "bfloat16": Placement(cpu, torch.bfloat16),
        "fp16": Placement(cpu, torch.float16),
    }
    for name, on in placements.items():
        monkeypatch.setattr(build, "placement", lambda config, on=on: on)
        assert json.loads(preprocessing(config))["precision"] == name


def test_no_run_or_an_unfinished_one(tmp_path, trained):
    with pytest.raises(InputError, match=r"is not a run's folder: it holds no config.yaml"):
        load(tmp_path)
    _config, folder = trained
    (folder / "checkpoint.safetensors").unlink()
    with pytest.raises(InputError, match="holds no checkpoint.safetensors; train it first"):
        load(folder)


@pytest.mark.skipif(not MODELS.exists(), reason="the foreign networks are not beside the checkout")
def test_a_public_network_by_its_bare_name(monkeypatch):
    openvino = pytest.importorskip("openvino", reason="openvino is not installed (pip install -e '.[dev]')")
    monkeypatch.setenv("REID_MODELS", str(MODELS))
    model = load(Path(NAME), ["threads=1"])
    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
    network = openvino.Core().compile_model(MODELS / f"{NAME}.xml", "CPU", settings)
    images = np.random.default_rng(0).integers(0, 256, (3, 300, 100, 3), np.uint8)
    for image, feature in zip(images, model.embed(list(images)), strict=True):
        resized = cv2.resize(cv2.cvtColor(image, cv2.COLOR_RGB2BGR), (128, 256), interpolation=cv2.INTER_LINEAR)
        expected = network(resized.transpose(2, 0, 1)[None].astype(np.float32))[0][0]
        np.testing.assert_allclose(feature, expected, rtol=1e-5, atol=1e-6)
    parts = b"".join(hashlib.sha256((MODELS / f"{NAME}{end}").read_bytes()).digest() for end in (".xml", ".bin"))
    assert model.origin.network == hashlib.sha256(parts).hexdigest()
    assert (model.origin.name, model.origin.width) == (NAME, 256)
