"""Whether a target holds images that the network was trained on: figures on those would be no test."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from reid.data.card import load_card
from reid.data.roots import Roots, joint_fingerprint
from reid.data.samples import Samples
from reid.errors import InputError
from reid.evaluation.targets import Target

CHECKED = "checked"


def refuse_training_images(
    roots: Roots, sources: Sequence[str], targets: Sequence[Target], trained: str | None = None
) -> str:
    """Compare the files of ``targets`` with those of the ``sources``, whose fingerprint was ``trained`` where a run has
    begun.

    Returns ``CHECKED``, or why they could not be compared: a run can be tested where its source is not.

    Raises:
        InputError: a target holds images that were trained on: the same file, by whatever path, or a copy of it.
    """
    if not targets:
        return CHECKED
    missing, fingerprints = [], []
    for source in sources:
        try:
            fingerprint, samples = _read_source(roots, source)
        except InputError as error:
            missing.append(f"{source}: {error}")
            continue
        fingerprints.append(fingerprint)
        training = TrainingImages(samples)
        for target in targets:
            for data in target.trials:
                names = training.among(data.splits["query"]) + training.among(data.splits["gallery"])
                if names:
                    raise InputError(
                        f"target {data.label!r}: {len(set(names))} of its images were trained on (source {source!r}), "
                        f"the first is {min(names)}"
                    )
    if missing:
        return f"not checked: {'; '.join(missing)}"
    if trained is not None and joint_fingerprint(fingerprints) != trained:
        return f"not checked: the files of {' and '.join(sources)} are not those that were trained on"
    return CHECKED


class TrainingImages:
    """The images trained on, to be found again under other names."""

    def __init__(self, samples: Samples) -> None:
        self._files: set[tuple[int, int]] = set()
        self._of_size: dict[int, list[Path]] = defaultdict(list)
        self._contents: dict[int, set[bytes]] = {}
        for path in samples.paths:
            stat = path.stat()
            self._files.add((stat.st_dev, stat.st_ino))
            self._of_size[stat.st_size].append(path)

    def among(self, samples: Samples) -> list[str]:
        """The names of those samples that are the same files, through links too, or hold the same bytes. Files as long
        as none trained on are not read."""
        found = []
        for name, path in zip(samples.names, samples.paths, strict=True):
            stat = path.stat()
            same = (stat.st_dev, stat.st_ino) in self._files
            if same or (stat.st_size in self._of_size and _content(path) in self._as_long(stat.st_size)):
                found.append(name)
        return found

    def _as_long(self, size: int) -> set[bytes]:
        if size not in self._contents:
            self._contents[size] = {_content(path) for path in self._of_size[size]}
        return self._contents[size]


def _read_source(roots: Roots, source: str) -> tuple[str, Samples]:
    card = load_card(source)
    folder = roots.sites.expanduser() / card.root
    if card.drawn is not None and not folder.is_dir():
        raise InputError(f"no folder {folder}")  # not drawn for a test of another site
    data = roots.dataset(source, ["train"])
    return data.fingerprint, data.splits["train"]


def _content(path: Path) -> bytes:
    stat = path.stat()
    return _digest(path, stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=1 << 18)
def _digest(path: Path, size: int, changed: int) -> bytes:
    """Of a file's bytes; ``size`` and ``changed`` belong to the key of what is remembered."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "blake2b").digest()[:16]
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error}") from None
