"""``reid adapt``."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path

from reid.commands.command import Command, add_overrides, split_overrides
from reid.commands.models import add_model, check_there
from reid.networks import RUN


def adapt_arguments(parser: argparse.ArgumentParser) -> None:
    add_model(parser, RUN, note=", trained; it stays as it is")
    parser.add_argument(
        "--data",
        required=True,
        metavar="SITE",
        help="images without labels: a folder of crops, or a data set (its training split where it has one)",
    )
    parser.add_argument(
        "--output",
        type=Path,
        metavar="DIR",
        help="the new run's folder (default: RUN_adabn_SITE, of the names of both, beside the run's)",
    )
    add_overrides(parser)


def adapt(arguments: argparse.Namespace) -> None:
    _, overrides = split_overrides((), arguments.overrides)
    check_there([arguments.model], [arguments.data], RUN)

    from reid.engine.checkpoint import FILE, read_progress
    from reid.evaluation.adapted import keep_adapted
    from reid.evaluation.subject import subject_of

    folder = keep_adapted(subject_of(arguments.model, overrides), arguments.data, arguments.output)
    seen = read_progress(folder / FILE).adapted
    print(f"adapted to {seen['images']:,} images of {seen['data']}: {folder}")
    print(f"test it: python tools/evaluate.py --model {shlex.quote(str(folder))} --targets NAME")


ADAPT = Command(
    "adapt.py",
    "AdaBN, kept: a run with the batch-norm statistics of a site's images.",
    "--model runs/sites_bn_seed0 --data station",
    adapt_arguments,
    adapt,
)
