"""``reid train`` and ``reid evaluate``."""

from __future__ import annotations

import argparse

from reid.commands.shared import add_model, add_overrides, add_protocol, check_targets, split_overrides, with_sources


def train_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--cfg", required=True, metavar="FILE", help="config file: a path, or a bundled one's name")
    add_overrides(parser)


def train(arguments: argparse.Namespace) -> None:
    from reid.config import load_config
    from reid.engine.train import train
    from reid.evaluation.evaluate import evaluate
    from reid.evaluation.results import RESULTS_FILE
    from reid.evaluation.subject import subject_of_run
    from reid.report.compared import with_intervals
    from reid.report.table import rows_of, target_table

    config = load_config(arguments.cfg, arguments.overrides)
    targets = with_sources(config, config.targets)
    check_targets(config, targets)
    folder = train(config)
    if not targets:
        print(f"trained: {folder}; {' and '.join(config.data.sources)}: no test split there, and no target given")
        return
    results = evaluate(subject_of_run(config, folder), targets)
    print(target_table(with_intervals(rows_of(results), folder)))
    print(f"written: {folder / RESULTS_FILE}")


# evaluate


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
    from reid.evaluation.adapted import adapted
    from reid.evaluation.evaluate import evaluate
    from reid.evaluation.results import RESULTS_FILE
    from reid.evaluation.subject import subject_of
    from reid.report.compared import with_intervals
    from reid.report.table import rows_of, target_table

    targets, overrides = split_overrides(arguments.targets, arguments.overrides)
    subject = subject_of(arguments.model, overrides).under(arguments.protocol)
    if arguments.adabn is not None:
        subject = adapted(subject, arguments.adabn)
    results = evaluate(subject, targets, oracle=arguments.oracle)
    print(target_table(with_intervals(rows_of(results), subject.folder)))
    if arguments.oracle:
        for label, test in results["targets"].items():
            best = test["oracle"]
            print(f"{label}: mAP {100 * best['mAP']:.1f} after epoch {best['epoch']} ({best['meaning']})")
    print(f"written: {subject.folder / RESULTS_FILE}")
