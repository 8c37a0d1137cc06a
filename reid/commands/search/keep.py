"""``reid search forget``, ``update``, ``retention``, ``index``, ``stats``, ``verify``, ``export`` and ``import``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, cast

from reid.commands.search.shared import add_checking_model, chosen, keep_index, origin_of, record
from reid.errors import InputError

if TYPE_CHECKING:
    from reid.gallery.entries import Change, Store
    from reid.gallery.local.store import LocalStore


# --- forget, update ---------------------------------------------------------------------------------------------------


def _add_choice(parser: argparse.ArgumentParser, person: str) -> None:
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument(person, dest="of_person", metavar="NAME", help="all entries of a person")
    what.add_argument("--image", type=Path, metavar="FILE", help="all entries of an image or a video")
    what.add_argument("--id", nargs="+", type=int, metavar="N", help="entries by their ids")


def forget_arguments(parser: argparse.ArgumentParser) -> None:
    add_checking_model(parser)
    _add_choice(parser, "--person")
    parser.add_argument("--yes", action="store_true", help="do not ask")


def forget(arguments: argparse.Namespace) -> None:
    from reid.gallery.location import open_store

    with open_store(arguments.store, origin_of(arguments), write=True) as store:
        ids = [entry.id for entry in chosen(arguments, store)]
        if not arguments.yes:
            _ask(f"{store.location}: erase {len(ids):,} of {len(store):,} entries? The image files stay. [y/N] ")
        record(store, "forget", ids)  # before: an erasure that is cut off is on record too
        store.remove(ids)
        print(f"{store.location}: {len(ids):,} entries erased; {len(store):,} are left")
        keep_index(store)


def _ask(question: str) -> None:
    if not sys.stdin.isatty():
        raise InputError("nobody to ask: say --yes to erase")
    if input(question).strip().lower() not in ("y", "yes"):
        raise InputError("nothing was erased")


def update_arguments(parser: argparse.ArgumentParser) -> None:
    add_checking_model(parser)
    _add_choice(parser, "--of-person")
    parser.add_argument("--person", metavar="NAME", help="the person's new name; an empty one for not known")
    parser.add_argument("--camera", metavar="NAME", help="the new camera")
    parser.add_argument("--time", metavar="TIME", help="the new time: 2026-03-01T17:05:00 (UTC)")


def update(arguments: argparse.Namespace) -> None:
    from reid.gallery.location import open_store
    from reid.gallery.times import seconds

    changes: dict[Change, object] = {}
    if arguments.person is not None:
        changes["identity"] = arguments.person or None
    if arguments.camera:
        changes["camera"] = arguments.camera
    if arguments.time:
        changes["time"] = seconds(arguments.time, "--time")
    if not changes:
        raise InputError("nothing to change: give --person, --camera or --time")
    with open_store(arguments.store, origin_of(arguments), write=True) as store:
        entries = chosen(arguments, store)
        ids = [entry.id for entry in entries]
        record(store, "update", ids)
        for entry in entries if "time" in changes else []:
            if entry.until is not None and entry.time is not None:  # a fragment keeps its length
                store.update([entry.id], {**changes, "until": cast(float, changes["time"]) + entry.until - entry.time})
        store.update(ids, changes)
        print(f"{store.location}: {len(ids):,} entries changed")


# --- retention, index -------------------------------------------------------------------------------------------------


def retention_arguments(parser: argparse.ArgumentParser) -> None:
    add_checking_model(parser)
    parser.add_argument("--days", required=True, metavar="N", help="a number of days, or none to keep all")


def retention(arguments: argparse.Namespace) -> None:
    from reid.gallery.location import open_store
    from reid.gallery.retention import drop_expired, set_retention

    with open_store(arguments.store, origin_of(arguments), write=True) as store:
        set_retention(store, arguments.days)
        dropped = drop_expired(store)
        kept = "for good" if arguments.days == "none" else f"for {arguments.days} days"
        print(f"{store.location}: entries are kept {kept}; {len(dropped):,} were dropped now")
        keep_index(store)


def index_arguments(parser: argparse.ArgumentParser) -> None:
    add_checking_model(parser)
    parser.add_argument(
        "--kind",
        choices=("auto", "flat", "rabitq", "sq8"),
        default="auto",
        help="flat is exact; auto is flat for few entries and rabitq for many (default: %(default)s)",
    )


def index(arguments: argparse.Namespace) -> None:
    from reid.gallery.location import open_store

    with open_store(arguments.store, origin_of(arguments), write=True) as store:
        local = _local(store, "index")
        local.set("index", arguments.kind)
        print(f"{local.location}: index {local.build_index(progress=True)}")


def _local(store: Store, action: str) -> LocalStore:
    from reid.gallery.local.store import LocalStore

    if not isinstance(store, LocalStore):
        raise InputError(f"{store.location}: {action} is for galleries in a folder; this one's server does it itself")
    return store


# --- stats, verify ----------------------------------------------------------------------------------------------------


def stats_arguments(parser: argparse.ArgumentParser) -> None:
    add_checking_model(parser)


def stats(arguments: argparse.Namespace) -> None:
    from reid.gallery import retention
    from reid.gallery.calibration import thresholds
    from reid.gallery.listing import moment
    from reid.gallery.local.store import LocalStore
    from reid.gallery.location import open_store
    from reid.texts import align

    with open_store(arguments.store, origin_of(arguments)) as store:
        summary, days, text = store.summary(), store.setting(retention.SETTING), store.setting(thresholds.SETTING)
        calibrated = thresholds.Calibration.from_json(text, store.location) if text else None
        lines = [
            ["gallery", store.location],
            ["entries", f"{summary.entries:,}"],
            ["people", f"{summary.identities:,}; {summary.unknown:,} entries of nobody known"],
            *([f"camera {name}", f"{count:,} entries"] for name, count in summary.cameras.items()),
            [
                "time (UTC)",
                "not known" if summary.first is None else f"{moment(summary.first)} to {moment(summary.last)}",
            ],
            ["network", f"{store.origin.name} ({store.origin.fingerprint[:12]}), {store.origin.width} numbers"],
            ["thresholds", f"calibrated on {calibrated.source}" if calibrated else "none: see search.py calibrate"],
            ["kept", f"{days} days" if days else "for good"],
        ]
        if isinstance(store, LocalStore):
            size = sum(path.stat().st_size for path in store.folder.iterdir() if path.exists())
            lines += [["search", str(store.index_state())], ["on disk", f"{size / 1e6:,.1f} MB"]]
        print(align(lines))


def verify_arguments(parser: argparse.ArgumentParser) -> None:
    add_checking_model(parser)


def verify(arguments: argparse.Namespace) -> None:
    from reid.gallery.location import open_store

    with open_store(arguments.store, origin_of(arguments)) as store:
        problems = _local(store, "verify").verify(progress=True)
        if problems:
            raise InputError("\n".join(f"{store.location}: {problem}" for problem in problems))
        print(f"{store.location}: {len(store):,} entries, all in order")


# --- export, import ---------------------------------------------------------------------------------------------------


def export_arguments(parser: argparse.ArgumentParser) -> None:
    add_checking_model(parser)
    parser.add_argument("file", type=Path, metavar="PARQUET", help="the file to write")


def export(arguments: argparse.Namespace) -> None:
    from reid.gallery import parquet
    from reid.gallery.location import open_store

    with open_store(arguments.store, origin_of(arguments)) as store:
        count = parquet.export(store, arguments.file)
    print(f"written: {arguments.file}, {count:,} entries")


def import_arguments(parser: argparse.ArgumentParser) -> None:
    add_checking_model(parser)
    parser.add_argument("file", type=Path, metavar="PARQUET", help="a file that export wrote")


def import_(arguments: argparse.Namespace) -> None:
    from reid.gallery import parquet
    from reid.gallery.location import open_store

    origin = parquet.checked_origin(arguments.file)
    with open_store(arguments.store, origin_of(arguments) or origin, write=True, create=True) as store:
        ids = parquet.import_(arguments.file, store)
        print(f"{store.location}: {len(ids):,} entries stored")
        keep_index(store)
