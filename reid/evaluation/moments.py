"""Mean and variance of every channel of the four stages' maps, by identity, in one pass and without keeping a map.

Parts are merged by Chan, Golub and LeVeque, "Algorithms for Computing the Sample Variance", The American Statistician
37(3), 1983: exact, in float64, so a whole set's moments are those of its identities merged.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from reid.data.dataset import evaluation_draws
from reid.data.samples import Samples, concatenate
from reid.data.unlabelled import images_of
from reid.engine.code import moments_code
from reid.engine.extract import Extractor
from reid.errors import InputError
from reid.evaluation.provenance import moments_key, origin_of
from reid.evaluation.subject import Subject
from reid.evaluation.targets import Target, read_targets, refuse_training_images
from reid.files import write_atomically
from reid.networks.pytorch import Staged, staged
from reid.retrieval.features import read_arrays, saved_origin

log = logging.getLogger(__name__)

STAGES = (1, 2, 3, 4)
MOMENTS_FILE = "moments.npz"
IN_FLOAT64 = 16  # images turned to float64 at a time: a whole batch of early maps would take gigabytes


@dataclass(frozen=True, eq=False)
class Parts:
    """Values of C channels in G parts, each as its count (G,), mean (G, C) and sum of squared deviations from that
    mean (G, C), float64."""

    count: NDArray[np.float64]
    mean: NDArray[np.float64]
    squares: NDArray[np.float64]

    @property
    def variance(self) -> NDArray[np.float64]:
        """(G, C), of the values themselves (divided by the count)."""
        return self.squares / self.count[:, None]

    def merged(self, groups: NDArray[np.int64], number: int) -> Parts:
        """``number`` parts: those of which ``groups`` (G,), in 0..number - 1, is the same, as one; each with a value.

        Chan et al.'s update of two parts, for any number at once.
        """
        chosen = (np.arange(number)[:, None] == groups).astype(np.float64)
        count = chosen @ self.count
        mean = chosen @ (self.count[:, None] * self.mean) / count[:, None]
        return Parts(count, mean, chosen @ (self.squares + self.count[:, None] * (self.mean - mean[groups]) ** 2))

    def add(self, places: NDArray[np.int64], others: Parts, groups: NDArray[np.int64]) -> None:
        """Merge each of ``others`` into the part at ``places[group]``, in place; every one of the places gets some."""
        members = np.concatenate([np.arange(len(places)), groups])  # only parts that change are worth the product
        mine = Parts(
            np.concatenate([self.count[places], others.count]),
            np.concatenate([self.mean[places], others.mean]),
            np.concatenate([self.squares[places], others.squares]),
        )
        merged = mine.merged(members, len(places))
        self.count[places], self.mean[places], self.squares[places] = merged.count, merged.mean, merged.squares

    @staticmethod
    def none(number: int, channels: int) -> Parts:
        """``number`` parts of no values yet."""
        return Parts(np.zeros(number), np.zeros((number, channels)), np.zeros((number, channels)))


@dataclass(frozen=True, eq=False)
class Moments:
    """What a network's four stages give for a set of images, by identity.

    Attributes:
        pids: (G,) int64, sorted; -1 and 0 stand for images of nobody in particular.
        images: (G,) int64, the number of each identity's images.
        stages: four records of G parts; a value is a position of an image's map.
        instance_norm: for each stage, whether it ends in an instance norm.
        origin: what they came from, for messages and for finding out whether they are still valid.
    """

    pids: NDArray[np.int64]
    images: NDArray[np.int64]
    stages: tuple[Parts, ...]
    instance_norm: tuple[bool, ...]
    origin: str = "moments"

    def whole(self) -> tuple[Parts, ...]:
        """The four stages with all identities merged into one part."""
        return tuple(stage.merged(np.zeros(len(self.pids), dtype=np.int64), 1) for stage in self.stages)

    def save(self, path: Path) -> None:
        """Write an .npz with ``pids``, ``images``, ``instance_norm``, ``origin`` and for each stage N ``countN``,
        ``meanN`` and ``squaresN``; no pickle."""
        arrays: dict[str, np.ndarray] = {"pids": self.pids, "images": self.images, "origin": np.array(self.origin)}
        arrays["instance_norm"] = np.array(self.instance_norm)
        for number, stage in zip(STAGES, self.stages, strict=True):
            arrays |= {f"{name}{number}": getattr(stage, name) for name in ("count", "mean", "squares")}
        buffer = io.BytesIO()
        np.savez(buffer, **arrays)  # type: ignore[arg-type]  # the stub thinks of allow_pickle
        write_atomically(path, buffer.getvalue())

    @staticmethod
    def load(path: Path) -> Moments:
        """Read what :meth:`save` wrote.

        Raises:
            InputError: naming the file, when it is damaged or something else.
        """
        arrays = read_arrays(path)
        try:
            groups = len(arrays["pids"])
            stages = tuple(Parts(*(arrays[f"{name}{n}"] for name in ("count", "mean", "squares"))) for n in STAGES)
            shapes = [arrays["images"].shape, *(shape for s in stages for shape in (s.count.shape, s.mean.shape[:1]))]
            norms, origin = tuple(bool(value) for value in arrays["instance_norm"]), str(arrays["origin"])
            if len(norms) != len(STAGES) or any(shape != (groups,) for shape in shapes):
                raise ValueError("arrays of different lengths")
            if any(stage.mean.shape != stage.squares.shape for stage in stages):
                raise ValueError("means and squares of different shapes")
        except (KeyError, ValueError, TypeError) as error:
            raise InputError(f"{path}: holds no moments ({error})") from None
        return Moments(arrays["pids"], arrays["images"], stages, norms, origin)


class Named(NamedTuple):
    """Moments and the data set's label."""

    label: str
    moments: Moments


@torch.inference_mode()
def moments(
    extractor: Extractor,
    backbone: Staged,
    samples: Samples,
    progress: bool = True,
    origin: str = "moments",
    name: str = "moments",
) -> Moments:
    """Moments of ``samples`` by identity, under a bar of that name; the backbone must be in evaluation mode.

    Raises:
        InputError: an image that cannot be read, or maps that hold no numbers, with the origin named.
    """
    pids, groups = np.unique(samples.pids, return_inverse=True)
    stages: tuple[Parts, ...] = ()
    draws = evaluation_draws(len(samples), extractor.batch_size)
    for inputs, rows in extractor.batches(samples, draws, name, progress):
        with extractor.placement.autocast():
            maps = backbone.stages(inputs)
        stages = stages or tuple(Parts.none(len(pids), stage.shape[1]) for stage in maps)
        present, members = np.unique(groups[rows.numpy()], return_inverse=True)
        for stage, of_batch in zip(stages, maps, strict=True):
            stage.add(present, _of_each_image(of_batch), members)
    if not all(np.isfinite(stage.squares).all() for stage in stages):
        raise InputError(f"{origin}: the network's maps hold NaN or infinity")
    return Moments(pids, np.bincount(groups), stages, tuple(backbone.ends_in_instance_norm), origin)


def _of_each_image(maps: Tensor) -> Parts:
    """Of maps (B, C, H, W) a part an image."""
    means, squares = [], []
    for some in maps.split(IN_FLOAT64):
        values = some.double()
        mean = values.mean(dim=(2, 3))
        means.append(mean)
        squares.append((values - mean[:, :, None, None]).square().sum(dim=(2, 3)))
    count = np.full(len(maps), float(maps.shape[2] * maps.shape[3]))
    return Parts(count, torch.cat(means).cpu().numpy(), torch.cat(squares).cpu().numpy())


def cached_moments(
    subject: Subject, label: str, samples: Samples, targets: Sequence[Target] = (), progress: bool = True
) -> Moments:
    """Moments of ``samples``, kept in the subject's folder under ``targets/label`` while neither the network nor the
    images (by size and time) nor the settings changed and the file is whole; the network is loaded only where one did.

    Raises:
        InputError: as :func:`moments`; a network without stages; where they are computed, ``targets`` that hold images
            trained on.
    """
    path = subject.folder / "targets" / label / MOMENTS_FILE
    key = moments_key(subject.network.origin, samples, subject.testing, moments_code())
    origin = origin_of(path, subject.digest, key)
    if saved_origin(path) == origin:
        try:
            return replace(Moments.load(path), origin=origin)
        except InputError as error:
            log.warning(f"{error}; computed again")
    if (trained := subject.trained) is not None:
        refuse_training_images(subject.testing.roots, trained.sources, targets, trained.fingerprint)
    name = f"{subject.network.origin.name}: moments"
    computed = moments(*staged(subject.network), samples, progress, origin, name)
    computed.save(path)
    return computed


def moments_of(subject: Subject, name: str, people: bool = True, progress: bool = True) -> Named:
    """Label and moments of a data set's test images or, without ``people``, of any folder of images; kept in the
    subject's folder (see :func:`cached_moments`).

    Raises:
        InputError: a data set or folder that cannot be read, a network without stages; test images that the network
            was trained on.
    """
    roots = subject.testing.roots
    if people:
        [target] = read_targets(roots, [name])
        splits = [data.splits[split] for data in target.trials for split in ("query", "gallery")]
        return Named(target.label, cached_moments(subject, target.label, concatenate(splits), [target], progress))
    label, samples = images_of(roots, name, training=False)
    return Named(label, cached_moments(subject, label, samples, progress=progress))
