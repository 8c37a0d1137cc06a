"""The network in the package, by its name."""

import re
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT

from reid.errors import InputError
from reid.files import bundled_names, sha256_of
from reid.networks import load, refuse_missing
from reid.networks.shipped import _say_if_another, file_of


def test_its_place_is_in_the_package():
    assert file_of("people") == ROOT / "reid" / "networks" / "people.safetensors"


def test_the_bare_name_means_it_whatever_lies_in_the_working_folder(people, trained, caplog):
    crop = [np.zeros((40, 20, 3), np.uint8)]
    Path("people").mkdir()
    refuse_missing("people")
    assert load("people").origin == load(people).origin
    assert not caplog.records  # a folder of photographs is no network
    Path("people").rmdir()
    Path("people").symlink_to(trained[1])
    _say_if_another.cache_clear()
    caplog.set_level("INFO", "reid")
    network = load("people")
    assert network.origin.network == load(people).origin.network
    assert [record.message.partition(";")[0] for record in caplog.records] == [
        "people: the network of the package is taken"
    ]
    assert load("./people").origin.network == load(trained[1]).origin.network != network.origin.network
    assert network.embed(crop).shape == (1, 64)


def test_a_damaged_install_is_told(people):
    people.write_bytes(people.read_bytes()[:-9])
    damaged = r"people.safetensors: damaged.*; it travels in the package: install reid-gap anew$"
    with pytest.raises(InputError, match=damaged):
        load("people")
    people.write_bytes(b"")
    with pytest.raises(InputError, match=damaged):
        load("people")
    people.unlink()
    for look in (load, refuse_missing):
        with pytest.raises(InputError, match=r"travels in the package, but .*people.safetensors is not there: install"):
            look("people")


def test_a_misspelt_name_is_guessed(people):
    with pytest.raises(InputError, match="did you mean 'people'"):
        load("poeple")


def fixed_crop(number: int) -> np.ndarray:
    """As MODEL_CARD.md says."""
    row, column, channel = np.ogrid[:128, :64, :3]
    return np.round(127.5 + 127.5 * np.sin(0.05 * (number + 1) * (row + 2 * column) + channel)).astype(np.uint8)


def test_its_features_of_fixed_crops_are_those_in_its_card():
    card = file_of("people").with_name("MODEL_CARD.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d) \|((?: [+-]0\.\d{4} \|){6})$", card, re.MULTILINE)
    assert [int(number) for number, _ in rows] == [0, 1, 2]
    features = load("people").embed([fixed_crop(int(number)) for number, _ in rows])
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    written = [[float(value) for value in values.split("|")[:-1]] for _, values in rows]
    np.testing.assert_allclose(features[:, :6], written, atol=2e-4)  # the card's digits, and another processor's sums
    assert sha256_of(file_of("people")) in card


def test_the_file_in_the_package_is_of_data_that_anybody_has_and_names_no_machine():
    network = load("people")
    source = network.config.data.source
    assert source in bundled_names("datasets"), f"trained on {source!r}, which is no card of this project"
    assert network.adapted == {} and network.trained.label == source
    assert np.isfinite(network.embed([np.zeros((128, 64, 3), np.uint8)])).all()
    assert file_of("people").with_name("MODEL_CARD.md").read_text(encoding="utf-8").strip()
