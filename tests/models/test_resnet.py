import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from reid.errors import InputError
from reid.models.resnet import IBN, RESNETS, ResNet

DATA = Path(__file__).parents[1] / "data"
LAYOUTS = json.loads((DATA / "backbone_layouts.json").read_text())
FEATURES = np.load(DATA / "backbone_features.npz")


def by_formula(name: str) -> ResNet:
    """The backbone in float64 with the weights that tests/data/README.md describes."""
    with torch.device("meta"):
        net = RESNETS[name]()
    net = net.to_empty(device="cpu").double().eval()
    for k, (key, tensor) in enumerate(net.state_dict().items()):
        s = torch.sin(0.37 * torch.arange(tensor.numel(), dtype=torch.float64) + 1.3 * k).view(tensor.shape)
        if key.endswith("running_var"):
            tensor.copy_(1 + 0.5 * s)
        elif key.endswith("running_mean"):
            tensor.copy_(0.1 * s)
        elif tensor.ndim >= 2:
            tensor.copy_(s * math.sqrt(4 / tensor[0].numel()))
        elif key.endswith("weight"):
            tensor.copy_(1 + 0.1 * s)
        elif key.endswith("bias"):
            tensor.copy_(0.1 * s)
    return net


def images(n: int = 2, height: int = 64, width: int = 32) -> Tensor:
    return torch.randn(n, 3, height, width, generator=torch.Generator().manual_seed(0))


def test_backbones_are_the_published_ones() -> None:
    own = {"resnet18_ibn_b3", "resnet50_ibn_b3"}
    assert sorted(RESNETS) == sorted({*LAYOUTS, *own})


@pytest.mark.parametrize("name", sorted(LAYOUTS))
def test_names_order_and_shapes_are_the_published_ones(name: str) -> None:
    with torch.device("meta"):
        net = RESNETS[name]()
    assert [(key, list(value.shape)) for key, value in net.state_dict().items()] == list(LAYOUTS[name].items())


@pytest.mark.parametrize("name", sorted({key.split("/")[0] for key in FEATURES}))
def test_stages_equal_the_published_ones(name: str) -> None:
    i = torch.arange(2 * 3 * 64 * 32, dtype=torch.float64)
    x = (torch.sin(0.013 * i) + 0.5 * torch.cos(0.0071 * i)).view(2, 3, 64, 32)
    with torch.no_grad():
        stages = by_formula(name).stages(x)
    for number, stage in enumerate(stages, start=1):
        expected = torch.from_numpy(FEATURES[f"{name}/layer{number}"])
        torch.testing.assert_close(stage.mean(dim=(2, 3)), expected, rtol=1e-9, atol=1e-9)


def test_without_classifier_forward_gives_the_map() -> None:
    net = RESNETS["resnet18"](num_classes=None, width=0.5).eval()
    assert not any(key.startswith("fc") for key in net.state_dict())
    with torch.no_grad():
        maps = net(images())
        torch.testing.assert_close(maps, net.stages(images())[-1])
    assert maps.shape == (2, net.channels, 2, 1) == (2, 256, 2, 1)


def test_with_classifier_forward_gives_logits() -> None:
    assert RESNETS["resnet18_ibn_b"](num_classes=7, width=0.25).eval()(images()).shape == (2, 7)


@pytest.mark.parametrize("name", ["resnet18", "resnet50_ibn_a"])
def test_last_stride_1_doubles_the_last_map_and_keeps_the_state_dict(name: str) -> None:
    with torch.device("meta"):
        one, two = RESNETS[name](last_stride=1), RESNETS[name](last_stride=2)
        x = torch.empty(2, 3, 256, 128)
    assert [tuple(stage.shape[2:]) for stage in two.stages(x)] == [(64, 32), (32, 16), (16, 8), (8, 4)]
    assert [tuple(stage.shape[2:]) for stage in one.stages(x)] == [(64, 32), (32, 16), (16, 8), (16, 8)]
    assert {k: v.shape for k, v in one.state_dict().items()} == {k: v.shape for k, v in two.state_dict().items()}


@pytest.mark.parametrize("width", [0.1, 0.5, 1.3])
@pytest.mark.parametrize("name", ["resnet18", "resnet18_ibn_a", "resnet18_ibn_b", "resnet50_ibn_a"])
def test_width_scales_every_stage(name: str, width: float) -> None:
    with torch.device("meta"):
        net = RESNETS[name](width=width, num_classes=None)
        stages = net.stages(torch.empty(2, 3, 64, 32))
    expansion = 4 if "50" in name else 1
    assert [stage.shape[1] for stage in stages] == [expansion * (2 * round(32 * width) << i) for i in range(4)]
    for module in net.modules():
        if isinstance(module, IBN):
            assert module.IN.num_features == module.BN.num_features


def test_instance_norm_makes_an_ibn_b_network_blind_to_contrast() -> None:
    for name, blind in (("resnet18_ibn_b", True), ("resnet18_ibn_a", False), ("resnet18", False)):
        torch.manual_seed(0)
        net = RESNETS[name](num_classes=None, width=0.25).double().eval()
        x = images().double()
        with torch.no_grad():
            same = torch.allclose(net(x), net(2 * x), rtol=1e-3, atol=1e-3)
        assert same == blind, name


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("resnet18", (False, False, False, False)),
        ("resnet18_ibn_a", (False, False, False, False)),
        ("resnet18_ibn_b", (True, True, False, False)),
        ("resnet50_ibn_b", (True, True, False, False)),
        ("resnet50_ibn_b3", (True, True, True, False)),
    ],
)
def test_stages_that_end_in_instance_norm_give_all_images_the_same_mean(name: str, expected: tuple[bool, ...]) -> None:
    torch.manual_seed(0)
    net = RESNETS[name](num_classes=None, width=0.5).double().eval()
    assert net.ends_in_instance_norm == expected
    for place, layer in enumerate((net.layer1, net.layer2, net.layer3, net.layer4)):
        relu, layer[-1].relu = layer[-1].relu, torch.nn.Identity()
        with torch.no_grad():
            means = net.stages(images(3, 128, 64).double())[place].mean(dim=(2, 3))
        assert (means.std(dim=0).max().item() < 1e-6) == expected[place]
        layer[-1].relu = relu


def test_ibn_normalises_the_first_half_by_image_and_the_rest_by_batch() -> None:
    layer, x = IBN(6), torch.randn(4, 6, 5, 3, generator=torch.Generator().manual_seed(0))
    out = layer(x)
    torch.testing.assert_close(out[:, :3].mean(dim=(2, 3)), torch.zeros(4, 3), atol=1e-6, rtol=0)
    torch.testing.assert_close(out[:, 3:].mean(dim=(0, 2, 3)), torch.zeros(3), atol=1e-6, rtol=0)
    assert out[:, 3:].mean(dim=(2, 3)).abs().max() > 0.01
    layer.eval()
    torch.testing.assert_close(layer(x)[:, :3], out[:, :3])


def test_initialisation_is_the_published_one_and_follows_torchs_seed() -> None:
    torch.manual_seed(3)
    net = RESNETS["resnet18_ibn_a"]()
    torch.manual_seed(3)
    again = RESNETS["resnet18_ibn_a"]()
    for (key, value), other in zip(net.state_dict().items(), again.state_dict().values(), strict=True):
        assert torch.equal(value, other), key
        if key.startswith("fc") or "num_batches" in key:
            continue
        if value.ndim == 4:  # kaiming normal, fan out: standard deviation sqrt(2 / (filters * area))
            assert value.std().item() == pytest.approx(math.sqrt(2 / (len(value) * value[0, 0].numel())), rel=0.05)
        else:
            assert (value == float(key.endswith(("weight", "var")))).all(), key


@pytest.mark.parametrize("name", ["resnet18_ibn_a", "resnet18_ibn_b", "resnext50_ibn_a"])
def test_every_parameter_gets_a_gradient(name: str) -> None:
    net = RESNETS[name](num_classes=3, width=0.25 if "18" in name else 0.5)
    net(images(4)).square().sum().backward()
    for key, parameter in net.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), key


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"last_stride": 3}, "last_stride 3"),
        ({"width": 0}, "width 0"),
        ({"width": -1.0}, "width -1.0"),
        ({"width": math.nan}, "width nan"),
        ({"width": math.inf}, "width inf"),
        ({"width": 0.01}, "width 0.01"),
        ({"width": 0.1, "groups": 32, "width_per_group": 4, "bottleneck": True}, "width 0.1"),
        ({"ibn": ("a", "c", None, None)}, "'c'"),
        ({"ibn": ("a",)}, r"\('a',\)"),
    ],
)
def test_bad_arguments_are_named(arguments: dict[str, object], named: str) -> None:
    with pytest.raises(InputError, match=named):
        ResNet((1, 1, 1, 1), **arguments)  # type: ignore[arg-type]
