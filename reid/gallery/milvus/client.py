"""A connection to Milvus or Milvus Lite, whose errors say where they happened."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from reid.errors import InputError
from reid.gallery.milvus.rows import texts

TIMEOUT = 60.0  # seconds a call may take
CONNECTING = 10.0  # seconds
PAGE = 4096  # rows a call brings or takes at most; below Milvus' own limit of 16,384
ADDRESS = re.compile(
    r"milvus://(?P<host>[^\s/:@]+|\[[0-9a-fA-F:]+\]):(?P<port>\d{1,5})/(?P<collection>[A-Za-z_]\w{0,199})"
)
EXTRA = "pip install 'reid-gap[scale]'"


class Connection:
    """Calls of a ``pymilvus.MilvusClient``, with a time limit and errors a person can read.

    Attributes:
        lite: whether it is a local file, which one process opens at a time.
        collection: name of the gallery's collection.
    """

    def __init__(self, location: str, token: str = "") -> None:
        """
        Args:
            location: ``milvus://HOST:PORT/COLLECTION`` or ``PATH.db``.
            token: ``user:password`` or a key, for a server that wants one.

        Raises:
            InputError: naming the location, where it is neither, or nothing answers.
        """
        self.location = location
        self.lite = not location.startswith("milvus:")
        if self.lite:
            self.collection, uri = "gallery", str(Path(location).absolute())
        else:
            match = ADDRESS.fullmatch(location)
            if match is None:
                raise InputError(
                    f"{location}: expected milvus://HOST:PORT/COLLECTION, letters, digits and _ in the name"
                )
            self.collection, uri = match["collection"], f"http://{match['host']}:{match['port']}"
        self._client = _client(location, uri, token)

    def __call__(self, method: str, *values: Any, **options: Any) -> Any:
        """The client's method of this name.

        Raises:
            InputError: naming the location, for what Milvus refuses and where it does not answer in time.
        """
        from pymilvus import MilvusException

        try:
            return getattr(self._client, method)(*values, timeout=TIMEOUT, **options)
        except MilvusException as error:
            raise InputError(f"{self.location}: Milvus cannot {method.replace('_', ' ')}: {error.message}") from None

    def query(self, collection: str, expression: str, columns: list[str]) -> list[dict[str, Any]]:
        """Rows that match, in any order; all that was written before is seen."""
        return list(self("query", collection, filter=expression, output_fields=columns, consistency_level="Strong"))

    def pages(
        self, collection: str, expression: str, columns: list[str], size: int = PAGE
    ) -> Iterator[list[dict[str, Any]]]:
        """Rows that match, by rising primary key, the first of the columns, up to ``size`` at a time.

        The keys of all come first, by one call, then their rows; what is removed meanwhile, or matches no more, is left
        out. pymilvus' iterator would not do: it reads at the collection's own consistency whatever it is told, as of
        this machine's clock where a server names no moment, and Milvus Lite before 3.2.2 loses rows between its pages.
        """
        key = columns[0]
        keys = sorted(row[key] for row in self.query(collection, expression, [key]))
        for low in range(0, len(keys), size):
            page = keys[low : low + size]
            some = texts(page) if isinstance(page[0], str) else "[" + ", ".join(map(str, page)) + "]"
            rows = self.query(collection, f"{key} in {some} and ({expression})", columns)
            yield sorted(rows, key=lambda row: row[key])

    def create(self, collection: str, schema: Any) -> None:
        """A collection, empty, searched exactly by inner product, ready for use."""
        index = self._client.prepare_index_params()
        index.add_index("vector", index_type="FLAT", metric_type="IP")
        self("create_collection", collection, schema=schema, consistency_level="Strong")
        self("create_index", collection, index_params=index, sync=False)  # nothing is there to wait for
        self("load_collection", collection)

    def close(self) -> None:
        """The file of Milvus Lite is freed when the process ends."""
        self._client.close()


def _client(location: str, uri: str, token: str) -> Any:
    try:
        from pymilvus import MilvusClient, MilvusException
    except ImportError:
        raise InputError(f"{location}: needs the package pymilvus: {EXTRA}") from None
    # What it logs, with a traceback each, it raises as well.
    for name in ("pymilvus", "milvus_lite"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    # Milvus Lite ends connections that ask for signs of life while a long call runs; a server puts up with them.
    quiet = {} if uri.startswith("http") else {"grpc_options": {"grpc.keepalive_time_ms": 2**31 - 1}}
    try:
        return MilvusClient(uri, token=token, timeout=CONNECTING, **quiet)
    except MilvusException as error:
        if uri.startswith("http"):
            raise InputError(f"{location}: no Milvus server answers there: {error.message}") from None
        raise InputError(
            f"{location}: cannot be opened: another process has it open, it is no folder of Milvus Lite, or the "
            f"package milvus-lite is missing ({EXTRA}): {error.message}"
        ) from None
