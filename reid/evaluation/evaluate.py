"""A network on any number of targets: features, ranked lists, exact figures, results.json.

Each target leaves query.npz, gallery.npz, ranks.parquet and queries.parquet in the network's folder under
``targets/NAME``. What is still valid (same network, same images, same settings) is not computed again.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pandas as pd

from reid.data.reading import tables_kept
from reid.data.samples import DataSet, Samples
from reid.engine.code import features_code, figures_code
from reid.errors import InputError
from reid.evaluation.provenance import code_version, features_key, origin_of, package_versions, short_digest
from reid.evaluation.results import (
    QUERIES_FILE,
    RANKS_FILE,
    RESULTS_FILE,
    per_query,
    read_results,
    summary_of,
    write_ranks,
)
from reid.evaluation.subject import Subject
from reid.evaluation.targets import (
    CHECKED,
    Target,
    read_targets,
    refuse_another,
    refuse_namesakes_of_sources,
    refuse_training_images,
    result_key,
)
from reid.files import locked, write_atomically
from reid.networks import Network
from reid.networks.packed import PackedNetwork
from reid.retrieval import ranking
from reid.retrieval.features import Features, Protocol, load_saved

ORACLE = "the best of all epochs on this very target: an upper bound that looks at the target, not a result"
UNKNOWN_SOURCE = "not checked: what the network was trained on is not known"


@tables_kept()
def evaluate(subject: Subject, names: Sequence[str], progress: bool = True, oracle: bool = False) -> dict[str, Any]:
    """Test a network on the targets ``names``: returns their results, and adds them to its folder's results.json.

    Args:
        oracle: also find each target's best epoch, for comparison; needs a run that kept its epochs' networks.

    What a run was trained from (source, weights) need not be there; results then say that no target was compared
    with the training images.

    Raises:
        InputError: a target that cannot be read, two of one name, now, in the folder's results or among the sources,
            images that the network was trained on.
    """
    if oracle:
        _check_oracle(subject)
    targets = read_targets(subject.testing.roots, names, subject.testing.protocol)
    if subject.trained is not None:
        refuse_namesakes_of_sources(subject.testing.roots, subject.trained.sources, targets)
    placement = subject.testing.placement
    placement.take_up()
    if placement.threads is not None:
        faiss.omp_set_num_threads(placement.threads)

    run = subject.describe()
    tested: dict[str, Any] = {}
    with locked(subject.folder / "targets", wait=True):  # one at a time in a folder, so that no figure is lost
        stored_results = subject.folder / RESULTS_FILE
        results = read_results(subject.folder) if stored_results.exists() else {"run": run, "targets": {}}
        if results["run"].get("checkpoint") != run["checkpoint"]:
            results["targets"] = {}  # figures of an earlier network in this folder
        results["run"] = run
        asked = []
        for target in targets:
            place = _place(subject, target.label, target.protocol)
            stored = results["targets"].get(place.name, {}) if (place / QUERIES_FILE).exists() else {}
            if stored:
                refuse_another(place, target, subject.adaptation, stored)
            inputs = _inputs(subject, target)
            asked.append((target, inputs, stored if stored.get("inputs") == inputs else {}))
        unchecked = [target for target, _, valid in asked if valid.get("training_images") != CHECKED]
        compared = _compare_with_training(subject, unchecked)
        for target, inputs, valid in asked:
            result = valid or _evaluate_target(subject, target, inputs, progress)
            result |= {
                "given": target.given,  # these may have changed where the figures have not: a data set that moved
                "dataset": target.describe(),
                "adabn": subject.adaptation.describe() if subject.adaptation else None,
                "training_images": compared if target in unchecked else CHECKED,
            }
            if oracle and "oracle" not in result:
                result = {**result, "oracle": _oracle(subject, target, progress)}
            tested[_place(subject, target.label, target.protocol).name] = result
            results["targets"] |= tested
            write_atomically(stored_results, json.dumps(results, indent=1))
    return {"run": run, "targets": tested}


def is_evaluated(subject: Subject, target: Target, oracle: bool = False) -> bool:
    """Whether the folder's results.json holds this target's figures, of this network, these images and settings, and
    its best epoch where the ``oracle`` is asked for."""
    if not (subject.folder / RESULTS_FILE).exists():
        return False
    place = _place(subject, target.label, target.protocol)
    stored = read_results(subject.folder)["targets"].get(place.name, {})
    complete = "oracle" in stored or not oracle
    return complete and stored.get("inputs") == _inputs(subject, target) and (place / QUERIES_FILE).exists()


def _check_oracle(subject: Subject) -> None:
    if subject.adaptation is not None or (subject.run and subject.run.adapted):
        raise InputError("--oracle with AdaBN: an epoch's network is tested as it was trained; give one of the two")
    if subject.run is None:
        raise InputError(f"--oracle: {subject.network.origin.name} is no run of this project, which keeps its epochs")
    if isinstance(subject.run, PackedNetwork):
        raise InputError(
            f"--oracle: {subject.run.origin.name} is one file, of one epoch; its run's folder has the others"
        )
    if subject.run.of_epoch(1) is None:
        raise InputError(
            f"{subject.folder}: holds no network of each epoch; delete it, and train anew with "
            "selection.keep_epochs=true"
        )


def _compare_with_training(subject: Subject, targets: Sequence[Target]) -> str:
    if subject.trained is None:
        return UNKNOWN_SOURCE
    return refuse_training_images(subject.testing.roots, subject.trained.sources, targets, subject.trained.fingerprint)


def _place(subject: Subject, label: str, protocol: Protocol) -> Path:
    return subject.folder / "targets" / result_key(label, protocol, subject.adaptation)


def _inputs(subject: Subject, target: Target) -> str:
    """Digest of all that decides a target's figures."""
    samples = [data.splits[split] for data in target.trials for split in ("query", "gallery")]
    keys = [features_key(subject.network.origin, part, subject.testing) for part in samples]
    return short_digest(
        [*keys, subject.digest, subject.testing.distance, target.protocol, subject.testing.top_k, figures_code()]
    )


def _evaluate_target(subject: Subject, target: Target, inputs: str, progress: bool) -> dict[str, Any]:
    """Figures of one target; a mean over its random splits where it has several, with their standard deviation."""
    started = time.monotonic()
    evaluations, tables = [], []
    for number, data in enumerate(target.trials):
        query, evaluation = _rank(subject, data, progress)
        evaluations.append(evaluation)
        tables.append(per_query(query, evaluation, number))
    place = _place(subject, target.label, target.protocol)
    write_atomically(place / QUERIES_FILE, pd.concat(tables).to_parquet(index=False))
    unmatched = sum(int((~evaluation.valid).sum()) for evaluation in evaluations)
    placement = subject.testing.placement
    return {
        **summary_of(evaluations),
        "left_out": {**target.trials[0].left_out, "queries without a match": unmatched},
        "definitions": ranking.definitions(subject.testing.distance, protocol=target.protocol),
        **subject.settings(),
        "checkpoint": subject.digest,
        "inputs": inputs,
        "code": code_version(),
        "code_digests": {"features": features_code(), "figures": figures_code()},
        "packages": package_versions(),
        "device": placement.device_name,
        "precision": subject.precision,
        "seconds": round(time.monotonic() - started, 2),
    }


def _rank(subject: Subject, data: DataSet, progress: bool) -> tuple[Features, ranking.Evaluation]:
    """Features and ranking of one data set, written to its place; returns those of the queries."""
    place, testing = _place(subject, data.label, data.card.protocol), subject.testing
    paths = [place / f"{split}.npz" for split in ("query", "gallery")]
    (query, _), (gallery, _) = sides = [_features(subject, path, data.splits[path.stem], progress) for path in paths]
    for path, (features, computed) in zip(paths, sides, strict=True):  # only now: a bad gallery leaves both
        if computed:
            features.save(path)
    evaluation = ranking.evaluate(
        query, gallery, testing.distance, testing.top_k, data.card.protocol, progress=progress
    )
    write_ranks(place / RANKS_FILE, query, gallery, evaluation)
    return query, evaluation


def _features(subject: Subject, path: Path, samples: Samples, progress: bool) -> tuple[Features, bool]:
    """Features of one split, from ``path`` while neither network, files nor settings changed; whether they were
    computed."""
    origin = origin_of(path, subject.digest, features_key(subject.network.origin, samples, subject.testing))
    saved = load_saved(path, origin)
    return (_extracted(subject.network, samples, origin, progress), True) if saved is None else (saved, False)


def _extracted(network: Network, samples: Samples, origin: str, progress: bool) -> Features:
    return Features(network.extract(samples, progress), samples.pids, samples.camids, samples.names, origin)


def _oracle(subject: Subject, target: Target, progress: bool) -> dict[str, Any]:
    """mAP of every epoch on the target, and which was best. Nothing else may use it."""
    assert subject.run is not None
    by_epoch: list[float] = []
    while (network := subject.run.of_epoch(len(by_epoch) + 1)) is not None:
        name = f"epoch {len(by_epoch) + 1}"
        trials = []
        for data in target.trials:
            query, gallery = (
                _extracted(network, data.splits[split], f"{name}, {split}", progress) for split in ("query", "gallery")
            )
            evaluation = ranking.evaluate(query, gallery, subject.testing.distance, protocol=data.card.protocol)
            trials.append(evaluation.mAP)
        by_epoch.append(float(np.mean(trials)))
    best = int(np.argmax(by_epoch))
    return {"epoch": best + 1, "mAP": by_epoch[best], "mAP_by_epoch": by_epoch, "meaning": ORACLE}
