"""``reid train``."""

from __future__ import annotations

import argparse
from importlib import import_module

from reid.commands.command import Command, add_overrides


def train_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--cfg", required=True, metavar="FILE", help="config file: a path, or a bundled one's name")
    add_overrides(parser)


def train(arguments: argparse.Namespace) -> None:
    from reid.config import load_config

    config = load_config(arguments.cfg, arguments.overrides)  # before torch is loaded, which takes seconds

    from reid.engine import build
    from reid.engine.distributed import first_before_others, joined, rank
    from reid.engine.train import train

    # By its name: what tests is a command of its own, and as many files again as training is.
    evaluating = import_module("reid.commands.evaluating")
    targets = evaluating.with_sources(config, config.targets)
    with joined(build.placement(config).device):
        with first_before_others():  # who draws the sites that are not there
            evaluating.check_targets(config, targets)
        folder = train(config)
        if targets:
            evaluating.evaluate_run(config, folder, targets)
        elif rank() == 0:
            print(f"trained: {folder}; {' and '.join(config.data.sources)}: no test split there, and no target given")


TRAIN = Command(
    "train.py",
    "Train on the source, then test on it and on the config's targets.",
    "--cfg sites_ibn_b.yaml seed=1",
    train_arguments,
    train,
    several=True,
)
