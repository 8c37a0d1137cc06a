"""What the actions on a gallery share: which gallery, data set, calibration and entries, and what is told."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from reid import networks
from reid.commands.search.options import first_few, tell_left_out
from reid.data.card import load_card
from reid.data.layouts import text_of
from reid.data.reading import read_dataset
from reid.data.samples import DataSet, Samples
from reid.data.schema import SPLITS
from reid.data.times import span, zone
from reid.errors import InputError
from reid.files import data_root
from reid.gallery.calibration.thresholds import Calibration
from reid.gallery.entries import Filter
from reid.gallery.ingest.adding import Added
from reid.gallery.parts import MARK, Layout
from reid.gallery.service import Service
from reid.gallery.store import Gallery
from reid.networks import Network, Origin


@contextmanager
def opened(
    arguments: argparse.Namespace, network: Network | None = None, who: str = "command line", new: Origin | None = None
) -> Iterator[Service]:
    """The gallery that ``--store`` names, with the network, where there is one; ``who`` asks. ``new``: where there is
    none it is made, for features of this origin, by ``--catalogue`` and ``--vectors``. Raises InputError where it
    cannot be opened, or is of another network than these, or than ``--model`` names."""
    folder, asked = Path(arguments.store), new or (network.origin if network else origin_of(arguments))
    if new is None or any((folder / name).exists() for name in (MARK, "entries.db")):
        gallery = Gallery.open(folder)
    else:
        print(f"a new gallery of {new.name}: {folder.resolve()} (--store names another place)")
        gallery = Gallery.create(folder, new, Layout(arguments.catalogue, arguments.vectors))
    with gallery:
        ours, origin = gallery.origin, asked or gallery.origin
        try:
            ours.check(origin, gallery.location)
        except InputError as error:
            former = "the former file of that name" if ours.name == origin.name else "the network that filled it"
            other = f"another place for a gallery of {origin.name!r} (--store)"
            raise InputError(f"{error}; name {former} (--model), or {other}") from None
        yield Service(gallery, who, network, calibration_of(arguments))


def origin_of(arguments: argparse.Namespace) -> Origin | None:
    """Of the network that ``--model`` names, where it is given."""
    return networks.load(arguments.model).origin if getattr(arguments, "model", None) else None


def dataset(arguments: argparse.Namespace, name: str, splits: Sequence[str]) -> DataSet:
    """Read a data set below ``--root`` or ``--sites-root``."""
    return read_dataset(load_card(name), data_root(arguments.root), arguments.sites_root, splits)


def named_dataset(arguments: argparse.Namespace) -> DataSet | None:
    """That of ``--data``, its ``--split``; None where it is not given."""
    if arguments.name is not None and not (arguments.data and arguments.name):
        raise InputError("--name NAME goes with --data, and is not empty")
    return dataset(arguments, arguments.data, [arguments.split]) if arguments.data else None


def all_samples(arguments: argparse.Namespace) -> list[Samples]:
    """The images of the splits that ``--data`` has on disk."""
    samples: list[Samples] = []
    for split in SPLITS:
        with suppress(InputError):  # the card has none, or it was not fetched: no image of the gallery is of it
            samples += dataset(arguments, arguments.data, [split]).splits.values()
    return samples


def calibration_of(arguments: argparse.Namespace) -> Calibration | None:
    """That of ``--calibration``, where it is given."""
    file = getattr(arguments, "calibration", None)
    return None if file is None else Calibration.from_json(text_of(file), str(file))


def filter_of(arguments: argparse.Namespace, gallery: Gallery) -> Filter:
    """The entries that ``--camera``, ``--without``, ``--from`` and ``--to`` name."""
    place = zone(arguments.zone, "--zone")
    start = span(arguments.start, "--from", place)[0] if arguments.start else None
    end = span(arguments.end, "--to", place)[1] if arguments.end else None
    if start is not None and end is not None and start > end:
        raise InputError(f"--from {arguments.start} is later than --to {arguments.end}")
    there = gallery.catalogue.names("camera") if arguments.camera or arguments.without else []
    for option, names in (("--camera", arguments.camera), ("--without", arguments.without)):
        unknown = sorted(set(names) - set(there))
        if unknown:
            listed = ", ".join(there) or "none"
            raise InputError(f"{option} {unknown[0]!r} is not in {gallery.location}; its cameras: {listed}")
    return Filter(tuple(arguments.camera), (), start, end, tuple(arguments.without))


def chosen(arguments: argparse.Namespace, gallery: Gallery) -> list[int]:
    """Ids of the entries that ``--person``, ``--image`` or ``--id`` name. Raises InputError where there is none."""
    if arguments.id:
        return [entry.id for entry in gallery.get(arguments.id)]
    if arguments.of_person is not None:
        entries, what = gallery.find(Filter(identities=(arguments.of_person,))), f"person {arguments.of_person!r}"
    else:
        place = str(arguments.image.resolve())
        entries, what = gallery.catalogue.of_source(place), f"image or video {place}"
    if not entries:
        raise InputError(f"{gallery.location}: no entry of {what}")
    return [entry.id for entry in entries]


def tend(gallery: Gallery) -> None:
    """Build the indexes that are missing or behind, and say how it is searched now."""
    if gallery.tend(progress=True):
        print(f"{gallery.location}: index {gallery.index_state()}")


def tell_added(gallery: Gallery, added: Added, what: str) -> None:
    """Print how many of ``what`` were stored, and what became of the others; then :func:`tend`. Raises InputError where
    some were left out."""
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
    tend(gallery)
    tell_left_out(added.problems, what, "stored")
