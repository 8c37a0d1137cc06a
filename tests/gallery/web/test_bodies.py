"""Bodies over real connections: bounded in length, number and time, whoever sends them and wherever to."""

import json
import re
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

pytest.importorskip("fastapi")
from served import served
from small_gallery import COLOURS, crop, encoded

TOKEN = "0123456789abcdef-token"
LARGE = 9_900_000  # bytes, below the limit of an upload
CONNECTIONS = 60
TOO_LONG = {
    "/login": 16_001, "/api/forget": 100_001, "/api/name": 100_001, "/api/decide": 1_001, "/logout": 1,
    **dict.fromkeys(("/api/search", "/api/answer", "/api/people", "/api/compare"), 10_000_001),
}  # fmt: skip
MEMORY = 60_000_000  # bytes that they may cost in all; what one call to the system reads is 256 kB a connection


def head(path, method="POST", **headers):
    given = {"Host": "localhost", "X_Requested_With": "gallery", "Content_Type": "application/json", **headers}
    lines = [f"{method} {path} HTTP/1.1", *(f"{name.replace('_', '-')}: {value}" for name, value in given.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def connected(port):
    connection = socket.create_connection(("127.0.0.1", port), timeout=20)
    connection.settimeout(20)
    return closing(connection)


def answer(connection):
    """Status and message of the answer; (None, "") where the server just hangs up."""
    content = b""
    while part := _received(connection):
        content += part
        top, found, body = content.partition(b"\r\n\r\n")
        if found and len(body) >= int(re.search(rb"content-length: (\d+)", top)[1]):
            return int(top.split()[1]), json.loads(body).get("error", "")
    return None, ""


def _received(connection):
    try:
        return connection.recv(65536)
    except ConnectionResetError:
        return b""


def push(connection, parts):
    """Send until the server hangs up; the bytes that it took."""
    taken = 0
    try:
        for part in parts:
            connection.sendall(part)
            taken += len(part)
    except OSError:
        pass
    return taken


def resident(process):
    """Bytes, the most so far."""
    text = Path(f"/proc/{process.pid}/status").read_text()
    return 1024 * int(re.search(r"VmHWM:\s+(\d+)", text)[1])


def chunked(total, size=100_000):
    part = b"%x\r\n%s\r\n" % (size, b" " * size)
    return (part for _ in range(total // size))


@pytest.mark.parametrize("way", ["stated", "chunked"])
def test_many_large_bodies_cost_little(tmp_path, way):
    paths = {"/login": "0.016 MB", "/api/forget": "0.1 MB", "/logout": "takes no body", "/none": "takes no body"}

    def send(path):
        length = {"Content_Length": LARGE} if way == "stated" else {"Transfer_Encoding": "chunked"}
        with connected(port) as connection:
            connection.sendall(head(path, **length))
            push(connection, [b" " * 100_000] * (LARGE // 100_000) if way == "stated" else chunked(LARGE))
            return answer(connection)

    with served(tmp_path, linger=2.0) as (process, port), ThreadPoolExecutor(CONNECTIONS) as pool:
        list(pool.map(send, paths))  # what is loaded once is nobody's body
        before = resident(process)
        wanted = list(paths) * (CONNECTIONS // len(paths))
        for path, (status, text) in zip(wanted, pool.map(send, wanted), strict=True):
            assert status is None or (status == 413 and paths[path] in text)
        assert resident(process) - before < MEMORY
        with connected(port) as connection:
            connection.sendall(head("/api/summary", "GET"))
            assert answer(connection) == (200, "")


def test_a_body_that_is_too_long_is_refused_before_it_is_sent(tmp_path):
    with served(tmp_path) as (_, port):
        for path, length in TOO_LONG.items():
            with connected(port) as connection:
                connection.sendall(head(path, Content_Length=length, Expect="100-continue"))
                assert answer(connection)[0] == 413
                assert connection.recv(100) == b""  # and the connection ends
        for path in ("/api/summary", "/", "/static/gallery.js", "/healthz"):
            with connected(port) as connection:
                connection.sendall(head(path, "GET", Content_Length=5))
                assert answer(connection) == (413, f"GET {path} takes no body")


def test_without_the_token_no_body_is_read(tmp_path):
    with served(tmp_path, TOKEN) as (_, port):
        for path in {**TOO_LONG, "/none": 1}:
            if path == "/login":
                continue
            with connected(port) as connection:
                connection.sendall(head(path, Content_Length=LARGE, Expect="100-continue"))
                assert answer(connection) == (401, "sign in with the token first")  # and not "100 Continue"


def test_a_slow_body_is_given_up(tmp_path):
    with served(tmp_path, seconds=1.0) as (_, port):
        for path, more in (("/login", []), ("/api/forget", [b"1\r\n{\r\n"]), ("/api/search", [b"1\r\n-\r\n"])):
            with connected(port) as connection:
                connection.sendall(head(path, Transfer_Encoding="chunked"))
                push(connection, more)
                assert answer(connection) == (408, "the body took longer than 1 s to arrive")
                assert connection.recv(100) == b""


def test_a_body_that_drips_is_given_up(tmp_path):
    with served(tmp_path, seconds=1.0) as (_, port), connected(port) as connection:
        connection.sendall(head("/login", Content_Length=10_000))
        for _ in range(1000):
            if not push(connection, [b" "]):
                break
            time.sleep(0.01)
        else:
            pytest.fail("the server goes on reading")


def test_sixteen_bodies_at_once_and_signing_in_beside_them(tmp_path):
    with served(tmp_path, TOKEN, seconds=5.0) as (_, port):
        signed = {"Authorization": f"Bearer {TOKEN}"}
        held = [socket.create_connection(("127.0.0.1", port), timeout=20) for _ in range(16)]
        for connection in held:
            connection.sendall(head("/api/forget", Content_Length=100, Expect="100-continue", **signed))
        for connection in held:
            assert connection.recv(1000).startswith(b"HTTP/1.1 100")  # it has its place
        with connected(port) as one_more, connected(port) as at_the_door:
            one_more.sendall(head("/api/forget", Content_Length=2, Expect="100-continue", **signed))
            body = json.dumps({"token": TOKEN}).encode()
            at_the_door.sendall(head("/login", Content_Length=len(body)) + body)
            assert answer(at_the_door) == (200, "")
            one_more.settimeout(0.3)
            with pytest.raises(TimeoutError):
                one_more.recv(100)  # it waits, and is not read
            one_more.settimeout(20)
            first = one_more.recv(1000)
            # The sixteen are given up after 5 s; at that moment it is its turn, or its own time is over.
            assert first.startswith((b"HTTP/1.1 100", b"HTTP/1.1 503"))
        for connection in held:
            assert answer(connection)[0] == 408
            connection.close()
        with connected(port) as connection:
            body = b'{"ids": [1]}'
            connection.sendall(head("/api/forget", Content_Length=len(body), **signed) + body)
            assert answer(connection) == (200, "")


def test_a_head_that_does_not_end_is_given_up(tmp_path):
    with served(tmp_path, seconds=1.0) as (_, port):
        for begun in (b"", b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Long"):
            with connected(port) as connection:
                connection.sendall(begun)
                assert answer(connection) == (None, "")
        with connected(port) as connection:
            connection.sendall(head("/api/summary", "GET"))
            assert answer(connection)[0] == 200
            connection.sendall(b"GET / HTTP/1.1\r\nHost")
            assert answer(connection) == (None, "")
        with connected(port) as connection:
            push(connection, [b"GET / HTTP/1.1\r\n", *[b"X-Long: " + b"x" * 8000 + b"\r\n"] * 20])
            assert connection.recv(100).startswith(b"HTTP/1.1 400")


def test_what_is_within_the_limits_is_answered(tmp_path):
    picture = encoded(crop(COLOURS["P1"]))
    form = b'--y\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n' + picture + b"\r\n--y--\r\n"
    kind = {"Content_Type": "multipart/form-data; boundary=y"}
    with served(tmp_path) as (_, port), connected(port) as connection:
        connection.sendall(head("/api/summary", "HEAD"))
        top = _received(connection)
        assert top.startswith(b"HTTP/1.1 405") and top.endswith(b"\r\n\r\n")  # and nothing behind the head
        for _ in range(3):  # on one connection
            connection.sendall(head("/api/search", Content_Length=len(form), **kind) + form)
            assert answer(connection) == (200, "")
            connection.sendall(head("/api/search", Transfer_Encoding="chunked", **kind))
            for byte in (form[:1], form[1:200], form[200:]):
                connection.sendall(b"%x\r\n%s\r\n" % (len(byte), byte))
            connection.sendall(b"0\r\n\r\n")
            assert answer(connection) == (200, "")
        deep = b"[" * 50_000
        connection.sendall(head("/api/forget", Content_Length=len(deep)) + deep)
        assert answer(connection)[0] in (400, 422)
