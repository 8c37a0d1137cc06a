"""Networks of other origin on the report's page: beside the models, and in no statistics over seeds."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from benchmark_folders import benchmark_folder

from reid.errors import InputError
from reid.report.foreign import network_comparisons, network_figures, network_tables
from reid.report.inputs import read_benchmarks
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
    drops = figures[(figures["metric"] == "mAP") & figures["drop"].notna()]
    assert [(row.model, row.target) for row in drops.itertuples()] == [("osnet", "station_x")]
    mAP = stored[stored["model"] == "osnet"].set_index("target")["mAP"]
    assert drops["drop"].item() == pytest.approx(mAP["station_x"] - mAP["plaza_x"])
    assert drops["drop_low"].item() < drops["drop"].item() < drops["drop_high"].item()


def test_a_drop_from_a_data_set_of_one_person_is_left_out_and_named(benchmark):
    queries = benchmark.foreign_queries
    keep = (queries["target"] != "plaza_x") | (queries["pid"] == queries["pid"].min())
    figures, left_out = network_figures(replace(benchmark, foreign_queries=queries[keep]))
    assert len(left_out) == 3 and any(text.startswith("osnet, drop on station_x: ") for text in left_out)
    assert figures["drop"].isna().all() and {"osnet", "retail"} <= set(figures["model"])


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
