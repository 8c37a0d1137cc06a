import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from conftest import ROOT
from runs import at_step, evaluate_run
from safetensors.torch import load_file
from trees import PLACE, manifest_tree, market_tree

from reid.config import OptimConfig, load_config
from reid.engine.checkpoint import FILE, LOG_FILE, CheckpointWriter, read_progress
from reid.engine.state import learning_rate_at
from reid.engine.train import is_trained, train
from reid.errors import InputError
from reid.files import locked
from reid.processes import Interrupted, collected_signals


def log_of(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / LOG_FILE).read_text().splitlines()]


def tensors_equal(a: Path, b: Path) -> bool:
    first, second = load_file(a / FILE), load_file(b / FILE)
    assert first.keys() == second.keys() and len(first) > 100
    return all(torch.equal(first[name], second[name]) for name in first)


def test_a_run_leaves_its_files(tiny_config):
    folder = train(tiny_config, progress=False)
    progress = read_progress(folder / FILE)
    assert progress.finished and progress.step == progress.total_steps == len(log_of(folder))
    assert (progress.threads, progress.device, progress.precision, progress.num_classes) == (1, "cpu", "float32", 6)
    entry = log_of(folder)[0]
    assert entry.keys() >= {
        "step",
        "epoch",
        "lr",
        "loss",
        "accuracy",
        "hardest_positive",
        "hardest_negative",
        "identity",
        "triplet",
        "images_per_second",
        "device_use",
    }
    assert entry["loss"] == pytest.approx(entry["identity"] + entry["triplet"] + 0.0005 * entry["centre"], rel=1e-5)
    assert is_trained(tiny_config)
    assert sorted(path.name for path in folder.iterdir()) == [".lock", FILE, "config.yaml", LOG_FILE]


def test_it_learns(tiny):
    config = load_config("market_bn.yaml", [*tiny, "optim.epochs=12", "optim.lr=3e-3", "transforms.erasing=0"])
    log = log_of(train(config, progress=False))
    assert log[-1]["loss"] < 0.7 * log[0]["loss"]
    assert sum(entry["accuracy"] for entry in log[-4:]) / 4 > 0.6


def test_the_same_seed_gives_the_same_run_and_a_finished_run_is_left_alone(tiny):
    folders = [train(load_config("market_bn.yaml", [*tiny, f"run={name}"]), progress=False) for name in "ab"]
    other = train(load_config("market_bn.yaml", [*tiny, "run=c", "seed=1"]), progress=False)
    assert tensors_equal(*folders) and not tensors_equal(folders[0], other)
    written = (folders[0] / FILE).stat().st_mtime_ns
    train(load_config("market_bn.yaml", [*tiny, "run=a"]), progress=False)
    assert (folders[0] / FILE).stat().st_mtime_ns == written


UNTIMED = ("images_per_second", "device_use")  # what a log says of the machine


def told(folder: Path) -> list[dict]:
    """The log without what the machine had to do with."""
    return [{key: value for key, value in entry.items() if key not in UNTIMED} for entry in log_of(folder)]


SAVING_EACH_STEP = """
import sys
from reid.config import load_config
from reid.engine import train
train.SAVE_SECONDS = 0.0
train.train(load_config("market_bn.yaml", sys.argv[1:]), progress=False)
"""


def test_killed_again_and_again_it_ends_as_if_never_interrupted(tiny):
    """SIGKILL while checkpoints are written beside every step, with two workers, erasing and jitter on; each time it
    goes on from the last whole one, the last time without workers: every tensor is the same."""
    settings = [*tiny, "optim.epochs=3", "transforms.erasing=0.5", "transforms.jitter=0.3", "optim.lr=3e-3"]
    settings += ["data.height=128", "data.width=64", "model.width=0.25"]  # steps long enough to be killed between
    whole = train(load_config("market_bn.yaml", [*settings, "run=whole"]), progress=False)
    killed, reached = Path("runs/killed"), 0
    for more in (3, 2):
        command = [sys.executable, "-c", SAVING_EACH_STEP, *settings, "run=killed", "data.workers=2"]
        with subprocess.Popen(command, stderr=subprocess.PIPE, start_new_session=True) as process:
            deadline = time.monotonic() + 200
            while not (killed / FILE).exists() or read_progress(killed / FILE).step < reached + more:
                assert process.poll() is None, process.stderr.read().decode()
                assert time.monotonic() < deadline
                time.sleep(0.002)
            os.killpg(process.pid, signal.SIGKILL)
        stopped = read_progress(killed / FILE)
        assert not stopped.finished
        reached = stopped.step
    train(load_config("market_bn.yaml", [*settings, "run=killed", "data.workers=0"]), progress=False)
    assert tensors_equal(whole, killed) and told(whole) == told(killed)
    assert sorted(path.name for path in killed.iterdir()) == [".lock", FILE, "config.yaml", LOG_FILE]


WAYS = {  # of training, each of which must give the same bits however it is interrupted and read
    "plain": [],
    "workers": ["data.workers=2"],
    "average": ["optim.ema=0.9", "optim.name=adamw", "optim.clip=1.0"],
    "sgd": ["optim.name=sgd", "optim.nesterov=true", "optim.backbone_lr=0.1", "optim.freeze=1"],
    "centres": ["losses.centre.weight=0.01"],
    "cached": ["data.cache=ram", "data.workers=2"],
    "augmented": ["transforms.jitter=0.3", "transforms.zoom=0.3", "transforms.blur=0.5", "model.mixstyle=0.5"],
    "parts": ["sampler.identities=4", "sampler.accumulate=2"],
    "sources": ["sampler.name=balanced", "sampler.identities=4"],
    "gem": ["model.pooling=gem", "losses.circle.weight=1"],
}


@pytest.mark.parametrize("way", WAYS)
def test_stopped_and_gone_on_with_it_gives_the_same_bits(tiny, way, tmp_path, monkeypatch):
    settings = [*tiny, *WAYS[way]]
    if way == "sources":
        settings.append(f"data.source=[market1501,{manifest_tree(tmp_path / 'more', identities=4)}]")
    whole = train(load_config("market_bn.yaml", [*settings, "run=whole"]), progress=False)
    config = load_config("market_bn.yaml", [*settings, "run=stopped"])
    for step in (3, 2):  # the second counts from where the first stopped
        with monkeypatch.context() as patch, pytest.raises(Interrupted):
            at_step(patch, step, lambda: os.kill(os.getpid(), signal.SIGTERM))
            train(config, progress=False)
    other = load_config("market_bn.yaml", [*settings, "run=stopped", "data.workers=1", "data.cache=none"])
    assert tensors_equal(whole, train(other, progress=False)) and told(whole) == told(other.run_folder)


def test_one_loader_reads_all_epochs_and_draws_each_as_it_comes(tiny, monkeypatch):
    from reid.data.samplers import PKSampler
    from reid.engine import train as module

    drawn, loaders = [], []
    epoch_of, real = PKSampler.epoch, module.batches

    def epoch(self, number):
        drawn.append(number)
        return epoch_of(self, number)

    def batches(images, draws, workers):
        loaders.append(workers)
        for place, batch in enumerate(real(images, draws, workers)):
            assert drawn == list(range(place // 8 + 1))  # no epoch before its time
            yield batch

    monkeypatch.setattr(PKSampler, "epoch", epoch)
    monkeypatch.setattr(module, "batches", batches)
    monkeypatch.setattr(module.build, "few_pairs", lambda *_: "")  # it looks at the first epoch
    folder = train(load_config("market_bn.yaml", [*tiny, "optim.epochs=4"]), progress=False)
    assert loaders == [0] and drawn == [0, 1, 2, 3] and read_progress(folder / FILE).step == 4 * 8


def log_of_partial(folder: Path) -> list[str]:
    return [line for line in (folder / LOG_FILE).read_text().splitlines() if line.endswith("}")]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_leaves_a_checkpoint_that_resumes(tiny, number, monkeypatch):
    whole = train(load_config("market_bn.yaml", [*tiny, "run=whole"]), progress=False)
    config = load_config("market_bn.yaml", [*tiny, "run=stopped"])
    before = signal.getsignal(number)
    with monkeypatch.context() as patch, pytest.raises(Interrupted, match="the same command goes on") as caught:
        at_step(patch, 3, lambda: os.kill(os.getpid(), number))
        train(config, progress=False)
    assert caught.value.code == 128 + number and signal.getsignal(number) is before
    assert read_progress(config.run_folder / FILE).step == 3
    assert tensors_equal(whole, train(config, progress=False))


def test_a_signal_while_the_last_checkpoint_is_written_does_not_break_it_off(tiny, monkeypatch):
    from reid.engine import checkpoint as module

    save = module._save

    def interrupted(path, tensors, progress):
        os.kill(os.getpid(), signal.SIGTERM)
        save(path, tensors, progress)

    def not_collected(*_):
        raise RuntimeError("this would have ended the process")

    before = signal.signal(signal.SIGTERM, not_collected)
    monkeypatch.setattr(module, "_save", interrupted)
    config = load_config("market_bn.yaml", tiny)
    try:
        with pytest.raises(Interrupted, match=f"{FILE} after step .*, its last"):
            train(config, progress=False)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert read_progress(config.run_folder / FILE).finished


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_what_is_ignored_stays_ignored(number):
    others = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP} - {number}
    before = signal.signal(number, signal.SIG_IGN)
    try:
        with collected_signals() as received:
            os.kill(os.getpid(), number)
            assert received == [] and signal.getsignal(number) == signal.SIG_IGN
            assert not any(signal.getsignal(other) == signal.SIG_IGN for other in others)
        assert signal.getsignal(number) == signal.SIG_IGN
    finally:
        signal.signal(number, before)


@pytest.mark.parametrize("first", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_only_a_second_ctrl_c_interrupts_at_once(first):
    """A shell and the kernel each send the SIGHUP of a closed terminal; `timeout` sends SIGTERM twice."""
    with collected_signals() as received:
        os.kill(os.getpid(), first)
        os.kill(os.getpid(), signal.SIGHUP)
        os.kill(os.getpid(), signal.SIGTERM)
        assert received == [first, signal.SIGHUP, signal.SIGTERM]
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


LONG = ["optim.epochs=40", "data.height=128", "data.width=64", "data.workers=2", "targets=[]"]


def begun(folder: Path, process: subprocess.Popen) -> None:
    """Wait for the second step."""
    deadline = time.monotonic() + 200
    while not ((folder / LOG_FILE).exists() and len(log_of_partial(folder)) > 1):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)


def test_a_closed_terminal_leaves_a_checkpoint_that_resumes(tiny):
    """The terminal's end reaches the workers too, and what is printed after it goes nowhere."""
    settings = [*tiny, *LONG]
    master, slave = os.openpty()
    command = [sys.executable, str(ROOT / "tools" / "train.py"), "--cfg", "market_bn.yaml", *settings, "run=stopped"]
    with subprocess.Popen(
        [sys.executable, "-c", IN_TERMINAL, *command], stdin=slave, stdout=slave, stderr=slave, start_new_session=True
    ) as process:
        os.close(slave)
        begun(Path("runs/stopped"), process)
        os.close(master)
        assert process.wait(timeout=100) == 128 + signal.SIGHUP
    stopped = read_progress(Path("runs/stopped") / FILE)
    assert 1 < stopped.step < stopped.total_steps
    in_process = [*settings, "data.workers=0"]
    whole = train(load_config("market_bn.yaml", [*in_process, "run=whole"]), progress=False)
    assert tensors_equal(whole, train(load_config("market_bn.yaml", [*in_process, "run=stopped"]), progress=False))


# Takes the terminal at its input for its own, as a login shell does; then becomes the command.
IN_TERMINAL = (
    "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"
)


def test_a_signal_to_the_whole_group_leaves_a_checkpoint(tiny):
    """As `timeout`, Slurm and systemd send it: the workers get it too."""
    command = [sys.executable, str(ROOT / "tools" / "train.py"), "--cfg", "market_bn.yaml", *tiny, *LONG, "run=stopped"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        begun(Path("runs/stopped"), process)
        os.killpg(process.pid, signal.SIGTERM)
        os.killpg(process.pid, signal.SIGTERM)
        _, printed = process.communicate(timeout=100)
    assert process.returncode == 143 and "stopped by SIGTERM" in printed and "Traceback" not in printed
    assert read_progress(Path("runs/stopped") / FILE).step > 0


def test_under_nohup_a_run_goes_on(tiny):
    command = ["nohup", sys.executable, str(ROOT / "tools" / "train.py"), "--cfg", "market_bn.yaml", *tiny, *LONG]
    with subprocess.Popen(
        [*command, "optim.steps=40", "run=r"], stderr=subprocess.DEVNULL, start_new_session=True
    ) as process:
        begun(Path("runs/r"), process)
        os.killpg(process.pid, signal.SIGHUP)
        assert process.wait(timeout=100) == 0
    assert read_progress(Path("runs/r") / FILE).finished


@pytest.mark.parametrize(
    "change", ["threads", "device", "precision", "packages", "cpu", "data", "total_steps", "world_size", "compiled"]
)
def test_resume_says_why_it_refuses_or_restores(tiny, change, monkeypatch):
    config = load_config("market_bn.yaml", tiny)
    from reid.engine import train as module

    def stop_after_first(writer, tensors, progress):
        other = {
            "threads": 2,
            "device": "cuda",
            "precision": "bf16",
            "packages": "torch 1.0",
            "cpu": "AVX1024",
            "data": "x",
            "total_steps": 99,
            "world_size": 2,
            "compiled": True,
        }
        write(writer, tensors, module.replace(progress, **{change: other[change]}))
        raise RuntimeError("stop here")

    write = CheckpointWriter.write
    with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="stop here"):
        patch.setattr(module, "SAVE_SECONDS", 0.0)
        patch.setattr(CheckpointWriter, "write", stop_after_first)
        train(config, progress=False)
    if change == "threads":
        train(config, progress=False)
        restored = torch.get_num_threads()
        torch.set_num_threads(1)
        assert restored == 2
    elif change == "data":
        with pytest.raises(InputError, match="was trained on other files of market1501"):
            train(config, progress=False)
    else:
        with pytest.raises(InputError, match=rf"cannot be resumed: {change} was .*, is .* \(.+\)"):
            train(config, progress=False)


def test_another_config_in_the_same_folder_is_refused(tiny):
    train(load_config("market_bn.yaml", [*tiny, "run=a", "optim.steps=1"]), progress=False)
    with pytest.raises(InputError, match=r"runs/a: holds a run of another config \(optim.lr was 0.00035, is 0.01\)"):
        train(load_config("market_bn.yaml", [*tiny, "run=a", "optim.steps=1", "optim.lr=0.01"]), progress=False)


def test_a_loss_that_is_no_number_stops_and_says_where(tiny):
    config = load_config("market_bn.yaml", [*tiny, "optim.lr=1e30", "optim.warmup=0"])
    with pytest.raises(InputError, match=r"the loss is (nan|inf) in epoch \d, batch \d \(images .*jpg"):
        train(config, progress=False)
    assert not (config.run_folder / FILE).exists()  # it broke down in its first epoch


def test_a_corrupt_image_mid_epoch_is_named_and_what_was_done_stays(tiny, tmp_path, monkeypatch):
    market_tree(tmp_path / "own" / PLACE, identities=6, cameras=2, images=4, size=(64, 32))
    overrides = [*tiny, f"data.root={tmp_path / 'own'}", "optim.epochs=2"]
    config = load_config("market_bn.yaml", overrides)
    from reid.engine import train as module

    with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="stop"):
        patch.setattr(module, "SAVE_SECONDS", 0.0)
        at_step(patch, 3, stop)
        train(config, progress=False)
    left = {path.name: path.read_bytes() for path in config.run_folder.iterdir() if path.name != LOG_FILE}
    assert read_progress(config.run_folder / FILE).step > 0
    bad = next((tmp_path / "own" / PLACE / "bounding_box_train").glob("0003_c1*"))
    size = bad.stat().st_size
    bad.write_bytes(bad.read_bytes()[: size // 2].ljust(size, b"\0"))  # as long as before: the same data set
    with pytest.raises(InputError, match=rf"{bad.name}: not a readable image"):
        train(config, progress=False)
    assert {path.name: path.read_bytes() for path in config.run_folder.iterdir() if path.name != LOG_FILE} == left


def stop():
    raise RuntimeError("stop")


def test_a_finished_run_is_not_taken_for_one_on_other_data(tiny, tmp_path):
    market_tree(tmp_path / "own" / PLACE, identities=6, cameras=2, images=4, size=(64, 32))
    config = load_config("market_bn.yaml", [*tiny, f"data.root={tmp_path / 'own'}", "optim.steps=2"])
    train(config, progress=False)
    assert is_trained(config)
    with next((tmp_path / "own" / PLACE / "bounding_box_train").glob("*.jpg")).open("ab") as file:
        file.write(b"\0")
    for again in (is_trained, lambda own: train(own, progress=False)):
        with pytest.raises(InputError, match="was trained on other files of market1501"):
            again(config)


def test_a_run_of_other_code_is_said_to_be_one_and_its_figures_are_made_anew(tiny, monkeypatch, caplog):
    from reid.engine import train as module
    from reid.evaluation import evaluate, provenance

    config = load_config("market_bn.yaml", [*tiny, "optim.steps=2"])
    folder = train(config, progress=False)
    own = module.training_code(validated=False)
    assert read_progress(folder / FILE).code == own and train(config, progress=False) == folder
    assert "other code" not in caplog.text
    place = folder / "targets" / "market1501"
    before = evaluate_run(config, folder, ["market1501"], progress=False)["targets"]["market1501"]
    written = [(place / name).stat().st_mtime_ns for name in ("query.npz", "queries.parquet")]

    monkeypatch.setattr(evaluate, "figures_code", lambda: "0" * 12)  # another ranking: the features stand
    again = evaluate_run(config, folder, ["market1501"], progress=False)["targets"]["market1501"]
    now = [(place / name).stat().st_mtime_ns for name in ("query.npz", "queries.parquet")]
    assert again["inputs"] != before["inputs"] and again["mAP"] == before["mAP"]
    assert again["code_digests"] == before["code_digests"] | {"figures": "0" * 12}
    assert now[0] == written[0] and now[1] != written[1]

    monkeypatch.setattr(provenance, "features_code", lambda: "1" * 12)  # another pooling: nothing stands
    evaluate_run(config, folder, ["market1501"], progress=False)
    assert (place / "query.npz").stat().st_mtime_ns != written[0]

    monkeypatch.setattr(module, "training_code", lambda validated: "2" * 12)
    content = (folder / FILE).read_bytes()
    assert train(config, progress=False) == folder and (folder / FILE).read_bytes() == content
    assert f"{folder}: finished, but made by other code ({own}; this is {'2' * 12})" in caplog.text
    assert is_trained(config) and caplog.text.count("made by other code") == 1  # said once


def test_two_trainings_in_one_folder(tiny_config):
    with locked(tiny_config.run_folder), pytest.raises(InputError, match="another process is at work in it"):
        train(tiny_config, progress=False)


def test_a_truncated_checkpoint_is_named(tiny_config):
    folder = train(tiny_config, progress=False)
    content = (folder / FILE).read_bytes()
    (folder / FILE).write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match=r"checkpoint.safetensors: not a readable checkpoint"):
        train(tiny_config, progress=False)
    assert (folder / FILE).read_bytes() == content[: len(content) // 2]


def optim(**changes) -> OptimConfig:
    return load_config("base.yaml").optim.model_copy(update={"lr": 1.0, **changes})


def test_learning_rate_of_the_published_recipe():
    at = lambda epoch: learning_rate_at(optim(), epoch * 5, 5, 600)  # noqa: E731
    assert [at(0), at(5), at(10), at(39)] == pytest.approx([0.1, 0.55, 1, 1])
    assert [at(40), at(69), at(70), at(119)] == pytest.approx([0.1, 0.1, 0.01, 0.01])


def test_cosine():
    rates = [learning_rate_at(optim(schedule="cosine", warmup=2), step, 10, 100) for step in range(100)]
    assert rates[20] == 1 and rates[60] == pytest.approx(0.5) and 0 < rates[-1] < 1e-3
    assert all(math.isfinite(rate) for rate in rates) and rates[:20] == sorted(rates[:20])
