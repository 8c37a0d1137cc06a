"""The routes of the gallery's page and HTTP API."""

from __future__ import annotations

import math
import mimetypes
from collections.abc import Callable
from importlib.resources import files
from typing import Annotated, Any, TypeVar

import anyio
from fastapi import APIRouter, Depends, FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse
from jinja2 import Environment
from starlette.exceptions import HTTPException

from reid.errors import InputError
from reid.gallery.entries import Filter
from reid.gallery.web import answers
from reid.gallery.web.forms import multipart, one_query, received, sentence
from reid.gallery.web.guard import COOKIE, HEADERS, SESSION, Sessions
from reid.gallery.web.service import Service
from reid.gallery.web.uploads import FORMATS, Refused

Answer = TypeVar("Answer")
FOLDER = files("reid.gallery.web")
STATIC = {file.name: file.read_bytes() for file in FOLDER.joinpath("static").iterdir() if file.is_file()}
PAGE = Environment(autoescape=True).from_string(FOLDER.joinpath("page.html.j2").read_text(encoding="utf-8"))

PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"model": answers.Problem, "description": text}
    for status, text in {
        400: "the host is not allowed, or the form cannot be read",
        401: "no token",
        403: "asked by another site's page",
        404: "not in the gallery",
        408: "the body took too long to arrive",
        413: "too many bytes or pixels",
        415: "not a picture of an allowed format",
        422: "a value is wrong, or the picture is damaged",
        503: "the gallery cannot do it now",
    }.items()
}
ASKED, SENT = ({each: PROBLEMS[each] for each in some} for some in ((400, 401, 404, 422, 503), PROBLEMS))
PICTURE: dict[int | str, dict[str, Any]] = {**ASKED, 200: {"content": {"image/jpeg": {}}}}


class Desk:
    """What the routes share: the service, the sessions and how much goes on at once."""

    def __init__(self, service: Service, sessions: Sessions) -> None:
        self.service, self.sessions, self.limits = service, sessions, service.limits
        self.decoding = anyio.CapacityLimiter(self.limits.decoding)
        self.who = "token" if sessions.needed else "local"

    async def at_work(self, work: Callable[[], Answer]) -> Answer:
        """In a thread, a few at once: decoding, embedding and searching cost memory and cores."""
        return await anyio.to_thread.run_sync(work, limiter=self.decoding)


def desk(request: Request) -> Desk:
    return request.app.state.desk


At = Annotated[Desk, Depends(desk)]
router = APIRouter()


def filter_of(fields: answers.Filters, identities: tuple[str, ...] = ()) -> Filter:
    if fields.start is not None and fields.end is not None and fields.start > fields.end:
        raise Refused(422, f"start {math.floor(fields.start)} lies after end {math.floor(fields.end)}")
    return Filter(tuple(fields.camera), identities, fields.start, fields.end)


@router.get("/", response_class=HTMLResponse, include_in_schema=False)
def page(request: Request, at: At) -> Response:
    signed_in = at.sessions.admits(request.headers)
    text = PAGE.render(limits=at.limits, formats=FORMATS, signed_in=signed_in, token=at.sessions.needed)
    return HTMLResponse(text)


@router.get("/static/{name}", include_in_schema=False)
def static(name: str) -> Response:
    if name not in STATIC:
        raise Refused(404, "there is no such file")
    kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
    return Response(STATIC[name], media_type=kind, headers={"Cache-Control": "no-cache"})


@router.get("/healthz", summary="Whether the server answers", tags=["server"])
def healthz() -> dict[str, bool]:
    return {"ok": True}


@router.post("/login", summary="Sign in: the answer's cookie stands for the token", tags=["server"], responses=SENT)
async def login(request: Request, sent: answers.SignIn, at: At, response: Response) -> dict[str, bool]:
    if not at.sessions.is_token(sent.token):
        raise Refused(401, "this is not the token")
    response.set_cookie(
        COOKIE, at.sessions.open(), max_age=int(SESSION), httponly=True, samesite="strict", path="/",
        secure=request.url.scheme == "https",
    )  # fmt: skip
    return {"ok": True}


@router.post("/logout", summary="End the cookie's session", tags=["server"], responses=ASKED)
async def logout(request: Request, at: At, response: Response) -> dict[str, bool]:
    at.sessions.close(request.headers)
    response.delete_cookie(COOKIE, path="/", httponly=True, samesite="strict")
    return {"ok": True}


@router.get("/api/summary", summary="What the gallery holds", tags=["gallery"], responses=ASKED)
def summary(at: At) -> answers.SummaryAnswer:
    return at.service.summary()


@router.get("/api/entries", summary="Entries by rising id, a page at a time", tags=["gallery"], responses=ASKED)
def entries(asked: Annotated[answers.Browse, Query()], at: At) -> answers.Page:
    return at.service.browse(filter_of(asked, tuple(asked.identity)), asked.limit, asked.after)


@router.get("/api/entries/{id}", summary="One entry", tags=["gallery"], responses=ASKED)
def entry(id: answers.Id, at: At) -> answers.EntryAnswer:
    return answers.EntryAnswer.of(at.service.entry(id))


@router.get("/api/entries/{id}/thumbnail", summary="Its crop, small", tags=["gallery"], responses=PICTURE)
def thumbnail(id: answers.Id, at: At) -> Response:
    return Response(at.service.thumbnail(id), media_type="image/jpeg")


@router.get("/api/entries/{id}/source", summary="Its source, the box drawn", tags=["gallery"], responses=PICTURE)
async def source(id: answers.Id, at: At) -> Response:
    content = await at.at_work(lambda: at.service.source(at.who, id))
    return Response(content, media_type="image/jpeg")


SEARCH = multipart(answers.Search, 1)


@router.post(
    "/api/search", summary="The nearest entries of a picture or an entry", tags=["search"], responses=SENT,
    openapi_extra=SEARCH,
)  # fmt: skip
async def search(request: Request, at: At) -> answers.SearchAnswer:
    query, asked = await one_query(request, at.limits)
    wanted = filter_of(asked)
    return await at.at_work(lambda: at.service.search(at.who, query, wanted, asked.k, asked.rate))


@router.post(
    "/api/timeline", summary="Where and when a person was", tags=["search"], responses=SENT, openapi_extra=SEARCH
)
async def timeline(request: Request, at: At) -> answers.TimelineAnswer:
    query, asked = await one_query(request, at.limits)
    wanted = filter_of(asked)
    return await at.at_work(lambda: at.service.timeline(at.who, query, wanted, asked.k, asked.rate))


@router.post(
    "/api/compare", summary="Whether two show the same person", tags=["search"], responses=SENT,
    openapi_extra=multipart(answers.Compare, 2),
)  # fmt: skip
async def compare(request: Request, at: At) -> answers.CompareAnswer:
    images, asked = await received(request, answers.Compare, "entry", at.limits)
    pair: list[bytes | int] = [*images, *asked.entry]
    if len(pair) != 2:
        raise Refused(422, f"expected two images or entries, got {len(pair)}")
    return await at.at_work(lambda: at.service.compare(at.who, pair, asked.rate))


@router.post("/api/forget", summary="Erase entries, or all of a person", tags=["erasure"], responses=SENT)
def forget(asked: answers.Forget, at: At) -> answers.Forgotten:
    if bool(asked.ids) == (asked.identity is not None):
        raise Refused(422, "expected either ids or identity")
    return answers.Forgotten(ids=at.service.forget(at.who, asked.ids, asked.identity))


def install(app: FastAPI, service: Service, sessions: Sessions) -> None:
    """Routes and error answers, which are always {"error": "..."} and never hold a trace."""
    app.state.desk = Desk(service, sessions)
    app.include_router(router)

    @app.exception_handler(Refused)
    async def refused(_: Request, error: Refused) -> Response:
        return JSONResponse({"error": error.message}, error.status)

    @app.exception_handler(InputError)
    async def unable(_: Request, error: InputError) -> Response:
        told = str(error).replace(str(service.store.folder), "gallery").replace(service.store.location, "gallery")
        return JSONResponse({"error": told}, 503)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> Response:
        return JSONResponse({"error": sentence(error.errors())}, 422)

    @app.exception_handler(HTTPException)
    async def http(_: Request, error: HTTPException) -> Response:
        return JSONResponse({"error": str(error.detail)}, error.status_code, error.headers)

    @app.exception_handler(Exception)
    async def broken(_: Request, error: Exception) -> Response:
        return JSONResponse({"error": "something is wrong in the server; its log says what"}, 500, HEADERS)
