"""``reid search add``."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from reid import networks
from reid.commands.models import check_there
from reid.commands.search.shared import all_samples, named_dataset, opened, origin_of, tell_added
from reid.data.samples import DataSet
from reid.data.times import seconds, zone
from reid.data.unlabelled import passed_over
from reid.errors import InputError
from reid.gallery.entries import Entry
from reid.gallery.ingest.adding import Fragment, Intake
from reid.gallery.ingest.images import csv_entries, features_files, folder_entries, read_given, split_entries
from reid.gallery.ingest.naming import under_name
from reid.gallery.ingest.video import fragments
from reid.networks import EMBEDDER, PEOPLE, Network
from reid.video.detect import load_detector


def add(arguments: argparse.Namespace) -> None:
    if bool(arguments.camera) != bool(arguments.folder or arguments.video) and not arguments.features:
        raise InputError("--camera NAME goes with --folder and --video, and they need it")
    if arguments.video and not arguments.video.is_file():
        raise InputError(f"no video {arguments.video}")
    if arguments.person and not arguments.folder:
        raise InputError("--person NAME goes with --folder")
    name = arguments.model or PEOPLE
    check_there([] if arguments.features else [name], takes=EMBEDDER)
    data = named_dataset(arguments)
    if arguments.features:
        _add_features(arguments)
        return
    entries = [] if arguments.video else _entries(arguments, data)
    model = networks.load(name)
    found = _fragments(arguments, model) if arguments.video else None
    with opened(arguments, new=model.origin) as service:
        gallery, intake = service.gallery, Intake(service.gallery, arguments.again, service.who)
        if data is not None:
            label = arguments.name or data.label
            entries = under_name(gallery, label, data.root, entries, lambda: all_samples(arguments))
        if found is not None:
            tell_added(gallery, intake.fragments(found), "fragments of tracks")
        else:
            tell_added(gallery, intake.images(entries, model), "images")


def _add_features(arguments: argparse.Namespace) -> None:
    files, model = features_files(arguments.features), origin_of(arguments)
    file, origin, entries = read_given(files[0], arguments.camera, model)
    with opened(arguments, new=origin) as service:
        intake = Intake(service.gallery, arguments.again, service.who)
        for path in files:
            if path != files[0]:
                file, _, entries = read_given(path, arguments.camera, origin)
            intake.features(entries, file.features.features, file.thumbnails)
        tell_added(service.gallery, intake.added, "images")


def _entries(arguments: argparse.Namespace, data: DataSet | None) -> list[Entry]:
    """The images that are to be put in; what is there and left out is said."""
    if arguments.csv:
        return csv_entries(arguments.csv, zone=zone(arguments.zone, "--zone"))
    if data is None:
        entries = folder_entries(arguments.folder, arguments.camera, arguments.person or None)
        notes = passed_over(arguments.folder)
    else:
        entries, notes = split_entries(data, arguments.split, arguments.name), list(data.notes)
        unknown = sum(entry.identity is None for entry in entries)
        if unknown:
            told = "images of identity 0, which stands for distractors, are stored as of nobody known"
            notes.append(f"{unknown:,} {told}")
    for note in notes:
        print(f"{arguments.folder or arguments.data}: {note}")
    return entries


def _fragments(arguments: argparse.Namespace, model: Network) -> Iterator[Fragment]:
    detector = load_detector(arguments.detector)
    limits = arguments.fps, arguments.min_height, arguments.min_confidence
    start = seconds(arguments.start, "--start", zone(arguments.zone, "--zone")) if arguments.start else None
    return fragments(arguments.video, arguments.camera, detector, model, *limits, start)
