"""``reid search``: put people into a gallery, find them again, take them out."""

from __future__ import annotations

import argparse

from reid.commands.command import Command
from reid.commands.models import check_there
from reid.commands.search import add, calibrate, keep, query
from reid.commands.search.shared import Action, add_checking_model, add_store
from reid.networks import EMBEDDER

ACTIONS = {
    "add": Action("Put images of people, or the people in a video, into the gallery.",
                  "--folder path/to/crops --camera door", add.arguments, add.run),
    "query": Action("Who is this? Ranked entries of the gallery, or nobody.",
                    "crop.jpg --picture runs/answer.png", query.arguments, query.run),
    "compare": Action("Are these two the same person?",
                      "a.jpg b.jpg", query.compare_arguments, query.compare),
    "calibrate": Action("Choose thresholds on a labelled source, measure the rates that they meet on targets.",
                        "--source plaza --targets station street",
                        calibrate.arguments, calibrate.run),
    "forget": Action("Erase a person, an image or entries: features, thumbnails, names; the image files stay.",
                     "--person plaza/151", keep.forget_arguments, keep.forget),
    "update": Action("Name a person, or set the camera or the time of entries.",
                     "--id 17 18 --person P1", keep.update_arguments, keep.update),
    "retention": Action("Drop entries after a number of days, from now on and at once; the web page does it hourly.",
                        "--days 30", keep.retention_arguments, keep.retention),
    "settings": Action("How the gallery is searched (exactly, or by an index with its recall), cameras' time zones.",
                       "--index auto --zone door Europe/Berlin", keep.settings_arguments, keep.settings),
    "stats": Action("What the gallery holds.", "", add_checking_model, keep.stats),
    "verify": Action("Check every file of the gallery; exit code 2 where something is wrong.",
                     "", add_checking_model, keep.verify),
    "audit": Action("Who searched, erased, named, exported what and when: a line of JSON each.",
                    "--after 100", keep.audit_arguments, keep.audit),
    "export": Action("Write the gallery to a Parquet file.", "people.parquet", keep.export_arguments, keep.export),
    "import": Action("Add the entries of a Parquet file that export wrote, but those that are there.",
                     "people.parquet", keep.import_arguments, keep.import_),
    "convert": Action("Make a gallery of one of an earlier version: ids, times of adding and the audit log stay.",
                      "runs/old --store runs/gallery", keep.convert_arguments, keep.convert),
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
        add_store(subparser)
        action.arguments(subparser)
        subparser.set_defaults(action=action.run)


def search(arguments: argparse.Namespace) -> None:
    check_there([arguments.model] if arguments.model else [], takes=EMBEDDER)
    arguments.action(arguments)


SEARCH = Command(
    "search.py",
    "Put people into a gallery, find them again, take them out.",
    "stats",
    search_arguments,
    search,
)
