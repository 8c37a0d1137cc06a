"""The page as its reader gets it: parsed back and held against the CSV files."""

import dataclasses
import re
import shutil
from html.parser import HTMLParser

import pandas as pd
import pytest
from benchmark_folders import benchmark_folder

from reid.errors import InputError
from reid.report.page import build_report, findings, losses, subject
from reid.report.statistics import COMPARISONS, GAPS


class Page(HTMLParser):
    """Rows of cells of every table by id, the bold cells, and every attribute that could fetch something."""

    def __init__(self, text):
        super().__init__()
        self.tables, self.bold, self.links, self.tags, self.alts = {}, set(), [], set(), []
        self._rows = self._cell = None
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        own = dict(attributes)
        self.tags.add(tag)
        self.links += [own[name] for name in ("src", "href", "srcset", "data") if name in own]
        if tag == "img":
            self.alts.append(own.get("alt"))
        if tag == "table":
            self._rows = self.tables.setdefault(own["id"], [])
            self._id = own["id"]
        elif tag == "tr":
            self._rows.append([])
        elif tag in ("td", "th"):
            self._cell = ""
        elif tag == "strong" and self._cell is not None:
            self.bold.add((self._id, len(self._rows) - 2, len(self._rows[-1])))

    def handle_data(self, data):
        if self._cell is not None:
            self._cell += data

    def handle_endtag(self, tag):
        if tag in ("td", "th") and self._cell is not None:
            self._rows[-1].append(self._cell)
            self._cell = None


@pytest.fixture(scope="session")
def text(folder):
    return (folder / "index.html").read_text()


@pytest.fixture(scope="session")
def page(text):
    return Page(text)


def rows(page, key):
    return page.tables[key][1:]


def place(row):
    return f"{row.source} → {row.target}"


def estimates(frame, name):
    """What a table of differences must show for each row of its CSV."""
    metric = {"mAP": "mAP", "rank1": "rank-1", "mINP": "mINP"}
    for row in frame.itertuples():
        yield [
            name(row), place(row), metric[row.metric], f"{100 * row.value:+.1f}",
            f"[{100 * row.low:+.1f}, {100 * row.high:+.1f}]", "significant" if row.significant else "not significant",
            str(row.seeds),
        ]  # fmt: skip


def pair(row):
    return f"{row.model_a} minus {row.model_b}"


def test_differences_equal_the_csv(folder, page):
    frame = pd.read_csv(folder / "comparisons.csv")
    shown = rows(page, "comparisons")
    assert len(shown) == len(frame) == 4 * 3
    for cells, expected, row in zip(shown, estimates(frame, pair), frame.itertuples(), strict=True):
        expected[1] += " (in-domain)" if row.in_domain else " (cross-domain)"
        assert cells == [*expected, f"{100 * row.better:.1f}", f"{100 * row.worse:.1f}"]


def test_gaps_equal_the_csv(folder, page):
    assert rows(page, "gaps") == list(estimates(pd.read_csv(folder / "gaps.csv"), lambda row: row.model))
    assert rows(page, "gap-differences") == list(estimates(pd.read_csv(folder / "gap_differences.csv"), pair))


@pytest.mark.parametrize("name", ["gaps", "gap_differences"])
def test_gaps_at_a_glance_are_the_same_figures(folder, page, name):
    own = pd.read_csv(folder / f"{name}.csv").query("metric == 'mAP'")
    labels = own["model"] if name == "gaps" else own["model_a"] + " minus " + own["model_b"]
    header, *rows = page.tables[f"{name.replace('_', '-')}-at-a-glance"]
    assert header[1:] == [f"{label}, points" for label in dict.fromkeys(labels)]
    assert len(rows) == own.groupby(["source", "target"]).ngroups
    found = {(name, row[0]): cell for row in rows for name, cell in zip(header[1:], row[1:], strict=True)}
    for label, row in zip(labels, own.itertuples(), strict=True):
        cell = f"{100 * row.value:+.1f} [{100 * row.low:+.1f}, {100 * row.high:+.1f}]"
        assert found[f"{label}, points", f"{row.source} → {row.target}"] == cell + ("" if row.significant else " n.s.")


def test_headline_equals_means_of_the_results(folder, page):
    frame = pd.read_csv(folder / "results.csv")
    header, *shown = page.tables["headline"]
    assert header[1:] == ["bn: mAP, % (drop, points)", "ibn_b: mAP, % (drop, points)"]
    assert [cells[0].partition(" (")[2] for cells in shown] == ["in-domain)"] * 2 + ["cross-domain)"] * 2
    for cells in shown:
        source, target = cells[0].partition(" (")[0].split(" → ")
        for model, cell in zip(("bn", "ibn_b"), cells[1:], strict=True):
            own = frame[(frame.model == model) & (frame.source == source)].groupby("target")["mAP"].mean()
            drop = "" if source == target else f" ({100 * (own[target] - own[source]):+.1f})"
            assert cell == f"{100 * own[target]:.1f}{drop}"


def test_every_figure_and_remedies_equal_the_csv(folder, page):
    frame = pd.read_csv(folder / "results.csv")
    for cells in rows(page, "figures"):
        source, target = cells[1].partition(" (")[0].split(" → ")
        own = frame[(frame.model == cells[0]) & (frame.source == source) & (frame.target == target)]
        assert cells[2] == str(len(own))
        assert cells[4] == f"{100 * own.mAP.min():.1f} to {100 * own.mAP.max():.1f}"
        means = [f"{100 * own[name].mean():.1f}" for name in ("mAP", "rank1", "rank5", "rank10", "mINP")]
        assert [cells[3], *cells[5:9]] == means
        assert cells[9:] == [str(own.queries.iloc[0]), str(own.gallery.iloc[0])]
    both = pd.concat([frame, pd.read_csv(folder / "remedies.csv")]).query("seed == 0")
    header, *shown = page.tables["remedies"]
    assert [cells[0] for cells in shown] == ["bn", "ibn_b", "bn_standardised"]
    for cells in shown:
        for name, cell in zip(header[1:], cells[1:], strict=True):
            source, target = name.partition(" (")[0].split(" → ")
            own = both[(both.model == cells[0]) & (both.source == source) & (both.target == target)]
            assert cell.split(" ")[0] == f"{100 * own.mAP.item():.1f}"
    pairs = pd.read_csv(folder / "remedy_comparisons.csv")
    pairs = pairs[pairs.model_a == "bn_standardised"]
    assert [cells[2] for cells in rows(page, "remedy-pairs")] == [f"{100 * value:+.1f}" for value in pairs.value]


def test_bold_means_that_every_interval_excludes_zero(folder, page):
    frame = pd.read_csv(folder / "comparisons.csv").query("metric == 'mAP'")
    expected = set()
    for number, cells in enumerate(rows(page, "headline")):
        source, target = cells[0].partition(" (")[0].split(" → ")
        row = frame[(frame.source == source) & (frame.target == target)].iloc[0]
        if row.low > 0 or row.high < 0:
            expected.add(("headline", number, 2 if row.value > 0 else 1))
    assert expected and {one for one in page.bold if one[0] == "headline"} == expected


def test_page_fetches_nothing_and_escapes_names(text, page):
    assert "script" not in page.tags and "iframe" not in page.tags
    assert all(link.startswith(("data:image/", "#")) for link in page.links)
    assert not re.search(r"url\(|@import|http-equiv=.refresh", text)
    assert "two drawn sites &lt;small&gt;" in text and "<small>" not in text
    assert all(page.alts)


def test_sections_stand_in_order(text):
    order = ["first", "maps", "differences", "gap", "simple", "curves", "stages", "lists", "literature", "how"]
    found = re.findall(r'<section id="(\w+)">', text)
    assert found == order
    assert "These are other data and not comparable" in text
    assert "not significant" in text and "One seed" not in text


def test_tables_as_markdown_and_latex_hold_the_same_rows(folder, page):
    markdown, latex = (folder / "tables.md").read_text(), (folder / "tables.tex").read_text()
    parts = [part.splitlines() for part in markdown.split("## ")[1:]]
    for (key, table), part in zip(page.tables.items(), parts, strict=True):
        assert rf"\label{{tab:{key}}}" in latex
        lines = [line for line in part if line.startswith("|")]
        shown = [[cell.strip().strip("*") for cell in line.strip("|").split("|")] for line in lines]
        assert [[cell.replace("\\", "") for cell in line] for line in [shown[0], *shown[2:]]] == table
    assert r"plaza\_x $\rightarrow$ station\_x" in latex
    assert not re.search(r"(?<!\\)[_#]", re.sub(r"\\(label|usepackage)\{[^}]*\}", "", latex))


def test_smallest_benchmark(tmp_path):
    one = {"sources": ["plaza_x"], "targets": ["plaza_x"], "seeds": [3], "remedies": [], "divergence": False}
    folder = benchmark_folder(tmp_path, ["bn"], **one, identities=3)
    files = build_report([folder], tmp_path / "out", progress=False)
    assert all(file.is_file() and file.parent.is_relative_to(tmp_path / "out") for file in files)
    text = (tmp_path / "out" / "index.html").read_text()
    for sentence in (
        "1 model (bn), each trained on plaza_x with 1 seed (3), was tested on plaza_x.",
        "there is nothing to compare", "a gap cannot be computed", "no remedies.csv", "no divergence.csv",
        "No model was tested across domains",
    ):  # fmt: skip
        assert sentence in text
    assert not (folder / "index.html").exists()
    assert pd.read_csv(tmp_path / "out" / "comparisons.csv").empty


def test_one_seed_and_lost_runs_are_said_so(tmp_path):
    folder = benchmark_folder(
        tmp_path, ["bn", "ibn_b"], ["plaza_x"], seeds=[0], remedies=[], divergence=False, identities=3
    )
    shutil.rmtree(tmp_path / "runs" / "ibn_b_plaza_x_seed0")
    results = pd.read_csv(folder / "results.csv")
    results.loc[0, "rank5"] = None
    results.to_csv(folder / "results.csv", index=False)
    build_report([folder], progress=False)
    text = (folder / "index.html").read_text()
    assert "One seed: this holds for these trained networks, not for the methods." in text
    assert "The lists cannot be drawn: run&#39;s folder not found:" in text
    assert "1 cell is missing (-)." in text


def test_oracle_and_what_sees_the_target(tmp_path):
    folder = benchmark_folder(
        tmp_path, ["bn", "ibn_b"], ["plaza_x"], seeds=[1, 0], remedies=["bn_adabn"], divergence=False, identities=8,
        oracle=True,
    )  # fmt: skip
    build_report([folder], progress=False)
    text = (folder / "index.html").read_text()
    page = Page(text)
    assert '<section id="epoch">' in text and '<a href="#epoch">' in text and "No oracle was measured" not in text
    assert text.index('id="simple"') < text.index('id="epoch"') < text.index('id="curves"')
    assert "it is an upper bound, and is used nowhere else" in text
    assert "Not measured for 5 of 10 networks and targets." in text
    frame = pd.concat([pd.read_csv(folder / name) for name in ("results.csv", "remedies.csv")])
    frame = frame[frame["target"] == "plaza_x"]
    assert rows(page, "epochs") == [
        [row.model + " †" * row.adabn, "plaza_x → plaza_x", str(row.seed), "6 (last)", f"{100 * row.mAP:.1f}", "4",
         f"{100 * row.oracle_mAP:.1f}", "+1.5"]
        for row in frame.itertuples()
    ]  # fmt: skip
    assert [cells[0] for cells in rows(page, "remedies")] == ["bn", "ibn_b", "bn_adabn †"]
    assert "seed 1 only" in text and "† sees the target&#39;s unlabelled images" in text
    pairs = pd.read_csv(folder / "remedy_comparisons.csv").query("target == 'station_x'")
    assert pairs[pairs["model_a"] == "bn_adabn"]["significant"].all()  # ahead of both, and yet neither bold nor a rival
    bold = {(line, column) for key, line, column in page.bold if key == "remedies"}
    ibn = pairs.query("model_a == 'ibn_b' and model_b == 'bn'").iloc[0]
    assert ibn["significant"] and ibn["value"] > 0 and (1, 2) in bold
    assert not any(line == 2 for line, _ in bold)


def test_a_pair_left_out_is_named_on_the_page(tmp_path):
    folder = benchmark_folder(tmp_path, ["bn", "ibn_b"], ["plaza_x"], remedies=[], divergence=False, identities=3)
    results = pd.read_csv(folder / "results.csv")
    lost = (results["target"] == "station_x") & ((results["model"] == "bn") == (results["seed"] == 0))
    results[~lost].to_csv(folder / "results.csv", index=False)
    build_report([folder], progress=False)
    text = (folder / "index.html").read_text()
    assert text.count("<li>ibn_b minus bn, plaza_x → station_x: source plaza_x: no seed in common.") == 2
    assert "1 comparison of two models could not be made; named below." in text
    assert "with up to 2 seeds (0, 1)" in text
    assert "No oracle was measured" in text and '<section id="epoch">' not in text


def test_no_folder_is_an_error(tmp_path):
    with pytest.raises(InputError, match="at least one folder"):
        build_report([], tmp_path)


def differences(*values, in_domain=False, seeds=3, a="ibn_b", b="bn"):
    """Rows of (value, half the interval's width), one direction each."""
    rows = [
        {
            "model_a": a, "model_b": b, "source": f"s{n}", "target": f"t{n}", "metric": "mAP", "value": value,
            "low": value - half, "high": value + half, "significant": abs(value) > half, "seeds": seeds,
            "in_domain": in_domain,
        }
        for n, (value, half) in enumerate(values)
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=COMPARISONS)


NO_GAPS = pd.DataFrame(columns=GAPS)


def test_all_four_cases(benchmark):
    frame = pd.concat([differences((0.2, 0.05), (-0.1, 0.02), (0.01, 0.05)), differences((0.01, 0.1), in_domain=True)])
    assert findings(benchmark, frame, NO_GAPS) == [
        "Cross-domain, ibn_b is significantly above bn in mAP on 1 of 3 directions: +20.0 points [+15.0, +25.0] "
        "(s0 → t0); it is significantly below bn in mAP on 1 of 3 directions: -10.0 points [-12.0, -8.0] (s1 → t1); "
        "on 1 of 3 directions the difference in mAP is not significant: +1.0 points [-4.0, +6.0] (s2 → t2).",
        "In-domain, on 1 of 1 direction the difference in mAP is not significant: +1.0 points [-9.0, +11.0] (s0 → t0), "
        "so nothing is claimed for ibn_b against bn.",
    ]


def test_many_directions_are_summed_up_and_one_seed_is_said(benchmark):
    frame = differences(*((0.1 + n / 100, 0.02) for n in range(6)), seeds=1)
    assert findings(benchmark, frame, NO_GAPS) == [
        "Cross-domain, ibn_b is significantly above bn in mAP on 6 of 6 directions: from +10.0 points [+8.0, +12.0] "
        "(s0 → t0) to +15.0 points [+13.0, +17.0] (s5 → t5). One seed: this holds for these trained networks, not for "
        "the methods."
    ]


def test_one_seed_is_said_of_the_directions_that_have_one(benchmark):
    abroad = differences((0.2, 0.05), (-0.1, 0.02)).assign(seeds=[3, 1])
    at_home = differences((0.01, 0.1), in_domain=True)
    first, second = findings(benchmark, pd.concat([abroad, at_home]), NO_GAPS)
    assert first.endswith(
        " (s1 → t1). One seed on s1 → t1: this holds for these trained networks, not for the methods."
    )
    assert "One seed" not in second
    first, second = findings(benchmark, pd.concat([at_home.assign(seeds=1), abroad.assign(seeds=3)]), NO_GAPS)
    assert "One seed" not in first and " One seed: this holds" in second


def test_other_pairs_and_metrics_do_not_count(benchmark):
    other = differences((0.3, 0.01), a="ibn_a"), differences((0.3, 0.01)).assign(metric="rank1")
    assert findings(benchmark, pd.concat(other), NO_GAPS) == [
        "There is no direction in which ibn_b and bn could be compared."
    ]


def test_what_could_not_be_compared_is_counted(benchmark):
    found = findings(benchmark, differences((0.3, 0.01)), NO_GAPS, ["x minus y, s → t: why"])
    assert found[1:] == ["1 comparison of two models could not be made; named below."]


def test_subject_names_what_sees_the_target(benchmark):
    own = dataclasses.replace(benchmark, description={"models": {"ibn_b": {"cfg": "x.yaml", "adabn": True}}})
    assert ". Of these, ibn_b took batch-norm statistics from the target's unlabelled" in subject(own)


def test_losses_turn_the_gap(benchmark):
    gaps = pd.DataFrame(
        [("bn", "s", "t", "mAP", 0.3, 0.2, 0.5, True, 3), ("bn", "s", "u", "mAP", 0.1, -0.1, 0.3, False, 3)],
        columns=["model", "source", "target", "metric", "value", "low", "high", "significant", "seeds"],
    )
    assert losses("bn", gaps) == [
        "From home to abroad bn's mAP changes: -10.0 points [-30.0, +10.0] (s → u), -30.0 points [-50.0, -20.0] "
        "(s → t); not significant on s → u."
    ]
    assert losses("ibn_b", gaps) == []
    gaps.loc[1, "seeds"] = 1
    assert losses("bn", gaps)[0].endswith(". One seed on s → u: this holds for these trained networks, not for "
                                                  "the methods.")  # fmt: skip
    alone = dataclasses.replace(benchmark, models=("bn",))
    assert findings(alone, differences(), gaps) == losses("bn", gaps)


def test_subject(benchmark):
    assert subject(benchmark) == (
        "2 models (bn and ibn_b), each trained on plaza_x or station_x with 2 seeds (0, 1), were tested on plaza_x "
        "and station_x. Valid queries: plaza_x 24 and station_x 24; in-domain means the test split of the data trained "
        "on."
    )


def test_subject_of_a_table_with_holes(benchmark):
    results = benchmark.results.iloc[1:].assign(queries=benchmark.results["queries"].where(
        benchmark.results["target"] != "plaza_x"))  # fmt: skip
    text = subject(dataclasses.replace(benchmark, results=results))
    assert "with up to 2 seeds (0, 1)" in text
    assert "Valid queries: plaza_x not known and station_x 24;" in text or "station_x 24 and plaza_x not known;" in text
