"""`reid export` from its line to its file."""

import sys

import pytest

pytest.importorskip("onnx", reason="onnx is not installed (pip install -e '.[dev]')")
pytest.importorskip("openvino", reason="openvino is not installed (pip install -e '.[dev]')")

import numpy as np

from reid.cli import main
from reid.commands.exporting import parity_table
from reid.networks import load
from reid.networks.export import Form
from reid.networks.parity import TOLERANCE, Figures, Parity


def line(folder, *more, format="openvino", output="out/person.xml"):
    words = ["export", "--model", folder, "--format", format, "--output", output, "--targets", "market1501", *more]
    return main([str(word) for word in words])


def test_a_run_becomes_a_file(trained, capsys):
    _config, folder = trained
    assert line(folder) == 0
    printed = capsys.readouterr().out
    for words in (
        "| market1501 |",
        "openvino, float32 |",
        "the run, in torch |",
        "exported ",
        "1 thread ",
        "written: out/person.xml",
    ):
        assert words in printed
    network = load("out/person.xml", ["device=cpu"])
    assert network.origin.name == "person" and network.origin.width == load(folder).origin.width
    assert line(folder, "--half", "--input", "float", "--square", 40, format="onnx", output="out/p.onnx") == 0
    printed = capsys.readouterr().out
    assert "run, squashed to 40 |" in printed and "onnx, half, squashed to 40 |" in printed
    assert {path.name for path in folder.parents[1].joinpath("out").iterdir()} == {"person.xml", "person.bin", "p.onnx"}


def test_a_difference_of_nothing_has_no_sign():
    run = Figures(0.5, 0.5)
    table = parity_table(
        [Parity("a", run, Figures(0.5 + d, 0.5), None, 0.0) for d in (-1e-9, 1e-9, -1e-4)], Form("onnx")
    )
    assert [line.split(" | ")[-2].strip() for line in table.splitlines()[3::2]] == ["0.000", "0.000", "-0.010"]


def test_int8_is_calibrated_on_the_source(trained, monkeypatch):
    pytest.importorskip("nncf", reason="nncf is not installed (pip install -e '.[dev]')")
    monkeypatch.setitem(TOLERANCE, "int8", 1.0)  # a network of three steps tells nobody apart
    assert line(trained[1], "--int8") == 0


def test_a_file_that_does_something_else_is_not_kept(trained, monkeypatch, capsys):
    monkeypatch.setitem(TOLERANCE, "float32", -1.0)
    assert line(trained[1]) == 2
    printed = capsys.readouterr()
    assert "openvino, float32" in printed.out and "error: the exported network is not kept" in printed.err
    assert not list(trained[1].parents[1].joinpath("out").iterdir())


@pytest.mark.parametrize(("more", "options", "message"), [
    (["--int8", "--calibration", "no_such"], {}, "--int8 needs images to calibrate on: --calibration NAME"),
    (["--calibration", "market1501"], {}, "--calibration: only --int8 is calibrated"),
    ([], {"output": "out/person.onnx"}, "out/person.onnx does not end in .xml, as openvino does"),
    ([], {"format": "onnx"}, "out/person.xml does not end in .onnx"),
    (["model.width=0.5"], {}, "would change what was trained"),
])  # fmt: skip
def test_bad_input_is_one_message(trained, capsys, more, options, message):
    folder = trained[1]
    assert line(folder, *more, **options) == 2
    printed = capsys.readouterr().err
    assert message in printed and "Traceback" not in printed
    assert not any(folder.parents[1].rglob("person*"))


@pytest.mark.parametrize(("there", "message"), [
    ("person.xml/", "out/person.xml or the .bin beside it is a folder"),
    ("person.bin/", "out/person.xml or the .bin beside it is a folder"),
    ("person.yaml", "out/person.yaml would be taken for the description of out/person.xml"),
])  # fmt: skip
def test_what_is_in_the_way_is_said_first(trained, capsys, there, message):
    path = trained[1].parents[1] / "out" / there
    path.mkdir(parents=True) if there.endswith("/") else (path.parent.mkdir(), path.touch())
    assert line(trained[1]) == 2
    assert message in capsys.readouterr().err
    assert [left.name for left in path.parent.iterdir()] == [path.name]


def test_without_openvino_nothing_can_be_compared(trained, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "openvino", None)
    assert line(trained[1], format="onnx", output="out/person.onnx") == 2
    assert "exporting needs openvino: pip install 'reid-gap[export]'" in capsys.readouterr().err


def test_only_runs_are_exported(trained, capsys):
    assert line(trained[1]) == 0
    assert line("out/person.xml", output="out/again.xml") == 2
    assert "out/person.xml is no run of this project; only those are exported" in capsys.readouterr().err


@pytest.mark.parametrize("more", [["--square", "5"], ["--half", "--int8"], ["--input", "bgr"]])
def test_options_that_do_not_go(trained, capsys, more):
    with pytest.raises(SystemExit) as stop:
        line(trained[1], *more)
    assert stop.value.code == 2


def packing(folder, *more, output="out/person.safetensors"):
    words = ["export", "--model", folder, "--format", "safetensors", "--output", output, *more]
    return main([str(word) for word in words])


def test_a_run_becomes_one_file_for_every_model(trained, market, capsys):
    folder, rooted = trained[1], f"data.root={market}"
    assert packing(folder, "--half") == 0
    assert "written: out/person.safetensors, 0.4 MB" in capsys.readouterr().out
    crops = list(np.random.default_rng(0).integers(0, 256, (4, 40, 20, 3), np.uint8))
    own, packed = (load(name, ["device=cpu"]).embed(crops) for name in (folder, "out/person.safetensors"))
    assert (np.linalg.norm(packed - own, axis=1) < 1e-2 * np.linalg.norm(own, axis=1)).all()
    assert packing("out/person.safetensors", "--targets", "market1501", rooted, output="out/full.safetensors") == 0
    assert "safetensors, float32 |" in capsys.readouterr().out
    assert line("out/full.safetensors", rooted) == 0  # a run as one file leaves as OpenVINO too
    unit = packed / np.linalg.norm(packed, axis=1, keepdims=True)
    np.testing.assert_allclose(load("out/person.xml", ["device=cpu"]).embed(crops), unit, atol=1e-2)


def test_a_packed_file_with_other_features_is_not_kept(trained, monkeypatch, capsys):
    monkeypatch.setattr("reid.networks.parity.RELATIVE", -1.0)
    assert packing(trained[1]) == 2
    assert "not kept: its features differ from the run's" in capsys.readouterr().err
    assert not list(trained[1].parents[1].joinpath("out").iterdir())


@pytest.mark.parametrize(("more", "output", "message"), [
    ([], "out/person.onnx", "out/person.onnx does not end in .safetensors, as safetensors does"),
    (["--int8", "--square", "64"], "out/p.safetensors", "--int8, --square: for onnx and openvino"),
    (["--input", "uint8"], "out/p.safetensors", "--input: for onnx and openvino"),
    (["--calibration", "market1501"], "out/p.safetensors", "--calibration: for onnx and openvino"),
])  # fmt: skip
def test_options_that_do_not_go_with_one_file(trained, capsys, more, output, message):
    assert packing(trained[1], *more, output=output) == 2
    assert message in capsys.readouterr().err and not list(trained[1].parents[1].rglob("out"))


def test_onnx_and_openvino_need_a_target(trained, capsys):
    words = ["export", "--model", str(trained[1]), "--format", "onnx", "--output", "person.onnx"]
    assert main(words) == 2
    assert "--targets NAME: onnx needs a data set on which run and file are compared" in capsys.readouterr().err
