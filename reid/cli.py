"""The ``reid`` command; the files in tools/ call the same functions.

Bad input ends with one message and exit code 2, an interrupt with 130 or 143. Imports stand in the functions that need
them, so that ``--help`` and ``score`` start without loading the network's packages.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import logging
import os
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

from reid.errors import InputError
from reid.files import write_atomically

if TYPE_CHECKING:
    from reid.config import Config
    from reid.evaluation.benchmark import Run
    from reid.retrieval.features import Features
    from reid.retrieval.ranking import Evaluation


@dataclass(frozen=True)
class Command:
    """One sub-command; ``tool`` is the file in tools/ that runs it alone."""

    tool: str
    help: str
    example: str
    arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], None]


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of ``reid``; returns the exit code."""
    parser = argparse.ArgumentParser(prog="reid", description="Person re-identification across camera domains.")
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True)
    for name, command in COMMANDS.items():
        _fill(
            subparsers.add_parser(name, help=command.help, formatter_class=argparse.RawDescriptionHelpFormatter),
            command,
            f"reid {name}",
        )
    return _run(parser, arguments)


def tool(name: str) -> int:
    """Entry point of one file in tools/; returns the exit code."""
    command = COMMANDS[name]
    parser = argparse.ArgumentParser(prog=command.tool, formatter_class=argparse.RawDescriptionHelpFormatter)
    _fill(parser, command, f"python tools/{command.tool}")
    return _run(parser, None)


def _fill(parser: argparse.ArgumentParser, command: Command, prefix: str) -> None:
    parser.description = command.help
    parser.epilog = f"example:\n  {prefix} {command.example}"
    command.arguments(parser)
    parser.set_defaults(run=command.run)


def _run(parser: argparse.ArgumentParser, arguments: Sequence[str] | None) -> int:
    parsed = parser.parse_args(arguments)
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    logging.getLogger("reid").setLevel(logging.INFO)
    try:
        parsed.run(parsed)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stop:
        print(f"\n{str(stop) or 'interrupted'}", file=sys.stderr)
        return getattr(stop, "code", 130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader (head, less) has seen enough
        return 141
    return 0


# train


def _train_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--cfg", required=True, metavar="FILE", help="config file: a path, or a bundled one's name")
    _add_overrides(parser)


def _train(arguments: argparse.Namespace) -> None:
    from reid.config import load_config
    from reid.engine.train import train
    from reid.evaluation.evaluate import RESULTS_FILE, evaluate_run
    from reid.report.table import rows_of, target_table

    config = load_config(arguments.cfg, arguments.overrides)
    targets = _with_sources(config, config.targets)
    _check_targets(config, targets)
    folder = train(config)
    if not targets:
        print(f"trained: {folder}; {' and '.join(config.data.sources)}: no test split there, and no target given")
        return
    results = evaluate_run(config, folder, targets)
    print(target_table(rows_of(results)))
    print(f"written: {folder / RESULTS_FILE}")


# evaluate


def _evaluate_arguments(parser: argparse.ArgumentParser) -> None:
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
    _add_overrides(parser)


def _evaluate(arguments: argparse.Namespace) -> None:
    from reid.evaluation.evaluate import RESULTS_FILE, evaluate_run
    from reid.report.table import rows_of, target_table

    targets, overrides = _split_overrides(arguments.targets, arguments.overrides)
    config = _run_config(arguments.folder, overrides)
    results = evaluate_run(config, arguments.folder, targets, adabn=arguments.adabn, oracle=arguments.oracle)
    print(target_table(rows_of(results)))
    if arguments.oracle:
        for label, own in results["targets"].items():
            found = own["oracle"]
            print(f"{label}: mAP {100 * found['mAP']:.1f} after epoch {found['epoch']} ({found['meaning']})")
    print(f"written: {arguments.folder / RESULTS_FILE}")


# cross-domain


def _cross_domain_arguments(parser: argparse.ArgumentParser) -> None:
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--cfgs", nargs="+", metavar="FILE", help="config files, one a model and source")
    what.add_argument(
        "--benchmark", metavar="FILE", help="a grid: models x sources x targets x seeds (configs/benchmarks)"
    )
    parser.add_argument("--targets", nargs="+", default=[], metavar="NAME", help="with --cfgs: data sets to test on")
    parser.add_argument(
        "--jobs", type=_count, default=1, metavar="N", help="runs at once; with several GPUs each has one of its own"
    )
    parser.add_argument(
        "--output",
        type=Path,
        metavar="DIR",
        help="folder of the tables (default: runs/cross_domain, runs/benchmarks/NAME)",
    )
    _add_overrides(parser)


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 1024:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to 1024")
    return int(text)


def _cross_domain(arguments: argparse.Namespace) -> None:
    targets, overrides = _split_overrides(arguments.targets, arguments.overrides)
    if arguments.benchmark:
        if targets:
            raise InputError(f"--targets {' '.join(targets)}: the benchmark's file names its targets")
        _run_benchmark(arguments.benchmark, overrides, arguments.jobs, arguments.output)
        return
    if not targets:
        raise InputError("--cfgs needs --targets NAME ...: the data sets to test on")
    names, overrides = _split_overrides(arguments.cfgs, overrides)
    _compare(names, targets, overrides, arguments.jobs, arguments.output or Path("runs/cross_domain"))


def _compare(names: Sequence[str], targets: Sequence[str], overrides: Sequence[str], jobs: int, output: Path) -> None:
    from reid.config import load_config
    from reid.evaluation.benchmark import Run
    from reid.evaluation.evaluate import read_results
    from reid.report.plots import gap_plot
    from reid.report.table import Row, gap_table, rows_of

    configs = [load_config(name, overrides) for name in names]
    runs = []
    for config in configs:
        wanted = tuple(_with_sources(config, targets))
        _check_targets(config, wanted)
        runs.append(Run(config.name, False, config, False, wanted, False))
    labels = _do_missing(f"{len(runs)} runs", runs, jobs)
    rows: list[Row] = []
    for run, own in zip(runs, labels, strict=True):
        results = read_results(run.config.run_folder)
        rows += rows_of({**results, "targets": {label: results["targets"][label] for label in own}})
    table = gap_table(rows)
    print(table)
    content = io.StringIO()
    writer = csv.DictWriter(content, [field.name for field in fields(Row)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(row) for row in rows)
    write_atomically(output / "table.md", table + "\n")
    write_atomically(output / "results.csv", content.getvalue())
    gap_plot(rows, output / "gap.png")
    print(f"written: {output}/table.md, results.csv, gap.png")


def _run_benchmark(name: str, overrides: Sequence[str], jobs: int, output: Path | None) -> None:
    from reid.evaluation.benchmark import load_benchmark, runs_of, write_benchmark
    from reid.files import locked

    stem, benchmark = load_benchmark(name)
    runs = runs_of(benchmark, overrides)
    for run in {run.config.data.sources: run for run in runs}.values():
        _check_targets(run.config, benchmark.targets)
    output = output or Path("runs/benchmarks") / stem
    with locked(output):
        _do_missing(f"{stem}: {len(runs)} runs", runs, jobs)
        write_benchmark(stem, benchmark, runs, output)
    print(
        f"written: {output}/results.csv and the files beside it; python tools/report.py {output} makes a page of them"
    )


def _do_missing(name: str, runs: Sequence[Run], jobs: int) -> list[list[str]]:
    """Say what is missing and about how long it takes, then do it; returns each run's target labels."""
    from reid.evaluation.scheduler import estimate, tasks_of, work

    tasks = tasks_of(runs)
    busy = {task.config.run_folder for task in tasks}
    cells = sum(len(missing) for task in tasks for missing in task.missing)
    train = sum(task.steps > 0 for task in tasks)
    text = f"{name}, {sum(len(run.targets) for run in runs)} cells; missing: {cells} cells, {train} runs to train"
    if tasks:
        finished = [run for run in runs if run.config.run_folder not in busy]
        minutes = estimate(tasks, finished, jobs) / 60
        text += f"; about {max(1, round(minutes))} min" if minutes < 120 else f"; about {minutes / 60:.0f} h"
    print(text, flush=True)
    work(tasks, jobs)
    return [[target.label for target, _ in run.tests()] for run in runs]


# score


def _score_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--query",
        required=True,
        type=Path,
        metavar="NPZ",
        help="arrays features (N, D), pids (N,), camids (N,) and optionally paths (N,)",
    )
    parser.add_argument("--gallery", required=True, type=Path, metavar="NPZ", help="the same for the gallery")
    parser.add_argument("--distance", choices=("cosine", "euclidean"), default="cosine", help="default: %(default)s")
    parser.add_argument("--rerank", action="store_true", help="k-reciprocal re-ranking too (k1 20, k2 6, lambda 0.3)")
    parser.add_argument("--expand", type=int, metavar="K", help="average each query with its K nearest gallery images")
    parser.add_argument("--roc", action="store_true", help="true positive rates and thresholds at false positive rates")
    parser.add_argument(
        "--max-memory", type=_bytes, metavar="SIZE", help="of ranking and re-ranking, beside the features: 2GB, 500MiB"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here as fractions")
    parser.add_argument(
        "--per-query", type=Path, metavar="CSV", help="write AP, INP and first match rank of each query"
    )


def _bytes(text: str) -> int:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMG]?)(I?)B?", text.strip().upper())
    if not found or len(found[1]) > 12:
        raise argparse.ArgumentTypeError(f"{text!r} is not a size such as 2GB or 500MiB")
    return int(float(found[1]) * (1024 if found[3] else 1000) ** " KMG".index(found[2] or " "))


def _score(arguments: argparse.Namespace) -> None:
    from reid.report.table import align
    from reid.retrieval.features import load_features
    from reid.retrieval.ranking import definitions, evaluate

    query, gallery = load_features(arguments.query), load_features(arguments.gallery)
    meaning = definitions(arguments.distance)
    if arguments.expand is not None:
        from reid.retrieval.expansion import expand_queries

        query = expand_queries(query, gallery, arguments.expand)
        meaning["query"] = f"mean of the query and its {arguments.expand} nearest gallery images, unit features"
    budget = arguments.max_memory
    if arguments.rerank:
        from reid.retrieval.rerank import DEFINITION, plan_memory, rerank

        plan_memory(len(query), len(gallery), max_memory=budget)  # refused before any work is done
    evaluations = {arguments.distance: evaluate(query, gallery, arguments.distance, max_memory=budget, progress=True)}
    summary = {**evaluations[arguments.distance].summary(), "definitions": meaning}
    if arguments.rerank:
        reranker = rerank(query, gallery, max_memory=budget, progress=True)
        own = evaluate(query, gallery, distances=reranker.distances, max_memory=budget, progress=True)
        evaluations["re-ranked"] = own
        summary["reranked"] = {**own.summary(), "definitions": {**meaning, "distance": DEFINITION}}

    lines = [["in %", "mAP", "mINP", "rank-1", "rank-5", "rank-10", "valid queries", "queries", "gallery"]]
    for name, own in evaluations.items():
        figures = (own.mAP, own.mINP, *(own.cmc[rank - 1] for rank in (1, 5, 10)))
        counts = (int(own.valid.sum()), len(own.ap), own.num_gallery)
        lines.append([name, *(f"{100 * figure:.2f}" for figure in figures), *map(str, counts)])
    print(align(lines))
    if arguments.roc:
        from reid.retrieval.verification import verify

        points = verify(query, gallery, arguments.distance, max_memory=budget, progress=True)
        summary["roc"] = [asdict(point) for point in points]
        names = ["false positive rate", "threshold", "met", "true positive rate"]
        shown = [
            [f"{p.wanted:g}", f"{p.threshold:.4f}", f"{p.false_positive_rate:.3g}", f"{p.true_positive_rate:.4f}"]
            for p in points
        ]
        print(align([names, *shown]))
    if arguments.json:
        write_atomically(arguments.json, json.dumps(summary, indent=1) + "\n")
    if arguments.per_query:
        write_atomically(arguments.per_query, _per_query(query, evaluations))


def _per_query(query: Features, evaluations: dict[str, Evaluation]) -> str:
    """CSV: a line a query; AP and INP are empty where there is no match to find."""
    content = io.StringIO()
    writer = csv.writer(content, lineterminator="\n")
    columns = [f"{kind} {name}" for name in evaluations for kind in ("AP", "INP", "first rank")]
    writer.writerow(["query", "path", "pid", "camid", *columns])
    for row in range(len(query)):
        figures: list[object] = []
        for own in evaluations.values():
            found = bool(own.first_rank[row])
            figures += [own.ap[row], own.inp[row], own.first_rank[row]] if found else ["", "", ""]
        path = query.paths[row] if query.paths else ""
        writer.writerow([row, path, query.pids[row], query.camids[row], *figures])
    return content.getvalue()


# check-data


def _check_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME_OR_CARD", help="bundled card's name, a card, a .csv file or a folder")
    parser.add_argument("--root", type=Path, metavar="DIR", help="data sets' folder (default: $REID_DATA or data)")
    parser.add_argument(
        "--sites-root",
        type=Path,
        default=Path("data/sites"),
        metavar="DIR",
        help="where the drawn sites lie (default: %(default)s)",
    )
    parser.add_argument("--sheet", type=Path, metavar="PNG", help="contact sheet (default: runs/check/NAME.png)")


def _check_data(arguments: argparse.Namespace) -> None:
    from reid.data.check import check

    root = arguments.root or Path(os.environ.get("REID_DATA") or "data")
    sheet = arguments.sheet or Path("runs/check") / f"{Path(arguments.name).stem}.png"
    report = check(arguments.name, root, arguments.sites_root, sheet)
    print(report.text())
    print(f"written: {sheet}")
    if not report.ok:
        raise InputError(f"{arguments.name}: the data set has the problems listed above")


# divergence


def _divergence_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--run", required=True, nargs="+", type=Path, metavar="DIR", dest="folders", help="folders of trained runs"
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
        help="folder of the table and the pictures (default: %(default)s)",
    )
    _add_overrides(parser)


def _divergence(arguments: argparse.Namespace) -> None:
    names, overrides = _split_overrides([str(folder) for folder in arguments.folders], arguments.overrides)
    folders = [Path(name) for name in names]
    if bool(arguments.readiness) == bool(arguments.a) or (
        arguments.readiness and (arguments.b or arguments.by != "domain")
    ):
        raise InputError("divergence: give --a (and --b, --by), or --readiness alone")
    if arguments.readiness:
        for folder in folders:
            _readiness(folder, arguments.readiness, arguments.output, overrides)
        return
    if arguments.by == "domain" and not arguments.b:
        raise InputError("--by domain needs --b NAME beside --a")
    _write_divergence(folders, [arguments.a, arguments.b], arguments.by, arguments.output, overrides)


def _write_divergence(
    folders: Sequence[Path], names: Sequence[str | None], by: str, output: Path, overrides: Sequence[str]
) -> None:
    import pandas as pd

    from reid.evaluation.divergence import between
    from reid.report.stages import divergence
    from reid.report.table import align

    rows = []
    for folder in folders:
        config = _run_config(folder, overrides)
        rows += [{"model": folder.name, **row} for row in between(config, folder, names, by)]
    lines = [["median (mean) over channels, nats", *(f"stage {number}" for number in (1, 2, 3, 4))]]
    for start in range(0, len(rows), 4):
        own = rows[start : start + 4]
        of = f"{own[0]['a']} and {own[0]['b']}" if by == "domain" else f"people of {own[0]['a']}"
        norms = ["*" if row["instance_norm"] else "" for row in own]
        cells = [f"{row['median']:.3g} ({row['mean']:.3g}){norm}" for row, norm in zip(own, norms, strict=True)]
        lines.append([f"{own[0]['model']}: {of}", *cells])
    print(align(lines))
    print("* ends in instance norm, near zero by construction")
    frame = pd.DataFrame(rows)
    drawn = divergence(frame, list(dict.fromkeys(frame["model"])))
    write_atomically(output / "divergence.csv", frame.to_csv(index=False, lineterminator="\n"))
    if drawn:
        write_atomically(output / "divergence.png", drawn.content)
    print(f"written: {output}/divergence.csv, divergence.png")


def _readiness(folder: Path, site: str, output: Path, overrides: Sequence[str]) -> None:
    from reid.evaluation.readiness import assess
    from reid.report import stages as pictures
    from reid.report.table import align

    found = assess(_run_config(folder, overrides), folder, site)
    stages = [f"stage {number}" for number in (1, 2, 3, 4)]
    lines = [["nearest to the source first", "figure", *stages, "drop in mAP, points"]]
    for place in found.places:
        drop = "not known" if place.drop is None else f"{place.drop:+.1f}"
        lines.append([place.label, f"{place.figure:.3g}", *(f"{value:.3g}" for value in place.medians), drop])
    print(f"{folder}: divergence from the source's test images, median over channels")
    print(align(lines))
    print(f"figure: mean over stages {', '.join(map(str, found.stages))}, those that do not end in instance norm")
    if found.correlation is not None:
        print(f"rank correlation of figure and loss over the known data sets: {found.correlation:.2f}")
    print(f"{found.verdict} {found.caveat}")
    drawn = output / f"readiness_{folder.name}.png"
    write_atomically(drawn, pictures.readiness(found, folder.name).content)
    print(f"written: {drawn}")


def _run_config(folder: Path, overrides: Sequence[str]) -> Config:
    """The config of a finished run; ``overrides`` may change how it is tested, not what was trained."""
    from reid.config import load_resolved
    from reid.engine.train import CONFIG_FILE

    if not (folder / CONFIG_FILE).is_file():
        raise InputError(f"{folder}: is not a run's folder: it holds no {CONFIG_FILE}")
    config = load_resolved(folder / CONFIG_FILE, overrides)
    if config.training() != load_resolved(folder / CONFIG_FILE).training():
        raise InputError(f"command line: {' '.join(overrides)}: would change what was trained, not how it is tested")
    return config


# report


def _report_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("results", nargs="+", type=Path, metavar="DIR", help="folders of cross_domain --benchmark")
    parser.add_argument("--output", type=Path, metavar="DIR", help="where to write (default: the first folder)")


def _report(arguments: argparse.Namespace) -> None:
    from reid.report.page import build_report

    written = build_report(arguments.results, arguments.output)
    print("written: " + ", ".join(str(path) for path in written))


# shared


def _add_overrides(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "overrides", nargs="*", default=[], metavar="key=value", help="override a key of configs/base.yaml"
    )


def _split_overrides(values: Sequence[str], overrides: Sequence[str]) -> tuple[list[str], list[str]]:
    """``--targets A B key=value`` takes the override for a target; a data set's name holds no equals sign.

    Raises:
        InputError: a word after the options that is no override.
    """
    for word in overrides:
        if "=" not in word:
            raise InputError(f"command line: {word!r} is not of the form key=value")
    return [value for value in values if "=" not in value], [value for value in (*values, *overrides) if "=" in value]


def _with_sources(config: Config, targets: Sequence[str]) -> list[str]:
    """Each source that has test splits, then the targets."""
    from reid.data.card import load_card
    from reid.engine import build

    build.check(config)
    tested = [source for source in config.data.sources if load_card(source).has_test]
    return list(dict.fromkeys((*tested, *targets)))


def _check_targets(config: Config, targets: Sequence[str]) -> None:
    """Read every table before the training whose result they test; drawn sites last, since they may take a minute."""
    from reid.data.card import load_card
    from reid.engine import build

    build.check(config)
    for target in sorted(targets, key=lambda name: load_card(name).drawn is not None):
        build.datasets(config, target, ["query", "gallery"])


COMMANDS = {
    "train": Command("train.py", "Train on the source, then test on it and on the config's targets.",
                     "--cfg sites_ibn_b.yaml seed=1", _train_arguments, _train),
    "evaluate": Command("evaluate.py", "Test a trained run on any data sets.",
                        "--run runs/sites_ibn_b_seed0 --targets station street", _evaluate_arguments, _evaluate),
    "cross-domain": Command("cross_domain.py", "Train what is missing, test every model on every target, show the gap.",
                            "--benchmark sites.yaml --jobs 2 --output runs/report",
                            _cross_domain_arguments, _cross_domain),
    "divergence": Command("divergence.py", "How differently a network sees two sites, stage by stage, without labels.",
                          "--run runs/sites_bn_seed0 runs/sites_ibn_b_seed0 --a plaza --b station",
                          _divergence_arguments, _divergence),
    "report": Command("report.py", "A page of a benchmark: tables with intervals, pictures, ranked lists.",
                      "runs/report", _report_arguments, _report),
    "score": Command("score.py", "CMC, mAP and mINP of features of any origin.",
                     "--query query.npz --gallery gallery.npz --json figures.json", _score_arguments, _score),
    "check-data": Command("check_data.py", "Count a data set against its card, find bad files, draw a contact sheet.",
                          "plaza", _check_arguments, _check_data),
}  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
