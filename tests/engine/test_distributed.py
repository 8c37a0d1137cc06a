"""Two processes, connected by gloo, against one. Each start costs seconds, so there are two: one for everything up to a
kill, and one that goes on by the command line and ends at an image that cannot be read."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import together
import torch
from conftest import ROOT
from runs import evaluate_run
from safetensors.torch import load_file
from together import PEOPLE, config_of, parts_of
from trees import PLACE, duke_tree, market_tree

from reid.config import load_resolved
from reid.engine.checkpoint import FILE, LOG_FILE, VALIDATION_FILE, read_progress
from reid.engine.distributed import joined
from reid.engine.train import train
from reid.errors import InputError
from reid.evaluation.results import read_results
from reid.models.backbone import TrainOutput

PATIENCE = 30  # seconds in which all must have ended


def torchrun(folder: Path, *command: object) -> subprocess.Popen[str]:
    """Two processes of a command, at work in ``folder``."""
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    return subprocess.Popen(
        [*start, *map(str, command)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """A small tree, and another one whose last gallery image is cut off."""
    root = tmp_path_factory.mktemp("data")
    market_tree(root / PLACE, identities=6, cameras=2, images=4, size=(64, 32))
    bad = sorted((duke_tree(root) / "bounding_box_test").glob("0*.jpg"))[-1]
    bad.write_bytes(bad.read_bytes()[:-40])
    return root


@pytest.fixture(scope="module")
def folder(tmp_path_factory, data) -> Path:
    """Where two processes did all of tests/together.py, and ended together when one was killed."""
    folder = tmp_path_factory.mktemp("together")
    process = torchrun(folder, ROOT / "tests/together.py", folder, data)
    while not (folder / "dying").exists():
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.05)
    said, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1 and "error: process 0 of 2: another one ended" in said
    return folder


def arithmetic(folder: Path) -> tuple[dict, dict]:
    first, second = (torch.load(folder / f"arithmetic_{rank}.pt", weights_only=True) for rank in (0, 1))
    return first, second


@pytest.mark.parametrize(("size", "names"), [("2", "MASTER_ADDR, $MASTER_PORT"), ("0", "RANK, $MASTER_ADDR, $M")])
def test_a_number_of_processes_that_torchrun_did_not_set_is_refused(monkeypatch, size, names):
    """As a scheduler may leave it in the environment."""
    for name in ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WORLD_SIZE", size)
    if size == "2":
        monkeypatch.setenv("RANK", "0")
    with pytest.raises(InputError, match=re.escape(f"$WORLD_SIZE: {size}, but ${names}")), joined(torch.device("cpu")):
        raise AssertionError("joined nobody")


def test_gathered_gradients_are_those_of_one_process_with_the_whole_batch(folder, data):
    """Each half goes through the network by itself, since batch statistics are each process's own."""
    state = together.state_of(together.gathered(data))
    halves = [state.network(part.images) for part in parts_of(0, 2)]
    labels = torch.arange(PEOPLE).repeat_interleave(together.IMAGES)
    rows = (torch.cat(both) for both in list(zip(*halves, strict=True))[:3])
    total, _ = state.objective(TrainOutput(*rows, halves[0].classes), labels, torch.zeros_like(labels))
    total.backward()
    wanted = together.gradients_of(state)
    for process in arithmetic(folder):
        assert process["gradients"].keys() == wanted.keys() and len(wanted) > 50
        for name, gradient in process["gradients"].items():
            torch.testing.assert_close(gradient, wanted[name], rtol=1e-5, atol=1e-10)


def test_twenty_steps_three_of_them_frozen_give_the_weights_of_one_process_that_takes_the_parts_in_turn(folder, data):
    weights, shown = together.after_steps(together.plain(data), steps=20, count=2, frozen=3)
    for process in arithmetic(folder):
        for name, value in process["plain"][0].items():
            torch.testing.assert_close(value, weights[name], rtol=1e-5, atol=1e-9)
        torch.testing.assert_close(process["plain"][1], shown)


def test_parts_an_average_clipping_and_unused_weights_go_together(folder, data):
    weights, _ = together.after_steps(together.many_parts(data), steps=6, count=4)
    assert any(name.startswith("average.") for name in weights)
    for process in arithmetic(folder):
        for name, value in process["many parts"][0].items():
            torch.testing.assert_close(value, weights[name], rtol=1e-5, atol=1e-9)


def test_the_processes_have_the_same_weights_bit_for_bit(folder):
    first, second = arithmetic(folder)
    for kind in ("plain", "many parts"):
        assert all(torch.equal(value, second[kind][0][name]) for name, value in first[kind][0].items())


def tensors_equal(a: Path, b: Path) -> bool:
    first, second = load_file(a / FILE), load_file(b / FILE)
    assert first.keys() == second.keys() and len(first) > 100
    return all(torch.equal(first[name], second[name]) for name in first)


def test_sigterm_to_any_leaves_a_checkpoint_that_goes_on_bit_for_bit(folder):
    assert [json.loads((folder / f"code_{rank}.json").read_text()) for rank in (0, 1)] == [143, 143]
    assert 5 < read_progress(folder / "runs/left" / FILE).step < read_progress(folder / "runs/stopped" / FILE).step
    assert tensors_equal(folder / "runs/stopped", folder / "runs/whole")


def test_another_number_of_processes_is_refused_on_resuming(folder, data, monkeypatch):
    monkeypatch.chdir(folder)
    with pytest.raises(InputError, match=r"left/checkpoint.safetensors: cannot be resumed: world_size was 2, is 1 \(a"):
        train(config_of(data, "left"), progress=False)


def test_one_process_writes_and_validates_once(folder):
    whole = folder / "runs/whole"
    total = read_progress(whole / FILE).total_steps
    assert [json.loads(line)["step"] for line in (whole / LOG_FILE).read_text().splitlines()] == [*range(1, total + 1)]
    assert [json.loads(line)["epoch"] for line in (whole / VALIDATION_FILE).read_text().splitlines()] == [1, 2, 3, 4]
    assert read_progress(whole / FILE).world_size == 2


def test_after_a_kill_the_same_command_goes_on_and_tests_as_one_process_until_a_bad_image(folder, data):
    run, whole = folder / "runs/killed", folder / "runs/whole"
    assert 0 < read_progress(run / FILE).step < read_progress(whole / FILE).step
    command = [ROOT / "tools/train.py", "--cfg", "market_bn.yaml", *together.overrides_of(data, "killed")]
    process = torchrun(folder, *command, "targets=[dukemtmc]")
    said, _ = process.communicate()
    assert process.returncode == 1 and "Traceback" not in said.split("torch/distributed/elastic")[0]
    assert re.search(r"exitcode +: 2 ", said)
    assert re.search(r"^error: .*DukeMTMC-reID/bounding_box_test/0007_c5_f0046183.jpg: ", said, re.MULTILINE)
    assert tensors_equal(run, whole)

    results = read_results(run)
    described = {key: results["run"][key] for key in ("world_size", "batch", "accumulate", "gather", "sync_batchnorm")}
    assert described == {"world_size": 2, "batch": 8, "accumulate": 1, "gather": [], "sync_batchnorm": False}
    assert results["run"]["training_device"] == "2 x cpu" and list(results["targets"]) == ["market1501"]
    features = {split: np.load(run / f"targets/market1501/{split}.npz")["features"] for split in ("query", "gallery")}
    shutil.rmtree(run / "targets")
    alone = evaluate_run(load_resolved(run / "config.yaml"), run, ["market1501"])["targets"]["market1501"]
    for split, rows in features.items():
        assert np.array_equal(rows, np.load(run / f"targets/market1501/{split}.npz")["features"])
    assert all(alone[key] == results["targets"]["market1501"][key] for key in ("mAP", "mINP", "cmc", "num_gallery"))
