"""The typed schema of a card: what a data set's YAML file may say."""

import re
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

SplitName = Literal["train", "val", "query", "gallery"]
SPLITS: tuple[SplitName, ...] = ("train", "val", "query", "gallery")
Status = Literal["available", "by request", "withdrawn"]
Half = Literal["first", "second"]
Protocol = Literal["cross-camera", "any-camera"]


def _as_tuple(value: object) -> object:
    return value if isinstance(value, list | tuple) else (value,)


def _inside(values: tuple[str, ...]) -> tuple[str, ...]:
    for value in values:
        if escapes(value):
            raise ValueError(f"{value!r} leaves the data set's root; give a path below it")
    return values


def escapes(name: str) -> bool:
    """Whether a relative name could point outside the folder that it is relative to."""
    parts = name.replace("\\", "/").split("/")
    return parts[0] == "" or ".." in parts or bool(re.match(r"[A-Za-z]:", name))


Names = Annotated[tuple[str, ...], BeforeValidator(_as_tuple)]
Numbers = Annotated[tuple[int, ...], BeforeValidator(_as_tuple)]
Count = Annotated[int, Field(ge=0)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Split(_Strict):
    """One split: where its files lie, which of them it takes, and how many files there should be."""

    dir: Names = (".",)  # one folder, or several
    lists: Names | None = Field(
        default=None, validation_alias="list"
    )  # list files at the root: "path-below-dir [pid [camera]]" a line
    camera: Numbers | None = None  # this split's camera (one number a folder), for file names that do not tell it
    cameras: Numbers | None = None  # keep only these cameras
    first_ids: Annotated[int, Field(ge=1)] | None = None  # keep the first so many identities, in sorted order
    skip_ids: Count | None = None  # leave the first so many out
    half: Half | None = None  # of a card's random splits: the first half of the people is trained on, the second tested
    pid_offset: int | None = None  # instead of the card's
    images: Count | None = None  # expected count of files, junk included
    ids: Count | None = None  # expected count of identities, junk and distractors not included

    @model_validator(mode="after")
    def _check(self) -> "Split":
        _inside(self.dir)
        _inside(self.lists or ())
        if self.camera is not None and len(self.camera) not in (1, len(self.dir)):
            raise ValueError(f"camera has {len(self.camera)} numbers for {len(self.dir)} folders")
        if self.lists and len(self.dir) > 1:
            raise ValueError("a list file goes with one dir, not several")
        if self.half is not None and (self.first_ids is not None or self.skip_ids is not None):
            raise ValueError("half and first_ids or skip_ids exclude each other: both pick identities")
        return self


class Version(_Strict):
    """One release of a data set: its root, and the folders that are named otherwise there."""

    root: str
    dirs: dict[SplitName, Names] = {}

    @model_validator(mode="after")
    def _check(self) -> "Version":
        for names in self.dirs.values():
            _inside(names)
        return self


class _Made(_Strict):
    """Settings of a site that is made here; the keys left out take the defaults of `reid.sites`."""

    site: str
    seed: int | None = None
    style: float | None = None
    degradation: float | None = None
    train_identities: int | None = None
    test_identities: int | None = None
    cameras: int | None = None
    train_shots: int | None = None
    test_shots: int | None = None
    splits: Names | None = None

    @field_validator("*", mode="before")
    @classmethod
    def _refuse_truth(cls, value: object) -> object:
        if isinstance(value, bool):  # true would pass for the number 1
            raise ValueError(f"expected a number or a text, got {str(value).lower()}")
        return value


class Drawn(_Made):
    """Settings of a drawn site (`reid.sites.DrawnSettings`)."""

    missing: float | None = None


class Rendered(_Made):
    """Settings of a rendered site (`reid.sites.RenderedSettings`)."""

    passes: int | None = None
    height: int | None = None


class Card(_Strict):
    """A data set as data: layout, expected counts, terms. README.md in `datasets/` explains every key."""

    name: Annotated[str, Field(pattern=r"^\w[\w .@()+-]*$", max_length=100)]  # also a folder's name below a run
    root: str = "."
    layout: Literal["names", "folders"] = "names"
    pattern: str | None = None  # without one, file names in folders of people tell the camera as c1 or cam1
    manifest: str | None = None
    splits: dict[SplitName, Split] = {}
    version: str | None = None
    versions: dict[str, Version] = {}
    trials: Annotated[int, Field(ge=1, le=1000)] | None = None  # so many random splits, results are means over them
    trial: Count | None = None  # the one picked, by name@trial
    drawn: Drawn | None = None
    rendered: Rendered | None = None
    junk_pids: tuple[int, ...] = (-1,)
    pid_offset: int = 0
    cross_camera_only: bool = True  # no match from the query's own camera; without it only its own image is left out
    licence: str | None = None
    citation: str | None = None
    status: Status | None = None
    withdrawn: str | None = None  # when and why, where the status is withdrawn: a few words

    @model_validator(mode="after")
    def _check(self) -> "Card":
        if self.manifest is not None:
            _inside((self.manifest,))
            if self.layout == "folders" or self.pattern is not None:
                raise ValueError("a manifest names path, pid and camera itself; leave layout and pattern out")
        elif not self.splits:
            raise ValueError("splits: none given; a card without a manifest needs at least one of " + ", ".join(SPLITS))
        if self.version is not None and self.versions and self.version not in self.versions:
            raise ValueError(f"version {self.version!r} is not one of {', '.join(sorted(self.versions))}")
        if self.made is not None:
            self._check_made()
        if self.withdrawn is not None and self.status != "withdrawn":
            raise ValueError(f"withdrawn says why, but status is {self.status!r}; give 'withdrawn'")
        self._check_trials()
        if self.manifest is None:
            self._check_pattern()
        return self

    @property
    def made(self) -> Drawn | Rendered | None:
        """Settings of the site that is made here on first use; None of any other data set."""
        return self.rendered if self.drawn is None else self.drawn

    @property
    def protocol(self) -> Protocol:
        """By which the data set is tested, unless another is asked for."""
        return "cross-camera" if self.cross_camera_only else "any-camera"

    def under(self, protocol: Protocol | None) -> "Card":
        """The card with another protocol; None leaves it its own."""
        if protocol is None or protocol == self.protocol:
            return self
        return self.model_copy(update={"cross_camera_only": protocol == "cross-camera"})

    @property
    def has_test(self) -> bool:
        """Whether there is a query and a gallery to test on; synthetic sets are often there to train on alone.

        A manifest whose card names no splits tells only when it is read: it is taken to have them.
        """
        return {"query", "gallery"} <= set(self.splits) or (self.manifest is not None and not self.splits)

    @property
    def unmatched(self) -> str:
        """What image files are that are left out, since nothing tells their identity or camera."""
        if self.pattern is not None:
            return "image files whose names do not match the pattern"
        if self.layout == "folders":
            return "image files whose names tell no camera (c1 or cam1 as a word of its own)"
        return "image files whose identity or camera no list tells"

    def split(self, name: str) -> Split:
        """A split's keys; none of them where a manifest has a split that the card does not mention."""
        return next((split for key, split in self.splits.items() if key == name), Split())

    def offset(self, name: str) -> int:
        """What is added to the identities of a split."""
        offset = self.split(name).pid_offset
        return self.pid_offset if offset is None else offset

    def _check_made(self) -> None:
        kind = "rendered" if self.drawn is None else "drawn"
        if self.drawn is not None and self.rendered is not None:
            raise ValueError("drawn and rendered exclude each other")
        if self.versions:
            raise ValueError(f"{kind} and versions exclude each other")
        _inside((self.root,))

    def _check_trials(self) -> None:
        halved = [name for name, split in self.splits.items() if split.half is not None]
        if self.trials is None:
            if halved:
                raise ValueError(f"trials: missing; split {halved[0]} takes a half of the people of each random split")
            if self.trial is not None:
                raise ValueError("trial: there are none to pick from without trials, the number of random splits")
            return
        if self.versions:
            raise ValueError("trials and versions exclude each other: both are picked by name@…")
        if not halved:
            raise ValueError("trials: no split says which half of the people it takes; give half: first or second")
        if self.trial is not None and self.trial >= self.trials:
            raise ValueError(f"trial {self.trial} is not one of 0 to {self.trials - 1}")

    def _check_pattern(self) -> None:
        splits = self.splits.values()
        needs = []
        if self.layout == "names" and not all(split.lists for split in splits):
            needs.append("pid")  # a list file may still lack its columns: the reader says so
        if (
            self.cross_camera_only
            and self.layout == "names"
            and not all(split.camera or split.lists for split in splits)
        ):
            needs.append("cam")  # below folders of people, c1 and cam1 are read without a pattern
        if self.pattern is None:
            if needs:
                raise ValueError(f"pattern: missing; file names must tell {' and '.join(needs)}")
            return
        try:
            groups = re.compile(self.pattern).groupindex
        except re.error as error:
            raise ValueError(f"pattern: {self.pattern!r} is not a regular expression: {error}") from None
        missing = [f"(?P<{name}>…)" for name in needs if name not in groups]
        if missing:
            raise ValueError(f"pattern: {self.pattern!r} lacks the named group {' and '.join(missing)}")
