"""``reid search`` with all that is done to a gallery but adding: ``forget`` to ``convert``."""

from __future__ import annotations

import argparse
import json
import os
import sys
from contextlib import suppress
from pathlib import Path

from reid.commands.search.shared import chosen, opened, origin_of, tell_added, tend
from reid.data.times import seconds, shown, zone
from reid.errors import InputError
from reid.gallery.answers import moment
from reid.gallery.entries import Change
from reid.gallery.service import RETENTION
from reid.gallery.store import INDEX
from reid.gallery.transfer import earlier, parquet
from reid.texts import align


def forget(arguments: argparse.Namespace) -> None:
    with opened(arguments) as service:
        gallery, ids = service.gallery, chosen(arguments, service.gallery)
        if not arguments.yes:
            _ask(f"{gallery.location}: erase {len(ids):,} of {len(gallery):,} entries? The image files stay. [y/N] ")
        service.forget(ids)
        print(f"{gallery.location}: {len(ids):,} entries erased; {len(gallery):,} are left")


def _ask(question: str) -> None:
    if not sys.stdin.isatty():
        raise InputError("nobody to ask: say --yes to erase")
    with suppress(EOFError):  # Ctrl-D
        if input(question).strip().lower() in ("y", "yes"):
            return
    raise InputError("nothing was erased")


def update(arguments: argparse.Namespace) -> None:
    changes: dict[Change, object] = {}
    if arguments.person is not None:
        changes["identity"] = arguments.person or None
    if arguments.camera:
        changes["camera"] = arguments.camera
    if arguments.time:
        changes["time"] = seconds(arguments.time, "--time", zone(arguments.zone, "--zone"))
    if not changes:
        raise InputError("nothing to change: give --person, --camera or --time")
    with opened(arguments) as service:
        ids = chosen(arguments, service.gallery)
        service.update(ids, changes)
        print(f"{service.gallery.location}: {len(ids):,} entries changed")


def retention(arguments: argparse.Namespace) -> None:
    with opened(arguments) as service:
        dropped = service.retain(arguments.days)
        kept = "for good" if arguments.days == "none" else f"for {arguments.days} days"
        print(f"{service.gallery.location}: entries are kept {kept}; {len(dropped):,} were dropped now")


def settings(arguments: argparse.Namespace) -> None:
    with opened(arguments) as service:
        gallery = service.gallery
        for camera, name in arguments.zone:
            service.set_zone(camera, name)
        if arguments.index:
            service.choose_index(arguments.index)
            tend(gallery)
        kind, zones = gallery.setting(INDEX) or "auto", service.zones() or "none"
        print(f"{gallery.location}: index {kind}, now {gallery.index_state()}; zones {zones}")


def stats(arguments: argparse.Namespace) -> None:
    with opened(arguments) as service:
        gallery, calibration = service.gallery, service.calibration
        summary, days = gallery.catalogue.summary(), gallery.setting(RETENTION)
        decided = [f"{right} of {count} {word!r} are one person" for word, (count, right) in service.decided().items()]
        times = "not known" if summary.first is None else f"{moment(summary.first)} to {moment(summary.last)}"
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
            ["in the folder", f"{_size(gallery.folder) / 1e6:,.1f} MB"],
        ]
        print(align(lines))


def _size(folder: Path) -> int:
    """Bytes of its files; others may write and erase meanwhile."""
    size = 0
    for where, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):
                size += Path(where, name).stat().st_size
    return size


def verify(arguments: argparse.Namespace) -> None:
    with opened(arguments) as service:
        gallery = service.gallery
        problems = gallery.verify()
        if problems:
            raise InputError("\n".join(f"{gallery.location}: {problem}" for problem in problems))
        print(f"{gallery.location}: {len(gallery):,} entries, all in order")


def audit(arguments: argparse.Namespace) -> None:
    with opened(arguments) as service:
        after = arguments.after
        while lines := service.gallery.catalogue.log(after):
            for line in lines:
                print(json.dumps({**line, "time": shown(line["time"])}))
            after = lines[-1]["number"]


def export(arguments: argparse.Namespace) -> None:
    with opened(arguments) as service:
        count = service.export(arguments.file)
    print(f"written: {arguments.file}, {count:,} entries")


def import_(arguments: argparse.Namespace) -> None:
    with parquet.opened(arguments.file) as file:
        parquet.usable_settings(file.settings, file.origin, str(arguments.file), [])  # before a gallery is made for it
        if (wanted := origin_of(arguments)) is not None:
            wanted.check(file.origin, str(arguments.file))
        with opened(arguments, new=file.origin) as service:
            tell_added(service.gallery, service.import_(file, arguments.again), "entries")


def convert(arguments: argparse.Namespace) -> None:
    with earlier.opened(arguments.old) as old, opened(arguments, new=old.origin) as service:
        added = earlier.convert(old, service.gallery)
        service.gallery.record("command line", "convert", added.ids)
        tell_added(service.gallery, added, "entries")
        print(f"{arguments.old} stays as it is: erase it when all is well")
