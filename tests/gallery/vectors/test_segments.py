"""Segments in a folder: what several processes see, indexes within, what is torn or damaged."""

from __future__ import annotations

import os
import shutil
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
from memory_store import passes

from reid.errors import InputError
from reid.gallery.entries import EVERYTHING, Entry, Filter, NotThere
from reid.gallery.store import Gallery
from reid.gallery.vectors import segments
from reid.gallery.vectors.rows import ROW
from reid.gallery.vectors.segments import Segments
from reid.networks import Origin
from reid.retrieval import compressed
from reid.retrieval.unit import unit_rows

WIDTH = 4


def rows_of(ids, day=7):
    rows = np.zeros(len(ids), ROW)
    rows["id"], rows["day"], rows["time"] = ids, day, np.nan
    return rows


def vectors_of(ids, width=WIDTH):
    parts = [np.random.default_rng(id).standard_normal(width) for id in ids]
    return unit_rows(np.array(parts).reshape(-1, width), width, "vectors")


def opened(folder):
    return Segments(folder, WIDTH, nullcontext)


def add(store, ids, day=7):
    store.add(rows_of(ids, day), vectors_of(ids))


def all_bytes(folder):
    return b"\n".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


# --- segments


def test_a_batch_goes_to_segments_by_day_and_size(tmp_path, monkeypatch):
    monkeypatch.setattr(segments, "ROWS", 4)
    store = opened(tmp_path / "v")
    rows = rows_of(range(1, 13))
    rows["day"][::2] = -3  # before 1970
    store.add(rows, vectors_of(range(1, 13)))
    add(store, [13, 14])
    names = sorted(path.name for path in (tmp_path / "v").iterdir())
    assert names == ["-00003-000000", "-00003-000001", "000007-000000", "000007-000001"]
    for each in (store, opened(tmp_path / "v")):
        np.testing.assert_array_equal(each.ids(), np.arange(1, 15))
        np.testing.assert_array_equal(each.fetch(np.array([14, 2, 1, 2])), vectors_of([14, 2, 1, 2]))
        with pytest.raises(NotThere, match="no entry 15"):
            each.fetch(np.array([1, 15]))
    store.remove(np.array([1, 3, 5, 7, 99]))
    assert sorted(path.name for path in (tmp_path / "v").iterdir()) == names[1:]
    assert store.problems() == []


def test_what_others_put_beside_stays_and_does_not_matter(tmp_path):
    store = opened(tmp_path / "v")
    add(store, [1, 2])
    (tmp_path / "v/.DS_Store").touch()
    (tmp_path / "v/000007-000000 copy").mkdir()
    assert store.search(vectors_of([2]), 1).ids.tolist() == [[2]]
    store.remove(np.array([1, 2]))
    assert sorted(path.name for path in (tmp_path / "v").iterdir()) == [".DS_Store", "000007-000000 copy"]


def test_a_segment_of_the_same_name_is_another(tmp_path):
    store, reader = opened(tmp_path / "v"), opened(tmp_path / "v")
    add(store, [1, 2, 3])
    assert reader.search(vectors_of([2]), 1).ids.tolist() == [[2]]
    store.remove(np.array([1, 2, 3]))
    add(store, [4, 5, 6])
    assert reader.search(vectors_of([5]), 1).ids.tolist() == [[5]]
    np.testing.assert_array_equal(reader.fetch(np.array([6])), vectors_of([6]))


@pytest.mark.parametrize("torn", [1, ROW.itemsize // 2, ROW.itemsize - 1])
def test_what_a_killed_writer_left_is_cut_off_and_written_over(tmp_path, torn):
    store = opened(tmp_path / "v")
    add(store, [1, 2])
    folder = tmp_path / "v" / "000007-000000"
    with (folder / "rows").open("ab") as file:
        file.write(rows_of([3]).tobytes()[:torn])
    with (folder / "features").open("ab") as file:
        file.write(vectors_of([3, 4]).tobytes()[:-3])
    assert [text.partition(": ")[2][:23] for text in store.problems()] == ["has more than its rows:"] * 2
    copy = tmp_path / "w"
    shutil.copytree(tmp_path / "v", copy)
    again = opened(copy)
    add(again, [5, 6])
    np.testing.assert_array_equal(again.fetch(np.array([1, 2, 5, 6])), vectors_of([1, 2, 5, 6]))
    assert again.problems() == []
    store.remove(np.array([3, 4]))  # as recovery does
    assert store.problems() == []
    assert store.ids().tolist() == [1, 2]
    assert vectors_of([3]).tobytes()[:12] not in all_bytes(folder)


def test_features_of_a_writer_killed_before_their_rows_are_written_over(tmp_path):
    store = opened(tmp_path / "v")
    add(store, [1, 2])
    (tmp_path / "v/000007-000000/rows").unlink()
    again = opened(tmp_path / "v")
    assert again.ids().tolist() == [] and again.problems() == []
    add(again, [3])
    np.testing.assert_array_equal(again.fetch(np.array([3])), vectors_of([3]))
    again.remove(np.array([1, 2]))  # as recovery does
    assert again.ids().tolist() == [3] and again.problems() == []
    assert vectors_of([2]).tobytes() not in all_bytes(tmp_path)


def test_a_segment_that_is_made_as_it_is_looked_at_is_no_damage(tmp_path, monkeypatch):
    store, reader = opened(tmp_path / "v"), opened(tmp_path / "v")
    add(store, [1, 2])
    rows, aside, real = tmp_path / "v/000007-000000/rows", tmp_path / "aside", Path.stat
    rows.rename(aside)  # a writer has written features only

    def stat(path, **more):
        try:
            return real(path, **more)
        except FileNotFoundError:
            if path == rows and aside.exists():
                aside.rename(rows)  # and goes on
            raise

    monkeypatch.setattr(Path, "stat", stat)
    assert reader.ids().tolist() == [] and rows.exists()
    assert reader.ids().tolist() == [1, 2]


def test_erasing_can_be_done_once_more(tmp_path):
    store = opened(tmp_path / "v")
    rows = rows_of([1, 2, 3])
    rows["time"] = rows["last"] = [1e9 / 3, 2e9 / 3, 1e9]
    store.add(rows, vectors_of([1, 2, 3]))
    with (tmp_path / "v/000007-000000/rows").open("r+b") as file:  # killed after the id of 2 was turned
        file.seek(ROW.itemsize)
        file.write(np.int64(-2).tobytes())
    assert rows["time"][1].tobytes() in all_bytes(tmp_path)
    store.remove(np.array([2]))
    assert rows["time"][1].tobytes() not in all_bytes(tmp_path)
    assert vectors_of([2]).tobytes() not in all_bytes(tmp_path)
    assert store.ids().tolist() == [1, 3]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "features").unlink(), "000007-000000: a file is missing: damaged"),
        (lambda folder: os.truncate(folder / "features", 47), "features: has 47 bytes where 48 were written: damaged"),
        (
            lambda folder: (folder / "index.faiss").write_bytes(b"x" * 99),
            "index.faiss: no index, or only a part of one: delete it, and it is built anew",
        ),
    ],
)
def test_damaged_files_are_named(tmp_path, damage, message):
    store = opened(tmp_path / "v")
    add(store, [1, 2, 3])
    damage(tmp_path / "v/000007-000000")
    for use in (lambda each: each.search(vectors_of([1]), 1), lambda each: each.ids(), lambda each: each.problems()):
        with pytest.raises(InputError, match=message):
            use(opened(tmp_path / "v"))


@pytest.mark.parametrize("value", [0.0, np.nan, 3.0])
def test_features_of_another_length_are_told(tmp_path, value):
    store = opened(tmp_path / "v")
    add(store, [1, 2, 3])
    path = tmp_path / "v/000007-000000/features"
    found = np.fromfile(path, np.float32).reshape(-1, WIDTH)
    found[1] = value
    found.tofile(path)
    assert store.problems() == [f"{path}: row 1 has length {2 * value:g}"]


def test_another_kind_of_index_is_refused(tmp_path):
    with pytest.raises(InputError, match="index 'hnsw' is not one of auto, flat, rabitq, sq8"):
        opened(tmp_path / "v").report("hnsw")


# --- indexes, FAISS's own, within a gallery of 512 dimensions


def clustered(rng, count):
    """(N, 512): people of some rows each."""
    people = rng.standard_normal((count // 8, 512))
    return people[rng.integers(len(people), size=count)] + 0.5 * rng.standard_normal((count, 512))


class Held:
    """What must be in a gallery, as arrays."""

    def __init__(self):
        self.entries, self.rows = {}, {}

    def add(self, gallery, entries, features):
        ids = gallery.add(entries, features, [b""] * len(entries))
        self.entries.update(zip(ids, entries, strict=True))
        self.rows.update(zip(ids, unit_rows(features, 512, "features"), strict=True))

    def remove(self, gallery, ids):
        gallery.remove(ids)
        for id in ids:
            del self.entries[id], self.rows[id]

    def check(self, hits, queries, k, wanted):
        """Each list rises, holds entries that pass and their exact distances; the share of the nearest k in it."""
        passing = np.array([id for id, entry in self.entries.items() if passes(wanted, entry)])
        rows = np.array([self.rows[id] for id in passing], np.float64).reshape(-1, 512)
        all_ = np.clip(1 - unit_rows(queries, 512, "queries").astype(np.float64) @ rows.T, 0, 2)
        count = min(k, len(passing))
        assert (hits.ids[:, :count] > 0).all()
        assert (hits.ids[:, count:] == -1).all()
        found = hits.ids[:, :count]
        assert np.isin(found, passing).all()
        assert all(len(set(each)) == count for each in found.tolist())
        places = np.searchsorted(passing, found)
        np.testing.assert_allclose(hits.distances[:, :count], np.take_along_axis(all_, places, axis=1), atol=1e-12)
        assert (np.diff(hits.distances[:, :count]) >= 0).all()
        nearest = np.sort(all_, axis=1)[:, :count]
        if hits.exhaustive:
            np.testing.assert_allclose(hits.distances[:, :count], nearest, atol=1e-12)
        return (hits.distances[:, :count] <= nearest[:, -1:] + 1e-12).mean() if count else 1.0


@pytest.mark.parametrize("kind", ["rabitq", "sq8"])
def test_an_index_finds_what_is_there_and_nothing_else(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(segments, "ROWS", 1400)
    monkeypatch.setattr(segments, "FEWEST", 900)
    monkeypatch.setattr(compressed, "FEW_ROWS", 150)
    rng, held, shares = np.random.default_rng(4), Held(), []
    features = clustered(rng, 4000)
    entries = [Entry(f"/{n}", f"c{n % 3}", f"P{n % 50}", float(n)) for n in range(4000)]
    wide = [EVERYTHING, Filter(without=("c1",)), Filter(cameras=("c1",)), Filter(start=300.0, end=2500.0)]
    few = [Filter(identities=("P7",)), Filter(cameras=("nowhere",)), Filter(end=20.0)]
    with (
        Gallery.create(tmp_path / "g", Origin("r", 512, "0" * 64, "n")) as gallery,
        Gallery.open(tmp_path / "g") as two,
    ):
        gallery.set("index", kind)

        def look(indexed):
            queries = features[rng.integers(4000, size=12)] + 0.3 * rng.standard_normal((12, 512))
            for wanted in wide + few:
                for each in (gallery, two):
                    hits = each.search(queries, 10, wanted)
                    shares.append(held.check(hits, queries, 10, wanted))
                    assert hits.exhaustive or (indexed and wanted in wide)
                exact = two.search(queries, 10, wanted, exact=True)
                assert exact.exhaustive
                assert held.check(exact, queries, 10, wanted) == 1
            assert two.search(queries, 10).exhaustive != indexed

        held.add(gallery, entries[:2000], features[:2000])
        look(indexed=False)
        assert gallery.index_state().stale
        assert gallery.tend()
        assert not gallery.tend()
        look(indexed=True)
        state = two.index_state()
        assert (state.kind, state.size, state.behind, state.stale) == (kind, 1400, 600, False)
        held.add(two, entries[2000:2300], features[2000:2300])
        gone = [1, 2, 3, *rng.choice(np.arange(4, 2300), 100, replace=False).tolist()]
        held.remove(two, gone)
        look(indexed=True)
        for id in gone:
            assert id not in gallery.search(features[id - 1][None], 10).ids
        held.add(gallery, entries[2300:], features[2300:])
        gallery.update({id: {"camera": "c9", "time": 1e6} for id in (20, 1500)})
        held.entries |= {entry.id: entry for entry in gallery.get([20, 1500])}
        assert two.tend()
        look(indexed=True)
        assert gallery.index_state().size >= 2600
        held.remove(gallery, [id for id in held.entries if id <= 600])  # so few are left in the first segment
        assert gallery.index_state().stale
        assert gallery.tend()
        look(indexed=True)
        gallery.set("index", "flat")
        assert two.tend()
        look(indexed=False)
        assert list(tmp_path.rglob("*.faiss")) == []
        assert gallery.verify() == []
    assert np.mean(shares) >= 0.98


def test_an_index_that_was_built_while_rows_went(tmp_path, monkeypatch):
    """Of rows erased meanwhile it holds nothing, and of a segment that is gone there is none."""
    monkeypatch.setattr(segments, "FEWEST", 200)
    rng, held = np.random.default_rng(5), Held()
    features = clustered(rng, 600)
    build = compressed.CompressedIndex.build
    with Gallery.create(tmp_path / "g", Origin("r", 512, "0" * 64, "n")) as gallery:
        held.add(gallery, [Entry("/a", "c", added=1e9)] * 300, features[:300])
        held.add(gallery, [Entry("/b", "c", added=2e9)] * 300, features[300:])
        gallery.set("index", "rabitq")

        def meanwhile(vectors, kind, allowed):
            index = build(vectors, kind, allowed)
            if 5 in held.entries:
                held.remove(gallery, [5, 6, 7])
            else:
                held.remove(gallery, [id for id in held.entries if id > 300])
                held.add(gallery, [Entry("/c", "c", added=2e9)] * 300, features[300:][::-1])
            return index

        monkeypatch.setattr(compressed.CompressedIndex, "build", staticmethod(meanwhile))
        assert gallery.tend()
        (path,) = tmp_path.rglob("*.faiss")
        index = compressed.CompressedIndex.load(path)
        assert np.flatnonzero(~index.present).tolist() == [4, 5, 6]
        hits = gallery.search(features[:20], 10)
        assert held.check(hits, features[:20], 10, EVERYTHING) >= 0.9
        assert gallery.index_state().stale
