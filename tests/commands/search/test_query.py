"""Queries on the command line: what narrows them, and that it is said as page and Python say it."""

import csv
import io
import json
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from fakes import ORIGIN
from hypothesis import given, settings
from hypothesis import strategies as st
from memory_store import MemoryStore
from PIL import Image
from small_gallery import COLOURS, STRANGER, Colours, application, crop, lines

import reid
import reid.commands.search.query as module
from reid.commands.search.query import rank1_hits
from reid.gallery import service
from reid.gallery.answers import MISSED, OWN
from reid.gallery.calibration.fitted import SENTENCE
from reid.gallery.calibration.thresholds import Calibration
from reid.gallery.catalogue.records import Reader
from reid.gallery.entries import Entry, Hits
from reid.gallery.service import Service
from reid.gallery.store import Gallery
from reid.retrieval.features import Features
from reid.retrieval.ranking import evaluate


@pytest.fixture
def crops(tmp_path):
    """Files of P1 as the gallery has it, brighter, and a stranger."""
    images = {"red": crop(COLOURS["P1"]), "brighter": crop(COLOURS["P1"], 30), "stranger": crop(STRANGER)}
    for name, image in images.items():
        Image.fromarray(image).save(tmp_path / f"{name}.png")
    return {name: tmp_path / f"{name}.png" for name in images}


@pytest.fixture
def found(search, tmp_path):
    """What ``query`` writes as JSON."""

    def ask(*arguments):
        assert search("query", *arguments, "--json", tmp_path / "found.json") == 0
        return json.loads((tmp_path / "found.json").read_text())

    return ask


@pytest.mark.parametrize("name", ["red", "brighter", "stranger"])
def test_page_command_line_json_python_and_zip_say_the_same(search, found, crops, tmp_path, capsys, name):
    from fastapi.testclient import TestClient

    (told,) = found(crops[name], "--k", 5, "--zip", tmp_path / "a.zip")
    printed = capsys.readouterr().out
    app = application(tmp_path)
    with app.state.desk.service.gallery:
        client = TestClient(app, "http://localhost", headers={"X-Requested-With": "gallery"})
        asked = [("image", ("a.png", crops[name].read_bytes())), ("k", (None, "5"))]
        page = client.post("/api/search", files=asked).json()
    with reid.open_gallery(tmp_path / "gallery", reid.Model(Colours())) as gallery:
        (answer,) = gallery.search([np.asarray(Image.open(crops[name]))], k=5)
    with zipfile.ZipFile(tmp_path / "a.zip") as file:
        about, table = file.read("about.txt").decode(), file.read("answer.csv").decode("utf-8-sig")
    assert told["sentences"] == page["sentences"] == list(answer.sentences) == about.splitlines()[1:]
    assert printed.splitlines()[-len(told["sentences"]) - 2 : -2] == told["sentences"]
    assert told["found"] == page["found"] == answer.found and told["nobody"] == answer.nobody
    assert (told["audit"], page["number"], answer.number) == (1, 2, 3)
    rows = list(csv.DictReader(io.StringIO(table)))
    for hit, shown, said, row in zip(told["hits"], page["hits"], answer.hits, rows, strict=True):
        for field in ("word", "probability", "shade", "sentence"):
            assert hit[field] == shown[field] == getattr(said.judged, field)
        assert (row["word"], float(row["strangers"])) == (hit["word"], hit["strangers"]) and hit["word"] in printed
        assert hit["distance"] == shown["distance"] == said.distance == float(row["distance"])


def test_several_images_are_several_answers_or_one_person(search, found, crops, gallery, tmp_path, capsys):
    both = [crops["red"], crops["brighter"]]
    each = found(*both)
    assert [answer["query"] for answer in each] == [str(path) for path in both]
    (one,) = found(*both, "--one-person", "--k", 1, "--picture", tmp_path / "a.png", "--zip", tmp_path / "a.zip")
    rows = Colours().embed([crop(COLOURS["P1"]), crop(COLOURS["P1"], 30)]).astype(float)
    mean = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).mean(axis=0)
    ours = gallery.features([one["hits"][0]["id"]])[0].astype(float)
    assert one["hits"][0]["distance"] == pytest.approx(1 - ours @ mean / np.linalg.norm(mean), abs=1e-6)
    assert lines(gallery)[0][:2] == ("command line", "search") and lines(gallery)[0][3] == {"queries": 2}
    assert lines(gallery)[1][3] == {"k": 1, "queries": 2} and len(lines(gallery)) == 2
    assert Image.open(tmp_path / "a.png").format == "PNG"
    assert search("query", *both, "--zip", tmp_path / "b.zip") == 2
    assert "takes one answer, not 2: --one-person gives one" in capsys.readouterr().err
    assert len(lines(gallery)) == 2 and not (tmp_path / "b.zip").exists()


def test_what_is_said_of_one_of_several_answers_is_not_said_of_all(search, found, crops, gallery, monkeypatch, capsys):
    """The first alone shows no person, and the second alone was not compared with all."""
    (alone,) = found(crops["brighter"])
    said, real = capsys.readouterr().out, Service.answers
    monkeypatch.setattr(Calibration, "strange", lambda _, features: np.arange(len(features)) < len(features) - 1)
    monkeypatch.setattr(
        Service, "answers", lambda *asked: [*(some := real(*asked))[:1], replace(some[1], exhaustive=False)]
    )
    each = found(crops["red"], crops["brighter"])
    assert [answer["sentences"][0] for answer in each] == [SENTENCE, alone["sentences"][0]]
    printed = capsys.readouterr().out
    told = [line for line in printed.splitlines() if line[:1] != "|"]
    assert told[:-2] == [*alone["sentences"][1:], f"1 of 2: {SENTENCE}"] and "may have been missed" in told[-2]
    assert alone["sentences"][0] in said and alone["sentences"][0] not in printed


def test_the_cameras_of_several_images_of_one_person_are_known_too(found, crops, gallery, monkeypatch):
    """As a data set tells them."""
    gallery.update({id: {"identity": "P6"} for id in (11, 12)})  # all have names: there are percentages
    asked = [Entry(str(crops["red"]), "hall/0"), Entry(str(crops["brighter"]), "")]
    monkeypatch.setattr(module, "_queries", lambda *_: asked)
    (answer,) = found(crops["red"], "--one-person", "--k", 12)
    without = {hit["camera"] for hit in answer["hits"] if hit["probability"] is None}
    assert without == {"hall/0"} and OWN in answer["sentences"]


def test_cameras_may_be_left_out(search, found, crops, capsys):
    for words, cameras in ((["--without", "hall/0"], {"hall/1"}), (["--camera", "hall/0"], {"hall/0"})):
        (answer,) = found(crops["red"], *words, "--k", 20)
        assert {hit["camera"] for hit in answer["hits"]} == cameras and len(answer["hits"]) == 6
    assert search("query", crops["red"], "--without", "hall") == 2
    assert "--without 'hall' is not in" in capsys.readouterr().err


def test_names_of_cameras_are_looked_up_only_where_some_are_named(found, crops, monkeypatch):
    """On PostgreSQL that reads all entries."""
    monkeypatch.setattr(Reader, "names", lambda *_: pytest.fail("names were looked up"))
    (answer,) = found(crops["red"], "--from", "2023-11-01")
    assert answer["hits"]


def test_times_are_meant_in_a_zone(search, found, crops, capsys):
    """P1 is seen at 22:13:20 to 22:13:25 UTC, which is 23:13 in Berlin, and an hour later on the next day there."""
    red = crops["red"]
    for words, ids in (
        (["--to", "2023-11-14T22:13:30"], {1}),
        (["--to", "2023-11-14T23:13:30", "--zone", "Europe/Berlin"], {1}),
        (["--from", "2023-11-15", "--to", "2023-11-15", "--zone", "Europe/Berlin"], {2, 4, 6, 8, 10}),
        (["--from", "2023-11-15"], set()),
    ):
        (answer,) = found(red, *words, "--k", 20)
        assert {hit["id"] for hit in answer["hits"]} == ids
    assert search("query", red, "--from", "2023-11-15", "--zone", "Mars") == 2
    assert "--zone: 'Mars' is no time zone" in capsys.readouterr().err


def test_the_share_of_strangers_may_be_chosen(search, found, crops, tmp_path, capsys):
    red = crops["brighter"]
    words = [[hit["word"] for hit in found(red, "--k", 2, "--share", share)[0]["hits"]] for share in (0.01, 0.9)]
    assert words == [["cannot tell", "cannot tell"], ["near", "near"]]
    with pytest.raises(SystemExit):  # one would be taken, and the other passed over
        search("query", red, "--share", 0.01, "--rate", 0.1)
    assert "not allowed with argument --share" in capsys.readouterr().err
    for share in (0, 1, -1, "nan"):
        assert search("query", red, "--share", share) == 2 and "between 0 and 1" in capsys.readouterr().err


def test_nobody_is_said_only_where_all_were_compared(search, found, crops, monkeypatch, capsys):
    (answer,) = found(crops["stranger"])
    assert answer["nobody"] is True and answer["sentences"][0].startswith("Nobody") and answer["exhaustive"]
    assert "| nobody |" in " ".join(capsys.readouterr().out.split())
    real = Gallery.search

    def by_an_index(self, *asked):
        hits = real(self, *asked)
        return Hits(hits.ids, hits.distances, exhaustive=False)

    monkeypatch.setattr(Gallery, "search", by_an_index)
    monkeypatch.setattr(service, "CONFIRMED", 0)
    (answer,) = found(crops["stranger"])
    assert answer["nobody"] is False and answer["sentences"][0] == MISSED
    printed = " ".join(capsys.readouterr().out.split())
    assert "| nobody |" not in printed and "a nearer image may have been missed" in printed


def store_of(features, people, cameras):
    store = MemoryStore(ORIGIN)
    entries = [
        Entry(f"{n}.png", camera, person) for n, (person, camera) in enumerate(zip(people, cameras, strict=True))
    ]
    store.add(entries, np.array(features, np.float32), [b""] * len(entries))
    return store


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_rank_1_is_that_of_the_evaluation(data):
    rows = st.lists(st.tuples(st.integers(0, 3), st.integers(1, 2), st.integers(0, 5)), min_size=1, max_size=70)
    gallery, query = data.draw(rows), data.draw(rows)
    pool = np.random.default_rng(data.draw(st.integers(0, 9))).standard_normal((6, 4)).astype(np.float32)

    def features(some):
        pids, camids, kinds = (np.array(column, np.int64) for column in zip(*some, strict=True))
        return Features(pool[kinds], pids, camids)

    def name(pid):
        return str(pid) if pid else None

    people, cameras, kinds = zip(*gallery, strict=True)
    store = store_of(pool[list(kinds)], map(name, people), map(str, cameras))
    queries = [Entry("q", str(camera), name(person)) for person, camera, _ in query]
    right = rank1_hits(store, queries, pool[[kind for *_, kind in query]])
    try:
        expected = evaluate(features(query), features(gallery)).first_rank
    except ValueError:
        expected = np.zeros(len(query))
    assert right == [rank == 1 for rank in expected if rank]
