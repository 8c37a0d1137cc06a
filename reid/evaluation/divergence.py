"""How differently a network sees two sets of images, stage by stage: what instance norm removes and batch norm leaves.

After Pan et al., "Two at Once: Enhancing Learning and Generalization Capacities via IBN-Net", ECCV 2018, section 4;
docs/divergence.md has the definition, how to read it and its limits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reid.errors import InputError
from reid.evaluation.moments import STAGES, Moments, Named, moments_of
from reid.evaluation.subject import Subject

FLOOR = 1e-5  # of a variance: the epsilon that the norms themselves add, below which they too see nothing


@dataclass(frozen=True)
class StageDivergence:
    """One stage's divergence, over its channels; `instance_norm`: it ends in one, and is near zero by construction."""

    stage: int
    mean: float
    median: float
    instance_norm: bool


def symmetric_kl(
    mean_a: NDArray[np.float64], variance_a: NDArray[np.float64], mean_b: NDArray[np.float64],
    variance_b: NDArray[np.float64],
) -> NDArray[np.float64]:  # fmt: skip
    """KL(A||B) + KL(B||A) of Gaussians, in nats, for arrays that broadcast; variances are raised to FLOOR.

    The logarithms of the two cancel; what is left is written so that rounding cannot make it negative.
    """
    a, b = np.maximum(variance_a, FLOOR), np.maximum(variance_b, FLOOR)
    return ((a - b) ** 2 + (mean_a - mean_b) ** 2 * (a + b)) / (2 * a * b)


def domain_divergence(a: Moments, b: Moments) -> list[StageDivergence]:
    """Between two sets of images, all of a set's as one Gaussian a channel.

    Raises:
        InputError: moments of different networks.
    """
    shapes = [[stage.mean.shape[1] for stage in moments.stages] for moments in (a, b)]
    if shapes[0] != shapes[1] or a.instance_norm != b.instance_norm:
        raise InputError(f"{a.origin} and {b.origin}: of different networks: {shapes[0]} and {shapes[1]} channels")
    divergences = []
    for stage, first, second in zip(STAGES, a.whole(), b.whole(), strict=True):
        channels = symmetric_kl(first.mean[0], first.variance[0], second.mean[0], second.variance[0])
        norm = a.instance_norm[stage - 1]
        divergences.append(StageDivergence(stage, float(channels.mean()), float(np.median(channels)), norm))
    return divergences


def identity_divergence(moments: Moments) -> list[StageDivergence]:
    """Between the identities (> 0) of one set: mean and median over channels of each pair, averaged over all pairs.

    Raises:
        InputError: fewer than two identities.
    """
    people = np.flatnonzero(moments.pids > 0)
    if len(people) < 2:
        raise InputError(f"{moments.origin}: {len(people)} identities above 0; a divergence between them needs two")
    divergences = []
    for stage, parts in zip(STAGES, moments.stages, strict=True):
        means, variances = parts.mean[people], parts.variance[people]
        total = np.zeros(2)
        for row in range(len(people) - 1):
            pairs = symmetric_kl(means[row], variances[row], means[row + 1 :], variances[row + 1 :])
            total += pairs.mean(axis=1).sum(), np.median(pairs, axis=1).sum()
        mean, median = total / (len(people) * (len(people) - 1) / 2)
        divergences.append(StageDivergence(stage, float(mean), float(median), moments.instance_norm[stage - 1]))
    return divergences


def between(subject: Subject, names: Sequence[str | None], by: str, progress: bool = True) -> list[dict[str, Any]]:
    """Rows of a table, four a divergence: between the two sets ``names``, or ``by`` "identity" between the people of
    each.

    Raises:
        InputError: a data set or folder that cannot be read, a network without stages, fewer than two people.
    """
    given = [name for name in names if name is not None]
    sets = [moments_of(subject, name, people=by == "identity", progress=progress) for name in given]
    if by == "identity":
        return [row for one in sets for row in rows_of(one, one, by, identity_divergence(one.moments))]
    a, b = sets
    return rows_of(a, b, by, domain_divergence(a.moments, b.moments))


def rows_of(a: Named, b: Named, by: str, stages: Sequence[StageDivergence]) -> list[dict[str, Any]]:
    """One divergence as rows of a table, a stage each."""
    images = {"floor": FLOOR, "images_a": int(a.moments.images.sum()), "images_b": int(b.moments.images.sum())}
    return [{"a": a.label, "b": b.label, "by": by, **asdict(stage), **images} for stage in stages]
