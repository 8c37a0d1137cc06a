"""``reid train``."""

from __future__ import annotations

import argparse
from importlib import import_module

from reid.commands.command import Command
from reid.commands.shared import add_overrides, check_targets, with_sources


def train_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--cfg", required=True, metavar="FILE", help="config file: a path, or a bundled one's name")
    add_overrides(parser)


def train(arguments: argparse.Namespace) -> None:
    from reid.config import load_config

    config = load_config(arguments.cfg, arguments.overrides)  # before torch is loaded, which takes seconds

    from reid.engine import build
    from reid.engine.distributed import first_before_others, joined, rank
    from reid.engine.train import train

    targets = with_sources(config, config.targets)
    with joined(build.placement(config).device):
        with first_before_others():  # who draws the sites that are not there
            check_targets(config, targets)
        folder = train(config)
        if targets:
            # By its name: what tests is a command of its own, and as many files again as training is.
            import_module("reid.commands.evaluating").evaluate_run(config, folder, targets)
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
