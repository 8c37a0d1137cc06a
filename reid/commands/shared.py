"""What several commands need: overrides of the config, sizes and counts on the command line."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from reid.errors import InputError

if TYPE_CHECKING:
    from reid.config import Config
    from reid.evaluation.targets import Target


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
        help="where the drawn sites lie (default: %(default)s)",
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


def with_sources(config: Config, targets: Sequence[str]) -> list[str]:
    """Each source that has test splits, then the targets."""
    from reid.data.card import load_card
    from reid.engine import build

    build.check(config)
    tested = [source for source in config.data.sources if load_card(source).has_test]
    return list(dict.fromkeys((*tested, *targets)))


def check_targets(config: Config, targets: Sequence[str]) -> list[Target]:
    """Read every table before the training whose result they test; drawn sites last, since they may take a minute.

    Raises:
        InputError: as :func:`reid.evaluation.targets.read_targets`; a target of a source's
            name; a run not begun that would train on their images.
    """
    from reid.data.card import load_card
    from reid.engine import build
    from reid.engine.checkpoint import FILE
    from reid.evaluation.targets import read_targets, refuse_namesakes_of_sources, refuse_training_images

    begun = (config.run_folder / FILE).exists()
    if not begun:
        build.check(config)
    roots, sources = build.roots(config), config.data.sources
    read = read_targets(roots, sorted(targets, key=lambda name: load_card(name).drawn is not None))
    refuse_namesakes_of_sources(roots, sources, read)
    if not begun:
        refuse_training_images(roots, sources, read)
    return read
