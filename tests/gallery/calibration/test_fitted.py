import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.isotonic import IsotonicRegression

from reid.errors import InputError
from reid.gallery.calibration.fitted import Likelihood, fit_likelihood

CHANCES = Likelihood((0.2, 0.6, 1.0), (4.0, 0.5, -6.0))


def drawn(seed: int, true: int = 600, false: int = 20_000) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Places, and pairs of one person and of two that lie there."""
    rng = np.random.default_rng(seed)
    edges = np.linspace(0, 2, 501)
    counts = [
        np.histogram(np.clip(rng.normal(mean, 0.15, n), 0, 1.99), edges)[0].astype(float)
        for mean, n in ((0.5, true), (0.95, false))
    ]
    seen = np.flatnonzero(counts[0] + counts[1])
    return (edges[:-1] + 0.002)[seen], counts[0][seen], counts[1][seen]


def test_the_ratio_is_that_of_the_densities():
    """Both normal with one spread: its logarithm is linear in the distance."""
    found = fit_likelihood(*drawn(0, 20_000, 500_000))
    places = np.array(found.distances)[3:-3]
    expected = ((places - 0.95) ** 2 - (places - 0.5) ** 2) / (2 * 0.15**2)
    assert np.array(found.log_ratios)[3:-3] == pytest.approx(expected, abs=0.45)


def test_agrees_with_scikit_learn_where_pairs_abound():
    distances, true, false = drawn(1, 5000, 50_000)
    oracle = IsotonicRegression(increasing=False)
    shares = np.stack([true / true.sum(), false / false.sum()])
    oracle.fit(np.tile(distances, 2), np.repeat([1, 0], len(distances)), shares.reshape(-1))
    inner = distances[(distances > 0.4) & (distances < 1)]
    found = fit_likelihood(distances, true, false).probability(inner)
    assert np.abs(found - oracle.predict(inner)).mean() < 0.02


@pytest.mark.parametrize("scale", [1e-5, 1e-2, 1])
def test_distances_of_any_scale(scale):
    distances, true, false = drawn(2)
    found, unit = fit_likelihood(distances * scale, true, false), fit_likelihood(distances, true, false)
    assert found.log_ratios == unit.log_ratios
    assert np.array(found.distances) / scale == pytest.approx(np.array(unit.distances), rel=1e-4)


def test_separable_pairs_keep_some_doubt():
    near, far = fit_likelihood(np.array([0.1, 0.9]), np.array([8, 0]), np.array([0, 98])).probability(np.array([0, 2]))
    assert 0.9 < near < 0.995 and 0.05 < far < 0.3


def test_features_that_tell_nothing():
    for true, false in (([1, 9], [9, 1]), ([5, 5], [5, 5])):
        with pytest.raises(InputError, match="no nearer"):
            fit_likelihood(np.array([0.2, 0.8]), np.array(true), np.array(false))


@given(st.integers(0, 50), st.integers(20, 300), st.integers(300, 5000))
def test_falls_and_is_never_sure(seed, true, false):
    found = fit_likelihood(*drawn(seed, true, false)).probability(np.linspace(-0.1, 2.1, 50), 1 / 50)
    assert (np.diff(found) <= 0).all() and (found > 0).all() and (found < 1).all()


def test_lines_between_and_level_beyond():
    found = CHANCES.probability(np.array([0.0, 0.2, 0.4, 1.0, 2.0]))
    assert np.log(found / (1 - found)) == pytest.approx([4, 4, 2.25, -6, -6])


@given(st.floats(0, 1), st.floats(0.001, 0.999))
def test_priors_follow_bayes(distance, prior):
    own = CHANCES
    even = own.probability(np.array([distance]))[0]
    bayes = prior * even / (prior * even + (1 - prior) * (1 - even))
    assert own.probability(np.array([distance]), prior)[0] == pytest.approx(bayes, rel=1e-9)


@pytest.mark.parametrize("prior", [0, 1, -0.1, 2, float("nan")])
def test_bad_priors(prior):
    with pytest.raises(InputError, match="prior"):
        CHANCES.probability(np.array([0.1]), prior)
