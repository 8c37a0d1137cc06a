"""What does the page say, and where? The report of benchmark folders: a self-contained page, sentences computed from
the figures before its tables; the tables as Markdown, LaTeX and CSV too. Nothing here knows the result."""

from __future__ import annotations

import base64
import io
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from PIL import Image

from reid.data.names import counted
from reid.drawing import Picture
from reid.evaluation import gap
from reid.files import write_atomically
from reid.progress import track
from reid.report import model_tables, others, plots, provenance, ranked_lists, statistics
from reid.report.benchmark import Benchmark, lines, read_benchmarks
from reid.report.formats import Table, interval, latex, markdown, points

log = logging.getLogger(__name__)

PAGE, MARKDOWN, LATEX, IMAGES = "index.html", "tables.md", "tables.tex", "images"
LISTED = 4  # up to so many directions are named one by one


def build_report(folders: Sequence[Path], output: Path | None = None, progress: bool = True) -> list[Path]:
    """Write the report of ``folders`` into ``output`` (None: the first folder); returns the files written.

    Raises:
        InputError: naming the file, for a folder that is no benchmark's or contradicts another; see read_benchmarks.
    """
    steps: list[tuple[str, Callable[[dict[str, Any]], object]]] = [
        ("comparisons", lambda done: statistics.comparisons(done["benchmark"])),
        ("gaps", lambda done: statistics.gaps(done["benchmark"])),
        ("remedies", lambda done: statistics.remedy_comparisons(done["benchmark"])),
        ("networks", lambda done: others.network_figures(done["benchmark"])),
        ("network_comparisons", lambda done: others.network_comparisons(done["benchmark"])),
        ("figures", lambda done: _figures(done["benchmark"], done["comparisons"][0], done["networks"][0])),
        ("lists", lambda done: ranked_lists.ranked_lists(done["benchmark"])),
    ]
    done: dict[str, Any] = {"benchmark": read_benchmarks(folders)}
    done["warnings"] = provenance.warnings(done["benchmark"])
    for warning in done["warnings"]:
        log.warning(warning)
    for name, step in track(steps, name="report", unit="part", shown=progress):
        done[name] = step(done)
    return _write(done, folders[0] if output is None else output)


def _figures(benchmark: Benchmark, comparisons: pd.DataFrame, networks: pd.DataFrame) -> dict[str, Picture]:
    drawn = [
        plots.heat_maps(benchmark),
        plots.forest(comparisons, benchmark.models),
        plots.cmc_curves(benchmark),
        plots.divergence(benchmark.divergence, benchmark.models),
        plots.network_picture(networks),
    ]
    return {picture.name: picture for picture in drawn if picture is not None}


def _tables(done: dict[str, Any]) -> dict[str, Table]:
    """Every table of the page, in its order."""
    benchmark = done["benchmark"]
    comparisons, (gaps, differences, _) = done["comparisons"][0], done["gaps"]
    tables = [model_tables.headline(benchmark, comparisons), model_tables.every_figure(benchmark)]
    if len(comparisons):
        tables.append(model_tables.comparison_table(benchmark, comparisons))
    tables += model_tables.gap_tables(benchmark, gaps, differences)
    tables += model_tables.remedy_tables(benchmark, done["remedies"][0])
    tables += others.network_tables(benchmark, done["networks"][0], done["network_comparisons"][0])
    few = (provenance.epoch_table(benchmark), model_tables.divergence_table(benchmark))
    tables += [table for table in few if table]
    tables += others.published_tables(benchmark, others.read_published())
    tables += [provenance.data_table(benchmark), provenance.run_table(benchmark), provenance.package_table(benchmark)]
    return {table.key: table for table in tables}


def _write(done: dict[str, Any], output: Path) -> list[Path]:
    tables = _tables(done)
    gaps, differences, _ = done["gaps"]
    contents: dict[str, str | bytes] = {
        model_tables.COMPARISONS: done["comparisons"][0].to_csv(index=False),
        model_tables.GAPS: gaps.to_csv(index=False),
        model_tables.GAP_DIFFERENCES: differences.to_csv(index=False),
        model_tables.REMEDY_COMPARISONS: done["remedies"][0].to_csv(index=False),
        MARKDOWN: markdown(list(tables.values()), done["warnings"]),
        LATEX: latex(list(tables.values()), done["warnings"]),
    }
    if done["benchmark"].networks:
        contents[others.NETWORKS] = done["networks"][0].to_csv(index=False)
        contents[others.NETWORK_COMPARISONS] = done["network_comparisons"][0].to_csv(index=False)
    contents |= {f"{IMAGES}/{picture.name}.png": picture.content for picture in done["figures"].values()}
    example = _example(done["lists"])
    if example:
        contents[f"{IMAGES}/ranked_list.png"] = example
    contents[PAGE] = _render(done, tables)
    for name, content in contents.items():
        write_atomically(output / name, content)
    return [output / name for name in contents]


def _example(sections: Sequence[ranked_lists.Section]) -> bytes | None:
    """The first pair of lists below each other, as a PNG."""
    lists = next((group.lists[:2] for section in sections for group in section.groups[1:] if group.lists), [])
    if not lists:
        return None
    images = [Image.open(io.BytesIO(ranked.content)) for ranked in lists]
    sheet = Image.new("RGB", (max(i.width for i in images), sum(i.height for i in images)), "white")
    top = 0
    for image in images:
        sheet.paste(image, (0, top))
        top += image.height
    content = io.BytesIO()
    sheet.save(content, "PNG")
    return content.getvalue()


def _render(done: dict[str, Any], tables: dict[str, Table]) -> str:
    """The page. Names come from users: everything is escaped."""
    benchmark = done["benchmark"]
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters["base64"] = lambda content: base64.b64encode(content).decode()
    return environment.get_template("page.html.j2").render(
        benchmark=benchmark,
        name=benchmark.description["name"],
        models=listed(benchmark.models),
        subject=subject(benchmark),
        warnings=done["warnings"],
        missing=benchmark.missing,
        findings=findings(benchmark, done["comparisons"][0], done["gaps"][0], done["comparisons"][1]),
        left_out={
            name: done[name][-1] for name in ("comparisons", "gaps", "remedies", "networks", "network_comparisons")
        },
        tables=tables,
        figures=done["figures"],
        lists=done["lists"],
        lists_left_out=ranked_lists.left_out(benchmark),
        definitions=benchmark.description.get("definitions", {}),
        footnote=gap.FOOTNOTE,
        folders=benchmark.folders,
    )


def subject(benchmark: Benchmark) -> str:
    """What was measured, in two or three sentences."""
    sources = list(dict.fromkeys(benchmark.results["source"]))
    targets = list(dict.fromkeys(benchmark.results["target"]))
    queries = benchmark.results.groupby("target", sort=False)["queries"].max()
    seeds = benchmark.seeds
    cells = len(benchmark.models) * len(benchmark.main_directions)
    upto = "up to " if len(benchmark.results) < cells * len(seeds) else ""
    first = (
        f"{counted(len(benchmark.models), 'model')} ({listed(benchmark.models)}), each trained on "
        f"{listed(sources, 'or')} with {upto}{counted(len(seeds), 'seed')} ({', '.join(map(str, seeds))}), "
        f"{'were' if len(benchmark.models) > 1 else 'was'} tested on {listed(targets)}."
    )
    counts = listed([f"{t} {'not known' if pd.isna(queries[t]) else f'{int(queries[t]):,}'}" for t in targets])
    seeing = [model for model in benchmark.models if model in benchmark.sees_target]
    more = (
        f" Of these, {listed(seeing)} took batch-norm statistics from the target's unlabelled images." if seeing else ""
    )
    networks = benchmark.networks
    beside = f" Networks of other origin, in a table of their own: {listed(networks)}." if networks else ""
    return f"{first}{more}{beside} Valid queries: {counts}; in-domain means the test split of the data trained on."


def findings(
    benchmark: Benchmark, comparisons: pd.DataFrame, gaps: pd.DataFrame, left_out: Sequence[str] = ()
) -> list[str]:
    """The last model against the first, abroad and at home, in mAP; with one model, what it loses abroad.

    ``left_out``: the comparisons that could not be made.
    """
    if len(benchmark.models) < 2:
        return losses(benchmark.models[0], gaps)
    first, last = benchmark.models[0], benchmark.models[-1]
    pairs = comparisons.query("model_a == @last and model_b == @first and metric == 'mAP'", engine="python")
    pairs = pairs.astype({"in_domain": bool, "significant": bool})
    sentences = []
    for rows, where in ((pairs[~pairs["in_domain"]], "Cross-domain"), (pairs[pairs["in_domain"]], "In-domain")):
        if len(rows):
            sentences.append(f"{where}, {_against(last, first, rows)}{_one_seed(rows)}")
    if not sentences:
        sentences = [f"There is no direction in which {last} and {first} could be compared."]
    if left_out:
        sentences.append(f"{counted(len(left_out), 'comparison')} of two models could not be made; named below.")
    return sentences + [text for model in (first, last) for text in losses(model, gaps)]


def _against(last: str, first: str, rows: pd.DataFrame) -> str:
    above, below = rows[rows["significant"] & (rows["value"] > 0)], rows[rows["significant"] & (rows["value"] < 0)]
    neither = rows[~rows["significant"]]
    parts = []
    for group, word in ((above, "above"), (below, "below")):
        if len(group):
            parts.append(
                f"significantly {word} {first} in mAP on {len(group)} of {_directions(len(rows))}: {_each(group)}"
            )
    text = f"{last} is {'; it is '.join(parts)}" if parts else ""
    if len(neither):
        open_ = (
            f"on {len(neither)} of {_directions(len(rows))} the difference in mAP is not significant: {_each(neither)}"
        )
        text = f"{text}; {open_}" if text else f"{open_}, so nothing is claimed for {last} against {first}"
    return f"{text}."


def _each(rows: pd.DataFrame) -> str:
    """mAP differences in points with their intervals, one by one or, where there are many, the smallest and largest."""
    rows = rows.sort_values("value", ascending=False)
    many = len(rows) > LISTED
    shown = rows.iloc[[0, -1]] if many else rows
    texts = [
        f"{points(row.value)} points {interval(row.low, row.high)} ({row.source} → {row.target})"
        for row in lines(shown)
    ]
    return f"from {texts[1]} to {texts[0]}" if many else ", ".join(texts)


def losses(model: str, gaps: pd.DataFrame) -> list[str]:
    """What a model loses abroad, in mAP."""
    rows = gaps[(gaps["model"] == model) & (gaps["metric"] == "mAP")]
    if rows.empty:
        return []
    rows = rows.assign(value=-rows["value"], low=-rows["high"], high=-rows["low"])
    open_ = rows[~rows["significant"].astype(bool)]
    text = f"From home to abroad {model}'s mAP changes: {_each(rows)}"
    if len(open_):
        text += f"; not significant on {listed([f'{row.source} → {row.target}' for row in lines(open_)])}"
    return [f"{text}.{_one_seed(rows)}"]


def _one_seed(rows: pd.DataFrame) -> str:
    """What is to be said where rows have one seed alone: of all of them, or of those named."""
    alone = rows[rows["seeds"] == 1]
    if alone.empty:
        return ""
    where = "" if len(alone) == len(rows) else f" on {listed([f'{row.source} → {row.target}' for row in lines(alone)])}"
    return f" One seed{where}: this holds for these trained networks, not for the methods."


def _directions(count: int) -> str:
    return counted(count, "direction")


def listed(names: Sequence[str], word: str = "and") -> str:
    """Names as in a sentence: a, b and c."""
    names = [str(name) for name in names]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} {word} {names[-1]}"
