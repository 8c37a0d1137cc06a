"""How the run folders beside this file were made: by commit f91f67f, before config.yaml had a schema number and
checkpoints said which code made them. Not to be made again with later code.

    git worktree add ../before f91f67f && cd an/empty/folder
    PYTHONPATH=BEFORE:BEFORE/tests python MAIN/tests/data/old_runs/make.py  # BEFORE, MAIN: the two checkouts
"""

import os
import signal
from pathlib import Path

from runs import evaluate_run
from trees import write_image

from reid.config import load_config
from reid.engine import build
from reid.engine.train import Interrupted, train

OVERRIDES = [
    "model.backbone=resnet18_ibn_b", "model.weights=none", "model.width=0.03125", "data.source=people.csv",
    "data.height=32", "data.width=16", "data.workers=0", "sampler.identities=3", "sampler.images=2", "optim.epochs=3",
    "optim.warmup=1", "optim.lr=3e-3", "transforms.pad=2", "transforms.erasing=0", "device=cpu", "precision=float32",
    "threads=1",
]  # fmt: skip

rows = ["path,pid,camid,split"]
for pid in range(1, 7):
    for cam in (1, 2):
        for shot in (0, 1):
            name = f"images/{pid:02d}_c{cam}_{shot}.bmp"
            write_image(Path(name), pid, cam, shot, (32, 16))
            split = "train" if pid <= 3 else "query" if shot == 0 else "gallery"
            rows.append(f"{name},{pid},{cam},{split}")
Path("people.csv").write_text("\n".join(rows) + "\n")

config = load_config("market_bn.yaml", [*OVERRIDES, "run=finished"])
evaluate_run(config, train(config, progress=False), ["people.csv"], progress=False)

calls, total_loss = [], build.total_loss


def stopping(*arguments):
    calls.append(1)
    if len(calls) == 3:  # in the middle of the second of three epochs
        os.kill(os.getpid(), signal.SIGTERM)
    return total_loss(*arguments)


build.total_loss = stopping
try:
    train(load_config("market_bn.yaml", [*OVERRIDES, "run=stopped"]), progress=False)
except Interrupted as stop:
    print(stop)
