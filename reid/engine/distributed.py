"""One process of several that train one network together, as torchrun starts them: who it is, and what it shares.

Each takes whole people of the same batch. Gradients are averaged; batch statistics are each process's own.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import timedelta

import numpy as np
import torch
from torch import Tensor, distributed, nn

from reid.errors import InputError

PATIENCE = timedelta(hours=6)  # of a process that waits while another tests or draws a site
LOST = ("connection closed", "connection reset", "connection refused", "broken pipe", "socket", "timed out", "nccl")


def planned_world() -> int:
    """Processes that torchrun started, this one among them; 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def planned_rank() -> int:
    """This process's number among them, from 0."""
    return int(os.environ.get("RANK", "0"))


def local_rank() -> int | None:
    """This process's number on its machine, which is its GPU's; None without torchrun."""
    return int(os.environ["LOCAL_RANK"]) if planned_world() > 1 else None


def world_size() -> int:
    """Processes that train together; 1 where there is no other."""
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def rank() -> int:
    """This process's number among them, from 0."""
    return distributed.get_rank() if world_size() > 1 else 0


@contextmanager
def joined(device: torch.device) -> Iterator[None]:
    """Inside, this process is one of those that torchrun started; without torchrun nothing happens.

    Raises:
        InputError: another process ended, whose own message says why.
    """
    if planned_world() == 1:
        yield
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    distributed.init_process_group(backend, timeout=PATIENCE)
    try:
        yield
    except RuntimeError as error:
        lost = isinstance(error, distributed.DistError) or any(word in str(error).lower() for word in LOST)
        if not lost:
            raise
        raise InputError(
            f"process {planned_rank()} of {planned_world()}: another one ended, and said why; the same command goes on "
            f"from the last checkpoint ({str(error).splitlines()[0]})"
        ) from None
    finally:
        distributed.destroy_process_group()


def averaging(module: nn.Module, device: torch.device) -> nn.Module:
    """``module``, whose gradients are averaged over all processes; their first weights are process 0's."""
    if world_size() == 1:
        return module
    on = [device] if device.type == "cuda" else None
    return nn.parallel.DistributedDataParallel(module, device_ids=on, broadcast_buffers=False)


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


def concatenated(rows: np.ndarray) -> np.ndarray:
    """The rows of all processes, in their order; they may be of different number."""
    if world_size() == 1:
        return rows
    parts: list[np.ndarray | None] = [None] * world_size()
    distributed.all_gather_object(parts, rows)
    return np.concatenate([part for part in parts if part is not None])


class Agreement:
    """Whether any process wants to stop, known to all at the same step. It is asked at one step and answered at the
    next, so that none waits for it."""

    def __init__(self) -> None:
        self._asked: tuple[Tensor, distributed.Work] | None = None

    def __call__(self, wanted: bool) -> bool:
        if world_size() == 1:
            return wanted
        agreed = False
        if self._asked is not None:
            flag, work = self._asked
            work.wait()
            agreed = bool(flag.item())
        flag = torch.tensor(int(wanted))
        asked = distributed.all_reduce(flag, distributed.ReduceOp.MAX, async_op=True)
        assert asked is not None
        self._asked = flag, asked
        return agreed
