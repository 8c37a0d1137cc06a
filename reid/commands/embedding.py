"""``reid embed``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from reid.commands.command import Command, split_overrides
from reid.commands.models import add_model, check_there
from reid.commands.search.shared import tell_left_out
from reid.errors import InputError
from reid.networks import EMBEDDER

if TYPE_CHECKING:
    from reid.data.reading import Roots
    from reid.networks import Network


def embed_arguments(parser: argparse.ArgumentParser) -> None:
    add_model(parser, EMBEDDER)
    parser.add_argument(
        "data",
        nargs="+",
        metavar="DATA",
        help="images, folders of images, CSV files (path, and optionally left, top, right, bottom, camera, identity, "
        "time), data sets; and anywhere key=value, to override a key of configs/base.yaml",
    )
    parser.add_argument(
        "--split",
        nargs="+",
        metavar="NAME",
        help="of data sets (default: all that they have); a folder is then one of identities",
    )
    parser.add_argument("--output", required=True, type=Path, metavar="FILE", help="features.npz or features.parquet")
    parser.set_defaults(overrides=[])


def embed(arguments: argparse.Namespace) -> None:
    check_there([arguments.model], takes=EMBEDDER)

    from reid.gallery.embedding import embed_to_file, items_of
    from reid.networks import load
    from reid.networks.features_file import check_suffix

    check_suffix(arguments.output)
    among = [word for word in arguments.data if "=" in word and not Path(word).exists()]
    names = [word for word in arguments.data if word not in among]
    overrides = [*among, *arguments.overrides]
    splits = None
    if arguments.split is not None:
        splits, overrides = split_overrides(arguments.split, overrides)
        if not splits:
            raise InputError("command line: --split: no NAME")
    if not names:
        raise InputError("command line: no DATA: name images, folders, CSV files or data sets")
    network = load(arguments.model, overrides)
    items = items_of(names, _roots(network, overrides), splits)
    written = embed_to_file(items, network, arguments.output)
    done = f" ({written.resumed:,} images were done before)" if written.resumed else ""
    print(
        f"{arguments.output}: {written.rows:,} features of {network.origin.width} numbers, {network.origin.name}{done}"
    )
    tell_left_out(written.left_out, "images", "in the file")


def _roots(network: Network, overrides: list[str]) -> Roots:
    """Where data sets lie: as a run's own config says, for other networks as configs/base.yaml does."""
    from reid.engine import build
    from reid.networks import default_testing
    from reid.networks.trained import TrainedNetwork

    if isinstance(network, TrainedNetwork):
        return build.roots(network.config)
    return default_testing(overrides).roots


EMBED = Command(
    "embed.py",
    "Features of images, folders, CSV files and data sets into one file, by any network.",
    "--model runs/sites_ibn_b_seed0 plaza --split query --output query.npz",
    embed_arguments,
    embed,
)
