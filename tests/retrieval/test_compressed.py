import hashlib
import subprocess
import sys
from dataclasses import replace

import faiss
import numpy as np
import pytest

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


@pytest.fixture(scope="module", params=sorted(KINDS))
def index(request):
    return CompressedIndex.build(VECTORS, request.param)


@pytest.fixture(autouse=True)
def _always_used(monkeypatch):
    monkeypatch.setattr(compressed, "FEW_ROWS", 50)


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
    thorough = replace(CompressedIndex.build(vectors, index.kind), setting=Setting(10**6, 1000, 1.0))
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


@pytest.mark.parametrize("share", [0.6, 0.95])
def test_only_allowed_rows_are_found(index, share):
    allowed = np.random.default_rng(1).random(len(VECTORS)) < share
    found = index.search(QUERIES, 10, VECTORS, allowed)
    assert allowed[found[0]].all()
    assert recall(found, nearest(QUERIES, VECTORS, 10, allowed)) >= 0.9


@pytest.mark.parametrize("count", [0, 3, 40, 1_000])
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


def test_bytes_and_the_choice(index):
    lists = index._index.nlist
    assert index.nbytes == len(VECTORS) * (index._index.code_size + 8) + lists * 32 * 4
    assert index.setting in index.tried
    enough = [one for one in index.tried if one.recall >= compressed.WANTED]
    assert index.setting == min(enough, key=lambda one: compressed._cost(one, len(VECTORS) / lists))


def test_recall_is_what_counting_rows_gives(index):
    held = np.arange(0, len(VECTORS), 10)
    one = compressed._measure(index._index, VECTORS, held)[0]
    found = replace(index, setting=one).search(VECTORS[held], 11, VECTORS)[0]
    exact = nearest(VECTORS[held], VECTORS, 11)[0]
    shares = [len((set(f) & set(e)) - {own}) / 10 for f, e, own in zip(found, exact, held, strict=True)]
    assert one.recall == pytest.approx(np.mean(shares))


def test_out_of_reach_the_best_is_kept(monkeypatch):
    monkeypatch.setattr(compressed, "WANTED", 2.0)
    index = CompressedIndex.build(VECTORS[:600], "rabitq")
    assert index.recall == max(one.recall for one in index.tried) <= 1
    assert max(one.nprobe for one in index.tried) == index._index.nlist


def test_the_same_build_twice(index):
    one, other = index, CompressedIndex.build(VECTORS, index.kind)
    assert one.setting == other.setting and one.tried == other.tried
    for got, wanted in zip(one.search(QUERIES, 10, VECTORS), other.search(QUERIES, 10, VECTORS), strict=True):
        np.testing.assert_array_equal(got, wanted)


def test_saved_and_loaded_answers_alike(index, tmp_path):
    index.save(tmp_path / "index")
    loaded = CompressedIndex.load(tmp_path / "index")
    assert (loaded.kind, loaded.size, loaded.setting) == (index.kind, index.size, index.setting)
    assert loaded.tried == index.tried and loaded.nbytes == index.nbytes
    allowed = np.arange(len(VECTORS)) % 5 != 0
    for some in (None, allowed):
        found = zip(loaded.search(QUERIES, 10, VECTORS, some), index.search(QUERIES, 10, VECTORS, some), strict=True)
        for got, wanted in found:
            np.testing.assert_array_equal(got, wanted)
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
        with pytest.raises(InputError, match="of another version.*build it again"):
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
