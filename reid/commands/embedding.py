"""``reid embed``."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from reid.commands.command import Command, split_overrides
from reid.commands.models import add_model, check_there
from reid.commands.search.options import first_few, tell_left_out
from reid.data.names import counted
from reid.errors import InputError
from reid.networks import EMBEDDER
from reid.progress import track

if TYPE_CHECKING:
    from reid.data.reading import Roots
    from reid.embedding.shards import Done
    from reid.networks import Network


def embed_arguments(parser: argparse.ArgumentParser) -> None:
    add_model(parser, EMBEDDER)
    parser.add_argument(
        "data",
        nargs="+",
        metavar="DATA",
        help="images, folders of images, CSV files (path, and optionally left, top, right, bottom, camera, identity, "
        "time), data sets; with --shards: .tar and .parquet files of crops, or folders of them; and anywhere "
        "key=value, to override a key of configs/base.yaml",
    )
    parser.add_argument(
        "--split",
        nargs="+",
        metavar="NAME",
        help="of data sets (default: all that they have); a folder is then one of identities",
    )
    into = parser.add_mutually_exclusive_group(required=True)
    into.add_argument("--output", type=Path, metavar="FILE", help="features.npz or features.parquet")
    into.add_argument(
        "--shards", type=Path, metavar="DIR", help="a .parquet of features a shard; what is there and valid is kept"
    )
    parser.add_argument(
        "--ray",
        metavar="ADDRESS",
        help="with --shards: spread over a Ray cluster (host:port, auto, local), where it has GPUs one a task, unless "
        "device=cpu",
    )
    parser.set_defaults(overrides=[])


def embed(arguments: argparse.Namespace) -> None:
    check_there([arguments.model], takes=EMBEDDER)

    if arguments.ray and not arguments.shards:
        raise InputError("--ray ADDRESS goes with --shards DIR")
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
    if arguments.shards:
        if splits:
            raise InputError("--split NAME goes with data sets, not with --shards")
        _embed_shards(arguments.model, names, arguments.shards, overrides, arguments.ray)
    else:
        _embed_to_file(arguments.model, names, splits, arguments.output, overrides)


def _embed_to_file(
    model: str, names: Sequence[str], splits: Sequence[str] | None, output: Path, overrides: Sequence[str]
) -> None:
    from reid.embedding.images import embed_to_file, items_of
    from reid.networks import load
    from reid.networks.features_file import check_suffix

    check_suffix(output)
    network = load(model, overrides)
    items = items_of(names, _roots(network, overrides), splits)
    written = embed_to_file(items, network, output)
    done = f" ({written.resumed:,} images were done before)" if written.resumed else ""
    print(f"{output}: {written.rows:,} features of {network.origin.width} numbers, {network.origin.name}{done}")
    tell_left_out(written.left_out, "images", "in the file")


def _embed_shards(
    model: str, names: Sequence[str], folder: Path, overrides: Sequence[str], address: str | None
) -> None:
    from reid.embedding.shards import embed_shards, outputs_of, shards_of
    from reid.networks import load

    shards = shards_of(names)
    outputs = outputs_of(shards, folder)
    ended: Iterable[Done]
    if address:
        from reid.commands.on_ray import embed_shards_on

        parts = embed_shards_on(address, shards, outputs, model, overrides, "device=cpu" not in overrides)
        ended = (done for part in parts for done in part)
    else:
        ended = embed_shards(shards, outputs, load(model, overrides))
    rows = kept = 0
    left_out: list[str] = []
    problems: list[str] = []
    with track(name="shards", unit="shard", total=len(shards)) as bar:
        for done in ended:
            bar.update()
            kept += done.passed_over
            rows += done.rows
            left_out += done.left_out
            problems += [done.problem] if done.problem else []
    before = f", {counted(kept, 'shard')} done before" if kept else ""
    whole = len(shards) - len(problems)
    print(f"{folder}: {counted(rows, 'feature')} of {counted(whole, 'shard')}{before}")
    if problems:
        raise InputError(
            f"{len(problems):,} of {counted(len(shards), 'shard')} without a file; all others are there:\n"
            + first_few(sorted(set(problems)))
        )
    tell_left_out(sorted(left_out), "images", "in the files")


def _roots(network: Network, overrides: Sequence[str]) -> Roots:
    """Where data sets lie: as a run's own config says, for other networks as configs/base.yaml does."""
    from reid.engine import build
    from reid.networks import default_testing
    from reid.networks.trained import TrainedNetwork

    if isinstance(network, TrainedNetwork):
        return build.roots(network.config)
    return default_testing(overrides).roots


EMBED = Command(
    "embed.py",
    "Features of images, folders, CSV files and data sets into one file, or a file a shard, by any network.",
    "--model runs/sites_ibn_b_seed0 plaza --split query --output query.npz",
    embed_arguments,
    embed,
)
