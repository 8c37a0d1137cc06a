"""Networks of any origin on the same queries: their figures, the first network's lead, and what each loses from home.

The tables of queries are as :mod:`reid.evaluation.gap` takes them, but one network has one name and no seed: what is
compared are these networks, not the methods that made them, and intervals are over identities alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from reid.errors import InputError
from reid.evaluation import gap
from reid.evaluation.interval import Estimate, Term, estimate
from reid.evaluation.results import read_queries

MEASURES = ("mAP", "rank1")
QUERIES = ("model", "source", "target", *gap.QUERY, "pid", "ap", "inp", "first_rank")


@dataclass(frozen=True)
class Standing:
    """One network on one target in one measure, all as fractions; None where it cannot be computed or does not apply.

    Attributes:
        figure: the measure, with its interval.
        lead: the measure minus the first network's, over the same queries.
        drop: the measure minus the network's own on the test split of what it was trained on; below 0 it loses.
    """

    model: str
    source: str
    target: str
    measure: str
    in_domain: bool
    figure: Estimate | None
    lead: Estimate | None = None
    drop: Estimate | None = None


def queries_of(folder: Path, key: str, model: str, source: str, target: str) -> pd.DataFrame:
    """The queries of a test that is filed in a network's ``folder`` as ``key``, with the columns ``QUERIES``.

    Raises:
        InputError: naming the file, where it cannot be read.
    """
    return read_queries(folder, key).assign(model=model, source=source, target=target)[list(QUERIES)]


def figures(queries: pd.DataFrame) -> dict[str, Estimate]:
    """Each of ``MEASURES`` of one network on one target, with its 95 % interval over identities.

    Raises:
        InputError: fewer than two identities.
    """
    pids = queries["pid"].to_numpy()
    return {
        measure: estimate([Term(gap.METRICS[measure](queries).to_numpy(np.float64)[None], pids)])
        for measure in MEASURES
    }


def standings(
    queries: pd.DataFrame, in_domain: Callable[[str, str], bool] = gap.trained_on, home: pd.DataFrame | None = None
) -> tuple[list[Standing], list[str]]:
    """Every network on every target, target by target; then what could not be computed, with the reason.

    Args:
        queries: a row a valid query, with the columns ``QUERIES``; the others are compared with the first model.
        in_domain: whether a target is the test split of a source.
        home: the same columns, of in-domain targets that count for the drop and have no line of their own.
    """
    models, left_out = list(dict.fromkeys(queries["model"])), []
    told: list[Standing] = []
    dropped: dict[tuple[str, str, str], Estimate] = {}
    for model in models:
        rows = [frame[frame["model"] == model] for frame in (queries, home) if frame is not None]
        drops, problems = _drops(pd.concat(rows), in_domain)
        dropped |= {(model, target, measure): drop for (target, measure), drop in drops.items()}
        left_out += [f"{model}: {problem}" for problem in problems]
    for target in dict.fromkeys(queries["target"]):
        tested = {model: queries[(queries["model"] == model) & (queries["target"] == target)] for model in models}
        for model, rows in tested.items():
            if rows.empty:
                continue
            measured: dict[str, Estimate] = {}
            leads: dict[str, Estimate] = {}
            try:
                measured = figures(rows)
                if model != models[0]:
                    leads = _leads(rows, tested[models[0]])
            except InputError as error:
                left_out.append(f"{model} on {target}: {error}")
            source = str(rows["source"].iloc[0])
            told += [
                Standing(model, source, target, measure, in_domain(source, target), measured.get(measure),
                         leads.get(measure), dropped.get((model, target, measure)))
                for measure in MEASURES
            ]  # fmt: skip
    return told, left_out


def _leads(rows: pd.DataFrame, first: pd.DataFrame) -> dict[str, Estimate]:
    """A network minus the first, by measure.

    Raises:
        InputError: the first was not tested here, or on other queries.
    """
    if first.empty:
        raise InputError("the first network was not tested here: there is nothing to compare with")
    both = pd.concat([rows, first]).assign(source="", seed=0)
    return {each.metric: each.estimate for each in gap.compare_models(both) if each.metric in MEASURES}


def _drops(
    rows: pd.DataFrame, in_domain: Callable[[str, str], bool]
) -> tuple[dict[tuple[str, str], Estimate], list[str]]:
    """One network's cross-domain minus in-domain figures, by target and measure; then why some are not there."""
    targets = list(dict.fromkeys(rows["target"]))
    home = [target for target in targets if in_domain(str(rows["source"].iloc[0]), target)]
    drops: dict[tuple[str, str], Estimate] = {}
    problems = []
    for target in (target for target in targets if home and target not in home):
        try:
            gaps, _ = gap.gaps(rows[rows["target"].isin([*home, target])].assign(seed=0), in_domain)
        except InputError as error:
            problems.append(str(error))
            continue
        drops |= {(target, each.metric): turned(each.estimate) for each in gaps if each.metric in MEASURES}
    return drops, problems


def turned(estimate: Estimate) -> Estimate:
    """The same quantity with its sign turned."""
    return replace(estimate, value=-estimate.value, low=-estimate.high, high=-estimate.low)
