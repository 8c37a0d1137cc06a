"""A features file as a network: every image gets the row of its path, or is named."""

from pathlib import Path

import numpy as np
import pytest

from reid.data.samples import Samples
from reid.errors import InputError
from reid.networks import Origin, default_testing, load
from reid.networks.features_file import WHOLE, FeaturesFile
from reid.networks.lookup import open_features
from reid.retrieval.features import Features


@pytest.fixture(scope="module")
def testing():
    return default_testing(["device=cpu"])


def samples(root: Path, *names: str) -> Samples:
    return Samples(root, names, np.ones(len(names), np.int64), np.ones(len(names), np.int64))


def save(path: Path, *paths: str) -> Path:
    """Features whose row k is (k, 1)."""
    rows = np.stack([np.arange(len(paths)), np.ones(len(paths))], axis=1).astype(np.float32)
    Features(rows, np.ones(len(paths), np.int64), np.ones(len(paths), np.int64), paths, "somebody's").save(path)
    return path


@pytest.mark.parametrize(
    ("stored", "rows"),
    [
        (("query/a.png", "gallery/a.png", "query/b.png"), (0, 2)),  # as the data set names them
        (("{root}/gallery/a.png", "{root}/query/b.png", "{root}/query/a.png"), (2, 1)),  # whole paths
        (("set/gallery/a.png", "set/query/a.png", "set/query/b.png"), (1, 2)),  # from the folder above
        (("/elsewhere/set/query/a.png", "/elsewhere/set/query/b.png"), (0, 1)),  # of another machine
        (("query/a.png", "{root}/query/a.png", "b.png"), (1, 2)),  # the whole path wins
    ],
)
def test_an_image_is_found_by_its_path(testing, tmp_path, stored, rows):
    root = tmp_path / "set"
    file = save(tmp_path / "f.npz", *(path.format(root=root) for path in stored))
    found = open_features(file, testing).extract(samples(root, "query/a.png", "query/b.png"))
    assert found.dtype == np.float32 and found[:, 0].tolist() == list(rows)


def test_a_data_set_of_the_same_names_is_another(testing, tmp_path):
    """Market-1501's layout gives two sites files of one name; a copy of the data set is found."""
    for place, value in (("plaza", 1), ("station", 2), ("moved", 1)):
        (tmp_path / place / "query").mkdir(parents=True)
        (tmp_path / place / "query" / "a.png").write_bytes(bytes([value]))
    network = open_features(save(tmp_path / "f.npz", str(tmp_path / "plaza" / "query" / "a.png")), testing)
    assert len(network.extract(samples(tmp_path / "moved", "query/a.png"))) == 1
    with pytest.raises(InputError, match=r"no feature of 1 of 1 .*station: query/a\.png; it holds .*plaza"):
        network.extract(samples(tmp_path / "station", "query/a.png"))


def test_names_are_whole_names(testing, tmp_path):
    file = save(tmp_path / "f.npz", "xquery/a.png", "query/ba.png")
    with pytest.raises(InputError, match=r"has no feature of 1 of 1 images below .*: query/a\.png; it holds xquery"):
        open_features(file, testing).extract(samples(tmp_path, "query/a.png"))


def test_all_that_is_missing_is_told_in_one_message(testing, tmp_path):
    file = save(tmp_path / "f.npz", "00.png")
    names = [f"{place:02d}.png" for place in range(20)]
    with pytest.raises(InputError, match=r"no feature of 19 of 20 images below .*: 01\.png, .*10\.png and 9 more"):
        open_features(file, testing).extract(samples(tmp_path, *names))


def test_one_image_with_several_rows_is_refused(testing, tmp_path):
    file = save(tmp_path / "f.npz", "x/query/a.png", "y/query/a.png")
    with pytest.raises(InputError, match=r"could be several .* query/a\.png: x/query/a\.png, y/query/a\.png"):
        open_features(file, testing).extract(samples(tmp_path, "query/a.png"))


def test_a_box_in_an_image_is_not_the_image(testing, tmp_path):
    one = np.ones(1, np.int64)
    rows = Features(np.ones((1, 2), np.float32), one, one, ("a.png",))
    for box, found in (((0, 0, 5, 5), False), (WHOLE, True)):
        file = FeaturesFile(rows, np.array([box]), ("",), ("",), np.full(1, np.nan), Origin("n", 2, "00", "p"))
        file.save(tmp_path / "f.npz")
        network = open_features(tmp_path / "f.npz", testing)
        if found:
            assert len(network.extract(samples(tmp_path, "a.png"))) == 1
        else:
            with pytest.raises(InputError, match="has no feature of 1 of 1"):
                network.extract(samples(tmp_path, "a.png"))


def test_the_origin_is_that_of_the_network_where_it_is_recorded(testing, tmp_path):
    one, origin = np.ones(1, np.int64), Origin("a network", 2, "00" * 32, "steps")
    rows = Features(np.ones((1, 2), np.float32), one, one, ("a.png",))
    FeaturesFile(rows, np.array([WHOLE]), ("",), ("",), np.full(1, np.nan), origin).save(tmp_path / "f.npz")
    assert open_features(tmp_path / "f.npz", testing).origin.fingerprint == origin.fingerprint
    first = open_features(save(tmp_path / "plain.npz", "a.png"), testing).origin
    other = open_features(save(tmp_path / "more.npz", "b.png"), testing).origin
    assert first.width == other.width == 2 and first.fingerprint != other.fingerprint and first.name == "plain"


def test_new_images_are_refused_with_the_reason(testing, tmp_path):
    network = open_features(save(tmp_path / "f.npz", "a.png"), testing)
    with pytest.raises(InputError, match=r"f\.npz: holds features, not the network that made them"):
        network.embed([np.zeros((4, 4, 3), np.uint8)])


@pytest.mark.parametrize("content", [b"", b"no archive"])
def test_a_file_that_cannot_be_read_is_named(testing, tmp_path, content):
    (tmp_path / "f.npz").write_bytes(content)
    with pytest.raises(InputError, match=r"f\.npz: not a readable \.npz file"):
        open_features(tmp_path / "f.npz", testing)


def test_the_door_opens_it_by_its_suffix(testing, tmp_path):
    file = save(tmp_path / "f.npz", "b.png", "a.png")
    network = load(file, ["device=cpu"])
    assert network.origin == open_features(file, testing).origin
    assert network.extract(samples(tmp_path, "a.png"), progress=False)[0, 0] == 1
    with pytest.raises(InputError, match=r"none\.npz: no such folder or file"):
        load(tmp_path / "none.npz")
