"""One run's folder of a grid, trained and tested by this process; what it leaves for those who look after the grid.

Beside a run's log (``OUTPUT/logs/NAME.log``, where another process started this one) lies its report, ``NAME.json``:
which share of its tests is done, and what failed.
"""

from __future__ import annotations

import json
import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from reid.engine import build
from reid.engine.train import is_trained, train
from reid.errors import InputError
from reid.evaluation.adapted import adapted
from reid.evaluation.entries import Entry, Failure, Run
from reid.evaluation.evaluate import evaluate
from reid.evaluation.moments import moments_of
from reid.evaluation.results import read_results
from reid.evaluation.tasks import Task, tasks_of
from reid.files import write_atomically

LOGS = "logs"
UNDONE = "not done yet"


@dataclass(frozen=True)
class Report:
    """Which share of a task's tests is done, and what failed."""

    tested: float = 0.0
    failures: tuple[Failure, ...] = ()

    def write(self, path: Path) -> None:
        """Raises InputError: the file cannot be written."""
        failures = [{**asdict(failure), "folder": str(failure.folder)} for failure in self.failures]
        write_atomically(path, json.dumps({"tested": self.tested, "failures": failures}, indent=1) + "\n")

    @staticmethod
    def read(path: Path) -> Report:
        """What :meth:`write` wrote; an empty report where there is none yet.

        Raises:
            InputError: a file that is no report.
        """
        try:
            stored = json.loads(path.read_text(encoding="utf-8"))
            failures = (Failure(**{**failure, "folder": Path(failure["folder"])}) for failure in stored["failures"])
            return Report(float(stored["tested"]), tuple(failures))
        except FileNotFoundError:
            return Report()
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path}: cannot be read as a report of a run: {error!r}; delete it") from None


def report_file(output: Path, name: str) -> Path:
    """Where the report of the folder of that name lies."""
    return output / LOGS / f"{name}.json"


def lacking_of(entries: Sequence[Entry], output: Path) -> list[Failure]:
    """Why a grid's cells are missing: what the reports of its parts tell, or that nobody has done them yet.

    Raises:
        InputError: a damaged report.
    """
    failures: list[Failure] = []
    for task in tasks_of(entries):
        told = Report.read(report_file(output, task.name)).failures
        cells = [(run, name) for run, names in zip(task.runs, task.missing, strict=True) for name in names]
        failures += [failure for failure in told if any(failure.keeps(run, name) for run, name in cells)]
        for run, names in zip(task.runs, task.missing, strict=True):
            left = [name for name in names if not any(failure.keeps(run, name) for failure in told)]
            whole = len(left) == len(run.targets)
            for name in left:
                elsewhere = _elsewhere(run, name)
                target = None if whole and not elsewhere else name
                failures.append(Failure(task.folder, run.described, target, elsewhere or UNDONE))
    return list(dict.fromkeys(failures))


def _elsewhere(run: Entry, name: str) -> str:
    """Where a run's figures of a target are those of another kind of device, which do not count here: what they are
    of. A login node without the GPUs of its cluster finds such."""
    try:
        if not isinstance(run, Run) or not is_trained(run.config):
            return ""
        here, tests = build.device(run.config).type, read_results(run.folder)["targets"].values()
    except InputError:  # damaged or not there, which is told where the run is taken up
        return ""
    same = (test for test in tests if test.get("given") == name and (test.get("adabn") is not None) == run.adabn)
    devices = {test["device"] for test in same if "device" in test}
    others = sorted(device for device in devices if device.startswith("cpu (") == (here != "cpu"))
    return f"tested on {others[0]}, which does not count on a machine that computes on {here}" if others else ""


def do(task: Task, output: Path, progress: bool = True) -> tuple[Failure, ...]:
    """Train and test; returns what failed, and reports it below ``output``. Another process that is at work in the
    run's folder is waited for.

    Raises:
        InputError: the report cannot be written.
        Interrupted: on Ctrl-C, SIGTERM or SIGHUP in training, with a checkpoint written.
    """
    path, report = report_file(output, task.name), Report()
    report.write(path)

    def tell(tested: float) -> None:
        nonlocal report
        report = replace(report, tested=tested)
        report.write(path)

    failures = tuple(_do(task, tell, progress))
    replace(report, failures=failures).write(path)
    return failures


def _do(task: Task, tell: Callable[[float], None], progress: bool) -> list[Failure]:
    config = task.config
    try:
        if task.steps:
            train(config, progress, wait=True)
        subject = task.runs[0].subject()
    except InputError as error:
        return [of_all(task, str(error))]
    except Exception:  # a bug, told with its traceback: no reason to lose the other runs
        return [of_all(task, traceback.format_exc(), bug=True)]
    failures = []
    tests = [
        (run, missing, name)
        for run, missing in zip(task.runs, task.missing, strict=True)
        for name in dict.fromkeys([*missing, *(run.targets if run.divergence else ())])
    ]
    for done, (run, missing, name) in enumerate(tests, 1):
        try:  # each by itself: a damaged image of one target is no reason to lack the others
            if name in missing:
                tested = adapted(subject, name, progress=progress) if run.adabn else subject
                evaluate(tested, [name], progress=progress, oracle=run.oracle)
            if run.divergence:
                moments_of(subject, name, progress=progress)
        except InputError as error:
            failures.append(Failure(task.folder, run.described, name, str(error)))
        except Exception:
            failures.append(Failure(task.folder, run.described, name, traceback.format_exc(), bug=True))
        tell(done / len(tests))
    return failures


def of_all(task: Task, problem: str, bug: bool = False) -> Failure:
    """What kept all of a task from being done."""
    return Failure(task.folder, " and ".join(run.described for run in task.runs), None, problem, bug)
