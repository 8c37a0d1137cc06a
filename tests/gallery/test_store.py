"""The gallery, its catalogue in SQLite or PostgreSQL, its vectors in segments, against the reference in memory; and
what it promises besides. With its vectors on Milvus: vectors/test_milvus.py."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading

import numpy as np
import pytest
import sequences
from faiss.contrib.inspect_tools import get_invlist
from sequences import JPEG, ORIGIN, ROWS, WIDTH

from reid.errors import InputError
from reid.gallery.catalogue.database import Database
from reid.gallery.entries import Entry, Filter, NotThere
from reid.gallery.parts import Layout
from reid.gallery.store import Gallery
from reid.gallery.vectors import segments
from reid.networks import Origin
from reid.retrieval.compressed import CompressedIndex

SQLITE = pytest.mark.parametrize("layout", ["sqlite"], indirect=True)


@pytest.fixture(params=["sqlite", "postgresql"])
def layout(request):
    """Gives the layout of an empty gallery, as often as it is called."""
    if request.param == "sqlite":
        return Layout
    server = request.getfixturevalue("postgresql")
    server.clear()
    return lambda: Layout(catalogue=server.location())


def make(folder, layout=Layout, count=6):
    """A gallery of ``count`` entries of three people and two cameras."""
    gallery = Gallery.create(folder, ORIGIN, layout())
    rows = np.random.default_rng(0).standard_normal((count, WIDTH)).astype(np.float32)
    entries = [Entry(f"/images/{n}.jpg", f"hall/{n % 2}", f"P{n % 3}", 100.0 * n) for n in range(count)]
    gallery.add(entries, rows, [JPEG + b"image %d" % n for n in range(count)])
    return gallery


def all_bytes(folder):
    """Of every file, read by another process: SQLite's locks of this one end as it closes a file."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return subprocess.run(["cat", *paths], check=True, capture_output=True).stdout


def test_any_order_of_operations(layout, monkeypatch):
    monkeypatch.setattr(segments, "ROWS", 7)
    sequences.run(layout)


# --- making and opening


def test_only_the_owner_may_read(tmp_path, monkeypatch):
    monkeypatch.setattr(segments, "FEWEST", 100)
    old = os.umask(0)
    try:
        with make(tmp_path / "g", count=120) as gallery:
            gallery.set("index", "sq8")
            assert gallery.tend()
            gallery.remove([1])
            gallery.update({2: {"camera": "garden"}})
            gallery.add([Entry("/a", "c", added=1e9)], ROWS[:1], [b""])
            modes = {path: stat.S_IMODE(path.stat().st_mode) for path in [gallery.folder, *gallery.folder.rglob("*")]}
    finally:
        os.umask(old)
    names = {"gallery.json", "catalogue.db", "catalogue.db-wal", ".lock", ".urgent", "rows", "features", "index.faiss"}
    assert names <= {path.name for path in modes}
    assert {mode for path, mode in modes.items() if path.is_dir()} == {0o700}
    assert {mode for path, mode in modes.items() if not path.is_dir()} == {0o600}


def test_create_needs_a_new_folder_and_an_empty_database(tmp_path, layout):
    make(tmp_path / "g", layout).close()
    with pytest.raises(InputError, match="g: is a gallery already"):
        Gallery.create(tmp_path / "g", ORIGIN, layout())
    (tmp_path / "photos").mkdir(mode=0o755)
    (tmp_path / "photos/me.jpg").touch()
    with pytest.raises(InputError, match="photos: is not empty: it holds me.jpg"):
        Gallery.create(tmp_path / "photos", ORIGIN, layout())
    assert list((tmp_path / "photos").iterdir()) == [tmp_path / "photos/me.jpg"]
    assert stat.S_IMODE((tmp_path / "photos").stat().st_mode) == 0o755
    with pytest.raises(InputError, match="me.jpg: cannot be written"):
        Gallery.create(tmp_path / "photos/me.jpg", ORIGIN, layout())
    used = layout()
    make(tmp_path / "first", lambda: used).close()
    second = tmp_path / "second"
    if used.catalogue == "sqlite":  # somebody brought the file of another one
        second.mkdir()
        (tmp_path / "first/catalogue.db").rename(second / "catalogue.db")
    with pytest.raises(InputError, match="holds a gallery already"):
        Gallery.create(second, ORIGIN, used)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "is not a gallery: it has no gallery.json"),
        ("{", "gallery.json: not valid YAML"),
        ("[]", "gallery.json: holds a list"),
        ('{"format": 3, "catalogue": "sqlite", "vectors": "segments"}', "is not one of this version"),
        ('{"format": 2, "catalogue": "sqlite"}', "is not one of this version"),
        ('{"format": 2, "catalogue": "sqlite", "vectors": 7}', "vectors 7 is neither segments nor milvus://"),
        ('{"format": 2, "catalogue": "mysql://a", "vectors": "segments"}', "'mysql://a' is neither sqlite nor post"),
        ('{"format": 2, "catalogue": "postgresql://u:secret@h/d", "vectors": "segments"}', "belongs in PGPASSWORD"),
        ('{"format": 2, "catalogue": "postgresql://h/d?password=secret", "vectors": "segments"}', "belongs in PGPASS"),
        ('{"format": 2, "catalogue": null, "vectors": "segments"}', "catalogue None is neither sqlite nor post"),
    ],
)
def test_open_refuses_what_tells_no_gallery(tmp_path, content, message):
    make(tmp_path).close()
    (tmp_path / "gallery.json").unlink()
    if content is not None:
        (tmp_path / "gallery.json").write_text(content)
    with pytest.raises(InputError, match=message):
        Gallery.open(tmp_path)


# --- adding and changing


@pytest.mark.parametrize(
    ("entry", "feature", "message"),
    [
        (Entry("/a\0b", "c"), ROWS[0], "source"),
        (Entry("/a", "\ud800"), ROWS[0], "camera"),
        (Entry("/a", "c", time=float("nan")), ROWS[0], "time is nan"),
        (Entry("/a", "c", time=1e300), ROWS[0], "time is 1e\\+300"),
        (Entry("/a", "c", added=float("inf")), ROWS[0], "added is inf"),
        (Entry("/a", "c", time=1.0, until=float("inf")), ROWS[0], "until is inf"),
        (Entry("/a", "c"), ROWS[0] * 0, "row 1 is all zeros"),
        (Entry("/a", "c"), ROWS[0] * np.nan, "row 1 is all zeros, or holds NaN"),
    ],
)
def test_add_takes_all_or_none(tmp_path, entry, feature, message):
    with make(tmp_path / "g") as gallery:
        good = Entry("/a", "c")
        with pytest.raises(InputError, match=message):
            gallery.add([good, entry], np.stack([ROWS[0], feature]), [b"", b""])
        with pytest.raises(InputError, match=r"expected features \(N, 4\)"):
            gallery.add([good], ROWS[:1, :3], [b""])
        with pytest.raises(ValueError, match="2 entries, 1 features, 1 thumbnails"):
            gallery.add([good, good], ROWS[:1], [b""])
        assert len(gallery) == 6
        assert gallery.verify() == []
        assert gallery.add([good], ROWS[:1], [b""]) == [7]


def test_a_number_too_large_for_the_database_is_told(tmp_path, layout):
    with make(tmp_path / "g", layout) as gallery:
        with pytest.raises(InputError, match="too large|out of range"):
            gallery.add([Entry("/a", "c", frame=2**63)], ROWS[:1], [b""])
        assert (len(gallery), gallery.verify()) == (6, [])


def test_ids_are_never_used_again(tmp_path, layout):
    with make(tmp_path / "g", layout) as gallery:
        gallery.remove([5, 6])
    with Gallery.open(tmp_path / "g") as gallery:
        assert gallery.add([Entry("/a", "c")], ROWS[:1], [b""]) == [7]
        gallery.remove([1, 2, 3, 4, 7])
        assert gallery.add([Entry("/a", "c")], ROWS[:1], [b""]) == [8]
        assert gallery.search(ROWS[:1], 3).ids.tolist() == [[8, -1, -1]]


def test_what_cannot_be_changed_is_named_and_nothing_is(tmp_path, layout):
    with make(tmp_path / "g", layout) as gallery:
        before = gallery.find()
        for ids, change, message in [
            ([1], {"frame": 3}, "'frame' cannot be changed, only identity, camera, time, until"),
            ([1, 2], {"time": float("inf")}, "time is inf"),
            ([1], {"camera": None}, "camera"),
            ([2], {"identity": "a\0b"}, "identity"),
        ]:
            with pytest.raises(InputError, match=message):
                gallery.update(dict.fromkeys(ids, change))
        with pytest.raises(InputError, match="no entry 99"):
            gallery.update({1: {"camera": "x"}, 99: {"camera": "y"}})
        assert gallery.find() == before
        assert gallery.verify() == []


def test_settings(tmp_path):
    with make(tmp_path / "g") as gallery:
        with pytest.raises(InputError, match="index 'hnsw' is not one of auto, flat, rabitq, sq8"):
            gallery.set("index", "hnsw")
        assert gallery.setting("index") is None


FULL = """
import resource, sys
import numpy as np
from reid.errors import InputError
from reid.gallery.entries import Entry
from reid.gallery.store import Gallery

gallery = Gallery.open(sys.argv[1])
before = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), before[1]))  # stands for a full disk
try:
    entries = [Entry(f"/folder/{n}", "new") for n in range(3000)]
    gallery.add(entries, np.ones((3000, 4)), [b"x" * int(sys.argv[3])] * 3000)
except InputError as error:
    print(error)
print(len(gallery), gallery.search(np.ones((1, 4)), 9).ids.max())
resource.setrlimit(resource.RLIMIT_FSIZE, before)
gallery.set("any", "thing")
print(gallery.verify())
"""


@pytest.mark.parametrize(
    ("limit", "thumbnail", "file"),
    [(200_000, 900, "thumbnails/"), (40_000, 0, "features: cannot be written"), (250_000, 0, "catalogue.db")],
)
@SQLITE
def test_a_full_disk_leaves_nothing_half_added(tmp_path, layout, limit, thumbnail, file):
    make(tmp_path / "g", layout).close()
    size = len(all_bytes(tmp_path / "g"))
    command = [sys.executable, "-c", FULL, tmp_path / "g", str(limit), str(thumbnail)]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    assert file in lines[0]
    assert lines[1:] == ["6 6", "[]"]
    assert len(all_bytes(tmp_path / "g")) < size + 160_000  # rows of what was begun stay, zeros


# --- erasing


def code_of(gallery, id):
    """In the indexes of a gallery of one segment."""
    (path,) = gallery.folder.rglob("*.faiss")
    lists = CompressedIndex.load(path)._index
    for number in range(lists.nlist):
        members, codes = get_invlist(lists.invlists, number)
        if id - 1 in members:
            return codes[members == id - 1].tobytes()
    raise KeyError(id)


@pytest.mark.parametrize("seed", range(3))
def test_removed_is_in_no_file(tmp_path, layout, request, monkeypatch, seed):
    """Names short and long, thumbnails small and large, an index of codes; while another process has all of it open.

    The server's tables are clean as the erasure returns. Its log forgets at the next checkpoints, where it takes no
    file anew (wal_recycle = off) and keeps few (min_wal_size): see postgresql_server.SETTINGS.
    """
    monkeypatch.setattr(segments, "FEWEST", 100)
    rng, width = np.random.default_rng(seed), 128
    tails = [rng.bytes(int(rng.choice([0, 200, 1000]))).hex() for _ in range(160)]
    people = [
        Entry(f"/secret-{n:05d}/source-{n:05d}", "hall", f"Person-{n:05d}{tail}", 1e9 + n / 7, added=1.6e9)
        for n, tail in enumerate(tails)
    ]
    rows, images = rng.standard_normal((160, width)), [JPEG + rng.bytes(int(rng.integers(40, 9000))) for _ in people]
    gallery = Gallery.create(tmp_path / "g", Origin("r", width, "0" * 64, "n"), layout())
    with gallery, Gallery.open(tmp_path / "g") as reader:
        for low in range(0, 160, 40):
            ids = gallery.add(*(part[low : low + 40] for part in (people, rows, images)))
            gallery.record("command line", "add", ids)
        gallery.set("index", "rabitq")
        assert gallery.tend()
        gone = sorted({3, 4, 160, *rng.integers(1, 161, size=4).tolist()})
        units, codes = gallery.features(gone), [code_of(gallery, id) for id in gone]
        assert codes[0] in all_bytes(tmp_path)
        assert len(reader.search(rows[:2], 5).ids) == 2
        server = None if gallery.layout.catalogue == "sqlite" else request.getfixturevalue("postgresql")
        if server:
            server.run(*(f"ANALYZE {schema}.{table}" for schema, table in server.run(
                "SELECT schemaname, tablename FROM pg_tables WHERE schemaname LIKE 'place%'")))  # fmt: skip
        gallery.update({id: {"camera": "garden"} for id in (3, 4)})
        gallery.remove(gone)
        reader.record("page", "forget", gone)

        def texts():
            for entry in (people[id - 1] for id in gone):
                yield from (entry.source[:13].encode(), entry.source[13:].encode(), entry.identity[:12].encode())

        def traces():
            yield from texts()
            for id, unit, code in zip(gone, units, codes, strict=True):
                image = images[id - 1]
                yield from (image[low : low + 16] for low in range(3, len(image) - 16, 50))
                yield from (unit.tobytes(), unit.tobytes()[100:132], code)

        data = all_bytes(tmp_path) + (server.tables() if server else b"")
        assert not [trace for trace in traces() if trace in data]
        assert people[10].identity[:12].encode() in data or 11 in gone
        if server:
            server.forget()
            log = server.bytes()
            assert not [trace for trace in texts() if trace in log]
        assert gallery.verify() == []
        assert set(gone).isdisjoint(reader.search(rows, 160).ids.ravel().tolist())
        np.testing.assert_array_equal(reader.features([1, 159]), gallery.features([1, 159]))


@pytest.mark.parametrize("seed", range(4))
def test_old_names_are_in_no_file(tmp_path, layout, request, seed):
    """Longer and shorter names make a database move what it holds between pages, of which copies stay in the gaps."""
    folder, rng = tmp_path / "g", np.random.default_rng(seed)

    def name():
        return f"Name{rng.integers(10**9):09d}" + "y" * int(rng.integers(1500))

    with Gallery.create(folder, ORIGIN, layout()) as gallery:
        server = None if gallery.layout.catalogue == "sqlite" else request.getfixturevalue("postgresql")
        rows = rng.standard_normal((300, WIDTH))
        ids = gallery.add([Entry("/a", "c", name()) for _ in range(300)], rows, [b""] * 300)
        for _ in range(5):
            some = rng.choice(ids, 80, replace=False).tolist()
            old = {entry.identity[:13] for entry in gallery.get(some)}
            gallery.update({id: {"identity": name()} for id in some})
            data = all_bytes(folder) + (server.tables() if server else b"")
            left = {text for text in old if text.encode() in data}
            assert left <= {name[:13] for name in gallery.catalogue.names("identity")}


def test_what_was_being_added_is_in_no_file(tmp_path, layout, request, monkeypatch):
    """When it could not be: as with a full disk at the last step."""
    with make(tmp_path / "g", layout) as gallery:
        server = None if gallery.layout.catalogue == "sqlite" else request.getfixturevalue("postgresql")

        def fail(*_):
            raise InputError("disk full")

        monkeypatch.setattr(gallery.catalogue, "finish_adding", fail)
        with pytest.raises(InputError, match="disk full"):
            secret = Entry("/secret/source", "Kamera", "Person-1", added=1e9)
            gallery.add([secret], ROWS[3:4] + 0.25, [JPEG + b"thumbnail"])
        assert len(list((tmp_path / "g/thumbnails").iterdir())) == 1  # none of that day
        data = all_bytes(tmp_path) + (server.tables() if server else b"")
        unit = ((ROWS[3] + 0.25) / np.linalg.norm(ROWS[3] + 0.25)).astype(np.float32).tobytes()
        assert not [trace for trace in (b"/secret", b"Kamera", b"Person-1", b"thumbnail", unit) if trace in data]
        assert gallery.verify() == []


def test_a_reader_that_stays_holds_erasing_up(tmp_path, layout, request, monkeypatch):
    """The entry is gone at once; that it may lie in a file still is told, until it does not."""
    monkeypatch.setattr(Database, "patience", 0.1)
    with make(tmp_path / "g", layout) as gallery:
        server = None if gallery.layout.catalogue == "sqlite" else request.getfixturevalue("postgresql")
        if server:
            import psycopg

            other = psycopg.connect(gallery.layout.catalogue, autocommit=True)
            other.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        else:
            import sqlite3

            other = sqlite3.connect(gallery.folder / "catalogue.db", isolation_level=None)
            other.execute("BEGIN")
            waits = gallery.catalogue.db.run("PRAGMA busy_timeout")
            assert waits == [(60_000,)]  # for who writes, as another's erasure of a large gallery does
        other.execute("SELECT count(*) FROM entries").fetchone()
        with pytest.raises(InputError, match="another program has been reading for more than 0.1 seconds"):
            gallery.remove([2])
        assert [entry.id for entry in gallery.find()] == [1, 3, 4, 5, 6]
        assert gallery.search(ROWS, 6).ids[0, 5] == -1
        assert any("unfinished: 1 to remove" in text for text in gallery.verify())
        assert b"1.jpg" in all_bytes(tmp_path) + (server.tables() if server else b"")
        other.execute("ROLLBACK")
        other.close()
        gallery.set("any", "thing")
        assert gallery.verify() == []
        assert server or gallery.catalogue.db.run("PRAGMA busy_timeout") == waits
        assert b"1.jpg" not in all_bytes(tmp_path) + (server.tables() if server else b"")


# --- damage


def shorten(path):
    os.truncate(path, path.stat().st_size - 1)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda g: shorten(next(g.rglob("features"))), "features: has 95 bytes where 96 were written: damaged"),
        (lambda g: shorten(next(g.rglob("rows"))), "entries have no feature, the first 6"),
        (lambda g: next(g.rglob("rows")).unlink(), "6 entries have no feature, the first 1"),
        (lambda g: next(g.rglob("features")).write_bytes(bytes(96)), "features: row 0 has length 0"),
        (lambda g: next((g / "thumbnails").iterdir()).unlink(), "thumbnails/000000000001: cannot be read: No such"),
        (lambda g: shorten(next((g / "thumbnails").iterdir())), "is shorter than what was written: damaged"),
        (lambda g: next((g / "thumbnails").iterdir()).write_bytes(bytes(99)), "lies there of entry 1 is no JPEG"),
    ],
)
def test_verify_tells_damage(tmp_path, damage, message):
    make(tmp_path / "g").close()
    damage(tmp_path / "g")
    with Gallery.open(tmp_path / "g") as gallery:
        assert [text for text in gallery.verify() if message in text]


# --- several at once


def batches(gallery):
    return gallery.catalogue.counts(Filter(cameras=("feed",)))[0] // 20


def feeding(worker, gallery):
    """Another process begins to add batches of 20; its number."""
    worker.begin("feed", gallery.folder, gallery.layout)
    return worker.line()["pid"]


def test_erasing_while_another_process_adds(tmp_path, layout, worker):
    """Who erases comes after the batch that is being added, and at most one that had its turn already; then the other
    is killed, and nothing of its last batch is there by half."""
    with make(tmp_path / "g", layout, count=40) as gallery:
        pid = feeding(worker, gallery)
        told = [worker.line() for _ in range(3)]
        for id in range(1, 13):
            before = batches(gallery)
            gallery.remove([id])
            assert batches(gallery) - before <= 3
            gallery.update({id + 20: {"camera": f"garden/{id}"}})
            told.append(worker.line())
        told += worker.kill(pid)
        gallery.remove([13])
        while any(text.startswith("unfinished") for text in gallery.verify()):  # the server is at the dead one's last
            gallery.set("any", "thing")
        entries = gallery.find(Filter(cameras=("feed",)))
        assert len(entries) % 20 == 0
        ids = {entry.id for entry in entries}
        assert all(line["first"] + place in ids for line in told for place in range(20))
        assert len(gallery) == len(entries) + 27
        hits = gallery.search(ROWS, len(gallery) + 1)
        assert sorted(hits.ids[0].tolist())[1:] == [entry.id for entry in gallery.find()]
        assert gallery.verify() == []


def test_the_other_is_killed_and_this_one_goes_on(tmp_path, layout, worker):
    rng = np.random.default_rng(2)
    with make(tmp_path / "g", layout) as gallery:
        for _ in range(8):
            pid = feeding(worker, gallery)
            for _ in range(rng.integers(1, 6)):
                worker.line()
            worker.kill(pid)
            (id,) = gallery.add([Entry("/mine", "hall/0")], ROWS[:1], [JPEG])
            gallery.remove([id])
            hits = gallery.search(ROWS[1:2], len(gallery) + 5)
            assert sorted(hits.ids[0].tolist())[5:] == [entry.id for entry in gallery.find()]
            assert gallery.catalogue.counts(Filter(cameras=("feed",)))[0] % 20 == 0


def test_threads_search_while_one_adds_and_erases(tmp_path, layout):
    wrong, stop = [], threading.Event()
    with make(tmp_path / "g", layout, 40) as gallery, Gallery.open(tmp_path / "g") as reader:
        row = {entry.id: gallery.features([entry.id])[0] for entry in gallery.find()}
        kept = [id for id in row if id % 2]

        def read(gallery):
            try:
                while not stop.is_set():
                    for id in kept[:5]:
                        hits = gallery.search(row[id][None], 3)
                        if hits.ids[0, 0] != id or gallery.get([id])[0].source != f"/images/{id - 1}.jpg":
                            wrong.append(id)
                        if (
                            gallery.thumbnails([id]) != [JPEG + b"image %d" % (id - 1)]
                            or gallery.catalogue.summary().unknown < 0
                        ):
                            wrong.append(id)
            except Exception as error:
                wrong.append(error)

        threads = [threading.Thread(target=read, args=(each,)) for each in [gallery, reader] * 4]
        for thread in threads:
            thread.start()
        for id in [id for id in row if id % 2 == 0][:8]:
            gallery.remove([id])
            (new,) = gallery.add([Entry("/new", "c")], -row[kept[0]][None], [b""])
            gallery.update({new: {"identity": f"N{id}"}})
        stop.set()
        for thread in threads:
            thread.join()
        assert gallery.verify() == []
    assert wrong == []


def test_ids_that_are_under_way_are_not_answered(tmp_path, monkeypatch):
    """While a batch is being added its rows are there already, and those of an erasure are there still."""
    with make(tmp_path / "g") as gallery, Gallery.open(tmp_path / "g") as reader:
        seen = []

        def look(then):
            def done(*values):
                for k in (1, 6, 50):
                    seen.append(sorted(reader.search(ROWS, k).ids[0].tolist()))
                return then(*values)

            return done

        with monkeypatch.context() as patch:
            patch.setattr(gallery.catalogue, "finish_adding", look(gallery.catalogue.finish_adding))
            gallery.add([Entry("/a", "c")] * 30, np.repeat(ROWS[:1], 30, axis=0), [b""] * 30)
        nearest = reader.search(ROWS, 1, Filter(cameras=("hall/0", "hall/1"))).ids[0].tolist()
        assert seen == [nearest, [1, 2, 3, 4, 5, 6], [-1] * 44 + [1, 2, 3, 4, 5, 6]]
        seen.clear()
        with monkeypatch.context() as patch:
            patch.setattr(gallery._vectors, "remove", look(gallery._vectors.remove))
            gallery.remove(range(7, 37))
        assert seen == [nearest, [1, 2, 3, 4, 5, 6], [-1] * 44 + [1, 2, 3, 4, 5, 6]]
        with pytest.raises(NotThere, match="no entry 7"):
            reader.features([7])
