"""Networks of any origin compared from the command line."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tiny_onnx import describe, mean_colours
from trees import PLACE, folder_tree, manifest_tree

from reid.cli import main
from reid.evaluation.gap import trained_on
from reid.evaluation.interval import Term, estimate
from reid.evaluation.results import read_results

WEIGHTS = {"grey": [[1, 1, 1], [1, 0, 0]], "colours": np.eye(3)}


@pytest.fixture
def people(tmp_path) -> Path:
    return folder_tree(tmp_path / "people", names=("ann", "bob", "eve", "joe"))


@pytest.fixture
def networks(trained, market, tmp_path) -> tuple[Path, list[Path], list[str]]:
    """A run's folder, two networks of other origin, and overrides by which all find the data."""
    files = []
    for name, weights in WEIGHTS.items():
        files.append(mean_colours(tmp_path / f"{name}.onnx", np.float32(weights)))
        describe(files[-1], output="flat")
    return trained[1], files, [f"data.root={market}", "device=cpu", "threads=1", "data.workers=0"]


def command(models, targets, overrides, output="out") -> list[str]:
    words = ["cross-domain", "--models", *models, "--targets", *targets, "--output", output, *overrides]
    return [str(word) for word in words]


def test_a_run_and_networks_of_other_origin_in_one_table(networks, people, capsys, caplog):
    folder, files, overrides = networks
    arguments = command([files[0], folder, files[1]], ["market1501", people], overrides)
    assert main(arguments) == 0
    out, bars = capsys.readouterr()
    for name in ("grey", folder.name, "colours"):
        assert f"{name}: features of market1501 (query)" in bars and f"{name}: features of people (gallery)" in bars
    assert sorted(path.name for path in Path("out").iterdir()) == [
        "gap.png", "queries.parquet", "results.csv", "table.md",
    ]  # fmt: skip
    assert Path("out/table.md").read_text().strip() in out
    results = pd.read_csv("out/results.csv", dtype={"seed": "Int64"})
    queries = pd.read_parquet("out/queries.parquet")
    assert list(dict.fromkeys(results["model"])) == ["grey", folder.name, "colours"] and len(results) == 6
    assert results.loc[results["model"] == "grey", "seed"].isna().all()
    assert (results.loc[results["model"] == folder.name, "seed"] == 0).all()
    by_cell = {key: rows.sort_values("path") for key, rows in queries.groupby(["model", "target"])}
    for row in results.itertuples():
        rows, first = by_cell[row.model, row.target], by_cell["grey", row.target]
        assert row.mAP == pytest.approx(rows["ap"].mean())
        found = estimate([Term(rows["ap"].to_numpy()[None], rows["pid"].to_numpy())])
        assert (row.mAP_low, row.mAP_high) == pytest.approx((found.low, found.high))
        assert f"{100 * row.mAP:.1f} [{100 * row.mAP_low:.1f}, {100 * row.mAP_high:.1f}]" in out
        if row.model == "grey":
            assert np.isnan(row.mAP_lead)
        else:
            lead = estimate([Term((rows["ap"].to_numpy() - first["ap"].to_numpy())[None], rows["pid"].to_numpy())])
            assert (row.mAP_lead, row.mAP_lead_low) == pytest.approx((lead.value, lead.low))
    run = results[results["model"] == folder.name].set_index("target")
    assert run.loc["market1501", "in_domain"] and np.isnan(run.loc["market1501", "mAP_drop"])
    assert run.loc["people", "mAP_drop"] == pytest.approx(run.loc["people", "mAP"] - run.loc["market1501", "mAP"])
    assert results.loc[results["model"] != folder.name, "mAP_drop"].isna().all()
    assert "what the network was trained on is not known: grey on market1501, people; colours on" in out

    assert "Differences are paired, query by query. The drop is against" in out

    # in-domain figures that stand in the run's results.json count without being asked for
    assert main(command([folder, files[0]], [people], overrides, "again")) == 0
    again = pd.read_csv("again/results.csv").set_index("model")
    assert again.loc[folder.name, "mAP_drop"] == pytest.approx(run.loc["people", "mAP_drop"])
    assert trained_on("market1501", "market1501") and "market1501" not in set(again["target"])

    # where they are not, the tables have no drop, and it is said how to have one
    shutil.rmtree(folder / "targets" / "market1501")
    caplog.clear()
    assert main(command([folder, files[0]], [people], overrides, "less")) == 0
    assert pd.read_csv("less/results.csv")["mAP_drop"].isna().all()
    assert "are paired" in Path("less/table.md").read_text() and "drop" not in Path("less/table.md").read_text()
    assert f"{folder.name}: no drop from market1501, where it has no valid figures" in caplog.text


def test_a_network_adapted_to_another_site_has_no_drop(networks, people, market, caplog):
    folder, _, overrides = networks
    assert main(["adapt", "--model", str(folder), "--data", str(people), "--output", "kept", *overrides]) == 0
    assert main(command([folder, "kept"], ["market1501", people], overrides)) == 0
    results = pd.read_csv("out/results.csv").set_index(["model", "target"])
    assert results["in_domain"].to_dict() == {
        (model, target): model == folder.name and target == "market1501"
        for model in (folder.name, "kept") for target in ("market1501", "people")
    }  # fmt: skip
    assert results.index[results["mAP_drop"].notna()].tolist() == [(folder.name, "people")]
    text = Path("out/table.md").read_text()
    assert "kept †" in text and "(AdaBN); it is no longer at home on market1501: no drop." in text
    # nor where its source is no target here
    caplog.clear()
    assert main(command([folder, "kept"], [people], overrides, "again")) == 0
    again = pd.read_csv("again/results.csv").set_index("model")["mAP_drop"]
    assert again.notna().to_dict() == {folder.name: True, "kept": False} and "no drop" not in caplog.text
    assert main(["divergence", "--model", "kept", "--readiness", str(market / PLACE / "query"), *overrides]) == 2


def test_what_is_evaluated_is_not_computed_again(networks, people, capsys, monkeypatch):
    folder, files, overrides = networks
    arguments = command([files[0], folder], [people], overrides)
    assert main(arguments) == 0
    before = Path("out/results.csv").read_bytes()
    monkeypatch.setattr("reid.retrieval.ranking.evaluate", lambda *_, **__: pytest.fail("computed again"))
    assert main(arguments) == 0 and Path("out/results.csv").read_bytes() == before


def test_a_network_that_fails_on_a_target_loses_no_other(networks, people, market, tmp_path, capsys):
    """A target that holds images that the run was trained on, which the others may be tested on."""
    folder, files, overrides = networks
    place = tmp_path / "shop"
    place.mkdir()
    rows, seen = ["path,pid,camid,split"], set()
    for path in sorted((market / PLACE / "bounding_box_train").glob("0*.jpg")):
        shutil.copy(path, place)
        key = (path.name[:4], path.name.split("_c")[1][0])
        rows.append(f"{path.name},{int(key[0])},{key[1]},{'gallery' if key in seen else 'query'}")
        seen.add(key)
    (place / "shop.csv").write_text("\n".join(rows) + "\n")
    assert main(command([folder, files[0]], [place / "shop.csv", people], overrides)) == 2
    told = capsys.readouterr()
    assert "error: 1 of 2 networks failed; what did not is kept" in told.err and "Traceback" not in told.err
    assert f"{folder.name} on {place / 'shop.csv'}" in told.err
    results = pd.read_csv("out/results.csv")
    assert set(zip(results["model"], results["target"], strict=True)) == {
        (folder.name, "people"), ("grey", "people"), ("grey", "shop"),
    }  # fmt: skip
    assert "Left out: grey on shop: the first network was not tested here" in told.out


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (["--models", "{run}", "nowhere.onnx", "--targets", "market1501"], "nowhere"),
        (["--models", "{run}", "{run}", "--targets", "market1501"], "are the same network; name it once"),
        (["--models", "{run}"], "--models needs --targets"),
        (["--models", "{run}", "--targets", "market1501", "--jobs", "2"], "are tested one after the other"),
        (["--models", "{run}", "--targets", "no_such_set"], "no_such_set"),
        (["--cfgs", "market_bn.yaml", "--targets", "market1501", "--protocol", "any-camera"], "goes with --models"),
    ],
)
def test_bad_input(networks, capsys, changed, message):
    folder, _, overrides = networks
    words = [str(folder) if word == "{run}" else word for word in changed]
    assert main(["cross-domain", *words, "--output", "out", *overrides]) == 2
    assert message in capsys.readouterr().err and not Path("out").exists()


def test_without_camera_labels(networks, tmp_path, capsys):
    """A folder a person, no camera in any name: refused under the usual protocol, filed by its own name under the
    other."""
    folder, files, overrides = networks
    source = folder_tree(tmp_path / "made", names=("ann", "bob", "eve", "joe"), splits=False)
    place = tmp_path / "tracks"
    for number, path in enumerate(sorted(source.rglob("[!.]*.jpg"))):
        (place / path.parent.name).mkdir(parents=True, exist_ok=True)
        shutil.copy(path, place / path.parent.name / f"{number}.jpg")
    assert main(["evaluate", "--model", str(files[0]), "--targets", str(place), *overrides]) == 2
    assert "--protocol any-camera" in capsys.readouterr().err
    asked = ["--targets", str(place), "market1501", "--protocol", "any-camera", *overrides]
    assert main(["evaluate", "--model", str(folder), *asked]) == 0
    out = capsys.readouterr().out
    assert "Protocol any-camera:" in out and "tracks (any camera)" in out
    assert "| market1501 (any camera) (in-domain)" in out
    stored = read_results(folder)["targets"]
    assert stored["tracks (any camera)"]["protocol"] == "any-camera"
    assert (folder / "targets" / "tracks (any camera)" / "queries.parquet").exists()

    # beside a figure of the usual protocol it stands in a table of its own
    assert main(["evaluate", "--model", str(folder), "--targets", "market1501", *overrides]) == 0
    stored = read_results(folder)["targets"]
    assert {"market1501", "market1501 (any camera)"} <= set(stored)
    assert stored["market1501"]["mAP"] != stored["market1501 (any camera)"]["mAP"]
    card = tmp_path / "tracks.yaml"
    manifest = manifest_tree(tmp_path / "tracks_too")
    card.write_text(f"name: tracks_too\nroot: {manifest.parent}\nmanifest: {manifest.name}\ncross_camera_only: false\n")
    capsys.readouterr()
    assert main(command([folder, files[0]], ["market1501", card], overrides)) == 0
    parts = Path("out/table.md").read_text().split("Protocol any-camera:")
    assert len(parts) == 2 and "market1501" in parts[0] and "tracks_too" not in parts[0]
    assert "tracks_too (any camera)" in parts[1]
    # the drop on it is against the run's own figure of the same protocol, which results.json holds
    results = pd.read_csv("out/results.csv").set_index(["model", "target"])
    drop = results.loc[(folder.name, "tracks_too (any camera)"), "mAP_drop"]
    own = read_results(folder)["targets"]
    assert drop == pytest.approx(own["tracks_too (any camera)"]["mAP"] - own["market1501 (any camera)"]["mAP"])
