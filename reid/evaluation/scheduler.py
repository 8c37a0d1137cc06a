"""What a grid lacks, in several processes, one a run's folder; killed at any moment, it goes on where it stopped.

A process is started as a command, the one that does a part of a grid on other machines too. A run that fails does not
end the others: what failed, and why, is returned. A run whose folder another process is at work in comes last.
"""

from __future__ import annotations

import logging
import os
import re
import subprocess
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import torch

from reid.data.names import counted
from reid.engine import build
from reid.engine.extract import has_bf16
from reid.errors import InputError
from reid.evaluation.entries import Failure
from reid.evaluation.parts import Report, of_all, report_file
from reid.evaluation.tasks import Task
from reid.files import in_use
from reid.processes import Interrupted, collected_signals, environment_of_child
from reid.progress import track

log = logging.getLogger(__name__)

GRACE = 120  # seconds for a process to end its step and write a checkpoint
FAILED = (1, 2)  # exit codes of a command that says why


@dataclass(frozen=True, eq=False)
class _Worker:
    """A process at work on a task; the bytes that its log held before."""

    task: Task
    process: subprocess.Popen[bytes]
    log: Path
    begins: int

    def failures(self) -> tuple[Failure, ...]:
        """What failed, of a process that has ended."""
        code = self.process.returncode
        told = Report.read(_report(self)).failures if code in FAILED else ()
        if code == 0 or told:
            return told
        if code in FAILED:
            with self.log.open("rb") as file:
                file.seek(self.begins)
                said = file.read().decode(errors="replace").strip()
            problem = re.split(r"^error: ", said, flags=re.MULTILINE)[-1] if code == 2 else said
            return (of_all(self.task, f"{problem or 'it said nothing'} ({self.log})", bug=code == 1),)
        problem = f"a process was ended (exit code {code}); out of memory? Try fewer --jobs ({self.log})"
        return (of_all(self.task, problem),)


def _report(worker: _Worker) -> Path:
    return worker.log.with_suffix(".json")


def work(
    tasks: Sequence[Task], jobs: int, command: Callable[[Task], Sequence[str]], output: Path, progress: bool = True
) -> list[Failure]:
    """Do all tasks, ``jobs`` at once, each by its ``command``; returns what failed. With several GPUs each process sees
    one. What it says goes to ``output/logs/NAME.log``.

    Raises:
        InputError: GPUs that would compute in different precisions; a log that cannot be written.
        Interrupted: on Ctrl-C, SIGTERM or SIGHUP; tasks in progress then stop with a checkpoint written.
    """
    if not tasks:
        return []
    jobs = min(jobs, len(tasks))
    _check_alike(tasks, jobs)
    logs = [task.log() for task in tasks]
    before = [each.steps() if each else 0 for each in logs]
    waiting, workers, finished = deque(tasks), dict[int, _Worker](), list[Task]()
    failures: list[Failure] = []
    what = "network" if any(task.foreign for task in tasks) else "run"
    steps = sum(task.steps + task.tests for task in tasks)
    bar = track(name=counted(len(tasks), what), unit="step", total=steps, shown=progress)
    with collected_signals() as received, bar:
        try:
            while len(finished) < len(tasks):
                for place in range(jobs):
                    if waiting and place not in workers:
                        task = _next(waiting)
                        workers[place] = _start(task, command(task), output, _environment(task, place, jobs))
                time.sleep(0.2)
                if received:
                    raise Interrupted(received[0], "the grid's finished runs and the checkpoints of those in progress")
                for place, worker in list(workers.items()):
                    if worker.process.poll() is not None:
                        del workers[place]
                        finished.append(worker.task)
                        for failure in worker.failures():
                            log.warning(f"failed: {replace(failure, problem=failure.reason)}")
                            failures.append(failure)
                done = sum(task.steps + task.tests for task in finished)
                for worker in workers.values():
                    number = tasks.index(worker.task)
                    steps_log = logs[number]
                    done += max(0, steps_log.steps() - before[number]) if steps_log else 0
                    done += int(worker.task.tests * Report.read(_report(worker)).tested)
                bar.update(done - bar.n)
                bar.set_postfix_str(f"{counted(len(finished), what)} done", refresh=False)
        except BaseException:
            _stop([worker.process for worker in workers.values()])
            raise
    return failures


def _next(waiting: deque[Task]) -> Task:
    """The first in whose folder no other process is at work; else the first, whose process waits for that one."""
    for _ in range(len(waiting)):
        if not in_use(waiting[0].folder):
            break
        _say_in_use(waiting[0].folder)
        waiting.rotate(-1)
    return waiting.popleft()


@cache
def _say_in_use(folder: Path) -> None:
    log.info(f"{folder}: another process is at work in it; it comes last")


def _start(task: Task, command: Sequence[str], output: Path, environment: Mapping[str, str]) -> _Worker:
    report = report_file(output, task.name)
    path = report.with_suffix(".log")
    try:
        report.parent.mkdir(parents=True, exist_ok=True)
        report.unlink(missing_ok=True)  # of an earlier attempt
        with path.open("ab") as file:
            begins = file.tell()
            # In a session of its own: signals of the terminal are its parent's to answer.
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, env=environment, start_new_session=True
            )
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error}") from None
    return _Worker(task, process, path, begins)


def _environment(task: Task, place: int, jobs: int) -> dict[str, str]:
    """A process's own GPU, or its share of the CPU's threads."""
    environment, config = environment_of_child(), task.config
    gpus = torch.cuda.device_count()
    if config.device in ("auto", "cuda") and gpus:
        seen = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
        environment["CUDA_VISIBLE_DEVICES"] = (seen or [str(number) for number in range(gpus)])[place % gpus]
    elif config.threads is None and build.device(config).type == "cpu" and jobs > 1:
        environment.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // jobs)))
    environment.setdefault("OMP_WAIT_POLICY", "passive")  # else waiting threads take the other processes' cores
    return environment


def _stop(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        process.terminate()
    deadline = time.monotonic() + GRACE
    for process in processes:
        try:
            process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _check_alike(tasks: Sequence[Task], jobs: int) -> None:
    """Refuse GPUs on which ``auto`` would mean different precisions: figures would depend on which one took a run."""
    able = {number: has_bf16(torch.device("cuda", number)) for number in range(torch.cuda.device_count())[:jobs]}
    for config in (task.config for task in tasks):
        if config.precision == "auto" and config.device in ("auto", "cuda") and len(set(able.values())) > 1:
            one, other = (next(number for number, has in able.items() if has is wanted) for wanted in (True, False))
            config.fail("precision", f"'auto' is bf16 on cuda:{one} and fp16 on cuda:{other}; give float32 or fp16")
