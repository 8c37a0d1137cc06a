"""Each public data set on a small tree in its official layout, each layout, and what may be wrong on disk."""

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from trees import (
    MARKET_CARD,
    PLACE,
    clutter,
    cuhk_tree,
    duke_tree,
    folder_tree,
    manifest_tree,
    market_tree,
    msmt_tree,
    pku_tree,
    scene_tree,
    unreal_tree,
    write_card,
    write_image,
)

from reid.data.card import load_card
from reid.data.check import check_dataset
from reid.data.reading import read_dataset
from reid.data.samples import DataSet, matchless
from reid.data.schema import Card
from reid.errors import InputError
from reid.files import bundled

SHARED = Path(os.environ.get("REID_SHARED", Path(__file__).parents[2] / ".." / "shared" / "data"))


def read(card: Card | str, root: Path, splits: list[str] | None = None) -> DataSet:
    return read_dataset(load_card(card) if isinstance(card, str) else card, root, root / "sites", splits)


def sizes(dataset: DataSet) -> dict[str, tuple[int, int]]:
    return {name: (len(samples), len(samples.identities)) for name, samples in dataset.splits.items()}


# --- the public data sets ---------------------------------------------------------------------------------------------


def test_market1501(tmp_path: Path) -> None:
    market_tree(tmp_path / PLACE)
    dataset = read("market1501", tmp_path)
    assert sizes(dataset) == {"train": (32, 4), "query": (8, 4), "gallery": (25, 4)}
    assert dataset.version == "v15.09.15"
    assert dataset.left_out == {"gallery junk": 1}
    gallery = dataset.splits["gallery"]
    assert (gallery.pids == 0).sum() == 1, "distractors stay in the gallery"
    assert not any(name.endswith("Thumbs.db") or "/." in name for name in gallery.names)
    assert "bounding_box_train/0001_c1s1_000001_01.JPG" in dataset.splits["train"].names
    assert "gallery: the card says 19732 images, found 26" in dataset.notes, "counts are of files, junk included"
    assert "train: the card says 751 identities, found 4" in dataset.notes
    assert all(path.is_file() for path in gallery.paths)
    assert gallery.pids.dtype == gallery.camids.dtype == np.int64


def test_market1501_junk_and_distractors_outside_the_gallery_are_left_out_and_counted(tmp_path: Path) -> None:
    root = market_tree(tmp_path / PLACE)
    write_image(root / "query" / "0000_c1s1_000001_00.jpg", 0, 1)
    write_image(root / "query" / "-1_c1s1_000001_00.jpg", -1, 1)
    write_image(root / "bounding_box_train" / "0000_c1s1_000001_00.jpg", 0, 1)
    dataset = read("market1501", tmp_path)
    expected = {"train junk or distractor": 1, "query junk or distractor": 2, "gallery junk": 1}
    assert dataset.left_out == expected
    assert (dataset.splits["query"].pids > 0).all() and (dataset.splits["train"].pids > 0).all()


@pytest.mark.parametrize(("version", "folder"), [("V1", "test"), ("V2", "mask_test_v2")])
def test_msmt17(tmp_path: Path, version: str, folder: str) -> None:
    msmt_tree(tmp_path, version)
    dataset = read("msmt17", tmp_path)
    assert dataset.version == version
    assert sizes(dataset) == {"train": (18, 3), "val": (6, 3), "query": (6, 3), "gallery": (18, 3)}
    assert dataset.left_out == {}, "identity 0 is a real person here"
    query = dataset.splits["query"]
    assert query.names[0] == f"{folder}/0000/0000_000_01_0303morning_0000_0.jpg"
    assert query.cameras.tolist() == [1, 2], "the third number of the name, not the second"
    assert dataset.splits["train"].identities.tolist() == dataset.splits["val"].identities.tolist() == [1, 2, 3]
    train_people, test_people = set(dataset.splits["train"].identities), set(query.identities)
    assert not train_people & test_people, "0 in the test half is another person than 0 in the training half"
    assert not set(dataset.splits["train"].names) & set(dataset.splits["val"].names)


def test_msmt17_with_both_versions_asks_which(tmp_path: Path) -> None:
    msmt_tree(tmp_path, "V1")
    msmt_tree(tmp_path, "V2")
    with pytest.raises(InputError, match="msmt17@V1 or msmt17@V2"):
        read("msmt17", tmp_path)
    assert read("msmt17@V2", tmp_path).root.name == "MSMT17_V2"
    assert read("msmt17@V1", tmp_path).version == "V1"
    with pytest.raises(InputError, match="'V3' is not one of V1, V2"):
        load_card("msmt17@V3")
    with pytest.raises(InputError, match="no versions"):
        load_card("market1501@V1")


def test_msmt17_absent_version_names_its_folder(tmp_path: Path) -> None:
    msmt_tree(tmp_path, "V1")
    with pytest.raises(InputError, match=re.escape(str(tmp_path / "MSMT17_V2"))):
        read("msmt17@V2", tmp_path)
    with pytest.raises(InputError, match=r"MSMT17_V1 or .*MSMT17_V2.*REID_DATA"):
        read("msmt17", tmp_path / "elsewhere")


def test_msmt17_training_on_train_and_val(tmp_path: Path) -> None:
    msmt_tree(tmp_path)
    card = write_card(
        tmp_path,
        "name: both\nroot: MSMT17_V1\npattern: '^\\d+_\\d+_(?P<cam>\\d+)_'\n"
        "splits: {train: {dir: train, list: [list_train.txt, list_val.txt], pid_offset: 1}}\n",
    )
    assert sizes(read(card, tmp_path)) == {"train": (24, 3)}


@pytest.mark.parametrize("boxes", ["detected", "labeled"])
def test_cuhk03np(tmp_path: Path, boxes: str) -> None:
    cuhk_tree(tmp_path, boxes)
    dataset = read(f"cuhk03np_{boxes}", tmp_path)
    assert sizes(dataset) == {"train": (18, 3), "query": (6, 3), "gallery": (12, 3)}
    assert dataset.splits["query"].names[0] == "query/0004_c1_1.png"
    assert dataset.splits["gallery"].cameras.tolist() == [1, 2]


def test_pku_reid_small(tmp_path: Path) -> None:
    pku_tree(tmp_path, identities=40)
    dataset = read("pku_reid", tmp_path)
    assert sizes(dataset) == {"train": (37 * 4, 37), "query": (3 * 2, 3), "gallery": (3 * 2, 3)}
    train, query, gallery = (dataset.splits[name] for name in ("train", "query", "gallery"))
    assert train.identities.max() < query.identities.min(), "the first 37 of the sorted numbers, gaps and all"
    assert query.identities.tolist() == gallery.identities.tolist()
    assert (train.cameras.tolist(), query.cameras.tolist(), gallery.cameras.tolist()) == ([1, 2], [1], [2])
    everyone = read("pku_reid_all", tmp_path)
    assert sizes(everyone) == {"query": (80, 40), "gallery": (80, 40)}


@pytest.mark.skipif(not (SHARED / "pku_reid").is_dir(), reason="the real PKU-Reid images are not on this machine")
def test_pku_reid_real() -> None:
    dataset = read("pku_reid", SHARED)
    assert sizes(dataset) == {"train": (592, 37), "query": (296, 37), "gallery": (296, 37)}
    assert dataset.notes == () and dataset.left_out == {}
    everyone = read("pku_reid_all", SHARED)
    assert sizes(everyone) == {"query": (592, 74), "gallery": (592, 74)}
    assert everyone.notes == ()


def test_dukemtmc_says_first_that_it_was_withdrawn(tmp_path: Path) -> None:
    duke_tree(tmp_path)
    dataset = read("dukemtmc", tmp_path)
    assert sizes(dataset) == {"train": (12, 3), "query": (6, 3), "gallery": (8, 4)}
    assert dataset.notes[0] == "withdrawn by its authors (2019, privacy); it should not be used for new work"
    assert dataset.notes[1] == "train: the card says 16522 images, found 12"
    assert not any("withdrawn" in line for line in dataset.differences)


def test_any_withdrawn_data_set_says_so(tmp_path: Path) -> None:
    market_tree(tmp_path, identities=2, images=2, size=(16, 8))
    card = write_card(tmp_path, MARKET_CARD + "status: withdrawn\n")
    assert read(card, tmp_path).notes == ("withdrawn by its authors; it should not be used for new work",)
    with pytest.raises(InputError, match=r"withdrawn says why, but status is 'available'"):
        load_card(write_card(tmp_path, MARKET_CARD + "status: available\nwithdrawn: long ago\n"))


@pytest.mark.parametrize(("swapped", "second"), [(False, 2), (True, 3)])  # words are numbered as they sort
def test_randperson(tmp_path: Path, swapped: bool, second: int) -> None:
    scene_tree(tmp_path / "randperson_subset", swapped=swapped)
    dataset = read("randperson", tmp_path)
    train = dataset.splits["train"]
    assert sizes(dataset) == {"train": (16, 4)}, "person 000000 is a real one"
    assert train.cameras.tolist() == [1, 2, 3], "camera 0 of scene 1 is another one than camera 0 of scene 0"
    assert train.identities.tolist() == [1, 2, 3, 4] and dataset.left_out == {}
    assert "train: the card says 132145 images, found 16" in dataset.notes
    first = [camid for name, camid in zip(train.names, train.camids.tolist(), strict=True) if name.startswith("000000")]
    assert first == [1, 1, second, second], "scene 0 has two cameras, persons 0 and 2 are in it"


def test_clonedperson(tmp_path: Path) -> None:
    for part, start in (("train", 700000), ("test/query", 705000), ("test/gallery", 705000)):
        scene_tree(tmp_path / "clonedperson" / part, start=start, cameras=(0,) if part == "test/query" else (0, 1))
    dataset = read("clonedperson", tmp_path)
    assert sizes(dataset) == {"train": (16, 4), "query": (8, 4), "gallery": (16, 4)}
    assert dataset.splits["train"].identities.tolist() == [700000, 700001, 700002, 700003]
    query, gallery = dataset.splits["query"], dataset.splits["gallery"]
    assert matchless(query, gallery).tolist() == [False, False, True, True] * 2, "scene 1 has one camera here"
    assert dataset.notes == ()


def test_unrealperson_takes_person_and_camera_from_the_list(tmp_path: Path) -> None:
    unreal_tree(tmp_path)
    dataset = read("unrealperson", tmp_path)
    assert sizes(dataset) == {"train": (8, 4)}, "the file that is not listed is not read"
    train = dataset.splits["train"]
    assert train.names[0] == "unreal_v1.1/images/0_c001_10.jpg"
    assert dict(zip(train.names, zip(train.pids.tolist(), train.camids.tolist(), strict=True), strict=True)) == {
        "unreal_v1.1/images/0_c001_10.jpg": (1, 0),
        "unreal_v1.1/images/1_c001_10.jpg": (2, 0),
        "unreal_v1.2/images/0_c001_10.jpg": (3, 0),
        "unreal_v1.2/images/1_c001_10.jpg": (4, 0),
        "unreal_v2.1/images/0_c001_10.jpg": (1, 1),
        "unreal_v2.1/images/1_c001_10.jpg": (2, 1),
        "unreal_v2.2/images/0_c001_10.jpg": (3, 1),
        "unreal_v2.2/images/1_c001_10.jpg": (4, 1),
    }
    assert dataset.left_out == {}


# --- other layouts ----------------------------------------------------------------------------------------------------


def test_manifest_is_a_data_set_by_itself(tmp_path: Path) -> None:
    path = manifest_tree(tmp_path / "mine")
    dataset = read(str(path), tmp_path)
    assert dataset.name == "people"
    assert sizes(dataset) == {"train": (12, 3), "query": (6, 3), "gallery": (6, 3)}
    assert dataset.splits["query"].root == path.parent.resolve()
    assert sizes(read(str(path), tmp_path, ["query"])) == {"query": (6, 3)}


def test_manifest_card_with_counts(tmp_path: Path) -> None:
    manifest_tree(tmp_path / "mine")
    card = write_card(
        tmp_path, "name: m\nroot: mine\nmanifest: people.csv\nsplits: {query: {images: 7}, gallery: {images: 6}}\n"
    )
    dataset = read(card, tmp_path)
    assert list(dataset.splits) == ["query", "gallery"]
    assert dataset.notes == ("query: the card says 7 images, found 6",)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("../x.jpg,1,1,query", "leaves the data set's root"),
        ("/etc/x.jpg,1,1,query", "leaves the data set's root"),
        ("images/none.jpg,1,1,query", "1 files that it lists are not in .*images/none.jpg"),
        ("images/none.txt,1,1,query", "no image file; suffixes"),
        ("images/1.jpg,1,1,test", "split 'test' is not one of train, val, query, gallery"),
        ("images/1.jpg,,1,query", "line 2: pid is empty"),
    ],
)
def test_manifest_mistakes(tmp_path: Path, row: str, message: str) -> None:
    write_image(tmp_path / "images" / "1.jpg", 1, 1)
    (tmp_path / "bad.csv").write_text(f"path,pid,camid,split\n{row}\n")
    with pytest.raises(InputError, match=message):
        read(str(tmp_path / "bad.csv"), tmp_path)


def test_manifest_without_a_column_row_or_file(tmp_path: Path) -> None:
    path = tmp_path / "bad.csv"
    with pytest.raises(InputError, match=r"no manifest .*bad\.csv"):
        load_card(str(path))
    path.write_text("path,person,camid,split\n")
    needs = "no column pid; it needs path, pid, split and, where cameras are known, camid; it has path, person, camid"
    with pytest.raises(InputError, match=needs):
        read(str(path), tmp_path)
    path.write_text("path,pid,camid,split,camid\n")
    with pytest.raises(InputError, match="column camid stands there twice"):
        read(str(path), tmp_path)
    path.write_text("path,pid,camid,split\n")
    with pytest.raises(InputError, match="no rows"):
        read(str(path), tmp_path)
    write_image(tmp_path / "1.jpg", 1, 1)
    path.write_text("path,pid,camid,split\n1.jpg,1,1,query\n./1.jpg,1,1,query\n")
    with pytest.raises(InputError, match=r"line 3: './1\.jpg' is listed twice"):
        read(str(path), tmp_path)


def test_folder_of_splits(tmp_path: Path) -> None:
    folder_tree(tmp_path / "mine")
    dataset = read(str(tmp_path / "mine"), tmp_path)
    assert sizes(dataset) == {"train": (12, 3), "query": (6, 3), "gallery": (6, 3)}
    assert dataset.splits["query"].cameras.tolist() == [1, 2]
    # words are numbered over all splits: a number means the same person whichever splits are read
    alone = read(str(tmp_path / "mine"), tmp_path, ["query", "gallery"])
    assert alone.splits["query"].pids.tolist() == dataset.splits["query"].pids.tolist()
    assert not set(dataset.splits["train"].identities) & set(dataset.splits["query"].identities)


def test_folder_of_identities_is_query_and_gallery(tmp_path: Path) -> None:
    folder_tree(tmp_path / "mine", names=("0001", "0007"), splits=False)
    dataset = read(str(tmp_path / "mine"), tmp_path)
    assert sizes(dataset) == {"query": (8, 2), "gallery": (8, 2)}
    assert dataset.splits["query"].identities.tolist() == [1, 7]


def test_folder_numbered_zero_is_a_distractor_and_says_so(tmp_path: Path) -> None:
    folder_tree(tmp_path / "mine", names=("0", "1"), splits=False)
    dataset = read(str(tmp_path / "mine"), tmp_path)
    assert dataset.left_out == {"query junk or distractor": 4}
    assert any("folders numbered [0]" in note for note in dataset.notes)


def test_folder_without_cameras_or_images(tmp_path: Path) -> None:
    write_image(tmp_path / "mine" / "ann" / "1.jpg", 1, 1)
    with pytest.raises(InputError, match=r"split query: no file in .* tells its camera .*--protocol any-camera"):
        read(str(tmp_path / "mine"), tmp_path)
    clutter(tmp_path / "other" / "ann")
    with pytest.raises(InputError, match="nor folders of images"):
        load_card(str(tmp_path / "other"))


def test_two_folders_a_camera_pair(tmp_path: Path) -> None:
    for pid in range(1, 7):
        for camera, folder in ((1, "cam_a"), (2, "cam_b")):
            write_image(tmp_path / folder / f"{pid:03d}_{45 * pid}.bmp", pid, camera, size=(16, 8))
    card = write_card(
        tmp_path,
        r"""
name: pair
root: .
pattern: '^(?P<pid>\d+)_'
splits:
  train: {dir: [cam_a, cam_b], camera: [1, 2], first_ids: 2}
  query: {dir: cam_a, camera: 1, skip_ids: 2, first_ids: 3}
  gallery: {dir: cam_b, camera: 2, skip_ids: 2}
""",
    )
    dataset = read(card, tmp_path)
    assert sizes(dataset) == {"train": (4, 2), "query": (3, 3), "gallery": (4, 4)}
    assert dataset.splits["train"].camids.tolist() == [1, 1, 2, 2]
    assert dataset.splits["query"].identities.tolist() == [3, 4, 5]


@dataclass(frozen=True)
class FakeSettings:
    empty: ClassVar[dict[str, str]] = {}
    kind: ClassVar[str] = "drawn"
    site: str
    seed: int = 0
    style: float = 0.75
    degradation: float = 0.4
    cameras: int = 5

    def __post_init__(self) -> None:
        if self.site not in ("plaza", "station", "street"):
            raise ValueError(f"site {self.site!r} is not one of plaza, station, street")


def test_drawn_card_renders_below_the_sites_root_with_its_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def render(folder: Path, settings: FakeSettings) -> str:
        calls.append((folder, settings))
        market_tree(folder, identities=2, images=2, size=(16, 8))
        return "fingerprint"

    monkeypatch.setattr("reid.sites.DrawnSettings", FakeSettings, raising=False)
    monkeypatch.setattr("reid.sites.render_site", render, raising=False)
    dataset = read("station_neutral", tmp_path)
    assert sizes(dataset) == {"train": (8, 2), "query": (4, 2), "gallery": (5, 2)}
    assert calls == [(tmp_path / "sites" / "station_neutral", FakeSettings("station", style=0.0))]
    card = load_card("plaza")
    assert card.drawn is not None
    with pytest.raises(InputError, match="card plaza, drawn: site 'moon' is not one of"):
        read(card.model_copy(update={"drawn": card.drawn.model_copy(update={"site": "moon"})}), tmp_path)


def test_drawn_site_for_real(tmp_path: Path) -> None:
    small = "train_identities: 3, test_identities: 3, cameras: 2, train_shots: 2, test_shots: 2, missing: 0.0"
    text = (bundled("datasets") / "plaza.yaml").read_text().replace("site: plaza,", f"site: plaza, {small},")
    card = write_card(tmp_path, text)
    first = read(card, tmp_path)
    assert len(first.splits["train"].identities) == 3
    assert first.root == tmp_path / "sites" / "plaza"
    assert read(card, tmp_path).fingerprint == first.fingerprint


def test_a_folder_of_a_sites_name_is_told_from_the_site(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("reid.sites.DrawnSettings", FakeSettings, raising=False)
    monkeypatch.setattr("reid.sites.render_site", lambda folder, _: market_tree(folder, 2, images=2, size=(16, 8)).name)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plaza").mkdir()
    for _ in range(2):
        read("plaza", tmp_path)
    told = [record.message for record in caplog.records]
    assert told == ["plaza: the site of that name is drawn now; the folder of that name here is ./plaza"]


def test_rendered_site_for_real(tmp_path: Path) -> None:
    small = "train_identities: 2, test_identities: 2, cameras: 2, passes: 2, train_shots: 1, test_shots: 2, height: 64"
    text = (bundled("datasets") / "mall.yaml").read_text().replace("site: mall,", f"site: mall, {small},")
    card = write_card(tmp_path, text)
    first = read(card, tmp_path)
    assert sizes(first) == {"train": (4, 2), "query": (4, 2), "gallery": (4, 2)}
    assert read(card, tmp_path).fingerprint == first.fingerprint
    with pytest.raises(InputError, match="card mall, rendered: .*passes is 9, more than cameras, which is 2"):
        read(write_card(tmp_path, text.replace("passes: 2", "passes: 9")), tmp_path)
    with pytest.raises(InputError, match="drawn and rendered exclude each other"):
        read(write_card(tmp_path, text + "drawn: {site: plaza}\n"), tmp_path)


@pytest.mark.parametrize(
    ("kind", "given", "message"),
    [
        ("rendered", "site: mall, cameras: 300", r"card own, rendered: .*cameras is 300, not in 2\.\.200"),
        ("rendered", "site: mall, style: .nan", r"card own, rendered: .*style is nan, not in 0\.0\.\.1\.5"),
        ("rendered", "site: plaza", r"card own, rendered: site 'plaza' is not one of \['campus', 'mall'"),
        ("rendered", "seed: 1", r"own\.yaml: rendered\.site: is missing"),
        (
            "rendered",
            "site: mall, missing: 0.1",
            r"own\.yaml: unknown key 'rendered\.missing'; the keys here are site, .*passes",
        ),
        (
            "drawn",
            "site: plaza, passes: 2",
            r"own\.yaml: unknown key 'drawn\.passes'; the keys here are site, .*missing",
        ),
        ("rendered", "site: mall, cameras: many", r"own\.yaml: rendered\.cameras: .*got 'many'"),
        ("rendered", "site: mall, cameras: 2.5", r"own\.yaml: rendered\.cameras: .*got 2\.5"),
        (
            "rendered",
            "site: mall, cameras: true",
            r"own\.yaml: rendered\.cameras: expected a number or a text, got true",
        ),
        (
            "rendered",
            "site: mall, splits: train",
            r"split query: no image is made in query: rendered: splits are \['train'\]",
        ),
        (
            "rendered",
            "site: mall, test_identities: 0",
            r"split query: no image is made in query: .*test_identities is 0",
        ),
    ],
)
def test_wrong_settings_of_a_site_are_named_before_anything_is_made(
    tmp_path: Path, kind: str, given: str, message: str
) -> None:
    text = (bundled("datasets") / "mall.yaml").read_text().replace("name: mall", "name: own")
    card = write_card(tmp_path, text.replace("rendered: {site: mall, seed: 0}", f"{kind}: {{{given}}}"))
    with pytest.raises(InputError, match=message) as caught:
        read(card, tmp_path)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "sites").exists()


# --- what people's own tables and folders look like ---------------------------------------------------------------


def rewrite(manifest: Path, **columns: str) -> None:
    """Each named column's values through a format: pid='{}.0'."""
    header, *rows = manifest.read_text().splitlines()
    names = header.split(",")
    lines = [[columns.get(n, "{}").format(v) for n, v in zip(names, row.split(","), strict=True)] for row in rows]
    manifest.write_text("\n".join([header, *map(",".join, lines)]) + "\n")


@pytest.mark.parametrize("notation", ["{}.0", "+{}", " {}", "{}.", "{}e0", "000{}", "{}.000000000000000000e+00"])
def test_numbers_of_a_table_in_any_notation(tmp_path: Path, notation: str) -> None:
    manifest = manifest_tree(tmp_path)
    for split, pid in (("gallery", 0), ("gallery", -1), ("query", -1)):
        write_image(tmp_path / f"{split}{pid}.jpg", 9, 1, size=(16, 8))
        with manifest.open("a") as file:
            file.write(f"{split}{pid}.jpg,{pid},1,{split}\n")
    expected = read(str(manifest), tmp_path)
    assert expected.left_out == {"query junk or distractor": 1, "gallery junk": 1}
    if notation[0] not in "+0":  # before -1 these mean nothing
        rewrite(manifest, pid=notation, camid=notation)
    else:
        rewrite(manifest, camid=notation)
    found = read(str(manifest), tmp_path)
    assert found.fingerprint == expected.fingerprint and found.left_out == expected.left_out
    assert (found.splits["gallery"].pids == 0).sum() == 1


def test_one_table_with_two_notations_of_a_number(tmp_path: Path) -> None:
    manifest = manifest_tree(tmp_path)
    expected = read(str(manifest), tmp_path).fingerprint
    header, first, *rest = manifest.read_text().splitlines()
    path, pid, camid, split = first.split(",")
    manifest.write_text("\n".join([header, f"{path},{pid}.0,{camid}.00,{split}", *rest]))
    assert read(str(manifest), tmp_path).fingerprint == expected


@pytest.mark.parametrize("column", ["pid", "camid"])
@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("1.5", "'1.5' is no whole number"),
        ("1.500000e+00", r"'1\.500000e\+00' is no whole number"),
        ('"-1,0"', "'-1,0' is no whole number"),
        ("1.0e+15", r"'1\.0e\+15' is no whole number of at most 15 digits"),
        ("#N/A", "'#N/A', a missing value"),
        ("NA", "'NA', a missing value"),
        ("nan", "'nan', a missing value"),
        ("NaN", "'NaN', a missing value"),
        ("", "empty"),
    ],
)
def test_what_is_no_number_is_named_by_file_line_and_column(
    tmp_path: Path, column: str, value: str, message: str
) -> None:
    write_image(tmp_path / "1.jpg", 1, 1)
    cells = {"pid": "1", "camid": "2"} | {column: value}
    (tmp_path / "a.csv").write_text(f"path,pid,camid,split\n1.jpg,{cells['pid']},{cells['camid']},query\n")
    with pytest.raises(InputError, match=rf"a\.csv, line 2: {column} .*{message}"):
        read(str(tmp_path / "a.csv"), tmp_path)


@pytest.mark.parametrize(
    "odd", ["\u2028", "\u2029", "\x0b", "\x0c", "\x85", "\x1c", "\x1d", "\x1e", ", ", '"', "\n", "\r\n"], ids=ascii
)
def test_a_table_ends_lines_where_csv_does(tmp_path: Path, odd: str) -> None:
    manifest = manifest_tree(tmp_path)
    header, first, *rest = manifest.read_text().splitlines()
    path, others = first.split(",", 1)
    (tmp_path / path).rename(tmp_path / f"a{odd}b.jpg")
    quoted = '"' + f"a{odd}b.jpg".replace('"', '""') + '"'
    manifest.write_bytes("\r\n".join([header, f"{quoted},{others}", *rest, ""]).encode())
    assert f"a{odd}b.jpg" in read(str(manifest), tmp_path).splits["train"].names
    manifest.write_bytes(manifest.read_bytes() + b"none.jpg,1,1,test\r\n")
    line = len(rest) + 3 + odd.count("\n")
    with pytest.raises(InputError, match=rf"line {line}: split 'test'"):
        read(str(manifest), tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"path;pid;camid;split\n1.jpg;1;1;query\n", "separated by ';', expected are commas"),
        (b"path\tpid\tcamid\tsplit\n", r"separated by '\\t', expected are commas"),
        ("path,pid,camid,split\n".encode("utf-16"), "is UTF-16 text; save it as UTF-8"),
        ("path,pid,camid,split\n1.jpg,1,1,query\nd\xe9.jpg,1,1,query\n".encode("latin-1"), "line 3: .*UTF-8"),
        (b"path,pid,pid,camid,split\n", "column pid stands there twice"),
        (b"path,pid,camid,split\na, b.jpg,1,1,query\n", "line 2: more values than columns"),
        (b"path,pid,camid,split\n1.jpg,1,1\n", "line 2: split is empty"),
        (b'path,pid,camid,split\n"1.jpg,1,1,query\n', "not readable as CSV"),
        (b"path,pid,camid,split\nimg\\1.jpg,1,1,query\n", "folders are told apart by /"),
    ],
)
def test_tables_that_are_no_such_csv_are_told_what_they_are(tmp_path: Path, content: bytes, message: str) -> None:
    write_image(tmp_path / "1.jpg", 1, 1)
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.csv.*" + message):
        read(str(tmp_path / "a.csv"), tmp_path)


def test_a_comma_that_ends_a_line_adds_nothing(tmp_path: Path) -> None:
    manifest = manifest_tree(tmp_path)
    expected = read(str(manifest), tmp_path).fingerprint
    header, *rows = manifest.read_text().splitlines()
    manifest.write_text("\n".join([header, *(f"{row},," for row in rows)]))
    assert read(str(manifest), tmp_path).fingerprint == expected


def test_a_table_with_a_mark_before_it(tmp_path: Path) -> None:
    manifest = manifest_tree(tmp_path)
    expected = read(str(manifest), tmp_path).fingerprint
    manifest.write_text(manifest.read_text(), encoding="utf-8-sig")
    assert read(str(manifest), tmp_path).fingerprint == expected


def test_people_numbered_from_0_are_told_what_0_means(tmp_path: Path) -> None:
    manifest = manifest_tree(tmp_path, identities=2)
    assert read(str(manifest), tmp_path).zeros == ()
    manifest.write_text(re.sub(r",(\d),(\d),", lambda m: f",{int(m[1]) - 1},{m[2]},", manifest.read_text()))
    found = read(str(manifest), tmp_path)
    assert [line.split(" are")[0] for line in found.zeros] == ["train: 4 images of identity 0"]
    assert "pid_offset: 1" in found.zeros[0] and found.zeros[0] in found.notes
    card = "name: m\nroot: .\nmanifest: people.csv\npid_offset: 1\n"
    assert read(write_card(tmp_path, card), tmp_path).zeros == ()


def test_cameras_in_a_folder_are_words_of_their_own(tmp_path: Path) -> None:
    """Hexadecimal names hold c and digits by chance: with them 17 cameras were read here."""
    generator = np.random.default_rng(0)
    for person in ("ann", "bob"):
        for camera in (1, 2):
            for _ in range(40):
                digits = generator.bytes(6).hex()
                path = tmp_path / "mine" / person / f"{digits}_cam{camera}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.touch()
    query = read(str(tmp_path / "mine"), tmp_path).splits["query"]
    assert query.camids.tolist() == [int(name[-5]) for name in query.names] and query.cameras.tolist() == [1, 2]
    (tmp_path / "mine" / "ann" / "c1_cam2.png").touch()
    with pytest.raises(InputError, match=r"ann/c1_cam2\.png: names the cameras c1 and cam2"):
        read(str(tmp_path / "mine"), tmp_path)


@pytest.mark.parametrize(
    "names", [("train_crops", "test_crops"), ("Training", "bob"), ("bounding_box_test",), ("images",)]
)
@pytest.mark.parametrize("below", ["", "query/"])
def test_splits_are_not_taken_for_people(tmp_path: Path, names: tuple[str, ...], below: str) -> None:
    for name in names:
        for camera in (1, 2):
            write_image(tmp_path / "shop" / f"{below}{name}" / f"c{camera}.jpg", 1, camera, size=(16, 8))
    with pytest.raises(InputError, match=rf"{names[0]}.*expected one folder a person"):
        read(str(tmp_path / "shop"), tmp_path)


@pytest.mark.parametrize("name", ["Query", "GALLERY", "Train"])
def test_splits_in_another_case_are_named(tmp_path: Path, name: str) -> None:
    folder_tree(tmp_path / "shop")
    (tmp_path / "shop" / name.lower()).rename(tmp_path / "shop" / name)
    with pytest.raises(InputError, match=rf"folder {name} is no split; splits are named train, val, query, gallery"):
        load_card(str(tmp_path / "shop"))


@pytest.mark.parametrize(("names", "shown"), [(("1", "01"), "'01' and '1'"), (("2", "2.0"), "'2' and '2.0'")])
def test_two_folders_are_two_people(tmp_path: Path, names: tuple[str, ...], shown: str) -> None:
    folder_tree(tmp_path / "mine", names=(*names, "7"), splits=False)
    with pytest.raises(InputError, match=f"folders {shown} would be one and the same"):
        read(str(tmp_path / "mine"), tmp_path)


def test_folders_numbered_as_floats(tmp_path: Path) -> None:
    folder_tree(tmp_path / "mine", names=("1.0", "-1.0", "0.0", "2.0"), splits=False)
    found = read(str(tmp_path / "mine"), tmp_path)
    assert found.splits["query"].identities.tolist() == [1, 2]
    assert found.left_out == {"query junk or distractor": 8, "gallery junk": 4}


def test_pictures_that_are_not_read_are_counted_and_named(tmp_path: Path) -> None:
    folder = folder_tree(tmp_path / "mine")
    assert read(str(folder), tmp_path).passed_over == ()
    for name in (
        "query/ann/a.gif",
        "query/ann/b.HEIC",
        "gallery/eve/cam1/1.png",
        "gallery/loose.jpg",
        "query/.x/1.png",
    ):
        write_image(folder / "train" / "one.png", 1, 1, size=(16, 8))
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / "train" / "one.png").rename(folder / name)
    other, deeper = read(str(folder), tmp_path).passed_over
    assert other.startswith("2 pictures are not read") and "query/ann/a.gif, query/ann/b.HEIC" in other
    assert deeper.startswith("2 images are not read")
    assert "gallery/eve/cam1/1.png, gallery/loose.jpg" in deeper
    assert len(read(str(folder), tmp_path, ["train"]).passed_over) == 0
    assert {other, deeper} <= set(read(str(folder), tmp_path).notes)


def test_what_lies_beside_the_splits_is_named(tmp_path: Path) -> None:
    folder = folder_tree(tmp_path / "mine")
    write_image(folder / "test" / "ann" / "c1.jpg", 1, 1, size=(16, 8))
    (line,) = read(str(folder), tmp_path, ["train"]).passed_over
    assert line.startswith("1 images are not read") and line.endswith("test/ann/c1.jpg")


def test_pictures_of_another_split_are_not_missed(tmp_path: Path) -> None:
    for name in ("1_c1.jpg", "query/2_c1.jpg", "gallery/2_c2.jpg", "gallery/deep/2_c2.tif"):
        write_image(tmp_path / name, 1, 1, size=(16, 8))
    card = MARKET_CARD.replace("dir: bounding_box_train", "dir: .").replace("bounding_box_test", "gallery")
    assert [line.partition(" ")[0] for line in read(write_card(tmp_path, card), tmp_path).passed_over] == ["1"]
    assert read(write_card(tmp_path, card), tmp_path, ["train"]).passed_over == ()


def test_folders_that_lie_too_deep_are_named(tmp_path: Path) -> None:
    write_image(tmp_path / "mine" / "ann" / "cam1" / "1.png", 1, 1, size=(16, 8))
    with pytest.raises(InputError, match=r"nor folders of images.*1 images are not read.*ann/cam1/1\.png"):
        load_card(str(tmp_path / "mine"))
    write_image(tmp_path / "split" / "query" / "ann" / "cam1" / "1.png", 1, 1, size=(16, 8))
    with pytest.raises(InputError, match=r"no image file.*1 images are not read.*query/ann/cam1/1\.png"):
        read(str(tmp_path / "split"), tmp_path)


@pytest.mark.parametrize("suffix", [".webp", ".tif", ".TIFF", ".jfif", ".jpe"])
def test_all_that_is_decoded_is_read(tmp_path: Path, suffix: str) -> None:
    folder = folder_tree(tmp_path / "mine", splits=False)
    for path in folder.rglob("shot*.jpg"):
        path.rename(path.with_suffix(suffix))
    assert sizes(read(str(folder), tmp_path)) == {"query": (12, 3), "gallery": (12, 3)}


@pytest.mark.parametrize("name", [b"query/1/\xff_cam1.jpg", b"query/\xe9/cam1.jpg"])
def test_names_that_are_not_utf8_are_refused_when_they_are_read(tmp_path: Path, name: bytes) -> None:
    folder = folder_tree(tmp_path / "mine", names=("1", "2"))
    target = Path(os.fsdecode(os.fsencode(folder) + b"/" + name))
    target.parent.mkdir(exist_ok=True)
    write_image(folder / "one.jpg", 1, 1, size=(16, 8))
    (folder / "one.jpg").rename(target)
    with pytest.raises(InputError, match="a name that is not UTF-8 cannot be kept") as caught:
        read(str(folder), tmp_path, ["query"])
    assert str(caught.value).isascii() and "udc" in str(caught.value)


def test_a_folder_above_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    root = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xe9"))
    market_tree(root / PLACE, identities=2, images=2, size=(16, 8))
    with pytest.raises(InputError, match="not UTF-8"):
        read("market1501", root)


# --- mistakes on disk -------------------------------------------------------------------------------------------------


def test_missing_root_folder_and_split(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=re.escape(str(tmp_path / PLACE)) + ".*README.*REID_DATA"):
        read("market1501", tmp_path)
    (tmp_path / PLACE).mkdir()
    with pytest.raises(InputError, match=r"split train: no folder .*bounding_box_train\. .*REID_DATA"):
        read("market1501", tmp_path)
    clutter(tmp_path / PLACE / "query")
    with pytest.raises(InputError, match=r"split query: no image file \(\.jpg"):
        read("market1501", tmp_path, ["query"])
    with pytest.raises(InputError, match="no split 'probe' of market1501; choices: train, query, gallery"):
        read("market1501", tmp_path, ["probe"])


def test_only_the_splits_asked_for_must_be_there(tmp_path: Path) -> None:
    root = market_tree(tmp_path / PLACE)
    for path in (root / "bounding_box_train").iterdir():
        path.unlink()
    (root / "bounding_box_train").rmdir()
    assert list(read("market1501", tmp_path, ["query", "gallery"]).splits) == ["query", "gallery"]


def test_names_without_a_camera_are_named_by_the_rule(tmp_path: Path) -> None:
    folder = folder_tree(tmp_path / "shop", splits=False)
    write_image(folder / "ann" / "0001c1.jpg", 1, 1, size=(16, 8))
    rule = r"query: 1 image files whose names tell no camera \(c1 or cam1 as a word of its own\): ann/0001c1\.jpg"
    assert re.fullmatch(rule, read(str(folder), tmp_path).notes[0])
    problems = check_dataset(load_card(str(folder)), tmp_path, tmp_path, progress=False).problems
    assert re.fullmatch(rule, problems[0])


def test_names_that_do_not_match_are_named(tmp_path: Path) -> None:
    root = market_tree(tmp_path / PLACE)
    write_image(root / "query" / "portrait.jpg", 1, 1)
    dataset = read("market1501", tmp_path)
    assert dataset.unmatched == {"train": (), "query": ("query/portrait.jpg",), "gallery": ()}
    assert any("query/portrait.jpg" in note for note in dataset.notes)
    assert len(dataset.splits["query"]) == 8


def test_all_junk_is_an_empty_split(tmp_path: Path) -> None:
    write_image(tmp_path / "bounding_box_train" / "-1_c1.jpg", -1, 1)
    with pytest.raises(InputError, match=r"split train: empty .*junk or distractor only"):
        read(write_card(tmp_path, MARKET_CARD), tmp_path, ["train"])


def test_no_query_with_a_match_is_an_error_not_a_zero(tmp_path: Path) -> None:
    write_image(tmp_path / "query" / "0001_c1.jpg", 1, 1)
    write_image(tmp_path / "bounding_box_test" / "0001_c1_2.jpg", 1, 1)
    card = write_card(tmp_path, MARKET_CARD)
    with pytest.raises(InputError, match="none of the 1 queries has a gallery image"):
        read(card, tmp_path, ["query", "gallery"])
    with pytest.raises(InputError, match="cross_camera_only"):
        load_card(write_card(tmp_path, MARKET_CARD + "cross_camera_only: any\n"))


def test_own_camera_counts_where_the_card_says_so(tmp_path: Path) -> None:
    write_image(tmp_path / "query" / "0001_c1.jpg", 1, 1)
    write_image(tmp_path / "bounding_box_test" / "0001_c1_2.jpg", 1, 1)
    path = write_card(tmp_path, MARKET_CARD + "cross_camera_only: false\n")
    dataset = read(path, tmp_path, ["query", "gallery"])
    assert dataset.card.protocol == "any-camera" and sizes(dataset) == {"query": (1, 1), "gallery": (1, 1)}
    with pytest.raises(InputError, match="from another camera"):
        read_dataset(load_card(path).under("cross-camera"), tmp_path, tmp_path, ["query", "gallery"])
    assert load_card(path).under(None).protocol == "any-camera"


def test_a_folder_without_cameras(tmp_path: Path) -> None:
    for person in ("ann", "bob"):
        for shot in (1, 2):
            write_image(tmp_path / "mine" / person / f"{shot}.jpg", 1, shot)
    card = load_card(str(tmp_path / "mine"))
    with pytest.raises(InputError, match="split query: .* only matches from another camera count"):
        read_dataset(card, tmp_path, tmp_path)
    dataset = read_dataset(card.under("any-camera"), tmp_path, tmp_path)
    assert sizes(dataset) == {"query": (4, 2), "gallery": (4, 2)} and not dataset.notes
    assert dataset.splits["query"].cameras.tolist() == dataset.splits["gallery"].cameras.tolist() == [0]
    (tmp_path / "mine" / "bob" / "2.jpg").unlink()
    (tmp_path / "mine" / "ann" / "2.jpg").unlink()
    with pytest.raises(InputError, match="none of the 2 queries has .* identity beside itself in .* check identities$"):
        read_dataset(card.under("any-camera"), tmp_path, tmp_path)


def test_a_folder_with_some_cameras(tmp_path: Path) -> None:
    """Under the camera protocol files that tell none are misnamed; without it they count."""
    for name in ("c1_1", "c2_1", "other"):
        write_image(tmp_path / "mine" / "ann" / f"{name}.jpg", 1, 1)
    card = load_card(str(tmp_path / "mine"))
    dataset = read_dataset(card, tmp_path, tmp_path)
    assert sizes(dataset)["query"] == (2, 1) and dataset.unmatched["query"] == ("ann/other.jpg",)
    dataset = read_dataset(card.under("any-camera"), tmp_path, tmp_path)
    assert dataset.splits["query"].camids.tolist() == [1, 2, 0] and not dataset.unmatched["query"]


def test_training_images_need_no_camera(tmp_path: Path) -> None:
    for split in ("train", "query", "gallery"):
        for shot in (1, 2):
            name = f"{shot}.jpg" if split == "train" else f"c{shot}.jpg"
            write_image(tmp_path / "mine" / split / "ann" / name, 1, 1)
    dataset = read(str(tmp_path / "mine"), tmp_path)
    assert sizes(dataset)["train"] == (2, 1) and dataset.splits["train"].cameras.tolist() == [0]
    assert dataset.notes == ("train: no camera is known: all images stand as one camera's",)


def test_a_manifest_without_cameras(tmp_path: Path) -> None:
    for shot in (1, 2, 3):
        write_image(tmp_path / f"{shot}.jpg", 1, shot)
    path = tmp_path / "people.csv"
    path.write_text("path,pid,split\n1.jpg,1,query\n2.jpg,1,gallery\n3.jpg,1,train\n")
    card = load_card(str(path))
    with pytest.raises(InputError, match=r"people.csv has no column camid, .*--protocol any-camera"):
        read_dataset(card, tmp_path, tmp_path, ["query", "gallery"])
    dataset = read_dataset(card.under("any-camera"), tmp_path, tmp_path, ["query", "gallery"])
    assert [table.camids.tolist() for table in dataset.splits.values()] == [[0], [0]]
    assert sizes(read_dataset(card, tmp_path, tmp_path, ["train"])) == {"train": (1, 1)}


def test_file_names_need_tell_no_camera_where_none_counts(tmp_path: Path) -> None:
    content = "name: shop\npattern: '^(?P<pid>\\d+)_'\nsplits:\n  query: {dir: .}\n  gallery: {dir: .}\n"
    for shot in (1, 2):
        write_image(tmp_path / f"0001_{shot}.jpg", 1, shot)
    with pytest.raises(InputError, match=r"lacks the named group \(\?P<cam>"):
        load_card(write_card(tmp_path, content))
    dataset = read(write_card(tmp_path, content + "cross_camera_only: false\n"), tmp_path)
    assert sizes(dataset) == {"query": (2, 1), "gallery": (2, 1)}


def test_selection_that_leaves_nothing(tmp_path: Path) -> None:
    market_tree(tmp_path, identities=2, images=2, size=(16, 8))
    card = write_card(tmp_path, MARKET_CARD.replace("{dir: query}", "{dir: query, cameras: [9]}"))
    with pytest.raises(InputError, match=r"leave none of 4 images \(cameras \[1, 2\], 2 identities\)"):
        read(card, tmp_path, ["query"])


def test_list_file_mistakes(tmp_path: Path) -> None:
    root = msmt_tree(tmp_path)
    listing = root / "list_query.txt"
    good = listing.read_text()
    listing.write_text(good + "".join(f"0000/gone_00_01_{n}.jpg 0\n" for n in range(5)))
    with pytest.raises(InputError, match=r"5 files that list_query\.txt lists .*gone_00_01_0.*and 2 more"):
        read("msmt17", tmp_path, ["query"])
    listing.write_text(good + "../../secret.jpg 0\n")
    with pytest.raises(InputError, match=r"list_query\.txt, line 7: .* leaves the data set's root"):
        read("msmt17", tmp_path, ["query"])
    listing.write_text(good + good)
    with pytest.raises(InputError, match="listed twice"):
        read("msmt17", tmp_path, ["query"])
    listing.write_text("\n")
    with pytest.raises(InputError, match="split query"):
        read("msmt17", tmp_path, ["query"])
    listing.unlink()
    with pytest.raises(InputError, match=r"no list file .*list_query\.txt"):
        read("msmt17", tmp_path, ["query"])


# --- what every reader relies on --------------------------------------------------------------------------------------


def test_order_and_fingerprint(tmp_path: Path) -> None:
    market_tree(tmp_path / PLACE, identities=2, images=2, size=(16, 8))
    dataset = read("market1501", tmp_path)
    digest = hashlib.sha256()
    for split in sorted(dataset.splits):
        samples = dataset.splits[split]
        assert list(samples.names) == sorted(samples.names)
        for name, path, pid, cam in zip(samples.names, samples.paths, samples.pids, samples.camids, strict=True):
            digest.update(f"{split}\0{name}\0{path.stat().st_size}\0{pid}\0{cam}\n".encode())
    assert dataset.fingerprint == digest.hexdigest()
    assert read("market1501", tmp_path, ["gallery", "train", "query"]).fingerprint == dataset.fingerprint
    with dataset.splits["query"].paths[0].open("ab") as file:
        file.write(b"\0")
    assert read("market1501", tmp_path).fingerprint != dataset.fingerprint


@pytest.mark.parametrize("name", ["../../outside", "a/b", "..", "", ".hidden"])
def test_a_name_that_would_leave_the_results_folder(tmp_path: Path, name: str) -> None:
    card = write_card(tmp_path, MARKET_CARD.replace("name: own", f"name: {name!r}"))
    with pytest.raises(InputError, match="name"):
        load_card(card)


def test_a_drawn_site_stays_below_its_root(tmp_path: Path) -> None:
    text = (bundled("datasets") / "plaza.yaml").read_text().replace("root: plaza", "root: ../plaza")
    with pytest.raises(InputError, match="leaves the data set's root"):
        load_card(write_card(tmp_path, text))


def test_hidden_folders_are_no_people(tmp_path: Path) -> None:
    folder = folder_tree(tmp_path)
    before = read_dataset(load_card(str(folder)), tmp_path, tmp_path).splits["gallery"].pids.tolist()
    write_image(folder / "gallery" / ".thumbs" / "c1_x.png", 1, 1)
    assert read_dataset(load_card(str(folder)), tmp_path, tmp_path).splits["gallery"].pids.tolist() == before


def test_numbers_and_words_do_not_mix(tmp_path: Path) -> None:
    manifest = manifest_tree(tmp_path)
    lines = manifest.read_text().splitlines()
    for pid, message in (("alice", "identities are whole numbers .* but for 'alice'"), ("9" * 20, "but for '9999")):
        manifest.write_text(
            "\n".join([*lines[:-1], ",".join([lines[-1].split(",")[0], pid, *lines[-1].split(",")[2:]])])
        )
        with pytest.raises(InputError, match=message):
            read(str(manifest), tmp_path)
