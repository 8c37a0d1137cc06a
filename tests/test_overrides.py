from pathlib import Path
from types import NoneType
from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, model_validator

from reid.config import Config, dump_resolved, load_config, load_resolved
from reid.data.card import load_card
from reid.errors import InputError
from reid.evaluation.grid import load_benchmark
from reid.overrides import types_of, validate


def value_of(config: Config, key: str) -> object:
    found: object = config
    for part in key.split("."):
        found = found[part] if isinstance(found, dict) else getattr(found, part)
    return found


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("data.source=./crops #1", "./crops #1"),
        ("data.source=/data/a: b", "/data/a: b"),
        ("data.source={x}", "{x}"),
        ("data.source='quoted'", "'quoted'"),
        ("data.source= spaced ", " spaced "),
        ("data.source=*.csv", "*.csv"),
        ("data.source=a=b", "a=b"),
        ("data.source=010", "010"),
        ("data.source=null", "null"),  # a source is never none
        ("data.source=[a, ./b #1, 'c, d', \"e\\te\", 010, no]", ("a", "./b #1", "c, d", "e\te", "010", "no")),
        ("data.root=~", "~"),
        ("data.root=null", None),
        ("data.root=", None),
        ("run=010", "010"),
        ("run=1e3", "1e3"),
        ("run=2026-99-99", "2026-99-99"),
        ("run=no", "no"),
        ("run=1:30", "1:30"),
        ("run=null", None),
        ("run=Null", "Null"),
        ("output=#runs", "#runs"),
        ("model.weights=true", "true"),
        ("model.weights=- x", "- x"),
        ("targets=[]", ()),
        ("targets=[a]", ("a",)),
        ("targets=[a, b,]", ("a", "b")),
        ("targets=[a: 1]", ("a: 1",)),
        ("seed=10", 10),
        ("threads=null", None),
        ("optim.steps=null", None),
        ("optim.lr=1e-3", 1e-3),
        ("optim.lr=5.", 5.0),
        ("optim.milestones=[4, 5.5]", (4.0, 5.5)),
        ("losses.triplet.margin=null", None),
        ("losses.triplet.margin=0.5", 0.5),
        ("evaluation.flip=true", True),
        ("evaluation.distance=euclidean", "euclidean"),
        ("losses.centre.weight=5e-4", 5e-4),
        ("losses.triplet.weight='1'", 1.0),
        ("losses.triplet.cross_camera=true", True),
        ("model.last_stride=2", 2),
    ],
)
def test_a_text_is_what_was_given_and_all_else_yaml(override, expected, tmp_path):
    config, key = load_config("market_bn.yaml", [override]), override.partition("=")[0]
    assert value_of(config, key) == expected and type(value_of(config, key)) is type(expected)
    (tmp_path / "config.yaml").write_text(dump_resolved(config))
    assert load_resolved(tmp_path / "config.yaml").model_dump() == config.model_dump()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("seed=010", "010 could be read in several ways; write plain decimal digits"),
        ("seed=0x10", "0x10 could be read in several ways"),
        ("seed=0b11", "0b11 could be read in several ways"),
        ("seed=1_000", "1_000 could be read in several ways"),
        ("seed=1:30", "1:30 could be read in several ways"),
        ("seed=08", "seed: expected a number in plain decimal digits, got '08'"),
        ("seed='010'", "seed: expected a number in plain decimal digits, got '010'"),
        ("seed='1_0'", "seed: expected a number in plain decimal digits, got '1_0'"),
        ("seed=\u0663", "seed: expected a number in plain decimal digits"),
        ("seed=1 #2", "seed: '1 #2': is no value; '#' begins a comment"),
        ("seed=true", "seed: expected a number or a text, got True"),
        ("optim.lr=1_0.5", "1_0.5 could be read in several ways"),
        ("optim.lr=1:30.5", "1:30.5 could be read in several ways"),
        ("optim.milestones=[40, 070]", "070 could be read in several ways"),
        ("optim.milestones=[40, '070']", "optim.milestones.1: expected a number in plain decimal digits, got '070'"),
        ("losses.triplet.margin=none", "losses.triplet.margin: expected a number, or true or false, got 'none'"),
        ("losses.triplet.cross_camera='off'", "expected a number, or true or false, got 'off'"),
        ("losses.triplet.margin=01", "01 could be read in several ways"),
        ("losses={triplet: {margin: 01}}", "01 could be read in several ways"),
        ("model.last_stride=01", "01 could be read in several ways"),
        ("evaluation.flip=yes", "yes could be read in several ways; write true or false"),
        ("evaluation.flip='off'", "evaluation.flip: expected true or false, got 'off'"),
        ("transforms.standardise=Off", "Off could be read in several ways"),
        ("output=", "output: '': expected a text, got nothing"),
        ("data.source=", "data.source: '': expected a text, got nothing"),
        ("targets=[a,,b]", "text 2 of the list is empty"),
        ("targets=['']", "text 1 of the list is empty"),
        ("targets=a", "targets: 'a': expected a list of texts: [a]"),
        ("targets=", "targets: '': expected a list of texts: [a, b]"),
        ("data.source=[a]", "data.source"),
        ("precision=no", "input should be 'auto', 'float32', 'tf32', 'bf16' or 'fp16', got 'no'"),
    ],
)
def test_odd_values_are_refused(override, message):
    with pytest.raises(InputError) as caught:
        load_config("market_bn.yaml", [override])
    assert message in str(caught.value) and str(caught.value).startswith("command line: ")


@pytest.mark.parametrize("line", ["seed: 010", "seed: 0x8", "seed: 1_0", "seed: 1:30", "run: 010", "run: no"])
def test_a_file_says_what_it_means_too(tmp_path, line):
    path = tmp_path / "x.yaml"
    path.write_text(f"{line}\n")
    with pytest.raises(InputError, match=r"x.yaml: not valid YAML: \S+ could be read in several ways; .* in quotes"):
        load_config(str(path))
    key, value = line.split(": ")
    path.write_text(f"{key}: '{value}'\n")
    if key == "run":
        assert load_config(str(path)).run == value
    else:
        with pytest.raises(InputError, match=r"x.yaml: seed: (expected a number in plain|input should be)"):
            load_config(str(path))


def test_values_are_taken_as_they_are():
    config = load_config("market_bn.yaml", ["seed=1"], {"data.source": ["[a]", "b, #c"], "seed": 3})
    assert (config.data.sources, config.seed) == (("[a]", "b, #c"), 3)
    assert config.origin("data.source") == "command line"
    assert load_config("market_bn.yaml", [], {"data.source": "[a, b]"}).data.sources == ("[a, b]",)


def test_the_schema_knows_what_a_key_may_hold():
    assert types_of(Config, "run") == {str, NoneType} and types_of(Config, "seed") == {int}
    assert types_of(Config, "data.source") == {str, tuple} and types_of(Config, "data.source.0") == {str}
    assert types_of(Config, "losses.triplet.margin") == {bool, float, NoneType}
    assert types_of(Config, "model.neck_feature") == {str} and types_of(Config, "model.last_stride") == {int}
    assert types_of(Config, "evaluation.flip") == {bool}
    assert types_of(Config, "model.pool") == types_of(Config, "x.y") == types_of(Config, "seed.x") == set()


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
