"""search.py and gallery.py where no network is named."""

import re
from pathlib import Path

import pytest
from conftest import ROOT
from PIL import Image

from reid.cli import main
from reid.gallery.store import Gallery
from reid.networks import load
from reid.networks.packed import pack


@pytest.fixture
def crops(people, market) -> list[Path]:
    """Pictures in the folder path/to/crops, and one to look for beside it."""
    there = sorted((market / "Market-1501-v15.09.15").rglob("0*.jpg"))[:5]
    for number, picture in enumerate(there):
        place = Path("path/to/crops") / f"{number}.jpg" if number else Path("path/to/crop.jpg")
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.open(picture).save(place)
    return there


def commands(document: str) -> list[list[str]]:
    """The words of the calls of search.py in a document's first block that has some."""
    text = (ROOT / document).read_text(encoding="utf-8")
    (block, *_) = [found for found in re.findall(r"```bash\n(.*?)```", text, re.DOTALL) if "search.py" in found]
    lines = [line.partition("  #")[0] for line in block.splitlines()]
    return [["search", *line.split()[2:]] for line in lines if line.startswith("python tools/search.py")]


@pytest.mark.parametrize("document", ["README.md", "docs/gallery.md"])
def test_the_first_commands_of_the_documents(crops, people, document, capsys):
    add, query = commands(document)
    assert main(add) == 0
    said = capsys.readouterr().out
    assert f"a new gallery of people: {Path('runs/gallery').resolve()} (--store names another place)" in said
    assert "runs/gallery: 4 images stored; 4 entries" in said
    assert main(query) == 0
    said = capsys.readouterr().out
    assert "crop.jpg" in said and "3.jpg" in said  # which picture it is: there are no names of people
    assert "no calibration, so nothing here says who is the same person: search.py calibrate" in said
    assert main(add) == 0
    said = capsys.readouterr().out
    assert "a new gallery" not in said and "0 images stored, 4 were there already" in said
    with Gallery.open("runs/gallery") as store:
        assert store.origin == load("people").origin and store.origin.network == load(people).origin.network


def test_compare_and_calibrate_by_it(crops, people, market, capsys):
    assert main(["search", "compare", "path/to/crop.jpg", "path/to/crop.jpg"]) == 0
    assert re.search(r"distance -?0.0000", capsys.readouterr().out)
    assert main(["search", "calibrate", "--source", "market1501", "--root", str(market), "--rates", "0.3"]) == 0
    assert Path("runs/calibration/people.json").is_file()


@pytest.mark.parametrize("more", [[], ["--model", "people"]])
def test_a_gallery_of_another_network_is_refused_by_both_names(crops, trained, capsys, more):
    folder, run = ["--folder", "path/to/crops", "--camera", "door"], str(trained[1])
    assert main(["search", "add", *folder, "--model", run]) == 0
    with Gallery.open("runs/gallery") as store:
        before = (store.origin, len(store))
    for words in (["search", "add", *folder], ["search", "query", "path/to/crop.jpg"], ["gallery", "--port", "0"]):
        capsys.readouterr()
        assert main([*words, *more]) == 2
        told = capsys.readouterr().err.strip().splitlines()
        assert len(told) == 1 and f"features of {trained[1].name!r}" in told[0] and "those of 'people'" in told[0]
        assert told[0].endswith("(--model), or another place for a gallery of 'people' (--store)")
    with Gallery.open("runs/gallery") as store:
        assert (store.origin, len(store)) == before
    assert main(["search", "query", "path/to/crop.jpg", "--model", run]) == 0


def test_a_gallery_of_the_network_that_the_package_had_before_is_told_apart(crops, people, capsys):
    folder = ["--folder", "path/to/crops", "--camera", "door"]
    assert main(["search", "add", *folder]) == 0
    former = Path("former.safetensors")
    former.write_bytes(people.read_bytes())
    pack(load(people, ["device=cpu"]), people, half=False)
    capsys.readouterr()
    assert main(["search", "query", "path/to/crop.jpg"]) == 2
    told = capsys.readouterr().err.strip()
    assert told.endswith("other network; name the former file of that name (--model), or another place for a gallery "
                         "of 'people' (--store)")  # fmt: skip
    assert main(["search", "query", "path/to/crop.jpg", "--model", str(former)]) == 0


def test_features_are_not_checked_against_it_unasked(crops, trained):
    run = str(trained[1])
    assert main(["embed", "--model", run, "path/to/crops", "--output", "features.npz"]) == 0
    assert main(["search", "add", "--features", "features.npz", "--camera", "door"]) == 0
    assert main(["search", "add", "--features", "features.npz", "--camera", "door", "--model", "people"]) == 2


def test_without_a_gallery_the_way_to_one_is_told(people, capsys):
    for words in (["search", "query", "none.jpg"], ["gallery", "--port", "0"]):
        assert main(words) == 2
        said = capsys.readouterr().err
        assert "runs/gallery: is not a gallery: it has no gallery.json (search.py add makes one)" in said


def test_a_package_without_its_network_is_told_before_anything_is_read(people, capsys):
    people.unlink()
    for words in (["add", "--folder", ".", "--camera", "door"], ["query", "none.jpg"], ["compare", "a.jpg", "b.jpg"]):
        assert main(["search", *words]) == 2
        assert "the network of that name travels in the package, but" in capsys.readouterr().err
    assert not Path("runs/gallery").exists()
