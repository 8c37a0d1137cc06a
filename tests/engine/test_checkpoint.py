import errno
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from reid.engine.checkpoint import (
    FILE,
    CheckpointWriter,
    Progress,
    load_model,
    read_progress,
    read_tensors,
    save_model,
)
from reid.errors import InputError

PROGRESS = Progress(3, 9, 4, "abc", "plaza", "def", 2, "cpu", "float32", "torch 2", "AVX2", 1.5, "none")


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8))


def written(path: Path, model: nn.Module, progress: Progress = PROGRESS) -> None:
    with CheckpointWriter(path) as writer:
        writer.write({f"model.{name}": value for name, value in model.state_dict().items()}, progress)


def test_what_is_written_is_what_stood_when_it_was_asked_for(tmp_path):
    model = network()
    with CheckpointWriter(tmp_path / FILE) as writer:
        writer.write({"model.weight": model[0].weight}, PROGRESS)
        before = model[0].weight.detach().clone()
        with torch.no_grad():
            model[0].weight.zero_()
        writer.wait()
        assert not writer.busy and torch.equal(read_tensors(tmp_path / FILE)["model.weight"], before)
        writer.write({"model.weight": model[0].weight}, replace(PROGRESS, step=9))
    assert not read_tensors(tmp_path / FILE)["model.weight"].any()
    assert read_progress(tmp_path / FILE).finished and not PROGRESS.finished


def test_the_moving_average_is_what_is_tested(tmp_path):
    model, average = network(), nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8))
    stored = {f"{kind}.{name}": value for kind, each in (("model", model), ("average", average))
              for name, value in each.state_dict().items()}  # fmt: skip
    with CheckpointWriter(tmp_path / FILE) as writer:
        writer.write(stored, PROGRESS)
    loaded = network()
    load_model(tmp_path / FILE, loaded)
    assert torch.equal(loaded[0].weight, average[0].weight) and not torch.equal(loaded[0].weight, model[0].weight)


@pytest.mark.parametrize("damage", ["truncated", "empty", "other", "pickle", "missing"])
def test_bad_files_are_named(tmp_path, damage):
    path = tmp_path / FILE
    written(path, network())
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:-10])
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "other":
        save_file({"x": torch.zeros(1)}, path)
    elif damage == "pickle":
        torch.save({"x": 1}, path)
    else:
        path.unlink()
    with pytest.raises(InputError, match=f"{FILE}: not a readable checkpoint"):
        read_progress(path)
    if damage != "other":
        with pytest.raises(InputError, match=FILE):
            load_model(path, network())


def test_weights_that_are_no_numbers_are_not_saved(tmp_path):
    model = network()
    written(tmp_path / FILE, model)
    old = (tmp_path / FILE).read_bytes()
    with torch.no_grad():
        model[0].weight[0, 0, 0, 0] = float("nan")
    with pytest.raises(InputError, match="weights are no longer finite after step 3"):
        written(tmp_path / FILE, model)
    assert (tmp_path / FILE).read_bytes() == old


def test_another_network_is_named(tmp_path):
    save_model(tmp_path / FILE, network(), PROGRESS)
    with pytest.raises(InputError, match="does not fit the network of its config"):
        load_model(tmp_path / FILE, nn.Conv2d(3, 8, 5))


@pytest.mark.parametrize("when", ["leaving", "waiting", "writing again"])
def test_a_full_disk_leaves_the_old_checkpoint(tmp_path, monkeypatch, when):
    path = tmp_path / FILE
    written(path, network())
    old = path.read_bytes()

    def full(self, target):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(InputError, match="cannot be written: .*No space left"), CheckpointWriter(path) as writer:
        writer.write(network().state_dict(), replace(PROGRESS, step=4))
        if when == "waiting":
            writer.wait()
        if when == "writing again":
            writer.write(network().state_dict(), replace(PROGRESS, step=5))
    assert path.read_bytes() == old and [p.name for p in tmp_path.iterdir()] == [FILE]


def test_another_error_is_not_hidden_by_one_of_writing(tmp_path, monkeypatch):
    monkeypatch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(OSError("full")))
    with pytest.raises(ZeroDivisionError), CheckpointWriter(tmp_path / FILE) as writer:
        writer.write(network().state_dict(), PROGRESS)
        raise ZeroDivisionError
