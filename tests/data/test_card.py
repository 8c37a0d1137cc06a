"""A card by its name, and the mistakes a user can make in one."""

import re
from pathlib import Path

import pytest
from trees import (
    MARKET_CARD,
    folder_tree,
    manifest_tree,
    write_card,
)

from reid.data.card import load_card
from reid.errors import InputError
from reid.files import bundled, bundled_names


def test_every_bundled_card_loads_and_says_its_terms() -> None:
    for name in bundled_names("datasets"):
        card = load_card(name)
        assert card.name == name
        assert card.licence and card.status


def test_which_cards_have_something_to_test_on(tmp_path: Path) -> None:
    named = [name for name in bundled_names("datasets") if not load_card(name).has_test]
    assert named == ["randperson", "unrealperson"]
    assert load_card(str(manifest_tree(tmp_path))).has_test
    assert not load_card(
        write_card(tmp_path, MARKET_CARD.replace("  gallery: {dir: bounding_box_test}\n", ""))
    ).has_test


def test_bundled_name_wins_over_a_folder_of_that_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder_tree(tmp_path / "market1501")
    monkeypatch.chdir(tmp_path)
    assert load_card("market1501").layout == "names"
    assert load_card("./market1501").layout == "folders"


def test_a_card_file_wins_over_a_bundled_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "market1501.yaml").write_text(MARKET_CARD)
    monkeypatch.chdir(tmp_path)
    assert load_card("market1501.yaml").name == "own"
    assert load_card("market1501").name == "market1501"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("name: own", "", "name: is missing"),
        ("root: .", "rot: .", "unknown key 'rot'; the keys here are name, root, .*Did you mean 'root'"),
        ("{dir: query}", "{folder: query}", "unknown key 'splits.query.folder'; the keys here are dir, list"),
        ("{dir: query}", "{dir: query, images: many}", r"splits\.query\.images: .*, got 'many'"),
        ("{dir: query}", "{dir: ../query}", r"splits\.query: '\.\./query' leaves the data set's root"),
        ("{dir: query}", "{dir: query, camera: [1, 2]}", "2 numbers for 1 folders"),
        ("  query:", "  probe:", "splits.probe.*'train', 'val', 'query' or 'gallery'"),
        (r"(?P<cam>\d)", r"\d", r"lacks the named group \(\?P<cam>"),
        (r"(?P<cam>\d)", r"(?P<cam>\d", "is not a regular expression: missing \\)"),
        ("root: .", "root: .\nroot: ..", "key 'root' is given twice"),
        ("root: .", "root: [", "not valid YAML"),
        ("root: .", "root: .\nstatus: gone", "status: .*'available', 'by request' or 'withdrawn', got 'gone'"),
        ("root: .", "root: .\nmanifest: a.csv", "leave layout and pattern out"),
    ],
)
def test_card_mistakes(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = write_card(tmp_path, MARKET_CARD.replace(old, new))
    with pytest.raises(InputError, match=message) as caught:
        load_card(path)
    assert path in str(caught.value)
    assert "validation error" not in str(caught.value)


@pytest.mark.parametrize("content", ["", "- a\n", "just words\n", "{}"])
def test_card_of_the_wrong_kind(tmp_path: Path, content: str) -> None:
    with pytest.raises(InputError, match=r"own\.yaml"):
        load_card(write_card(tmp_path, content))


def test_card_not_utf8(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_bytes(b"name: \xff\xfe\n")
    with pytest.raises(InputError, match="cannot be read"):
        load_card(str(tmp_path / "own.yaml"))


def test_unknown_name_lists_the_choices() -> None:
    with pytest.raises(
        InputError, match=r"did you mean 'market1501'.*choices: campus, clonedperson, cuhk03np_detected"
    ):
        load_card("market1510")


def test_the_readme_s_example_card_loads_and_every_card_is_in_its_table(tmp_path: Path) -> None:
    readme = (bundled("datasets") / "README.md").read_text()
    example = re.search(r"```yaml\n(.*?)```", readme, re.DOTALL)
    assert example is not None
    card = load_card(write_card(tmp_path, example[1]))
    assert card.name == "shop" and card.splits["train"].images == 4210
    for name in bundled_names("datasets"):
        assert f"`{name}`" in readme
