"""Training and testing what a grid lacks, in several processes; killed at any moment, it goes on where it stopped.

A run that fails does not end the others: what failed, and why, is returned. A run whose folder another process is at
work in comes last, and is waited for.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

import torch

from reid.config import Config
from reid.data.names import counted
from reid.data.reading import tables_kept
from reid.engine import build
from reid.engine.extract import has_bf16
from reid.engine.train import train
from reid.errors import InputError
from reid.evaluation.adapted import adapted
from reid.evaluation.entries import Failure
from reid.evaluation.evaluate import evaluate
from reid.evaluation.moments import moments_of
from reid.evaluation.tasks import Task
from reid.files import Busy
from reid.processes import STOPPING, Interrupted, collected_signals, starting
from reid.progress import track

log = logging.getLogger(__name__)

GRACE = 120  # seconds for a worker to end its step and write a checkpoint


@dataclass(eq=False)
class _Worker:
    """A process in one of the places (``slot``), the number of the task that it is at, and the share of the task's
    tests that are done."""

    slot: int
    process: BaseProcess
    connection: Connection
    task: int | None = None
    tested: float = 0.0


@dataclass(frozen=True)
class _Outcome:
    """What became of a task: what failed of it, or that the folder is another process's for now."""

    failures: tuple[Failure, ...] = ()
    busy: bool = False

    @property
    def unsound(self) -> bool:
        """After an unforeseen error a process may be of no more use, as after one of CUDA's."""
        return any(failure.bug for failure in self.failures)


def work(tasks: Sequence[Task], jobs: int, progress: bool = True) -> list[Failure]:
    """Do all tasks in ``jobs`` processes; returns what failed. With several GPUs each process has one of its own.

    Raises:
        InputError: GPUs that would compute in different precisions.
        Interrupted: on Ctrl-C, SIGTERM or SIGHUP; tasks in progress then stop with a checkpoint written.
    """
    if not tasks:
        return []
    jobs = min(jobs, len(tasks))
    _check_alike(tasks, jobs)
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # else waiting threads take the other processes' cores
    logs = [task.log() for task in tasks]
    before = [each.steps() if each else 0 for each in logs]
    waiting = deque((number, False) for number in range(len(tasks)))
    workers: dict[int, _Worker] = {}
    finished: list[Task] = []
    failures: list[Failure] = []
    steps = sum(task.steps + task.tests for task in tasks)
    what = "network" if any(task.foreign for task in tasks) else "run"
    bar = track(name=counted(len(tasks), what), unit="step", total=steps, shown=progress)
    with collected_signals() as received, bar:
        try:
            while len(finished) < len(tasks):
                for slot in range(jobs):
                    if waiting and slot not in workers:
                        workers[slot] = _start(tasks, slot, jobs)
                    if waiting and workers[slot].task is None:
                        _give(workers, slot, waiting)
                for worker, outcome in _ended(workers, tasks):
                    number, worker.task = worker.task, None
                    if number is None:
                        continue
                    if outcome.busy:
                        log.info(f"{tasks[number].folder}: another process is at work in it; it comes last")
                        waiting.append((number, True))
                        continue
                    finished.append(tasks[number])
                    for failure in outcome.failures:
                        log.warning(f"failed: {replace(failure, problem=failure.reason)}")
                    failures += outcome.failures
                at_it = [(worker.task, worker.tested) for worker in workers.values() if worker.task is not None]
                trained = sum(max(0, each.steps() - before[number]) for number, _ in at_it if (each := logs[number]))
                tested = sum(int(tasks[number].tests * share) for number, share in at_it)
                bar.update(trained + tested + sum(task.steps + task.tests for task in finished) - bar.n)
                bar.set_postfix_str(f"{counted(len(finished), what)} done", refresh=False)
                if received:
                    raise Interrupted(received[0], "the grid's finished runs and the checkpoints of those in progress")
        except BaseException:
            _stop([worker.process for worker in workers.values()])
            raise
    for worker in workers.values():
        worker.connection.close()  # it ends
        worker.process.join()
    return failures


def _start(tasks: Sequence[Task], slot: int, jobs: int) -> _Worker:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(list(tasks), theirs, slot, jobs, os.getpid()), daemon=False)
    with starting():
        process.start()
    theirs.close()  # so that we see the end of the process as the end of the pipe
    return _Worker(slot, process, ours)


def _give(workers: dict[int, _Worker], slot: int, waiting: deque[tuple[int, bool]]) -> None:
    """The next task to an idle process; where that was killed meanwhile, the next turn starts another."""
    try:
        workers[slot].connection.send(waiting[0])
    except OSError:
        worker = workers.pop(slot)
        worker.connection.close()
        worker.process.join()
    else:
        workers[slot].task, workers[slot].tested = waiting.popleft()[0], 0.0


def _ended(workers: dict[int, _Worker], tasks: Sequence[Task]) -> list[tuple[_Worker, _Outcome]]:
    """Wait a moment for tests, or for tasks to end, well or not. Processes of no more use leave ``workers``."""
    ended = []
    wait([worker.connection for worker in workers.values()], timeout=0.5)
    for worker in list(workers.values()):
        # The pipe's end alone does not tell: processes that load images may hold it open after their parent's death.
        alive = worker.process.is_alive()
        if alive and not worker.connection.poll():
            continue
        try:
            outcome: _Outcome | float = worker.connection.recv() if worker.connection.poll() else _killed(worker, tasks)
        except (EOFError, OSError):
            worker.process.join()
            outcome = _killed(worker, tasks)
        if isinstance(outcome, float):
            worker.tested = outcome
            continue
        if outcome.unsound or not worker.process.is_alive():
            worker.connection.close()
            worker.process.join()
            del workers[worker.slot]
        ended.append((worker, outcome))
    return ended


def _killed(worker: _Worker, tasks: Sequence[Task]) -> _Outcome:
    if worker.task is None:
        return _Outcome()
    problem = f"a process was ended (exit code {worker.process.exitcode}); out of memory? Try fewer --jobs"
    return _Outcome((_of_all(tasks[worker.task], problem),))


def _stop(processes: Sequence[BaseProcess]) -> None:
    for process in processes:
        if process.is_alive():
            process.terminate()
    deadline = time.monotonic() + GRACE
    for process in processes:
        process.join(max(0.0, deadline - time.monotonic()))
        if process.is_alive():
            process.kill()


def _work(tasks: Sequence[Task], connection: Connection, slot: int, jobs: int, parent: int) -> None:
    """One process: the tasks that it is given; ends with its parent, and apart from its terminal's signals."""
    os.setsid()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    with tables_kept():
        while True:
            try:
                number, wait_for_it = connection.recv()
            except EOFError:
                return
            try:
                outcome = _Outcome(tuple(_do(tasks[number], slot, jobs, connection.send, wait_for_it)))
            except Busy:
                outcome = _Outcome(busy=True)
            except KeyboardInterrupt as stop:
                sys.exit(getattr(stop, "code", 130))
            connection.send(outcome)
            if outcome.unsound:
                return


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.2)
    os.kill(os.getpid(), signal.SIGKILL)


def _do(task: Task, slot: int, jobs: int, tell: Callable[[float], None], wait_for_it: bool = False) -> list[Failure]:
    """Train and test, and ``tell`` after each test what share of them is done; returns what failed.

    Raises:
        Busy: another process is at work in the run's folder, and we do not wait for it.
    """
    config = _placed(task.config, slot, jobs)
    try:
        if task.steps:
            train(config, progress=False, recorded=task.config, wait=wait_for_it)
        subject = task.runs[0].subject(config)
    except Busy:
        raise
    except InputError as error:
        return [_of_all(task, str(error))]
    except Exception:  # a bug, told with its traceback: no reason to lose the other runs
        return [_of_all(task, traceback.format_exc(), bug=True)]
    failures = []
    tests = [
        (run, missing, name)
        for run, missing in zip(task.runs, task.missing, strict=True)
        for name in dict.fromkeys([*missing, *(run.targets if run.divergence else ())])
    ]
    for done, (run, missing, name) in enumerate(tests, 1):
        try:  # each by itself: a damaged image of one target is no reason to lack the others
            if name in missing:
                tested = adapted(subject, name, progress=False) if run.adabn else subject
                evaluate(tested, [name], progress=False, oracle=run.oracle)
            if run.divergence:
                moments_of(subject, name, progress=False)
        except InputError as error:
            failures.append(Failure(task.folder, run.described, name, str(error)))
        except Exception:
            failures.append(Failure(task.folder, run.described, name, traceback.format_exc(), bug=True))
        tell(done / len(tests))
    return failures


def _of_all(task: Task, problem: str, bug: bool = False) -> Failure:
    return Failure(task.folder, " and ".join(run.described for run in task.runs), None, problem, bug)


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


def _check_alike(tasks: Sequence[Task], jobs: int) -> None:
    """Refuse GPUs on which ``auto`` would mean different precisions: figures would depend on which one took a run."""
    able = {number: has_bf16(torch.device("cuda", number)) for number in range(torch.cuda.device_count())[:jobs]}
    for config in (task.config for task in tasks):
        if config.precision == "auto" and config.device in ("auto", "cuda") and len(set(able.values())) > 1:
            one, other = (next(number for number, has in able.items() if has is wanted) for wanted in (True, False))
            config.fail("precision", f"'auto' is bf16 on cuda:{one} and float32 on cuda:{other}; give float32 or bf16")
