"""``reid report``: the page of a benchmark."""

from __future__ import annotations

import argparse
from pathlib import Path

from reid.commands.command import Command


def report_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("results", nargs="+", type=Path, metavar="DIR", help="folders of cross_domain --benchmark")
    parser.add_argument("--output", type=Path, metavar="DIR", help="where to write (default: the first folder)")


def report(arguments: argparse.Namespace) -> None:
    from reid.report.page import build_report

    written = build_report(arguments.results, arguments.output)
    print("written: " + ", ".join(str(path) for path in written))


REPORT = Command(
    "report.py",
    "A page of a benchmark: tables with intervals, pictures, ranked lists.",
    "runs/report",
    report_arguments,
    report,
)
