import numpy as np
import pytest
from numpy.testing import assert_array_equal

from reid.errors import InputError
from reid.retrieval.features import Features, load_features, load_saved, saved_origin


def arrays(n=3):
    return {
        "features": np.arange(2.0 * n).reshape(n, 2).astype(np.float32),
        "pids": np.arange(n) + 1,
        "camids": np.ones(n, np.int64),
    }


def test_round_trip(tmp_path):
    path = tmp_path / "new folder" / "f.npz"
    Features(**arrays(), paths=("a.jpg", "b.jpg", "ü.jpg"), origin="run 1").save(path)
    loaded = load_features(path)
    assert_array_equal(loaded.features, arrays()["features"])
    assert_array_equal(loaded.pids, [1, 2, 3])
    assert loaded.paths == ("a.jpg", "b.jpg", "ü.jpg")
    assert loaded.origin == str(path) and saved_origin(path) == "run 1"
    assert [p.name for p in path.parent.iterdir()] == ["f.npz"]


def test_float64_and_int32_of_other_tools_are_read(tmp_path):
    own = arrays()
    np.savez(
        tmp_path / "f.npz",
        features=own["features"].astype(float),
        pids=own["pids"].astype(np.int32),
        camids=own["camids"].astype(np.uint8),
    )
    loaded = load_features(tmp_path / "f.npz")
    assert (loaded.features.dtype, loaded.pids.dtype, loaded.camids.dtype) == (np.float32, np.int64, np.int64)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"features": np.array([[1, np.nan], [0, 0], [np.inf, 1]], np.float32)}, "features: 2 rows hold NaN .* row 0"),
        ({"features": np.ones(3, np.float32)}, r"features: expected float32 \(N, D\)"),
        ({"features": np.ones((0, 4), np.float32)}, r"features: expected float32 \(N, D\)"),
        ({"features": np.ones((3, 2), int)}, "features: expected a float type, got int64"),
        ({"features": np.ones((4, 2), np.float32)}, "pids: has 3 entries for 4 features"),
        ({"camids": np.ones(2, int)}, "camids: has 2 entries for 3 features"),
        ({"pids": np.ones(3)}, "pids: expected integers, got float64"),
        ({"paths": np.array(["a"])}, "paths: has 1 entries for 3 features"),
        ({"pids": None}, "has no array pids; it holds camids, features"),
        ({"features": np.array([[object()]])}, "not a readable .npz file: Object arrays cannot be loaded"),
    ],
)
def test_bad_arrays_are_named(tmp_path, change, message):
    path = tmp_path / "f.npz"
    np.savez(path, **{name: value for name, value in (arrays() | change).items() if value is not None})
    with pytest.raises(InputError, match=message) as caught:
        load_features(path)
    assert str(caught.value).startswith(str(path))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 truncated", b"no archive at all"])
def test_bad_files(tmp_path, content):
    path = tmp_path / "f.npz"
    path.write_bytes(content)
    with pytest.raises(InputError, match="f.npz: not a readable"):
        load_features(path)
    assert saved_origin(path) is None


def test_a_bare_array_and_damaged_members(tmp_path):
    np.save(tmp_path / "f.npy", np.ones((3, 2)))
    with pytest.raises(InputError, match="f.npy: not a readable .npz file: it holds one bare array"):
        load_features(tmp_path / "f.npy")
    np.savez_compressed(tmp_path / "f.npz", **arrays(50))
    content = bytearray((tmp_path / "f.npz").read_bytes())
    rng = np.random.default_rng(0)
    for _ in range(40):
        damaged = content.copy()
        for place in rng.integers(0, len(content), 3):
            damaged[place] ^= int(rng.integers(1, 256))
        (tmp_path / "d.npz").write_bytes(damaged)
        try:
            load_features(tmp_path / "d.npz")
        except InputError as error:
            assert "d.npz" in str(error)


def test_numbers_that_do_not_fit(tmp_path):
    np.savez(tmp_path / "f.npz", **(arrays() | {"pids": np.full(3, 2**64 - 1, np.uint64)}))
    with pytest.raises(InputError, match="pids: 18446744073709551615 does not fit"):
        load_features(tmp_path / "f.npz")
    np.savez(tmp_path / "f.npz", **(arrays() | {"features": np.full((3, 2), 1e300)}))
    with pytest.raises(InputError, match="3 rows hold NaN or infinity"):
        load_features(tmp_path / "f.npz")


def test_a_missing_file(tmp_path):
    with pytest.raises(InputError, match="No such file"):
        load_features(tmp_path / "none.npz")
    assert saved_origin(tmp_path / "none.npz") is None


def damage(path, array):
    """One byte of an array, in the middle of its file."""
    content = bytearray(path.read_bytes())
    content[content.index(array.tobytes())] ^= 1
    path.write_bytes(content)


def test_the_origin_is_read_alone(tmp_path, caplog):
    """Damage elsewhere in the file is not seen by it, but by whoever reads the features."""
    path, features = tmp_path / "f.npz", Features(**arrays(), origin="run 1")
    features.save(path)
    kept = load_saved(path, "run 1")
    assert_array_equal(kept.features, features.features)
    assert kept.origin == "run 1" and load_saved(path, "run 2") is None and not caplog.text
    damage(path, features.features)
    assert saved_origin(path) == "run 1"
    with pytest.raises(InputError, match="f.npz: not a readable .npz file: Bad CRC-32"):
        load_features(path)
    assert load_saved(path, "run 1") is None and "f.npz: not a readable" in caplog.text
    assert load_saved(tmp_path / "none.npz", "run 1") is None


def test_a_file_of_another_origin_is_no_saved_one(tmp_path):
    np.savez(tmp_path / "f.npz", **arrays())
    assert saved_origin(tmp_path / "f.npz") is None and load_saved(tmp_path / "f.npz", "run 1") is None
    np.save(tmp_path / "f.npy", np.ones(3))
    assert saved_origin(tmp_path / "f.npy") is None


def test_a_file_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="file/f.npz: cannot be written"):
        Features(**arrays()).save(tmp_path / "file" / "f.npz")
