"""``reid divergence``: how differently a network sees two sites, and how ready it is for a new one."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from reid.commands.command import Command, add_overrides, split_overrides
from reid.commands.models import check_there
from reid.errors import InputError
from reid.files import write_atomically
from reid.networks import MODULE


def divergence_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model",
        required=True,
        nargs="+",
        metavar="WHAT",
        dest="models",
        help=f"networks with four stages, each {MODULE}",
    )
    parser.add_argument("--a", metavar="NAME", help="a data set, or a folder of images without labels")
    parser.add_argument("--b", metavar="NAME", help="another")
    parser.add_argument(
        "--by",
        choices=("domain", "identity"),
        default="domain",
        help="between a and b, or between the people of each",
    )
    parser.add_argument(
        "--readiness", metavar="NAME", help="place this new site among the data sets that the run was tested on"
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("runs/divergence"),
        metavar="DIR",
        help="folder of the table and the pictures: divergence.csv and .png, identity_divergence.csv and .png, "
        "readiness_RUN.png (default: %(default)s)",
    )
    add_overrides(parser)


def divergence(arguments: argparse.Namespace) -> None:
    models, overrides = split_overrides(arguments.models, arguments.overrides)
    if bool(arguments.readiness) == bool(arguments.a) or (
        arguments.readiness and (arguments.b or arguments.by != "domain")
    ):
        raise InputError("divergence: give --a (and --b, --by), or --readiness alone")
    check_there(models, [name for name in (arguments.a, arguments.b, arguments.readiness) if name], MODULE)
    if arguments.readiness:
        for model in models:
            _readiness(model, arguments.readiness, arguments.output, overrides)
        return
    if arguments.by == "domain" and not arguments.b:
        raise InputError("--by domain needs --b NAME beside --a")
    _write_divergence(models, [arguments.a, arguments.b], arguments.by, arguments.output, overrides)


def _write_divergence(
    models: Sequence[str], names: Sequence[str | None], by: str, output: Path, overrides: Sequence[str]
) -> None:
    import pandas as pd

    from reid.evaluation.divergence import between
    from reid.evaluation.subject import subject_of
    from reid.report.plots import divergence
    from reid.texts import align

    rows = []
    for model in models:
        subject = subject_of(model, overrides)
        rows += [{"model": subject.network.origin.name, **row} for row in between(subject, names, by)]
    lines = [["median (mean) over channels, nats", *(f"stage {number}" for number in (1, 2, 3, 4))]]
    for start in range(0, len(rows), 4):
        stages = rows[start : start + 4]
        of = f"{stages[0]['a']} and {stages[0]['b']}" if by == "domain" else f"people of {stages[0]['a']}"
        norms = ["*" if row["instance_norm"] else "" for row in stages]
        cells = [f"{row['median']:.3g} ({row['mean']:.3g}){norm}" for row, norm in zip(stages, norms, strict=True)]
        lines.append([f"{stages[0]['model']}: {of}", *cells])
    print(align(lines))
    print("* ends in instance norm, near zero by construction")
    frame = pd.DataFrame(rows)
    drawn = divergence(frame, list(dict.fromkeys(frame["model"])))
    stem = "divergence" if by == "domain" else "identity_divergence"  # the one does not write over the other
    write_atomically(output / f"{stem}.csv", frame.to_csv(index=False, lineterminator="\n"))
    if drawn:
        write_atomically(output / f"{stem}.png", drawn.content)
    print(f"written: {output}/{stem}.csv{f', {stem}.png' if drawn else ''}")


def _readiness(model: str, site: str, output: Path, overrides: Sequence[str]) -> None:
    from reid.evaluation.readiness import assess
    from reid.evaluation.subject import subject_of
    from reid.report.plots import readiness
    from reid.texts import align

    subject = subject_of(model, overrides)
    placed = assess(subject, site)
    stages = [f"stage {number}" for number in (1, 2, 3, 4)]
    lines = [["nearest to the source first", "figure", *stages, "drop in mAP, points"]]
    for place in placed.places:
        drop = "not known" if place.drop is None else f"{place.drop:+.1f}"
        lines.append([place.label, f"{place.figure:.3g}", *(f"{value:.3g}" for value in place.medians), drop])
    print(f"{subject.folder}: divergence from the source's test images, median over channels")
    print(align(lines))
    print(f"figure: mean over stages {', '.join(map(str, placed.stages))}, those that do not end in instance norm")
    if placed.correlation is not None:
        print(f"rank correlation of figure and loss over the known data sets: {placed.correlation:.2f}")
    print(f"{placed.verdict} {placed.caveat}")
    name = subject.network.origin.name
    drawn = output / f"readiness_{name}.png"
    write_atomically(drawn, readiness(placed, name).content)
    print(f"written: {drawn}")


DIVERGENCE = Command(
    "divergence.py",
    "How differently a network sees two sites, stage by stage, without labels.",
    "--model runs/sites_bn_seed0 runs/sites_ibn_b_seed0 --a plaza --b station",
    divergence_arguments,
    divergence,
)
