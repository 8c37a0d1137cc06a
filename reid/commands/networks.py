"""``reid cross-domain --models``: networks of any origin on the same targets."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reid.commands.command import split_overrides
from reid.commands.models import check_there
from reid.errors import InputError
from reid.files import write_atomically

if TYPE_CHECKING:
    import pandas as pd

    from reid.evaluation.entries import Failure
    from reid.evaluation.subject import Subject
    from reid.evaluation.targets import Target
    from reid.report.side_by_side import Row
    from reid.retrieval.features import Protocol

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Compared:
    """A network under the name that tables give it, and its targets."""

    label: str
    subject: Subject
    targets: list[Target]


def compare_networks(
    models: Sequence[str], targets: Sequence[str], overrides: Sequence[str], protocol: Protocol | None, output: Path
) -> None:
    """Test each network on each target, one after the other; print and write the tables.

    Raises:
        InputError: a network or data set that cannot be opened, before anything is tested; or what kept some tests from
            being done, after those that were.
        RuntimeError: likewise, where other input would not mend it.
    """
    names, overrides = split_overrides(models, overrides)
    check_there(names, targets)

    from reid.commands.comparing import raise_failures
    from reid.data.reading import tables_kept

    with tables_kept():
        networks = _opened(names, targets, overrides, protocol)
        rows: list[Row] = []
        queries: list[pd.DataFrame] = []
        home: list[pd.DataFrame] = []
        failures: list[Failure] = []
        for network in networks:
            results, lost = _tested(network)
            failures += lost
            if results["targets"]:
                tested, frames = _gathered(network, results)
                rows, queries = rows + tested, queries + frames
                home += _home(network, results["run"])
    if rows:
        _write(rows, queries, home, output)
    raise_failures(failures, f"{len({failure.run for failure in failures})} of {len(networks)} networks")


def _opened(
    names: Sequence[str], targets: Sequence[str], overrides: Sequence[str], protocol: Protocol | None
) -> list[Compared]:
    """The networks, each with its targets, which lie where its own configuration says."""
    from reid.evaluation.subject import subject_of
    from reid.evaluation.targets import read_targets, refuse_namesakes

    subjects = [subject_of(name, overrides).under(protocol) for name in names]
    given: dict[str, str] = {}  # by fingerprint
    for name, subject in zip(names, subjects, strict=True):
        fingerprint = subject.network.origin.fingerprint
        if fingerprint in given:
            raise InputError(f"--models: {given[fingerprint]} and {name} are the same network; name it once")
        given[fingerprint] = name
    called = [subject.network.origin.name for subject in subjects]
    labels = [label if called.count(label) == 1 else name for label, name in zip(called, names, strict=True)]
    networks = [
        Compared(label, subject, read_targets(subject.testing.roots, targets, protocol))
        for label, subject in zip(labels, subjects, strict=True)
    ]
    refuse_namesakes([target for network in networks for target in network.targets])  # a name stands for one data set
    return networks


def _tested(network: Compared) -> tuple[dict[str, Any], list[Failure]]:
    """A network's results on the targets, and what kept others from being had: each by itself."""
    from reid.evaluation.entries import Failure
    from reid.evaluation.evaluate import evaluate

    subject, failures = network.subject, []
    results: dict[str, Any] = {"run": subject.describe(), "targets": {}}
    for target in network.targets:
        try:
            results["targets"] |= evaluate(subject, [target.given])["targets"]
        except InputError as error:
            failures.append(Failure(subject.folder, network.label, target.given, str(error)))
        except Exception:  # a bug, told with its traceback: no reason to lose the other networks
            failures.append(Failure(subject.folder, network.label, target.given, traceback.format_exc(), bug=True))
    for failure in failures:
        log.warning(f"failed: {replace(failure, problem=failure.reason)}")
    return results, failures


def _gathered(network: Compared, results: dict[str, Any]) -> tuple[list[Row], list[pd.DataFrame]]:
    from reid.evaluation.comparison import queries_of
    from reid.report.side_by_side import rows_of

    folder = network.subject.folder
    rows = [replace(row, model=network.label) for row in rows_of(results)]
    return rows, [queries_of(folder, row.target, row.model, row.source, row.target) for row in rows]


def _home(network: Compared, run: dict[str, Any]) -> list[pd.DataFrame]:
    """Queries of a run on the test splits of its sources that are no targets here, where their figures are still valid:
    what the drop is against. Nothing is computed for it; where there are none, a warning says what is needed."""
    from reid.evaluation.comparison import queries_of
    from reid.evaluation.evaluate import is_evaluated
    from reid.evaluation.results import read_results
    from reid.evaluation.targets import SUFFIX, read_targets
    from reid.report.benchmark import CROSS_CAMERA
    from reid.report.side_by_side import is_home

    subject, tested = network.subject, {target.filed for target in network.targets}
    stored = read_results(subject.folder)["targets"]
    frames = []
    home = [label for label in run["sources"] if is_home(run, label)]
    for label in home:
        for filed in (label + suffix for suffix in SUFFIX.values()):
            if filed in tested or filed not in stored:
                continue
            test = stored[filed]
            try:
                (target,) = read_targets(
                    subject.testing.roots, [test.get("given", label)], test.get("protocol", CROSS_CAMERA)
                )
            except InputError as error:
                log.warning(f"{network.label}: no drop from {filed}: {error}")
                continue
            if is_evaluated(subject, target):
                frames.append(queries_of(subject.folder, filed, network.label, run["source"], filed))
                tested.add(filed)
    for suffix in dict.fromkeys(SUFFIX[target.protocol] for target in network.targets):
        if lost := [label for label in home if label + suffix not in tested]:
            log.warning(
                f"{network.label}: no drop from {' and '.join(lost)}{suffix}, where it has no valid figures; name it "
                "among --targets for one"
            )
    return frames


def _write(rows: list[Row], queries: list[pd.DataFrame], home: list[pd.DataFrame], output: Path) -> None:
    import pandas as pd

    from reid.report.provenance import mixtures
    from reid.report.side_by_side import compared, gap_plot

    order = list(dict.fromkeys(row.target for row in rows))
    table, frame, rows = compared(rows, pd.concat(queries), pd.concat(home) if home else None)
    text = "\n\n".join([table, *mixtures(frame, "the networks compared")])
    print(text)
    seeds = {row.model: row.seed for row in rows}
    every = pd.concat(queries)
    every.insert(3, "seed", every["model"].map(seeds).astype("Int64"))
    write_atomically(output / "table.md", text + "\n")
    write_atomically(output / "results.csv", frame.to_csv(index=False, lineterminator="\n"))
    write_atomically(output / "queries.parquet", every.to_parquet(index=False))
    gap_plot(sorted(rows, key=lambda row: order.index(row.target)), output / "gap.png")
    print(f"written: {output}/table.md, results.csv, queries.parquet, gap.png")
