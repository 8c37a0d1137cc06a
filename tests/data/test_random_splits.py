"""Random splits: halves that part the people, the same ones every time, and every way to ask for one wrongly."""

from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from trees import viper_tree, write_image

from reid.data.card import load_card, people_of, trials
from reid.data.reading import read_dataset
from reid.data.samples import DataSet
from reid.data.schema import Card
from reid.errors import InputError
from reid.files import bundled

CARD = r"""
name: pair
root: .
pattern: '^(?P<pid>\d+)_c(?P<cam>\d)'
trials: 3
splits:
  train:   {half: first}
  query:   {cameras: [1], half: second}
  gallery: {cameras: [2], half: second}
"""


GOLDEN = {0: [2, 3, 4, 7, 9, 12], 9: [2, 3, 9, 10, 11, 12]}


def read(card: Card | str, root: Path, splits: list[str] | None = None) -> DataSet:
    return read_dataset(load_card(card) if isinstance(card, str) else card, root, root / "sites", splits)


def write_card(folder: Path, text: str = CARD) -> str:
    path = folder / "own.yaml"
    path.write_text(text)
    return str(path)


def pair_tree(root: Path, people: tuple[int, ...] = (1, 2, 3, 4)) -> None:
    for pid in people:
        for cam in (1, 2):
            write_image(root / f"{pid}_c{cam}.png", pid, cam, size=(16, 8))


@settings(max_examples=60, deadline=None)
@given(st.sets(st.integers(1, 10**15), max_size=40), st.integers(0, 9), st.randoms(use_true_random=False))
def test_halves_part_the_people(people: set[int], trial: int, random: Random) -> None:
    listed = sorted(people) * 2
    random.shuffle(listed)
    first, second = people_of("first", listed, trial), people_of("second", listed, trial)
    assert set(first) | set(second) == people and not set(first) & set(second)
    assert len(first) == len(people) // 2 and len(second) == len(people) - len(first)
    assert first.tolist() == sorted(first) and second.tolist() == sorted(second)
    assert first.tolist() == people_of("first", sorted(people), trial).tolist(), "order and repetition do not count"


@settings(max_examples=20, deadline=None)
@given(st.sets(st.integers(1, 1000), min_size=24, max_size=60))
def test_trials_differ(people: set[int]) -> None:
    assert len({tuple(people_of("first", people, trial)) for trial in range(10)}) == 10


def test_everyone_is_trained_on_about_half_of_the_time() -> None:
    counts = np.zeros(101)
    for trial in range(1000):
        counts[people_of("first", range(1, 101), trial)] += 1
    assert counts[0] == 0 and counts[1:].min() > 420 and counts[1:].max() < 580  # five standard deviations


def test_the_splits_are_these_and_stay_these() -> None:
    """Golden: other halves would be another benchmark."""
    assert people_of("first", range(1, 13), 0).tolist() == GOLDEN[0]
    assert people_of("first", range(1, 13), 9).tolist() == GOLDEN[9]


def test_viper(tmp_path: Path) -> None:
    viper_tree(tmp_path)
    dataset = read("viper@3", tmp_path)
    assert dataset.label == "viper@3" and dataset.title == "viper v1.0 random split 3"
    train, query, gallery = (dataset.splits[name] for name in ("train", "query", "gallery"))
    assert (len(train), len(query), len(gallery)) == (6, 3, 3)
    assert (train.cameras.tolist(), query.cameras.tolist(), gallery.cameras.tolist()) == ([1, 2], [1], [2])
    assert query.identities.tolist() == gallery.identities.tolist()
    assert {*train.identities.tolist(), *query.identities.tolist()} == {1, 2, 4, 5, 7, 8}, "000 is a person, number 1"
    assert train.identities.tolist() == people_of("first", [1, 2, 4, 5, 7, 8], 3).tolist()
    assert dataset.left_out == {} and dataset.notes == dataset.differences
    assert "query: the card says 316 images, found 3" in dataset.notes


def test_a_half_does_not_depend_on_the_splits_read(tmp_path: Path) -> None:
    """Of 7 people one is in camera a alone: gallery by itself would see six, and halve those."""
    viper_tree(tmp_path, identities=7, only_a=(3,))
    for trial in range(10):
        whole = read(f"viper@{trial}", tmp_path)
        for name in ("train", "query", "gallery"):
            alone = read(f"viper@{trial}", tmp_path, [name])
            assert list(alone.splits) == [name]
            assert alone.splits[name].names == whole.splits[name].names


def test_people_of_one_camera_alone_are_drawn_from_and_noted(tmp_path: Path) -> None:
    viper_tree(tmp_path, identities=7, only_a=(3, 5))
    dataset = read("viper@0", tmp_path)
    people = set(dataset.splits["train"].identities.tolist()) | set(dataset.splits["query"].identities.tolist())
    assert people == {1, 2, 4, 5, 7, 8, 10}
    assert "2 of 7 people are seen by one camera alone, they have no match: 5, 8" in dataset.notes


def test_every_trial_is_another_data_set(tmp_path: Path) -> None:
    viper_tree(tmp_path, identities=16)
    cards = trials(load_card("viper"))
    assert [card.trial for card in cards] == list(range(10))
    sets = [read(card, tmp_path) for card in cards]
    assert [data.label for data in sets] == [f"viper@{trial}" for trial in range(10)]
    assert sets[3].splits["query"].title == "viper@3 (query)"
    assert len({data.fingerprint for data in sets}) == 10
    assert read("viper@4", tmp_path).fingerprint == sets[4].fingerprint


def test_trials_of_a_card_without_them_or_with_one_picked() -> None:
    market, third = load_card("market1501"), load_card("viper@3")
    assert trials(market) == [market] and trials(third) == [third]
    assert load_card("viper").trial is None and third.trial == 3


def test_no_trial_picked(tmp_path: Path) -> None:
    viper_tree(tmp_path)
    with pytest.raises(InputError, match=r"viper: it has 10 random splits; choose one: viper@0 … viper@9"):
        read("viper", tmp_path)


@pytest.mark.parametrize("word", ["10", "-1", "03", "first", "", "99999", "1.0", "٣"])
def test_no_such_trial(word: str) -> None:
    with pytest.raises(InputError, match=r"viper\.yaml: random split .* is not one of 0 to 9: viper@0 … viper@9"):
        load_card(f"viper@{word}")
    with pytest.raises(InputError, match="no versions"):
        load_card("market1501@3")


def test_a_person_s_own_card(tmp_path: Path) -> None:
    pair_tree(tmp_path, (1, 2, 3, 4, 9))
    card = write_card(tmp_path)
    seen = set()
    for trial in range(3):
        dataset = read(f"{card}@{trial}", tmp_path)
        assert dataset.label == f"pair@{trial}"
        assert {name: len(samples) for name, samples in dataset.splits.items()} == {
            "train": 4,
            "query": 3,
            "gallery": 3,
        }
        assert not set(dataset.splits["train"].identities) & set(dataset.splits["query"].identities)
        seen.add(tuple(dataset.splits["train"].identities.tolist()))
    assert len(seen) > 1
    with pytest.raises(InputError, match=r"pair@0 … pair@2"):
        load_card(f"{card}@3")
    pinned = write_card(tmp_path, CARD + "trial: 2\n")
    assert read(pinned, tmp_path).label == "pair@2"


def test_junk_and_distractors_are_in_no_half_but_stay_in_the_gallery(tmp_path: Path) -> None:
    pair_tree(tmp_path, (0, 1, 2, 3, 4))
    card = write_card(tmp_path, CARD + "junk_pids: [-1, 4]\n")
    dataset = read(f"{card}@1", tmp_path)
    assert dataset.splits["gallery"].pids.tolist().count(0) == 1
    assert dataset.left_out == {
        "train junk or distractor": 4,
        "query junk or distractor": 2,
        "gallery junk": 1,
    }
    people = [*dataset.splits["train"].identities.tolist(), *dataset.splits["query"].identities.tolist()]
    assert sorted(people) == [1, 2, 3]


def test_one_person_cannot_be_halved(tmp_path: Path) -> None:
    pair_tree(tmp_path, (1,))
    card = write_card(tmp_path)
    with pytest.raises(
        InputError, match=r"split train: the keys cameras, first_ids, skip_ids and half leave none of 2"
    ):
        read(f"{card}@0", tmp_path)


def test_a_manifest_with_random_splits(tmp_path: Path) -> None:
    rows = ["path,pid,camid,split"]
    for pid in ("ann", "bob", "eve", "joe"):
        for cam in (1, 2):
            write_image(tmp_path / f"{pid}{cam}.png", len(pid), cam, size=(16, 8))
            rows += [f"{pid}{cam}.png,{pid},{cam},{split}" for split in ("train", "query" if cam == 1 else "gallery")]
    (tmp_path / "people.csv").write_text("\n".join(rows) + "\n")
    splits = "splits: {train: {half: first}, query: {half: second}, gallery: {half: second}}"
    card = write_card(tmp_path, f"name: m\nroot: .\nmanifest: people.csv\ntrials: 2\n{splits}\n")
    dataset = read(f"{card}@1", tmp_path)
    assert [len(samples) for samples in dataset.splits.values()] == [4, 2, 2]
    assert read(f"{card}@1", tmp_path, ["query"]).splits["query"].names == dataset.splits["query"].names


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("trials: 3", "", "trials: missing; split train takes a half"),
        ("trials: 3", "trials: 0", "trials: input should be greater .* got 0"),
        ("trials: 3", "trials: 3\nversions: {a: {root: a}}", "trials and versions exclude each other"),
        ("trials: 3", "trials: 3\ntrial: 3", "trial 3 is not one of 0 to 2"),
        ("trials: 3", "trials: 3\ntrial: -1", "trial: input should be greater .* got -1"),
        ("{half: first}", "{half: third}", r"splits\.train\.half: .*'first' or 'second', got 'third'"),
        ("{half: first}", "{half: first, first_ids: 3}", "half and first_ids or skip_ids exclude each other"),
        ("{half: first}", "{half: first, skip_ids: 3}", "half and first_ids or skip_ids exclude each other"),
    ],
)
def test_mistakes_in_a_card(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = write_card(tmp_path, CARD.replace(old, new))
    with pytest.raises(InputError, match=message) as caught:
        load_card(path)
    assert path in str(caught.value)


def test_trials_without_a_half_and_a_trial_without_trials(tmp_path: Path) -> None:
    plain = CARD.replace("half: first", "").replace(", half: second", "")
    with pytest.raises(InputError, match="no split says which half"):
        load_card(write_card(tmp_path, plain))
    with pytest.raises(InputError, match="trial: there are none to pick from"):
        load_card(write_card(tmp_path, plain.replace("trials: 3", "trial: 1")))


def test_the_bundled_card_s_halves_are_those_of_the_protocol() -> None:
    assert "trials: 10" in (bundled("datasets") / "viper.yaml").read_text()
    people = range(1, 633)
    assert {len(people_of(half, people, trial)) for half in ("first", "second") for trial in range(10)} == {316}
