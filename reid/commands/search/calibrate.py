"""``reid search calibrate``."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from reid import networks
from reid.commands.search.options import tell_left_out
from reid.commands.search.shared import dataset, opened
from reid.files import write_atomically
from reid.gallery.calibration import thresholds
from reid.gallery.calibration.reliability import reliability_picture, strangers_table, table
from reid.gallery.ingest.images import labelled
from reid.networks.lookup import FeaturesLookup
from reid.sites.drawn.nothing import pictures
from reid.texts import align


def calibrate(arguments: argparse.Namespace) -> None:
    model, problems = networks.load(arguments.model), list[str]()
    if arguments.store is not None:
        with opened(arguments, model):
            pass  # before the work: it is there, and of this network
    names = (arguments.source, *arguments.targets)
    (source, own), *targets = {name: dataset(arguments, name, ("query", "gallery")) for name in names}.items()
    features = labelled(own, model, problems)
    nothing = None if isinstance(model, FeaturesLookup) else model.embed(pictures())
    calibration = thresholds.calibrate(*features, model.origin, source, arguments.rates, nothing=nothing)
    for name, target in targets:
        measured = thresholds.measure(calibration, *labelled(target, model, problems), name)
        calibration = replace(calibration, targets=(*calibration.targets, measured))
    output = arguments.output or Path("runs/calibration") / f"{model.origin.name}.json"
    write_atomically(output, calibration.to_json())
    picture = output.with_suffix(".png")
    write_atomically(picture, reliability_picture(calibration))
    print(align(table(calibration)), align(strangers_table(calibration)), sep="\n")
    if (cut := calibration.unlike) is not None:
        met = f"{100 * cut.met:.2g} % met on the held half"
        caught = f"{100 * cut.caught:.0f} % of pictures of nothing"
        print(f"called no person: {100 * cut.share:g} % of the images wanted, {met}; {caught}")
    if arguments.store is not None:
        with opened(arguments, model) as service:
            service.calibrate(calibration)
    kept = f", and into {arguments.store}" if arguments.store else "; --store keeps it with a gallery"
    print(f"written: {output}, {picture}{kept}")
    tell_left_out(problems, "images", "measured")
