"""The routes of the gallery's page and HTTP API."""

from __future__ import annotations

import math
import mimetypes
import re
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, TypeVar

import anyio
from fastapi import APIRouter, Depends, FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse
from jinja2 import Environment
from starlette.exceptions import HTTPException

from reid.errors import InputError
from reid.gallery.answers.answer import Answer as Found
from reid.gallery.answers.zipped import zipped
from reid.gallery.entries import Filter, NotThere, Unfit
from reid.gallery.service import Service
from reid.gallery.web import answers
from reid.gallery.web.forms import crops, multipart, received, sentence
from reid.gallery.web.guard import HEADERS, SESSION, Sessions, cookie_name
from reid.gallery.web.sources import source_picture
from reid.gallery.web.uploads import FORMATS, Limits, Refused, decode
from reid.video.detect import Detector

Answer = TypeVar("Answer")
FOLDER = files("reid.gallery.web")
STATIC = {file.name: file.read_bytes() for file in FOLDER.joinpath("static").iterdir() if file.is_file()}
PAGE = Environment(autoescape=True).from_string(FOLDER.joinpath("page.html.j2").read_text(encoding="utf-8"))
SURE = 0.5  # confidence from which a person in a photograph is offered

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
    """What the routes share: the service, who finds people in photographs, the sessions, and how much goes on at once.

    Attributes:
        problems: what the server could not do of what it does by itself, a sentence each by its name.
    """

    def __init__(self, service: Service, detector: Detector | None, sessions: Sessions, limits: Limits) -> None:
        self.service, self.detector, self.sessions, self.limits = service, detector, sessions, limits
        self.decoding = anyio.CapacityLimiter(limits.decoding)
        self.problems: dict[str, str] = {}

    def told(self, error: InputError) -> str:
        """The error, without the folders and servers that lead to the gallery."""
        gallery = self.service.gallery
        places = (str(gallery.folder), gallery.layout.catalogue, gallery.layout.vectors)
        return re.sub(rf"(?<!\S)({'|'.join(map(re.escape, places))})(?=[/:])", "gallery", str(error))

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
    return Filter(tuple(fields.camera), identities, fields.start, fields.end, tuple(fields.without))


@router.get("/", response_class=HTMLResponse, include_in_schema=False)
def page(request: Request, at: At) -> Response:
    signed_in = at.sessions.admits(request.scope)
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
        cookie_name(request.scope), at.sessions.open(), max_age=int(SESSION), httponly=True, samesite="strict",
        path="/", secure=request.url.scheme == "https",
    )  # fmt: skip
    return {"ok": True}


@router.post("/logout", summary="End the cookie's session", tags=["server"], responses=ASKED)
async def logout(request: Request, at: At, response: Response) -> dict[str, bool]:
    at.sessions.close(request.scope)
    response.delete_cookie(cookie_name(request.scope), path="/", httponly=True, samesite="strict")
    return {"ok": True}


@router.get("/api/summary", summary="What the gallery holds", tags=["gallery"], responses=ASKED)
def summary(at: At) -> answers.SummaryAnswer:
    return answers.SummaryAnswer.of(at.service, at.detector is not None, list(at.problems.values()))


@router.get("/api/names", summary="The people that have a name", tags=["gallery"], responses=ASKED)
def names(at: At) -> answers.Names:
    return answers.Names(names=at.service.gallery.names())


@router.get("/api/entries", summary="Entries by rising id, a page at a time", tags=["gallery"], responses=ASKED)
def entries(asked: Annotated[answers.Browse, Query()], at: At) -> answers.Page:
    some, more = at.service.browse(filter_of(asked, tuple(asked.identity)), asked.limit, asked.after)
    shown = [answers.EntryAnswer.of(entry) for entry in some]
    return answers.Page(entries=shown, next=shown[-1].id if more else None)


@router.get("/api/entries/{id}", summary="One entry", tags=["gallery"], responses=ASKED)
def entry(id: answers.Id, at: At) -> answers.EntryAnswer:
    return answers.EntryAnswer.of(at.service.entry(id))


@router.get("/api/entries/{id}/thumbnail", summary="Its crop, small", tags=["gallery"], responses=PICTURE)
def thumbnail(id: answers.Id, at: At) -> Response:
    (content,) = at.service.gallery.thumbnails([id])
    if not content:
        raise Refused(404, f"entry {id} was put in without a picture")
    return Response(content, media_type="image/jpeg")


@router.get("/api/entries/{id}/source", summary="Its source, the box drawn", tags=["gallery"], responses=PICTURE)
async def source(id: answers.Id, at: At) -> Response:
    entry = await anyio.to_thread.run_sync(at.service.source, id)
    try:
        content = await at.at_work(lambda: source_picture(entry))
    except InputError as error:
        raise Refused(404, str(error).replace(entry.source, Path(entry.source).name)) from None
    return Response(content, media_type="image/jpeg")


async def found(request: Request, at: Desk) -> Found:
    """The answer to a form of pictures and entries that show one person."""
    images, asked = await received(request, answers.Search, at.limits)
    wanted = filter_of(asked)

    def work() -> Found:
        features = at.service.features(crops(images, asked.box, at.limits))
        return at.service.search(features, asked.entry, asked.k, wanted, asked.elsewhere, asked.share)

    return await at.at_work(work)


@router.post(
    "/api/search", summary="The nearest entries of one person's pictures or entries", tags=["search"], responses=SENT,
    openapi_extra=multipart(answers.Search),
)  # fmt: skip
async def search(request: Request, at: At) -> answers.SearchAnswer:
    return answers.SearchAnswer.of(await found(request, at))


@router.post(
    "/api/answer", summary="The same as a ZIP file: a table and the pictures", tags=["search"],
    responses={**SENT, 200: {"content": {"application/zip": {}}}}, openapi_extra=multipart(answers.Search),
)  # fmt: skip
async def answer(request: Request, at: At) -> Response:
    given = await found(request, at)
    content = await at.at_work(lambda: zipped(given, at.service.gallery))
    name = f'attachment; filename="answer-{given.number}.zip"'
    return Response(content, media_type="application/zip", headers={"Content-Disposition": name})


@router.post(
    "/api/people", summary="The people in a whole photograph", tags=["search"], responses=SENT,
    openapi_extra=multipart(answers.Photograph),
)  # fmt: skip
async def people(request: Request, at: At) -> answers.People:
    images, _ = await received(request, answers.Photograph, at.limits)
    if len(images) != 1:
        raise Refused(422, f"expected one image, got {len(images)}")

    def work() -> answers.People:
        picture = decode(images[0], at.limits)
        height, width = picture.shape[:2]
        if at.detector is None:
            return answers.People(width=width, height=height, people=None)
        sure = [box for box in at.detector.detect(picture) if box.confidence >= SURE]
        boxes = [answers.Person(box=box.pixels(width, height), confidence=box.confidence) for box in sure]
        return answers.People(width=width, height=height, people=boxes)

    return await at.at_work(work)


@router.post(
    "/api/compare", summary="Whether two show the same person", tags=["search"], responses=SENT,
    openapi_extra=multipart(answers.Compare),
)  # fmt: skip
async def compare(request: Request, at: At) -> answers.CompareAnswer:
    images, asked = await received(request, answers.Compare, at.limits)
    if len(images) + len(asked.entry) != 2:
        raise Refused(422, f"expected two images or entries, got {len(images) + len(asked.entry)}")

    def work() -> answers.CompareAnswer:
        ours = at.service.gallery.features(asked.entry)
        pair = [*at.service.features(crops(images, asked.box, at.limits)), *ours]
        return answers.CompareAnswer.of(*at.service.compare(pair[0], pair[1], asked.entry))

    return await at.at_work(work)


@router.post("/api/forget", summary="Erase entries, or all of a person", tags=["change"], responses=SENT)
def forget(asked: answers.Forget, at: At) -> answers.Changed:
    if bool(asked.ids) == (asked.identity is not None):
        raise Refused(422, "expected either ids or identity")
    ids = sorted(set(asked.ids))
    if asked.identity is not None:
        ids = [entry.id for entry in at.service.gallery.find(Filter(identities=(asked.identity,)))]
        if not ids:
            raise Refused(404, f"there is no entry of {asked.identity!r}")
    at.service.forget(ids)
    return answers.Changed(ids=ids)


@router.post("/api/name", summary="Say who entries show", tags=["change"], responses=SENT)
def name(asked: answers.Rename, at: At) -> answers.Changed:
    ids = sorted(set(asked.ids))
    at.service.update(ids, {"identity": asked.identity})
    return answers.Changed(ids=ids)


@router.post("/api/decide", summary="Say whether two entries are one person", tags=["change"], responses=SENT)
def decide(asked: answers.Decide, at: At) -> answers.Changed:
    if asked.first == asked.second:
        raise Refused(422, "expected two entries, got one twice")
    at.service.decide(asked.first, asked.second, asked.same)
    return answers.Changed(ids=[asked.first, asked.second])


def install(app: FastAPI, desk: Desk) -> None:
    """Routes and error answers, which are always {"error": "..."} and never hold a trace."""
    app.state.desk = desk
    app.include_router(router)

    @app.exception_handler(Refused)
    async def refused(_: Request, error: Refused) -> Response:
        return JSONResponse({"error": error.message}, error.status)

    @app.exception_handler(InputError)
    async def unable(_: Request, error: InputError) -> Response:
        status = 404 if isinstance(error, NotThere) else 422 if isinstance(error, Unfit) else 503
        return JSONResponse({"error": desk.told(error)}, status)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> Response:
        return JSONResponse({"error": sentence(error.errors())}, 422)

    @app.exception_handler(HTTPException)
    async def http(_: Request, error: HTTPException) -> Response:
        return JSONResponse({"error": str(error.detail)}, error.status_code, error.headers)

    @app.exception_handler(Exception)
    async def broken(_: Request, error: Exception) -> Response:
        return JSONResponse({"error": "something is wrong in the server; its log says what"}, 500, HEADERS)
