"""A collection of a Milvus server or cluster: an id, a vector and the numbers of a ROW each."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from reid.errors import InputError
from reid.gallery.entries import ServerProblem
from reid.gallery.vectors.rows import Narrow

ADDRESS = re.compile(
    r"milvus(?P<tls>\+tls)?://(?P<host>[^\s/:@]+|\[[0-9a-fA-F:]+\]):(?P<port>\d{1,5})/(?P<name>[A-Za-z_]\w{0,199})"
)
TOKEN = "REID_MILVUS_TOKEN"  # environment: "user:password" or a key
TIMEOUT, CONNECTING = 60.0, 10.0  # seconds
COLUMNS = {"camera": "INT32", "identity": "INT32", "time": "DOUBLE", "last": "DOUBLE", "day": "INT32"}
LIMIT = 1e299  # seconds; stand-ins for unknown times lie beyond, where no bound lets them pass
UNKNOWN = {"time": 1e300, "last": -1e300}
DAYS = 1000  # partitions, a day each, and again; some servers allow a collection 1,024, others 4,096
BYTES = 16 * 2**20  # of vectors in a call; Milvus takes and sends 64 MB
WIDE = 2**20  # ids in an answer


class Collection:
    """Calls of a ``pymilvus.MilvusClient``, with a time limit and errors that a person can read. Reads see all that was
    written before, by anyone (consistency "Strong"), unless they are told otherwise."""

    def __init__(self, client: Any, location: str, name: str, width: int) -> None:
        self.client, self.location, self.name, self.width = client, location, name, width
        self.step = max(BYTES // (4 * width), 1)  # vectors in a call

    def __call__(self, method: str, **options: Any) -> Any:
        """The client's method of this name. Raises InputError naming the location, for what Milvus refuses and where it
        does not answer in time."""
        from pymilvus import MilvusException

        try:
            return getattr(self.client, method)(self.name, timeout=TIMEOUT, **options)
        except MilvusException as error:
            what = method.replace("_", " ")
            raise ServerProblem(f"{self.location}: Milvus cannot {what}: {error.message}") from None

    def create(self) -> None:
        """An empty one, without an index."""
        from pymilvus import DataType

        schema = self.client.create_schema(auto_id=False, enable_dynamic_field=False)
        schema.add_field("id", DataType.INT64, is_primary=True)
        schema.add_field("vector", DataType.FLOAT_VECTOR, dim=self.width)
        for name, kind in COLUMNS.items():
            schema.add_field(name, DataType[kind])
        self("create_collection", schema=schema, consistency_level="Strong")

    def check(self) -> None:
        """Raises InputError: there is no such collection, or its columns are others."""
        if not self("has_collection"):
            raise InputError(f"{self.location}: there is no collection {self.name!r}")
        fields = {field["name"]: field for field in self("describe_collection")["fields"]}
        if set(fields) != {"id", "vector", *COLUMNS} or fields["vector"]["params"]["dim"] != self.width:
            others = f"the collection is another program's, or its features are not {self.width} wide"
            raise InputError(f"{self.location}: {others}")

    def index(self, kind: str, build: dict[str, int]) -> None:
        """Ask for an index, and for the collection to be searchable."""
        index = self.client.prepare_index_params()
        index.add_index("vector", index_type=kind.upper(), metric_type="IP", params=build)
        self("create_index", index_params=index, sync=False)
        self("load_collection")

    def query(self, wanted: str, columns: list[str], **options: Any) -> list[dict[str, Any]]:
        return list(self("query", filter=wanted, output_fields=columns, **({"consistency_level": "Strong"} | options)))

    def count(self, wanted: str = "", **options: Any) -> int:
        return int(self.query(wanted, ["count(*)"], **options)[0]["count(*)"])

    def ids(self, wanted: str = "", **options: Any) -> Iterator[np.ndarray]:
        """Ids that pass, rising, some at a time."""
        low = 0
        while low == 0 or self.count(f"id > {low}", **options):
            some = f"id > {low} and id <= {low + WIDE}" + (f" and {wanted}" if wanted else "")
            yield np.sort(np.array([row["id"] for row in self.query(some, ["id"], **options)], np.int64))
            low += WIDE

    def vectors(self, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Those of (N,) ids that are there, rising, and their (N, D) float32."""
        there, vectors = [np.empty(0, np.int64)], [np.empty((0, self.width), np.float32)]
        for low in range(0, len(ids), self.step):
            rows = self.query(among("id", ids[low : low + self.step].tolist()), ["id", "vector"])
            there.append(np.array([row["id"] for row in rows], np.int64))
            vectors.append(np.array([row["vector"] for row in rows], np.float32).reshape(-1, self.width))
        order = np.argsort(found := np.concatenate(there))
        return found[order], np.concatenate(vectors)[order]

    def write(self, method: str, rows: np.ndarray, vectors: np.ndarray) -> None:
        """Insert or upsert, into the partitions of their days. Each id once: of one twice in a call, a server of
        version 2.3 loses others."""
        days = rows["day"] % DAYS
        for day in np.unique(days).tolist():
            places = np.flatnonzero(days == day)
            for low in range(0, len(places), self.step):
                part = places[low : low + self.step]
                data = [_record(*each) for each in zip(rows[part].tolist(), vectors[part], strict=True)]
                self(method, data=data, partition_name=partition(day))


def reached(location: str, width: int) -> Collection:
    """The one that ``milvus://HOST:PORT/COLLECTION`` names. Raises InputError for another location, or where nothing
    answers."""
    match = ADDRESS.fullmatch(location)
    if match is None:
        where = location.rpartition("@")[2]  # a password may stand before it: it belongs in TOKEN
        raise InputError(f"{where}: expected milvus://HOST:PORT/COLLECTION, letters, digits and _ in the name")
    uri = f"{'https' if match['tls'] else 'http'}://{match['host']}:{match['port']}"
    return Collection(client_of(location, uri), location, match["name"], width)


def client_of(location: str, uri: str) -> Any:
    """A ``pymilvus.MilvusClient`` of a server, or of a file of Milvus Lite. Raises InputError where nothing answers."""
    try:
        from pymilvus import MilvusClient, MilvusException
    except ImportError:
        raise InputError(f"{location}: needs the package pymilvus: pip install 'reid-gap[scale]'") from None
    for name in ("pymilvus", "milvus_lite"):  # what they log, with a traceback each, they raise as well
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        return MilvusClient(uri, token=os.environ.get(TOKEN, ""), timeout=CONNECTING)
    except MilvusException as error:
        raise InputError(f"{location}: no Milvus server answers there: {error.message}") from None


def partition(day: int) -> str:
    return f"day_{day % DAYS}"


def among(column: str, values: Iterable[int]) -> str:
    """The expression for one of these."""
    return f"{column} in [{', '.join(map(str, values))}]"


def expression(narrow: Narrow) -> str | None:
    """What passes, in Milvus' language: empty where all do, None where nothing does. Agrees with
    :meth:`reid.gallery.vectors.rows.Narrow.passing`."""
    if () in (narrow.cameras, narrow.identities) or np.isnan([narrow.start or 0, narrow.end or 0]).any():
        return None
    named = {"camera": narrow.cameras, "identity": narrow.identities, "camera not": narrow.without or None}
    parts = [among(column, values) for column, values in named.items() if values is not None]
    for condition, bound in (("last >=", narrow.start), ("time <=", narrow.end)):
        if bound is not None:
            parts.append(f"{condition} {float(min(max(bound, -LIMIT), LIMIT))!r}")
    return " and ".join(parts)


def _record(row: tuple[Any, ...], vector: np.ndarray) -> dict[str, Any]:
    """From the values of a ROW."""
    record = dict(zip(("id", *COLUMNS), row, strict=True))
    unknown = {name: stand_in for name, stand_in in UNKNOWN.items() if np.isnan(record[name])}
    return record | unknown | {"vector": vector}
