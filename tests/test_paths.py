"""Bundled files resolve by bare name from any folder; a file that exists wins."""

from pathlib import Path

import pytest

import reid
from reid import files as paths
from reid.errors import InputError


def test_bundled_name_with_and_without_suffix_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert paths.resolve("datasets", "market1501") == paths.resolve("datasets", "market1501.yaml")
    assert paths.resolve("datasets", "market1501").is_file()


def test_a_file_wins_and_a_folder_does_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "market1501").mkdir()
    assert paths.resolve("datasets", "market1501").parent == paths.bundled("datasets")
    (tmp_path / "market1501.yaml").write_text("")
    assert paths.resolve("datasets", "market1501.yaml") == Path("market1501.yaml")


def test_the_package_s_own_folder_comes_before_its_parent_s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inner, outer = tmp_path / "site" / "reid" / "datasets", tmp_path / "site" / "datasets"
    outer.mkdir(parents=True)
    inner.parent.mkdir()
    monkeypatch.setattr(reid, "__file__", str(inner.parent / "__init__.py"))
    assert paths.bundled("datasets") == outer
    inner.mkdir()
    assert paths.bundled("datasets") == inner
    with pytest.raises(InputError, match="no bundled configs folder"):
        paths.bundled("configs")


@pytest.mark.parametrize("name", ["nothing_like_it", "", "../datasets/market1501", "/market1501"])
def test_unknown_names_list_the_choices(name: str) -> None:
    with pytest.raises(InputError, match=r"choices: .*market1501"):
        paths.resolve("datasets", name)


@pytest.mark.parametrize(
    ("name", "guess"),
    [("markt1501", "market1501"), ("market1501.yml", "market1501"), ("labelled", None), ("crops/market150", None)],
)
def test_only_a_word_much_like_a_bundled_name_is_taken_for_it(name: str, guess: str | None) -> None:
    hint = paths.meant(name, paths.bundled_names("datasets"))
    assert hint == (f" did you mean {guess!r}?" if guess else "")
