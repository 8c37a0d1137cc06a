"""``reid search`` with all that is done to a gallery but adding: ``forget`` to ``convert``."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from reid.commands.search.shared import (
    add_checking_model,
    add_zone,
    chosen,
    opened,
    opened_or_made,
    origin_of,
    tell_added,
    tend,
)
from reid.errors import InputError

if TYPE_CHECKING:
    from reid.gallery.entries import Change


# --- forget, update ---------------------------------------------------------------------------------------------------


def _add_choice(parser: argparse.ArgumentParser, person: str) -> None:
    add_checking_model(parser)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument(person, dest="of_person", metavar="NAME", help="all entries of a person")
    what.add_argument("--image", type=Path, metavar="FILE", help="all entries of an image or a video")
    what.add_argument("--id", nargs="+", type=int, metavar="N", help="entries by their ids")


def forget_arguments(parser: argparse.ArgumentParser) -> None:
    _add_choice(parser, "--person")
    parser.add_argument("--yes", action="store_true", help="do not ask")


def forget(arguments: argparse.Namespace) -> None:
    service = opened(arguments)
    with service.gallery as gallery:
        ids = [entry.id for entry in chosen(arguments, gallery)]
        if not arguments.yes:
            _ask(f"{gallery.location}: erase {len(ids):,} of {len(gallery):,} entries? The image files stay. [y/N] ")
        service.forget(ids)
        print(f"{gallery.location}: {len(ids):,} entries erased; {len(gallery):,} are left")


def _ask(question: str) -> None:
    if not sys.stdin.isatty():
        raise InputError("nobody to ask: say --yes to erase")
    if input(question).strip().lower() not in ("y", "yes"):
        raise InputError("nothing was erased")


def update_arguments(parser: argparse.ArgumentParser) -> None:
    _add_choice(parser, "--of-person")
    parser.add_argument("--person", metavar="NAME", help="the person's new name; an empty one for not known")
    parser.add_argument("--camera", metavar="NAME", help="the new camera")
    parser.add_argument("--time", metavar="TIME", help="the new time: 2026-03-01T17:05:00")
    add_zone(parser)


def update(arguments: argparse.Namespace) -> None:
    from reid.data.times import seconds, zone

    changes: dict[Change, object] = {}
    if arguments.person is not None:
        changes["identity"] = arguments.person or None
    if arguments.camera:
        changes["camera"] = arguments.camera
    if arguments.time:
        changes["time"] = seconds(arguments.time, "--time", zone(arguments.zone, "--zone"))
    if not changes:
        raise InputError("nothing to change: give --person, --camera or --time")
    service = opened(arguments)
    with service.gallery as gallery:
        ids = [entry.id for entry in chosen(arguments, gallery)]
        service.update(ids, changes)
        print(f"{gallery.location}: {len(ids):,} entries changed")


# --- retention, settings ----------------------------------------------------------------------------------------------


def retention_arguments(parser: argparse.ArgumentParser) -> None:
    add_checking_model(parser)
    parser.add_argument("--days", required=True, metavar="N", help="a number of days, or none to keep all")


def retention(arguments: argparse.Namespace) -> None:
    service = opened(arguments)
    with service.gallery as gallery:
        dropped = service.retain(arguments.days)
        kept = "for good" if arguments.days == "none" else f"for {arguments.days} days"
        print(f"{gallery.location}: entries are kept {kept}; {len(dropped):,} were dropped now")


def settings_arguments(parser: argparse.ArgumentParser) -> None:
    add_checking_model(parser)
    parser.add_argument(
        "--index", metavar="KIND", help="auto, flat (exact), rabitq or sq8; on Milvus flat, hnsw or ivf_sq8"
    )
    parser.add_argument(
        "--zone", nargs=2, action="append", default=[], metavar=("CAMERA", "NAME"),
        help="a camera's time zone, such as door Europe/Berlin; an empty NAME for none; repeatable",
    )  # fmt: skip


def settings(arguments: argparse.Namespace) -> None:
    service = opened(arguments)
    with service.gallery as gallery:
        for camera, name in arguments.zone:
            service.set_zone(camera, name)
        if arguments.index:
            service.choose_index(arguments.index)
            tend(gallery)
        print(f"{gallery.location}: index {gallery.index_state()}; zones {service.zones() or 'none'}")


# --- stats, verify, audit ---------------------------------------------------------------------------------------------


def stats(arguments: argparse.Namespace) -> None:
    from reid.gallery.answers.listing import moment
    from reid.gallery.service import RETENTION
    from reid.texts import align

    service = opened(arguments)
    with service.gallery as gallery:
        summary, days, calibration = gallery.summary(), gallery.setting(RETENTION), service.calibration
        decided = [f"{right} of {count} {word!r} are one person" for word, (count, right) in service.decided().items()]
        times = "not known" if summary.first is None else f"{moment(summary.first)} to {moment(summary.last)}"
        files = [path for path in gallery.folder.rglob("*") if path.is_file()]
        lines = [
            ["gallery", gallery.location],
            ["entries", f"{summary.entries:,}"],
            ["people", f"{summary.identities:,}; {summary.unknown:,} entries of nobody known"],
            *([f"camera {name}", f"{count:,} entries"] for name, count in summary.cameras.items()),
            ["time (UTC)", times],
            ["network", f"{gallery.origin.name} ({gallery.origin.fingerprint[:12]}), {gallery.origin.width} numbers"],
            ["calibrated", f"on {calibration.source}" if calibration else "no: see search.py calibrate"],
            ["decided pairs", "; ".join(decided) or "none"],
            ["kept", f"{days} days" if days else "for good"],
            ["catalogue", gallery.layout.catalogue],
            ["vectors", gallery.layout.vectors],
            ["search", str(gallery.index_state())],
            ["in the folder", f"{sum(path.stat().st_size for path in files) / 1e6:,.1f} MB"],
        ]
        print(align(lines))


def verify(arguments: argparse.Namespace) -> None:
    service = opened(arguments)
    with service.gallery as gallery:
        problems = gallery.verify()
        if problems:
            raise InputError("\n".join(f"{gallery.location}: {problem}" for problem in problems))
        print(f"{gallery.location}: {len(gallery):,} entries, all in order")


def audit_arguments(parser: argparse.ArgumentParser) -> None:
    add_checking_model(parser)
    parser.add_argument("--after", type=int, default=0, metavar="N", help="lines with a larger number only")


def audit(arguments: argparse.Namespace) -> None:
    from reid.data.times import shown

    service = opened(arguments)
    with service.gallery as gallery:
        after = arguments.after
        while lines := gallery.catalogue.log(after):
            for line in lines:
                print(json.dumps({**line, "time": shown(line["time"])}))
            after = lines[-1]["number"]


# --- export, import, convert ------------------------------------------------------------------------------------------


def export_arguments(parser: argparse.ArgumentParser) -> None:
    add_checking_model(parser)
    parser.add_argument("file", type=Path, metavar="PARQUET", help="the file to write")


def export(arguments: argparse.Namespace) -> None:
    service = opened(arguments)
    with service.gallery:
        count = service.export(arguments.file)
    print(f"written: {arguments.file}, {count:,} entries")


def _add_new(parser: argparse.ArgumentParser) -> None:
    add_checking_model(parser)
    parser.add_argument("--again", action="store_true", help="images that were erased before too")
    parser.add_argument("--catalogue", default="sqlite", metavar="WHERE", help="of a new gallery: postgresql://...")
    parser.add_argument("--vectors", default="segments", metavar="WHERE", help="of a new gallery: milvus://...")


def import_arguments(parser: argparse.ArgumentParser) -> None:
    _add_new(parser)
    parser.add_argument("file", type=Path, metavar="PARQUET", help="a file that export wrote")


def import_(arguments: argparse.Namespace) -> None:
    from reid.gallery.service import Service
    from reid.gallery.transfer import parquet

    origin = parquet.checked_origin(arguments.file)
    if (wanted := origin_of(arguments)) is not None:
        wanted.check(origin, str(arguments.file))
    with opened_or_made(arguments, origin) as gallery:
        added = Service(gallery, "command line").import_(arguments.file, arguments.again)
        tell_added(gallery, added, "entries")
        tend(gallery)


def convert_arguments(parser: argparse.ArgumentParser) -> None:
    _add_new(parser)
    parser.add_argument(
        "old", metavar="OLD", help="a gallery of an earlier version: a folder, milvus://host:port/collection, PATH.db"
    )


def convert(arguments: argparse.Namespace) -> None:
    from reid.gallery.transfer import earlier

    with earlier.opened(arguments.old) as old, opened_or_made(arguments, old.origin) as gallery:
        added = earlier.convert(old, gallery)
        gallery.record("command line", "convert", added.ids)
        tell_added(gallery, added, "entries")
        print(f"{arguments.old} stays as it is: erase it when all is well")
        tend(gallery)
