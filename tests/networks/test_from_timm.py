"""Networks of timm behind the one door, on the smallest that timm has."""

import json
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

timm = pytest.importorskip("timm")

from reid.data.samples import Samples  # noqa: E402
from reid.errors import InputError  # noqa: E402
from reid.networks import default_testing, load  # noqa: E402
from reid.networks.from_timm import open_timm, parse_name  # noqa: E402


@pytest.fixture(scope="module")
def testing():
    return default_testing(["device=cpu", "precision=float32", "threads=1", "data.workers=0"])


@pytest.fixture
def crops():
    random = np.random.default_rng(0)
    return [random.integers(0, 256, (height, 30, 3), dtype=np.uint8) for height in (70, 60, 90)]


def by_hand(network, crops, size, mean, std, resize):
    """Resize, normalise and embed one image at a time, as the docstring says."""
    rows = []
    for crop in crops:
        pixels = cv2.resize(crop, (size[1], size[0]), interpolation=resize).astype(np.float64) / 255
        inputs = torch.from_numpy(((pixels - mean) / std).transpose(2, 0, 1)[None].astype(np.float32))
        with torch.no_grad():
            rows.append(network.forward_head(network.forward_features(inputs), pre_logits=True)[0].numpy())
    return np.array(rows)


@pytest.mark.parametrize(
    ("name", "mean", "std", "resize", "arguments"),
    [
        ("test_vit", 0.5, 0.5, cv2.INTER_CUBIC, {"img_size": (64, 32)}),
        ("resnet18.tv_in1k", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), cv2.INTER_LINEAR, {}),
    ],
)
def test_features_are_those_of_timm_itself(testing, crops, name, mean, std, resize, arguments):
    network = open_timm(f"timm:{name}/64x32@none", testing)
    torch.manual_seed(testing.seed)
    reference = timm.create_model(name, num_classes=0, **arguments).eval()
    expected = by_hand(reference, crops, (64, 32), mean, std, resize)
    assert network.origin.width == expected.shape[1]
    np.testing.assert_allclose(network.embed(crops), expected, atol=2e-4, rtol=1e-4)
    flipped = open_timm(f"timm:{name}/64x32@none", replace(testing, flip=True)).embed(crops)
    mirrored = by_hand(reference, [crop[:, ::-1] for crop in crops], (64, 32), mean, std, resize)
    np.testing.assert_allclose(flipped, (expected + mirrored) / 2, atol=2e-4, rtol=1e-4)


def test_a_data_sets_images_are_embedded_as_crops_are(testing, crops, tmp_path):
    for place, crop in enumerate(crops):
        Image.fromarray(crop).save(tmp_path / f"{place}.png")
    numbers = np.ones(3, np.int64)
    samples = Samples(tmp_path, ("0.png", "1.png", "2.png"), numbers, numbers)
    network = open_timm("timm:test_convnext/64x32@none", testing)
    np.testing.assert_allclose(network.extract(samples, progress=False), network.embed(crops), atol=1e-6)
    assert network.embed([]).shape == (0, network.origin.width)


def test_the_origin_tells_weights_sizes_and_settings_apart(testing, tmp_path):
    first = open_timm("timm:test_vit/64x32@none", testing).origin
    assert first == open_timm("timm:test_vit/64x32@none", testing).origin
    assert first.name == "timm-test_vit-64x32-none" and first.width == 64
    assert json.loads(first.preprocessing)["mean"] == [0.5, 0.5, 0.5]
    other_seed = open_timm("timm:test_vit/64x32@none", replace(testing, seed=1)).origin
    assert other_seed.network != first.network and other_seed.preprocessing == first.preprocessing
    flipped = open_timm("timm:test_vit/64x32@none", replace(testing, flip=True)).origin
    assert flipped.network == first.network and flipped.fingerprint != first.fingerprint
    assert open_timm("timm:test_vit/96x32@none", testing).origin.fingerprint != first.fingerprint


def test_a_file_gives_its_weights(testing, crops, tmp_path):
    torch.manual_seed(5)
    whole = timm.create_model("test_vit", num_classes=7, img_size=(64, 32)).eval()
    torch.save({"state_dict": whole.state_dict()}, tmp_path / "mine.pth")
    network = open_timm(f"timm:test_vit/64x32@{tmp_path / 'mine.pth'}", testing)
    assert network.origin.name == "timm-test_vit-64x32-mine"
    whole.reset_classifier(0)
    np.testing.assert_allclose(
        network.embed(crops), by_hand(whole, crops, (64, 32), 0.5, 0.5, cv2.INTER_CUBIC), atol=2e-4, rtol=1e-4
    )
    torch.save(timm.create_model("test_convnext").state_dict(), tmp_path / "other.pth")
    wrong = open_timm(f"timm:test_vit/64x32@{tmp_path / 'other.pth'}", testing)
    with pytest.raises(InputError, match=r"other\.pth: not the weights of timm:test_vit"):
        wrong.embed(crops)


def test_random_weights_leave_the_processs_generator_alone(testing):
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    open_timm("timm:test_convnext/64x32@none", testing)
    assert torch.equal(torch.rand(2), expected)


def test_a_name_in_parts():
    assert parse_name("timm:a.b") == parse_name("timm:a.b/256x128@imagenet")
    with_file = parse_name("timm:a/64x32@/data/x@y/w.pth")
    assert (with_file.size, with_file.weights, str(with_file.file)) == ((64, 32), "/data/x@y/w.pth", "/data/x@y/w.pth")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("timm:", "expected timm:NAME, timm:NAME/HEIGHTxWIDTH"),
        ("timm:test_vit/64@none", "expected timm:NAME"),
        ("timm:test_vit/0x32@none", "expected timm:NAME"),
        ("timm:test_vi@none", "no network 'test_vi'; choices: test_vit"),
        ("timm:test_vit@best", r"weights 'best': choices are none, imagenet, or a path that ends in"),
        ("timm:test_vit@none.pth", r"weights 'none.pth': no such file"),
        ("timm:test_vit/60x32@none", "60 x 32 pixels do not go through it"),
    ],
)
def test_a_wrong_name_is_refused(testing, name, message):
    with pytest.raises(InputError, match=message):
        open_timm(name, testing)


def test_the_door_opens_it_by_name(testing):
    overrides = ["device=cpu", "precision=float32", "data.workers=0", "seed=4"]
    origin = load("timm:test_vit/64x32@none", overrides).origin
    assert origin == open_timm("timm:test_vit/64x32@none", replace(testing, seed=4)).origin
