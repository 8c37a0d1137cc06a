"""``reid search``: put people into a gallery, find them again, take them out."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from importlib import import_module
from typing import NamedTuple

from reid.commands.command import Command
from reid.commands.models import check_there
from reid.commands.search import options
from reid.networks import EMBEDDER


class Action(NamedTuple):
    """One thing to do with a gallery, ``search.py NAME ...``; ``run``: the function, in a file here that is loaded when
    it is called."""

    help: str
    example: str
    arguments: Callable[[argparse.ArgumentParser], None]
    run: str


ACTIONS = {
    "add": Action("Put images of people, or the people in a video, into the gallery.",
                  "--folder path/to/crops --camera door", options.add, "add.add"),
    "query": Action("Who is this? Ranked entries of the gallery, or nobody.",
                    "crop.jpg --picture runs/answer.png", options.query, "query.query"),
    "compare": Action("Are these two the same person?",
                      "a.jpg b.jpg", options.compare, "query.compare"),
    "calibrate": Action("Choose thresholds on a labelled source, measure the rates that they meet on targets.",
                        "--source plaza --targets station street --store runs/gallery",
                        options.calibrate, "calibrate.calibrate"),
    "forget": Action("Erase a person, an image or entries: features, thumbnails, names; the image files stay.",
                     "--person plaza/151", options.forget, "keep.forget"),
    "update": Action("Name a person, or set the camera or the time of entries.",
                     "--id 17 18 --person P1", options.update, "keep.update"),
    "retention": Action("Drop entries after a number of days, from now on and at once; the web page does it hourly.",
                        "--days 30", options.retention, "keep.retention"),
    "settings": Action("How the gallery is searched (exactly, or by an index with its recall), cameras' time zones.",
                       "--index auto --zone door Europe/Berlin", options.settings, "keep.settings"),
    "stats": Action("What the gallery holds.", "", options.add_checking_model, "keep.stats"),
    "verify": Action("Check every file of the gallery; exit code 2 where something is wrong.",
                     "", options.add_checking_model, "keep.verify"),
    "audit": Action("Who searched, erased, named, exported what and when: a line of JSON each.",
                    "--after 100", options.audit, "keep.audit"),
    "export": Action("Write the gallery to a Parquet file.", "people.parquet", options.export, "keep.export"),
    "import": Action("Add the entries of a Parquet file that export wrote, but those that are there.",
                     "people.parquet", options.import_, "keep.import_"),
    "convert": Action("Make a gallery of one of an earlier version: ids, times of adding and the audit log stay.",
                      "runs/old --store runs/gallery", options.convert, "keep.convert"),
}  # fmt: skip


def search_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(metavar="ACTION", required=True, title="actions")
    for name, action in ACTIONS.items():
        subparser = actions.add_parser(
            name,
            help=action.help,
            description=action.help,
            epilog=f"example:\n  {parser.prog} {name} {action.example}".rstrip(),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        options.add_store(subparser, None if name in ("compare", "calibrate") else options.STORE)
        action.arguments(subparser)
        subparser.set_defaults(action=action.run)


def search(arguments: argparse.Namespace) -> None:
    model = getattr(arguments, "model", None)
    check_there([model] if model else [], takes=EMBEDDER)
    module, function = arguments.action.split(".")
    getattr(import_module(f"reid.commands.search.{module}"), function)(arguments)


SEARCH = Command(
    "search.py", "Put people into a gallery, find them again, take them out.", "stats", search_arguments, search
)
