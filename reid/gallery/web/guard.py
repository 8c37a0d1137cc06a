"""What stands before every request: host, origin, token and body are checked, and headers set on every answer.

Bodies are of bounded length, number and time, counted as they arrive, before anything parses them.
"""

from __future__ import annotations

import hmac
import re
import secrets
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from urllib.parse import urlsplit

import anyio
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, HTTPConnection, Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from reid.gallery.web.pictures import Limits

LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
OPEN = ("/", "/healthz", "/login", "/openapi.json")  # and /static/: nothing of the gallery is in them
UPLOADS = ("/api/search", "/api/answer", "/api/people", "/api/compare")
# Bytes: a token of 1,000 characters, 10,000 ids, two of them.
SMALL = {"/login": 16_000, "/api/forget": 100_000, "/api/name": 100_000, "/api/decide": 1_000}
TOO_LARGE = "the body is too large: more than {:g} MB"
PIECE = 65_536  # bytes of a body handed on at once
LINGER = 2.0  # seconds
SESSION, SESSIONS = 12 * 3600.0, 100  # seconds; how many at once, the oldest end first
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' blob:; base-uri 'none'; form-action 'self'; object-src 'none'; "
        "frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def cookie_name(request: HTTPConnection) -> str:
    """Of this server's port: a browser sends the cookies of a host to all of its ports."""
    return f"gallery_session_{request.scope['server'][1]}"


class Sessions:
    """Who is signed in: the token's holders, by the random value of a cookie; without a token, everybody. They end with
    the process."""

    def __init__(self, token: str | None) -> None:
        self.token = token
        self._ends: dict[str, float] = {}

    def is_token(self, text: str) -> bool:
        return self.token is not None and hmac.compare_digest(text.encode(), self.token.encode())

    def open(self) -> str:
        cookie, now = secrets.token_urlsafe(32), time.monotonic()
        alive = [(value, end) for value, end in self._ends.items() if end > now]
        self._ends = {**dict(alive[-SESSIONS + 1 :]), cookie: now + SESSION}
        return cookie

    def close(self, request: HTTPConnection) -> None:
        self._ends.pop(request.cookies.get(cookie_name(request), ""), None)

    def admits(self, request: HTTPConnection) -> bool:
        kind, _, given = request.headers.get("authorization", "").partition(" ")
        if self.token is None or (kind.lower() == "bearer" and self.is_token(given.strip())):
            return True
        return self._ends.get(request.cookies.get(cookie_name(request), ""), 0.0) > time.monotonic()


class Guard:
    """ASGI middleware around the whole application. Bodies of /login, for which no token is needed, take no place from
    the others."""

    def __init__(self, app: ASGIApp, sessions: Sessions, hosts: Sequence[str], limits: Limits) -> None:
        self.app, self.sessions, self.limits = app, sessions, limits
        self.hosts = {*LOOPBACK, *(f"[{host}]" if ":" in host else host for host in map(str.lower, hosts))}
        self._signing_in, self._others = anyio.Semaphore(limits.uploads), anyio.Semaphore(limits.uploads)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return await self.app(scope, receive, send)
        if scope["type"] != "http":
            raise RuntimeError(f"no route takes {scope['type']}")

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        request = Request(scope, receive)
        try:
            self._check(request)
            most = self._announced(request)
            if most:
                await self._with_body(request, send_with_headers, most)
            else:
                await self.app(scope, receive, send_with_headers)
        except HTTPException as error:
            await _refuse(error, request, send_with_headers)

    def _check(self, request: Request) -> None:
        path, headers = request.scope["path"], request.headers
        host = headers.get("host", "").lower()
        if re.sub(r":[0-9]+\Z", "", host) not in self.hosts:
            allowed = ", ".join(sorted(self.hosts))
            raise HTTPException(400, f"host {host!r} is not one of those that are allowed: {allowed}")
        if request.method not in ("GET", "HEAD"):
            origin = headers.get("origin")
            if origin is not None and urlsplit(origin).netloc.lower() != host:
                raise HTTPException(403, f"a page of {origin!r} may not change this gallery")
            if headers.get("x-requested-with") != "gallery":
                raise HTTPException(403, "the header 'X-Requested-With: gallery' is missing")
        if path in OPEN or path.startswith("/static/"):
            return
        if headers.get("sec-fetch-site") in ("cross-site", "same-site"):  # another port of this host is same-site
            raise HTTPException(403, "another site's page may not read this gallery")
        if not self.sessions.admits(request):
            raise HTTPException(401, "sign in with the token first", {"WWW-Authenticate": "Bearer"})

    def _announced(self, request: Request) -> int:
        """How many bytes the body may have; 0: there is none. Raises HTTPException when it is longer by its own
        account, or this route takes none."""
        length, path = request.headers.get("content-length", "0"), request.scope["path"]
        if length == "0" and "transfer-encoding" not in request.headers:
            return 0
        most = self.limits.bytes if path in UPLOADS else min(SMALL.get(path, 0), self.limits.bytes)
        if request.method != "POST" or most == 0:
            raise HTTPException(413, f"{request.method} {path[:100]} takes no body")
        if not re.fullmatch("[0-9]{1,18}", length) or int(length) > most:
            raise HTTPException(413, TOO_LARGE.format(most / 1e6))
        return most

    async def _with_body(self, request: Request, send: Send, most: int) -> None:
        """Answer, with the body read, at one of the places for bodies; the next that is free. Raises HTTPException when
        none was in time, or as :meth:`_read`; a client that is gone gets no answer."""
        places = self._signing_in if request.scope["path"] == "/login" else self._others
        try:
            with anyio.fail_after(self.limits.seconds):
                await places.acquire()
        except TimeoutError:
            raise HTTPException(503, f"{self.limits.uploads} others are being read or answered: try again") from None
        try:
            with suppress(ClientDisconnect):
                await self.app(request.scope, handed_on(await self._read(request, most), request.receive), send)
        finally:
            places.release()

    async def _read(self, request: Request, most: int) -> bytearray:
        """The whole body. Raises HTTPException when it is longer than ``most`` bytes, or takes too long, and
        ClientDisconnect."""
        body = bytearray()
        try:
            with anyio.fail_after(self.limits.seconds):
                async for piece in request.stream():
                    body += piece
                    if len(body) > most:
                        raise HTTPException(413, TOO_LARGE.format(most / 1e6))
        except TimeoutError:
            raise HTTPException(408, f"the body took longer than {self.limits.seconds:g} s to arrive") from None
        return body


def handed_on(body: bytearray, receive: Receive) -> Receive:
    """A ``receive`` that gives what was read, piece by piece, and frees it."""
    pieces = deque(bytes(body[at : at + PIECE]) for at in range(0, max(1, len(body)), PIECE))

    async def again() -> Message:
        if not pieces:
            return await receive()
        return {"type": "http.request", "body": pieces.popleft(), "more_body": bool(pieces)}

    return again


async def _refuse(error: HTTPException, request: Request, send: Send) -> None:
    """Answer, and end the connection where a body was announced: what still comes is thrown away for a moment, since a
    client that is cut off while it sends may lose the answer."""
    answer, asked = JSONResponse({"error": error.detail}, error.status_code, error.headers), request.headers
    if asked.get("content-length", "0") == "0" and "transfer-encoding" not in asked:
        return await answer(request.scope, request.receive, send)

    async def not_ended(message: Message) -> None:
        await send({**message, "more_body": True} if message["type"] == "http.response.body" else message)

    answer.headers["Connection"] = "close"
    await answer(request.scope, request.receive, not_ended)
    with anyio.move_on_after(LINGER):
        while (await request.receive()).get("more_body", False):
            pass
    await send({"type": "http.response.body", "body": b"", "more_body": False})
