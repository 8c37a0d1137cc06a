"""Grids, end to end on a small tree: what is missing, what is written, what a kill leaves."""

import json
import multiprocessing
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT, tiny_overrides
from trees import folder_tree

from reid.config import load_resolved
from reid.engine.checkpoint import FILE, read_progress
from reid.errors import InputError
from reid.evaluation.benchmark import load_benchmark, runs_of, write_benchmark
from reid.evaluation.evaluate import read_results
from reid.evaluation.scheduler import _do, estimate, tasks_of, work

GRID = """
models: {{BN: market_bn.yaml, IBN-b: market_ibn_b.yaml}}
remedies:
  BN, AdaBN: {{cfg: market_bn.yaml, adabn: true}}
sources: [market1501]
targets: [market1501, {other}]
seeds: [0, 1]
"""


def small_grid(folder: Path, market: Path) -> tuple[Path, list[str]]:
    """A grid of two models, two targets, two seeds and a remedy; its overrides: two steps each."""
    path = folder / "small.yaml"
    path.write_text(GRID.format(other=folder_tree(folder / "people", names=("ann", "bob", "eve", "joe"))))
    small = [o for o in tiny_overrides(market) if "backbone" not in o and "epochs" not in o]
    return path, [*small, "model.width=0.0625", "optim.steps=2", "sampler.identities=2"]


@pytest.fixture
def grid(tmp_path, market, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return small_grid(tmp_path, market)


@pytest.fixture(scope="module")
def whole(tmp_path_factory, market):
    """The grid done from nothing: its folder, its overrides, its runs, and what was missing."""
    folder = tmp_path_factory.mktemp("whole")
    path, overrides = small_grid(folder, market)
    overrides.append(f"output={folder / 'runs'}")
    return folder, overrides, *do(path, overrides, folder / "out")


def do(path: Path, overrides: list[str], output: Path, jobs: int = 1):
    name, benchmark = load_benchmark(str(path))
    runs = runs_of(benchmark, overrides)
    tasks = tasks_of(runs)
    work(tasks, jobs, progress=False)
    write_benchmark(name, benchmark, runs, output)
    return runs, tasks


def tables(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_a_grid_from_nothing_to_its_tables_and_from_cache(whole):
    folder, overrides, runs, tasks = whole
    out = folder / "out"
    assert len(runs) == 2 * 2 + 1 and len(tasks) == 4  # the remedy needs no network of its own
    results = pd.read_csv(out / "results.csv")
    assert len(results) == 2 * 2 * 2 and not results.duplicated(["model", "source", "target", "seed"]).any()
    assert (
        set(results["model"]) == {"BN", "IBN-b"} and (results["in_domain"] == (results.source == results.target)).all()
    )
    remedies = pd.read_csv(out / "remedies.csv")
    assert set(remedies["model"]) == {"BN, AdaBN"} and set(remedies["seed"]) == {0} and len(remedies) == 2
    assert not np.allclose(remedies["mAP"], results.query("model == 'BN' and seed == 0")["mAP"])

    for prefix, table in (("", results), ("remedies_", remedies)):
        queries = pd.read_parquet(out / f"{prefix}queries.parquet")
        own = queries.assign(rank1=queries["first_rank"] == 1).groupby(["model", "source", "target", "seed"])
        means = own.agg(mAP=("ap", "mean"), rank1=("rank1", "mean"), mINP=("inp", "mean"), queries=("ap", "size"))
        expected = table.set_index(["model", "source", "target", "seed"]).sort_index()
        pd.testing.assert_frame_equal(means, expected[["mAP", "rank1", "mINP", "queries"]])

    for run in runs:
        stored = read_results(run.config.run_folder)
        assert set(stored["targets"]) >= {"market1501", "people"}
    divergence = pd.read_csv(out / "divergence.csv")
    assert len(divergence) == 2 * (1 + 2) * 4 and set(divergence["by"]) == {"domain", "identity"}
    assert (divergence["mean"] >= 0).all() and set(divergence["seed"]) == {0}
    told = json.loads((out / "benchmark.json").read_text())
    assert told["targets"].keys() == {"market1501", "people"} and told["definitions"]["AP"]

    before = tables(out)
    _, again = do(folder / "small.yaml", overrides, out)
    assert again == [] and tables(out) == before


def test_killed_it_goes_on_and_ends_in_the_same_table(grid, whole):
    path, overrides = grid
    killed = [*overrides, "output=killed"]
    command = [sys.executable, str(ROOT / "tools" / "cross_domain.py"), "--benchmark", str(path), "--jobs", "2"]
    process = subprocess.Popen([*command, "--output", "out", *killed], stderr=subprocess.DEVNULL)
    finished = Path("killed").glob
    deadline = time.monotonic() + 300
    while sum(read_progress(p).finished for p in finished(f"*/{FILE}")) < 2:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = {p: p.stat().st_mtime_ns for p in finished(f"*/{FILE}") if read_progress(p).finished}
    assert 2 <= len(done) < 4 and not Path("out/results.csv").exists()
    time.sleep(1)  # its processes notice within a fifth of a second, and end
    do(path, killed, Path("out"))
    assert {p: p.stat().st_mtime_ns for p in done} == done
    columns = ["model", "source", "target", "seed", "mAP", "rank1", "rank5", "rank10", "mINP", "config_hash", "epoch"]
    one, other = (pd.read_csv(place / "results.csv")[columns] for place in (whole[0] / "out", Path("out")))
    pd.testing.assert_frame_equal(one, other, check_exact=True)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_a_grid_with_checkpoints(grid, number):
    path, overrides = grid
    command = [sys.executable, str(ROOT / "tools" / "cross_domain.py"), "--benchmark", str(path), "--jobs", "2"]
    process = subprocess.Popen([*command, *overrides, "optim.steps=2000"], stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 300
    while len([p for p in Path("runs").glob("*/log.jsonl") if p.stat().st_size > 1000]) < 2:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number and f"stopped by {number.name}" in err and "Traceback" not in err
    assert len([p for p in Path("runs").glob(f"*/{FILE}") if read_progress(p).step > 0]) == 2


def test_what_a_worker_cannot_do_is_said(grid, tmp_path):
    path, overrides = grid
    _, benchmark = load_benchmark(str(path))
    tasks = tasks_of(runs_of(benchmark, overrides))
    image = next((tmp_path / "people" / "train").rglob("*.jpg"))
    content = image.read_bytes()
    image.write_bytes(b"\xff" * len(content))
    with pytest.raises(InputError, match=f"{image.name}.*not a readable image"):
        work(tasks, 1, progress=False)


def test_a_worker_that_is_ended_is_said(grid):
    path, overrides = grid
    tasks = tasks_of(runs_of(load_benchmark(str(path))[1], [*overrides, "optim.steps=5000"]))

    def end_it():
        while not [p for p in Path("runs").glob("*/log.jsonl") if p.stat().st_size > 1000]:
            time.sleep(0.05)
        for process in multiprocessing.active_children():
            process.terminate()

    threading.Thread(target=end_it, daemon=True).start()
    with pytest.raises(InputError, match=r"a process was ended \(exit code 143\)"):
        work(tasks[:1], 1, progress=False)


def test_a_run_records_its_config_as_given(grid):
    """Where one process of several ran it says nothing of the next time."""
    path, overrides = grid
    loose = [override for override in overrides if not override.startswith(("threads", "device"))]
    tasks = tasks_of(runs_of(load_benchmark(str(path))[1], [*loose, "threads=null"]))
    _do(tasks[0], slot=1, jobs=2)
    stored = load_resolved(tasks[0].config.run_folder / "config.yaml")
    assert (stored.device, stored.threads) == ("auto", None)


def test_tables_of_an_earlier_grid_do_not_stay(whole, tmp_path):
    folder, overrides, *_ = whole
    path = tmp_path / "fewer.yaml"
    text = (folder / "small.yaml").read_text()
    path.write_text(text[: text.index("remedies")] + text[text.index("sources") :])
    output = tmp_path / "out"
    output.mkdir()
    for name in ("remedies.csv", "remedies.parquet", "remedies_queries.parquet"):
        (output / name).write_bytes(b"old")
    do(path, overrides, output)
    assert not list(output.glob("remedies*")) and (output / "results.csv").exists()


def test_how_long_it_will_take(grid):
    path, overrides = grid
    _, benchmark = load_benchmark(str(path))
    runs = runs_of(benchmark, overrides)
    tasks = tasks_of(runs)
    assert sum(task.steps for task in tasks) == 4 * 2 and [len(task.runs) for task in tasks].count(2) == 1
    alone, together = estimate(tasks, [], 1), estimate(tasks, [], 8)
    assert 0 < together < alone < 60


def test_leave_one_out(grid, tmp_path):
    path, overrides = grid
    people = [folder_tree(tmp_path / name, names=("ann", "bob", "eve", "joe")) for name in "ab"]
    path.write_text(
        f"models: {{BN: market_bn.yaml}}\nsources: [market1501, {people[0]}, {people[1]}]\nleave_one_out: true\n"
        f"targets: [market1501, {people[0]}, {people[1]}]\nseeds: [0]\n"
    )
    runs, _ = do(path, overrides, tmp_path / "out")
    assert [len(run.config.data.sources) for run in runs] == [2, 2, 2]
    results = pd.read_csv(tmp_path / "out" / "results.csv")
    assert sorted(set(results["source"])) == ["a+b", "market1501+a", "market1501+b"]
    left = {"a+b": "market1501", "market1501+a": "b", "market1501+b": "a"}
    assert (results["in_domain"] == (results["target"] != results["source"].map(left))).all()
    divergence = pd.read_csv(tmp_path / "out" / "divergence.csv").query("by == 'domain' and source == 'a+b'")
    assert set(zip(divergence["a"], divergence["b"], strict=True)) >= {("a", "market1501"), ("b", "market1501")}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("models: {}\nsources: [a]\ntargets: [a]\nseeds: [0]", "models"),
        ("models: {BN: market_bn.yaml}\nsources: [a]\ntargets: [a]\nseed: [0]", "seed"),
        ("models: {BN: market_bn.yaml}\nsources: [a, a]\ntargets: [a]\nseeds: [0]", "sources: one is named twice"),
        (
            "models: {BN: market_bn.yaml}\nremedies: {BN: x.yaml}\nsources: [a]\ntargets: [a]\nseeds: [0]",
            "also a",
        ),
        ("models: {BN: market_bn.yaml}\nsources: [a]\ntargets: [a]\nseeds: [0]\nleave_one_out: true", "needs two"),
    ],
)
def test_bad_grids(tmp_path, text, message):
    path = tmp_path / "grid.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        load_benchmark(str(path))


def test_two_labels_of_one_run_and_overrides_that_a_grid_sets_itself(grid):
    path, overrides = grid
    _, benchmark = load_benchmark(str(path))
    for key in ("seed=3", "data.source=market1501", "run=x"):
        with pytest.raises(InputError, match="the benchmark sets it"):
            runs_of(benchmark, [*overrides, key])
    path.write_text(path.read_text().replace("market_ibn_b.yaml", "market_bn.yaml"))
    with pytest.raises(InputError, match="are the same run"):
        runs_of(load_benchmark(str(path))[1], overrides)


@pytest.mark.parametrize("name", sorted(path.stem for path in (ROOT / "configs" / "benchmarks").glob("*.yaml")))
def test_the_bundled_grids_are_sound(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    stem, benchmark = load_benchmark(name)
    runs = runs_of(benchmark, ["model.weights=none"])
    assert stem == name and len(runs) >= len(benchmark.models) * len(benchmark.seeds)


def test_the_sites_grid_is_what_the_report_promises():
    _, sites = load_benchmark("sites.yaml")
    assert list(sites.models) == ["BN", "IBN-a", "IBN-b"] and sites.seeds == (0, 1, 2)
    assert sites.sources == sites.targets == ("plaza", "station", "street")
