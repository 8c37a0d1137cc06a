"""What two processes of tests/engine/test_distributed.py do together, and one alone for comparison.

As a program, started by torchrun: ``together.py FOLDER MARKET``; its end is that the second process is killed.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from conftest import tiny_overrides
from torch import Tensor

from reid.config import Config, OptimConfig, load_config
from reid.engine import build, train
from reid.engine.distributed import Agreement, in_shares, joined, of_first, rank, world_size
from reid.engine.objective import Objective
from reid.engine.state import Part, TrainState
from reid.errors import InputError
from reid.processes import Interrupted

PEOPLE, IMAGES = 8, 2


def overrides_of(market: Path, run: str) -> list[str]:
    """A run of four epochs whose first always leaves a checkpoint, since it is the best so far."""
    settings = ["model.backbone=resnet18", "sampler.identities=4", "selection.holdout=0.3", "optim.epochs=4"]
    return [*tiny_overrides(market), *settings, "evaluation.batch_size=8", f"run={run}"]


def config_of(market: Path, run: str = "none", *overrides: str) -> Config:
    return load_config("market_bn.yaml", [*overrides_of(market, run), *overrides])


def state_of(config: Config, classes: int = PEOPLE) -> TrainState:
    """In float64, so that differences of rounding do not grow with the steps."""
    torch.manual_seed(0)
    network = build.embedder(config, classes).double()
    objective = Objective(build.losses(config, classes, network.channels))
    return TrainState(network, objective, config.optim, build.placement(config), lambda images: images)


def parts_of(step: int, count: int) -> list[Part]:
    """A batch in so many parts of whole people."""
    draws = torch.Generator().manual_seed(step)
    images = torch.randn(PEOPLE * IMAGES, 3, 32, 16, generator=draws, dtype=torch.float64)
    labels = torch.arange(PEOPLE).repeat_interleave(IMAGES)
    pieces = zip(images.chunk(count), labels.chunk(count), strict=True)
    return [Part(chunk, people, torch.zeros_like(people)) for chunk, people in pieces]


def gradients_of(state: TrainState) -> dict[str, Tensor]:
    return {name: p.grad.contiguous() for name, p in state.network.named_parameters() if p.grad is not None}


def weights_of(state: TrainState) -> dict[str, Tensor]:
    averages = {} if state.average is None else dict(state.average.named_parameters(prefix="average"))
    named = {**dict(state.network.named_parameters()), **averages}
    return {name: value.detach().contiguous() for name, value in named.items()}


def after_steps(config: Config, steps: int, count: int, frozen: int = 0) -> tuple[dict[str, Tensor], Tensor]:
    """Weights after so many steps, of which the first are ``frozen``, on batches of ``count`` parts in all, and what
    the last step showed."""
    state = state_of(config)
    each = count // world_size()
    for step in range(steps):
        ours = parts_of(step, count)[rank() * each : (rank() + 1) * each]
        shown = state.step(ours, rate=1e-3, frozen=step < frozen)
    return weights_of(state), shown


def gathered(market: Path) -> Config:
    return config_of(market, "none", "losses.triplet={weight: 1.0, margin: null, gather: true}", "optim.name=sgd")


def plain(market: Path) -> Config:
    return config_of(market)


def many_parts(market: Path) -> Config:
    """Without a loss that reads the classifier or the neck, which then have no gradient."""
    return config_of(market, "none", "losses.identity.weight=0", "optim.ema=0.9", "optim.clip=1.0")


def arithmetic(market: Path) -> None:
    state = state_of(gathered(market))
    state.step(parts_of(0, 2)[rank() : rank() + 1], rate=0.0)
    torch.save(
        {
            "gradients": gradients_of(state),
            "plain": after_steps(plain(market), steps=20, count=2, frozen=3),
            "many parts": after_steps(many_parts(market), steps=6, count=4),
        },
        f"arithmetic_{rank()}.pt",
    )


def exchange() -> None:
    """What the processes tell each other."""
    asked: list[slice] = []

    def rows(share: slice) -> np.ndarray:
        asked.append(share)
        return np.arange(7)[share, None]

    whole = in_shares(7, 2, rows)
    assert asked == [[slice(0, 4), slice(4, 7)][rank()]]
    assert (whole is None) == (rank() == 1) and (whole is None or np.array_equal(whole, np.arange(7)[:, None]))
    single = in_shares(1, 2, lambda share: np.ones((1, 2))[share])  # fewer batches than processes
    assert (single is None) == (rank() == 1) and (single is None or single.shape == (1, 2))
    assert of_first(["first", "second"][rank()]) == "first"
    agreed = Agreement()
    assert [agreed(rank() == 1 and step == 1) for step in range(4)] == [False, False, True, False]
    assert agreed(rank() == 1, last=True)


def interrupt(config: Config) -> int:
    """Train; the second process gets SIGTERM at the sixth step. Returns the code that each would end with."""
    rate_at = train.learning_rate_at

    def rate(optim: OptimConfig, step: int, *rest: int) -> float:
        if step == 5 and rank() == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return rate_at(optim, step, *rest)

    train.learning_rate_at = rate  # type: ignore[attr-defined]
    try:
        train.train(config, progress=False)
    except Interrupted as stop:
        return stop.code
    finally:
        train.learning_rate_at = rate_at  # type: ignore[attr-defined]
    raise AssertionError("not interrupted")


def die(config: Config) -> None:
    """Train; the second process is killed in the third epoch's validation, where the first waits for it."""
    validate, calls = train.validate, []

    def dying(*arguments: Any) -> Any:
        calls.append(1)
        if len(calls) == 3 and rank() == 1:
            Path("dying").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return validate(*arguments)

    train.validate = dying  # type: ignore[attr-defined]
    train.train(config, progress=False)


def main(folder: Path, market: Path) -> None:
    torch.set_num_threads(1)
    os.chdir(folder)
    with joined(torch.device("cpu")):
        arithmetic(market)
        exchange()
        train.train(config_of(market, "whole"), progress=False)
        code = interrupt(config_of(market, "stopped"))
        if rank() == 0:
            shutil.copytree("runs/stopped", "runs/left")
        train.train(config_of(market, "stopped"), progress=False)
        Path(f"code_{rank()}.json").write_text(json.dumps(code))
        die(config_of(market, "killed"))


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]), Path(sys.argv[2]))
    except InputError as error:
        sys.exit(f"error: {error}")
