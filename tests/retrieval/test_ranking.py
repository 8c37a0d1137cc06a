from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from references import slow_evaluate, slow_trapezoid_ap
from sklearn.metrics import average_precision_score

from reid.errors import InputError
from reid.retrieval import kernels
from reid.retrieval.features import Features
from reid.retrieval.ranking import Evaluation, block_rows, cmc_curve, definitions, evaluate

GOLDEN = Path(__file__).parents[1] / "data" / "evaluation.npz"


def features(rows, pids, camids, name="features"):
    return Features(np.array(rows, np.float32), np.array(pids, np.int64), np.array(camids, np.int64), (), name)


@st.composite
def problems(draw, distance):
    """Features exact in float32, so that ties and duplicates are common and exact; at least one valid query.

    For cosines all entries are 1 or -1, so that all rows have one length.
    """
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    queries, images, width = draw(st.integers(1, 8)), draw(st.integers(1, 40)), draw(st.integers(1, 6))
    sides = []
    for count, lowest in ((queries, 0), (images, -1)):
        rows = rng.integers(-2, 3, (count, width)) if distance == "euclidean" else rng.choice([-1, 1], (count, width))
        sides.append(features(rows, rng.integers(lowest, 5, count), rng.integers(1, 4, count)))
    query, gallery = sides
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
        evaluation = evaluate(*sides, distance, top_k=50)
        assert_allclose(evaluation.cmc, golden[f"{name}/cmc"], atol=1e-6)
        assert_allclose(evaluation.ap[evaluation.valid], golden[f"{name}/ap_of_valid_queries"], atol=1e-6)
        assert_allclose(evaluation.inp[evaluation.valid], golden[f"{name}/inp_of_valid_queries"], atol=1e-6)


@pytest.mark.parametrize("distance", ["cosine", "euclidean"])
@given(st.data())
def test_equals_the_slow_reference_with_ties(distance, data):
    query, gallery = data.draw(problems(distance))
    aps, inps, firsts, ranked = slow_evaluate(query, gallery, distance)
    memory = data.draw(st.sampled_from([None, 1, 4 * 3 * len(gallery)]))  # blocks of all, one and three queries
    evaluation = evaluate(query, gallery, distance, top_k=50, max_memory=memory)
    assert_allclose(evaluation.ap, aps, atol=1e-12)
    assert_allclose(evaluation.inp, inps, atol=1e-12)
    assert_array_equal(evaluation.first_rank, firsts)
    for own, expected in zip(evaluation.lists.indices, ranked, strict=True):
        assert_array_equal(own[own >= 0], expected[:50])


@st.composite
def shared(draw):
    """Queries that are in the gallery too (some of them twice, some relabelled as junk), some that are not, and no
    cameras; of a person seen once the only image is its own."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    images, queries = draw(st.integers(2, 30)), draw(st.integers(1, 8))
    rows, pids = rng.choice([-1, 1], (images, 4)), rng.integers(0, 6, images)
    asked = rng.integers(0, images, queries)
    pids[asked[0]] = 9
    numbers = np.where(rng.random(images) < 0.2, np.arange(images) // 2, 100 + np.arange(images))
    paths = [f"{person}/{number}.jpg" for person, number in zip(pids, numbers, strict=True)]
    new = rng.random(queries) < 0.3
    query = replace(
        features(rows[asked], pids[asked], np.zeros(queries)),
        paths=tuple(f"new/{q}.jpg" if new[q] else paths[g] for q, g in enumerate(asked)),
    )
    labels = np.where(rng.random(images) < 0.1, -1, pids)
    gallery = features([*rows, [1, 1, 1, 1]], [*labels, 9], np.zeros(images + 1))
    return query, replace(gallery, paths=(*paths, "other.jpg"))


@given(shared())
def test_any_camera_equals_the_slow_reference(problem):
    query, gallery = problem
    aps, inps, firsts, ranked = slow_evaluate(query, gallery, protocol="any-camera")
    evaluation = evaluate(query, gallery, top_k=20, protocol="any-camera")
    assert_allclose(evaluation.ap, aps, atol=1e-12)
    assert_allclose(evaluation.inp, inps, atol=1e-12)
    assert_array_equal(evaluation.first_rank, firsts)
    for own, expected in zip(evaluation.lists.indices, ranked, strict=True):
        assert_array_equal(own[own >= 0], expected[:20])


def test_any_camera_by_hand():
    """Ranked: itself (out), another image of its camera (match), somebody else, a match."""
    query = replace(features([[1, 0]], [7], [1]), paths=("a.jpg",))
    angles = np.deg2rad([0, 1, 2, 3])
    gallery = features(np.c_[np.cos(angles), np.sin(angles)], [7, 7, 8, 7], [1, 1, 1, 2])
    gallery = replace(gallery, paths=("a.jpg", "b.jpg", "c.jpg", "d.jpg"))
    evaluation = evaluate(query, gallery, top_k=3, protocol="any-camera")
    assert evaluation.lists.indices.tolist() == [[1, 2, 3]] and evaluation.mAP == pytest.approx((1 + 2 / 3) / 2)
    across = evaluate(query, gallery)
    assert across.mAP == 0.5 and across.first_rank.tolist() == [2]
    assert (across.summary()["protocol"], evaluation.summary()["protocol"]) == ("cross-camera", "any-camera")
    meanings = [definitions("cosine", protocol=each) for each in ("cross-camera", "any-camera")]
    assert [meaning["protocol"] for meaning in meanings] == ["cross-camera", "any-camera"]
    assert "identity and camera" in meanings[0]["left_out"] and "own image" in meanings[1]["left_out"]


def test_any_camera_needs_paths_that_tell_images_apart():
    query = replace(features([[1, 0]], [7], [1], "q.npz"), paths=("a.jpg",))
    gallery = features([[1, 0], [0, 1]], [7, 7], [1, 1], "g.npz")
    with pytest.raises(InputError, match=r"g.npz: has no paths, by which a query's own image is known"):
        evaluate(query, gallery, protocol="any-camera")
    with pytest.raises(InputError, match=r"g.npz: paths: 'a.jpg' is of identity 8, but of 7 among the queries"):
        evaluate(query, replace(gallery, pids=np.array([7, 8]), paths=("b.jpg", "a.jpg")), protocol="any-camera")
    with pytest.raises(InputError, match="q.npz: paths: 'a.jpg' is of identity 7, but of 8 among the queries"):
        two = replace(features([[1, 0], [1, 0]], [7, 8], [1, 1], "q.npz"), paths=("a.jpg", "a.jpg"))
        evaluate(two, replace(gallery, paths=("b.jpg", "c.jpg")), protocol="any-camera")
    with pytest.raises(InputError, match=r"q.npz: no query has a match in g.npz beside its own image"):
        evaluate(query, replace(gallery, pids=np.array([7, 8]), paths=("a.jpg", "c.jpg")), protocol="any-camera")


def test_junk_among_the_queries_names_nobody():
    """As among the gallery's images; it counts nowhere."""
    query = replace(features([[1, 0], [1, 0], [1, 0]], [7, -1, -1], [1, 1, 1]), paths=("a.jpg", "a.jpg", "b.jpg"))
    gallery = replace(features([[1, 0], [0, 1]], [7, 7], [1, 1]), paths=("a.jpg", "b.jpg"))
    evaluation = evaluate(query, gallery, protocol="any-camera")
    assert evaluation.valid.tolist() == [True, False, False] and evaluation.mAP == 1


@pytest.mark.parametrize("distance", ["cosine", "euclidean"])
@given(st.data())
def test_trapezoid_equals_the_slow_reference(distance, data):
    query, gallery = data.draw(problems(distance))
    evaluation = evaluate(query, gallery, distance)
    for q, ranked in enumerate(slow_evaluate(query, gallery, distance)[3]):
        if evaluation.valid[q]:
            expected = slow_trapezoid_ap([bool(gallery.pids[g] == query.pids[q]) for g in ranked])
            assert evaluation.ap_trapezoid[q] == pytest.approx(expected, abs=1e-12)
        else:
            assert np.isnan(evaluation.ap_trapezoid[q])
    assert evaluation.mAP_trapezoid == pytest.approx(np.nanmean(evaluation.ap_trapezoid))


@given(problems("euclidean"))
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
        if np.diff(np.sort(similarity)).min(initial=1) > 1e-6:  # and none that are ties in float32
            expected = average_precision_score(gallery.pids[kept] == query.pids[q], similarity)
            assert evaluation.ap[q] == pytest.approx(expected, abs=1e-9)


def test_by_hand():
    # Ranked: junk (out), own camera (out), other, match, other, match: AP = (1/2 + 2/4) / 2, INP = 2/4, first rank 2.
    query = features([[1, 0]], [7], [1])
    angles = np.deg2rad([1, 2, 10, 20, 30, 40])
    gallery = features(np.c_[np.cos(angles), np.sin(angles)], [-1, 7, 3, 7, 0, 7], [2, 1, 1, 2, 2, 3])
    evaluation = evaluate(query, gallery, top_k=50)
    assert (evaluation.mAP, evaluation.mINP, evaluation.first_rank.tolist()) == (0.5, 0.5, [2])
    assert evaluation.mAP_trapezoid == pytest.approx((1 / 2 + 0 / 1 + 2 / 4 + 1 / 3) / 4)
    assert evaluation.lists.indices[0, :5].tolist() == [2, 3, 4, 5, -1]
    assert evaluation.lists.matches[0, :5].tolist() == [False, True, False, True, False]
    assert_allclose(evaluation.lists.distances[0, :4], 1 - np.cos(angles[2:]), atol=1e-6)


def test_a_distractor_query_never_matches_distractors():
    query = features([[1, 0], [1, 0]], [0, 5], [1, 1])
    gallery = features([[1, 0], [0, 1]], [0, 5], [2, 2])
    assert evaluate(query, gallery).first_rank.tolist() == [0, 2]


def test_many_duplicates_keep_gallery_order():
    """Bit-identical rows get other float32 products at other places of the gallery, which must not order them."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(20, 300))
    copy_of = rng.integers(0, 20, 741)
    gallery = features(rows[copy_of], rng.integers(1, 9, 741), [2] * 741)
    query = features(rows[:12] + 0.3 * rng.normal(size=(12, 300)), rng.integers(1, 9, 12), [1] * 12)
    evaluation = evaluate(query, gallery, top_k=50)
    _, _, firsts, ranked = slow_evaluate(query, gallery)
    assert evaluation.first_rank.tolist() == firsts
    for own, expected in zip(evaluation.lists.indices, ranked, strict=True):
        assert own.tolist() == expected[:50]


def test_lists_whose_end_is_tied_keep_the_first():
    """FAISS's heaps would keep any of the tied images."""
    gallery = features(np.ones((200, 2)), [1, *[2] * 199], [2] * 200)
    lists = evaluate(features([[1, 1]], [1], [1]), gallery, top_k=50).lists
    assert lists.indices[0].tolist() == list(range(50)) and lists.matches[0].tolist() == [True] + [False] * 49


@given(problems("euclidean"), st.integers(1, 45))
def test_lists_of_given_distances(problem, top_k):
    query, gallery = problem
    given_ = np.random.default_rng(0).integers(0, 4, (len(query), len(gallery))).astype(np.float32)

    def write(within, out):
        out[:] = given_[within]

    lists = evaluate(query, gallery, distances=write, top_k=top_k).lists
    for q in range(len(query)):
        left = slow_evaluate(query, gallery)[3][q]
        expected = sorted(sorted(left), key=lambda g: given_[q, g])[:top_k]
        count = len(expected)
        assert lists.indices[q].tolist() == expected + [-1] * (top_k - count)
        assert lists.distances[q, :count].tolist() == given_[q, expected].tolist()
        assert np.isnan(lists.distances[q, count:]).all() and not lists.matches[q, count:].any()


@pytest.mark.parametrize("offset", [0, 10, 1000])
def test_euclidean_distances_far_from_the_origin(offset):
    rng = np.random.default_rng(0)
    gallery = features(offset + 0.1 * rng.normal(size=(80, 64)), rng.integers(1, 8, 80), [2] * 80)
    query = features(offset + 0.1 * rng.normal(size=(15, 64)), rng.integers(1, 8, 15), [1] * 15)
    evaluation = evaluate(query, gallery, "euclidean", top_k=50)
    assert_allclose(evaluation.ap, slow_evaluate(query, gallery, "euclidean")[0], atol=1e-9)


def test_block_rows():
    assert block_rows(10, 100) == 10 and block_rows(10**6, 100) == 40 * 2**20 // 400
    assert block_rows(10**6, 10**6) == 256  # enough for a fast product
    assert block_rows(10**6, 100, 4000) == 10 and block_rows(10, 10**6, 1) == 1


@pytest.mark.parametrize("length", [1e-40, 1e-20, 1e20])
def test_rows_whose_square_float32_cannot_hold(length):
    good, bad = features(np.ones((2, 2)), [1, 1], [1, 2]), features([[1, 1], [0, length], [0, 0]], [1, 1, 1], [1, 2, 3])
    for sides in ((good, bad), (bad, good)):
        with pytest.raises(InputError, match="features: row 1 has the length .* rescale"):
            evaluate(*sides)


@pytest.mark.parametrize("length", [1e-12, 1.0, 1e12])
@pytest.mark.parametrize("distance", ["cosine", "euclidean"])
def test_lists_of_features_of_any_length(length, distance):
    rng = np.random.default_rng(0)
    gallery = features(rng.normal(size=(300, 16)) * length, rng.integers(0, 20, 300), rng.integers(1, 4, 300))
    query = features(rng.normal(size=(20, 16)) * length, np.arange(20) + 1, [1] * 20)
    evaluation = evaluate(query, gallery, distance, top_k=50)
    assert (evaluation.lists.indices[:, 0] >= 0).all()


def test_lists_that_contradict_the_ranking_are_an_error(monkeypatch):
    def blind(keys, k):  # swears that the last columns are the nearest
        last = np.arange(keys.shape[1] - k, keys.shape[1])
        return np.tile(last, (len(keys), 1)), keys[:, last]

    monkeypatch.setattr(kernels, "largest", blind)
    rng = np.random.default_rng(0)
    gallery = features(np.r_[[[1.0, 0.0]], rng.normal(size=(199, 2))], [1] + [2] * 199, [2] * 200)
    with pytest.raises(AssertionError, match="disagree on the first match of 1 queries"):
        evaluate(features([[1, 0]], [1], [1]), gallery, top_k=50)


def test_figures_are_means_over_valid_queries():
    ap, trapezoid, inp = np.array([[0.5, np.nan, 1.0], [0.4, np.nan, 1.0], [0.25, np.nan, 0.75]])
    evaluation = Evaluation(ap, trapezoid, inp, np.array([3, 0, 1]), 10)
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
    with pytest.raises(InputError, match=r"q.npz: no query has a match in g.npz .*--protocol any-camera"):
        evaluate(query, features([[1, 0]], [1], [1], "g.npz"))
