"""What a child process gets from its parent: the data loader's workers, in programs of their own."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

TESTS = Path(__file__).parent
LOADS = f"""
    import os, subprocess, sys
    sys.path[:0] = [{str(TESTS)!r}, {str(TESTS / "gallery")!r}]
    from pathlib import Path
    import numpy as np
    from reid.data.dataset import ImageDataset, batches, training_draws
    from reid.data.transforms import training_transform
    def dataset(jitter=0.0):
        transform = training_transform(32, 16, jitter=jitter)
        return ImageDataset(sorted(Path(sys.argv[1]).glob("*.png")), transform.fit, transform.augment)

    images = dataset()
    draws = training_draws([[0, 1], [2, 3], [4, 5], [6, 7]] * 10, seed=3, epoch=1)

    def load(workers):
        return [batch.images.numpy() for batch in batches(images, draws, workers)]

    def children(pid):
        return [int(child) for child in Path(f"/proc/{{pid}}/task/{{pid}}/children").read_text().split()]

    def server():  # which is the parent of the workers
        [own] = [pid for pid in children(os.getpid()) if b"forkserver" in Path(f"/proc/{{pid}}/cmdline").read_bytes()]
        return own
"""


@pytest.fixture
def folder(tmp_path) -> Path:
    rng = np.random.default_rng(0)
    for number in range(8):
        Image.fromarray(rng.integers(0, 256, (40, 20, 3), dtype=np.uint8)).save(tmp_path / f"{number}.png")
    return tmp_path


def program(body: str) -> str:
    return textwrap.dedent(LOADS) + textwrap.dedent(body)


def run(body: str, folder: Path) -> str:
    """What a program on standard input prints: a script that no child can import."""
    done = subprocess.run(
        [sys.executable, "-", str(folder)], input=program(body), capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_threads_of_other_libraries_do_not_reach_the_workers(folder):
    """Forked from such a process a worker broke off, or waited for ever, in its first call of OpenCV."""
    pytest.importorskip("openvino", reason="openvino is not installed (pip install -e '.[dev]')")
    printed = run(
        """
        import cv2, openvino
        from drawn_video import write_video
        from tiny_onnx import mean_colours

        images = dataset(jitter=0.3)
        alone = load(0)
        before = len(os.listdir("/proc/self/task"))
        cv2.setNumThreads(4)
        picture = np.random.default_rng(0).integers(0, 256, (1500, 1500, 3), dtype=np.uint8)
        for _ in range(3):
            cv2.GaussianBlur(picture, (31, 31), 0)
        network = openvino.compile_model(str(mean_colours(Path(sys.argv[1], "net.onnx"), np.eye(3))), "CPU")
        assert network(np.ones((4, 3, 4, 2), np.float32))[0].shape == (4, 3, 1, 1)
        video = cv2.VideoCapture(str(write_video(Path(sys.argv[1], "film.avi"), lambda _: [], 20)))
        assert all(video.read()[0] for _ in range(20))
        assert len(os.listdir("/proc/self/task")) >= before + 3  # the threads are there
        for _ in range(3):  # it was a matter of luck
            for one, other in zip(load(2), alone, strict=True):
                assert np.array_equal(one, other)
        print("same")
        """,
        folder,
    )
    assert printed == "same\n"


def test_the_server_is_one_thread_that_is_started_once(folder):
    printed = run(
        """
        environment = dict(os.environ)
        loaded = batches(images, draws, 2)
        next(loaded)
        first = server()
        workers = children(first)
        threads = [line for line in Path(f"/proc/{first}/status").read_text().splitlines() if "Threads" in line]
        for _ in range(3):
            assert len(load(1)) == 40 and server() == first
        print(len(workers), *threads, os.environ == environment)
        """,
        folder,
    )
    assert printed == "2 Threads:\t1 True\n"


def test_loaders_may_start_in_several_threads(folder):
    printed = run(
        """
        from concurrent.futures import ThreadPoolExecutor
        script = sys.modules["__main__"]
        with ThreadPoolExecutor(4) as pool:
            print([len(found) for found in pool.map(load, [1] * 4)], sys.modules["__main__"] is script)
        """,
        folder,
    )
    assert printed == "[40, 40, 40, 40] True\n"


def test_a_script_without_a_guard_runs_once(folder):
    script = folder / "script.py"
    script.write_text(program("print('begun'); print(len(load(2)))"))
    done = subprocess.run([sys.executable, str(script), str(folder)], capture_output=True, text=True, timeout=200)
    assert (done.returncode, done.stdout, done.stderr) == (0, "begun\n40\n", "")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_for_a_whole_job_leave_the_workers_at_work(folder, number):
    printed = run(
        f"""
        loaded = batches(images, draws, 2)
        got = [next(loaded)]
        subprocess.run(["kill", "-{int(number)}", *map(str, (server(), *children(server())))], check=True)
        got += list(loaded)
        assert all(np.array_equal(one.images, other) for one, other in zip(got, load(0), strict=True))
        assert len(load(2)) == 40
        print("all")
        """,
        folder,
    )
    assert printed == "all\n"


def test_a_killed_worker_is_said(folder):
    printed = run(
        """
        from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter
        from reid.errors import InputError
        _MultiProcessingDataLoaderIter._try_get_data.__defaults__ = (0.1,)  # seconds in which it looks, of itself 5
        draws *= 100
        loaded = batches(images, draws, 1)
        next(loaded)
        os.kill(*children(server()), 9)
        try:
            print(len(list(loaded)))
        except InputError as error:
            print(error)
        """,
        folder,
    )
    assert printed.startswith("data.workers: a worker process ended") and printed.endswith("Try fewer, or 0\n")


@pytest.mark.parametrize("how", ["kill", "error", "exit"])
def test_no_process_is_left(folder, how):
    """However the parent ends, even while a worker is busy."""
    ends = {"kill": "os.kill(os.getpid(), 9)", "error": "raise ZeroDivisionError", "exit": "sys.exit(0)"}
    code = f"""
        loaded = batches(images, draws * 100, 2)
        next(loaded)
        print(server(), *children(server()), flush=True)
        {ends[how]}
        """
    done = subprocess.run(
        [sys.executable, "-", str(folder)], input=program(code), capture_output=True, text=True, timeout=100
    )
    assert done.returncode == {"kill": -signal.SIGKILL, "error": 1, "exit": 0}[how], done.stderr
    pids = [int(pid) for pid in done.stdout.split()]
    assert len(pids) == 3
    deadline = time.monotonic() + 20
    while any(runs(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(runs(pid) for pid in pids)


def runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
