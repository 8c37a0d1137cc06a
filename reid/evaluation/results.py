"""The files that a test leaves: results.json, a row a query, ranked lists."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import parquet

from reid.errors import InputError
from reid.files import write_atomically
from reid.retrieval.features import Features
from reid.retrieval.ranking import Evaluation

RESULTS_FILE = "results.json"
QUERIES_FILE, RANKS_FILE = "queries.parquet", "ranks.parquet"
QUERY_COLUMNS = ("trial", "path", "pid", "camid", "ap", "inp", "first_rank")


def read_results(folder: Path) -> dict[str, Any]:
    """The run's results.json.

    Raises:
        InputError: naming the file, when it is missing or damaged.
    """
    path = folder / RESULTS_FILE
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read: {error}") from None
    if not isinstance(results, dict) or not all(isinstance(results.get(key), dict) for key in ("run", "targets")):
        raise InputError(f"{path}: is not a results file: it has no mappings 'run' and 'targets'; delete it")
    for name, test in results["targets"].items():
        records = [test.get("dataset", {}), test.get("adabn") or {}] if isinstance(test, dict) else [test]
        if not all(isinstance(record, dict) for record in records):
            raise InputError(f"{path}: is damaged: targets: {name!r} is not the record of a test; delete it")
    return results


def summary_of(evaluations: Sequence[Evaluation]) -> dict[str, Any]:
    """One evaluation's figures; of several their means, the spread, and each one's own figures under ``trials``."""
    figures = [evaluation.summary() for evaluation in evaluations]
    if len(figures) == 1:
        return figures[0]
    names = ("mAP", "mINP", "cmc")
    means = {name: np.mean([one[name] for one in figures], axis=0).tolist() for name in names}  # type: ignore[arg-type]
    deviations = {name: np.std([one[name] for one in figures], axis=0, ddof=1).tolist() for name in names}  # type: ignore[arg-type]
    counts = {name: sum(one[name] for one in figures) for name in ("num_valid_queries", "num_queries", "num_gallery")}  # type: ignore[misc]
    return {**means, **counts, "protocol": figures[0]["protocol"], "spread": deviations, "trials": figures}


def read_queries(folder: Path, key: str) -> pd.DataFrame:
    """The rows of :func:`per_query` of the test that is filed in a network's ``folder`` as ``key``.

    Raises:
        InputError: naming the file, where it cannot be read.
    """
    path = folder / "targets" / key / QUERIES_FILE
    try:
        return pd.read_parquet(path)[list(QUERY_COLUMNS)]
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{path}: cannot be read: {error}; delete its folder, and evaluate again") from None


def per_query(query: Features, evaluation: Evaluation, trial: int) -> pd.DataFrame:
    """A row a valid query."""
    valid = np.flatnonzero(evaluation.valid)
    return pd.DataFrame(
        {
            "trial": trial,
            "path": np.array(query.paths)[valid],
            "pid": query.pids[valid],
            "camid": query.camids[valid],
            "ap": evaluation.ap[valid],
            "inp": evaluation.inp[valid],
            "first_rank": evaluation.first_rank[valid],
        }
    )


def write_ranks(path: Path, query: Features, gallery: Features, evaluation: Evaluation) -> None:
    lists = evaluation.lists
    assert lists is not None
    rows, places = np.nonzero(lists.indices >= 0)
    listed = lists.indices[rows, places]
    table = (
        pa.table(  # by Arrow: as NumPy's texts, all of one width, the paths would take longer than a tenth of ranking
            {
                "query_path": pa.array(query.paths, pa.string()).take(pa.array(rows)),
                "query_pid": query.pids[rows],
                "query_camid": query.camids[rows],
                "rank": places + 1,
                "gallery_path": pa.array(gallery.paths, pa.string()).take(pa.array(listed)),
                "gallery_pid": gallery.pids[listed],
                "gallery_camid": gallery.camids[listed],
                "distance": lists.distances[rows, places],
                "match": lists.matches[rows, places],
            }
        )
    )
    content = pa.BufferOutputStream()
    parquet.write_table(table, content)
    write_atomically(path, content.getvalue().to_pybytes())
