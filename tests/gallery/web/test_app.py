"""The page's HTTP API: what it answers and refuses, who may ask, and serving it."""

import csv
import importlib
import io
import json
import os
import signal
import socket
import sys
import threading
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import anyio
import httpx
import numpy as np
import pytest

pytest.importorskip("fastapi")
from fastapi.testclient import TestClient
from PIL import Image
from served import served
from small_gallery import COLOURS, ORIGIN, START, STRANGER, Colours, application, crop, encoded, lines, small_gallery

import reid.gallery.web.app as module
from reid.errors import InputError
from reid.gallery.answers import EMPTY
from reid.gallery.entries import Entry, Filter, ServerProblem
from reid.gallery.parts import Layout
from reid.gallery.service import Service
from reid.gallery.store import Gallery
from reid.gallery.vectors.collection import Collection
from reid.gallery.web.app import listening
from reid.gallery.web.pictures import Limits
from reid.gallery.web.routes import Desk
from reid.video.detect import Box

TOKEN = "0123456789abcdef-token"
RED = encoded(crop(COLOURS["P1"]))


def client_of(app, **headers):
    return TestClient(app, "http://localhost", headers={"X-Requested-With": "gallery", **headers})


def gallery_of(client):
    return client.app.state.desk.service.gallery


@contextmanager
def opened(folder, **more):
    """A client of the page on the small gallery in a folder."""
    client = client_of(application(folder, **more))
    with gallery_of(client):
        yield client


@pytest.fixture
def client(tmp_path):
    with opened(tmp_path, calibrated=True) as client:
        yield client


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """For what changes nothing."""
    with opened(tmp_path_factory.mktemp("shared"), calibrated=True) as client:
        yield client


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    """Without a calibration, for what changes nothing."""
    with opened(tmp_path_factory.mktemp("bare")) as client:
        yield client


@contextmanager
def nothing_recorded(client):
    before = lines(gallery_of(client))
    yield
    assert lines(gallery_of(client)) == before


def picture(content, field="image"):
    return {field: ("crop", content, "application/octet-stream")}


def fields(values):
    """Text fields of a multipart form."""
    return [(name, (None, str(value))) for name, value in values]


def error(answer, status):
    assert answer.status_code == status, answer.text
    assert list(answer.json()) == ["error"] and answer.headers["cache-control"] == "no-store"
    return answer.json()["error"]


def test_summary(client, bare):
    gallery = gallery_of(client)
    Service(gallery, "page").set_zone("hall/0", "Europe/Berlin")
    answer = client.get("/api/summary").json()
    assert answer["entries"] == 12 and answer["identities"] == 5 and answer["unknown"] == 2
    assert answer["cameras"] == {"hall/0": 6, "hall/1": 6} and answer["zones"] == {"hall/0": "Europe/Berlin"}
    assert answer["first"] == START and answer["last"] == START + 3600 + 4 * 60 + 5
    assert answer["model"] == "colours" and answer["fingerprint"] == ORIGIN.fingerprint and answer["width"] == 4
    assert answer["calibration"]["source"] == "drawn" and "among 12 images" in answer["calibration"]["sentence"]
    assert answer["name"] == "gallery"
    assert answer["index"] == {"kind": "flat", "recall": 1.0, "size": 0, "behind": 12}
    assert answer["problems"] == [] and answer["detects"] is False
    assert bare.get("/api/summary").json()["calibration"] is None


def test_an_empty_gallery(tmp_path):
    with opened(tmp_path, calibrated=True, empty=True) as client:
        assert client.get("/api/summary").json()["entries"] == 0
        assert client.get("/api/entries").json() == {"entries": [], "next": None}
        answer = client.post("/api/search", files=picture(RED)).json()
        assert answer["hits"] == answer["sightings"] == [] and answer["found"] is None
        assert client.post("/api/answer", files=picture(RED)).status_code == 200
        assert client.get("/api/names").json() == {"names": []}


def test_names_to_choose_from(shared):
    assert shared.get("/api/names").json() == {"names": ["P1", "P2", "P3", "P4", "P5"]}


@pytest.mark.parametrize("limit", [1, 4, 5, 12, 200])
def test_browsing_by_pages_gives_every_entry_once(shared, limit):
    seen, after = [], 0
    while after is not None:
        answer = shared.get("/api/entries", params={"limit": limit, "after": after}).json()
        seen += [entry["id"] for entry in answer["entries"]]
        after = answer["next"]
    assert seen == list(range(1, 13))
    for asked in ({"limit": 0}, {"limit": 201}, {"after": -1}, {"after": 2**63}, {"identity": ""}, {"other": "x"}):
        error(shared.get("/api/entries", params=asked), 422)


@pytest.mark.parametrize(
    "params, wanted",
    [
        ({"camera": "hall/0"}, Filter(cameras=("hall/0",))),
        ({"camera": ["hall/0", "hall/1"], "identity": ["P1", "P3"]}, Filter(identities=("P1", "P3"))),
        ({"start": START + 100, "end": START + 3600}, Filter(start=START + 100, end=START + 3600)),
        ({"camera": "nowhere"}, Filter(cameras=("nowhere",))),
        ({"without": ["hall/0", "nowhere"]}, Filter(without=("hall/0", "nowhere"))),
        ({"identity": "P1\x07\u202e"}, Filter(identities=("P1\x07\u202e",))),
        ({"identity": "x" * 500}, Filter(identities=("x" * 500,))),
    ],
)
def test_browsing_filters_as_the_gallery_does(shared, params, wanted):
    found = shared.get("/api/entries", params=params).json()["entries"]
    assert [entry["id"] for entry in found] == [entry.id for entry in gallery_of(shared).find(wanted)]


def test_browsing_by_name_is_recorded(client):
    client.get("/api/entries", params={"camera": "hall/0"})
    client.get("/api/entries", params={"identity": ["P1", "P2"], "limit": 3})
    assert lines(gallery_of(client)) == [("page", "browse", [1, 2, 3], {})]


def test_an_entry_shows_its_file_name_and_no_folder(client, tmp_path):
    answer = client.get("/api/entries/2").json()
    assert answer["identity"] == "P1" and answer["camera"] == "hall/1" and answer["source"] == "0_1.png"
    assert answer["box"] == [30, 20, 62, 84] and answer["until"] == START + 3605
    assert str(tmp_path) not in client.get("/api/entries").text


@pytest.mark.parametrize("path", ["/api/entries/99", "/api/entries/99/thumbnail", "/api/entries/99/source", "/none"])
def test_what_is_not_there(shared, path):
    told = error(shared.get(path), 404)
    assert path == "/none" or told == "gallery/catalogue.db: no entry 99"


@pytest.mark.parametrize("id", ["0", "-1", "x", str(2**63), str(10**30), "1.5", "\uff11x"])
@pytest.mark.parametrize("part", ["", "/thumbnail", "/source"])
def test_ids_that_are_none(shared, id, part):
    assert "id" in error(shared.get(f"/api/entries/{id}{part}"), 422)


def test_the_largest_id_is_an_id(shared):
    error(shared.get(f"/api/entries/{2**63 - 1}"), 404)
    error(shared.post("/api/search", files=fields([("entry", 2**63 - 1)])), 404)
    assert shared.get("/api/entries", params={"after": 2**63 - 1}).json()["entries"] == []


def test_thumbnail(client):
    gallery = gallery_of(client)
    answer = client.get("/api/entries/3/thumbnail")
    assert answer.headers["content-type"] == "image/jpeg" and [answer.content] == gallery.thumbnails([3])
    gallery.remove([3])
    assert "no entry 3" in error(client.get("/api/entries/3/thumbnail"), 404)
    (id,) = gallery.add([Entry("/x/a.png", "hall/0")], np.eye(4)[:1], [b""])
    assert "without a picture" in error(client.get(f"/api/entries/{id}/thumbnail"), 404)


def test_source_has_the_box_drawn_around_the_person(client, tmp_path):
    answer = client.get("/api/entries/1/source")
    assert answer.headers["content-type"] == "image/jpeg" and answer.headers["cache-control"] == "no-store"
    (tmp_path / "answer.jpg").write_bytes(answer.content)
    pixels = np.asarray(Image.open(tmp_path / "answer.jpg")).astype(int)
    assert pixels.shape == (104, 92, 3)
    line, inside = pixels[52, 27:30].mean(axis=0), pixels[52, 40:52].mean(axis=(0))
    assert line[0] > 120 > line[2] + 40  # yellow
    assert np.abs(inside - COLOURS["P1"]).max() < 12  # nothing drawn over the person
    assert lines(gallery_of(client)) == [("page", "source", [1], {})]


def test_large_sources_are_sent_smaller(client, tmp_path):
    Image.new("RGB", (4000, 1000)).save(tmp_path / "0_0.png")
    (tmp_path / "answer.jpg").write_bytes(client.get("/api/entries/1/source").content)
    assert Image.open(tmp_path / "answer.jpg").size == (1920, 480)


def test_a_source_that_is_gone_or_broken(client, tmp_path):
    (tmp_path / "0_0.png").unlink()
    (tmp_path / "0_1.png").write_bytes(RED[:100])
    assert "0_0.png: the source of entry 1 is not there" in error(client.get("/api/entries/1/source"), 404)
    assert error(client.get("/api/entries/2/source"), 404).startswith("0_1.png: not a readable image")
    long = Entry(f"{tmp_path}/{'n' * 300}", "door")  # at which Path.is_file raises, as in a folder that is closed
    (id,) = gallery_of(client).add([long], np.ones((1, 4)), [b""])
    assert "is not there" in error(client.get(f"/api/entries/{id}/source"), 404)
    os.mkfifo(tmp_path / "0_0.png")  # reading it would wait for ever
    error(client.get("/api/entries/1/source"), 404)


def test_times_are_asked_for_as_iso_8601_and_days_are_whole(shared):
    """START is 2023-11-14 22:13:20 UTC, and the second images of each person come an hour later."""
    early, late = "2023-11-14T22:00Z", "20231114T2300"
    for asked, ids in (
        ({"start": early, "end": "2023-11-14T22:59:59.9"}, range(1, 12, 2)),
        ({"start": late}, range(2, 12, 2)),
        ({"start": "20231114", "end": "2023-11-14"}, range(1, 12)),
        ({"end": "2023-11-13"}, []),
        ({"start": START, "end": START}, [1]),
    ):
        found = shared.get("/api/entries", params=asked).json()["entries"]
        assert [entry["id"] for entry in found] == list(ids)
        answer = shared.post("/api/search", files=fields([("entry", 12), *asked.items()])).json()
        assert sorted(hit["id"] for hit in answer["hits"]) == list(ids)
    assert "start: time: '20231314' is no point in time" in error(shared.get("/api/entries?start=20231314"), 422)


def test_searching_a_picture(client):
    """What the service answers, in full."""
    gallery = gallery_of(client)
    answer = client.post("/api/search", files=picture(RED)).json()
    expected = Service(gallery, "page", Colours()).search(Colours().embed([crop(COLOURS["P1"])]))
    assert [hit["id"] for hit in answer["hits"]] == [hit.entry.id for hit in expected.hits] and len(
        answer["hits"]
    ) == 12
    for given, hit in zip(answer["hits"], expected.hits, strict=True):
        said = (given["word"], given["probability"], given["shade"], given["sentence"])
        judged = hit.judged
        assert said == (judged.word, judged.probability, judged.shade, judged.sentence)
        assert (given["rank"], given["distance"], given["camera"]) == (hit.rank, hit.distance, hit.entry.camera)
    assert answer["found"] == "near" and answer["exhaustive"] and tuple(answer["sentences"]) == expected.sentences
    assert [(each["camera"], each["time"], each["until"], each["hits"]) for each in answer["sightings"]] == [
        (each.camera, each.time, each.until, [hit.rank - 1 for hit in each.hits]) for each in expected.sightings()
    ]
    assert sorted(place for each in answer["sightings"] for place in each["hits"]) == list(range(12))
    assert lines(gallery)[0] == ("page", "search", [hit.entry.id for hit in expected.hits], {"k": 24})
    assert answer["number"] == 1


def test_sightings_are_by_camera_and_time(client):
    """At hall/0 P1 to P5 and an unknown one pass a minute apart; at hall/1 the last image has no time."""
    answer = client.post("/api/search", files=picture(RED)).json()
    places = {tuple(sorted(answer["hits"][place]["id"] for place in each["hits"])) for each in answer["sightings"]}
    assert places == {(1, 3, 5, 7, 9, 11), (2, 4, 6, 8, 10), (12,)}
    assert [each["camera"] for each in answer["sightings"]][:2] == ["hall/0", "hall/1"]
    untimed = next(each for each in answer["sightings"] if each["time"] is None)
    assert untimed["until"] is None and [answer["hits"][place]["id"] for place in untimed["hits"]] == [12]


def test_entries_are_left_out_of_their_own_answer(client):
    answer = client.post("/api/search", files=fields([("entry", 5), ("k", 3)])).json()
    assert answer["hits"][0]["id"] == 6 and 5 not in [hit["id"] for hit in answer["hits"]] and len(answer["hits"]) == 3
    both = client.post("/api/search", files=fields([("entry", 5), ("entry", 6)])).json()
    assert len(both["hits"]) == 10 and both["found"] == "far" and both["sentences"][0].startswith("Nobody")
    assert [line[3] for line in lines(gallery_of(client))] == [{"k": 3, "query": 5}, {"k": 24, "queries": 2}]


def test_pictures_and_entries_of_one_person_are_one_query(client):
    asked = [("image", ("a", RED)), ("image", ("b", encoded(crop(COLOURS["P1"], 30)))), *fields([("entry", 2)])]
    answer = client.post("/api/search", files=asked).json()
    assert answer["hits"][0]["id"] == 1 and 2 not in [hit["id"] for hit in answer["hits"]]
    assert lines(gallery_of(client))[0][3] == {"k": 24, "query": 2, "queries": 3}


def test_search_filters(shared):
    asked = [("entry", 1), ("camera", "hall/1"), ("start", START + 3600), ("end", START + 3700)]
    answer = shared.post("/api/search", files=fields(asked)).json()
    assert {hit["id"] for hit in answer["hits"]} == {2, 4}
    both = shared.post("/api/search", files=fields([("entry", 1), ("camera", "hall/1"), ("camera", "hall/0")])).json()
    assert len(both["hits"]) == 11
    for asked in ([("without", "hall/0")], [("elsewhere", "true")]):
        answer = shared.post("/api/search", files=fields([("entry", 1), *asked])).json()
        assert {hit["id"] for hit in answer["hits"]} == {2, 4, 6, 8, 10, 12}


def test_nobody(shared):
    strange = encoded(crop(STRANGER))
    answer = shared.post("/api/search", files=[*picture(strange).items(), *fields([("share", 0.01)])]).json()
    assert answer["found"] == "far" and answer["exhaustive"] and len(answer["hits"]) == 12
    assert {hit["word"] for hit in answer["hits"]} == {"far"} and answer["sentences"][0].startswith("Nobody")
    none = shared.post("/api/search", files=fields([("entry", 1), ("camera", "nowhere")])).json()
    assert none["found"] is None and none["hits"] == [] and none["sentences"] == [EMPTY]


def test_percentages_stand_where_every_image_has_a_name(client):
    unnamed = client.post("/api/search", files=picture(RED)).json()
    assert {hit["probability"] for hit in unnamed["hits"]} == {None}
    assert client.post("/api/forget", json={"ids": [11, 12]}).status_code == 200
    named = client.post("/api/search", files=picture(RED)).json()
    assert named["hits"][0]["probability"] > 0.5 > 0.05 > named["hits"][-1]["probability"]


def test_without_a_calibration_there_are_distances_only(bare):
    answer = bare.post("/api/search", files=picture(RED)).json()
    assert answer["found"] is None and answer["sentences"] == []
    assert {(hit["probability"], hit["word"], hit["shade"], hit["sentence"]) for hit in answer["hits"]} == {
        (None, None, None, "")
    }
    compared = bare.post("/api/compare", files=fields([("entry", 1), ("entry", 2)])).json()
    assert compared["word"] is compared["probability"] is None and compared["distance"] < 0.01
    assert "no calibration" in error(bare.post("/api/search", files=fields([("entry", 1), ("share", 0.1)])), 422)


@pytest.mark.parametrize(
    "asked, names",
    [
        ([], "images or entries of a person, got none"),
        ([("entry", 1)] * 9, "entry"),
        ([("entry", 0)], "entry"),
        ([("entry", 2**63)], "entry"),
        ([("entry", 10**30)], "entry"),
        ([("entry", 1), ("k", 0)], "k"),
        ([("entry", 1), ("k", 501)], "k"),
        ([("entry", 1), ("k", "many")], "k"),
        ([("entry", 1), ("k", 1), ("k", 2)], "k"),
        *(([("entry", 1), ("share", share)], "share") for share in (0, 1, 2, -0.1, "nan", "inf", "some")),
        ([("entry", 1), ("elsewhere", "perhaps")], "elsewhere"),
        ([("entry", 1), ("start", "inf")], "start"),
        ([("entry", 1), ("start", 1700000002), ("end", 1700000001)], "start 1700000002 lies after end 1700000001"),
        (
            [("entry", 1), ("start", "2026-03-02"), ("end", "2026-03-01")],
            "start 1772409600 lies after end 1772409599",  # the day's last second
        ),
        ([("entry", 1), ("start", 60)], "start: time: '60' is no point in time"),
        ([("entry", 1), ("end", "noon")], "end: time: 'noon' is neither"),
        ([("entry", 1), ("start", 1.7e300)], "start"),
        ([("entry", 1), ("cameras", "hall/0")], "cameras"),
        ([("entry", 1), ("rate", 0.01)], "rate"),
        ([("entry", 1), ("camera", "")], "camera"),
        ([("entry", 1), ("camera", "x" * 501)], "camera"),
        ([("entry", "../../etc/passwd")], "entry"),
        ([("image", "text, no file")], "image"),
        ([("entry", 1), ("box", "0,0,5,5")], "box: 1 for 0 images"),
    ],
)
@pytest.mark.parametrize("path", ["search", "answer"])
def test_search_refuses(shared, path, asked, names):
    with nothing_recorded(shared):
        assert names in error(shared.post(f"/api/{path}", files=fields(asked or [("k", 3)])), 422)


def test_search_of_an_entry_that_is_not_there(shared):
    error(shared.post("/api/search", files=fields([("entry", 99)])), 404)
    error(shared.post("/api/search", files=fields([("entry", 1), ("entry", 99), ("elsewhere", "true")])), 404)


def test_pictures_and_fields_are_not_mixed_up(shared):
    error(shared.post("/api/search", files=picture(RED, "picture")), 422)
    error(shared.post("/api/search", json={"entry": 1}), 415)
    error(shared.post("/api/search", content=b"x", headers={"Content-Type": "multipart/form-data"}), 400)
    error(shared.post("/api/search", content=b"x", headers={"Content-Type": "multipart/form-data; boundary=y"}), 400)
    eight = [("image", ("a", RED))] * 8
    assert shared.post("/api/search", files=eight).status_code == 200
    assert "Maximum number of files is 8" in error(shared.post("/api/search", files=[*eight, eight[0]]), 400)
    error(shared.post("/api/search", files=fields([("camera", "x")] * 513)), 400)
    error(shared.post("/api/compare", files=eight[:3]), 422)


PEOPLE = np.concatenate([crop(COLOURS[name]) for name in ("P1", "P2", "P3")], axis=1)  # (64, 96, 3)


def test_a_box_is_the_person_in_a_photograph(shared):
    for number, id in enumerate((1, 3, 5)):
        asked = [*picture(encoded(PEOPLE)).items(), *fields([("box", f"{32 * number},0,{32 * number + 32},64")])]
        answer = shared.post("/api/search", files=asked).json()
        assert answer["hits"][0]["id"] == id and answer["hits"][0]["distance"] == pytest.approx(0, abs=1e-6)
    two = [
        ("image", ("a", encoded(PEOPLE))),
        ("image", ("b", RED)),
        *fields([("box", "0,0,32,64"), ("box", "0,0,32,64")]),
    ]
    assert shared.post("/api/search", files=two).json()["hits"][0]["id"] == 1
    compared = shared.post("/api/compare", files=two).json()
    assert compared["word"] == "near" and compared["distance"] == pytest.approx(0, abs=1e-6)
    assert "box: 1 for 2 images, expected one for each, or none" in error(
        shared.post("/api/search", files=two[:3]), 422
    )


@pytest.mark.parametrize(
    "box, told",
    [
        ("0,0,97,64", "lies outside of 96 x 64 pixels"), ("0,0,96,65", "lies outside"), ("5,5,5,9", "or is empty"),
        ("9,0,5,5", "lies outside"), ("-1,0,5,5", "left,top,right,bottom"), ("0,0,5", "left,top,right,bottom"),
        ("0,0,5,5,5", "left,top,right,bottom"), ("a,b,c,d", "left,top,right,bottom"), ("", "left,top,right,bottom"),
        ("0,0,1e1,9", "left,top,right,bottom"), ("0,0,5,\uff11", "left,top,right,bottom"), ("9" * 5000, "left,top"),
        ("999999,999999,999999,999999", "lies outside"), ("NaN,0,5,5", "left,top,right,bottom"),
    ],
)  # fmt: skip
def test_boxes_outside_the_picture_are_refused(shared, box, told):
    for path in ("search", "compare"):
        more = fields([("entry", 1)]) if path == "compare" else []
        asked = [*picture(encoded(PEOPLE)).items(), *fields([("box", box)]), *more]
        assert told in error(shared.post(f"/api/{path}", files=asked), 422)


def test_pictures_of_one_request_are_bounded_together(tmp_path):
    with opened(tmp_path, limits=Limits(pixels=5000)) as client:
        whole = [("image", ("a", RED))] * 3  # 2048 pixels each
        assert "more than 5,000 pixels together" in error(client.post("/api/search", files=whole), 413)
        boxed = [*whole, *fields([("box", "0,0,20,64")] * 3)]
        assert client.post("/api/search", files=boxed).status_code == 200


class TwoPeople:
    def detect(self, frame):
        return [Box(0.4, 0, 31.2, 64, 0.9), Box(32, 0, 64, 64.0, 0.6), Box(64, 0, 96, 64, 0.4)]

    def describe(self):
        return "two"


def test_people_in_a_photograph(client, tmp_path):
    with opened(tmp_path, detector=TwoPeople()) as seeing:
        assert seeing.get("/api/summary").json()["detects"]
        found = seeing.post("/api/people", files=picture(encoded(PEOPLE))).json()
    boxes = [{"box": [0, 0, 32, 64], "confidence": 0.9}, {"box": [32, 0, 64, 64], "confidence": 0.6}]
    assert found == {"width": 96, "height": 64, "people": boxes}
    assert client.post("/api/people", files=picture(encoded(PEOPLE))).json() == {**found, "people": None}
    assert "expected one image, got 2" in error(client.post("/api/people", files=[("image", ("a", RED))] * 2), 422)
    error(client.post("/api/people", files=[*picture(RED).items(), *fields([("k", 3)])]), 422)
    error(client.post("/api/people", files=picture(b"no picture")), 415)
    assert lines(gallery_of(client)) == []


def test_compare(client):
    same = client.post("/api/compare", files=[*picture(RED).items(), *fields([("entry", 2)])]).json()
    assert same["word"] == "near" and same["distance"] == pytest.approx(0.0034, abs=1e-3) and same["probability"] > 0.9
    assert "on drawn, held half" in same["sentences"][1]
    other = client.post("/api/compare", files=fields([("entry", 1), ("entry", 3)])).json()
    rows = gallery_of(client).features([1, 3]).astype(float)
    assert other["word"] == "far" and other["distance"] == pytest.approx(1 - rows[0] @ rows[1], abs=1e-7)
    two = client.post("/api/compare", files=[("image", ("a", RED)), ("image", ("b", RED))]).json()
    assert two["distance"] == pytest.approx(0, abs=1e-6)
    assert [each[1:3] for each in lines(gallery_of(client))] == [("compare", [2]), ("compare", [1, 3]), ("compare", [])]
    assert "two images or entries, got 1" in error(client.post("/api/compare", files=fields([("entry", 1)])), 422)
    error(client.post("/api/compare", files=fields([("entry", 1), ("entry", 2), ("entry", 3)])), 422)
    error(client.post("/api/compare", files=fields([("entry", 1), ("entry", 99)])), 404)


def unpacked(answer):
    """The table's rows as dicts, what is said, and the pictures by name."""
    with zipfile.ZipFile(io.BytesIO(answer.content)) as file:
        inside = {name: file.read(name) for name in file.namelist()}
    rows = csv.DictReader(io.StringIO(inside.pop("answer.csv").decode("utf-8-sig")))
    return list(rows), inside.pop("about.txt").decode(), inside


def test_an_answer_as_a_zip_file(client, tmp_path):
    gallery = gallery_of(client)
    asked = [("entry", 1), ("k", 3)]
    shown = client.post("/api/search", files=fields(asked)).json()
    answer = client.post("/api/answer", files=fields(asked))
    assert answer.headers["content-type"] == "application/zip"
    assert answer.headers["content-disposition"] == 'attachment; filename="answer-2.zip"'
    rows, about, pictures = unpacked(answer)
    assert [(int(row["rank"]), int(row["entry"]), row["person"], row["camera"], row["word"]) for row in rows] == [
        (hit["rank"], hit["id"], hit["identity"] or "", hit["camera"], hit["word"]) for hit in shown["hits"]
    ]
    assert [float(row["distance"]) for row in rows] == [hit["distance"] for hit in shown["hits"]]
    assert rows[0]["time"] == "2023-11-14T23:13:20+00:00" and {row["audit"] for row in rows} == {"2"}
    assert about.splitlines() == ["gallery, line 2 of its audit log", *shown["sentences"]]
    assert pictures == {row["image"]: gallery.thumbnails([int(row["entry"])])[0] for row in rows}
    assert pictures["001-entry-2.jpg"].startswith(b"\xff\xd8")
    assert str(tmp_path).encode() not in answer.content
    assert [line[:3] for line in lines(gallery)] == [("page", "search", [hit["id"] for hit in shown["hits"]])] * 2


@pytest.mark.parametrize(
    "name", ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx", "a\r=1", '=HYPERLINK("http://x","y")', "a,b\n=1"]
)
def test_names_in_a_table_are_no_formulas(client, name):
    gallery = gallery_of(client)
    gallery.update({2: {"identity": name, "camera": name}})
    (row,), _, _ = unpacked(client.post("/api/answer", files=fields([("entry", 1), ("k", 1)])))  # one line, quoted
    assert row["person"] == row["camera"] and not row["person"].startswith(("=", "+", "-", "@", "\t", "\r"))
    assert row["person"] in (name, f"'{name}")
    (id,) = gallery.add([Entry("/x/a.png", name)], np.eye(4)[:1] * 0 + gallery.features([1]), [b""])
    rows, _, pictures = unpacked(client.post("/api/answer", files=fields([("entry", 1), ("k", 1)])))
    assert [(row["entry"], row["image"]) for row in rows] == [(str(id), "")] and pictures == {}


def test_forgetting_entries_and_people(client):
    gallery = gallery_of(client)
    assert client.post("/api/forget", json={"ids": [4, 3, 4]}).json() == {"ids": [3, 4]}
    assert client.post("/api/forget", json={"identity": "P1"}).json() == {"ids": [1, 2]}
    assert [entry.id for entry in gallery.find()] == list(range(5, 13))
    assert lines(gallery) == [("page", "forget", [3, 4], {}), ("page", "forget", [1, 2], {})]
    assert "no entry of 'P1'" in error(client.post("/api/forget", json={"identity": "P1"}), 404)
    assert "no entry 3" in error(client.post("/api/forget", json={"ids": [5, 3]}), 404)
    assert gallery.get([5]) and client.get("/api/names").json()["names"] == ["P3", "P4", "P5"]


NO_IDS = [
    {}, {"ids": ["x"]}, {"ids": [0]}, {"ids": [2**63]}, {"ids": [10**40]}, {"ids": [1.5]}, [], None,
    {"ids": list(range(1, 10_002))},
]  # fmt: skip


@pytest.mark.parametrize("body", [*NO_IDS, {"ids": [1], "identity": "P1"}, {"identity": ""}, {"all": True}])
def test_forget_refuses(shared, body):
    with nothing_recorded(shared):
        error(shared.post("/api/forget", json=body), 422)
    assert len(gallery_of(shared)) == 12


def test_names_that_are_no_text(shared):
    sent = {"content": b'{"identity": "\\ud800"}', "headers": {"Content-Type": "application/json"}}
    error(shared.post("/api/forget", **sent), 422)
    error(shared.post("/api/forget", json={"identity": "\x00'; DROP TABLE entries; --"}), 404)


def test_naming(client):
    gallery = gallery_of(client)
    assert client.post("/api/name", json={"ids": [12, 11], "identity": "Zoë"}).json() == {"ids": [11, 12]}
    assert {entry.identity for entry in gallery.get([11, 12])} == {"Zoë"}
    assert client.post("/api/name", json={"ids": [12], "identity": None}).status_code == 200
    assert gallery.get([12])[0].identity is None and gallery.get([12])[0].camera == "hall/1"
    longest = "é" * 500
    assert client.post("/api/name", json={"ids": [1], "identity": longest}).status_code == 200
    assert client.get("/api/entries", params={"identity": longest}).json()["entries"][0]["id"] == 1
    assert [line[:3] for line in lines(gallery)][:3] == [
        ("page", "update", [11, 12]), ("page", "update", [12]), ("page", "update", [1]),
    ]  # fmt: skip
    error(client.post("/api/name", json={"ids": [99], "identity": "x"}), 404)


@pytest.mark.parametrize(
    "body",
    [
        *NO_IDS, {"ids": [1]}, {"ids": [], "identity": "x"}, {"ids": [1], "identity": ""}, {"ids": [1], "identity": 7},
        {"ids": [1], "identity": "x" * 501}, {"ids": [1], "identity": "a\nb"}, {"ids": [1], "identity": "\x1b[2J"},
        {"ids": [1], "identity": "\x00"}, {"ids": [1], "identity": "a\u202eb"},
        {"ids": [1], "identity": "x", "camera": "y"},
    ],
)  # fmt: skip
def test_naming_refuses(shared, body):
    with nothing_recorded(shared):
        error(shared.post("/api/name", json=body), 422)
    assert gallery_of(shared).get([1])[0].identity == "P1"


def test_deciding(client):
    assert client.post("/api/decide", json={"first": 2, "second": 1, "same": True}).json() == {"ids": [2, 1]}
    hits = client.post("/api/search", files=fields([("entry", 1), ("k", 2)])).json()["hits"]
    assert [hit["decided"] for hit in hits] == [True, None]
    assert client.get("/api/summary").json()["decided"] == {"near": [1, 1]}
    assert client.post("/api/decide", json={"first": 1, "second": 2, "same": None}).status_code == 200
    assert client.get("/api/summary").json()["decided"] == {}
    assert [line[2] for line in lines(gallery_of(client)) if line[1] == "decide"] == [[2, 1], [1, 2]]
    error(client.post("/api/decide", json={"first": 1, "second": 99, "same": True}), 404)
    for pair in ((1, 1, True), (0, 1, True), (1, 2**63, True), (1, 2, "perhaps"), (1, "x", None)):
        error(client.post("/api/decide", json=dict(zip(("first", "second", "same"), pair, strict=True))), 422)
    error(client.post("/api/decide", json={"first": 1, "second": 2}), 422)


def test_forgetting_while_another_process_adds(tmp_path):
    """A server, and this process, which fills the same folder: each erasure is answered, and holds."""
    with served(tmp_path) as (_, port), small_gallery(tmp_path) as gallery:
        batches, ended = [], threading.Event()

        def add():
            while not ended.is_set():
                entries = [Entry(f"/x/{len(batches)}/{n}.png", "door") for n in range(20)]
                batches.append(gallery.add(entries, np.ones((20, 4)), [encoded(crop((9, 9, 9)), "JPEG")] * 20))

        with (
            ThreadPoolExecutor(1) as pool,
            httpx.Client(base_url=f"http://localhost:{port}", headers={"X-Requested-With": "gallery"}) as client,
        ):
            adding = pool.submit(add)
            try:
                for id in range(1, 7):
                    before = len(batches)
                    answer = client.post("/api/forget", json={"ids": [id]}, timeout=60)
                    assert answer.json() == {"ids": [id]}, answer.text
                    while len(batches) == before and not adding.done():
                        time.sleep(0.001)
                last = batches[-1]
                found = client.post("/api/search", files=fields([("entry", last[0]), ("k", 500)]), timeout=60).json()
            finally:
                ended.set()
            adding.result()
        assert len(batches) >= 6 and len(gallery) == 6 + 20 * len(batches) and gallery.verify() == []
        assert set(last[1:]) <= {hit["id"] for hit in found["hits"]} or len(batches) > 20
        assert [line[:3] for line in lines(gallery)][:6] == [("page", "forget", [id]) for id in range(1, 7)]


def test_what_the_gallery_cannot_do_now_is_told(client, monkeypatch):
    def full(ids):
        raise InputError(f"{gallery_of(client).folder}/catalogue.db: database or disk is full")

    monkeypatch.setattr(gallery_of(client), "remove", full)
    assert error(client.post("/api/forget", json={"ids": [1]}), 503) == "gallery/catalogue.db: database or disk is full"


@pytest.mark.parametrize("folder", ["a", "gallery", "."])
def test_folders_are_left_out_of_what_is_told(tmp_path, monkeypatch, folder):
    monkeypatch.chdir(tmp_path)
    (tmp_path / folder).mkdir(exist_ok=True)
    with Gallery.create(folder, ORIGIN) as gallery:
        at = Desk(Service(gallery, "page"), None, None, Limits())
        assert (
            at.told(InputError(f"{gallery.location}: has no calibration at all"))
            == "gallery: has no calibration at all"
        )
        with pytest.raises(InputError) as missing:
            gallery.get([7])
        assert at.told(missing.value) == f"{'' if folder == '.' else 'gallery/'}catalogue.db: no entry 7"


def test_servers_are_left_out_of_what_is_told(client, monkeypatch):
    gallery = gallery_of(client)
    servers = Layout("postgresql://me:secret@host/people", "milvus://host:1/people")
    monkeypatch.setattr(gallery, "layout", servers)
    for server in (servers.catalogue, servers.vectors):
        told = client.app.state.desk.told(InputError(f"{server}: connection refused"))
        assert told == "gallery: connection refused"


def test_what_drivers_say_of_servers_is_in_the_log_alone(tmp_path, postgresql, caplog):
    """They name the server in their own words."""
    from pymilvus import MilvusException

    class Gone:
        def query(self, *_, **how):
            raise MilvusException(message="Fail connecting to server on 10.0.0.5:19530")

    with Gallery.create(tmp_path / "gallery", ORIGIN, Layout(postgresql.location())) as gallery:
        client = client_of(module.create_app(Service(gallery, "page")))
        db = gallery.catalogue.db
        db.close()
        db.location = "postgresql://gallery@/postgres?host=/nowhere"
        assert error(client.get("/api/names"), 503) == "something is wrong, the server's log says what"
        assert '"/nowhere/' in caplog.text
        with pytest.raises(ServerProblem, match=r"10\.0\.0\.5:1/people: Milvus cannot query: .*10\.0\.0\.5") as gone:
            Collection(Gone(), "milvus://10.0.0.5:1/people", "people", 4)("query")
        assert "10.0.0.5" not in client.app.state.desk.told(gone.value)


def test_a_hit_that_is_erased_meanwhile_is_left_out(client, monkeypatch):
    gallery = gallery_of(client)
    search = gallery.search

    def erasing(*asked):
        found = search(*asked)
        if gallery.catalogue.present([2]):
            gallery.remove([2])
        return found

    monkeypatch.setattr(gallery, "search", erasing)
    answer = client.post("/api/search", files=fields([("entry", 1)])).json()
    assert len(answer["hits"]) == 10 and 2 not in [hit["id"] for hit in answer["hits"]]
    assert {place for each in answer["sightings"] for place in each["hits"]} == set(range(10))


@pytest.mark.parametrize("nothing", [0.0, np.nan, np.inf])
def test_a_picture_without_a_feature(shared, monkeypatch, nothing):
    embed = Colours.embed

    def blind(self, images):
        rows = embed(self, images)
        rows[[not image.any() for image in images]] = nothing
        return rows

    monkeypatch.setattr(Colours, "embed", blind)
    black = encoded(np.zeros((8, 4, 3), np.uint8))
    for path in ("search", "answer"):
        assert "nothing to compare in this picture" in error(shared.post(f"/api/{path}", files=picture(black)), 422)
    pair = [("image", ("a", RED)), ("image", ("b", black))]
    for path in ("search", "compare"):
        assert "nothing to compare in picture 2" in error(shared.post(f"/api/{path}", files=pair), 422)


def test_a_fault_answers_without_its_trace(tmp_path, monkeypatch):
    client = TestClient(application(tmp_path), "http://localhost", raise_server_exceptions=False)
    monkeypatch.setattr(gallery_of(client).catalogue, "summary", lambda: 1 / 0)
    assert "division" not in error(client.get("/api/summary"), 500)


# Who may ask.


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8000", "localhost.evil.example", "", "127.0.0.1@evil"])
def test_other_hosts_are_refused(shared, host):
    error(shared.get("/api/summary", headers={"Host": host}), 400)


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8000", "127.0.0.1:1", "[::1]:8000", "[::1]"])
def test_loopback_hosts_are_answered(shared, host):
    assert shared.get("/api/summary", headers={"Host": host}).status_code == 200


def test_allowed_hosts(tmp_path):
    with opened(tmp_path, allowed_hosts=["Gallery.example"]) as client:
        assert client.get("/healthz", headers={"Host": "gallery.example:8000"}).json() == {"ok": True}
        error(client.get("/healthz", headers={"Host": "example"}), 400)


ROUTES = [
    ("GET", "/api/summary"), ("GET", "/api/names"), ("GET", "/api/entries"), ("GET", "/api/entries/1"),
    ("GET", "/api/entries/1/thumbnail"), ("GET", "/api/entries/1/source"), ("POST", "/api/search"),
    ("POST", "/api/answer"), ("POST", "/api/people"), ("POST", "/api/compare"), ("POST", "/api/forget"),
    ("POST", "/api/name"), ("POST", "/api/decide"), ("POST", "/logout"),
]  # fmt: skip
READ = [path for method, path in ROUTES if method == "GET"]


@pytest.mark.parametrize("path", [path for method, path in ROUTES if method == "POST"])
def test_other_sites_cannot_ask_in_a_persons_name(shared, path):
    own = {"Origin": "http://localhost"}
    with nothing_recorded(shared):
        for headers in (
            {"Origin": "http://evil.example"}, {"Origin": "null"}, {"Origin": "http://localhost:8001"},
            {"X-Requested-With": "other"}, {**own, "Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"},
        ):  # fmt: skip
            error(shared.post(path, headers=headers, json={"ids": [1], "identity": "x"}), 403)
    assert len(gallery_of(shared)) == 12
    assert shared.post("/api/compare", headers=own, files=fields([("entry", 1), ("entry", 2)])).status_code == 200


@pytest.mark.parametrize("path", READ)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_other_sites_cannot_read(shared, method, path):
    """Neither as pictures and scripts nor by links; another port of this host is the same site, yet not this page."""
    with nothing_recorded(shared):
        for site in ("cross-site", "same-site"):
            assert shared.request(method, path, headers={"Sec-Fetch-Site": site}).status_code == 403
    for headers in ({}, {"Sec-Fetch-Site": "same-origin"}, {"Sec-Fetch-Site": "none"}):
        assert shared.get(path, headers=headers).status_code == 200


def test_a_link_on_another_site_opens_the_page(shared):
    for path in ("/", "/static/gallery.css"):
        assert shared.get(path, headers={"Sec-Fetch-Site": "cross-site"}).status_code == 200


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    with opened(tmp_path_factory.mktemp("guarded"), calibrated=True, token=TOKEN) as client:
        yield client
    client.cookies.clear()


@pytest.mark.parametrize("method, path", [*ROUTES, *(("HEAD", path) for path in READ)])
@pytest.mark.parametrize(
    "headers",
    [
        {}, {"Authorization": "Bearer wrong"}, {"Authorization": TOKEN}, {"Authorization": f"Basic {TOKEN}"},
        {"Authorization": "Bearer \xe9"}, {"Cookie": f"gallery_session_80={TOKEN}"}, {"Cookie": "gallery_session_80="},
        {"Cookie": "a=\x01;=;"},
    ],
)  # fmt: skip
def test_without_the_token_nothing_is_told(guarded, method, path, headers):
    guarded.cookies.clear()
    raw = {name: value.encode("latin-1") for name, value in headers.items()}
    with nothing_recorded(guarded):
        answer = guarded.request(method, path, headers=raw)
    if method == "HEAD":
        assert answer.status_code == 401 and answer.content == b""
    else:
        error(answer, 401)
    assert answer.headers["www-authenticate"] == "Bearer"


def test_every_route_is_open_or_among_the_guarded(guarded):
    described = guarded.get("/openapi.json").json()["paths"]
    routes = {(method.upper(), path.replace("{id}", "1")) for path, each in described.items() for method in each}
    assert routes - {("GET", "/healthz"), ("POST", "/login")} == set(ROUTES)


def test_the_token_opens(guarded):
    answer = guarded.post("/api/search", headers={"Authorization": f"Bearer {TOKEN}"}, files=picture(RED))
    assert answer.status_code == 200 and lines(gallery_of(guarded))[-1][0] == "token"
    assert guarded.request("HEAD", "/api/summary", headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 405


def test_signing_in_and_out(guarded):
    guarded.cookies.clear()
    assert "not the token" in error(guarded.post("/login", json={"token": "wrong"}), 401)
    error(guarded.post("/login", json={"token": TOKEN}, headers={"X-Requested-With": ""}), 403)
    error(guarded.post("/login", json={"token": TOKEN}, headers={"Origin": "http://evil.example"}), 403)
    answer = guarded.post("/login", json={"token": TOKEN})
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=strict" in cookie and TOKEN not in cookie
    assert guarded.get("/api/summary").status_code == 200
    kept = dict(guarded.cookies)
    assert list(kept) == ["gallery_session_80"]
    assert guarded.post("/logout").status_code == 200
    error(guarded.get("/api/summary"), 401)
    error(guarded.get("/api/summary", headers={"Cookie": f"gallery_session_80={kept['gallery_session_80']}"}), 401)


def test_two_servers_of_one_host_do_not_sign_each_other_out(tmp_path):
    """A browser keeps one jar of cookies for all ports of a host."""
    addresses = ["http://localhost:8001", "http://localhost:8002"]
    apps = []
    for number in range(2):
        (tmp_path / str(number)).mkdir()
        apps.append(application(tmp_path / str(number), token=f"{TOKEN}-{number}"))

    async def ask():
        mounts = {address: httpx.ASGITransport(app) for address, app in zip(addresses, apps, strict=True)}
        async with httpx.AsyncClient(mounts=mounts, headers={"X-Requested-With": "gallery"}) as client:

            async def statuses():
                return [(await client.get(f"{address}/api/summary")).status_code for address in addresses]

            for number, address in enumerate(addresses):
                await client.post(f"{address}/login", json={"token": f"{TOKEN}-{number}"})
            seen = [await statuses()]
            await client.post(f"{addresses[0]}/logout")
            return [*seen, await statuses()]

    assert anyio.run(ask) == [[200, 200], [401, 200]]


def test_sessions_end_and_are_bounded(guarded, monkeypatch):
    guarded.cookies.clear()
    sessions = guarded.app.state.desk.sessions
    first = sessions.open()
    for _ in range(100):
        last = sessions.open()

    def status(value):
        return guarded.get("/api/summary", headers={"Cookie": f"gallery_session_80={value}"}).status_code

    assert status(first) == 401 and status(last) == 200
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 12 * 3600 + 1)
    assert status(last) == 401


def test_a_short_token_is_refused(tmp_path):
    with pytest.raises(InputError, match="token: has 5 characters"):
        application(tmp_path, token="short")


@pytest.mark.parametrize("missing", ["fastapi", "python_multipart", "uvicorn"])
def test_a_missing_extra_is_named(monkeypatch, missing):
    monkeypatch.setitem(sys.modules, missing, None)
    monkeypatch.delitem(sys.modules, module.__name__)
    with pytest.raises(InputError, match=rf"{missing} is not installed: pip install 'reid-gap\[web\]'"):
        importlib.import_module(module.__name__)


# What is sent along.


@pytest.mark.parametrize("path", ["/", "/api/summary", "/static/gallery.js", "/none", "/api/entries/1/thumbnail"])
def test_headers_of_every_answer(shared, path):
    headers = shared.get(path).headers
    policy = headers["content-security-policy"]
    assert policy.startswith("default-src 'self'") and "unsafe" not in policy and "frame-ancestors 'none'" in policy
    assert headers["x-content-type-options"] == "nosniff" and headers["referrer-policy"] == "no-referrer"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert headers["cache-control"] == ("no-cache" if path.startswith("/static/") else "no-store")


def test_the_page_needs_nothing_from_elsewhere(shared):
    page = shared.get("/").text
    texts = [page, *(shared.get(f"/static/{name}").text for name in static_names())]
    for text in texts:
        addresses = [part.split('"')[0] for part in text.split("http")[1:]]
        assert all(address.startswith("://www.w3.org/2000/svg") for address in addresses), addresses
        assert "innerHTML" not in text and "eval(" not in text
    assert "<style" not in page and "style=" not in page and "onclick" not in page
    assert page.count("<script") == page.count('<script type="module" src="/static/')


def static_names():
    from reid.gallery.web.routes import STATIC

    return [name for name in STATIC if not name.endswith(".ico")]


@pytest.mark.parametrize(
    "name", ["../app.py", "..%2fapp.py", "%2e%2e/app.py", "/etc/passwd", "none.js", "", "gallery.js%00"]
)
def test_static_files_are_looked_up_by_name(shared, name):
    error(shared.get(f"/static/{name}"), 404)


def test_names_are_data_and_not_html(client):
    evil = "<img src=x onerror=alert(1)>"
    assert client.post("/api/name", json={"ids": [1], "identity": evil}).json() == {"ids": [1]}
    assert client.get("/api/entries/1").json()["identity"] == evil and evil in client.get("/api/names").json()["names"]
    assert client.get("/api/entries/1").headers["content-type"] == "application/json"
    assert evil not in client.get("/").text


def test_the_api_is_described(shared):
    described = shared.get("/openapi.json").json()
    search = described["paths"]["/api/search"]["post"]
    form = search["requestBody"]["content"]["multipart/form-data"]["schema"]["properties"]
    assert set(form) == {
        "image", "entry", "box", "camera", "without", "start", "end", "elsewhere", "k", "share",
    }  # fmt: skip
    assert {"401", "413", "415", "422"} <= set(search["responses"])
    for path in ("/docs", "/redoc"):  # they load scripts from elsewhere
        error(shared.get(path), 404)


# How much may be sent.


def test_too_many_bytes_are_refused_before_they_are_read(tmp_path):
    client = client_of(application(tmp_path, limits=Limits(bytes=5000)))

    def body():
        for _ in range(100):
            yield b"x" * 1000

    kind = {"Content-Type": "multipart/form-data; boundary=y"}
    assert "0.005 MB" in error(client.post("/api/search", headers=kind, content=b"x" * 5001), 413)
    error(client.post("/api/search", headers={**kind, "Content-Length": "-1"}, content=b""), 413)
    start = b'--y\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'

    def form():
        yield start
        yield from body()

    error(client.post("/api/search", headers=kind, content=form()), 413)
    error(client.post("/api/forget", content=body()), 413)
    assert client.post("/api/search", files=fields([("entry", 1)])).status_code == 200


def test_a_slow_body_is_given_up(tmp_path):
    async def slow():
        await anyio.sleep(5)
        yield b""

    app = application(tmp_path, limits=Limits(seconds=0.05))

    async def ask():
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            kind = {"Content-Type": "multipart/form-data; boundary=y", "X-Requested-With": "gallery"}
            return await client.post("/api/search", headers=kind, content=slow())

    assert "longer than 0.05 s" in error(anyio.run(ask), 408)


def test_uploads_stay_off_the_disk(client, monkeypatch):
    import tempfile

    def never(self):
        raise AssertionError("spooled to disk")

    monkeypatch.setattr(tempfile.SpooledTemporaryFile, "rollover", never)
    noise = np.random.default_rng(0).integers(0, 255, (1200, 900, 3), np.uint8)
    content = encoded(noise)
    assert len(content) > 3_000_000
    assert client.post("/api/search", files=picture(content)).status_code == 200


def test_eight_clients_at_once(client):
    with client, ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: client.post("/api/search", files=picture(RED)), range(24)))
    assert [answer.status_code for answer in answers] == [200] * 24
    given = [answer.json() for answer in answers]
    assert {answer.pop("number") for answer in given} == set(range(1, 25))
    assert given == [given[0]] * 24


# What the server does by itself, and serving.


def test_retention_survives_any_error_and_says_so(tmp_path, monkeypatch, caplog):
    """It fails twice, in a way that a person can mend and in one that is a fault, and goes on."""
    monkeypatch.setattr(module, "HOUR", 0.001)
    steps, turn = (
        [InputError(f"{tmp_path}/gallery/catalogue.db: disk is full"), ZeroDivisionError("x")],
        threading.Event(),
    )
    waits = threading.Semaphore(0)

    def drop(self):
        turn.set()
        waits.acquire()
        if steps:
            raise steps.pop(0)
        return []

    monkeypatch.setattr(Service, "drop_expired", drop)

    def after(wanted):
        turn.wait()
        turn.clear()
        waits.release()
        turn.wait()  # it has come round
        return client.get("/api/summary").json()["problems"]

    try:
        with opened(tmp_path) as client, client:
            told = "retention failed, and is tried again every 0.001 s: "
            assert after(0) == [told + "gallery/catalogue.db: disk is full"]
            assert after(1) == [told + "something is wrong, the server's log says what"]
            assert after(2) == []
            waits.release(1000)
    finally:
        waits.release(1000)
    assert "disk is full" in caplog.text and "ZeroDivisionError" in caplog.text


def test_what_is_expired_goes_at_the_start(tmp_path):
    with small_gallery(tmp_path, calibrated=True) as gallery:
        old = Entry("/x/old.png", "door", added=time.time() - 3 * 86_400)
        (id,) = gallery.add([old], np.eye(4)[:1], [b""])
        Service(gallery, "command line").retain("none")
        gallery.set("retention_days", "2")
    with opened(tmp_path) as client, client:
        while len(gallery_of(client)) > 12:
            client.get("/healthz")
        assert ("retention", "forget", [id], {}) in lines(gallery_of(client))


def test_a_server_that_ends_waits_for_no_more_than_one_part_of_an_index(tmp_path, monkeypatch):
    with opened(tmp_path) as client:
        parts = []

        def endless(kind, progress=False):
            while True:
                parts.append(kind)
                yield

        monkeypatch.setattr(gallery_of(client)._vectors, "tend", endless)
        with client:
            while not parts:
                client.get("/healthz")


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_serving_ends_in_order(tmp_path, how):
    with served(tmp_path) as (process, port):
        answer = httpx.get(f"http://127.0.0.1:{port}/api/summary")
        assert answer.json()["entries"] == 12 and "server" not in answer.headers
        process.send_signal(how)
        out, problems = process.communicate(timeout=20)
    assert (process.returncode, out, problems) == (0, "closed in order\n", "")


def test_an_address_that_is_taken(tmp_path):
    with listening("127.0.0.1", 0) as first:
        assert first.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        port = first.getsockname()[1]
        with pytest.raises(InputError, match=f"127.0.0.1:{port}: cannot listen there"):
            listening("127.0.0.1", port)
    for host in ("no.such.host.invalid", "no..host"):
        with pytest.raises(InputError, match=f"{host}:0: cannot listen there"):
            listening(host, 0)


def test_an_entry_without_box_or_time(client, tmp_path):
    gallery = gallery_of(client)
    [id] = gallery.add([Entry(str(tmp_path / "0_0.png"), "hall/0")], gallery.features([1]), [b""])
    assert client.get(f"/api/entries/{id}/source").status_code == 200
    assert json.loads(client.get(f"/api/entries/{id}").text)["time"] is None
