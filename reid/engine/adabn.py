"""AdaBN: the statistics of every batch norm, measured anew on images of the place where the network is to work.

Li et al., "Revisiting Batch Normalization For Practical Domain Adaptation", arXiv 1603.04779, 2016, section 3.2.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from reid.config import Config
from reid.data.dataset import Draw
from reid.data.samples import Samples
from reid.engine import build
from reid.engine.extract import batches_on_device
from reid.errors import InputError
from reid.models import Embedder

STREAM = (0, 0, 3)  # after the seed: apart from all other draws (see reid/data/samplers.py, reid/engine/selection.py)


@torch.no_grad()
def adapt(network: Embedder, samples: Samples, config: Config, progress: bool = True) -> int:
    """Replace running mean and variance of every batch norm, the BNNeck's too, by those of ``samples``; no label is
    read.

    Affine parameters and instance norms stay as they are. One pass with the test transform, without
    ``evaluation.flip``; the network ends in evaluation mode.

    Two approximations, both small for batches of many images. The statistics are the mean over batches of each
    batch's mean and unbiased variance, so that what batches differ by is missing from the variance. And a layer sees
    what the layers before it give when each normalises by its own batch, not by the final statistics.

    From then on every feature depends on ``samples`` as a set (the setting is transductive): figures belong beside
    those of other methods that see the target, and features must not be kept under the checkpoint's name.

    Returns:
        The number of layers adapted.

    Raises:
        InputError: fewer than two images, or one that cannot be read; the network is then as it was.
    """
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d)]
    draws = shuffled_draws(len(samples), config.evaluation.batch_size, config.seed)
    if not draws:
        raise InputError(f"{samples.root}: {len(samples)} image; statistics of a batch need two, and many to be good")
    before = copy.deepcopy([norm.state_dict() for norm in norms])
    momenta = [norm.momentum for norm in norms]
    try:
        network.eval()
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # the plain mean over all batches
            norm.train()
        _forward_all(network, samples, draws, config, progress)
    except BaseException:
        for norm, own in zip(norms, before, strict=True):
            norm.load_state_dict(own)
        raise
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        network.eval()
    return len(norms)


def _forward_all(
    network: Embedder, samples: Samples, draws: Sequence[Sequence[Draw]], config: Config, progress: bool
) -> None:
    device = build.device(config)
    dtype = build.autocast_dtype(config, device)
    neck_feature = network.neck_feature
    network.neck_feature = "after"  # the neck must see its inputs even where retrieval leaves it out
    try:
        for inputs, _ in batches_on_device(samples, draws, config, "statistics", progress):
            with torch.autocast(device.type, dtype, enabled=dtype is not None):
                network(inputs)
    finally:
        network.neck_feature = neck_feature


def shuffled_draws(count: int, size: int, seed: int) -> list[list[Draw]]:
    """All ``count`` images in random order, in batches whose lengths differ by at most one: about ``size``, never one.

    In random order, since neighbours in a folder often show one person. Empty for fewer than two images.
    """
    if count < 2:
        return []
    order = np.random.default_rng([seed, *STREAM]).permutation(count)
    number = min(-(-count // size), count // 2)
    return [[Draw(int(row), ()) for row in part] for part in np.array_split(order, number)]
