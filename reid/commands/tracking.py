"""``reid track``: runs for TensorBoard."""

from __future__ import annotations

import argparse
from pathlib import Path

from reid.commands.command import Command
from reid.errors import InputError


def track_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="folder of a run, finished or at work")
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("runs/tensorboard"),
        metavar="DIR",
        help="a folder a run is written here (default: %(default)s); called again, what is new is appended",
    )


def track(arguments: argparse.Namespace) -> None:
    for run in arguments.runs:
        if not run.is_dir():
            what = "is a file, and only a run's folder holds a log" if run.is_file() else "no such folder"
            raise InputError(f"{run}: {what}")

    from reid.engine.events import export_runs

    for path in export_runs(arguments.runs, arguments.output):
        print(f"written: {path}")
    print(f"tensorboard --logdir {arguments.output}")


TRACK = Command(
    "track.py",
    "Write what runs logged as event files of TensorBoard.",
    "runs/sites_bn_seed0 runs/sites_ibn_b_seed0 --output runs/tensorboard",
    track_arguments,
    track,
)
