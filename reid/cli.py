"""The ``reid`` command; the files in tools/ call the same functions.

Bad input ends with one message and exit code 2, an interrupt with 129 (a closed terminal), 130 (Ctrl-C) or 143
(SIGTERM). Imports stand in the functions that need them, so that ``--help`` and ``score``
start without loading the network's packages.
"""

from __future__ import annotations

import argparse
import io
import logging
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from reid.commands import adapting, comparing, divergence, embedding, gallery, scoring, search, training
from reid.errors import InputError


@dataclass(frozen=True)
class Command:
    """One sub-command; ``tool`` is the file in tools/ that runs it alone."""

    tool: str
    help: str
    example: str
    arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], None]


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of ``reid``; returns the exit code."""
    parser = argparse.ArgumentParser(prog="reid", description="Person re-identification across camera domains.")
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True)
    for name, command in COMMANDS.items():
        _fill(
            subparsers.add_parser(name, help=command.help, formatter_class=argparse.RawDescriptionHelpFormatter),
            command,
            f"reid {name}",
        )
    return _run(parser, arguments)


def tool(name: str) -> int:
    """Entry point of one file in tools/; returns the exit code."""
    command = COMMANDS[name]
    parser = argparse.ArgumentParser(prog=command.tool, formatter_class=argparse.RawDescriptionHelpFormatter)
    _fill(parser, command, f"python tools/{command.tool}")
    return _run(parser, None)


def _fill(parser: argparse.ArgumentParser, command: Command, prefix: str) -> None:
    parser.description = command.help
    parser.epilog = f"example:\n  {prefix} {command.example}"
    command.arguments(parser)
    parser.set_defaults(run=command.run)


def _run(parser: argparse.ArgumentParser, arguments: Sequence[str] | None) -> int:
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # names of files may hold what a terminal cannot show
    parsed = parser.parse_args(arguments)
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    logging.getLogger("reid").setLevel(logging.INFO)
    try:
        parsed.run(parsed)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stop:
        with suppress(OSError):  # the terminal is closed
            print(f"\n{str(stop) or 'interrupted'}", file=sys.stderr)
        return getattr(stop, "code", 130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader (head, less) has seen enough
        return 141
    return 0


COMMANDS = {
    "train": Command("train.py", "Train on the source, then test on it and on the config's targets.",
                     "--cfg sites_ibn_b.yaml seed=1", training.train_arguments, training.train),
    "evaluate": Command("evaluate.py", "Test a trained run on any data sets.",
                        "--model runs/sites_ibn_b_seed0 --targets station street",
                        training.evaluate_arguments, training.evaluate),
    "adapt": Command("adapt.py", "AdaBN, kept: a run with the batch-norm statistics of a site's images.",
                     "--model runs/sites_bn_seed0 --data station", adapting.arguments, adapting.run),
    "cross-domain": Command("cross_domain.py", "Train what is missing, test every model on every target, show the gap.",
                            "--benchmark sites.yaml --jobs 2 --output runs/report",
                            comparing.cross_domain_arguments, comparing.cross_domain),
    "divergence": Command("divergence.py", "How differently a network sees two sites, stage by stage, without labels.",
                          "--model runs/sites_bn_seed0 runs/sites_ibn_b_seed0 --a plaza --b station",
                          divergence.divergence_arguments, divergence.divergence),
    "report": Command("report.py", "A page of a benchmark: tables with intervals, pictures, ranked lists.",
                      "runs/report", comparing.report_arguments, comparing.report),
    "embed": Command("embed.py", "Features of images, folders, CSV files and data sets into one file, by any network.",
                     "--model runs/sites_ibn_b_seed0 plaza --split query --output query.npz",
                     embedding.embed_arguments, embedding.embed),
    "score": Command("score.py", "CMC, mAP and mINP of features of any origin.",
                     "--query query.npz --gallery gallery.npz --json figures.json",
                     scoring.score_arguments, scoring.score),
    "check-data": Command("check_data.py", "Count a data set against its card, find bad files, draw a contact sheet.",
                          "plaza", scoring.check_arguments, scoring.check_data),
    "search": Command("search.py", "Put people into a gallery, find them again, take them out.",
                      "stats", search.search_arguments, search.search),
    "gallery": Command("gallery.py", "The gallery as a web page and an HTTP API.",
                       "--model runs/sites_ibn_b_seed0 --store runs/gallery", gallery.arguments, gallery.run),
}  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
