"""``reid score``: figures of features of any origin."""

from __future__ import annotations

import argparse
import csv
import io
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from reid.commands.command import Command, byte_size
from reid.files import write_atomically

if TYPE_CHECKING:
    from reid.retrieval.features import Features
    from reid.retrieval.ranking import Evaluation


def score_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--query",
        required=True,
        type=Path,
        metavar="FILE",
        help=".npz with arrays features (N, D), pids (N,), camids (N,), optionally paths (N,); or embed.py's .parquet",
    )
    parser.add_argument("--gallery", required=True, type=Path, metavar="FILE", help="the same for the gallery")
    parser.add_argument("--distance", choices=("cosine", "euclidean"), default="cosine", help="default: %(default)s")
    parser.add_argument(
        "--ap",
        choices=("precision", "trapezoid"),
        default="precision",
        help="AP: mean precision at the matches (default), or the trapezoid of Market-1501's original evaluator, "
        "which is some points lower and named mAP_trapezoid wherever it stands",
    )
    parser.add_argument(
        "--protocol",
        choices=("cross-camera", "any-camera"),
        default="cross-camera",
        help="left out for a query: gallery images of its identity and camera (default), or its own image alone, known "
        "by its path, where cameras are not known",
    )
    parser.add_argument("--rerank", action="store_true", help="k-reciprocal re-ranking too (k1 20, k2 6, lambda 0.3)")
    parser.add_argument("--expand", type=int, metavar="K", help="average each query with its K nearest gallery images")
    parser.add_argument("--roc", action="store_true", help="true positive rates and thresholds at false positive rates")
    parser.add_argument(
        "--max-memory",
        type=byte_size,
        metavar="SIZE",
        help="of ranking and re-ranking, beside the features: 2GB, 500MiB",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here as fractions")
    parser.add_argument(
        "--per-query", type=Path, metavar="CSV", help="write AP, INP and first match rank of each query"
    )


def _read(path: Path) -> Features:
    """
    Raises:
        InputError: naming the file and what is wrong in it.
    """
    if path.suffix.lower() == ".parquet":
        from reid.networks.features_file import read_features_file

        return read_features_file(path).features
    from reid.retrieval.features import load_features

    return load_features(path)


def score(arguments: argparse.Namespace) -> None:
    from reid.retrieval.ranking import definitions, evaluate
    from reid.texts import align

    query, gallery = _read(arguments.query), _read(arguments.gallery)
    protocol, budget = arguments.protocol, arguments.max_memory
    if protocol == "any-camera" and not query.paths and arguments.query.samefile(arguments.gallery):
        query = gallery = replace(query, paths=tuple(f"row {number}" for number in range(len(query))))
    meaning = definitions(arguments.distance, arguments.ap, protocol)
    if arguments.expand is not None:
        from reid.retrieval.expansion import expand_queries

        query = expand_queries(query, gallery, arguments.expand)
        meaning["query"] = f"mean of the query and its {arguments.expand} nearest gallery images, unit features"
    if arguments.rerank:
        from reid.retrieval.rerank import DEFINITION, plan_memory, rerank

        plan_memory(len(query), len(gallery), max_memory=budget)  # refused before any work is done
    plain = evaluate(query, gallery, arguments.distance, protocol=protocol, max_memory=budget, progress=True)
    evaluations = {arguments.distance: plain}
    summary = {**plain.summary(arguments.ap), "definitions": meaning}
    if arguments.rerank:
        reranker = rerank(query, gallery, max_memory=budget, progress=True)
        reranked = evaluate(
            query, gallery, protocol=protocol, distances=reranker.distances, max_memory=budget, progress=True
        )
        evaluations["re-ranked"] = reranked
        summary["reranked"] = {**reranked.summary(arguments.ap), "definitions": {**meaning, "distance": DEFINITION}}
    if protocol == "any-camera":  # its figures carry its name wherever they stand
        evaluations = {f"{name}, any-camera": evaluation for name, evaluation in evaluations.items()}

    trapezoid = arguments.ap == "trapezoid"
    first = "mAP_trapezoid" if trapezoid else "mAP"
    lines = [["in %", first, "mINP", "rank-1", "rank-5", "rank-10", "valid queries", "queries", "gallery"]]
    for name, evaluation in evaluations.items():
        mean = evaluation.mAP_trapezoid if trapezoid else evaluation.mAP
        figures = (mean, evaluation.mINP, *(evaluation.cmc[rank - 1] for rank in (1, 5, 10)))
        counts = (int(evaluation.valid.sum()), len(evaluation.ap), evaluation.num_gallery)
        lines.append([name, *(f"{100 * figure:.2f}" for figure in figures), *map(str, counts)])
    print(align(lines))
    if arguments.roc:
        from reid.retrieval.verification import verify

        points = verify(query, gallery, arguments.distance, protocol=protocol, max_memory=budget, progress=True)
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
        write_atomically(arguments.per_query, _per_query(query, evaluations, trapezoid))


def _per_query(query: Features, evaluations: dict[str, Evaluation], trapezoid: bool) -> str:
    """CSV: a line a query; AP and INP are empty where there is no match to find."""
    content = io.StringIO()
    writer = csv.writer(content, lineterminator="\n")
    ap = "AP_trapezoid" if trapezoid else "AP"
    columns = [f"{kind} {name}" for name in evaluations for kind in (ap, "INP", "first rank")]
    writer.writerow(["query", "path", "pid", "camid", *columns])
    for row in range(len(query)):
        figures: list[object] = []
        for evaluation in evaluations.values():
            matched = bool(evaluation.first_rank[row])
            precision = evaluation.ap_trapezoid[row] if trapezoid else evaluation.ap[row]
            figures += [precision, evaluation.inp[row], evaluation.first_rank[row]] if matched else ["", "", ""]
        path = query.paths[row] if query.paths else ""
        writer.writerow([row, path, query.pids[row], query.camids[row], *figures])
    return content.getvalue()


SCORE = Command(
    "score.py",
    "CMC, mAP and mINP of features of any origin.",
    "--query query.npz --gallery gallery.npz --json figures.json",
    score_arguments,
    score,
)
