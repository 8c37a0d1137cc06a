"""Grids, end to end on a small tree: what is missing, what is written, what a kill leaves."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import ROOT, tiny_overrides
from safetensors import safe_open
from safetensors.torch import save_file
from trees import folder_tree, manifest_tree

from reid.cli import main
from reid.config import load_config
from reid.data import reading
from reid.engine import build
from reid.engine.checkpoint import FILE, read_progress
from reid.engine.train import is_trained
from reid.errors import InputError
from reid.evaluation.benchmark import write_benchmark
from reid.evaluation.entries import Failure, check_runs, check_sources, foreign_of, refuse_one_network_twice, runs_of
from reid.evaluation.grid import load_benchmark
from reid.evaluation.parts import Report, do
from reid.evaluation.results import read_results
from reid.evaluation.scheduler import _check_alike, _environment, work
from reid.evaluation.tasks import Log, Part, estimate, folders_of, network_key, share_of, tasks_of
from reid.files import in_use, locked, write_atomically

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
    return folder, overrides, *complete(path, overrides, folder / "out")


def complete(path: Path, overrides: list[str], output: Path):
    """The grid, done by this process."""
    name, benchmark = load_benchmark(str(path))
    runs = runs_of(benchmark, overrides)
    tasks = tasks_of(runs)
    assert not done_here(tasks, output)
    write_benchmark(name, benchmark, runs, output)
    return runs, tasks


def done_here(tasks, output: Path = Path("out")) -> list[Failure]:
    return [failure for task in tasks for failure in do(task, output, progress=False)]


def done_by_commands(path: Path, tasks, overrides: list[str], jobs: int = 1) -> list[Failure]:
    """What failed of ``tasks``, each done by a process of its own."""
    folders = len(folders_of(runs_of(load_benchmark(str(path))[1], overrides)))
    command = [sys.executable, "-m", "reid.cli", "cross-domain", "--benchmark", str(path), "--output", "out"]
    return work(
        tasks, jobs, lambda task: [*command, *overrides, "--part", f"{task.number}/{folders}"], Path("out"), False
    )


def tables(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.name not in (".lock", "logs")}


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
    _, again = complete(folder / "small.yaml", overrides, out)
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
    complete(path, killed, Path("out"))
    assert {p: p.stat().st_mtime_ns for p in done} == done
    columns = ["model", "source", "target", "seed", "mAP", "rank1", "rank5", "rank10", "mINP", "config_hash", "epoch"]
    one, other = (pd.read_csv(place / "results.csv")[columns] for place in (whole[0] / "out", Path("out")))
    pd.testing.assert_frame_equal(one, other, check_exact=True)


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGKILL])
def test_a_signal_ends_a_grid_with_checkpoints(grid, number):
    """Killed, it can no longer tell its processes to stop; they see that it is gone."""
    path, overrides = grid
    command = [sys.executable, str(ROOT / "tools" / "cross_domain.py"), "--benchmark", str(path), "--jobs", "2"]
    process = subprocess.Popen([*command, *overrides, "optim.steps=5000"], stderr=subprocess.PIPE, text=True)
    while len(begun()) < 2:
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(number)
    _, err = process.communicate()
    if number == signal.SIGKILL:
        assert process.returncode == -number
        while any(in_use(log.parent) for log in begun()):
            time.sleep(0.05)
    else:
        assert process.returncode == 128 + number and f"stopped by {number.name}" in err and "Traceback" not in err
    steps = [read_progress(path).step for path in Path("runs").glob(f"*/{FILE}")]
    assert len(steps) == 2 and all(0 < step < 5000 for step in steps)


def test_what_a_worker_cannot_do_is_said(grid, tmp_path):
    path, overrides = grid
    _, benchmark = load_benchmark(str(path))
    tasks = tasks_of(runs_of(benchmark, overrides))
    image = next((tmp_path / "people" / "gallery").rglob("*.jpg"))
    content = image.read_bytes()
    image.write_bytes(b"\xff" * len(content))
    failures = done_here(tasks)
    assert {failure.target for failure in failures} == {str(tmp_path / "people")} and len(failures) == 5
    assert all(image.name in failure.problem and "not a readable image" in failure.problem for failure in failures)
    assert not any(failure.bug for failure in failures)
    assert sum(read_progress(path).finished for path in Path("runs").glob(f"*/{FILE}")) == 4
    runs = runs_of(benchmark, overrides)
    assert [run.missing() for run in runs] == [[str(tmp_path / "people")]] * 5  # the other target is done
    assert len(write_benchmark("small", benchmark, runs, Path("out"), failures)) == 2
    results, told = pd.read_csv("out/results.csv"), json.loads(Path("out/benchmark.json").read_text())
    assert set(results["target"]) == {"market1501"} and len(results) == 4
    assert [(cell["model"], cell["source"], cell["target"], cell["seed"]) for cell in told["missing"]] == [
        (model, "market1501", "people", seed)
        for model, seed in (("BN", 0), ("IBN-b", 0), ("BN", 1), ("IBN-b", 1), ("BN, AdaBN", 0))
    ]
    assert all("not a readable image" in cell["reason"] for cell in told["missing"])
    image.write_bytes(content)
    complete(path, overrides, Path("out"))
    assert json.loads(Path("out/benchmark.json").read_text())["missing"] == []
    assert len(pd.read_csv("out/results.csv")) == 8


def parts_at_work() -> list[int]:
    """The processes of this one that do parts of a grid."""
    files = [path.read_text().split() for path in Path("/proc/self/task").glob("*/children")]
    return [int(pid) for pids in files for pid in pids if b"--part" in Path(f"/proc/{pid}/cmdline").read_bytes()]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_a_process_that_is_ended_is_said(grid, number, code):
    """As the system kills one for want of memory."""
    path, overrides = grid
    overrides = [*overrides, "optim.steps=5000"]
    tasks = tasks_of(runs_of(load_benchmark(str(path))[1], overrides))

    def end_it():
        while not begun():
            time.sleep(0.05)
        os.kill(parts_at_work()[0], number)

    threading.Thread(target=end_it, daemon=True).start()
    (failure,) = done_by_commands(path, tasks[:1], overrides)
    assert f"a process was ended (exit code {code}); out of memory? Try fewer --jobs (out/logs/" in failure.problem
    assert failure.run == "BN of market1501, seed 0 and BN, AdaBN of market1501, seed 0" and failure.target is None
    log = Path("out/logs", f"{tasks[0].name}.log").read_text()
    assert "part 1 of 4: 2 runs, 4 cells; missing: 4 cells, 1 run to train" in log
    assert ("stopped by SIGTERM; saved" in log) == (number == signal.SIGTERM)


@pytest.mark.parametrize(
    ("code", "said", "problem"),
    [
        (2, "reading\nerror: no such thing;\nchoose another", "no such thing;\nchoose another (out/logs/"),
        (1, "Traceback ...\nKeyError: 3", "Traceback ...\nKeyError: 3 (out/logs/"),
        (2, "", "it said nothing (out/logs/"),
    ],
)
def test_what_a_process_said_that_had_no_report_is_told(grid, code, said, problem):
    path, overrides = grid
    tasks = tasks_of(runs_of(load_benchmark(str(path))[1], overrides))[:1]
    Path("out/logs").mkdir(parents=True)
    Path("out/logs", f"{tasks[0].name}.log").write_text("error: of an earlier time\n")
    Report(1.0, (Failure(tasks[0].folder, "BN", None, "of an earlier time"),)).write(
        Path("out/logs", f"{tasks[0].name}.json")
    )
    command = [sys.executable, "-c", f"print({said!r}); raise SystemExit({code})"]
    (failure,) = work(tasks, 1, lambda task: command, Path("out"), progress=False)
    assert failure.problem.startswith(problem) and failure.bug == (code == 1)


def begun() -> list[Path]:
    """Logs of runs that are some steps old."""
    return [path for path in Path("runs").glob("*/log.jsonl") if path.stat().st_size > 1000]


def test_one_failing_run_does_not_end_the_others_and_is_said_at_the_end(grid, tmp_path, capsys, caplog):
    path, overrides = grid
    (tmp_path / "bad.yaml").write_text("extends: market_bn.yaml\noptim: {lr: 1.0e+30, warmup: 0}\n")
    path.write_text(
        f"models: {{Bad: {tmp_path / 'bad.yaml'}, BN: market_bn.yaml}}\nsources: [market1501]\n"
        f"targets: [market1501, {tmp_path / 'people'}]\nseeds: [0]\n"
    )
    overrides = [*(o for o in overrides if "warmup" not in o and "steps" not in o), "optim.steps=4"]
    code = main(["cross-domain", "--benchmark", str(path), "--output", "out", *overrides])
    told = capsys.readouterr().err
    assert code == 2 and "Traceback" not in told
    said = told[told.index("error: 1 of 2 runs failed") :]
    assert "Bad of market1501, seed 0 (runs/bad_" in said and "the loss is" in said and "BN of" not in said
    assert list(pd.read_csv("out/results.csv")["model"]) == ["BN"] * 2
    missing = json.loads(Path("out/benchmark.json").read_text())["missing"]
    assert [(cell["model"], cell["target"]) for cell in missing] == [("Bad", "market1501"), ("Bad", "people")]
    assert main(["report", "out"]) == 0
    assert "The grid is not complete: 2 cells are missing" in capsys.readouterr().err + caplog.text
    for name in ("index.html", "tables.md", "tables.tex"):
        assert "The grid is not complete: 2 cells are missing" in Path("out", name).read_text()
    assert "Bad, market1501 → people, seed 0: " in Path("out/index.html").read_text()


def test_configs_that_fail_leave_a_table_of_the_others(grid, tmp_path, capsys):
    _, overrides = grid
    (tmp_path / "bad.yaml").write_text("extends: market_bn.yaml\noptim: {lr: 1.0e+30, warmup: 0}\n")
    overrides = [*(o for o in overrides if "warmup" not in o and "steps" not in o), "optim.steps=4"]
    command = ["cross-domain", "--output", "out", "--cfgs", "bad.yaml"]
    assert main([*command, "market_bn.yaml", "--targets", "./people", *overrides]) == 2
    out, err = capsys.readouterr()
    assert "error: 1 of 2 runs failed" in err and "Traceback" not in err
    assert "| market_bn" in out and "| bad" not in out
    assert list(pd.read_csv("out/results.csv")["model"]) == ["market_bn"] * 2
    assert main([*command, "--targets", "./people", *overrides]) == 2
    assert "error: 1 of 1 run failed" in capsys.readouterr().err


def test_an_unforeseen_error_is_one_runs_own(grid, tmp_path):
    """A folder where a file should be: of such, and of a damaged checkpoint, the others know nothing."""
    path, overrides = grid
    runs = runs_of(load_benchmark(str(path))[1], overrides)
    (runs[0].config.run_folder / "log.jsonl").mkdir(parents=True)
    folder = runs[1].config.run_folder
    folder.mkdir(parents=True)
    (folder / FILE).write_bytes(b"no checkpoint")
    failures = done_here(tasks_of(runs))
    assert [run.missing() == [] for run in (runs[2], runs[3])] == [True, True]
    by_folder = {failure.folder: failure for failure in failures}
    assert by_folder.keys() == {runs[0].config.run_folder, folder}
    assert (
        by_folder[runs[0].config.run_folder].bug and "IsADirectoryError" in by_folder[runs[0].config.run_folder].reason
    )
    assert not by_folder[folder].bug


def test_a_folder_in_use_comes_last_and_is_waited_for(grid, caplog):
    path, overrides = grid
    caplog.set_level("INFO")
    tasks = tasks_of(runs_of(load_benchmark(str(path))[1], overrides))[:2]
    held = ExitStack()
    held.enter_context(locked(tasks[0].folder))

    def let_go():
        waits = Path("out/logs", f"{tasks[0].name}.log")
        while not (waits.exists() and "waiting for it to end" in waits.read_text()):
            time.sleep(0.05)
        assert is_trained(tasks[1].config)
        held.close()

    threading.Thread(target=let_go, daemon=True).start()
    assert done_by_commands(path, tasks, overrides) == []
    assert all(is_trained(task.config) for task in tasks)
    assert f"{tasks[0].folder}: another process is at work in it; it comes last" in caplog.text


def test_steps_are_counted_by_reading_what_was_added(grid, monkeypatch):
    path, overrides = grid
    config = runs_of(load_benchmark(str(path))[1], overrides)[0].config
    log, file = Log(config.run_folder), config.run_folder / "log.jsonl"
    assert log.steps() == 0
    config.run_folder.mkdir(parents=True)
    file.write_bytes(b"one\n" * 1000)
    assert log.steps() == 1000
    read = []
    original = Path.open

    def counted(self, *arguments, **named):
        opened = original(self, *arguments, **named)
        before = opened.read
        opened = SimpleFile(opened, lambda n: read.append(len(block := before(n))) or block)
        return opened

    monkeypatch.setattr(Path, "open", counted)
    with file.open("ab") as lines:
        lines.file.write(b"two\nthree\nhal")
    assert log.steps() == 1002 and sum(read) == len(b"two\nthree\nhal")
    with file.open("ab") as lines:
        lines.file.write(b"f\n")
    assert log.steps() == 1003
    write_atomically(file, b"one\n" * 10)  # cut, as by a run that goes on
    assert log.steps() == 10


class SimpleFile:
    """A file whose reading is counted."""

    def __init__(self, file, read):
        self.file, self.read = file, read
        self.fileno, self.seek = file.fileno, file.seek

    def __enter__(self):
        return self

    def __exit__(self, *problem):
        self.file.close()


def test_a_grid_from_cache_reads_each_table_once(whole, monkeypatch, capsys):
    folder, overrides, *_ = whole
    reads: list[tuple[str, object]] = []
    original = reading.read_dataset

    def counted(card, data_root, sites_root, splits=None):
        reads.append((card.name, None if splits is None else tuple(splits)))
        return original(card, data_root, sites_root, splits)

    monkeypatch.setattr(reading, "read_dataset", counted)
    arguments = ["cross-domain", "--benchmark", str(folder / "small.yaml"), "--output", str(folder / "again")]
    assert main([*arguments, *overrides]) == 0
    assert "missing: 0 cells" in capsys.readouterr().out
    assert len(reads) == len(set(reads)) and {name for name, _ in reads} == {"market1501", "people"}
    again = tables(folder / "again")
    assert again == tables(folder / "out") and not (folder / "again" / "logs").exists()
    build.roots(load_config("market_bn.yaml", overrides)).dataset("market1501", ["train"])
    build.roots(load_config("market_bn.yaml", overrides)).dataset("market1501", ["train"])
    assert reads[-2:] == [("market1501", ("train",))] * 2  # only a command takes the data to stay as it is


def test_a_process_gets_its_share_of_the_machine(grid, monkeypatch):
    """Of which its run's config records nothing: where one process of several ran says nothing of the next time."""
    path, overrides = grid
    loose = [override for override in overrides if not override.startswith("threads")]
    task = tasks_of(runs_of(load_benchmark(str(path))[1], [*loose, "threads=null"]))[0]
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    assert [_environment(task, 1, jobs).get("OMP_NUM_THREADS") for jobs in (1, 2, 16)] == [None, "4", "1"]
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    on_gpu = on_auto(task)
    assert [_environment(on_gpu, place, 3)["CUDA_VISIBLE_DEVICES"] for place in range(3)] == ["0", "1", "0"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,GPU-a1")
    assert [_environment(on_gpu, place, 3)["CUDA_VISIBLE_DEVICES"] for place in range(3)] == ["5", "GPU-a1", "5"]


def on_auto(task, **keys):
    """The task with its device left to the machine, and further keys."""
    runs = tuple(replace(run, config=run.config.model_copy(update={"device": "auto", **keys})) for run in task.runs)
    return replace(task, runs=runs)


def test_a_report_tells_what_is_done_and_what_failed(whole, tmp_path):
    _, _, runs, tasks = whole
    report = Report.read(whole[0] / "out" / "logs" / f"{tasks[0].name}.json")
    assert report == Report(1.0)
    failure = Failure(tasks[0].folder, runs[0].described, "people", "a problem", bug=True)
    Report(0.5, (failure,)).write(tmp_path / "r.json")
    assert Report.read(tmp_path / "r.json") == Report(0.5, (failure,)) and Report.read(tmp_path / "none") == Report()
    for text in ("", "[]", '{"tested": 1}', '{"tested": 1, "failures": [{"folder": "x"}]}'):
        (tmp_path / "r.json").write_text(text)
        with pytest.raises(InputError, match=r"r.json: cannot be read as a report of a run: .*; delete it"):
            Report.read(tmp_path / "r.json")


def test_parts_are_the_grid_whichever_are_done(whole):
    folder, overrides, runs, _ = whole
    names = list(folders_of(runs))
    assert len(names) == 4 and [len(entries) for entries in folders_of(runs).values()] == [2, 1, 1, 1]
    for of in (1, 2, 3, 4, 7):
        shares = [share_of(runs, Part(number, of)) for number in range(1, of + 1)]
        assert sorted(map(repr, [run for share in shares for run in share])) == sorted(map(repr, runs))
        assert [len(folders_of(share)) for share in shares] == [len(names[n::of]) for n in range(of)]
    elsewhere = runs_of(load_benchmark(str(folder / "small.yaml"))[1], [*overrides, "output=elsewhere"])
    assert [task.number for task in tasks_of(elsewhere, Part(2, 2))] == [2, 4]
    moved = [replace(run, config=run.config.model_copy(update={"output": "other"})) for run in runs]
    assert list(folders_of([*runs, *moved])) == [*names, *(f"{name} 2" for name in names)]


def test_damaged_queries_of_a_run_are_named(whole, tmp_path):
    folder, overrides, runs, _ = whole
    path = runs[0].folder / "targets" / "people" / "queries.parquet"
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    try:
        with pytest.raises(InputError, match=r"people/queries.parquet: cannot be read: .*evaluate again"):
            complete(folder / "small.yaml", overrides, tmp_path / "out")
    finally:
        path.write_bytes(content)


def test_tables_of_an_earlier_grid_do_not_stay(whole, tmp_path):
    folder, overrides, *_ = whole
    path = tmp_path / "fewer.yaml"
    text = (folder / "small.yaml").read_text()
    path.write_text(text[: text.index("remedies")] + text[text.index("sources") :])
    output = tmp_path / "out"
    output.mkdir()
    for name in ("remedies.csv", "remedies.parquet", "remedies_queries.parquet"):
        (output / name).write_bytes(b"old")
    complete(path, overrides, output)
    assert not list(output.glob("remedies*")) and (output / "results.csv").exists()


def test_how_long_it_will_take(grid, monkeypatch):
    path, overrides = grid
    _, benchmark = load_benchmark(str(path))
    runs = runs_of(benchmark, overrides)
    tasks = tasks_of(runs)
    assert sum(task.steps for task in tasks) == 4 * 2 and [len(task.runs) for task in tasks].count(2) == 1
    assert estimate(tasks, runs, 1) is None and not Path("runs").exists()  # nothing is known, and nothing is tried
    assert done_here(tasks[:2]) == []
    left = tasks_of(runs)
    assert len(left) == 2 and {network_key(task.config) for task in left} == {network_key(t.config) for t in tasks}
    for number, task in enumerate(tasks[:2]):
        path = task.config.run_folder / FILE
        stored = replace(read_progress(path), seconds=(10.0, 30.0)[number])
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # not a dict
        save_file(tensors, path, {"progress": json.dumps(asdict(stored))})
    # the two networks are of unlike kinds: two steps in 10 s and in 30 s; a test counts as steps
    seconds = {network_key(task.config): s for task, s in zip(tasks[:2], (5, 15), strict=True)}
    expected = sum(seconds[network_key(task.config)] * (task.steps + task.tests) for task in left)
    assert estimate(left, runs, 1) == pytest.approx(expected)
    assert estimate(left, runs[:1], 1) is None
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    assert estimate(left, runs, 8) == pytest.approx(expected / 2)
    assert estimate([], runs, 8) == 0


def test_gpus_on_which_auto_means_unlike_precisions_are_refused(grid, monkeypatch):
    path, overrides = grid
    loose = [override for override in overrides if not override.startswith(("device", "precision"))]
    tasks = tasks_of(runs_of(load_benchmark(str(path))[1], [*loose, "device=cpu"]))
    tasks = [on_auto(task) for task in tasks]
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda on: [(9, 0), (9, 0), (7, 5)][on.index])
    with pytest.raises(InputError, match="precision: 'auto' is bf16 on cuda:0 and fp16 on cuda:2; give float32 or"):
        work(tasks, 3, lambda task: [], Path("out"), progress=False)
    _check_alike(tasks, 2)  # only those that are used
    _check_alike([on_auto(task, precision="bf16") for task in tasks], 3)


def test_leave_one_out(grid, tmp_path):
    path, overrides = grid
    people = [folder_tree(tmp_path / name, names=("ann", "bob", "eve", "joe")) for name in "ab"]
    path.write_text(
        f"models: {{BN: market_bn.yaml}}\nsources: [market1501, {people[0]}, {people[1]}]\nleave_one_out: true\n"
        f"targets: [market1501, {people[0]}, {people[1]}]\nseeds: [0]\n"
    )
    runs, _ = complete(path, overrides, tmp_path / "out")
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


def test_two_sources_of_one_name_are_no_one_row(grid, tmp_path):
    path, overrides = grid
    sources = [manifest_tree(tmp_path / name).rename(tmp_path / name / "shop.csv") for name in "ab"]
    path.write_text(path.read_text().replace("[market1501]", f"[{sources[0]}, {sources[1]}]"))
    _, benchmark = load_benchmark(str(path))
    with pytest.raises(InputError, match=f"sources: {sources[0]} and {sources[1]} are both named shop"):
        check_sources(runs_of(benchmark, overrides)[0].config, benchmark)


@pytest.fixture
def with_foreign(grid, tmp_path):
    """The grid with one model, one seed and two networks of other origin; its overrides."""
    from tiny_onnx import describe, mean_colours

    path, overrides = grid
    for name, weights in (("a", np.eye(3)), ("b", [[1, 0, 0], [0, 1, 1]])):
        describe(mean_colours(tmp_path / f"{name}.onnx", np.float32(weights)), output="flat")
    path.write_text(
        f"models:\n  A: {{model: {tmp_path / 'a.onnx'}, trained_on: {tmp_path / 'people'}}}\n  BN: market_bn.yaml\n"
        f"  B: {{model: {tmp_path / 'b.onnx'}}}\n"
        f"sources: [market1501]\ntargets: [market1501, {tmp_path / 'people'}]\nseeds: [0]\n"
    )
    return path, overrides


def test_foreign_networks_are_tested_as_they_are(with_foreign, capsys, tmp_path):
    path, overrides = with_foreign
    arguments = ["cross-domain", "--benchmark", str(path), "--jobs", "2", "--output", "out", *overrides]
    assert main(arguments) == 0
    assert "1 run, 2 foreign networks, 6 cells; missing: 6 cells, 1 run to train" in capsys.readouterr().out
    results = pd.read_csv("out/results.csv", dtype=str, keep_default_na=False)
    assert list(results["model"]) == ["BN", "BN", "A", "A", "B", "B"]
    assert list(results["seed"]) == ["0", "0", "", "", "", ""] and list(results["epoch"][2:]) == [""] * 4
    assert list(results["source"]) == ["market1501"] * 2 + ["people"] * 2 + ["not known"] * 2
    assert list(results["in_domain"]) == ["True", "False", "False", "True", "False", "False"]
    assert list(results["foreign"]) == ["False"] * 2 + ["True"] * 4
    queries = pd.read_parquet("out/queries.parquet")
    means = queries.groupby(["model", "target"])["ap"].mean()
    for row in results.itertuples():
        assert means[row.model, row.target] == pytest.approx(float(row.mAP))
        assert (Path(row.run) / "results.json").exists()
    assert queries["seed"].isna().sum() == (queries["model"] != "BN").sum() > 0
    told = json.loads(Path("out/benchmark.json").read_text())
    assert list(told["models"]) == ["BN", "A", "B"]
    assert told["models"]["B"] == {"model": str(tmp_path / "b.onnx"), "trained_on": None} and told["missing"] == []
    before = tables(Path("out"))
    assert main(arguments) == 0 and "missing: 0 cells" in capsys.readouterr().out and tables(Path("out")) == before
    assert main(["report", "out"]) == 0 and '<section id="others">' in Path("out/index.html").read_text()


def test_a_foreign_network_that_fails_loses_no_other(with_foreign, tmp_path):
    path, overrides = with_foreign
    _, benchmark = load_benchmark(str(path))
    runs = runs_of(benchmark, overrides)
    entries = [*runs, *foreign_of(benchmark, runs[0].config)]
    tasks = tasks_of(entries)
    assert [(task.foreign, task.steps) for task in tasks] == [(False, 2), (True, 0), (True, 0)]
    assert estimate(tasks, entries, 1) is None
    content = (tmp_path / "a.onnx").read_bytes()
    (tmp_path / "a.onnx").write_bytes(b"no network")
    failures = done_here(tasks)
    assert {failure.run for failure in failures} == {f"A ({tmp_path / 'a.onnx'})"} and not failures[0].bug
    write_benchmark("small", benchmark, entries, Path("out"), failures)
    assert set(pd.read_csv("out/results.csv")["model"]) == {"BN", "B"}
    missing = json.loads(Path("out/benchmark.json").read_text())["missing"]
    assert [(cell["model"], cell["source"], cell["target"], cell["seed"]) for cell in missing] == [
        ("A", "people", "market1501", None), ("A", "people", "people", None),
    ]  # fmt: skip
    (tmp_path / "a.onnx").write_bytes(content)
    assert [task.foreign for task in tasks_of(entries)] == [True]


@pytest.mark.parametrize(
    ("models", "message"),
    [
        ("A: {model: a.onnx}", "names no model to train"),
        ("BN: market_bn.yaml, A: {model: a.onnx, adabn: true}", r"models: A: unknown key 'adabn'; the keys here are"),
        ("BN: market_bn.yaml, A: {model: a.onnx, cfg: b.yaml}", r"models: A: unknown key 'cfg'"),
        ("BN: market_bn.yaml, A: {model: .}", "models: A: . is a folder; of a run of this project give cfg"),
        ("BN: market_bn.yaml, A: {model: 3}", "models: A: model"),
    ],
)
def test_bad_foreign_networks(tmp_path, models, message):
    path = tmp_path / "grid.yaml"
    rest = "sources: [a]\ntargets: [a]\nseeds: [0]\n"
    path.write_text(f"models: {{{models}}}\n{rest}")
    with pytest.raises(InputError, match=message):
        load_benchmark(str(path))
    path.write_text(f"models: {{BN: market_bn.yaml}}\nforeign: {{A: {{model: a.onnx}}}}\n{rest}")
    with pytest.raises(InputError, match="stand among the models"):
        load_benchmark(str(path))


def test_foreign_networks_that_cannot_be_opened_or_are_one(with_foreign):
    path, overrides = with_foreign
    text = path.read_text()
    path.write_text(text.replace("b.onnx", "nowhere.onnx"))
    _, benchmark = load_benchmark(str(path))
    config = runs_of(benchmark, overrides)[0].config
    with pytest.raises(InputError, match="nowhere"):
        refuse_one_network_twice(foreign_of(benchmark, config))
    path.write_text(text.replace("b.onnx", "a.onnx"))
    with pytest.raises(InputError, match="'B' and 'A' are the same network"):
        refuse_one_network_twice(foreign_of(load_benchmark(str(path))[1], config))


def test_targets_of_two_protocols_are_no_one_grid(grid, tmp_path, capsys):
    path, overrides = grid
    manifest = manifest_tree(tmp_path / "shop")
    card = tmp_path / "shop.yaml"
    card.write_text(f"name: shop\nroot: {manifest.parent}\nmanifest: {manifest.name}\ncross_camera_only: false\n")
    text = path.read_text()
    path.write_text(text.replace(str(tmp_path / "people"), str(card)))
    assert main(["cross-domain", "--benchmark", str(path), "--output", "out", *overrides]) == 2
    told = capsys.readouterr().err
    assert "market1501 is measured cross-camera, shop any-camera" in told and not list(Path().glob("runs/*/log.jsonl"))
    path.write_text(text.replace(f"[market1501, {tmp_path / 'people'}]", f"[{card}]").replace("[0, 1]", "[0]"))
    assert main(["cross-domain", "--benchmark", str(path), "--output", "out", *overrides]) == 0
    results = pd.read_csv("out/results.csv")
    assert set(results["target"]) == {"shop (any camera)"} and set(results["protocol"]) == {"any-camera"}
    assert main(["report", "out"]) == 0
    assert "The lists cannot be drawn" not in Path("out/index.html").read_text()


@pytest.mark.parametrize("name", sorted(path.stem for path in (ROOT / "configs" / "benchmarks").glob("*.yaml")))
def test_the_bundled_grids_are_sound(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    stem, benchmark = load_benchmark(name)
    runs = runs_of(benchmark, ["model.weights=none"])
    check_runs(runs)
    assert stem == name and len(runs) >= len(benchmark.models) * len(benchmark.seeds)


def test_the_sites_grid_is_what_the_report_promises():
    _, sites = load_benchmark("sites.yaml")
    assert list(sites.models) == ["BN", "IBN-a", "IBN-b"] and sites.seeds == (0, 1, 2)
    assert sites.sources == sites.targets == ("plaza", "station", "street")
