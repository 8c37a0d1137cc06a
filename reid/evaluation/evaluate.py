"""A trained run on any number of targets: features, ranked lists, exact figures, results.json.

Each target leaves query.npz, gallery.npz, ranks.parquet and queries.parquet in the run's folder under
``targets/NAME``. What is still valid (same network, same images, same settings) is not computed again.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pandas as pd
import torch

from reid.config import Config
from reid.data.samples import DataSet, Samples
from reid.engine import build
from reid.engine.adabn import adapt
from reid.engine.checkpoint import FILE, read_progress
from reid.engine.code import features_code, figures_code
from reid.engine.extract import extract, load_network, network_file
from reid.engine.train import LOG_FILE
from reid.errors import InputError
from reid.evaluation.keys import network_digest, origin_of, settings_key, short_digest
from reid.evaluation.leakage import CHECKED, refuse_training_images
from reid.evaluation.provenance import code_version, device_name, package_versions, precision_name
from reid.evaluation.targets import (
    Adaptation,
    Target,
    read_adaptation,
    read_targets,
    refuse_another,
    refuse_namesakes_of_sources,
    result_key,
)
from reid.files import locked, write_atomically
from reid.models import Embedder
from reid.retrieval import ranking
from reid.retrieval.features import Features, load_saved

RESULTS_FILE = "results.json"
QUERIES_FILE, RANKS_FILE = "queries.parquet", "ranks.parquet"
ORACLE = "the best of all epochs on this very target: an upper bound that looks at the target, not a result"


def evaluate_run(
    config: Config,
    folder: Path,
    targets: Sequence[str],
    progress: bool = True,
    adabn: str | None = None,
    oracle: bool = False,
) -> dict[str, Any]:
    """Test the run in ``folder`` on ``targets``: returns their results, and adds them to the folder's results.json.

    Args:
        adabn: estimate batch-norm statistics anew on the images of this data set first (see
            :mod:`reid.engine.adabn`); results are then filed under ``TARGET (AdaBN DATA)``.
        oracle: also find each target's best epoch, for comparison; needs a run that kept its epochs' networks.

    What the run was trained from (source, weights) need not be there; results then say that no target was compared
    with the training images.

    Raises:
        InputError: a target that cannot be read, two of one name, now, in the folder's results or among the sources, a
            run that is not finished, images that the run was trained on.
    """
    build.check_tested(config)
    if oracle and adabn is not None:
        raise InputError("--oracle with --adabn: an epoch's network is tested as it was trained; give one of the two")
    if oracle and not network_file(config, folder, 1).exists():
        raise InputError(
            f"{folder}: holds no network of each epoch; delete it, and train anew with selection.keep_epochs=true"
        )
    sets = read_targets(config, targets)
    refuse_namesakes_of_sources(config, sets)
    adaptation = read_adaptation(config, adabn) if adabn is not None else None
    if config.threads:
        torch.set_num_threads(config.threads)
        faiss.omp_set_num_threads(config.threads)

    @cache
    def network() -> Embedder:
        loaded = load_network(config, folder)
        if adaptation is not None:
            adapt(loaded, adaptation.samples, config, progress)
        return loaded

    checkpoint = network_digest(config, folder)
    run = _describe_run(config, folder, checkpoint)
    found: dict[str, Any] = {}
    with locked(folder / "targets", wait=True):  # one at a time in a run's folder, so that no figure is lost
        results = read_results(folder) if (folder / RESULTS_FILE).exists() else {"run": run, "targets": {}}
        if results["run"].get("checkpoint") != checkpoint:
            results["targets"] = {}  # figures of an earlier network in this folder
        results["run"] = run
        asked = []
        for target in sets:
            place = _place(folder, target.label, adaptation)
            stored = results["targets"].get(place.name, {}) if (place / QUERIES_FILE).exists() else {}
            if stored:
                refuse_another(place, target, adaptation, stored)
            inputs = _inputs(config, target, checkpoint, adaptation)
            asked.append((target, inputs, stored if stored.get("inputs") == inputs else {}))
        unchecked = [target for target, _, valid in asked if valid.get("training_images") != CHECKED]
        compared = refuse_training_images(config, unchecked, run["source_fingerprint"])
        for target, inputs, valid in asked:
            own = valid or _evaluate_target(config, folder, network, target, checkpoint, adaptation, inputs, progress)
            own |= {
                "given": target.given,  # these may have changed where the figures have not: a data set that moved
                "dataset": target.describe(),
                "adabn": adaptation.describe() if adaptation else None,
                "training_images": compared if target in unchecked else CHECKED,
            }
            if oracle and "oracle" not in own:
                own = {**own, "oracle": _oracle(config, folder, target, progress)}
            found[result_key(target.label, adaptation)] = own
            results["targets"] |= found
            write_atomically(folder / RESULTS_FILE, json.dumps(results, indent=1))
    return {"run": run, "targets": found}


def is_evaluated(
    config: Config, folder: Path, target: Target, adaptation: Adaptation | None = None, oracle: bool = False
) -> bool:
    """Whether the folder's results.json holds this target's figures, of this network, these images and settings, and
    its best epoch where the ``oracle`` is asked for."""
    if not (folder / RESULTS_FILE).exists():
        return False
    stored = read_results(folder)["targets"].get(result_key(target.label, adaptation), {})
    inputs = _inputs(config, target, network_digest(config, folder), adaptation)
    complete = "oracle" in stored or not oracle
    return (
        complete
        and stored.get("inputs") == inputs
        and (_place(folder, target.label, adaptation) / QUERIES_FILE).exists()
    )


def read_results(folder: Path) -> dict[str, Any]:
    """The run's results.json.

    Raises:
        InputError: naming the file, when it is missing or damaged.
    """
    path = folder / RESULTS_FILE
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read: {error}") from None
    if not isinstance(results, dict) or not all(isinstance(results.get(key), dict) for key in ("run", "targets")):
        raise InputError(f"{path}: is not a results file: it has no mappings 'run' and 'targets'; delete it")
    for name, own in results["targets"].items():
        records = [own.get("dataset", {}), own.get("adabn") or {}] if isinstance(own, dict) else [own]
        if not all(isinstance(record, dict) for record in records):
            raise InputError(f"{path}: is damaged: targets: {name!r} is not the record of a test; delete it")
    return results


def _features_key(config: Config, samples: Samples, adaptation: Adaptation | None) -> str:
    adapted = adaptation.key if adaptation else None
    return settings_key(config, samples, [config.model.neck_feature, config.evaluation.flip, adapted])


def _place(folder: Path, label: str, adaptation: Adaptation | None) -> Path:
    return folder / "targets" / result_key(label, adaptation)


def _evaluate_target(
    config: Config,
    folder: Path,
    network: Callable[[], Embedder],
    target: Target,
    checkpoint: str,
    adaptation: Adaptation | None,
    inputs: str,
    progress: bool,
) -> dict[str, Any]:
    """Figures of one target; a mean over its random splits where it has several, with their standard deviation."""
    place = _place(folder, target.label, adaptation)
    started = time.monotonic()
    evaluations, tables = [], []
    for number, data in enumerate(target.trials):
        own = _place(folder, data.label, adaptation)
        query, evaluation = _rank(config, network, own, data, checkpoint, adaptation, progress)
        evaluations.append(evaluation)
        tables.append(_per_query(query, evaluation, number))
    write_atomically(place / QUERIES_FILE, pd.concat(tables).to_parquet(index=False))
    unmatched = sum(int((~evaluation.valid).sum()) for evaluation in evaluations)
    return {
        **_summary(evaluations),
        "left_out": {**target.trials[0].left_out, "queries without a match": unmatched},
        "definitions": ranking.definitions(config.evaluation.distance, protocol=target.trials[0].card.protocol),
        "neck_feature": config.model.neck_feature,
        "flip": config.evaluation.flip,
        "seed": config.seed,
        "config_hash": config.hash(),
        "checkpoint": checkpoint,
        "inputs": inputs,
        "code": code_version(),
        "code_digests": {"features": features_code(), "figures": figures_code()},
        "packages": package_versions(),
        "device": device_name(config),
        "precision": precision_name(config),
        "seconds": round(time.monotonic() - started, 2),
    }


def _summary(evaluations: Sequence[ranking.Evaluation]) -> dict[str, Any]:
    """One evaluation's figures; of several their means, the spread, and each one's own figures under ``trials``."""
    own = [evaluation.summary() for evaluation in evaluations]
    if len(own) == 1:
        return own[0]
    names = ("mAP", "mINP", "cmc")
    means = {name: np.mean([one[name] for one in own], axis=0).tolist() for name in names}  # type: ignore[arg-type]
    deviations = {name: np.std([one[name] for one in own], axis=0, ddof=1).tolist() for name in names}  # type: ignore[arg-type]
    counts = {name: sum(one[name] for one in own) for name in ("num_valid_queries", "num_queries", "num_gallery")}  # type: ignore[misc]
    return {**means, **counts, "spread": deviations, "trials": own}


def _inputs(config: Config, target: Target, checkpoint: str, adaptation: Adaptation | None) -> str:
    """Digest of all that decides a target's figures."""
    samples = [data.splits[split] for data in target.trials for split in ("query", "gallery")]
    own = [_features_key(config, part, adaptation) for part in samples]
    own += [
        checkpoint,
        config.evaluation.distance,
        target.trials[0].card.protocol,
        str(config.evaluation.top_k),
        figures_code(),
    ]
    return short_digest(own)


def _rank(
    config: Config,
    network: Callable[[], Embedder],
    place: Path,
    data: DataSet,
    checkpoint: str,
    adaptation: Adaptation | None,
    progress: bool,
) -> tuple[Features, ranking.Evaluation]:
    """Features and ranking of one data set, written to ``place``; returns those of the queries."""
    paths = [place / f"{split}.npz" for split in ("query", "gallery")]
    (query, _), (gallery, _) = sides = [
        _features(config, network, path, data.splits[path.stem], checkpoint, adaptation, progress) for path in paths
    ]
    for path, (features, computed) in zip(
        paths, sides, strict=True
    ):  # only now: a bad gallery leaves both as they were
        if computed:
            features.save(path)
    evaluation = ranking.evaluate(
        query, gallery, config.evaluation.distance, config.evaluation.top_k, data.card.protocol, progress=progress
    )
    _write_ranks(place / RANKS_FILE, query, gallery, evaluation)
    return query, evaluation


def _features(
    config: Config,
    network: Callable[[], Embedder],
    path: Path,
    samples: Samples,
    checkpoint: str,
    adaptation: Adaptation | None,
    progress: bool,
) -> tuple[Features, bool]:
    """Features of one split, from ``path`` while neither network, files nor settings changed; whether they were
    computed."""
    origin = origin_of(path, checkpoint, _features_key(config, samples, adaptation))
    saved = load_saved(path, origin)
    return (extract(network(), samples, config, origin, progress), True) if saved is None else (saved, False)


def _oracle(config: Config, folder: Path, target: Target, progress: bool) -> dict[str, Any]:
    """mAP of every epoch on the target, and which was best. Nothing else may use it."""
    found: list[float] = []
    while network_file(config, folder, len(found) + 1).exists():
        epoch = len(found) + 1
        network = load_network(config, folder, epoch)
        own = []
        for data in target.trials:
            query, gallery = (
                extract(network, data.splits[split], config, f"epoch {epoch}, {split}", progress)
                for split in ("query", "gallery")
            )
            own.append(ranking.evaluate(query, gallery, config.evaluation.distance).mAP)
        found.append(float(np.mean(own)))
    best = int(np.argmax(found))
    return {"epoch": best + 1, "mAP": found[best], "mAP_by_epoch": found, "meaning": ORACLE}


def _per_query(query: Features, evaluation: ranking.Evaluation, trial: int) -> pd.DataFrame:
    """A row a valid query."""
    valid = np.flatnonzero(evaluation.valid)
    return pd.DataFrame(
        {
            "trial": trial,
            "path": np.array(query.paths)[valid],
            "pid": query.pids[valid],
            "camid": query.camids[valid],
            "ap": evaluation.ap[valid],
            "inp": evaluation.inp[valid],
            "first_rank": evaluation.first_rank[valid],
        }
    )


def _write_ranks(path: Path, query: Features, gallery: Features, evaluation: ranking.Evaluation) -> None:
    lists = evaluation.lists
    assert lists is not None
    rows, places = np.nonzero(lists.indices >= 0)
    found = lists.indices[rows, places]
    table = pd.DataFrame(
        {
            "query_path": np.array(query.paths)[rows],
            "query_pid": query.pids[rows],
            "query_camid": query.camids[rows],
            "rank": places + 1,
            "gallery_path": np.array(gallery.paths)[found],
            "gallery_pid": gallery.pids[found],
            "gallery_camid": gallery.camids[found],
            "distance": lists.distances[rows, places],
            "match": lists.matches[rows, places],
        }
    )
    write_atomically(path, table.to_parquet(index=False))


def _describe_run(config: Config, folder: Path, checkpoint: str) -> dict[str, Any]:
    progress = read_progress(folder / FILE)
    epoch, choice = _tested_epoch(config, folder)
    return {
        "name": folder.name,
        "model": config.name,
        "backbone": config.model.backbone,
        "source": progress.source,
        "sources": progress.source.split("+") if len(config.data.sources) > 1 else [progress.source],
        "source_fingerprint": progress.data,
        "seed": config.seed,
        "config_hash": config.hash(),
        "checkpoint": checkpoint,
        "steps": progress.step,
        "epoch": epoch,
        "epoch_choice": choice,
        "training_seconds": round(progress.seconds, 1),
        "training_precision": progress.precision,
        "training_device": progress.device,
        "training_code": progress.code,
        "threads": progress.threads,
        "weights": progress.weights,
        "standardise": config.transforms.standardise,
    }


def _tested_epoch(config: Config, folder: Path) -> tuple[int, str]:
    """The epoch (from 1) whose network is tested, and how it was chosen."""
    if config.selection.holdout > 0:
        progress = read_progress(network_file(config, folder))
        return progress.best_epoch, (
            f"the best mAP ({progress.best_mAP:.4f}) on identities held out of the source's training split "
            f"(share {config.selection.holdout:g}); no target is looked at"
        )
    try:
        last = json.loads((folder / LOG_FILE).read_text(encoding="utf-8").splitlines()[-1])
        return int(last["epoch"]), "the last; no target is looked at"
    except (OSError, IndexError, KeyError, ValueError) as error:
        raise InputError(f"{folder / LOG_FILE}: does not tell the last epoch: {error!r}") from None
