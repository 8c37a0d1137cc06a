"""One process of several that train one network together, as torchrun starts them: who it is, and what it shares.

Each takes whole people of the same batch. Gradients are averaged; batch statistics are each process's own.
"""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import timedelta
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, distributed, nn

from reid.errors import InputError

PATIENCE = timedelta(hours=6)  # of a process that waits while another tests or draws a site
# What gloo, the store and nccl say of a process that is gone. Errors of the code and of memory have other words.
LOST = ("connection closed", "connection reset", "connection refused", "broken pipe", "timed out", "nccl")

Value = TypeVar("Value")


def planned_world() -> int:
    """Processes that torchrun started, this one among them; 1 without it."""
    return _told("WORLD_SIZE") if "WORLD_SIZE" in os.environ else 1


def planned_rank() -> int:
    """This process's number among them, from 0."""
    return _told("RANK") if planned_world() > 1 else 0


def local_world() -> int:
    """Processes that torchrun started on this machine."""
    return _told("LOCAL_WORLD_SIZE") if "LOCAL_WORLD_SIZE" in os.environ else 1


def local_rank() -> int | None:
    """This process's number on its machine, which is its GPU's; None without torchrun."""
    return _told("LOCAL_RANK") if planned_world() > 1 else None


def _told(name: str) -> int:
    text = os.environ.get(name, "")
    if not text.isdecimal():
        raise InputError(
            f"${name}: not a number: {text!r}; torchrun sets it for several processes; for one unset WORLD_SIZE"
        )
    return int(text)


def world_size() -> int:
    """Processes that train together; 1 where there is no other."""
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def rank() -> int:
    """This process's number among them, from 0."""
    return distributed.get_rank() if world_size() > 1 else 0


@contextmanager
def joined(device: torch.device) -> Iterator[None]:
    """Inside, this process is one of those that torchrun started, of which the first tells how it goes; without
    torchrun nothing happens.

    Raises:
        InputError: another process ended, whose own message says why; or something else than torchrun set WORLD_SIZE.
    """
    if planned_world() == 1:
        yield
        return
    if unset := [f"${name}" for name in ("RANK", "MASTER_ADDR", "MASTER_PORT") if name not in os.environ]:
        raise InputError(
            f"$WORLD_SIZE: {planned_world()}, but {', '.join(unset)} not set; torchrun sets all of them for several "
            "processes; for one unset WORLD_SIZE"
        )
    if planned_rank() > 0:
        logging.getLogger("reid").setLevel(logging.ERROR)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    try:
        distributed.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo", timeout=PATIENCE)
        yield
    except RuntimeError as error:
        lost = isinstance(error, distributed.DistError) or any(word in str(error).lower() for word in LOST)
        if not lost:
            raise
        raise InputError(
            f"process {planned_rank()} of {planned_world()}: another one ended; its message, or torchrun's, says why. "
            f"The same command goes on from the last checkpoint ({str(error).splitlines()[0].split('. ')[0]})"
        ) from None
    distributed.destroy_process_group()  # after an error the others may never come to it


@contextmanager
def first_before_others() -> Iterator[None]:
    """The first process goes through the block, then the others: what it makes or refuses they find."""
    if rank() > 0:
        wait_for_all()
    yield
    if rank() == 0:
        wait_for_all()


def averaging(module: nn.Module, device: torch.device, unused: bool) -> nn.Module:
    """``module``, whose gradients are averaged over all processes; their first weights are process 0's. ``unused``:
    its output does not depend on some of its parameters."""
    if world_size() == 1:
        return module
    on = [device] if device.type == "cuda" else None
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`broadcast_buffers`", FutureWarning)  # torch 2.9 lacks what follows it
        return nn.parallel.DistributedDataParallel(
            module, device_ids=on, broadcast_buffers=False, find_unused_parameters=unused
        )


def averaged(module: nn.Module, now: bool) -> AbstractContextManager[None]:
    """Whether the backward pass inside averages the gradients, or keeps them for one that will."""
    if now or not isinstance(module, nn.parallel.DistributedDataParallel):
        return nullcontext()
    return module.no_sync()


class _Gather(torch.autograd.Function):
    """Every process computes the same loss of all rows: the gradient of its own rows, times the number of processes,
    since their mean is taken afterwards."""

    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        parts = [torch.empty_like(x) for _ in range(world_size())]
        distributed.all_gather(parts, x.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: object, gradient: Tensor) -> Tensor:
        return gradient.chunk(world_size())[rank()] * world_size()


def gathered(x: Tensor) -> Tensor:
    """(W * B, ...) rows of all W processes, in their order, of this one's (B, ...); with gradients."""
    return x if world_size() == 1 else _Gather.apply(x)


def mean_of_all(values: Tensor) -> Tensor:
    """The mean over all processes, on the device."""
    if world_size() > 1:
        distributed.all_reduce(values)
        values /= world_size()
    return values


def share_buffers(module: nn.Module) -> None:
    """Give every process the buffers (batch statistics) of process 0, whose are kept."""
    if world_size() > 1:
        for buffer in module.buffers():
            distributed.broadcast(buffer, 0)


def wait_for_all() -> None:
    """Go on when all processes are here."""
    if world_size() > 1:
        distributed.barrier()


def of_first(value: Value | None) -> Value | None:
    """The ``value`` that the first process gives, in all of them."""
    if world_size() == 1:
        return value
    values = [value]
    distributed.broadcast_object_list(values, 0)
    return values[0]


def in_shares(count: int, size: int, rows: Callable[[slice], np.ndarray]) -> np.ndarray | None:
    """(count, ...) ``rows``, of which each process computes its share, whole batches of ``size`` in their order; the
    first gets all of them, the others None."""
    if world_size() == 1:
        return rows(slice(0, count))
    batches = -(-count // size)
    low, high = (min(batches * number // world_size() * size, count) for number in (rank(), rank() + 1))
    ours = rows(slice(low, high)) if low < high else None
    parts: list[np.ndarray | None] | None = [None] * world_size() if rank() == 0 else None
    distributed.gather_object(ours, parts)
    return None if parts is None else np.concatenate([part for part in parts if part is not None])


class Agreement:
    """Whether any process wants to stop, known to all at the same step. It is asked at one step and answered at the
    next, so that none waits for it."""

    def __init__(self) -> None:
        self._asked: tuple[Tensor, distributed.Work] | None = None

    def __call__(self, wanted: bool, last: bool = False) -> bool:
        """Whether any process wanted to at the step before; at the ``last`` one, at this too."""
        if world_size() == 1:
            return wanted
        agreed = self._answer()
        flag = torch.tensor(int(wanted))
        asked = distributed.all_reduce(flag, distributed.ReduceOp.MAX, async_op=True)
        assert asked is not None
        self._asked = flag, asked
        return self._answer() or agreed if last else agreed

    def _answer(self) -> bool:
        if self._asked is None:
            return False
        flag, work = self._asked
        self._asked = None
        work.wait()
        return bool(flag.item())
