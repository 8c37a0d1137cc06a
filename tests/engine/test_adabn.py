from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from runs import inputs_of
from torch import nn
from trees import write_image

from reid.config import load_config
from reid.data.images import read_image
from reid.data.unlabelled import read_unlabelled
from reid.engine import build
from reid.engine.adabn import adapt, shuffled_draws
from reid.errors import InputError

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Ten images of nobody in particular."""
    folder = tmp_path_factory.mktemp("site")
    for number in range(10):
        write_image(folder / f"{number}.png", number // 2, number % 2, number, (32, 16))
    return read_unlabelled(folder)


def configured(tiny, *more):
    return load_config("market_bn.yaml", [*tiny, "precision=float32", *more])


def embedder(config):
    torch.manual_seed(0)
    return build.embedder(config, num_classes=3).eval()


def all_images(site, config):
    return inputs_of(build.test_transform(config), [read_image(path) for path in site.paths])


@pytest.mark.parametrize(
    ("backbone", "neck"), [("resnet18", "after"), ("resnet18_ibn_a", "before"), ("resnet18_ibn_b", "before")]
)
def test_one_batch_gives_every_layer_the_mean_and_variance_of_its_inputs(tiny, site, backbone, neck):
    config = configured(tiny, f"model.backbone={backbone}", f"model.neck_feature={neck}")
    network, reference = embedder(config), embedder(config)
    norms = {name: module for name, module in network.named_modules() if isinstance(module, BATCH_NORMS)}
    assert adapt(build.extractor(config, network), site, config.seed, progress=False) == len(norms) and "neck" in norms

    inputs = {}
    for name, module in reference.named_modules():
        if isinstance(module, BATCH_NORMS):
            module.train().register_forward_hook(lambda _, args, __, name=name: inputs.update({name: args[0]}))
    reference.neck_feature = "after"
    with torch.no_grad():
        reference(all_images(site, config))
    for name, module in norms.items():
        axes = [axis for axis in range(inputs[name].ndim) if axis != 1]
        values = inputs[name].double()
        torch.testing.assert_close(module.running_mean.double(), values.mean(axes), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(module.running_var.double(), values.var(axes, correction=1), rtol=1e-3, atol=1e-6)


def test_several_batches_give_the_first_layer_the_mean_over_all_positions(tiny, site):
    config = configured(tiny, "model.backbone=resnet18", "evaluation.batch_size=4")  # batches of 4, 3 and 3
    network = embedder(config)
    adapt(build.extractor(config, network), site, config.seed, progress=False)
    with torch.no_grad():
        values = network.backbone.conv1(all_images(site, config)).double()
    order = [[draw.row for draw in draws] for draws in shuffled_draws(10, 4, config.seed)]
    assert sorted(map(len, order)) == [3, 3, 4]
    means = torch.stack([values[rows].mean((0, 2, 3)) for rows in order]).mean(0)
    variances = torch.stack([values[rows].var((0, 2, 3), correction=1) for rows in order]).mean(0)
    norm = network.backbone.bn1
    torch.testing.assert_close(norm.running_mean.double(), means, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(norm.running_var.double(), variances, rtol=1e-4, atol=1e-6)
    equal = configured(tiny, "model.backbone=resnet18", "evaluation.batch_size=5")  # equal batches: exactly the mean
    adapt(build.extractor(equal, network), site, equal.seed, progress=False)
    torch.testing.assert_close(norm.running_mean.double(), values.mean((0, 2, 3)), rtol=1e-4, atol=1e-6)
    assert norm.num_batches_tracked == 2


def test_only_statistics_of_batch_norms_change(tiny, site):
    config = configured(tiny, "model.backbone=resnet18_ibn_b", "model.neck_feature=before")
    network = embedder(config)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    momenta = [module.momentum for module in network.modules() if isinstance(module, BATCH_NORMS)]
    adapt(build.extractor(config, network), site, config.seed, progress=False)
    after = network.state_dict()
    statistics = ("running_mean", "running_var", "num_batches_tracked")
    changed = {name for name, value in before.items() if not torch.equal(value, after[name])}
    assert changed == {name for name in before if name.endswith(statistics)}
    assert not any(module.training for module in network.modules()) and network.neck_feature == "before"
    assert momenta == [module.momentum for module in network.modules() if isinstance(module, BATCH_NORMS)]
    assert all(value.requires_grad or name == "neck.bias" for name, value in network.named_parameters())


def test_the_same_images_give_the_same_network_whatever_it_was_before(tiny, site):
    config = configured(tiny, "evaluation.batch_size=3")
    first, second = embedder(config), embedder(config)
    adapt(build.extractor(config, first), site, config.seed, progress=False)
    for _ in range(2):
        adapt(build.extractor(config, second), site, config.seed, progress=False)
    for name, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[name]), name


def test_one_image_or_a_bad_one_leaves_the_network_as_it_was(tiny, tmp_path):
    config = configured(tiny, "evaluation.batch_size=2")
    network = embedder(config)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    write_image(tmp_path / "1.png", 1, 1, size=(32, 16))
    with pytest.raises(InputError, match="1 image; statistics of a batch need two"):
        adapt(build.extractor(config, network), read_unlabelled(tmp_path), config.seed, progress=False)
    for number in range(2, 7):
        write_image(tmp_path / f"{number}.png", number, 1, size=(32, 16))
    last = shuffled_draws(6, 2, config.seed)[-1][-1].row
    bad: Path = read_unlabelled(tmp_path).paths[last]
    bad.write_bytes(b"\xff" * 100)
    with pytest.raises(InputError, match=f"{bad.name}: not a readable image"):
        adapt(build.extractor(config, network), read_unlabelled(tmp_path), config.seed, progress=False)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert not any(module.training for module in network.modules())


@given(st.integers(2, 300), st.integers(1, 80), st.integers(0, 3))
def test_draws_are_all_images_once_in_nearly_equal_batches(count, size, seed):
    draws = shuffled_draws(count, size, seed)
    lengths = [len(batch) for batch in draws]
    assert sorted(draw.row for batch in draws for draw in batch) == list(range(count))
    assert min(lengths) >= 2 and max(lengths) - min(lengths) <= 1 and max(lengths) <= max(size, 2) + 1
    assert draws == shuffled_draws(count, size, seed)


def test_draws_are_in_no_order_and_of_fewer_than_two_images_there_are_none():
    rows = [draw.row for batch in shuffled_draws(100, 10, 0) for draw in batch]
    assert rows != sorted(rows) and rows != [draw.row for batch in shuffled_draws(100, 10, 1) for draw in batch]
    assert shuffled_draws(0, 4, 0) == shuffled_draws(1, 4, 0) == []
