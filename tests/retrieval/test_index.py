import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from reid.retrieval.kernels import largest


@st.composite
def blocks(draw):
    """Keys of few values, so that nearly all are tied, many left out, and one row with nothing left."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = draw(st.integers(1, 6)), draw(st.integers(1, 80))
    keys = rng.choice(draw(st.sampled_from([[-1, -0.5, 0], [2.5], np.linspace(-3, 3, 40)])), shape).astype(np.float32)
    keys[rng.random(shape) < draw(st.sampled_from([0, 0.3, 0.9]))] = np.nan
    keys[-1] = np.nan
    return keys


@given(blocks(), st.integers(1, 90))
def test_equals_a_stable_sort(keys, k):
    columns, values = largest(keys, k)
    assert columns.shape == values.shape == (len(keys), k)
    for row, own, found in zip(keys, columns, values, strict=True):
        expected = sorted(np.flatnonzero(~np.isnan(row)).tolist(), key=lambda column: -row[column])[:k]
        assert own.tolist() == expected + [-1] * (k - len(expected))
        assert_array_equal(found, [*row[expected], *[np.nan] * (k - len(expected))])


def test_extreme_keys():
    keys = np.array([[-3e38, 3e38, -1e-38, np.nan]], np.float32)
    columns, values = largest(keys, 3)
    assert columns.tolist() == [[1, 2, 0]] and values.tolist() == [keys[0, [1, 2, 0]].tolist()]
