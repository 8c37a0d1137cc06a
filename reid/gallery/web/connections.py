"""HTTP connections whose requests must begin in time: uvicorn waits for the rest of a request's head for ever."""

from __future__ import annotations

import asyncio

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

SECONDS = 30.0  # for a request's head; 64 kB of it at most, as uvicorn has it


class Connection(H11Protocol):
    """Ends where a request's head has not come whole SECONDS after the connection opened or the last answer ended."""

    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._expect()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._expect()

    def connection_lost(self, exc: Exception | None) -> None:
        self._expect(again=False)
        super().connection_lost(exc)

    def _expect(self, again: bool = True) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = self.loop.call_later(SECONDS, self._end) if again else None

    def _end(self) -> None:
        if self.conn.their_state is h11.IDLE:
            self.transport.close()
