import pytest
import torch
from torch import Tensor

from reid.errors import InputError
from reid.models import BACKBONES, Embedder, TrainOutput
from reid.models.backbone import EPSILON, MixStyle


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
