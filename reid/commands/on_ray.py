"""Work on a Ray cluster (extra ``ray``): shards of crops, and the runs of a grid, as tasks of its own.

Nodes share a file system and this package; what is done lies in files there, so that a task that is lost with its node
is run again elsewhere, and passes over what it had done. Ray runs whatever it is sent: a cluster is a network of people
who trust each other.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reid.errors import InputError

if TYPE_CHECKING:
    from reid.gallery.shards import Done

SHARES = 4  # tasks a core or GPU, of those that load a network: fewer loads, but more to do again and to wait for
RETRIES = 10  # of a task whose node or process is lost
LINES = 20  # of what a run says at its end


def embed_shards_on(
    address: str, shards: Sequence[Path], outputs: Sequence[Path], model: str, overrides: Sequence[str], gpu: bool
) -> Iterator[list[Done]]:
    """As :func:`reid.gallery.shards.embed_shards`, the shards spread over a cluster, some a task, as they are done.

    Args:
        gpu: each task takes one of the cluster's GPUs, if it has any.

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


def run_commands_on(address: str, commands: Sequence[Sequence[str]], gpu: bool) -> Iterator[tuple[int, int, str]]:
    """Run ``reid COMMAND ...`` in this folder, each as a task; as they end the command's place, exit code and last
    lines.

    Raises:
        InputError: as :func:`embed_shards_on`.
    """
    with _cluster(address) as ray:
        for place, (code, said) in _results(ray, _run, [(command, str(Path.cwd())) for command in commands], gpu):
            yield place, code, said


@contextmanager
def _cluster(address: str) -> Iterator[Any]:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError:
        raise InputError("--ray: Ray is not installed: pip install 'reid-gap[ray]'") from None
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, ValueError, RuntimeError) as error:
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
        except (
            ray.exceptions.WorkerCrashedError,
            ray.exceptions.RaySystemError,
            ray.exceptions.NodeDiedError,
        ) as error:
            raise InputError(f"--ray: a task was lost {RETRIES} times; the same command goes on: {error}") from None
        yield places.pop(ended), result


def _embed(model: str, overrides: Sequence[str], pairs: Sequence[tuple[Path, Path]], folder: str) -> list[Done]:
    """A task: the network is loaded once for its shards."""
    from reid.gallery.shards import Done, embed_shards
    from reid.networks import load

    os.chdir(folder)
    try:
        network = load(model, overrides)
        return list(embed_shards([shard for shard, _ in pairs], [output for _, output in pairs], network))
    except InputError as error:  # of this node: the network or the folder is not there
        return [Done(str(shard), problem=str(error)) for shard, _ in pairs]


def _run(command: Sequence[str], folder: str) -> tuple[int, str]:
    """A task: a command in a process of its own, since it may be asked to stop, and holds a GPU until it ends."""
    words = [sys.executable, "-m", "reid.cli", *command]
    process = subprocess.Popen(words, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    said = deque(process.stdout, LINES)
    return process.wait(), "".join(said)
