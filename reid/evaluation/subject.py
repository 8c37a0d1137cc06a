"""What is tested: a network, the folder that its results are filed in, and how it is tested."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from reid.config import Config
from reid.engine import build
from reid.engine.extract import Testing
from reid.evaluation.targets import Adaptation
from reid.networks import Network, default_testing, load, open_foreign
from reid.networks.trained import RunNetwork, Trained, TrainedNetwork
from reid.retrieval.features import Protocol

NOT_KNOWN = "not known"  # the source of a network that this project did not train


@dataclass(frozen=True)
class Subject:
    """A network to be tested.

    Attributes:
        folder: of its results: a run's own, or one below ``testing.output`` for a network of other origin.
        run: the run that it is, or was adapted from; None for a network of other origin.
        adaptation: the images from which its batch-norm statistics are.
    """

    network: Network
    folder: Path
    testing: Testing
    run: TrainedNetwork | None = None
    adaptation: Adaptation | None = None

    def under(self, protocol: Protocol | None) -> Subject:
        """Tested under this protocol whatever the targets' cards say; None leaves it to them."""
        return replace(self, testing=replace(self.testing, protocol=protocol))

    @property
    def digest(self) -> str:
        """Sixteen hexadecimal digits of the network's file or files."""
        return self.network.origin.network[:16]

    @property
    def precision(self) -> str:
        """What the network computes in: what it says itself, as a file of features does that were made elsewhere."""
        told = json.loads(self.network.origin.preprocessing).get("precision", self.testing.placement.precision)
        return {"bfloat16": "bf16"}.get(told, told)

    @property
    def trained(self) -> Trained | None:
        """What it was trained on, where that is known."""
        return self.run.trained if self.run else None

    def describe(self) -> dict[str, Any]:
        """For results files: the network."""
        if self.run is not None:
            return self.run.describe()
        origin = self.network.origin
        unknown: dict[str, Any] = {"backbone": NOT_KNOWN, "source": NOT_KNOWN, "sources": [], "seed": None}
        return {
            "name": origin.name,
            "model": origin.name,
            **unknown,
            "checkpoint": self.digest,
            "origin": asdict(origin),
        }

    def settings(self) -> dict[str, Any]:
        """For results files: how a feature is taken from the network."""
        return self.run.settings() if self.run else {"flip": self.testing.flip, "seed": None}


def subject_of(name: str | Path, overrides: Sequence[str] = ()) -> Subject:
    """The network that a name stands for (see :func:`reid.networks.load`).

    Raises:
        InputError: naming what is missing or wrong.
    """
    return subject_of_network(load(name, overrides), overrides)


def subject_of_network(network: Network, overrides: Sequence[str] = ()) -> Subject:
    """A network that was loaded with these ``overrides``."""
    if isinstance(network, TrainedNetwork):
        return Subject(network, network.folder, build.testing(network.config), network)
    return _filed_apart(network, default_testing(overrides))


def foreign_subject(name: str, testing: Testing) -> Subject:
    """A network of other origin, by name.

    Raises:
        InputError: naming what is missing or wrong.
    """
    network = open_foreign(name, testing)
    if isinstance(network, TrainedNetwork):
        return Subject(network, network.folder, testing, network)
    return _filed_apart(network, testing)


def _filed_apart(network: Network, testing: Testing) -> Subject:
    testing = replace(testing, placement=getattr(network, "placement", testing.placement))  # where it does compute
    place = Path(testing.output) / "networks" / f"{network.origin.name}_{network.origin.fingerprint[:8]}"
    return Subject(network, place, testing)


def subject_of_run(config: Config, folder: Path) -> Subject:
    """The finished run of ``config`` in ``folder``.

    Raises:
        InputError: an unfinished run or a damaged file.
    """
    run = RunNetwork(config, folder)
    return Subject(run, folder, build.testing(config), run)
