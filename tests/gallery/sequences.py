"""Operations in any order, on two galleries opened on one folder, held against the reference in memory.

``run(layout)`` in a test, with a function that gives the layout of an empty gallery.
"""

from __future__ import annotations

import os
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from memory_store import MemoryStore

from reid.errors import InputError
from reid.gallery.catalogue.records import content_of, place_of
from reid.gallery.entries import Entry, Filter
from reid.gallery.store import Gallery
from reid.networks import Origin

WIDTH = 4
ORIGIN = Origin("run", WIDTH, "0" * 64, "none")
# Rows whose products are exact in any order of summation, so that ties are ties for every implementation.
ROWS = np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, -1, 0], [0.5, 0.5, 0.5, 0.5], [-0.5, 0.5, -0.5, 0.5]])
NAMES = ["P1", "P2", 'O\'Brien "x"', "名\\前%_?", "%s", "P1 "]
NO_NAMES = ["elsewhere", "P1\0", "\ud800", ""]
SOURCES = ["/a.jpg", "/b c.mp4", "/名/?.jpg", "plain"]
JPEG = b"\xff\xd8\xff"
IMAGES = [b"", JPEG + b"x", JPEG + b"y" * 99]
DAYS = [0.0, 0.0, 1e9, 1e9 + 86_400 * 2.5, -1e5]
BOUNDS = st.none() | st.integers(-4, 12).map(float) | st.sampled_from([float("nan"), float("inf"), -float("inf")])

entries = st.builds(
    Entry,
    source=st.sampled_from(SOURCES),
    camera=st.sampled_from(NAMES),
    identity=st.none() | st.sampled_from(NAMES),
    time=st.none() | st.integers(-3, 9).map(float),
    until=st.none() | st.integers(-3, 12).map(float),
    frame=st.none() | st.integers(0, 2),
    box=st.none() | st.just((-5, 0, 7, 900)),
    added=st.sampled_from(DAYS),
)
items = st.lists(st.tuples(entries, st.integers(0, len(ROWS) - 1), st.sampled_from(IMAGES)), max_size=9)
filters = st.builds(
    Filter,
    cameras=st.lists(st.sampled_from(NAMES + NO_NAMES), max_size=2).map(tuple),
    identities=st.lists(st.sampled_from(NAMES + NO_NAMES), max_size=2).map(tuple),
    start=BOUNDS,
    end=BOUNDS,
    without=st.lists(st.sampled_from(NAMES + NO_NAMES), max_size=2).map(tuple),
)
changes = st.fixed_dictionaries(
    {}, optional={"identity": st.none() | st.sampled_from(NAMES), "camera": st.sampled_from(NAMES),
                  "time": st.none() | st.just(4.0), "until": st.none() | st.just(5.0)},
)  # fmt: skip
either = st.integers(0, 1)


def memory():
    """A folder in memory where there is one; syncing is quick there."""
    return tempfile.TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None)


class Sequences(RuleBasedStateMachine):
    """Either of two galleries writes, both answer as the reference does."""

    def __init__(self, layout):
        super().__init__()
        self.layout = layout

    @initialize()
    def begin(self):
        self.place = memory()
        self.folder = Path(self.place.name) / "gallery"
        self.reference = MemoryStore(ORIGIN)
        self.both = [Gallery.create(self.folder, ORIGIN, self.layout()), Gallery.open(self.folder)]

    @rule(some=items, which=either)
    def add(self, some, which):
        rows = np.array([ROWS[number] for _, number, _ in some]).reshape(-1, WIDTH)
        args = [entry for entry, *_ in some], rows * 2, [image for *_, image in some]
        before = time.time()
        ids = self.both[which].add(*args)
        assert ids == self.reference.add(*args)
        for entry, given in zip(self.both[which].get(ids), args[0], strict=True):
            assert entry.added == given.added or (not given.added and before <= entry.added <= time.time())
            self.reference.entries[entry.id] = replace(self.reference.entries[entry.id], added=entry.added)

    def some_ids(self, data):
        ids = sorted(self.reference.entries)
        return data.draw(st.lists(st.sampled_from(ids), max_size=5)) if ids else []

    @rule(data=st.data(), which=either)
    def remove(self, data, which):
        ids = self.some_ids(data)
        self.both[which].remove(ids)
        self.reference.remove(ids)

    @rule(which=either)
    def remove_all(self, which):
        self.both[which].remove(list(self.reference.entries))
        self.reference.remove(list(self.reference.entries))

    @rule(data=st.data(), new=changes, which=either)
    def update(self, data, new, which):
        each = dict.fromkeys(self.some_ids(data), new)
        self.both[which].update(each)
        self.reference.update(each)

    @rule(data=st.data(), which=either)
    def update_each(self, data, which):
        each = {id: data.draw(changes) for id in self.some_ids(data)}
        self.both[which].update(each)
        self.reference.update(each)

    @rule(data=st.data(), which=either)
    def ask_for_what_is_not_there(self, data, which):
        gallery, ids = self.both[which], [*self.some_ids(data), self.reference.next_id]
        for ask in (gallery.remove, gallery.get, gallery.features, gallery.thumbnails,
                    lambda ids: gallery.update({id: {"camera": "new"} for id in ids})):  # fmt: skip
            with pytest.raises(InputError, match=f"no entry {ids[-1]}"):
                ask(ids)

    @rule(which=either)
    def reopen(self, which):
        self.both[which].close()
        self.both[which] = Gallery.open(self.folder)
        assert self.both[which].verify() == []

    @rule(wanted=filters, limit=st.none() | st.integers(0, 5), after=st.integers(0, 9))
    def find(self, wanted, limit, after):
        for gallery in self.both:
            assert gallery.find(wanted, limit, after) == self.reference.find(wanted, limit, after)
            assert gallery.catalogue.counts(wanted) == self.reference.counts(wanted)
            assert gallery.catalogue.names("identity") == self.reference.names()
            for source in (*SOURCES, *NO_NAMES):
                assert gallery.catalogue.of_source(source) == self.reference.of_source(source)
            contents = [content_of(image) for image in IMAGES if image]
            assert gallery.catalogue.known("content", contents) == self.reference.known("content", contents)

    @rule(wanted=filters, k=st.integers(0, 12), count=st.sampled_from([0, 1, len(ROWS)]), exact=st.booleans())
    def search(self, wanted, k, count, exact):
        expected = self.reference.search(ROWS[:count] * 4, k, wanted)
        for gallery in self.both:
            hits = gallery.search(ROWS[:count] * 4, k, wanted, exact)
            np.testing.assert_array_equal(hits.ids, expected.ids)
            np.testing.assert_array_equal(hits.distances, expected.distances)
            assert hits.exhaustive

    @rule(oldest=st.sampled_from([*DAYS, 1e11]), limit=st.integers(0, 20))
    def expired(self, oldest, limit):
        expected = self.reference.expired(oldest, limit)
        for gallery in self.both:
            ids = gallery.catalogue.expired(oldest, limit)
            added = [self.reference.entries[id].added for id in ids]
            assert added == [self.reference.entries[id].added for id in expected]
            assert len(set(ids)) == len(ids)

    @rule(name=st.sampled_from(["a", "b"]), value=st.none() | st.sampled_from(["", "x", "é" * 999]), which=either)
    def set(self, name, value, which):
        self.both[which].set(name, value)
        self.reference.set(name, value)
        assert [gallery.setting(name) for gallery in self.both] == [value, value]

    @rule(data=st.data(), same=st.none() | st.booleans(), which=either)
    def decide(self, data, same, which):
        first, second = (self.some_ids(data) or [0], self.some_ids(data) or [0])
        if first[0] and second[0]:
            self.both[which].decide(first[0], second[0], same)
            self.reference.decide(first[0], second[0], same)
            assert self.both[1 - which].catalogue.decisions(second[0]) == self.reference.decisions(second[0])

    @rule(data=st.data(), which=either)
    def record(self, data, which):
        line = "page", "forget", self.some_ids(data)
        assert self.both[which].record(*line, stranger=0.25) == self.reference.record(*line, stranger=0.25)
        for gallery in self.both:
            assert [{**line, "time": 1.0} for line in gallery.catalogue.log()] == self.reference.lines

    @invariant()
    def same(self):
        if not hasattr(self, "both"):
            return
        ids, reference = sorted(self.reference.entries), self.reference
        places = [place_of(entry) for entry in [*reference.entries.values(), Entry("/other", "c")]] + [*reference.gone]
        for gallery in self.both:
            assert len(gallery) == len(reference)
            assert gallery.catalogue.summary() == reference.summary()
            assert gallery.get(ids[::-1]) == reference.get(ids[::-1])
            assert gallery.catalogue.present([*ids, 999]) == reference.entries
            assert gallery.thumbnails(ids) == reference.thumbnails(ids)
            np.testing.assert_array_equal(gallery.features(ids[::-1]), reference.features(ids[::-1]))
            assert gallery.catalogue.known("place", places) == reference.known("place", places)
            assert gallery.catalogue.erased(places) == reference.gone
            assert gallery.catalogue.decisions() == reference.decisions()

    def teardown(self):
        if hasattr(self, "both"):
            assert self.both[0].verify() == []
            for gallery in self.both:
                gallery.close()
            self.place.cleanup()


def run(layout, examples=20, steps=20):
    """``layout()``: of an empty gallery, as often as it is asked for. What fails is not made shorter: that would take
    minutes."""
    checks = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
    run_state_machine_as_test(
        lambda: Sequences(layout),
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=checks,
            phases=[Phase.explicit, Phase.reuse, Phase.generate],
        ),
    )
