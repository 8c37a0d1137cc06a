"""The catalogue's tables, for every database. A source is kept as its folder, which many share, and its name."""

from __future__ import annotations

from collections.abc import Mapping

FORMAT = 2

ENTRIES = """CREATE TABLE entries (id {int} PRIMARY KEY, folder {int} NOT NULL, name {text} NOT NULL,
camera {int} NOT NULL, identity {int}, time {real}, until {real}, last {real}, frame {int},
x0 {int}, y0 {int}, x1 {int}, y1 {int}, added {real} NOT NULL, place {int} NOT NULL, content {int},
pack {int} NOT NULL, start {int} NOT NULL, size {int} NOT NULL)"""
INDEXED = ("folder", "camera", "identity", "time", "added", "place", "content")
OTHERS = (
    # What entries refer to: kind is "camera", "identity" or "folder".
    "CREATE TABLE names (id {int} PRIMARY KEY, kind {text} NOT NULL, text {text} NOT NULL, UNIQUE (kind, text))",
    "CREATE TABLE settings (name {text} PRIMARY KEY, value {text} NOT NULL)",
    "CREATE TABLE audit (id {int} PRIMARY KEY, time {real} NOT NULL, who {text} NOT NULL, action {text} NOT NULL,"
    " entries {text} NOT NULL, numbers {text} NOT NULL)",
    # What people say of two entries, the smaller id first: one person (1) or two (0).
    "CREATE TABLE decisions (first {int} NOT NULL, second {int} NOT NULL, same {int} NOT NULL, time {real} NOT NULL,"
    " PRIMARY KEY (first, second))",
    # Where erased images had lain and what they showed, as numbers, so that they are not put in again unasked.
    "CREATE TABLE erasures (number {int} PRIMARY KEY, time {real} NOT NULL)",
    # Files of thumbnails and their committed bytes.
    "CREATE TABLE packs (id {int} PRIMARY KEY, day {int} NOT NULL, writer {int} NOT NULL, size {int} NOT NULL)",
    # What is under way beyond the database: kind is "add" (ids from first to last), "remove" or "change" (one id).
    "CREATE TABLE pending (kind {text} NOT NULL, writer {int} NOT NULL, first {int} NOT NULL, last {int} NOT NULL,"
    " pack {int} NOT NULL, start {int} NOT NULL, size {int} NOT NULL)",
    # The next number of an entry, a name, a pack, a line of the audit log: rising, never used again.
    "CREATE TABLE counters (name {text} PRIMARY KEY, next {int} NOT NULL)",
)


def tables(types: Mapping[str, str], ending: str = "", partition: str = "") -> list[str]:
    """The statements that make them: ``ending`` goes behind each table, ``partition`` behind that of entries."""
    made = [ENTRIES + (partition or ending), *(table + ending for table in OTHERS)]
    indexes = [f"CREATE INDEX entries_{column} ON entries ({column})" for column in INDEXED]
    return [statement.format_map(types) for statement in (*made, *indexes)]
