import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reid.report.formats import LONG, Table, escape_latex, interval, latex, markdown, percent, points


def table(rows=(("a_b", "1.0"), ("c|d", "-")), **more):
    return Table("key", "A 100 % title", "figures.csv", ("model", "mAP, %"), rows, **more)


def test_formats_by_hand():
    assert (percent(0.1234), percent(math.nan), percent(1)) == ("12.3", "-", "100.0")
    assert (points(-0.1), points(0.05), points(math.nan)) == ("-10.0", "+5.0", "-")
    assert interval(-0.01, 0.02) == "[-1.0, +2.0]"


def test_missing_cells_are_counted_and_the_file_named():
    assert table(note="Means.").footer == "Means. 1 cell is missing (-). Figures: figures.csv."
    assert table((("a", "1"),)).footer == "Figures: figures.csv."


def test_markdown_by_hand():
    assert markdown([table(bold=frozenset({(0, 1)}))]).splitlines() == [
        "## A 100 % title", "",
        "| model |  mAP, % |",
        "| ----- | ------: |",
        r"| a\_b  | **1.0** |",
        r"| c\|d  |       - |", "",
        "1 cell is missing (-). Figures: figures.csv.",
    ]  # fmt: skip


def test_latex_by_hand():
    lines = latex([table(bold=frozenset({(0, 1)}))]).splitlines()
    assert r"\caption{A 100 \% title. 1 cell is missing (-). Figures: figures.csv.}\label{tab:key}" in lines
    assert r"model & mAP, \% \\" in lines and r"a\_b & \textbf{1.0} \\" in lines
    assert r"\begin{tabular}{lr}" in lines and lines.index(r"\toprule") < lines.index(r"\midrule")
    assert r"x & {}[-1.0, +2.0] \\" in latex([table((("x", "[-1.0, +2.0]"),))])


def test_a_long_table_goes_over_pages():
    text = latex([table((("a", "1"),) * (LONG + 1))])
    assert r"\begin{longtable}{lr}" in text and r"\begin{table}" not in text and text.count("a & 1") == LONG + 1


@given(st.text(alphabet=st.sampled_from("ab&%$#_{}~^\\<>→ "), max_size=12))
def test_escaped_latex_has_no_bare_special(text):
    bare, escaped = escape_latex(text), ""
    for known in (r"\textbackslash{}", r"\textasciitilde{}", r"\textasciicircum{}", r"$\rightarrow$"):
        bare = bare.replace(known, escaped)
    for known in (r"\textless{}", r"\textgreater{}", *(rf"\{letter}" for letter in "&%$#_{}")):
        bare = bare.replace(known, escaped)
    assert not set(bare) & set("&%$#_{}~^\\<>→")


@pytest.mark.parametrize("name", ["<script>", "a*b", "`x`", "[y](z) _"])
def test_markdown_of_odd_names_stays_one_cell(name):
    line = markdown([table(((name, "1"),))]).splitlines()[4]
    assert line.replace("\\", "").strip("| ").split("|")[0].strip() == name
