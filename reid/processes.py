"""Child processes that get nothing by accident: no threads, not the calling script, no signal for their parent. And the
signals that ask to stop: what is in progress ends, and is saved."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import connection, forkserver, resource_tracker
from multiprocessing.context import BaseContext
from types import ModuleType

# They reach a whole process group (Ctrl-C, a closed terminal) or all of a job (Slurm, systemd): the parent answers
# them, and needs its children for the step that it ends.
STOPPING = frozenset({signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
# macOS does not tell who sent a signal: there any SIGTERM ends a child, as its parent's must.
HELD = STOPPING if hasattr(signal, "sigtimedwait") else STOPPING - {signal.SIGTERM}
_one_at_a_time = threading.Lock()


@contextmanager
def starting() -> Iterator[None]:
    """Children started inside (spawn, forkserver) begin with the signals of ``HELD`` blocked, and do not run the
    calling script, which by default they would: one without a guard would begin anew in each child, and one on
    standard input cannot be found.
    """
    with _one_at_a_time:
        resource_tracker.ensure_running()  # its start, which otherwise comes with the first child, lets go of signals
        before = signal.pthread_sigmask(signal.SIG_BLOCK, HELD)
        script = sys.modules["__main__"]
        sys.modules["__main__"] = ModuleType("__main__")
        try:
            yield
        finally:
            sys.modules["__main__"] = script
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def fork_server(module: str) -> BaseContext:
    """The context whose children are forked from a server: a process of one thread that has imported ``module`` and
    nothing else. It starts once a process, in the background, and ends with it.

    Forked from the process at work itself, a child would get the locks and counts of thread pools (OpenCV's,
    OpenVINO's) without their threads: it breaks off or waits for ever where it uses them.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([module])
    # Importing numpy starts threads unless told not to, and up to Python 3.12 the server is not given sys.path.
    with starting(), _environment(OPENBLAS_NUM_THREADS="1", PYTHONPATH=os.pathsep.join(filter(None, sys.path))):
        forkserver.ensure_running()
    return context


@contextmanager
def _environment(**values: str) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def end_with_parent() -> None:
    """Called in a child: it ends when its parent does, however that ends, and when the parent terminates it. Signals
    of ``HELD`` from others than the parent are ignored."""
    signal.pthread_sigmask(signal.SIG_BLOCK, HELD)  # where another program's fork server was running
    threading.Thread(target=_wait_for_end, daemon=True).start()


def _wait_for_end() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    while not connection.wait([parent.sentinel], 0.2):
        told = signal.sigtimedwait([signal.SIGTERM], 0) if signal.SIGTERM in HELD else None
        if told is not None and told.si_pid == parent.pid:
            break
    os._exit(1)


PARENT = "REID_PARENT"  # in the environment of a command that another started: the number of that process


def environment_of_child() -> dict[str, str]:
    """The environment of a command that this process starts, which finds the same packages and ends with it (see
    :func:`end_with_starter`)."""
    return {**os.environ, PARENT: str(os.getpid()), "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


def end_with_starter(grace: float = 120.0) -> None:
    """Called in a command: where another process of this project started it, it stops as on SIGTERM when that process
    is gone, however that ended; within ``grace`` seconds, in which a checkpoint is written."""
    if PARENT in os.environ:
        threading.Thread(target=_wait_for_starter, args=(int(os.environ.pop(PARENT)), grace), daemon=True).start()


def _wait_for_starter(starter: int, grace: float) -> None:
    while os.getppid() == starter:
        time.sleep(0.2)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(grace)
    os._exit(1)


class Interrupted(KeyboardInterrupt):
    """A signal ended the run between two steps, after a checkpoint was written. ``code`` is the exit code to use."""

    def __init__(self, signal_number: int, saved: str) -> None:
        name = signal.Signals(signal_number).name
        super().__init__(f"stopped by {name}; saved {saved}; the same command goes on from there")
        self.code = 128 + signal_number


@contextmanager
def collected_signals(alone: bool = True) -> Iterator[list[int]]:
    """Collect the signals that ask to stop (Ctrl-C, SIGTERM, a closed terminal's SIGHUP) so that the step in progress
    can end; Ctrl-C after one of them interrupts at once. What the caller ignores (``nohup``, a shell's background job)
    stays ignored. Not ``alone``: Ctrl-C comes twice, from the terminal and handed on by torchrun, and the second is as
    the first.
    """
    received: list[int] = []

    def handler(number: int, frame: object) -> None:
        # A closed terminal and `timeout` send theirs twice: only a person who presses again is impatient.
        if received and number == signal.SIGINT and alone:
            raise KeyboardInterrupt
        received.append(number)

    answered = [number for number in STOPPING if signal.getsignal(number) != signal.SIG_IGN]
    old = {number: signal.signal(number, handler) for number in answered}
    try:
        yield received
    finally:
        for number, previous in old.items():
            signal.signal(number, previous)
