import numpy as np
import pytest

from reid.retrieval.features import Features
from reid.retrieval.index import FlatIndex


@pytest.mark.parametrize("distance", ["cosine", "euclidean"])
def test_proposes_the_nearest(distance):
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(60, 8)).astype(np.float32) * rng.uniform(0.5, 2, (60, 1)).astype(np.float32)
    gallery = Features(rows, np.arange(60), np.ones(60, np.int64))
    queries = rng.normal(size=(5, 8)).astype(np.float32)
    if distance == "cosine":
        expected = -(queries @ rows.T) / np.linalg.norm(rows, axis=1)
    else:
        expected = np.linalg.norm(queries[:, None] - rows, axis=2)
    proposed = FlatIndex(gallery, distance).propose(queries, 7)
    np.testing.assert_array_equal(proposed, np.argsort(expected, axis=1)[:, :7])
    assert gallery.features is rows and rows.max() > 1  # the caller's features are left as they were
