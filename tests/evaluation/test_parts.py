"""A grid in parts, as commands that any machine may do: --list, --part, --collect, and a Slurm array."""

import json
import os
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
from conftest import ROOT, tiny_overrides
from trees import folder_tree

from reid.cli import main
from reid.engine.checkpoint import FILE, read_progress
from reid.files import locked

SCRIPT = ROOT / "examples" / "slurm.sbatch"


@pytest.fixture
def grid(tmp_path, market, monkeypatch) -> list[str]:
    """The words that ask for a grid of two runs of two steps."""
    monkeypatch.chdir(tmp_path)
    other = folder_tree(tmp_path / "people", names=("ann", "bob", "eve", "joe"))
    Path("grid.yaml").write_text(
        "models: {BN: market_bn.yaml, IBN-b: market_ibn_b.yaml}\nsources: [market1501]\n"
        f"targets: [market1501, {other}]\nseeds: [0]\n"
    )
    small = [o for o in tiny_overrides(market) if "backbone" not in o and "epochs" not in o]
    settings = [*small, "model.width=0.0625", "optim.steps=2", "sampler.identities=2"]
    return ["--benchmark", "grid.yaml", "--output", "my tables", *settings]


def run(capsys, *words: str) -> tuple[int, str, str]:
    code = main(["cross-domain", *words])
    return code, *capsys.readouterr()


def test_a_grid_in_parts(grid, capsys):
    code, listed, told = run(capsys, *grid, "--list")
    assert code == 0 and "grid: 2 runs; 2 parts, 2 missing" in told and not Path("runs").exists()
    commands = [shlex.split(line) for line in listed.splitlines()]
    assert commands == [["reid", "cross-domain", *grid, "--part", f"{number}/2"] for number in (1, 2)]
    with locked(Path("my tables")):  # as by another machine, which collects
        assert main(commands[1][1:]) == 0
    assert "grid: 2 runs, part 2 of 2: 1 run, 2 cells; missing: 2 cells, 1 run to train" in capsys.readouterr().out
    assert not list(Path("my tables").glob("*.csv"))

    code, out, told = run(capsys, *grid, "--collect")
    assert code == 2 and "1 of 2 runs not complete" in told and out.startswith("written: ")
    assert "BN of market1501, seed 0 (runs/" in told and "not done yet" in told and "IBN-b" not in told
    assert list(pd.read_csv("my tables/results.csv")["model"]) == ["IBN-b"] * 2
    missing = json.loads(Path("my tables/benchmark.json").read_text())["missing"]
    assert [(cell["model"], cell["target"], cell["reason"]) for cell in missing] == [
        ("BN", "market1501", "not done yet"), ("BN", "people", "not done yet"),
    ]  # fmt: skip

    image = next(Path("people/gallery").rglob("*.jpg"))
    content = image.read_bytes()
    image.write_bytes(b"\xff" * len(content))
    code, _, told = run(capsys, *grid, "--part", "1/2")
    assert code == 2 and "1 of 1 run failed" in told and "not a readable image" in told and "Traceback" not in told
    assert run(capsys, *grid, "--collect")[0] == 2
    missing = json.loads(Path("my tables/benchmark.json").read_text())["missing"]
    reasons = {(cell["model"], cell["target"]): cell["reason"] for cell in missing}
    assert reasons.keys() == {("BN", "people"), ("IBN-b", "people")}  # the file changed
    assert "not a readable image" in reasons["BN", "people"] and reasons["IBN-b", "people"] == "not done yet"

    image.write_bytes(content)
    assert run(capsys, *grid, "--part", "1/2")[0] == run(capsys, *grid, "--part", "2/2")[0] == 0
    assert "2 parts, 0 missing" in run(capsys, *grid, "--list")[2]
    assert run(capsys, *grid, "--part", "3/3")[0] == 0  # more machines than folders: nothing to do
    assert run(capsys, *grid, "--collect")[0] == 0
    names = ("results.csv", "queries.parquet", "divergence.csv", "benchmark.json")
    collected = [Path("my tables", name).read_bytes() for name in names]
    assert run(capsys, *grid)[0] == 0 and [Path("my tables", name).read_bytes() for name in names] == collected

    results = next(Path("runs").glob("market_ibn_b*/results.json"))
    told = json.loads(results.read_text())
    told["targets"]["people"] |= {"device": "NVIDIA A100", "inputs": "of another kind of device"}
    results.write_text(json.dumps(told))
    code, _, told = run(capsys, *grid, "--collect")
    assert code == 2 and "people (runs/market_ibn_b" in told and "not done yet" not in told
    assert "): tested on NVIDIA A100, which does not count on a machine that computes on cpu" in told


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "1/0", "-1/2", "1/2/3", "one/two", "1/99999999"])
def test_what_is_no_part_is_refused(grid, text, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["cross-domain", *grid, f"--part={text}"])
    assert ended.value.code == 2 and f"'{text}' is not I/N" in capsys.readouterr().err


def test_parts_are_of_grids_and_configs(grid, capsys):
    for option in ("--list", "--collect", "--part=1/2"):
        code, _, told = run(capsys, "--models", "x.onnx", "--targets", "market1501", option)
        assert code == 2 and f"{option.partition('=')[0]} goes with --benchmark or --cfgs" in told
    words = ["--cfgs", "market_bn.yaml", "market_ibn_b.yaml", "--targets", "./people", *grid[4:]]
    code, listed, told = run(capsys, *words, "--list")
    assert code == 0 and "2 runs; 2 parts, 2 missing" in told
    assert shlex.split(listed.splitlines()[1]) == ["reid", "cross-domain", *words, "--part", "2/2"]
    code, out, told = run(capsys, *words, "--collect")
    assert code == 2 and "2 of 2 runs not complete" in told and not out


def test_two_configs_of_one_folder_are_no_two_rows(grid, capsys):
    """A run's folder is named by its config's: the figures of the one trained there would stand in both rows."""
    for name, text in (("a", ""), ("b", "model: {backbone: resnet18}\n")):
        Path(name).mkdir()
        Path(name, "net.yaml").write_text(f"extends: market_bn.yaml\n{text}")
    code, out, told = run(capsys, "--cfgs", "a/net.yaml", "b/net.yaml", "--targets", "market1501", *grid[4:])
    assert code == 2 and not out and not Path("runs").exists()
    assert "--cfgs: a/net.yaml and b/net.yaml are the same run, runs/net_seed0" in told


@pytest.fixture
def cluster(tmp_path, monkeypatch) -> Path:
    """Commands `sbatch`, which starts a task of an array as Slurm would, and `scontrol`, which notes what it was told;
    their folder is the first on the path."""
    place = tmp_path / "bin"
    place.mkdir()
    (place / "sbatch").write_text('#!/bin/sh\nexec bash "$@"\n')
    (place / "scontrol").write_text(f'#!/bin/sh\necho "$@" >> {place}/told\n')
    for command in place.iterdir():
        command.chmod(0o755)
    for name, value in {"PATH": f"{place}:{os.environ['PATH']}", "PYTHON": sys.executable}.items():
        monkeypatch.setenv(name, value)
    for name, value in {"ARRAY_JOB_ID": "7", "ARRAY_TASK_ID": "2", "ARRAY_TASK_COUNT": "2"}.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    return place


def test_a_slurm_array_stops_with_a_checkpoint_and_goes_on(grid, cluster, tmp_path, caplog):
    """The signal that Slurm sends before the time is up reaches the script alone."""
    asked = dict(re.findall(r"^#SBATCH --([a-z-]+)=?(\S*)$", SCRIPT.read_text(), re.MULTILINE))
    assert asked["signal"] == "B:TERM@120" and "requeue" in asked and re.fullmatch(r"1-\d+", asked["array"])
    caplog.set_level("INFO")
    (tmp_path / "tools").symlink_to(ROOT / "tools")  # as from the checkout
    command = ["sbatch", str(SCRIPT), *grid, "optim.steps=200"]
    with Path("first.log").open("wb") as log:
        task = subprocess.Popen(command, stdout=log, stderr=log)
    while not [path for path in Path("runs").glob("*/log.jsonl") if path.stat().st_size > 1000]:
        assert task.poll() is None, Path("first.log").read_text()
        time.sleep(0.02)
    task.terminate()
    told = task.wait(), Path("first.log").read_text()
    assert told[0] == 143 and "stopped by SIGTERM; saved" in told[1], told
    [checkpoint] = Path("runs").glob(f"*/{FILE}")
    stopped = read_progress(checkpoint)
    assert 0 < stopped.step < 200 and checkpoint.parent.name.startswith("market_ibn_b")
    assert (cluster / "told").read_text() == "requeue 7_2\n"

    noted = tmp_path / "python"  # in place of a second start of it: what the script asks of it is done here
    noted.write_text('#!/bin/sh\nprintf "%s\\0" "$@" > asked\n')
    noted.chmod(0o755)
    subprocess.run(command, check=True, env={**os.environ, "PYTHON": str(noted)})
    tool, *words = Path("asked").read_text().rstrip("\0").split("\0")
    assert tool == "tools/cross_domain.py" and words == [*grid, "optim.steps=200", "--part", "2/2"]
    assert main(["cross-domain", *words]) == 0
    assert f"going on after step {stopped.step} of 200" in caplog.text and read_progress(checkpoint).finished
    assert json.loads((checkpoint.parent / "results.json").read_text())["targets"].keys() == {"market1501", "people"}
    assert (cluster / "told").read_text() == "requeue 7_2\n"  # once
