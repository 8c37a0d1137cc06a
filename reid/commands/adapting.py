"""``reid adapt``."""

from __future__ import annotations

import argparse
from pathlib import Path

from reid.commands.command import Command
from reid.commands.shared import add_overrides, split_overrides


def adapt_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", required=True, metavar="RUN", help="a trained run's folder, which stays as it is")
    parser.add_argument(
        "--data",
        required=True,
        metavar="SITE",
        help="images without labels: a folder of crops, or a data set (its training split where it has one)",
    )
    parser.add_argument(
        "--output", type=Path, metavar="DIR", help="the new run's folder (default: RUN_adabn_SITE, beside the run's)"
    )
    add_overrides(parser)


def adapt(arguments: argparse.Namespace) -> None:
    from reid.evaluation.adapted import keep_adapted
    from reid.evaluation.subject import subject_of

    _, overrides = split_overrides((), arguments.overrides)
    folder = keep_adapted(subject_of(arguments.model, overrides), arguments.data, arguments.output)
    print(f"adapted: {folder}")


ADAPT = Command(
    "adapt.py",
    "AdaBN, kept: a run with the batch-norm statistics of a site's images.",
    "--model runs/sites_bn_seed0 --data station",
    adapt_arguments,
    adapt,
)
