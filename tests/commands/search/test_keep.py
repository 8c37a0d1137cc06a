"""All that is done to a gallery on the command line but adding and asking: it is done, said, and in the audit log."""

import json
import shlex
import shutil
import sys
from pathlib import Path
from unittest.mock import Mock

import pytest
from conftest import ROOT
from PIL import Image
from small_gallery import COLOURS, START, Colours, crop, encoded, lines, small_gallery

from reid.cli import main
from reid.commands.search import ACTIONS
from reid.gallery.entries import Entry
from reid.gallery.store import Gallery

EARLIER = ROOT / "tests" / "data" / "earlier_gallery"


def test_settings(search, gallery, capsys):
    zones = ["--zone", "hall/0", "Europe/Berlin", "--zone", "hall/1", "America/St_Johns"]
    assert search("settings", *zones, "--index", "flat") == 0
    shown = capsys.readouterr().out
    assert "index flat, now exact" in shown and "'hall/0': 'Europe/Berlin', 'hall/1': 'America/St_Johns'" in shown
    assert search("settings", "--zone", "hall/1", "") == 0
    assert search("settings") == 0
    assert capsys.readouterr().out.splitlines()[-1].endswith("zones {'hall/0': 'Europe/Berlin'}")
    assert [line[1] for line in lines(gallery)] == ["zone", "zone", "index", "zone"]
    for words, told in (
        (["--zone", "hall/0", "Mars"], "'Mars' is no time zone"), (["--zone", "typo", "UTC"], "has no camera 'typo'"),
        (["--index", "none such"], "none such"),
    ):  # fmt: skip
        assert search("settings", *words) == 2 and told in capsys.readouterr().err
    assert len(lines(gallery)) == 4 and gallery.setting("index") == "flat"


@pytest.mark.parametrize("kind", ["auto", "rabitq", "sq8"])
def test_a_small_gallery_stays_exact_whatever_index_it_is_to_have(search, gallery, capsys, kind):
    assert search("settings", "--index", kind) == 0 and f"index {kind}, now exact" in capsys.readouterr().out
    assert search("forget", "--id", 1, "--yes") == 0 and gallery.setting("index") == kind


def test_the_audit_log_is_printed(search, gallery, capsys):
    gallery.record("page", "search", [3, 1], k=24)
    gallery.record("token", "forget", [2])
    assert search("audit") == 0
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert first.pop("time")[:2] == "20" and second.pop("time").endswith("+00:00")
    assert first == {"number": 1, "who": "page", "action": "search", "entries": [3, 1], "k": 24}
    assert search("audit", "--after", 1) == 0
    assert [json.loads(line)["number"] for line in capsys.readouterr().out.splitlines()] == [2]
    assert search("audit", "--after", 2) == 0 and capsys.readouterr().out == ""
    gallery.catalogue.record([(START, "python", "compare", [n], {}) for n in range(1100)])  # more than are read at once
    assert search("audit", "--after", 2) == 0
    assert [json.loads(line)["entries"] for line in capsys.readouterr().out.splitlines()] == [[n] for n in range(1100)]


def test_forgetting_is_asked_for(search, gallery, monkeypatch, capsys):
    assert search("forget", "--id", 1) == 2 and "say --yes" in capsys.readouterr().err
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    questions = []
    monkeypatch.setattr("builtins.input", lambda question: questions.append(question) or "n")
    assert search("forget", "--person", "P2") == 2 and "nothing was erased" in capsys.readouterr().err
    assert "erase 2 of 12 entries?" in questions[0] and len(gallery) == 12
    monkeypatch.setattr("builtins.input", Mock(side_effect=EOFError))  # Ctrl-D
    assert search("forget", "--person", "P2") == 2 and "nothing was erased" in capsys.readouterr().err
    monkeypatch.setattr("builtins.input", lambda question: " Yes")
    assert search("forget", "--person", "P2") == 0
    assert search("forget", "--image", gallery.get([5])[0].source, "--yes") == 0
    assert [entry.id for entry in gallery.find()] == [1, 2, 6, 7, 8, 9, 10, 11, 12]
    assert lines(gallery) == [("command line", "forget", [3, 4], {}), ("command line", "forget", [5], {})]


def test_a_gallery_that_cannot_keep_a_calibration_is_told_before_the_work(colours, tmp_path, capsys):
    where = ["--source", "no such data", "--store", str(tmp_path / "nowhere")]
    assert main(["search", "calibrate", *where]) == 2 and "nowhere: is not a gallery" in capsys.readouterr().err


def test_times_are_set_in_a_zone(search, gallery):
    assert search("update", "--id", 1, "--time", "2026-03-01T09:00", "--zone", "Europe/Berlin") == 0
    assert gallery.get([1])[0].time == 1772352000.0 and gallery.get([1])[0].until == 1772352005.0
    assert lines(gallery) == [("command line", "update", [1], {})]


def test_retention(search, gallery, capsys):
    (old,) = gallery.add([Entry("/x/old.png", "hall/0", added=1e9)], Colours().embed([crop((1, 2, 3))]), [b""])
    assert search("retention", "--days", "30") == 0
    assert "entries are kept for 30 days; 1 were dropped now" in capsys.readouterr().out
    assert search("retention", "--days", "none") == 0 and "kept for good; 0 were" in capsys.readouterr().out
    assert search("retention", "--days", "soon") == 2
    assert [line[:3] for line in lines(gallery)] == [
        ("command line", "retention", []), ("retention", "forget", [old]), ("command line", "retention", []),
    ]  # fmt: skip


def test_a_file_carries_a_gallery_and_what_was_erased_stays_erased(search, gallery, tmp_path, capsys):
    file = tmp_path / "people.parquet"
    assert search("export", file) == 0 and "12 entries" in capsys.readouterr().out
    assert search("import", file) == 0 and "0 entries stored, 12 were there already" in capsys.readouterr().out
    assert search("forget", "--id", 3, 4, "--yes") == 0
    assert search("import", file) == 0
    assert "2 were erased before, and are left out; --again stores them" in capsys.readouterr().out
    assert search("import", file, "--again") == 0 and "2 entries stored" in capsys.readouterr().out
    assert len(gallery) == 12 and {entry.identity for entry in gallery.find() if entry.id > 12} == {"P2"}
    assert [line[1:3] for line in lines(gallery)] == [
        ("export", []), ("import", []), ("forget", [3, 4]), ("import", []), ("import", [13, 14]),
    ]  # fmt: skip
    other = tmp_path / "other"
    assert main(["search", "import", str(file), "--store", str(other)]) == 0
    with Gallery.open(other) as there:
        ours, theirs = ([(e.source, e.identity, e.time, e.added) for e in each.find()] for each in (gallery, there))
        assert sorted(ours[:-2], key=str) == sorted((row for row in theirs if row[1] != "P2"), key=str)


def test_images_that_were_erased_are_left_out_but_again(search, gallery, tmp_path, capsys):
    for number, colour in enumerate(((9, 200, 9), (200, 9, 200))):
        (tmp_path / "new").mkdir(exist_ok=True)
        (tmp_path / "new" / f"{number}.png").write_bytes(encoded(crop(colour)))
    add = ("add", "--folder", tmp_path / "new", "--camera", "door")
    assert search(*add) == 0 and search("forget", "--image", tmp_path / "new" / "0.png", "--yes") == 0
    capsys.readouterr()
    assert search(*add) == 0
    shown = capsys.readouterr().out
    assert "0 images stored, 1 were there already" in shown and "1 were erased before" in shown and "0.png" in shown
    assert search(*add, "--again") == 0 and "1 images stored" in capsys.readouterr().out
    assert [line[1:3] for line in lines(gallery)] == [("add", [13, 14]), ("forget", [13]), ("add", [15])]


def test_times_of_a_csv_file_are_meant_in_a_zone(search, gallery, tmp_path):
    (tmp_path / "new.png").write_bytes(encoded(crop((9, 200, 9))))
    (tmp_path / "new.csv").write_text("path,camera,time\nnew.png,door,2026-03-01T09:00\n")
    assert search("add", "--csv", tmp_path / "new.csv", "--zone", "Europe/Berlin") == 0
    assert gallery.get([13])[0].time == 1772352000.0


def test_a_gallery_of_an_earlier_version_is_converted(tmp_path, capsys):
    shutil.copytree(EARLIER, tmp_path / "old")
    (tmp_path / "old" / "expected.json").unlink()
    new = ("--store", str(tmp_path / "new"))
    assert main(["search", "stats", "--store", str(tmp_path / "old")]) == 2
    assert f"search.py convert {tmp_path / 'old'}" in capsys.readouterr().err
    assert main(["search", "convert", str(tmp_path / "old"), *new]) == 0
    shown = capsys.readouterr().out
    assert "5 entries stored; 5 entries" in shown and "stays as it is: erase it when all is well" in shown
    assert "calibrate again" in shown
    with Gallery.open(tmp_path / "new") as gallery:
        assert [entry.id for entry in gallery.find()] == [1, 2, 3, 4, 7] and lines(gallery)[-1][1] == "convert"
    assert main(["search", "verify", *new]) == 0
    assert main(["search", "convert", str(tmp_path / "nowhere"), "--store", str(tmp_path / "another")]) == 2
    assert "nowhere" in capsys.readouterr().err and not (tmp_path / "another").exists()


def test_stats_tell_what_there_is(search, gallery, capsys):
    assert search("stats") == 0
    shown = " ".join(capsys.readouterr().out.split())
    for told in (
        "| entries | 12 |", "| people | 5; 2 entries of nobody known |", "| camera hall/1 | 6 entries |",
        "| calibrated | on drawn |", "| kept | for good |", "| catalogue | sqlite |", "| decided pairs | none |",
    ):  # fmt: skip
        assert told in shown
    assert gallery.catalogue.summary().first == START and "2023-11-14 22:13:20 to 2023-11-14 23:17:25" in shown


def test_stats_while_files_come_and_go(search, tmp_path, monkeypatch):
    """One goes when it was seen, another before."""
    (tmp_path / "gallery" / "seen").write_bytes(b"x")
    (tmp_path / "gallery" / "gone").symlink_to("nowhere")
    real = Path.stat

    def stat(path, **how):
        found = real(path, **how)
        if path.name == "seen":
            path.unlink()
        return found

    monkeypatch.setattr(Path, "stat", stat)
    assert search("stats") == 0 and not (tmp_path / "gallery" / "seen").exists()


@pytest.fixture
def workplace(tmp_path, colours, monkeypatch):
    """A folder in which the examples of --help find what they name."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "path/to/crops").mkdir(parents=True)
    for number in range(20):
        (tmp_path / f"path/to/crops/{number:02d}.png").write_bytes(encoded(crop((12 * number, 99, 200))))
    for name in ("crop", "a", "b"):
        Image.fromarray(crop(COLOURS["P1"])).save(f"{name}.jpg")
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda question: "y")


def test_the_examples_of_help_work(workplace, tmp_path, capsys):
    def run(name):
        assert main(["search", name, *shlex.split(ACTIONS[name].example)]) == 0, capsys.readouterr().err

    run("add")
    with Gallery.open("runs/gallery") as gallery:
        gallery.add([Entry("/x.png", "plaza/1", "plaza/151")], Colours().embed([crop((1, 2, 3))]), [b""])
    for name in ACTIONS:
        if name not in ("add", "calibrate", "convert"):  # calibrate takes sites: tests/commands/test_search.py
            run(name)
    with Gallery.open("runs/gallery") as gallery:
        assert [entry.identity for entry in gallery.get([17, 18])] == ["P1", "P1"] and len(gallery) == 20
    shutil.rmtree("runs")
    shutil.copytree(EARLIER, "runs/old")
    run("convert")


def test_another_network_s_gallery_is_refused(search, gallery, tmp_path, monkeypatch, capsys):
    class Other(Colours):
        origin = Colours.origin.__class__("other", 4, "other", "none")

    monkeypatch.setattr("reid.networks.load", lambda *_: Other())
    for words in (["stats", "--model", "people"], ["query", tmp_path / "0_0.png"]):
        assert search(*words) == 2 and "cannot be compared" in capsys.readouterr().err
    assert search("stats") == 0 and lines(gallery) == []
    assert small_gallery(tmp_path).verify() == []
