"""Several lists of images as one."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from reid.data.samples import Samples


def join(parts: Sequence[Samples]) -> Samples:
    """All images of several data sets, to train on; identities and cameras are numbered anew and never shared.

    Names are the images' whole paths, since the parts lie in folders of their own.
    """
    names: list[str] = []
    pids, camids = [], []
    people, cameras = 1, 1
    for part in parts:
        names += [path.resolve().as_posix().lstrip("/") for path in part.paths]
        known_pids, own_pids = np.unique(part.pids, return_inverse=True)
        known_cameras, own_cameras = np.unique(part.camids, return_inverse=True)
        pids.append(own_pids + people)
        camids.append(own_cameras + cameras)
        people, cameras = people + len(known_pids), cameras + len(known_cameras)
    return Samples(Path("/"), tuple(names), np.concatenate(pids), np.concatenate(camids))


def concatenate(parts: Sequence[Samples]) -> Samples:
    """All images of several splits of one data set, sorted by name, an image that stands in two of them once."""
    numbers: dict[str, tuple[int, int]] = {}
    for part in parts:
        numbers |= dict(zip(part.names, zip(part.pids.tolist(), part.camids.tolist(), strict=True), strict=True))
    names = sorted(numbers)
    pids, camids = np.array([numbers[name] for name in names], dtype=np.int64).T
    return Samples(parts[0].root, tuple(names), pids, camids)
