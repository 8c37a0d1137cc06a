"""The gallery's web page and HTTP API: the application, and serving it."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

from reid.errors import InputError
from reid.gallery.service import Service
from reid.video.detect import Detector

try:
    import anyio
    import h11
    import python_multipart  # noqa: F401  (forms need it, which starlette says late)
    import uvicorn
    from fastapi import FastAPI
    from fastapi.exceptions import RequestValidationError
    from starlette.exceptions import HTTPException
    from uvicorn.protocols.http.h11_impl import H11Protocol
except ImportError as error:
    raise InputError(f"{error.name} is not installed: pip install 'reid-gap[web]'") from None

from reid.gallery.web.guard import Guard, Sessions
from reid.gallery.web.pictures import Limits
from reid.gallery.web.routes import Desk, problem, router

log = logging.getLogger(__name__)
HOUR, MINUTE = 3600.0, 60.0  # seconds
SHORTEST = 16  # characters of a token
HEAD = 30.0  # seconds for a request's head; 64 kB of it at most, as uvicorn has it
ABOUT = """Finds people in a gallery of crops by their looks.

Requests that are not GET carry the header `X-Requested-With: gallery`. Where the server was started with a token,
every request carries `Authorization: Bearer TOKEN`, or the cookie that `/login` gives. Errors are `{"error": "..."}`.
Distances are 1 - cosine. Times of answers are seconds since 1970, UTC; times that are asked for are ISO 8601 or such
seconds."""


def create_app(
    service: Service,
    *,
    detector: Detector | None = None,
    token: str | None = None,
    allowed_hosts: Sequence[str] = (),
    limits: Limits | None = None,
) -> FastAPI:
    """The application. While it runs it drops what is older than the retention time, every hour, and builds the indexes
    that are missing or behind.

    Args:
        service: the caller closes its gallery.
        detector: finds people in whole photographs; None: a box is drawn.
        token: asked for where given. Raises InputError when it is too short.
        allowed_hosts: names and addresses that the Host header may hold, beside those of loopback.
    """
    if token is not None and len(token) < SHORTEST:
        raise InputError(f"token: has {len(token)} characters, needs {SHORTEST} or more")
    limits, sessions = limits or Limits(), Sessions(token)
    desk, ending = Desk(service, detector, sessions, limits), threading.Event()

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with anyio.create_task_group() as works:
            works.start_soon(keep_doing, "retention", service.drop_expired, HOUR, desk)
            works.start_soon(keep_doing, "index", lambda: service.gallery.tend(until=ending.is_set), MINUTE, desk)
            yield
            ending.set()
            works.cancel_scope.cancel()  # what is under way in a thread is waited for

    app = FastAPI(title="Gallery", description=ABOUT, version="1", docs_url=None, redoc_url=None, lifespan=lifespan)
    app.state.desk = desk
    app.include_router(router)
    for kind in (HTTPException, RequestValidationError, InputError, Exception):
        app.add_exception_handler(kind, problem)
    app.add_middleware(Guard, sessions=sessions, hosts=allowed_hosts, limits=limits)
    return app


async def keep_doing(name: str, work: Callable[[], object], every: float, desk: Desk) -> None:
    """Work again and again, ``every`` so many seconds, whatever happens: what went wrong stands in the log and in the
    desk's ``problems``, by its name, until it has gone well."""
    while True:
        try:
            await anyio.to_thread.run_sync(work)
            desk.problems.pop(name, None)
        except Exception as error:
            log.warning("%s: %s", name, error, exc_info=not isinstance(error, InputError))
            desk.problems[name] = f"{name} failed, and is tried again every {every:g} s: {desk.told(error)}"
        await anyio.sleep(every)


class Connection(H11Protocol):
    """Ends where a request's head has not come whole ``HEAD`` seconds after the connection opened or the last answer
    ended: uvicorn waits for the rest of it for ever."""

    _deadline: asyncio.TimerHandle

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._deadline = self.loop.call_later(HEAD, self._end)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._deadline.cancel()
        self._deadline = self.loop.call_later(HEAD, self._end)

    def connection_lost(self, exc: Exception | None) -> None:
        self._deadline.cancel()
        super().connection_lost(exc)

    def _end(self) -> None:
        if self.conn.their_state is h11.IDLE:
            self.transport.close()


def serve(app: FastAPI, host: str, port: int) -> None:
    """Serve until Ctrl-C, SIGTERM or SIGHUP (unless ignored, as under nohup); requests under way get 5 seconds to end.
    Port 0 takes a free one. Raises InputError when the address cannot be listened at."""
    with listening(host, port) as listener:
        address, taken = listener.getsockname()[:2]
        print(f"gallery at http://{f'[{address}]' if ':' in address else address}:{taken} (Ctrl-C ends it)", flush=True)
        quiet: dict[str, Any] = {"access_log": False, "log_level": "warning", "server_header": False}
        config = uvicorn.Config(app, timeout_graceful_shutdown=5, ws="none", http=Connection, **quiet)
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # uvicorn raises anew what ended it
        if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # which uvicorn does not know
            signal.signal(signal.SIGHUP, lambda *_: signal.raise_signal(signal.SIGTERM))
        with suppress(KeyboardInterrupt):
            uvicorn.Server(config).run(sockets=[listener])


def one_thread_each() -> None:
    """Let requests fill the cores, one thread each, instead of every request all cores: with eight clients on two
    cores that takes two thirds of the time. For the libraries that are loaded by now."""
    import torch
    from threadpoolctl import threadpool_limits

    torch.set_num_threads(1)
    threadpool_limits(1)


def listening(host: str, port: int) -> socket.socket:
    """A socket for :func:`serve`. Raises InputError naming the address, when it is taken or not one of this machine."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listener = socket.create_server((host, port), family=family, backlog=128)
    except (OSError, OverflowError, UnicodeError) as error:  # the last: a name like a..b
        raise InputError(f"{host}:{port}: cannot listen there: {error}") from None
    # Connections inherit it; asyncio sets it on its own sockets only. Without it each answer waits 40 ms for an ACK.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener
