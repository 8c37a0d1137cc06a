"""Files of features: what is written is read back, and what is wrong is named."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from reid.errors import InputError
from reid.networks import Origin
from reid.networks.features_file import WHOLE, FeaturesFile, read_features_file, read_key
from reid.retrieval.features import Features, load_features

ORIGIN = Origin("a network", 4, "ab" * 32, "nothing")


def record(count=3, origin=ORIGIN) -> FeaturesFile:
    rows = np.random.default_rng(0).normal(size=(count, 4)).astype(np.float32)
    numbers = np.arange(count)
    paths = tuple(f"/data/bild_ä_{place}.png" for place in range(count))
    boxes = np.array([WHOLE, *[(1, 2, 30 + place, 40) for place in range(1, count)]])
    times = np.array([np.nan, *numbers[1:] * 1.5])
    return FeaturesFile(
        Features(rows, numbers - 1, numbers, paths, "a network"),
        boxes, ("", *("P1",) * (count - 1)), ("door", *("",) * (count - 1)), times, origin, "k1", ("x.png: broken",),
    )  # fmt: skip


@pytest.mark.parametrize("name", ["f.npz", "f.parquet", "below/F.PARQUET"])
def test_what_is_written_is_read_back(tmp_path, name):
    written = record()
    written.save(tmp_path / name)
    read = read_features_file(tmp_path / name)
    for field in ("features", "pids", "camids"):
        value, expected = getattr(read.features, field), getattr(written.features, field)
        assert value.dtype == expected.dtype and np.array_equal(value, expected)
    assert read.features.paths == written.features.paths
    assert np.array_equal(read.boxes, written.boxes) and np.array_equal(read.times, written.times, equal_nan=True)
    for field in ("identities", "cameras", "origin", "key", "left_out"):
        assert getattr(read, field) == getattr(written, field)
    assert read_key(tmp_path / name) == ("k1", ("x.png: broken",))
    assert [path.name for path in (tmp_path / name).parent.iterdir()] == [(tmp_path / name).name]


def test_an_npz_is_one_that_score_takes(tmp_path):
    record().save(tmp_path / "f.npz")
    assert np.array_equal(load_features(tmp_path / "f.npz").pids, [-1, 0, 1])


def test_parquet_says_box_person_and_network_in_columns(tmp_path):
    record().save(tmp_path / "f.parquet")
    table = pd.read_parquet(tmp_path / "f.parquet")
    assert table["left"].isna().tolist() == [True, False, False] and table["right"].tolist()[1:] == [31, 32]
    assert set(table["network"]) == {ORIGIN.fingerprint} and table["identity"].tolist()[1:] == ["P1", "P1"]
    assert np.array_equal(np.stack(table["feature"]), record().features.features)


def test_a_file_of_other_origin_gives_what_it_has(tmp_path):
    record().features.save(tmp_path / "f.npz")
    read = read_features_file(tmp_path / "f.npz")
    assert read.origin is None and read.key == "" and (read.boxes == -1).all() and np.isnan(read.times).all()
    assert read.identities == read.cameras == ("",) * 3
    assert read_key(tmp_path / "f.npz") is None and read_key(tmp_path / "none.npz") is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"boxes": np.zeros((3, 4), np.int64)}, r"row 0: box \[0, 0, 0, 0\]: expected 0 <= left < right"),
        ({"boxes": np.zeros((2, 4), np.int64)}, r"boxes: expected int64 \(3, 4\)"),
        ({"boxes": np.zeros((3, 4))}, r"boxes: expected int64 \(3, 4\), got float64"),
        ({"times": np.full(3, np.inf)}, "times: expected finite"),
        ({"cameras": np.array(["a"])}, "3 identities and 1 cameras for 3 features"),
        ({"about": np.array("{}")}, "about: not what reid embed writes"),
        ({"about": np.array("nonsense")}, "about: not what reid embed writes"),
        ({"paths": np.array([], np.str_)}, "has no array paths"),
        ({"features": np.ones((3, 5), np.float32)}, "features of width 5, but its network's is 4"),
        ({"features": np.full((3, 4), np.nan, np.float32)}, "NaN"),
    ],
)
def test_what_is_wrong_in_an_npz_is_named(tmp_path, change, message):
    record().save(tmp_path / "f.npz")
    arrays = dict(np.load(tmp_path / "f.npz"))
    np.savez(tmp_path / "f.npz", **{**arrays, **change})
    with pytest.raises(InputError, match=r"f\.npz.*" + message):
        read_features_file(tmp_path / "f.npz")


def test_an_array_that_is_gone_is_named(tmp_path):
    record().save(tmp_path / "f.npz")
    arrays = dict(np.load(tmp_path / "f.npz"))
    del arrays["times"]
    np.savez(tmp_path / "f.npz", **arrays)
    with pytest.raises(InputError, match="has no array times beside about"):
        read_features_file(tmp_path / "f.npz")


def test_what_is_wrong_in_a_parquet_file_is_named(tmp_path):
    path = tmp_path / "f.parquet"
    with pytest.raises(InputError, match=r"f\.parquet: no such file"):
        read_features_file(path)
    path.write_bytes(b"PAR1 not one")
    with pytest.raises(InputError, match=r"f\.parquet: cannot be read as Parquet"):
        read_features_file(path)
    pd.DataFrame({"path": ["a"], "pid": [1]}).to_parquet(path)
    with pytest.raises(InputError, match=r"^\S+f\.parquet: has no column left, top"):
        read_features_file(path)
    record().save(path)
    pd.read_parquet(path).to_parquet(path)
    with pytest.raises(InputError, match=r"^\S+f\.parquet: column feature is list<.*>, not a list of one width"):
        read_features_file(path)
    replace(record(), boxes=np.array([[5, 5, 1, 9]] * 3)).save(path)
    with pytest.raises(InputError, match=r"row 0: box \[5, 5, 1, 9\]"):
        read_features_file(path)


def test_a_damaged_page_is_refused_or_changes_nothing(tmp_path):
    path = tmp_path / "f.parquet"
    record().save(path)
    content = path.read_bytes()
    pages = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
    refused = 0
    for place in range(4, pages, 11):
        path.write_bytes(content[:place] + bytes([content[place] ^ 0xFF]) + content[place + 1 :])
        try:
            read = read_features_file(path)
        except InputError:
            refused += 1
        else:
            assert np.array_equal(read.features.features, record().features.features)
            assert np.array_equal(read.boxes, record().boxes) and read.features.paths == record().features.paths
    assert refused > 20


def test_another_suffix_is_refused_before_anything_is_written(tmp_path):
    for path in (tmp_path / "f.csv", tmp_path / "npz"):
        with pytest.raises(InputError, match=r"expected a name that ends in \.npz or \.parquet"):
            record().save(path)
    assert not list(tmp_path.iterdir())


def test_the_network_in_a_file_is_the_whole_origin(tmp_path):
    record().save(tmp_path / "f.npz")
    about = json.loads(str(np.load(tmp_path / "f.npz")["about"]))
    assert about["network"] == {"name": "a network", "width": 4, "network": "ab" * 32, "preprocessing": "nothing"}
