"""A run kept with the statistics of a site: the network of ``evaluate --adabn``, and a run like any other."""

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import ROOT
from trees import write_image

from reid.cli import main
from reid.config import load_config
from reid.engine.adabn import adapt
from reid.engine.checkpoint import read_progress
from reid.engine.train import is_trained, train
from reid.errors import InputError
from reid.evaluation.adapted import adapted, keep_adapted
from reid.evaluation.evaluate import evaluate
from reid.evaluation.results import read_results
from reid.evaluation.subject import Subject, subject_of
from reid.gallery.store import Gallery
from reid.networks import Origin, load
from reid.networks.pytorch import TorchNetwork
from reid.retrieval.features import load_features

FIGURES = ("mAP", "mINP", "cmc", "num_valid_queries", "num_gallery", "left_out", "definitions")


@pytest.fixture
def site(tmp_path) -> Path:
    """Seven images of nobody in particular."""
    for number in range(7):
        write_image(tmp_path / "door" / f"{number}.png", 50 + number // 2, number % 2, number, (32, 16))
    return tmp_path / "door"


def content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_its_features_and_figures_are_those_of_evaluate_adabn_bit_for_bit(trained, site):
    _, folder = trained
    subject = subject_of(folder)
    passing = evaluate(adapted(subject, str(site), progress=False), ["market1501"], progress=False)["targets"]
    before = content(folder)
    kept = keep_adapted(subject, str(site), progress=False)
    assert kept == folder.with_name(f"{folder.name}_adabn_door") and content(folder) == before
    results = evaluate(subject_of(kept), ["market1501"], progress=False)
    (own,), (expected,) = results["targets"].values(), passing.values()
    assert {key: own[key] for key in FIGURES} == {key: expected[key] for key in FIGURES}
    plain = evaluate(subject, ["market1501"], progress=False)["targets"]["market1501"]
    for split in ("query", "gallery"):
        rows, same, other = (
            load_features(place / "targets" / key / f"{split}.npz").features
            for place, key in (
                (kept, "market1501"),
                (folder, "market1501 (AdaBN door (folder))"),
                (folder, "market1501"),
            )
        )
        assert rows.tobytes() == same.tobytes() != other.tobytes()
    assert plain["checkpoint"] != own["checkpoint"] and results["run"]["config_hash"] == plain["config_hash"]


def test_provenance_is_in_the_checkpoint_and_in_results(trained, site):
    config, folder = trained
    kept = keep_adapted(subject_of(folder, ["evaluation.batch_size=4"]), str(site), progress=False)
    record = read_progress(kept / "checkpoint.safetensors").adapted
    assert record["run"] == folder.name and record["network"] == load(folder).origin.network
    assert (record["data"], record["images"], record["root"]) == ("door (folder)", 7, str(site))
    assert (record["seed"], record["batch_size"], record["precision"]) == (config.seed, 4, "float32")
    assert record["key"] and record["fingerprint"] and record["code"] and record["device"].startswith("cpu")
    stored, before = (read_progress(place / "checkpoint.safetensors") for place in (kept, folder))
    assert replace(stored, adapted={}) == before and not before.adapted
    evaluate(subject_of(kept), ["market1501"], progress=False)
    described = read_results(kept)["run"]
    assert described["adapted"] == record and described["model"] == f"{config.name} (AdaBN door (folder))"
    assert described["source"] == "market1501" and described["epoch"] == 1
    assert subject_of(folder).describe()["adapted"] is None


def test_the_same_again_changes_nothing_and_something_else_is_refused(trained, site, tmp_path):
    _, folder = trained
    subject, output = subject_of(folder), tmp_path / "here"
    output.mkdir()  # empty: as if it were not there
    keep_adapted(subject, str(site), output, progress=False)
    before, written = content(output), (output / "checkpoint.safetensors").stat().st_mtime_ns
    assert keep_adapted(subject, str(site), output, progress=False) == output
    assert content(output) == before and (output / "checkpoint.safetensors").stat().st_mtime_ns == written
    write_image(site / "8.png", 60, 1, 0, (32, 16))
    with pytest.raises(InputError, match=r"here: holds a network that was adapted otherwise \(images was 7, is 8; key"):
        keep_adapted(subject, str(site), output, progress=False)
    with pytest.raises(InputError, match=f"{folder.name}: holds a run that was trained; choose another --output"):
        keep_adapted(subject, str(site), folder, progress=False)
    for place in (site, site / "0.png"):
        with pytest.raises(InputError, match="is there already, and no run; choose another --output"):
            keep_adapted(subject, str(site), place, progress=False)
    assert content(output) == before


def test_what_cannot_be_adapted_is_named_and_leaves_nothing(trained, site, tmp_path, capsys):
    _, folder = trained
    there = sorted(path.name for path in folder.parent.iterdir())

    def fails(message: str, *words: object) -> None:
        assert main(["adapt", *map(str, words)]) == 2
        assert message in capsys.readouterr().err
        assert sorted(path.name for path in folder.parent.iterdir() if path.name != ".lock") == there

    write_image(tmp_path / "one" / "1.png", 1, 1, size=(32, 16))
    fails("1 image; statistics of a batch need two", "--model", folder, "--data", tmp_path / "one")
    fails("'nowhere': no such file or folder", "--model", folder, "--data", "nowhere")
    fails("would change what was trained", "--model", folder, "--data", site, "optim.lr=1")
    fails("is not of the form key=value", "--model", folder, "--data", site, "more")
    fails(
        "nothing.onnx: no such folder or file; --model takes a run's folder, ",
        "--model",
        "nothing.onnx",
        "--data",
        site,
    )
    (site / "3.png").write_bytes(b"\xff" * 100)
    fails("3.png: not a readable image", "--model", folder, "--data", site)
    (site / "3.png").unlink()

    kept = keep_adapted(subject_of(folder), str(site), tmp_path / "kept", progress=False)
    with pytest.raises(InputError, match=rf"was itself adapted, to door \(folder\); .* {folder.name}: statistics are"):
        keep_adapted(subject_of(kept), str(site), progress=False)
    subject = subject_of(folder)
    with pytest.raises(InputError, match="is no run of this project, and only a run is kept"):
        keep_adapted(Subject(subject.network, tmp_path, subject.testing), str(site), progress=False)
    with pytest.raises(InputError, match="an epoch's network is tested as it was trained"):
        evaluate(subject_of(kept), ["market1501"], progress=False, oracle=True)


def test_a_network_without_batch_norms_is_refused(trained, site):
    subject = subject_of(trained[1])
    bare = replace(subject.network.extractor, network=torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1)).eval())
    network = TorchNetwork(Origin("bare", 3, "none", "{}"), lambda: bare)
    with pytest.raises(InputError, match="^bare: has no batch norm, so that AdaBN would change nothing"):
        adapted(Subject(network, site, subject.testing), str(site), progress=False).network.extractor  # noqa: B018


def test_it_is_not_trained_any_further(tiny, site):
    overrides = [*tiny, "optim.steps=2"]
    folder = train(load_config("market_bn.yaml", overrides), progress=False)
    kept = keep_adapted(subject_of(folder), str(site), Path("runs/kept"), progress=False)
    before = content(kept)
    config = load_config("market_bn.yaml", [*overrides, "run=kept"])
    for call in (lambda: train(config, progress=False), lambda: is_trained(config)):
        with pytest.raises(
            InputError, match=rf"kept: holds a network adapted to door \(folder\) .* {folder.name}\. Ch"
        ):
            call()
    assert {name: value for name, value in content(kept).items() if name != ".lock"} == before


def test_a_run_chosen_on_held_out_people_keeps_the_chosen_network(tiny, site):
    settings = ["selection.holdout=0.3", "sampler.identities=2", "optim.steps=null", "optim.epochs=2"]
    folder = train(load_config("market_bn.yaml", [*tiny, *settings]), progress=False)
    kept = keep_adapted(subject_of(folder), str(site), progress=False)
    chosen, again = subject_of(folder).run, subject_of(kept).run
    assert again.describe()["epoch"] == chosen.describe()["epoch"]
    expected = adapted(subject_of(folder), str(site), progress=False).network
    images = list(np.random.default_rng(0).integers(0, 256, (3, 40, 20, 3), np.uint8))
    assert again.embed(images).tobytes() == expected.embed(images).tobytes() != chosen.embed(images).tobytes()


def test_gallery_and_divergence_take_it_as_a_network_of_its_own(trained, site, capsys):
    _, folder = trained
    assert main(["adapt", "--model", str(folder), "--data", str(site), "--output", "runs/kept"]) == 0
    words = "adapted to 7 images of door (folder): runs/kept\ntest it: python tools/evaluate.py --model runs/kept "
    assert capsys.readouterr().out == words + "--targets NAME\n"
    assert main(["evaluate", "--model", "runs/kept", "--targets", "market1501"]) == 0
    assert "| market1501 (AdaBN door (folder)) |" in capsys.readouterr().out  # at home nowhere
    assert main(["cross-domain", "--models", str(folder), "runs/kept", "--targets", "market1501"]) == 0
    out = capsys.readouterr().out
    assert "| kept † " in out and "† kept has seen unlabelled images of door (folder): statistics of batch norm" in out
    assert f"{folder.name} †" not in out
    add = ["search", "add", "--folder", str(site), "--camera", "door", "--store", "runs/gallery", "--model"]
    assert main([*add, "runs/kept"]) == 0 and main([*add, str(folder)]) == 2
    assert "cannot be compared with" in capsys.readouterr().err
    with Gallery.open("runs/gallery") as store:
        assert len(store) == 7
    assert main(["divergence", "--model", "runs/kept", str(folder), "--a", "market1501", "--b", str(site)]) == 0


WORKER = """
import sys
from pathlib import Path
import reid.networks.trained as module
from reid.evaluation.adapted import keep_adapted
from reid.evaluation.subject import subject_of

def stop(path, content, write=module.write_atomically):
    print("writing", path.name, flush=True)
    sys.stdin.readline()
    write(path, content)

module.write_atomically = stop
keep_adapted(subject_of(sys.argv[1]), sys.argv[2], Path(sys.argv[3]), progress=False)
"""


def test_a_kill_while_it_is_written_leaves_nothing_in_its_place_and_the_next_call_does_it(trained, site, tmp_path):
    _, folder = trained
    output = tmp_path / "out" / "kept"
    command = [sys.executable, "-c", WORKER, folder, site, output]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}
    ) as worker:
        assert worker.stdout is not None and worker.stdout.readline() == "writing config.yaml\n"
        worker.send_signal(signal.SIGKILL)
    (left,) = (path for path in output.parent.iterdir() if path.is_dir())
    assert not output.exists() and left.name.startswith(".kept.partial")
    with pytest.raises(InputError, match="kept"):
        subject_of(output)
    keep_adapted(subject_of(folder), str(site), output, progress=False)
    assert [path for path in output.parent.iterdir() if path.is_dir()] == [output]
    assert sorted(path.name for path in output.iterdir()) == ["checkpoint.safetensors", "config.yaml", "log.jsonl"]


def test_the_stored_statistics_are_those_that_adapting_gives(trained, site):
    from reid.data.unlabelled import read_unlabelled

    config, folder = trained
    kept = keep_adapted(subject_of(folder), str(site), progress=False)
    extractor = load(folder).extractor
    adapt(extractor, read_unlabelled(site), config.seed, progress=False)
    stored = load(kept).extractor.network.state_dict()
    assert all(torch.equal(value, stored[name]) for name, value in extractor.network.state_dict().items())
    assert not (stored["neck.running_mean"] == load(folder).extractor.network.state_dict()["neck.running_mean"]).all()


def test_a_log_that_is_gone_is_named_and_nothing_is_written(trained, site):
    _, folder = trained
    (folder / "log.jsonl").unlink()
    with pytest.raises(InputError, match="log.jsonl: cannot be read"):
        keep_adapted(subject_of(folder), str(site), Path("runs/kept"), progress=False)
    assert not Path("runs/kept").exists() and not Path("runs/.kept.partial").exists()


def test_old_checkpoints_say_that_nothing_was_adapted(trained, tmp_path):
    """A header written before the field came."""
    from safetensors import safe_open
    from safetensors.torch import load_file, save_file

    _, folder = trained
    path = folder / "checkpoint.safetensors"
    with safe_open(path, framework="pt") as file:
        header = json.loads(file.metadata()["progress"])
    del header["adapted"]
    shutil.copy(path, tmp_path / "copy")
    save_file(load_file(tmp_path / "copy"), path, metadata={"progress": json.dumps(header)})
    assert read_progress(path).adapted == {} and subject_of(folder).describe()["adapted"] is None
