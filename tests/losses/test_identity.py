import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from reid.errors import InputError
from reid.losses import LOSSES, IdentityLoss

GOLDEN = np.load(Path(__file__).parents[1] / "data" / "losses.npz")


def identity_by_loops(logits: Tensor, labels: Tensor, smoothing: float) -> float:
    n, k = logits.shape
    total = 0.0
    for row, label in zip(logits.tolist(), labels.tolist(), strict=True):
        log_sum = max(row) + math.log(sum(math.exp(z - max(row)) for z in row))
        for j, z in enumerate(row):
            total -= ((1 - smoothing) * (j == label) + smoothing / k) * (z - log_sum)
    return total / n


def test_equals_the_published_loss() -> None:
    logits = torch.tensor(GOLDEN["id/logits"], requires_grad=True)
    value = IdentityLoss(0.1)(logits, torch.tensor(GOLDEN["labels"]))
    value.backward()
    assert value.item() == pytest.approx(GOLDEN["id/label_smooth0.1_loss"].item(), abs=1e-9)
    torch.testing.assert_close(logits.grad, torch.tensor(GOLDEN["id/label_smooth0.1_grad"]), rtol=0, atol=1e-9)


@settings(max_examples=50, deadline=None)
@given(
    n=st.integers(1, 6), k=st.integers(1, 7), smoothing=st.floats(0, 0.99), scale=st.sampled_from([1.0, 30.0, 1000.0])
)
def test_equals_plain_loops(n: int, k: int, smoothing: float, scale: float) -> None:
    generator = torch.Generator().manual_seed(n * 10 + k)
    logits = scale * torch.randn(n, k, dtype=torch.float64, generator=generator)
    labels = torch.randint(k, (n,), generator=generator)
    expected = identity_by_loops(logits, labels, smoothing)
    assert IdentityLoss(smoothing)(logits, labels).item() == pytest.approx(
        expected, rel=1e-6, abs=1e-6
    )  # float32 targets


def test_without_smoothing_it_is_cross_entropy() -> None:
    assert IdentityLoss(0.0)(torch.zeros(3, 8), torch.tensor([0, 3, 7])).item() == pytest.approx(math.log(8))


def test_gradient_by_finite_differences() -> None:
    logits = torch.randn(4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: IdentityLoss()(x, torch.tensor([0, 4, 2, 2])), (logits,))


def test_autocast_keeps_float32_and_float64() -> None:
    labels = torch.tensor(GOLDEN["labels"])
    logits = torch.tensor(GOLDEN["id/logits"])
    with torch.autocast("cpu", torch.bfloat16):
        low, wide = IdentityLoss()(logits.bfloat16(), labels), IdentityLoss()(logits, labels)
    assert low.dtype == torch.float32 and wide.dtype == torch.float64
    torch.testing.assert_close(low, IdentityLoss()(logits.bfloat16().float(), labels))


@pytest.mark.parametrize("smoothing", [-0.1, 1.0, math.nan])
def test_bad_smoothing_is_named(smoothing: float) -> None:
    with pytest.raises(InputError, match=f"smoothing {smoothing}"):
        IdentityLoss(smoothing)


def test_is_found_by_name() -> None:
    assert LOSSES["identity"] is IdentityLoss and IdentityLoss.input == "logits"
