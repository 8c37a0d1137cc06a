"""The local store against the reference in memory, and what only it promises."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
import tempfile
import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from memory_store import MemoryStore
from reid.gallery.audit import AuditLog

from reid.errors import InputError
from reid.gallery.entries import EVERYTHING, Entry, Filter
from reid.gallery.local import indexing, schema
from reid.gallery.local.columns import ROW, Columns
from reid.gallery.local.store import LocalStore
from reid.networks import Origin
from reid.retrieval.search import nearest

WIDTH = 4
ORIGIN = Origin("run", WIDTH, "0" * 64, "none")
# Rows whose products are exact in any order of summation, so that ties are ties for every implementation.
ROWS = np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, -1, 0], [0.5, 0.5, 0.5, 0.5], [-0.5, 0.5, -0.5, 0.5]])
NAMES = ["P1", "P2", 'O\'Brien "x"', "名\\前%_"]
JPEG = b"\xff\xd8\xff"


def make(folder, count=6):
    """A store of ``count`` entries of two people and two cameras, opened for writing."""
    store = LocalStore.create(folder, ORIGIN)
    rows = np.random.default_rng(0).standard_normal((count, WIDTH)).astype(np.float32)
    entries = [Entry(f"/images/{n}.jpg", f"hall/{n % 2}", f"P{n % 3}", 100.0 * n) for n in range(count)]
    store.add(entries, rows, [JPEG + b"image %d" % n for n in range(count)])
    return store


def all_bytes(folder):
    """Of every file, read by another process: SQLite's locks of this one end as it closes a file."""
    return subprocess.run(["cat", *sorted(folder.iterdir())], check=True, capture_output=True).stdout


entries = st.builds(
    Entry,
    source=st.sampled_from(["/a.jpg", "/b c.mp4"]),
    camera=st.sampled_from(NAMES),
    identity=st.none() | st.sampled_from(NAMES),
    time=st.none() | st.integers(-3, 9).map(float),
    until=st.none() | st.integers(-3, 12).map(float),
    frame=st.none() | st.integers(0, 99),
    box=st.none() | st.tuples(*[st.integers(-5, 900)] * 4),
)
items = st.lists(st.tuples(entries, st.integers(0, len(ROWS) - 1), st.sampled_from([b"", JPEG + b"x"])), max_size=8)
filters = st.builds(
    Filter,
    cameras=st.lists(st.sampled_from([*NAMES, "elsewhere"]), max_size=2).map(tuple),
    identities=st.lists(st.sampled_from([*NAMES, "nobody"]), max_size=2).map(tuple),
    start=st.none() | st.integers(-4, 12).map(float),
    end=st.none() | st.integers(-4, 12).map(float),
)
changes = st.fixed_dictionaries(
    {}, optional={"identity": st.none() | st.sampled_from(NAMES), "camera": st.sampled_from(NAMES),
                  "time": st.none() | st.just(4.0), "until": st.none() | st.just(5.0)},
)  # fmt: skip


class Sequences(RuleBasedStateMachine):
    """Any order of operations: a writer, and a reader that was opened at first, answer as the reference does."""

    @initialize()
    def begin(self):
        self.place = tempfile.TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None)
        self.folder = Path(self.place.name) / "store"
        self.reference = MemoryStore(ORIGIN)
        self.writer = LocalStore.create(self.folder, ORIGIN)
        self.reader = LocalStore.open(self.folder)

    @rule(some=items)
    def add(self, some):
        rows = np.array([ROWS[number] for _, number, _ in some]).reshape(-1, WIDTH)
        args = [entry for entry, *_ in some], rows * 2, [image for *_, image in some]
        assert self.writer.add(*args) == self.reference.add(*args)

    def some_ids(self, data):
        return data.draw(st.lists(st.sampled_from(sorted(self.reference.entries) or [1]), max_size=4))

    @rule(data=st.data())
    def remove(self, data):
        ids = self.some_ids(data) if self.reference.entries else []
        self.writer.remove(ids)
        self.reference.remove(ids)

    @rule(data=st.data(), new=changes)
    def update(self, data, new):
        ids = self.some_ids(data) if self.reference.entries else []
        self.writer.update(ids, new)
        self.reference.update(ids, new)

    @rule()
    def reopen(self):
        self.writer.close()
        self.writer = LocalStore.open(self.folder, write=True)
        assert self.writer.verify() == []

    @rule(wanted=filters, limit=st.none() | st.integers(0, 5), after=st.integers(0, 9))
    def find(self, wanted, limit, after):
        expected = [replace(entry, added=0) for entry in self.reference.find(wanted, limit, after)]
        for store in (self.writer, self.reader):
            assert [replace(entry, added=0) for entry in store.find(wanted, limit, after)] == expected

    @rule(wanted=filters, k=st.integers(1, 12))
    def search(self, wanted, k):
        expected = self.reference.search(ROWS * 4, k, wanted)
        for store in (self.writer, self.reader):
            hits = store.search(ROWS * 4, k, wanted)
            np.testing.assert_array_equal(hits.ids, expected.ids)
            np.testing.assert_array_equal(hits.distances, expected.distances)

    @invariant()
    def same(self):
        if not hasattr(self, "reader"):
            return
        ids = sorted(self.reference.entries)
        for store in (self.writer, self.reader):
            assert len(store) == len(self.reference)
            assert store.summary() == self.reference.summary()
            assert [entry.id for entry in store.get(ids[::-1])] == ids[::-1]
            assert [store.thumbnail(id) for id in ids] == [self.reference.thumbnail(id) for id in ids]
            np.testing.assert_array_equal(store.features(ids[::-1]), self.reference.features(ids[::-1]))

    def teardown(self):
        if hasattr(self, "reader"):
            self.reader.close()
            self.writer.close()
            self.place.cleanup()


Sequences.TestCase.settings = settings(max_examples=25, stateful_step_count=15, deadline=None)
TestSequences = Sequences.TestCase


@given(wanted=filters, some=items)
@settings(max_examples=100, deadline=None)
def test_filters_agree_with_passes(wanted, some):
    db = sqlite3.connect(":memory:", isolation_level=None)
    db.execute(schema.TABLES[0])
    kept = [replace(entry, id=number) for number, (entry, *_) in enumerate(some, 1)]
    db.executemany(schema.INSERT, [schema.to_row(entry, entry.id, entry.id - 1, 0.0) for entry in kept])
    condition, values = schema.where(wanted)
    rows = db.execute(f"SELECT {schema.COLUMNS} FROM entries WHERE {condition} ORDER BY id", values)
    expected = [entry for entry in kept if wanted.passes(entry)]
    assert [schema.to_entry(row) for row in rows] == expected
    allowed = Columns(np.empty(0, ROW)).extended(db).allowed(wanted, len(kept))
    slots = range(len(kept)) if allowed is None else np.flatnonzero(allowed)
    assert [slot + 1 for slot in slots] == [entry.id for entry in expected]


# --- making and opening


def test_only_the_owner_may_read(tmp_path):
    old = os.umask(0)
    try:
        with make(tmp_path / "store") as store:
            AuditLog(store.folder).record("local", "search")
            assert stat.S_IMODE(store.folder.stat().st_mode) == 0o700
            modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in store.folder.iterdir()}
            store.remove([1])
            modes |= {path.name: stat.S_IMODE(path.stat().st_mode) for path in store.folder.iterdir()}
    finally:
        os.umask(old)
    assert {"entries.db", "entries.db-wal", "vectors-0.f32", "vectors-1.f32", ".lock", "audit.jsonl"} <= set(modes)
    assert set(modes.values()) == {0o600}


def test_create_needs_a_new_folder(tmp_path):
    make(tmp_path / "store").close()
    with pytest.raises(InputError, match="store: is a gallery already"):
        LocalStore.create(tmp_path / "store", ORIGIN)
    (tmp_path / "photos").mkdir(mode=0o755)
    (tmp_path / "photos/me.jpg").touch()
    with pytest.raises(InputError, match="photos: is not empty: it holds me.jpg"):
        LocalStore.create(tmp_path / "photos", ORIGIN)
    assert list((tmp_path / "photos").iterdir()) == [tmp_path / "photos/me.jpg"]
    with pytest.raises(InputError, match="me.jpg: cannot be written"):
        LocalStore.create(tmp_path / "photos/me.jpg", ORIGIN)


def test_open_refuses_what_is_no_store(tmp_path):
    with pytest.raises(InputError, match="nowhere: is not a gallery: it has no entries.db"):
        LocalStore.open(tmp_path / "nowhere", write=True)
    assert not (tmp_path / "nowhere").exists()
    for content, message in [(b"", "is not the database of a gallery"), (b"x" * 5000, "file is not a database")]:
        (tmp_path / "entries.db").write_bytes(content)
        with pytest.raises(InputError, match=f"entries.db: {message}"):
            LocalStore.open(tmp_path)


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("PRAGMA user_version = 7", "has format 7, this version of reid reads format 1"),
        ("DROP TABLE settings", "its tables are not those of format 1"),
        ("CREATE TRIGGER t AFTER DELETE ON entries BEGIN SELECT load_extension('x'); END", "altered by another"),
    ],
)  # fmt: skip
def test_open_refuses_another_database(tmp_path, statement, message):
    make(tmp_path / "store").close()
    db = sqlite3.connect(tmp_path / "store/entries.db")
    db.execute(statement)
    db.close()
    for write in (False, True):
        with pytest.raises(InputError, match=f"entries.db: .*{message}"):
            LocalStore.open(tmp_path / "store", write)


def test_open_refuses_a_damaged_vector_file(tmp_path):
    make(tmp_path / "store").close()
    path = tmp_path / "store/vectors-0.f32"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match="vectors-0.f32: has 95 bytes where 96 were written"):
        LocalStore.open(tmp_path / "store")
    path.unlink()
    with pytest.raises(InputError, match="vectors-0.f32: is missing"):
        LocalStore.open(tmp_path / "store", write=True)


def test_a_reader_does_not_write(tmp_path):
    make(tmp_path / "store").close()
    with LocalStore.open(tmp_path / "store") as store:
        for write in (lambda: store.add([], np.empty((0, WIDTH)), []), lambda: store.update([1], {"time": 1.0}),
                      lambda: store.remove([1]), lambda: store.set("a", "b"), store.build_index):  # fmt: skip
            with pytest.raises(InputError, match="store: was opened for reading only"):
                write()


# --- adding and changing


@pytest.mark.parametrize(
    ("entry", "feature", "message"),
    [
        (Entry("/a\0b", "c"), ROWS[0], "source"),
        (Entry("/a", "\ud800"), ROWS[0], "camera"),
        (Entry("/a", "c", time=float("nan")), ROWS[0], "time is nan"),
        (Entry("/a", "c", time=1e300), ROWS[0], "time is 1e\\+300"),
        (Entry("/a", "c", added=float("nan")), ROWS[0], "added is nan"),
        (Entry("/a", "c", time=1.0, until=float("inf")), ROWS[0], "until is inf"),
        (Entry("/a", "c"), ROWS[0] * 0, "row 0 is all zeros"),
        (Entry("/a", "c"), ROWS[0][:3], r"expected features \(N, 4\)"),
    ],
)
def test_add_takes_all_or_none(tmp_path, entry, feature, message):
    with make(tmp_path / "store") as store:
        good = [Entry("/a", "c")], ROWS[:1], [b""]
        with pytest.raises(InputError, match=message):
            store.add_blocks([good, ([entry], feature[None], [b""])])
        with pytest.raises(ValueError, match="2 entries, 1 features, 1 thumbnails"):
            store.add(good[0] * 2, *good[1:])
        assert len(store) == 6
        assert store.verify() == []
        assert store.add(*good) == [7]


def test_ids_are_never_used_again(tmp_path):
    with make(tmp_path / "store") as store:
        store.remove([5, 6])
    with LocalStore.open(tmp_path / "store", write=True) as store:
        assert store.add([Entry("/a", "c")], ROWS[:1], [b""]) == [7]
        store.remove([1, 2, 3, 4, 7])
        assert store.add([Entry("/a", "c")], ROWS[:1], [b""]) == [8]
        assert store.search(ROWS[:1], 3).ids.tolist() == [[8, -1, -1]]


def test_unknown_ids_and_changes_are_named(tmp_path):
    with make(tmp_path / "store") as store:
        for ask in (store.get, store.remove, store.features, lambda ids: store.update(ids, {"time": 1.0}),
                    lambda ids: store.thumbnail(ids[1])):  # fmt: skip
            with pytest.raises(InputError, match="store: no entry 99"):
                ask([1, 99])
        with pytest.raises(InputError, match="'frame' cannot be changed, only identity, camera, time, until"):
            store.update([1], {"frame": 3})
        with pytest.raises(InputError, match="time is inf"):
            store.update([1], {"time": float("inf")})
        assert len(store) == 6


FULL = """
import resource, sys
import numpy as np
from reid.errors import InputError
from reid.gallery.entries import Entry
from reid.gallery.local.store import LocalStore

store = LocalStore.open(sys.argv[1], write=True)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)  # stands for a full disk
try:
    store.add([Entry("/a", "c")] * 3000, np.ones((3000, 4)), [b"x" * int(sys.argv[3])] * 3000)
except InputError as error:
    print(error)
print(len(store), store.verify())
"""


@pytest.mark.parametrize(
    ("limit", "thumbnail", "file"), [(40_000, 0, "vectors-0.f32: cannot be written"), (200_000, 900, "entries.db")]
)
def test_a_full_disk_leaves_nothing_half_added(tmp_path, limit, thumbnail, file):
    make(tmp_path / "store").close()
    command = [sys.executable, "-c", FULL, tmp_path / "store", str(limit), str(thumbnail)]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    assert file in lines[0]
    assert lines[1] == "6 []"
    with LocalStore.open(tmp_path / "store", write=True) as store:
        assert len(store) == 6
        assert store.verify() == []


def test_leftovers_of_a_killed_writer(tmp_path):
    make(tmp_path / "store").close()
    folder = tmp_path / "store"
    with (folder / "vectors-0.f32").open("ab") as file:
        file.write(b"half a row")
    for name in ("vectors-1.f32", "index-sq8-1-6.faiss", ".vectors-1.f32.partial77"):
        (folder / name).touch()
    with LocalStore.open(folder) as store:
        assert store.search(ROWS, 9).ids.max() == 6
        found = "\n".join(store.verify())
    assert "vectors-0.f32: 10 bytes behind the committed ones" in found
    for name in ("vectors-1.f32", "index-sq8-1-6.faiss", ".vectors-1.f32.partial77"):
        assert f"{name}: left over or stale" in found
    with LocalStore.open(folder, write=True) as store:
        assert store.verify() == []
    assert {path.name for path in folder.glob("*.f32")} == {"vectors-0.f32"}


# --- erasing


@pytest.mark.parametrize("reading", [False, True], ids=["alone", "while another reads"])
def test_removed_is_in_no_file(tmp_path, reading):
    folder = tmp_path / "store"
    rng = np.random.default_rng(1)
    people = [
        Entry(f"/secret/source-{n:05d}", "hall", f"Person-{n:05d}" + "z" * int(rng.integers(300))) for n in range(60)
    ]
    rows, images = rng.standard_normal((60, WIDTH)), [JPEG + rng.bytes(int(rng.integers(20, 9000))) for _ in people]
    with LocalStore.create(folder, ORIGIN) as store:
        reader = LocalStore.open(folder) if reading else None
        for low in range(0, 60, 20):
            ids = store.add(*(part[low : low + 20] for part in (people, rows, images)))
            AuditLog(folder).record("local", "add", ids)
        gone = [3, 4, 31, 60]
        units = store.features(gone)
        store.update([3, 4], {"camera": "garden"})
        if reader:
            assert reader.search(rows[:2], 1).ids.tolist() == [[1], [2]]
        store.remove(gone)
        AuditLog(folder).record("local", "forget", gone)
        data = all_bytes(folder)
        for id, unit in zip(gone, units, strict=True):
            entry, image = people[id - 1], images[id - 1]
            for trace in (entry.source, entry.identity[:12]):
                assert trace.encode() not in data
            assert image not in data
            assert not any(image[low : low + 16] in data for low in range(3, len(image) - 16, 50))
            assert unit.tobytes() not in data
        assert people[4].identity.encode() in data
        assert store.verify() == []
        if reader:
            assert set(gone).isdisjoint(reader.search(rows, 60).ids.ravel().tolist())
            np.testing.assert_array_equal(reader.features([1, 59]), store.features([1, 59]))
            reader.close()


@pytest.mark.parametrize("seed", range(6))
def test_old_names_are_in_no_file(tmp_path, seed):
    """Longer and shorter names make SQLite move cells between pages, of which it leaves copies in the gaps."""
    folder, rng = tmp_path / "store", np.random.default_rng(seed)

    def name():
        return f"Name{rng.integers(10**9):09d}" + "y" * int(rng.integers(1500))

    with LocalStore.create(folder, ORIGIN) as store:
        ids = store.add([Entry("/a", "c", name()) for _ in range(400)], rng.standard_normal((400, 4)), [b""] * 400)
        for _ in range(8):
            some = rng.choice(ids, 100, replace=False).tolist()
            old = {entry.identity[:13] for entry in store.get(some)}
            store.update(some, {"identity": name()})
            data = all_bytes(folder)
            left = {text for text in old if text.encode() in data}
            assert left <= {entry.identity[:13] for entry in store.find()}


def test_a_reader_that_stays_holds_erasing_up(tmp_path, monkeypatch):
    monkeypatch.setattr(schema, "PATIENCE", 0.2)
    folder = tmp_path / "store"
    with make(folder) as store:
        other = sqlite3.connect(folder / "entries.db", isolation_level=None)
        other.execute("BEGIN")
        other.execute("SELECT count(*) FROM entries").fetchone()
        with pytest.raises(
            InputError, match="erasing is not finished.*another program has been reading for more than 0.2"
        ):
            store.remove([2])
        assert [entry.id for entry in store.find()] == [1, 3, 4, 5, 6]
        assert any("erasing is not finished" in text for text in store.verify())
        store.close()
        with pytest.raises(InputError, match="erasing is not finished"):
            LocalStore.open(folder, write=True)
        with LocalStore.open(folder) as reader:
            assert len(reader) == 5
        assert b"image 1" in all_bytes(folder)
        other.close()
    with LocalStore.open(folder, write=True) as store:
        assert store.verify() == []
        assert b"image 1" not in all_bytes(folder)


# --- several at once


WRITER = """
import sys
import numpy as np
from reid.errors import InputError
from reid.gallery.entries import Entry
from reid.gallery.local.store import LocalStore

try:
    with LocalStore.open(sys.argv[1], write=True) as store:
        print("open", flush=True)
        for line in sys.stdin:
            store.add([Entry("/new", "c")], np.ones((1, 4)), [b""]) if line == "add\\n" else store.remove([1])
            print("done", flush=True)
except InputError as error:
    print(error)
"""


def test_one_writer_and_readers_go_on(tmp_path):
    folder = tmp_path / "store"
    command = [sys.executable, "-c", WRITER, folder]
    with make(folder) as store:
        second = subprocess.run(command, check=True, capture_output=True, text=True, input="add\n")
        assert "another process is at work in it" in second.stdout
        assert len(store) == 6
    with (
        LocalStore.open(folder) as reader,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) as process,
    ):
        assert process.stdout.readline() == "open\n"
        with pytest.raises(InputError, match="another process is at work in it"):
            LocalStore.open(folder, write=True)
        seen = []
        for what in ("add", "remove", "add"):
            process.stdin.write(f"{what}\n")
            assert process.stdout.readline() == "done\n"
            seen.append(sorted(reader.search(np.ones((1, 4)), 9).ids[0].tolist()))
        process.stdin.close()
    assert seen == [
        [-1, -1, 1, 2, 3, 4, 5, 6, 7],
        [-1, -1, -1, 2, 3, 4, 5, 6, 7],
        [-1, -1, 2, 3, 4, 5, 6, 7, 8],
    ]


def test_threads_share_a_reader_as_a_writer_works(tmp_path):
    folder, wrong, stop = tmp_path / "store", [], threading.Event()
    with make(folder, 40) as store, LocalStore.open(folder) as reader:
        row = {entry.id: store.features([entry.id])[0] for entry in store.find()}
        kept = [id for id in row if id % 2]

        def read():
            while not stop.is_set():
                for id in kept[:5]:
                    hits = reader.search(row[id][None], 1)
                    if hits.ids[0, 0] != id or reader.get([id])[0].source != f"/images/{id - 1}.jpg":
                        wrong.append(id)

        threads = [threading.Thread(target=read) for _ in range(4)]
        for thread in threads:
            thread.start()
        for id in [id for id in row if id % 2 == 0][:8]:
            store.remove([id])
            store.add([Entry("/new", "c")], -row[kept[0]][None], [b""])
        stop.set()
        for thread in threads:
            thread.join()
    assert wrong == []


# --- index


class FakeIndex:
    """CompressedIndex by exact search; its file holds its kind and size."""

    def __init__(self, kind, size):
        self.kind, self.size, self.recall, self.nbytes = kind, size, 0.99, size

    @classmethod
    def build(cls, vectors, kind, seed=0, progress=False):
        return cls(kind, len(vectors))

    def save(self, path):
        path.write_text(f"{self.kind} {self.size}")

    @classmethod
    def load(cls, path):
        kind, size = path.read_text().split()
        return cls(kind, int(size))

    def search(self, queries, k, vectors, allowed=None):
        assert len(vectors) == self.size
        assert allowed is None or len(allowed) == self.size
        self.used = True
        return nearest(queries, vectors, k, allowed)


@pytest.fixture
def _fake_index(monkeypatch):
    monkeypatch.setitem(sys.modules, "reid.retrieval.compressed", SimpleNamespace(CompressedIndex=FakeIndex))
    monkeypatch.setattr(indexing, "FEWEST", 1)


@pytest.mark.usefixtures("_fake_index")
def test_index_and_what_came_after_it(tmp_path):
    reference, rng = MemoryStore(ORIGIN), np.random.default_rng(3)
    with LocalStore.create(tmp_path / "store", ORIGIN) as store, LocalStore.open(store.folder) as reader:
        for step in range(4):
            rows = ROWS[rng.integers(len(ROWS), size=7)]
            args = [Entry("/a", f"c{n % 2}") for n in range(7)], rows, [b""] * 7
            assert store.add(*args) == reference.add(*args)
            if step == 1:
                store.set("index", "sq8")
                assert store.index_state().kind == "flat"  # still to be built
                report = store.build_index()
                assert (report.kind, report.recall, report.size, report.behind) == ("sq8", 0.99, 14, 0)
            for wanted in (EVERYTHING, Filter(cameras=("c1",)), Filter(cameras=("c7",))):
                for k in (1, 5, 40):
                    expected = reference.search(ROWS, k, wanted)
                    for hits in (store.search(ROWS, k, wanted), reader.search(ROWS, k, wanted)):
                        np.testing.assert_array_equal(hits.ids, expected.ids)
                        np.testing.assert_array_equal(hits.distances, expected.distances)
        assert reader.index_state().behind == 14
        assert reader._index[1].used
        assert store.build_index().behind == 0
        assert [path.name for path in store.folder.glob("index*")] == ["index-sq8-0-28.faiss"]
        store.remove([3])
        assert list(store.folder.glob("index*")) == []
        assert reader.index_state().kind == "flat"
        store.set("index", "flat")
        assert store.build_index().kind == "flat"


def test_settings(tmp_path):
    with make(tmp_path / "store") as store:
        assert store.setting("calibration") is None
        store.set("calibration", "{}")
        store.set("calibration", "{1}")
        assert store.setting("calibration") == "{1}"
        store.set("calibration", None)
        assert store.setting("calibration") is None
        with pytest.raises(InputError, match="index 'hnsw' is not one of auto, flat, rabitq, sq8"):
            store.set("index", "hnsw")


# --- verify


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("UPDATE entries SET slot = 0", "5 entries share a slot of the vector file"),
        ("UPDATE entries SET slot = 6 WHERE id = 6", "1 entries lie outside the vector file"),
        ("UPDATE entries SET slot = 5 - slot", "5 entries have a smaller slot than an older one"),
        ("DELETE FROM thumbnails WHERE id = 2", "1 entries have no row for their thumbnail"),
        ("INSERT INTO thumbnails VALUES (9, x'')", "1 thumbnails belong to no entry"),
        ("UPDATE thumbnails SET jpeg = x'00' WHERE id < 3", "2 thumbnails are no JPEG"),
    ],
)
def test_verify_tells_what_the_database_lacks(tmp_path, statement, message):
    make(tmp_path / "store").close()
    db = sqlite3.connect(tmp_path / "store/entries.db")
    with db:
        db.execute(statement)
    db.close()
    with LocalStore.open(tmp_path / "store") as store:
        assert store.verify() == [f"entries.db: {message}"]


def test_verify_tells_damage_of_the_files(tmp_path):
    make(tmp_path / "store").close()
    path = tmp_path / "store/vectors-0.f32"
    rows = np.fromfile(path, np.float32).reshape(-1, WIDTH)
    rows[2], rows[3] = 0, np.nan
    rows.tofile(path)
    (tmp_path / "store/audit.jsonl").write_text('{"time": 1}\n{"ti')
    with LocalStore.open(tmp_path / "store") as store:
        assert store.verify() == [
            "vectors-0.f32: 2 features have not length 1: damaged",
            "audit.jsonl: line 2 is torn or no record",
        ]
