"""A network with batch-norm statistics estimated anew on the images of a site, as a subject of its own."""

from __future__ import annotations

import copy
import json
from dataclasses import replace

from reid.data.unlabelled import images_of
from reid.engine.adabn import adapt
from reid.engine.extract import Extractor
from reid.engine.setup import Testing
from reid.errors import InputError
from reid.evaluation.keys import files_key, short_digest
from reid.evaluation.subject import Subject
from reid.evaluation.targets import Adaptation, Place, defined_by
from reid.networks.pytorch import TorchNetwork


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
        adapt(copied, adaptation.samples, subject.testing.seed, progress)
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
