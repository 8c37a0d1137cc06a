"""Which images form a batch. An epoch's batches are a pure function of (seed, epoch), so a run resumes anywhere."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from reid.errors import InputError

STREAM = (0, 1)  # after (seed, epoch): an image's stream is (seed, epoch, position), which numpy pads with zeros


class PKSampler:
    """P identities x K images a batch (Hermans et al. 2017, sec. 2).

    An epoch has ``ceil(groups / P)`` batches, where an identity of n images has ``max(1, floor(n / K))`` groups of K.
    Every identity is used in every epoch; one with fewer than K images repeats them. Identities within a batch are
    distinct.

    Args:
        labels: (N,) integer identity of each image.
        identities: P.
        images: K.
        seed: seed of the sampler's own generator.

    Raises:
        InputError: fewer than P identities.
    """

    def __init__(self, labels: np.ndarray, identities: int, images: int, seed: int) -> None:
        self._members = [np.flatnonzero(labels == label) for label in np.unique(labels)]
        self._p, self._k, self._seed = identities, images, seed
        if len(self._members) < identities:
            raise InputError(f"identities: {identities} a batch, but only {len(self._members)} to train on")
        self._groups = [max(1, len(members) // images) for members in self._members]

    def __len__(self) -> int:
        """Batches in every epoch."""
        return math.ceil(sum(self._groups) / self._p)

    def epoch(self, epoch: int) -> list[list[int]]:
        """The image indices of each batch of one epoch, identity after identity."""
        rng = np.random.default_rng([self._seed, epoch, *STREAM])
        shuffled = [self._deal(*dealt, rng) for dealt in zip(self._members, self._groups, strict=True)]
        # Round r holds each identity that has an r-th group, so that all identities come before any comes twice.
        queue = [
            (identity, turn)
            for turn in range(max(self._groups))
            for identity in rng.permutation([i for i, groups in enumerate(self._groups) if groups > turn])
        ]
        batches = []
        for _ in range(len(self)):
            batch: dict[int, np.ndarray] = {}
            waiting = []
            for place, (identity, turn) in enumerate(queue):
                if len(batch) == self._p:
                    waiting += queue[place:]
                    break
                if identity in batch:
                    waiting.append((identity, turn))
                else:
                    batch[identity] = shuffled[identity][turn]
            queue = waiting
            others = [i for i in range(len(self._members)) if i not in batch]
            for identity in rng.permutation(others)[: self._p - len(batch)]:
                batch[identity] = self._deal(self._members[identity], 1, rng)[0]
            batches.append([int(index) for group in batch.values() for index in group])
        return batches

    def _deal(self, members: np.ndarray, groups: int, rng: np.random.Generator) -> np.ndarray:
        """(groups, K) indices: a shuffle of ``members``, repeated where there are too few."""
        order = rng.permutation(members)
        return np.resize(order, groups * self._k).reshape(groups, self._k)


class RandomSampler:
    """P * K images a batch in random order, each image at most once an epoch; an incomplete last batch is dropped.

    For training without a triplet loss. Arguments as for :class:`PKSampler`.

    Raises:
        InputError: fewer than P * K images.
    """

    def __init__(self, labels: np.ndarray, identities: int, images: int, seed: int) -> None:
        self._count, self._size, self._seed = len(labels), identities * images, seed
        if self._count < self._size:
            raise InputError(f"{self._size} images a batch, but there are {self._count} to train on")

    def __len__(self) -> int:
        """Batches in every epoch."""
        return self._count // self._size

    def epoch(self, epoch: int) -> list[list[int]]:
        """The image indices of each batch of one epoch."""
        order = np.random.default_rng([self._seed, epoch, *STREAM]).permutation(self._count)
        return order[: len(self) * self._size].reshape(len(self), self._size).tolist()


def share_with_pairs(batches: Sequence[Sequence[int]], labels: np.ndarray) -> float:
    """Share of the images in ``batches`` that have another image of their identity beside them, and one of another
    identity. An image that a batch repeats is not another one.

    Args:
        batches: of each batch the indices of its images.
        labels: (N,) integer identity of each image.
    """
    paired = 0
    for batch in batches:
        identities, images = np.unique(labels[np.unique(batch)], return_counts=True)
        if len(identities) > 1:
            paired += int(np.isin(labels[list(batch)], identities[images > 1]).sum())
    return paired / sum(map(len, batches))


SAMPLERS: dict[str, type[PKSampler] | type[RandomSampler]] = {"pk": PKSampler, "random": RandomSampler}
