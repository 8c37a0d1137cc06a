"""``reid train`` and ``reid evaluate``."""

from __future__ import annotations

import argparse
from pathlib import Path

from reid.commands.shared import add_overrides, check_targets, split_overrides, with_sources


def train_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--cfg", required=True, metavar="FILE", help="config file: a path, or a bundled one's name")
    add_overrides(parser)


def train(arguments: argparse.Namespace) -> None:
    from reid.config import load_config
    from reid.engine.train import train
    from reid.evaluation.evaluate import RESULTS_FILE, evaluate_run
    from reid.report.table import rows_of, target_table

    config = load_config(arguments.cfg, arguments.overrides)
    targets = with_sources(config, config.targets)
    check_targets(config, targets)
    folder = train(config)
    if not targets:
        print(f"trained: {folder}; {' and '.join(config.data.sources)}: no test split there, and no target given")
        return
    results = evaluate_run(config, folder, targets)
    print(target_table(rows_of(results)))
    print(f"written: {folder / RESULTS_FILE}")


# evaluate


def evaluate_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--run", required=True, type=Path, metavar="DIR", dest="folder", help="folder of a trained run")
    parser.add_argument("--targets", required=True, nargs="+", metavar="NAME", help="data sets: names, cards, folders")
    parser.add_argument(
        "--adabn", metavar="NAME", help="first estimate batch-norm statistics anew on this data set or folder of images"
    )
    parser.add_argument(
        "--oracle",
        action="store_true",
        help="also show each target's best epoch, which looks at the target (runs with selection.keep_epochs=true)",
    )
    add_overrides(parser)


def evaluate(arguments: argparse.Namespace) -> None:
    from reid.engine.extract import run_config
    from reid.evaluation.evaluate import RESULTS_FILE, evaluate_run
    from reid.report.table import rows_of, target_table

    targets, overrides = split_overrides(arguments.targets, arguments.overrides)
    config = run_config(arguments.folder, overrides)
    results = evaluate_run(config, arguments.folder, targets, adabn=arguments.adabn, oracle=arguments.oracle)
    print(target_table(rows_of(results)))
    if arguments.oracle:
        for label, own in results["targets"].items():
            found = own["oracle"]
            print(f"{label}: mAP {100 * found['mAP']:.1f} after epoch {found['epoch']} ({found['meaning']})")
    print(f"written: {arguments.folder / RESULTS_FILE}")
