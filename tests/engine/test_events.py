"""Event files are read back by TensorBoard's own reader, and compared with the lines of the logs."""

import json
import sys

import pytest
import yaml

from reid.cli import main
from reid.engine.checkpoint import CONFIG_FILE, LOG_FILE, VALIDATION_FILE
from reid.engine.events import EVENTS_FILE, export_runs
from reid.errors import InputError

pytest.importorskip("tensorboard", reason="tensorboard is not installed (pip install -e '.[dev]')")


def line(step, loss, **more):
    return {"step": step, "epoch": 1 + step // 3, "lr": 1e-3, "loss": loss, "hardest_negative": None} | {
        "images_per_second": 88.5,
        "device_use": 0.97,
        **more,
    }


def a_run(folder, lines, validation=(), config="seed: 3\n"):
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / CONFIG_FILE).exists():
        (folder / CONFIG_FILE).write_text(config)
    (folder / LOG_FILE).write_text("".join(json.dumps(line) + "\n" for line in lines))
    if validation:
        (folder / VALIDATION_FILE).write_text("".join(json.dumps(line) + "\n" for line in validation))
    return folder


def read_back(path):
    """Scalars {tag: [(step, value)]} in the order of the file, and texts {tag: text}."""
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    scalars, texts = {}, {}
    for event in EventFileLoader(str(path)).Load():
        for value in event.summary.value:
            if value.tensor.string_val:
                assert value.metadata.plugin_data.plugin_name == "text"
                texts[value.tag] = value.tensor.string_val[0].decode()
            else:
                assert value.metadata.plugin_data.plugin_name == "scalars"
                scalars.setdefault(value.tag, []).append((event.step, value.tensor.float_val[0]))
    return scalars, texts


def expected(lines, validation=()):
    scalars = {}
    for kind, entries in (("train", lines), ("validation", validation)):
        for entry in entries:
            for name, value in entry.items():
                if name != "step" and value is not None:
                    scalars.setdefault(f"{kind}/{name}", []).append((entry["step"], pytest.approx(value, rel=1e-6)))
    return scalars


def test_every_number_of_a_training_by_step_and_its_config(trained, tmp_path, capsys):
    _, folder = trained
    validation = [{"epoch": 1, "step": 2, "mAP": 0.5, "rank1": 1.0}, {"epoch": 2, "step": 3, "mAP": 0.25, "rank1": 0.5}]
    (folder / VALIDATION_FILE).write_text("".join(json.dumps(line) + "\n" for line in validation))
    assert main(["track", str(folder), "--output", str(tmp_path / "out")]) == 0
    path = tmp_path / "out" / folder.name / EVENTS_FILE
    assert capsys.readouterr().out == f"written: {path}\ntensorboard --logdir {tmp_path / 'out'}\n"
    lines = [json.loads(text) for text in (folder / LOG_FILE).read_text().splitlines()]
    scalars, texts = read_back(path)
    assert scalars == expected(lines, validation) and len(lines) == 3
    assert {"train/loss", "train/images_per_second", "train/device_use", "validation/mAP"} <= scalars.keys()
    as_yaml = "".join(text.removeprefix("    ") for text in texts["config"].splitlines(keepends=True))
    assert as_yaml == (folder / CONFIG_FILE).read_text() and yaml.safe_load(as_yaml)["seed"] == 0


def test_tensorboard_takes_the_folder(tmp_path):
    from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer

    runs = [a_run(tmp_path / name, [line(1, 2.0), line(2, 1.5)]) for name in ("bn", "ibn")]
    export_runs(runs, tmp_path / "out")
    board = EventMultiplexer().AddRunsFromDirectory(str(tmp_path / "out")).Reload()
    assert sorted(board.Runs()) == ["bn", "ibn"]
    assert [event.step for event in board.Tensors("ibn", "train/loss")] == [1, 2]


def test_called_again_it_appends_what_is_new(tmp_path):
    lines, validation = [line(step, 3 - step / 4) for step in range(1, 8)], [{"epoch": 1, "step": 3, "mAP": 0.5}]
    run, out = tmp_path / "r", tmp_path / "out"
    (path,) = export_runs([a_run(run, lines[:2])], out)
    first, inode = path.read_bytes(), path.stat().st_ino
    with (run / LOG_FILE).open("a") as file:
        file.write('{"step": 3, "lo')  # being written
    export_runs([run], out)
    assert path.read_bytes() == first
    a_run(run, lines, validation)
    export_runs([run], out)
    assert path.read_bytes().startswith(first) and path.stat().st_ino == inode
    assert read_back(path)[0] == expected(lines, validation)
    (whole,) = export_runs([run], tmp_path / "once")
    assert whole.read_bytes() == path.read_bytes()


def test_an_append_that_broke_off_is_completed(tmp_path):
    run, out = a_run(tmp_path / "r", [line(1, 2.0), line(2, 1.0)]), tmp_path / "out"
    (path,) = export_runs([run], out)
    whole = path.read_bytes()
    path.write_bytes(whole[:-7])
    export_runs([run], out)
    assert path.read_bytes() == whole


def test_steps_done_anew_replace_the_file(tmp_path):
    run, out = tmp_path / "r", tmp_path / "out"
    (path,) = export_runs([a_run(run, [line(1, 2.0), line(2, 1.0), line(3, 0.5)])], out)
    export_runs([a_run(run, again := [line(1, 2.0), line(2, 1.1)])], out)
    assert read_back(path)[0] == expected(again)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1]\n", "log.jsonl: line 1 is not of a log"),
        ('{"step": 1, "loss": 2}\n{"loss": 2}\n', "log.jsonl: line 2 is not of a log: KeyError"),
        ('{"step": "1"}\n', "log.jsonl: line 1 is not of a log"),
        ('{"step": 1\n', "log.jsonl: line 1 is not of a log"),
    ],
)
def test_a_damaged_log_is_named_and_nothing_written(tmp_path, text, message):
    good, bad = a_run(tmp_path / "good", [line(1, 2.0)]), a_run(tmp_path / "bad", [])
    (bad / LOG_FILE).write_text(text)
    with pytest.raises(InputError, match=message):
        export_runs([good, bad], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_bad_input(tmp_path, capsys):
    run = a_run(tmp_path / "r", [line(1, 2.0)])
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"empty: is not a run's folder: it holds no config.yaml"):
        export_runs([tmp_path / "empty"], tmp_path / "out")
    with pytest.raises(InputError, match="another of the runs has its name too"):
        export_runs([run, a_run(tmp_path / "other" / "r", [line(1, 2.0)])], tmp_path / "out")
    with pytest.raises(InputError, match=r"file/r/.*: cannot be "):
        export_runs([run], tmp_path / "file")
    assert main(["track", str(tmp_path / "nothing")]) == 2
    assert capsys.readouterr().err == f"error: {tmp_path / 'nothing'}: no such folder\n"


def test_without_tensorboard(tmp_path, monkeypatch):
    run = a_run(tmp_path / "r", [line(1, 2.0)])
    monkeypatch.setitem(sys.modules, "tensorboard.compat.proto.event_pb2", None)
    with pytest.raises(InputError, match=r"is not installed: pip install 'reid-gap\[track\]'"):
        export_runs([run], tmp_path / "out")
