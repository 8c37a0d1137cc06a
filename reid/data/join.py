"""Several data sets as one to train on."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from reid.data.card import Samples


def join(parts: Sequence[Samples]) -> Samples:
    """All images of the parts, one after the other; identities and cameras are numbered anew and never shared.

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
