"""AdaBN: the statistics of every batch norm, measured anew on images of the place where the network is to work.

Li et al., "Revisiting Batch Normalization For Practical Domain Adaptation", arXiv 1603.04779, 2016, section 3.2.
"""

from __future__ import annotations

import copy

import numpy as np
import torch
from torch import nn

from reid.data.dataset import Draw
from reid.data.samples import Samples
from reid.engine.extract import Extractor
from reid.errors import InputError
from reid.models import Embedder

STREAM = (0, 0, 3)  # after the seed: apart from all other draws (see reid/data/samplers.py, reid/data/samples.py)


@torch.no_grad()
def adapt(extractor: Extractor, samples: Samples, seed: int, progress: bool = True) -> int:
    """Replace running mean and variance of every batch norm of the extractor's network, the BNNeck's too, by those of
    ``samples``; no label is read.

    Affine parameters and instance norms stay as they are. One pass with the ``extractor``'s transform, placement and
    batch size, without mirror images, in an order drawn from ``seed``; the network ends in evaluation mode.

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
    network = extractor.network
    if not isinstance(network, nn.Module):
        raise TypeError("a function has no batch norms")
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d)]
    draws = shuffled_draws(len(samples), extractor.batch_size, seed)
    if not draws:
        raise InputError(f"{samples.root}: {len(samples)} image; statistics of a batch need two, and many to be good")
    before = copy.deepcopy([norm.state_dict() for norm in norms])
    # The neck must see its inputs even where retrieval leaves it out.
    forward = network.after_neck if isinstance(network, Embedder) else network
    momenta = [norm.momentum for norm in norms]
    try:
        network.eval()
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # the plain mean over all batches
            norm.train()
        for inputs, _ in extractor.batches(samples, draws, "statistics", progress):
            with extractor.placement.autocast():
                forward(inputs)
    except BaseException:
        for norm, state in zip(norms, before, strict=True):
            norm.load_state_dict(state)
        raise
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        network.eval()
    return len(norms)


def shuffled_draws(count: int, size: int, seed: int) -> list[list[Draw]]:
    """All ``count`` images in random order, in batches whose lengths differ by at most one: about ``size``, never one.

    In random order, since neighbours in a folder often show one person. Empty for fewer than two images.
    """
    if count < 2:
        return []
    order = np.random.default_rng([seed, *STREAM]).permutation(count)
    number = min(-(-count // size), count // 2)
    return [[Draw(int(row), ()) for row in part] for part in np.array_split(order, number)]
