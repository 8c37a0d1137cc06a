"""A step of training against the published formulas, written out; what it waits for; freezing, averaging, compiling.

Numbers are compared in float64, where a formula and torch's fused kernels agree to the rounding.
"""

import copy
import math
from dataclasses import dataclass, field, replace

import pytest
import torch
from safetensors.torch import load, save
from torch import nn
from torch._dynamo.utils import counters
from torch.utils._python_dispatch import TorchDispatchMode

from reid.config import OptimConfig, load_config
from reid.data.transforms import training_transform
from reid.engine import build
from reid.engine.checkpoint import FILE, check_resumable, read_progress, read_tensors
from reid.engine.extract import Placement
from reid.engine.log import TrainLog
from reid.engine.objective import Objective, WeightedLoss, make_losses
from reid.engine.state import Part, TrainState, learning_rate_at
from reid.engine.train import train
from reid.errors import InputError
from reid.losses import LOSSES
from reid.models import Embedder
from reid.models.backbone import Backbone, global_average
from reid.models.resnet import RESNETS
from reid.networks.trained import load_network, open_run

CPU = Placement(torch.device("cpu"))
PEOPLE, CHANNELS = 4, 6
BOTH = {"identity": {"weight": 1.0}, "triplet": {"weight": 0.7}}
CLOSE = {"rtol": 1e-9, "atol": 1e-12}


class Tiny(Backbone):
    """A convolution, its batch norm, and the mean."""

    channels = CHANNELS

    def __init__(self):
        super().__init__()
        self.conv, self.bn = nn.Conv2d(3, CHANNELS, 3, bias=False), nn.BatchNorm2d(CHANNELS)

    def pooled(self, x):
        return global_average(torch.relu(self.bn(self.conv(x))))

    def stages(self, x):
        raise NotImplementedError

    @property
    def ends_in_instance_norm(self):
        return (False,)


def optim(**changes) -> OptimConfig:
    plain = {
        "name": "adam", "lr": 0.01, "backbone_lr": 1.0, "momentum": 0.9, "nesterov": False, "weight_decay": 0.05,
        "epochs": 3, "steps": None, "warmup": 1, "schedule": "steps", "milestones": (2,), "gamma": 0.1, "freeze": 0,
        "clip": None, "ema": 0.0,
    }  # fmt: skip
    return OptimConfig(**(plain | changes))


def same(images):
    return images


def tiny_state(settings, losses=BOTH, dtype=torch.float64) -> TrainState:
    torch.manual_seed(0)
    network = Embedder(Tiny(), PEOPLE).to(dtype)
    nn.init.normal_(network.classifier.weight)  # of a size that the losses feel
    terms = losses if isinstance(losses, list) else make_losses(losses, PEOPLE, CHANNELS)
    return TrainState(network, Objective(terms), settings, CPU, same)


def part(seed, images=8, size=(9, 7), dtype=torch.float64) -> Part:
    labels = torch.arange(images) // 2 % PEOPLE
    pixels = torch.randn(images, 3, *size, generator=torch.Generator().manual_seed(seed), dtype=dtype)
    return Part(pixels, labels, torch.arange(images) % 2)


class Waiting(TorchDispatchMode):
    """Collects the operations whose result the processor needs before it can go on: on a device it would wait."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        tags = {torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape} & set(function.tags)
        name = function.overloadpacket
        if name in (torch.ops.aten.index, torch.ops.aten.index_put, torch.ops.aten.index_put_):  # by numbers none waits
            tags = any(index is not None and index.dtype in (torch.bool, torch.uint8) for index in args[1])
        if tags or name == torch.ops.aten._linalg_check_errors:
            self.seen.append(str(function))
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    "work",
    [
        lambda x: x.sum().item(),
        lambda x: bool((x > 0).any()),
        lambda x: x.nonzero(),
        lambda x: x[x > 0],
        lambda x: x.masked_select(x > 0),
        lambda x: x.clone().__setitem__(x > 0, torch.ones(())),
        lambda x: torch.equal(x, x),
        lambda x: x.unique(),
        lambda x: torch.where(x > 0),
        lambda x: torch.linalg.inv(x),
    ],
)
def test_what_waits_is_seen(work):
    with Waiting() as waiting:
        work(torch.eye(3))
    assert len(waiting.seen) == 1


def test_what_does_not_wait_is_not_seen():
    x = torch.randn(3, 3)
    with Waiting() as waiting:
        torch.where(x > 0, x[torch.tensor([0, 2, 1])], 0).masked_fill(x < 0, 1).sum(dim=1).argmax()
    assert waiting.seen == []


STEPS = [
    optim(name=name, clip=clip, ema=ema, nesterov=name == "sgd", backbone_lr=0.5)
    for name in ("adam", "adamw", "sgd")
    for clip in (None, 1.0)
    for ema in (0.0, 0.9)
]
AFTER_NECK = [name for name, loss in LOSSES.items() if loss.input != ("features",)]  # learn beside a frozen backbone


def named(settings: OptimConfig) -> str:
    return f"{settings.name} clip={settings.clip} ema={settings.ema}"


@pytest.mark.parametrize("settings", STEPS, ids=named)
@pytest.mark.parametrize("loss", LOSSES)
def test_a_step_never_waits_for_the_device(loss, settings):
    state = tiny_state(settings, {loss: {"weight": 0.5}}, torch.float32)
    parts = [part(1, dtype=torch.float32), part(2, dtype=torch.float32)]
    with Waiting() as waiting:
        for frozen in (loss in AFTER_NECK, False, False):
            state.step(parts, 0.01, frozen)
            state.step(parts[:1], 0.01, frozen)
    assert waiting.seen == []


@pytest.mark.parametrize("standardise", [False, True])
@pytest.mark.parametrize("name", ["resnet18", "resnet18_ibn_a", "resnet18_ibn_b"])
def test_nor_does_a_whole_network(name, standardise):
    network = Embedder(RESNETS[name](num_classes=None, width=0.125, last_stride=1), PEOPLE)
    losses = make_losses({loss: {} for loss in LOSSES}, PEOPLE, network.channels)
    normalise = training_transform(32, 16, standardise=standardise).normalise
    state = TrainState(network, Objective(losses), optim(clip=1.0, ema=0.9), CPU, normalise)
    pixels = torch.randint(0, 256, (8, 3, 32, 16), dtype=torch.uint8).contiguous(memory_format=torch.channels_last)
    with Waiting() as waiting:
        state.step([replace(part(1), images=pixels)], 0.01)
    assert waiting.seen == []


@dataclass
class PlainStep:
    """The same step written out: averaged gradients, clipping, the optimiser's formula, the moving average."""

    network: Embedder
    objective: Objective
    settings: OptimConfig
    count: int = 0
    memory: dict = field(default_factory=dict)
    average: dict = field(default_factory=dict)

    def __post_init__(self):
        self.average = {name: value.clone() for name, value in self.network.state_dict().items()}

    def step(self, parts, rate, frozen):
        settings, trained = self.settings, {}
        self.network.train()
        self.network.backbone.train(not frozen)
        for name, parameter in self.network.named_parameters():
            if parameter.requires_grad and not (frozen and name.startswith("backbone.")):
                trained[name] = parameter
        gradients = {name: torch.zeros_like(parameter) for name, parameter in trained.items()}
        shown = 0
        for each in parts:
            total, values = self.objective(self.network(each.images), each.labels, each.cameras)
            shown = shown + values / len(parts)
            for name, gradient in zip(trained, torch.autograd.grad(total, trained.values()), strict=True):
                gradients[name] += gradient / len(parts)
        if settings.clip is not None:
            norm = math.sqrt(sum((gradient**2).sum().item() for gradient in gradients.values()))
            for gradient in gradients.values():
                gradient *= min(1.0, settings.clip / (norm + 1e-6))
        with torch.no_grad():
            for name, gradient in gradients.items():
                factor = settings.backbone_lr if name.startswith("backbone.") else 1.0
                self.update(name, trained[name], gradient, rate * factor)
        self.count += 1
        kept = min(settings.ema, (1 + self.count) / (10 + self.count))
        for name, value in self.network.state_dict().items():
            moved = kept * self.average[name] + (1 - kept) * value if value.is_floating_point() else value.clone()
            self.average[name] = moved
        return shown

    def update(self, name, weight, gradient, rate):
        settings = self.settings
        if settings.name == "adamw":  # Loshchilov & Hutter 2019, algorithm 2
            weight -= rate * settings.weight_decay * weight
        else:
            gradient = gradient + settings.weight_decay * weight
        if settings.name == "sgd":  # Sutskever et al. 2013, as torch has it
            step, before = self.memory.get(name, (0, torch.zeros_like(weight)))
            moved = gradient if step == 0 else settings.momentum * before + gradient
            self.memory[name] = (step + 1, moved)
            weight -= rate * (gradient + settings.momentum * moved if settings.nesterov else moved)
            return
        step, first, second = self.memory.get(name, (0, 0.0, 0.0))  # Kingma & Ba 2015, algorithm 1
        first, second = 0.9 * first + 0.1 * gradient, 0.999 * second + 0.001 * gradient**2
        self.memory[name] = (step + 1, first, second)
        corrected = first / (1 - 0.9 ** (step + 1)), second / (1 - 0.999 ** (step + 1))
        weight -= rate * corrected[0] / (corrected[1].sqrt() + 1e-8)


def plain_step(state: TrainState, settings: OptimConfig) -> PlainStep:
    return PlainStep(copy.deepcopy(state.network), copy.deepcopy(state.objective), settings)


RECIPES = [
    optim(),
    optim(name="adamw"),
    optim(name="sgd"),
    optim(name="sgd", momentum=0.0),
    optim(name="sgd", nesterov=True),
    optim(clip=0.3, weight_decay=0.0),
    optim(name="sgd", clip=1e6, backbone_lr=0.1),
    optim(name="adamw", ema=0.7, clip=0.5, backbone_lr=0.25, freeze=1),
    optim(ema=0.999, freeze=1),
    optim(name="sgd", freeze=2, nesterov=True, ema=0.2),
]


@pytest.mark.parametrize("settings", RECIPES, ids=lambda settings: f"{named(settings)} {settings.freeze}")
@pytest.mark.parametrize("accumulate", [1, 2])
def test_steps_are_those_of_the_formulas(settings, accumulate):
    state = tiny_state(settings)
    plain = plain_step(state, settings)
    begun = {name: value.clone() for name, value in state.network.state_dict().items()}
    for step in range(6):
        parts = [part(10 * step + number) for number in range(accumulate)]
        rate = learning_rate_at(settings, step, 2, 6)
        frozen = step < settings.freeze * 2
        shown = state.step(parts, rate, frozen)
        torch.testing.assert_close(shown, plain.step(parts, rate, frozen), **CLOSE)
        assert shown.shape == (len(state.objective.shown),) and not shown.requires_grad
        for name, value in state.network.state_dict().items():
            torch.testing.assert_close(
                value, plain.network.state_dict()[name], **CLOSE, msg=lambda m, n=name: f"{n} {m}"
            )
    moved = [name for name, value in state.network.state_dict().items() if not torch.equal(value, begun[name])]
    assert len(moved) == len(begun) - 1  # all but the neck's bias
    assert (state.tested is state.network) == (settings.ema == 0)
    if settings.ema > 0:
        for name, value in state.tested.state_dict().items():
            torch.testing.assert_close(value, plain.average[name], **CLOSE)
        assert not state.tested.training and not any(p.requires_grad for p in state.tested.parameters())


def backbone_of(state) -> dict:
    return {name: value.clone() for name, value in state.network.backbone.state_dict().items()}


@pytest.mark.parametrize("settings", STEPS, ids=named)
def test_a_frozen_backbone_stays_bit_for_bit_then_moves(settings):
    state = tiny_state(settings, dtype=torch.float32)
    before, head = backbone_of(state), state.network.classifier.weight.clone()
    for number in range(3):
        state.step([part(number, dtype=torch.float32)], 0.01, frozen=True)
        state.network.train()  # as a validation leaves it
    assert all(torch.equal(value, before[name]) for name, value in state.network.backbone.state_dict().items())
    assert not torch.equal(state.network.classifier.weight, head) and state.network.neck.num_batches_tracked == 3
    state.step([part(9, dtype=torch.float32)], 0.01)
    assert not any(torch.equal(value, before[name]) for name, value in state.network.backbone.state_dict().items())


class Centred(nn.Module):
    """Squared distance to one's centre; its centres train at a rate of their own."""

    input, pairs, cameras, rate = ("features",), False, False, 0.5

    def __init__(self):
        super().__init__()
        self.centres = nn.Parameter(torch.arange(PEOPLE * CHANNELS, dtype=torch.float64).reshape(PEOPLE, CHANNELS))

    def forward(self, features, labels):
        return (features - self.centres[labels]).square().sum(dim=1).mean()


@pytest.mark.parametrize("weight", [0.0005, 2.0])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_loss_trains_its_own_numbers_at_its_own_rate_whatever_its_weight(weight, accumulate):
    centred = Centred()
    terms = [*make_losses({"identity": {}}, PEOPLE, CHANNELS), WeightedLoss("centred", weight, centred)]
    state = tiny_state(optim(name="sgd", clip=1e-3), terms)
    for step in range(3):
        parts = [part(10 * step + number) for number in range(accumulate)]
        expected = centred.centres.detach().clone()
        with torch.no_grad():
            before = expected.clone()
            plain = copy.deepcopy(state.network).train()
            for each in parts:
                for row, person in zip(plain(each.images).features, each.labels, strict=True):
                    expected[person] -= 0.5 * 2 * (before[person] - row) / len(each.labels) / accumulate
        state.step(parts, rate=0.1)
        torch.testing.assert_close(centred.centres.detach(), expected, **CLOSE)


@pytest.mark.parametrize("settings", [*STEPS, optim(name="sgd", momentum=0.0)], ids=named)
def test_saved_and_loaded_it_goes_on_with_the_same_bits(settings):
    def state_with_centres():
        terms = [*make_losses(BOTH, PEOPLE, CHANNELS), WeightedLoss("centred", 0.01, Centred())]
        return tiny_state(settings, terms)

    first, second = state_with_centres(), state_with_centres()
    for step in range(2):
        first.step([part(step)], 0.01, frozen=step == 0)
    second.load(load(save({name: value.contiguous() for name, value in first.tensors().items()})))
    for step in range(2, 5):
        assert torch.equal(first.step([part(step)], 0.01), second.step([part(step)], 0.01))
    stored = first.tensors(), second.tensors()
    assert stored[0].keys() == stored[1].keys()
    assert all(torch.equal(value, stored[1][name]) for name, value in stored[0].items())


def test_tensors_of_another_network_are_refused():
    state = tiny_state(optim())
    stored = state.tensors()
    del stored["model.backbone.conv.weight"]
    with pytest.raises(RuntimeError, match="backbone.conv.weight"):
        state.load(stored)


def slow_rate(settings, step, steps, total) -> float:
    """Going through the epochs; warm-up from a tenth, then what was multiplied so far or half a cosine."""
    first = settings.warmup * steps
    if step < first:
        return settings.lr * (0.1 + 0.9 * step / first)
    if settings.schedule == "cosine":
        return settings.lr * (1 + math.cos(math.pi * (step - first) / max(total - first, 1))) / 2
    rate = settings.lr
    for milestone in settings.milestones:
        if step >= milestone * steps:
            rate *= settings.gamma
    return rate


@pytest.mark.parametrize("schedule", ["steps", "cosine"])
@pytest.mark.parametrize("warmup", [0, 0.5, 2, 9])
def test_rates_are_those_of_a_slow_reference(schedule, warmup):
    settings = optim(schedule=schedule, warmup=warmup, milestones=(3, 3.5, 7), epochs=8, gamma=0.3)
    rates = [learning_rate_at(settings, step, 4, 32) for step in range(32)]
    assert rates == pytest.approx([slow_rate(settings, step, 4, 32) for step in range(32)], rel=1e-12)


def test_a_run_freezes_for_its_epochs_and_tests_its_average(tiny):
    changes = [*tiny, "optim.freeze=1", "optim.ema=0.5", "optim.epochs=2", "losses.triplet.weight=0.5"]
    for epochs in (1, 2):
        config = load_config("market_bn.yaml", [*changes, f"optim.epochs={epochs}", f"run=r{epochs}"])
        stored = read_tensors(train(config, progress=False) / FILE)
        torch.manual_seed(config.seed)
        begun = build.embedder(config, 6).state_dict()
        backbone = [name for name in begun if name.startswith("backbone.")]
        still = [name for name in backbone if torch.equal(stored[f"model.{name}"], begun[name])]
        assert len(still) == (len(backbone) if epochs == 1 else 0)
        assert not torch.equal(stored["model.classifier.weight"], begun["classifier.weight"])
        loaded = load_network(config, config.run_folder).state_dict()
        assert all(torch.equal(value, stored[f"average.{name}"]) for name, value in loaded.items())
        assert not torch.equal(stored["average.classifier.weight"], stored["model.classifier.weight"])


def test_a_compiled_run_says_when_it_pays_and_is_resumed_compiled_alone(tiny, caplog, monkeypatch):
    """By torch's graph without its code generator, which takes a C++ compiler half a minute."""
    kept = []
    real = TrainState.compile

    def compile_and_compare(state, parts, frozen):
        before = {name: value.clone() for name, value in state.tensors().items()}
        said = real(state, parts, frozen)
        after = state.tensors()
        assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)
        assert all(parameter.grad is None for parameter in state.network.parameters())
        kept.append(before)
        return said

    monkeypatch.setattr(TrainState, "compile", compile_and_compare)
    monkeypatch.setattr(Embedder, "compile", lambda network: nn.Module.compile(network, backend="aot_eager"))
    monkeypatch.setattr(build, "embedder", lambda config, num_classes: Embedder(Tiny(), num_classes))
    monkeypatch.setattr(build, "check", lambda config: None)
    config = load_config("market_bn.yaml", [*tiny, "compile=true", "optim.ema=0.5", "optim.steps=2"])
    caplog.set_level("INFO")
    folder = train(config, progress=False)
    assert len(kept) == 1 and "compiled in " in caplog.text
    assert any(said in caplog.text for said in (" before: pays after ", " before: does not pay"))
    progress = read_progress(folder / FILE)
    assert progress.compiled and progress.step == 2
    check_resumable(folder / FILE, progress, progress)
    for stored, now in ((True, False), (False, True)):
        with pytest.raises(InputError, match=f"cannot be resumed: compiled was {stored}, is {now} "):
            check_resumable(folder / FILE, replace(progress, compiled=stored), replace(progress, compiled=now))
    assert open_run(folder).describe()["compiled"] is True


def test_a_frozen_network_is_compiled_as_such_and_anew_when_it_thaws(tiny, monkeypatch):
    """What is compiled within a step would count in its images/s: only the first after the freezing may, and the log
    leaves it out."""
    torch._dynamo.reset()  # networks of one code share what is compiled
    graphs, left_out = [], []
    step, restart = TrainState.step, TrainLog.restart

    def counted_step(state, *arguments):
        before = counters["stats"]["unique_graphs"]
        shown = step(state, *arguments)
        graphs.append(counters["stats"]["unique_graphs"] - before)
        return shown

    def counted_restart(log):
        left_out.append(len(graphs))
        restart(log)

    monkeypatch.setattr(TrainState, "step", counted_step)
    monkeypatch.setattr(TrainLog, "restart", counted_restart)
    monkeypatch.setattr(Embedder, "compile", lambda network: nn.Module.compile(network, backend="aot_eager"))
    monkeypatch.setattr(build, "embedder", lambda config, num_classes: Embedder(Tiny(), num_classes))
    monkeypatch.setattr(build, "check", lambda config: None)
    settings = ["compile=true", "optim.freeze=0.25", "optim.steps=4"]  # an epoch has eight
    train(load_config("market_bn.yaml", [*tiny, *settings]), progress=False)
    assert [count > 0 for count in graphs] == [False, False, True, False]
    assert left_out == [0, 3, 4]  # before the first step, after the thawed one, at the end


def test_a_network_that_cannot_be_compiled_is_said_to_be_one(tiny, monkeypatch):
    def no_compiler(graph, inputs):
        raise FileNotFoundError("no C++ compiler")

    monkeypatch.setattr(Embedder, "compile", lambda network: nn.Module.compile(network, backend=no_compiler))
    config = load_config("market_bn.yaml", [*tiny, "compile=true"])
    with pytest.raises(InputError, match=r"compile: true: torch cannot compile .*no C\+\+ compiler.*; choose false"):
        train(config, progress=False)


@pytest.mark.parametrize("precision", ["tf32", "fp16"])
def test_precisions_of_cuda_are_refused_on_a_cpu(tiny, precision):
    config = load_config("market_bn.yaml", [*tiny, f"precision={precision}"])
    message = (
        rf"command line: precision: '{precision}' is computed on CUDA alone; the choices here are auto, float32, bf16"
    )
    with pytest.raises(InputError, match=message):
        train(config, progress=False)
    assert not config.run_folder.exists()
