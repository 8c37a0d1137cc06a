from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reid.errors import InputError
from reid.evaluation.divergence import FLOOR, domain_divergence, identity_divergence, symmetric_kl
from reid.evaluation.moments import Moments, Parts

NORMS = (True, False, False, False)


def kl(mean_a: float, variance_a: float, mean_b: float, variance_b: float) -> float:
    """KL(A||B) of two Gaussians, the textbook's."""
    return (
        math.log(math.sqrt(variance_b) / math.sqrt(variance_a))
        + (variance_a + (mean_a - mean_b) ** 2) / (2 * variance_b)
        - 0.5
    )


def slow(values_a, values_b):
    """Mean and median over channels, for values (N, C), one channel at a time with the variance floored."""
    each = []
    for a, b in zip(values_a.T, values_b.T, strict=True):
        own = (a.mean(), max(a.var(), 1e-5)), (b.mean(), max(b.var(), 1e-5))
        each.append(kl(*own[0], *own[1]) + kl(*own[1], *own[0]))
    return np.mean(each), np.median(each)


def made(people, pids=None, norms=NORMS) -> Moments:
    """Moments of people's values, an array (N, C) each, the same at all four stages."""
    parts = Parts(
        np.array([float(len(own)) for own in people]),
        np.stack([own.mean(axis=0) for own in people]),
        np.stack([((own - own.mean(axis=0)) ** 2).sum(axis=0) for own in people]),
    )
    pids = np.arange(1, len(people) + 1) if pids is None else np.array(pids)
    return Moments(pids, np.ones(len(people), dtype=np.int64), (parts,) * 4, norms, "made up")


def people(seed, count=4, channels=5, length=30, shift=0.0):
    rng = np.random.default_rng(seed)
    return [shift + rng.normal(rng.normal(size=channels), 0.5, size=(length + i, channels)) for i in range(count)]


def test_one_channel_by_hand():
    """N(0, 1) and N(1, 4): (3^2 + 1 * 5) / (2 * 4) = 1.75; half of (1/4 + 1/4 - 1) + (4 + 1 - 1) is the same."""
    one, four = np.array([[-1.0], [1.0]]), np.array([[-1.0], [3.0]])
    found = domain_divergence(made([one]), made([four]))
    assert [(stage.stage, stage.mean, stage.median) for stage in found] == [(n, 1.75, 1.75) for n in (1, 2, 3, 4)]
    assert [stage.instance_norm for stage in found] == list(NORMS)
    assert symmetric_kl(*(np.array(value) for value in (0.0, 1.0, 1.0, 4.0))) == 1.75


def test_domains_are_all_values_as_one():
    a, b = people(0), people(1, shift=0.3)
    expected = slow(np.concatenate(a), np.concatenate(b))
    for stage in domain_divergence(made(a), made(b)):
        np.testing.assert_allclose((stage.mean, stage.median), expected, rtol=1e-9)
    regrouped = made([np.concatenate(a[:3]), a[3]])
    assert domain_divergence(regrouped, made(b))[0].mean == pytest.approx(expected[0], rel=1e-9)


def test_identities_are_all_pairs_averaged():
    own = people(2)
    expected = np.mean([slow(a, b) for a, b in combinations(own, 2)], axis=0)
    for stage in identity_divergence(made(own)):
        np.testing.assert_allclose((stage.mean, stage.median), expected, rtol=1e-9)
    with_nobody = made([*people(3, count=2), *own], pids=[-1, 0, 1, 2, 3, 4])
    np.testing.assert_allclose(identity_divergence(with_nobody)[1].mean, expected[0], rtol=1e-9)


def test_one_identity_is_none_to_compare():
    with pytest.raises(InputError, match="made up: 1 identities above 0"):
        identity_divergence(made(people(0, count=2), pids=[-1, 5]))


def test_the_same_set_is_at_zero_and_the_order_does_not_matter():
    a, b = made(people(0)), made(people(1))
    assert all((stage.mean, stage.median) == (0, 0) for stage in domain_divergence(a, a))
    assert domain_divergence(a, b) == domain_divergence(b, a)


def test_the_floor():
    dead = np.zeros((4, 1))
    assert domain_divergence(made([dead]), made([dead]))[0].mean == 0
    shifted = domain_divergence(made([dead]), made([dead + 0.01]))[0].mean
    assert shifted == pytest.approx(0.01**2 / FLOOR) and FLOOR == 1e-5
    below = symmetric_kl(np.zeros(1), np.array([1e-9]), np.zeros(1), np.array([1e-7]))
    assert below == 0  # both are below what the norms see


def test_the_median_is_not_carried_by_one_channel():
    values = np.random.default_rng(0).normal(size=(50, 5))
    other = values.copy()
    other[:, 0] *= 1e-3
    found = domain_divergence(made([values]), made([other]))[0]
    assert found.mean > 1e3 and found.median == 0


@given(*[st.floats(-100, 100), st.floats(0, 1e4)] * 2)
def test_symmetric_kl_is_the_textbook_s_and_never_negative(mean_a, variance_a, mean_b, variance_b):
    found = float(symmetric_kl(*(np.array(value) for value in (mean_a, variance_a, mean_b, variance_b))))
    a, b = (mean_a, max(variance_a, FLOOR)), (mean_b, max(variance_b, FLOOR))
    assert found >= 0
    assert found == pytest.approx(kl(*a, *b) + kl(*b, *a), rel=1e-9, abs=1e-9)
    assert found == float(symmetric_kl(*(np.array(value) for value in (mean_b, variance_b, mean_a, variance_a))))


def test_moments_of_different_networks_are_refused():
    with pytest.raises(InputError, match=r"of different networks"):
        domain_divergence(made(people(0)), made(people(0, channels=3)))
    with pytest.raises(InputError, match=r"of different networks"):
        domain_divergence(made(people(0)), made(people(0), norms=(False,) * 4))
