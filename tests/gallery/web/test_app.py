import json
import os
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace

import httpx
import numpy as np
import pytest

pytest.importorskip("fastapi")
from fastapi.testclient import TestClient
from PIL import Image
from small_gallery import COLOURS, ORIGIN, RATES, START, Colours, Verdicts, application, crop, encoded

from reid.errors import InputError
from reid.gallery.entries import EVERYTHING, Entry, Filter
from reid.gallery.web.app import create_app, keep_dropping, listening
from reid.gallery.web.uploads import Limits

TOKEN = "0123456789abcdef-token"
RED = encoded(crop(COLOURS["P1"]))


def client_of(app, **headers):
    return TestClient(app, "http://localhost", headers={"X-Requested-With": "gallery", **headers})


@pytest.fixture
def client(tmp_path):
    return client_of(application(tmp_path, Verdicts()))


@pytest.fixture
def bare(tmp_path):
    """Without a calibration."""
    return client_of(application(tmp_path))


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
    answer = client.get("/api/summary").json()
    assert answer["entries"] == 12 and answer["identities"] == 5 and answer["unknown"] == 2
    assert answer["cameras"] == {"hall/0": 6, "hall/1": 6}
    assert answer["first"] == START and answer["last"] == START + 3600 + 4 * 60 + 5
    assert answer["model"] == "colours" and answer["fingerprint"] == ORIGIN.fingerprint
    assert answer["calibration"]["rates"] == [{"rate": rate, "threshold": edge} for rate, edge in RATES.items()]
    assert answer["calibration"]["rate"] == 0.01 and answer["calibration"]["source"] == "drawn"
    assert bare.get("/api/summary").json()["calibration"] is None


def test_browsing_by_pages_gives_every_entry_once(client):
    seen, after = [], 0
    while after is not None:
        answer = client.get("/api/entries", params={"limit": 5, "after": after}).json()
        seen += [entry["id"] for entry in answer["entries"]]
        after = answer["next"]
    assert seen == list(range(1, 13))


@pytest.mark.parametrize(
    "params, wanted",
    [
        ({"camera": "hall/0"}, Filter(cameras=("hall/0",))),
        ({"camera": ["hall/0", "hall/1"], "identity": ["P1", "P3"]}, Filter(identities=("P1", "P3"))),
        ({"start": START + 100, "end": START + 3600}, Filter(start=START + 100, end=START + 3600)),
        ({"camera": "nowhere"}, Filter(cameras=("nowhere",))),
    ],
)
def test_browsing_filters_as_the_store_does(client, params, wanted):
    found = client.get("/api/entries", params=params).json()["entries"]
    assert [entry["id"] for entry in found] == [entry.id for entry in client.app.state.store.find(wanted)]


def test_an_entry_shows_its_file_name_and_no_folder(client, tmp_path):
    answer = client.get("/api/entries/2").json()
    assert answer["identity"] == "P1" and answer["camera"] == "hall/1" and answer["source"] == "0_1.png"
    assert answer["box"] == [30, 20, 62, 84] and answer["until"] == START + 3605
    assert str(tmp_path) not in client.get("/api/entries").text


@pytest.mark.parametrize("path", ["/api/entries/99", "/api/entries/99/thumbnail", "/api/entries/99/source", "/none"])
def test_what_is_not_there(client, path):
    error(client.get(path), 404)


@pytest.mark.parametrize("id", ["0", "-1", "x", str(2**63), "1.5"])
def test_ids_that_are_none(client, id):
    assert "id" in error(client.get(f"/api/entries/{id}"), 422)


def test_thumbnail(client):
    answer = client.get("/api/entries/3/thumbnail")
    assert answer.headers["content-type"] == "image/jpeg" and answer.content == client.app.state.store.thumbnail(3)
    client.app.state.store.images[3] = b""
    assert "without a picture" in error(client.get("/api/entries/3/thumbnail"), 404)


def test_source_has_the_box_drawn_around_the_person(client, tmp_path):
    answer = client.get("/api/entries/1/source")
    assert answer.headers["content-type"] == "image/jpeg" and answer.headers["cache-control"] == "no-store"
    (tmp_path / "answer.jpg").write_bytes(answer.content)
    pixels = np.asarray(Image.open(tmp_path / "answer.jpg")).astype(int)
    assert pixels.shape == (104, 92, 3)
    line, inside = pixels[52, 27:30].mean(axis=0), pixels[52, 40:52].mean(axis=(0))
    assert line[0] > 120 > line[2] + 40  # yellow
    assert np.abs(inside - COLOURS["P1"]).max() < 12  # nothing drawn over the person
    assert client.app.state.log == [("local", "source", [1], {})]


def test_large_sources_are_sent_smaller(client, tmp_path):
    Image.new("RGB", (4000, 1000)).save(tmp_path / "0_0.png")
    (tmp_path / "answer.jpg").write_bytes(client.get("/api/entries/1/source").content)
    assert Image.open(tmp_path / "answer.jpg").size == (1920, 480)


def test_a_source_that_is_gone_or_broken(client, tmp_path):
    (tmp_path / "0_0.png").unlink()
    (tmp_path / "0_1.png").write_bytes(RED[:100])
    assert "0_0.png: the source of entry 1 is not there" in error(client.get("/api/entries/1/source"), 404)
    assert error(client.get("/api/entries/2/source"), 404).startswith("0_1.png: not a readable image")
    os.mkfifo(tmp_path / "0_0.png")  # reading it would wait for ever
    error(client.get("/api/entries/1/source"), 404)


def expected(app, query, k, wanted=EVERYTHING, without=None):
    """[(id, distance)] by the store itself."""
    found = app.state.store.search(query, k + 1, wanted)
    pairs = [(int(id), d) for id, d in zip(found.ids[0], found.distances[0], strict=True) if id > 0 and id != without]
    return pairs[:k]


def test_times_are_asked_for_as_iso_8601_and_days_are_whole(client):
    """START is 2023-11-14 22:13:20 UTC, and the second images of each person come an hour later."""
    early, late = "2023-11-14T22:00Z", "20231114T2300"
    for asked, ids in (
        ({"start": early, "end": "2023-11-14T22:59:59.9"}, range(1, 12, 2)),
        ({"start": late}, range(2, 12, 2)),
        ({"start": "20231114", "end": "2023-11-14"}, range(1, 12)),
        ({"end": "2023-11-13"}, []),
        ({"start": START, "end": START}, [1]),
    ):
        found = client.get("/api/entries", params=asked).json()["entries"]
        assert [entry["id"] for entry in found] == list(ids)
        answer = client.post("/api/search", files=fields([("entry", 12), *asked.items()])).json()
        assert sorted(hit["id"] for hit in answer["hits"]) == list(ids)
    assert "start: time: '20231314' is no point in time" in error(client.get("/api/entries?start=20231314"), 422)


def test_searching_a_picture(client):
    answer = client.post("/api/search", files=picture(RED)).json()
    wanted = expected(client.app, Colours().embed([crop(COLOURS["P1"])]), 24)
    assert [hit["id"] for hit in answer["hits"]] == [id for id, _ in wanted] and len(wanted) == 12
    np.testing.assert_allclose([hit["distance"] for hit in answer["hits"]], [d for _, d in wanted], atol=1e-12)
    assert answer["rate"] == 0.01 and answer["threshold"] == RATES[0.01] and not answer["nobody"]
    for hit in answer["hits"]:
        assert hit["match"] == (hit["distance"] <= RATES[0.01])
    assert [hit["identity"] for hit in answer["hits"] if hit["match"]] == ["P1", "P1"]
    assert client.app.state.log == [("local", "search", [id for id, _ in wanted], {"k": 24})]


def test_an_entry_is_left_out_of_its_own_answer(client):
    answer = client.post("/api/search", files=fields([("entry", 5), ("k", 3)])).json()
    features = client.app.state.store.features([5])
    assert [hit["id"] for hit in answer["hits"]] == [id for id, _ in expected(client.app, features, 3, without=5)]
    assert answer["hits"][0]["id"] == 6 and client.app.state.log[0][3] == {"k": 3, "query": 5}


def test_search_filters(client):
    asked = [("entry", 1), ("camera", "hall/1"), ("start", START + 3600), ("end", START + 3700)]
    answer = client.post("/api/search", files=fields(asked)).json()
    assert {hit["id"] for hit in answer["hits"]} == {2, 4}
    both = client.post("/api/search", files=fields([("entry", 1), ("camera", "hall/1"), ("camera", "hall/0")])).json()
    assert len(both["hits"]) == 11


def test_nobody(client):
    strange = encoded(crop((90, 200, 250)))
    answer = client.post("/api/search", files=[*picture(strange).items(), *fields([("rate", 0.001)])]).json()
    assert answer["nobody"] and len(answer["hits"]) == 12 and not any(hit["match"] for hit in answer["hits"])
    none = client.post("/api/search", files=fields([("entry", 1), ("camera", "nowhere")])).json()
    assert none["nobody"] and none["hits"] == []


def test_without_a_calibration_there_are_distances_only(bare):
    answer = bare.post("/api/search", files=picture(RED)).json()
    assert answer["threshold"] is None and not answer["nobody"]
    assert {(hit["probability"], hit["match"]) for hit in answer["hits"]} == {(None, None)}
    compared = bare.post("/api/compare", files=fields([("entry", 1), ("entry", 2)])).json()
    assert compared["same"] is None and compared["distance"] < 0.01
    assert "no calibration" in error(bare.post("/api/search", files=fields([("entry", 1), ("rate", 0.1)])), 422)


@pytest.mark.parametrize(
    "asked, names",
    [
        ([], "one image or one entry"),
        ([("entry", 1), ("entry", 2)], "entry"),
        ([("entry", 1), ("k", 0)], "k"),
        ([("entry", 1), ("k", 201)], "k"),
        ([("entry", 1), ("k", "many")], "k"),
        ([("entry", 1), ("rate", 0.5)], "0.001, 0.01, 0.1"),
        ([("entry", 1), ("rate", "nan")], "rate"),
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
        ([("entry", 1), ("camera", "")], "camera"),
        ([("entry", "../../etc/passwd")], "entry"),
        ([("image", "text, no file")], "image"),
    ],
)
@pytest.mark.parametrize("path", ["search", "timeline"])
def test_search_refuses(client, path, asked, names):
    assert names in error(client.post(f"/api/{path}", files=fields(asked or [("k", 3)])), 422)
    assert client.app.state.log == []


def test_search_of_an_entry_that_is_not_there(client):
    error(client.post("/api/search", files=fields([("entry", 99)])), 404)


def test_pictures_and_entries_are_not_mixed_up(client):
    error(client.post("/api/search", files=[*picture(RED).items(), *fields([("entry", 1)])]), 422)
    error(client.post("/api/search", files=picture(RED, "picture")), 422)
    error(client.post("/api/search", json={"entry": 1}), 415)
    error(client.post("/api/search", content=b"x", headers={"Content-Type": "multipart/form-data"}), 400)
    error(client.post("/api/search", content=b"x", headers={"Content-Type": "multipart/form-data; boundary=y"}), 400)
    three = [("image", ("a", RED))] * 3
    error(client.post("/api/compare", files=three), 400)


def test_compare(client):
    same = client.post("/api/compare", files=[*picture(RED).items(), *fields([("entry", 2), ("rate", 0.001)])]).json()
    assert same["same"] and same["distance"] < RATES[0.001] == same["threshold"]
    assert same["false_match_rate"] == 0.0015 and same["true_match_rate"] == 0.9 and same["source"] == "drawn"
    other = client.post("/api/compare", files=fields([("entry", 1), ("entry", 3)])).json()
    rows = client.app.state.store.features([1, 3]).astype(float)
    assert not other["same"] and other["distance"] == pytest.approx(1 - rows[0] @ rows[1], abs=1e-12)
    two = client.post("/api/compare", files=[("image", ("a", RED)), ("image", ("b", RED))]).json()
    assert two["distance"] == pytest.approx(0, abs=1e-6)
    assert [each[1:3] for each in client.app.state.log] == [("compare", [2]), ("compare", [1, 3]), ("compare", [])]
    assert "two images or entries, got 1" in error(client.post("/api/compare", files=fields([("entry", 1)])), 422)
    error(client.post("/api/compare", files=fields([("entry", 1), ("entry", 2), ("entry", 3)])), 422)
    error(client.post("/api/compare", files=fields([("entry", 1), ("entry", 99)])), 404)


def test_timeline_shows_the_hits_within_the_threshold_by_camera_and_time(client):
    answer = client.post("/api/timeline", files=fields([("entry", 1), ("rate", 0.1)])).json()
    found = expected(client.app, client.app.state.store.features([1]), 12, without=1)
    near = [id for id, distance in found if distance <= RATES[0.1]]
    shown = [hit for lane in answer["lanes"] for hit in lane["hits"]] + answer["untimed"]
    assert answer["within"] and not answer["cut"] and sorted(hit["id"] for hit in shown) == sorted(near)
    assert [lane["camera"] for lane in answer["lanes"]] == sorted(lane["camera"] for lane in answer["lanes"])
    for lane in answer["lanes"]:
        times = [hit["time"] for hit in lane["hits"]]
        assert times == sorted(times) and {hit["camera"] for hit in lane["hits"]} == {lane["camera"]}


def test_timeline_lists_entries_of_unknown_time_apart(client):
    answer = client.post("/api/timeline", files=fields([("entry", 11)])).json()
    assert [hit["id"] for hit in answer["untimed"]] == [12]


def test_timeline_without_a_calibration_shows_the_nearest(bare):
    answer = bare.post("/api/timeline", files=fields([("entry", 1), ("k", 4)])).json()
    assert not answer["within"] and sum(len(lane["hits"]) for lane in answer["lanes"]) + len(answer["untimed"]) == 4


def test_forgetting_entries_and_people(client):
    assert client.post("/api/forget", json={"ids": [4, 3, 4]}).json() == {"ids": [3, 4]}
    assert client.post("/api/forget", json={"identity": "P1"}).json() == {"ids": [1, 2]}
    assert sorted(client.app.state.store.entries) == list(range(5, 13))
    assert client.app.state.log == [("local", "forget", [3, 4], {}), ("local", "forget", [1, 2], {})]
    assert "no entry of 'P1'" in error(client.post("/api/forget", json={"identity": "P1"}), 404)
    assert "nothing was erased" in error(client.post("/api/forget", json={"ids": [5, 3]}), 404)
    assert 5 in client.app.state.store.entries


@pytest.mark.parametrize(
    "body",
    [
        {}, {"ids": [1], "identity": "P1"}, {"ids": ["x"]}, {"ids": [0]}, {"ids": [2**63]}, {"identity": ""}, [], None,
        {"all": True}, {"ids": list(range(1, 10_002))},
    ],
)  # fmt: skip
def test_forget_refuses(client, body):
    error(client.post("/api/forget", json=body), 422)
    assert len(client.app.state.store) == 12


def test_names_that_are_no_text(client):
    sent = {"content": b'{"identity": "\\ud800"}', "headers": {"Content-Type": "application/json"}}
    error(client.post("/api/forget", **sent), 422)
    error(client.post("/api/forget", json={"identity": "\x00'; DROP TABLE entries; --"}), 404)


def test_forgetting_while_another_process_writes(tmp_path):
    @contextmanager
    def writer():
        raise InputError("gallery: another process is at work in it")
        yield

    client = client_of(application(tmp_path, writer=writer))
    assert "another process" in error(client.post("/api/forget", json={"ids": [1]}), 503)


def test_a_hit_that_is_erased_meanwhile_is_left_out(client, monkeypatch):
    store = client.app.state.store
    search = store.search

    def erasing(*asked):
        found = search(*asked)
        store.remove([2]) if 2 in store.entries else None
        return found

    monkeypatch.setattr(store, "search", erasing)
    answer = client.post("/api/search", files=fields([("entry", 1)])).json()
    assert len(answer["hits"]) == 10 and 2 not in [hit["id"] for hit in answer["hits"]]


@pytest.mark.parametrize("nothing", [0.0, np.nan, np.inf])
def test_a_picture_without_a_feature(client, monkeypatch, nothing):
    embed = Colours.embed
    blind = lambda self, images: embed(self, images) if images[0].any() else np.full((1, 4), nothing, np.float32)  # noqa: E731
    monkeypatch.setattr(Colours, "embed", blind)
    black = encoded(np.zeros((8, 4, 3), np.uint8))
    for path in ("search", "timeline"):
        assert "nothing to compare in this picture" in error(client.post(f"/api/{path}", files=picture(black)), 422)
    pair = [("image", ("a", RED)), ("image", ("b", black))]
    assert "nothing to compare in picture 2" in error(client.post("/api/compare", files=pair), 422)


def test_a_fault_answers_without_its_trace(tmp_path, monkeypatch):
    client = TestClient(application(tmp_path), "http://localhost", raise_server_exceptions=False)
    monkeypatch.setattr(client.app.state.store, "summary", lambda: 1 / 0)
    assert "division" not in error(client.get("/api/summary"), 500)


# Who may ask.


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8000", "localhost.evil.example", "", "127.0.0.1@evil"])
def test_other_hosts_are_refused(client, host):
    error(client.get("/api/summary", headers={"Host": host}), 400)


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8000", "127.0.0.1:1", "[::1]:8000", "[::1]"])
def test_loopback_hosts_are_answered(client, host):
    assert client.get("/api/summary", headers={"Host": host}).status_code == 200


def test_allowed_hosts(tmp_path):
    client = client_of(application(tmp_path, allowed_hosts=["Gallery.example"]))
    assert client.get("/healthz", headers={"Host": "gallery.example:8000"}).json() == {"ok": True}
    error(client.get("/healthz", headers={"Host": "example"}), 400)


@pytest.mark.parametrize("path", ["search", "compare", "timeline", "forget"])
def test_other_sites_cannot_ask_in_a_persons_name(client, path):
    evil = {"Origin": "http://evil.example"}
    error(client.post(f"/api/{path}", headers=evil, json={"ids": [1]}), 403)
    error(client.post(f"/api/{path}", headers={"Origin": "null"}, json={"ids": [1]}), 403)
    error(client.post(f"/api/{path}", headers={"X-Requested-With": "other"}, json={"ids": [1]}), 403)
    assert len(client.app.state.store) == 12
    own = client.post("/api/forget", headers={"Origin": "http://localhost"}, json={"ids": [1]})
    assert own.status_code == 200


@pytest.fixture
def guarded(tmp_path):
    return client_of(application(tmp_path, Verdicts(), token=TOKEN))


ROUTES = [
    ("GET", "/api/summary"), ("GET", "/api/entries"), ("GET", "/api/entries/1"), ("GET", "/api/entries/1/thumbnail"),
    ("GET", "/api/entries/1/source"), ("POST", "/api/search"), ("POST", "/api/compare"), ("POST", "/api/timeline"),
    ("POST", "/api/forget"), ("POST", "/logout"),
]  # fmt: skip


@pytest.mark.parametrize("method, path", ROUTES)
@pytest.mark.parametrize(
    "headers",
    [
        {}, {"Authorization": "Bearer wrong"}, {"Authorization": TOKEN}, {"Authorization": f"Basic {TOKEN}"},
        {"Authorization": "Bearer \xe9"}, {"Cookie": f"gallery_session={TOKEN}"}, {"Cookie": "gallery_session="},
        {"Cookie": "a=\x01;=;"},
    ],
)  # fmt: skip
def test_without_the_token_nothing_is_told(guarded, method, path, headers):
    raw = {name: value.encode("latin-1") for name, value in headers.items()}
    answer = guarded.request(method, path, headers=raw)
    error(answer, 401)
    assert answer.headers["www-authenticate"] == "Bearer" and guarded.app.state.log == []


def test_every_route_is_open_or_among_the_guarded(guarded):
    described = guarded.get("/openapi.json").json()["paths"]
    routes = {(method.upper(), path.replace("{id}", "1")) for path, each in described.items() for method in each}
    assert routes - {("GET", "/healthz"), ("POST", "/login")} == set(ROUTES)


def test_the_token_opens(guarded):
    answer = guarded.post("/api/search", headers={"Authorization": f"Bearer {TOKEN}"}, files=picture(RED))
    assert answer.status_code == 200 and guarded.app.state.log[0][0] == "token"


def test_signing_in_and_out(guarded):
    assert "not the token" in error(guarded.post("/login", json={"token": "wrong"}), 401)
    error(guarded.post("/login", json={"token": TOKEN}, headers={"X-Requested-With": ""}), 403)
    answer = guarded.post("/login", json={"token": TOKEN})
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=strict" in cookie and TOKEN not in cookie
    assert guarded.get("/api/summary").status_code == 200
    kept = dict(guarded.cookies)
    assert guarded.post("/logout").status_code == 200
    error(guarded.get("/api/summary"), 401)
    error(guarded.get("/api/summary", headers={"Cookie": f"gallery_session={kept['gallery_session']}"}), 401)


def test_sessions_end_and_are_bounded(guarded, monkeypatch):
    sessions = guarded.app.state.desk.sessions
    first = sessions.open()
    for _ in range(100):
        last = sessions.open()
    status = lambda value: guarded.get("/api/summary", headers={"Cookie": f"gallery_session={value}"}).status_code  # noqa: E731
    assert status(first) == 401 and status(last) == 200
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 12 * 3600 + 1)
    assert status(last) == 401


def test_a_short_token_is_refused(tmp_path):
    with pytest.raises(InputError, match="token: has 5 characters"):
        application(tmp_path, token="short")


def test_another_models_gallery_is_refused(tmp_path):
    class Other(Colours):
        origin = replace(ORIGIN, network="other")

    app = application(tmp_path)
    with pytest.raises(InputError, match="cannot be compared"):
        create_app(app.state.store, Other(), None, audit=[], writer=None, drop_expired=None)


@pytest.mark.parametrize("missing", ["fastapi", "python_multipart", "uvicorn"])
def test_a_missing_extra_is_named(tmp_path, monkeypatch, missing):
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(InputError, match=rf"{missing} is not installed: pip install 'reid-gap\[web\]'"):
        application(tmp_path)


# What is sent along.


@pytest.mark.parametrize("path", ["/", "/api/summary", "/static/gallery.js", "/none", "/api/entries/1/thumbnail"])
def test_headers_of_every_answer(client, path):
    headers = client.get(path).headers
    policy = headers["content-security-policy"]
    assert policy.startswith("default-src 'self'") and "unsafe" not in policy and "frame-ancestors 'none'" in policy
    assert headers["x-content-type-options"] == "nosniff" and headers["referrer-policy"] == "no-referrer"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert headers["cache-control"] == ("no-cache" if path.startswith("/static/") else "no-store")


def test_the_page_needs_nothing_from_elsewhere(client):
    page = client.get("/").text
    texts = [page, *(client.get(f"/static/{name}").text for name in static_names())]
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
def test_static_files_are_looked_up_by_name(client, name):
    error(client.get(f"/static/{name}"), 404)


def test_names_are_data_and_not_html(client):
    evil = "<img src=x onerror=alert(1)>"
    client.app.state.store.update([1], {"identity": evil})
    assert client.get("/api/entries/1").json()["identity"] == evil
    assert client.get("/api/entries/1").headers["content-type"] == "application/json"
    assert evil not in client.get("/").text


def test_the_api_is_described(client):
    described = client.get("/openapi.json").json()
    search = described["paths"]["/api/search"]["post"]
    form = search["requestBody"]["content"]["multipart/form-data"]["schema"]["properties"]
    assert set(form) == {"image", "entry", "camera", "start", "end", "k", "rate"}
    assert {"401", "413", "415", "422"} <= set(search["responses"])
    for path in ("/docs", "/redoc"):  # they load scripts from elsewhere
        error(client.get(path), 404)


# How much may be sent.


def test_too_many_bytes_are_refused_before_they_are_read(tmp_path):
    client = client_of(application(tmp_path, limits=Limits(bytes=5000)))
    taken = []

    def body():
        for _ in range(100):
            taken.append(1)
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
        import anyio

        await anyio.sleep(5)
        yield b""

    app = application(tmp_path, limits=Limits(seconds=0.05))

    async def ask():
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            kind = {"Content-Type": "multipart/form-data; boundary=y", "X-Requested-With": "gallery"}
            return await client.post("/api/search", headers=kind, content=slow())

    import anyio

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
    assert len({answer.text for answer in answers}) == 1


# Retention, and serving.


def test_expired_entries_are_dropped_at_the_start_and_every_hour(tmp_path, monkeypatch, caplog):
    import asyncio

    import reid.gallery.web.app as module

    monkeypatch.setattr(module, "HOUR", 0.001)
    calls = []

    def drop():
        calls.append(1)
        if len(calls) == 2:
            raise InputError("gallery: another process is at work in it")

    with client_of(application(tmp_path, drop_expired=drop)) as client:
        while len(calls) < 4:
            client.get("/healthz")
    assert "retention: gallery: another process" in caplog.text

    def broken():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):  # a fault is not swallowed
        asyncio.run(keep_dropping(broken))


SERVER = """
import sys
from pathlib import Path
sys.path[:0] = [{tests!r}]
from small_gallery import application
from reid.gallery.web.app import serve
serve(application(Path({folder!r})), "127.0.0.1", 0)
print("closed in order")
"""


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_serving_ends_in_order(tmp_path, how):
    from pathlib import Path

    code = SERVER.format(tests=str(Path(__file__).parents[1]), folder=str(tmp_path))
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        address = process.stdout.readline().split()[2]
        answer = httpx.get(f"{address}/api/summary")
        assert answer.json()["entries"] == 12 and "server" not in answer.headers
        process.send_signal(how)
        out, problems = process.communicate(timeout=20)
    finally:
        process.kill()
    assert (process.returncode, out, problems) == (0, "closed in order\n", "")


def test_an_address_that_is_taken(tmp_path):
    with listening("127.0.0.1", 0) as first:
        assert first.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        port = first.getsockname()[1]
        with pytest.raises(InputError, match=f"127.0.0.1:{port}: cannot listen there"):
            listening("127.0.0.1", port)
    with pytest.raises(InputError, match="cannot listen there"):
        listening("no.such.host.invalid", 0)


def test_an_entry_without_box_or_of_a_video(client, tmp_path):
    store = client.app.state.store
    plain = Entry(str(tmp_path / "0_0.png"), "hall/0")
    [id] = store.add([plain], store.features([1]), [b""])
    assert client.get(f"/api/entries/{id}/source").status_code == 200
    assert json.loads(client.get(f"/api/entries/{id}").text)["time"] is None
