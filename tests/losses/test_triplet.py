import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pytorch_metric_learning.distances import LpDistance
from pytorch_metric_learning.losses import TripletMarginLoss
from pytorch_metric_learning.miners import BatchHardMiner
from pytorch_metric_learning.reducers import MeanReducer
from torch import Tensor

from reid.errors import InputError
from reid.losses import TripletLoss, WeightedTripletLoss
from reid.losses.pairs import hardest_pairs

GOLDEN = np.load(Path(__file__).parents[1] / "data" / "losses.npz")
MARGINS = [0.0, 0.3, None]


def batch(identities: int = 5, images: int = 3, dimension: int = 7, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(identities * images, dimension, dtype=torch.float64, generator=generator)
    return features, torch.arange(identities).repeat_interleave(images)


def pairs_by_loops(labels: Tensor, a: int, cameras: Tensor | None = None) -> tuple[list[int], list[int]]:
    """Positives and negatives of row `a`."""
    others = [j for j in range(len(labels)) if j != a]
    positive = [j for j in others if labels[j] == labels[a] and (cameras is None or cameras[j] != cameras[a])]
    return positive, [j for j in others if labels[j] != labels[a]]


def triplet_by_loops(features: Tensor, labels: Tensor, margin: float | None, cameras: Tensor | None = None) -> float:
    losses = []
    for a in range(len(labels)):
        positive, negative = pairs_by_loops(labels, a, cameras)
        if positive and negative:
            farthest = max(math.dist(features[a], features[j]) for j in positive)
            gap = farthest - min(math.dist(features[a], features[j]) for j in negative)
            losses.append(math.log1p(math.exp(gap)) if margin is None else max(0.0, margin + gap))
    return sum(losses) / len(losses) if losses else 0.0


def weighted_by_loops(features: Tensor, labels: Tensor, margin: float | None) -> Tensor:
    losses = []
    for a in range(len(labels)):
        positive, negative = pairs_by_loops(labels, a)
        if positive and negative:
            means = []
            for sign, pairs in ((1, positive), (-1, negative)):
                distances = [(features[a] - features[j]).square().sum().sqrt() for j in pairs]
                weights = [torch.exp(sign * distance) for distance in distances]
                means.append(sum(w * d for w, d in zip(weights, distances, strict=True)) / sum(weights))
            gap = means[0] - means[1]
            losses.append(torch.log(1 + torch.exp(gap)) if margin is None else torch.clamp(gap + margin, min=0))
    return sum(losses, 0 * features.sum()) / max(len(losses), 1)


@pytest.mark.parametrize(("key", "margin"), [("triplet_margin0.3", 0.3), ("triplet_soft_margin", None)])
def test_values_and_gradients_equal_the_published_ones(key: str, margin: float | None) -> None:
    features = torch.tensor(GOLDEN["features"], requires_grad=True)
    labels = torch.tensor(GOLDEN["labels"])
    loss = TripletLoss(margin)(features, labels)
    loss.backward()
    positive, negative, anchors = hardest_pairs(features, labels)
    assert anchors.all()
    for found, name in ((loss, "loss"), (features.grad, "grad"), (positive, "dist_ap"), (negative, "dist_an")):
        assert found is not None
        torch.testing.assert_close(found.detach(), torch.tensor(GOLDEN[f"{key}/{name}"]), rtol=0, atol=1e-9)


@settings(max_examples=60, deadline=None)
@given(
    labels=st.lists(st.integers(0, 3), min_size=1, max_size=10),
    margin=st.sampled_from(MARGINS),
    seed=st.integers(0, 1000),
)
def test_equals_plain_loops_for_any_labels(labels: list[int], margin: float | None, seed: int) -> None:
    features = torch.randn(len(labels), 4, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    people = torch.tensor(labels)
    found = TripletLoss(margin)(features, people).item()
    assert found == pytest.approx(triplet_by_loops(features, people, margin), abs=1e-12)
    cameras = torch.randint(3, people.shape, generator=torch.Generator().manual_seed(seed))
    across = TripletLoss(margin, cross_camera=True)(features, people, cameras).item()
    assert across == pytest.approx(triplet_by_loops(features, people, margin, cameras), abs=1e-12)


@settings(max_examples=40)
@given(
    labels=st.lists(st.integers(0, 3), min_size=1, max_size=9),
    margin=st.sampled_from(MARGINS),
    seed=st.integers(0, 1000),
)
def test_weighted_equals_plain_loops(labels: list[int], margin: float | None, seed: int) -> None:
    features = torch.randn(len(labels), 4, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    features, people = 3 * features, torch.tensor(labels)
    features.requires_grad_()
    found = WeightedTripletLoss(margin)(features, people)
    expected = weighted_by_loops(features, people, margin)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)
    gradients = (torch.autograd.grad(value, features)[0] for value in (found, expected))
    torch.testing.assert_close(*gradients, rtol=0, atol=1e-9)


def test_weighted_tends_to_the_hardest_pairs_with_the_distances() -> None:
    features, labels = batch()
    features = 1000 * features
    positive, negative, anchors = hardest_pairs(features, labels)
    assert anchors.all()
    expected = (positive - negative + 5000).clamp(min=0).mean()
    torch.testing.assert_close(WeightedTripletLoss(5000.0)(features, labels), expected, rtol=1e-4, atol=0)


def test_across_cameras_wants_to_know_them() -> None:
    features, labels = batch()
    for loss, cameras in ((TripletLoss(cross_camera=True), None), (TripletLoss(), labels)):
        with pytest.raises(ValueError, match="cameras are wanted where"):
            loss(features, labels, cameras)
    with pytest.raises(ValueError, match=r"cameras \(N,\)"):
        TripletLoss(cross_camera=True)(features, labels, labels[1:])


def test_means_for_the_log_are_those_of_the_anchors() -> None:
    loss, features = TripletLoss(), torch.tensor([[0.0, 0.0], [3.0, 4.0], [0.0, 1.0]], requires_grad=True)
    loss(features, torch.tensor([7, 7, 9]))
    assert [value.item() for value in loss.hardest or ()] == [5.0, pytest.approx((1 + 18**0.5) / 2)]
    assert not any(value.requires_grad for value in loss.hardest or ())
    loss(features, torch.tensor([1, 2, 3]))
    assert all(math.isnan(value.item()) for value in loss.hardest or ())


@pytest.mark.parametrize("seed", range(3))
def test_equals_pytorch_metric_learning(seed: int) -> None:
    ours, labels = batch(seed=seed)
    theirs = ours.clone().requires_grad_()
    ours.requires_grad_()
    distance = LpDistance(normalize_embeddings=False)
    miner = BatchHardMiner(distance=distance)
    oracle = TripletMarginLoss(margin=0.3, distance=distance, reducer=MeanReducer())
    expected = oracle(theirs, labels, miner(theirs, labels))
    loss = TripletLoss(0.3)(ours, labels)
    torch.testing.assert_close(loss, expected, rtol=0, atol=1e-9)
    loss.backward()
    expected.backward()
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=0, atol=1e-9)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1000), margin=st.sampled_from(MARGINS))
def test_order_translation_and_rotation_do_not_matter(seed: int, margin: float | None) -> None:
    features, labels = batch(4, 3, 5, seed)
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(labels), generator=generator)
    rotation = torch.linalg.qr(torch.randn(5, 5, dtype=torch.float64, generator=generator)).Q
    loss = TripletLoss(margin)
    moved = loss((features @ rotation + 3.0)[order], labels[order])
    torch.testing.assert_close(moved, loss(features, labels), rtol=0, atol=1e-9)


def test_anchor_without_positive_or_negative_is_left_out() -> None:
    features = torch.tensor([[0.0, 0.0], [3.0, 4.0], [0.0, 1.0]])
    positive, negative, anchors = hardest_pairs(features, torch.tensor([7, 7, 9]))  # the third has no positive
    assert anchors.tolist() == [True, True, False]
    assert positive[:2].tolist() == [5.0, 5.0]
    assert negative[:2].tolist() == pytest.approx([1.0, 18**0.5])
    assert TripletLoss(0.3)(features, torch.tensor([7, 7, 9])).item() == pytest.approx((4.3 + 5.3 - 18**0.5) / 2)


@pytest.mark.parametrize("margin", MARGINS)
def test_gradient_is_finite_for_duplicates(margin: float | None) -> None:
    features = torch.ones(6, 4, requires_grad=True)
    loss = TripletLoss(margin)(features, torch.tensor([0, 0, 1, 1, 2, 2]))
    loss.backward()
    assert loss.item() == pytest.approx(math.log(2) if margin is None else margin)
    assert features.grad is not None and features.grad.isfinite().all()


def test_hardest_pairs_hold_far_from_the_origin() -> None:
    features = torch.tensor(GOLDEN["features"] + 1000.0, dtype=torch.float32)  # products lose the distances there
    labels = torch.tensor(GOLDEN["labels"])
    pairs, expected_pairs = hardest_pairs(features, labels)[:2], hardest_pairs(features.double(), labels)[:2]
    for found, expected in zip(pairs, expected_pairs, strict=True):
        torch.testing.assert_close(found.double(), expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_autocast_keeps_float32_and_float64(dtype: torch.dtype) -> None:
    features, labels = batch()
    half = features.to(dtype)
    with torch.autocast("cpu", torch.bfloat16):
        loss, wide = TripletLoss()(half, labels), TripletLoss()(features, labels)
    assert loss.dtype == torch.float32 and wide.dtype == torch.float64
    torch.testing.assert_close(loss, TripletLoss()(half.float(), labels))
    torch.testing.assert_close(wide, TripletLoss()(features, labels))


@pytest.mark.parametrize("margin", [-0.1, math.nan, math.inf])
def test_bad_margin_is_named(margin: float) -> None:
    for name, kind in (("triplet", TripletLoss), ("weighted_triplet", WeightedTripletLoss)):
        with pytest.raises(InputError, match=f"^{name} margin {margin}"):
            kind(margin)


@pytest.mark.parametrize(("features", "labels"), [((4,), (4,)), ((4, 2), (3,)), ((4, 2), (4, 1))])
def test_shapes_that_do_not_belong_together_are_named(features: tuple[int, ...], labels: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"\(N, D\)"):
        TripletLoss()(torch.zeros(features), torch.zeros(labels, dtype=torch.long))
