"""What was not measured alike is said, and no more than that."""

import json

import pandas as pd
import pytest

from reid.report.benchmark import read_benchmarks
from reid.report.page import build_report
from reid.report.provenance import mixtures, warnings

ALIKE = {"train_device": "cpu", "train_precision": "float32", "device": "cpu (AVX2)", "precision": "float32"}


def table(*changes: dict[str, str]) -> pd.DataFrame:
    """Two models of two seeds on two sources and targets; each of ``changes`` sets columns of rows chosen by others."""
    rows = [
        {"model": model, "source": source, "target": target, "seed": seed, **ALIKE}
        for model in ("bn", "ibn")
        for source in ("plaza", "station")
        for target in ("plaza", "station")
        for seed in (0, 1)
    ]
    for change in changes:
        chosen = {key: value for key, value in change.items() if key not in ALIKE}
        for row in rows:
            if all(str(row[key]) == value for key, value in chosen.items()):
                row |= change
    return pd.DataFrame(rows).astype({"seed": int})


def test_what_is_alike_is_passed_over():
    assert mixtures(table()) == []
    assert mixtures(table({"target": "station", "device": "cpu (AVX512)"})) == []
    on_gpus = {"device": "NVIDIA H100", "train_device": "cuda"}
    assert mixtures(table(on_gpus, {"seed": "1", "device": "NVIDIA A100"})) == []
    assert mixtures(table({"source": "station", "train_precision": "bf16"})) == []  # of one source all are alike
    older = table({"model": "bn", "train_precision": "", "train_device": ""})
    assert mixtures(older) == [] and mixtures(older.replace("", None)) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"model": "ibn", "train_precision": "bf16"}, "the precision of training differs (float32: bn; bf16: ibn)"),
        ({"model": "ibn", "train_device": "cuda"}, "the device of training differs (cpu: bn; cuda: ibn)"),
        ({"model": "ibn", "train_device": "2 x cpu"}, "the device of training differs (cpu: bn; 2 x cpu: ibn)"),
        ({"model": "ibn", "train_precision": "fp16"}, "the precision of training differs (float32: bn; fp16: ibn)"),
        ({"target": "station", "precision": "bf16"},
         "the precision of testing differs (float32: on plaza; bf16: on station)"),
        ({"seed": "1", "device": "NVIDIA H100"}, "the device of testing differs (cpu: seed 0; cuda: seed 1)"),
        ({"model": "ibn", "seed": "1", "train_precision": "bf16"},
         "the precision of training differs (float32: bn seed 0, bn seed 1, ibn seed 0; bf16: ibn seed 1)"),
    ],
)  # fmt: skip
def test_a_mixture_is_said_with_who_is_what(change, said):
    """Models, home and abroad, seeds: all of these are compared."""
    assert mixtures(table(change)) == [
        f"Not measured alike: of networks trained on {source} {said}; a difference between them may come from that."
        for source in ("plaza", "station")
    ]


def test_the_report_says_it_and_what_is_missing(copy, tmp_path, capsys, caplog):
    one = copy("one")
    results = pd.read_csv(one / "results.csv", dtype=str).assign(train_device="cpu", train_precision="float32")
    results.loc[results["model"] == "bn", "train_precision"] = "bf16"
    results.to_csv(one / "results.csv", index=False)
    lost = {"model": "bn", "source": "plaza_x", "target": "street <x>", "seed": 1, "reason": "the loss is nan"}
    held = lost | {"target": "plaza_x", "seed": 0}
    described = json.loads((one / "benchmark.json").read_text())
    (one / "benchmark.json").write_text(json.dumps(described | {"missing": [lost, held]}))
    build_report([one], tmp_path / "page", progress=False)
    benchmark = read_benchmarks([one])
    assert benchmark.missing == ["bn, plaza_x → street <x>, seed 1: the loss is nan"]  # the other one is there
    first, *others = warnings(benchmark)
    assert first.startswith("The grid is not complete: 1 cell is missing") and len(others) == 2
    assert all("the precision of training differs (" in other for other in others)
    page = (tmp_path / "page" / "index.html").read_text()
    assert all(text.replace("'", "&#39;") in page for text in (first, *others)) and "street &lt;x&gt;, seed 1" in page
    for name in ("tables.md", "tables.tex"):
        content = (tmp_path / "page" / name).read_text()
        assert "The grid is not complete" in content and "Not measured alike" in content
    assert caplog.messages[:3] == [first, *others]


def test_a_whole_grid_measured_alike_warns_of_nothing(benchmark):
    assert warnings(benchmark) == [] and benchmark.missing == []


def test_a_damaged_list_of_missing_cells_is_named(copy):
    one = copy("one")
    described = json.loads((one / "benchmark.json").read_text())
    (one / "benchmark.json").write_text(json.dumps(described | {"missing": [{"model": "bn"}]}))
    with pytest.raises(ValueError, match=r"benchmark.json: missing: is not a list of cells with model, source, target"):
        read_benchmarks([one])


def test_a_network_without_a_seed_is_named_without_one():
    rows = table({"model": "bn", "target": "plaza", "device": "NVIDIA H100"})
    rows = rows[(rows["source"] == "plaza") & (rows["seed"] == 0)].astype({"seed": "Int64"})
    rows.loc[rows["model"] == "bn", "seed"] = pd.NA
    (sentence,) = mixtures(rows, "the networks compared")
    assert "(cuda: bn on plaza; cpu: bn on station, ibn seed 0" in sentence and "NA" not in sentence
