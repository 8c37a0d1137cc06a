"""The bodies of requests: of bounded length, number and time, counted as they arrive, before anything parses them."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
from starlette.datastructures import Headers
from starlette.types import Message, Receive, Scope

from reid.gallery.web.uploads import Limits, Refused

UPLOADS = ("/api/search", "/api/answer", "/api/people", "/api/compare")
# Bytes: a token of 1,000 characters, 10,000 ids, two of them.
SMALL = {"/login": 16_000, "/api/forget": 100_000, "/api/name": 100_000, "/api/decide": 1_000}
PIECE = 65_536  # bytes handed on at once


class Bodies:
    """Reads the bodies of requests within ``limits``.

    Those of /login, for which no token is needed, take no place from the others.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._signing_in, self._others = anyio.Semaphore(limits.uploads), anyio.Semaphore(limits.uploads)

    def announced(self, scope: Scope, headers: Headers) -> int:
        """How many bytes the body may have; 0: there is none.

        Raises:
            Refused: it is longer by its own account, or this route takes none.
        """
        length = headers.get("content-length", "0")
        if length == "0" and "transfer-encoding" not in headers:
            return 0
        most = self._most(scope) if scope["method"] == "POST" else 0
        if most == 0:
            raise Refused(413, f"{scope['method']} {scope['path'][:100]} takes no body")
        if not re.fullmatch("[0-9]{1,18}", length) or int(length) > most:
            raise _too_large(most)
        return most

    def _most(self, scope: Scope) -> int:
        if scope["path"] in UPLOADS:
            return self.limits.bytes
        return min(SMALL.get(scope["path"], 0), self.limits.bytes)

    @asynccontextmanager
    async def place(self, scope: Scope) -> AsyncIterator[None]:
        """One of the places for bodies; the next that is free.

        Raises:
            Refused: none was in time.
        """
        places = self._signing_in if scope["path"] == "/login" else self._others
        try:
            with anyio.fail_after(self.limits.seconds):
                await places.acquire()
        except TimeoutError:
            raise Refused(503, f"{self.limits.uploads} others are being read or answered: try again") from None
        try:
            yield
        finally:
            places.release()

    async def read(self, receive: Receive, most: int) -> bytearray | None:
        """The whole body; None where the client is gone.

        Raises:
            Refused: it is longer than ``most`` bytes, or takes too long.
        """
        body = bytearray()
        try:
            with anyio.fail_after(self.limits.seconds):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        return None
                    body += message.get("body", b"")
                    if len(body) > most:
                        raise _too_large(most)
                    if not message.get("more_body", False):
                        return body
        except TimeoutError:
            raise Refused(408, f"the body took longer than {self.limits.seconds:g} s to arrive") from None


def handed_on(body: bytearray, receive: Receive) -> Receive:
    """A ``receive`` that gives what was read, piece by piece, and frees it."""
    ended = False

    async def again() -> Message:
        nonlocal ended
        if ended:
            return await receive()
        piece = bytes(body[:PIECE])
        del body[:PIECE]
        ended = not body
        return {"type": "http.request", "body": piece, "more_body": not ended}

    return again


def _too_large(most: int) -> Refused:
    return Refused(413, f"the body is too large: more than {most / 1e6:g} MB")
