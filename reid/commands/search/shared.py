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
    from reid.gallery.entries import Entry, Filter
    from reid.gallery.ingest.adding import Added
    from reid.gallery.service import Service
    from reid.gallery.store import Gallery
    from reid.networks import Network, Origin

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
    parser.add_argument("--store", default=STORE, metavar="FOLDER", help="the gallery (default: %(default)s)")


def add_checking_model(parser: argparse.ArgumentParser) -> None:
    add_model(parser, EMBEDDER, required=False, note="; here only to check that the gallery is of it")


def add_calibration(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--calibration", type=Path, metavar="JSON", help="what distances mean (default: what is kept with the gallery)"
    )


def add_judging(parser: argparse.ArgumentParser) -> None:
    add_calibration(parser)
    parser.add_argument(
        "--rate",
        type=float,
        metavar="R",
        help="near is what lies within the threshold of this false-match rate, one of those calibrated",
    )


def add_zone(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--zone",
        default="UTC",
        metavar="NAME",
        help="time zone of the times here, such as Europe/Berlin (default: UTC)",
    )


def add_name(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--name",
        metavar="NAME",
        help="with --data: what stands before the numbers of people and cameras (default: the data set's own name)",
    )


# --- what they name ---------------------------------------------------------------------------------------------------


def opened(arguments: argparse.Namespace, network: Network | None = None, who: str = "command line") -> Service:
    """The gallery that ``--store`` names, which is to be closed, with the network, where there is one; ``who`` asks.

    Raises:
        InputError: it cannot be opened, or is of another network than this, or than ``--model`` names.
    """
    from reid.gallery.service import Service
    from reid.gallery.store import Gallery

    gallery = Gallery.open(arguments.store)
    try:
        origin = network.origin if network else origin_of(arguments)
        if origin is not None:
            check_origin(gallery, origin)
        return Service(gallery, who, network, calibration_of(arguments))
    except BaseException:
        gallery.close()
        raise


def opened_or_made(arguments: argparse.Namespace, origin: Origin) -> Gallery:
    """The gallery that ``--store`` names, made where there is none, with ``--catalogue`` and ``--vectors``."""
    from reid.gallery.parts import MARK, Layout
    from reid.gallery.store import Gallery

    folder = Path(arguments.store)
    if (folder / MARK).exists() or (folder / "entries.db").exists():
        gallery = Gallery.open(folder)
        check_origin(gallery, origin)
        return gallery
    print(f"a new gallery of {origin.name}: {folder.resolve()} (--store names another place)")
    return Gallery.create(folder, origin, Layout(arguments.catalogue, arguments.vectors))


def check_origin(gallery: Gallery, origin: Origin) -> None:
    """
    Raises:
        InputError: the gallery's features are of another one, with what can be done.
    """
    try:
        gallery.origin.check(origin, gallery.location)
    except InputError as error:
        gallery.close()
        former = "the former file of that name" if gallery.origin.name == origin.name else "the network that filled it"
        raise InputError(
            f"{error}; name {former} (--model), or another place for a gallery of {origin.name!r} (--store)"
        ) from None


def origin_of(arguments: argparse.Namespace) -> Origin | None:
    """Of the network that ``--model`` names, where it is given."""
    from reid.networks import load

    return load(arguments.model).origin if getattr(arguments, "model", None) else None


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


def calibration_of(arguments: argparse.Namespace) -> Calibration | None:
    """That of ``--calibration``, where it is given."""
    from reid.gallery.calibration.thresholds import Calibration

    file = getattr(arguments, "calibration", None)
    if file is None:
        return None
    try:
        return Calibration.from_json(file.read_text(encoding="utf-8"), str(file))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file}: cannot be read: {error}") from None


def filter_of(arguments: argparse.Namespace, gallery: Gallery) -> Filter:
    """The entries that ``--camera``, ``--without``, ``--from`` and ``--to`` name."""
    from reid.data.times import span, zone
    from reid.gallery.entries import Filter

    place = zone(arguments.zone, "--zone")
    start = span(arguments.start, "--from", place)[0] if arguments.start else None
    end = span(arguments.end, "--to", place)[1] if arguments.end else None
    if start is not None and end is not None and start > end:
        raise InputError(f"--from {arguments.start} is later than --to {arguments.end}")
    there = gallery.summary().cameras if arguments.camera or arguments.without else {}
    for option, names in (("--camera", arguments.camera), ("--without", arguments.without)):
        unknown = sorted(set(names) - set(there))
        if unknown:
            listed = ", ".join(there) or "none"
            raise InputError(f"{option} {unknown[0]!r} is not in {gallery.location}; its cameras: {listed}")
    return Filter(tuple(arguments.camera), (), start, end, tuple(arguments.without))


def chosen(arguments: argparse.Namespace, gallery: Gallery) -> list[Entry]:
    """The entries that ``--person``, ``--image`` or ``--id`` name.

    Raises:
        InputError: there is none.
    """
    from reid.gallery.entries import Filter

    if arguments.id:
        return gallery.get(arguments.id)
    if arguments.of_person is not None:
        entries, what = gallery.find(Filter(identities=(arguments.of_person,))), f"person {arguments.of_person!r}"
    else:
        place = str(arguments.image.resolve())
        entries, what = gallery.catalogue.of_source(place), f"image or video {place}"
    if not entries:
        raise InputError(f"{gallery.location}: no entry of {what}")
    return entries


def tend(gallery: Gallery) -> None:
    """Build the indexes that are missing or behind, and say how it is searched now."""
    if gallery.tend(progress=True):
        print(f"{gallery.location}: index {gallery.index_state()}")


def tell_added(gallery: Gallery, added: Added, what: str) -> None:
    """Print how many of ``what`` were stored, and what became of the others."""
    known = f", {added.known:,} were there already" if added.known else ""
    print(f"{gallery.location}: {len(added.ids):,} {what} stored{known}; {len(gallery):,} entries")
    for lines, told in (
        (added.repeated, "show the same picture as others, and are left out"),
        (added.erased, "were erased before, and are left out; --again stores them"),
        (added.differences, "values differ from what is stored, which stays; search.py update changes it"),
    ):
        if lines:
            print(f"{len(lines):,} {told}:\n{first_few(lines)}")
    for note in added.notes:
        print(note)


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
