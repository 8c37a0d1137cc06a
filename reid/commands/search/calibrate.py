"""``reid search calibrate``."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from reid.commands.command import add_data_roots
from reid.commands.models import add_model
from reid.commands.search.shared import dataset, opened, tell_left_out
from reid.files import write_atomically
from reid.networks import EMBEDDER, PEOPLE


def arguments(parser: argparse.ArgumentParser) -> None:
    add_model(parser, EMBEDDER, default=PEOPLE)
    parser.add_argument("--source", required=True, metavar="NAME", help="labelled data set to choose thresholds on")
    parser.add_argument(
        "--targets", nargs="*", default=[], metavar="NAME", help="labelled data sets to measure the rates met on"
    )
    parser.add_argument(
        "--rates",
        nargs="+",
        type=float,
        default=[1e-4, 1e-3, 1e-2],
        metavar="R",
        help="false-match rates to choose thresholds at (default: %(default)s)",
    )
    add_data_roots(parser)
    parser.add_argument(
        "--output", type=Path, metavar="JSON", help="with a picture beside it (default: runs/calibration/MODEL.json)"
    )
    parser.set_defaults(store=None)  # only where it is named


def run(arguments: argparse.Namespace) -> None:
    from reid.gallery.calibration.reliability import reliability_picture, strangers_table, table
    from reid.gallery.calibration.thresholds import calibrate, measure
    from reid.gallery.ingest.images import labelled
    from reid.networks import load
    from reid.networks.lookup import FeaturesLookup
    from reid.sites.drawn.nothing import pictures
    from reid.texts import align

    model = load(arguments.model)
    splits = ("query", "gallery")
    data = {name: dataset(arguments, name, splits) for name in (arguments.source, *arguments.targets)}
    (source, labelled_source), *targets = data.items()
    problems: list[str] = []
    source_features = labelled(labelled_source, model, problems=problems)
    nothing = None if isinstance(model, FeaturesLookup) else model.embed(pictures())
    calibration = calibrate(*source_features, model.origin, source, arguments.rates, nothing=nothing)
    for name, target in targets:
        measured = measure(calibration, *labelled(target, model, problems=problems), name)
        calibration = replace(calibration, targets=(*calibration.targets, measured))
    output = arguments.output or Path("runs/calibration") / f"{model.origin.name}.json"
    write_atomically(output, calibration.to_json())
    picture = output.with_suffix(".png")
    write_atomically(picture, reliability_picture(calibration).content)
    print(align(table(calibration)), align(strangers_table(calibration)), sep="\n")
    if (cut := calibration.unlike) is not None:
        met = f"{100 * cut.met:.2g} % met on the held half"
        caught = f"{100 * cut.caught:.0f} % of pictures of nothing"
        print(f"called no person: {100 * cut.share:g} % of the images wanted, {met}; {caught}")
    if arguments.store is not None:
        service = opened(arguments, model)
        with service.gallery:
            service.calibrate(calibration)
    print(f"written: {output}, {picture}" + (f", and into {arguments.store}" if arguments.store else ""))
    tell_left_out(problems, "images", "measured")
