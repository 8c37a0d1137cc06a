"""Work spread over a Ray cluster of two nodes on this machine, of which one is killed."""

import os
import sys
import tempfile
import threading
import time
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import ROOT, tiny_overrides
from fakes import paint
from safetensors.numpy import load_file
from tiny_onnx import describe, mean_colours

from reid.cli import main
from reid.commands import on_ray
from reid.commands.on_ray import _run, run_commands_on
from reid.engine.checkpoint import FILE
from reid.errors import InputError
from reid.evaluation.entries import Failure, Run
from reid.evaluation.parts import Report, report_file
from reid.evaluation.tasks import Task
from reid.files import locked
from reid.gallery.store import Gallery
from reid.networks.features_file import read_features_file

NODE = {  # about the least that Ray takes, without the processes that watch over it
    "num_cpus": 1, "object_store_memory": 80 * 2**20, "include_dashboard": False, "include_log_monitor": False,
    "no_monitor": True,
}  # fmt: skip
GARBAGE = b"no picture"


@pytest.fixture(scope="module")
def cluster():
    """One node; each test adds a second. Loopback addresses alone: 127.0.0.1 Ray would take for the machine's own."""
    pytest.importorskip("ray", reason="ray is not installed (pip install -e '.[dev]')")
    from ray.cluster_utils import Cluster

    short = tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True)  # sockets lie in it
    with pytest.MonkeyPatch.context() as patch, short as folder:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_TMPDIR", folder)
        patch.setenv("PYTHONPATH", str(ROOT))
        nodes = Cluster(initialize_head=True, head_node_args={**NODE, "node_ip_address": "127.0.0.2"})
        try:
            yield nodes
        finally:
            nodes.shutdown()


class Gate:
    """A file that holds up whoever opens it until it is opened here: a named pipe, later ``content``."""

    def __init__(self, path: Path, content: bytes) -> None:
        self.path, self.content, self.pipe = path, content, path.with_name(f"{path.name}.pipe")
        self.end: int | None = None
        os.mkfifo(path)
        os.link(path, self.pipe)

    def reached(self) -> bool:
        """Whether somebody waits at it."""
        with suppress(OSError):  # nobody reads it
            self.end = self.end or os.open(self.pipe, os.O_WRONLY | os.O_NONBLOCK)
        return self.end is not None

    def open(self) -> None:
        """To the next ones it is a file, and those who wait read its content."""
        later = self.path.with_name(f"{self.path.name}.later")
        later.write_bytes(self.content)
        later.replace(self.path)
        if self.end is not None:
            with suppress(BrokenPipeError):
                os.write(self.end, self.content)
            os.close(self.end)


@contextmanager
def a_node_killed_when(cluster, reached, then=lambda: None):
    """The second node is killed when all of ``reached`` say so, and ``then`` is called."""
    second = cluster.add_node(**NODE, node_ip_address="127.0.0.3")
    in_time = []

    def kill():
        end = time.monotonic() + 120
        while not all(one() for one in reached) and time.monotonic() < end:
            time.sleep(0.01)
        in_time.append(time.monotonic() < end)
        cluster.remove_node(second, allow_graceful=False)
        then()

    thread = threading.Thread(target=kill)
    thread.start()
    yield
    thread.join()
    assert in_time == [True]


@pytest.fixture
def network(tmp_path):
    path = mean_colours(tmp_path / "tiny.onnx", np.eye(3))
    return describe(path, output="flat")


def paths_shard(folder, name, images):
    pq.write_table(pa.table({"path": [str(image) for image in images]}), folder / f"{name}.parquet")


def test_shards_are_complete_and_equal_though_a_node_is_killed(cluster, network, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    shards = tmp_path / "shards"
    shards.mkdir()
    waits = [tmp_path / f"wait{place}.png" for place in range(2)]
    for place in range(6):
        images = [paint(tmp_path / f"{place}_{one}.png", (40 * place, 10, 60 * one), (4, 8)) for one in range(3)]
        paths_shard(shards, place, [*images, *waits[place - 2 : place - 1]] if place in (2, 3) else images)
    embed = ["embed", "--model", network.name, "shards", "--shards"]
    for wait in waits:
        wait.write_bytes(GARBAGE)
    assert main([*embed, "alone"]) == 2
    alone = capsys.readouterr()
    for wait in waits:
        wait.unlink()
    gates = [Gate(wait, GARBAGE) for wait in waits]
    with a_node_killed_when(cluster, [gate.reached for gate in gates], lambda: [gate.open() for gate in gates]):
        assert main([*embed, "spread", "--ray", cluster.address]) == 2
    spread = capsys.readouterr()
    assert "18 features of 6 shards" in alone.out and "18 features of 6 shards" in spread.out
    assert "images left out: 2; all others are in the files:" in spread.err
    files = sorted(Path("alone").iterdir())
    assert [file.name for file in files] == sorted(file.name for file in Path("spread").iterdir())
    for file in files:
        a, b = read_features_file(file), read_features_file(Path("spread") / file.name)
        np.testing.assert_array_equal(a.features.features, b.features.features)
        assert a.features.paths == b.features.paths and a.thumbnails == b.thumbnails and a.origin == b.origin
    assert main([*embed, "spread"]) == 2
    assert "18 features of 6 shards, 6 shards done before" in capsys.readouterr().out
    assert main(["search", "add", "--features", "spread", "--camera", "door", "--store", "g"]) == 0
    with Gallery.open("g") as store:
        assert len(store) == 18


def test_a_grid_is_complete_and_equal_though_a_node_is_killed(cluster, market, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("small.yaml").write_text(
        "models: {BN: market_bn.yaml}\nsources: [market1501]\ntargets: [market1501]\nseeds: [0, 1]\n"
    )
    small = [override for override in tiny_overrides(market) if "epochs" not in override]
    ask = ["cross-domain", "--benchmark", "small.yaml", *small, "model.width=0.0625", "optim.steps=2", "--output"]
    for step in (["--part", "1/2"], ["--part", "2/2"], ["--collect"]):
        assert main([*ask, "alone", "output=alone_runs", *step]) == 0
    names = sorted(path.name for path in Path("alone_runs").iterdir())
    logs = [Path("spread/logs") / f"{name}.log" for name in names]
    waits = [lambda log=log: log.exists() and "waiting for it to end" in log.read_text() for log in logs]
    with ExitStack() as held:
        for name in names:
            held.enter_context(locked(Path("runs") / name))
        with a_node_killed_when(cluster, waits, held.close):
            assert main([*ask, "spread", "--ray", cluster.address]) == 0
    assert "2 runs to train\n" in capsys.readouterr().out  # how long that takes other machines is not known
    assert len(names) == 2 and max(log.read_text().count("part ") for log in logs) > 1  # one was begun again
    alone, spread = (pd.read_csv(Path(folder) / "results.csv") for folder in ("alone", "spread"))
    assert len(spread) == 2
    other = ["run", "checkpoint"]  # a folder's name, and a digest of a file that tells how many seconds it took
    pd.testing.assert_frame_equal(alone.drop(columns=other), spread.drop(columns=other))
    for folder in alone["run"]:
        a, b = (load_file(Path(root) / Path(folder).name / FILE) for root in ("alone_runs", "runs"))
        assert a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


def test_a_task_s_log_holds_what_it_said_and_its_last_line_tells_why_it_failed(tmp_path):
    log = tmp_path / "logs" / "a.log"
    for times in (1, 2):
        code, said = _run(["score", "--query", "a.npz", "--gallery", "b.npz"], str(tmp_path), log)
        assert code == 2 and said.startswith("error: a.npz: ") and log.read_text().splitlines() == [said] * times


def test_what_fails_on_a_cluster_is_told_as_it_is_here(tiny_config, tmp_path, monkeypatch):
    run = Run("BN", False, tiny_config, False, ("market1501",), False)
    tasks = [Task(number, f"r{number}", (run,), (("market1501",),), 2, 1) for number in (1, 2, 3)]
    told = Failure(tiny_config.run_folder, "BN", "market1501", "a damaged image")
    Report(0.5, (told,)).write(report_file(tmp_path, "r1"))
    ends = [(2, (1, "ZeroDivisionError")), (0, (2, "error: 1 of 1 run failed")), (1, (0, "written"))]
    monkeypatch.setattr(on_ray, "run_commands_on", lambda *_: iter(ends))
    bug, failure = on_ray.work_on("a:1", tasks, lambda task: [task.name], tmp_path)
    assert failure == told and bug.bug and bug.problem.startswith("ZeroDivisionError (exit code 1, ")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--output", "f.npz", "--ray", "x:1"], "--ray ADDRESS goes with --shards DIR"),
        (["--shards", "out", "--split", "query"], "--split NAME goes with data sets"),
        (["--shards", "out", "--ray", "nonsense"], "--ray nonsense: no Ray cluster answers there"),
        (["--shards", "out", "--ray", "127.0.0.1:1"], "--ray 127.0.0.1:1: no Ray cluster answers there"),
    ],
)
def test_bad_input_is_named(network, tmp_path, monkeypatch, capsys, options, message):
    monkeypatch.chdir(tmp_path)
    paths_shard(tmp_path, "s", [paint(tmp_path / "a.png", "red")])
    assert main(["embed", "--model", network.name, "s.parquet", *options]) == 2
    assert message in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_without_ray_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InputError, match=r"--ray: Ray is not installed: pip install 'reid-gap\[ray\]'"):
        list(run_commands_on("auto", [(["train"], tmp_path / "log")], gpu=False))
