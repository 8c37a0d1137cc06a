"""Training and testing on a CUDA device. Where there is none, this module is not run, and says so."""

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import ROOT
from runs import at_step
from safetensors.torch import load, load_file, save

from reid.config import OptimConfig, load_config
from reid.data.reading import Roots
from reid.data.transforms import training_transform
from reid.engine.checkpoint import FILE, read_progress
from reid.engine.extract import Extractor, Placement, exact_float32, has_bf16
from reid.engine.objective import Objective, make_losses
from reid.engine.state import Part, TrainState
from reid.engine.train import train
from reid.losses import LOSSES
from reid.models import Embedder
from reid.models.resnet import RESNETS
from reid.processes import Interrupted

if not torch.cuda.is_available():
    pytest.skip("tests/engine/test_cuda.py is not run: this machine has no CUDA device", allow_module_level=True)

DEVICE = torch.device("cuda")
BF16 = has_bf16(DEVICE)
DTYPES = {"float32": None, "tf32": None, "fp16": torch.float16} | ({"bf16": torch.bfloat16} if BF16 else {})
PEOPLE = 6
HEIGHT, WIDTH = 64, 32


@pytest.fixture(autouse=True)
def _arithmetic_as_before():
    """What a placement sets is the whole process's."""
    benchmark = torch.backends.cudnn.benchmark
    yield
    exact_float32()
    torch.backends.cudnn.benchmark = benchmark
    torch.cuda.set_sync_debug_mode("default")


def placed(precision: str) -> Placement:
    placement = Placement(DEVICE, DTYPES[precision], tf32=precision == "tf32")
    placement.take_up()
    assert placement.precision == precision
    return placement


def optim(**changes) -> OptimConfig:
    plain = {
        "name": "adam", "lr": 1e-3, "backbone_lr": 0.5, "momentum": 0.9, "nesterov": False, "weight_decay": 5e-4,
        "epochs": 1, "steps": None, "warmup": 0, "schedule": "steps", "milestones": (), "gamma": 0.1, "freeze": 0,
        "clip": 1.0, "ema": 0.9,
    }  # fmt: skip
    return OptimConfig(**(plain | changes))


def a_state(precision: str, settings: OptimConfig | None = None, losses=("identity", "triplet")) -> TrainState:
    torch.manual_seed(0)
    network = Embedder(RESNETS["resnet18_ibn_b"](num_classes=None, width=0.25, last_stride=1), PEOPLE)
    objective = Objective(make_losses({name: {} for name in losses}, PEOPLE, network.channels))
    normalise = training_transform(HEIGHT, WIDTH).normalise
    return TrainState(network, objective, settings or optim(), placed(precision), normalise)


def part(seed: int) -> Part:
    """As the loader gives it: pixels in page-locked memory."""
    drawn = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (2 * PEOPLE, 3, HEIGHT, WIDTH), generator=drawn, dtype=torch.uint8)
    images = images.contiguous(memory_format=torch.channels_last).pin_memory()
    return Part(images, torch.arange(2 * PEOPLE) // 2, torch.arange(2 * PEOPLE) % 2)


@pytest.mark.parametrize("settings", [
    optim(), optim(name="adamw", ema=0.0), optim(name="sgd", nesterov=True), optim(clip=None, ema=0.0),
], ids=lambda settings: f"{settings.name} clip={settings.clip} ema={settings.ema}")  # fmt: skip
@pytest.mark.parametrize("precision", DTYPES)
def test_a_step_never_waits(precision, settings):
    """All losses at once; the first steps, in which libraries choose their kernels, are let through."""
    state, parts = a_state(precision, settings, LOSSES), [[part(3 * n), part(3 * n + 1)] for n in range(5)]
    state.step(parts[0], 1e-3, frozen=True)
    state.step(parts[1], 1e-3)
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    shown = [state.step(parts[2], 1e-3, frozen=True), state.step(parts[3], 1e-3), state.step(parts[4][:1], 1e-3)]
    torch.cuda.set_sync_debug_mode("default")
    assert all(values.device.type == "cuda" for values in shown)
    assert torch.stack(shown).isfinite().all()


def test_what_waits_is_seen():
    torch.cuda.set_sync_debug_mode("error")
    with pytest.raises(RuntimeError, match="synchroniz"):
        torch.ones(3, device=DEVICE).sum().item()


def equal(first: dict, second: dict) -> bool:
    return first.keys() == second.keys() and all(torch.equal(value, second[name]) for name, value in first.items())


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
@pytest.mark.parametrize("precision", DTYPES)
def test_what_is_saved_comes_back_and_goes_on(precision, name):
    """To the bit what is saved; what is computed from it afterwards to the rounding, since kernels may add in any
    order."""
    first, second = a_state(precision, optim(name=name)), a_state(precision, optim(name=name))
    for step in range(3):
        first.step([part(step)], 1e-3)
    stored = {key: value.cpu().contiguous() for key, value in first.tensors().items()}
    second.step([part(7)], 1e-3)
    second.load(load(save(stored)))
    assert equal(stored, {key: value.cpu().contiguous() for key, value in second.tensors().items()})
    for step in range(3, 6):
        shown = first.step([part(step)], 1e-3), second.step([part(step)], 1e-3)
        real = torch.tensor([name != "accuracy" for name in first.objective.shown])  # which counts, and may jump
        torch.testing.assert_close(shown[0].cpu()[real], shown[1].cpu()[real], rtol=0.02, atol=0.02)


def test_random_numbers_of_the_device_come_back():
    state = a_state("float32")
    stored = load(save({"random": state.tensors()["random"], "random.cuda": state.tensors()["random.cuda"]}))
    drawn = torch.rand(5, device=DEVICE), torch.rand(5)
    assert not torch.equal(drawn[0], torch.rand(5, device=DEVICE))
    state.load(state.tensors() | stored)
    assert torch.equal(drawn[0], torch.rand(5, device=DEVICE)) and torch.equal(drawn[1], torch.rand(5))


def weights(state: TrainState) -> dict:
    return {name: value.detach().clone() for name, value in state.network.named_parameters()}


@pytest.mark.parametrize("settings", [optim(), optim(name="sgd", clip=None)], ids=["adam clipped", "sgd"])
def test_gradients_that_overflow_fp16_change_nothing_but_the_scale(settings):
    state = a_state("fp16", settings)
    assert state.scaler.is_enabled()
    state.step([part(0)], 1e-3)
    kept = weights(state)
    state.scaler.load_state_dict(state.scaler.state_dict() | {"scale": 2.0**40})  # beyond what fp16 holds
    state.step([part(1)], 1e-3)
    assert equal(weights(state), kept) and state.scaler.get_scale() == 2.0**39
    second = a_state("fp16", settings)
    second.load(load(save({key: value.cpu().contiguous() for key, value in state.tensors().items()})))
    assert second.scaler.get_scale() == 2.0**39
    second.scaler.load_state_dict(second.scaler.state_dict() | {"scale": 2.0**10})
    second.step([part(1)], 1e-3)
    assert not any(torch.equal(value, kept[name]) for name, value in weights(second).items() if "weight" in name)


def test_no_scaler_where_none_is_needed():
    for precision in DTYPES.keys() - {"fp16"}:
        state = a_state(precision)
        assert not state.scaler.is_enabled() and not any(name.startswith("scaler.") for name in state.tensors())


def test_tf32_is_used_where_it_is_asked_for_alone():
    generator = torch.Generator(DEVICE).manual_seed(0)
    x, y = (torch.randn(256, 256, generator=generator, device=DEVICE) for _ in range(2))
    exact = x.double() @ y.double()
    errors = {}
    for precision in ("float32", "tf32", "float32"):
        placed(precision)
        errors[precision] = float((x @ y - exact).abs().max() / exact.abs().max())
    assert errors["float32"] < 1e-5
    if torch.cuda.get_device_capability(DEVICE) >= (8, 0):
        assert 1e-5 < errors["tf32"] < 1e-2


@pytest.mark.parametrize("flip", [False, True])
def test_features_are_the_cpus(market, flip):
    torch.manual_seed(1)
    network = Embedder(RESNETS["resnet18_ibn_b"](num_classes=None, width=0.25, last_stride=1), PEOPLE).eval()
    samples = Roots(market, market).dataset("market1501", ["gallery"]).splits["gallery"]
    features = {}
    for device in ("cpu", "cuda"):
        placement = replace(placed("float32"), device=torch.device(device))
        network = network.to(device).to(memory_format=torch.channels_last)
        transform = training_transform(HEIGHT, WIDTH)
        extractor = Extractor(network, replace(transform, augment=None), placement, 5, 0, flip)
        features[device] = extractor.extract(samples, progress=False)
    assert features["cpu"].shape == (len(samples), network.channels) and len(samples) > 5
    scale = np.abs(features["cpu"]).max()
    np.testing.assert_allclose(features["cuda"] / scale, features["cpu"] / scale, rtol=0, atol=1e-3)


@pytest.mark.parametrize("precision", DTYPES)
def test_a_run_of_three_steps_that_is_stopped_goes_on(tiny, monkeypatch, precision):
    settings = [*tiny, "device=cuda", f"precision={precision}", "optim.steps=3", "optim.ema=0.5"]
    whole = train(load_config("market_bn.yaml", [*settings, "run=whole"]), progress=False)
    config = load_config("market_bn.yaml", [*settings, "run=stopped"])
    with monkeypatch.context() as patch, pytest.raises(Interrupted):
        at_step(patch, 2, lambda: os.kill(os.getpid(), signal.SIGTERM))
        train(config, progress=False)
    assert read_progress(config.run_folder / FILE).step == 2
    assert train(config, progress=False) == config.run_folder
    progress = read_progress(config.run_folder / FILE)
    assert progress.finished and (progress.device, progress.precision) == ("cuda", precision)
    first, second = load_file(whole / FILE), load_file(config.run_folder / FILE)
    assert first.keys() == second.keys() and torch.equal(first["random"], second["random"])
    for name in ("model.classifier.weight", "average.neck.running_mean"):
        torch.testing.assert_close(first[name], second[name], rtol=0.05, atol=0.01)


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="not run: this machine has no two CUDA devices")
def test_two_devices_train_one_network(tiny):
    settings = [*tiny, "device=cuda", "sampler.identities=4", "optim.steps=3", "targets=[]", "run=r"]
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command += [str(ROOT / "tools" / "train.py"), "--cfg", "market_bn.yaml", *settings]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    progress = read_progress(Path("runs/r") / FILE)
    assert progress.finished and progress.world_size == 2 and progress.device == "cuda"
    assert load_file(Path("runs/r") / FILE)["model.classifier.weight"].isfinite().all()
