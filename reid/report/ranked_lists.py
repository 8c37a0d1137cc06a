"""Which images did the models rank first? The query, then the gallery in order, right and wrong ones framed, as JPEG.

The lists come from the runs' ranks.parquet, the images from the data sets themselves; whatever of it is not there any
more is named on the page instead.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from PIL import Image, ImageDraw

from reid.config import load_resolved
from reid.data.images import read_image
from reid.data.samples import DataSet
from reid.drawing import CAPTION, CELL, GAP, QUERY, RIGHT, WRONG, paste
from reid.engine import build
from reid.errors import InputError
from reid.evaluation.targets import result_key
from reid.report.benchmark import Benchmark, Direction, lines

SHOWN, SAMPLES, EXAMPLES, DIRECTIONS = 8, 2, 2, 4  # gallery images a list; lists of each kind; directions shown


@dataclass(frozen=True)
class RankedList:
    """One query and one model: a JPEG, and what it shows in words."""

    title: str
    alt: str
    content: bytes


@dataclass(frozen=True)
class Group:
    """Some lists, with the rule that chose them."""

    title: str
    rule: str
    lists: list[RankedList]


@dataclass(frozen=True)
class Section:
    """All groups of one direction, or the reason why there are none (``missing``)."""

    direction: str
    groups: list[Group]
    missing: str = ""


@dataclass(frozen=True)
class _Source:
    """Where one model's lists in one direction come from."""

    model: str
    root: Path
    ranks: pd.DataFrame
    queries: pd.DataFrame  # index: path of the query; ap and first_rank


def ranked_lists(benchmark: Benchmark) -> list[Section]:
    """Sections for the first cross-domain directions, of the first and the last model, first seed."""
    crossed = [direction for direction in benchmark.main_directions if not direction.in_domain]
    sections = []
    for direction in crossed[:DIRECTIONS]:
        try:
            sources = list(_sources(benchmark, direction))
            sections.append(Section(str(direction), list(_groups(sources))))
        except InputError as error:
            sections.append(Section(str(direction), [], missing=str(error)))
    return sections


def left_out(benchmark: Benchmark) -> list[str]:
    """The cross-domain directions beyond those shown."""
    return [str(direction) for direction in benchmark.main_directions if not direction.in_domain][DIRECTIONS:]


def _sources(benchmark: Benchmark, direction: Direction) -> Iterator[_Source]:
    for model in dict.fromkeys([benchmark.models[0], benchmark.models[-1]]):
        where = {"model": model, "source": direction.source, "target": direction.target, "seed": benchmark.seeds[0]}
        rows = _rows(benchmark.results, where)
        if rows.empty:
            raise InputError(f"{model} was not tested here with seed {benchmark.seeds[0]}")
        run = _run_folder(benchmark, str(rows.iloc[0]["run"]), int(rows.iloc[0]["folder"]))
        data = _dataset(benchmark, run, direction.target)
        ranks = _read_ranks(
            _lists_folder(benchmark, model, run, result_key(data.label, data.card.protocol, None)) / "ranks.parquet"
        )
        queries = _rows(benchmark.queries, where)
        queries = queries[queries["trial"] == queries["trial"].min()].drop_duplicates("path").set_index("path")
        yield _Source(model, data.root, ranks, queries)


def _rows(frame: pd.DataFrame, where: Mapping[str, Any]) -> pd.DataFrame:
    for column, value in where.items():
        frame = frame[frame[column] == value]
    return frame


def _run_folder(benchmark: Benchmark, run: str, folder: int) -> Path:
    """The run's folder as written down, or beside the benchmark's, where both were moved together."""
    places = [Path(run), benchmark.folders[folder] / run, benchmark.folders[folder].parent / Path(run).name]
    for place in places:
        if (place / "config.yaml").is_file():
            return place
    raise InputError(f"run's folder not found: {' nor '.join(str(place) for place in places)} holds a config.yaml")


def _lists_folder(benchmark: Benchmark, model: str, run: Path, target: str) -> Path:
    """Where a run's lists on ``target`` lie; with statistics of the target they have a name of their own."""
    if model not in benchmark.sees_target:
        return run / "targets" / target
    folders = sorted(path for path in (run / "targets").glob("*") if path.name.startswith(f"{target} (AdaBN"))
    if not folders:
        raise InputError(f"{run / 'targets'}: holds no lists of {target} with adapted statistics")
    return folders[0]


def _read_ranks(path: Path) -> pd.DataFrame:
    try:
        frame = pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read: {error}") from None
    return frame[frame["rank"] <= SHOWN].sort_values("rank", kind="stable")


def _dataset(benchmark: Benchmark, run: Path, target: str) -> DataSet:
    """The target's images; of several random splits the first, whose lists are shown."""
    name = str(benchmark.description.get("targets", {}).get(target, target))
    return build.roots(load_resolved(run / "config.yaml")).datasets(name, ["query", "gallery"])[0]


def _groups(sources: list[_Source]) -> Iterator[Group]:
    first, last = sources[0], sources[-1]
    paths = sorted(set(first.queries.index) & set(last.queries.index))
    chosen = [paths[len(paths) * (2 * place + 1) // (2 * SAMPLES)] for place in range(min(SAMPLES, len(paths)))]
    rule = f"Valid queries sorted by name; the middle one of each of {SAMPLES} equal parts."
    yield Group("Some queries", rule, [ranked for path in chosen for ranked in _lists(sources, path)])
    if len(sources) == 2:
        yield _failures(first, last, paths)
        yield _failures(last, first, paths)


def _failures(loser: _Source, winner: _Source, paths: list[str]) -> Group:
    """Queries whose first match is wrong with one model and right with the other, by difference in AP."""
    lost, won = loser.queries.loc[paths], winner.queries.loc[paths]
    gains = (won["ap"] - lost["ap"])[(lost["first_rank"] > 1) & (won["first_rank"] == 1)]
    chosen = gains.sort_values(ascending=False, kind="stable").index[:EXAMPLES]
    rule = (
        f"Rank 1 is wrong with {loser.model} and right with {winner.model}: {len(gains):,} of {len(paths):,} "
        f"queries; shown {'are those' if len(chosen) != 1 else 'is the one'} with the largest difference in AP."
    )
    lists = [ranked for path in chosen for ranked in _lists([loser, winner], str(path))]
    return Group(f"Where {loser.model} fails and {winner.model} succeeds", rule, lists)


def _lists(sources: list[_Source], path: str) -> Iterator[RankedList]:
    for source in sources:
        rows = source.ranks[source.ranks["query_path"] == path]
        query: Any = source.queries.loc[path]
        marks = ", ".join(f"{row.rank} {'right' if row.match else 'wrong'}" for row in lines(rows))
        title = f"{source.model}: AP {100 * query['ap']:.1f} %, first match at rank {int(query['first_rank'])}"
        alt = f"Query {path}, person {query['pid']}, camera {query['camid']}, with {source.model}: {marks}."
        yield RankedList(title, alt, _jpeg(_strip(source.root, path, rows)))


def _strip(root: Path, path: str, rows: pd.DataFrame) -> Image.Image:
    """The query and its list side by side. Frames: solid green is right, red with a slash is wrong."""
    height, width = CELL
    sheet = Image.new("RGB", ((len(rows) + 1) * (width + GAP) + 2 * GAP, height + CAPTION + GAP), "white")
    draw = ImageDraw.Draw(sheet)
    paste(draw, sheet, read_image(root / path), (GAP, GAP // 2), QUERY, ("query", ""))
    for place, row in enumerate(lines(rows), 1):
        color, word = (RIGHT, "right") if row.match else (WRONG, "wrong")
        left = 2 * GAP + place * (width + GAP)
        pixels, caption = read_image(root / str(row.gallery_path)), (f"{row.rank} {word}", f"{row.distance:.3f}")
        paste(draw, sheet, pixels, (left, GAP // 2), color, caption, struck=not row.match)
    return sheet


def _jpeg(image: Image.Image) -> bytes:
    content = io.BytesIO()
    image.save(content, "JPEG", quality=85, subsampling=0)
    return content.getvalue()
