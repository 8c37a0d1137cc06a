import numpy as np
import pytest
import torch
from runs import features_of, inputs_of

from reid.config import load_resolved
from reid.data.images import read_image
from reid.engine import build
from reid.errors import InputError
from reid.networks.trained import load_network


def test_features_are_the_network_of_each_image_alone(trained):
    config, folder = trained
    network = load_network(config, folder)
    query = build.roots(config).dataset("market1501", ["query", "gallery"]).splits["query"]
    features = features_of(network, query, config, "test")
    assert features.features.shape == (len(query), network.channels) and features.features.dtype == np.float32
    assert features.paths == query.names and features.origin == "test"
    transform = build.test_transform(config)
    for row in (0, len(query) - 1):
        image = inputs_of(transform, [read_image(query.paths[row])])
        with torch.inference_mode():
            np.testing.assert_allclose(network(image)[0].numpy(), features.features[row], rtol=1e-4, atol=1e-5)


def test_before_the_neck_is_an_option(trained):
    config, folder = trained
    assert load_network(config, folder).neck_feature == "after"
    changed = load_resolved(folder / "config.yaml", ["model.neck_feature=before"])
    assert load_network(changed, folder).neck_feature == "before"


def test_flip_averages_an_image_and_its_mirror_image(trained):
    config, folder = trained
    network = load_network(config, folder)
    query = build.roots(config).dataset("market1501", ["query", "gallery"]).splits["query"]
    flipped = load_resolved(folder / "config.yaml", ["evaluation.flip=true"])
    averaged = features_of(network, query, flipped, "test").features
    transform = build.test_transform(config)
    images = inputs_of(transform, [read_image(path) for path in query.paths])
    with torch.inference_mode():
        both = [network(side).numpy() for side in (images, images.flip(3))]
    np.testing.assert_allclose(averaged, (both[0] + both[1]) / 2, rtol=1e-4, atol=1e-5)


def test_a_config_edited_after_training_is_refused(trained):
    _config, folder = trained
    text = (folder / "config.yaml").read_text()
    (folder / "config.yaml").write_text(text.replace("standardise: false", "standardise: true"))
    with pytest.raises(InputError, match="its config changed after training"):
        load_network(load_resolved(folder / "config.yaml"), folder)


def test_no_run_or_an_unfinished_one(tiny_config, tmp_path):
    with pytest.raises(InputError, match=r"holds no checkpoint.safetensors; train it first"):
        load_network(tiny_config, tmp_path / "nothing")
