"""One process of several that train one network together, as torchrun starts them: who it is, and what it shares."""

from __future__ import annotations

import torch
from torch import Tensor, distributed


def world_size() -> int:
    """Processes that train together; 1 where there is no other."""
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def rank() -> int:
    """This process's number among them, from 0."""
    return distributed.get_rank() if world_size() > 1 else 0


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
