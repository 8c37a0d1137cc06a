"""Getting deleted rows out of Milvus' files, as far as it lets us."""

from __future__ import annotations

from typing import Any

from reid.gallery.milvus.client import Connection


def erase(connection: Connection, collection: str, schema: Any, size: int) -> None:
    """Get what was deleted out of the files.

    A server is asked to write its segments anew; the old ones go when its garbage collection comes round, by default
    after some hours, and its message log when that expires, by default after days. Milvus Lite has no such call, so
    that the rows left are copied into a new collection, ``size`` at a time, which takes the old one's place; when this
    returns, the old files are gone.
    """
    if not connection.lite:
        connection("flush", collection)
        connection("compact", collection)
        return
    copy = _copy(collection)
    connection.create(copy, schema)
    names = [field.name for field in schema.fields]
    for page in connection.pages(collection, _anything(schema), names, size):
        connection("insert", copy, data=page)
    connection("flush", copy)
    connection("drop_collection", collection)
    connection("rename_collection", copy, collection)
    connection("load_collection", collection)


def recover(connection: Connection, collection: str) -> None:
    """Finish or undo an :func:`erase` on Milvus Lite that was killed; the old collection goes only after the copy is
    whole."""
    copy = _copy(collection)
    if not connection.lite or not connection("has_collection", copy):
        return
    if connection("has_collection", collection):
        connection("drop_collection", copy)
    else:
        connection("rename_collection", copy, collection)


def _copy(collection: str) -> str:
    return f"{collection}_copy"


def _anything(schema: Any) -> str:
    return "id > 0" if schema.primary_field.name == "id" else 'key != ""'
