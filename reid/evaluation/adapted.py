"""A network with batch-norm statistics estimated anew on the images of a site: as a subject of its own, and kept as a
run of its own.

A kept one's folder holds what a run's does (the run's config and log, a checkpoint with the network alone), so that
whatever takes a run takes it; its checkpoint's header says what it was made from.
"""

from __future__ import annotations

import copy
import json
import logging
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from reid.data.unlabelled import FOLDER, images_of
from reid.engine.adabn import adapt
from reid.engine.checkpoint import FILE, read_progress
from reid.engine.code import features_code
from reid.engine.extract import Extractor, Testing
from reid.errors import InputError
from reid.evaluation.provenance import files_key, short_digest
from reid.evaluation.subject import Subject
from reid.evaluation.targets import Adaptation, Place, defined_by
from reid.files import new_folder
from reid.networks.pytorch import TorchNetwork
from reid.networks.trained import TrainedNetwork

log = logging.getLogger(__name__)


def adapted(subject: Subject, name: str, progress: bool = True) -> Subject:
    """``subject`` with statistics of the data set or folder ``name`` (see :func:`reid.engine.adabn.adapt`).

    Raises:
        InputError: what :func:`read_adaptation` refuses, or a network that is no torch module.
    """
    network = subject.network
    if not isinstance(network, TorchNetwork):
        raise InputError(f"{network.origin.name}: AdaBN needs a torch network, whose batch norms can be set anew")
    adaptation = read_adaptation(subject.testing, name)

    def build() -> Extractor:
        extractor = network.extractor
        copied = replace(extractor, network=copy.deepcopy(extractor.network))
        if not adapt(copied, adaptation.samples, subject.testing.seed, progress):
            raise InputError(f"{network.origin.name}: has no batch norm, so that AdaBN would change nothing")
        return copied

    steps = {**json.loads(network.origin.preprocessing), "adabn": adaptation.key}
    origin = replace(network.origin, preprocessing=json.dumps(steps, sort_keys=True))
    return replace(subject, network=TorchNetwork(origin, build), adaptation=adaptation)


def read_adaptation(testing: Testing, name: str) -> Adaptation:
    """The images of a data set for AdaBN: of its training split where it has one, so that no test image is looked at;
    else of its test splits. A folder is taken as it is, without a look at identities.

    Raises:
        InputError: a data set or folder that cannot be read, or one with random splits of which none is picked.
    """
    label, samples = images_of(testing.roots, name, training=True)
    sizes = [path.stat().st_size for path in samples.paths]
    place = Place(defined_by(name), str(samples.root.resolve()), short_digest([samples.names, sizes]))
    return Adaptation(label, samples, short_digest([files_key(samples), testing.batch_size, testing.seed]), place)


def keep_adapted(subject: Subject, name: str, output: Path | None = None, progress: bool = True) -> Path:
    """Write the run with statistics of ``name`` as a run of its own; returns its folder, ``output`` or one beside the
    run's (``RUN_adabn_NAME``). Its features are those of :func:`adapted`, bit for bit.

    A folder that holds this network already stays as it is.

    Raises:
        InputError: a network that is no run of this project, or one adapted before; a folder that holds something else
            or cannot be written; what :func:`adapted` and :func:`reid.engine.adabn.adapt` refuse. Nothing is written.
    """
    run = subject.run
    if run is None:
        raise InputError(
            f"{subject.network.origin.name}: is no run of this project, and only a run is kept with other statistics "
            "(evaluate.py --adabn NAME tests any torch network so)"
        )
    if run.adapted:
        raise InputError(
            f"{run.folder}: was itself adapted, to {run.adapted['data']}; adapt the run that it was made from, "
            f"{run.adapted['run']}: statistics are replaced whole, so the network would be the same"
        )
    site = adapted(subject, name, progress)
    assert site.adaptation is not None and isinstance(site.network, TorchNetwork)
    record = _record(run, subject.testing, site.adaptation)
    folder = output or run.adapted_folder(f"adabn_{_plain(site.adaptation.data)}")
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        _refuse_another(folder, record)
        log.info(f"{folder}: is there already")
        return folder
    network = site.network.extractor.network
    assert isinstance(network, nn.Module)
    with new_folder(folder) as place:
        run.write_adapted(place, network, record)
    return folder


def _record(run: TrainedNetwork, testing: Testing, adaptation: Adaptation) -> dict[str, Any]:
    """All that decides the adapted network, for its checkpoint's header."""
    return {
        "run": run.origin.name,
        "network": run.origin.network,
        **adaptation.describe(),
        "batch_size": testing.batch_size,
        "seed": testing.seed,
        "device": testing.placement.device_name,
        "precision": testing.placement.precision,
        "code": features_code(),
    }


def _refuse_another(folder: Path, record: dict[str, Any]) -> None:
    """Refuse to write where something else is than the network of ``record``."""
    if not (folder / FILE).is_file():
        raise InputError(f"{folder}: is there already, and no run; choose another --output")
    stored = read_progress(folder / FILE).adapted
    if not stored:
        raise InputError(f"{folder}: holds a run that was trained; choose another --output")
    differing = [key for key, value in record.items() if stored.get(key) != value]
    if differing:
        told = "; ".join(f"{key} was {stored.get(key)!r}, is {record[key]!r}" for key in differing)
        raise InputError(
            f"{folder}: holds a network that was adapted otherwise ({told}); choose another --output, or delete it"
        )


def _plain(label: str) -> str:
    """A data set's label, or the folder's name in one, as the end of a folder's name."""
    return re.sub(r"[^\w.-]+", "_", label.removesuffix(FOLDER)).strip("_")
