"""The bodies of the HTTP API: what goes in and what comes out, for validation and for /openapi.json."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, WithJsonSchema

from reid.data.times import span
from reid.gallery.answers import Answer
from reid.gallery.calibration.judgement import Word
from reid.gallery.service import K

Id = Annotated[int, Field(ge=1, le=2**63 - 1)]
Name = Annotated[str, Field(min_length=1, max_length=500)]
TIME = {
    "type": "string",
    "description": "ISO 8601, UTC where no zone is named, or seconds since 1970 in 9 or 10 digits; a day is whole",
}
First = Annotated[float, BeforeValidator(lambda text: span(str(text), "time")[0]), WithJsonSchema(TIME)]
Last = Annotated[float, BeforeValidator(lambda text: span(str(text), "time")[1]), WithJsonSchema(TIME)]


def edges(text: str) -> list[int]:
    """ "left,top,right,bottom" as numbers."""
    if not re.fullmatch("[0-9]{1,6}(,[0-9]{1,6}){3}", text):
        raise ValueError(f"{text[:40]!r} is not of the form left,top,right,bottom in whole pixels")
    return [int(edge) for edge in text.split(",")]


def visible(name: str) -> str:
    """A name without what cannot be shown."""
    if not name.isprintable():
        raise ValueError("holds a character that cannot be shown")
    return name


Box = Annotated[
    tuple[int, int, int, int],
    BeforeValidator(edges),
    WithJsonSchema({"type": "string", "description": "left,top,right,bottom in pixels of the upright picture"}),
]


class Problem(BaseModel):
    error: str = Field(description="what is wrong and, where it can be mended, how")


class EntryAnswer(BaseModel, from_attributes=True):
    """An image of a person, or a fragment of a track in a video."""

    id: int
    identity: str | None = Field(description="the person's name; null where not known")
    camera: str
    time: float | None = Field(description="seconds since 1970, UTC; null where not known")
    until: float | None = Field(description="when the fragment ended; null for an image")
    frame: int | None = Field(description="number of the shown frame of a video, from 0")
    box: tuple[int, int, int, int] | None = Field(description="left, top, right, bottom in pixels; null: all of it")
    source: Annotated[str, AfterValidator(lambda path: Path(path).name), Field(description="the file, without folder")]
    added: float


class Hit(EntryAnswer):
    rank: int
    distance: float = Field(description="1 - cosine, 0..2")
    word: Word | None = Field(description="whether it is the person, in a word; null without a calibration")
    probability: float | None = Field(description="that it is; null where it is not known how many people there are")
    shade: float | None = Field(description="1 for the nearest, 0 for the farthest; null without a calibration")
    sentence: str = Field(description="how many strangers come this near")
    decided: bool | None = Field(description="what a person said of it and the one entry that was looked for")


class Page(BaseModel):
    entries: list[EntryAnswer]
    next: int | None = Field(description="the value of `after` that gives the next page; null at the end")


class Sighting(BaseModel):
    """Images that one camera took without a pause."""

    camera: str
    time: float | None = Field(description="of the first image; null where not known")
    until: float | None
    hits: list[int] = Field(description="their places in the answer's list of hits, nearest first")


class SearchAnswer(BaseModel):
    hits: list[Hit] = Field(description="nearest first")
    sightings: list[Sighting] = Field(description="the same by camera and time")
    found: Word | None = Field(description="the best word among the hits; null without a calibration, or any entry")
    exhaustive: bool = Field(description="every entry that passes the filter was compared")
    sentences: list[str] = Field(description="what is said of all of it")
    number: int = Field(description="of its line in the audit log")

    @classmethod
    def of(cls, answer: Answer) -> SearchAnswer:
        unsaid = {"word": None, "probability": None, "shade": None, "sentence": ""}
        hits = [{**vars(hit.entry), **vars(hit), **(vars(hit.judged) if hit.judged else unsaid)} for hit in answer.hits]
        sightings = [{**vars(each), "hits": [hit.rank - 1 for hit in each.hits]} for each in answer.sightings()]
        return cls.model_validate({**vars(answer), "hits": hits, "sightings": sightings})


class CompareAnswer(BaseModel):
    distance: float
    word: Word | None
    probability: float | None = Field(description="if as likely as not before looking; null without a calibration")
    sentences: list[str]


class Person(BaseModel):
    box: tuple[int, int, int, int] = Field(description="left, top, right, bottom in pixels of the upright picture")
    confidence: float


class People(BaseModel):
    width: int
    height: int
    people: list[Person] | None = Field(description="null where the server has no detector: draw a box")


class Index(BaseModel, from_attributes=True):
    kind: str = Field(description="flat: exact")
    recall: float = Field(description="share of the exact 10 nearest that are found, measured as it was built")
    size: int = Field(description="entries that it covers")
    behind: int = Field(description="entries that it does not cover, which are searched exactly")


class CalibrationAnswer(BaseModel):
    source: str
    sentence: str = Field(description="what is called near in this gallery, if anything")


class SummaryAnswer(BaseModel):
    name: str
    entries: int
    identities: int
    unknown: int = Field(description="entries without a name")
    cameras: dict[str, int] = Field(description="entries a camera")
    zones: dict[str, str] = Field(description="time zones of cameras that have one")
    first: float | None
    last: float | None
    model: str
    width: int = Field(description="numbers a feature")
    fingerprint: str
    index: Index = Field(description="how a search is done")
    calibration: CalibrationAnswer | None
    detects: bool = Field(description="whether people are found in whole photographs")
    decided: dict[Word, tuple[int, int]] = Field(description="by word: pairs decided on, how many are one person")
    problems: list[str] = Field(description="what the server could not do of what it does by itself")


class Forget(BaseModel, extra="forbid"):
    """Give `ids` or `identity`, not both."""

    ids: list[Id] = Field(default=[], max_length=10_000)
    identity: Name | None = None


class Rename(BaseModel, extra="forbid"):
    ids: list[Id] = Field(min_length=1, max_length=10_000)
    identity: Annotated[Name, AfterValidator(visible)] | None = Field(description="the name; null for not known")


class Decide(BaseModel, extra="forbid"):
    first: Id
    second: Id
    same: bool | None = Field(description="whether they are one person; null takes it back")


class Changed(BaseModel):
    ids: list[int] = Field(description="entries that are erased, or named")


class SignIn(BaseModel, extra="forbid"):
    token: Annotated[str, Field(max_length=1000)]


class Filters(BaseModel, extra="forbid"):
    """What narrows an answer."""

    camera: list[Name] = Field(default=[], description="any of these; repeat the field")
    without: list[Name] = Field(default=[], description="cameras, none of these; repeat the field")
    start: First | None = None
    end: Last | None = None


class Browse(Filters):
    identity: list[Name] = Field(default=[], description="any of these; repeat the field")
    after: Annotated[int, Field(ge=0, le=2**63 - 1, description="entries with a larger id only")] = 0
    limit: Annotated[int, Field(ge=1, le=200)] = 60


class Search(Filters):
    """Fields beside the pictures, which with the entries show one person."""

    entry: list[Id] = Field(default=[], max_length=8, description="entries; they are left out of the answer")
    box: list[Box] = Field(default=[], max_length=8, description="of each picture, where the person is; or none")
    elsewhere: bool = Field(default=False, description="leave out the cameras of the entries")
    k: Annotated[int, Field(ge=1, le=500)] = K
    share: Annotated[float, Field(gt=0, lt=1)] | None = Field(None, description="of strangers that may find one near")


class Compare(BaseModel, extra="forbid"):
    """Fields beside the pictures."""

    entry: list[Id] = Field(default=[], max_length=2)
    box: list[Box] = Field(default=[], max_length=2, description="of each picture, where the person is; or none")


class Photograph(BaseModel, extra="forbid"):
    """No fields beside the picture."""
