"""A command as an object, options that several have, and how one ends.

``reid NAME`` and ``python tools/NAME.py`` run the same. Bad input ends with one message and exit code 2, an interrupt
with 129 (a closed terminal), 130 (Ctrl-C) or 143 (SIGTERM). Imports stand in the functions that need them, so that
``--help`` and an error in a config's values come without loading the network's packages.
"""

from __future__ import annotations

import argparse
import io
import logging
import os
import re
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from reid.errors import InputError


@dataclass(frozen=True)
class Command:
    """One sub-command; ``tool`` is the file in tools/ that runs it alone, and ``several`` whether torchrun may start
    several processes of it."""

    tool: str
    help: str
    example: str
    arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], None]
    several: bool = False

    def fill(self, parser: argparse.ArgumentParser, prefix: str) -> None:
        """Give ``parser`` the command's words and options; ``prefix``: what stands before them on a command line."""
        parser.description = self.help
        parser.epilog = f"example:\n  {prefix} {self.example}"
        parser.formatter_class = argparse.RawDescriptionHelpFormatter
        self.arguments(parser)
        parser.set_defaults(run=self.run, several=self.several)


def run_tool(command: Command) -> int:
    """Entry point of one file in tools/; returns the exit code."""
    parser = argparse.ArgumentParser(prog=command.tool)
    command.fill(parser, f"python tools/{command.tool}")
    return run(parser, None)


def run(parser: argparse.ArgumentParser, arguments: Sequence[str] | None) -> int:
    """Parse ``arguments`` (None: the process's own), do what they ask for and return the exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # names of files may hold what a terminal cannot show
    parsed, rest = parser.parse_known_args(arguments)
    # argparse takes the words of a list in one place alone: overrides before and behind the options are put together.
    if hasattr(parsed, "overrides") and all("=" in word and not word.startswith("-") for word in rest):
        parsed.overrides = [*parsed.overrides, *rest]
    elif rest:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    logging.getLogger("reid").setLevel(logging.INFO)
    code = _outcome(parsed)
    if code:
        _leave_others(code)
    return code


def _outcome(parsed: argparse.Namespace) -> int:
    """Do what was asked for; the exit code."""
    try:
        if os.environ.get("WORLD_SIZE", "1") != "1" and not parsed.several:
            raise InputError(
                f"$WORLD_SIZE={os.environ['WORLD_SIZE']}: of several processes, as torchrun starts them, only train.py "
                "makes one; start this command by python, without WORLD_SIZE"
            )
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


def _leave_others(code: int) -> None:
    """End a process that others still wait for, without tidying up: what it has begun with them breaks off when it
    goes, and gloo would answer that with SIGABRT in place of the exit code."""
    distributed = sys.modules.get("torch.distributed")  # not loaded for less
    if distributed is not None and distributed.is_available() and distributed.is_initialized():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


# --- options ----------------------------------------------------------------------------------------------------------


def count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 1024:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to 1024")
    return int(text)


def byte_size(text: str) -> int:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMG]?)(I?)B?", text.strip().upper())
    if not match or len(match[1]) > 12:
        raise argparse.ArgumentTypeError(f"{text!r} is not a size such as 2GB or 500MiB")
    return int(float(match[1]) * (1024 if match[3] else 1000) ** " KMG".index(match[2] or " "))


def add_data_roots(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--root", type=Path, metavar="DIR", help="data sets' folder (default: $REID_DATA or data)")
    parser.add_argument(
        "--sites-root",
        type=Path,
        default=Path("data/sites"),
        metavar="DIR",
        help="where drawn and rendered sites lie (default: %(default)s)",
    )


def add_overrides(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "overrides", nargs="*", default=[], metavar="key=value", help="override a key of configs/base.yaml"
    )


def add_protocol(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--protocol",
        choices=("cross-camera", "any-camera"),
        help="any-camera: where cameras are not known, only a query's own image is left out (default: each card's)",
    )


def split_overrides(values: Sequence[str], overrides: Sequence[str]) -> tuple[list[str], list[str]]:
    """``--targets A B key=value`` takes the override for a target; a data set's name holds no equals sign.

    Raises:
        InputError: a word after the options that is no override.
    """
    for word in overrides:
        if "=" not in word:
            raise InputError(f"command line: {word!r} is not of the form key=value")
    return [value for value in values if "=" not in value], [value for value in (*values, *overrides) if "=" in value]
