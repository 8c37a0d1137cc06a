"""``reid search add``."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from reid.commands.command import add_data_roots
from reid.commands.models import add_model, check_there
from reid.commands.search.shared import (
    add_name,
    add_zone,
    all_samples,
    dataset,
    opened_or_made,
    origin_of,
    tell_added,
    tell_left_out,
    tend,
)
from reid.errors import InputError
from reid.networks import EMBEDDER, PEOPLE

if TYPE_CHECKING:
    from reid.data.samples import DataSet
    from reid.gallery.entries import Entry
    from reid.gallery.ingest.adding import Added, Fragment
    from reid.gallery.store import Gallery
    from reid.networks import Network


def arguments(parser: argparse.ArgumentParser) -> None:
    note = f"; with --features only to check that they are of it (default: {PEOPLE}; none with --features)"
    add_model(parser, EMBEDDER, required=False, note=note)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--folder", type=Path, metavar="DIR", help="all images below a folder, of one --camera")
    what.add_argument(
        "--csv",
        type=Path,
        metavar="FILE",
        help="columns path, camera and optionally identity, time, left, top, right, bottom",
    )
    what.add_argument("--data", metavar="NAME", help="a --split of a data set: a card, or a folder of identities")
    what.add_argument("--video", type=Path, metavar="FILE", help="people in a video, one entry a fragment of a track")
    what.add_argument(
        "--features",
        nargs="+",
        type=Path,
        metavar="FILE",
        help="images whose features embed.py wrote; a folder stands for the .parquet files in it",
    )
    parser.add_argument(
        "--camera",
        metavar="NAME",
        help="with --folder and --video: where the people were seen; with --features: of images of no known camera",
    )
    parser.add_argument("--person", metavar="NAME", help="with --folder: who it is (default: not known)")
    parser.add_argument("--split", default="gallery", metavar="NAME", help="with --data (default: %(default)s)")
    add_name(parser)
    add_data_roots(parser)
    add_zone(parser)
    parser.add_argument("--again", action="store_true", help="images that were erased before too")
    new = parser.add_argument_group("of a new gallery, on servers in place of the folder")
    new.add_argument("--catalogue", default="sqlite", metavar="WHERE", help="postgresql://user@host:port/database")
    new.add_argument("--vectors", default="segments", metavar="WHERE", help="milvus://host:port/collection")
    video = parser.add_argument_group("with --video")
    video.add_argument(
        "--detector",
        default="person-detection-retail-0013",
        metavar="WHAT",
        help="torchvision, torchvision:WEIGHTS, or a foreign network (default: %(default)s)",
    )
    video.add_argument("--start", metavar="TIME", help="when the video begins: 2026-03-01T17:05:00")
    video.add_argument(
        "--fps", type=float, default=5.0, metavar="N", help="frames looked at a second (default: %(default)s)"
    )
    video.add_argument("--min-height", type=int, default=64, metavar="PX", help="of a person (default: %(default)s)")
    video.add_argument(
        "--min-confidence", type=float, default=0.5, metavar="P", help="of a detection (default: %(default)s)"
    )


def run(arguments: argparse.Namespace) -> None:
    from reid.gallery.ingest.adding import add_fragments, add_images
    from reid.gallery.ingest.naming import under_name
    from reid.networks import load

    _check(arguments)
    if arguments.features:
        _add_features(arguments)
        return
    name = arguments.model or PEOPLE
    check_there([name], takes=EMBEDDER)
    data = dataset(arguments, arguments.data, [arguments.split]) if arguments.data else None
    entries = _entries(arguments, data)
    model = load(name)
    fragments = _fragments(arguments, model) if arguments.video else None
    with opened_or_made(arguments, model.origin) as gallery:
        if data is not None:
            name = arguments.name or data.label
            entries = under_name(gallery, name, data.root, entries, lambda: all_samples(arguments))
        if fragments is not None:
            _report(gallery, add_fragments(gallery, fragments, arguments.again), "fragments of tracks")
        else:
            _report(gallery, add_images(gallery, entries, model, arguments.again), "images")


def _add_features(arguments: argparse.Namespace) -> None:
    from reid.gallery.ingest.adding import Added
    from reid.gallery.ingest.features import add_features, features_files, read_given

    model = origin_of(arguments)
    files = features_files(arguments.features)
    file, origin, entries = read_given(files[0], arguments.camera, model)
    with opened_or_made(arguments, origin) as gallery:
        added = Added()
        for path in files:
            if path != files[0]:
                file, _, entries = read_given(path, arguments.camera, origin)
            add_features(gallery, entries, file.features.features, file.thumbnails, arguments.again, added)
        _report(gallery, added, "images")


def _check(arguments: argparse.Namespace) -> None:
    needed, allowed = arguments.folder or arguments.video, arguments.features
    if bool(arguments.camera) != bool(needed) and not allowed:
        raise InputError("--camera NAME goes with --folder and --video, and they need it")
    if arguments.video and not arguments.video.is_file():
        raise InputError(f"no video {arguments.video}")
    if arguments.person and not arguments.folder:
        raise InputError("--person NAME goes with --folder")
    if arguments.name is not None and not (arguments.data and arguments.name):
        raise InputError("--name NAME goes with --data, and is not empty")


def _entries(arguments: argparse.Namespace, data: DataSet | None) -> list[Entry]:
    """What is to be put in; what is there and left out is said."""
    from reid.data.times import zone
    from reid.data.unlabelled import passed_over
    from reid.gallery.ingest.images import csv_entries, folder_entries, split_entries

    if arguments.video:
        return []
    if arguments.folder:
        entries = folder_entries(arguments.folder, arguments.camera, arguments.person or None)
        notes = passed_over(arguments.folder)
    elif arguments.csv:
        return csv_entries(arguments.csv, zone=zone(arguments.zone, "--zone"))
    else:
        assert data is not None  # one of the four is required
        entries, notes = split_entries(data, arguments.split, arguments.name), list(data.notes)
        unknown = sum(entry.identity is None for entry in entries)
        if unknown:
            notes.append(
                f"{unknown:,} images of identity 0, which stands for distractors, are stored as of nobody known"
            )
    for note in notes:
        print(f"{arguments.folder or arguments.data}: {note}")
    return entries


def _fragments(arguments: argparse.Namespace, model: Network) -> Iterator[Fragment]:
    from reid.data.times import seconds, zone
    from reid.gallery.ingest.video import fragments
    from reid.video.detect import load_detector

    return fragments(
        arguments.video,
        arguments.camera,
        load_detector(arguments.detector),
        model,
        rate=arguments.fps,
        min_height=arguments.min_height,
        min_confidence=arguments.min_confidence,
        start=seconds(arguments.start, "--start", zone(arguments.zone, "--zone")) if arguments.start else None,
    )


def _report(gallery: Gallery, added: Added, what: str) -> None:
    gallery.record("command line", "add", added.ids)
    tell_added(gallery, added, what)
    tend(gallery)
    tell_left_out(added.problems, what, "stored")
