import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from runs import evaluate_run
from trees import PLACE, manifest_tree, market_tree

from reid.config import load_config
from reid.data.samples import Samples
from reid.engine import build
from reid.engine.train import train
from reid.errors import InputError
from reid.evaluation.moments import moments_of
from reid.evaluation.results import RESULTS_FILE, read_results
from reid.evaluation.subject import subject_of_run
from reid.evaluation.targets import TrainingImages


def train_folder(config) -> Path:
    return config.data.folder / PLACE / "bounding_box_train"


def as_manifest(folder: Path, prefix: str = "", name: str = "shop") -> Path:
    """A CSV in ``folder``: of the images below ``prefix`` the first of each person and camera is the query."""
    rows, seen = ["path,pid,camid,split"], set()
    for path in sorted((folder / prefix).glob("*.[jJ]*")):
        if path.name.startswith("."):
            continue
        pid, cam = int(path.name[:4]), int(path.name.split("_c")[1][0])
        rows.append(f"{path.relative_to(folder)},{pid},{cam},{'gallery' if (pid, cam) in seen else 'query'}")
        seen.add((pid, cam))
    (folder / f"{name}.csv").write_text("\n".join(rows) + "\n")
    return folder / f"{name}.csv"


def one_folder_up(images: Path, place: Path) -> Path:
    return as_manifest(images.parents[1], f"{images.parent.name}/{images.name}")


def linked_folder(images: Path, place: Path) -> Path:
    place.mkdir()
    (place / "crops").symlink_to(images)
    return as_manifest(place, "crops")


def linked_root(images: Path, place: Path) -> Path:
    place.symlink_to(images.parent)
    return as_manifest(place, images.name)


def each(images: Path, place: Path, make) -> Path:
    place.mkdir()
    for number, path in enumerate(sorted(images.glob("*.[jJ]*"))):
        if not path.name.startswith("."):
            pid, cam = path.name[:4], path.name.split("_c")[1][0]
            make(path, place / f"{pid}_c{cam}_{number}.jpg")
    return as_manifest(place)


def linked_files(images: Path, place: Path) -> Path:
    return each(images, place, lambda old, new: new.symlink_to(old))


def hard_links(images: Path, place: Path) -> Path:
    return each(images, place, os.link)


def copies(images: Path, place: Path) -> Path:
    return each(images, place, shutil.copyfile)


@pytest.fixture
def own(tiny, tmp_path):
    """A finished run on a tree that may be changed."""
    market_tree(tmp_path / "own" / PLACE, identities=6, cameras=2, images=4, size=(64, 32))
    config = load_config("market_bn.yaml", [*tiny, f"data.root={tmp_path / 'own'}", "optim.steps=1"])
    return config, train(config, progress=False)


@pytest.mark.parametrize("way", [one_folder_up, linked_folder, linked_root, linked_files, hard_links, copies])
def test_images_trained_on_are_found_by_whatever_path(own, tmp_path, way):
    config, folder = own
    manifest = way(train_folder(config), tmp_path / "shop")
    words = r"target 'shop': 48 of its images were trained on \(source 'market1501'\), the first is "
    with pytest.raises(InputError, match=words):
        evaluate_run(config, folder, [str(manifest)], progress=False)
    with pytest.raises(InputError, match=words):
        moments_of(subject_of_run(config, folder), str(manifest), progress=False)
    assert not (folder / RESULTS_FILE).exists()


def test_one_copy_among_the_gallery_is_enough(own, tmp_path):
    config, folder = own
    manifest = manifest_tree(tmp_path / "shop")
    first = sorted(train_folder(config).glob("0001*.jpg"))[0]
    shutil.copyfile(first, tmp_path / "shop" / "images" / "another.jpg")
    manifest.write_text(manifest.read_text() + "images/another.jpg,77,1,gallery\n")
    with pytest.raises(InputError, match=r"'people': 1 of its images were trained on .* images/another.jpg"):
        evaluate_run(config, folder, [str(manifest)], progress=False)


def test_any_of_several_sources_counts(tiny, tmp_path):
    market_tree(tmp_path / "own" / PLACE, identities=6, cameras=2, images=4, size=(64, 32))
    manifest = manifest_tree(tmp_path / "people")
    sources = f"data.source=[market1501, {manifest}]"
    config = load_config("market_bn.yaml", [*tiny, f"data.root={tmp_path / 'own'}", sources, "optim.steps=1"])
    folder = train(config, progress=False)
    shop = tmp_path / "shop"
    shutil.copytree(tmp_path / "people", shop)
    lines = [line for line in manifest.read_text().splitlines() if line.endswith(("split", "train"))]
    lines = [line.replace("train", "query" if "0.jpg" in line else "gallery") for line in lines]
    (shop / "people.csv").rename(shop / "shop.csv")
    (shop / "shop.csv").write_text("\n".join(lines) + "\n")
    with pytest.raises(InputError, match=r"target 'shop': 12 of its images were trained on \(source '.*people.csv'\)"):
        evaluate_run(config, folder, [str(shop / "shop.csv")], progress=False)


def test_files_of_one_size_are_compared_by_their_bytes(tmp_path):
    """Against every pair's bytes; many sizes coincide, some files are equal, one is a link."""
    rng = np.random.default_rng(0)
    contents = [bytes(rng.integers(0, 2, size=size, dtype=np.uint8)) for size in rng.integers(1, 5, size=60)]
    for number, content in enumerate(contents):
        (tmp_path / f"{number:02d}").write_bytes(content)
    (tmp_path / "60").symlink_to("03")
    names = tuple(f"{number:02d}" for number in range(61))

    def samples(chosen: tuple[str, ...]) -> Samples:
        return Samples(tmp_path, chosen, np.ones(len(chosen), np.int64), np.ones(len(chosen), np.int64))

    known, others = samples(names[:10]), samples(names[10:])
    expected = [
        name for name, path in zip(others.names, others.paths, strict=True)
        if any(path.read_bytes() == other.read_bytes() for other in known.paths)
    ]  # fmt: skip
    assert TrainingImages(known).among(others) == expected and 0 < len(expected) < 51


def test_figures_say_whether_training_images_could_be_compared(own, tmp_path, capsys):
    from reid.cli import main

    _config, folder = own
    manifest = manifest_tree(tmp_path / "shop")
    assert main(["evaluate", "--model", str(folder), "--targets", str(manifest)]) == 0
    assert "not checked" not in capsys.readouterr().out
    assert read_results(folder)["targets"]["people"]["training_images"] == "checked"

    moved = tmp_path / "elsewhere"
    (tmp_path / "own").rename(moved)
    other = manifest_tree(tmp_path / "b").rename(tmp_path / "b" / "other.csv")
    assert main(["evaluate", "--model", str(folder), "--targets", str(manifest), str(other)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("| people |") or line.startswith("| people  ") for line in lines)
    assert any(line.startswith("| other (not checked for training images) |") for line in lines)
    stored = read_results(folder)["targets"]
    assert stored["people"]["training_images"] == "checked"  # the same files, and they were
    assert stored["other"]["training_images"].startswith("not checked: market1501: ")

    features = (folder / "targets" / "other" / "query.npz").stat().st_mtime_ns
    moved.rename(tmp_path / "own")  # there again: compared, and nothing is computed anew for it
    assert main(["evaluate", "--model", str(folder), "--targets", str(other)]) == 0
    assert "not checked" not in capsys.readouterr().out
    assert (folder / "targets" / "other" / "query.npz").stat().st_mtime_ns == features


def test_other_files_in_the_sources_place_are_not_those_trained_on(own, tmp_path):
    config, folder = own
    next(train_folder(config).glob("0003*.jpg")).unlink()
    results = evaluate_run(config, folder, [str(manifest_tree(tmp_path / "shop"))], progress=False)
    assert results["targets"]["people"]["training_images"] == (
        "not checked: the files of market1501 are not those that were trained on"
    )


def test_a_site_is_not_drawn_to_be_compared(own, tmp_path):
    config, _folder = own
    drawn = config.model_copy(update={"data": config.data.model_copy(update={"source": "plaza"})})
    from reid.evaluation.targets import read_targets, refuse_training_images

    targets = read_targets(build.roots(drawn), [str(manifest_tree(tmp_path / "shop"))])
    assert refuse_training_images(build.roots(drawn), drawn.data.sources, targets, "x").startswith(
        "not checked: plaza: no folder data/sites/plaza"
    )
    assert not Path("data").exists()


def test_a_run_is_tested_where_nothing_it_was_trained_from_is_left(tiny, tmp_path):
    """Weights, source and a target of its config are gone; a loss and a sampler have other names."""
    from safetensors.torch import save_file

    from reid.networks.trained import open_run, run_config

    source = manifest_tree(tmp_path / "source")
    target = manifest_tree(tmp_path / "people").rename(tmp_path / "people" / "shop.csv")
    plain = load_config("market_bn.yaml", tiny)
    weights = tmp_path / "start.safetensors"
    save_file(build.embedder(plain, 2).backbone.state_dict(), weights)
    overrides = [f"model.weights={weights}", f"data.source={source}", f"targets=[{source}]", "optim.steps=1"]
    folder = train(load_config("market_bn.yaml", [*tiny, *overrides]), progress=False)
    weights.unlink()
    shutil.rmtree(tmp_path / "source")
    config = run_config(folder)
    own = evaluate_run(config, folder, [str(target)], progress=False)["targets"]["shop"]
    assert 0 < own["mAP"] <= 1 and own["training_images"].startswith(f"not checked: {source}: no manifest")
    adapted = evaluate_run(config, folder, [str(target)], progress=False, adabn=str(tmp_path / "people" / "images"))
    assert list(adapted["targets"]) == ["shop (AdaBN images (folder))"]
    assert len(moments_of(subject_of_run(config, folder), str(target), progress=False).moments.pids) == 3
    assert open_run(folder, ["threads=1"]).origin.width == 64


def test_a_network_that_is_gone_is_named(own):
    config, folder = own
    other = config.model_copy(update={"model": config.model.model_copy(update={"backbone": "resnet19"})})
    with pytest.raises(InputError, match="model.backbone: 'resnet19' is not one of resnet18"):
        evaluate_run(other, folder, ["market1501"], progress=False)


def test_a_target_of_training_images_is_refused_before_the_training(tiny, tmp_path, capsys):
    from reid.cli import main

    market_tree(tmp_path / "own" / PLACE, identities=6, cameras=2, images=4, size=(64, 32))
    manifest = copies(tmp_path / "own" / PLACE / "bounding_box_train", tmp_path / "shop")
    overrides = [*tiny, f"data.root={tmp_path / 'own'}", f"targets=[{manifest}]"]
    assert main(["train", "--cfg", "market_bn.yaml", *overrides]) == 2
    assert "target 'shop': 48 of its images were trained on" in capsys.readouterr().err
    assert not Path("runs").exists()
