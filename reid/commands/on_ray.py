"""Work on a Ray cluster (extra ``ray``): shards of crops, and the runs of a grid, as tasks of its own.

Nodes share a file system and this package; what is done lies in files there, so that a task that is lost with its node
is run again elsewhere, and passes over what it had done. Ray runs whatever it is sent: a cluster is a network of people
who trust each other.
"""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reid.errors import InputError
from reid.processes import environment_of_child
from reid.progress import track

if TYPE_CHECKING:
    from reid.embedding.shards import Done
    from reid.evaluation.entries import Failure
    from reid.evaluation.tasks import Task

SHARES = 4  # tasks a core or GPU, of those that load a network: fewer loads, but more to do again and to wait for
RETRIES = 10  # of a task whose node or process is lost


def embed_shards_on(
    address: str, shards: Sequence[Path], outputs: Sequence[Path], model: str, overrides: Sequence[str], gpu: bool
) -> Iterator[list[Done]]:
    """As :func:`reid.embedding.shards.embed_shards`, some shards a task, as they are done; with ``gpu`` each takes one
    of the cluster's GPUs, if it has any.

    Raises:
        InputError: no cluster there, or one that loses a task again and again.
    """
    pairs = list(zip(shards, outputs, strict=True))
    with _cluster(address) as ray:
        have = ray.cluster_resources()
        slots = int((have.get("GPU", 0) if gpu else 0) or have.get("CPU", 0)) or 1
        size = max(1, len(pairs) // (SHARES * slots))
        some = [pairs[low : low + size] for low in range(0, len(pairs), size)]
        calls = [(model, tuple(overrides), part, str(Path.cwd())) for part in some]
        yield from (done for _, done in _results(ray, _embed, calls, gpu))


def work_on(address: str, tasks: Sequence[Task], words: Callable[[Task], Sequence[str]], output: Path) -> list[Failure]:
    """As :func:`reid.evaluation.scheduler.work`, on a cluster; ``words`` of a task are those that follow ``reid``.

    Raises:
        InputError: as :func:`embed_shards_on`.
    """
    from reid.evaluation.parts import Report, of_all, report_file

    reports = [report_file(output, task.name) for task in tasks]
    commands = [(words(task), report.with_suffix(".log")) for task, report in zip(tasks, reports, strict=True)]
    failures: list[Failure] = []
    with track(name="runs", unit="run", total=len(tasks)) as bar:
        for place, (code, said) in run_commands_on(address, commands, any(one.config.device != "cpu" for one in tasks)):
            bar.update()
            told = Report.read(reports[place]).failures if code in (1, 2) else ()
            if code and not told:
                problem = f"{said.removeprefix('error: ')} (exit code {code}, {commands[place][1]})"
                told = (of_all(tasks[place], problem, bug=code == 1),)
            failures += told
    return failures


def run_commands_on(
    address: str, commands: Sequence[tuple[Sequence[str], Path]], gpu: bool
) -> Iterator[tuple[int, tuple[int, str]]]:
    """Run ``reid COMMAND ...`` in this folder, each as a task with a log; as they end their place, exit code and last
    line.

    Raises:
        InputError: as :func:`embed_shards_on`.
    """
    calls = [(list(words), str(Path.cwd()), log.absolute()) for words, log in commands]
    with _cluster(address) as ray:
        yield from _results(ray, _run, calls, gpu)


@contextmanager
def _cluster(address: str) -> Iterator[Any]:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError:
        raise InputError("--ray: Ray is not installed: pip install 'reid-gap[ray]'") from None
    host, _, port = address.rpartition(":")
    try:
        if port.isdecimal() and "/" not in host:  # Ray itself would try for two minutes
            socket.create_connection((host, int(port)), timeout=10).close()
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (OSError, OverflowError, ValueError, RuntimeError) as error:
        raise InputError(f"--ray {address}: no Ray cluster answers there: {error}") from None
    try:
        yield ray
    finally:
        ray.shutdown()


def _results(ray: Any, function: Callable[..., Any], calls: Sequence[tuple], gpu: bool) -> Iterator[tuple[int, Any]]:
    """Each call's place and result, as they end."""
    gpus = 1 if gpu and ray.cluster_resources().get("GPU", 0) else 0
    task = ray.remote(num_cpus=1, num_gpus=gpus, max_retries=RETRIES)(function)
    places = {task.remote(*call): place for place, call in enumerate(calls)}
    while places:
        (ended,), _ = ray.wait(list(places), num_returns=1)
        try:
            result = ray.get(ended)
        except ray.exceptions.RayTaskError:  # raised by the function itself: a bug
            raise
        except ray.exceptions.RayError as error:
            raise InputError(f"--ray: a task was lost {RETRIES} times; the same command goes on: {error}") from None
        yield places.pop(ended), result


def _embed(model: str, overrides: Sequence[str], pairs: Sequence[tuple[Path, Path]], folder: str) -> list[Done]:
    """A task: the network is loaded once for its shards."""
    from reid.embedding.shards import Done, embed_shards
    from reid.networks import load

    os.chdir(folder)
    try:
        network = load(model, overrides)
        return list(embed_shards([shard for shard, _ in pairs], [output for _, output in pairs], network))
    except InputError as error:  # of this node: the network or the folder is not there
        return [Done(str(shard), problem=str(error)) for shard, _ in pairs]


def _run(words: Sequence[str], folder: str, log: Path) -> tuple[int, str]:
    """A task: a command in a process of its own, which gives a GPU back when it ends, and ends when this one does."""
    log.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-P", "-m", "reid.cli", *words]
    with log.open("ab+") as file:
        begins = file.tell()
        done = subprocess.run(command, cwd=folder, env=environment_of_child(), stdout=file, stderr=file, check=False)
        file.seek(begins)
        lines = file.read().decode(errors="replace").strip().splitlines()
    return done.returncode, lines[-1] if lines else "it said nothing"
