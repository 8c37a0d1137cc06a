"""Means and drops, by hand."""

import math

import pandas as pd
import pytest

from reid.report.measured import drops, means


def results(*rows):
    """Rows of (target, seed, mAP) of one model trained on a and b together."""
    frame = pd.DataFrame(rows, columns=["target", "seed", "mAP"]).assign(model="bn", source="a+b")
    return frame.assign(in_domain=frame["target"] != "c")


def test_drop_is_the_mean_over_seeds_that_have_both():
    frame = results(("a", 0, 0.6), ("b", 0, 0.4), ("c", 0, 0.3), ("c", 1, 0.9), ("a", 2, 0.9), ("c", 2, 0.1))
    assert drops(frame) == {("bn", "a+b", "c"): pytest.approx(-0.2)}  # seed 1 has no home, seed 2 half of one
    assert drops(frame[frame["seed"] == 1]) == {}
    frame.loc[4, "mAP"] = math.nan
    assert drops(frame) == {("bn", "a+b", "c"): pytest.approx(-0.2)}


def test_mean_of_a_missing_figure_is_missing():
    found = means(results(("a", 0, 0.6), ("a", 1, math.nan), ("c", 0, 0.3), ("c", 1, 0.5)))
    assert math.isnan(found["bn", "a+b", "a"]) and found["bn", "a+b", "c"] == pytest.approx(0.4)
