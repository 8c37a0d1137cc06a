from pathlib import Path

import pytest
import torch
from peers_formula import FEATURES, LAYOUTS, error, images, state
from torch import nn

from reid.config import load_config
from reid.engine.checkpoint import FILE, read_progress
from reid.engine.train import train
from reid.errors import InputError
from reid.models import BACKBONES, OSNet
from reid.models.backbone import MixStyle
from reid.models.osnet import OSNETS, Gate
from reid.models.weights import check_weights, load_weights

GOLDEN = sorted({key.split("/")[1] for key in FEATURES if key.startswith("torchreid/osnet")})


def net(name: str, seed: int = 0, **arguments: object) -> OSNet:
    torch.manual_seed(seed)
    return OSNETS[name](**{"num_classes": None, **arguments})


def test_the_published_ones_are_backbones() -> None:
    assert {f"torchreid/{name}" for name in OSNETS} == {name for name in LAYOUTS if name.startswith("torchreid/osnet")}
    assert OSNETS.items() <= BACKBONES.items()


@pytest.mark.parametrize("name", sorted(OSNETS))
def test_names_order_and_shapes_are_the_published_ones(name: str) -> None:
    with torch.device("meta"):
        built = OSNETS[name](num_classes=10)
    assert [(key, list(value.shape)) for key, value in built.state_dict().items()] == list(
        LAYOUTS[f"torchreid/{name}"].items()
    )


@pytest.mark.parametrize("name", GOLDEN)
def test_the_pooled_map_is_the_published_one(name: str) -> None:
    backbone = net(name).double().eval()
    weights = state(f"torchreid/{name}")
    backbone.load_state_dict({key: value for key, value in weights.items() if key in backbone.state_dict()})
    x = images(f"torchreid/{name}")
    with torch.no_grad():
        assert error(backbone.pooled(x), f"torchreid/{name}/conv5") < 1e-9
        maps = backbone.stages(x)
    assert [tuple(stage.shape[2:]) for stage in maps] == [(32, 16), (16, 8), (16, 8), (16, 8)]
    assert maps[-1].shape[1] == backbone.channels


@pytest.mark.parametrize("name", ["osnet_x0_25", "osnet_ibn_x1_0", "osnet_ain_x0_25"])
def test_instance_norms_of_the_stem_forget_the_brightness(name: str) -> None:
    """An image three times as bright, around the mean, gives the same map where the stem's norm is of the instance."""
    backbone = net(name, width=0.25 if name == "osnet_ibn_x1_0" else 1.0).eval()
    x = torch.randn(2, 3, 64, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        dim, bright = backbone.features(x), backbone.features(3 * x)
    same = torch.allclose(dim, bright, rtol=1e-2, atol=1e-3 * float(dim.abs().max()))
    assert same == (name != "osnet_x0_25")


def test_the_gate_against_loops() -> None:
    torch.manual_seed(0)
    gate, x = Gate(32), torch.randn(2, 32, 4, 3)
    first, second = (layer.weight.flatten(1) for layer in (gate.fc1, gate.fc2))
    assert first.shape == (2, 32)
    for image in range(2):
        means = torch.stack([x[image, channel].mean() for channel in range(32)])
        hidden = torch.clamp(first @ means + gate.fc1.bias, min=0)
        weights = 1 / (1 + torch.exp(-(second @ hidden + gate.fc2.bias)))
        for channel in range(32):
            torch.testing.assert_close(gate(x)[image, channel], x[image, channel] * weights[channel])


@pytest.mark.parametrize(
    ("width", "channels", "stem"), [(1.0, 128, 16), (0.5, 64, 8), (0.125, 16, 2), (4.0, 512, 64), (3.0, 384, 48)]
)
def test_width_scales_channels(width: float, channels: int, stem: int) -> None:
    backbone = net("osnet_x0_25", width=width).eval()
    assert backbone.channels == channels and backbone.conv1.conv.out_channels == stem and backbone.width == width
    assert backbone(torch.zeros(1, 3, 64, 32)).shape == (1, channels, 4, 2)


def test_a_wider_quarter_is_the_published_whole() -> None:
    with torch.device("meta"):
        wide, whole = (OSNETS[name](num_classes=3, width=w) for name, w in (("osnet_x0_25", 4.0), ("osnet_x1_0", 1.0)))
    assert [value.shape for value in wide.state_dict().values()] == [v.shape for v in whole.state_dict().values()]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"last_stride": 2}, "last_stride 2: OSNet's last stage has no stride to change; choices: 1"),
        ({"width": 0.0}, "width 0.0"),
        ({"width": 0.01}, "width 0.01"),
        ({"width": 17.0}, "width 17.0"),
        ({"width": float("nan")}, "width nan"),
    ],
)
def test_what_cannot_be_built_is_named(arguments: dict[str, float], named: str) -> None:
    with pytest.raises(InputError, match=named):
        net("osnet_x0_25", **arguments)


def test_mixstyle_stands_after_the_first_two_stages_and_acts_in_training_alone() -> None:
    plain, mixed = (net("osnet_x0_25", mixstyle=p).eval() for p in (0.0, 1.0))
    x = torch.randn(4, 3, 64, 32, generator=torch.Generator().manual_seed(0))
    assert torch.equal(plain(x), mixed(x))
    calls: list[torch.Size] = []
    mixed.mixstyle.register_forward_hook(lambda _, arguments, __: calls.append(arguments[0].shape))
    mixed.train()(x)
    assert calls == [(4, 64, 8, 4), (4, 96, 4, 2)] and isinstance(mixed.mixstyle, MixStyle)
    assert not torch.allclose(plain.train()(x), mixed(x))


@pytest.mark.parametrize("name", ["osnet_x0_25", "osnet_ibn_x1_0", "osnet_ain_x0_25"])
def test_every_weight_is_learnt(name: str) -> None:
    backbone = net(name, width=0.25 if name == "osnet_ibn_x1_0" else 1.0, num_classes=5).train()
    logits = backbone(torch.randn(4, 3, 64, 32, generator=torch.Generator().manual_seed(0)))
    assert logits.shape == (4, 5)
    nn.functional.cross_entropy(logits, torch.arange(4)).backward()
    still = [key for key, weight in backbone.named_parameters() if weight.grad is None or not weight.grad.abs().sum()]
    assert all("gate.fc" in key for key in still)  # with one hidden unit, a gate's ReLU can be shut for every image


@pytest.mark.parametrize("file", ["osnet_x0_25_imagenet.pth", "osnet.pyth", "model.pth.tar", "model.pth.tar-60"])
@pytest.mark.parametrize("wrapped", [False, True])
def test_a_file_of_torchreid_fills_the_backbone(tmp_path: Path, file: str, wrapped: bool) -> None:
    published = net("osnet_ain_x0_25", num_classes=7)
    weights = published.state_dict()
    if wrapped:
        prefixed = {f"module.{key}": value for key, value in weights.items()}
        torch.save({"state_dict": prefixed, "epoch": 3, "rank1": FEATURES["torchreid/osnet_x0_25/conv1"][0, 0]},
                   tmp_path / file)  # fmt: skip
    else:
        torch.save(weights, tmp_path / file)
    check_weights("osnet_ain_x0_25", 1.0, str(tmp_path / file))
    backbone = net("osnet_ain_x0_25", seed=1)
    report = load_weights(backbone, "osnet_ain_x0_25", str(tmp_path / file))
    assert {key.split(".")[0] for key in report.unused} == {"fc", "classifier"} and not report.missing
    assert all(torch.equal(value, weights[key]) for key, value in backbone.state_dict().items())


@pytest.mark.parametrize(
    ("held", "wanted", "named"),
    [
        ("osnet_x0_25", "osnet_ain_x0_25", "conv2.0.conv2.0.layers.0.conv1.weight is missing"),
        ("osnet_ain_x0_25", "osnet_x0_25", "conv1.bn.running_mean is missing"),
        ("osnet_x0_5", "osnet_x0_25", r"conv1.conv.weight is \(32, 3, 7, 7\), the backbone's is \(16, 3, 7, 7\)"),
    ],
)
def test_another_osnets_file_is_refused(tmp_path: Path, held: str, wanted: str, named: str) -> None:
    torch.save(net(held).state_dict(), tmp_path / "w.pth")
    with pytest.raises(InputError, match=named):
        load_weights(net(wanted), wanted, str(tmp_path / "w.pth"))


def test_imagenet_names_the_way_to_get_the_file() -> None:
    with pytest.raises(InputError, match="none published for 'osnet_x1_0'.*a file's path .torchreid's model zoo"):
        check_weights("osnet_x1_0", 1.0, "imagenet")


@pytest.mark.parametrize("name", ["osnet_x0_25", "osnet_ain_x0_25", "osnet_ibn_x1_0"])
def test_it_is_trained_like_any_backbone(tiny, name: str) -> None:
    width = 0.25 if name == "osnet_ibn_x1_0" else 1.0
    settings = [f"model.backbone={name}", f"model.width={width}", "data.height=64", "data.width=32", "optim.steps=3"]
    folder = train(load_config("market_bn.yaml", [*tiny, *settings]), progress=False)
    assert read_progress(folder / FILE).finished


def test_a_stride_that_it_has_not_is_refused_before_training(tiny) -> None:
    settings = [*tiny, "model.backbone=osnet_x0_25", "model.last_stride=2"]
    with pytest.raises(InputError, match="last_stride 2"):
        train(load_config("market_bn.yaml", settings), progress=False)
