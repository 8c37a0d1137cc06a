import io
import shutil

import cv2
import numpy as np
import pytest
from fakes import ORIGIN, MeanColours, paint
from memory_store import MemoryStore
from PIL import Image

from reid.data.card import load_card
from reid.data.reading import Roots, read_dataset
from reid.data.times import taken
from reid.embedding.images import items_of
from reid.errors import InputError
from reid.files import bundled
from reid.gallery.entries import Entry
from reid.gallery.ingest.images import (
    add_fragments,
    add_images,
    csv_entries,
    folder_entries,
    labelled,
    read_crop,
    split_entries,
)


@pytest.fixture
def store():
    return MemoryStore(ORIGIN)


@pytest.fixture
def folder(tmp_path):
    for name, colour in {"b.png": "red", "a.png": "blue", "below/c.png": "green"}.items():
        paint(tmp_path / "crops" / name, colour)
    return tmp_path / "crops"


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


def test_a_link_that_goes_round_is_left_out_and_named(folder, tmp_path, store):
    (tmp_path / "round.png").symlink_to("round.png")
    (tmp_path / "people.csv").write_text("path,camera\nround.png,door\ncrops/a.png,door\n")
    added = add_images(store, csv_entries(tmp_path / "people.csv"), MeanColours(), progress=False)
    assert len(added.ids) == 1 and "round.png: not a readable image" in added.problems[0]


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


def test_images_are_embedded_and_stored_with_thumbnails_once(folder, store):
    entries = folder_entries(folder, "door")
    added = add_images(store, [*entries, entries[0]], MeanColours(), progress=False)
    assert (added.ids, added.known, added.problems) == ([1, 2, 3], 1, [])
    assert np.allclose(store.features([1])[0], np.array([0, 0, 1, 1]) / np.sqrt(2))
    assert Image.open(io.BytesIO(store.thumbnail(1))).format == "JPEG"
    again = add_images(store, entries, MeanColours(), progress=False)
    assert (again.ids, again.known, len(store)) == ([], 3, 3)


def test_an_unreadable_image_is_named_and_the_others_are_stored(folder, store):
    (folder / "bad.png").write_bytes(b"no image")
    outside = Entry(str(folder / "a.png"), "door", box=(0, 0, 49, 96))
    added = add_images(store, [*folder_entries(folder, "door"), outside], MeanColours(), progress=False)
    assert len(added.ids) == 3
    assert "bad.png: not a readable image" in added.problems[0]
    assert "box (0, 0, 49, 96) lies outside its 48 x 96 pixels" in added.problems[1]


def test_fragments_are_stored_as_they_come_once(store):
    fragments = [(Entry("v.mp4", "door", frame=n, box=(0, 0, n, n)), np.full(4, n, np.float32), b"") for n in (1, 2)]

    def broken():
        yield fragments[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        add_fragments(store, broken())
    assert len(store) == 1
    added = add_fragments(store, iter(fragments))
    assert (added.ids, added.known, len(store)) == ([2], 1, 2)


def test_labelled_splits_become_features_with_people_and_cameras(market, tmp_path):
    data = read_dataset(load_card("market1501"), market, tmp_path)
    query, gallery = labelled(data, MeanColours(), progress=False)
    for split, features in (("query", query), ("gallery", gallery)):
        samples = data.splits[split]
        expected = [MeanColours().embed([np.asarray(Image.open(path))])[0] for path in samples.paths]
        assert np.allclose(features.features, expected) and features.origin == f"market1501/{split}"
        assert (features.pids == samples.pids).all() and (features.camids == samples.camids).all()


class Blind(MeanColours):
    """Finds nothing in black: zeros, NaN or infinity."""

    def __init__(self, nothing):
        self.nothing = nothing

    def embed(self, images):
        features = super().embed(images)
        features[[not image.any() for image in images]] = self.nothing
        return features


NOTHING = [0.0, np.nan, np.inf, [np.nan, 0, 0, 0], [1.0, np.inf, 0, 0]]


@pytest.mark.parametrize("nothing", NOTHING)
def test_a_crop_without_a_feature_is_named_and_the_others_are_stored(folder, store, nothing):
    paint(folder / "ab.png", "black")
    boxed = Entry(str(folder / "ab.png"), "door", box=(1, 2, 30, 40))
    entries = [*folder_entries(folder, "door"), boxed]
    added = add_images(store, entries, Blind(nothing), progress=False)
    why = "the network finds nothing to compare in it: its feature is all zeros, or no number"
    assert [entry.source for entry in store.find()] == [
        str(folder / name) for name in ("a.png", "b.png", "below/c.png")
    ]
    assert added.problems == [f"{folder}/ab.png: {why}", f"{folder}/ab.png, box (1, 2, 30, 40): {why}"]
    expected = MeanColours().embed([np.asarray(Image.open(folder / "b.png"))])[0]
    assert np.allclose(store.features([2])[0], expected / np.linalg.norm(expected))
    assert Image.open(io.BytesIO(store.thumbnail(2))).convert("RGB").getpixel((0, 0))[0] > 250
    again = add_images(store, entries, Blind(nothing), progress=False)
    assert (again.ids, again.known, len(again.problems)) == ([], 3, 2)


@pytest.mark.parametrize("nothing", NOTHING)
def test_a_batch_of_nothing_stores_nothing(tmp_path, store, nothing):
    paint(tmp_path / "a.png", "black")
    added = add_images(store, folder_entries(tmp_path, "door"), Blind(nothing), progress=False)
    assert (added.ids, len(added.problems), len(store)) == ([], 1, 0)


def test_a_fragment_without_a_feature_is_named(store):
    rows = [np.ones(4), np.zeros(4), np.full(4, np.nan), np.ones(4)]
    fragments = [(Entry("v.mp4", "door", frame=n, box=(0, 0, 5, 9)), row, b"") for n, row in enumerate(rows)]
    added = add_fragments(store, fragments)
    assert [entry.frame for entry in store.find()] == [0, 3]
    assert [line.partition(": ")[0] for line in added.problems] == [
        f"v.mp4, frame {n}, box (0, 0, 5, 9)" for n in (1, 2)
    ]


@pytest.mark.parametrize("nothing", NOTHING)
def test_calibration_leaves_out_and_names_what_has_no_feature(market, tmp_path, nothing):
    own = shutil.copytree(market, tmp_path / "data")
    data = read_dataset(load_card("market1501"), own, tmp_path)
    black, broken = data.splits["gallery"].paths[2], data.splits["query"].paths[0]
    paint(black, "black")
    broken.write_bytes(b"no image")
    problems = []
    query, gallery = labelled(data, Blind(nothing), progress=False, problems=problems)
    assert len(query) == len(data.splits["query"]) - 1 and len(gallery) == len(data.splits["gallery"]) - 1
    assert (gallery.pids == np.delete(data.splits["gallery"].pids, 2)).all()
    assert gallery.paths == (*data.splits["gallery"].names[:2], *data.splits["gallery"].names[3:])
    assert str(broken) in problems[0] and str(black) in problems[1] and len(problems) == 2
    with pytest.raises(InputError, match=broken.name):
        labelled(data, Blind(nothing), progress=False)


def test_what_is_given_otherwise_for_an_image_that_is_there_is_told(folder, store):
    plain = folder_entries(folder, "door")
    add_images(store, plain, MeanColours(), progress=False)
    store.update([2], {"identity": "P2"})
    assert add_images(store, plain, MeanColours(), progress=False).differences == []  # a folder names nobody
    first, second, third = plain
    given = [
        Entry(first.source, "door", "P1", 1772442000.0),
        Entry(second.source, "hall"),
        Entry(third.source, "door"),
        Entry(third.source, "yard"),
    ]
    added = add_images(store, given, MeanColours(), progress=False)
    assert (added.ids, added.known) == ([], 4)
    assert added.differences == [
        f"{first.source} (entry 1): identity: nothing is stored, 'P1' was given",
        f"{first.source} (entry 1): time: nothing is stored, 2026-03-02T09:00:00+00:00 was given",
        f"{second.source} (entry 2): camera: 'door' is stored, 'hall' was given",
        f"{second.source} (entry 2): identity: 'P2' is stored, nothing was given",
        f"{third.source} (entry 3): camera: 'door' is stored, 'yard' was given",
    ]
    assert store.get([1])[0].identity is None


def test_two_rows_of_one_image_that_differ_are_told(folder, store):
    rows = [Entry(str(folder / "a.png"), camera) for camera in ("door", "hall")]
    added = add_images(store, rows, MeanColours(), progress=False)
    assert added.differences == [f"{folder}/a.png (given twice): camera: 'door' is stored, 'hall' was given"]
    assert [entry.camera for entry in store.find()] == ["door"]


def test_a_fragment_given_with_another_start_is_told(store):
    old, new = (Entry("v.mp4", "door", time=time, frame=1, box=(0, 0, 5, 9)) for time in (0.0, 1772442000.0))
    add_fragments(store, [(old, np.ones(4), b"")])
    store.update([1], {"identity": "P1"})
    added = add_fragments(store, [(new, np.ones(4), b"")])
    stored = "1970-01-01T00:00:00+00:00 is stored, 2026-03-02T09:00:00+00:00 was given"
    assert added.differences == [f"v.mp4, frame 1, box (0, 0, 5, 9) (entry 1): time: {stored}"]
