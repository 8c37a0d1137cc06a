import hashlib
import subprocess
import sys
from dataclasses import replace

import faiss
import numpy as np
import pytest
from faiss.contrib.inspect_tools import get_invlist

from reid.errors import InputError
from reid.retrieval import compressed
from reid.retrieval.compressed import KINDS, CompressedIndex, Setting
from reid.retrieval.search import nearest


def people(count, crops, seed, width=32):
    """Unit rows of ``count`` people, ``crops`` of each, one after another."""
    rng = np.random.default_rng(seed)
    rows = np.repeat(rng.standard_normal((count, width)), crops, axis=0) + 0.4 * rng.standard_normal(
        (count * crops, width)
    )
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


VECTORS, QUERIES = people(200, 12, 0), people(200, 12, 0)[::40] + 0.02
QUERIES = QUERIES / np.linalg.norm(QUERIES, axis=1, keepdims=True)


@pytest.fixture(scope="module", autouse=True)
def _always_used():
    monkeypatch = pytest.MonkeyPatch()
    monkeypatch.setattr(compressed, "FEW_ROWS", 50)
    monkeypatch.setattr(compressed, "FEW_SHARE", 0.0)
    monkeypatch.setattr(compressed, "HELD", 120)
    yield
    monkeypatch.undo()


@pytest.fixture(scope="module", params=sorted(KINDS))
def index(request):
    return CompressedIndex.build(VECTORS, request.param)


def recall(found, exact):
    return (found[1] <= exact[1][:, -1:]).mean()


def test_finds_most_of_the_nearest_and_says_how_many(index):
    found = index.search(QUERIES, 10, VECTORS)
    assert index.recall >= compressed.WANTED and index.size == len(VECTORS)
    assert recall(found, nearest(QUERIES, VECTORS, 10)) >= 0.97


def test_distances_and_order_are_the_exact_ones(index):
    """All lists looked at and every row proposed: the very answer of the exact search, ties and all."""
    vectors = VECTORS.copy()
    vectors[500:520] = vectors[3]
    thorough = replace(CompressedIndex.build(vectors, index.kind), settings=2 * (Setting(1_000, 10**6, 240, 1.0),))
    queries = np.concatenate([QUERIES, vectors[3:4]])
    allowed = np.arange(len(vectors)) % 3 != 0
    for some in (None, allowed):
        found = thorough.search(queries, 7, vectors, some)
        for got, wanted in zip(found, nearest(queries, vectors, 7, some), strict=True):
            np.testing.assert_array_equal(got, wanted)


def test_distances_of_what_is_found_are_those_of_its_rows(index):
    rows, distances = index.search(QUERIES, 5, VECTORS)
    exact = 1 - (QUERIES.astype(np.float64)[:, None] * VECTORS[rows].astype(np.float64)).sum(axis=2)
    np.testing.assert_allclose(distances, exact, atol=1e-14)
    assert (np.diff(distances, axis=1) >= 0).all()
    assert all(len(set(row)) == 5 for row in rows.tolist())


@pytest.mark.parametrize("count", [2_000, 1_300, 300])
@pytest.mark.parametrize("kind", ["random", "run", "every"])
def test_a_filter_narrows_inside_the_index(index, count, kind, monkeypatch):
    monkeypatch.setattr(compressed, "nearest", None)  # not by the exact search
    rows = np.random.default_rng(1).permutation(len(VECTORS)) if kind == "random" else np.arange(len(VECTORS))
    allowed = np.isin(np.arange(len(VECTORS)), rows[:: len(rows) // count] if kind == "every" else rows[:count])
    found = index.search(QUERIES, 10, VECTORS, allowed)
    assert allowed[found[0]].all()
    assert recall(found, nearest(QUERIES, VECTORS, 10, allowed)) >= 0.97


@pytest.mark.parametrize("count", [0, 3, 40])
def test_few_allowed_rows_are_searched_exactly(index, count):
    allowed = np.zeros(len(VECTORS), bool)
    allowed[np.random.default_rng(2).choice(len(VECTORS), count, replace=False)] = True
    found = index.search(QUERIES, 10, VECTORS, allowed)
    for got, wanted in zip(found, nearest(QUERIES, VECTORS, 10, allowed), strict=True):
        np.testing.assert_array_equal(got, wanted)


def test_a_list_is_full_however_long(index):
    rows, distances = index.search(QUERIES[:3], len(VECTORS) + 5, VECTORS)
    assert (np.sort(rows[:, : len(VECTORS)], axis=1) == np.arange(len(VECTORS))).all()
    assert (rows[:, len(VECTORS) :] == -1).all() and np.isnan(distances[:, len(VECTORS) :]).all()


def test_no_queries(index):
    rows, distances = index.search(QUERIES[:0], 4, VECTORS)
    assert rows.shape == distances.shape == (0, 4)


def test_a_filter_that_lets_all_pass(index):
    """The query's person may be what it leaves out, in another index: the nearest strangers are found as well."""
    first = CompressedIndex.build(VECTORS[:1200], index.kind)
    queries, everything = VECTORS[1200::12], np.ones(1200, bool)
    found = first.search(queries, 10, VECTORS[:1200], everything)
    assert recall(found, nearest(queries, VECTORS[:1200], 10)) >= 0.97


def test_a_filter_by_cameras_that_see_differently(monkeypatch):
    """Crops of a camera lie together, far from a query of another one: few of the lists near it hold any of them."""
    rng = np.random.default_rng(4)
    camera = np.arange(4_000) % 10
    rows = people(200, 20, 5) * np.sqrt(32) + rng.standard_normal((10, 32))[camera]
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    monkeypatch.setattr(compressed, "HELD", 100)
    index, queries = CompressedIndex.build(rows, "rabitq"), rows[camera == 9]
    monkeypatch.setattr(compressed, "nearest", None)
    for cameras in (1, 5):
        allowed = camera < cameras
        assert recall(index.search(queries, 10, rows, allowed), nearest(queries, rows, 10, allowed)) >= 0.97


@pytest.mark.parametrize("k", [24, 100])
def test_a_longer_list_is_as_good(index, k):
    assert recall(index.search(QUERIES, k, VECTORS), nearest(QUERIES, VECTORS, k)) >= 0.97


def test_bytes(index):
    lists = index._index.nlist
    assert index.nbytes == len(VECTORS) * (index._index.code_size + 8) + lists * 32 * 4


def test_recalls_are_what_counting_rows_gives(index, monkeypatch):
    """All rows, half of them and so on, of the rows that the build draws: plain sets, each query against the others."""
    asked = []
    monkeypatch.setattr(compressed, "nearest", lambda *args: asked.append(args) or nearest(*args))
    built = CompressedIndex.build(VECTORS, index.kind)
    assert [one.rows for one in built.settings] == [2400, 1200, 600, 300, 150, 75, 37]
    recalls: dict[int, list[float]] = {}
    for queries, vectors, k, allowed in asked:
        setting = next(one for one in built.settings if one.rows <= allowed.sum() * 1.2)
        proposed = compressed._propose(built._index, queries, k * setting.factor, setting.nprobe, allowed)
        exact, _ = nearest(queries, vectors, k, allowed)
        hits = [len(set(p) & set(e) - {-1}) for p, e in zip(proposed.tolist(), exact.tolist(), strict=True)]
        recalls.setdefault(setting.rows, []).append(sum(hits) / k / len(hits))
    assert [len(of) for of in recalls.values()] == [1, 3, 3, 3, 3, 3, 3]
    assert [min(of) for of in recalls.values()] == pytest.approx([one.recall for one in built.settings])


def test_the_cheapest_that_is_good_enough_is_chosen_and_out_of_reach_the_best(monkeypatch):
    chosen = CompressedIndex.build(VECTORS[:600], "rabitq")
    assert all(compressed.WANTED <= one.recall <= 1 for one in chosen.settings)
    monkeypatch.setattr(compressed, "WANTED", 2.0)
    best = CompressedIndex.build(VECTORS[:600], "rabitq")
    for one, most in zip(chosen.settings, best.settings, strict=True):
        assert one.recall <= most.recall <= 1 and (one.nprobe, one.factor) <= (most.nprobe, most.factor)


def test_build_of_some_rows(index):
    """Those left out are never read and never found."""
    allowed = np.random.default_rng(3).random(len(VECTORS)) < 0.7
    vectors = np.where(allowed[:, None], VECTORS, QUERIES[0])
    some = CompressedIndex.build(vectors, index.kind, allowed)
    assert some.settings == CompressedIndex.build(VECTORS, index.kind, allowed).settings
    assert some.size == len(VECTORS) and some.settings[0].rows == allowed.sum()
    assert (some.present == allowed).all()
    assert recall(some.search(QUERIES, 10, vectors), nearest(QUERIES, VECTORS, 10, allowed)) >= 0.97


@pytest.mark.parametrize("count", [1, 60, 1_200, 2_395, 2_400])
def test_without_some_rows(index, count, tmp_path):
    """In memory, saved and loaded, and once more: the others are found by their numbers, the removed ones never."""
    order = np.random.default_rng(count).permutation(len(VECTORS))
    gone = order[:count]
    left = ~np.isin(np.arange(len(VECTORS)), gone)
    vectors = np.where(left[:, None], VECTORS, QUERIES[0])
    index.save(tmp_path / "whole")
    first = CompressedIndex.load(tmp_path / "whole").without(gone[: count // 2], vectors)
    without = first.without(gone, vectors)
    without.save(tmp_path / "left")
    for one in (without, CompressedIndex.load(tmp_path / "left")):
        assert one.size == len(VECTORS) and (one.present == left).all() and one._index.ntotal == left.sum()
        for k, some in ((10, None), (10, np.arange(len(VECTORS)) % 3 != 0), (len(VECTORS), None)):
            allowed = left if some is None else left & some
            found, exact = one.search(QUERIES, k, vectors, some), nearest(QUERIES, VECTORS, k, allowed)
            assert not np.isin(found[0], gone).any()
            assert ((found[0] < 0) == (exact[0] < 0)).all()
            assert (found[1] <= exact[1][:, -1:])[exact[0] >= 0].mean() >= 0.97 if left.sum() > k else True
    assert index.present.all()  # untouched


def test_nothing_is_left_of_what_was_taken_out(index, tmp_path):
    """Whatever it was, the same file: two indexes that differ in a person's rows alone, and in nothing once those are
    taken out; no centre is a mean with them in it."""
    gone = np.arange(240, 252)
    without = index.without(gone, VECTORS)
    for number in range(without._index.nlist):
        rows, codes = get_invlist(without._index.invlists, number)
        assert not np.isin(rows, gone).any() and len(rows) == len(codes) > 0
        np.testing.assert_allclose(without._index.quantizer.reconstruct(number), VECTORS[rows].mean(axis=0), atol=1e-6)
    other = VECTORS.copy()
    other[gone] = -other[gone]
    lists = [get_invlist(index._index.invlists, number)[0] for number in range(index._index.nlist)]
    swapped = compressed._assemble(index.kind, index._index, [(rows, None, None) for rows in lists], other)
    replace(index, _index=swapped).without(gone, other).save(tmp_path / "other")
    without.save(tmp_path / "without")
    assert (tmp_path / "other").read_bytes() == (tmp_path / "without").read_bytes()


def test_the_same_build_twice(index):
    one, other = index, CompressedIndex.build(VECTORS, index.kind)
    assert one.settings == other.settings
    for got, wanted in zip(one.search(QUERIES, 10, VECTORS), other.search(QUERIES, 10, VECTORS), strict=True):
        np.testing.assert_array_equal(got, wanted)


def test_saved_and_loaded_answers_alike(index, tmp_path):
    index.save(tmp_path / "index")
    loaded = CompressedIndex.load(tmp_path / "index")
    assert (loaded.kind, loaded.size, loaded.settings) == (index.kind, index.size, index.settings)
    assert loaded.recall == index.recall and loaded.nbytes == index.nbytes
    allowed = np.arange(len(VECTORS)) % 5 != 0
    for some in (None, allowed):
        found = zip(loaded.search(QUERIES, 10, VECTORS, some), index.search(QUERIES, 10, VECTORS, some), strict=True)
        for got, wanted in found:
            np.testing.assert_array_equal(got, wanted)
    with pytest.raises(ValueError, match="in a file already"):
        loaded.save(tmp_path / "again")
    assert [path.name for path in tmp_path.iterdir()] == ["index"]


def test_built_and_searched_from_a_mapped_file(index, tmp_path):
    VECTORS.tofile(tmp_path / "rows")
    mapped = np.memmap(tmp_path / "rows", np.float32, "r", shape=VECTORS.shape)
    other = CompressedIndex.build(mapped, index.kind)
    for got, wanted in zip(other.search(QUERIES, 10, mapped), index.search(QUERIES, 10, VECTORS), strict=True):
        np.testing.assert_array_equal(got, wanted)


def test_damaged_files_are_refused(tmp_path):
    """In a process of its own, which must not crash: cut anywhere, any byte changed, garbage, nothing."""
    path = tmp_path / "index"
    CompressedIndex.build(VECTORS[:400], "rabitq").save(path)
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    damaged = {f"cut {n}": whole[:n] for n in [0, 1, 20, 21, len(whole) - 1, *rng.integers(0, len(whole), 20)]}
    for n in [0, len(whole) - 1, *rng.integers(0, len(whole), 40)]:
        damaged[f"byte {n}"] = whole[:n] + bytes([whole[n] ^ 0x41]) + whole[n + 1 :]
    damaged["garbage"] = rng.bytes(5_000)
    damaged["only the end"] = whole[-len(compressed.MARK) - 40 :]
    for number, content in enumerate(damaged.values()):
        (tmp_path / f"{number}.bad").write_bytes(content)
    script = """
import sys
from pathlib import Path
from reid.errors import InputError
from reid.retrieval.compressed import CompressedIndex
for path in sorted(Path(sys.argv[1]).glob("*.bad")):
    try:
        CompressedIndex.load(path)
    except InputError as error:
        assert str(error).startswith(str(path)), error
    else:
        print(path)
print("done")
"""
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True)
    assert done.stdout == "done\n", (done, damaged.keys())


@pytest.mark.parametrize("numbers", ['{"kind": "rabitq"}', "[]"])
def test_a_whole_file_of_another_version_is_refused(tmp_path, numbers):
    """The checksum holds, and FAISS does not know the content, or we do not know the numbers."""
    good = faiss.serialize_index(faiss.index_factory(4, "IVF1,RaBitQ")).tobytes()
    for content in (b"IwXX" + bytes(100), good):
        content += numbers.encode() + len(numbers).to_bytes(8, "little")
        (tmp_path / "index").write_bytes(content + hashlib.sha256(content).digest() + compressed.MARK)
        with pytest.raises(InputError, match="of another version.*delete it, and it is built anew"):
            CompressedIndex.load(tmp_path / "index")


def test_bad_input(tmp_path):
    with pytest.raises(InputError, match=r"'pq' is not one of \['rabitq', 'sq8'\]"):
        CompressedIndex.build(VECTORS, "pq")
    with pytest.raises(InputError, match="99 rows, of which it needs 100"):
        CompressedIndex.build(VECTORS[:99], "sq8")
    with pytest.raises(InputError, match="missing"):
        CompressedIndex.load(tmp_path / "missing")
    with pytest.raises(InputError, match="cannot be written"):
        CompressedIndex.build(VECTORS[:100], "sq8").save(tmp_path)
