import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from labelled import draw
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.isotonic import IsotonicRegression

from reid.errors import InputError
from reid.gallery.calibration import fitted as module
from reid.gallery.calibration.fitted import Likelihood, Unlike, fit_likelihood, fit_unlike
from reid.gallery.calibration.thresholds import Calibration, calibrate, halves
from reid.networks import Origin
from reid.sites.drawn.nothing import EACH, SCENES, WINDOWS, pictures

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


# --- no person --------------------------------------------------------------------------------------------------------


def nothing(count: int, seed: int = 0, width: int = 8) -> np.ndarray:
    """(count, width) features on one side of people, of all lengths."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(count, width)) + np.r_[6.0, np.zeros(width - 1)]
    return (rows * rng.uniform(0.1, 10, (count, 1))).astype(np.float32)


def test_tells_pictures_from_people():
    fitted, held = halves(*draw(200), 0)
    found = fit_unlike(fitted, held, nothing(200))
    assert found.share == 0.01 and found.met < 0.04 and found.caught > 0.5
    assert found.says(nothing(300, 1)).mean() == pytest.approx(found.caught, abs=0.1)
    assert found.says(held[1].features).mean() < 0.05


def test_the_direction_is_fishers(monkeypatch):
    monkeypatch.setattr(module, "RIDGE", 0)
    rng = np.random.default_rng(0)
    people, none = rng.normal(0, 1, (500, 4)), rng.normal([1, 0, 0.5, 0], 1, (500, 4))
    labels = np.repeat([0, 1], 500)
    oracle = LinearDiscriminantAnalysis(solver="lsqr").fit(np.concatenate([people, none]), labels).coef_[0]
    assert module._direction(people, none) == pytest.approx(oracle / np.linalg.norm(oracle), abs=1e-3)


@given(st.floats(0.01, 1000))
def test_lengths_do_not_matter(scale):
    found = Unlike((1.0, 0.0), 0.5, 0.01, 0.0, 1.0)
    rows = np.array([[1, 0], [0.4, 1], [0, 1], [-1, 0]], np.float32) * np.float32(scale)
    assert found.says(rows).tolist() == [True, False, False, False]


def test_travels_with_the_calibration():
    made = calibrate(*draw(30), Origin("x", 8, "n", "p"), "plaza", (0.05,), nothing=nothing(60))
    assert made.unlike is not None and Calibration.from_json(made.to_json(), "c.json") == made
    assert calibrate(*draw(30), Origin("x", 8, "n", "p"), "plaza", (0.05,)).unlike is None


def test_pictures_are_of_every_kind_and_the_same_each_time():
    found, again = pictures(), pictures()
    assert len(found) == 3 * SCENES * WINDOWS + 5 * EACH
    assert all(a.dtype == np.uint8 and a.ndim == 3 and np.array_equal(a, b) for a, b in zip(found, again, strict=True))
    assert all(picture.shape[0] > 2 * picture.shape[1] for picture in found)
    assert not np.array_equal(found[0], pictures(seed=1)[0])


def test_bad_input():
    fitted, held = halves(*draw(12), 0)
    with pytest.raises(InputError, match="0 pictures of nothing have a feature"):
        fit_unlike(fitted, held, np.zeros((60, 8), np.float32))
    with pytest.raises(InputError, match="pictures of nothing: expected features"):
        fit_unlike(fitted, held, nothing(60, width=5))
    with pytest.raises(InputError, match="expected features"):
        Unlike((1.0, 0.0), 0.5, 0.01, 0.0, 1.0).says(np.ones((1, 3), np.float32))
