import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pytorch_metric_learning.losses import ArcFaceLoss as TheirArcFaceLoss
from pytorch_metric_learning.losses import CosFaceLoss as TheirCosFaceLoss
from torch import Tensor
from torch.nn import functional as F

from reid.errors import InputError
from reid.losses import ArcFaceLoss, CentreLoss, CosFaceLoss, IdentityLoss
from reid.losses.identity import one_hot

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


@given(labels=st.lists(st.integers(0, 5), max_size=8))
def test_one_hot_is_torchs(labels: list[int]) -> None:
    people = torch.tensor(labels, dtype=torch.long)
    assert torch.equal(one_hot(people, 6).long(), F.one_hot(people, 6))


def embedded(n: int, k: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Embeddings, the classifier's rows and labels."""
    generator = torch.Generator().manual_seed(seed)
    x, rows = (torch.randn(count, 3, dtype=torch.float64, generator=generator) for count in (n, k))
    return x.requires_grad_(), rows.requires_grad_(), torch.randint(k, (n,), generator=generator)


def margin_by_loops(x: Tensor, rows: Tensor, labels: Tensor, scale: float, arc: float, cos: float) -> Tensor:
    losses = []
    for i, label in enumerate(labels.tolist()):
        exponents = []
        for j in range(len(rows)):
            cosine = F.cosine_similarity(x[i], rows[j], dim=0)
            if j == label:
                angle = torch.acos(cosine)
                inside = angle.item() + arc <= math.pi
                cosine = (torch.cos(angle + arc) if inside else cosine - arc * math.sin(arc)) - cos
            exponents.append(scale * cosine)
        losses.append(torch.stack(exponents).logsumexp(0) - exponents[label])
    return sum(losses) / len(losses)  # type: ignore[return-value]


def same_value_and_gradients(found: Tensor, expected: Tensor, *inputs: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-8)
    ours, theirs = torch.autograd.grad(found, inputs), torch.autograd.grad(expected, inputs)
    torch.testing.assert_close(ours, theirs, rtol=1e-7, atol=1e-7)


@settings(max_examples=30)
@given(
    n=st.integers(1, 6),
    k=st.integers(2, 5),
    seed=st.integers(0, 1000),
    scale=st.sampled_from([1.0, 64.0]),
    margin=st.sampled_from([0.0, 0.35, 0.5, 1.0]),
)
def test_margins_equal_plain_loops(n: int, k: int, seed: int, scale: float, margin: float) -> None:
    x, rows, labels = embedded(n, k, seed)
    arc, cos = ArcFaceLoss(scale, margin)(x, rows, labels), CosFaceLoss(scale, margin)(x, rows, labels)
    same_value_and_gradients(arc, margin_by_loops(x, rows, labels, scale, margin, 0.0), x, rows)
    same_value_and_gradients(cos, margin_by_loops(x, rows, labels, scale, 0.0, margin), x, rows)


@pytest.mark.parametrize("seed", range(3))
def test_margins_equal_pytorch_metric_learning(seed: int) -> None:
    x, rows, labels = embedded(12, 4, seed)
    pairs = (
        (ArcFaceLoss(), TheirArcFaceLoss(4, 3, margin=math.degrees(0.5), scale=64)),
        (CosFaceLoss(), TheirCosFaceLoss(4, 3, margin=0.35, scale=64)),
    )
    for ours, theirs in pairs:
        theirs.W.data = rows.detach().T.clone()
        expected = theirs(x, labels)
        gradients = torch.autograd.grad(expected, (x, theirs.W))
        found = ours(x, rows, labels)
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
        same = torch.autograd.grad(found, (x, rows))
        torch.testing.assert_close(same, (gradients[0], gradients[1].T), rtol=1e-7, atol=1e-9)


@given(degrees=st.integers(0, 179), margin=st.floats(0, 1.57))
def test_arcface_grows_with_the_angle_beyond_pi_too(degrees: int, margin: float) -> None:
    def loss(angle: float) -> float:
        x = torch.tensor([[math.cos(angle), math.sin(angle), 0.0]], dtype=torch.float64)
        rows = torch.tensor([[1.0, 0, 0], [0, 0, 1]], dtype=torch.float64)
        return ArcFaceLoss(1.0, margin)(x, rows, torch.tensor([0])).item()

    assert loss(math.radians(degrees)) < loss(math.radians(degrees + 1))


def test_arcface_has_a_gradient_where_an_embedding_lies_on_its_row_or_opposite() -> None:
    rows = torch.tensor([[3.0, 4.0], [1.0, 0.0]], requires_grad=True)
    for x in (torch.tensor([[6.0, 8.0]]), torch.tensor([[-6.0, -8.0]])):
        value = ArcFaceLoss()(x.requires_grad_(), rows, torch.tensor([0]))
        assert all(gradient.isfinite().all() for gradient in torch.autograd.grad(value, (x, rows)))


@pytest.mark.parametrize("kind", [ArcFaceLoss, CosFaceLoss])
@pytest.mark.parametrize("wrong", [-0.5, math.nan, math.inf])
def test_bad_scale_or_margin_is_named(kind: type[ArcFaceLoss | CosFaceLoss], wrong: float) -> None:
    name = kind.__name__.removesuffix("Loss").lower()
    with pytest.raises(InputError, match=f"{name} scale {wrong}: wanted a number above 0"):
        kind(scale=wrong)
    with pytest.raises(InputError, match=f"{name} margin {wrong}: wanted"):
        kind(margin=wrong)


def test_centre_loss_equals_plain_loops_and_a_step_of_its_rate_moves_centres_to_the_mean() -> None:
    loss = CentreLoss(classes=3, channels=2).double()
    before = loss.centres.detach().clone()
    features = torch.tensor([[1.0, 2.0], [3.0, 5.0], [0.0, -1.0]], dtype=torch.float64, requires_grad=True)
    labels = torch.tensor([2, 2, 0])
    value = loss(features, labels)
    value.backward()
    expected = sum(math.dist(row, before[label]) ** 2 for row, label in zip(features.tolist(), labels, strict=True)) / 3
    assert value.item() == pytest.approx(expected, rel=1e-12)
    torch.testing.assert_close(features.grad, 2 / 3 * (features.detach() - before[labels]))
    torch.optim.SGD(loss.parameters(), lr=loss.rate).step()
    for person, images in {0: [2], 1: [], 2: [0, 1]}.items():  # a share of 1/3, the batch's, for each image
        moved = sum(((features[i].detach() - before[person]) / 3 for i in images), before[person])
        torch.testing.assert_close(loss.centres[person].detach(), moved)


def test_centres_begin_at_standard_normal_numbers_of_their_own() -> None:
    centres = CentreLoss(500, 64).centres
    assert centres.shape == (500, 64) and centres.dtype == torch.float32
    assert abs(centres.mean()) < 0.03 and abs(centres.std() - 1) < 0.03
