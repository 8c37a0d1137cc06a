"""Speed of a training step, and of the way from one epoch to the next.

    make bench

CPU: the networks of sites_bn, sites_ibn_a and sites_ibn_b, a batch of 32 images of 128 x 64, one thread (``make bench``
sets it), CPU seconds, medians. Plain: the same weights, losses and optimiser in a loop of five lines, float32, with
torch's instance norm and IBN-a as published; both are timed in turns. The epochs' gap is that of a real training.

CUDA, where there is one: ResNet-50-IBN-b, images of 256 x 128 from memory, the precision that ``auto`` takes.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch
from retrieval import machine
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from reid.config import Config, load_config
from reid.data.dataset import ImageDataset, batches, evaluation_draws
from reid.engine import build
from reid.engine.objective import Objective
from reid.engine.state import Part, TrainState
from reid.engine.train import train
from reid.models.backbone import InstanceNorm
from reid.models.resnet import IBN
from reid.texts import align

SITES = ("sites_bn.yaml", "sites_ibn_a.yaml", "sites_ibn_b.yaml")
ON_A_CPU = ["device=cpu", "precision=float32", "threads=1", "targets=[]"]
PEOPLE = 64
WARM_UP = 5  # steps
# Dense bf16 operations a second, from the data sheets of the cards, by a part of the name that CUDA gives.
PEAKS = {
    **{"A100": 312e12, "H100 PCIe": 756e12, "H100 NVL": 835e12, "H100": 989e12, "H200 NVL": 835e12, "H200": 989e12},
    **{"L40S": 362e12, "L40": 181e12, "L4": 121e12},
}


class PublishedIBN(IBN):
    """IBN-a as its authors' code computes it: what it gives lies channel after channel."""

    def forward(self, x: Tensor) -> Tensor:
        first, rest = torch.split(x, self.split, dim=1)
        return torch.cat((self.IN(first.contiguous()), self.BN(rest.contiguous())), dim=1)


def published(network: nn.Module) -> nn.Module:
    """The network with torch's instance norm and the published IBN-a; its weights stay."""
    for module in network.modules():
        if type(module) is InstanceNorm:
            module.__class__ = nn.InstanceNorm2d  # type: ignore[assignment]
        elif type(module) is IBN:
            module.__class__ = PublishedIBN
    return network


def batch(config: Config, images: int, pinned: bool = False) -> Part:
    """Noise as the loader gives images."""
    drawn = torch.Generator().manual_seed(0)
    size = (images, 3, config.data.height, config.data.width)
    pixels = torch.randint(0, 256, size, dtype=torch.uint8, generator=drawn)
    pixels = pixels.contiguous(memory_format=torch.channels_last)
    labels = torch.arange(images) // config.sampler.images % PEOPLE
    return Part(pixels.pin_memory() if pinned else pixels, labels, torch.zeros_like(labels))


def our_step(config: Config) -> tuple[Callable[[Part], object], TrainState]:
    """A step as ``tools/train.py`` does it."""
    placement = build.placement(config)
    placement.take_up()
    torch.manual_seed(0)
    network = build.embedder(config, PEOPLE)
    objective = Objective(build.losses(config, PEOPLE, network.channels))
    state = TrainState(network, objective, config.optim, placement, build.train_transform(config).normalise)
    return lambda part: state.step([part], config.optim.lr), state


def plain_step(config: Config, device: torch.device) -> Callable[[Part], object]:
    """The step that everybody writes."""
    torch.manual_seed(0)
    embedder = build.embedder(config, PEOPLE)
    network = published(embedder).to(device).to(memory_format=torch.channels_last).train()
    objective = Objective(build.losses(config, PEOPLE, embedder.channels)).to(device)
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimizer = torch.optim.Adam(trained, config.optim.lr, weight_decay=config.optim.weight_decay, fused=True)
    normalise = build.train_transform(config).normalise

    def step(part: Part) -> Tensor:
        optimizer.zero_grad()
        images, labels = normalise(part.images.to(device)), part.labels.to(device)
        total, values = objective(network(images), labels, part.cameras.to(device))
        total.backward()
        optimizer.step()
        return values

    return step


def in_turns(works: list[Callable[[], object]], rounds: int) -> np.ndarray:
    """(rounds, works) CPU seconds."""
    times = np.empty((rounds, len(works)))
    for number in range(-WARM_UP, rounds):
        for place, work in enumerate(works):
            start = time.process_time()
            work()
            times[max(number, 0), place] = time.process_time() - start
    return times


def site_line(name: str, rounds: int) -> list[str]:
    config = load_config(name, ON_A_CPU)
    ours, _ = our_step(config)
    plain = plain_step(config, torch.device("cpu"))
    part = batch(config, config.sampler.identities * config.sampler.images)
    times = in_turns([lambda: plain(part), lambda: ours(part)], rounds)
    medians = np.median(times, axis=0)
    ratio = float(np.median(times[:, 1] / times[:, 0]))
    rate = len(part.images) / medians[1]
    return [name.removesuffix(".yaml"), f"{medians[0]:.3f}", f"{medians[1]:.3f}", f"{ratio:.3f}", f"{rate:.0f}"]


def people_tree(folder: Path, people: int, images: int, size: tuple[int, int]) -> Path:
    """A folder a person, each with so many pictures (height, width) of soft noise, from two cameras."""
    drawn = np.random.default_rng(0)
    for person in range(1, people + 1):
        place = folder / "train" / f"{person:04d}"
        place.mkdir(parents=True)
        for number in range(images):
            coarse = drawn.integers(0, 256, (8, 4, 3), np.uint8)
            image = cv2.resize(coarse, size[::-1], interpolation=cv2.INTER_CUBIC)
            cv2.imwrite(str(place / f"{person:04d}_c{number % 2 + 1}_{number:03d}.jpg"), image)
    return folder


def gap_line(folder: Path, epochs: int) -> list[str]:
    """From the end of a step to the beginning of the next, in a training with two workers; and what a loader that
    starts anew takes to its first batch, in a process that has started one before."""
    source = people_tree(folder / "people", people=32, images=8, size=(128, 64))
    config = load_config(
        "sites_bn.yaml",
        [f"data.source={source}", "data.workers=2", f"optim.epochs={epochs}", f"output={folder}", "run=gap", *ON_A_CPU],
    )
    marks: list[tuple[float, float]] = []
    real = TrainState.step

    def timed(*arguments: object, **named: object) -> Tensor:
        start = time.monotonic()
        values = real(*arguments, **named)  # type: ignore[arg-type]
        marks.append((start, time.monotonic()))
        return values

    TrainState.step = timed  # type: ignore[method-assign]
    train(config, progress=False)
    TrainState.step = real  # type: ignore[method-assign]
    trained_on = build.source(config)
    samples = trained_on.samples
    steps = len(build.sampler(config, samples.pids, trained_on.domains))
    gaps = [after[0] - before[1] for before, after in itertools.pairwise(marks)]
    between = [gap for place, gap in enumerate(gaps, 1) if place % steps == 0]
    within = [gap for place, gap in enumerate(gaps, 1) if place % steps]
    transform = build.train_transform(config)
    anew = []
    for _ in range(3):
        start = time.monotonic()
        dataset = ImageDataset(samples.paths, transform.fit, transform.augment)
        loaded = batches(
            dataset, [[draw._replace(stream=(0,)) for draw in one] for one in evaluation_draws(256, 32)], 2
        )
        next(loaded)
        anew.append(time.monotonic() - start)
        del loaded  # ends the workers
    figures = [statistics.median(within), statistics.median(between), max(between), statistics.median(anew)]
    return ["sites_bn", str(len(between)), *(f"{figure:.4f}" for figure in figures)]


def cuda_line(size: int, seconds: float) -> list[str]:
    """Images a second over some seconds of steps; the time of the device's kernels, by torch's profiler, as a share."""
    config = load_config("market_ibn_b.yaml", ["model.weights=none", "device=cuda"])
    step, state = our_step(config)
    torch.backends.cudnn.benchmark = True
    part = batch(config, size, pinned=True)
    for _ in range(4 * WARM_UP):
        step(part)
    torch.cuda.synchronize()
    steps, start = 0, time.monotonic()
    while time.monotonic() - start < seconds:
        for _ in range(10):
            step(part)
        torch.cuda.synchronize()
        steps += 10
    taken = (time.monotonic() - start) / steps
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        for _ in range(10):
            step(part)
        torch.cuda.synchronize()
    kernels = [event for event in profile.key_averages() if event.device_type.name == "CUDA"]
    busy = sum(kernel.self_device_time_total for kernel in kernels if not kernel.is_user_annotation) / 1e6 / 10
    rate = size / taken
    name = torch.cuda.get_device_name()
    peak = next((value for part_of_name, value in PEAKS.items() if part_of_name in name), None)
    share = "not known" if peak is None else f"{rate * operations(config) / peak:.1%}"
    plain = plain_step(config, torch.device("cuda"))
    for _ in range(2 * WARM_UP):
        plain(part)
    torch.cuda.synchronize()
    start = time.monotonic()
    for _ in range(20):
        plain(part)
    torch.cuda.synchronize()
    ratio = taken / ((time.monotonic() - start) / 20)
    return [
        f"{name}, {state.placement.precision}",
        str(size),
        f"{rate:.0f}",
        f"{ratio:.3f}",
        f"{busy / taken:.1%}",
        share,
    ]


def operations(config: Config) -> float:
    """Of an image in training: two a multiplication and addition, forward once and backward twice."""
    with torch.device("meta"):
        network = build.embedder(config, PEOPLE).eval()
        with FlopCounterMode(display=False) as counter:
            network(torch.empty(1, 3, config.data.height, config.data.width))
    return 3 * counter.get_total_flops()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    quick = parser.parse_args().quick
    print(f"{machine()}, torch {torch.__version__}, {torch.get_num_threads()} thread\n")
    lines = [["a step, 32 x 128 x 64", "plain s", "ours s", "ratio", "images/s"]]
    print(align([*lines, *(site_line(name, 9 if quick else 41) for name in SITES)]) + "\n", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        lines = [["2 workers, seconds", "epochs' ends", "step to step", "epoch to epoch", "longest", "a loader anew"]]
        print(align([*lines, gap_line(Path(folder), 4 if quick else 12)]) + "\n", flush=True)
    if not torch.cuda.is_available():
        print("ResNet-50-IBN-b, 256 x 128, batch 64 and 256: not measured on a GPU")
        return
    lines = [["ResNet-50-IBN-b, 256 x 128", "batch", "images/s", "ratio to plain", "device use", "of the bf16 peak"]]
    print(align([*lines, *(cuda_line(size, 3 if quick else 20) for size in (64, 256))]))


if __name__ == "__main__":
    main()
