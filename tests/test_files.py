"""Many writers at once: none fails, nothing is lost, and what killed ones left goes."""

import errno
import fcntl
import json
import multiprocessing
import os
import signal
import threading
import time
from pathlib import Path

import pytest

from reid import files
from reid.errors import InputError
from reid.files import Busy, leftover_partials, locked, new_folder, replacing, write_atomically

SPAWN = multiprocessing.get_context("spawn")
WRITES = 60


def _write_results(folder: Path, name: str) -> None:
    """As evaluating does: under the lock of targets/, into the folder above."""
    path = folder / "results.json"
    for number in range(WRITES):
        with locked(folder / "targets", wait=True):
            stored = json.loads(path.read_text()) if path.exists() else {}
            write_atomically(path, json.dumps(stored | {f"{name} {number}": "x" * 2000}))


def _lock_again_and_again(folder: Path, stop) -> None:
    """As training does, which another process may start over and over in the folder of a finished run."""
    while not stop.is_set():
        with locked(folder, wait=True):
            pass


def test_no_write_fails_and_nothing_is_lost_beside_other_writers(tmp_path):
    dead = tmp_path / ".results.json.partial-dead"
    dead.write_text("half")
    stop = SPAWN.Event()
    lockers = [SPAWN.Process(target=_lock_again_and_again, args=(tmp_path, stop)) for _ in range(2)]
    writers = [SPAWN.Process(target=_write_results, args=(tmp_path, name)) for name in ("a", "b")]
    for process in (*lockers, *writers):
        process.start()
    for process in writers:
        process.join()
    stop.set()
    for process in lockers:
        process.join()
    assert [process.exitcode for process in (*lockers, *writers)] == [0] * 4
    stored = json.loads((tmp_path / "results.json").read_text())
    assert set(stored) == {f"{name} {number}" for name in "ab" for number in range(WRITES)}
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "results.json", "targets"]


def test_threads_of_one_process_do_not_share_a_partial_file(tmp_path):
    failed: list[BaseException] = []

    def write(letter: str) -> None:
        try:
            for _ in range(WRITES):
                write_atomically(tmp_path / "file", letter * 50_000)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=write, args=(letter,)) for letter in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    content = (tmp_path / "file").read_text()
    assert content == content[0] * 50_000 and [path.name for path in tmp_path.iterdir()] == ["file"]


def _write_for_ever(path: Path) -> None:
    with replacing(path) as file:
        file.write(b"half")
        file.flush()
        time.sleep(600)


def test_the_partial_file_of_a_living_writer_stays_that_of_a_killed_one_goes(tmp_path):
    writer = SPAWN.Process(target=_write_for_ever, args=(tmp_path / "big",))
    writer.start()
    while not [p for p in tmp_path.glob(".big.partial*") if p.stat().st_size]:
        time.sleep(0.02)
    (partial,) = tmp_path.glob(".big.partial*")
    old = tmp_path / f".other.partial{os.getpid()}"  # numbers of processes come again: this one is of a dead process
    old.write_bytes(b"half")
    assert leftover_partials(tmp_path) == [old]
    with locked(tmp_path):
        assert partial.exists() and not old.exists()
    os.kill(writer.pid, signal.SIGKILL)
    writer.join()
    with locked(tmp_path):
        assert not partial.exists()


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "file"
    write_atomically(path, "old")
    with pytest.raises(RuntimeError), replacing(path) as file:
        file.write(b"new")
        raise RuntimeError
    assert path.read_text() == "old" and [p.name for p in tmp_path.iterdir()] == ["file"]
    with pytest.raises(InputError, match="file/below: cannot be written"):
        write_atomically(path / "below", "x")
    with pytest.raises(InputError, match="cannot be written"):
        write_atomically(tmp_path / ("x" * 255), "x" * 3)


def test_new_files_get_the_permissions_that_the_umask_leaves(tmp_path):
    old = os.umask(0o027)
    try:
        write_atomically(tmp_path / "shared", "x")
        with replacing(tmp_path / "private", 0o600):
            pass
    finally:
        os.umask(old)
    assert [(tmp_path / name).stat().st_mode & 0o777 for name in ("shared", "private")] == [0o640, 0o600]


def test_a_folder_in_use_is_said_or_waited_for(tmp_path, caplog):
    with locked(tmp_path):
        with pytest.raises(Busy, match=f"{tmp_path}: another process is at work in it"), locked(tmp_path):
            pass
        entered = threading.Event()

        def wait() -> None:
            with locked(tmp_path, wait=True):
                entered.set()

        thread = threading.Thread(target=wait)
        thread.start()
        while not caplog.records:
            time.sleep(0.01)
        assert not entered.is_set()
    thread.join()
    assert entered.is_set() and "another process is at work in it; waiting" in caplog.text


@pytest.mark.parametrize("code", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
@pytest.mark.parametrize("wait", [False, True])
def test_a_file_system_without_locks_is_named(tmp_path, monkeypatch, code, wait):
    def refuse(file, operation):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(files.fcntl, "flock", refuse)
    with (
        pytest.raises(InputError, match=f"{tmp_path}.*cannot be locked: {os.strerror(code)}") as found,
        locked(tmp_path, wait),
    ):
        pass
    assert not isinstance(found.value, Busy) and "at work" not in str(found.value)
    assert "nolock" in str(found.value) or "local" in str(found.value)
    write_atomically(tmp_path / "file", "content")  # needs no lock where nobody can take one
    assert (tmp_path / "file").read_text() == "content"


def test_a_lock_that_was_interrupted_for_another_reason_is_not_another_process(tmp_path, monkeypatch):
    def refuse(file, operation):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(files.fcntl, "flock", refuse)
    with pytest.raises(InputError, match="cannot be locked: Permission denied"), locked(tmp_path):
        pass


def test_a_lock_goes_with_its_process(tmp_path):
    with locked(tmp_path), (tmp_path / ".lock").open() as file, pytest.raises(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    with locked(tmp_path):
        pass


def test_a_new_folder_is_whole_or_not_there(tmp_path):
    path = tmp_path / "below" / "new"
    with new_folder(path) as place:
        (place / "a").write_text("1")
        assert not path.exists() and place.parent == path.parent
    assert (path / "a").read_text() == "1" and [p.name for p in path.parent.iterdir() if p.is_dir()] == ["new"]

    other = tmp_path / "below" / "other"
    with pytest.raises(RuntimeError), new_folder(other) as place:
        (place / "a").write_text("1")
        raise RuntimeError
    left = other.with_name(".other.partial")  # as a killed writer leaves it
    (left / "deep").mkdir(parents=True)
    with new_folder(other) as place:
        assert list(place.iterdir()) == []
    assert other.is_dir() and not left.exists()
    with new_folder(other) as place:  # an empty one gives way
        (place / "b").touch()
    assert [p.name for p in other.iterdir()] == ["b"]


def test_a_new_folder_takes_no_other_s_place(tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "theirs").touch()
    (tmp_path / "file").write_text("theirs")
    for name in ("full", "file", "file/below"):
        with pytest.raises(InputError, match=f"{name.split('/')[0]}.*: cannot be written"), new_folder(tmp_path / name):
            pass
    assert sorted(p.name for p in tmp_path.iterdir() if p.name != ".lock") == ["file", "full"]
    assert (tmp_path / "full" / "theirs").is_file() and (tmp_path / "file").read_text() == "theirs"
