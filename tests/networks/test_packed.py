"""A run as one file: the run's features, by all that takes a run, and nothing of the machine that trained it."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import tiny_overrides
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import reid
from reid.config import load_config
from reid.engine import build
from reid.engine.train import train
from reid.errors import InputError
from reid.evaluation.adapted import keep_adapted
from reid.evaluation.divergence import between
from reid.evaluation.evaluate import evaluate
from reid.evaluation.subject import foreign_subject, subject_of
from reid.networks import load
from reid.networks.packed import PackedNetwork, digest_of, pack
from reid.networks.shipped import is_packed


@pytest.fixture(scope="module")
def run(market, tmp_path_factory) -> Path:
    """A run of three steps whose best epoch on held-out people is tested."""
    output = tmp_path_factory.mktemp("runs")
    changes = ["optim.steps=3", f"output={output}", "selection.holdout=0.34", "sampler.identities=2"]
    return train(load_config("market_bn.yaml", [*tiny_overrides(market), *changes]), progress=False)


@pytest.fixture(scope="module")
def half(run, tmp_path_factory) -> Path:
    file = tmp_path_factory.mktemp("packed") / "person.safetensors"
    pack(load(run, ["device=cpu"]), file, half=True)
    return file


@pytest.fixture
def here(market, tmp_path, monkeypatch):
    """Overrides that say where the data lies, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    return [f"data.root={market}", "data.workers=0", "device=cpu", "threads=1"]


def crops(count: int = 9) -> list[np.ndarray]:
    return list(np.random.default_rng(1).integers(0, 256, (count, 50, 21, 3), np.uint8))


def apart(features: np.ndarray, others: np.ndarray) -> float:
    """The largest relative distance of a row."""
    return float((np.linalg.norm(others - features, axis=1) / np.linalg.norm(features, axis=1)).max())


def noted(file: Path) -> dict:
    with safe_open(file, framework="pt") as opened:
        return json.loads(opened.metadata()["reid"])


def test_features_are_the_run_s(run, half, tmp_path):
    own = load(run, ["device=cpu"])
    pack(own, tmp_path / "full.safetensors", half=False)
    expected = own.embed(crops())
    np.testing.assert_array_equal(load(tmp_path / "full.safetensors", ["device=cpu"]).embed(crops()), expected)
    found = load(half, ["device=cpu"]).embed(crops())
    assert found.dtype == np.float32 and 0 < apart(expected, found) < 1e-2


def test_it_holds_what_a_test_needs_and_no_more(run, half):
    tensors, whole = load_file(half), load_file(run / "selected.safetensors")
    kept = {name.removeprefix("model.") for name in whole if "classifier" not in name and "num_batches" not in name}
    assert set(tensors) == kept
    assert {tensor.dtype for tensor in tensors.values() if tensor.dim() > 1} == {torch.float16}
    assert {tensor.dtype for tensor in tensors.values() if tensor.dim() == 1} == {torch.float32}
    assert half.stat().st_size < 0.6 * (run / "selected.safetensors").stat().st_size


def test_the_header_says_what_it_is_and_nothing_of_the_machine(run, half, market):
    note, own = noted(half), load(run, ["device=cpu"])
    model, data = note["config"]["model"], note["config"]["data"]
    assert (model["backbone"], model["width"], model["last_stride"]) == ("resnet18_ibn_b", 0.125, 1)
    assert (model["pooling"], model["neck_feature"]) == ("average", "after")
    assert (data["height"], data["width"]) == (32, 16) and note["config"]["transforms"]["standardise"] is False
    assert note["format"] == 1 and note["run"] == {"name": run.name, "network": own.origin.network}
    assert note["progress"]["data"] == own.trained.fingerprint and note["progress"]["code"]
    assert note["progress"]["config_hash"] == own.config.hash()
    assert str(market) not in json.dumps(note) and str(run.parent) not in json.dumps(note)


def test_it_is_known_by_its_own_digest_wherever_it_lies(half, tmp_path):
    (tmp_path / "other.safetensors").write_bytes(half.read_bytes())
    one, two = load(half), load(tmp_path / "other.safetensors")
    assert (one.origin.name, two.origin.name) == ("person", "other")
    assert one.origin.fingerprint == two.origin.fingerprint
    assert json.loads(one.origin.preprocessing)["precision"] == "float32"  # not what this processor does best


def test_it_describes_itself_as_its_run_does(run, half):
    own, packed = load(run).describe(), load(half).describe()
    differing = {key for key in own if own[key] != packed[key]}
    assert differing == {"name", "checkpoint"} and packed["name"] == "person"
    assert load(half).trained == load(run).trained


def test_a_file_of_a_file_is_the_same_run(half, tmp_path):
    pack(load(half, ["device=cpu"]), tmp_path / "person.safetensors", half=True)
    assert (tmp_path / "person.safetensors").read_bytes() == half.read_bytes()


def test_it_is_tested_and_adapted_as_a_run(half, here):
    subject = subject_of(half, here)
    results = evaluate(subject, ["market1501"], progress=False)
    assert results["run"]["source"] == "market1501" and results["targets"]["market1501"]["training_images"] == "checked"
    assert subject.folder == Path("runs/networks") / f"person_{subject.network.origin.fingerprint[:8]}"
    assert (subject.folder / "results.json").is_file()
    rows = between(subject, ["market1501", "market1501"], "domain", progress=False)
    assert [row["mean"] for row in rows] == [0, 0, 0, 0]
    folder = keep_adapted(subject, "market1501", progress=False)
    assert folder == Path("runs/person_adabn_market1501")
    kept = load(folder, here)
    assert kept.adapted["network"] == subject.network.origin.network and kept.describe()["epoch"] == 1
    assert apart(subject.network.embed(crops()), kept.embed(crops())) > 1e-3


def test_in_a_grid_and_from_python(half, here):
    testing = build.testing(load_config("base.yaml", [*here, "output=grid", "evaluation.flip=true"]))
    subject = foreign_subject(str(half), testing)
    assert subject.trained.sources == ("market1501",) and subject.folder.parent == Path("grid/networks")
    assert json.loads(subject.network.origin.preprocessing)["flip"] is True
    model = reid.load(half, here)
    assert model.width == 64 and model(np.zeros((80, 60, 3), np.uint8), [[1, 2, 30, 70]]).shape == (1, 64)


def test_an_epoch_that_it_does_not_hold_is_sought_in_the_run_s_folder(half, here):
    with pytest.raises(InputError, match="--oracle: person is one file, of one epoch; its run's folder has the others"):
        evaluate(subject_of(half, here), ["market1501"], progress=False, oracle=True)


def test_overrides_say_how_it_is_tested_alone(half):
    assert load(half, ["evaluation.batch_size=3"]).config.evaluation.batch_size == 3
    with pytest.raises(InputError, match=r"model.width=0.5: would change what was trained"):
        load(half, ["model.width=0.5"])


def rewritten(half: Path, file: Path, change) -> Path:
    """A file whose note, a dict, was changed; by one who knows the digest."""
    note, tensors = noted(half), load_file(half)
    change(note)
    save_file(tensors, file)
    note = {"digest": digest_of(note, file.read_bytes()), **{key: note[key] for key in note if key != "digest"}}
    save_file(tensors, file, {"reid": json.dumps(note)})
    return file


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda note: note.update(format=2), "is of format 2, .* update reid-gap"),
        (lambda note: note.pop("progress"), "damaged, or not what reid export wrote: .*progress"),
        (lambda note: note.update(run=3), "damaged, or not what reid export wrote"),
        (lambda note: note["progress"].update(later=1), "its header holds 'later'"),
        (lambda note: note["config"]["model"].update(backbone="resnet99"), "its config is not the one trained"),
        (lambda note: note["config"].update(schema=99), "schema: 99, but this version"),
        (lambda note: note["config"].update(colour="red"), "unknown key 'colour'"),
    ],
)
def test_a_header_that_was_changed_is_one_message(half, tmp_path, change, message):
    file = rewritten(half, tmp_path / "changed.safetensors", change)
    with pytest.raises(InputError, match=f"changed.safetensors: .*({message})"):
        load(file)


def test_damaged_and_foreign_files_are_named(half, tmp_path):
    content = half.read_bytes()
    flipped = bytearray(content)
    flipped[-5] ^= 64
    renamed = content.replace(b"market1501", b"market1502")
    assert renamed != content
    header = int.from_bytes(content[:8], "little")
    files = {
        "cut": content[:-100], "flipped": bytes(flipped), "renamed": renamed,
        "headless": content[: header // 2], "empty": b"",
        "long": b"\xff" * 64, "text": b"some text that is no file of tensors",
    }  # fmt: skip
    for name, damaged in files.items():
        (tmp_path / f"{name}.safetensors").write_bytes(damaged)
        with pytest.raises(InputError, match=f"{name}.safetensors: damaged"):
            load(tmp_path / f"{name}.safetensors")
    save_file({"conv1.weight": torch.zeros(1)}, tmp_path / "foreign.safetensors")
    with pytest.raises(InputError, match=r"foreign.safetensors: is of no known kind"):
        load(tmp_path / "foreign.safetensors")
    with pytest.raises(InputError, match=r"person.safetensors: is a run of this project as one file, of no other kind"):
        load(f"torchreid/osnet_x1_0:{half}")


def test_tensors_that_do_not_fit_are_named(half, tmp_path):
    tensors, note = load_file(half), noted(half)
    file = tmp_path / "other.safetensors"
    for change, message in (
        (lambda: tensors.update({"neck.weight": torch.zeros(3)}), r"neck.weight is \(3,\)"),
        (lambda: tensors.pop("neck.weight"), "neck.weight is missing"),
        (lambda: tensors.update({"neck.weight": torch.full((64,), torch.nan)}), "neck.weight is not finite"),
    ):
        change()
        save_file(tensors, file)
        save_file(tensors, file, {"reid": json.dumps({**note, "digest": digest_of(note, file.read_bytes())})})
        with pytest.raises(InputError, match=f"other.safetensors: damaged, or of other code: .*{message}"):
            load(file)


def test_a_weight_that_16_bits_cannot_hold_is_told(run, tmp_path):
    network = load(run, ["device=cpu"])
    with torch.no_grad():
        network.extractor.network.backbone.conv1.weight.fill_(1e6)
    with pytest.raises(InputError, match=r"not written: backbone.conv1.weight holds what torch.float16 cannot"):
        pack(network, tmp_path / "big.safetensors", half=True)
    assert not any(tmp_path.iterdir())


def test_a_look_at_the_header_tells_it_from_others(run, half, tmp_path):
    assert is_packed(half) and not is_packed(run / "checkpoint.safetensors") and not is_packed(tmp_path)
    assert isinstance(load(half), PackedNetwork)
    with pytest.raises(InputError, match="is a checkpoint of this project; give its run's folder"):
        load(run / "checkpoint.safetensors")


def test_its_weights_start_a_training(half, market, tmp_path):
    config = load_config("market_bn.yaml", [*tiny_overrides(market), f"model.weights={half}", "optim.steps=1"])
    network = build.embedder(config, 4)
    build.pretrained(config, network)
    stored = load_file(half)["backbone.conv1.weight"].float()
    torch.testing.assert_close(network.backbone.conv1.weight, stored)
