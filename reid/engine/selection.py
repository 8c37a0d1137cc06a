"""Which epoch's network is tested: by identities held out of the source's training split, never by a target."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from reid.data.samples import Samples, matchless
from reid.engine.distributed import in_shares, of_first
from reid.engine.extract import Extractor
from reid.errors import InputError
from reid.models import Embedder
from reid.retrieval.features import Features
from reid.retrieval.ranking import Evaluation, evaluate

VALIDATION_FILE = "validation.jsonl"
STREAM = (0, 0, 2)  # after the seed: apart from the images' and the sampler's (see reid/data/samplers.py)


def hold_out(samples: Samples, share: float, seed: int) -> tuple[Samples, Samples]:
    """Split off ``share`` of the identities, at least two: (trained on, held out).

    Raises:
        InputError: too few identities for both, or none of those held out was seen by two cameras.
    """
    people = samples.identities
    count = max(2, round(share * len(people)))
    if count > len(people) - 2:
        raise InputError(f"{share}: leaves fewer than 2 of {len(people)} identities to train on")
    chosen = np.random.default_rng([seed, *STREAM]).permutation(people)[:count]
    held = np.isin(samples.pids, chosen)
    validation = subset(samples, held)
    if matchless(validation, validation).all():
        raise InputError(f"{share}: none of the {count} held-out identities was seen by two cameras")
    return subset(samples, ~held), validation


def subset(samples: Samples, keep: np.ndarray) -> Samples:
    """The images that ``keep`` (N,) says."""
    names = tuple(name for name, kept in zip(samples.names, keep, strict=True) if kept)
    return Samples(samples.root, names, samples.pids[keep], samples.camids[keep])


def validate(network: Embedder, held: Samples, extractor: Extractor) -> Evaluation:
    """Held-out images as gallery, the first of each identity and camera as queries; the network ends in training mode.

    By the cosine of the features after the neck, without mirror images: how a run is tested later does not decide what
    is trained. Of the ``extractor`` transform, placement, batch size and workers count. Several processes extract their
    shares; the first ranks, and all get what it found.
    """
    _, firsts = np.unique(np.stack([held.pids, held.camids]), axis=1, return_index=True)
    queries = np.isin(np.arange(len(held)), firsts)
    network.eval()
    try:
        plain = replace(extractor, network=network.after_neck, flip=False)
        features = in_shares(len(held), plain.batch_size, lambda rows: plain.extract(held.part(rows), progress=False))
    finally:
        network.train()
    evaluation = of_first(None if features is None else _ranked(features, held, queries))
    assert evaluation is not None
    return evaluation


def _ranked(features: np.ndarray, held: Samples, queries: np.ndarray) -> Evaluation:
    """The rows that ``queries`` (N,) says among all ``features`` (N, D)."""
    origin = "held-out identities"
    gallery = Features(features, held.pids, held.camids, held.names, origin)
    query = Features(features[queries], held.pids[queries], held.camids[queries], origin=origin)
    return evaluate(query, gallery)
