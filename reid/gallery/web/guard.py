"""What stands before every request: host, origin, token and body are checked, and headers set on every answer."""

from __future__ import annotations

import hmac
import secrets
import time
from collections.abc import Sequence
from http.cookies import CookieError, SimpleCookie
from urllib.parse import urlsplit

import anyio
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from reid.gallery.web.bodies import Bodies, handed_on
from reid.gallery.web.uploads import Limits, Refused

LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
OPEN = ("/", "/healthz", "/login", "/openapi.json")  # and /static/: nothing of the gallery is in them
LINGER = 2.0  # seconds
SESSION = 12 * 3600.0  # seconds
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


def cookie_name(scope: Scope) -> str:
    """Of this server's port: a browser sends the cookies of a host to all of its ports."""
    return f"gallery_session_{scope['server'][1]}"


class Sessions:
    """Who is signed in: the token's holders, by the random value of a cookie. They end with the process."""

    def __init__(self, token: str | None, most: int = 100) -> None:
        self._token, self._most = token, most
        self._ends: dict[str, float] = {}

    @property
    def needed(self) -> bool:
        return self._token is not None

    def is_token(self, text: str) -> bool:
        return self._token is not None and hmac.compare_digest(text.encode(), self._token.encode())

    def open(self) -> str:
        now = time.monotonic()
        alive = [(value, end) for value, end in self._ends.items() if end > now]
        self._ends = dict(alive[-self._most + 1 :])
        value = secrets.token_urlsafe(32)
        self._ends[value] = now + SESSION
        return value

    def close(self, scope: Scope) -> None:
        self._ends.pop(_cookie(scope), None)

    def admits(self, scope: Scope) -> bool:
        if self._token is None:
            return True
        kind, _, given = Headers(scope=scope).get("authorization", "").partition(" ")
        if kind.lower() == "bearer" and self.is_token(given.strip()):
            return True
        return self._ends.get(_cookie(scope), 0.0) > time.monotonic()


def _cookie(scope: Scope) -> str:
    try:
        cookie = SimpleCookie(Headers(scope=scope).get("cookie", "")).get(cookie_name(scope))
    except CookieError:
        return ""
    return "" if cookie is None else cookie.value


class Guard:
    """ASGI middleware around the whole application."""

    def __init__(self, app: ASGIApp, sessions: Sessions, hosts: Sequence[str], limits: Limits) -> None:
        self.app, self.sessions, self.bodies = app, sessions, Bodies(limits)
        self.hosts = {*LOOPBACK, *(f"[{host}]" if ":" in host else host for host in map(str.lower, hosts))}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":
            raise RuntimeError(f"no route takes {scope['type']}")

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        headers = Headers(scope=scope)
        try:
            self._check(scope, headers)
            most = self.bodies.announced(scope, headers)
            if most:
                await self._with_body(scope, receive, send_with_headers, most)
                return
        except Refused as error:
            await _refuse(error, scope, receive, send_with_headers)
            return
        await self.app(scope, receive, send_with_headers)

    async def _with_body(self, scope: Scope, receive: Receive, send: Send, most: int) -> None:
        async with self.bodies.place(scope):
            body = await self.bodies.read(receive, most)
            if body is not None:
                await self.app(scope, handed_on(body, receive), send)

    def _check(self, scope: Scope, headers: Headers) -> None:
        host = headers.get("host", "").lower()
        if host_name(host) not in self.hosts:
            raise Refused(400, f"host {host!r} is not one of those that are allowed: {', '.join(sorted(self.hosts))}")
        if scope["method"] not in ("GET", "HEAD"):
            origin = headers.get("origin")
            if origin is not None and urlsplit(origin).netloc.lower() != host:
                raise Refused(403, f"a page of {origin!r} may not change this gallery")
            if headers.get("x-requested-with") != "gallery":
                raise Refused(403, "the header 'X-Requested-With: gallery' is missing")
        path = scope["path"]
        if path in OPEN or path.startswith("/static/"):
            return
        if headers.get("sec-fetch-site") in ("cross-site", "same-site"):  # another port of this host is same-site
            raise Refused(403, "another site's page may not read this gallery")
        if not self.sessions.admits(scope):
            raise Refused(401, "sign in with the token first")


async def _refuse(error: Refused, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer, and end the connection where a body was announced: what still comes is thrown away for a moment, since a
    client that is cut off while it sends may lose the answer."""
    headers = {"WWW-Authenticate": "Bearer"} if error.status == 401 else {}
    answer = JSONResponse({"error": error.message}, error.status, headers)
    asked = Headers(scope=scope)
    if asked.get("content-length", "0") == "0" and "transfer-encoding" not in asked:
        await answer(scope, receive, send)
        return

    async def not_ended(message: Message) -> None:
        await send({**message, "more_body": True} if message["type"] == "http.response.body" else message)

    answer.headers["Connection"] = "close"
    await answer(scope, receive, not_ended)
    with anyio.move_on_after(LINGER):
        while (await receive()).get("more_body", False):
            pass
    await send({"type": "http.response.body", "body": b"", "more_body": False})


def host_name(host: str) -> str:
    """The name in a Host header, without the port."""
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdecimal() else host
