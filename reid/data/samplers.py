"""Which images form a batch. An epoch's batches are a pure function of (seed, epoch), so a run resumes anywhere."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

import numpy as np

from reid.errors import InputError

STREAM = (0, 1)  # after (seed, epoch): an image's stream is (seed, epoch, position), which numpy pads with zeros
ENOUGH_IDENTITIES = 8  # in a part of a batch: among fewer, the hardest pair of an image is hardly hard

Item = TypeVar("Item")


class Sampler(Protocol):
    """What training asks of one."""

    def __len__(self) -> int:
        """Batches in every epoch."""

    def epoch(self, epoch: int) -> list[list[int]]:
        """The image indices of each batch of one epoch."""


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
        stream: what the generator is seeded with besides the seed and the epoch.

    Raises:
        InputError: fewer than P identities.
    """

    def __init__(
        self, labels: np.ndarray, identities: int, images: int, seed: int, stream: tuple[int, ...] = STREAM
    ) -> None:
        counts = np.unique(labels, return_counts=True)[1]
        self._members = np.split(np.argsort(labels, kind="stable"), np.cumsum(counts)[:-1])
        self._p, self._k, self._seed, self._stream = identities, images, seed, stream
        if len(self._members) < identities:
            raise InputError(f"identities: {identities} a batch, but only {len(self._members)} to train on")
        self._groups = np.maximum(1, counts // images)

    def __len__(self) -> int:
        """Batches in every epoch."""
        return math.ceil(self._groups.sum() / self._p)

    def epoch(self, epoch: int) -> list[list[int]]:
        """The image indices of each batch of one epoch, identity after identity."""
        rng = np.random.default_rng([self._seed, epoch, *self._stream])
        shuffled = [self._deal(*dealt, rng) for dealt in zip(self._members, self._groups.tolist(), strict=True)]
        # Round r holds each identity that has an r-th group, so that all identities come before any comes twice.
        rounds, left = [], np.arange(len(self._members))
        for turn in range(self._groups.max()):
            left = left[self._groups[left] > turn]
            rounds.append(rng.permutation(left))
        queue = np.concatenate(rounds)
        turns = np.repeat(np.arange(len(rounds)), [len(identities) for identities in rounds])
        taken = self._taken(queue)
        last_short = max((number for number, places in enumerate(taken) if len(places) < self._p), default=-1)
        batches = []
        for number, places in enumerate(taken):
            batch = {queue[place]: shuffled[queue[place]][turns[place]] for place in places}
            if number <= last_short:  # full ones draw too, what the short ones after them draw depends on it
                others = np.delete(np.arange(len(self._members)), list(batch))
                for identity in rng.permutation(others)[: self._p - len(batch)]:
                    batch[identity] = self._deal(self._members[identity], 1, rng)[0]
            batches.append(np.concatenate(list(batch.values())).tolist())
        return batches

    def _taken(self, queue: np.ndarray) -> list[list[int]]:
        """Of each batch the places in ``queue`` (identities) that it takes: the first ones left, of an identity one
        and of all P at most."""
        by_identity = np.argsort(queue, kind="stable")
        same = queue[by_identity[:-1]] == queue[by_identity[1:]]
        following = dict(zip(by_identity[:-1][same].tolist(), by_identity[1:][same].tolist(), strict=True))
        heap = sorted(np.unique(queue, return_index=True)[1].tolist())  # each identity's first place that is left
        taken = []
        for _ in range(len(self)):
            places = [heapq.heappop(heap) for _ in range(min(self._p, len(heap)))]
            for place in places:
                if place in following:
                    heapq.heappush(heap, following[place])
            taken.append(places)
        return taken

    def _deal(self, members: np.ndarray, groups: int, rng: np.random.Generator) -> np.ndarray:
        """(groups, K) indices: a shuffle of ``members``, repeated where there are too few."""
        order = rng.permutation(members)
        return np.resize(order, groups * self._k).reshape(groups, self._k)


class BalancedSampler:
    """P identities x K images a batch, as many identities of each of S sources, which take turns in it.

    Each source is sampled by a :class:`PKSampler` of P / S identities. An epoch is that of the source with the most
    batches; the others begin anew, with other batches, as often as that takes, and go on with them in the next epoch.

    Args:
        labels, images, seed: as for :class:`PKSampler`; no identity is of two sources.
        identities: P, of all sources together.
        domains: (N,) integer source of each image.

    Raises:
        InputError: one source alone, P that S does not divide, or fewer than P / S identities in a source.
    """

    def __init__(self, labels: np.ndarray, identities: int, images: int, seed: int, domains: np.ndarray) -> None:
        sources = [np.flatnonzero(domains == domain) for domain in np.unique(domains)]
        each = identities_of_each(identities, len(sources))
        self._parts: list[tuple[np.ndarray, PKSampler]] = []
        for number, members in enumerate(sources):
            try:
                sampler = PKSampler(labels[members], each, images, seed, (*STREAM, number + 1))
            except InputError as error:
                raise InputError(f"source {number + 1} of {len(sources)}: {error}") from None
            self._parts.append((members, sampler))
        self._each = each

    def __len__(self) -> int:
        """Batches in every epoch."""
        return max(len(sampler) for _, sampler in self._parts)

    def epoch(self, epoch: int) -> list[list[int]]:
        """The image indices of each batch of one epoch, identity after identity, the sources in turn."""
        by_source = []
        for members, sampler in self._parts:
            first, within = divmod(epoch * len(self), len(sampler))
            last = ((epoch + 1) * len(self) - 1) // len(sampler)
            drawn = [batch for number in range(first, last + 1) for batch in sampler.epoch(number)]
            by_source.append(members[np.array(drawn[within : within + len(self)])])
        groups = np.stack(by_source, axis=1).reshape(len(self), len(by_source), self._each, -1)
        return groups.swapaxes(1, 2).reshape(len(self), -1).tolist()


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


def identities_of_each(identities: int, sources: int) -> int:
    """How many of a balanced batch's ``identities`` are of each source.

    Raises:
        InputError: one source alone, or as many of each cannot be. The message begins with the key.
    """
    if sources < 2:
        raise InputError("name: balanced: needs several sources, data.source=[a, b]; choices for one: pk, random")
    if identities % sources:
        raise InputError(f"identities: {identities}: balanced needs a multiple of {sources}, as many of each source")
    return identities // sources


def check_batches(name: str, identities: int, images: int, sources: int, count: int) -> None:
    """Whether sampler ``name`` gives batches of so many identities, so many images each, of so many sources, that can
    be cut into ``count`` parts: of whole identities, unless they are drawn at random.

    Raises:
        InputError: no; the message begins with the key that it is about.
    """
    if name not in SAMPLERS:
        raise InputError(f"name: {name!r} is not one of {', '.join(SAMPLERS)}")
    if name == "balanced":
        identities_of_each(identities, sources)
    whole, what = (identities * images, "images") if name == "random" else (identities, "identities")
    if whole % count:
        near = " or ".join(str(count * number) for number in (whole // count, whole // count + 1) if number)
        raise InputError(
            f"identities: a batch of {whole} {what} does not make {count} equal parts (sampler.accumulate for each "
            f"process); choose {near} {what}, or other parts"
        )


def check_pairs(name: str, identities: int, images: int, count: int, losses: Sequence[str]) -> None:
    """Whether the ``losses`` of pairs have something to compare in each of ``count`` parts of a batch of sampler
    ``name``; else they would be 0 for ever. What is drawn at random is not known here.

    Raises:
        InputError: no; the message begins with the key that it is about.
    """
    if name == "random" or not losses:
        return
    if images == 1:
        raise InputError(
            f"images: 1: no batch of sampler.name={name} holds two images of a person{without_pairs(losses)}"
        )
    if identities == count:
        where = "no batch" if count == 1 else f"none of {count} parts of a batch"
        raise InputError(f"identities: {count}: {where} of sampler.name={name} holds two people{without_pairs(losses)}")


def without_pairs(losses: Sequence[str]) -> str:
    """What that means for the ``losses`` of pairs, as the end of a sentence."""
    choices = " ".join(f"losses.{loss}.weight=0" for loss in losses)
    return f", and the loss {', '.join(losses)} would be 0 for ever; change that, or leave the loss out: {choices}"


def parts(batch: Sequence[Item], count: int) -> list[Sequence[Item]]:
    """``batch`` cut into ``count`` equal parts, in order: whole identities where it holds them one after the other and
    ``count`` divides their number.

    Raises:
        ValueError: ``count`` does not divide the batch.
    """
    size, rest = divmod(len(batch), count)
    if rest:
        raise ValueError(f"{len(batch)} images do not make {count} equal parts")
    return [batch[start : start + size] for start in range(0, len(batch), size)]


def note_on_pairs(
    batches: Sequence[Sequence[int]], count: int, labels: np.ndarray, name: str, losses: Sequence[str]
) -> str:
    """How few images the ``losses`` of pairs can learn from, as a sentence; empty where they can from all.

    Args:
        batches, labels: as for :func:`share_with_pairs`.
        count: parts that a batch is cut into.
        name: of the sampler.
    """
    share = share_with_pairs([part for batch in batches for part in parts(batch, count)], labels)
    if share == 1:
        return ""
    why = "a person with a single image meets only that one again, augmented anew"
    if name == "random":
        why = "sampler.name=pk brings the images of a person together"
    return (
        f"sampler.name={name}: {share:.1%} of the images in a batch have another image of their person beside them, "
        f"which the loss {', '.join(losses)} needs; {why}"
    )


def note_on_identities(identities: int, count: int, losses: Sequence[str]) -> str:
    """How few identities the ``losses`` of pairs find in each of ``count`` parts of a batch, as a sentence; empty where
    they are enough, and for whole batches."""
    each = identities // count
    if count == 1 or each >= ENOUGH_IDENTITIES:
        return ""
    return (
        f"a batch of {identities} identities is cut into {count} parts: the hardest pairs are sought among {each} "
        f"identities (loss {', '.join(losses)}); a larger sampler.identities gives more"
    )


# All take labels, identities, images and seed, `balanced` also domains.
SAMPLERS: dict[str, Callable[..., Sampler]] = {
    "pk": PKSampler,
    "balanced": BalancedSampler,
    "random": RandomSampler,
}
