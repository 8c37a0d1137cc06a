"""A trained run on any number of targets: features, ranked lists, exact figures, results.json.

Each target leaves query.npz, gallery.npz and ranks.parquet in the run's folder under ``targets/NAME``. Features that
are still valid (same checkpoint, same images, same settings) are not computed again.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import platform
import subprocess
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pandas as pd
import torch

import reid
from reid.config import Config
from reid.data.card import DataSet, Samples, load_card, roots
from reid.engine import build
from reid.engine.checkpoint import FILE, read_progress
from reid.engine.extract import extract, load_network
from reid.errors import InputError
from reid.files import write_atomically
from reid.models import Embedder
from reid.retrieval import ranking
from reid.retrieval.features import Features, load_features, saved_origin
from reid.retrieval.index import FlatIndex

RESULTS_FILE = "results.json"
PACKAGES = ("torch", "faiss-cpu", "albumentations", "opencv-python-headless", "numpy", "numba", "pillow")


def evaluate_run(config: Config, folder: Path, targets: Sequence[str], progress: bool = True) -> dict[str, Any]:
    """Test the run in ``folder`` on ``targets``: returns their results, and adds them to the folder's results.json.

    Raises:
        InputError: a target that cannot be read, two of one name, a run that is not finished, images that the run was
            trained on.
    """
    build.check(config)
    sets: dict[str, DataSet] = {}
    for target in targets:
        data = build.dataset(config, target, ["query", "gallery"])
        if data.label in sets and sets[data.label].root != data.root:
            raise InputError(
                f"targets: {sets[data.label].root} and {data.root} are both named {data.label}; rename one, or give it "
                "a card with another name"
            )
        sets[data.label] = data
    _refuse_training_images(config, sets)
    if config.threads:
        torch.set_num_threads(config.threads)
        faiss.omp_set_num_threads(config.threads)
    network = load_network(config, folder)
    checkpoint = checkpoint_digest(folder)
    run = _describe_run(config, folder, checkpoint)
    results = read_results(folder) if (folder / RESULTS_FILE).exists() else {"run": run, "targets": {}}
    if results["run"].get("checkpoint") != checkpoint:
        results["targets"] = {}  # figures of an earlier network in this folder
    results["run"] = run
    for label, data in sets.items():
        results["targets"][label] = _evaluate_target(config, folder, network, data, checkpoint, progress)
        write_atomically(folder / RESULTS_FILE, json.dumps(results, indent=1))
    return {"run": run, "targets": {label: results["targets"][label] for label in sets}}


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
    return results


def checkpoint_digest(folder: Path) -> str:
    """Sixteen hexadecimal digits of the checkpoint's sha256.

    Raises:
        InputError: there is none.
    """
    try:
        with (folder / FILE).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()[:16]
    except OSError as error:
        raise InputError(f"{folder}: holds no checkpoint; train it first: {error}") from None


def _evaluate_target(
    config: Config, folder: Path, network: Embedder, data: DataSet, checkpoint: str, progress: bool
) -> dict[str, Any]:
    started = time.monotonic()
    own = folder / "targets" / data.label
    query, gallery = (
        _features(config, network, own / f"{split}.npz", data.splits[split], checkpoint, progress)
        for split in ("query", "gallery")
    )
    for features, split in ((query, "query"), (gallery, "gallery")):  # only now: a bad gallery leaves both as they were
        if saved_origin(own / f"{split}.npz") != features.origin:
            features.save(own / f"{split}.npz")
    index = FlatIndex(gallery, config.evaluation.distance)
    evaluation = ranking.evaluate(
        query, gallery, config.evaluation.distance, index, config.evaluation.top_k, progress=progress
    )
    _write_ranks(own / "ranks.parquet", query, gallery, evaluation)
    return {
        **evaluation.summary(),
        "left_out": {**data.left_out, "queries without a match": int((~evaluation.valid).sum())},
        "definitions": ranking.definitions(config.evaluation.distance),
        "neck_feature": config.model.neck_feature,
        "flip": config.evaluation.flip,
        "dataset": {
            "name": data.name,
            "version": data.version,
            "fingerprint": data.fingerprint,
            "rendered_fingerprint": data.rendered,
            "notes": list(data.notes),
        },
        "seed": config.seed,
        "config_hash": config.hash(),
        "checkpoint": checkpoint,
        "code": code_version(),
        "packages": package_versions(),
        "device": _device(config),
        "precision": _precision(config),
        "seconds": round(time.monotonic() - started, 2),
    }


def _features(
    config: Config, network: Embedder, path: Path, samples: Samples, checkpoint: str, progress: bool
) -> Features:
    """Features of one split, from ``path`` while neither network, files (by size and time) nor settings changed."""
    own = [config.model.neck_feature, config.data.height, config.data.width]
    own += [config.transforms.standardise, config.evaluation.flip]
    origin = origin_of(path, samples, checkpoint, config, own)
    if saved_origin(path) == origin:
        return replace(load_features(path), origin=origin)
    return extract(network, samples, config, origin, progress)


def origin_of(path: Path, samples: Samples, checkpoint: str, config: Config, own: Sequence[object]) -> str:
    """What a file at ``path`` was computed from; one that says the same is still valid.

    The network by its checkpoint's digest; the images by name, size, time, identity and camera; precision and device;
    and the settings ``own`` that decide this kind of file, as plain values.
    """
    stats = [file.stat() for file in samples.paths]
    files = [(name, stat.st_size, stat.st_mtime_ns) for name, stat in zip(samples.names, stats, strict=True)]
    people = [samples.pids.tolist(), samples.camids.tolist()]
    settings = json.dumps([files, people, _precision(config), _device(config), [*own]])
    return f"{path} (checkpoint {checkpoint}, settings {hashlib.sha256(settings.encode()).hexdigest()[:16]})"


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


def _refuse_training_images(config: Config, sets: dict[str, DataSet]) -> None:
    """A target whose images were trained on would be no test. The source is read only where a target lies in it."""
    for source in config.data.sources:
        own = roots(load_card(source), config.data.folder, Path(config.data.sites_root))
        for label, data in sets.items():
            if data.root.resolve() not in own:
                continue
            trained = set(build.dataset(config, source, ["train"]).splits["train"].names)
            names = sorted(trained & {*data.splits["query"].names, *data.splits["gallery"].names})
            if names:
                raise InputError(
                    f"target {label!r}: {len(names)} of its images were trained on (source {source!r}), "
                    f"the first is {names[0]}"
                )


def _describe_run(config: Config, folder: Path, checkpoint: str) -> dict[str, Any]:
    progress = read_progress(folder / FILE)
    return {
        "name": folder.name,
        "model": config.name,
        "backbone": config.model.backbone,
        "source": progress.source,
        "source_fingerprint": progress.data,
        "seed": config.seed,
        "config_hash": config.hash(),
        "checkpoint": checkpoint,
        "steps": progress.step,
        "epoch_choice": "the last; no target is looked at",
        "training_seconds": round(progress.seconds, 1),
        "training_precision": progress.precision,
        "training_device": progress.device,
        "threads": progress.threads,
        "weights": progress.weights,
        "standardise": config.transforms.standardise,
    }


def code_version() -> str:
    """Package version, and the commit where the package lies in a git checkout."""
    folder = Path(reid.__file__).resolve().parent
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    tracked = ["git", "-C", str(folder), "ls-files", "--error-unmatch", "__init__.py"]  # not some other repository
    try:
        subprocess.run(tracked, capture_output=True, check=True)
        commit = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return reid.__version__
    return f"{reid.__version__} {commit}"


def package_versions() -> dict[str, str]:
    """Versions of Python and of the packages that figures depend on."""
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:  # the same module by another package, such as faiss-gpu
            versions[name] = "not installed under this name"
    return versions


def _device(config: Config) -> str:
    device = build.device(config)
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"cpu ({torch.backends.cpu.get_cpu_capability()})"


def _precision(config: Config) -> str:
    return "bf16" if build.autocast_dtype(config, build.device(config)) else "float32"
