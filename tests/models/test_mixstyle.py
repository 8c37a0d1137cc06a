import pytest
import torch
from torch import Tensor

from reid.models import BACKBONES
from reid.models.backbone import EPSILON, MixStyle


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
