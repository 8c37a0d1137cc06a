"""The commands on a gallery, end to end, with a small trained network."""

import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from PIL import Image, ImageOps
from runs import features_of

from reid.cli import main
from reid.data.card import load_card
from reid.data.reading import read_dataset
from reid.files import bundled
from reid.gallery.entries import Entry
from reid.gallery.store import Gallery
from reid.networks.trained import load_network

SHARED = Path(os.environ.get("REID_SHARED", ROOT.parent / "shared"))


@pytest.fixture(scope="module")
def filled(run_of_three_steps, market, tmp_path_factory):
    """Folder of a gallery of the small tree's gallery split; read only."""
    folder = tmp_path_factory.mktemp("filled") / "people"
    assert Searcher(run_of_three_steps, folder, market)("add", "--data", "market1501") == 0
    return folder


@pytest.fixture
def gallery(trained, filled, market, tmp_path):
    """A run's folder, and a gallery of the small tree's gallery split."""
    shutil.copytree(filled, tmp_path / "people")
    return Searcher(trained[1], tmp_path / "people", market)


class Searcher:
    def __init__(self, model, store, root):
        self.model, self.store, self.root = model, store, root

    def __call__(self, action, *arguments):
        own = ["search", action, "--store", self.store, "--model", self.model]
        rooted = ["--root", self.root] if "--data" in arguments or "--source" in arguments else []
        return main(list(map(str, [*own, *arguments, *rooted])))

    def opened(self):
        return Gallery.open(self.store)


def assert_rank_1_is_that_of_score(name, root, trained, folder, capsys):
    """Fill a gallery with one split, ask for all of the other; score the features that the evaluation would write."""
    config, run = trained
    sites = folder / "sites"
    data = read_dataset(load_card(str(name)), root, sites, ["query", "gallery"])
    network = load_network(config, run)
    for split in ("query", "gallery"):
        features_of(network, data.splits[split], config, split).save(folder / f"{split}.npz")
    scored = ["score", "--query", folder / "query.npz", "--gallery", folder / "gallery.npz"]
    assert main([*map(str, scored), "--json", str(folder / "score.json")]) == 0
    expected = json.loads((folder / "score.json").read_text())
    search = Searcher(run, folder / "gallery", root)
    assert search("add", "--data", name, "--sites-root", sites) == 0
    capsys.readouterr()
    assert search("query", "--data", name, "--sites-root", sites) == 0
    found = re.search(r"rank-1 ([\d.]+) % of ([\d,]+) queries", capsys.readouterr().out)
    assert found[1] == f"{100 * expected['cmc'][0]:.2f}"
    assert int(found[2].replace(",", "")) == expected["num_valid_queries"]


def test_rank_1_is_that_of_score(trained, market, tmp_path, capsys):
    assert_rank_1_is_that_of_score("market1501", market, trained, tmp_path, capsys)


@pytest.mark.parametrize("site", ["plaza", "station"])
def test_rank_1_is_that_of_score_on_drawn_sites(site, trained, tmp_path, capsys):
    card = (bundled("datasets") / f"{site}.yaml").read_text()
    smaller = card.replace("drawn: {", "drawn: {train_identities: 2, test_identities: 12, ")
    assert smaller != card
    (tmp_path / f"{site}.yaml").write_text(smaller)
    assert_rank_1_is_that_of_score(tmp_path / f"{site}.yaml", tmp_path, trained, tmp_path, capsys)


@pytest.mark.skipif(not (SHARED / "data/pku_reid").is_dir(), reason="PKU-Reid is not beside the checkout")
def test_rank_1_is_that_of_score_on_photographs(trained, tmp_path, capsys):
    assert_rank_1_is_that_of_score("pku_reid_all", SHARED / "data", trained, tmp_path, capsys)


def test_a_query_gives_a_table_json_and_a_picture(gallery, tmp_path, capsys):
    with gallery.opened() as store:
        wanted = store.find()[3]
    outputs = ("--json", tmp_path / "found.json", "--picture", tmp_path / "found.png")
    assert gallery("query", wanted.source, "--k", 3, *outputs) == 0
    (answer,) = json.loads((tmp_path / "found.json").read_text())
    assert answer["query"] == wanted.source and answer["nobody"] is None
    assert [hit["rank"] for hit in answer["hits"]] == [1, 2, 3]
    assert answer["hits"][0]["distance"] == pytest.approx(0, abs=1e-6) and answer["hits"][0]["id"] == wanted.id
    assert Image.open(tmp_path / "found.png").format == "PNG"
    assert wanted.identity in capsys.readouterr().out


def test_filters_narrow_the_answer(gallery, tmp_path):
    with gallery.opened() as store:
        wanted = store.find()[0]
        camera = next(name for name in store.catalogue.summary().cameras if name != wanted.camera)
    assert gallery("query", wanted.source, "--camera", camera, "--json", tmp_path / "found.json") == 0
    hits = json.loads((tmp_path / "found.json").read_text())[0]["hits"]
    assert {hit["camera"] for hit in hits} == {camera}
    assert gallery("query", wanted.source, "--from", "2026-01-01", "--json", tmp_path / "found.json") == 0
    assert json.loads((tmp_path / "found.json").read_text())[0]["hits"] == []


def test_adding_again_adds_nothing(gallery, capsys):
    capsys.readouterr()
    assert gallery("add", "--data", "market1501") == 0
    with gallery.opened() as store:
        assert f"0 images stored, {len(store)} were there already" in capsys.readouterr().out


def test_distractors_are_said_to_be_stored_as_nobody(trained, market, tmp_path, capsys):
    search = Searcher(trained[1], tmp_path / "people", market)
    assert search("add", "--data", "market1501") == 0
    assert "market1501: 1 images of identity 0, which stands for distractors, are stored" in capsys.readouterr().out
    assert search("add", "--data", "market1501", "--split", "query") == 0
    assert "identity 0" not in capsys.readouterr().out


def test_forgotten_entries_are_gone_and_the_images_stay(gallery, capsys):
    with gallery.opened() as store:
        entry = next(entry for entry in store.find() if entry.identity)
        others = len([one for one in store.find() if one.identity != entry.identity])
    assert gallery("forget", "--person", entry.identity) == 2 and "say --yes" in capsys.readouterr().err
    assert gallery("forget", "--person", entry.identity, "--yes") == 0
    with gallery.opened() as store:
        assert len(store) == others and entry.identity not in {one.identity for one in store.find()}
    assert (Image.open(entry.source)).size
    content = b"".join(path.read_bytes() for path in gallery.store.rglob("*") if path.is_file())
    assert entry.identity.encode() + b"\0" not in content and entry.source.encode() not in content
    assert gallery("forget", "--person", entry.identity, "--yes") == 2
    assert gallery("verify") == 0


def test_update_names_people_and_cameras(gallery, capsys):
    assert gallery("update", "--id", 1, 2, "--person", "P1", "--camera", "door", "--time", "1970-01-01T00:01") == 0
    assert gallery("update", "--of-person", "P1", "--person", "") == 0
    with gallery.opened() as store:
        one, two = store.get([1, 2])
        assert {(e.identity, e.camera, e.time) for e in (one, two)} == {(None, "door", 60.0)}
    assert gallery("update", "--id", 1) == 2 and "nothing to change" in capsys.readouterr().err


def test_calibration_judges_queries_and_pairs(gallery, tmp_path, capsys):
    with gallery.opened() as store:
        entries = [entry for entry in store.find() if entry.identity]
    written = tmp_path / "calibration.json"
    assert gallery("calibrate", "--source", "market1501", "--rates", 0.3, "--output", written) == 0
    assert written.with_suffix(".png").exists()
    said = capsys.readouterr().out
    assert "called no person" in said and f"and into {gallery.store}" in said
    assert gallery("query", entries[0].source, "--share", 0.9, "--json", tmp_path / "found.json") == 0
    (answer,) = json.loads((tmp_path / "found.json").read_text())
    shown = capsys.readouterr().out
    assert answer["found"] in ("near", "cannot tell") and answer["nobody"] is False
    assert all(sentence in shown for sentence in answer["sentences"]) and "Calibrated on" in answer["sentences"][-1]
    assert main(["search", "compare", "--model", str(gallery.model), entries[0].source, entries[1].source]) == 0
    assert "no calibration: give --calibration FILE" in capsys.readouterr().out
    assert gallery("compare", entries[0].source, entries[0].source, "--calibration", written) == 0
    shown = capsys.readouterr().out
    assert re.search("distance -?0.0000", shown) and "Probability of one person" in shown
    assert gallery("query", entries[0].source, "--share", 2) == 2
    assert "share 2.0: wanted a number between 0 and 1" in capsys.readouterr().err


def test_a_parquet_file_carries_a_gallery(gallery, tmp_path):
    assert gallery("export", tmp_path / "people.parquet") == 0
    other = Searcher(gallery.model, tmp_path / "other", gallery.root)
    assert other("import", tmp_path / "people.parquet") == 0
    with gallery.opened() as here, other.opened() as there:
        ids = [entry.id for entry in here.find()]
        assert np.array_equal(here.features(ids), there.features(ids)) and len(here) == len(there)


def test_stats_and_verify(gallery, capsys):
    assert gallery("stats") == 0
    shown = capsys.readouterr().out
    assert re.search(r"people +\| +\d", shown) and re.search(r"calibrated +\| +no", shown) and "segments" in shown
    assert gallery("verify") == 0 and "37 entries, all in order" in capsys.readouterr().out
    pack = next((gallery.store / "thumbnails").iterdir())
    pack.write_bytes(pack.read_bytes()[:-10])
    assert gallery("verify") == 2 and "damaged" in capsys.readouterr().err


def test_folders_and_csv_files(gallery, tmp_path, capsys):
    with gallery.opened() as store:
        source = store.find()[0].source
        before = len(store)
    folder = tmp_path / "crops"
    folder.mkdir()
    Image.open(source).save(folder / "a.png")
    assert gallery("add", "--folder", folder) == 2 and "--camera" in capsys.readouterr().err
    assert gallery("add", "--folder", folder, "--camera", "door") == 0
    (folder / "bad.jpg").write_bytes(b"none")
    (tmp_path / "people.csv").write_text("path,camera,time\ncrops/bad.jpg,hall,\ncrops/a.png,hall,20260302\n")
    assert gallery("add", "--csv", tmp_path / "people.csv") == 2
    said = capsys.readouterr()
    assert "images left out: 1; all others are stored" in said.err and "bad.jpg" in said.err
    assert "2 values differ from what is stored, which stays; search.py update changes it" in said.out
    assert f"a.png (entry {before + 1}): camera: 'door' is stored, 'hall' was given" in said.out
    assert f"a.png (entry {before + 1}): time: nothing is stored, 2026-03-02T00:00:00+00:00 was given" in said.out
    with gallery.opened() as store:
        assert len(store) == before + 1 and store.find()[-1] == Entry(
            str((folder / "a.png").resolve()), "door", id=before + 1, added=store.find()[-1].added
        )


def test_pictures_that_are_passed_over_are_counted_and_named(gallery, tmp_path, capsys):
    with gallery.opened() as store:
        source = store.find()[0].source
    people = tmp_path / "shop"
    image = Image.open(source)
    for turn, name in enumerate(("ann/c1.png", "ann/deep/c2.png", "bob/c1.webp", "bob/c2.tif")):
        (people / name).parent.mkdir(parents=True, exist_ok=True)
        image.rotate(90 * turn).save(people / name)
    (people / "bob" / "c3.heic").touch()
    capsys.readouterr()
    assert gallery("add", "--folder", people, "--camera", "door") == 0
    said = capsys.readouterr().out
    assert "1 pictures are not read" in said and "bob/c3.heic" in said and "4 images stored" in said
    assert gallery("add", "--data", people) == 0
    said = capsys.readouterr().out
    assert "1 images are not read" in said and "ann/deep/c2.png" in said and "bob/c3.heic" in said


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photo_on_its_side_is_the_same_photo(gallery, tmp_path, capsys, orientation):
    with gallery.opened() as store:
        upright = Image.open(store.find()[0].source).convert("RGB")
    upright.save(tmp_path / "upright.png")
    exif = Image.Exif()
    exif[0x0112] = {6: 8, 8: 6}.get(orientation, orientation)  # the other turns undo themselves
    upright.save(tmp_path / "stored.png", exif=exif)
    exif[0x0112] = orientation
    ImageOps.exif_transpose(Image.open(tmp_path / "stored.png")).save(tmp_path / "stored.png", exif=exif)
    images = [tmp_path / "upright.png", tmp_path / "stored.png"]
    assert main(["search", "compare", "--model", str(gallery.model), *map(str, images)]) == 0
    assert "distance 0.0000" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["query"], "give images or folders"),
        (["query", "none.jpg"], "none.jpg"),
        (["query", "none.jpg", "--k", "0"], "--k 0"),
        (["query", "none.jpg", "--from", "noon"], "--from: 'noon'"),
        (["forget", "--id", "99", "--yes"], "no entry 99"),
        (["forget", "--image", "none.jpg", "--yes"], "no entry of image"),
        (["add", "--folder", "none", "--camera", "c"], "no folder none"),
        (["add", "--csv", "none.csv"], "none.csv"),
        (["import", "none.parquet"], "none.parquet"),
        (["export", ""], "is no name of a file"),
        (["update", "--id", "1", "--time", "1e20"], "no point in time"),
    ],
)
def test_bad_input_is_named(gallery, capsys, arguments, message):
    capsys.readouterr()
    assert gallery(*arguments) == 2
    assert message in capsys.readouterr().err


def test_a_gallery_of_another_network_is_refused(gallery, tmp_path, capsys):
    with gallery.opened() as store:
        source = store.find()[0].source
    changed = gallery.model / "config.yaml"
    changed.write_text(changed.read_text().replace("flip: false", "flip: true"))
    assert gallery("query", source) == 2
    assert "cannot be compared" in capsys.readouterr().err


def test_a_fragment_keeps_its_length_when_its_time_is_set(gallery, capsys):
    with gallery.opened() as store:
        rows = store.features([1])
        (id,) = store.add([Entry("/v.mp4", "door", time=0.0, until=5.0, frame=3)], rows, [b""])
    assert gallery("update", "--id", id, "--time", "2026-03-01T09:00:00") == 0
    with gallery.opened() as store:
        (entry,) = store.get([id])
    assert (entry.time, entry.until) == (1772355600.0, 1772355605.0)


def test_an_unknown_camera_is_no_nobody(gallery, capsys):
    with gallery.opened() as store:
        source = store.find()[0].source
    assert gallery("query", source, "--camera", "typo") == 2
    assert "'typo' is not in" in capsys.readouterr().err
    assert gallery("query", source, "--from", "2026-01-02", "--to", "2026-01-01") == 2
    assert "is later than" in capsys.readouterr().err


def test_a_name_that_cannot_be_kept_does_not_stop_the_others(gallery, tmp_path, capsys):
    with gallery.opened() as store:
        source, before = store.find()[0].source, len(store)
    folder = tmp_path / "odd"
    folder.mkdir()
    Image.open(source).save(folder / "a.png")
    os.link(folder / "a.png", os.fsencode(folder) + b"/x\xff.png")
    assert gallery("add", "--folder", folder, "--camera", "door") == 2
    assert "is not UTF-8" in capsys.readouterr().err
    with gallery.opened() as store:
        assert len(store) == before + 1


def test_a_folder_that_a_kill_left_begun_is_finished(gallery, tmp_path):
    begun = tmp_path / "begun"
    begun.mkdir()
    (begun / ".lock").touch()
    assert Searcher(gallery.model, begun, gallery.root)("add", "--data", "market1501") == 0


@pytest.fixture
def blind_to_black(trained):
    """The run, whose network gives a black picture NaN."""
    from reid.networks.trained import TrainedNetwork

    _, folder = trained
    embed = TrainedNetwork.embed

    def blind(self, images):
        features = embed(self, images)
        features[[not image.any() for image in images]] = np.nan
        return features

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TrainedNetwork, "embed", blind)
        yield folder


def test_a_black_image_stops_nothing(gallery, blind_to_black, tmp_path, capsys):
    with gallery.opened() as store:
        source, before = store.find()[0].source, len(store)
    folder = tmp_path / "crops"
    folder.mkdir()
    Image.open(source).save(folder / "a.png")
    Image.new("RGB", (32, 64)).save(folder / "black.png")
    capsys.readouterr()
    assert gallery("add", "--folder", folder, "--camera", "door") == 2
    said = capsys.readouterr()
    assert "1 images stored" in said.out and "images left out: 1; all others are stored:" in said.err
    assert f"{folder}/black.png: the network finds nothing to compare in it" in said.err
    with gallery.opened() as store:
        assert len(store) == before + 1
    assert gallery("query", folder, "--k", 1, "--json", tmp_path / "found.json") == 2
    assert "queries left out: 1; all others are answered" in capsys.readouterr().err
    assert [each["query"] for each in json.loads((tmp_path / "found.json").read_text())] == [str(folder / "a.png")]
    for words in (("query", folder / "black.png"), ("compare", folder / "a.png", folder / "black.png")):
        assert gallery(*words) == 2 and "black.png: the network finds nothing" in capsys.readouterr().err


def test_a_day_is_whole(gallery, tmp_path):
    with gallery.opened() as store:
        source = store.find()[0].source
    for id, time in enumerate(("2026-03-01", "2026-03-01T23:59:59.5", "2026-03-02"), 1):
        assert gallery("update", "--id", id, "--time", time) == 0
    for words, ids in (
        (("--to", "2026-03-01"), {1, 2}),
        (("--from", "20260301", "--to", "20260301"), {1, 2}),
        (("--from", "2026-03-01T12", "--to", "2026-W10"), {2, 3}),
        (("--to", "2026-03-01T00:00"), {1}),
        (("--from", "2026-03"), {1, 2, 3}),
    ):
        assert gallery("query", source, *words, "--json", tmp_path / "found.json") == 0
        assert {hit["id"] for hit in json.loads((tmp_path / "found.json").read_text())[0]["hits"]} == ids
