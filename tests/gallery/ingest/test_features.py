import shutil
import weakref
from dataclasses import replace

import numpy as np
import pytest
from fakes import ORIGIN, MeanColours

from reid.embedding.images import Item, embed_to_file
from reid.errors import InputError
from reid.gallery.entries import Entry
from reid.gallery.ingest import adding
from reid.gallery.ingest.adding import Added, Intake
from reid.gallery.ingest.images import folder_entries, read_given
from reid.networks.features_file import read_features_file


@pytest.fixture
def made(folder, tmp_path):
    """A file of features of the folder's images."""
    items = [Item(entry) for entry in folder_entries(folder, "door")]
    embed_to_file(items, MeanColours(), tmp_path / "features.npz", progress=False)
    return tmp_path / "features.npz"


def test_given_features_are_stored_once_with_thumbnails_of_the_images(folder, made, gallery, monkeypatch):
    monkeypatch.setattr(adding, "AT_ONCE", 2)
    file, origin, entries = read_given(made, None, ORIGIN)
    assert origin == ORIGIN and [entry.camera for entry in entries] == ["door"] * 3
    added = Intake(gallery).features(entries, file.features.features, progress=False)
    assert added.ids == [1, 2, 3] and all(image.startswith(b"\xff\xd8") for image in gallery.thumbnails(added.ids))
    unit = file.features.features / np.linalg.norm(file.features.features, axis=1, keepdims=True)
    np.testing.assert_allclose(gallery.features(added.ids), unit, rtol=1e-6)
    gallery.remove([2])
    both = Added()
    for again in (False, True):
        Intake(gallery, again=again, added=both).features(entries, file.features.features, progress=False)
    assert (both.ids, both.known, both.erased) == ([4], 4, [f"{folder}/b.png"])


def test_crops_of_one_part_alone_are_held(folder, made, gallery, monkeypatch):
    monkeypatch.setattr(adding, "AT_ONCE", 1)
    file, _, entries = read_given(made, None, ORIGIN)
    real, read = adding.read_crops, []

    def reading(*asked):
        assert [crop for crop in read if crop() is not None] == []
        crops = real(*asked)
        read.extend(map(weakref.ref, crops.values()))
        return crops

    monkeypatch.setattr(adding, "read_crops", reading)
    assert len(Intake(gallery).features(entries, file.features.features, progress=False).ids) == len(read) == 3


def test_an_image_that_is_gone_is_named_and_a_copy_is_passed_over(folder, made, gallery):
    file, _, entries = read_given(made, None, None)
    shutil.copy(folder / "a.png", folder / "b.png")
    (folder / "below/c.png").unlink()
    added = Intake(gallery).features(entries, file.features.features, progress=False)
    assert len(added.ids) == 1 and "c.png: not a readable image" in added.problems[0]
    assert added.repeated == [f"{folder}/b.png: the same picture as {folder}/a.png"]


def test_thumbnails_that_are_given_are_kept(gallery):
    entries = [Entry(f"/no/{n}.jpg", "door") for n in range(3)]
    images = [b"\xff\xd8\xff%d" % n for n in range(3)]
    added = Intake(gallery).features(entries, np.ones((3, 4)), images, progress=False)
    assert gallery.thumbnails(added.ids) == images


def test_a_file_that_cannot_go_in_is_refused(made, tmp_path):
    file = read_features_file(made)
    replace(file, origin=None).save(tmp_path / "f.npz")
    with pytest.raises(InputError, match=r"f\.npz: does not tell which network"):
        read_given(tmp_path / "f.npz", "door", None)
    replace(file, cameras=("", "door", "door")).save(tmp_path / "f.npz")
    with pytest.raises(InputError, match="1 of 3 rows have no camera: give --camera NAME"):
        read_given(tmp_path / "f.npz", None, None)
    with pytest.raises(InputError, match="cannot be compared"):
        read_given(made, None, replace(ORIGIN, network="1" * 64))
    rows = file.features.features * np.float32([[1], [0], [1]])
    replace(file, features=replace(file.features, features=rows)).save(tmp_path / "zeros.npz")
    with pytest.raises(InputError, match=r"1 features are all zeros, as that of .*b\.png"):
        read_given(tmp_path / "zeros.npz", None, None)
