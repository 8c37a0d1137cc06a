"""A process killed at any moment loses nothing that was committed and leaves nothing half done."""

from __future__ import annotations

import select
import shutil
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from crash_worker import ORIGIN, WIDTH, add, item
from faiss.contrib.inspect_tools import get_invlist
from sequences import memory

from reid.gallery.entries import Filter
from reid.gallery.parts import Layout
from reid.gallery.store import Gallery
from reid.retrieval.compressed import CompressedIndex
from reid.retrieval.unit import unit_rows


class InFolder:
    """Galleries of SQLite and segments, all of which is in their folder."""

    def __init__(self, place):
        self.folder, self.layout, self._kept = place / "gallery", Layout(), {}

    def fresh(self, count, index=None):
        """A gallery of the items of numbers from 1 to ``count``, whose ids are the same."""
        self.again((count, index), partial(self._make, count, index))

    def _make(self, count, index):
        with Gallery.create(self.folder, ORIGIN, self.layout) as gallery:
            assert add(gallery, range(1, count + 1)) == list(range(1, count + 1))
            if index:
                gallery.set("index", index)

    def again(self, name, make):
        """The gallery as ``make`` left it at first."""
        self.clear()
        if name not in self._kept:
            make()
            self._kept[name] = self.folder.with_name(f"kept{len(self._kept)}")
            shutil.copytree(self.folder, self._kept[name])
        else:
            shutil.copytree(self._kept[name], self.folder)

    def clear(self):
        shutil.rmtree(self.folder, ignore_errors=True)

    def settle(self):
        """Until what a process that was killed had under way has come to an end."""

    def all_bytes(self):
        return b"\n".join(path.read_bytes() for path in sorted(self.folder.rglob("*")) if path.is_file())


class OnServer(InFolder):
    """Galleries of PostgreSQL and segments."""

    def __init__(self, place, server):
        super().__init__(place)
        self._server = server
        self.clear()

    def again(self, name, make):
        self.clear()
        make()

    def clear(self):
        super().clear()
        self._server.clear()
        self.layout = Layout(self._server.location())

    def settle(self):
        while self._server.clients():
            time.sleep(0.001)

    def all_bytes(self):
        return super().all_bytes() + self._server.tables()


@pytest.fixture(params=["sqlite", "postgresql"])
def galleries(request):
    """In memory where there is one: a kill leaves there what it leaves on a disk, and syncing is quick."""
    with memory() as place:
        if request.param == "sqlite":
            yield InFolder(Path(place))
        else:
            yield OnServer(Path(place), request.getfixturevalue("postgresql"))


def contents(gallery):
    """All that a gallery holds, by id."""
    entries = gallery.find()
    ids = [entry.id for entry in entries]
    rows = [row.tobytes() for row in gallery.features(ids)]
    assert sorted(gallery.search(np.ones((1, WIDTH)), len(ids) + 9).ids[0].tolist()) == [-1] * 9 + ids
    return dict(zip(ids, zip(entries, rows, gallery.thumbnails(ids), strict=True), strict=True))


def expected(number, id):
    entry, feature, thumbnail = item(number)
    return replace(entry, id=id), unit_rows(feature[None], WIDTH, "feature").tobytes(), thumbnail


def outcome(operation, count):
    """What a gallery holds before and after an operation of crash_worker.py, and the bytes that are in no file then."""
    before = {id: expected(id, id) for id in range(1, count + 1)}
    if operation == "remove":
        gone = (2, 5, 12)
        return (
            before,
            {id: value for id, value in before.items() if id not in gone},
            [trace for id in gone for trace in traces(id)],
        )
    if operation == "update":
        new = {id: (replace(before[id][0], identity="Renamed", camera="plaza/2"), *before[id][1:]) for id in (3, 4)}
        return before, before | new, [item(number)[0].identity.encode() for number in (3, 4)]
    if operation == "add":
        return before, before | {count + 1 + place: expected(1001 + place, count + 1 + place) for place in range(3)}, []
    return before, before, []


def traces(number):
    """Bytes by which an entry would be found in a file."""
    entry, row, thumbnail = expected(number, number)
    return [entry.source[-16:].encode(), entry.source[:14].encode(), entry.identity.encode(), thumbnail[500:540], row]


def check_whole(galleries, before, after, gone):
    """The gallery stands as before or as after; returns whether as after. Then a writer goes on with it."""
    galleries.settle()
    with Gallery.open(galleries.folder) as gallery:
        seen = contents(gallery)
        assert seen in (before, after)
        added = [id for id in after if id not in before]
        (new,) = add(gallery, [500])
        assert new > max(seen)
        assert contents(gallery) == seen | {new: expected(500, new)}
        for camera in ("plaza/1", "plaza/2"):
            passing = [entry.id for entry in gallery.find(Filter(cameras=(camera,)))]
            hits = gallery.search(np.ones((1, WIDTH)), len(seen) + 1, Filter(cameras=(camera,)))
            assert sorted(hits.ids[0, : len(passing)].tolist()) == passing
        assert gallery.verify() == []
    left = gone if seen == after else [trace for number in range(len(added)) for trace in traces(1001 + number)]
    if left:
        held = galleries.all_bytes()
        assert not [trace for trace in left if trace in held]
    return seen == after


def kill_at_each_call(worker, galleries, operation, torn, prepare, check, within="."):
    """Prepare, kill at the first call, check; and so on up to the last call. What the checks gave."""
    done, at, killed = [], 0, True
    while killed:
        at += 1
        prepare()
        killed = worker.killed(operation, galleries.folder, galleries.layout, at, torn, within)
        done.append(check())
    assert at > 3
    return done


def kill_in(worker, galleries, operation, torn):
    before, after, gone = outcome(operation, 12)
    prepare, check = partial(galleries.fresh, 12), partial(check_whole, galleries, before, after, gone)
    done = kill_at_each_call(worker, galleries, operation, torn, prepare, check)
    if galleries.layout.catalogue == "sqlite":  # to a server the same words may go in more calls, or in fewer
        assert done == sorted(done)  # first as before, and from one call on as after
    assert not done[0]
    assert done[-1]


@pytest.mark.parametrize("operation", ["add", "remove", "update"])
def test_killed_at_each_call_half_written(worker, galleries, operation):
    kill_in(worker, galleries, operation, "1")


def test_killed_before_each_call(worker):
    with memory() as place:
        kill_in(worker, InFolder(Path(place)), "remove", "0")


@pytest.mark.parametrize(("operation", "within"), [("remove", "."), ("add", "vectors")])
def test_killed_as_it_finishes_what_another_left(worker, galleries, operation, within):
    """Who was killed at the vectors, so that an erasure is to be finished, an adding to be taken back."""
    before, after, gone = outcome(operation, 12)

    def leave():
        galleries.fresh(12)
        assert worker.killed(operation, galleries.folder, galleries.layout, 4, "1", within="vectors")
        galleries.settle()

    prepare, check = partial(galleries.again, "left", leave), partial(check_whole, galleries, before, after, gone)
    done = kill_at_each_call(worker, galleries, "recover", "1", prepare, check, within)
    assert set(done) == {operation == "remove"}


def test_killed_as_it_makes_a_gallery(worker, galleries):
    def opened_or_made():
        galleries.settle()
        made = (galleries.folder / "gallery.json").exists()
        with (
            Gallery.open(galleries.folder) if made else Gallery.create(galleries.folder, ORIGIN, galleries.layout)
        ) as gallery:
            assert gallery.verify() == []
            assert add(gallery, [1]) == [1]
        return made

    made = kill_at_each_call(worker, galleries, "create", "1", galleries.clear, opened_or_made)
    assert made == sorted(made)
    assert not made[0]
    assert made[-1]


def codes_of(path):
    """Of an index, the code of each row."""
    lists, codes = CompressedIndex.load(path)._index, {}
    for number in range(lists.nlist):
        members, some = get_invlist(lists.invlists, number)
        codes |= {int(row): code.tobytes() for row, code in zip(members, some, strict=True)}
    return codes


@pytest.mark.parametrize("operation", ["tend", "remove"])
def test_killed_with_an_index(worker, operation):
    with memory() as place:
        galleries = InFolder(Path(place))
        before, after, gone = outcome(operation, 120)

        def tended():
            galleries.fresh(120, "sq8")
            assert not worker.killed("tend", galleries.folder, galleries.layout, 10**6, "0")

        prepare = partial(galleries.fresh, 120, "sq8")
        if operation == "remove":
            prepare = partial(galleries.again, "tended", tended)

        def check():
            paths = list(galleries.folder.rglob("*.faiss"))
            done = check_whole(galleries, before, after, gone)
            with Gallery.open(galleries.folder) as gallery:
                there = {entry.id - 1 for entry in gallery.find()}
            assert all(set(codes_of(path)) <= there for path in paths)
            assert operation == "tend" or not list(galleries.folder.rglob(".*partial*"))
            return bool(paths) if operation == "tend" else done

        done = kill_at_each_call(worker, galleries, operation, "1", prepare, check, within="vectors")
        assert done == sorted(done)
        assert done[-1]


def follow(worker, delay):
    """What a loop printed until it was killed, ``delay`` seconds after it began its first operation."""
    pid, lines, deadline = worker.line()["pid"], [worker.line()], time.monotonic() + delay
    while (left := deadline - time.monotonic()) > 0:
        if select.select([worker.process.stdout], [], [], left)[0]:
            lines.append(worker.line())
    return lines + worker.kill(pid)


def acknowledged(numbers, lines):
    """``numbers`` by id after what was acknowledged; and the operation that had begun, if one had."""
    begun = None
    for line in lines:
        if "start" in line:
            begun = line
        elif line["end"] == "add":
            numbers |= dict(zip(line["ids"], begun["numbers"], strict=True))
            begun = None
        else:
            numbers = {id: number for id, number in numbers.items() if id not in line["ids"]}
            begun = None
    return numbers, begun


def test_killed_at_random(worker, galleries):
    rng, numbers, within, kills = np.random.default_rng(5), {}, 0, 0
    Gallery.create(galleries.folder, ORIGIN, galleries.layout).close()
    while kills < 25 or within < 15:  # a busy machine begins fewer operations in the time: then it is killed more often
        assert kills < 500, f"only {within} kills fell into an operation"
        worker.begin("loop", galleries.folder, galleries.layout, LOOP_SEED=str(kills))
        kills += 1
        numbers, begun = acknowledged(numbers, follow(worker, rng.uniform(0, 0.08)))
        galleries.settle()
        within += begun is not None
        with Gallery.open(galleries.folder) as gallery:
            seen = contents(gallery)
            held = {id: expected(number, id) for id, number in numbers.items()}
            if begun and seen != held and begun["start"] == "add":
                numbers |= dict(zip(sorted(set(seen) - set(held)), begun["numbers"], strict=True))
            elif begun and seen != held:
                numbers = {id: number for id, number in numbers.items() if id not in begun["ids"]}
            assert seen == {id: expected(number, id) for id, number in numbers.items()}
            gallery.set("any", str(kills))
            assert gallery.verify() == []
