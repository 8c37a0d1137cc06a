"""A process killed at any moment loses nothing that was committed and leaves nothing half done."""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from crash_worker import ORIGIN, WIDTH, add, item

from reid.gallery.local.store import LocalStore
from reid.retrieval.unit import unit_rows

HERE = Path(__file__).parent
OLD = range(1, 13)  # the numbers, and the ids, of what the prepared store holds
MODES = pytest.mark.parametrize("torn", ["0", "1"], ids=["before the call", "half written"])


class Worker:
    """The warm process; see crash_worker.py."""

    def __init__(self, library):
        environment = {**os.environ, "LD_PRELOAD": str(library), "OMP_NUM_THREADS": "1"}
        environment["PYTHONPATH"] = os.pathsep.join([str(HERE.parents[1]), os.environ.get("PYTHONPATH", "")])
        self.process = subprocess.Popen(
            [sys.executable, HERE / "crash_worker.py"], env=environment,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0,
        )  # fmt: skip

    def begin(self, operation, folder, **environment):
        task = {"operation": operation, "folder": str(folder), "environment": environment}
        self.process.stdin.write(json.dumps(task).encode() + b"\n")

    def line(self):
        return json.loads(self.process.stdout.readline())

    def killed(self, operation, folder, at, torn):
        """Whether the operation was killed at that call, rather than done before it came."""
        self.begin(operation, folder, KILL_FOLDER=str(folder), KILL_AT=str(at), KILL_TORN=torn)
        status = self.line()["status"]
        assert status in (0, signal.SIGKILL)
        return status == signal.SIGKILL


@pytest.fixture(scope="module")
def worker(tmp_path_factory):
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        assert os.environ.get("CI") != "true", "CI needs a C compiler for the crash tests"
        pytest.skip("no C compiler for the library that kills at a call")
    library = tmp_path_factory.mktemp("library") / "kill_at.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, HERE / "kill_at.c", "-ldl"], check=True)
    worker = Worker(library)
    yield worker
    worker.process.stdin.close()
    assert worker.process.wait(20) == 0


@pytest.fixture
def place():
    """A folder in memory where there is one: a kill leaves there what it leaves on a disk, and syncing is quick."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as folder:
        yield Path(folder)


@pytest.fixture
def prepared(place):
    """A store of twelve entries; read only."""
    folder = place / "prepared"
    with LocalStore.create(folder, ORIGIN) as store:
        assert add(store, OLD) == list(OLD)
    return folder


def contents(store):
    """All that a store holds, by id; the time of adding, which differs between runs, only of what is old."""
    entries = store.find()
    ids = [entry.id for entry in entries]
    kept = [entry if entry.id in OLD else replace(entry, added=0) for entry in entries]
    rows = [row.tobytes() for row in store.features(ids)]
    return dict(zip(ids, zip(kept, rows, map(store.thumbnail, ids), strict=True), strict=True))


def row_of(number):
    return unit_rows(item(number)[1][None], WIDTH, "feature").tobytes()


def traces(number):
    """Bytes by which an entry would be found in a file."""
    entry, _, thumbnail = item(number)
    return [entry.source.encode(), entry.identity.encode(), thumbnail, thumbnail[500:540], row_of(number)]


def all_bytes(folder):
    return b"\n".join(path.read_bytes() for path in sorted(folder.iterdir()))


def outcome(operation, before):
    """What a store holds after an operation of crash_worker.py, and the bytes that are then in none of its files."""
    if operation == "remove":
        gone = [trace for number in (2, 5, 12) for trace in traces(number)]
        return {id: value for id, value in before.items() if id not in (2, 5, 12)}, gone
    if operation == "update":
        new = {id: (replace(before[id][0], identity="Renamed", camera="plaza/2"), *before[id][1:]) for id in (3, 4)}
        return before | new, [item(number)[0].identity.encode() for number in (3, 4)]
    numbers = {13: 101, 14: 102, 15: 103}
    new = {id: (replace(item(number)[0], id=id), row_of(number), item(number)[2]) for id, number in numbers.items()}
    return before | new, []


def check_whole(folder, before, after, gone):
    """The store stands as before or as after; returns whether as after. Then a writer can go on with it."""
    with LocalStore.open(folder) as reader:
        seen = contents(reader)
        assert seen in (before, after)
    with LocalStore.open(folder, write=True) as writer:
        assert contents(writer) == seen
        assert writer.verify() == []
        held = all_bytes(folder) if seen == after and gone else b""
        assert not [trace for trace in gone if trace in held]
        (new,) = add(writer, [500])
        assert new > max(seen)
        assert contents(writer) == seen | {new: (replace(item(500)[0], id=new), row_of(500), item(500)[2])}
        assert writer.verify() == []
    return seen == after


@MODES
@pytest.mark.parametrize("operation", ["add", "remove", "update"])
def test_killed_at_each_call(worker, prepared, place, operation, torn):
    with LocalStore.open(prepared) as store:
        before = contents(store)
    after, gone = outcome(operation, before)
    done, at, killed = [], 0, True
    while killed:
        at += 1
        folder = place / "store"
        shutil.copytree(prepared, folder)
        killed = worker.killed(operation, folder, at, torn)
        done.append(check_whole(folder, before, after, gone))
        shutil.rmtree(folder)
    assert at > 8
    assert done == sorted(done)  # first as before, and from one call on as after
    assert not done[0]
    assert done[-1]


@MODES
def test_killed_as_it_finishes_an_erasure(worker, prepared, place, torn):
    with LocalStore.open(prepared) as store:
        before = contents(store)
    after, gone = outcome("remove", before)
    for first in range(1, 1000):  # up to a kill right after the removal was committed
        unfinished = place / f"unfinished{first}"
        shutil.copytree(prepared, unfinished)
        assert worker.killed("remove", unfinished, first, "0")
        copy = place / "copy"
        shutil.copytree(unfinished, copy)
        with LocalStore.open(copy) as store:
            committed = contents(store) == after
        shutil.rmtree(copy)
        if committed:
            break
    at, killed = 0, True
    while killed:
        at += 1
        folder = place / "store"
        shutil.copytree(unfinished, folder)
        killed = worker.killed("open", folder, at, torn)
        assert check_whole(folder, before, after, gone)
        shutil.rmtree(folder)
    assert at > 8


@MODES
def test_killed_as_it_makes_a_store(worker, place, torn):
    at, killed, made = 0, True, []
    while killed:
        at += 1
        folder = place / "store"
        killed = worker.killed("create", folder, at, torn)
        made.append((folder / "entries.db").exists())
        with LocalStore.open(folder, write=True) if made[-1] else LocalStore.create(folder, ORIGIN) as store:
            assert store.verify() == []
            assert add(store, [1]) == [1]
        shutil.rmtree(folder)
    assert made == sorted(made)
    assert not made[0]
    assert made[-1]


def follow(worker, delay):
    """What a loop printed until it was killed, ``delay`` seconds after it began its first operation."""
    pid, lines, deadline = worker.line()["pid"], [worker.line()], time.monotonic() + delay
    while (left := deadline - time.monotonic()) > 0:
        if select.select([worker.process.stdout], [], [], left)[0]:
            lines.append(worker.line())
    os.kill(pid, signal.SIGKILL)
    while "status" not in (line := worker.line()):
        lines.append(line)
    assert line["status"] == signal.SIGKILL
    return lines


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


def test_killed_at_random(worker, place):
    folder, rng = place / "store", np.random.default_rng(5)
    LocalStore.create(folder, ORIGIN).close()
    numbers, within, kills = {}, 0, 0
    while kills < 50 or within < 30:  # a busy machine begins fewer operations in the time: then it is killed more often
        assert kills < 500, f"only {within} kills fell into an operation"
        worker.begin("loop", folder, LOOP_SEED=str(kills))
        kills += 1
        numbers, begun = acknowledged(numbers, follow(worker, rng.uniform(0, 0.08)))
        within += begun is not None
        with LocalStore.open(folder) as store:
            seen = {id: (entry.source, row, image) for id, (entry, row, image) in contents(store).items()}
        held = {id: (item(number)[0].source, row_of(number), item(number)[2]) for id, number in numbers.items()}
        if begun and seen != held and begun["start"] == "add":
            ids = sorted(set(seen) - set(held))
            numbers |= dict(zip(ids, begun["numbers"], strict=True))
        elif begun and seen != held:
            numbers = {id: number for id, number in numbers.items() if id not in begun["ids"]}
        held = {id: (item(number)[0].source, row_of(number), item(number)[2]) for id, number in numbers.items()}
        assert seen == held
        with LocalStore.open(folder, write=True) as store:
            assert store.verify() == []
