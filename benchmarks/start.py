"""What a grid that is done takes to say so: seconds from the start of ``cross_domain.py --list`` to "0 missing".

    make bench

A generated tree: MSMT17's layout and numbers (93,820 test images, 30,248 to train on), Market-1501's and
DukeMTMC-reID's, each image of some hundred bytes. Three models, three sources, three targets, three seeds: 27 runs of
narrow networks. Nothing is trained or tested: checkpoints and results are written as if it had been. Of networks of
full width the digests of their checkpoints come on top (a ResNet-50's has 280 MB).
"""

from __future__ import annotations

import argparse
import io
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image
from retrieval import machine

from reid.config import dump_resolved
from reid.data.reading import tables_kept
from reid.engine import build
from reid.engine.checkpoint import CONFIG_FILE, FILE, LOG_FILE, Progress, save_model
from reid.engine.code import training_code
from reid.evaluation.entries import Run, runs_of
from reid.evaluation.evaluate import _inputs
from reid.evaluation.grid import load_benchmark
from reid.evaluation.results import QUERIES_FILE, RESULTS_FILE
from reid.files import write_atomically
from reid.texts import align

GRID = """
models: {BN: market_bn.yaml, IBN-a: market_ibn_a.yaml, IBN-b: market_ibn_b.yaml}
sources: [market1501, msmt17, dukemtmc]
targets: [market1501, msmt17, dukemtmc]
seeds: [0, 1, 2]
"""
SMALL = ["model.weights=none", "model.width=0.0625", "data.workers=0", "device=cpu", "precision=float32"]
# Identities and images of each split: those of the data sets.
MSMT = {"train": (1041, 30_248), "val": (1041, 2_373), "query": (3060, 11_659), "gallery": (3060, 82_161)}
FOLDERS = {"train": "bounding_box_train", "query": "query", "gallery": "bounding_box_test"}
MARKET = {"train": (751, 12_936), "query": (750, 3_368), "gallery": (750, 19_732)}
DUKE = {"train": (702, 16_522), "query": (702, 2_228), "gallery": (1110, 17_661)}
COUNTED = """
import collections, sys
from reid.data import reading
reads = collections.Counter()
read_dataset = reading.read_dataset
def counted(card, data_root, sites_root, splits=None):
    if splits != ():  # for the name alone no file is looked at
        reads.update([f"{card.name} {split}" for split in splits or card.splits])
    return read_dataset(card, data_root, sites_root, splits)
reading.read_dataset = counted
from reid.commands.command import run_tool
from reid.commands.comparing import CROSS_DOMAIN
code = run_tool(CROSS_DOMAIN)
print(max(reads.values()), len(reads))
sys.exit(code)
"""


def picture(number: int) -> bytes:
    """A small image, with bytes behind it that make it unlike every other in content, and unlike many in length."""
    return PIXELS + number.to_bytes(4, "little") * (1 + number % 61)


def _pixels() -> bytes:
    content = io.BytesIO()
    Image.new("RGB", (4, 8), (90, 120, 60)).save(content, "JPEG")
    return content.getvalue()


PIXELS = _pixels()


def msmt_tree(root: Path) -> None:
    """MSMT17_V1 in ``root``: a folder an identity, lists of what is in each split."""
    top = root / "MSMT17_V1"
    for split, (people, images) in MSMT.items():
        folder = top / ("train" if split in ("train", "val") else "test")
        for pid in range(people):
            (folder / f"{pid:04d}").mkdir(parents=True, exist_ok=True)
        lines = []
        for number in range(images):
            pid, camera = number % people, 1 + (number + number // people) % 15
            name = f"{pid:04d}/{pid:04d}_{number:06d}_{camera:02d}_{split}_0.jpg"
            (folder / name).write_bytes(picture(number))
            lines.append(f"{name} {pid}\n")
        (top / f"list_{split}.txt").write_text("".join(lines))


def flat_tree(top: Path, splits: dict[str, tuple[int, int]]) -> None:
    """Market-1501's layout: a folder a split, the identity and the camera in the file's name."""
    for split, (people, images) in splits.items():
        (top / FOLDERS[split]).mkdir(parents=True)
        for number in range(images):
            name = f"{number % people + 1:04d}_c{1 + (number + number // people) % 6}s1_{number:06d}_01.jpg"
            (top / FOLDERS[split] / name).write_bytes(picture(number))


def finish(run: Run) -> None:
    """Write the run's folder as if it had been trained and tested on every target."""
    config, folder = run.config, run.config.run_folder
    source = build.source(config)
    people = len(np.unique(source.samples.pids))
    done = Progress(
        step=100, total_steps=100, num_classes=people, config_hash=config.hash(), source=source.label,
        data=source.fingerprint, threads=1, device="cpu", precision="float32", packages="", cpu="", seconds=100.0,
        weights="none", code=training_code(validated=False),
    )  # fmt: skip
    write_atomically(folder / CONFIG_FILE, dump_resolved(config))
    write_atomically(folder / LOG_FILE, json.dumps({"step": 100, "epoch": 1}) + "\n")
    save_model(folder / FILE, build.embedder(config, people), done)
    subject, tests = run.subject(), {}
    for target, _ in run.tests():
        tests[target.filed] = {"inputs": _inputs(subject, target), "dataset": target.describe()}
        write_atomically(folder / "targets" / target.filed / QUERIES_FILE, b"")
    write_atomically(folder / RESULTS_FILE, json.dumps({"run": subject.describe(), "targets": tests}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="keep the generated tree there, and take it from there")
    given = parser.parse_args().folder
    with tempfile.TemporaryDirectory() as name:
        folder = given or Path(name)
        grid, overrides = folder / "grid.yaml", [*SMALL, f"data.root={folder}", f"output={folder / 'runs'}"]
        if not grid.exists():
            folder.mkdir(parents=True, exist_ok=True)
            msmt_tree(folder)
            flat_tree(folder / "Market-1501-v15.09.15", MARKET)
            flat_tree(folder / "DukeMTMC-reID", DUKE)
            grid.write_text(GRID)
        with tables_kept():
            for run in runs_of(load_benchmark(str(grid))[1], overrides):
                finish(run)
        started = time.monotonic()
        command = [sys.executable, "-c", COUNTED, "--benchmark", str(grid), "--list", *overrides]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        seconds = time.monotonic() - started
    if ", 0 missing" not in done.stderr:
        raise RuntimeError(done.stderr)
    reads, splits = done.stdout.splitlines()[-1].split()
    row = ["27 runs, 81 cells, 94,000 images in the largest target", f"{seconds:.1f}", f"{reads} ({splits} splits)"]
    print(f"{machine()}, {os.cpu_count()} cores\n")
    print(align([["a grid that is done", "seconds to '0 missing'", "readings of a split"], row]))


if __name__ == "__main__":
    main()
