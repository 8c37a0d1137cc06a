import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from labelled import draw
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from reid.errors import InputError
from reid.gallery.calibration import fitted
from reid.gallery.calibration.fitted import Unlike, fit_unlike
from reid.gallery.calibration.thresholds import Calibration, calibrate, halves
from reid.networks import Origin
from reid.sites.drawn.nothing import EACH, SCENES, WINDOWS, pictures


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
    monkeypatch.setattr(fitted, "RIDGE", 0)
    rng = np.random.default_rng(0)
    people, none = rng.normal(0, 1, (500, 4)), rng.normal([1, 0, 0.5, 0], 1, (500, 4))
    labels = np.repeat([0, 1], 500)
    oracle = LinearDiscriminantAnalysis(solver="lsqr").fit(np.concatenate([people, none]), labels).coef_[0]
    assert fitted._direction(people, none) == pytest.approx(oracle / np.linalg.norm(oracle), abs=1e-3)


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
