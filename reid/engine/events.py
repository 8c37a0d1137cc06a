"""A run's log as event files of TensorBoard, which draws the curves of several runs over each other.

The events of a run are a function of its files alone: every number of ``log.jsonl`` and ``validation.jsonl`` by step,
and ``config.yaml`` as text. The log holds no times, so all events bear that of the run's beginning; the axis is the
step.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from reid.engine.checkpoint import CONFIG_FILE, LOG_FILE, VALIDATION_FILE
from reid.errors import InputError
from reid.files import write_atomically

EVENTS_FILE = "events.out.tfevents.0000000000.reid"  # TensorBoard knows such files by the middle of their name
FORMAT = "brain.Event:2"  # of the file, as its first event says
LOGS = {"train": LOG_FILE, "validation": VALIDATION_FILE}


def export_runs(runs: Sequence[Path], output: Path) -> list[Path]:
    """Write the events of each run into a folder of its name below ``output``; returns the files.

    What a run logged since the last call is appended, so a TensorBoard that is open follows. Where a resumed run
    logged steps anew, with other numbers, its file is replaced.

    Raises:
        InputError: TensorBoard is missing; a folder that is no run's; two runs of one name; a file that cannot be read,
            a line in one that is not of a log, or an output that cannot be written.
    """
    events = {}
    for run in runs:
        path = output / run.resolve().name / EVENTS_FILE
        if path in events:
            raise InputError(f"{run}: another of the runs has its name too, under which TensorBoard would show both")
        events[path] = run_events(run)
    for path, content in events.items():
        _bring_up_to_date(path, content)
    return list(events)


def run_events(run: Path) -> bytes:
    """The content of the event file for one run's folder.

    Raises:
        InputError: as :func:`export_runs`.
    """
    try:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.compat.proto.tensor_pb2 import TensorProto
        from tensorboard.compat.proto.types_pb2 import DT_STRING
        from tensorboard.plugins.text.metadata import create_summary_metadata
        from tensorboard.summary.writer.record_writer import RecordWriter
    except ImportError as error:
        raise InputError(f"{error.name} is not installed: pip install 'reid-gap[track]'") from None
    for name in (CONFIG_FILE, LOG_FILE):
        if not (run / name).is_file():
            raise InputError(f"{run}: is not a run's folder: it holds no {name}")
    config = run / CONFIG_FILE
    begun = config.stat().st_mtime
    settings = "".join(f"    {line}\n" for line in _text(config).splitlines())  # Markdown: as it stands
    as_text = TensorProto(dtype=DT_STRING, string_val=[settings.encode()])
    shown = Summary.Value(tag="config", tensor=as_text, metadata=create_summary_metadata("config", str(config)))
    content = io.BytesIO()
    records = RecordWriter(content)
    records.write(Event(wall_time=begun, file_version=FORMAT).SerializeToString())
    records.write(Event(wall_time=begun, summary=Summary(value=[shown])).SerializeToString())
    lines = [(step, kind, values) for kind, name in LOGS.items() for step, values in _numbers(run / name)]
    for step, kind, values in sorted(lines, key=lambda line: line[:2]):
        scalars = [Summary.Value(tag=f"{kind}/{name}", simple_value=value) for name, value in values.items()]
        records.write(Event(wall_time=begun, step=step, summary=Summary(value=scalars)).SerializeToString())
    return content.getvalue()


def _numbers(path: Path) -> Iterator[tuple[int, dict[str, float]]]:
    """Of each line that is whole (a run at work may be writing the last one) its step and its other numbers; none where
    there is no file."""
    text = _text(path) if path.exists() else ""
    for number, line in enumerate(text[: text.rfind("\n") + 1].splitlines(), 1):
        try:
            values: dict[str, Any] = json.loads(line)
            step = values.pop("step")
            if type(step) is not int or step < 0:
                raise ValueError(f"step is {step!r}")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{path}: line {number} is not of a log: {error!r}") from None
        yield step, {name: value for name, value in values.items() if type(value) in (int, float)}


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read: {error}") from None


def _bring_up_to_date(path: Path, content: bytes) -> None:
    """Append where the file is the beginning of ``content``, which a reader that follows it sees; else replace it."""
    try:
        before = path.read_bytes() if path.exists() else b""
        if not before or not content.startswith(before):
            write_atomically(path, content)
        elif len(content) > len(before):
            with path.open("ab") as file:
                file.write(content[len(before) :])
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error}") from None
