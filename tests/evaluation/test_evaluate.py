import json
import shutil
import threading

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import ROOT
from references import slow_evaluate
from runs import evaluate_run
from trees import manifest_tree, write_image

from reid.cli import main
from reid.commands.evaluating import check_targets
from reid.config import load_config, load_resolved
from reid.engine import build
from reid.engine.train import train
from reid.errors import InputError
from reid.evaluation.evaluate import is_evaluated
from reid.evaluation.provenance import features_key
from reid.evaluation.results import RESULTS_FILE, read_results
from reid.evaluation.subject import subject_of_run
from reid.evaluation.targets import read_targets
from reid.networks import Origin
from reid.networks.trained import preprocessing
from reid.retrieval.features import load_features


def test_results_carry_figures_and_provenance(trained):
    config, folder = trained
    results = evaluate_run(config, folder, ["market1501"], progress=False)
    assert read_results(folder) == json.loads(json.dumps(results))
    own = results["targets"]["market1501"]
    query, gallery = (load_features(folder / "targets" / "market1501" / f"{s}.npz") for s in ("query", "gallery"))
    aps, inps, firsts, _ = slow_evaluate(query, gallery)
    assert own["mAP"] == pytest.approx(np.nanmean(aps)) and own["mINP"] == pytest.approx(np.nanmean(inps))
    assert own["cmc"] == [np.mean([0 < rank <= k for rank in firsts]) for k in range(1, 51)]
    assert (own["num_queries"], own["num_valid_queries"], own["num_gallery"]) == (12, 12, 37)
    assert own["left_out"]["gallery junk"] == 1 and own["left_out"]["queries without a match"] == 0
    assert {"distance", "ties", "AP", "mINP", "CMC", "left_out"} <= own["definitions"].keys()
    assert own.keys() >= {"seed", "config_hash", "checkpoint", "code", "packages", "device", "precision", "dataset"}
    assert own["dataset"].keys() >= {"name", "version", "fingerprint", "notes"} and own["packages"]["faiss-cpu"]
    assert results["run"].keys() >= {"backbone", "source", "steps", "threads", "weights", "standardise", "epoch_choice"}


def test_ranked_lists_are_the_ranking(trained):
    config, folder = trained
    results = evaluate_run(config, folder, ["market1501"], progress=False)
    ranks = pd.read_parquet(folder / "targets" / "market1501" / "ranks.parquet")
    query, gallery = (load_features(folder / "targets" / "market1501" / f"{s}.npz") for s in ("query", "gallery"))
    expected = slow_evaluate(query, gallery)[3]
    for number, (path, own) in enumerate(ranks.groupby("query_path", sort=False)):
        assert path == query.paths[number]
        assert own["gallery_path"].tolist() == [gallery.paths[g] for g in expected[number][:50]]
        assert own["rank"].tolist() == list(range(1, len(own) + 1))
        assert (own["match"] == (own["gallery_pid"] == own["query_pid"])).all()
        assert own["distance"].is_monotonic_increasing
    first = ranks[ranks["match"]].groupby("query_path")["rank"].min()
    assert (first == 1).mean() == results["targets"]["market1501"]["cmc"][0]


def test_features_are_kept_while_they_are_valid(trained):
    config, folder = trained
    evaluate_run(config, folder, ["market1501"], progress=False)
    path = folder / "targets" / "market1501" / "query.npz"
    written = path.stat().st_mtime_ns
    evaluate_run(config, folder, ["market1501"], progress=False)
    assert path.stat().st_mtime_ns == written
    before = load_resolved(folder / "config.yaml", ["model.neck_feature=before"])
    evaluate_run(before, folder, ["market1501"], progress=False)
    assert path.stat().st_mtime_ns != written


def test_damaged_features_are_computed_again(trained):
    config, folder = trained
    before = evaluate_run(config, folder, ["market1501"], progress=False)
    path = folder / "targets" / "market1501" / "gallery.npz"
    whole = path.read_bytes()
    rows = load_features(path).features.tobytes()
    path.write_bytes(whole.replace(rows, bytes(len(rows))))  # its origin can still be read
    (folder / "targets" / "market1501" / "queries.parquet").unlink()
    after = evaluate_run(config, folder, ["market1501"], progress=False)
    assert path.read_bytes() == whole
    assert after["targets"]["market1501"]["mAP"] == before["targets"]["market1501"]["mAP"]


def test_targets_add_up_until_the_network_changes(trained):
    config, folder = trained
    own = config.data.folder / "Market-1501-v15.09.15"
    card = folder.parent / "again.yaml"
    card.write_text(
        f"name: again\nroot: {own}\npattern: '^(?P<pid>-?\\d+)_c(?P<cam>\\d)'\n"
        "splits: {query: {dir: query}, gallery: {dir: bounding_box_test}}\n"
    )
    evaluate_run(config, folder, ["market1501"], progress=False)
    results = evaluate_run(config, folder, [str(card)], progress=False)
    assert list(results["targets"]) == ["again"]
    results = read_results(folder)
    assert list(results["targets"]) == ["market1501", "again"]
    assert results["targets"]["again"]["mAP"] == results["targets"]["market1501"]["mAP"]
    (folder / "checkpoint.safetensors").unlink()
    results_before = (folder / RESULTS_FILE).read_bytes()
    with pytest.raises(InputError, match="train it first"):
        evaluate_run(config, folder, ["market1501"], progress=False)
    assert (folder / RESULTS_FILE).read_bytes() == results_before


def test_images_trained_on_are_no_target(trained):
    config, folder = trained
    card = folder.parent / "cheat.yaml"
    card.write_text(
        f"name: cheat\nroot: {config.data.folder / 'Market-1501-v15.09.15'}\n"
        "pattern: '^(?P<pid>-?\\d+)_c(?P<cam>\\d)'\n"
        "splits: {query: {dir: query}, gallery: {dir: [bounding_box_train, bounding_box_test]}}\n"
    )
    with pytest.raises(InputError, match=r"48 of its images were trained on"):
        evaluate_run(config, folder, [str(card)], progress=False)
    assert not (folder / RESULTS_FILE).exists()


@pytest.mark.parametrize("content", [
    '{"targets": ', "[]", "null", '{"run": 1, "targets": {}}', '{"run": {}, "targets": {"market1501": [1]}}',
    '{"run": {}, "targets": {"market1501": {"dataset": 3}}}',
    '{"run": {}, "targets": {"market1501": {"dataset": {}, "adabn": "x"}}}',
])  # fmt: skip
def test_damaged_results_are_named(trained, content):
    config, folder = trained
    (folder / RESULTS_FILE).write_text(content)
    with pytest.raises(InputError, match=r"results.json: (cannot be read|is not a results file|is damaged)"):
        evaluate_run(config, folder, ["market1501"], progress=False)


def test_two_data_sets_of_one_name_are_refused(trained, tmp_path):
    config, folder = trained
    first, second = (manifest_tree(tmp_path / name) for name in ("a", "b"))
    with pytest.raises(InputError, match="are both named people"):
        evaluate_run(config, folder, [str(first), str(second)], progress=False)


def test_two_protocols_of_one_data_set_are_two_targets(trained, market, tmp_path):
    config, folder = trained
    card = (ROOT / "datasets" / "market1501.yaml").read_text()
    (tmp_path / "any.yaml").write_text(card.replace("cross_camera_only: true", "cross_camera_only: false"))
    tested = evaluate_run(config, folder, ["market1501", str(tmp_path / "any.yaml")], progress=False)["targets"]
    assert list(tested) == ["market1501", "market1501 (any camera)"]
    assert [test["protocol"] for test in tested.values()] == ["cross-camera", "any-camera"]


def test_a_name_as_of_figures_without_cameras_is_refused(trained, tmp_path):
    config, folder = trained
    manifest = manifest_tree(tmp_path / "shop")
    card = tmp_path / "shop.yaml"
    card.write_text(f"name: market1501 (any camera)\nroot: {manifest.parent}\nmanifest: {manifest.name}\n")
    with pytest.raises(InputError, match=r"'market1501 \(any camera\)': figures of protocol any-camera end so"):
        evaluate_run(config, folder, [str(card)], progress=False)


def test_two_data_sets_of_one_name_are_refused_in_two_calls(trained, tmp_path):
    """Even of the same images: either could change. Both are named, and the first one's figures stand."""
    config, folder = trained
    first, second = (manifest_tree(tmp_path / name) for name in ("a", "b"))
    evaluate_run(config, folder, [str(first)], progress=False)
    results = (folder / RESULTS_FILE).read_bytes()
    with pytest.raises(InputError, match=rf"targets/people: is of {tmp_path}/a .*, and {tmp_path}/b .* the same name"):
        evaluate_run(config, folder, ["market1501", str(second)], progress=False)
    assert (folder / RESULTS_FILE).read_bytes() == results
    shutil.rmtree(folder / "targets" / "people")  # the way out that is named
    own = evaluate_run(config, folder, [str(second)], progress=False)["targets"]["people"]
    assert own["dataset"]["root"] == str(tmp_path / "b")


def test_a_target_of_the_sources_name_is_not_taken_for_in_domain(tiny, tmp_path):
    """Nor are its figures shown; where the source is gone, the target may be what it was, in another place."""
    first, second = (manifest_tree(tmp_path / name) for name in ("a", "b"))
    overrides = [*tiny, f"data.source={first}", "sampler.identities=2", "optim.steps=1"]
    config = load_config("market_bn.yaml", overrides)
    folder = train(config, progress=False)
    for check in (
        lambda: evaluate_run(config, folder, [str(second)], progress=False),
        lambda: check_targets(config, [str(second)]),
    ):
        with pytest.raises(InputError, match=rf"{tmp_path}/a .* and {tmp_path}/b .* are both named people"):
            check()
    assert not (folder / RESULTS_FILE).exists()
    shutil.rmtree(tmp_path / "a")
    assert "people" in evaluate_run(config, folder, [str(second)], progress=False)["targets"]


def test_runs_of_two_sources_of_one_name_share_no_column(tiny, tmp_path, capsys):
    configs = []
    for place in "ab":
        configs.append(tmp_path / f"{place}.yaml")
        manifest = manifest_tree(tmp_path / place)
        configs[-1].write_text(f"extends: market_bn.yaml\ndata: {{source: {manifest}}}\n")
    other = manifest_tree(tmp_path / "c").rename(tmp_path / "c" / "shop.csv")
    command = ["cross-domain", "--cfgs", *map(str, configs), "--targets", str(other), *tiny, "sampler.identities=2"]
    assert main([*command, "optim.steps=1"]) == 2
    assert f"{tmp_path}/b/people.csv) are both named people" in capsys.readouterr().err


def test_two_cards_of_one_name_over_one_root_are_told_apart(trained, tmp_path):
    config, folder = trained
    root = config.data.folder / "Market-1501-v15.09.15"
    cards = [tmp_path / "a.yaml", tmp_path / "b.yaml"]
    for card, cameras in zip(cards, ("", ", cameras: [1, 2], skip_ids: 1"), strict=True):
        card.write_text(
            f"name: shop\nroot: {root}\npattern: '^(?P<pid>-?\\d+)_c(?P<cam>\\d)'\n"
            f"splits: {{query: {{dir: query{cameras}}}, gallery: {{dir: bounding_box_test}}}}\n"
        )
    with pytest.raises(InputError, match=r"a.yaml\) and .*b.yaml\) are both named shop"):
        evaluate_run(config, folder, [str(card) for card in cards], progress=False)
    evaluate_run(config, folder, [str(cards[0])], progress=False)
    with pytest.raises(InputError, match=r"a.yaml\), and .*b.yaml\) has the same name"):
        evaluate_run(config, folder, [str(cards[1])], progress=False)
    cards[0].write_text(cards[1].read_text())  # the same card, changed: it is computed anew
    assert evaluate_run(config, folder, [str(cards[0])], progress=False)["targets"]["shop"]["num_queries"] == 10


def test_a_data_set_that_moved_or_changed_is_the_same(trained, tmp_path):
    config, folder = trained
    manifest = manifest_tree(tmp_path / "a")
    before = evaluate_run(config, folder, [str(manifest)], progress=False)["targets"]["people"]
    (tmp_path / "a").rename(tmp_path / "b")
    moved = evaluate_run(config, folder, [str(tmp_path / "b" / "people.csv")], progress=False)["targets"]["people"]
    assert moved["mAP"] == before["mAP"] and moved["dataset"]["root"] == str(tmp_path / "b")
    write_image(tmp_path / "b" / "images" / "more.jpg", 77, 1, size=(32, 16))
    with (tmp_path / "b" / "people.csv").open("a") as lines:
        lines.write("images/more.jpg,77,1,gallery\n")
    changed = evaluate_run(config, folder, [str(tmp_path / "b" / "people.csv")], progress=False)["targets"]["people"]
    assert changed["num_gallery"] == before["num_gallery"] + 1


def test_a_copy_of_a_published_set_is_that_set(trained, tmp_path):
    config, folder = trained
    evaluate_run(config, folder, ["market1501"], progress=False)
    shutil.copytree(config.data.folder, tmp_path / "disk")
    elsewhere = load_resolved(folder / "config.yaml", [f"data.root={tmp_path / 'disk'}"])
    assert "market1501" in evaluate_run(elsewhere, folder, ["market1501"], progress=False)["targets"]
    next((tmp_path / "disk").rglob("query/*.jpg")).unlink()  # another set, whatever its name
    elsewhere_still = load_resolved(folder / "config.yaml", [f"data.root={tmp_path / 'disk'}"])
    evaluate_run(elsewhere_still, folder, ["market1501"], progress=False)  # the same place: it changed there
    with pytest.raises(InputError, match="has the same name"):
        evaluate_run(config, folder, ["market1501"], progress=False)


def test_two_folders_of_one_name_to_adapt_to_are_told_apart(trained, tmp_path):
    config, folder = trained
    for place in "ab":
        for number in range(4):
            write_image(tmp_path / place / "site" / f"{number}.bmp", number, 1, size=(32, 16), seed=ord(place))
    evaluate_run(config, folder, ["market1501"], progress=False, adabn=str(tmp_path / "a" / "site"))
    with pytest.raises(InputError, match=r"is of .*/a/site, and .*/b/site has the same name"):
        evaluate_run(config, folder, ["market1501"], progress=False, adabn=str(tmp_path / "b" / "site"))
    card = tmp_path / "card.yaml"
    card.write_text(
        f"name: market1501 (AdaBN site (folder))\nroot: {config.data.folder / 'Market-1501-v15.09.15'}\n"
        "pattern: '^(?P<pid>-?\\d+)_c(?P<cam>\\d)'\nsplits: {query: {dir: query}, gallery: {dir: bounding_box_test}}\n"
    )
    with pytest.raises(InputError, match="holds a data set of the name of another with AdaBN"):
        evaluate_run(config, folder, [str(card)], progress=False)


def test_a_file_of_the_same_size_is_read_again(trained, tmp_path):
    config, folder = trained
    manifest = manifest_tree(tmp_path)
    before = evaluate_run(config, folder, [str(manifest)], progress=False)
    for path in (tmp_path / "images").rglob("*.jpg"):
        content = path.read_bytes()
        path.write_bytes(b"\xff" * len(content))
    with pytest.raises(InputError, match="not a readable image"):
        evaluate_run(config, folder, [str(manifest)], progress=False)
    assert read_results(folder)["targets"] == before["targets"]


def test_another_machine_needs_no_source(trained, tmp_path):
    """Neither the data trained on nor its card's folder is there."""
    _config, folder = trained
    elsewhere = load_resolved(folder / "config.yaml", [f"data.root={tmp_path / 'nothing'}"])
    assert "people" in evaluate_run(elsewhere, folder, [str(manifest_tree(tmp_path))], progress=False)["targets"]


def test_adapted_figures_follow_the_images_and_settings(trained, tmp_path):
    config, folder = trained
    images = tmp_path / "site"
    for number in range(9):
        write_image(images / f"{number}.bmp", number, 1, size=(32, 16))

    def mAP(config=config):
        results = evaluate_run(config, folder, ["market1501"], progress=False, adabn=str(images))
        return results["targets"]["market1501 (AdaBN site (folder))"]["inputs"], load_features(
            folder / "targets" / "market1501 (AdaBN site (folder))" / "query.npz"
        ).features

    key, features = mAP()
    assert mAP()[0] == key
    smaller = load_resolved(folder / "config.yaml", ["evaluation.batch_size=2"])
    other_key, other = mAP(smaller)
    assert other_key != key and not np.allclose(features, other)
    for number in range(9):  # the same names and sizes
        write_image(images / f"{number}.bmp", number + 50, 1, size=(32, 16))
    last_key, last = mAP()
    assert last_key != key and not np.allclose(features, last)


def test_two_at_once_lose_no_figure(trained, tmp_path):
    config, folder = trained
    people = [str(manifest_tree(tmp_path / name).rename(tmp_path / name / f"{name}.csv")) for name in "abc"]
    workers = [
        threading.Thread(target=evaluate_run, args=(config, folder, [name]), kwargs={"progress": False})
        for name in people
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert set(read_results(folder)["targets"]) == {"a", "b", "c"}


def test_a_lost_log_is_named(trained):
    config, folder = trained
    (folder / "log.jsonl").unlink()
    with pytest.raises(InputError, match=r"log.jsonl: does not tell the last epoch"):
        evaluate_run(config, folder, ["market1501"], progress=False)


def test_what_is_done_counts_on_another_gpu_of_the_box(trained, monkeypatch):
    """Of the device its kind and the precision decide figures; its name is for the record."""
    config, folder = trained
    evaluate_run(config, folder, ["market1501"], progress=False)
    (target,) = read_targets(build.roots(config), ["market1501"])
    assert is_evaluated(subject_of_run(config, folder), target)
    samples = target.trials[0].splits["query"]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    capability = {"value": (9, 0)}
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda on: capability["value"])
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda on: {0: "A", 1: "B", None: "A"}[on.index])

    def key(device: str, precision: str = "float32") -> str:
        changed = config.model_copy(update={"device": device, "precision": precision})
        origin = Origin("run", 8, "0" * 64, preprocessing(changed))
        return features_key(origin, samples, build.testing(changed))

    assert key("auto") == key("cuda") == key("cuda:0") == key("cuda:1") != key("cpu")
    assert key("auto", "auto") == key("cuda:1", "bf16") != key("cuda:1")
    capability["value"] = (7, 5)
    assert key("auto", "auto") == key("cuda:1", "fp16") != key("cuda:1", "float32")
