"""A compressed index by FAISS: rows in short codes, grouped into lists of which a search looks at a few. It proposes
rows; their exact distances decide. What it misses, its recall, is measured when it is built.

The file is FAISS's own with a JSON of ours behind it, that one's length, a SHA-256 of all this, and a mark. The hash is
checked before FAISS reads the file: it trusts the sizes that it finds there.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, Self

import faiss
import numpy as np

from reid.errors import InputError
from reid.files import write_atomically
from reid.progress import track
from reid.retrieval.search import decide, distances_to, nearest

Kind = Literal["rabitq", "sq8"]
# One bit a number and two floats (Gao and Long, RaBitQ, SIGMOD 2024), or one byte a number.
KINDS: dict[Kind, str] = {"rabitq": "IVF{},RaBitQ", "sq8": "IVF{},SQ8"}
QUERY_BITS = 4  # of RaBitQ: a query's numbers, for the scan

SMALLEST = 100  # rows worth an index
LISTS = 6  # times the square root of the rows
SAMPLE = 48  # rows a list to find the lists' centres from
ROUNDS = 5  # of k-means
ADDED = 2**16  # rows at once
K = 10  # recall is of the nearest ten
WANTED = 0.985  # recall, with some margin above the 0.98 that it promises
HELD = 500  # rows asked for, to measure it
FACTORS = (2, 4, 8, 16)  # rows proposed for each wanted
DECIDED = 70  # codes that are scanned in the time that it takes to decide on one row
FEW_ROWS, FEW_SHARE = 10_000, 0.5  # allowed ones that are sooner brought together and searched exactly
MARK = b"reid index 1\n"


@dataclass(frozen=True)
class Setting:
    """How a search is done: lists looked at, rows proposed for each of the k, and the recall@10 that it reached."""

    nprobe: int
    factor: int
    recall: float


@dataclass(frozen=True)
class CompressedIndex:
    """Finds most of the nearest rows without looking at most of them.

    Attributes:
        kind: of the codes.
        size: rows it was built from.
        setting: in use: the cheapest that reaches the wanted recall, or else the best.
        tried: all that were measured, for every number of lists each factor.
    """

    kind: Kind
    size: int
    setting: Setting
    tried: tuple[Setting, ...]
    _index: Any

    @property
    def recall(self) -> float:
        """Share of the exact ten nearest that it finds, of rows held against all others."""
        return self.setting.recall

    @property
    def nbytes(self) -> int:
        """Bytes of codes, row numbers and lists' centres."""
        return self.size * (self._index.code_size + 8) + self._index.nlist * self._index.d * 4

    @classmethod
    def build(cls, vectors: np.ndarray, kind: Kind, seed: int = 0, progress: bool = False) -> Self:
        """Of (N, D) float32 unit rows, which may be mapped; the same for the same rows and seed.

        Raises:
            InputError: naming another kind, or too few rows.
        """
        if kind not in KINDS:
            raise InputError(f"index {kind!r} is not one of {sorted(KINDS)}")
        if len(vectors) < SMALLEST:
            raise InputError(f"index {kind!r}: {len(vectors)} rows, of which it needs {SMALLEST}: search them exactly")
        vectors, rng = np.asarray(vectors), np.random.default_rng(seed)
        lists = max(min(int(LISTS * math.sqrt(len(vectors))), len(vectors) // SAMPLE), 1)
        index: Any = faiss.index_factory(vectors.shape[1], KINDS[kind].format(lists), faiss.METRIC_INNER_PRODUCT)
        index.cp.seed, index.cp.niter = seed, ROUNDS
        index.train(vectors[np.sort(rng.choice(len(vectors), min(SAMPLE * lists, len(vectors)), replace=False))])
        for low in track(range(0, len(vectors), ADDED), name="indexing", unit="block", shown=progress):
            index.add(np.ascontiguousarray(vectors[low : low + ADDED]))
        held = np.sort(rng.choice(len(vectors), min(HELD, len(vectors)), replace=False))
        tried = _measure(index, vectors, held)
        return cls(kind, len(vectors), _choose(tried, len(vectors) / lists), tried, index)

    def save(self, path: Path) -> None:
        """
        Raises:
            InputError: naming the path, when it cannot be written.
        """
        numbers = {
            "kind": self.kind,
            "size": self.size,
            "setting": asdict(self.setting),
            "tried": [asdict(setting) for setting in self.tried],
        }
        text = json.dumps(numbers).encode()
        content = b"".join([faiss.serialize_index(self._index).data, text, len(text).to_bytes(8, "little")])
        write_atomically(path, b"".join([content, hashlib.sha256(content).digest(), MARK]))

    @classmethod
    def load(cls, path: Path) -> Self:
        """Codes stay in the file, mapped.

        Raises:
            InputError: naming the file, where it is missing, damaged or of another program.
        """
        numbers = _read_numbers(path)
        try:
            index = faiss.read_index(str(path), faiss.IO_FLAG_MMAP | faiss.IO_FLAG_READ_ONLY)
            setting, tried = Setting(**numbers["setting"]), tuple(Setting(**one) for one in numbers["tried"])
            return cls(numbers["kind"], numbers["size"], setting, tried, index)
        except (RuntimeError, KeyError, TypeError) as error:
            raise InputError(f"{path}: of another version: {error!r}: build it again") from None

    def search(
        self, queries: np.ndarray, k: int, vectors: np.ndarray, allowed: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """As :func:`reid.retrieval.search.nearest`, but that a row may be missed and a farther one stand in its place.

        The recall is that of k = 10 with all rows allowed. Where fewer are, as many more lists are looked at and rows
        proposed; below half of them, or 10,000, the search is exact.

        Args:
            vectors: (N, D), the rows that the index was built from.
        """
        vectors = np.asarray(vectors)
        count = self.size if allowed is None else int(np.count_nonzero(allowed))
        if count <= max(FEW_ROWS, FEW_SHARE * self.size):
            return nearest(queries, vectors, k, allowed)
        queries = np.ascontiguousarray(queries, np.float32)
        more = self.size / count
        lists = min(math.ceil(more * self.setting.nprobe), self._index.nlist)
        proposed = _propose(self._index, queries, math.ceil(more * self.setting.factor * max(k, K)), lists, allowed)
        rows, distances = decide(queries, proposed, vectors.__getitem__, k)
        short = np.flatnonzero((rows < 0).sum(axis=1) > max(k - count, 0))
        if len(short):  # the lists hold too few for so large a k
            rows[short], distances[short] = nearest(queries[short], vectors, k, allowed)
        return rows, distances


def _propose(index: Any, queries: np.ndarray, count: int, nprobe: int, allowed: np.ndarray | None = None) -> np.ndarray:
    """(Q, count) rows, by their codes' distance; -1 where the lists hold fewer."""
    rabitq = isinstance(index, faiss.IndexIVFRaBitQ)
    parameters: Any = faiss.IVFRaBitQSearchParameters() if rabitq else faiss.SearchParametersIVF()
    parameters.nprobe = nprobe
    if rabitq:
        parameters.qb = QUERY_BITS
    bits = np.packbits(np.ones(0, bool) if allowed is None else allowed, bitorder="little")
    selector = faiss.IDSelectorBitmap(len(bits), faiss.swig_ptr(bits))  # neither is kept alive by the parameters
    if allowed is not None:
        parameters.sel = selector
    return index.search(queries, count, params=parameters)[1]


def _measure(index: Any, vectors: np.ndarray, held: np.ndarray) -> tuple[Setting, ...]:
    """Recall@10 of ``held`` rows, by themselves left out, for more and more lists until the wanted one is reached with
    so few that more of them cannot be cheaper."""
    queries = np.ascontiguousarray(vectors[held])
    k = min(K + 1, len(vectors))
    last = nearest(queries, vectors, k)[1][:, -1:]
    tried: list[Setting] = []
    cheapest = math.inf
    length = len(vectors) / index.nlist
    for nprobe in sorted({min(round(2 ** (n / 2)), index.nlist) for n in range(4, 64)}):
        if nprobe * length > cheapest:
            break
        proposed = _propose(index, queries, FACTORS[-1] * k, nprobe)
        near = distances_to(queries, proposed, vectors.__getitem__) <= last
        for factor in FACTORS:
            hits = np.minimum(near[:, : factor * k].sum(axis=1), k) - 1  # without the row itself; ties count
            tried.append(Setting(nprobe, factor, float(hits.mean()) / (k - 1)))
            if tried[-1].recall >= WANTED:
                cheapest = min(cheapest, _cost(tried[-1], length))
    return tuple(tried)


def _cost(setting: Setting, length: float) -> float:
    """Of a search with lists of ``length`` rows, in codes scanned: counted, not timed, so that builds are alike."""
    return setting.nprobe * length + DECIDED * setting.factor * K


def _choose(tried: tuple[Setting, ...], length: float) -> Setting:
    enough = min(WANTED, max(setting.recall for setting in tried))
    return min((setting for setting in tried if setting.recall >= enough), key=lambda one: _cost(one, length))


def _read_numbers(path: Path) -> dict[str, Any]:
    """The JSON behind the index, when all of the file is as it was written."""
    try:
        with path.open("rb") as file:
            left = file.seek(0, 2) - len(MARK) - 32
            file.seek(max(left - 8, 0))
            tail = file.read()
            if left < 8 or tail[40:] != MARK:
                raise InputError(f"{path}: no index, or only a part of one: build it again")
            length, digest = int.from_bytes(tail[:8], "little"), hashlib.sha256()
            file.seek(0)
            while part := file.read(min(left, 2**20)):
                digest.update(part)
                left -= len(part)
            if digest.digest() != tail[8:40]:
                raise InputError(f"{path}: damaged, its content does not match its checksum: build it again")
            file.seek(-len(tail) - length, 2)
            return json.loads(file.read(length))
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error}") from None
