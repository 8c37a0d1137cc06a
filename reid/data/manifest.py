"""A CSV manifest to rows (name, identity, camera, size)."""

import csv
import io
from collections.abc import Iterator
from pathlib import Path

from reid.data.layouts import UNKNOWN_CAMERA, Row, Scan, checked_name, stat_of, text_of
from reid.data.names import label, refuse_missing, some
from reid.data.schema import SPLITS, Card
from reid.errors import InputError

MANIFEST_COLUMNS = ("path", "pid", "split")
CAMERA_COLUMN = "camid"


def scan_manifest(card: Card, root: Path, hint: str) -> dict[str, Scan]:
    """The splits of a CSV manifest with the columns path, pid, split and, where cameras are known, camid; paths are
    relative to the root."""
    path = root / str(card.manifest)
    if not path.is_file():
        raise InputError(f"card {card.name}: no manifest {path}. {hint}")
    # The reader finds the ends of lines itself: splitlines would cut a name at U+2028 and its like.
    reader = csv.DictReader(io.StringIO(text_of(path), newline=""), skipinitialspace=True, strict=True)
    records = _records(reader, path)
    splits: dict[str, list[Row]] = {}
    seen: dict[str, set[str]] = {}
    missing: list[str] = []
    for record in records:
        where = f"{path}, line {reader.line_num}"
        if any(record.get(None, ())):  # a comma that ends a line adds nothing
            raise InputError(f"{where}: more values than columns; a path with a comma stands in double quotes")
        known = CAMERA_COLUMN in record
        columns = (*MANIFEST_COLUMNS, CAMERA_COLUMN) if known else MANIFEST_COLUMNS
        values = {column: (record[column] or "").strip(" \t") for column in columns}
        empty = [column for column, value in values.items() if not value]
        if empty:
            raise InputError(f"{where}: {', '.join(empty)} is empty")
        for column in ("pid", CAMERA_COLUMN) if known else ("pid",):
            refuse_missing(values[column], where, column)
            label(values[column], where, column)
        split_name = values["split"]
        if split_name not in SPLITS:
            raise InputError(f"{where}: split {split_name!r} is not one of {', '.join(SPLITS)}")
        name = checked_name(values["path"], ".", seen.setdefault(split_name, set()), where)
        stat = stat_of(f"{root}/{name}")
        if stat is None:
            missing.append(name)
        else:
            camera = values.get(CAMERA_COLUMN, UNKNOWN_CAMERA)
            splits.setdefault(split_name, []).append(Row(name, values["pid"], camera, stat))
    if missing:
        slashes = " (folders are told apart by /, not by \\)" if "\\" in missing[0] else ""
        raise InputError(f"{path}: {len(missing)} files that it lists are not in {root}{slashes}: {some(missing)}")
    if not splits:
        raise InputError(f"{path}: no rows below the header")
    without_camera = CAMERA_COLUMN not in (reader.fieldnames or ())
    return {
        name: Scan(tuple(sorted(rows, key=lambda row: row.name)), without_camera=without_camera)
        for name, rows in splits.items()
    }


def _records(reader: csv.DictReader, path: Path) -> Iterator[dict[str | None, str]]:
    try:
        _check_columns(list(reader.fieldnames or ()), path)
        yield from reader
    except csv.Error as error:
        raise InputError(f"{path}, line {reader.line_num}: not readable as CSV: {error}") from None


def _check_columns(columns: list[str], path: Path) -> None:
    lacking = [column for column in MANIFEST_COLUMNS if column not in columns]
    if lacking:
        other = next((mark for mark in (";", "\t", "|") if any(mark in name for name in columns)), None)
        marks = "" if other is None else f"; it is separated by {other!r}, expected are commas"
        raise InputError(
            f"{path}: no column {', '.join(lacking)}; it needs {', '.join(MANIFEST_COLUMNS)} and, where cameras are "
            f"known, {CAMERA_COLUMN}; it has {', '.join(columns) or 'none'}{marks}"
        )
    twice = [column for column in (*MANIFEST_COLUMNS, CAMERA_COLUMN) if columns.count(column) > 1]
    if twice:
        raise InputError(f"{path}: column {twice[0]} stands there twice")
