import numpy as np
import pytest
from fakes import ORIGIN
from hypothesis import given, settings
from hypothesis import strategies as st
from memory_store import MemoryStore
from reid.gallery.query import answer, first_ranks, judge

from reid.gallery.calibration.thresholds import Verdict
from reid.gallery.entries import Entry, Filter, Hits
from reid.retrieval.features import Features
from reid.retrieval.ranking import CMC_RANKS, evaluate


class Half:
    """Calls all up to a distance of 0.5 the same person."""

    def check(self, origin, where):
        assert origin is ORIGIN

    def verdict(self, distance, rate):
        assert rate == 0.01
        return Verdict(distance <= 0.5, 1 - distance / 2, 0.5, 0.01, 0.9)


def store_of(features, people, cameras):
    store = MemoryStore(ORIGIN)
    entries = [
        Entry(f"{n}.png", camera, person) for n, (person, camera) in enumerate(zip(people, cameras, strict=True))
    ]
    store.add(entries, np.array(features, np.float32), [b""] * len(entries))
    return store


EYE = np.eye(4, dtype=np.float32)


def test_an_answer_ranks_and_judges():
    store = store_of([EYE[0], EYE[0] + EYE[1], EYE[2]], ["P1", None, "P2"], ["a", "a", "b"])
    known, stranger = answer(store, EYE[[0, 3]], 2, calibration=Half(), rate=0.01)
    assert [(hit.rank, hit.entry.id, hit.same) for hit in known.hits] == [(1, 1, True), (2, 2, True)]
    assert known.hits[1].distance == pytest.approx(1 - 1 / np.sqrt(2)) and known.nobody is False
    assert known.hits[1].probability == pytest.approx(0.5 + 0.5 / np.sqrt(2))
    assert stranger.nobody is True and [hit.same for hit in stranger.hits] == [False, False]


def test_without_thresholds_nothing_is_judged_and_filters_hold():
    store = store_of([EYE[0], EYE[1]], ["P1", "P2"], ["a", "b"])
    (found,) = answer(store, EYE[[0]], 5, Filter(cameras=("b",)))
    assert [(hit.entry.id, hit.probability, hit.same) for hit in found.hits] == [(2, None, None)]
    assert found.nobody is None
    (none,) = judge(store, Hits(np.full((1, 3), -1), np.full((1, 3), np.nan)), Half(), 0.01)
    assert none.hits == [] and none.nobody is True


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_first_ranks_are_those_of_the_evaluation(data):
    rows = st.lists(st.tuples(st.integers(0, 3), st.integers(1, 2), st.integers(0, 5)), min_size=1, max_size=70)
    gallery, query = data.draw(rows), data.draw(rows)
    pool = np.random.default_rng(data.draw(st.integers(0, 9))).standard_normal((6, 4)).astype(np.float32)

    def features(some):
        pids, camids, kinds = (np.array(column, np.int64) for column in zip(*some, strict=True))
        return Features(pool[kinds], pids, camids)

    def name(pid):
        return str(pid) if pid else None

    people, cameras, kinds = zip(*gallery, strict=True)
    store = store_of(pool[list(kinds)], map(name, people), map(str, cameras))
    queries = [Entry("q", str(camera), name(person)) for person, camera, _ in query]
    ranks = first_ranks(store, queries, pool[[kind for *_, kind in query]])
    try:
        expected = evaluate(features(query), features(gallery)).first_rank
    except ValueError:
        expected = np.zeros(len(query))
    assert np.array_equal(ranks, np.minimum(expected, CMC_RANKS + 1))
