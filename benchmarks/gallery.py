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
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
from retrieval import machine

from reid.retrieval.compressed import KINDS, CompressedIndex
from reid.retrieval.search import QUERIES, nearest, products
from reid.texts import align

PEOPLE, CROPS, WIDTH, SUBSPACE = 5_000, 20, 512, 64
INSIDE, OUTSIDE = 0.7, 0.1
ASKED, K = 1_000, 10
REPEATS = 5


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


def exact_table(queries: np.ndarray, vectors: np.ndarray) -> list[list[str]]:
    lines = [["exact, queries", "read rows s", "product s", "ours s", "ratio"]]
    for count in (1, 10, len(queries)):
        some = queries[:count]
        read, alone, ours = seconds(
            vectors.max, partial(product, some, vectors), partial(nearest, some, vectors, K), repeats=9
        )
        lines.append([f"{count:,}", f"{read:.3f}", f"{alone:.3f}", f"{ours:.3f}", f"{ours / alone:.3f}"])
    return lines


def recall(index: CompressedIndex, queries: np.ndarray, vectors: np.ndarray, last: np.ndarray) -> float:
    """Share of the exact nearest found; ``last`` (Q, 1) is the distance of the farthest of them."""
    return float((index.search(queries, K, vectors)[1] <= last).mean())


def compressed_tables(queries: np.ndarray, vectors: np.ndarray) -> tuple[list[list[str]], list[list[str]]]:
    """The indices in their chosen settings, and those settings that no other beats in both speed and recall."""
    last = nearest(queries, vectors, K)[1][:, -1:]
    chosen = [["index", "queries/s", "x flat", "recall@10", "lists, factor", "bytes", "of flat", "build s"]]
    frontier = [["setting", "lists", "factor", "queries/s", "x flat", "recall@10", "at build", ""]]
    for kind in KINDS:
        start = time.process_time()
        index = CompressedIndex.build(vectors, kind)
        built = time.process_time() - start
        flat, ours = seconds(partial(nearest, queries, vectors, K), partial(index.search, queries, K, vectors))
        if len(chosen) == 1:
            chosen.append(["flat", f"{len(queries) / flat:,.0f}", "1", "1", "", f"{vectors.nbytes:,}", "100 %", ""])
        setting = index.setting
        chosen.append([kind, f"{len(queries) / ours:,.0f}", f"{flat / ours:.2f}",
                       f"{recall(index, queries, vectors, last):.4f}", f"{setting.nprobe}, {setting.factor}",
                       f"{index.nbytes:,}",
                       f"{100 * index.nbytes / vectors.nbytes:.1f} %", f"{built:.1f}"])  # fmt: skip
        measured = []
        for setting in index.tried:
            other = replace(index, setting=setting)
            taken = seconds(partial(other.search, queries, K, vectors), repeats=3)[0]
            measured.append((taken, -recall(other, queries, vectors, last), setting))
        best = 1.0
        for taken, missed, setting in sorted(measured, key=lambda line: line[:2]):
            if missed < best or setting == index.setting:
                mark = "chosen" if setting == index.setting else ""
                frontier.append([kind, f"{setting.nprobe}", f"{setting.factor}", f"{len(queries) / taken:,.0f}",
                                 f"{flat / taken:.2f}", f"{-missed:.4f}", f"{setting.recall:.4f}", mark])  # fmt: skip
            best = min(best, missed)
    return chosen, frontier


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args()
    vectors, queries, people = synthetic()
    rows = nearest(queries, vectors, K)[0]  # compiled code is loaded, memory touched
    same = (rows // CROPS == people[:, None]).mean()
    print(f"{machine()}, numpy {np.__version__}, CPU seconds, {len(vectors):,} x {WIDTH}, k = {K}")
    print(f"{same:.2%} of the {K} nearest are of the query's person\n")
    print(align(exact_table(queries, vectors)) + "\n", flush=True)
    for table in compressed_tables(queries, vectors):
        print(align(table) + "\n")


if __name__ == "__main__":
    main()
