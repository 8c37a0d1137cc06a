"""Vectors on a real Milvus server: what passes and is near, its indexes, its files, several writers."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import milvus_server
import numpy as np
import pytest
import sequences
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reid.errors import InputError
from reid.gallery.entries import Entry, Filter, NotThere
from reid.gallery.parts import Layout
from reid.gallery.store import Gallery
from reid.gallery.vectors import collection, milvus
from reid.gallery.vectors.collection import expression, partition
from reid.gallery.vectors.milvus import Milvus
from reid.gallery.vectors.rows import ALL, ROW, Narrow
from reid.networks import Origin
from reid.retrieval.search import nearest
from reid.retrieval.unit import unit_rows

WIDTH = 8
NUMBERS, GALLERIES = count(), count()
AHEAD, EXAMPLES = 11, 4  # collections that are made ahead; sequences of operations
# Under these a removed vector is gone from the server's files soon: docs/scale.md has them for longer times.
ERASING = {
    "dataCoord.compaction.single.deltalog.maxsize": 0,
    "dataCoord.compaction.global.interval": 2,
    "dataCoord.gc.interval": 1,
    "dataCoord.gc.dropTolerance": 1,
    "rocksmq.retentionTimeInMinutes": 0,
    "rocksmq.rocksmqPageSize": 4096,
    "rocksmq.compactionInterval": 2,
    "rocksmq.timtickerInterval": 1,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where the servers' programs and data are, which are large, as long as these tests run."""
    reason = milvus_server.missing()
    if reason:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(reason)
    folder = tmp_path_factory.mktemp("milvus")
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def quick(folder):
    """Address of a server that has 10 ms between its time stamps.

    Collections are made at once, as who makes one waits for two seconds and more, in which the server does little.
    """
    ticking = milvus_server.SOON | {"proxy.timeTickInterval": 10}
    with milvus_server.serving(folder / "quick", ticking, folder / "programs") as (address, _):
        wanted = [(f"vectors{n}", WIDTH) for n in range(AHEAD)] + [(f"sequences{n}", 4) for n in range(2 * EXAMPLES)]
        with ThreadPoolExecutor(len(wanted)) as pool:
            list(pool.map(lambda each: Milvus(f"{address}/{each[0]}", each[1], make=True).close(), wanted))
        yield address


@pytest.fixture(scope="module")
def usual(folder):
    """Address and folder of a server with the usual 0.2 s between its time stamps, which erases soon."""
    with milvus_server.serving(folder / "usual", ERASING | milvus_server.SOON, folder / "programs") as (address, _):
        yield address, folder / "usual"


@pytest.fixture(scope="module")
def removed(usual):
    """The folder of a server that a row was removed from, the row's bytes, those of one that was not."""
    vectors = unit_rows(np.random.default_rng(7).standard_normal((2000, 32)), 32, "")
    with made(usual[0], 32) as store:
        store.add(rows(np.arange(1, 2001), day=20_000), vectors)
        list(store._waiting(indexed=False))  # for what the server does by itself, after a while
        erased, kept = vectors[6].tobytes(), vectors[7].tobytes()
        assert holding(usual[1], erased)
        store.remove(np.array([7]))
        yield usual[1], erased, kept
        np.testing.assert_array_equal(store.fetch(np.array([8])), vectors[7:8])


@contextmanager
def made(address, width=WIDTH):
    """An empty one."""
    vectors = Milvus(f"{address}/vectors{next(NUMBERS)}", width, make=True)
    yield vectors
    vectors.close()


def rows(ids, seed=0, **columns):
    """(N,) ROW of any values, but for the ``columns`` given."""
    rng, some = np.random.default_rng(seed), np.zeros(len(ids), ROW)
    some["id"], some["camera"] = ids, rng.integers(1, 9, len(ids))
    some["identity"] = rng.choice([-1, 11, 12, 2**31 - 1], len(ids))
    some["time"] = rng.choice([np.nan, 0.0, -5.0, 1e9 + 1 / 3, 1e9 + 3, 253402300799.0], len(ids))
    some["last"] = np.where(rng.random(len(ids)) < 0.5, some["time"], some["time"] + 7.5)
    some["day"] = rng.integers(20_000, 20_003, len(ids))
    for name, values in columns.items():
        some[name] = values
    return some


def ties(count, seed, width=WIDTH):
    """(N, D) rows of length 1 whose products are exact in any order of summation, many of them equal."""
    rng, vectors = np.random.default_rng(seed), np.zeros((count, width), np.float32)
    for row in vectors:
        row[rng.choice(8, 4, replace=False)] = rng.choice([-0.5, 0.5], 4)
    return vectors


def expected(queries, k, some, vectors, narrow=ALL):
    places, distances = nearest(queries, vectors, k, narrow.passing(some))
    return np.where(places < 0, -1, some["id"][places]), distances


def assert_nearest(store, queries, k, some, vectors, narrow=ALL, **options):
    hits, (ids, distances) = store.search(queries, k, narrow, **options), expected(queries, k, some, vectors, narrow)
    np.testing.assert_array_equal(hits.ids, ids)
    np.testing.assert_array_equal(hits.distances, distances)
    assert hits.exhaustive


# --- an approximate index; first, so that the bytes of what is removed go while the other tests run


def people(count, seed):
    """(N, 512) of length 1: some people, 20 images each."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((count // 20 + 1, 512))
    return unit_rows(centres[np.arange(count) // 20] + 0.8 * rng.standard_normal((count, 512)), 512, "")


@pytest.mark.usefixtures("removed")
def test_an_approximate_index(usual, tmp_path, monkeypatch):
    monkeypatch.setattr(milvus, "FEW", 100)
    monkeypatch.setattr(milvus, "HELD", 50)
    layout, total = Layout(vectors=f"{usual[0]}/approximate"), 3000
    vectors = people(total, 0)
    queries = people(total, 0)[::100] + 0.01
    queries = unit_rows(queries, 512, "")
    with Gallery.create(tmp_path / "g", Origin("r", 512, "n", "p"), layout) as gallery:
        entries = [Entry(f"/{n}.jpg", f"c{n % 10}", added=1.0 + 86_400 * (n // 1500)) for n in range(total)]
        ids = np.array(gallery.add(entries, vectors, [b""] * total))
        for kind in ("rabitq", "sq8"):
            with pytest.raises(InputError, match=f"index '{kind}' is not one of auto, flat, hnsw, ivf_flat"):
                gallery.set("index", kind)
        assert str(gallery.index_state()) == "exact" and not gallery.tend()
        before = gallery.search(queries, 10)
        assert before.exhaustive
        np.testing.assert_array_equal(before.ids, ids[nearest(queries, vectors, 10)[0]])
        with Gallery.open(tmp_path / "g") as other, searching(other, queries, before.ids):
            gallery.set("index", "ivf_flat")
            assert other.index_state().stale and str(other.index_state()).endswith("is built")
            assert gallery.tend() and not other.tend()
            state = other.index_state()
            assert (state.kind, state.wanted, state.size, state.behind) == ("ivf_flat", "ivf_flat", total, 0)
            assert f"ivf_flat, recall@10 {state.recall:.3f} against exact search" in str(state)
            assert state.recall > 0.98
            for wanted in (Filter(), Filter(cameras=("c1", "c2", "c3", "c4", "c5")), Filter(cameras=("c7",))):
                numbers = [int(camera[1:]) for camera in wanted.cameras]
                mask = np.isin(np.arange(total) % 10, numbers) if numbers else None
                truth = nearest(queries, vectors, 10, mask)
                hits = other.search(queries, 10, wanted)
                assert np.mean([np.isin(*pair).mean() for pair in zip(ids[truth[0]], hits.ids, strict=True)]) > 0.97
                assert not hits.exhaustive
                hits = other.search(queries, 10, wanted, exact=True)
                np.testing.assert_array_equal(hits.ids, ids[truth[0]])
                np.testing.assert_array_equal(hits.distances, truth[1])
                assert hits.exhaustive
            gone = other.search(vectors[:1], 3).ids[0].tolist()
            hits = other.search(queries, 10, Filter(start=0.0))  # of unknown time: none passes
            assert hits.exhaustive and (hits.ids == -1).all()
        gallery.remove(gone)
        (new,) = gallery.add([Entry("/new.jpg", "c1")], vectors[:1], [b""])
        found = gallery.search(vectors[:1], 10).ids[0].tolist()
        assert found[0] == new and not set(gone) & set(found)
        gallery.set("index", "auto")
        assert gallery.tend() and str(gallery.index_state()) == "exact"
        assert gallery.search(queries, 10).exhaustive
        assert gallery.verify() == []


@contextmanager
def searching(gallery, queries, ids):
    """Another thread searches exactly all the while; no answer may be another one, or fail."""
    end, wrong = threading.Event(), []

    def search():
        while not end.is_set():
            try:
                hits = gallery.search(queries[:1], 10, exact=True)
                wrong.extend([] if (hits.ids == ids[:1]).all() else [hits])
            except InputError as error:
                wrong.append(error)

    thread = threading.Thread(target=search)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join()
    assert wrong == []


# --- what is there


def test_rows_that_pass_are_those_of_passing(quick):
    some, vectors = rows(np.arange(1, 121)), ties(120, 0)
    bounds = st.none() | st.sampled_from([0.0, -5.0, 1e9 + 1 / 3, 7.5, 5e-324, 1e300, np.inf, -np.inf, np.nan])
    numbers = st.none() | st.lists(st.sampled_from([1, 3, 8, 11, 2**31 - 1, 99]), max_size=3).map(tuple)
    narrows = st.builds(Narrow, numbers, numbers, numbers.map(lambda some: some or ()), bounds, bounds)
    with made(quick) as store:
        store.add(some, vectors)

        @settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
        @given(narrows)
        def check(narrow):
            wanted, passing = expression(narrow), narrow.passing(some)
            there = [] if wanted is None else np.concatenate(list(store._collection.ids(wanted))).tolist()
            assert there == some["id"][passing].tolist()
            assert_nearest(store, vectors[:2], 5, some, vectors, narrow)

        check()


def test_adding_changing_and_removing(quick, monkeypatch):
    monkeypatch.setattr(collection, "WIDE", 40)
    ids, vectors = np.r_[1:60, 200:260], ties(119, 1)
    some = rows(ids)
    with made(quick) as store, made(quick) as other:
        store._collection.step = 7
        assert store.ids().tolist() == []
        store.add(some[:50], vectors[:50])
        store.add(some[50:], vectors[50:])
        store.add(some[:0], vectors[:0])
        assert store.ids().tolist() == ids.tolist()
        asked = np.r_[ids[::-1], ids[3], ids[3]]
        np.testing.assert_array_equal(store.fetch(asked), np.r_[vectors[::-1], vectors[[3, 3]]])
        assert store.fetch(np.empty(0, np.int64)).shape == (0, WIDTH)
        with pytest.raises(NotThere, match="no entry 100"):
            store.fetch(np.array([1, 100, 101]))
        new = rows(ids, seed=5, day=some["day"])
        store.change(np.r_[new[::-1], new[:2], rows([150])])  # one that is not there, some twice
        np.testing.assert_array_equal(store.fetch(ids), vectors)
        assert_nearest(store, vectors[:3], 9, new, vectors, Narrow(cameras=(3, 4), start=0.0))
        store.remove(np.array([5, 5, 150, 201]))
        store.remove(np.empty(0, np.int64))
        left = ~np.isin(ids, [5, 201])
        assert store.ids().tolist() == ids[left].tolist()
        assert_nearest(store, vectors[:3], 200, new[left], vectors[left])
        assert (store.problems(), other.ids().tolist()) == ([], [])


def test_equal_rows_come_by_id_however_many(quick, monkeypatch):
    monkeypatch.setattr(milvus, "SPARE", 2)
    monkeypatch.setattr(milvus, "MOST", 60)
    monkeypatch.setattr(milvus, "ANSWER", 5000)
    some, vectors = rows(np.arange(1, 151)), np.r_[np.tile(ties(1, 2), (100, 1)), ties(50, 3)]
    near = unit_rows(ties(1, 2) + 1e-7 * np.random.default_rng(0).standard_normal((150, WIDTH)), WIDTH, "")
    for these in (vectors, near):
        with made(quick) as store:
            store.add(some, these)
            for k in (0, 5, 30, 70, 200):  # widened, then read whole; k above what Milvus proposes
                assert_nearest(store, np.r_[these[:1], these[-3:]], k, some, these)
                assert_nearest(store, these[:1], k, some, these, Narrow(cameras=(1, 2, 3)))


def test_a_day_has_a_partition(quick):
    days = [-719_162, -1, 0, 1, 999, 1000, 2_932_896]
    some, vectors = rows(np.arange(1, 8), day=days), ties(7, 4)
    with made(quick) as store:
        late = Milvus(store._collection.location, WIDTH)  # knows of none of them
        store.add(some[:6], vectors[:6])
        late.add(some[6:], vectors[6:])
        names = set(store._collection("list_partitions")) - {"_default"}
        assert names == {f"day_{day % 1000}" for day in days} and len(names) < len(days)
        assert partition(-1) == "day_999"
        assert store.ids().tolist() == some["id"].tolist()


def test_several_make_one_partition(quick, monkeypatch):
    with made(quick) as store:
        ask = collection.Collection.__call__

        def slow(self, method, **options):
            if method == "create_partition":  # another is quicker
                ask(self, method, **options)
                raise InputError("there already")
            return ask(self, method, **options)

        monkeypatch.setattr(collection.Collection, "__call__", slow)
        store.add(rows([1]), ties(1, 0))
        assert store.ids().tolist() == [1]


@pytest.mark.parametrize("catalogue", ["sqlite", "postgresql"])
def test_any_order_of_operations(request, quick, catalogue):
    tables = None if catalogue == "sqlite" else request.getfixturevalue("postgresql")

    def layout():
        return Layout("sqlite" if tables is None else tables.location(), f"{quick}/sequences{next(GALLERIES)}")

    sequences.run(layout, EXAMPLES, steps=12)


# --- opening


@pytest.mark.parametrize(
    "location", ["milvus://host/people", "milvus://host:1/a-b", "milvus://u:p@host:1/a", "milvus+ssl://host:1/a"]
)
def test_bad_locations(location):
    with pytest.raises(InputError, match="expected milvus://HOST:PORT/COLLECTION") as told:
        Milvus(location, WIDTH)
    assert "u:p" not in str(told.value)


def test_what_cannot_be_opened(quick, tmp_path, monkeypatch):
    with made(quick) as store:
        location = store._collection.location
        Milvus(location, WIDTH, make=True).close()  # whose making was cut short
        with pytest.raises(InputError, match=r"the collection is another program's, or its features are not 9 wide"):
            Milvus(location, 9)
        store.add(rows([1]), ties(1, 0))
        with pytest.raises(InputError, match="the collection holds rows already"):
            Gallery.create(tmp_path / "new", Origin("r", WIDTH, "n", "p"), Layout(vectors=location))
    with pytest.raises(InputError, match="there is no collection 'nothing'"):
        Milvus(f"{quick}/nothing", WIDTH)
    monkeypatch.setattr(collection, "CONNECTING", 0.5)
    with pytest.raises(InputError, match="milvus://127.0.0.1:1/people: no Milvus server answers there"):
        Milvus("milvus://127.0.0.1:1/people", WIDTH)


def test_what_milvus_refuses_is_told(quick):
    with made(quick) as store, pytest.raises(InputError, match="vectors.*: Milvus cannot create partition: .*name"):
        store._collection("create_partition", partition_name="no name")


def test_token_and_encryption(monkeypatch):
    asked = []

    class Client:
        def __init__(self, uri, token, timeout):
            asked.append((uri, token))

    monkeypatch.setattr("pymilvus.MilvusClient", Client)
    monkeypatch.setenv("REID_MILVUS_TOKEN", "root:secret")
    collection.reached("milvus+tls://host:443/people", WIDTH)
    monkeypatch.delenv("REID_MILVUS_TOKEN")
    collection.reached("milvus://[::1]:19530/people", WIDTH)
    assert asked == [("https://host:443", "root:secret"), ("http://[::1]:19530", "")]


# --- an index


def test_an_index_whose_replacing_was_cut_short(quick, monkeypatch):
    some, vectors = rows(np.arange(1, 51)), ties(50, 0)
    monkeypatch.setattr(milvus, "TIMEOUT", 0.2)
    with made(quick) as store:
        store.add(some, vectors)
        ask = collection.Collection.__call__

        def dying(self, method, **options):
            answer = ask(self, method, **options)
            if method == "drop_index":
                raise InputError("died")
            return answer

        with monkeypatch.context() as patch, pytest.raises(InputError, match="died"):
            patch.setattr(collection.Collection, "__call__", dying)
            list(store.tend("hnsw"))
        again = Milvus(store._collection.location, WIDTH)
        with pytest.raises(InputError, match="its index is half replaced: build the index again"):
            again.search(vectors[:3], 5)
        assert again.report("flat").stale
        list(again.tend("flat"))
        assert_nearest(store, vectors[:3], 5, some, vectors)
        assert not store.report("flat").stale


# --- what was erased


def holding(folder, content):
    return [path for path in (folder / "data").rglob("*") if path.is_file() and content in bytes_of(path)]


def bytes_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:  # gone meanwhile
        return b""


def test_no_file_of_the_server_holds_what_was_removed(removed):
    folder, erased, kept = removed
    end = time.monotonic() + 240
    while (left := holding(folder, erased)) and time.monotonic() < end:
        time.sleep(0.5)
    assert not left
    assert holding(folder, kept)


# --- several machines

MACHINE = """
import os, signal, sys
import numpy as np
from reid.gallery.entries import Entry
from reid.gallery.store import Gallery
from reid.gallery.vectors.collection import Collection
folder, name, until = sys.argv[1], sys.argv[2], int(sys.argv[3])
gallery, call, turns = Gallery.open(folder), Collection.__call__, 0
def dying(self, method, **options):
    answer = call(self, method, **options)
    if turns == until and method == "insert":
        os.kill(os.getpid(), signal.SIGKILL)  # half of a batch is in
    return answer
Collection.__call__ = dying
gallery._vectors._collection.step = 4
print("ready", flush=True)
for line in sys.stdin:
    rng = np.random.default_rng(turns)
    entries = [Entry(f"/{name}/{turns}-{n}.jpg", name, f"{name} {turns}") for n in range(6)]
    ids = gallery.add(entries, rng.standard_normal((6, 8)), [b"\\xff\\xd8\\xff" + bytes(9)] * 6)
    gallery.remove(ids[:2])
    gallery.update({id: {"identity": name} for id in ids[2:]})
    turns += 1
    print(*ids[2:], flush=True)
"""


def test_two_machines_of_which_one_is_killed_while_adding(quick, postgresql, tmp_path):
    layout = Layout(postgresql.location(), f"{quick}/machines")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path))}
    with Gallery.create(tmp_path / "g", Origin("r", WIDTH, "n", "p"), layout) as gallery:
        machines = [
            subprocess.Popen(
                [sys.executable, "-c", MACHINE, tmp_path / "g", name, until],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment,
            )
            for name, until in (("steady", "-1"), ("dying", "2"))
        ]  # fmt: skip
        steady, dying = machines
        try:
            assert [each.stdout.readline() for each in machines] == ["ready\n"] * 2
            for each in machines:
                each.stdin.write("go on\n" * 2)
                each.stdin.flush()
            kept = [line.split() for each in machines for line in (each.stdout.readline(), each.stdout.readline())]
            dying.stdin.write("go on\n")  # alone: the other would put right at once what it leaves
            dying.stdin.flush()
            assert dying.wait() == -9
            there = sorted(int(id) for ids in kept for id in ids)
            assert [entry.id for entry in gallery.find()] == there
            assert set(gallery.search(np.ones((1, WIDTH)), 100).ids[0].tolist()) == {-1, *there}
            halves = np.setdiff1d(gallery._vectors.ids(), there)
            assert len(halves) == 4 and any("unfinished: 1 to add" in line for line in gallery.verify())
            steady.stdin.write("go on\n")
            steady.stdin.flush()
            there += map(int, steady.stdout.readline().split())
            assert [entry.id for entry in gallery.find()] == there
            assert gallery.verify() == []
            assert gallery.catalogue.counts(Filter(identities=("steady",))) == (12, 1)
        finally:
            for each in machines:
                each.kill()
                each.wait()
                each.stdin.close()
                each.stdout.close()
