"""The routes of the gallery's page and HTTP API."""

from __future__ import annotations

import logging
import math
import mimetypes
import re
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

import anyio
from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse
from jinja2 import Environment
from starlette.exceptions import HTTPException

from reid.errors import InputError
from reid.gallery.answers import Answer, zipped
from reid.gallery.calibration.judgement import SHARE, Judge
from reid.gallery.entries import Filter, NotThere, ServerProblem, Unfit
from reid.gallery.service import Service
from reid.gallery.web import answers
from reid.gallery.web.guard import HEADERS, SESSION, Sessions, cookie_name
from reid.gallery.web.pictures import FORMATS, Limits, crops, decode, multipart, received, sentence, source_picture
from reid.video.detect import Detector

log = logging.getLogger(__name__)
FOLDER = files("reid.gallery.web")
STATIC = {file.name: file.read_bytes() for file in FOLDER.joinpath("static").iterdir() if file.is_file()}
PAGE = Environment(autoescape=True).from_string(FOLDER.joinpath("page.html.j2").read_text(encoding="utf-8"))
SURE = 0.5  # confidence from which a person in a photograph is offered

Responses = dict[int | str, dict[str, Any]]
PROBLEMS: Responses = {each: {"model": answers.Problem} for each in (400, 401, 403, 404, 408, 413, 415, 422, 503)}
PICTURE: Responses = {200: {"content": {"image/jpeg": {}}}}
ZIP: Responses = {200: {"content": {"application/zip": {}}}}
SEARCH = multipart(answers.Search)


class Desk:
    """What the routes share: the service, who finds people in photographs, the sessions, how much goes on at once, and
    the ``problems``: what the server could not do of what it does by itself, a sentence each by its name."""

    def __init__(self, service: Service, detector: Detector | None, sessions: Sessions, limits: Limits) -> None:
        self.service, self.detector, self.sessions, self.limits = service, detector, sessions, limits
        # In a thread, a few at once: decoding, embedding and searching cost memory and cores.
        self.at_work = partial(anyio.to_thread.run_sync, limiter=anyio.CapacityLimiter(limits.decoding))
        self.problems: dict[str, str] = {}

    def told(self, error: Exception) -> str:
        """The error, without the folders and servers that lead to the gallery; nothing of one that is a fault, or of
        another server's words."""
        if isinstance(error, ServerProblem) or not isinstance(error, InputError):
            return "something is wrong, the server's log says what"
        gallery = self.service.gallery
        places = (str(gallery.folder), gallery.layout.catalogue, gallery.layout.vectors)
        return re.sub(rf"(?<!\S)({'|'.join(map(re.escape, places))})(?=[/:])", "gallery", str(error))


def desk(request: Request) -> Desk:
    return request.app.state.desk


At = Annotated[Desk, Depends(desk)]
router = APIRouter(responses=PROBLEMS)


def filter_of(fields: answers.Filters, identities: tuple[str, ...] = ()) -> Filter:
    if fields.start is not None and fields.end is not None and fields.start > fields.end:
        raise HTTPException(422, f"start {math.floor(fields.start)} lies after end {math.floor(fields.end)}")
    return Filter(tuple(fields.camera), identities, fields.start, fields.end, tuple(fields.without))


@router.get("/", response_class=HTMLResponse, include_in_schema=False)
def page(request: Request, at: At) -> Response:
    signed_in, token = at.sessions.admits(request), at.sessions.token is not None
    return HTMLResponse(PAGE.render(limits=at.limits, formats=FORMATS, usual=SHARE, signed_in=signed_in, token=token))


@router.get("/static/{name}", include_in_schema=False)
def static(name: str) -> Response:
    if name not in STATIC:
        raise HTTPException(404, "there is no such file")
    return Response(STATIC[name], headers={"Cache-Control": "no-cache"}, media_type=mimetypes.guess_type(name)[0])


@router.get("/healthz", summary="Whether the server answers")
def healthz() -> dict[str, bool]:
    return {"ok": True}


@router.post("/login", summary="Sign in: the answer's cookie stands for the token")
async def login(request: Request, sent: answers.SignIn, at: At, response: Response) -> dict[str, bool]:
    if not at.sessions.is_token(sent.token):
        raise HTTPException(401, "this is not the token")
    name, value, secure = cookie_name(request), at.sessions.open(), request.url.scheme == "https"
    response.set_cookie(name, value, int(SESSION), httponly=True, samesite="strict", secure=secure)
    return {"ok": True}


@router.post("/logout", summary="End the cookie's session")
async def logout(request: Request, at: At, response: Response) -> dict[str, bool]:
    at.sessions.close(request)
    response.delete_cookie(cookie_name(request), httponly=True, samesite="strict")
    return {"ok": True}


@router.get("/api/summary", summary="What the gallery holds")
def summary(at: At) -> answers.SummaryAnswer:
    gallery, calibration, told = at.service.gallery, at.service.calibration, None
    held = gallery.catalogue.summary()
    if calibration is not None:
        near = Judge(calibration, held.entries).sentences[0]
        told = answers.CalibrationAnswer(source=calibration.source, sentence=near)
    return answers.SummaryAnswer(
        **vars(held),
        name=Path(gallery.location).resolve().name,
        zones=at.service.zones(),
        model=gallery.origin.name,
        width=gallery.origin.width,
        fingerprint=gallery.origin.fingerprint,
        index=answers.Index.model_validate(gallery.index_state()),
        calibration=told,
        detects=at.detector is not None,
        decided=at.service.decided(),
        problems=list(at.problems.values()),
    )


@router.get("/api/names", summary="The people that have a name")
def names(at: At) -> dict[str, list[str]]:
    return {"names": at.service.gallery.catalogue.names("identity")}


@router.get("/api/entries", summary="Entries by rising id, a page at a time")
def entries(asked: Annotated[answers.Browse, Query()], at: At) -> answers.Page:
    some, more = at.service.browse(filter_of(asked, tuple(asked.identity)), asked.limit, asked.after)
    return answers.Page.model_validate({"entries": some, "next": some[-1].id if more else None})


@router.get("/api/entries/{id}", summary="One entry")
def entry(id: answers.Id, at: At) -> answers.EntryAnswer:
    (one,) = at.service.gallery.get([id])
    return answers.EntryAnswer.model_validate(one)


@router.get("/api/entries/{id}/thumbnail", summary="Its crop, small", responses=PICTURE)
def thumbnail(id: answers.Id, at: At) -> Response:
    (content,) = at.service.gallery.thumbnails([id])
    if not content:
        raise HTTPException(404, f"entry {id} was put in without a picture")
    return Response(content, media_type="image/jpeg")


@router.get("/api/entries/{id}/source", summary="Its source, the box drawn", responses=PICTURE)
async def source(id: answers.Id, at: At) -> Response:
    return Response(await at.at_work(lambda: source_picture(at.service.source(id))), media_type="image/jpeg")


async def found(request: Request, at: Desk) -> Answer:
    """The answer to a form of pictures and entries that show one person."""
    images, asked = await received(request, answers.Search, at.limits)
    wanted = filter_of(asked)

    def work() -> Answer:
        features = at.service.features(crops(images, asked.box, at.limits))
        return at.service.search(features, asked.entry, asked.k, wanted, asked.elsewhere, asked.share)

    return await at.at_work(work)


@router.post("/api/search", summary="Entries most like one person's images", openapi_extra=SEARCH)
async def search(request: Request, at: At) -> answers.SearchAnswer:
    return answers.SearchAnswer.of(await found(request, at))


@router.post("/api/answer", summary="The same as a ZIP file: a table and pictures", responses=ZIP, openapi_extra=SEARCH)
async def answer(request: Request, at: At) -> Response:
    given = await found(request, at)
    content = await at.at_work(lambda: zipped(given, at.service.gallery))
    name = f'attachment; filename="answer-{given.number}.zip"'
    return Response(content, media_type="application/zip", headers={"Content-Disposition": name})


@router.post("/api/people", summary="The people in a whole photograph", openapi_extra=multipart(answers.Photograph))
async def people(request: Request, at: At) -> answers.People:
    images, _ = await received(request, answers.Photograph, at.limits)
    if len(images) != 1:
        raise HTTPException(422, f"expected one image, got {len(images)}")

    def work() -> answers.People:
        picture, boxes = decode(images[0], at.limits), None
        height, width = picture.shape[:2]
        if at.detector is not None:
            sure = [box for box in at.detector.detect(picture) if box.confidence >= SURE]
            boxes = [answers.Person(box=box.pixels(width, height), confidence=box.confidence) for box in sure]
        return answers.People(width=width, height=height, people=boxes)

    return await at.at_work(work)


@router.post("/api/compare", summary="Whether two show the same person", openapi_extra=multipart(answers.Compare))
async def compare(request: Request, at: At) -> answers.CompareAnswer:
    images, asked = await received(request, answers.Compare, at.limits)
    if len(images) + len(asked.entry) != 2:
        raise HTTPException(422, f"expected two images or entries, got {len(images) + len(asked.entry)}")

    def work() -> answers.CompareAnswer:
        ours = at.service.gallery.features(asked.entry)
        first, second = [*at.service.features(crops(images, asked.box, at.limits)), *ours]
        distance, said = at.service.compare(first, second, asked.entry)
        told = vars(said) if said else {"word": None, "probability": None, "sentences": ()}
        return answers.CompareAnswer.model_validate({"distance": distance, **told})

    return await at.at_work(work)


@router.post("/api/forget", summary="Erase entries, or all of a person")
def forget(asked: answers.Forget, at: At) -> answers.Changed:
    if bool(asked.ids) == (asked.identity is not None):
        raise HTTPException(422, "expected either ids or identity")
    ids = sorted(set(asked.ids))
    if asked.identity is not None:
        ids = [entry.id for entry in at.service.gallery.find(Filter(identities=(asked.identity,)))]
        if not ids:
            raise HTTPException(404, f"there is no entry of {asked.identity!r}")
    at.service.forget(ids)
    return answers.Changed(ids=ids)


@router.post("/api/name", summary="Say who entries show")
def name(asked: answers.Rename, at: At) -> answers.Changed:
    ids = sorted(set(asked.ids))
    at.service.update(ids, {"identity": asked.identity})
    return answers.Changed(ids=ids)


@router.post("/api/decide", summary="Say whether two entries are one person")
def decide(asked: answers.Decide, at: At) -> answers.Changed:
    if asked.first == asked.second:
        raise HTTPException(422, "expected two entries, got one twice")
    at.service.decide(asked.first, asked.second, asked.same)
    return answers.Changed(ids=[asked.first, asked.second])


async def problem(request: Request, error: Exception) -> Response:
    """Error answers are always {"error": "..."} and never hold a trace."""
    if isinstance(error, HTTPException):
        return JSONResponse({"error": error.detail}, error.status_code, error.headers)
    if isinstance(error, RequestValidationError):
        return JSONResponse({"error": sentence(error.errors())}, 422)
    kinds = {NotThere: 404, Unfit: 422, InputError: 503, Exception: 500}
    status = next(status for kind, status in kinds.items() if isinstance(error, kind))
    if status == 503:
        log.warning("%s", error)
    return JSONResponse({"error": desk(request).told(error)}, status, HEADERS)
