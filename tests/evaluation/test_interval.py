import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy import stats

from reid.errors import InputError
from reid.evaluation.interval import Term, better_worse, degrees_of_freedom, estimate

BY_HAND = {"anna": [0.1], "ben": [0.9, 0.5], "carl": [0.2, 0.4, 0.9]}  # an identity's queries


def term(people, sign=1, offsets=(0.0,)):
    """A term of dict of identity -> values; a seed an offset."""
    values = np.array([value for own in people.values() for value in own])
    return Term(values + np.array(offsets)[:, None], np.repeat(list(people), [len(v) for v in people.values()]), sign)


def mean(groups):
    return sum(sum(group) for group in groups) / sum(len(group) for group in groups)


def all_resamples(people):
    """The mean over queries in each of the C^C equally likely resamples of C identities."""
    return [mean(chosen) for chosen in product(people.values(), repeat=len(people))]


def bca_by_hand(people, level=0.95):
    """Efron's BCa interval from every possible resample, by his formulas (1987; Efron and Tibshirani 1993, 14.3)."""
    groups, normal = list(people.values()), stats.norm
    resampled, value = np.array(all_resamples(people)), mean(groups)
    bias = normal.ppf(((resampled < value - 1e-9).mean() + (resampled < value + 1e-9).mean()) / 2)
    left_out = np.array([mean(groups[:i] + groups[i + 1 :]) for i in range(len(groups))])
    away = left_out.mean() - left_out
    acceleration = (away**3).sum() / (6 * (away**2).sum() ** 1.5)
    bounds = []
    for z in normal.ppf([(1 - level) / 2, (1 + level) / 2]):
        bounds.append(np.quantile(resampled, normal.cdf(bias + (bias + z) / (1 - acceleration * (bias + z)))))
    return bounds


def test_error_is_that_of_all_resamples_of_the_identities():
    found = estimate([term(BY_HAND)], resamples=20_000)
    assert found.value == pytest.approx(3.0 / 6)
    assert found.standard_error == pytest.approx(np.std(all_resamples(BY_HAND)), rel=0.02)
    assert (found.method, found.seeds, found.identities) == ("BCa cluster bootstrap", 1, (3,))
    assert math.isnan(found.degrees)


def test_terms_are_resampled_independently():
    other = {1: [0.3, 0.1], 2: [0.7]}
    found = estimate([term(BY_HAND), term(other, -1)], resamples=20_000)
    exact = [a - b for a in all_resamples(BY_HAND) for b in all_resamples(other)]
    assert found.value == pytest.approx(0.5 - 1.1 / 3)
    assert found.standard_error == pytest.approx(np.std(exact), rel=0.02)
    assert found.identities == (3, 2)


def test_bca_interval_is_the_one_from_every_possible_resample():
    rng = np.random.default_rng(4)
    people = {pid: list(rng.exponential(size=size)) for pid, size in enumerate([1, 4, 2, 2, 3, 1])}  # 6^6 resamples
    found = estimate([term(people)], resamples=40_000)
    assert_allclose([found.low, found.high], bca_by_hand(people), atol=0.04 * (found.high - found.low))


def test_seeds_enter_the_error_and_its_degrees_of_freedom():
    offsets = (-0.1, 0.0, 0.4)
    found = estimate([term(BY_HAND, offsets=offsets)], resamples=20_000)
    people = np.var(all_resamples(BY_HAND)) * 3 / 2  # 3 of 3 identities drawn again vary 2/3 as much as new ones
    seeds = (0.2**2 + 0.1**2 + 0.3**2) / 2 / 3
    assert found.value == pytest.approx(0.5 + 0.1)
    assert found.standard_error == pytest.approx(math.sqrt(people + seeds), rel=0.02)
    # both variances have 2 degrees of freedom, so caution weighs them alike and Satterthwaite's formula is left
    assert found.degrees == pytest.approx((people + seeds) ** 2 / (people**2 / 2 + seeds**2 / 2), rel=0.02)
    half = found.standard_error * stats.t.ppf(0.975, found.degrees)
    assert_allclose([found.low, found.high], [found.value - half, found.value + half])
    assert (found.method, found.seeds) == ("t, cluster bootstrap + seeds", 3)


def test_degrees_of_freedom_by_hand():
    # a third of chi-squared lies below 2 ln 1.5 with 2 degrees, below 2.37767 with 4
    a, b = 2 * 0.3 / (2 * math.log(1.5)), 4 * 0.5 / 2.37767
    assert degrees_of_freedom([0.3, 0.5], [2, 4]) == pytest.approx((a + b) ** 2 / (a**2 / 2 + b**2 / 4), rel=1e-5)
    assert degrees_of_freedom([0.3, 0.0], [2, 4]) == pytest.approx(2)
    assert degrees_of_freedom([0.0, 0.5], [2, 4]) == pytest.approx(4)


@given(st.floats(0, 1), st.integers(1, 1000), st.integers(1, 9))
def test_degrees_of_freedom_lie_between_the_smallest_and_the_sum(share, people, seeds):
    found = degrees_of_freedom([1 - share, share], [people, seeds])
    assert min(people, seeds) - 1e-6 <= found <= people + seeds + 1e-6


@pytest.mark.parametrize("seeds", [1, 3])
@pytest.mark.parametrize("value", [0.0, 0.1, -0.3])
def test_identities_that_are_all_alike_leave_no_width(seeds, value):
    people = {pid: [value] * size for pid, size in enumerate([1, 3, 7, 2])}
    found = estimate([term(people, offsets=[0.0] * seeds)])
    assert found.value == pytest.approx(value, abs=1e-15)
    assert (found.low, found.high, found.standard_error) == (found.value, found.value, 0)
    assert found.significant == (value != 0)
    assert math.isnan(found.degrees)


def test_only_seeds_that_differ_leave_their_own_t_interval():
    found = estimate([term({1: [0.0], 2: [0.0, 0.0]}, offsets=(0.1, 0.2, 0.6))])
    assert found.degrees == pytest.approx(2)
    assert found.high - found.low == pytest.approx(2 * 4.30265 * math.sqrt(0.07 / 3), rel=1e-5)


def test_one_term_all_alike_leaves_the_width_of_the_other():
    alike = {1: [0.5], 2: [0.5, 0.5]}
    alone, both = estimate([term(BY_HAND)]), estimate([term(BY_HAND), term(alike, -1)])
    assert both.standard_error == pytest.approx(alone.standard_error, rel=0.05)


def test_one_query_of_a_thousand_that_differs_is_no_proof():
    values = np.zeros((1, 1000))
    values[0, 0] = 1
    found = estimate([Term(values, np.arange(1000))])
    assert found.low == 0 < found.high and not found.significant


@st.composite
def problems(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    pids = rng.integers(1, 6, draw(st.integers(3, 12)))
    pids[:2] = 1, 2
    shape = draw(st.integers(1, 3)), len(pids)
    return rng.random(shape), rng.random(shape), pids


def bounds(found):
    return [found.low, found.value, found.high]


@settings(max_examples=40, deadline=None)
@given(problems())
def test_swapped_models_give_the_mirrored_interval(problem):
    a, b, pids = problem
    one, two = (estimate([Term(d, pids)], resamples=200) for d in (a - b, b - a))
    assert_allclose(bounds(one), [-bound for bound in reversed(bounds(two))], atol=1e-12)
    assert better_worse(a, b) == better_worse(b, a)[::-1]
    assert one.significant == two.significant


@settings(max_examples=40, deadline=None)
@given(problems(), st.floats(-2, 2))
def test_a_constant_moves_value_and_interval(problem, constant):
    a, _, pids = problem
    one, two = (estimate([Term(d, pids)], resamples=200) for d in (a, a + constant))
    assert_allclose(np.array(bounds(one)) + constant, bounds(two), atol=1e-9)


@settings(max_examples=40, deadline=None)
@given(problems(), st.randoms(use_true_random=False))
def test_the_order_of_queries_and_seeds_does_not_matter(problem, random):
    a, _, pids = problem
    order, seeds = list(range(len(pids))), list(range(len(a)))
    random.shuffle(order)
    random.shuffle(seeds)
    one, two = (
        estimate([Term(a, pids)], resamples=200),
        estimate([Term(a[seeds][:, order], pids[order])], resamples=200),
    )
    assert_allclose(bounds(one), bounds(two), atol=1e-12)
    assert one == estimate([Term(a, pids)], resamples=200)  # nothing but the generator's seed decides


def test_better_and_worse_count_queries_by_their_mean_over_seeds():
    a = np.array([[0.1, 0.5, 0.2, 0.3], [0.2, 0.5, 0.9, 0.1], [0.3, 0.5, 0.1, 0.2]])
    b = np.array([[0.3, 0.4, 0.2, 0.3], [0.2, 0.5, 0.2, 0.3], [0.1, 0.6, 0.2, 0.3]])
    assert better_worse(a, b) == (0.25, 0.25)


GOOD = Term(np.array([[0.1, 0.2, 0.3]]), np.array([1, 1, 2]))


@pytest.mark.parametrize(
    ("terms", "keywords", "message"),
    [
        ([], {}, "there is none"),
        ([Term(GOOD.values, np.array([7, 7, 7]))], {}, "term 1: has 1 identities; resampling takes at least 2"),
        ([GOOD, Term(np.zeros((1, 0)), np.zeros(0))], {}, "term 2: has 0 identities"),
        ([GOOD, Term(np.zeros((2, 3)), GOOD.pids)], {}, "term 2: has 2 seeds, the first has 1"),
        ([Term(np.array([[0.1, np.nan, 0.3]]), GOOD.pids)], {}, "term 1: 1 values are not finite"),
        ([Term(GOOD.values[0], GOOD.pids)], {}, r"values \(3,\) must be \(seeds, queries\)"),
        ([Term(GOOD.values, GOOD.pids[:2])], {}, r"pids \(2,\)"),
        ([Term(GOOD.values, GOOD.pids, 2)], {}, "sign 2 is neither 1 nor -1"),
        ([GOOD], {"level": 95}, "level 95"),
        ([GOOD], {"resamples": 10}, "resamples 10"),
    ],
)
def test_bad_input(terms, keywords, message):
    with pytest.raises(InputError, match=message):
        estimate(terms, **keywords)


# Coverage: experiments whose true value, 0, is known. 80 people with 1 to 7 queries each.
def rank1(rng, pids):
    """Whether each query succeeds, less the true share; a person's chance is Beta(0.8, 0.4), so 0.45 correlated."""
    return (rng.random(len(pids)) < rng.beta(0.8, 0.4, 80)[pids]) - 2 / 3


def query_bootstrap(values, rng, resamples=200):
    """Percentile interval from resampling queries, as if they were independent and the seeds fixed."""
    own = values.mean(axis=0)
    return np.quantile(own[rng.integers(0, len(own), (resamples, len(own)))].mean(axis=1), [0.025, 0.975])


def coverage(seeds, seed_share, experiments=1000, naive_experiments=200):
    """Shares of experiments in which the interval over identities, and the one over queries, hold the true value.

    ``seed_share`` is the share of the seeds in the variance of the mean over seeds and queries.
    """
    rng = np.random.default_rng(20)
    ours = naive = 0
    for number in range(experiments):
        sizes = rng.integers(1, 8, 80)
        pids = np.repeat(np.arange(80), sizes)
        variance = 2 / 9 * (5 / 11 * (sizes**2).sum() + 6 / 11 * sizes.sum()) / sizes.sum() ** 2
        between = math.sqrt(variance * seeds * seed_share / (1 - seed_share))
        values = rank1(rng, pids) + rng.normal(0, between, (seeds, 1))
        found = estimate([Term(values, pids)], resamples=200 if seeds > 1 else 400, seed=number)
        ours += found.low <= 0 <= found.high
        if number < naive_experiments:
            low, high = query_bootstrap(values, rng)
            naive += low <= 0 <= high
    return ours / experiments, naive / naive_experiments


def test_coverage_of_fixed_networks():
    ours, naive = coverage(seeds=1, seed_share=0)
    assert 0.93 <= ours <= 0.97
    assert naive < 0.85


@pytest.mark.parametrize("seed_share", [0.5, 0.9])
def test_coverage_with_three_seeds(seed_share):
    ours, naive = coverage(seeds=3, seed_share=seed_share)
    assert 0.93 <= ours <= 0.97
    assert naive < 0.7


def test_coverage_of_a_gap_between_two_sets_of_people():
    rng, hits = np.random.default_rng(21), 0
    for number in range(400):
        between, terms = rng.normal(0, 0.08, (3, 1)), []  # of the seed, on the gap: 0.55 of its variance
        for sign, shift in ((1, between), (-1, 0)):
            pids = np.repeat(np.arange(80), rng.integers(1, 8, 80))
            terms.append(Term(rank1(rng, pids) + np.zeros((3, 1)) + shift, pids, sign))
        found = estimate(terms, resamples=200, seed=number)
        hits += found.low <= 0 <= found.high
    assert 0.93 <= hits / 400 <= 0.97
