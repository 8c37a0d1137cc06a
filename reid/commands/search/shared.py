"""What the actions on a gallery share: which gallery, network, thresholds and entries."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from reid.commands.models import add_model
from reid.errors import InputError
from reid.networks import EMBEDDER

if TYPE_CHECKING:
    from reid.data.samples import DataSet, Samples
    from reid.gallery.calibration.thresholds import Calibration
    from reid.gallery.entries import Entry, Filter, Store
    from reid.networks import Origin

STORE = "runs/gallery"
SHOWN = 10  # lines of a list of problems


@dataclass(frozen=True)
class Action:
    """One thing to do with a gallery: ``search.py NAME ...``."""

    help: str
    example: str
    arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], None]


# --- options ----------------------------------------------------------------------------------------------------------


def add_store(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--store",
        default=STORE,
        metavar="WHERE",
        help=f"the gallery: a folder, a Milvus Lite file (.db), milvus://host:port/collection (default: {STORE})",
    )


def add_checking_model(parser: argparse.ArgumentParser) -> None:
    add_model(parser, EMBEDDER, required=False, note="; here only to check that the gallery is of it")


def add_judging(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--calibration", type=Path, metavar="JSON", help="thresholds (default: those kept with the gallery)"
    )
    parser.add_argument(
        "--rate",
        type=float,
        metavar="R",
        help="false-match rate whose threshold decides, one of those calibrated (default: 0.001, else the smallest)",
    )


# --- what they name ---------------------------------------------------------------------------------------------------


def origin_of(arguments: argparse.Namespace) -> Origin | None:
    """Of the network that ``--model`` names, where it is given."""
    from reid.networks import load

    return load(arguments.model).origin if arguments.model else None


def add_name(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--name",
        metavar="NAME",
        help="with --data: what stands before the numbers of people and cameras (default: the data set's own name)",
    )


def dataset(arguments: argparse.Namespace, name: str, splits: Sequence[str]) -> DataSet:
    """Read a data set below ``--root`` or ``--sites-root``."""
    from reid.data.card import load_card
    from reid.data.reading import read_dataset
    from reid.files import data_root

    return read_dataset(load_card(name), data_root(arguments.root), arguments.sites_root, splits)


def all_samples(arguments: argparse.Namespace) -> list[Samples]:
    """The images of the splits that ``--data`` has on disk."""
    from reid.data.schema import SPLITS

    samples: list[Samples] = []
    for split in SPLITS:
        try:
            samples += dataset(arguments, arguments.data, [split]).splits.values()
        except InputError:  # the card has none, or it was not fetched: no image of the gallery is of it
            continue
    return samples


def calibration_of(arguments: argparse.Namespace, store: Store | None) -> Calibration | None:
    """That of ``--calibration``, else the one kept with the gallery, if any.

    Raises:
        InputError: ``--rate`` without either.
    """
    from reid.gallery.calibration.thresholds import SETTING, Calibration

    text, where = None, f"{arguments.store}: {SETTING}"
    if arguments.calibration:
        where = str(arguments.calibration)
        try:
            text = arguments.calibration.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{where}: cannot be read: {error}") from None
    elif store is not None:
        text = store.setting(SETTING)
    if text is None and arguments.rate is not None:
        raise InputError("--rate needs thresholds: give --calibration FILE, or run calibrate --store WHERE first")
    return None if text is None else Calibration.from_json(text, where)


def filter_of(arguments: argparse.Namespace, store: Store) -> Filter:
    """The entries that ``--camera``, ``--from`` and ``--to`` name."""
    from reid.gallery.entries import Filter
    from reid.gallery.times import span

    start = span(arguments.start, "--from")[0] if arguments.start else None
    end = span(arguments.end, "--to")[1] if arguments.end else None
    if start is not None and end is not None and start > end:
        raise InputError(f"--from {arguments.start} is later than --to {arguments.end}")
    unknown = sorted(set(arguments.camera) - set(store.summary().cameras)) if arguments.camera else []
    if unknown:
        there = ", ".join(store.summary().cameras) or "none"
        raise InputError(f"--camera {unknown[0]!r} is not in {store.location}; its cameras: {there}")
    return Filter(tuple(arguments.camera), (), start, end)


def chosen(arguments: argparse.Namespace, store: Store) -> list[Entry]:
    """The entries that ``--person``, ``--image`` or ``--id`` name.

    Raises:
        InputError: there is none.
    """
    from reid.gallery.entries import Filter

    if arguments.id:
        return store.get(arguments.id)
    if arguments.of_person is not None:
        entries = store.find(Filter(identities=(arguments.of_person,)))
        what = f"person {arguments.of_person!r}"
    else:
        place = str(arguments.image.resolve())
        entries = [entry for entry in store.find() if entry.source == place]
        what = f"image or video {place}"
    if not entries:
        raise InputError(f"{store.location}: no entry of {what}")
    return entries


def keep_index(store: Store) -> None:
    """Build the index of a gallery in a folder where it is to have one and has not: adding leaves it behind, erasing
    drops it, since it holds codes of what was erased."""
    from reid.gallery.local.store import LocalStore

    if isinstance(store, LocalStore) and store.index_state().stale:
        print(f"{store.location}: index {store.build_index(progress=True)}")


def tell_left_out(problems: Sequence[str], what: str, done: str) -> None:
    """
    Raises:
        InputError: how many of ``what`` were left out, and the first of them with the reasons; where there are some.
    """
    if problems:
        raise InputError(f"{what} left out: {len(problems):,}; all others are {done}:\n{first_few(problems)}")


def first_few(lines: Sequence[str]) -> str:
    rest = f"\nand {len(lines) - SHOWN:,} more" if len(lines) > SHOWN else ""
    return "\n".join(lines[:SHOWN]) + rest


def record(store: Store, action: str, entries: Sequence[int], **numbers: float) -> None:
    """A line in the gallery's audit log."""
    from reid.gallery.audit import AuditLog

    AuditLog(store.folder).record("command line", action, entries, **numbers)
