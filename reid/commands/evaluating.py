"""``reid evaluate``: any network on any data sets."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from reid.commands.command import Command, add_overrides, add_protocol, split_overrides
from reid.commands.models import add_model, check_there

if TYPE_CHECKING:
    from reid.config import Config
    from reid.evaluation.subject import Subject
    from reid.evaluation.targets import Target


def evaluate_arguments(parser: argparse.ArgumentParser) -> None:
    add_model(parser)
    parser.add_argument("--targets", required=True, nargs="+", metavar="NAME", help="data sets: names, cards, folders")
    parser.add_argument(
        "--adabn", metavar="NAME", help="first estimate batch-norm statistics anew on this data set or folder of images"
    )
    parser.add_argument(
        "--oracle",
        action="store_true",
        help="also show each target's best epoch, which looks at the target (runs with selection.keep_epochs=true)",
    )
    add_protocol(parser)
    add_overrides(parser)


def evaluate(arguments: argparse.Namespace) -> None:
    targets, overrides = split_overrides(arguments.targets, arguments.overrides)
    check_there([arguments.model], [*targets, *([] if arguments.adabn is None else [arguments.adabn])])

    from reid.evaluation.adapted import adapted
    from reid.evaluation.subject import subject_of

    subject = subject_of(arguments.model, overrides).under(arguments.protocol)
    if arguments.adabn is not None:
        subject = adapted(subject, arguments.adabn)
    _evaluate(subject, targets, arguments.oracle)


def with_sources(config: Config, targets: Sequence[str]) -> list[str]:
    """Each source that has test splits, then the targets."""
    from reid.data.card import load_card
    from reid.engine import build

    build.check(config)
    tested = [source for source in config.data.sources if load_card(source).has_test]
    return list(dict.fromkeys((*tested, *targets)))


def check_targets(config: Config, targets: Sequence[str]) -> list[Target]:
    """Read every table before the training whose result they test; sites made here last, since they may take minutes.

    Raises:
        InputError: as :func:`reid.evaluation.targets.read_targets`; a target of a source's
            name; a run not begun that would train on their images.
    """
    from reid.data.card import load_card
    from reid.engine import build
    from reid.engine.checkpoint import FILE
    from reid.evaluation.targets import read_targets, refuse_namesakes_of_sources, refuse_training_images

    begun = (config.run_folder / FILE).exists()
    if not begun:
        build.check(config)
    roots, sources = build.roots(config), config.data.sources
    read = read_targets(roots, sorted(targets, key=lambda name: load_card(name).made is not None))
    refuse_namesakes_of_sources(roots, sources, read)
    if not begun:
        refuse_training_images(roots, sources, read)
    return read


def evaluate_run(config: Config, folder: Path, targets: Sequence[str]) -> None:
    """Test the run of ``config`` that was trained into ``folder``, and print its figures. Of several processes that
    trained it the first does, and the others extract features for it."""
    from reid.engine.distributed import rank
    from reid.evaluation.subject import subject_of_run
    from reid.networks.shared import SharedNetwork

    subject = subject_of_run(config, folder)
    network = SharedNetwork(subject.network, subject.testing.batch_size)
    if rank() > 0:
        subject.testing.placement.take_up()
        network.serve()
        return
    _evaluate(replace(subject, network=network), targets, oracle=False)
    network.release()


def _evaluate(subject: Subject, targets: Sequence[str], oracle: bool) -> None:
    from reid.evaluation.evaluate import evaluate
    from reid.evaluation.results import RESULTS_FILE
    from reid.report.side_by_side import rows_of, target_table, with_intervals

    results = evaluate(subject, targets, oracle=oracle)
    print(target_table(with_intervals(rows_of(results), subject.folder)))
    if oracle:
        for label, test in results["targets"].items():
            best = test["oracle"]
            print(f"{label}: mAP {100 * best['mAP']:.1f} after epoch {best['epoch']} ({best['meaning']})")
    print(f"written: {subject.folder / RESULTS_FILE}")


EVALUATE = Command(
    "evaluate.py",
    "Test any network on any data sets.",
    "--model runs/sites_ibn_b_seed0 --targets station street",
    evaluate_arguments,
    evaluate,
)
