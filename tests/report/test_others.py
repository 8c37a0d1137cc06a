"""Networks of other origin beside the models, in no statistics over seeds; published figures beside ours."""

import dataclasses
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from benchmark_folders import benchmark_folder

from reid.errors import InputError
from reid.report import statistics
from reid.report.benchmark import read_benchmarks
from reid.report.others import (
    FILE,
    FLAGS,
    network_comparisons,
    network_figures,
    network_tables,
    published_tables,
    read_published,
)
from reid.report.page import build_report
from reid.report.provenance import run_table


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    networks = {"osnet": "plaza_x", "retail": None}
    root = tmp_path_factory.mktemp("foreign")
    return benchmark_folder(root, ("bn", "ibn_b"), remedies=(), identities=8, divergence=False, foreign=networks)


@pytest.fixture(scope="module")
def benchmark(folder):
    return read_benchmarks([folder])


def test_they_are_part_of_no_statistics_over_seeds(folder, benchmark):
    assert (
        benchmark.models == ("bn", "ibn_b") and benchmark.seeds == [0, 1] and benchmark.networks == ["osnet", "retail"]
    )
    assert set(benchmark.queries["model"]) == set(benchmark.results["model"]) == {"bn", "ibn_b"}
    assert set(benchmark.foreign_queries["model"]) == {"osnet", "retail"} and "seed" not in benchmark.foreign_queries
    assert len(benchmark.foreign) == 4 and set(benchmark.foreign["source"]) == {"plaza_x", "not known"}


def test_figures_are_those_of_the_queries(folder, benchmark):
    figures, left_out = network_figures(benchmark)
    assert left_out == []
    stored = pd.read_csv(folder / "results.csv")
    for row in figures[figures["metric"] == "mAP"].itertuples():
        of = stored[
            (stored["model"] == row.model) & (stored["source"] == row.source) & (stored["target"] == row.target)
        ]
        assert row.value == pytest.approx(of["mAP"].mean()) and row.low < row.value < row.high
        assert np.isnan(row.seeds) if row.foreign else row.seeds == 2
    # osnet's own data set is plaza_x: its drop elsewhere is against it; of retail's nothing is known
    dropped = figures[(figures["metric"] == "mAP") & figures["drop"].notna()]
    drops = dropped[dropped["foreign"]]
    assert [(row.model, row.target) for row in drops.itertuples()] == [("osnet", "station_x")]
    mAP = stored[stored["model"] == "osnet"].set_index("target")["mAP"]
    assert drops["drop"].item() == pytest.approx(mAP["station_x"] - mAP["plaza_x"])
    assert drops["drop_low"].item() < drops["drop"].item() < drops["drop_high"].item()
    # the models' are the gaps of the page, turned
    gaps = statistics.gaps(benchmark)[0].query("metric == 'mAP'").set_index(["model", "source", "target"])
    models = dropped[~dropped["foreign"]]
    assert len(models) == 4
    for row in models.itertuples():
        gap = gaps.loc[(row.model, row.source, row.target)]
        assert (row.drop, row.drop_low, row.drop_high) == pytest.approx((-gap["value"], -gap["high"], -gap["low"]))


def test_a_drop_from_a_data_set_of_one_person_is_left_out_and_named(benchmark):
    queries = benchmark.foreign_queries
    keep = (queries["target"] != "plaza_x") | (queries["pid"] == queries["pid"].min())
    figures, left_out = network_figures(replace(benchmark, foreign_queries=queries[keep]))
    assert len(left_out) == 3 and any(text.startswith("osnet, drop on station_x: ") for text in left_out)
    assert figures.loc[figures["foreign"], "drop"].isna().all() and {"osnet", "retail"} <= set(figures["model"])


def test_differences_are_against_the_mean_over_seeds(benchmark):
    comparisons, left_out = network_comparisons(benchmark)
    assert left_out == [] and set(comparisons["model"]) == {"bn"} and set(comparisons["seeds"]) == {2}
    assert len(comparisons) == 2 * 2 * 2 * 3  # networks, targets, sources, metrics
    for row in comparisons[comparisons["metric"] == "mAP"].itertuples():
        network = benchmark.foreign_queries.query("model == @row.network and target == @row.target")["ap"].mean()
        trained = benchmark.queries.query("model == 'bn' and source == @row.source and target == @row.target")[
            "ap"
        ].mean()
        assert row.value == pytest.approx(network - trained) and row.low < row.value < row.high


def test_tables(benchmark):
    figures, comparisons = network_figures(benchmark)[0], network_comparisons(benchmark)[0]
    beside, pairs = network_tables(benchmark, figures, comparisons)
    assert len(beside.rows) == 2 * (2 * 2 + 2) and len(pairs.rows) == len(comparisons)
    retail = [row for row in beside.rows if row[0] == "retail"]
    assert all((row[1], row[3], row[6]) == ("not known", "none", "") for row in retail)
    assert "missing" not in beside.footer  # what does not apply is not missing
    models = [row for row in beside.rows if row[0] in ("bn", "ibn_b")]
    assert all((row[6] == "") == ("in-domain" in row[2]) for row in models)
    assert [row[2] for row in beside.rows if row[0] == "osnet"] == ["plaza_x (in-domain)", "station_x"]
    runs = [row for row in run_table(benchmark).rows if row[0] in ("osnet", "retail")]
    assert len(runs) == 2 and all((row[2], row[3], row[6]) == ("none", "none", "not known") for row in runs)


def test_the_page_has_them_where_there_are_some(folder, tmp_path):
    build_report([folder], tmp_path / "page", progress=False)
    page = (tmp_path / "page" / "index.html").read_text()
    assert (
        '<section id="others">' in page
        and "Networks of other origin, in a table of their own: osnet and retail" in page
    )
    assert {"networks.csv", "network_comparisons.csv"} <= {path.name for path in (tmp_path / "page").iterdir()}
    assert (tmp_path / "page" / "images" / "networks.png").exists()
    plain = benchmark_folder(tmp_path / "plain", ("bn", "ibn_b"), remedies=(), identities=8, divergence=False)
    build_report([plain], progress=False)
    assert '<section id="others">' not in (plain / "index.html").read_text() and not (plain / "networks.csv").exists()


def test_a_missing_test_of_one_is_named(folder, tmp_path):
    other = tmp_path / "less"
    other.mkdir()
    told = json.loads((folder / "benchmark.json").read_text())
    lost = {"model": "retail", "source": "not known", "target": "plaza_x", "seed": None, "reason": "no such image"}
    (other / "benchmark.json").write_text(json.dumps(told | {"missing": [lost]}))
    table = pd.read_csv(folder / "results.csv", dtype=str, keep_default_na=False)
    table[~((table["model"] == "retail") & (table["target"] == "plaza_x"))].to_csv(other / "results.csv", index=False)
    (other / "queries.parquet").write_bytes((folder / "queries.parquet").read_bytes())
    assert read_benchmarks([other]).missing == ["retail, not known → plaza_x: no such image"]
    assert read_benchmarks([other, folder]).missing == []  # the other folder has it


def test_bad_folders(folder, tmp_path):
    def changed(name, **columns):
        place = tmp_path / name
        place.mkdir()
        table = pd.read_csv(folder / "results.csv", dtype=str, keep_default_na=False)
        for column, value in columns.items():
            table.loc[table["model"] == "osnet", column] = value
        table.to_csv(place / "results.csv", index=False)
        for file in ("benchmark.json", "queries.parquet"):
            (place / file).write_bytes((folder / file).read_bytes())
        return place

    with pytest.raises(InputError, match="network of other origin has '3', where none can be"):
        read_benchmarks([changed("seeds", seed="3")])
    with pytest.raises(InputError, match="column seed: is empty in 2 rows"):
        read_benchmarks([changed("none", foreign="")])
    with pytest.raises(InputError, match="foreign: 'maybe' is neither True nor False"):
        read_benchmarks([changed("maybe", foreign="maybe")])
    with pytest.raises(InputError, match="network osnet, plaza_x → plaza_x has mAP"):
        read_benchmarks([folder, changed("figures", mAP="0.5")])
    with pytest.raises(InputError, match="holds no queries of model osnet, elsewhere → plaza_x;?"):
        read_benchmarks([changed("source", source="elsewhere")])
    tables = tmp_path / "tables"
    tables.mkdir()
    (tables / "results.csv").write_text("model\n")
    (tables / "table.md").write_text("| a |\n")
    with pytest.raises(InputError, match="holds the tables of cross_domain --models or --cfgs"):
        read_benchmarks([tables])


@pytest.fixture(scope="session")
def published():
    return read_published()


@pytest.fixture
def market(tmp_path):
    """Our own figures on public data, invented."""
    sets = ["market1501", "msmt17"]
    return read_benchmarks([benchmark_folder(tmp_path, ["bn"], sets, sets, [0], [], divergence=False, identities=2)])


def test_flags_follow_from_facts(published):
    for row in published:
        assert ("pairwise matcher" in row.flags) == row.method.startswith(("QAConv", "TransMatcher"))
        assert ("extra data" in row.flags) == row.train.endswith("_all")
        assert ("Duke" in row.flags) == ("dukemtmc" in (row.train, row.test))
        other_size = row.method.startswith(("SBS", "MMET", "DMRL")) or row.source.startswith("ShengcaiLiao/QAConv")
        assert ("input size" in row.flags) == other_size
        assert ("epoch chosen on the target" in row.flags) == row.method.startswith("PAT ")
        assert row.mAP is not None and 0 < row.mAP < 100 and row.source


def test_recent_rows_say_what_their_table_does_not_state(published):
    recent = [row for row in published if row.source.startswith("result image")]
    assert len(recent) == 47 and all("one group's table" in row.note for row in recent)
    assert {row.test for row in recent if "detected or labelled not stated" in row.note} >= {"cuhk03np"}
    best = max((row for row in recent if (row.train, row.test) == ("msmt17", "market1501")), key=lambda row: row.mAP)
    assert (best.method, best.mAP, best.rank1, best.flags) == ("MUVA (2603.14012)", 59.5, 82.7, ())


def test_same_data_stand_beside_ours_and_flagged_rows_apart(market, published):
    plain, flagged = published_tables(market, published)
    assert (plain.key, flagged.key) == ("published", "published-flagged")
    ours = [row for row in plain.rows if row[0] == "ours: bn"]
    assert len(ours) == 4 and plain.rows[:4] == tuple(ours)
    frame = market.results.query("source == 'market1501' and target == 'msmt17'")
    assert next(row for row in ours if row[2] == "market1501 → msmt17")[3] == f"{100 * frame['mAP'].item():.1f}"
    named = {row.method for row in published if row.flags and (row.train, row.test) == ("market1501", "msmt17")}
    assert named and not named & {row[0] for row in plain.rows if row[2] == "market1501 → msmt17"}
    assert all(row[-1] and set(row[-1].split("; ")) <= set(FLAGS) for row in flagged.rows)
    assert not any(row[0].startswith("ours") for row in flagged.rows)
    assert not plain.bold and not flagged.bold
    assert all(set(row[2].split(" → ")) <= {"market1501", "msmt17", "msmt17_all"} for row in plain.rows + flagged.rows)


def test_our_own_figures_on_duke_carry_its_flag(market, published):
    def renamed(frame):
        return frame.assign(**{name: frame[name].replace("msmt17", "dukemtmc") for name in ("source", "target")})

    own = dataclasses.replace(market, results=renamed(market.results), queries=renamed(market.queries))
    plain, flagged = published_tables(own, published)
    ours = {row[2]: row for row in flagged.rows if row[0] == "ours: bn"}
    assert set(ours) == {"market1501 → dukemtmc", "dukemtmc → market1501", "dukemtmc → dukemtmc"}
    assert all(row[-1] == "Duke" for row in ours.values()) and "withdrawn" in flagged.note
    assert [row[2] for row in plain.rows if row[0] == "ours: bn"] == ["market1501 → market1501"]
    mAP = own.results.query("source == 'market1501' and target == 'dukemtmc'")["mAP"].item()
    assert ours["market1501 → dukemtmc"][3] == f"{100 * mAP:.1f}"


def test_what_sees_the_target_says_so_beside_published_figures(market, published):
    own = dataclasses.replace(market, results=market.results.assign(adabn=True))
    row = published_tables(own, published)[0].rows[0]
    assert row[0] == "ours: bn †" and row[-1].startswith("sees the target's unlabelled images")


def test_drawn_sites_get_context_only(benchmark, published):
    tables = published_tables(benchmark, published)
    assert [table.key for table in tables] == ["published-context", "published-context-flagged"]
    for table in tables:
        assert not any(row[0].startswith("ours") for row in table.rows)
        assert all(row[2].split(" → ")[0] != row[2].split(" → ")[1] for row in table.rows)


@pytest.mark.parametrize(
    ("change", "message"),
    [(("Duke", "Dukes"), "flag 'Dukes' is not one of pairwise matcher, "), ((",86.1,", ",high,"), "line 2: .*high")],
)
def test_bad_tables(tmp_path, change, message):
    (tmp_path / "own.csv").write_text(FILE.read_text().replace(*change))
    with pytest.raises(InputError, match=message):
        read_published(tmp_path / "own.csv")
