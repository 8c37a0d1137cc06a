import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize

from reid.errors import InputError
from reid.gallery.calibration.probability import BINS, Map, Reliability, fit_map

CELLS = np.linspace(0.05, 0.95, 10)
TRUE = np.array([30, 20, 9, 6, 3, 1, 1, 0, 0, 0])
FALSE = np.array([0, 1, 10, 40, 90, 160, 300, 500, 700, 400])


def loss(slope: float, intercept: float) -> float:
    """Log loss with Platt's targets, pair by pair, each kind counting half."""
    total = 0.0
    for counts, sign in ((TRUE, 1), (FALSE, -1)):
        doubt = 1 / (counts.sum() + 2)
        for cell, count in zip(CELLS, counts, strict=True):
            logit = sign * (slope * cell + intercept)
            right, wrong = np.logaddexp(0, -logit), np.logaddexp(0, logit)
            total += count * ((1 - doubt) * right + doubt * wrong) / counts.sum() / 2
    return total


def test_the_map_is_the_likeliest():
    found = fit_map(CELLS, TRUE, FALSE)
    best = minimize(lambda p: loss(*p), [-1.0, 0.0], method="Nelder-Mead", options={"xatol": 1e-8, "fatol": 1e-14})
    assert (found.slope, found.intercept) == pytest.approx(best.x, rel=1e-4)


@pytest.mark.parametrize("scale", [1e-5, 1e-2, 1])
def test_distances_of_any_scale(scale):
    found, unit = fit_map(CELLS * scale, TRUE, FALSE), fit_map(CELLS, TRUE, FALSE)
    assert (found.slope * scale, found.intercept) == pytest.approx((unit.slope, unit.intercept), rel=1e-6)


def test_separable_pairs_keep_some_doubt():
    found = fit_map(np.array([0.1, 0.9]), np.array([8, 0]), np.array([0, 98]))
    near, far = found.probability(np.array([0.1, 0.9]))
    assert near == pytest.approx(9 / 10, abs=1e-6) and far == pytest.approx(1 / 100, abs=1e-6)


def test_features_that_tell_nothing():
    for true, false in (([1, 9], [9, 1]), ([5, 5], [5, 5])):
        with pytest.raises(InputError, match="no nearer"):
            fit_map(np.array([0.2, 0.8]), np.array(true), np.array(false))


@given(st.lists(st.floats(-0.01, 2.01), min_size=2, max_size=20), st.floats(-50, -0.1), st.floats(-10, 10))
def test_falls_with_distance(distances, slope, intercept):
    found = Map(slope, intercept).probability(np.sort(distances))
    assert (np.diff(found) <= 0).all() and (found >= 0).all() and (found <= 1).all()


@given(st.floats(0, 1), st.floats(0.001, 0.999))
def test_priors_follow_bayes(distance, prior):
    own = Map(-8.0, 3.0)
    even = own.probability(np.array([distance]))[0]
    bayes = prior * even / (prior * even + (1 - prior) * (1 - even))
    assert own.probability(np.array([distance]), prior)[0] == pytest.approx(bayes, rel=1e-9)


@pytest.mark.parametrize("prior", [0, 1, -0.1, 2, float("nan")])
def test_bad_priors(prior):
    with pytest.raises(InputError, match="prior"):
        Map(-8.0, 3.0).probability(np.array([0.1]), prior)


def test_reliability_by_hand():
    """Logit 0 at distance 1: 0.5 there, 1 / (1 + e) at 2."""
    reliability = Reliability(Map(-1.0, 1.0))
    reliability.add(np.array([1.0, 1.0, 1.0, 2.0]), true=True)
    reliability.add(np.array([1.0, 2.0]), true=False)
    reliability.add(np.array([2.0, 2.0]), true=False)
    (low, middle), error = reliability.bins()
    far = 1 / (1 + np.e)
    assert (low.true, low.false, middle.true, middle.false) == (1, 3, 3, 1)
    assert (low.predicted, low.met) == pytest.approx((far, 0.25))  # 1/4 of the true, 3/4 of the false
    assert (middle.predicted, middle.met) == pytest.approx((0.5, 0.75))
    assert error == pytest.approx((abs(far - 0.25) + 0.25) / 2)


def test_reliability_equals_a_loop():
    rng = np.random.default_rng(3)
    chances = Map(-6.0, 3.0)
    kinds = {True: rng.uniform(0, 1, 50), False: rng.uniform(0.2, 1.5, 400)}
    reliability = Reliability(chances)
    for true, distances in kinds.items():
        reliability.add(distances, true)
    sums = {n: [0.0, 0.0, 0.0] for n in range(BINS)}
    for true, distances in kinds.items():
        for distance in distances:
            predicted = float(chances.probability(np.array(distance)))
            own = sums[min(int(predicted * BINS), BINS - 1)]
            for place, value in enumerate((1.0, predicted, float(true))):
                own[place] += value / len(distances) / 2
    bins, error = reliability.bins()
    used = [own for own in sums.values() if own[0]]
    assert [b.predicted for b in bins] == pytest.approx([own[1] / own[0] for own in used])
    assert [b.met for b in bins] == pytest.approx([own[2] / own[0] for own in used])
    assert error == pytest.approx(sum(abs(own[1] - own[2]) for own in used))
    assert sum(b.true for b in bins) == 50 and sum(b.false for b in bins) == 400
