"""Training and testing what a grid lacks, in several processes; killed at any moment, it goes on where it stopped."""

from __future__ import annotations

import multiprocessing
import os
import queue
import signal
import statistics
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch

from reid.config import Config
from reid.engine import build
from reid.engine.checkpoint import FILE, read_progress
from reid.engine.train import LOG_FILE, Interrupted, collected_signals, is_trained, planned_steps, train
from reid.errors import InputError
from reid.evaluation.benchmark import Run
from reid.evaluation.evaluate import evaluate_run
from reid.evaluation.moments import moments_of
from reid.evaluation.targets import read_targets
from reid.processes import STOPPING, starting
from reid.progress import track

GRACE = 120  # seconds for a worker to end its step and write a checkpoint


@dataclass(frozen=True)
class Task:
    """All that is missing of one run's folder: training, and tests of one or more of the grid's labels."""

    runs: tuple[Run, ...]
    missing: tuple[tuple[str, ...], ...]  # targets of each of ``runs``
    steps: int  # still to train
    tests: int  # the time of its tests, in steps: a test image costs a third of a training image

    @property
    def config(self) -> Config:
        return self.runs[0].config


def tasks_of(runs: Sequence[Run]) -> list[Task]:
    """What is missing, in the grid's order, a task a run's folder.

    Raises:
        InputError: data that cannot be read, a folder that holds another run.
    """
    together: dict[Path, list[tuple[Run, tuple[str, ...]]]] = {}
    for run in runs:
        missing = tuple(run.missing())
        if missing:
            together.setdefault(run.config.run_folder, []).append((run, missing))
    tasks = []
    for own in together.values():
        config = own[0][0].config
        steps = 0 if is_trained(config) else planned_steps(config) - _steps_done(config)
        targets = tuple(names for _, names in own)
        tasks.append(Task(tuple(run for run, _ in own), targets, steps, _test_steps(config, targets)))
    return tasks


def _test_steps(config: Config, missing: Sequence[Sequence[str]]) -> int:
    sets = [data for names in missing for target in read_targets(config, names) for data in target.trials]
    images = sum(len(data.splits[split]) for data in sets for split in ("query", "gallery"))
    return max(1, round(images / (3 * config.sampler.identities * config.sampler.images)))


def estimate(tasks: Sequence[Task], finished: Sequence[Run], jobs: int) -> float:
    """About how many seconds the tasks take: by the seconds a step of finished runs of the same network, else of one
    step measured now."""

    @cache
    def of_finished(key: str) -> float | None:
        stored = [read_progress(r.config.run_folder / FILE) for r in finished if _network_key(r.config) == key]
        return statistics.median(s.seconds / s.step for s in stored) if stored else None

    measured: dict[str, float] = {}
    total = 0.0
    for task in tasks:
        key, config = _network_key(task.config), task.config
        a_step = of_finished(key) or measured.get(key)
        if a_step is None:
            a_step = measured[key] = _time_step(config)
        total += a_step * (task.steps + task.tests)
    return total / max(1, min(_at_once(jobs, tasks[0].config), len(tasks))) if tasks else 0.0


def _at_once(jobs: int, config: Config) -> int:
    """Jobs that do not take each other's time: one a GPU, or as many as there are cores for their threads."""
    if build.device(config).type == "cuda":
        return min(jobs, torch.cuda.device_count())
    cores = os.cpu_count() or 1
    return min(jobs, max(1, cores // (config.threads or cores)))


def work(tasks: Sequence[Task], jobs: int, progress: bool = True) -> None:
    """Do all tasks in ``jobs`` processes. With several GPUs each process has one of its own.

    Raises:
        InputError: what a task raised, or a process that was killed; the others then stop with a checkpoint written.
        Interrupted: on Ctrl-C, SIGTERM or SIGHUP, likewise.
    """
    if not tasks:
        return
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # else waiting threads take the other processes' cores
    context = multiprocessing.get_context("spawn")
    waiting, done = context.Queue(), context.Queue()
    jobs = min(jobs, len(tasks))
    for number in (*range(len(tasks)), *[None] * jobs):
        waiting.put(number)
    processes = [
        context.Process(target=_work, args=(list(tasks), waiting, done, slot, jobs, os.getpid()), daemon=False)
        for slot in range(jobs)
    ]
    steps = sum(task.steps + task.tests for task in tasks)
    before = sum(_steps_done(task.config) for task in tasks)
    bar = track(name=f"{len(tasks)} runs", unit="step", total=steps, shown=progress)
    with collected_signals() as received, bar:
        with starting():
            for process in processes:
                process.start()
        try:
            finished: list[Task] = []
            while len(finished) < len(tasks):
                finished += [tasks[number] for number in _next(done, processes)]
                trained = sum(_steps_done(task.config) for task in tasks) - before
                bar.update(trained + sum(task.tests for task in finished) - bar.n)
                bar.set_postfix_str(f"{len(finished)} runs done", refresh=False)
                if received:
                    raise Interrupted(received[0], "the grid's finished runs and the checkpoints of those in progress")
        except BaseException:
            _stop(processes)
            raise
    for process in processes:
        process.join()


def _next(done: Any, processes: Sequence[BaseProcess]) -> list[int]:
    """Wait a moment for a task to end: its number, or none."""
    try:
        number, problem = done.get(timeout=0.5)
    except queue.Empty:
        alive = any(process.is_alive() for process in processes)
        killed = [process.exitcode for process in processes if process.exitcode]
        if not alive and not killed and done.empty():
            raise RuntimeError("every process has ended, and there are tasks left") from None
        if killed:
            raise InputError(f"a process was ended (exit code {killed[0]}); out of memory? Try fewer --jobs") from None
        return []
    if isinstance(problem, InputError):
        raise problem
    if problem:
        raise RuntimeError(problem)
    return [number]


def _stop(processes: Sequence[BaseProcess]) -> None:
    for process in processes:
        if process.is_alive():
            process.terminate()
    deadline = time.monotonic() + GRACE
    for process in processes:
        process.join(max(0.0, deadline - time.monotonic()))
        if process.is_alive():
            process.kill()


def _work(tasks: Sequence[Task], waiting: Any, done: Any, slot: int, jobs: int, parent: int) -> None:
    """One process: tasks until there are none; ends with its parent, and apart from its terminal's signals."""
    os.setsid()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    while (number := waiting.get()) is not None:
        try:
            _do(tasks[number], slot, jobs)
            done.put((number, ""))
        except KeyboardInterrupt as stop:
            sys.exit(getattr(stop, "code", 130))
        except InputError as error:
            done.put((number, error))
            return
        except Exception:
            done.put((number, traceback.format_exc()))
            return


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.2)
    os.kill(os.getpid(), signal.SIGKILL)


def _do(task: Task, slot: int, jobs: int) -> None:
    config = _placed(task.config, slot, jobs)
    folder = config.run_folder if is_trained(config) else train(config, progress=False, recorded=task.config)
    for run, missing in zip(task.runs, task.missing, strict=True):
        if run.adabn:
            for name in missing:
                evaluate_run(config, folder, [name], progress=False, adabn=name)
        else:
            evaluate_run(config, folder, missing, progress=False, oracle=run.oracle)
        if run.divergence:
            for name in run.targets:
                moments_of(config, folder, name, progress=False)


def _placed(config: Config, slot: int, jobs: int) -> Config:
    """The config on this process's own GPU where there are several, or with its share of the CPU's threads."""
    gpus = torch.cuda.device_count()
    if config.device in ("auto", "cuda") and gpus > 1:
        return _with(config, "device", f"cuda:{slot % gpus}")
    if config.threads is None and build.device(config).type == "cpu" and jobs > 1:
        return _with(config, "threads", max(1, (os.cpu_count() or 1) // jobs))
    return config


def _with(config: Config, key: str, value: object) -> Config:
    return config.model_copy(update={key: value})


def _steps_done(config: Config) -> int:
    """Lines of the run's log, which is a line a step."""
    try:
        with (config.run_folder / LOG_FILE).open("rb") as file:
            return sum(1 for _ in file)
    except FileNotFoundError:
        return 0


def _network_key(config: Config) -> str:
    """Runs of one key take about as long a step."""
    own, data = config.model, config.data
    batch = config.sampler.identities * config.sampler.images
    return f"{own.backbone} {own.width} {own.last_stride} {data.height} {data.width} {batch} {config.threads}"


def _time_step(config: Config) -> float:
    """Seconds of one forward and backward pass of a batch, after one to warm up."""
    device = build.device(config)
    network = build.embedder(config, num_classes=100).to(device).train()
    batch = config.sampler.identities * config.sampler.images
    inputs = torch.zeros(batch, 3, config.data.height, config.data.width, device=device)
    threads = torch.get_num_threads()
    torch.set_num_threads(config.threads or threads)
    try:
        for _ in range(2):
            started = time.monotonic()
            network(inputs).logits.sum().backward()
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            seconds = time.monotonic() - started
    finally:
        torch.set_num_threads(threads)
    return seconds
