from __future__ import annotations

import fcntl
import json
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import chdir, contextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from memory_store import MemoryStore
from milvus_server import missing, serving
from reid.gallery.location import open_store
from reid.gallery.milvus import client as milvus
from reid.gallery.milvus import search as milvus_search
from reid.gallery.milvus import texts as milvus_texts
from reid.gallery.milvus.client import Connection
from reid.gallery.milvus.rows import NO_TIME, expression
from reid.gallery.milvus.store import THUMBNAIL, MilvusStore, _condemned
from reid.gallery.milvus.texts import Texts, turn

from reid.errors import InputError
from reid.gallery.entries import Entry, Filter
from reid.networks import Origin
from reid.retrieval.unit import unit_rows

ORIGIN = Origin("a run", 8, "network", "preprocessing")
NUMBERS = count()
NAMES = [
    "P1", 'a"b', "c\\d", "e'f", "ünï", "日本", "😀", "\n\r\t", "%x_", "{a}", "\x00", "\x7f\x01\u2028", "\\n", "\\u0041",
    "", '"] or id > 0 or camera in ["', "NULL", "a" * 300,
]  # fmt: skip
TIMES = st.none() | st.sampled_from([0.0, -5.0, 1e9 + 3, 1e9 + 1 / 3, 5e-324, float("inf"), -float("inf")])


@pytest.fixture(scope="module", autouse=True)
def _elsewhere(tmp_path_factory):
    """Audit logs lie below the current folder."""
    with chdir(tmp_path_factory.mktemp("here")):
        yield


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    reason = missing()
    if reason:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(reason)
    with serving(tmp_path_factory.mktemp("milvus"), tick=10) as (address, _):
        yield address


@contextmanager
def created(request, tmp_path_factory, collection):
    """A store and the reference that tells what must be in it, both empty."""
    if request.param == "lite":
        location = str(tmp_path_factory.mktemp("lite") / "gallery.db")
    else:
        location = f"{request.getfixturevalue('server')}/{collection}"
    with MilvusStore.create(location, ORIGIN) as store:
        yield store, MemoryStore(ORIGIN)


@pytest.fixture(scope="module", params=["lite", "server"])
def pair(request, tmp_path_factory):
    """Filled further by each test."""
    with created(request, tmp_path_factory, "people") as both:
        yield both


@pytest.fixture(scope="module", params=["lite", "server"])
def small_pair(request, tmp_path_factory):
    """The same with fewer entries, for tests of many calls that each read all of them."""
    with created(request, tmp_path_factory, "few") as both:
        yield both


@pytest.fixture
def lite(tmp_path):
    with MilvusStore.create(str(tmp_path / "gallery.db"), ORIGIN) as store:
        yield store


def rows(number: int, generator: random.Random) -> np.ndarray:
    """(N, 8) rows of length 1 whose products are exact in any order of summation: ties in plenty."""
    features = np.zeros((number, 8))
    for row in features:
        row[generator.sample(range(8), 4)] = [generator.choice([-0.5, 0.5]) for _ in range(4)]
    return features


def some_entry(generator: random.Random) -> Entry:
    start = generator.choice([None, 1e9 + generator.randrange(50), -3.25])
    until = generator.choice([None, None if start is None else start + 2.5])
    identity, camera = generator.choice([None, *NAMES]), generator.choice(NAMES)
    box = generator.choice([None, (1, 2, 30, generator.randrange(99))])
    return Entry(f"/images/{next(NUMBERS)}.jpg", camera, identity, start, until, generator.choice([None, 0, 7]), box)


def put(pair, number: int, seed: int, features: np.ndarray | None = None) -> list[int]:
    generator = random.Random(seed)
    store, reference = pair
    entries = [some_entry(generator) for _ in range(number)]
    features = rows(number, generator) if features is None else features
    images = [b"\xff\xd8" + generator.randbytes(20) for _ in range(number)]
    ids = store.add(entries, features, images)
    assert ids == reference.add(entries, features, images)
    return ids


def plain(entries: list[Entry]) -> list[Entry]:
    return [replace(entry, added=0.0) for entry in entries]


def some_filter(generator: random.Random) -> Filter:
    return Filter(
        tuple(generator.sample(NAMES, generator.choice([0, 0, 5]))),
        tuple(generator.sample(NAMES, generator.choice([0, 0, 5]))),
        generator.choice([None, None, 1e9 + 20]),
        generator.choice([None, None, 1e9 + 30]),
    )


def compare(pair, generator: random.Random) -> None:
    store, reference = pair
    wanted = some_filter(generator)
    after, limit = generator.choice([0, 9]), generator.choice([None, 0, 3])
    assert plain(store.find(wanted, limit, after)) == plain(reference.find(wanted, limit, after))
    queries, k = rows(3, generator) * 7, generator.choice([1, 4, 40, 300])
    ours, theirs = store.search(queries, k, wanted), reference.search(queries, k, wanted)
    np.testing.assert_array_equal(ours.ids, theirs.ids)
    np.testing.assert_allclose(ours.distances, theirs.distances, atol=1e-7)
    some = generator.choices([0, *reference.entries], k=3)
    if 0 in some:
        with pytest.raises(InputError, match="no entry 0"):
            store.get(some)
        some = [id for id in some if id]
    assert plain(store.get(some)) == plain(reference.get(some))
    np.testing.assert_array_equal(store.features(some), reference.features(some))
    assert [store.thumbnail(id) for id in some] == [reference.thumbnail(id) for id in some]


def test_answers_as_the_reference_does(pair):
    store, reference = pair
    generator = random.Random(1)
    put(pair, 60, seed=2)
    for step in range(16):
        ids = sorted(reference.entries)
        if step % 8 == 3:
            some = generator.sample(ids, 5)
            for each in pair:
                each.remove([*some, some[0]])
            with pytest.raises(InputError, match=f"no entry {some[0]}"):
                store.thumbnail(some[0])
        elif step % 3 == 0:
            put(pair, generator.randrange(0, 30), seed=step)
        elif step % 3 == 1:
            changes = {"identity": generator.choice([None, *NAMES]), "time": 1e9 + step, "camera": 'x"'}
            some = generator.choices(ids, k=4)
            for each in pair:
                each.update(some, changes)
        else:
            value = generator.choice([None, "text"])
            for each in pair:
                each.set("a setting", value)
            assert store.setting("a setting") == reference.setting("a setting")
        compare(pair, generator)
    assert store.summary() == reference.summary()
    assert len(store) == len(reference)


def test_equal_rows_come_by_id_however_many(pair, monkeypatch):
    monkeypatch.setattr(milvus_search, "SPARE", 2)
    monkeypatch.setattr(milvus_search, "MOST", 60)
    put(pair, 100, seed=5, features=np.tile(rows(1, random.Random(6)), (100, 1)))
    store, reference = pair
    for k in (0, 1, 5, 30, 70):  # widened, then read whole; k above what Milvus proposes
        queries = rows(1, random.Random(6))
        np.testing.assert_array_equal(store.search(queries, k).ids, reference.search(queries, k).ids)


def test_search_of_close_neighbours(pair):
    near = np.random.default_rng(0).standard_normal(8) + 1e-7 * np.random.default_rng(1).standard_normal((200, 8))
    new = put(pair, 200, seed=7, features=near)
    store, _ = pair
    found = store.search(near[:5], 20)
    vectors, queries = (unit_rows(each, 8, "").astype(np.float64) for each in (near, near[:5]))
    for query, ids, distances in zip(queries, found.ids, found.distances, strict=True):
        expected = np.clip(1 - (vectors * query).sum(axis=1), 0, 2)
        np.testing.assert_array_equal(distances, np.sort(expected)[:20])
        np.testing.assert_array_equal(ids - new[0], np.argsort(expected, kind="stable")[:20])


def test_filters_agree_with_passes(pair):
    put(pair, 120, seed=8)
    store, reference = pair
    names = st.lists(st.sampled_from(NAMES) | st.text(max_size=3), max_size=4).map(tuple)

    @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
    @given(st.builds(Filter, names, names, TIMES, TIMES))
    def check(wanted):
        assert plain(store.find(wanted)) == plain(reference.find(wanted))

    check()


def test_pages_are_complete_whatever_their_size(small_pair, monkeypatch):
    store, reference = small_pair
    ids = put(small_pair, 60, seed=13)
    for each in small_pair:
        each.remove([*ids[:3], *ids[20:29], ids[40]])  # numbers that no entry has, a page's in a row too
    expected = plain(reference.find())
    for page, wide in ((7, 7), (7, 100), (3, 2**20)):
        monkeypatch.setattr("reid.gallery.milvus.reader.PAGE", page)
        monkeypatch.setattr("reid.gallery.milvus.reader.WIDE", wide)
        assert plain(store.find()) == expected
        for limit in (1, page, 20):
            after = expected[30].id
            assert plain(store.find(limit=limit, after=after)) == plain(reference.find(limit=limit, after=after))


@contextmanager
def load(processes: int):
    """So many processes, busy until the block ends, or this process does, or five minutes are over."""
    spin = (
        "import os, time\nparent, end = os.getppid(), time.monotonic() + 300\n"
        "while os.getppid() == parent and time.monotonic() < end: pass"
    )
    busy = [subprocess.Popen([sys.executable, "-c", spin]) for _ in range(processes)]
    try:
        yield
        assert all(process.poll() is None for process in busy), "the load ended before the test"
    finally:
        for process in busy:
            process.kill()
            process.wait()


def test_reads_see_all_that_was_written_before_on_a_busy_machine(small_pair):
    """Fifty times: something is added, changed or removed, and every kind of read sees exactly that."""
    generator = random.Random(11)
    store, reference = small_pair
    put(small_pair, 40, seed=12)
    with load(os.cpu_count() or 2):
        for turn_ in range(50):
            ids = sorted(reference.entries)
            if turn_ % 5 == 4:
                changed = generator.choices(ids, k=4)
                for each in small_pair:
                    each.update(changed, {"camera": f"camera {turn_}"})
            elif turn_ % 25 == 13:
                changed = generator.sample(ids, 5)
                for each in small_pair:
                    each.remove(changed)
            else:
                changed = put(small_pair, 8, seed=100 + turn_)
            for wanted in (Filter(), some_filter(generator)):
                assert plain(store.find(wanted)) == plain(reference.find(wanted)), turn_
            assert len(store) == len(reference), turn_
            left = [id for id in changed if id in reference.entries]
            assert plain(store.get(left)) == plain(reference.get(left)), turn_
            queries = rows(2, generator)
            np.testing.assert_array_equal(store.search(queries, 7).ids, reference.search(queries, 7).ids)
    assert store.summary() == reference.summary()


def test_forgetting_one_keeps_all_else_in_whatever_order_rows_come(lite, monkeypatch):
    monkeypatch.setattr("reid.gallery.milvus.reader.SLICE_BYTES", 65_535 * 7)  # seven texts a call
    entries = [Entry(f"/{number}.jpg", "hall") for number in range(60)]
    ids = lite.add(entries, np.tile(np.eye(8), (8, 1))[:60], [b"%d" % number for number in range(60)])
    query, generator = Connection.query, random.Random(3)

    def shuffled(*values):
        found = query(*values)
        return generator.sample(found, len(found))

    monkeypatch.setattr(Connection, "query", shuffled)
    lite.remove(ids[:1])
    assert [entry.id for entry in lite.find()] == ids[1:]
    assert [lite.thumbnail(id) for id in ids[1:]] == [b"%d" % number for number in range(1, 60)]


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(name=st.text(st.characters(exclude_categories=["Cs"]), max_size=8), other=st.text(max_size=3))
def test_any_name_is_found_by_itself(lite, name, other):
    (id,) = lite.add([Entry("/a.jpg", name, name)], np.ones((1, 8)), [b""])
    assert lite.find(Filter((name,), (name, other)), after=id - 1)[-1].identity == name


class Failing:
    """A connection whose calls from number ``at`` on fail (``once``: that one only)."""

    def __init__(self, connection: Connection, at: int, once: bool = False) -> None:
        self.connection, self.at, self.once, self.calls = connection, at, once, 0

    def __getattr__(self, name):
        return getattr(self.connection, name)

    def __call__(self, *values, **options):
        self.calls += 1
        if self.calls == self.at or (self.calls > self.at and not self.once):
            raise InputError("cut off")
        return self.connection(*values, **options)

    query, pages, create = Connection.query, Connection.pages, Connection.create


def failing(store: MilvusStore, at: int, once: bool = False) -> MilvusStore:
    broken = MilvusStore(store._connection, write=True)
    broken._connection = broken._texts.connection = Failing(store._connection, at, once)
    return broken


def state(store: MilvusStore) -> tuple:
    found = store.find()
    return found, store.features([entry.id for entry in found]).tolist(), [store.thumbnail(e.id) for e in found]


@pytest.mark.parametrize("once", [True, False])
def test_add_is_all_or_none_wherever_it_is_cut_off(lite, monkeypatch, once):
    monkeypatch.setattr("reid.gallery.milvus.reader.SLICE_BYTES", 4 * 8 * 2)  # two entries a call
    lite.add([Entry("/a.jpg", "hall", "P1")], np.ones((1, 8)), [b"a"])
    entries, features = [Entry(f"/{n}.jpg", "hall") for n in range(6)], np.eye(8)[:6]
    before = state(lite)
    for at in count(1):
        try:
            ids = failing(lite, at, once).add(entries, features, [b"t"] * 6)
        except InputError as error:
            assert str(error) == "cut off"
            lite.set("next writer", "here")
            assert state(lite) == before, at
            assert not lite._texts.starting("condemned:")
            assert set(lite._texts.starting("thumbnail:")) == {"thumbnail:1"}
            continue
        break
    assert at > 9
    assert [entry.id for entry in lite.find()] == [1, *ids]
    assert min(ids) > 1


def test_a_removal_cut_off_is_finished_by_the_next_writer(lite):
    entries = [Entry(f"/{n}.jpg", "hall") for n in range(6)]
    for at in count(1, 2):
        ids = lite.add(entries, np.eye(8)[:6], [b"t"] * 6)
        before = state(lite)
        try:
            failing(lite, at).remove(ids[:2])
        except InputError:
            with MilvusStore.open(lite.location, write=True) as again:
                again.set("next writer", "here")
                left = [entry.id for entry in again.find()]
                assert left in (ids, ids[2:])
                assert state(again)[1] == (before[1] if left == ids else before[1][2:])
                assert set(again._texts.starting("thumbnail:")) == {f"thumbnail:{id}" for id in left}
                again._connection("delete", "gallery", ids=left)
                again._texts.drop([f"thumbnail:{id}" for id in left])
            continue
        break
    assert at > 15
    assert [entry.id for entry in lite.find()] == ids[2:]


KILLED = """
import os, signal, sys
import numpy as np
from reid.gallery.entries import Entry, Origin
from reid.gallery.milvus import reader as milvus_reader
from reid.gallery.milvus.client import Connection
from reid.gallery.milvus.store import MilvusStore
milvus_reader.SLICE_BYTES = 64
store, calls, call = MilvusStore.create(sys.argv[1], Origin("a run", 8, "", "")), 0, Connection.__call__
store.add([Entry("/a.jpg", "hall", "P1")], np.ones((1, 8)), [b"a"])
def dying(self, method, *values, **options):
    global calls
    calls += method == "insert"
    if calls == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return call(self, method, *values, **options)
Connection.__call__ = dying
store.add([Entry("/b.jpg", "hall")] * 6, np.eye(8)[:6], [b"t"] * 6)
"""


def test_after_a_kill_the_next_process_clears_up(tmp_path):
    path = str(tmp_path / "gallery.db")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path))}
    ended = subprocess.run([sys.executable, "-c", KILLED, path], env=environment, check=False)
    assert ended.returncode == -signal.SIGKILL
    with MilvusStore.open(path, write=True) as store:
        assert len(store) == 3
        assert store.add([Entry("/c.jpg", "hall")], np.ones((1, 8)), [b""]) == [8]
        assert [entry.source for entry in store.find()] == ["/a.jpg", "/c.jpg"]
        assert store.thumbnail(1) == b"a"


def contents(folder: Path) -> bytes:
    """All bytes of all files, and all values of those that hold tables."""
    parts = []
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            parts.append(path.read_bytes())
            if path.suffix == ".parquet":
                table = pq.read_table(path)
            elif path.suffix == ".arrow" and parts[-1]:
                table = pa.ipc.open_stream(path).read_all()
            else:
                continue
            parts.append(repr(table.to_pylist()).encode())
            vectors = table.column("vector") if "vector" in table.column_names else []
            parts += [np.array(vector.as_py(), np.float32).tobytes() for vector in vectors]
    return b"".join(parts)


def test_what_is_removed_leaves_the_file(lite):
    features = np.random.default_rng(0).standard_normal((2, 8))
    entries = [Entry("/images/secret.jpg", "back door", "Nobody Else"), Entry("/images/kept.jpg", "front", "Somebody")]
    ids = lite.add(entries, features, [b"\xff\xd8 first", b"\xff\xd8 second"])
    row = lite.features(ids)[0].tobytes()
    traces = [row, b"secret", b"back door", b"Nobody Else", b"/9ggZmlyc3"]
    found = contents(Path(lite.location))
    assert all(trace in found for trace in traces[1:])
    lite.remove(ids[:1])
    found = contents(Path(lite.location))
    assert not [trace for trace in traces if trace in found]
    assert b"kept" in found
    assert lite.thumbnail(ids[1]) == b"\xff\xd8 second"


def test_writers_take_turns(server, monkeypatch):
    monkeypatch.setattr(milvus_texts, "WAIT", 0.5)
    store = open_store(f"{server}/turns", ORIGIN, write=True, create=True)
    other = open_store(f"{server}/turns", ORIGIN, write=True)
    with turn(other._texts), pytest.raises(InputError, match=rf"process {os.getpid()} on .* is writing to it"):
        store.set("a", "b")
    store.set("a", "b")
    assert other.setting("a") == "b"
    other._texts.put({"turn:dead": json.dumps({"host": "x", "process": 1, "time": time.time() - 61})})
    store.set("a", "c")
    assert not store._texts.starting("turn:")
    monkeypatch.setattr(milvus_texts, "LEASE", 0.0)
    with turn(other._texts) as alive:
        alive()
        other._texts.drop(list(other._texts.starting("turn:")))
        with pytest.raises(InputError, match="another writer went on"):
            alive()


def test_condemned_lists_fit():
    assert _condemned([]) == {}
    assert _condemned([3, 4, 5, 9]) == {"condemned:0": "[[3, 5], [9, 9]]"}
    many = _condemned(list(range(2**53, 2**53 + 5000, 2)))
    assert len(many) == 3
    assert max(map(len, many.values())) < 65_535


def test_without_a_value_there_is_a_stand_in():
    assert expression(Filter()) == ""
    assert expression(Filter(end=1.0)) == f"time > {NO_TIME!r} and time <= 1.0"
    assert expression(Filter(('a"\\',))) == 'camera in ["a\\"\\\\"]'
    with pytest.raises(InputError, match="start nan is not a time"):
        expression(Filter(start=float("nan")))


@pytest.mark.parametrize(
    ("entry", "image", "message"),
    [
        (Entry("/a.jpg", "hall"), b"x" * (THUMBNAIL + 1), "the thumbnail of /a.jpg has 49,150 bytes"),
        (Entry("/a.jpg", "ü" * 513), b"", "entry 1 of 2: camera: .* takes 1,026 bytes, more than the 1,024"),
        (Entry("/\udcff.jpg", "hall"), b"", "source: .* is not valid Unicode"),
        (Entry("/a.jpg", "hall", time=float("nan")), b"", "time nan is not a time"),
        (Entry("/a.jpg", "hall", time=1e300), b"", "time 1e\\+300 is not a time in the years 1 to 9999"),
        (Entry("/a.jpg", "hall", added=float("nan")), b"", "added nan is not a time"),
    ],
)
def test_refuses_what_milvus_cannot_hold(lite, entry, image, message):
    with pytest.raises(InputError, match=message):
        lite.add([Entry("/fine.jpg", "hall"), entry], np.ones((2, 8)), [b"", image])
    assert lite.find() == []


def test_holds_the_largest_thumbnail(pair):
    store, reference = pair
    for each in pair:
        (id,) = each.add([Entry("/a.jpg", "hall")], np.ones((1, 8)), [b"\xff" * THUMBNAIL])
    assert store.thumbnail(id) == reference.thumbnail(id)


def test_bad_calls(lite):
    with pytest.raises(InputError, match="'source' cannot be changed"):
        lite.update([], {"source": "x"})
    with pytest.raises(InputError, match=r"gallery\.db: no entry 5"):
        lite.remove([5])
    with pytest.raises(InputError, match=r"gallery\.db: no entry 5"):
        lite.update([5], {"camera": "x"})
    with pytest.raises(InputError, match=r"expected features \(N, 8\)"):
        lite.search(np.ones((1, 7)), 1)
    with (
        MilvusStore.open(lite.location) as reader,
        pytest.raises(InputError, match=r"gallery\.db: was opened for reading only"),
    ):
        reader.set("a", "b")
    with pytest.raises(ValueError, match="2 entries, 1 features"):
        lite.add([Entry("a", "b")] * 2, np.ones((1, 8)), [b""] * 2)
    with pytest.raises(InputError, match="setting:a: 'xxx.* takes 65,536 bytes"):
        lite.set("a", "x" * 65_536)


@pytest.mark.parametrize(
    "location", ["milvus://host/people", "milvus://host:1/a-b", "milvus://u:p@host:1/a", "milvus:x"]
)
def test_bad_locations(location):
    with pytest.raises(InputError, match=f"{location}: expected milvus://HOST:PORT/COLLECTION"):
        open_store(location)


def test_nothing_there(tmp_path, server, monkeypatch):
    monkeypatch.setattr(milvus, "CONNECTING", 0.5)
    with pytest.raises(InputError, match="milvus://127.0.0.1:1/people: no Milvus server answers there"):
        open_store("milvus://127.0.0.1:1/people")
    with pytest.raises(InputError, match="there is no gallery: it has no collection 'nothing'"):
        open_store(f"{server}/nothing")
    with pytest.raises(InputError, match=r"none\.db: there is no gallery"):
        open_store(str(tmp_path / "none.db"))
    (tmp_path / "file.db").write_text("text")
    with pytest.raises(InputError, match=r"file\.db: cannot be opened"):
        open_store(str(tmp_path / "file.db"))
    (tmp_path / "held.db").mkdir()
    with (tmp_path / "held.db/LOCK").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(InputError, match=r"held\.db: cannot be opened: another process has it open"):
            open_store(str(tmp_path / "held.db"))


def test_open_store(tmp_path):
    path = str(tmp_path / "new.db")
    with open_store(path, ORIGIN, write=True, create=True) as store:
        assert store.folder == Path("runs/galleries/new")
        assert store.folder.is_dir()
        assert store.origin == ORIGIN
        store.set("a", "b")
    with open_store(path, ORIGIN, create=True) as store:
        assert store.setting("a") == "b"
    with pytest.raises(InputError, match=r"new\.db: holds features of 'a run' .* other network"):
        open_store(path, replace(ORIGIN, network="another"))
    with pytest.raises(InputError, match="there is a collection 'gallery'"):
        MilvusStore.create(path, ORIGIN)
    with open_store(path, write=True) as store:
        store._texts.put({"origin": json.dumps({"format": 2})})
    with pytest.raises(InputError, match=r"new\.db: was written by another version"):
        open_store(path)
    Texts(Connection(path)).drop(["origin"])
    with pytest.raises(InputError, match=r"new\.db: the collection 'gallery_texts' holds no origin"):
        open_store(path)
