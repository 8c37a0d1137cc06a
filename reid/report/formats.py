"""How is a table of the report written? Its figures as text; HTML (by the page's template), Markdown and LaTeX."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pandas as pd

from reid.texts import align

MISSING = "-"
MARK = "†"
MARKED = f"{MARK} sees the target's unlabelled images: statistics of batch norm from them."
LONG = 40  # rows that still fit on a page of LaTeX
LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "→": r"$\rightarrow$", "\u2212": "$-$", "±": r"$\pm$",
    "†": r"\textdagger{}",
    "<": r"\textless{}", ">": r"\textgreater{}",
}  # fmt: skip


@dataclass(frozen=True)
class Table:
    """Cells as text. ``key`` names it in links, ``csv`` the file that its figures stand in, ``words`` how many of the
    first columns are words and not figures, ``bold`` the (row, column) of cells that stand out."""

    key: str
    title: str
    csv: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    words: int = 1
    bold: frozenset[tuple[int, int]] = frozenset()
    note: str = ""

    @property
    def missing(self) -> int:
        """Cells without a figure."""
        return sum(cell == MISSING for row in self.rows for cell in row)

    @property
    def footer(self) -> str:
        """What stands below the table: its note, the number of missing cells, its file."""
        parts = [self.note] if self.note else []
        if self.missing:
            parts.append(f"{self.missing} {'cell is' if self.missing == 1 else 'cells are'} missing ({MISSING}).")
        if self.csv:
            parts.append(f"Figures: {self.csv}.")
        return " ".join(parts)


def percent(value: float, digits: int = 1) -> str:
    """A fraction in %; a missing one as a dash."""
    return MISSING if value is None or math.isnan(value) else f"{100 * value:.{digits}f}"


def points(value: float) -> str:
    """A difference of fractions in percentage points, with its sign."""
    return MISSING if value is None or math.isnan(value) else f"{100 * value:+.1f}"


def interval(low: float, high: float) -> str:
    """[low, high] in percentage points."""
    return f"[{points(low)}, {points(high)}]"


def verdict(significant: bool) -> str:
    return "significant" if significant else "not significant"


def counts(numbers: pd.Series) -> str:
    """The different ones among whole numbers."""
    return " / ".join(f"{int(number)}" for number in numbers.dropna().unique())


def with_marks(note: str, rows: Iterable[Iterable[str]], more: str = "") -> str:
    """The note and, where a cell has the mark, what it means."""
    marked = any(MARK in cell for row in rows for cell in row)
    return " ".join(part for part in (note, *((MARKED, more) if marked else ())) if part)


def markdown(tables: Sequence[Table], warnings: Sequence[str] = ()) -> str:
    """All tables as one Markdown document, ``warnings`` before them."""
    parts = [f"**{_escape_markdown(text)}**" for text in warnings]
    parts += [f"## {table.title}\n\n{_markdown(table)}\n\n{table.footer}".rstrip() for table in tables]
    return "\n\n".join(parts) + "\n"


def _markdown(table: Table) -> str:
    lines = [[_escape_markdown(cell) for cell in table.header]]
    for number, row in enumerate(table.rows):
        cells = [_escape_markdown(cell) for cell in row]
        lines.append([f"**{c}**" if (number, column) in table.bold else c for column, c in enumerate(cells)])
    return align(lines)


def _escape_markdown(text: str) -> str:
    return re.sub(r"([\\|*_`<>\[\]])", r"\\\1", text) if re.search(r"[\\|*_`<>]", text) else text


def latex(tables: Sequence[Table], warnings: Sequence[str] = ()) -> str:
    """All tables as a LaTeX file to be \\input, ``warnings`` before them; it needs booktabs, and longtable for those of
    several pages."""
    head = "% Needs \\usepackage{booktabs} and \\usepackage{longtable}.\n"
    head += "".join(f"\\textbf{{{escape_latex(text)}}}\n\n" for text in warnings)
    return head + "\n".join(_latex(table) for table in tables)


def _latex(table: Table) -> str:
    columns = "l" * min(table.words, len(table.header)) + "r" * (len(table.header) - table.words)
    header = " & ".join(escape_latex(cell) for cell in table.header) + r" \\"
    lines = []
    for number, row in enumerate(table.rows):
        cells = [escape_latex(cell) for cell in row]
        cells = [rf"\textbf{{{c}}}" if (number, column) in table.bold else c for column, c in enumerate(cells)]
        lines.append(" & ".join(_protect(cell) for cell in cells) + r" \\")
    caption = rf"\caption{{{escape_latex(table.title)}. {escape_latex(table.footer)}}}\label{{tab:{table.key}}}"
    body = "\n".join([r"\toprule", header, r"\midrule", *lines, r"\bottomrule"])
    if len(lines) > LONG:
        head = "\n".join([r"\toprule", header, r"\midrule", r"\endhead"])
        rows = "\n".join([*lines, r"\bottomrule"])
        return f"\\begin{{longtable}}{{{columns}}}\n{caption} \\\\\n{head}\n{rows}\n\\end{{longtable}}\n"
    tabular = f"\\begin{{tabular}}{{{columns}}}\n{body}\n\\end{{tabular}}"
    return f"\\begin{{table}}\n\\centering\n{caption}\n{tabular}\n\\end{{table}}\n"


def escape_latex(text: str) -> str:
    """Plain text for LaTeX: names come from users."""
    return "".join(LATEX.get(letter, letter) for letter in text)


def _protect(cell: str) -> str:
    r"""A row that begins with a bracket would be read as the argument of the \\ before it."""
    return f"{{}}{cell}" if cell.startswith("[") else cell
