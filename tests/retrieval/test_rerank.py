from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from references import slow_rerank

from reid.errors import InputError
from reid.retrieval import rerank as module
from reid.retrieval.features import Features
from reid.retrieval.ranking import evaluate
from reid.retrieval.rerank import Settings, memory_needed, rerank

DEFAULT = Settings()
GOLDEN = Path(__file__).parents[1] / "data" / "evaluation.npz"


def features(rows: np.ndarray, first_pid: int = 1) -> Features:
    rows = np.asarray(rows, np.float32)
    return Features(rows, np.arange(first_pid, first_pid + len(rows)), np.ones(len(rows), np.int64))


def matrix(query: Features, gallery: Features, own: Settings = DEFAULT, max_memory: int | None = None) -> np.ndarray:
    out = np.empty((len(query), len(gallery)), np.float32)
    rerank(query, gallery, own, max_memory).distances(slice(0, len(query)), out)
    return out


def problem(seed: int, queries: int, images: int, width: int = 8) -> tuple[Features, Features]:
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(5, width))
    rows = centres[rng.integers(0, 5, queries + images)] + 0.5 * rng.normal(size=(queries + images, width))
    return features(rows[:queries]), features(rows[queries:])


@pytest.mark.parametrize("name", ["small", "hard"])
def test_golden_matrix_and_figures(name):
    with np.load(GOLDEN) as golden:
        query, gallery = (
            Features(
                golden[f"{name}/{side}_features"].astype(np.float32),
                golden[f"{name}/{side}_pids"].astype(np.int64),
                golden[f"{name}/{side}_camids"].astype(np.int64),
            )
            for side in ("query", "gallery")
        )
        assert_allclose(matrix(query, gallery), golden[f"{name}/rerank_k20_k6_l0.3"], atol=1e-6)
        own = evaluate(query, gallery, distances=rerank(query, gallery).distances)
        assert own.mAP == pytest.approx(float(golden[f"{name}/rerank_mAP"]), abs=1e-6)
        expected = golden[f"{name}/rerank_cmc"]
        assert_allclose(own.cmc[: len(expected)], expected[:50], atol=1e-6)


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    queries=st.integers(1, 12),
    images=st.integers(1, 40),
    k1=st.integers(1, 25),
    k2=st.integers(1, 8),
    weight=st.sampled_from([0.0, 0.3, 1.0]),
)
def test_equals_the_dense_reference(seed, queries, images, k1, k2, weight):
    """Also where k1 or k2 reach beyond all images, and for a gallery of one."""
    query, gallery = problem(seed, queries, images)
    expected = slow_rerank(query.features, gallery.features, k1, k2, weight)
    assert_allclose(matrix(query, gallery, Settings(k1, k2, weight)), expected, atol=2e-6)


def test_duplicates_are_ranked_by_index():
    """Unit features of halves are exact in float32: twins tie, and lists keep the smaller index first."""
    rng = np.random.default_rng(0)
    rows = rng.choice([-0.5, 0.5], size=(30, 4))
    query, gallery = features(rows[:6]), features(rows[6:])
    assert_allclose(matrix(query, gallery, Settings(5, 3)), slow_rerank(rows[:6], rows[6:], 5, 3, 0.3), atol=2e-6)


@pytest.mark.parametrize("copies", [2, 3, 30])
def test_copies_of_any_image_are_ranked_by_index(copies, monkeypatch):
    """As products they would differ in the last bit, and their lists with them."""
    monkeypatch.setattr(module, "TILE", 40)
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(60, 101)).astype(np.float32)
    which = rng.permutation(np.r_[np.arange(60), rng.integers(0, 3, copies)])
    query, gallery = features(rows[which[:20]]), features(rows[which[20:]])
    assert_allclose(matrix(query, gallery), slow_rerank(query.features, gallery.features, 20, 6, 0.3), atol=3e-6)


@pytest.mark.parametrize("count", [4, 60])
def test_all_images_the_same(count):
    query, gallery = features(np.full((2, 3), 0.1)), features(np.full((count, 3), 0.1))
    assert np.isfinite(matrix(query, gallery)).all()


def test_tiles_and_memory_do_not_change_a_distance(monkeypatch):
    query, gallery = problem(0, 30, 100)
    whole = matrix(query, gallery)
    own = Settings()
    tight = memory_needed(30, 100, own, False)
    assert rerank(query, gallery, own, tight).similarities is None and rerank(query, gallery).similarities is not None
    assert_allclose(matrix(query, gallery, own, tight), whole, atol=1e-6)
    monkeypatch.setattr(module, "TILE", 7)
    assert_allclose(matrix(query, gallery), whole, atol=1e-6)
    reranker, out = rerank(query, gallery), np.empty((30, 100), np.float32)
    for low in range(0, 30, 11):
        reranker.distances(slice(low, min(low + 11, 30)), out[low : low + 11])
    assert_array_equal(out, matrix(query, gallery))


def test_memory_beyond_the_budget_is_refused_with_both_numbers():
    query, gallery = problem(0, 30, 100)
    with pytest.raises(InputError, match=r"re-ranking needs about \d+ MiB, more than the 1 allowed"):
        rerank(query, gallery, max_memory=2**20)


def test_bad_input():
    with pytest.raises(InputError, match="k1 0"):
        Settings(k1=0)
    with pytest.raises(InputError, match="lambda 2"):
        Settings(weight=2)
    with pytest.raises(InputError, match="width 3, .* of width 4"):
        rerank(features(np.ones((2, 3))), features(np.ones((2, 4))))
