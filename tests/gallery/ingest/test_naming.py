import shutil

import numpy as np
import pytest
from fakes import MeanColours, paint

from reid.cli import main
from reid.data.card import load_card
from reid.data.reading import read_dataset
from reid.errors import InputError
from reid.gallery.entries import Entry
from reid.gallery.ingest.adding import Intake
from reid.gallery.ingest.images import split_entries
from reid.gallery.ingest.naming import under_name
from reid.gallery.store import Gallery

COLOURS = ("red", "green", "blue", "yellow")


def draw(folder, colours, splits=("query", "gallery")):
    """Two people in two cameras, a colour each, in folders of splits."""
    for split in splits:
        for person, colour in enumerate(colours, 1):
            for camera in (1, 2):
                paint(folder / split / str(person) / f"c{camera}.png", colour, (20 + camera, 40 + len(split)))
    return folder


def add(gallery, card, split="gallery", name=None):
    """As the command does."""
    data = read_dataset(load_card(str(card)), card.parent, card.parent, [split])
    every = lambda: read_dataset(load_card(str(card)), card.parent, card.parent).splits.values()  # noqa: E731
    entries = under_name(gallery, name or data.label, data.root, split_entries(data, split, name), every)
    return Intake(gallery).images(entries, MeanColours(), progress=False)


def people(gallery):
    return {entry.identity for entry in gallery.find()}


def test_another_data_set_of_the_name_is_refused(gallery, tmp_path):
    first, second = draw(tmp_path / "a/plaza", COLOURS[:2]), draw(tmp_path / "b/plaza", COLOURS[2:])
    add(gallery, first)
    with pytest.raises(InputError, match=rf"gallery: holds 4 entries.*called 'plaza'.*{first}.*{second}.*--name NAME"):
        add(gallery, second)
    assert people(gallery) == {"plaza/1", "plaza/2"} and len(gallery) == 4
    add(gallery, second, name="plaza b")
    assert people(gallery) == {"plaza/1", "plaza/2", "plaza b/1", "plaza b/2"}
    assert len(add(gallery, second, name="plaza b").ids) == len(add(gallery, first).ids) == 0
    with pytest.raises(InputError, match="holds 4 entries of another data set that is called 'plaza b'"):
        add(gallery, first, name="plaza b")


def test_other_splits_and_grown_data_are_the_same_data_set(gallery, tmp_path):
    folder = draw(tmp_path / "plaza", COLOURS[:2])
    add(gallery, folder)
    assert len(add(gallery, folder, "query").ids) == 4
    paint(folder / "gallery/3/c1.png", "white")
    (folder / "gallery/1/c1.png").unlink()
    added = add(gallery, folder)
    assert len(added.ids) == 1 and added.known == 3


@pytest.mark.parametrize("how", [shutil.move, shutil.copytree])
def test_a_data_set_that_moved_is_recognised(gallery, tmp_path, how):
    folder = draw(tmp_path / "a/plaza", COLOURS[:2])
    add(gallery, folder)
    add(gallery, folder, "query")
    (tmp_path / "b/deep").mkdir(parents=True)
    moved = tmp_path / "b/deep/plaza"
    how(folder, moved)
    paint(moved / "gallery/3/c1.png", "white")
    added = add(gallery, moved)
    assert (len(added.ids), added.known, added.differences) == (1, 4, [])
    assert gallery.find()[-1].source == str(moved / "gallery/3/c1.png")
    assert len(gallery) == 9 and add(gallery, moved, "query").known == 4


def test_one_other_picture_makes_it_another_data_set(gallery, tmp_path):
    folder = draw(tmp_path / "a/plaza", COLOURS[:2])
    add(gallery, folder)
    copied = tmp_path / "b/plaza"
    shutil.copytree(folder, copied)
    paint(copied / "gallery/2/c2.png", "white", (22, 47))
    with pytest.raises(InputError, match="gallery/2/c2.png, which is no image of"):
        add(gallery, copied)
    (copied / "gallery/2/c2.png").write_bytes(b"no image")
    with pytest.raises(InputError, match="another data set"):
        add(gallery, copied)


def test_links_and_nested_folders(gallery, tmp_path):
    inner = draw(tmp_path / "plaza/plaza", COLOURS[:2])
    add(gallery, inner)
    outer = draw(tmp_path / "plaza", COLOURS[2:])
    with pytest.raises(InputError, match="another data set"):
        add(gallery, outer)
    linked = tmp_path / "links/plaza"
    for split in ("query", "gallery"):
        (linked / split).mkdir(parents=True)
        for person in (1, 2):
            (linked / split / str(person)).symlink_to(inner / split / str(person))
    assert add(gallery, linked).known == 4 and len(add(gallery, linked, "query").ids) == 4


def test_a_new_folder_of_a_person_that_shifts_the_numbers_is_refused(gallery, tmp_path):
    folder = tmp_path / "shop"
    for person, colour in (("bob", "red"), ("carl", "green")):
        for camera in (1, 2):
            paint(folder / person / f"c{camera}.png", colour, (20, 40))
    add(gallery, folder)
    before = gallery.find()
    paint(folder / "dora" / "c1.png", "yellow", (20, 40))  # behind all others: nothing is shifted
    assert len(add(gallery, folder).ids) == 1 and people(gallery) == {"shop/1", "shop/2", "shop/3"}
    gallery.update({before[0].id: {"identity": "shop/2"}})  # someone's correction is none
    paint(folder / "bob" / "c2_new.png", "red", (21, 40))
    assert len(add(gallery, folder).ids) == 1
    paint(folder / "alice" / "c1.png", "blue", (20, 40))
    held = gallery.find()
    (tmp_path / "disk").mkdir()
    for place in (folder, tmp_path / "disk" / "shop"):
        if not place.exists():
            folder.rename(place)
        with pytest.raises(InputError, match=r"bob/c2.*\.png has identity 'shop/1' there, and 'shop/2' now: .*forget"):
            add(gallery, place)
    assert gallery.find() == held


def test_manifests_of_one_stem(gallery, tmp_path):
    for number, colour in enumerate(COLOURS[:2]):
        folder = tmp_path / str(number)
        lines = ["path,pid,camid,split"]
        for split in ("query", "gallery"):
            for camera in (1, 2):
                paint(folder / f"{split}{camera}.png", colour)
                lines.append(f"{split}{camera}.png,1,{camera},{split}")
        (folder / "people.csv").write_text("\n".join(lines) + "\n")
    add(gallery, tmp_path / "0/people.csv")
    with pytest.raises(InputError, match="another data set that is called 'people'"):
        add(gallery, tmp_path / "1/people.csv")


def test_names_that_a_person_gave_count_too(gallery, tmp_path):
    gallery.add([Entry("/x/1.png", "door", "plaza/1")], np.ones((1, 4)), [b""])
    with pytest.raises(InputError, match="such as /x/1.png"):
        add(gallery, draw(tmp_path / "plaza", COLOURS[:2]))


def test_on_the_command_line(trained, tmp_path, capsys):
    _, run = trained
    first, second = draw(tmp_path / "a/plaza", COLOURS[:2]), draw(tmp_path / "b/plaza", COLOURS[2:])

    def search(action, *words):
        return main(["search", action, "--model", str(run), "--store", str(tmp_path / "people"), *map(str, words)])

    assert search("add", "--data", first) == 0
    assert search("add", "--data", first, "--split", "query") == 0
    capsys.readouterr()
    for action in ("add", "query"):
        assert search(action, "--data", second) == 2
        assert "--name NAME gives the data set another name" in capsys.readouterr().err
    assert search("add", "--data", second, "--name", "other") == 0
    assert search("query", "--data", second, "--name", "other") == 0
    assert "of 4 queries with a match" in capsys.readouterr().out
    with Gallery.open(tmp_path / "people") as gallery:
        assert {entry.identity for entry in gallery.find()} == {"plaza/1", "plaza/2", "other/1", "other/2"}
    for words in (("--folder", first, "--camera", "c", "--name", "x"), ("--data", first, "--name", "")):
        assert search("add", *words) == 2 and "--name NAME goes with --data" in capsys.readouterr().err
    assert search("query", first / "query/1/c1.png", "--name", "x") == 2
