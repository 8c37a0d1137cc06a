"""Features of many images into one file: which images, what is kept on the way, and what is left out."""

import os
import shutil

import numpy as np
import pytest
from fakes import Counting, MeanColours, paint
from PIL import Image
from trees import PLACE, market_tree

from reid.data.reading import Roots
from reid.embedding import images as embedding
from reid.embedding.images import embed_to_file, items_of
from reid.errors import InputError
from reid.files import locked
from reid.gallery.entries import Entry
from reid.networks import Origin
from reid.networks.features_file import WHOLE, read_features_file


@pytest.fixture
def roots(tmp_path):
    return Roots(tmp_path / "data", tmp_path / "sites")


@pytest.fixture
def folder(tmp_path):
    for place in range(7):
        paint(tmp_path / "crops" / f"{place}.png", (40 * place, 10, 200))
    return tmp_path / "crops"


@pytest.fixture
def small(monkeypatch):
    """Parts of three images, read two at a time."""
    monkeypatch.setattr(embedding, "PART", 3)
    monkeypatch.setattr(embedding, "AT_ONCE", 2)


def expected(folder):
    images = [np.asarray(Image.open(path)) for path in sorted(folder.glob("*.png"))]
    return np.stack([MeanColours().embed([image])[0] for image in images])


def hidden(folder):
    return [path for path in folder.iterdir() if path.name.startswith(".")]


# --- which images -----------------------------------------------------------------------------------------------------


def test_images_folders_csv_files_and_data_sets(roots, folder, tmp_path):
    market_tree(tmp_path / "data" / PLACE, identities=2, cameras=2, images=2, size=(8, 4))
    (tmp_path / "boxes.csv").write_text("path,left,top,right,bottom\ncrops/3.png,1,2,9,8\ncrops/3.png,,,,\n")
    image = items_of([str(folder / "2.png")], roots)
    assert [item.entry for item in image] == [Entry(str(folder / "2.png"), "")]
    assert len(items_of([str(folder)], roots)) == 7
    boxes = items_of([str(tmp_path / "boxes.csv")], roots)
    assert [item.entry.box for item in boxes] == [(1, 2, 9, 8), None] and {item.entry.camera for item in boxes} == {""}
    people = items_of(["market1501"], roots, ["query"])
    assert {item.entry.identity for item in people} == {f"market1501/{item.pid}" for item in people}
    assert {item.entry.camera for item in people} == {f"market1501/{item.camid}" for item in people}
    assert len(items_of(["market1501"], roots)) > len(people)
    both = items_of([str(folder), str(folder / "2.png"), "market1501"], roots, None)
    assert len(both) == 7 + len(items_of(["market1501"], roots)) and all(not item.pid for item in both)


def test_with_splits_a_folder_is_a_data_set(roots, tmp_path):
    for person, camera in ((1, 1), (1, 2), (2, 1), (2, 2)):
        paint(tmp_path / "people" / str(person) / f"a_c{camera}.png", "red")
    assert {item.pid for item in items_of([str(tmp_path / "people")], roots)} == {None}
    found = items_of([str(tmp_path / "people")], roots, ["gallery"])
    assert sorted((item.pid, item.camid) for item in found) == [(1, 1), (1, 2), (2, 1), (2, 2)]


def test_a_manifest_is_a_data_set(roots, folder, tmp_path):
    lines = ["crops/0.png,4,1,query", "crops/1.png,4,2,gallery", "crops/2.png,5,1,gallery"]
    (tmp_path / "set.csv").write_text("\n".join(["path,pid,camid,split", *lines]) + "\n")
    assert [item.pid for item in items_of([str(tmp_path / "set.csv")], roots)] == [4, 4, 5]
    assert [item.pid for item in items_of([str(tmp_path / "set.csv")], roots, ["query"])] == [4]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("market1501", r"^card market1501: no folder"),
        ("card.yaml", r"^card\.yaml: "),
        ("none.png", "none.png: neither an image, a folder, a CSV file of images nor a data set"),
        ("none.csv", "none.csv: cannot be read as CSV"),
        ("empty", "empty: no image file"),
        ("wrong.csv", "wrong.csv: unknown column 'x'"),
        ("bare.csv", "bare.csv: no column path"),
        ("flat.csv", "line 2: box .*expected 0 <= left < right"),
    ],
)
def test_data_that_is_none_is_named(roots, tmp_path, monkeypatch, name, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "card.yaml").write_text("nothing: of use\n")
    (tmp_path / "wrong.csv").write_text("path,x\na.png,1\n")
    (tmp_path / "bare.csv").write_text("camera\nhall\n")
    (tmp_path / "flat.csv").write_text("path,left,top,right,bottom\na.png,4,1,4,9\n")
    with pytest.raises(InputError, match=message):
        items_of([name], roots)


# --- into a file ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["f.npz", "f.parquet"])
def test_rows_are_those_of_each_image_alone(small, roots, folder, tmp_path, name):
    written = embed_to_file(items_of([str(folder)], roots), MeanColours(), tmp_path / name, progress=False)
    assert (written.rows, written.left_out, written.resumed) == (7, (), 0)
    file = read_features_file(tmp_path / name)
    np.testing.assert_array_equal(file.features.features, expected(folder))
    assert file.features.paths == tuple(str(folder / f"{place}.png") for place in range(7))
    assert (file.boxes == WHOLE).all() and file.origin == MeanColours.origin
    assert set(file.features.pids) == {-1} and set(file.features.camids) == {0}
    assert not hidden(tmp_path)


def test_boxes_are_cut_out(roots, tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "frame.png")
    rows = ["0,0,30,20", "3,4,9,12", "5,5,31,9", "1,1,2,2"]
    (tmp_path / "b.csv").write_text("path,left,top,right,bottom\n" + "".join(f"frame.png,{row}\n" for row in rows))
    written = embed_to_file(items_of([str(tmp_path / "b.csv")], roots), MeanColours(), tmp_path / "f.npz", False)
    assert len(written.left_out) == 1 and "box (5, 5, 31, 9) lies outside its 30 x 20 pixels" in written.left_out[0]
    file = read_features_file(tmp_path / "f.npz")
    assert file.boxes.tolist() == [[0, 0, 30, 20], [3, 4, 9, 12], [1, 1, 2, 2]] and file.left_out == written.left_out
    crops = [noise, noise[4:12, 3:9], noise[1:2, 1:2]]
    np.testing.assert_array_equal(file.features.features, MeanColours().embed(crops))


def test_people_and_cameras_are_numbered_where_they_are_known(roots, folder, tmp_path):
    rows = ["0.png,door,ann", "1.png,hall,bob", "2.png,door,", "3.png,,ann"]
    (folder / "p.csv").write_text("\n".join(["path,camera,identity", *rows]) + "\n")
    embed_to_file(items_of([str(folder / "p.csv")], roots), MeanColours(), tmp_path / "f.npz", progress=False)
    file = read_features_file(tmp_path / "f.npz")
    assert file.features.pids.tolist() == [1, 2, -1, 1] and file.features.camids.tolist() == [1, 2, 1, 0]
    assert file.identities == ("ann", "bob", "", "ann") and file.cameras == ("door", "hall", "door", "")


def test_a_data_sets_own_numbers_stay_and_two_data_sets_share_none(roots, folder, tmp_path):
    sets = {"a": ["0.png,7,3,query", "1.png,7,4,gallery"], "b": ["2.png,7,3,query", "3.png,7,4,gallery"]}
    for name, rows in sets.items():
        (folder / f"{name}.csv").write_text("\n".join(["path,pid,camid,split", *rows]) + "\n")
    embed_to_file(items_of([str(folder / "a.csv")], roots), MeanColours(), tmp_path / "f.npz", progress=False)
    one = read_features_file(tmp_path / "f.npz")
    assert one.features.pids.tolist() == [7, 7] and one.features.camids.tolist() == [3, 4]
    names = [str(folder / "a.csv"), str(folder / "b.csv")]
    embed_to_file(items_of(names, roots), MeanColours(), tmp_path / "f.npz", progress=False)
    two = read_features_file(tmp_path / "f.npz")
    assert two.identities == ("a/7", "a/7", "b/7", "b/7") and two.features.pids.tolist() == [1, 1, 2, 2]
    assert two.features.camids.tolist() == [1, 2, 3, 4]


@pytest.mark.parametrize("stop_at", [0, 2, 3, 5, 6])
def test_an_interrupted_call_goes_on_where_it_was(small, roots, folder, tmp_path, stop_at):
    items, output = items_of([str(folder)], roots), tmp_path / "f.npz"
    with pytest.raises(KeyboardInterrupt):
        embed_to_file(items, Counting(stop_at), output, progress=False)
    assert not output.exists()
    network = Counting()
    written = embed_to_file(items, network, output, progress=False)
    assert written.resumed == stop_at // 3 * 3 and network.seen == 7 - written.resumed
    np.testing.assert_array_equal(read_features_file(output).features.features, expected(folder))
    assert not hidden(tmp_path)


def test_nothing_is_done_twice_and_a_change_counts(small, roots, folder, tmp_path):
    items, output = items_of([str(folder)], roots), tmp_path / "f.parquet"
    embed_to_file(items, Counting(), output, progress=False)
    again = Counting()
    assert embed_to_file(items, again, output, progress=False).resumed == 7 and again.seen == 0
    os.utime(folder / "3.png", ns=(1, 1))
    embed_to_file(items, again, output, progress=False)
    assert again.seen == 7
    other = Counting()
    other.origin = Origin("another", 4, "1" * 64, "other")
    embed_to_file(items, other, output, progress=False)
    assert other.seen == 7 and read_features_file(output).origin == other.origin


def test_a_damaged_part_is_made_again(small, roots, folder, tmp_path):
    items, output = items_of([str(folder)], roots), tmp_path / "f.npz"
    with pytest.raises(KeyboardInterrupt):
        embed_to_file(items, Counting(6), output, progress=False)
    (kept,) = hidden(tmp_path)
    first, second = sorted(kept.glob("*.npz"))
    first.write_bytes(second.read_bytes()[:100])
    network = Counting()
    assert embed_to_file(items, network, output, progress=False).resumed == 3 and network.seen == 4
    np.testing.assert_array_equal(read_features_file(output).features.features, expected(folder))


def test_what_was_begun_otherwise_goes_with_the_finished_file(small, roots, folder, tmp_path):
    output = tmp_path / "f.npz"
    with pytest.raises(KeyboardInterrupt):
        embed_to_file(items_of([str(folder)], roots), Counting(3), output, progress=False)
    assert hidden(tmp_path)
    embed_to_file(items_of([str(folder / "0.png")], roots), Counting(), output, progress=False)
    assert not hidden(tmp_path)


def test_what_cannot_be_read_is_listed_and_the_rest_is_kept(small, roots, folder, tmp_path):
    (folder / "1.png").write_bytes(b"no picture")
    paint(folder / "4.png", "black")
    items, output = items_of([str(folder)], roots), tmp_path / "f.npz"
    (folder / "5.png").unlink()

    class NothingInBlack(MeanColours):
        def embed(self, images):
            return np.array([row * (row[:3].sum() > 0) for row in super().embed(images)], np.float32)

    written = embed_to_file(items, NothingInBlack(), output, progress=False)
    told = "\n".join(written.left_out)
    assert written.rows == 4 and len(written.left_out) == 3
    assert "1.png: not a readable image" in told and "5.png: not a readable image" in told
    assert "4.png: the network finds nothing to compare in it" in told
    assert embed_to_file(items, NothingInBlack(), output, progress=False).left_out == written.left_out
    assert [path[-5] for path in read_features_file(output).features.paths] == list("0236")


def test_without_any_feature_nothing_is_written(roots, folder, tmp_path):
    items = items_of([str(folder)], roots)
    shutil.rmtree(folder)
    with pytest.raises(InputError, match="no image has a feature, and nothing is written:\n.*0.png"):
        embed_to_file(items, MeanColours(), tmp_path / "f.npz", progress=False)
    assert not list(tmp_path.iterdir())


def test_a_folder_in_the_files_place_is_told_before_anything_is_embedded(roots, folder, tmp_path):
    (tmp_path / "f.npz").mkdir()
    network = Counting()
    with pytest.raises(InputError, match=r"f\.npz: is a folder"):
        embed_to_file(items_of([str(folder)], roots), network, tmp_path / "f.npz", progress=False)
    assert network.seen == 0 and not hidden(tmp_path)


def test_two_calls_at_once_do_not_meet(small, roots, folder, tmp_path):
    items, output = items_of([str(folder)], roots), tmp_path / "f.npz"
    with pytest.raises(KeyboardInterrupt):
        embed_to_file(items, Counting(3), output, progress=False)
    (kept,) = hidden(tmp_path)
    with locked(kept):
        with pytest.raises(InputError, match="another process is at work in it"):
            embed_to_file(items, Counting(), output, progress=False)
        embed_to_file(items[:1], Counting(), output, progress=False)  # of other images: it leaves the first one's alone
        assert len(list(kept.glob("*.npz"))) == 1
