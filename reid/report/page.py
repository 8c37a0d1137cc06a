"""The report of one or several benchmark folders: a self-contained page, its tables as Markdown, LaTeX and CSV."""

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

from reid.evaluation import gap
from reid.files import write_atomically
from reid.progress import track
from reid.report import figures, finding, foreign, forest, measured, pictures, published, remedies, stages, statistics
from reid.report.epochs import epoch_table
from reid.report.inputs import Benchmark, read_benchmarks
from reid.report.provenance import data_table, package_table, run_table
from reid.report.tables import Table, latex, markdown

log = logging.getLogger(__name__)

PAGE, MARKDOWN, LATEX, IMAGES = "index.html", "tables.md", "tables.tex", "images"


def build_report(folders: Sequence[Path], output: Path | None = None, progress: bool = True) -> list[Path]:
    """Write the report of ``folders`` into ``output`` (None: the first folder); returns the files written.

    Raises:
        InputError: naming the file, for a folder that is no benchmark's or contradicts another; see read_benchmarks.
    """
    steps: list[tuple[str, Callable[[dict[str, Any]], object]]] = [
        ("comparisons", lambda done: statistics.comparisons(done["benchmark"])),
        ("gaps", lambda done: statistics.gaps(done["benchmark"])),
        ("remedies", lambda done: statistics.remedy_comparisons(done["benchmark"])),
        ("networks", lambda done: foreign.network_figures(done["benchmark"])),
        ("network_comparisons", lambda done: foreign.network_comparisons(done["benchmark"])),
        ("figures", lambda done: _figures(done["benchmark"], done["comparisons"][0], done["networks"][0])),
        ("lists", lambda done: pictures.ranked_lists(done["benchmark"])),
    ]
    done: dict[str, Any] = {"benchmark": read_benchmarks(folders)}
    for warning in done["benchmark"].warnings:
        log.warning(warning)
    for name, step in track(steps, name="report", unit="part", shown=progress):
        done[name] = step(done)
    return _write(done, folders[0] if output is None else output)


def _figures(benchmark: Benchmark, comparisons: pd.DataFrame, networks: pd.DataFrame) -> dict[str, figures.Picture]:
    drawn = [
        figures.heat_maps(benchmark),
        forest.forest(comparisons, benchmark.models),
        figures.cmc_curves(benchmark),
        stages.divergence(benchmark.divergence, benchmark.models),
        foreign.network_picture(networks),
    ]
    return {picture.name: picture for picture in drawn if picture is not None}


def _tables(done: dict[str, Any]) -> dict[str, Table]:
    """Every table of the page, in its order."""
    benchmark = done["benchmark"]
    beside = published.compare(benchmark, published.read_published())
    comparisons, (gaps, differences, _) = done["comparisons"][0], done["gaps"]
    tables = [measured.headline(benchmark, comparisons), measured.every_figure(benchmark)]
    if len(comparisons):
        tables.append(measured.comparison_table(benchmark, comparisons))
    tables += measured.gap_tables(benchmark, gaps, differences)
    tables += remedies.remedy_tables(benchmark, done["remedies"][0])
    tables += foreign.network_tables(benchmark, done["networks"][0], done["network_comparisons"][0])
    tables += [table for table in (epoch_table(benchmark), measured.divergence_table(benchmark)) if table]
    tables += [*beside.matching, *beside.context, data_table(benchmark), run_table(benchmark), package_table(benchmark)]
    return {table.key: table for table in tables}


def _write(done: dict[str, Any], output: Path) -> list[Path]:
    tables = _tables(done)
    gaps, differences, _ = done["gaps"]
    contents: dict[str, str | bytes] = {
        measured.COMPARISONS: done["comparisons"][0].to_csv(index=False),
        measured.GAPS: gaps.to_csv(index=False),
        measured.GAP_DIFFERENCES: differences.to_csv(index=False),
        remedies.REMEDY_COMPARISONS: done["remedies"][0].to_csv(index=False),
        MARKDOWN: markdown(list(tables.values()), done["benchmark"].warnings),
        LATEX: latex(list(tables.values()), done["benchmark"].warnings),
    }
    if done["benchmark"].networks:
        contents[foreign.NETWORKS] = done["networks"][0].to_csv(index=False)
        contents[foreign.NETWORK_COMPARISONS] = done["network_comparisons"][0].to_csv(index=False)
    contents |= {f"{IMAGES}/{picture.name}.png": picture.content for picture in done["figures"].values()}
    example = _example(done["lists"])
    if example:
        contents[f"{IMAGES}/ranked_list.png"] = example
    contents[PAGE] = render(done, tables)
    for name, content in contents.items():
        write_atomically(output / name, content)
    return [output / name for name in contents]


def _example(sections: Sequence[pictures.Section]) -> bytes | None:
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


def render(done: dict[str, Any], tables: dict[str, Table]) -> str:
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
        models=finding.listed(benchmark.models),
        subject=finding.subject(benchmark),
        warnings=benchmark.warnings,
        missing=benchmark.missing,
        findings=finding.findings(benchmark, done["comparisons"][0], done["gaps"][0], done["comparisons"][1]),
        left_out={
            name: done[name][-1] for name in ("comparisons", "gaps", "remedies", "networks", "network_comparisons")
        },
        tables=tables,
        figures=done["figures"],
        lists=done["lists"],
        lists_left_out=pictures.left_out(benchmark),
        definitions=benchmark.description.get("definitions", {}),
        footnote=gap.FOOTNOTE,
        folders=benchmark.folders,
    )
