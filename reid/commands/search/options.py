"""What the actions of ``reid search`` read from their lines, and how they end where something was left out; all that
is loaded for ``--help``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from reid.commands.command import add_data_roots
from reid.commands.models import add_model
from reid.errors import InputError
from reid.networks import EMBEDDER, PEOPLE

STORE = "runs/gallery"
SHOWN = 10  # lines of a list of problems


# --- of several -------------------------------------------------------------------------------------------------------


def add_store(parser: argparse.ArgumentParser, default: str | None = STORE) -> None:
    kept = "the gallery (default: %(default)s)" if default else "the gallery, such as runs/gallery (default: none)"
    parser.add_argument("--store", default=default, metavar="FOLDER", help=kept)


def add_checking_model(parser: argparse.ArgumentParser) -> None:
    add_model(parser, EMBEDDER, required=False, note="; here only to check that the gallery is of it")


def add_calibration(parser: argparse.ArgumentParser) -> None:
    told = "what distances mean (default: what is kept with the gallery)"
    parser.add_argument("--calibration", type=Path, metavar="JSON", help=told)


def _add_judging(parser: argparse.ArgumentParser, share: bool = False) -> None:
    add_model(parser, EMBEDDER, default=PEOPLE)
    add_calibration(parser)
    near = parser.add_mutually_exclusive_group()
    told = "near is within the threshold of this calibrated false-match rate"
    near.add_argument("--rate", type=float, metavar="R", help=told)
    if share:
        told = "of strangers that may see a confident answer, 0 to 1 (default: 0.05)"
        near.add_argument("--share", type=float, metavar="P", help=told)


def _add_zone(parser: argparse.ArgumentParser) -> None:
    told = "time zone of the times here, as Europe/Berlin (default: UTC)"
    parser.add_argument("--zone", default="UTC", metavar="NAME", help=told)


def _add_data(parser: argparse.ArgumentParser, split: str) -> None:
    parser.add_argument("--split", default=split, metavar="NAME", help="with --data (default: %(default)s)")
    told = "with --data: what stands before numbers of people and cameras (default: its own)"
    parser.add_argument("--name", metavar="NAME", help=told)
    add_data_roots(parser)


def _add_places(parser: argparse.ArgumentParser) -> None:
    new = parser.add_argument_group("of a new gallery, on servers in place of the folder")
    new.add_argument("--catalogue", default="sqlite", metavar="WHERE", help="postgresql://user@host:port/database")
    new.add_argument("--vectors", default="segments", metavar="WHERE", help="milvus://host:port/collection")


def _add_again(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--again", action="store_true", help="images that were erased before too")


def _add_choice(parser: argparse.ArgumentParser, person: str) -> None:
    add_checking_model(parser)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument(person, dest="of_person", metavar="NAME", help="all entries of a person")
    what.add_argument("--image", type=Path, metavar="FILE", help="all entries of an image or a video")
    what.add_argument("--id", nargs="+", type=int, metavar="N", help="entries by their ids")


# --- of one -----------------------------------------------------------------------------------------------------------


def add(parser: argparse.ArgumentParser) -> None:
    note = f"; with --features only to check that they are of it (default: {PEOPLE}; none with --features)"
    add_model(parser, EMBEDDER, required=False, note=note)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--folder", type=Path, metavar="DIR", help="all images below a folder, of one --camera")
    columns = "columns path, camera; if known identity, time, left, top, right, bottom"
    what.add_argument("--csv", type=Path, metavar="FILE", help=columns)
    what.add_argument("--data", metavar="NAME", help="a --split of a data set: a card, or a folder of identities")
    what.add_argument("--video", type=Path, metavar="FILE", help="people in a video, one entry a fragment of a track")
    made = "features that embed.py wrote, or folders of .parquet"
    what.add_argument("--features", nargs="+", type=Path, metavar="FILE", help=made)
    seen_by = "of --folder, --video, and of those of --features whose camera is not known"
    parser.add_argument("--camera", metavar="NAME", help=seen_by)
    parser.add_argument("--person", metavar="NAME", help="with --folder: who it is (default: not known)")
    _add_data(parser, "gallery")
    _add_zone(parser)
    _add_again(parser)
    _add_places(parser)
    video = parser.add_argument_group("with --video")
    known = "torchvision, torchvision:WEIGHTS, or a foreign network (default: %(default)s)"
    video.add_argument("--detector", default="person-detection-retail-0013", metavar="WHAT", help=known)
    video.add_argument("--start", metavar="TIME", help="when the video begins: 2026-03-01T17:05:00")
    video.add_argument("--fps", type=float, default=5.0, metavar="N", help="frames a second (default: %(default)s)")
    video.add_argument("--min-height", type=int, default=64, metavar="PX", help="of a person (default: %(default)s)")
    video.add_argument("--min-confidence", type=float, default=0.5, metavar="P", help="of a box (default: %(default)s)")


def query(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("images", nargs="*", type=Path, metavar="IMAGE", help="crops of people, or folders of them")
    parser.add_argument("--data", metavar="NAME", help="instead: a --split of a data set; its labels give rank-1 too")
    _add_data(parser, "query")
    parser.add_argument("--k", type=int, default=10, metavar="N", help="entries a query (default: %(default)s)")
    parser.add_argument("--camera", action="append", default=[], metavar="NAME", help="only this camera; repeatable")
    parser.add_argument("--without", action="append", default=[], metavar="NAME", help="not this camera; repeatable")
    parser.add_argument("--from", dest="start", metavar="TIME", help="only from then on: 2026-03-01T17:05:00")
    parser.add_argument("--to", dest="end", metavar="TIME", help="only until then; of a day, its end")
    _add_zone(parser)
    parser.add_argument("--one-person", action="store_true", help="one answer to all images, which show one person")
    _add_judging(parser, share=True)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the answers here")
    parser.add_argument("--picture", type=Path, metavar="PNG", help="draw the answers to the first 20 queries")
    told = "with one answer: its table and pictures as a ZIP file"
    parser.add_argument("--zip", type=Path, metavar="FILE", help=told)


def compare(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("images", nargs=2, type=Path, metavar="IMAGE", help="two crops of people")
    _add_judging(parser)


def calibrate(parser: argparse.ArgumentParser) -> None:
    add_model(parser, EMBEDDER, default=PEOPLE)
    parser.add_argument("--source", required=True, metavar="NAME", help="labelled data set to choose thresholds on")
    measured = "labelled data sets to measure the rates met on"
    parser.add_argument("--targets", nargs="*", default=[], metavar="NAME", help=measured)
    told, rates = "false-match rates (default: %(default)s)", [1e-4, 1e-3, 1e-2]
    parser.add_argument("--rates", nargs="+", type=float, default=rates, metavar="R", help=told)
    add_data_roots(parser)
    place = "with a picture beside it (default: runs/calibration/MODEL.json)"
    parser.add_argument("--output", type=Path, metavar="JSON", help=place)


def forget(parser: argparse.ArgumentParser) -> None:
    _add_choice(parser, "--person")
    parser.add_argument("--yes", action="store_true", help="do not ask")


def update(parser: argparse.ArgumentParser) -> None:
    _add_choice(parser, "--of-person")
    parser.add_argument("--person", metavar="NAME", help="the person's new name; an empty one for not known")
    parser.add_argument("--camera", metavar="NAME", help="the new camera")
    parser.add_argument("--time", metavar="TIME", help="the new time: 2026-03-01T17:05:00")
    _add_zone(parser)


def retention(parser: argparse.ArgumentParser) -> None:
    add_checking_model(parser)
    parser.add_argument("--days", required=True, metavar="N", help="a number of days, or none to keep all")


def settings(parser: argparse.ArgumentParser) -> None:
    add_checking_model(parser)
    kinds = "auto, flat (exact), rabitq or sq8; on Milvus auto, flat, hnsw or ivf_flat"
    parser.add_argument("--index", metavar="KIND", help=kinds)
    told = "a camera's time zone, such as door Europe/Berlin; an empty NAME for none; repeatable"
    parser.add_argument("--zone", nargs=2, action="append", default=[], metavar=("CAMERA", "NAME"), help=told)


def audit(parser: argparse.ArgumentParser) -> None:
    add_checking_model(parser)
    parser.add_argument("--after", type=int, default=0, metavar="N", help="lines with a larger number only")


def export(parser: argparse.ArgumentParser) -> None:
    add_checking_model(parser)
    parser.add_argument("file", type=Path, metavar="PARQUET", help="the file to write")


def import_(parser: argparse.ArgumentParser) -> None:
    add_checking_model(parser)
    parser.add_argument("file", type=Path, metavar="PARQUET", help="a file that export wrote")
    _add_again(parser)
    _add_places(parser)


def convert(parser: argparse.ArgumentParser) -> None:
    told = "of an earlier version: FOLDER, milvus://host:port/collection, PATH.db"
    parser.add_argument("old", metavar="OLD", help=told)
    _add_places(parser)


# --- how they end -----------------------------------------------------------------------------------------------------


def tell_left_out(problems: Sequence[str], what: str, done: str) -> None:
    """Raises InputError where some of ``what`` were left out: how many, and the first of them with the reasons."""
    if problems:
        raise InputError(f"{what} left out: {len(problems):,}; all others are {done}:\n{first_few(problems)}")


def first_few(lines: Sequence[str]) -> str:
    rest = f"\nand {len(lines) - SHOWN:,} more" if len(lines) > SHOWN else ""
    return "\n".join(lines[:SHOWN]) + rest
