import json
import shutil

import pandas as pd
import pytest

from reid.errors import InputError
from reid.report.benchmark import Direction, lines, read_benchmarks


def change(path, **values):
    frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    for column, value in values.items():
        frame.loc[0, column] = value
    frame.to_csv(path, index=False)


def test_reads_types(benchmark):
    assert benchmark.models == ("bn", "ibn_b") and benchmark.seeds == [0, 1]
    assert benchmark.results["config_hash"].iloc[0] == "012345678901"  # digits, yet not a number
    assert benchmark.results["checkpoint"].iloc[0] == "00e1000000000000"
    assert benchmark.results["mAP"].dtype == float and benchmark.results["in_domain"].dtype == bool
    assert len(benchmark.results) == 16 and len(benchmark.remedies) == 4 and len(benchmark.queries) == 16 * 24
    assert [str(one) for one in benchmark.directions if one.in_domain] == ["plaza_x → plaza_x", "station_x → station_x"]
    assert benchmark.directions[0] == Direction("plaza_x", "plaza_x", True)
    assert benchmark.in_domain("plaza_x", "plaza_x") and not benchmark.in_domain("plaza_x", "station_x")


def test_same_folder_twice_is_one(folder, copy, benchmark):
    joined = read_benchmarks([folder, copy()])
    pd.testing.assert_frame_equal(joined.results, benchmark.results)
    pd.testing.assert_frame_equal(joined.queries, benchmark.queries)
    pd.testing.assert_frame_equal(joined.divergence, benchmark.divergence)
    assert joined.description == benchmark.description


def test_rows_of_two_folders_are_joined(folder, copy, benchmark):
    first, second = copy("a"), copy("b")
    results = pd.read_csv(folder / "results.csv", dtype=str)
    results[results["seed"] == "0"].to_csv(first / "results.csv", index=False)
    results[results["seed"] == "1"].to_csv(second / "results.csv", index=False)
    joined = read_benchmarks([first, second])
    assert joined.seeds == [0, 1] and len(joined.results) == len(benchmark.results)
    assert sorted(map(tuple, lines(joined.queries))) == sorted(map(tuple, lines(benchmark.queries)))


def test_contradiction_names_both_files_and_figures(folder, copy):
    other = copy()
    change(other / "results.csv", mAP="0.25")
    with pytest.raises(
        InputError, match=r"(?s)results.csv and .*copy/results.csv: model bn, .* seed 0 has mAP .* 0.25"
    ):
        read_benchmarks([folder, other])


def test_contradicting_divergence_names_both_files(folder, copy):
    other = copy()
    change(other / "divergence.csv", mean="0.25")
    message = r"(?s)divergence.csv and .*copy/divergence.csv: model bn, trained on plaza_x, seed 0: plaza_x and "
    with pytest.raises(InputError, match=message + r"station_x \(by domain\), stage 1 has mean .* and 0.25; leave"):
        read_benchmarks([folder, other])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"mAP": "high"}, r"results.csv: column mAP: .*high"),
        ({"in_domain": "perhaps"}, "in_domain: 'perhaps' is neither True nor False"),
        ({"adabn": "maybe"}, "results.csv: adabn: 'maybe' is neither True nor False"),
        ({"oracle_mAP": "best"}, r"results.csv: column oracle_mAP: .*best"),
        ({"seed": ""}, "column seed: is empty in 1 rows"),
        ({"model": "else"}, "queries.parquet: holds no queries of model else"),
    ],
)
def test_bad_cells(copy, values, message):
    own = copy()
    change(own / "results.csv", **values)
    with pytest.raises(InputError, match=message):
        read_benchmarks([own])


def test_missing_files_and_columns(copy, tmp_path):
    own = copy()
    with pytest.raises(InputError, match="not a benchmark's folder: it holds no results.csv"):
        read_benchmarks([tmp_path / "nowhere"])
    (own / "benchmark.json").write_text("{")
    with pytest.raises(InputError, match=r"benchmark.json: cannot be read"):
        read_benchmarks([own])
    (own / "benchmark.json").write_text(json.dumps({"models": []}))
    with pytest.raises(InputError, match="no mapping 'models'"):
        read_benchmarks([own])
    (own / "benchmark.json").write_text("{}")
    pd.read_csv(own / "results.csv").drop(columns="mINP").to_csv(own / "results.csv", index=False)
    with pytest.raises(InputError, match="has no column mINP; its columns are model"):
        read_benchmarks([own])


def test_files_without_the_later_columns(folder, copy, benchmark):
    old = copy()
    for name in ("results.csv", "remedies.csv"):
        frame = pd.read_csv(old / name, dtype=str, keep_default_na=False)
        frame.drop(columns=["adabn", "epoch_choice", "oracle_epoch", "oracle_mAP"]).to_csv(old / name, index=False)
    read = read_benchmarks([old])
    assert not read.sees_target and read.results["oracle_mAP"].isna().all()
    description = json.loads((old / "benchmark.json").read_text())
    description["remedies"]["bn_standardised"] = {"cfg": "a.yaml", "adabn": True}
    (old / "benchmark.json").write_text(json.dumps(description))
    read = read_benchmarks([old])
    assert read.sees_target == {"bn_standardised"}
    assert (read.shown("bn_standardised"), read.shown("bn")) == ("bn_standardised †", "bn")


def test_an_oracle_of_one_folder_counts_and_of_two_must_agree(folder, copy):
    first, second = copy("first"), copy("second")
    change(first / "results.csv", oracle_epoch="4", oracle_mAP="0.75")
    joined = read_benchmarks([folder, first]).results
    assert joined["oracle_mAP"].tolist()[:1] == [0.75] and joined["oracle_mAP"].notna().sum() == 1
    change(second / "results.csv", oracle_epoch="4", oracle_mAP="0.5")
    with pytest.raises(
        InputError, match=r"first/results.csv and .*second/results.csv: model bn, .* has oracle_mAP 0.75"
    ):
        read_benchmarks([first, second])


def test_empty_divergence_is_none_measured(copy):
    own = copy()
    (own / "divergence.csv").write_text("\n")
    assert read_benchmarks([own]).divergence.empty


def test_a_model_is_no_remedy(folder, copy):
    own = copy()
    for name in ("remedies.csv", "remedies_queries.parquet"):
        (own / name).unlink()
    shutil.copy(folder / "remedies.csv", own / "results.csv")
    shutil.copy(folder / "remedies_queries.parquet", own / "queries.parquet")
    with pytest.raises(InputError, match="'bn_standardised' is a model in one and a remedy in another"):
        read_benchmarks([folder, own])


def test_two_protocols_are_no_one_page(folder, copy):
    place = copy()
    table = pd.read_csv(place / "results.csv", dtype=str, keep_default_na=False)
    table["protocol"] = ["any-camera" if target == "plaza_x" else "cross-camera" for target in table["target"]]
    table.to_csv(place / "results.csv", index=False)
    with pytest.raises(InputError, match="plaza_x any-camera and station_x cross-camera were measured by two"):
        read_benchmarks([place])
