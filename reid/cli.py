"""The ``reid`` command; the files in tools/ run the same commands one by one."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from reid.commands.adapting import ADAPT
from reid.commands.checking import CHECK_DATA
from reid.commands.command import run
from reid.commands.comparing import CROSS_DOMAIN
from reid.commands.divergence import DIVERGENCE
from reid.commands.embedding import EMBED
from reid.commands.evaluating import EVALUATE
from reid.commands.exporting import EXPORT
from reid.commands.gallery import GALLERY
from reid.commands.reporting import REPORT
from reid.commands.scoring import SCORE
from reid.commands.search import SEARCH
from reid.commands.tracking import TRACK
from reid.commands.training import TRAIN
from reid.installed import another_reid

COMMANDS = {
    "train": TRAIN,
    "evaluate": EVALUATE,
    "adapt": ADAPT,
    "cross-domain": CROSS_DOMAIN,
    "divergence": DIVERGENCE,
    "export": EXPORT,
    "report": REPORT,
    "track": TRACK,
    "embed": EMBED,
    "score": SCORE,
    "check-data": CHECK_DATA,
    "search": SEARCH,
    "gallery": GALLERY,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of ``reid``; returns the exit code."""
    if problem := another_reid():
        print(f"error: {problem}", file=sys.stderr)
        return 2
    parser = argparse.ArgumentParser(prog="reid", description="Person re-identification across camera domains.")
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True)
    for name, command in COMMANDS.items():
        command.fill(subparsers.add_parser(name, help=command.help), f"reid {name}")
    return run(parser, arguments)


if __name__ == "__main__":
    sys.exit(main())
