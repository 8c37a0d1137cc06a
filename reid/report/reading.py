"""The files of one benchmark folder, checked column by column; inputs.py joins several."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import pandas as pd

from reid.errors import InputError
from reid.report.table import CROSS_CAMERA

RESULTS, REMEDIES, DIVERGENCE, DESCRIPTION = "results.csv", "remedies.csv", "divergence.csv", "benchmark.json"
QUERIES, REMEDIES_QUERIES = "queries.parquet", "remedies_queries.parquet"
KEY = ["model", "source", "target", "seed"]
FIGURES = ["mAP", "rank1", "rank5", "rank10", "mINP", "queries", "gallery"]
ORACLE = ["oracle_epoch", "oracle_mAP"]
LATER = {
    "adabn": "False", "epoch": "", "epoch_choice": "", "oracle_epoch": "", "oracle_mAP": "", "train_device": "",
    "train_precision": "", "device": "", "precision": "", "foreign": "False",
    "protocol": CROSS_CAMERA,
}  # fmt: skip
FOREIGN_KEY = ["model", "source", "target"]  # a network of other origin has no seed
MISSING = [*KEY, "reason"]
QUERY_COLUMNS = [*KEY, "trial", "path", "pid", "camid", "ap", "inp", "first_rank"]
DIVERGENCE_KEY = ["model", "source", "seed", "a", "b", "by", "stage"]
DIVERGENCE_FIGURES = ["mean", "median", "instance_norm"]


def read_results(path: Path, place: int) -> pd.DataFrame:
    """results.csv or remedies.csv, without networks of other origin. Columns of ``LATER`` that an older file lacks get
    the value that stands there."""
    frame = _tested(path)
    frame = _numbers(frame[~frame["foreign"]].reset_index(drop=True), path, [*FIGURES, *ORACLE])
    return _seeds(frame, path).assign(folder=place)


def read_foreign(path: Path, place: int) -> pd.DataFrame:
    """The rows of results.csv that are of networks of other origin, which have no seed."""
    frame = _tested(path)
    frame = _numbers(frame[frame["foreign"]].reset_index(drop=True), path, FIGURES)
    if (frame["seed"] != "").any():
        raise InputError(
            f"{path}: column seed: a network of other origin has {frame['seed'].max()!r}, where none can be"
        )
    return frame.drop(columns="seed").assign(folder=place)


def _tested(path: Path) -> pd.DataFrame:
    frame = _csv(path, [*KEY, "in_domain", *FIGURES, "run"])
    for column, value in LATER.items():
        frame[column] = frame[column].mask(frame[column] == "", value) if column in frame else value
    for column in ("in_domain", "adabn", "foreign"):
        flags = frame[column].map({"True": True, "False": False})
        if flags.isna().any():
            raise InputError(f"{path}: {column}: {frame[column][flags.isna()].iloc[0]!r} is neither True nor False")
        frame[column] = flags.astype(bool)
    return frame


def _csv(path: Path, needed: Sequence[str]) -> pd.DataFrame:
    """Every cell as text, so that a hash of digits stays one, and a model named NA too."""
    try:
        frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read: {error}") from None
    _require(frame, path, needed)
    return frame


def _require(frame: pd.DataFrame, path: Path, needed: Sequence[str]) -> None:
    missing = [column for column in needed if column not in frame.columns]
    if missing:
        raise InputError(f"{path}: has no column {', '.join(missing)}; its columns are {', '.join(frame.columns)}")


def _numbers(frame: pd.DataFrame, path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """The columns as numbers; an empty cell is a missing figure."""
    for column in columns:
        try:
            frame[column] = pd.to_numeric(frame[column].mask(frame[column] == ""))
        except ValueError as error:
            raise InputError(f"{path}: column {column}: {error}") from None
    return frame


def _seeds(frame: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Seeds as whole numbers."""
    frame = _numbers(frame, path, ["seed"])
    if frame["seed"].isna().any():
        raise InputError(f"{path}: column seed: is empty in {int(frame['seed'].isna().sum())} rows")
    frame["seed"] = frame["seed"].astype(int)
    return frame


def joined_results(frames: Sequence[pd.DataFrame], folders: Sequence[Path], name: str) -> pd.DataFrame:
    """One row a key. The same row in two folders is one; with other figures it is an error."""
    if not frames:
        return pd.DataFrame(columns=[*KEY, "in_domain", *FIGURES, "run", *LATER, "folder"])
    files = [folder / name for folder in folders]
    joined = _one_a_key(frames, files, KEY, [*FIGURES, "in_domain"], "model {}, {} → {}, seed {}")
    measured = pd.concat(frames).dropna(subset=ORACLE, how="all")[
        [*KEY, *ORACLE, "folder"]
    ]  # perhaps in one of the folders only
    oracle = _one_a_key([measured], files, KEY, ORACLE, "model {}, {} → {}, seed {}").drop(columns="folder")
    return joined.drop(columns=ORACLE).merge(oracle, on=KEY, how="left")


def joined_foreign(frames: Sequence[pd.DataFrame], folders: Sequence[Path]) -> pd.DataFrame:
    """As :func:`joined_results`, of networks of other origin."""
    files = [folder / RESULTS for folder in folders]
    return _one_a_key(frames, files, FOREIGN_KEY, [*FIGURES, "in_domain"], "network {}, {} → {}")


def _one_a_key(
    frames: Sequence[pd.DataFrame], files: Sequence[Path], key: list[str], figures: Sequence[str], words: str
) -> pd.DataFrame:
    """The rows of all ``frames``, one a ``key``; ``words`` name a key in the error, their column ``folder`` the file.

    Raises:
        InputError: naming the files, where rows of one key differ in ``figures``.
    """
    frame = pd.concat(frames, ignore_index=True)
    for named, group in frame[frame.duplicated(key, keep=False)].groupby(key, sort=False):
        for figure in figures:
            if group[figure].nunique(dropna=False) > 1:
                places = " and ".join(str(files[place]) for place in dict.fromkeys(group["folder"]))
                values = " and ".join(str(value) for value in group[figure].unique())
                name = words.format(*cast(tuple, named))
                raise InputError(f"{places}: {name} has {figure} {values}; leave one of the two out")
    return frame.drop_duplicates(key, ignore_index=True)


def read_queries(
    folders: Sequence[Path], name: str, results: pd.DataFrame, key: Sequence[str] = tuple(KEY)
) -> pd.DataFrame:
    """The queries of every row of ``results``, from the folder that the row comes from; ``key`` names a row:
    ``FOREIGN_KEY`` those of networks of other origin.

    Raises:
        InputError: naming the file, when it is missing, lacks columns or the queries of a row.
    """
    key = list(key)
    columns = [column for column in QUERY_COLUMNS if column in key or column not in KEY]
    frames = [pd.DataFrame(columns=columns)]
    for place in results["folder"].unique():
        path = folders[place] / name
        try:
            frame = pd.read_parquet(path)
        except (OSError, ValueError) as error:
            raise InputError(f"{path}: cannot be read: {error}") from None
        _require(frame, path, QUERY_COLUMNS)
        frame = frame[frame["seed"].notna() == ("seed" in key)]
        frame = frame.astype({"seed": int}) if "seed" in key else frame.drop(columns="seed")
        wanted = results.loc[results["folder"] == place, key]
        matched = wanted.merge(frame.drop_duplicates(key)[key], on=key, how="left", indicator=True)
        lost = matched[matched["_merge"] == "left_only"]
        if len(lost):
            row = dict(lost.iloc[0][key])
            seed = f", seed {row['seed']}" if "seed" in row else ""
            raise InputError(
                f"{path}: holds no queries of model {row['model']}, {row['source']} → {row['target']}{seed}"
            )
        frames.append(frame.merge(wanted, on=key)[columns])
    return pd.concat(frames[1:], ignore_index=True) if len(frames) > 1 else frames[0]


def read_divergence(folders: Sequence[Path]) -> pd.DataFrame:
    """Every folder's divergence, one row a (model, source, seed, a, b, by, stage); no rows where none was measured.

    Raises:
        InputError: naming the files, when one is damaged or lacks columns, or two have other figures for the same row.
    """
    columns = [*DIVERGENCE_KEY, *DIVERGENCE_FIGURES]
    files = [folder / DIVERGENCE for folder in folders]
    frames = []
    for place, path in enumerate(files):
        if path.is_file() and path.read_text(encoding="utf-8").strip():  # empty where nothing was measured
            frame = _seeds(_numbers(_csv(path, columns), path, ["stage", "mean", "median"]), path)
            frame["instance_norm"] = frame["instance_norm"] == "True"
            frames.append(frame.assign(folder=place))
    if not frames:
        return pd.DataFrame(columns=columns)
    words = "model {}, trained on {}, seed {}: {} and {} (by {}), stage {}"
    return _one_a_key(frames, files, DIVERGENCE_KEY, DIVERGENCE_FIGURES, words)


def read_description(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read: {error}") from None
    if not isinstance(values, dict) or not isinstance(values.get("models", {}), dict):
        raise InputError(f"{path}: is not a benchmark's description: it holds no mapping 'models'")
    lost = values.get("missing", [])
    if not isinstance(lost, list) or not all(isinstance(cell, dict) and cell.keys() >= set(MISSING) for cell in lost):
        raise InputError(f"{path}: missing: is not a list of cells with {', '.join(MISSING)}")
    return values
