"""The bodies of the HTTP API: what goes in and what comes out, for validation and for /openapi.json."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, FiniteFloat, WithJsonSchema

from reid.data.times import span
from reid.gallery.entries import Entry
from reid.gallery.query import Hit as RankedEntry

Id = Annotated[int, Field(ge=1, le=2**63 - 1)]
Name = Annotated[str, Field(min_length=1, max_length=500)]
TIME = {
    "type": "string",
    "description": "ISO 8601, UTC where no zone is named, or seconds since 1970 in 9 or 10 digits; a day is whole",
}
First = Annotated[float, BeforeValidator(lambda text: span(str(text), "time")[0]), WithJsonSchema(TIME)]
Last = Annotated[float, BeforeValidator(lambda text: span(str(text), "time")[1]), WithJsonSchema(TIME)]
K = 24


class Problem(BaseModel):
    error: str = Field(description="what is wrong and, where it can be mended, how")


class EntryAnswer(BaseModel):
    """An image of a person, or a fragment of a track in a video."""

    id: int
    identity: str | None = Field(description="the person's name; null where not known")
    camera: str
    time: float | None = Field(description="seconds since 1970, UTC; null where not known")
    until: float | None = Field(description="when the fragment ended; null for an image")
    frame: int | None = Field(description="number of the shown frame of a video, from 0")
    box: tuple[int, int, int, int] | None = Field(description="left, top, right, bottom in pixels; null: all of it")
    source: str = Field(description="name of the file; the folder is not told")
    added: float

    @classmethod
    def of(cls, entry: Entry) -> EntryAnswer:
        return cls(**shown(entry))


class Hit(EntryAnswer):
    distance: float = Field(description="1 - cosine, 0..2")
    probability: float | None = Field(description="of the same person at even odds; null without a calibration")
    match: bool | None = Field(description="within the threshold; null without a calibration")

    @classmethod
    def of_ranked(cls, hit: RankedEntry) -> Hit:
        return cls(**shown(hit.entry), distance=hit.distance, probability=hit.probability, match=hit.same)


def shown(entry: Entry) -> dict[str, Any]:
    """An entry's fields for an answer; of its source the file's name only."""
    return {**entry.as_dict(), "source": Path(entry.source).name}


class Page(BaseModel):
    entries: list[EntryAnswer]
    next: int | None = Field(description="the value of `after` that gives the next page; null at the end")


class Operating(BaseModel):
    """The threshold that an answer went by; each field null without a calibration."""

    rate: float | None = Field(description="wanted share of comparisons with strangers that pass")
    threshold: float | None = Field(description="largest distance of a match")


class SearchAnswer(Operating):
    hits: list[Hit] = Field(description="nearest first")
    nobody: bool = Field(description="there is a calibration, and no hit lies within the threshold")


class CompareAnswer(Operating):
    distance: float
    probability: float | None
    same: bool | None
    false_match_rate: float | None = Field(description="as measured on the calibration's source")
    true_match_rate: float | None = Field(description="as measured on the calibration's source")
    source: str | None = Field(description="what the calibration was measured on")


class Lane(BaseModel):
    camera: str
    hits: list[Hit] = Field(description="by time")


class TimelineAnswer(Operating):
    within: bool = Field(description="true: the hits within the threshold; false: the k nearest, no calibration")
    cut: bool = Field(description="more hits lie within the threshold than are shown")
    lanes: list[Lane] = Field(description="a lane a camera, by name")
    untimed: list[Hit] = Field(description="hits of unknown time, nearest first")


class Rate(BaseModel):
    rate: float
    threshold: float


class CalibrationAnswer(BaseModel):
    source: str
    rates: list[Rate]
    rate: float = Field(description="the one used where none is asked for")


class Index(BaseModel):
    model_config = ConfigDict(from_attributes=True)
    kind: str = Field(description="flat: exact")
    recall: float = Field(description="share of the exact 10 nearest that are found, measured as it was built")
    size: int = Field(description="entries that it covers")
    behind: int = Field(description="entries added since, which are searched exactly")


class SummaryAnswer(BaseModel):
    name: str
    entries: int
    identities: int
    unknown: int = Field(description="entries without a name")
    cameras: dict[str, int] = Field(description="entries a camera")
    first: float | None
    last: float | None
    model: str
    width: int = Field(description="numbers a feature")
    fingerprint: str
    index: Index | None = Field(description="how a search is done; null where the store does not tell")
    calibration: CalibrationAnswer | None


class Forget(BaseModel):
    """Give `ids` or `identity`, not both."""

    model_config = ConfigDict(extra="forbid")
    ids: list[Id] = Field(default=[], max_length=10_000)
    identity: Name | None = None


class Forgotten(BaseModel):
    ids: list[int] = Field(description="entries that are erased")


class SignIn(BaseModel):
    model_config = ConfigDict(extra="forbid")
    token: Annotated[str, Field(max_length=1000)]


class Filters(BaseModel):
    """What narrows an answer."""

    model_config = ConfigDict(extra="forbid")
    camera: list[Name] = Field(default=[], description="any of these; repeat the field")
    start: First | None = None
    end: Last | None = None


class Browse(Filters):
    identity: list[Name] = Field(default=[], description="any of these; repeat the field")
    after: Annotated[int, Field(ge=0, le=2**63 - 1, description="entries with a larger id only")] = 0
    limit: Annotated[int, Field(ge=1, le=200)] = 60


class Search(Filters):
    """Fields beside the picture."""

    entry: Id | None = Field(default=None, description="an entry in place of a picture; it is left out of its answer")
    k: Annotated[int, Field(ge=1, le=200)] = K
    rate: FiniteFloat | None = Field(default=None, description="one of the calibration's rates")


class Compare(BaseModel):
    """Fields beside the pictures."""

    model_config = ConfigDict(extra="forbid")
    entry: Annotated[list[Id], Field(max_length=2)] = []
    rate: FiniteFloat | None = Field(default=None, description="one of the calibration's rates")
