import shutil

import cv2
import numpy as np
import pytest
from fakes import NOTHING, Blind, MeanColours, paint
from PIL import Image

from reid.data.card import load_card
from reid.data.reading import Roots, read_dataset
from reid.data.times import taken
from reid.embedding.images import items_of
from reid.errors import InputError
from reid.files import bundled
from reid.gallery.entries import Entry
from reid.gallery.ingest.images import (
    csv_entries,
    folder_entries,
    labelled,
    read_crop,
    split_entries,
)


def test_a_folder_is_every_image_below_it_by_name(folder):
    entries = folder_entries(folder, "door", "P1")
    assert [entry.source for entry in entries] == [str(folder / name) for name in ("a.png", "b.png", "below/c.png")]
    assert {(entry.camera, entry.identity, entry.time) for entry in entries} == {("door", "P1", None)}


def test_a_csv_file_gives_all_fields(folder, tmp_path):
    table = tmp_path / "people.csv"
    table.write_text(
        "path,camera,identity,time,left,top,right,bottom\n"
        "crops/a.png,door,P1,2026-03-01T17:05:00,1,2,30,40\n"
        "crops/b.png,hall,,,,,,\n"
    )
    first, second = csv_entries(table)
    assert first == Entry(str(folder / "a.png"), "door", "P1", 1772384700.0, box=(1, 2, 30, 40))
    assert second == Entry(str(folder / "b.png"), "hall")
    assert read_crop(first).shape == (38, 29, 3)


@pytest.mark.parametrize("notation", ["{}.0", "+{}", " {}", "{}e0", "0{}"])
def test_a_box_is_four_whole_numbers_in_any_notation(folder, tmp_path, notation):
    box = ",".join(notation.format(side) for side in (1, 2, 30, 40))
    (tmp_path / "people.csv").write_text(
        f"path,camera,left,top,right,bottom\ncrops/a.png,door,{box}\ncrops/b.png,door,,,,\n"
    )
    first, second = csv_entries(tmp_path / "people.csv")
    assert first.box == (1, 2, 30, 40) and second.box is None


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        *(("1.0", "1"), ("12.000", "12"), ("007", "007"), ("1.5", "1.5"), ("v1.0", "v1.0"), ("-1.0", "-1")),
        *(("1.200000e+01", "12"), ("1e2", "1e2"), (" ann ", "ann"), ("Nan", "Nan")),
    ],
)
def test_a_name_that_a_table_writer_made_a_float(folder, tmp_path, name, kept):
    (tmp_path / "people.csv").write_text(f"path,camera,identity\ncrops/a.png,{name},{name}\ncrops/b.png,{name},\n")
    first, second = csv_entries(tmp_path / "people.csv")
    assert (first.camera, first.identity, second.identity) == (kept, kept, None)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_box_lies_in_the_upright_image(tmp_path, orientation):
    """One photo as a camera stores it at each turn, from cv2's own reading of the tag; the box marks a corner of it."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    noise = np.random.default_rng(0).integers(0, 256, (6, 4, 3), dtype=np.uint8)
    stored = Image.fromarray(noise if orientation < 5 else noise.swapaxes(0, 1).copy())
    stored.save(tmp_path / "a.jpg", quality=100, subsampling=0, exif=exif)
    upright = cv2.cvtColor(cv2.imread(str(tmp_path / "a.jpg"), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    assert upright.shape == (6, 4, 3)
    found = read_crop(Entry(str(tmp_path / "a.jpg"), "door", box=(1, 0, 4, 6)))
    assert found.shape == (6, 3, 3) and np.abs(found.astype(int) - upright[:, 1:]).max() <= 4
    with pytest.raises(InputError, match="lies outside its 4 x 6 pixels"):
        read_crop(Entry(str(tmp_path / "a.jpg"), "door", box=(0, 0, 6, 4)))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,camera,left,top,right,bottom\na.png,door,1,2,3.5,9\n", "expected four whole numbers"),
        ("path\na.png\n", "no column path, or no column camera"),
        ("path,camera,age\na.png,x,3\n", "unknown column 'age'"),
        ("path,camera,camera\na.png,x,y\n", "column 'camera' stands there twice"),
        ("path,camera,identity\na.png,door,\nb.png,door,nan\n", "line 3: identity is 'nan', a missing value"),
        ("path,camera\na.png,#N/A\n", "line 2: camera is '#N/A', a missing value"),
        ("path,camera\na.png, \n", "line 2: expected a value for path and camera"),
        ("path,camera\na.png\n", "line 2: expected a value for path and camera"),
        ("path,camera\na.png,door,9\n", "line 2: expected a value for path and camera"),
        ("path,camera,time\na.png,door,noon\n", "line 2: time: 'noon' is neither"),
        ("path,camera,time\na.png,door,inf\n", "'inf' is no point in time"),
        ("path,camera,time\na.png,door,60\n", "line 2: time: '60' is no point in time"),
        ("path,camera,left,top,right,bottom\na.png,door,1,2,3,\n", "expected four whole numbers"),
        ("path,camera,left,top,right,bottom\na.png,door,5,2,3,9\n", "expected 0 <= left < right"),
    ],
)
def test_a_wrong_csv_file_is_refused_by_line_and_column(tmp_path, text, message):
    table = tmp_path / "people.csv"
    table.write_text(text)
    with pytest.raises(InputError, match=r"people\.csv.*" + message):
        csv_entries(table)


def test_a_csv_file_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / "people.csv").write_bytes(b"path,camera\n\xff\xfe\n")
    for name in ("people.csv", "none.csv"):
        with pytest.raises(InputError, match=name):
            csv_entries(tmp_path / name)


def test_a_split_keeps_the_cards_order_and_leaves_junk_out(market, tmp_path):
    data = read_dataset(load_card("market1501"), market, tmp_path)
    entries = split_entries(data, "gallery")
    samples = data.splits["gallery"]
    kept = [row for row, pid in enumerate(samples.pids) if pid >= 0]
    assert [entry.source for entry in entries] == [str(samples.paths[row].resolve()) for row in kept]
    assert {entry.time for entry in entries} == {None}
    assert [entry.camera for entry in entries] == [f"market1501/{samples.camids[row]}" for row in kept]
    people = [samples.pids[row] for row in kept]
    assert [entry.identity for entry in entries] == [f"market1501/{pid}" if pid else None for pid in people]


def test_images_of_a_drawn_site_come_with_times_in_galleries_and_files(tmp_path):
    small = "seed: 0, train_identities: 1, test_identities: 2, cameras: 2, missing: 0.0"
    (tmp_path / "own.yaml").write_text((bundled("datasets") / "plaza.yaml").read_text().replace("seed: 0", small))
    roots = Roots(tmp_path, tmp_path / "sites")
    data = roots.read(load_card(str(tmp_path / "own.yaml")), ["gallery"])
    entries = split_entries(data, "gallery")
    assert [entry.time for entry in entries] == taken(data, "gallery") and None not in taken(data, "gallery")
    assert [item.entry for item in items_of([str(tmp_path / "own.yaml")], roots, ["gallery"])] == entries


def test_labelled_splits_become_features_with_people_and_cameras(market, tmp_path):
    data = read_dataset(load_card("market1501"), market, tmp_path)
    problems = []
    query, gallery = labelled(data, MeanColours(), problems, progress=False)
    assert not problems
    for split, features in (("query", query), ("gallery", gallery)):
        samples = data.splits[split]
        expected = [MeanColours().embed([np.asarray(Image.open(path))])[0] for path in samples.paths]
        assert np.allclose(features.features, expected) and features.origin == f"market1501/{split}"
        assert (features.pids == samples.pids).all() and (features.camids == samples.camids).all()


@pytest.mark.parametrize("nothing", NOTHING)
def test_calibration_leaves_out_and_names_what_has_no_feature(market, tmp_path, nothing):
    own = shutil.copytree(market, tmp_path / "data")
    data = read_dataset(load_card("market1501"), own, tmp_path)
    black, broken = data.splits["gallery"].paths[2], data.splits["query"].paths[0]
    paint(black, "black")
    broken.write_bytes(b"no image")
    problems = []
    query, gallery = labelled(data, Blind(nothing), problems, progress=False)
    assert len(query) == len(data.splits["query"]) - 1 and len(gallery) == len(data.splits["gallery"]) - 1
    assert (gallery.pids == np.delete(data.splits["gallery"].pids, 2)).all()
    assert gallery.paths == (*data.splits["gallery"].names[:2], *data.splits["gallery"].names[3:])
    assert str(broken) in problems[0] and str(black) in problems[1] and len(problems) == 2
    for path in data.splits["query"].paths:
        path.write_bytes(b"no image")
    with pytest.raises(InputError, match=broken.name):
        labelled(data, Blind(nothing), problems, progress=False)
