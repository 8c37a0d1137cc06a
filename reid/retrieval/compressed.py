"""A compressed index by FAISS: rows in short codes, grouped into lists of which a search looks at a few. It proposes
rows; their exact distances decide. What it misses, its recall, is measured when it is built: with all rows allowed, and
with fewer and fewer of them.

A list's centre is the mean of the rows in it, and their codes are relative to it: an index holds nothing of any other
row. SQ8 alone has the mean and spread of each number besides, of the rows that it was built from.

The file is FAISS's own with a JSON of ours behind it, that one's length, a SHA-256 of all this, and a mark. The hash is
checked before FAISS reads the file: it trusts the sizes that it finds there.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, Self

import faiss
import numpy as np
from faiss.contrib.inspect_tools import get_invlist

from reid.errors import InputError
from reid.files import write_atomically
from reid.progress import track
from reid.retrieval.search import decide, distances_to, nearest

Kind = Literal["rabitq", "sq8"]
# One bit a number and two floats (Gao and Long, RaBitQ, SIGMOD 2024), or one byte a number.
KINDS: dict[Kind, str] = {"rabitq": "IVF{},RaBitQ", "sq8": "IVF{},SQ8"}
QUERY_BITS = 4  # of RaBitQ: a query's numbers, for the scan
SPREAD = 4  # of SQ8: standard deviations on either side that a byte covers

SMALLEST = 100  # rows worth an index
LISTS: dict[Kind, int] = {"rabitq": 2, "sq8": 6}  # times the square root of the rows: shorter lists for longer codes
SAMPLE = 48  # rows a list to find the lists' centres from
ROUNDS = 5  # of k-means
BLOCK = 2**16  # rows at once
K = 10  # recall is of the nearest ten
WANTED = 0.985  # recall, with some margin above the 0.98 that it promises
HELD = 500  # rows asked for, to measure it
FACTORS = (2, 3, 4, 6, 8, 12, 16, 24, 32)  # rows proposed for each wanted
TESTED = 0.2  # of the time that a code takes, to pass one over that is not allowed
DECIDED = 50  # codes that are scanned in the time that it takes to decide on one row
ALIKE = 0.9  # of the rows that it was built from: where no others are left, they are searched as all are
FEW_ROWS, FEW_SHARE = 2_000, 0.02  # of those that it was built from: see _few
MARK = b"reid index 1\n"


@dataclass(frozen=True)
class Setting:
    """How a search is done, by how many rows are allowed.

    Attributes:
        rows: at least so many.
        nprobe: lists looked at.
        factor: rows proposed for each of the k.
        recall: share of the exact ten nearest that it found, with just so many rows allowed: the least of three, of
            rows drawn at random, of rows added one after another as on a day, asked for what was added on others, and
            of rows alike as a camera's can be.
    """

    rows: int
    nprobe: int
    factor: int
    recall: float


@dataclass(frozen=True)
class CompressedIndex:
    """Finds most of the nearest rows without looking at most of them.

    Attributes:
        kind: of the codes.
        settings: for all rows that it was built from, half of them, a quarter, ...; each the cheapest that reaches the
            wanted recall, or else the best.
        present: (N,) bool, which of the rows that it covers it can find.
    """

    kind: Kind
    settings: tuple[Setting, ...]
    present: np.ndarray
    _index: Any

    @property
    def size(self) -> int:
        """Rows that it covers, those taken out among them."""
        return len(self.present)

    @property
    def recall(self) -> float:
        """Share of the exact ten nearest that it finds with all rows allowed, of rows held against all others."""
        return self.settings[0].recall

    @property
    def nbytes(self) -> int:
        """Bytes of codes, row numbers and lists' centres."""
        return self._index.ntotal * (self._index.code_size + 8) + self._index.nlist * self._index.d * 4

    @classmethod
    def build(
        cls, vectors: np.ndarray, kind: Kind, allowed: np.ndarray | None = None, seed: int = 0, progress: bool = False
    ) -> Self:
        """Of (N, D) float32 unit rows, which may be mapped; the same for the same rows and seed.

        Args:
            allowed: (N,) bool, rows that are to be found; None for all.

        Raises:
            InputError: naming another kind, or too few rows.
        """
        if kind not in KINDS:
            raise InputError(f"index {kind!r} is not one of {sorted(KINDS)}")
        vectors, rng = np.asarray(vectors), np.random.default_rng(seed)
        present = np.ones(len(vectors), bool) if allowed is None else allowed.copy()
        rows = np.flatnonzero(present)
        if len(rows) < SMALLEST:
            raise InputError(f"index {kind!r}: {len(rows)} rows, of which it needs {SMALLEST}: search them exactly")
        lists = max(min(int(LISTS[kind] * math.sqrt(len(rows))), len(rows) // SAMPLE), 1)
        trained: Any = faiss.index_factory(vectors.shape[1], KINDS[kind].format(lists), faiss.METRIC_INNER_PRODUCT)
        trained.cp.seed, trained.cp.niter = seed, ROUNDS
        if kind == "sq8":  # not the least and the greatest: those are single rows'
            trained.sq.rangestat, trained.sq.rangestat_arg = faiss.ScalarQuantizer.RS_meanstd, SPREAD
        trained.train(vectors[np.sort(rng.choice(rows, min(SAMPLE * lists, len(rows)), replace=False))])
        of = np.empty(len(rows), np.int64)
        for low in track(range(0, len(rows), BLOCK), name="indexing", unit="block", shown=progress):
            some = slice(low, low + BLOCK)
            of[some] = trained.quantizer.search(np.ascontiguousarray(vectors[rows[some]]), 1)[1][:, 0]
        groups = np.split(np.argsort(of, kind="stable"), np.cumsum(np.bincount(of))[:-1])
        index = _assemble(kind, trained, [(rows[group], None, None) for group in groups if len(group)], vectors)
        return cls(kind, tuple(_measure(index, vectors, rows, rng)), present, index)

    def without(self, rows: np.ndarray, vectors: np.ndarray) -> Self:
        """The same, in memory, but that some (R,) of the rows are not found; the others keep their numbers.

        Centres and codes of the lists that they were in are computed anew from the rows left there.

        Args:
            vectors: (N, D), the rows that the index was built from; those taken out are not read.
        """
        present = self.present.copy()
        present[rows] = False
        lists: list[_List] = []
        for number, centre in enumerate(self._index.quantizer.reconstruct_n()):
            members, codes = get_invlist(self._index.invlists, number)
            left = members[present[members]]
            if len(left) == len(members):
                lists.append((members, centre, codes))
            elif len(left):
                lists.append((left, None, None))
        return replace(self, present=present, _index=_assemble(self.kind, self._index, lists, vectors))

    def save(self, path: Path) -> None:
        """
        Raises:
            InputError: naming the path, when it cannot be written.
            ValueError: for one that was loaded: its codes are in their file.
        """
        if not isinstance(faiss.downcast_InvertedLists(self._index.invlists), faiss.ArrayInvertedLists):
            raise ValueError(f"{path}: the codes of this index are in a file already")
        numbers = {"kind": self.kind, "size": self.size, "settings": [asdict(setting) for setting in self.settings]}
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
            index: Any = faiss.read_index(str(path), faiss.IO_FLAG_MMAP | faiss.IO_FLAG_READ_ONLY)
            settings, present = tuple(Setting(**one) for one in numbers["settings"]), np.zeros(numbers["size"], bool)
            lists: Any = faiss.downcast_InvertedLists(index.invlists)
            lists.prefetch_nthread = 0  # it would start 32 threads a search
            for number in range(index.nlist):
                present[get_invlist(lists, number)[0]] = True
            return cls(numbers["kind"], settings, present, index)
        except (RuntimeError, KeyError, TypeError) as error:
            raise InputError(f"{path}: of another version: {error!r}: delete it, and it is built anew") from None

    def is_exact(self, count: int, k: int) -> bool:
        """Whether the k nearest of so many rows that are allowed are searched exactly."""
        return _like(count, k) <= _few(self.settings[0].rows)

    def search(
        self, queries: np.ndarray, k: int, vectors: np.ndarray, allowed: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """As :func:`reid.retrieval.search.nearest`, but that a row may be missed and a farther one stand in its place.

        The recall is that of the setting for k = 10. For more, that of as many fewer rows is taken: the nearest fifty
        lie as far as the nearest ten of a fifth of the rows do. Where few are left so, the search is exact.

        Args:
            vectors: (N, D), the rows that the index was built from.
            allowed: (N,) bool, rows that count; None where no filter is set. One that lets all of these rows pass may
                leave out what is nearest elsewhere, so what is left is farther and harder to find.
        """
        vectors = np.asarray(vectors)
        total, mask = self._index.ntotal, self.present if allowed is None else allowed & self.present
        count = total if allowed is None else int(np.count_nonzero(mask))
        if self.is_exact(count, k):
            return nearest(queries, vectors, k, mask)
        like = _like(count, k)
        whole = allowed is None and like >= ALIKE * self.settings[0].rows
        setting = self.settings[0] if whole else next(one for one in self.settings[1:] if one.rows <= like)
        queries, within = np.ascontiguousarray(queries, np.float32), mask if count < total else None
        denser = 1 if whole else like / setting.rows  # than where it was measured: as many more come in between
        proposing = math.ceil(setting.factor * max(k, K) * denser)
        proposed = _propose(self._index, queries, proposing, setting.nprobe, within)
        rows, distances = decide(queries, proposed, vectors.__getitem__, k)
        short = np.flatnonzero((rows < 0).sum(axis=1) > max(k - count, 0))
        if len(short):  # the lists hold too few for so large a k
            rows[short], distances[short] = nearest(queries[short], vectors, k, mask)
        return rows, distances


def _like(count: int, k: int) -> float:
    return count * K / max(k, K)


def _few(total: int) -> float:
    """Rows that are sooner brought together and searched exactly."""
    return FEW_ROWS + FEW_SHARE * total


_List = tuple[np.ndarray, np.ndarray | None, np.ndarray | None]  # rows, their mean and codes where these are known


def _assemble(kind: Kind, trained: Any, lists: list[_List], vectors: np.ndarray) -> Any:
    """An index of these lists, encoded as the trained one would."""
    means = [vectors[rows].mean(axis=0) if mean is None else mean for rows, mean, _ in lists]
    index: Any = faiss.index_factory(trained.d, KINDS[kind].format(max(len(lists), 1)), faiss.METRIC_INNER_PRODUCT)
    index.quantizer.add(np.array(means or np.zeros((1, trained.d)), np.float32))
    index.is_trained = True
    if kind == "sq8":
        index.sq = trained.sq
    for number, (rows, _, codes) in enumerate(lists):
        if codes is None:
            codes = np.empty((len(rows), index.code_size), np.uint8)
            given = np.ascontiguousarray(vectors[rows], np.float32), np.full(len(rows), number), codes
            index.encode_vectors(len(rows), *map(faiss.swig_ptr, given))  # pointers do not keep arrays alive
        index.invlists.add_entries(number, len(rows), faiss.swig_ptr(rows), faiss.swig_ptr(codes))
        index.ntotal += len(rows)
    return index


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


def _measure(index: Any, vectors: np.ndarray, rows: np.ndarray, rng: np.random.Generator) -> Iterator[Setting]:
    """For all rows, half of them, a quarter, down to few, by some that are held against the others."""
    held = np.sort(rng.choice(rows, min(HELD, len(rows) // 10), replace=False))
    others = np.setdiff1d(rows, held)
    probes = sorted({min(round(2 ** (n / 4)), index.nlist) for n in range(8, 128)})
    centres = index.quantizer.reconstruct_n()
    most = np.linalg.svd(centres - centres.mean(axis=0), full_matrices=False)[2][0]  # along this rows differ most
    alike = others[np.argsort((vectors @ most)[others], kind="stable")]
    count = len(rows)
    while True:
        some = math.ceil(count / len(rows) * len(others))
        start = rng.integers(len(others) - some + 1)
        run = others[start : start + some]
        away = held[(held < run[0]) | (held > run[-1])]  # their people are not in it
        kinds = [(run, away), (rng.permutation(others)[:some], held), (alike[:some], held)]
        kinds = kinds if count < len(rows) else [(others, held)]
        asked = [np.ascontiguousarray(vectors[ask]) for _, ask in kinds]
        masks = [np.isin(np.arange(len(vectors)), kind) for kind, _ in kinds]
        lasts = [nearest(of, vectors, K, mask)[1][:, -1:] for of, mask in zip(asked, masks, strict=True)]
        tried: list[Setting] = []
        cost = partial(_cost, total=len(rows), nlist=index.nlist)
        for nprobe in probes:
            if any(one.recall >= WANTED and cost(one) < cost(Setting(count, nprobe, 0, 0)) for one in tried):
                break
            near = []
            for queries, mask, last in zip(asked, masks, lasts, strict=True):
                proposed = _propose(index, queries, FACTORS[-1] * K, nprobe, mask)
                near.append(distances_to(queries, proposed, vectors.__getitem__) <= last)  # ties count
            for factor in FACTORS:
                hits = [np.minimum(of[:, : factor * K].sum(axis=1), K).mean() for of in near]
                tried.append(Setting(count, nprobe, factor, float(min(hits)) / K))
        enough = min(WANTED, max(one.recall for one in tried))
        chosen = min((one for one in tried if one.recall >= enough), key=cost)
        yield chosen
        if count <= _few(len(rows)):
            return
        count, probes = count // 2, [nprobe for nprobe in probes if nprobe >= chosen.nprobe]  # they lie farther apart


def _cost(setting: Setting, total: int, nlist: int) -> float:
    """Of a search, in codes scanned: counted, not timed, so that builds are alike."""
    passed = setting.rows + TESTED * (total - setting.rows)
    return setting.nprobe * passed / nlist + DECIDED * setting.factor * K


def _read_numbers(path: Path) -> dict[str, Any]:
    """The JSON behind the index, when all of the file is as it was written."""
    try:
        with path.open("rb") as file:
            left = file.seek(0, 2) - len(MARK) - 32
            file.seek(max(left - 8, 0))
            tail = file.read()
            if left < 8 or tail[40:] != MARK:
                raise InputError(f"{path}: no index, or only a part of one: delete it, and it is built anew")
            length, digest = int.from_bytes(tail[:8], "little"), hashlib.sha256()
            file.seek(0)
            while part := file.read(min(left, 2**20)):
                digest.update(part)
                left -= len(part)
            if digest.digest() != tail[8:40]:
                raise InputError(f"{path}: damaged, does not match its checksum: delete it, and it is built anew")
            file.seek(-len(tail) - length, 2)
            return json.loads(file.read(length))
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error}") from None
