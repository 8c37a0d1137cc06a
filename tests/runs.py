"""Short ways to test the run of a config, for tests that are about something else."""

import numpy as np
import torch

from reid.engine import build
from reid.engine.state import TrainState
from reid.evaluation.adapted import adapted
from reid.evaluation.evaluate import evaluate
from reid.evaluation.subject import subject_of_run
from reid.retrieval.features import Features


def evaluate_run(config, folder, targets, progress=False, adabn=None, oracle=False):
    """Results of the finished run in ``folder``, as its ``config`` says, on ``targets``."""
    subject = subject_of_run(config, folder)
    if adabn is not None:
        subject = adapted(subject, adabn, progress)
    return evaluate(subject, targets, progress, oracle)


def features_of(network, samples, config, origin="test") -> Features:
    """Features of ``samples`` by a network in evaluation mode."""
    rows = build.extractor(config, network).extract(samples, progress=False)
    return Features(rows, samples.pids, samples.camids, samples.names, origin)


def inputs_of(transform, images) -> torch.Tensor:
    """(N, 3, H, W) float32, what a network gets when it is tested on images (h, w, 3) uint8."""
    fitted = np.stack([transform.fit(image) for image in images])
    return transform.normalise(torch.from_numpy(fitted).permute(0, 3, 1, 2))


def at_step(monkeypatch, number, act):
    """Have ``act`` called within the step of that number (from 1) that this process trains."""
    calls, step = [], TrainState.step

    def acting(self, *arguments, **named):
        calls.append(1)
        if len(calls) == number:
            act()
        return step(self, *arguments, **named)

    monkeypatch.setattr(TrainState, "step", acting)
