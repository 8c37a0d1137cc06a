import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reid.retrieval import search
from reid.retrieval.search import decide, nearest, products


def unit(rows):
    rows = np.asarray(rows, np.float64)
    return (rows / np.linalg.norm(rows, axis=-1, keepdims=True)).astype(np.float32)


def random_unit(count, width, seed):
    return unit(np.random.default_rng(seed).standard_normal((count, width)))


def distance(query, row):
    """1 - cosine, its terms added one after another in float64."""
    total = 0.0
    for x, y in zip(query.tolist(), row.tolist(), strict=True):
        total += x * y
    return min(max(1 - total, 0.0), 2.0)


def by_sorting(queries, vectors, k, allowed=None):
    """The whole list of every query, sorted."""
    rows, distances = np.full((len(queries), k), -1), np.full((len(queries), k), np.nan)
    for number, query in enumerate(queries):
        whole = [(distance(query, row), n) for n, row in enumerate(vectors) if allowed is None or allowed[n]]
        for place, (found, n) in enumerate(sorted(whole)[:k]):
            rows[number, place], distances[number, place] = n, found
    return rows, distances


def assert_same(found, expected):
    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_array_equal(found[1], expected[1])
    assert found[0].dtype == np.int64 and found[1].dtype == np.float64


@pytest.fixture
def small_blocks(monkeypatch):
    """Many blocks, and lists that ties make uncertain, on few rows."""
    monkeypatch.setattr(search, "QUERIES", 3)
    monkeypatch.setattr(search, "BLOCK_BYTES", 640)
    monkeypatch.setattr(search, "SPARE", 1)
    monkeypatch.setattr(search, "MOST", 1)


def test_by_hand():
    vectors = unit([[1, 0], [0, 1], [-1, 0], [1, 0], [1, 1]])
    rows, distances = nearest(unit([[1, 0], [0, -1]]), vectors, 4)
    np.testing.assert_array_equal(rows, [[0, 3, 4, 1], [0, 2, 3, 4]])
    np.testing.assert_allclose(distances, [[0, 0, 1 - np.sqrt(0.5), 1], [1, 1, 1, 1 + np.sqrt(0.5)]], atol=1e-7)


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    count=st.integers(0, 60),
    distinct=st.integers(1, 60),
    width=st.integers(1, 9),
    queries=st.integers(0, 8),
    k=st.integers(1, 70),
    share=st.sampled_from([None, 0.0, 0.1, 0.5, 0.95, 1.0]),
)
def test_agrees_with_sorting_everything(seed, count, distinct, width, queries, k, share):
    """Rows are drawn from few, some of them a rounding step apart, so that ties and near ties abound."""
    rng = np.random.default_rng(seed)
    pool = random_unit(distinct, width, seed)
    vectors = pool[rng.integers(0, distinct, count)]
    nudged = rng.random(vectors.shape) < 0.1
    vectors = np.where(nudged, np.nextafter(vectors, np.float32(2)), vectors).astype(np.float32)
    asked = np.concatenate([pool, random_unit(8, width, seed + 1)])[rng.integers(0, distinct + 8, queries)]
    allowed = None if share is None else rng.random(count) < share
    with pytest.MonkeyPatch.context() as patch:
        small_blocks.__wrapped__(patch)
        found = nearest(asked, vectors, k, allowed)
    assert_same(found, by_sorting(asked, vectors, k, allowed))


@pytest.mark.parametrize("allowed", [None, 0.02, 0.3, 0.9])
@pytest.mark.parametrize("k", [1, 10, 200])
def test_agrees_with_sorting_everything_at_its_own_sizes(k, allowed):
    vectors, queries = random_unit(2_500, 40, 0), random_unit(6, 40, 1)
    vectors[100:160] = vectors[7]  # more twins than are kept
    queries[0] = vectors[7]
    some = None if allowed is None else np.random.default_rng(2).random(len(vectors)) < allowed
    assert_same(nearest(queries, vectors, k, some), by_sorting(queries, vectors, k, some))


@pytest.mark.usefixtures("small_blocks")
def test_equal_rows_have_equal_distances_wherever_they_stand():
    rng = np.random.default_rng(0)
    for width in (3, 17, 64, 129):
        vectors = random_unit(97, width, width)
        twins = np.sort(rng.choice(97, 30, replace=False))
        vectors[twins] = vectors[twins[0]]
        rows, distances = nearest(unit(vectors[twins[:1]] + 0.01), vectors, 30)
        np.testing.assert_array_equal(rows[0], twins)
        assert len(set(distances[0])) == 1


def test_one_query_and_many_have_the_same_answer():
    vectors, queries = random_unit(3_000, 64, 0), random_unit(40, 64, 1)
    together = nearest(queries, vectors, 5)
    for number in range(len(queries)):
        one = nearest(queries[number : number + 1], vectors, 5)
        assert_same((together[0][number : number + 1], together[1][number : number + 1]), one)


def test_rows_in_a_mapped_file(tmp_path):
    vectors, queries = random_unit(500, 16, 0), random_unit(5, 16, 1)
    vectors.tofile(tmp_path / "rows")
    mapped = np.memmap(tmp_path / "rows", np.float32, "r", shape=vectors.shape)
    for some in (None, np.arange(500) % 9 == 0, np.arange(500) % 9 != 0):
        assert_same(nearest(queries, mapped, 7, some), nearest(queries, vectors, 7, some))


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("share", [None, 0.1, 0.8])
def test_blocks_stay_small_and_cover_the_rows_that_count(share):
    vectors, queries = random_unit(300, 4, 0), random_unit(3, 4, 1)
    allowed = None if share is None else np.random.default_rng(0).random(300) < share
    seen = []
    for rows, block in products(queries, vectors, allowed):
        assert block.shape == (3, len(rows)) and block.nbytes <= search.BLOCK_BYTES
        counts = np.ones(len(rows), bool) if allowed is None else allowed[rows]
        np.testing.assert_allclose(block[:, counts], queries @ vectors[rows[counts]].T, atol=1e-6)
        assert np.isneginf(block[:, ~counts]).all()
        seen += rows[counts].tolist()
    assert seen == list(range(300)) if allowed is None else seen == np.flatnonzero(allowed).tolist()


def test_decides_among_what_was_proposed(monkeypatch):
    """Rows may be ids, far apart; each is fetched once, in rising order, few at a time."""
    monkeypatch.setattr(search, "BLOCK_BYTES", 4 * 8 * 5)
    vectors, queries = random_unit(20, 8, 0), random_unit(4, 8, 1)
    vectors[12] = vectors[3]
    ids = np.arange(20) * 10**12 + 5
    fetched = []

    def fetch(wanted):
        assert len(wanted) <= 5
        fetched.extend(wanted.tolist())
        return vectors[np.searchsorted(ids, wanted)].astype(np.float64)

    proposed = np.stack([np.random.default_rng(n).permutation(20)[:9] for n in range(4)])
    with_none = np.where(np.arange(9) % 4 == 3, -1, ids[proposed])
    with_none[2] = -1
    rows, distances = decide(queries, with_none, fetch, 8)
    assert fetched == sorted(set(fetched)) == np.unique(with_none[with_none >= 0]).tolist()
    for number in range(4):
        some = np.isin(ids, with_none[number])
        expected = by_sorting(queries[number : number + 1], vectors, 8, some)
        np.testing.assert_array_equal(distances[number], expected[1][0])
        np.testing.assert_array_equal(rows[number], np.where(expected[0][0] < 0, -1, ids[expected[0][0]]))


def test_nothing_proposed():
    rows, distances = decide(random_unit(2, 4, 0), np.empty((2, 0), np.int64), pytest.fail, 3)
    assert (rows == -1).all() and np.isnan(distances).all() and rows.shape == (2, 3)
