import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pytorch_metric_learning.losses import CircleLoss as TheirCircleLoss
from pytorch_metric_learning.losses import SupConLoss
from torch import Tensor
from torch.nn import functional as F

from reid.errors import InputError
from reid.losses import CircleLoss, SupervisedContrastiveLoss
from reid.losses.pairs import pairs_of, unit

LABELS = st.lists(st.integers(0, 3), min_size=1, max_size=9)


def batch(labels: list[int], seed: int) -> tuple[Tensor, Tensor]:
    rows = torch.randn(len(labels), 4, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return rows.requires_grad_(), torch.tensor(labels)


def pairs_by_loops(labels: Tensor, a: int) -> tuple[list[int], list[int]]:
    others = [j for j in range(len(labels)) if j != a]
    return [j for j in others if labels[j] == labels[a]], [j for j in others if labels[j] != labels[a]]


def mean(losses: list[Tensor], rows: Tensor) -> Tensor:
    return sum(losses, 0 * rows.sum()) / max(len(losses), 1)


def circle_by_loops(rows: Tensor, labels: Tensor, margin: float, gamma: float) -> Tensor:
    losses = []
    for a in range(len(labels)):
        positive, negative = pairs_by_loops(labels, a)
        total = torch.zeros((), dtype=torch.float64)
        for p in positive:
            for n in negative:
                near, far = F.cosine_similarity(rows[a], rows[p], dim=0), F.cosine_similarity(rows[a], rows[n], dim=0)
                weight_p, weight_n = max(0.0, 1 + margin - near.item()), max(0.0, far.item() + margin)
                total = total + torch.exp(gamma * (weight_n * (far - margin) - weight_p * (near - (1 - margin))))
        if positive and negative:
            losses.append(torch.log(1 + total))
    return mean(losses, rows)


def supcon_by_loops(rows: Tensor, labels: Tensor, tau: float) -> Tensor:
    losses = []
    for a in range(len(labels)):
        positive, negative = pairs_by_loops(labels, a)
        weights = {j: torch.exp(F.cosine_similarity(rows[a], rows[j], dim=0) / tau) for j in positive + negative}
        if positive and negative:
            shares = [torch.log(weights[p] / sum(weights.values())) for p in positive]
            losses.append(-sum(shares) / len(positive))
    return mean(losses, rows)


def same_value_and_gradient(found: Tensor, expected: Tensor, rows: Tensor, tolerance: float = 1e-9) -> None:
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)
    gradients = (torch.autograd.grad(value, rows)[0] for value in (found, expected))
    torch.testing.assert_close(*gradients, rtol=tolerance, atol=tolerance)


@settings(max_examples=40)
@given(
    labels=LABELS, seed=st.integers(0, 1000), margin=st.sampled_from([0.0, 0.25]), gamma=st.sampled_from([1.0, 80.0])
)
def test_circle_equals_plain_loops(labels: list[int], seed: int, margin: float, gamma: float) -> None:
    rows, people = batch(labels, seed)
    found = CircleLoss(margin, gamma)(rows, people)
    same_value_and_gradient(found, circle_by_loops(rows, people, margin, gamma), rows, 1e-8)


@settings(max_examples=40)
@given(labels=LABELS, seed=st.integers(0, 1000), tau=st.sampled_from([0.07, 0.1, 1.0]))
def test_supcon_equals_plain_loops(labels: list[int], seed: int, tau: float) -> None:
    rows, people = batch(labels, seed)
    same_value_and_gradient(SupervisedContrastiveLoss(tau)(rows, people), supcon_by_loops(rows, people, tau), rows)


@pytest.mark.parametrize("labels", [[0, 0, 0, 1, 1, 1, 2, 2, 2], [3, 0, 0, 1, 2, 2]])
def test_equal_pytorch_metric_learning(labels: list[int]) -> None:
    rows, people = batch(labels, 5)
    same_value_and_gradient(CircleLoss()(rows, people), TheirCircleLoss(m=0.25, gamma=128)(rows, people), rows)
    same_value_and_gradient(SupervisedContrastiveLoss(0.2)(rows, people), SupConLoss(0.2)(rows, people), rows)


def test_large_numbers_stay_finite_in_float32() -> None:
    rows = torch.tensor([[1.0, 0], [-1, 0], [1, 0], [1, 1e-4]], requires_grad=True)  # the farthest positive there is
    for loss in (CircleLoss(0.25, 1e4), SupervisedContrastiveLoss(1e-4)):
        value = loss(rows, torch.tensor([0, 0, 1, 1]))
        (gradient,) = torch.autograd.grad(value, rows)
        assert value.isfinite() and value > 1000 and gradient.isfinite().all()


@settings(max_examples=30)
@given(labels=LABELS, cameras=st.lists(st.integers(0, 2), min_size=9, max_size=9))
def test_pairs_are_those_of_plain_loops(labels: list[int], cameras: list[int]) -> None:
    people, seen_by = torch.tensor(labels), torch.tensor(cameras[: len(labels)])
    for given_cameras in (None, seen_by):
        positive, negative = pairs_of(torch.zeros(len(labels), 1), people, given_cameras)
        for a in range(len(labels)):
            alike, unlike = pairs_by_loops(people, a)
            if given_cameras is not None:
                alike = [j for j in alike if seen_by[j] != seen_by[a]]
            assert positive[a].nonzero()[:, 0].tolist() == alike and negative[a].nonzero()[:, 0].tolist() == unlike


def test_rows_of_length_1() -> None:
    rows = torch.tensor([[3.0, 4], [0, 0]], requires_grad=True)
    (gradient,) = torch.autograd.grad(unit(rows).sum(), rows)
    assert unit(rows).tolist() == [[pytest.approx(0.6), pytest.approx(0.8)], [0, 0]] and gradient.isfinite().all()


@pytest.mark.parametrize("gamma", [0.0, -1.0, math.nan, math.inf])
def test_bad_scales_are_named(gamma: float) -> None:
    with pytest.raises(InputError, match=f"circle gamma {gamma}"):
        CircleLoss(gamma=gamma)
    with pytest.raises(InputError, match=f"supcon tau {gamma}"):
        SupervisedContrastiveLoss(gamma)


@pytest.mark.parametrize("margin", [-0.1, 1.0, math.nan])
def test_bad_margin_is_named(margin: float) -> None:
    with pytest.raises(InputError, match=f"circle margin {margin}"):
        CircleLoss(margin)
