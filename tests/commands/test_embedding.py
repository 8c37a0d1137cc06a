"""``reid embed`` end to end, with a small trained network: what score, the gallery and a lookup make of its files."""

import json
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from conftest import ROOT
from PIL import Image

from reid.cli import main
from reid.gallery.store import Gallery
from reid.networks.features_file import read_features_file
from reid.retrieval.features import load_features


def run(capsys, *arguments):
    code = main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    return code, out, err


@pytest.fixture
def folder(trained):
    return trained[1]


def test_features_are_those_of_evaluate_and_score_the_same(folder, tmp_path, capsys):
    assert run(capsys, "evaluate", "--model", folder, "--targets", "market1501")[0] == 0
    for split in ("query", "gallery"):
        output = tmp_path / f"{split}.npz"
        code, out, _ = run(capsys, "embed", "--model", folder, "market1501", "--split", split, "--output", output)
        assert code == 0 and f"{output}: " in out
        found, expected = load_features(output), load_features(folder / "targets" / "market1501" / f"{split}.npz")
        rows = [found.paths.index(next(p for p in found.paths if p.endswith(f"/{name}"))) for name in expected.paths]
        np.testing.assert_allclose(found.features[rows], expected.features, atol=1e-6)
        assert np.array_equal(found.pids[rows], expected.pids) and np.array_equal(found.camids[rows], expected.camids)
    scored = ["--query", tmp_path / "query.npz", "--gallery", tmp_path / "gallery.npz", "--json", tmp_path / "s.json"]
    assert run(capsys, "score", *scored)[0] == 0
    results = json.loads((folder / "results.json").read_text())["targets"]["market1501"]
    assert json.loads((tmp_path / "s.json").read_text())["mAP"] == pytest.approx(results["mAP"], abs=1e-6)


def test_parquet_scores_as_npz_and_is_a_network_that_looks_up(folder, market, tmp_path, capsys):
    figures = []
    for suffix in ("npz", "parquet"):
        files = {split: tmp_path / f"{split}.{suffix}" for split in ("query", "gallery")}
        for split, file in files.items():
            embed = ["embed", "--model", folder, "market1501", "--output", file, "--split", split, "data.workers=0"]
            assert run(capsys, *embed)[0] == 0
        score = ["score", "--json", tmp_path / "s.json", "--query", files["query"], "--gallery", files["gallery"]]
        assert run(capsys, *score)[0] == 0
        figures.append(json.loads((tmp_path / "s.json").read_text()))
    assert figures[0] == figures[1] and figures[0]["mAP"] > 0
    looked_up = [
        "embed",
        "--model",
        files["query"],
        "market1501",
        f"data.root={market}",
        "--output",
        tmp_path / "x.npz",
    ]
    code, _, err = run(capsys, *looked_up)
    assert code == 2 and "query.parquet: holds features, not the network that made them" in err


def test_the_gallery_takes_the_features_as_if_it_had_made_them(folder, market, tmp_path, capsys):
    output = tmp_path / "f.parquet"
    assert run(capsys, "embed", "--model", folder, "market1501", "--split", "gallery", "--output", output)[0] == 0
    given, made = tmp_path / "given", tmp_path / "made"
    assert run(capsys, "search", "add", "--features", output, "--store", given)[0] == 0
    assert (
        run(capsys, "search", "add", "--model", folder, "--data", "market1501", "--root", market, "--store", made)[0]
        == 0
    )
    with Gallery.open(given) as a, Gallery.open(made) as b:
        assert a.origin.fingerprint == b.origin.fingerprint and len(a) == len(b)
        order = {entry.source: entry for entry in b.find()}
        for entry in a.find():
            other = order[entry.source]
            assert (entry.camera, entry.identity, entry.box) == (other.camera, other.identity, other.box)
            np.testing.assert_allclose(a.features([entry.id]), b.features([other.id]), atol=1e-6)
            assert a.thumbnails([entry.id]) == b.thumbnails([other.id])
    code, out, _ = run(capsys, "search", "add", "--features", output, "--model", folder, "--store", given)
    assert code == 0 and "0 images stored" in out and "were there already" in out


def test_a_file_of_another_network_is_refused_by_the_gallery(folder, market, tmp_path, capsys):
    output, store = tmp_path / "f.npz", tmp_path / "people"
    assert run(capsys, "embed", "--model", folder, "market1501", "--split", "query", "--output", output)[0] == 0
    assert run(capsys, "search", "add", "--features", output, "--store", store)[0] == 0
    arrays = dict(np.load(output))
    about = json.loads(str(arrays["about"]))
    about["network"]["width"], arrays["features"] = 3, arrays["features"][:, :3]
    arrays["about"] = np.array(json.dumps(about))
    np.savez(tmp_path / "narrow.npz", **arrays)
    for extra in ([], ["--model", folder]):
        add = ["search", "add", "--features", tmp_path / "narrow.npz", "--store", store]
        code, _, err = run(capsys, *add, *extra)
        assert code == 2 and "cannot be compared" in err and "other width" in err and err.count("error:") == 1


def test_features_without_a_network_or_a_camera_are_refused(folder, tmp_path, capsys):
    crops = tmp_path / "crops"
    crops.mkdir()
    Image.new("RGB", (20, 40), (200, 10, 10)).save(crops / "a.png")
    assert run(capsys, "embed", "--model", folder, crops, "--output", tmp_path / "f.npz")[0] == 0
    add = ("search", "add", "--store", tmp_path / "people", "--features")
    code, _, err = run(capsys, *add, tmp_path / "f.npz")
    assert code == 2 and "1 of 1 rows have no camera: give --camera NAME" in err
    load_features(tmp_path / "f.npz").save(tmp_path / "plain.npz")
    code, _, err = run(capsys, *add, tmp_path / "plain.npz", "--camera", "door")
    assert code == 2 and "does not tell which network made its features" in err
    assert not (tmp_path / "people").exists()
    assert run(capsys, *add, tmp_path / "f.npz", "--camera", "door")[0] == 0
    with Gallery.open(tmp_path / "people") as store:
        assert [entry.camera for entry in store.find()] == ["door"]


def test_what_cannot_be_read_ends_with_2_and_the_others_are_kept(folder, tmp_path, capsys):
    crops = tmp_path / "crops"
    crops.mkdir()
    Image.new("RGB", (20, 40), (200, 10, 10)).save(crops / "a.png")
    (crops / "b.png").write_bytes(b"no picture")
    for _ in range(2):  # the second finds the file there, and says it again
        code, out, err = run(capsys, "embed", "--model", folder, crops, "--output", tmp_path / "f.npz")
        assert code == 2 and "1 features" in out
        assert "images left out: 1; all others are in the file:" in err and "b.png: not a readable image" in err
    assert len(read_features_file(tmp_path / "f.npz")) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["market1501", "--output", "f.csv"], "f.csv: expected a name that ends in .npz or .parquet"),
        (["nowhere", "--output", "f.npz"], "nowhere: neither an image, a folder, a CSV file of images nor a data set"),
        (["market1501", "--split", "probe", "--output", "f.npz"], "no split 'probe' of market1501; choices: train"),
        (["seed=1", "--output", "f.npz"], "no DATA"),
        (["market1501", "--output", "f.npz", "--split", "query", "optim.lr=1"], "optim.lr"),
        (["market1501", "--output", "f.npz", "--split", "seed=1"], "--split: no NAME"),
        (["market1501", "model.width=2", "--output", "f.npz"], "model.width"),
        (["market1501", "--output", "f.npz", "model.width=2"], "model.width"),
    ],
)
def test_bad_input_is_named_and_nothing_is_written(folder, tmp_path, capsys, arguments, message):
    before = sorted(tmp_path.iterdir())
    code, _, err = run(capsys, "embed", "--model", folder, *arguments)
    assert code == 2 and message in err and "Traceback" not in err and sorted(tmp_path.iterdir()) == before


def test_a_kill_loses_nothing(folder, tmp_path, capsys):
    crops = tmp_path / "crops"
    for place in range(1600):
        (crops / f"{place // 100}").mkdir(parents=True, exist_ok=True)
        if place:
            shutil.copy(crops / "0" / "0.png", crops / f"{place // 100}" / f"{place}.png")
        else:
            Image.new("RGB", (20, 40), (200, 10, 10)).save(crops / "0" / "0.png")
    command = ["embed", "--model", str(folder), str(crops), "--output", str(tmp_path / "f.npz")]
    code = "import sys; from reid.cli import main; sys.exit(main(sys.argv[1:]))"
    child = subprocess.Popen([sys.executable, "-c", code, *command], cwd=tmp_path, env={"PYTHONPATH": str(ROOT)})
    parts, end = [], time.monotonic() + 120
    while not parts and child.poll() is None and time.monotonic() < end:
        parts = list(tmp_path.glob(".f.npz.embed-*/*.npz"))
        time.sleep(0.005)
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL and parts and not (tmp_path / "f.npz").exists()
    code, out, _ = run(capsys, *command)
    assert code == 0 and "1,600 features" in out and "images were done before" in out
    assert not list(tmp_path.glob(".f.npz*"))
