import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from reid.errors import InputError
from reid.retrieval import unit
from reid.retrieval.unit import unit_rows, usable


def test_rows_have_length_one():
    rows = np.random.default_rng(0).normal(size=(9, 5)).astype(np.float32) * np.geomspace(1e-30, 1e30, 9)[:, None]
    units = unit_rows(rows.astype(np.float32), 5, "rows")
    assert units.dtype == np.float32
    for row, own in zip(rows.astype(float), units, strict=True):
        assert_allclose(own, row / np.sqrt(sum(value * value for value in row)), rtol=1e-6)


@pytest.mark.parametrize("block", [1, 2, 4096])
def test_a_row_has_the_same_bits_wherever_it_stands(block, monkeypatch):
    monkeypatch.setattr(unit, "BLOCK", block)
    rows = np.random.default_rng(0).normal(size=(7, 300)).astype(np.float32)
    units = unit_rows(rows, 300, "rows")
    assert_array_equal(unit_rows(rows[::-1], 300, "rows")[::-1], units)
    for row, own in zip(rows, units, strict=True):
        assert_array_equal(unit_rows(row[None], 300, "row")[0], own)


def test_rows_without_a_direction(monkeypatch):
    monkeypatch.setattr(unit, "BLOCK", 2)
    rows = np.array([[3, 4], [0, 0], [1, 0], [0, 0]], np.float32)
    assert usable(rows).tolist() == [True, False, True, False]
    with pytest.raises(InputError, match=r"^some: row 1 is all zeros, or holds NaN or infinity \(2 such rows\)"):
        unit_rows(rows, 2, "some")
    assert_array_equal(
        unit_rows(rows, 2, "some", zeros=True), np.array([[0.6, 0.8], [0, 0], [1, 0], [0, 0]], np.float32)
    )
    for bad in (np.nan, np.inf):
        rows[2, 1] = bad
        assert usable(rows).tolist() == [True, False, False, False]
        with pytest.raises(InputError, match=r"^some: row 2 holds NaN or infinity \(1 such rows\)"):
            unit_rows(rows, 2, "some", zeros=True)


def test_other_shapes():
    for rows in (np.ones(2, np.float32), np.ones((2, 3), np.float32)):
        with pytest.raises(InputError, match=r"some: expected features \(N, 2\), got"):
            unit_rows(rows, 2, "some")
    assert unit_rows(np.empty((0, 2), np.float32), 2, "none").shape == (0, 2)
