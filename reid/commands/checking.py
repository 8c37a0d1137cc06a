"""``reid check-data``: a data set against its card."""

from __future__ import annotations

import argparse
from pathlib import Path

from reid.commands.command import Command, add_data_roots
from reid.errors import InputError


def check_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME_OR_CARD", help="bundled card's name, a card, a .csv file or a folder")
    add_data_roots(parser)
    parser.add_argument(
        "--protocol",
        choices=("cross-camera", "any-camera"),
        help="any-camera: where cameras are not known (default: the card's)",
    )
    parser.add_argument(
        "--sheet", type=Path, metavar="FILE", help="contact sheet, a .png or .jpg (default: runs/check/NAME.png)"
    )


def check_data(arguments: argparse.Namespace) -> None:
    from reid.data.check import check
    from reid.files import data_root

    sheet = arguments.sheet or Path("runs/check") / f"{Path(arguments.name).absolute().stem}.png"
    report = check(arguments.name, data_root(arguments.root), arguments.sites_root, sheet, protocol=arguments.protocol)
    print(report.text())
    print(f"written: {sheet}")
    if not report.ok:
        raise InputError(f"{arguments.name}: the data set has the problems listed above")


CHECK_DATA = Command(
    "check_data.py",
    "Count a data set against its card, find bad files, draw a contact sheet.",
    "plaza",
    check_arguments,
    check_data,
)
