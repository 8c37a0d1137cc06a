from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import pytest
import torch
from torch import Tensor, nn

from reid.engine.extract import exact_float32
from reid.errors import InputError
from reid.models import BACKBONES, Embedder, TrainOutput
from reid.models.backbone import EPSILON, POOLINGS, GeM, GlobalMax, InstanceNorm, MixStyle, make_pooling
from reid.models.resnet import IBN


def embedder(neck_feature: str = "after", name: str = "resnet18_ibn_a") -> Embedder:
    torch.manual_seed(0)
    return Embedder(BACKBONES[name](num_classes=None, width=0.25), num_classes=5, neck_feature=neck_feature)


def images(n: int = 4) -> Tensor:
    return torch.randn(n, 3, 64, 32, generator=torch.Generator().manual_seed(1))


def test_training_gives_features_before_and_logits_after_the_neck() -> None:
    model = embedder()
    out = model(images())
    assert isinstance(out, TrainOutput)
    assert out.features.shape == (4, model.channels) == (4, 128)
    assert out.logits.shape == (4, 5)
    pooled = out.features
    normalised = (pooled - pooled.mean(0)) / (pooled.var(0, unbiased=False) + 1e-5).sqrt()
    torch.testing.assert_close(out.logits, normalised @ model.classifier.weight.T, atol=1e-5, rtol=1e-4)


def test_evaluation_gives_the_neck_feature() -> None:
    for name in ("resnet18", "resnet18_ibn_b"):
        after, before = embedder("after", name).eval(), embedder("before", name).eval()
        after.neck.running_mean.fill_(0.5)  # type: ignore[union-attr]
        after.neck.running_var.fill_(4.0)  # type: ignore[union-attr]
        with torch.no_grad():
            pooled = before.backbone.features(images()).mean(dim=(2, 3))
            torch.testing.assert_close(before(images()), pooled)
            torch.testing.assert_close(after(images()), (pooled - 0.5) / (4 + 1e-5) ** 0.5)


def test_neck_bias_is_frozen_at_zero_and_the_classifier_has_none() -> None:
    model = embedder()
    out = model(images())
    (out.logits.square().sum() + out.features.sum()).backward()
    assert not model.neck.bias.requires_grad and (model.neck.bias == 0).all()
    assert model.classifier.bias is None
    assert model.classifier.weight.std().item() == pytest.approx(0.001, rel=0.1)
    frozen = [key for key, parameter in model.named_parameters() if parameter.grad is None]
    assert frozen == ["neck.bias"]


@pytest.mark.parametrize("neck_feature", ["after", "before"])
def test_autocast_leaves_what_the_losses_and_retrieval_read_in_float32(neck_feature: str) -> None:
    model = embedder(neck_feature)
    with torch.autocast("cpu", torch.bfloat16):
        assert model.backbone.features(images()).dtype == torch.bfloat16
        out = model(images())
        assert out.features.dtype == out.logits.dtype == torch.float32
        with torch.no_grad():
            assert model.eval()(images()).dtype == torch.float32


def test_float64_stays_float64() -> None:
    model = embedder().double()
    out = model(images().double())
    assert out.features.dtype == out.logits.dtype == torch.float64
    assert model.eval()(images().double()).dtype == torch.float64


def test_evaluation_of_an_image_does_not_depend_on_its_batch() -> None:
    model = embedder().eval()
    with torch.no_grad():
        torch.testing.assert_close(model(images())[:1], model(images()[:1]))


def test_unknown_neck_feature_is_named() -> None:
    with pytest.raises(InputError, match=r"'middle' is not one of \['after', 'before'\]"):
        embedder("middle")


def maps(n: int = 6) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    shift = torch.randn(n, 3, 1, 1, generator=generator)
    return torch.randn(n, 3, 8, 4, generator=generator) * (1 + shift.abs()) + shift


def by_loops(x: Tensor, weights: Tensor, other: Tensor) -> Tensor:
    out = torch.empty_like(x)
    for n in range(len(x)):
        for c in range(x.shape[1]):
            own, partner, w = x[n, c], x[other[n], c], weights[n].item()
            mean = w * own.mean() + (1 - w) * partner.mean()
            deviation = w * (own.var() + EPSILON).sqrt() + (1 - w) * (partner.var() + EPSILON).sqrt()
            out[n, c] = (own - own.mean()) / (own.var() + EPSILON).sqrt() * deviation + mean
    return out


def test_equals_plain_loops() -> None:
    x = maps()
    torch.manual_seed(3)
    mixed = MixStyle(probability=1.0).train()(x)
    torch.manual_seed(3)
    torch.rand(())
    concentration = torch.full((len(x), 1, 1, 1), 0.1)
    weights = torch.distributions.Beta(concentration, concentration).sample()
    other = torch.randperm(len(x))
    torch.testing.assert_close(mixed, by_loops(x, weights.flatten(), other), rtol=1e-4, atol=1e-5)
    assert not torch.allclose(mixed, x)


def test_nothing_happens_in_evaluation_or_at_probability_0() -> None:
    x = maps()
    assert torch.equal(MixStyle(probability=1.0).eval()(x), x)
    before = torch.get_rng_state()
    assert torch.equal(MixStyle(probability=0.0).train()(x), x)
    assert torch.equal(torch.get_rng_state(), before)  # no draw either


def test_content_stays() -> None:
    """Only mean and deviation of a channel change: standardised, each map is as before."""
    x = maps()
    torch.manual_seed(0)
    mixed = MixStyle(probability=1.0).train()(x)

    def standardised(y: Tensor) -> Tensor:
        return (y - y.mean((2, 3), keepdim=True)) / y.std((2, 3), keepdim=True)

    torch.testing.assert_close(standardised(mixed), standardised(x), rtol=1e-3, atol=1e-4)


def test_gradients_flow_but_not_through_the_statistics() -> None:
    x = maps().requires_grad_()
    torch.manual_seed(0)
    MixStyle(probability=1.0).train()(x).sum().backward()
    assert torch.isfinite(x.grad).all() and (x.grad > 0).all()  # with statistics held fixed it is a positive scale


@pytest.mark.parametrize("name", ["resnet18", "resnet50_ibn_b3"])
def test_in_a_backbone_it_adds_no_weight_and_acts_in_training_alone(name: str) -> None:
    torch.manual_seed(0)
    plain, mixed = (BACKBONES[name](num_classes=None, width=0.125, mixstyle=p) for p in (0.0, 1.0))
    mixed.load_state_dict(plain.state_dict())
    x = torch.randn(4, 3, 64, 32)
    with torch.no_grad():
        torch.testing.assert_close(mixed.eval()(x), plain.eval()(x))
        assert not torch.allclose(mixed.train()(x), plain.train()(x))


def positive_maps(dtype: torch.dtype = torch.float64) -> Tensor:
    """As after a ReLU: many zeros, one channel of them alone."""
    x = torch.randn(3, 4, 5, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64).relu()
    x[:, 1] = 0
    return x.to(dtype)


def gem_by_loops(x: Tensor, p: float) -> Tensor:
    """Radenovic et al. 2018, equation 3, one number after the other."""
    out = torch.empty(x.shape[:2], dtype=torch.float64)
    for n in range(x.shape[0]):
        for c in range(x.shape[1]):
            powers = [max(value, 1e-6) ** p for value in x[n, c].flatten().tolist()]
            out[n, c] = (sum(powers) / len(powers)) ** (1 / p)
    return out


@pytest.mark.parametrize("p", [0.5, 1.0, 3.0, 6.5])
def test_gem_equals_plain_loops(p: float) -> None:
    gem = GeM().double()
    assert gem.p.item() == 3
    nn.init.constant_(gem.p, p)
    torch.testing.assert_close(gem(positive_maps()), gem_by_loops(positive_maps(), p), rtol=1e-12, atol=0)


def test_gem_is_the_average_at_1_and_the_maximum_at_infinity() -> None:
    gem, x = GeM().double(), positive_maps() + 0.1
    with torch.no_grad():
        gem.p.fill_(1)
        torch.testing.assert_close(gem(x), make_pooling("average")(x))
        gem.p.fill_(1e4)
        torch.testing.assert_close(gem(x), make_pooling("max")(x), rtol=1e-3, atol=0)


@pytest.mark.parametrize("name", POOLINGS)
def test_gradients_of_pooling_are_those_of_differences(name: str) -> None:
    pooling = make_pooling(name).double()
    x = (positive_maps() + torch.rand(3, 4, 5, 2, dtype=torch.float64) + 0.1).requires_grad_()
    assert torch.autograd.gradcheck(lambda maps, *_: pooling(maps), (x, *pooling.parameters()))


@pytest.mark.parametrize("p", [3.0, 12.0, 60.0])
@pytest.mark.parametrize("scale", [0.0, 1.0, 1e4])
def test_gem_of_any_p_has_finite_gradients_also_where_a_channel_is_dead(p: float, scale: float) -> None:
    gem, x = GeM(), (scale * positive_maps(torch.float32)).requires_grad_()
    nn.init.constant_(gem.p, p)
    out = gem(x)
    out.sum().backward()
    assert out.isfinite().all() and x.grad.isfinite().all() and gem.p.grad.isfinite().all()


def test_gem_leaves_its_input_alone() -> None:
    x = positive_maps().requires_grad_()
    maps = x * 1
    before = maps.detach().clone()
    GeM().double()(maps).sum().backward()
    assert torch.equal(maps, before)
    assert (x.grad[before == 0] == 0).all()  # below the least value nothing depends on them


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("name", POOLINGS)
def test_pooling_is_in_float32_at_least_whatever_the_maps_lie_like(name: str, layout: torch.memory_format) -> None:
    pooling, x = make_pooling(name), positive_maps().contiguous(memory_format=layout)
    wanted = pooling(positive_maps().float())
    with torch.autocast("cpu", torch.bfloat16):
        half = pooling(x.bfloat16())
        torch.testing.assert_close(pooling(x.float()), wanted)
    assert half.dtype == torch.float32 and half.shape == (3, 4)
    torch.testing.assert_close(half, wanted, rtol=1e-2, atol=0)
    assert pooling.double()(x).dtype == torch.float64


def test_the_largest_value_of_a_channel() -> None:
    x = positive_maps()
    expected = torch.tensor([[x[n, c].flatten().tolist() for c in range(4)] for n in range(3)]).max(dim=2).values
    assert torch.equal(GlobalMax()(x.float()), expected.float())


def test_an_unknown_pooling_is_named() -> None:
    for name in ("resnet18", "osnet_x0_25"):
        with pytest.raises(InputError, match="pooling 'mean' is not one of average, max, gem"):
            BACKBONES[name](pooling="mean")


@pytest.mark.parametrize("name", ["resnet18", "osnet_x0_25"])
def test_a_backbone_pools_as_asked(name: str) -> None:
    """`pooling.p` is in its state dict and trained where GeM is chosen, else there is nothing of it."""
    torch.manual_seed(0)
    plain = BACKBONES[name](num_classes=None, width=0.5)
    for pooling, more in (("average", set()), ("max", set()), ("gem", {"pooling.p"})):
        backbone = BACKBONES[name](num_classes=None, width=0.5, pooling=pooling)
        assert set(backbone.state_dict()) - set(plain.state_dict()) == more
        backbone.load_state_dict(plain.state_dict(), strict=False)
        expected = make_pooling(pooling)(plain.eval().features(images()))
        torch.testing.assert_close(backbone.eval().pooled(images()), expected)
        model = Embedder(backbone, num_classes=3)
        sum(part.square().sum() for part in model(images())[:3]).backward()
        assert all(p.grad is not None for key, p in model.named_parameters() if key != "neck.bias")


class PlainIBN(IBN):
    """Without a memory format: its two norms side by side."""

    def forward(self, x: Tensor) -> Tensor:
        first, rest = torch.split(x, self.split, dim=1)
        return torch.cat((self.IN(first.contiguous()), self.BN(rest.contiguous())), dim=1)


def plain_instance_norm(channels: int) -> nn.Module:
    return nn.InstanceNorm2d(channels, affine=True)


PAIRS = {"InstanceNorm": (InstanceNorm, plain_instance_norm), "IBN": (IBN, PlainIBN)}
LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
MODES: dict[str, Callable[[], AbstractContextManager[object]]] = {
    "gradients": nullcontext,
    "float64": nullcontext,
    "no_grad": torch.no_grad,
    "inference": torch.inference_mode,
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
}


def norms(name: str, dtype: torch.dtype = torch.float32) -> tuple[nn.Module, nn.Module]:
    """A norm of six channels that hands on the memory format, and the plain one with the same weights."""
    torch.manual_seed(0)
    ours, plain = (kind(6).to(dtype) for kind in PAIRS[name])
    for parameter in ours.parameters():
        nn.init.normal_(parameter)
    plain.load_state_dict(ours.state_dict())
    return ours, plain


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", PAIRS)
def test_norms_hand_on_the_memory_format_and_give_the_plain_ones_bits(
    name: str, layout: str, training: bool, mode: str
) -> None:
    dtype = torch.float64 if mode == "float64" else torch.float32
    ours, plain = (norm.train(training) for norm in norms(name, dtype))
    x = torch.randn(4, 6, 5, 3, dtype=dtype).contiguous(memory_format=LAYOUTS[layout])
    gradient = torch.randn(4, 6, 5, 3, dtype=dtype)
    inputs, outputs = [], []
    for norm in (ours, plain):
        inputs.append(x.clone(memory_format=torch.preserve_format).requires_grad_())
        with MODES[mode]():
            half = inputs[-1].bfloat16() if mode == "autocast" else inputs[-1] * 1
            outputs.append(norm(half))
    assert outputs[0].is_contiguous(memory_format=LAYOUTS[layout])
    assert torch.equal(*outputs) and outputs[0].dtype == outputs[1].dtype
    for one, other in zip(ours.state_dict().values(), plain.state_dict().values(), strict=True):
        assert torch.equal(one, other)
    if mode in ("no_grad", "inference"):
        return
    outputs[0].backward(gradient.to(outputs[0].dtype).contiguous(memory_format=LAYOUTS[layout]))
    outputs[1].backward(gradient.to(outputs[1].dtype))
    assert torch.equal(inputs[0].grad, inputs[1].grad)
    for one, other in zip(ours.parameters(), plain.parameters(), strict=True):
        assert torch.equal(one.grad, other.grad)


@pytest.fixture
def older_switch():
    """Torch's export asks an older switch of cuDNN's, which has no answer where the newer ones say "ieee"."""
    for part in (torch.backends.cudnn.conv, torch.backends.cudnn.rnn):
        part.fp32_precision = "tf32"
    yield
    exact_float32()


@pytest.mark.usefixtures("older_switch")
@pytest.mark.parametrize("name", PAIRS)
def test_norms_go_through_torchs_export(name: str) -> None:
    norm, x = norms(name)[0].eval(), torch.randn(4, 6, 5, 3).contiguous(memory_format=torch.channels_last)
    exported = torch.export.export(norm, (x,)).module()
    torch.testing.assert_close(exported(x), norm(x))


def test_second_derivatives_go_through_the_change_of_layout() -> None:
    norm = InstanceNorm(2).double()
    x = torch.randn(2, 2, 3, 2, dtype=torch.float64).contiguous(memory_format=torch.channels_last).requires_grad_()
    assert torch.autograd.gradgradcheck(norm, (x,))
