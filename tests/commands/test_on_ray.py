"""Work spread over a Ray cluster of two nodes on this machine, of which one is killed."""

import os
import shutil
import sys
import tempfile
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import ROOT
from fakes import paint
from tiny_onnx import describe, mean_colours

from reid.cli import main
from reid.commands.on_ray import run_commands_on
from reid.errors import InputError
from reid.gallery.location import open_store
from reid.networks.features_file import read_features_file

NODE = {"num_cpus": 1, "object_store_memory": 80 * 2**20}  # about the least that Ray takes
GARBAGE = b"neither a picture nor features"


@pytest.fixture(scope="module")
def cluster():
    """One node; each test adds a second. Loopback addresses alone: 127.0.0.1 Ray would take for the machine's own."""
    pytest.importorskip("ray", reason="ray is not installed (pip install -e '.[dev]')")
    from ray.cluster_utils import Cluster

    folder = tempfile.mkdtemp(prefix="ray")  # a short name: sockets lie in it
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("PYTHONPATH", str(ROOT))
        head = {**NODE, "include_dashboard": False, "node_ip_address": "127.0.0.2", "temp_dir": folder}
        nodes = Cluster(initialize_head=True, head_node_args=head)
        try:
            yield nodes
        finally:
            nodes.shutdown()
            shutil.rmtree(folder, ignore_errors=True)


class Gate:
    """A file that holds up whoever opens it until it is opened here: a named pipe, later ``content``."""

    def __init__(self, path: Path, content: bytes) -> None:
        self.path, self.content, self.pipe = path, content, path.with_name(f"{path.name}.pipe")
        os.mkfifo(path)
        os.link(path, self.pipe)

    def waited_for(self) -> bool:
        try:
            self.end = os.open(self.pipe, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:  # nobody reads it
            return False
        return True

    def open(self) -> None:
        """To the next ones it is a file, and those who wait read its content."""
        later = self.path.with_name(f"{self.path.name}.later")
        later.write_bytes(self.content)
        later.replace(self.path)
        with suppress(AttributeError, BrokenPipeError):
            os.write(self.end, self.content)
            os.close(self.end)


@contextmanager
def a_node_killed_when(cluster, gates):
    """The second node is killed when somebody waits at each gate; then the gates open."""
    second = cluster.add_node(**NODE, node_ip_address="127.0.0.3")
    problems = []

    def kill():
        end = time.monotonic() + 120
        missing = list(gates)
        while missing and time.monotonic() < end:
            missing = [gate for gate in missing if not gate.waited_for()]
            time.sleep(0.01)
        problems.extend(f"nobody came to {gate.path}" for gate in missing)
        cluster.remove_node(second, allow_graceful=False)
        for gate in gates:
            gate.open()

    thread = threading.Thread(target=kill)
    thread.start()
    yield
    thread.join()
    assert not problems


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
    with a_node_killed_when(cluster, [Gate(wait, GARBAGE) for wait in waits]):
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
    with open_store("g") as store:
        assert len(store) == 18


def test_commands_end_once_each_though_a_node_is_killed(cluster, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    gates = [Gate(tmp_path / f"wait{place}.npz", GARBAGE) for place in range(2)]
    commands = [["score", "--query", gate.path.name, "--gallery", "none.npz"] for gate in gates] + [["train", "--no"]]
    with a_node_killed_when(cluster, gates):
        results = {place: (code, said) for place, code, said in run_commands_on(cluster.address, commands, gpu=True)}
    assert [results[place][0] for place in range(3)] == [2, 2, 2]
    assert all(f"wait{place}.npz: not a readable .npz file" in results[place][1] for place in range(2))
    assert "unrecognized arguments: --no" in results[2][1] or "required: --cfg" in results[2][1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--output", "f.npz", "--ray", "x:1"], "--ray ADDRESS goes with --shards DIR"),
        (["--shards", "out", "--split", "query"], "--split NAME goes with data sets"),
        (["--shards", "out", "--ray", "nonsense"], "--ray nonsense: no Ray cluster answers there"),
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
        list(run_commands_on("auto", [["train"]], gpu=False))
