"""What do the folders of a benchmark hold? The tables that reid/evaluation/benchmark.py writes, checked and joined."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import pandas as pd

from reid.errors import InputError
from reid.report.formats import MARK

CROSS_CAMERA = "cross-camera"  # the usual protocol, which older files do not name
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


@dataclass(frozen=True)
class Direction:
    """Trained on ``source``, tested on ``target``."""

    source: str
    target: str
    in_domain: bool

    def __str__(self) -> str:
        return f"{self.source} → {self.target}"

    @property
    def label(self) -> str:
        """As tables name it."""
        return f"{self} ({'in-domain' if self.in_domain else 'cross-domain'})"


@dataclass(frozen=True)
class Benchmark:
    """One or several benchmark folders as one. Frames without rows stand for files that are not there.

    ``models`` are those of the main table, in the order of benchmark.json; ``results`` and ``remedies`` have one row a
    (model, source, target, seed), and the column ``folder``, the place in ``folders`` that they come from. ``foreign``
    are tests of networks of other origin, which have no seed and are part of no statistics over seeds.
    """

    folders: tuple[Path, ...]
    models: tuple[str, ...]
    results: pd.DataFrame
    queries: pd.DataFrame
    remedies: pd.DataFrame
    remedies_queries: pd.DataFrame
    divergence: pd.DataFrame
    description: dict[str, Any]
    foreign: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=FOREIGN_KEY))
    foreign_queries: pd.DataFrame = field(default_factory=pd.DataFrame)

    @property
    def networks(self) -> list[str]:
        """The networks of other origin, in the order of the tables."""
        return list(dict.fromkeys(self.foreign["model"]))

    @property
    def seeds(self) -> list[int]:
        return sorted(int(seed) for seed in self.results["seed"].unique())

    @cached_property
    def rows(self) -> pd.DataFrame:
        """Of models, then of remedies."""
        return pd.concat([frame for frame in (self.results, self.remedies) if len(frame)], ignore_index=True)

    @cached_property
    def directions(self) -> list[Direction]:
        """In-domain first; sources and targets in the order of the tables."""
        rows = self.rows[["source", "target", "in_domain"]].drop_duplicates()
        ways = [Direction(str(s), str(t), bool(i)) for s, t, i in rows.itertuples(index=False)]
        return sorted(ways, key=lambda direction: not direction.in_domain)

    @cached_property
    def main_directions(self) -> list[Direction]:
        """Those of the main table; a remedy may have been tested elsewhere too."""
        known = set(zip(self.results["source"], self.results["target"], strict=True))
        return [direction for direction in self.directions if (direction.source, direction.target) in known]

    @cached_property
    def sees_target(self) -> frozenset[str]:
        """Models and remedies whose batch-norm statistics are the target's (AdaBN)."""
        entries = [*self.description.get("models", {}).items(), *self.description.get("remedies", {}).items()]
        named = {label for label, entry in entries if isinstance(entry, dict) and entry.get("adabn")}
        return frozenset(named | set(self.rows.loc[self.rows["adabn"].astype(bool), "model"]))

    @cached_property
    def missing(self) -> list[str]:
        """The cells of the grid that no folder holds, with the reason: what is shown is not all of it."""
        held = set(zip(*(self.rows[column] for column in KEY), strict=True))
        held |= {(*cell, None) for cell in zip(*(self.foreign[column] for column in FOREIGN_KEY), strict=True)}
        lost = {tuple(cell[column] for column in KEY): cell["reason"] for cell in self.description["missing"]}
        return [
            f"{m}, {s} → {t}{'' if n is None else f', seed {n}'}: {why}"
            for (m, s, t, n), why in lost.items()
            if (m, s, t, n) not in held
        ]

    def shown(self, model: str) -> str:
        """A model's name in a table: with a mark where it sees the target's images."""
        return f"{model} {MARK}" if model in self.sees_target else model

    def in_domain(self, source: str, target: str) -> bool:
        """Whether ``target`` is the test split of what ``source`` was trained on."""
        return Direction(source, target, True) in self.directions


def lines(frame: pd.DataFrame) -> Iterator[Any]:
    """The rows, a field a column; their types are the columns' own, which no annotation can tell."""
    return iter(frame.itertuples(index=False))


def read_benchmarks(folders: Sequence[Path]) -> Benchmark:
    """Read and join.

    Raises:
        InputError: no folder, a file that is missing, damaged or lacks columns, a (model, source, target, seed) that
            stands in two places with different figures, results without queries.
    """
    if not folders:
        raise InputError("report: give at least one folder of a benchmark")
    for folder in folders:
        if not (folder / RESULTS).is_file():
            raise InputError(f"{folder}: is not a benchmark's folder: it holds no {RESULTS}")
        if not (folder / DESCRIPTION).is_file() and (folder / "table.md").is_file():
            raise InputError(
                f"{folder}: holds the tables of cross_domain --models or --cfgs (table.md); a page is made of a grid "
                "(--benchmark)"
            )
    description = _joined_descriptions([_read_description(folder / DESCRIPTION) for folder in folders])
    results = _joined_results(folders, RESULTS)
    if results.empty:
        raise InputError(f"{folders[0] / RESULTS}: holds no rows")
    remedies, foreign = _joined_results(folders, REMEDIES), _joined_foreign(folders)
    measured = pd.concat([results, remedies, foreign]).drop_duplicates("protocol")
    if len(measured) > 1:
        each = " and ".join(f"{row.target} {row.protocol}" for row in lines(measured))
        raise InputError(f"report: {each} were measured by two protocols: such figures do not stand on one page")
    for others, word in ((remedies, "a remedy"), (foreign, "a network of other origin")):
        both = sorted(set(results["model"]) & set(others["model"]))
        if both:
            raise InputError(f"{' and '.join(map(str, folders))}: {both[0]!r} is a model in one and {word} in another")
    named, present = description.get("models", {}), dict.fromkeys(results["model"])
    return Benchmark(
        folders=tuple(folders),
        models=(*(model for model in named if model in present), *(model for model in present if model not in named)),
        results=results,
        queries=_read_queries(folders, QUERIES, results),
        remedies=remedies,
        remedies_queries=_read_queries(folders, REMEDIES_QUERIES, remedies),
        divergence=_read_divergence(folders),
        description=description,
        foreign=foreign,
        foreign_queries=_read_queries(folders, QUERIES, foreign, FOREIGN_KEY),
    )


def _joined_descriptions(descriptions: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Mappings are united, the first folder's entries first, names and missing cells joined; of anything else the first
    folder's stands."""
    joined: dict[str, Any] = {}
    for description in descriptions:
        for key, value in description.items():
            if isinstance(value, dict) and isinstance(joined.get(key), dict):
                joined[key] |= {name: entry for name, entry in value.items() if name not in joined[key]}
            else:
                joined.setdefault(key, dict(value) if isinstance(value, dict) else value)
    joined["missing"] = [cell for part in descriptions for cell in part.get("missing", [])]
    joined["name"] = " + ".join(dict.fromkeys(str(part.get("name", "benchmark")) for part in descriptions))
    return joined


def _joined_results(folders: Sequence[Path], name: str) -> pd.DataFrame:
    """results.csv or remedies.csv, without networks of other origin: one row a key."""
    places = [place for place, folder in enumerate(folders) if (folder / name).is_file()]
    if not places:
        return pd.DataFrame(columns=[*KEY, "in_domain", *FIGURES, "run", *LATER, "folder"])
    files, words = [folder / name for folder in folders], "model {}, {} → {}, seed {}"
    frames = [_seeds(_tested(files[place], False, [*FIGURES, *ORACLE]), files[place], place) for place in places]
    joined = _one_a_key(frames, files, KEY, [*FIGURES, "in_domain"], words)
    measured = pd.concat(frames).dropna(subset=ORACLE, how="all")  # perhaps in one of the folders only
    oracle = _one_a_key([measured[[*KEY, *ORACLE, "folder"]]], files, KEY, ORACLE, words).drop(columns="folder")
    return joined.drop(columns=ORACLE).merge(oracle, on=KEY, how="left")


def _joined_foreign(folders: Sequence[Path]) -> pd.DataFrame:
    """The rows of results.csv that are of networks of other origin, which have no seed: one a key."""
    files, frames = [folder / RESULTS for folder in folders], []
    for place, path in enumerate(files):
        frame = _tested(path, True, FIGURES)
        if (frame["seed"] != "").any():
            seed = frame["seed"].max()
            raise InputError(f"{path}: column seed: a network of other origin has {seed!r}, where none can be")
        frames.append(frame.drop(columns="seed").assign(folder=place))
    return _one_a_key(frames, files, FOREIGN_KEY, [*FIGURES, "in_domain"], "network {}, {} → {}")


def _tested(path: Path, foreign: bool, figures: Sequence[str]) -> pd.DataFrame:
    """The rows of networks of other origin, or those of all others. Columns of ``LATER`` that an older file lacks get
    the value that stands there."""
    frame = _csv(path, [*KEY, "in_domain", *FIGURES, "run"])
    for column, value in LATER.items():
        frame[column] = frame[column].mask(frame[column] == "", value) if column in frame else value
    for column in ("in_domain", "adabn", "foreign"):
        flags = frame[column].map({"True": True, "False": False})
        if flags.isna().any():
            raise InputError(f"{path}: {column}: {frame[column][flags.isna()].iloc[0]!r} is neither True nor False")
        frame[column] = flags.astype(bool)
    return _numbers(frame[frame["foreign"] == foreign].reset_index(drop=True), path, figures)


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


def _seeds(frame: pd.DataFrame, path: Path, place: int) -> pd.DataFrame:
    """Seeds as whole numbers, and ``place``, the folder's."""
    frame = _numbers(frame, path, ["seed"])
    if frame["seed"].isna().any():
        raise InputError(f"{path}: column seed: is empty in {int(frame['seed'].isna().sum())} rows")
    return frame.astype({"seed": int}).assign(folder=place)


def _one_a_key(
    frames: Sequence[pd.DataFrame], files: Sequence[Path], key: list[str], figures: Sequence[str], words: str
) -> pd.DataFrame:
    """The rows of all ``frames``, one a ``key``. The same row in two folders is one; where its ``figures`` differ, an
    error names it by ``words`` and the files by the column ``folder``."""
    frame = pd.concat(frames, ignore_index=True)
    for named, group in frame[frame.duplicated(key, keep=False)].groupby(key, sort=False):
        for figure in figures:
            if group[figure].nunique(dropna=False) > 1:
                places = " and ".join(str(files[place]) for place in dict.fromkeys(group["folder"]))
                values = " and ".join(str(value) for value in group[figure].unique())
                name = words.format(*cast(tuple, named))
                raise InputError(f"{places}: {name} has {figure} {values}; leave one of the two out")
    return frame.drop_duplicates(key, ignore_index=True)


def _read_queries(
    folders: Sequence[Path], name: str, results: pd.DataFrame, key: Sequence[str] = tuple(KEY)
) -> pd.DataFrame:
    """The queries of every row of ``results``, from the folder that the row comes from; ``key`` names a row:
    ``FOREIGN_KEY`` those of networks of other origin."""
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
            way = f"{row['source']} → {row['target']}" + (f", seed {row['seed']}" if "seed" in row else "")
            raise InputError(f"{path}: holds no queries of model {row['model']}, {way}")
        frames.append(frame.merge(wanted, on=key)[columns])
    return pd.concat(frames[1:], ignore_index=True) if len(frames) > 1 else frames[0]


def _read_divergence(folders: Sequence[Path]) -> pd.DataFrame:
    """Every folder's divergence, one row a (model, source, seed, a, b, by, stage); no rows where none was measured."""
    columns = [*DIVERGENCE_KEY, *DIVERGENCE_FIGURES]
    files = [folder / DIVERGENCE for folder in folders]
    frames = []
    for place, path in enumerate(files):
        if path.is_file() and path.read_text(encoding="utf-8").strip():  # empty where nothing was measured
            frame = _seeds(_numbers(_csv(path, columns), path, ["stage", "mean", "median"]), path, place)
            frames.append(frame.assign(instance_norm=frame["instance_norm"] == "True"))
    if not frames:
        return pd.DataFrame(columns=columns)
    words = "model {}, trained on {}, seed {}: {} and {} (by {}), stage {}"
    return _one_a_key(frames, files, DIVERGENCE_KEY, DIVERGENCE_FIGURES, words)


def _read_description(path: Path) -> dict[str, Any]:
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
