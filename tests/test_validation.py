"""One explanation of bad values for configs, cards, descriptions of networks and grids."""

from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, model_validator

from reid.data.card import load_card
from reid.errors import InputError
from reid.evaluation.grid import load_benchmark
from reid.validation import validate


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid")

    folder: Annotated[str | None, Field(validation_alias="dir")] = None
    colour: Literal["rgb", "bgr"] = "rgb"
    count: Annotated[int, Field(ge=1)] = 1

    @model_validator(mode="after")
    def _check(self) -> "Part":
        if self.folder == "..":
            raise ValueError("'..' leaves the root")
        return self


class Whole(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str
    part: Part | None = None
    parts: dict[Literal["train", "query"], Part] = {}
    listed: tuple[Part, ...] = ()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "x.yaml: name: is missing"),
        (
            {"name": "a", "prt": 1},
            "x.yaml: unknown key 'prt'; the keys here are name, part, parts, listed. Did you mean 'part'?",
        ),
        (
            {"name": "a", "part": {"di": 1}},
            "x.yaml: unknown key 'part.di'; the keys here are dir, colour, count. Did you mean 'dir'?",
        ),
        ({"name": "a", "part": {"zzz": 1}}, "x.yaml: unknown key 'part.zzz'; the keys here are dir, colour, count"),
        (
            {"name": "a", "parts": {"train": {"colours": 1}}},
            "x.yaml: unknown key 'parts.train.colours'; the keys here are dir, colour, count. Did you mean 'colour'?",
        ),
        (
            {"name": "a", "listed": [{}, {"counts": 1}]},
            "x.yaml: unknown key 'listed.1.counts'; the keys here are dir, colour, count. Did you mean 'count'?",
        ),
        ({"name": "a", "parts": {"probe": {}}}, "x.yaml: parts.probe: input should be 'train' or 'query', got 'probe'"),
        (
            {"name": "a", "parts": {"quer": {}}},
            "x.yaml: parts.quer: input should be 'train' or 'query', got 'quer'. Did you mean 'query'?",
        ),
        ({"name": "a", "part": {"count": 0}}, "x.yaml: part.count: input should be greater than or equal to 1, got 0"),
        ({"name": "a", "part": {"dir": ".."}}, "x.yaml: part: '..' leaves the root"),
        ({"name": {"a": 1}}, "x.yaml: name: input should be a valid string, got a section"),
        ([], "x.yaml: input should be a valid dictionary or instance of Whole, got []"),
    ],
)  # fmt: skip
def test_messages_name_file_key_value_and_choices(values: object, message: str) -> None:
    with pytest.raises(InputError) as caught:
        validate(Whole, values, Path("x.yaml"))
    assert str(caught.value) == message


def test_each_finding_has_a_line_and_its_own_file() -> None:
    with pytest.raises(InputError) as caught:
        validate(Whole, {"part": {"count": 0}}, lambda key: {"name": "a.yaml", "part.count": "b.yaml"}[key])
    assert str(caught.value).splitlines() == [
        "a.yaml: name: is missing",
        "b.yaml: part.count: input should be greater than or equal to 1, got 0",
    ]


def test_good_values_come_as_the_schema() -> None:
    assert validate(Whole, {"name": "a", "part": {"dir": "b"}}, Path("x.yaml")).part == Part(dir="b")


@pytest.mark.parametrize(
    ("read", "text"), [(load_card, "name: own\nlayuot: folders\n"), (load_benchmark, "modles: {}\n")]
)
def test_every_reader_says_what_was_perhaps_meant(tmp_path: Path, read: object, text: str) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(text)
    with pytest.raises(
        InputError, match=rf"{path}: unknown key .*; the keys here are .*Did you mean '(layout|models)'\?"
    ):
        read(str(path))  # type: ignore[operator]
