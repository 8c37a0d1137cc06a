"""Everything that training changes, and one step of it: network, losses, optimisers, scaler and moving average."""

from __future__ import annotations

import copy
import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from reid.config import OptimConfig
from reid.engine import distributed
from reid.engine.extract import Placement
from reid.engine.objective import Objective
from reid.errors import InputError
from reid.models import Embedder

WARM_UP_STEPS = 3  # timed before and after compiling


@dataclass(frozen=True)
class Part:
    """What a process computes of a step at once.

    Attributes:
        images: (B, 3, H, W) as the loader gives them.
        labels, cameras: (B,) people from 0, and cameras.
    """

    images: Tensor
    labels: Tensor
    cameras: Tensor


class _Trained(nn.Module):
    """Network and losses as one module, so that the gradients of both are averaged over processes."""

    def __init__(self, network: Embedder, objective: Objective) -> None:
        super().__init__()
        self.network, self.objective = network, objective

    def forward(self, images: Tensor, labels: Tensor, cameras: Tensor) -> tuple[Tensor, Tensor]:
        total, shown = self.objective(self.network(images), labels, cameras)
        return total, shown


class TrainState:
    """A network in training on its device.

    Args:
        network: in training mode after this, on the device.
        objective: its losses; parameters of their own take plain gradient steps of size ``rate`` of their unweighted
            value.
        optim: optimiser, rates, freezing, clipping, averaging.
        prepare: images of a :class:`Part` that lie on the device to the network's input.
        sync_batchnorm: on several CUDA devices, batch statistics of all of them.
    """

    def __init__(
        self,
        network: Embedder,
        objective: Objective,
        optim: OptimConfig,
        placement: Placement,
        prepare: Callable[[Tensor], Tensor],
        sync_batchnorm: bool = False,
    ) -> None:
        network = network.to(placement.device).to(memory_format=torch.channels_last).train()
        if sync_batchnorm and distributed.world_size() > 1:
            network = nn.SyncBatchNorm.convert_sync_batchnorm(network)
        self.network, self.objective = network, objective.to(placement.device)
        self.optimizer = make_optimizer(network, optim)
        self._own = _optimizer_of_losses(self.objective)
        self.placement = placement
        self._clip, self._decay, self._prepare = optim.clip, optim.ema, prepare
        self.scaler = torch.amp.GradScaler(placement.device.type, enabled=placement.dtype == torch.float16)
        self.average: Embedder | None = None
        if optim.ema > 0:
            self.average = copy.deepcopy(network).requires_grad_(False).eval()
        self.updates = 0  # of the average
        self._backbone = [parameter for parameter in network.backbone.parameters() if parameter.requires_grad]
        self._frozen = False
        self._wrap()

    @property
    def tested(self) -> Embedder:
        """The network that is tested: the moving average where there is one."""
        return self.network if self.average is None else self.average

    def step(self, parts: Sequence[Part], rate: float, frozen: bool = False) -> Tensor:
        """One step of the optimiser on all ``parts``, whose gradients are averaged; returns (4 + losses) means over
        the parts, and over processes, of what :attr:`Objective.shown` names, on the device. Nothing here waits for it.

        Args:
            rate: learning rate of the head; the backbone's is it times its factor.
            frozen: leave the backbone, its batch-norm statistics too, as it is.
        """
        self._freeze(frozen)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["factor"]
        optimizers = [self.optimizer, *([self._own] if self._own else [])]
        shown = []
        for number, part in enumerate(parts):
            with distributed.averaged(self._module, now=number == len(parts) - 1):
                total, values = self._forward(part)
                if number == 0:  # not before: the backward pass then finds their memory, still mapped
                    for optimizer in optimizers:
                        optimizer.zero_grad(set_to_none=True)
                self.scaler.scale(total if len(parts) == 1 else total / len(parts)).backward()
            shown.append(values)
        if self._clip is not None:
            self.scaler.unscale_(self.optimizer)
            gradients = [p for group in self.optimizer.param_groups for p in group["params"] if p.grad is not None]
            nn.utils.clip_grad_norm_(gradients, self._clip)
        for optimizer in optimizers:
            self.scaler.step(optimizer)
        self.scaler.update()
        self._average()
        return distributed.mean_of_all(shown[0] if len(shown) == 1 else torch.stack(shown).mean(dim=0))

    def compile(self, parts: Sequence[Part], frozen: bool = False) -> str:
        """Compile the network for batches like these; returns what that took and from which step on it pays.

        The parts are only measured with: statistics, gradients and random state are as before. ``frozen``: as for
        :meth:`step`; the first step of the other kind compiles anew.

        Raises:
            InputError: it cannot be compiled here (without a C++ compiler, say).
        """
        self._freeze(frozen)
        module, device = self._module, self.placement.device
        kept = {name: value.clone() for name, value in module.state_dict().items()}
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            eager = self._seconds(parts)
            started = time.perf_counter()
            self.network.compile()
            try:
                self._seconds(parts, 1)
            except RuntimeError as error:
                if not type(error).__module__.startswith(("torch._dynamo.", "torch._inductor.")):
                    raise
                said = " ".join(str(error).split("\n\n")[0].split())  # what follows is for those who work on torch
                raise InputError(
                    f"compile: true: torch cannot compile the network here ({said}); choose false"
                ) from error
            taken = time.perf_counter() - started
            compiled = self._seconds(parts)
        module.load_state_dict(kept)
        module.zero_grad(set_to_none=True)
        gain = eager - compiled
        pays = f"pays after {math.ceil(taken / gain):,} steps" if gain > 0 else "does not pay"
        return f"compiled in {taken:.1f} s; a step takes {compiled:.3f} s, {eager:.3f} before: {pays}"

    def tensors(self) -> dict[str, Tensor]:
        """Everything by name, as a checkpoint holds it."""
        stored = {f"model.{name}": value for name, value in self.network.state_dict().items()}
        for number, parameter in enumerate(_parameters(self.optimizer)):
            for key, value in self.optimizer.state[parameter].items():
                if value is not None:  # SGD's momentum, where there is none
                    stored[f"optimizer.{number}.{key}"] = value
        stored |= {f"losses.{name}": value for name, value in self.objective.losses.state_dict().items()}
        if self.average is not None:
            stored |= {f"average.{name}": value for name, value in self.average.state_dict().items()}
            stored["updates"] = torch.tensor(self.updates)
        for name, value in self.scaler.state_dict().items():
            stored[f"scaler.{name}"] = torch.tensor(value)
        stored["random"] = torch.get_rng_state()
        if self.placement.device.type == "cuda":
            stored["random.cuda"] = torch.cuda.get_rng_state(self.placement.device)
        return stored

    def load(self, stored: Mapping[str, Tensor]) -> None:
        """Take over what :meth:`tensors` gave.

        Raises:
            RuntimeError, KeyError: tensors of another network or other losses.
        """
        self.network.load_state_dict(_below("model.", stored))
        for number, parameter in enumerate(_parameters(self.optimizer)):
            state = _below(f"optimizer.{number}.", stored)
            if state:
                self.optimizer.state[parameter] = {name: _like(value, parameter) for name, value in state.items()}
        self.objective.losses.load_state_dict(_below("losses.", stored))
        if self.average is not None:
            self.average.load_state_dict(_below("average.", stored))
            self.updates = int(stored["updates"])
        if scaler := _below("scaler.", stored):
            self.scaler.load_state_dict({name: value.item() for name, value in scaler.items()})
        torch.set_rng_state(stored["random"])
        if self.placement.device.type == "cuda" and "random.cuda" in stored:
            torch.cuda.set_rng_state(stored["random.cuda"], self.placement.device)

    def _forward(self, part: Part) -> tuple[Tensor, Tensor]:
        device = self.placement.device
        images = self._prepare(part.images.to(device, non_blocking=True))
        labels, cameras = part.labels.to(device, non_blocking=True), part.cameras.to(device, non_blocking=True)
        with self.placement.autocast():
            total, shown = self._module(images, labels, cameras)
        return total, shown

    def _wrap(self) -> None:
        trained = _Trained(self.network, self.objective)
        read = {name for term in self.objective.terms for name in term.loss.input}  # type: ignore[union-attr]
        whole = not read.isdisjoint({"logits", "classes"})  # else the classifier, or the neck too, has no gradient
        self._module: nn.Module = distributed.averaging(trained, self.placement.device, unused=not whole)

    def _freeze(self, frozen: bool) -> None:
        backbone = self.network.backbone
        if frozen and backbone.training:  # again after each validation, which ends in training mode
            backbone.eval()
        if frozen != self._frozen:
            self._frozen = frozen
            for parameter in self._backbone:
                parameter.requires_grad_(not frozen)
            backbone.train(not frozen)
            self._wrap()

    @torch.no_grad()
    def _average(self) -> None:
        """Weights and buffers move towards the network's; in the first steps faster, else the start would count long
        (as TensorFlow's ExponentialMovingAverage with ``num_updates``)."""
        if self.average is None:
            return
        self.updates += 1
        share = 1 - min(self._decay, (1 + self.updates) / (10 + self.updates))
        pairs = zip(self.average.state_dict().values(), self.network.state_dict().values(), strict=True)
        real: list[tuple[Tensor, Tensor]] = []
        whole: list[tuple[Tensor, Tensor]] = []
        for average, value in pairs:
            (real if average.is_floating_point() else whole).append((average, value))
        torch._foreach_lerp_([average for average, _ in real], [value for _, value in real], share)
        for average, value in whole:  # counts of batches
            average.copy_(value)

    def _seconds(self, parts: Sequence[Part], repeats: int = WARM_UP_STEPS) -> float:
        """Median time of forward and backward."""
        times = []
        for _ in range(repeats):
            started = time.perf_counter()
            for part in parts:
                self._forward(part)[0].backward()
            if self.placement.device.type == "cuda":
                torch.cuda.synchronize(self.placement.device)
            times.append(time.perf_counter() - started)
        return statistics.median(times)


def make_optimizer(network: Embedder, optim: OptimConfig) -> torch.optim.Optimizer:
    """Of the trained parameters, in two groups: the backbone's, whose rate is lower where asked for, and the head's."""
    trained = [(name, p) for name, p in network.named_parameters() if p.requires_grad]
    groups = [
        {"params": [p for name, p in trained if name.startswith("backbone.")], "factor": optim.backbone_lr},
        {"params": [p for name, p in trained if not name.startswith("backbone.")], "factor": 1.0},
    ]
    rate, decay = optim.lr, optim.weight_decay
    if optim.name == "sgd":
        return torch.optim.SGD(groups, rate, optim.momentum, weight_decay=decay, nesterov=optim.nesterov, fused=True)
    adam = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[optim.name]
    return adam(groups, rate, weight_decay=decay, fused=True)


def learning_rate_at(optim: OptimConfig, step: int, steps_per_epoch: int, total_steps: int) -> float:
    """Linear warm-up from a tenth of ``lr``, then steps (Luo et al. 2019, sec. 3.1) or half a cosine down to 0."""
    position = step / steps_per_epoch
    if position < optim.warmup:
        return optim.lr * (0.1 + 0.9 * position / optim.warmup)
    if optim.schedule == "steps":
        return optim.lr * optim.gamma ** sum(position >= milestone for milestone in optim.milestones)
    warm = optim.warmup * steps_per_epoch
    return optim.lr * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(total_steps - warm, 1)))


def _optimizer_of_losses(objective: Objective) -> torch.optim.Optimizer | None:
    """Plain gradient steps: divided by the weight, a loss' gradient is that of its unweighted value (Luo et al. 2019's
    centres)."""
    groups = []
    for term in objective.terms:
        if parameters := list(term.loss.parameters()):
            loss: Any = term.loss
            groups.append({"params": parameters, "lr": loss.rate / term.weight})
    return torch.optim.SGD(groups, fused=True) if groups else None  # else a loss scaler would wait for the device


def _parameters(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def _below(prefix: str, stored: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in stored.items() if name.startswith(prefix)}


def _like(value: Tensor, parameter: Tensor) -> Tensor:
    """``value`` where and how the parameter lies in memory: fused steps need channels_last beside channels_last."""
    if value.shape != parameter.shape:
        return value.to(parameter.device)
    return torch.empty_like(parameter, dtype=value.dtype, requires_grad=False).copy_(value)
