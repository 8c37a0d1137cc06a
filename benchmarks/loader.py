"""Images/s of one loader worker against the plain loader (Pillow, albumentations, float32: plain_loader.py).

    make bench

Drawn crops of Market-1501's size (64 x 128, JPEG of about 4 kB) to batches of 64 images of 256 x 128. The worker's CPU
time counts, so that what else the machine does matters little; medians of rounds, each loader beside the plain one.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import platform
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image
from plain_loader import PlainImages, plain_batches

from reid.data.dataset import ImageCache, ImageDataset, batches, evaluation_draws, training_draws
from reid.data.transforms import evaluation_transform, training_transform
from reid.texts import align

HEIGHT, WIDTH, BATCH, IMAGES = 256, 128, 64, 512
ORDER = [list(range(low, low + BATCH)) for low in range(0, IMAGES, BATCH)]


def write_crops(folder: Path) -> list[Path]:
    """Smooth colours with a camera's noise."""
    rng = np.random.default_rng(0)
    paths = [folder / f"{number:04d}.jpg" for number in range(IMAGES)]
    for path in paths:
        colours = rng.integers(0, 256, (16, 8, 3)).astype(np.float32)
        pixels = cv2.resize(colours, (64, 128), interpolation=cv2.INTER_CUBIC) + rng.normal(0, 7, (128, 64, 3))
        Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(path, quality=90)
    return paths


def cpu_seconds(pid: int) -> float:
    """CPU time of another process, to 10 ms."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def rate(start: Callable[[], Iterator[object]]) -> float:
    """Images a second of CPU time, of the one worker that ``start`` begins, from its first epoch's end on."""
    before = set(multiprocessing.active_children())
    loaded = start()
    for _ in ORDER:
        next(loaded)
    (worker,) = set(multiprocessing.active_children()) - before
    assert worker.pid is not None
    begun, count = cpu_seconds(worker.pid), 0
    for _ in range(10 * len(ORDER)):
        next(loaded)
        count += BATCH
    return count / (cpu_seconds(worker.pid) - begun)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    print(f"{platform.processor() or platform.machine()}, torch {torch.__version__}, {BATCH} x {HEIGHT} x {WIDTH}\n")
    with tempfile.TemporaryDirectory() as name:
        paths = write_crops(Path(name))
        trained, tested = training_transform(HEIGHT, WIDTH), evaluation_transform(HEIGHT, WIDTH)
        epochs = 12
        training = [draws for epoch in range(epochs) for draws in training_draws(ORDER, 0, epoch)]
        evaluation = evaluation_draws(IMAGES, BATCH) * epochs
        plain = {kind: PlainImages(paths, HEIGHT, WIDTH, kind == "training") for kind in ("training", "evaluation")}

        def by_plain(kind: str) -> Callable[[], Iterator[object]]:
            return lambda: plain_batches(plain[kind], ORDER * epochs)

        def kept() -> Iterator[object]:
            cache = ImageCache(IMAGES, HEIGHT, WIDTH, 10**9)
            return batches(ImageDataset(paths, trained.fit, trained.augment, cache), training, 1)

        ours: dict[str, Callable[[], Iterator[object]]] = {
            "training": lambda: batches(ImageDataset(paths, trained.fit, trained.augment), training, 1),
            "training, data.cache=ram": kept,
            "evaluation": lambda: batches(ImageDataset(paths, tested.fit), evaluation, 1),
        }
        lines = [["one loader worker", "plain images/s", "images/s", "ratio"]]
        for title, start in ours.items():
            beside = by_plain(title.split(",")[0])
            rates = np.array([(rate(beside), rate(start)) for _ in range(rounds)])
            first, second = np.median(rates, axis=0)
            lines.append([title, f"{first:,.0f}", f"{second:,.0f}", f"{np.median(rates[:, 1] / rates[:, 0]):.2f}"])
        print(align(lines))


if __name__ == "__main__":
    main()
