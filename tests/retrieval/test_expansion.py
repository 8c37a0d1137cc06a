import numpy as np
import pytest

from reid.errors import InputError
from reid.retrieval.expansion import expand_queries
from reid.retrieval.features import Features


def features(n: int, seed: int) -> Features:
    rows = np.random.default_rng(seed).normal(size=(n, 5)).astype(np.float32)
    return Features(rows, np.arange(1, n + 1), np.ones(n, np.int64))


@pytest.mark.parametrize("count", [1, 4, 99])
def test_equals_plain_loops(count):
    query, gallery = features(6, 0), features(20, 1)
    expanded = expand_queries(query, gallery, count)
    unit = gallery.features / np.linalg.norm(gallery.features, axis=1, keepdims=True)
    for q, row in enumerate(query.features):
        own = row / np.linalg.norm(row)
        nearest = sorted(range(20), key=lambda g: -float(unit[g] @ own))[:count]
        total = own + sum(unit[g] for g in nearest)
        np.testing.assert_allclose(expanded.features[q], total / np.linalg.norm(total), atol=1e-6)
    assert expanded.pids is query.pids and expanded.features.dtype == np.float32


def test_bad_count():
    with pytest.raises(InputError, match="by 0 images"):
        expand_queries(features(2, 0), features(2, 1), 0)


def test_a_row_of_zeros_adds_nothing():
    query = Features(np.array([[3, 4], [0, 0]], np.float32), np.array([1, 2]), np.ones(2, np.int64))
    gallery = Features(np.array([[0, 0], [-1, 0]], np.float32), np.array([1, 2]), np.ones(2, np.int64))
    expanded = expand_queries(query, gallery, 1).features
    np.testing.assert_allclose(expanded, [[0.6, 0.8], [0, 0]], atol=1e-6)  # of two equally near ones the first
