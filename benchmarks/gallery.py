"""Speed and memory of searching a gallery, on synthetic unit features.

    make bench

One thread (``make bench`` sets it), CPU time, medians, ratios of one run. 5,000 people, 20 crops of each, 512 numbers.
A person is a normal point of a random subspace of 64 dimensions; a crop of theirs is that point, plus noise of 0.7 of
its spread within the subspace, plus noise of 0.1 a number outside it, scaled to length 1: two crops of one person have
a cosine of about 0.64. The queries are 1,000 further crops, asked for all at once.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
from retrieval import machine

from reid.retrieval.compressed import KINDS, CompressedIndex, Kind
from reid.retrieval.search import QUERIES, nearest, products
from reid.texts import align

PEOPLE, CROPS, WIDTH, SUBSPACE = 5_000, 20, 512, 64
INSIDE, OUTSIDE = 0.7, 0.1
ASKED, K = 1_000, 10
FILTERED = (0.5, 0.1, 0.001)
REPEATS = 5
Table = list[list[str]]


def synthetic(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gallery (100,000, 512), of person 0's crops, then person 1's, ...; queries (1,000, 512) and who they are of."""
    rng = np.random.default_rng(seed)
    subspace = np.linalg.qr(rng.standard_normal((WIDTH, SUBSPACE)))[0].T.astype(np.float32)
    centres = rng.standard_normal((PEOPLE, SUBSPACE), dtype=np.float32)

    def crops(people: np.ndarray) -> np.ndarray:
        inside = centres[people] + np.float32(INSIDE) * rng.standard_normal((len(people), SUBSPACE), dtype=np.float32)
        rows = inside @ subspace + np.float32(OUTSIDE) * rng.standard_normal((len(people), WIDTH), dtype=np.float32)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    people = rng.integers(0, PEOPLE, ASKED)
    return crops(np.repeat(np.arange(PEOPLE), CROPS)), crops(people), people


def seconds(*works: Callable[[], object], repeats: int = REPEATS) -> list[float]:
    """Median CPU time of each, which take turns."""
    times: list[list[float]] = [[] for _ in works]
    for _ in range(repeats):
        for work, spent in zip(works, times, strict=True):
            start = time.process_time()
            work()
            spent.append(time.process_time() - start)
    return [statistics.median(spent) for spent in times]


def product(queries: np.ndarray, vectors: np.ndarray) -> None:
    """The pure product, in the blocks that the search takes."""
    for low in range(0, len(queries), QUERIES):
        for _ in products(queries[low : low + QUERIES], vectors):
            pass


def exact_table(queries: np.ndarray, vectors: np.ndarray) -> Table:
    lines = [["exact, queries", "read rows s", "product s", "ours s", "ratio"]]
    for count in (1, 10, len(queries)):
        some = queries[:count]
        read, alone, ours = seconds(
            vectors.max, partial(product, some, vectors), partial(nearest, some, vectors, K), repeats=9
        )
        lines.append([f"{count:,}", f"{read:.3f}", f"{alone:.3f}", f"{ours:.3f}", f"{ours / alone:.3f}"])
    return lines


def recall(
    index: CompressedIndex, queries: np.ndarray, vectors: np.ndarray, allowed: np.ndarray | None = None
) -> float:
    """Share of the exact nearest found."""
    last = nearest(queries, vectors, K, allowed)[1][:, -1:]
    return float((index.search(queries, K, vectors, allowed)[1] <= last).mean())


def index_table(
    indexes: Mapping[Kind, tuple[CompressedIndex, float]], queries: np.ndarray, vectors: np.ndarray
) -> Table:
    lines = [["index", "queries/s", "x flat", "recall@10", "lists, factor", "bytes", "of flat", "build s"]]
    for kind, (index, built) in indexes.items():
        flat, ours = seconds(partial(nearest, queries, vectors, K), partial(index.search, queries, K, vectors))
        if len(lines) == 1:
            lines.append(["flat", f"{len(queries) / flat:,.0f}", "1", "1", "", f"{vectors.nbytes:,}", "100 %", ""])
        setting = index.settings[0]
        lines.append([kind, f"{len(queries) / ours:,.0f}", f"{flat / ours:.2f}",
                      f"{recall(index, queries, vectors):.4f}", f"{setting.nprobe}, {setting.factor}",
                      f"{index.nbytes:,}",
                      f"{100 * index.nbytes / vectors.nbytes:.1f} %", f"{built:.1f}"])  # fmt: skip
    return lines


def masks(count: int) -> dict[str, np.ndarray]:
    """Rows that filters let pass: drawn at random, added one after another, of one camera in ten."""
    rng, masks = np.random.default_rng(1), {}
    for share in FILTERED:
        masks[f"random {share:.1%}"] = rng.random(count) < share
        start = rng.integers(count - int(share * count))
        masks[f"a time, {share:.1%}"] = np.isin(np.arange(count), np.arange(start, start + int(share * count)))
    return {**masks, "a camera, 10.0%": np.arange(count) % 10 == 3}


def filter_table(index: CompressedIndex, queries: np.ndarray, vectors: np.ndarray) -> Table:
    """One query at a time, in turns with the unfiltered search."""
    lines = [["filter", "ms", "x unfiltered", "exact ms", "recall@10", "at build"]]
    turns = 2 * [query[None] for query in queries[:20]]
    for name, allowed in masks(len(vectors)).items():
        plainly = partial(index.search, k=K, vectors=vectors)
        works = [plainly, partial(plainly, allowed=allowed), partial(nearest, vectors=vectors, k=K, allowed=allowed)]
        times = [seconds(*(partial(work, query) for work in works), repeats=1) for query in turns]
        plain, ours, exact = (statistics.median(column) for column in zip(*times, strict=True))
        promised = next((one.recall for one in index.settings if one.rows <= allowed.sum()), 1.0)
        lines.append([name, f"{1e3 * ours:.2f}", f"{ours / plain:.2f}", f"{1e3 * exact:.2f}",
                      f"{recall(index, queries, vectors, allowed):.4f}", f"{promised:.4f}"])  # fmt: skip
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args()
    vectors, queries, people = synthetic()
    rows = nearest(queries, vectors, K)[0]  # compiled code is loaded, memory touched
    same = (rows // CROPS == people[:, None]).mean()
    print(f"{machine()}, numpy {np.__version__}, CPU seconds, {len(vectors):,} x {WIDTH}, k = {K}")
    print(f"{same:.2%} of the {K} nearest are of the query's person\n")
    print(align(exact_table(queries, vectors)) + "\n", flush=True)
    indexes = {}
    for kind in KINDS:
        start = time.process_time()
        indexes[kind] = CompressedIndex.build(vectors, kind), time.process_time() - start
    print(align(index_table(indexes, queries, vectors)) + "\n", flush=True)
    print(align(filter_table(indexes["rabitq"][0], queries, vectors)))


if __name__ == "__main__":
    main()
