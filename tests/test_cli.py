"""The commands as a user runs them: what they print and write, and how they end on bad input."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import ROOT
from trees import PLACE, manifest_tree, market_tree, write_image

from reid.cli import COMMANDS, main
from reid.commands.command import byte_size
from reid.commands.search import ACTIONS
from reid.retrieval.features import Features, load_features
from reid.retrieval.ranking import evaluate


def run(capsys, *arguments: str) -> tuple[int, str, str]:
    code = main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    return code, out, err


def fails(capsys, message: str, *arguments: str) -> None:
    """One message with ``message`` in it, exit code 2, no traceback."""
    code, _, err = run(capsys, *arguments)
    own = [line for line in err.splitlines() if line.startswith("error: ")]
    assert code == 2 and len(own) == 1 and message in err and "Traceback" not in err, err


def features(path: Path, n: int = 6, seed: int = 0, width: int = 4, camera: int = 1, **changes) -> Path:
    rows = np.random.default_rng(seed).normal(size=(n, width)).astype(np.float32)
    arrays = {"features": rows, "pids": np.arange(n) % 3 + 1, "camids": np.full(n, camera), **changes}
    np.savez(path, **arrays)
    return path


def test_train_then_evaluate_then_compare(tiny, capsys):
    code, out, _ = run(capsys, "train", "optim.steps=3", "--cfg", "market_bn.yaml", *tiny)
    assert code == 0 and "market1501 (in-domain)" in out
    folder = out.splitlines()[-1].removeprefix("written: ").removesuffix("/results.json")
    first = json.loads(Path(folder, "results.json").read_text())
    assert f"{100 * first['targets']['market1501']['mAP']:.1f}" in out

    code, out, _ = run(
        capsys, "evaluate", "--model", folder, "--targets", "market1501", "evaluation.distance=euclidean"
    )
    again = json.loads(Path(folder, "results.json").read_text())
    assert code == 0 and again["targets"]["market1501"]["definitions"]["distance"].startswith("euclidean")

    code, out, _ = run(
        capsys,
        "cross-domain",
        "--cfgs",
        "market_bn.yaml",
        "market_ibn_a.yaml",
        "--targets",
        "market1501",
        "--output",
        "runs/table",
        "optim.steps=3",
        *[o for o in tiny if "backbone" not in o],
        "model.backbone=resnet18",
    )
    assert code == 0 and "2 runs to train" in out
    written = [".lock", "gap.png", "logs", "results.csv", "table.md"]
    assert sorted(path.name for path in Path("runs/table").iterdir()) == written
    assert Path("runs/table/table.md").read_text().strip() in out
    code, again, _ = run(
        capsys,
        "cross-domain",
        "--cfgs",
        "market_bn.yaml",
        "market_ibn_a.yaml",
        "--targets",
        "market1501",
        "--output",
        "runs/table",
        "optim.steps=3",
        *[o for o in tiny if "backbone" not in o],
        "model.backbone=resnet18",
    )
    assert "0 runs to train" in again and again.splitlines()[1:] == out.splitlines()[1:]


def test_own_data_by_path_is_source_and_target(tiny, tmp_path, capsys):
    people = manifest_tree(tmp_path / "mine")
    settings = [*tiny, f"data.source={people}", "sampler.identities=2", "optim.steps=2"]
    code, out, _ = run(capsys, "cross-domain", "--cfgs", "market_bn.yaml", "--targets", "market1501", *settings)
    assert code == 0 and "| people | market1501 |" in " ".join(out.split()).replace("|  ", "| ")
    (line,) = [line for line in out.splitlines() if line.startswith("| market_bn")]
    assert line.split("|")[2].strip() == "people" and "(" in line.split("|")[5]  # the drop against people


def test_score(tmp_path, capsys):
    query, gallery = features(tmp_path / "q.npz"), features(tmp_path / "g.npz", 9, seed=1, camera=2)
    code, out, _ = run(capsys, "score", "--query", query, "--gallery", gallery, "--json", tmp_path / "f.json")
    figures = json.loads((tmp_path / "f.json").read_text())
    assert code == 0 and figures.keys() == {
        "mAP",
        "mINP",
        "cmc",
        "num_valid_queries",
        "num_queries",
        "num_gallery",
        "protocol",
        "definitions",
    }
    assert (figures["num_valid_queries"], figures["num_queries"], figures["num_gallery"]) == (6, 6, 9)
    assert len(figures["cmc"]) == 50 and 0 < figures["mAP"] < 1 and f"{100 * figures['mAP']:.2f}" in out


def test_score_with_all_it_can(tmp_path, capsys, caplog):
    query, gallery = features(tmp_path / "q.npz", 12), features(tmp_path / "g.npz", 30, seed=1, camera=2)
    plain = ["score", "--query", query, "--gallery", gallery, "--json", tmp_path / "plain.json"]
    assert run(capsys, *plain)[0] == 0
    everything = [
        *plain[:-1],
        tmp_path / "f.json",
        "--rerank",
        "--roc",
        "--max-memory",
        "1GB",
        "--per-query",
        tmp_path / "f.csv",
    ]
    code, out, err = run(capsys, *everything)
    figures, before = (json.loads((tmp_path / name).read_text()) for name in ("f.json", "plain.json"))
    assert code == 0 and "re-ranked" in out and "re-ranking 12 x 30: about" in caplog.text and err
    assert {key: figures[key] for key in before} == before  # the plain figures are as before
    assert (
        figures["reranked"]["mAP"] != figures["mAP"]
        and "k-reciprocal" in figures["reranked"]["definitions"]["distance"]
    )
    assert figures["reranked"].keys() == before.keys()
    assert [point["wanted"] for point in figures["roc"]] == [1e-4, 1e-3, 1e-2]
    table = pd.read_csv(tmp_path / "f.csv")
    assert table["AP cosine"].mean() == pytest.approx(figures["mAP"])
    assert table["INP re-ranked"].mean() == pytest.approx(figures["reranked"]["mINP"])
    assert (table["first rank cosine"] <= 1).mean() == pytest.approx(figures["cmc"][0])


def test_the_trapezoid_stands_alone_and_by_its_name(tmp_path, capsys):
    query, gallery = features(tmp_path / "q.npz", 12), features(tmp_path / "g.npz", 30, seed=1, camera=2)
    plain = ["score", "--query", query, "--gallery", gallery, "--rerank"]
    own = [*plain, "--ap", "trapezoid", "--json", tmp_path / "t.json", "--per-query", tmp_path / "t.csv"]
    assert run(capsys, *plain, "--json", tmp_path / "f.json")[0] == 0
    code, out, _ = run(capsys, *own)
    before, figures = (json.loads((tmp_path / name).read_text()) for name in ("f.json", "t.json"))
    table = pd.read_csv(tmp_path / "t.csv")
    assert code == 0 and "| mAP_trapezoid |" in out and "| mAP |" not in " ".join(out.split())
    for name, one, other in (("cosine", figures, before), ("re-ranked", figures["reranked"], before["reranked"])):
        assert "mAP" not in one and "Matlab" in one["definitions"]["AP"] and "Matlab" not in other["definitions"]["AP"]
        assert table[f"AP_trapezoid {name}"].mean() == pytest.approx(one["mAP_trapezoid"])
        assert one["mAP_trapezoid"] != other["mAP"] and one["cmc"] == other["cmc"] and one["mINP"] == other["mINP"]
    assert not any(column.startswith("AP ") for column in table.columns)


def test_score_without_cameras(tmp_path, capsys):
    paths = np.array([f"{n}.jpg" for n in range(12)])
    gallery = features(tmp_path / "g.npz", 12, paths=paths)
    some_of_it = {name: np.load(gallery)[name][:5] for name in ("features", "pids", "camids", "paths")}
    np.savez(tmp_path / "q.npz", **some_of_it)
    plain = ["score", "--query", tmp_path / "q.npz", "--gallery", gallery, "--json", tmp_path / "f.json"]
    fails(capsys, "--protocol any-camera", *plain)
    everything = ["--protocol", "any-camera", "--rerank", "--roc", "--per-query", tmp_path / "f.csv"]
    code, out, _ = run(capsys, *plain, *everything)
    figures, table = json.loads((tmp_path / "f.json").read_text()), pd.read_csv(tmp_path / "f.csv")
    expected = evaluate(load_features(tmp_path / "q.npz"), load_features(gallery), protocol="any-camera")
    assert code == 0 and "| cosine, any-camera" in out and "| re-ranked, any-camera" in out
    assert figures["mAP"] == expected.mAP and figures["protocol"] == figures["reranked"]["protocol"] == "any-camera"
    assert "own image" in figures["definitions"]["left_out"]
    assert table["AP cosine, any-camera"].mean() == pytest.approx(figures["mAP"])


def test_score_without_cameras_or_paths(tmp_path, capsys):
    """In one file the rows tell a query's own image; in two nothing does."""
    query, gallery = features(tmp_path / "q.npz", 5), features(tmp_path / "g.npz", 12)
    own = ["score", "--protocol", "any-camera", "--json", tmp_path / "f.json"]
    fails(capsys, "q.npz: has no paths", *own, "--query", query, "--gallery", gallery)
    assert run(capsys, *own, "--query", gallery, "--gallery", gallery)[0] == 0
    rows = replace(load_features(gallery), paths=tuple("abcdefghijkl"))
    assert json.loads((tmp_path / "f.json").read_text())["mAP"] == evaluate(rows, rows, protocol="any-camera").mAP


def test_score_with_expanded_queries(tmp_path, capsys):
    query, gallery = features(tmp_path / "q.npz", 12), features(tmp_path / "g.npz", 30, seed=1, camera=2)
    code, _, _ = run(
        capsys, "score", "--query", query, "--gallery", gallery, "--expand", 2, "--json", tmp_path / "f.json"
    )
    assert code == 0 and "2 nearest" in json.loads((tmp_path / "f.json").read_text())["definitions"]["query"]
    wide = features(tmp_path / "w.npz", 5, width=7)
    fails(capsys, "width 4, ", "score", "--query", query, "--gallery", wide, "--expand", 2)
    fails(capsys, "expansion by 0 images", "score", "--query", query, "--gallery", gallery, "--expand", 0)


def test_score_refuses_memory_that_is_too_little(tmp_path, capsys):
    query, gallery = features(tmp_path / "q.npz", 12), features(tmp_path / "g.npz", 30, seed=1, camera=2)
    few = ["score", "--query", query, "--gallery", gallery, "--rerank", "--max-memory"]
    fails(
        capsys, "re-ranking needs about 12 MiB, more than the 10 allowed", *few, "10MiB", "--json", tmp_path / "f.json"
    )
    assert not (tmp_path / "f.json").exists()
    for size in ("lots", "-1GB", "2TB"):
        with pytest.raises(SystemExit) as ended:
            main([*map(str, few), size])
        assert ended.value.code == 2
    capsys.readouterr()


@pytest.mark.parametrize(
    ("text", "size"), [("2GB", 2e9), ("500MiB", 500 * 2**20), ("1.5kb", 1500), ("7", 7), ("1 G", 1e9)]
)
def test_sizes(text, size):
    assert byte_size(text) == size


def test_score_does_not_load_the_network_packages(tmp_path):
    query, gallery = features(tmp_path / "q.npz"), features(tmp_path / "g.npz", camera=2)
    code = (
        "import sys; from reid.cli import main; assert main(sys.argv[1:]) == 0; "
        "print(sorted({'torch', 'faiss', 'pandas', 'albumentations', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "score", "--query", query, "--gallery", gallery],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "[]"


def test_check_data(market, tmp_path, capsys):
    card = tmp_path / "mine.yaml"
    card.write_text(
        f"name: mine\nroot: {market / PLACE}\npattern: '^(?P<pid>-?\\d+)_c(?P<cam>\\d)'\n"
        "splits:\n  train: {dir: bounding_box_train, images: 48}\n  query: {dir: query}\n"
        "  gallery: {dir: bounding_box_test}\n"
    )
    code, out, _ = run(capsys, "check-data", card, "--sheet", tmp_path / "sheet.png")
    assert code == 0 and "48" in out and (tmp_path / "sheet.png").read_bytes().startswith(b"\x89PNG")
    card.write_text(card.read_text().replace("images: 48", "images: 49"))
    fails(capsys, "problems", "check-data", str(card), "--sheet", str(tmp_path / "sheet.png"))


def test_check_data_without_cameras(tmp_path, capsys):
    for shot in (1, 2):
        write_image(tmp_path / "mine" / "ann" / f"{shot}.jpg", 1, shot)
    command = ["check-data", tmp_path / "mine", "--sheet", tmp_path / "sheet.png"]
    fails(capsys, "--protocol any-camera", *command)
    assert not (tmp_path / "sheet.png").exists()
    code, out, _ = run(capsys, *command, "--protocol", "any-camera")
    assert code == 0 and "ok: counts" in out


@pytest.mark.parametrize("name", COMMANDS)
def test_help_shows_an_example_whose_options_exist(name, capsys):
    with pytest.raises(SystemExit) as ended:
        main([name, "--help"])
    assert_example_holds(capsys.readouterr().out, ended.value.code, f"reid {name} {COMMANDS[name].example}")


def assert_example_holds(out, code, example):
    assert code == 0 and f"example:\n  {example}\n" in out
    for word in example.split():
        assert not word.startswith("--") or f"{word} " in out.split("example:")[0]


@pytest.mark.parametrize("name", ACTIONS)
def test_help_of_search_shows_an_example_whose_options_exist(name, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["search", name, "--help"])
    assert_example_holds(
        capsys.readouterr().out, ended.value.code, f"reid search {name} {ACTIONS[name].example}".strip()
    )


@pytest.mark.parametrize("name", COMMANDS)
def test_every_tool_runs_its_command(name):
    done = subprocess.run(
        [sys.executable, ROOT / "tools" / COMMANDS[name].tool, "--help"], capture_output=True, text=True
    )
    assert done.returncode == 0 and f"python tools/{COMMANDS[name].tool} {COMMANDS[name].example}" in done.stdout


def test_bad_configs(tiny, tmp_path, capsys):
    (tmp_path / "x.yaml").write_text("optim: {lr: quick}\n")
    fails(capsys, "'nothing.yaml' is neither a file nor one of the bundled configs", "train", "--cfg", "nothing.yaml")
    fails(capsys, "x.yaml: optim.lr:", "train", "--cfg", "x.yaml")
    fails(capsys, "unknown key 'optim.rate'", "train", "--cfg", "market_bn.yaml", "optim.rate=1")
    for override, message in {
        "data.source=market": "command line: data.source: 'market'",
        "model.backbone=vgg": "command line: model.backbone: 'vgg' is not one of",
        "losses.center={}": "losses: 'center' is not one of identity, arcface, cosface, centre, triplet",
        f"data.root={tmp_path}": str(tmp_path / PLACE),
        "targets=[nowhere]": "nowhere",
        "model.weights=none.pth": "none.pth",
        "sampler.identities=99": "command line: sampler: identities: 99 a batch",
    }.items():
        fails(capsys, message, "train", "--cfg", "market_bn.yaml", *tiny, override)
    assert not Path("runs").exists()


def test_bad_data(tiny, tmp_path, capsys):
    root = tmp_path / "own"
    market_tree(root / PLACE, identities=6, cameras=2, images=4, size=(64, 32))
    train = ["train", "--cfg", "market_bn.yaml", *tiny, f"data.root={root}", "optim.steps=4"]
    assert main(train) == 0
    (folder,) = Path("runs").iterdir()
    earlier = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    bad = next((root / PLACE / "bounding_box_test").glob("0008_c1*"))
    good = bad.read_bytes()
    bad.write_bytes(good[:500])
    fails(capsys, f"{bad.name}: not a readable image", "evaluate", "--model", str(folder), "--targets", "market1501")
    bad.write_bytes(good)

    card = {
        "name": "mine",
        "root": str(root / PLACE),
        "pattern": r"^(?P<pid>-?\d+)_c(?P<cam>\d)",
        "splits": {"query": {"dir": "query"}, "gallery": {"dir": "bounding_box_test"}},
    }
    for change, message in (
        ({"pattern": "(?P<pid>"}, "not a regular expression"),
        ({"pattern": r"^(?P<pid>\d+)"}, "lacks the named group (?P<cam>"),
        ({"pattern": r"^person(?P<pid>\d+)_c(?P<cam>\d)"}, "matches none of the 38 image files"),
        ({"splits": {"query": {"dir": "query"}, "gallery": {"dir": "nothing"}}}, "nothing"),
    ):
        Path("mine.yaml").write_text(yaml.safe_dump(card | change))
        fails(capsys, message, "evaluate", "--model", str(folder), "--targets", "mine.yaml")
    (root / PLACE / "empty").mkdir()
    Path("mine.yaml").write_text(yaml.safe_dump(card | {"splits": card["splits"] | {"gallery": {"dir": "empty"}}}))
    fails(capsys, "empty", "evaluate", "--model", str(folder), "--targets", "mine.yaml")
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == earlier


def test_a_corrupt_image_in_the_middle_of_an_epoch(tiny, tmp_path, capsys):
    root = tmp_path / "own"
    market_tree(root / PLACE, identities=6, cameras=2, images=4, size=(64, 32))
    bad = next((root / PLACE / "bounding_box_train").glob("0003_c1*"))
    bad.write_bytes(bad.read_bytes()[:500])
    for workers in (0, 2):
        fails(
            capsys,
            f"{bad.name}: not a readable image",
            "train",
            "--cfg",
            "market_bn.yaml",
            *tiny,
            f"data.root={root}",
            f"data.workers={workers}",
        )


def test_bad_checkpoints_and_runs(tiny, tmp_path, capsys):
    train = ["train", "--cfg", "market_bn.yaml", *tiny, "optim.steps=3", "run=r"]
    assert main(train) == 0
    checkpoint = Path("runs/r/checkpoint.safetensors")
    checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    results = Path("runs/r/results.json").read_bytes()
    fails(capsys, "checkpoint.safetensors: not a readable checkpoint", *train)
    fails(
        capsys,
        "checkpoint.safetensors: not a readable checkpoint",
        "evaluate",
        "--model",
        "runs/r",
        "--targets",
        "market1501",
    )
    fails(capsys, "runs/r: holds a run of another config", *train, "seed=3")
    missing = "runs/q: no such folder or file; --model takes a run's folder, a run as one file (export.py --format "
    fails(capsys, missing, "evaluate", "--model", "runs/q", "--targets", "market1501")
    fails(capsys, "people (in this package)\n", "adapt", "--model", "runs/q", "--data", "market1501")
    fails(capsys, "would change what was trained", "evaluate", "--model", "runs/r", "--targets", "market1501", "seed=4")
    assert Path("runs/r/results.json").read_bytes() == results


def test_bad_features(tmp_path, capsys):
    query, gallery = features(tmp_path / "q.npz"), features(tmp_path / "g.npz", camera=2)
    rows = np.ones((6, 4), np.float32)
    rows[3, 1] = np.nan
    for changes, message in (
        ({"features": rows}, "features: 1 rows hold NaN or infinity, the first is row 3"),
        ({"width": 5}, "features of width 4"),
        ({"pids": np.arange(5)}, "pids: has 5 entries for 6 features"),
        ({"camids": np.ones(6)}, "camids: expected integers"),
        ({"camera": 1}, "no query has a match"),
    ):
        features(gallery, **{"camera": 2, **changes})
        fails(capsys, message, "score", "--query", query, "--gallery", gallery, "--json", tmp_path / "f.json")
    gallery.write_bytes(b"PK")
    fails(capsys, "g.npz: not a readable .npz file", "score", "--query", query, "--gallery", gallery)
    fails(capsys, "No such file", "score", "--query", query, "--gallery", tmp_path / "none.npz")
    assert not (tmp_path / "f.json").exists()
    features(gallery, camera=2)
    (tmp_path / "folder").mkdir()
    fails(
        capsys,
        "folder: cannot be written",
        "score",
        "--query",
        query,
        "--gallery",
        gallery,
        "--json",
        tmp_path / "folder",
    )


def test_several_processes_of_what_is_one_are_refused(capsys, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    for command in (["cross-domain", "--cfgs", "market_bn.yaml", "--targets", "msmt17"], ["report", "runs"]):
        fails(capsys, "$WORLD_SIZE=2: of several processes, as torchrun starts them, only train.py makes one", *command)
    for name, value in {"RANK": "x", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}.items():
        monkeypatch.setenv(name, value)
    fails(capsys, "$RANK: not a number: 'x'; torchrun sets it", "train", "--cfg", "sites_bn.yaml")


def test_usage_errors_end_with_2(capsys):
    for arguments in (["train"], ["nothing"], ["score", "--query", "x"], []):
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        assert ended.value.code == 2
    capsys.readouterr()


def test_features_of_a_run_can_be_scored(tmp_path, capsys):
    own = {"pids": np.arange(1, 4), "camids": np.ones(3, np.int64)}
    Features(np.eye(3, dtype=np.float32), **own, paths=("a", "b", "c")).save(tmp_path / "q.npz")
    Features(np.eye(3, dtype=np.float32), own["pids"], own["camids"] + 1).save(tmp_path / "g.npz")
    code, out, _ = run(capsys, "score", "--query", tmp_path / "q.npz", "--gallery", tmp_path / "g.npz")
    assert code == 0 and "100.00" in out


def test_adabn_and_a_folder_of_images_without_labels(tiny, market, capsys):
    assert main(["train", "--cfg", "market_bn.yaml", *tiny, "optim.steps=3", "run=r"]) == 0
    folder = str(market / PLACE / "bounding_box_test")
    code, out, _ = run(capsys, "evaluate", "--model", "runs/r", "--targets", "market1501", "--adabn", "market1501")
    assert code == 0 and "market1501 (AdaBN market1501)" in out
    code, out, _ = run(capsys, "evaluate", "--model", "runs/r", "--targets", "market1501", "--adabn", folder)
    assert code == 0 and "market1501 (AdaBN bounding_box_test (folder))" in out
    targets = json.loads(Path("runs/r/results.json").read_text())["targets"]
    assert [own["adabn"] and own["adabn"]["images"] for own in targets.values()] == [None, 48, 38]
    assert len({own["mAP"] for own in targets.values()}) == 3
    missing = "'crops/labelled': no such file or folder, nor one of the bundled datasets; choices: "
    tested = ["evaluate", "--model", "runs/r", "--targets", "market1501"]
    fails(capsys, missing, *tested, "--adabn", "crops/labelled")
    fails(capsys, "the path of a folder of images", "divergence", "--model", "runs/r", "--readiness", "crops/labelled")
    fails(capsys, "keep_epochs=true", "evaluate", "--model", "runs/r", "--targets", "market1501", "--oracle")
    both = ["--oracle", "--adabn", "market1501"]
    fails(capsys, "give one of the two", "evaluate", "--model", "runs/r", "--targets", "market1501", *both)
    fails(
        capsys, "'': no such file or folder", "evaluate", "--model", "runs/r", "--targets", "market1501", "--adabn", ""
    )


def test_divergence_and_readiness(tiny, market, tmp_path, capsys):
    people = manifest_tree(tmp_path / "mine")
    new = str(market / PLACE / "query")
    for model in ("resnet18", "resnet18_ibn_b"):
        config = ["--cfg", "market_bn.yaml", *tiny, f"model.backbone={model}", "optim.steps=3", f"run={model}"]
        assert main(["train", *config]) == 0
    runs = ["runs/resnet18", "runs/resnet18_ibn_b"]
    capsys.readouterr()
    code, out, _ = run(capsys, "divergence", "--model", *runs, "--a", "market1501", "--b", new, "--output", "d")
    table = pd.read_csv("d/divergence.csv")
    assert code == 0 and Path("d/divergence.png").read_bytes().startswith(b"\x89PNG")
    assert table["instance_norm"].tolist() == [False] * 4 + [True, True, False, False]
    assert all(f"{value:.3g} (" in out for value in table["median"]) and set(table["b"]) == {"query (folder)"}
    code, out, _ = run(
        capsys, "divergence", "--model", runs[0], "--a", "market1501", "--by", "identity", "--output", "d"
    )
    assert code == 0 and "people of market1501" in out and "identity_divergence.csv, identity_divergence.png" in out
    assert set(pd.read_csv("d/identity_divergence.csv")["by"]) == {"identity"}
    assert pd.read_csv("d/divergence.csv").equals(table)  # as it was

    fails(capsys, "no domain with a known drop", "divergence", "--model", runs[0], "--readiness", new)
    assert main(["evaluate", "--model", runs[0], "--targets", str(people)]) == 0
    code, out, _ = run(capsys, "divergence", "--model", runs[0], "--readiness", new)
    assert code == 0 and "not known" in out and "the one known domain, people (drop " in out and "no prediction" in out
    assert Path("runs/divergence/readiness_resnet18.png").read_bytes().startswith(b"\x89PNG")
    for arguments, message in (
        (["--a", "market1501"], "needs --b"),
        (["--readiness", new, "--by", "identity"], "--readiness alone"),
        ([], "give --a"),
        (["--a", "market1501", "--b", "nowhere"], "nowhere"),
        (["--a", new, "--by", "identity"], "query"),
    ):
        fails(capsys, message, "divergence", "--model", runs[0], *arguments)


def test_a_benchmark_and_its_page(tiny, tmp_path, capsys):
    Path("grid.yaml").write_text(
        "models: {BN: market_bn.yaml, IBN-b: market_ibn_b.yaml}\nsources: [market1501]\n"
        f"targets: [market1501, {manifest_tree(tmp_path / 'mine')}]\nseeds: [0]\n"
    )
    small = [o for o in tiny if "backbone" not in o and "epochs" not in o]
    grid = ["cross-domain", "--benchmark", "grid.yaml", "--output", "out", *small, "optim.steps=2"]
    code, out, _ = run(capsys, *grid)
    assert code == 0 and "grid: 2 runs, 4 cells; missing: 4 cells, 2 runs to train; the time is not known yet" in out
    code, again, _ = run(capsys, *grid)
    assert code == 0 and "missing: 0 cells, 0 runs to train\n" in again
    Path("grid.yaml").write_text(Path("grid.yaml").read_text().replace("seeds: [0]", "seeds: [0, 1]"))
    code, more, _ = run(capsys, *grid)
    assert code == 0 and "missing: 4 cells, 2 runs to train; about 1 min\n" in more
    assert run(capsys, "report", "out")[0] == 0
    page = Path("out/index.html").read_text()
    for row in pd.read_csv("out/results.csv").itertuples():
        assert f"{100 * row.mAP:.1f}" in page
    fails(capsys, "nothing", "report", "nothing")
    fails(capsys, "the benchmark's file names its targets", *grid, "--targets", "market1501")
    fails(capsys, "the benchmark sets it", *grid, "seed=4")
    fails(capsys, "needs --targets", "cross-domain", "--cfgs", "market_bn.yaml")
    fails(capsys, "'second.yaml' is not of the form key=value", *grid, "second.yaml")
    once = ["cross-domain", "--cfgs", "market_bn.yaml", "--output", "once", *small, "optim.steps=2"]
    code, out, _ = run(capsys, *once, "--targets", "market1501", str(ROOT / "datasets" / "market1501.yaml"))
    assert code == 0 and "missing: 0 cells" in out and out.count("market1501 |") == 2  # the header and the line, once
    with pytest.raises(SystemExit):
        main([*grid, "--jobs", "0"])
    capsys.readouterr()


def test_a_source_without_a_test_split_is_trained_on_and_tested_elsewhere(tiny, tmp_path, capsys):
    people = manifest_tree(tmp_path / "mine")
    Path("synthetic.yaml").write_text(
        f"name: synthetic\nroot: {people.parent}\nlayout: folders\npattern: '^(?P<cam>\\d)'\n"
        "splits: {train: {dir: images}}\n"
    )
    settings = [*tiny, "data.source=synthetic.yaml", "optim.steps=2"]
    code, out, _ = run(capsys, "train", "--cfg", "market_bn.yaml", *settings, "run=none")
    assert code == 0 and "no test split there" in out
    code, out, _ = run(capsys, "train", "--cfg", "market_bn.yaml", *settings, "targets=[market1501]", "run=one")
    assert code == 0 and "| market1501 |" in out and "in-domain" not in out


def test_random_splits_are_one_target(tiny, tmp_path, capsys):
    tree = tmp_path / "two"
    for pid in range(1, 9):
        for cam in (1, 2):
            write_image(tree / f"cam{cam}" / f"{pid}.png", pid, cam, size=(32, 16))
    Path("two.yaml").write_text(
        f"name: two\nroot: {tree}\npattern: '^(?P<pid>\\d+)'\ntrials: 3\nsplits:\n"
        "  train: {dir: [cam1, cam2], camera: [1, 2], half: first}\n"
        "  query: {dir: cam1, camera: 1, half: second}\n  gallery: {dir: cam2, camera: 2, half: second}\n"
    )
    code, out, _ = run(
        capsys, "train", "--cfg", "market_bn.yaml", *tiny, "optim.steps=2", "targets=[two.yaml]", "run=r"
    )
    own = json.loads(Path("runs/r/results.json").read_text())["targets"]["two"]
    assert code == 0 and "| two " in out and len(own["trials"]) == 3 and own["num_queries"] == 12
    assert own["mAP"] == pytest.approx(np.mean([one["mAP"] for one in own["trials"]]))
    assert own["spread"]["mAP"] == pytest.approx(np.std([one["mAP"] for one in own["trials"]], ddof=1))
    queries = pd.read_parquet("runs/r/targets/two/queries.parquet")
    assert queries.groupby("trial")["ap"].mean().tolist() == pytest.approx([one["mAP"] for one in own["trials"]])
    fails(capsys, "two@0", "train", "--cfg", "market_bn.yaml", *tiny, "data.source=two.yaml")


@pytest.mark.parametrize(
    ("command", "taken"),
    [
        (["evaluate"], 4),
        (["cross-domain"], 4),
        (["embed"], 3),
        (["search", "query"], 3),
        (["search", "forget"], 3),
        (["gallery"], 3),
        (["divergence"], 2),
        (["adapt"], 0),
        (["export"], 0),
    ],
)
def test_model_s_help_names_the_kinds_that_a_command_takes(command, taken, capsys):
    with pytest.raises(SystemExit):
        main([*command, "--help"])
    words = " ".join(capsys.readouterr().out.split()).replace("- ", "-")  # lines break behind hyphens
    kinds = [
        "checkpoint of torchreid or fast-reid (.pth",
        "timm:NAME",
        "an .onnx or .xml file (",
        "images (.npz, .parquet)",
    ]
    assert "a run's folder" in words and [kind in words for kind in kinds] == [
        number < taken for number in range(len(kinds))
    ]
