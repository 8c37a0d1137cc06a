import errno
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from reid.engine.checkpoint import FILE, Progress, load_model, load_training, read_progress, save_checkpoint
from reid.errors import InputError

PROGRESS = Progress(3, 9, 4, "abc", "plaza", "def", 2, "cpu", "float32", "torch 2", "AVX2", 1.5, "none")


def network() -> tuple[nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8)).to(memory_format=torch.channels_last)
    return model, torch.optim.Adam(model.parameters(), lr=0.1, fused=True)


def step(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    optimizer.zero_grad()
    model(torch.randn(2, 3, 8, 8)).square().mean().backward()
    optimizer.step()


def test_training_goes_on_as_it_would_have(tmp_path):
    model, optimizer = network()
    step(model, optimizer)
    save_checkpoint(tmp_path / FILE, model, optimizer, PROGRESS)
    step(model, optimizer)
    again, other = network()
    load_training(tmp_path / FILE, again, other)
    step(again, other)  # the random state was restored too
    for a, b in zip(model.state_dict().values(), again.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    state = other.state[again[0].weight]["exp_avg"]
    assert state.stride() == again[0].weight.stride()
    assert torch.equal(state, optimizer.state[model[0].weight]["exp_avg"])
    assert read_progress(tmp_path / FILE) == PROGRESS and not PROGRESS.finished and replace(PROGRESS, step=9).finished


@pytest.mark.parametrize("damage", ["truncated", "empty", "other", "pickle", "missing"])
def test_bad_files_are_named(tmp_path, damage):
    path = tmp_path / FILE
    model, optimizer = network()
    save_checkpoint(path, model, optimizer, PROGRESS)
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
            load_training(path, *network())


def test_weights_that_are_no_numbers_are_not_saved(tmp_path):
    model, optimizer = network()
    save_checkpoint(tmp_path / FILE, model, optimizer, PROGRESS)
    old = (tmp_path / FILE).read_bytes()
    with torch.no_grad():
        model[0].weight[0, 0, 0, 0] = float("nan")
    with pytest.raises(InputError, match="weights are no longer finite after step 3"):
        save_checkpoint(tmp_path / FILE, model, optimizer, PROGRESS)
    assert (tmp_path / FILE).read_bytes() == old


def test_another_network_is_named(tmp_path):
    save_checkpoint(tmp_path / FILE, *network(), PROGRESS)
    with pytest.raises(InputError, match="does not fit the network of its config"):
        load_model(tmp_path / FILE, nn.Conv2d(3, 8, 5))


def test_a_full_disk_leaves_the_old_checkpoint(tmp_path, monkeypatch):
    path = tmp_path / FILE
    save_checkpoint(path, *network(), PROGRESS)
    old = path.read_bytes()

    def full(self, target):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(InputError, match="cannot be written: .*No space left"):
        save_checkpoint(path, *network(), replace(PROGRESS, step=4))
    assert path.read_bytes() == old and [p.name for p in tmp_path.iterdir()] == [FILE]
