"""A small benchmark's folder as reid/evaluation/benchmark.py writes it, over real images and invented distances.

Models differ in how far matches stand out: "bn" most at home and least abroad, "ibn_b" in between in both.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from trees import write_image

from reid.config import dump_resolved, load_config

STRENGTH = {  # how many standard deviations nearer a match is: at home, abroad
    "bn": (2.6, 0.5), "ibn_a": (2.5, 0.9), "ibn_b": (2.0, 1.4), "bn_standardised": (2.0, 1.5), "bn_jitter": (2.4, 0.6),
    "bn_adabn": (2.6, 3.0), "osnet": (2.4, 1.2), "retail": (1.0, 1.0),
}  # fmt: skip
MODELS, REMEDIES = ("bn", "ibn_a", "ibn_b"), ("bn_standardised", "bn_jitter")


def benchmark_folder(
    root: Path,
    models: Sequence[str] = MODELS,
    sources: Sequence[str] = ("plaza_x", "station_x"),
    targets: Sequence[str] = ("plaza_x", "station_x"),
    seeds: Sequence[int] = (0, 1),
    remedies: Sequence[str] = REMEDIES,
    divergence: bool = True,
    name: str = "report",
    identities: int = 12,
    oracle: bool = False,
    foreign: Mapping[str, str | None] | None = None,
) -> Path:
    """Write ``root/runs/NAME``, its runs beside it and the images in ``root/data``; returns the benchmark's folder.

    ``oracle``: with the oracle-best epoch, measured in-domain only. ``foreign``: networks of other origin, and what
    each was trained on.
    """
    folder = root / "runs" / name
    folder.mkdir(parents=True)
    people = {target: _images(root / "data" / target, target, identities) for target in targets}
    given = {target: str(root / "data" / target / f"{target}.csv") for target in targets}
    for file, chosen, own_seeds in (("", models, seeds), ("remedies", remedies, seeds[:1])):
        if not chosen:
            continue
        rows, queries = [], []
        for model in chosen:
            for source in sources:
                for seed in own_seeds:
                    run = root / "runs" / f"{model}_{source}_seed{seed}"
                    for target in targets:
                        found = _ranked(people[target], model, source, target, seed, run, root)
                        rows.append(_result(found, model, source, target, seed, run))
                        if oracle and target in source.split("+"):
                            rows[-1] |= {"oracle_epoch": 4, "oracle_mAP": rows[-1]["mAP"] + 0.015}
                        queries.append(found.assign(model=model, source=source, target=target, seed=seed, trial=0))
        for network, source in (foreign or {}).items() if not file else ():
            place = root / "runs" / "networks" / network
            for target in targets:
                found = _ranked(people[target], network, source or "not known", target, 0, place, root)
                rows.append(_result(found, network, source or "not known", target, None, place))
                queries.append(
                    found.assign(model=network, source=source or "not known", target=target, seed=None, trial=0)
                )
        table = pd.DataFrame(rows).astype({"seed": "Int64"} if foreign else {})
        table.to_csv(folder / f"{file or 'results'}.csv", index=False)
        queries = [frame.astype({"seed": table["seed"].dtype}) for frame in queries]
        pd.concat(queries).to_parquet(folder / f"{file + '_' if file else ''}queries.parquet", index=False)
    if divergence:
        _divergence(folder / "divergence.csv", models, sources, targets, seeds)
    description = {
        "name": "two drawn sites <small>",
        "models": {model: {"backbone": "resnet18"} for model in models}
        | {name: {"model": f"{name}.onnx", "trained_on": source} for name, source in (foreign or {}).items()},
        "remedies": {model: {} for model in remedies},
        "sources": list(sources), "targets": given, "seeds": list(seeds),
        "definitions": {"mAP": "mean AP over valid queries", "distance": "1 - cosine"},
        "packages": {"python": "3.11.7", "torch": "2.9.0"},
        "data": {t: {"version": None, "fingerprint": f"{n:064x}", "notes": []} for n, t in enumerate(targets)},
    }  # fmt: skip
    (folder / "benchmark.json").write_text(json.dumps(description))
    return folder


def _images(root: Path, name: str, identities: int) -> pd.DataFrame:
    rows = []
    for pid in range(1, identities + 1):
        for cam in (1, 2, 3):
            for shot in range(3):
                path = f"images/{pid}_{cam}_{shot}.jpg"
                if not (root / path).exists():
                    write_image(root / path, pid, cam, shot, (32, 16))
                rows.append({"path": path, "pid": pid, "camid": cam, "split": "query" if shot == 0 else "gallery"})
    frame = pd.DataFrame(rows)
    frame.to_csv(root / f"{name}.csv", index=False)
    return frame


def _ranked(
    people: pd.DataFrame, model: str, source: str, target: str, seed: int, run: Path, root: Path
) -> pd.DataFrame:
    """Ranked lists of every query, written as ranks.parquet; returns the queries' AP, INP and first rank."""
    rng = np.random.default_rng([seed, *f"{model} {source}".encode()])
    noise = np.random.default_rng([*target.encode()])  # shared by models: their queries are hard for all
    strength = STRENGTH[model][0 if target in source.split("+") else 1] * rng.uniform(0.9, 1.1)
    queries, gallery = people[people["split"] == "query"], people[people["split"] == "gallery"]
    ranks, found = [], []
    for query in queries.itertuples():
        own = gallery[(gallery["pid"] != query.pid) | (gallery["camid"] != query.camid)]
        match = (own["pid"] == query.pid).to_numpy()
        distance = noise.normal(size=len(own)) + 0.3 * rng.normal(size=len(own)) - strength * match
        order = np.argsort(distance, kind="stable")
        places = np.flatnonzero(match[order]) + 1
        ap, inp = np.mean(np.arange(1, len(places) + 1) / places), len(places) / places[-1]
        found.append((query.path, query.pid, query.camid, ap, inp, int(places[0])))
        for rank, place in enumerate(order[:50], 1):
            other = own.iloc[place]
            row = (query.path, query.pid, query.camid, rank, other["path"], other["pid"], other["camid"])
            ranks.append((*row, distance[place], bool(match[place])))
    columns = ["query_path", "query_pid", "query_camid", "rank", "gallery_path", "gallery_pid", "gallery_camid"]
    place = run / "targets" / target
    place.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(ranks, columns=[*columns, "distance", "match"]).to_parquet(place / "ranks.parquet", index=False)
    if not (run / "config.yaml").exists():
        config = load_config("sites_bn.yaml", [f"data.root={root}", "data.source=plaza", f"seed={seed}"])
        (run / "config.yaml").write_text(dump_resolved(config))
    return pd.DataFrame(found, columns=["path", "pid", "camid", "ap", "inp", "first_rank"])


def _result(
    found: pd.DataFrame, model: str, source: str, target: str, seed: int | None, run: Path
) -> dict[str, object]:
    cmc = {f"rank{k}": float((found["first_rank"] <= k).mean()) for k in (1, 5, 10)}
    return {
        "model": model, "source": source, "target": target, "seed": seed, "in_domain": target in source.split("+"),
        "mAP": found["ap"].mean(), **cmc, "mINP": found["inp"].mean(), "queries": len(found), "gallery": 72,
        "spread": None, "run": str(run), "epoch": 6, "epoch_choice": "last", "oracle_epoch": None, "oracle_mAP": None,
        "adabn": model.endswith("adabn"), "config_hash": "012345678901", "checkpoint": "00e1000000000000",
        "data_fingerprint": f"{1:064x}", "train_device": "cpu", "train_precision": "float32", "device": "cpu (AVX2)",
        "precision": "float32", "code": "0.1.0 abc", **({"foreign": True, "train_device": ""} if seed is None else {}),
    }  # fmt: skip


def _divergence(
    path: Path, models: Sequence[str], sources: Sequence[str], targets: Sequence[str], seeds: Sequence[int]
) -> None:
    rng, rows = np.random.default_rng(5), []
    pairs = [(a, b, "domain") for a in targets for b in targets if a < b] + [(a, a, "identity") for a in targets]
    for model in models:
        for source in sources:
            for seed in seeds:
                for a, b, by in pairs:
                    for stage in (1, 2, 3, 4):
                        norm = model == "ibn_b" and stage < 3
                        mean = (1e-3 if norm else 0.3 / stage) * rng.uniform(0.7, 1.4) * (2 if by == "identity" else 1)
                        rows.append((model, source, seed, a, b, by, stage, mean, mean / 2, norm, 1e-5, 108, 108))
    columns = ["model", "source", "seed", "a", "b", "by", "stage", "mean", "median", "instance_norm", "floor"]
    pd.DataFrame(rows, columns=[*columns, "images_a", "images_b"]).to_csv(path, index=False)
