"""Reading benchmark folders: the tables that reid/evaluation/benchmark.py writes, checked and joined."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from reid.errors import InputError
from reid.report.alike import mixtures
from reid.report.reading import (
    DESCRIPTION,
    FOREIGN_KEY,
    KEY,
    QUERIES,
    REMEDIES,
    REMEDIES_QUERIES,
    RESULTS,
    joined_foreign,
    joined_results,
    read_description,
    read_divergence,
    read_foreign,
    read_queries,
    read_results,
)

MARK = "†"
MARKED = f"{MARK} sees the target's unlabelled images: statistics of batch norm from them."


@dataclass(frozen=True)
class Direction:
    """Trained on ``source``, tested on ``target``."""

    source: str
    target: str
    in_domain: bool

    def __str__(self) -> str:
        return f"{self.source} → {self.target}"


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
    def directions(self) -> list[Direction]:
        """In-domain first; sources and targets in the order of the tables."""
        rows = pd.concat([self.results, self.remedies])[["source", "target", "in_domain"]].drop_duplicates()
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
        rows = pd.concat([self.results, self.remedies])
        return frozenset(named | set(rows.loc[rows["adabn"].astype(bool), "model"]))

    @cached_property
    def missing(self) -> list[str]:
        """The cells of the grid that no folder holds, with the reason: what is shown is not all of it."""
        rows = pd.concat([self.results, self.remedies])
        held = set(zip(*(rows[column] for column in KEY), strict=True))
        held |= {(*cell, None) for cell in zip(*(self.foreign[column] for column in FOREIGN_KEY), strict=True)}
        lost = {tuple(cell[column] for column in KEY): cell["reason"] for cell in self.description["missing"]}
        return [
            f"{m}, {s} → {t}{'' if n is None else f', seed {n}'}: {why}"
            for (m, s, t, n), why in lost.items()
            if (m, s, t, n) not in held
        ]

    @cached_property
    def warnings(self) -> list[str]:
        """Sentences on what a reader of the figures must know before any of them."""
        rows = pd.concat([self.results, self.remedies], ignore_index=True)
        count = len(self.missing)
        cells = f"{count} cell{'s are' if count > 1 else ' is'}"
        incomplete = f"The grid is not complete: {cells} missing, named below; what is said here is of the others."
        sentences = [incomplete] * bool(count) + mixtures(rows)
        if self.networks:
            both = pd.concat([rows[rows["model"] == self.models[0]], self.foreign], ignore_index=True)
            sentences += mixtures(both, f"{self.models[0]} and the networks of other origin")
        return sentences

    def shown(self, model: str) -> str:
        """A model's name in a table: with a mark where it sees the target's images."""
        return f"{model} {MARK}" if model in self.sees_target else model

    def in_domain(self, source: str, target: str) -> bool:
        """Whether ``target`` is the test split of what ``source`` was trained on."""
        return Direction(source, target, True) in self.directions


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
    descriptions = [read_description(folder / DESCRIPTION) for folder in folders]
    description = _join(descriptions)
    description["missing"] = [cell for part in descriptions for cell in part.get("missing", [])]
    description["name"] = " + ".join(dict.fromkeys(str(part.get("name", "benchmark")) for part in descriptions))
    results = joined_results(
        [read_results(folder / RESULTS, place) for place, folder in enumerate(folders)], folders, RESULTS
    )
    if results.empty:
        raise InputError(f"{folders[0] / RESULTS}: holds no rows")
    remedies = joined_results(
        [
            read_results(folder / REMEDIES, place)
            for place, folder in enumerate(folders)
            if (folder / REMEDIES).is_file()
        ],
        folders,
        REMEDIES,
    )
    foreign = joined_foreign([read_foreign(folder / RESULTS, place) for place, folder in enumerate(folders)], folders)
    _refuse_two_protocols(pd.concat([results, remedies, foreign]))
    for others, word in ((remedies, "a remedy"), (foreign, "a network of other origin")):
        both = sorted(set(results["model"]) & set(others["model"]))
        if both:
            raise InputError(f"{' and '.join(map(str, folders))}: {both[0]!r} is a model in one and {word} in another")
    queries = read_queries(folders, QUERIES, results)
    named = list(description.get("models", {}))
    present = list(dict.fromkeys(results["model"]))
    return Benchmark(
        folders=tuple(folders),
        models=tuple([model for model in named if model in present] + [m for m in present if m not in named]),
        results=results,
        queries=queries,
        remedies=remedies,
        remedies_queries=read_queries(folders, REMEDIES_QUERIES, remedies),
        divergence=read_divergence(folders),
        description=description,
        foreign=foreign,
        foreign_queries=read_queries(folders, QUERIES, foreign, FOREIGN_KEY),
    )


def _refuse_two_protocols(rows: pd.DataFrame) -> None:
    measured = rows.drop_duplicates("protocol")
    if len(measured) > 1:
        each = " and ".join(f"{row.target} {row.protocol}" for row in lines(measured))
        raise InputError(f"report: {each} were measured by two protocols: such figures do not stand on one page")


def lines(frame: pd.DataFrame) -> Iterator[Any]:
    """The rows, a field a column; their types are the columns' own, which no annotation can tell."""
    return iter(frame.itertuples(index=False))


def _join(descriptions: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Mappings are united, the first folder's entries first; of anything else the first folder's stands."""
    joined: dict[str, Any] = {}
    for description in descriptions:
        for key, value in description.items():
            if isinstance(value, dict) and isinstance(joined.get(key), dict):
                joined[key] |= {name: entry for name, entry in value.items() if name not in joined[key]}
            else:
                joined.setdefault(key, dict(value) if isinstance(value, dict) else value)
    return joined
