"""Texts beside the entries of a gallery on Milvus: settings, thumbnails, what is under way; and the writers' turns."""

from __future__ import annotations

import json
import os
import platform
import random
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from reid.errors import InputError
from reid.gallery.milvus.client import PAGE, Connection
from reid.gallery.milvus.rows import VALUE, check_text, texts

LEASE = 60.0  # seconds after which a writer that gave no sign of life is taken for dead
WAIT = 10.0  # seconds to wait for another writer


class Texts:
    """Texts by key, in a collection of their own: memory for searching is spent on the entries only."""

    def __init__(self, connection: Connection) -> None:
        self.connection, self.collection = connection, f"{connection.collection}_texts"

    def get(self, keys: Sequence[str]) -> dict[str, str]:
        """Of these keys those that are there."""
        values: dict[str, str] = {}
        for low in range(0, len(keys), PAGE):
            values |= self._matching(f"key in {texts(keys[low : low + PAGE])}")
        return values

    def starting(self, prefix: str) -> dict[str, str]:
        """All whose key begins so."""
        return self._matching(f'key like "{prefix}%"')

    def put(self, values: Mapping[str, str]) -> None:
        """
        Raises:
            InputError: for a text longer than Milvus may hold.
        """
        for key, value in values.items():
            check_text(value, VALUE, f"{self.connection.location}: {key}")
        rows = [{"key": key, "value": value, "vector": [0.0, 1.0]} for key, value in values.items()]
        self.connection("upsert", self.collection, data=rows)

    def drop(self, keys: Sequence[str]) -> None:
        if keys:
            self.connection("delete", self.collection, ids=list(keys))

    def _matching(self, expression: str) -> dict[str, str]:
        return {
            row["key"]: row["value"] for row in self.connection.query(self.collection, expression, ["key", "value"])
        }


@contextmanager
def turn(texts: Texts) -> Iterator[Callable[[], None]]:
    """Be the only writer. Yields what is to be called between the steps of a long work: a sign of life.

    Milvus has no locks. Each writer puts down a mark of its own and then looks for those of others: of two, one sees
    the other at least, and who sees another takes its own mark away and tries again. A mark older than ``LEASE``, by
    clocks that must agree to within that, is of a dead writer.

    Raises:
        InputError: naming the other writer, when it goes on for longer than ``WAIT``; from the sign of life, when
            another writer took this one for dead.
    """
    key = f"turn:{uuid.uuid4().hex}"
    _take(texts, key)
    seen = time.monotonic()

    def alive() -> None:
        nonlocal seen
        if time.monotonic() < seen + LEASE / 4:
            return
        if key not in texts.get([key]):
            raise InputError(f"{texts.connection.location}: took too long, another writer went on: try again")
        texts.put({key: _mark()})
        seen = time.monotonic()

    try:
        yield alive
    finally:
        texts.drop([key])


def _take(texts: Texts, key: str) -> None:
    limit, jitter = time.monotonic() + WAIT, random.Random(key)
    while True:
        texts.put({key: _mark()})
        marks = {other: json.loads(text) for other, text in texts.starting("turn:").items() if other != key}
        dead = [other for other, mark in marks.items() if mark["time"] < time.time() - LEASE]
        texts.drop(dead)
        living = [mark for other, mark in marks.items() if other not in dead]
        if not living:
            return
        texts.drop([key])
        if time.monotonic() > limit:
            raise InputError(
                f"{texts.connection.location}: process {living[0]['process']} on {living[0]['host']} is writing to it; "
                f"if that was killed, wait {LEASE:.0f} s"
            )
        time.sleep(jitter.uniform(0.1, 0.5))


def _mark() -> str:
    return json.dumps({"host": platform.node(), "process": os.getpid(), "time": time.time()})
