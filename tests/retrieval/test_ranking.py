from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from references import slow_evaluate
from sklearn.metrics import average_precision_score

from reid.errors import InputError
from reid.retrieval.features import Features
from reid.retrieval.index import FlatIndex
from reid.retrieval.ranking import Evaluation, cmc_curve, evaluate

GOLDEN = Path(__file__).parents[1] / "data" / "evaluation.npz"


def features(rows, pids, camids, name="features"):
    return Features(np.array(rows, np.float32), np.array(pids, np.int64), np.array(camids, np.int64), (), name)


@st.composite
def problems(draw):
    """Small integer features, exact in float32, so that ties and duplicates are common; at least one valid query."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    queries, images, width = draw(st.integers(1, 8)), draw(st.integers(1, 40)), draw(st.integers(1, 5))
    largest = draw(st.integers(1, 3))
    query = features(
        rng.integers(-largest, largest + 1, (queries, width)), rng.integers(0, 5, queries), rng.integers(1, 4, queries)
    )
    gallery = features(
        rng.integers(-largest, largest + 1, (images, width)), rng.integers(-1, 5, images), rng.integers(1, 4, images)
    )
    query.pids[0], gallery.pids[0] = 1, 1
    query.camids[0], gallery.camids[0] = 1, 2
    return query, gallery


@pytest.mark.parametrize("name", ["small", "hard"])
@pytest.mark.parametrize("distance", ["cosine", "euclidean"])  # the same order on unit features
def test_golden_figures(name, distance):
    with np.load(GOLDEN) as golden:
        sides = [
            Features(
                *(
                    golden[f"{name}/{side}_{part}"].astype(kind)
                    for part, kind in (("features", np.float32), ("pids", np.int64), ("camids", np.int64))
                )
            )
            for side in ("query", "gallery")
        ]
        evaluation = evaluate(*sides, distance, FlatIndex(sides[1], distance))
        assert_allclose(evaluation.cmc, golden[f"{name}/cmc"], atol=1e-6)
        assert_allclose(evaluation.ap[evaluation.valid], golden[f"{name}/ap_of_valid_queries"], atol=1e-6)
        assert_allclose(evaluation.inp[evaluation.valid], golden[f"{name}/inp_of_valid_queries"], atol=1e-6)


@given(problems())
def test_equals_the_slow_reference_with_ties(problem):
    query, gallery = problem
    aps, inps, firsts, ranked = slow_evaluate(query, gallery)
    evaluation = evaluate(query, gallery, proposer=FlatIndex(gallery), top_k=50)
    assert_allclose(evaluation.ap, aps, atol=1e-12)
    assert_allclose(evaluation.inp, inps, atol=1e-12)
    assert_array_equal(evaluation.first_rank, firsts)
    for own, expected in zip(evaluation.lists.indices, ranked, strict=True):
        assert_array_equal(own[own >= 0], expected[:50])


@given(problems())
def test_average_precision_is_scikit_learns_without_ties(problem):
    query, gallery = problem
    gallery = features(
        gallery.features + np.random.default_rng(0).normal(0, 0.01, gallery.features.shape),
        gallery.pids,
        gallery.camids,
    )
    evaluation = evaluate(query, gallery)
    for q in np.flatnonzero(evaluation.valid):
        kept = (gallery.pids != -1) & ~((gallery.pids == query.pids[q]) & (gallery.camids == query.camids[q]))
        a, b = query.features[q].astype(float), gallery.features[kept].astype(float)
        similarity = b @ a / np.maximum(np.linalg.norm(a) * np.linalg.norm(b, axis=1), 1e-300)
        if len(np.unique(similarity)) == len(similarity):
            expected = average_precision_score(gallery.pids[kept] == query.pids[q], similarity)
            assert evaluation.ap[q] == pytest.approx(expected, abs=1e-9)


def test_by_hand():
    # Ranked: junk (out), own camera (out), other, match, other, match: AP = (1/2 + 2/4) / 2, INP = 2/4, first rank 2.
    query = features([[1, 0]], [7], [1])
    angles = np.deg2rad([1, 2, 10, 20, 30, 40])
    gallery = features(np.c_[np.cos(angles), np.sin(angles)], [-1, 7, 3, 7, 0, 7], [2, 1, 1, 2, 2, 3])
    evaluation = evaluate(query, gallery, proposer=FlatIndex(gallery))
    assert (evaluation.mAP, evaluation.mINP, evaluation.first_rank.tolist()) == (0.5, 0.5, [2])
    assert evaluation.lists.indices[0, :5].tolist() == [2, 3, 4, 5, -1]
    assert evaluation.lists.matches[0, :5].tolist() == [False, True, False, True, False]
    assert_allclose(evaluation.lists.distances[0, :4], 1 - np.cos(angles[2:]), atol=1e-6)


def test_a_distractor_query_never_matches_distractors():
    query = features([[1, 0], [1, 0]], [0, 5], [1, 1])
    gallery = features([[1, 0], [0, 1]], [0, 5], [2, 2])
    assert evaluate(query, gallery).first_rank.tolist() == [0, 2]


def test_many_duplicates_keep_gallery_order():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(3, 300))
    gallery = features(rows[np.arange(700) % 3], np.where(np.arange(700) == 400, 9, 1), [2] * 700)
    query = features(rows[:1], [9], [1])
    # Row 400 is a copy of row 1; the 234 copies of row 0, the query's own, come first.
    evaluation = evaluate(query, gallery, proposer=FlatIndex(gallery))
    expected = slow_evaluate(query, gallery)
    assert evaluation.first_rank.tolist() == expected[2]
    assert evaluation.lists.indices[0].tolist() == expected[3][0][:50]


@pytest.mark.parametrize("length", [1e-25, 1e-3, 1e18])
@pytest.mark.parametrize("distance", ["cosine", "euclidean"])
def test_lists_of_features_of_any_length(length, distance):
    if distance == "euclidean" and length < 1e-3:
        length = 1e-3
    rng = np.random.default_rng(0)
    gallery = features(rng.normal(size=(300, 16)) * length, rng.integers(0, 20, 300), rng.integers(1, 4, 300))
    query = features(rng.normal(size=(20, 16)) * length, np.arange(20) + 1, [1] * 20)
    evaluation = evaluate(query, gallery, distance, FlatIndex(gallery, distance))
    assert (evaluation.lists.indices[:, 0] >= 0).all()


def test_lists_that_contradict_the_ranking_are_an_error():
    class Blind:
        def propose(self, queries, count):  # swears that the last rows are the nearest
            return np.tile(np.arange(200 - count, 200), (len(queries), 1))

    rng = np.random.default_rng(0)
    gallery = features(np.r_[[[1.0, 0.0]], rng.normal(size=(199, 2))], [1] + [2] * 199, [2] * 200)
    with pytest.raises(AssertionError, match="disagree on the first match of 1 queries"):
        evaluate(features([[1, 0]], [1], [1]), gallery, proposer=Blind(), top_k=50)


def test_figures_are_means_over_valid_queries():
    evaluation = Evaluation(np.array([0.5, np.nan, 1.0]), np.array([0.25, np.nan, 0.75]), np.array([3, 0, 1]), 10)
    assert evaluation.mAP == 0.75 and evaluation.mINP == 0.5
    assert evaluation.cmc[:3].tolist() == [0.5, 0.5, 1.0]
    assert evaluation.summary()["num_valid_queries"] == 2 and evaluation.summary()["num_queries"] == 3


@given(st.lists(st.integers(0, 80), min_size=1).filter(any))
def test_cmc_never_falls(ranks):
    curve = cmc_curve(np.array(ranks))
    assert (np.diff(curve) >= 0).all() and curve[0] >= 0 and curve[-1] <= 1 and len(curve) == 50


def test_bad_input():
    query = features([[1, 0]], [1], [1], "q.npz")
    with pytest.raises(InputError, match=r"q.npz has features of width 2, g.npz of width 3"):
        evaluate(query, features([[1, 0, 0]], [1], [2], "g.npz"))
    with pytest.raises(InputError, match=r"q.npz: no query has a match in g.npz"):
        evaluate(query, features([[1, 0]], [1], [1], "g.npz"))
