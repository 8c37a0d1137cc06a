"""What a network is tested on, under which name it is filed, what is not to be taken for another of that name; and
whether it holds images that the network was trained on: figures on those would be no test."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import Any

from reid.data.card import defined_by, load_card
from reid.data.reading import Roots, joint_fingerprint
from reid.data.samples import DataSet, Samples
from reid.data.schema import Protocol
from reid.errors import InputError

SUFFIX: dict[Protocol, str] = {"cross-camera": "", "any-camera": " (any camera)"}


@dataclass(frozen=True)
class Place:
    """Where a data set comes from: two of one name may be two data sets.

    Attributes:
        definition: a bundled card's file name, or the path of another card, a manifest or a folder.
        root: the folder of its images.
        fingerprint: of the images' names and sizes.
    """

    definition: str
    root: str
    fingerprint: str

    def continues(self, before: Place) -> bool:
        """Whether it is what lay at ``before``, perhaps changed there or moved here, and not something beside it."""
        defined, alike = self.definition == before.definition, self.fingerprint == before.fingerprint
        if self.root == before.root:
            return defined or alike
        return alike and (defined or not Path(before.definition).exists())


@dataclass(frozen=True)
class Target:
    """A data set to test on: one, or one for each of its random splits; ``label`` is the data set's."""

    label: str
    given: str  # the name by which it was asked for: a card's, or a path
    trials: tuple[DataSet, ...]

    @property
    def protocol(self) -> Protocol:
        """What is left out for a query."""
        return self.trials[0].card.protocol

    @property
    def filed(self) -> str:
        """The name that its figures have in tables: with the protocol where that is not the usual one, since figures
        of two protocols are not to be compared."""
        return self.label + SUFFIX[self.protocol]

    @property
    def place(self) -> Place:
        fingerprint = joint_fingerprint([data.fingerprint for data in self.trials])
        return Place(defined_by(self.given), str(self.trials[0].root.resolve()), fingerprint)

    def describe(self) -> dict[str, Any]:
        """For results files."""
        first, place = self.trials[0], self.place
        return {
            "name": first.name,
            "version": first.version,
            **asdict(place),
            "rendered_fingerprint": first.rendered,
            "notes": list(first.notes),
        }


@dataclass(frozen=True)
class Adaptation:
    """The unlabelled images on which batch-norm statistics are estimated anew."""

    data: str
    samples: Samples
    key: str  # digest of the images and settings that decide the statistics
    place: Place

    def describe(self) -> dict[str, Any]:
        """For results files."""
        return {"data": self.data, "images": len(self.samples), "key": self.key, **asdict(self.place)}


def read_targets(roots: Roots, names: Sequence[str], protocol: Protocol | None = None) -> list[Target]:
    """The test splits of each target, under another protocol than its card's where one is given.

    Raises:
        InputError: one that cannot be read, two of one name, one with the name of another's figures.
    """
    targets: dict[str, Target] = {}
    for name in names:
        trials = tuple(roots.datasets(name, ["query", "gallery"], protocol))
        label = trials[0].label if len(trials) == 1 else trials[0].name
        if label.endswith(SUFFIX["any-camera"]):
            raise InputError(f"target {label!r}: figures of protocol any-camera end so; rename the data set")
        target = Target(label, name, trials)
        refuse_namesakes([*targets.values(), target])
        targets[target.filed] = target  # of one data set each protocol's figures stand by themselves
    return list(targets.values())


def refuse_namesakes(targets: Iterable[Target]) -> None:
    """Refuse two data sets of one name, whose figures would stand under it as if of one.

    Raises:
        InputError: naming both.
    """
    places: dict[str, Place] = {}
    for target in targets:
        place, before = target.place, places.get(target.label)
        if before is not None and not place.continues(before):
            raise InputError(
                f"targets: {_named(before)} and {_named(place)} are both named {target.label}; rename one, or give it "
                "a card with another name"
            )
        places[target.label] = place


def refuse_namesakes_of_sources(roots: Roots, sources: Sequence[str], targets: Sequence[Target]) -> None:
    """Refuse a target of a source's name that is not its test split: the figures would pass for in-domain ones.

    Raises:
        InputError: naming both.
    """
    for source in sources:
        try:
            name, definition = load_card(source).name, defined_by(source)
            alike = [target for target in targets if target.trials[0].name == name]
            others = [target for target in alike if target.place.definition != definition]
            tests = read_targets(roots, [source]) if others else []
        except InputError:  # gone, perhaps to where the target is, or there to train on alone
            continue
        refuse_namesakes([*tests, *others])


def result_key(label: str, protocol: Protocol, adaptation: Adaptation | None) -> str:
    """The name under which results on a data set are filed."""
    filed = label + SUFFIX[protocol]
    return filed if adaptation is None else f"{filed} (AdaBN {adaptation.data})"


def refuse_another(folder: Path, target: Target, adaptation: Adaptation | None, stored: Mapping[str, Any]) -> None:
    """Refuse to replace ``stored`` figures, whose files are in ``folder``, by those of another data set of that name.

    Raises:
        InputError: naming both.
    """
    if (stored.get("adabn") is None) != (adaptation is None):
        raise InputError(f"{folder}: holds a data set of the name of another with AdaBN; rename the data set")
    records = [(target.place, stored.get("dataset", {}))]
    if adaptation is not None:
        records.append((adaptation.place, stored["adabn"]))
    for now, record in records:
        if not record.keys() >= {field.name for field in fields(Place)}:  # of a time when the place was not recorded
            if record is not stored.get("adabn"):
                _refuse_another_than_given(folder, now, stored)
            continue
        before = Place(record["definition"], record["root"], record["fingerprint"])
        if not now.continues(before):
            raise InputError(
                f"{folder}: is of {_named(before)}, and {_named(now)} has the same name; rename one, or give it a card "
                "with another name; or delete that folder to replace its figures"
            )


def _refuse_another_than_given(folder: Path, now: Place, stored: Mapping[str, Any]) -> None:
    """As :func:`refuse_another`, by the name that the data set was given by and its images."""
    given, fingerprint = stored.get("given"), stored.get("dataset", {}).get("fingerprint")
    if given is None or fingerprint == now.fingerprint:
        return
    try:
        before = defined_by(given)
    except InputError:
        return
    if before != now.definition:
        raise InputError(
            f"{folder}: is of {given}, and {_named(now)} has the same name and other images; rename one, or give it a "
            "card with another name; or delete that folder to replace its figures"
        )


def _named(place: Place) -> str:
    return place.root if place.definition == place.root else f"{place.root} ({place.definition})"


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
        names = []
        for name, path in zip(samples.names, samples.paths, strict=True):
            stat = path.stat()
            same = (stat.st_dev, stat.st_ino) in self._files
            if same or (stat.st_size in self._of_size and _content(path) in self._as_long(stat.st_size)):
                names.append(name)
        return names

    def _as_long(self, size: int) -> set[bytes]:
        if size not in self._contents:
            self._contents[size] = {_content(path) for path in self._of_size[size]}
        return self._contents[size]


def _read_source(roots: Roots, source: str) -> tuple[str, Samples]:
    card = load_card(source)
    folder = roots.sites.expanduser() / card.root
    if card.made is not None and not folder.is_dir():
        raise InputError(f"no folder {folder}")  # not made for a test of another site
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
