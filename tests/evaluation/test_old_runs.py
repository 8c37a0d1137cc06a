"""Run folders that this project wrote before config.yaml had a schema number (tests/data/old_runs)."""

import importlib.metadata
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from conftest import ROOT
from runs import evaluate_run
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from trees import manifest_tree

from reid import config as module
from reid.config import INTRODUCED, Config, ModelConfig, load_config, load_resolved
from reid.engine.checkpoint import FILE, NO_CODE, read_progress
from reid.engine.code import training_code
from reid.engine.train import ARITHMETIC, is_trained, train
from reid.errors import InputError
from reid.evaluation.results import read_results
from reid.networks.trained import open_run, run_config
from reid.overrides import flatten
from reid.retrieval.features import load_features, saved_origin

OLD = ROOT / "tests" / "data" / "old_runs"
FINISHED, STOPPED = Path("runs/finished"), Path("runs/stopped")
HASH = "ffbef132a759"
LATER = max(INTRODUCED) + 1
OVERRIDES = [
    "model.backbone=resnet18_ibn_b", "model.weights=none", "model.width=0.03125", "data.source=people.csv",
    "data.height=32", "data.width=16", "data.workers=0", "sampler.identities=3", "sampler.images=2", "optim.epochs=3",
    "optim.warmup=1", "optim.lr=3e-3", "transforms.pad=2", "transforms.erasing=0", "device=cpu", "precision=float32",
    "threads=1",
]  # fmt: skip


def as_if_written_here(checkpoint: Path) -> bool:
    """Give the checkpoint this machine's packages and processor, which resuming asks for; whether it had them."""
    with safe_open(checkpoint, framework="pt") as file:
        header = json.loads(file.metadata()["progress"])
    here = {
        "packages": ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ARITHMETIC),
        "cpu": torch.backends.cpu.get_cpu_capability(),
    }
    save_file(load_file(checkpoint), checkpoint, {"progress": json.dumps(header | here)})
    return header == header | here


@pytest.fixture
def of_this_machine(tmp_path, monkeypatch) -> bool:
    """The old runs in a folder of their own, which is gone to; whether such a machine trained them."""
    shutil.copytree(OLD, tmp_path / "old")
    monkeypatch.chdir(tmp_path / "old")
    return as_if_written_here(STOPPED / FILE)


def with_a_later_key(monkeypatch, folder: Path) -> None:
    """A key and a loss that came later, at their introductory values in base.yaml."""

    class LaterModel(ModelConfig):
        parts: str

    class LaterConfig(Config):
        model: LaterModel

    shutil.copytree(ROOT / "configs", folder)
    text = (folder / "base.yaml").read_text()
    text = text.replace("\nmodel:\n", "\nmodel:\n  parts: whole\n").replace(
        "\nlosses:", "\nlosses:\n  triplet: {mining: 1.0}\nlosses_of_old:"
    )
    old = yaml.safe_load(text)
    losses = old.pop("losses_of_old")
    old["losses"] = losses | {"triplet": losses["triplet"] | old["losses"]["triplet"]}
    (folder / "base.yaml").write_text(yaml.safe_dump(old))
    monkeypatch.setattr(module, "Config", LaterConfig)
    monkeypatch.setattr(module, "bundled", lambda kind: folder)
    monkeypatch.setitem(INTRODUCED, LATER, {"model.parts": "whole", "losses.triplet.mining": 1.0})


def test_every_key_stands_in_the_old_file_or_was_introduced():
    """A key added to base.yaml without a line in INTRODUCED would make every trained run unreadable."""
    before = flatten(yaml.safe_load((OLD / FINISHED / "config.yaml").read_text())).keys() - {"name"}
    now = flatten(load_config("base.yaml").model_dump(mode="json")).keys()
    introduced = {key for keys in INTRODUCED.values() for key in keys}
    assert now == before | introduced and not before & introduced


def test_a_finished_run_is_tested_as_it_was(of_this_machine):
    config = run_config(FINISHED)
    assert (config.hash(), config.name) == (HASH, "market_bn")
    before, place = read_results(FINISHED)["targets"]["people"], FINISHED / "targets" / "people"
    old = {split: load_features(place / f"{split}.npz") for split in ("query", "gallery")}
    origins = {split: saved_origin(place / f"{split}.npz") for split in old}
    results = evaluate_run(config, FINISHED, ["people.csv"], progress=False)
    own = results["targets"]["people"]
    assert own["inputs"] != before["inputs"] and own["code_digests"].keys() == {"features", "figures"}
    assert results["run"]["training_code"] == NO_CODE and own["training_images"] == "checked"
    for split, features in old.items():
        now = load_features(place / f"{split}.npz")
        assert now.paths == features.paths and saved_origin(place / f"{split}.npz") != origins[split]
        np.testing.assert_allclose(now.features, features.features, atol=1e-3)
    if of_this_machine:
        assert {name: own[name] for name in ("mAP", "cmc", "mINP")} == {
            name: before[name] for name in ("mAP", "cmc", "mINP")
        }
    written = (place / "query.npz").stat().st_mtime_ns
    evaluate_run(config, FINISHED, ["people.csv"], progress=False)
    assert (place / "query.npz").stat().st_mtime_ns == written
    assert open_run(FINISHED, ["threads=1"]).embed([np.zeros((40, 20, 3), np.uint8)]).shape == (1, 16)


def test_figures_of_unrecorded_place_are_not_replaced_by_another_data_sets(of_this_machine, tmp_path):
    """The name by which the data set was given, and its images, tell it apart."""
    other = manifest_tree(tmp_path / "other", identities=4)
    before = (FINISHED / "results.json").read_bytes()
    Path("people.csv").rename("moved.csv")  # else the source would tell them apart
    with pytest.raises(InputError, match=r"is of people.csv, and .*/other/people.csv\) has the same name"):
        evaluate_run(run_config(FINISHED), FINISHED, [str(other)], progress=False)
    assert (FINISHED / "results.json").read_bytes() == before


def test_a_stopped_run_goes_on_to_the_same_network(of_this_machine, caplog):
    config = load_config("base.yaml", [*OVERRIDES, "run=stopped"])
    assert not is_trained(config) and read_progress(STOPPED / FILE).step == 3
    train(config, progress=False)
    progress = read_progress(STOPPED / FILE)
    assert progress.finished and progress.step == 6
    assert progress.code == f"{NO_CODE}, then {training_code(validated=False)}"
    assert f"was begun by other code ({NO_CODE}; this is {training_code(validated=False)})" in caplog.text
    whole, resumed = load_file(FINISHED / FILE), load_file(STOPPED / FILE)
    assert whole.keys() == resumed.keys()
    if of_this_machine:
        assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    results = evaluate_run(config, STOPPED, ["people.csv"], progress=False)
    assert results["run"]["training_code"] == progress.code


def test_a_finished_run_of_unknown_code_is_said_to_be_one(of_this_machine, caplog):
    config = load_config("base.yaml", [*OVERRIDES, "run=finished"])
    written = (FINISHED / FILE).read_bytes()
    assert train(config, progress=False) == FINISHED and (FINISHED / FILE).read_bytes() == written
    assert f"runs/finished: finished, but made by other code ({NO_CODE}; this is " in caplog.text


def test_a_key_that_came_later_changes_nothing_at_its_introductory_value(of_this_machine, tmp_path, monkeypatch):
    unnamed = load_config("base.yaml", OVERRIDES).run_folder
    with_a_later_key(monkeypatch, tmp_path / "configs")
    stored = load_resolved(FINISHED / "config.yaml")
    assert (stored.model.parts, stored.losses["triplet"]["mining"], stored.hash()) == ("whole", 1.0, HASH)
    again = load_config("base.yaml", [*OVERRIDES, "run=finished"])
    assert again.hash() == HASH and again.training() == stored.training() and is_trained(again)
    assert load_config("base.yaml", OVERRIDES).run_folder == unnamed
    assert load_config("base.yaml", [*OVERRIDES, "model.parts=whole"]).run_folder == unnamed


def test_with_a_later_key_old_runs_are_tested_and_gone_on_with(of_this_machine, tmp_path, monkeypatch):
    from reid.engine import objective

    with_a_later_key(monkeypatch, tmp_path / "configs")
    own = objective.LOSSES["triplet"]

    class Later(own):
        def __init__(self, margin: float | None = 0.3, mining: float = 1.0) -> None:
            super().__init__(margin)

    monkeypatch.setitem(objective.LOSSES, "triplet", Later)
    assert "people" in evaluate_run(run_config(FINISHED), FINISHED, ["people.csv"], progress=False)["targets"]
    train(load_config("base.yaml", [*OVERRIDES, "run=stopped"]), progress=False)
    assert read_progress(STOPPED / FILE).finished
    if of_this_machine:
        whole, resumed = load_file(FINISHED / FILE), load_file(STOPPED / FILE)
        assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_another_value_of_a_later_key_is_another_config(of_this_machine, tmp_path, monkeypatch):
    with_a_later_key(monkeypatch, tmp_path / "configs")
    other = load_config("base.yaml", [*OVERRIDES, "model.parts=stripes", "run=finished"])
    assert other.hash() != HASH
    with pytest.raises(InputError, match=r"another config \(model.parts was 'whole', is 'stripes'\)"):
        is_trained(other)
    unnamed = [load_config("base.yaml", [*OVERRIDES, *more]).run_folder for more in ([], ["model.parts=stripes"])]
    assert unnamed[0] != unnamed[1]


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        (str(LATER), "model.parts: is missing"),  # a file of its time has the key: this one is damaged
        (
            str(LATER + 1),
            f"config.yaml: schema: {LATER + 1}, but this version of reid-gap reads up to {LATER}: newer code wrote",
        ),
        ("'1'", "config.yaml: schema: expected a whole number, got '1'"),
        ("true", "config.yaml: schema: expected a whole number, got True"),
        ("-1", "config.yaml: schema: expected a whole number, got -1"),
    ],
)
def test_only_files_older_than_a_key_may_lack_it(of_this_machine, tmp_path, monkeypatch, schema, message):
    with_a_later_key(monkeypatch, tmp_path / "configs")
    path = FINISHED / "config.yaml"
    path.write_text(f"schema: {schema}\n{path.read_text()}")
    with pytest.raises(InputError, match=message):
        run_config(FINISHED)


def test_a_key_of_no_schema_is_named(of_this_machine):
    path = FINISHED / "config.yaml"
    path.write_text(path.read_text().replace("  mixstyle: 0.0\n", "  mixstyle: 0.0\n  parts: stripes\n"))
    with pytest.raises(InputError, match=r"finished/config.yaml: unknown key 'model.parts'"):
        run_config(FINISHED)


def test_a_header_of_newer_code_is_said_to_be_one(of_this_machine):
    with safe_open(FINISHED / FILE, framework="pt") as file:
        header = json.loads(file.metadata()["progress"])
    assert "code" not in header and read_progress(FINISHED / FILE).code == NO_CODE
    save_file(load_file(FINISHED / FILE), FINISHED / FILE, {"progress": json.dumps(header | {"teacher": 0.9})})
    with pytest.raises(InputError, match=r"its header holds 'teacher', which this version of reid-gap does not know"):
        read_progress(FINISHED / FILE)
