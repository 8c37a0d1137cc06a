"""Speed and memory of evaluation and re-ranking against the pure matrix product, on synthetic features.

    make bench

One thread (``make bench`` sets it), CPU time, medians (MSMT17's of one run). Ratios are to the pure
float32 product measured in the same run. Added memory is the peak resident size of ``tools/score.py`` less that
of a run on 64 rows, less the features' bytes.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from dense_rerank import dense_rerank

from reid.evaluation.results import write_ranks
from reid.retrieval import rerank as reranking
from reid.retrieval.features import Features, load_features, saved_origin
from reid.retrieval.ranking import CMC_RANKS, Evaluation, block_rows, evaluate
from reid.retrieval.rerank import rerank
from reid.texts import align

WIDTH = 2048
SIZES = {"Market-1501": (3_368, 19_732, 750, 6), "MSMT17": (11_659, 82_161, 3_060, 15)}
SCORE = """
import sys
from reid.commands.command import run_tool
from reid.commands.scoring import SCORE
code = run_tool(SCORE)
with open("/proc/self/status") as status:
    print([line.split()[1] for line in status if line.startswith("VmHWM")][0])
sys.exit(code)
"""
RERANK = (2_000, 5_000, 10_000, 23_100)


def synthetic(queries: int, gallery: int, people: int, cameras: int, seed: int = 0) -> tuple[Features, Features]:
    """Unit features in clusters, one a person; of the gallery 14 % junk and 18 % distractors, as on Market-1501."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((people, WIDTH), dtype=np.float32)
    sides = []
    for count, shares in ((queries, (0.0, 0.0)), (gallery, (0.14, 0.18))):
        people_of = rng.integers(0, people, count)
        rows = rng.standard_normal((count, WIDTH), dtype=np.float32)
        rows *= 1.5
        kind = rng.random(count)
        pids = np.where(kind < shares[0], -1, np.where(kind < sum(shares), 0, people_of + 1))
        for low in range(0, count, 4096):  # no temporary of the size of all
            part = slice(low, min(low + 4096, count))
            rows[part] += centres[people_of[part]] * (pids[part, None] > 0)
            rows[part] /= np.linalg.norm(rows[part], axis=1, keepdims=True)
        sides.append(Features(rows, pids.astype(np.int64), rng.integers(1, cameras + 1, count)))
    return sides[0], sides[1]


def seconds(work: Callable[[], object], repeats: int) -> float:
    """Median CPU time."""
    times = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return statistics.median(times)


def product(query: Features, gallery: Features) -> None:
    """The pure product, in the blocks that the evaluation takes."""
    rows = block_rows(len(query), len(gallery))
    block = np.empty((rows, len(gallery)), np.float32)
    for low in range(0, len(query), rows):
        part = query.features[low : low + rows]
        np.matmul(part, gallery.features.T, out=block[: len(part)])


def peak(query: Path, gallery: Path, *options: str) -> int:
    """Peak resident bytes of ``tools/score.py``, as its own process reads them at its end."""
    command = [sys.executable, "-c", SCORE, "--query", str(query), "--gallery", str(gallery), *options]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    return int(done.stdout.split()[-1]) * 1024


def added_memory(query: Features, gallery: Features, folder: Path, *options: str) -> tuple[int, int]:
    """Bytes beside the features, and in all."""
    paths = [folder / name for name in ("q.npz", "g.npz", "q64.npz", "g64.npz")]
    few = slice(0, 64)
    small_gallery = Features(gallery.features[few], np.arange(1, 65), np.full(64, 2))
    small_query = Features(query.features[few], np.arange(1, 65), np.full(64, 1))
    for path, features in zip(paths, (query, gallery, small_query, small_gallery), strict=True):
        np.savez(path, features=features.features, pids=features.pids, camids=features.camids)
    whole, small = peak(paths[0], paths[1], *options), peak(paths[2], paths[3], *options)
    return whole - small - query.features.nbytes - gallery.features.nbytes, whole


def evaluation_line(name: str, folder: Path) -> list[str]:
    query, gallery = synthetic(*SIZES[name])
    repeats = 5 if name == "Market-1501" else 1
    evaluate(query, gallery)  # compiled code is loaded, memory touched
    alone = seconds(lambda: product(query, gallery), repeats)
    ours = seconds(lambda: evaluate(query, gallery), repeats)
    added, whole = added_memory(query, gallery, folder)
    return [name, f"{len(query):,} x {len(gallery):,}", f"{alone:.2f}", f"{ours:.2f}", f"{ours / alone:.3f}",
            f"{added / 1e6:.0f}", f"{whole / 1e9:.2f}"]  # fmt: skip


def steps_line(folder: Path) -> list[str]:
    """What ``evaluate.py`` does at Market-1501's size once its features are there: read them, rank, write the lists."""
    query, gallery = sides = [
        replace(side, paths=tuple(f"bounding_box_test/{n:06d}_c1s1_000151_01.jpg" for n in range(len(side))))
        for side in synthetic(*SIZES["Market-1501"])
    ]
    paths = [folder / "query.npz", folder / "gallery.npz"]
    lists = evaluate(query, gallery, top_k=CMC_RANKS)

    def save() -> None:
        for side, path in zip(sides, paths, strict=True):
            side.save(path)

    save()

    def load() -> list[Features]:
        return [load_features(path) for path in paths]

    def write(query: Features, gallery: Features, evaluation: Evaluation) -> None:
        write_ranks(folder / "ranks.parquet", query, gallery, evaluation)

    def all_of_it() -> None:
        for path in paths:
            saved_origin(path)
        query, gallery = load()
        write(query, gallery, evaluate(query, gallery, top_k=CMC_RANKS))

    works: list[Callable[[], object]] = [
        lambda: product(query, gallery),
        lambda: evaluate(query, gallery),
        lambda: evaluate(query, gallery, top_k=CMC_RANKS),
        lambda: [saved_origin(path) for path in paths],
        load,
        lambda: write(query, gallery, lists),
        all_of_it,
        save,
    ]
    rounds = np.array([[seconds(work, 1) for work in works] for _ in range(5)])  # each beside its own product
    ratios = np.median(rounds[:, 1:] / rounds[:, :1], axis=0)
    return [f"{np.median(rounds[:, 0]):.2f}", *(f"{ratio:.3f}" for ratio in ratios)]


def rerank_line(count: int, folder: Path) -> list[str]:
    queries = round(count * 3_368 / 23_100)
    query, gallery = synthetic(queries, count - queries, max(10, count * 750 // 23_100), 6, seed=1)

    out = np.empty((len(query), len(gallery)), np.float32)

    def ours() -> np.ndarray:
        rerank(query, gallery).distances(slice(0, len(query)), out)
        return out

    neighbours: list[float] = []
    real = reranking._neighbours

    def timed(*arguments: object) -> object:
        start = time.process_time()
        result = real(*arguments)  # type: ignore[arg-type]
        neighbours.append(time.process_time() - start)
        return result

    ours()
    reranking._neighbours = timed  # type: ignore[assignment]
    totals = [seconds(ours, 1) for _ in range(3)]
    reranking._neighbours = real
    total = statistics.median(totals)
    after = statistics.median(a - b for a, b in zip(totals, neighbours, strict=True))
    added, _ = added_memory(query, gallery, folder, "--rerank")
    line = [f"{count:,}", f"{total:.2f}", f"{after:.2f}", f"{added / 1e6:.0f}"]
    expected: list[np.ndarray] = []
    before = resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak is now
    dense = seconds(lambda: expected.append(dense_rerank(query.features, gallery.features)), 1)
    dense_memory = resident("VmHWM") - before
    difference = float(np.abs(expected[0] - ours()).max())
    return [*line, f"{dense:.1f} ({dense / total:.1f}x)", f"{dense_memory / 1e6:,.0f}", f"{difference:.1e}"]


def resident(name: str) -> int:
    """Bytes of this process: VmRSS now, VmHWM at its peak."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(name))


def machine() -> str:
    """The processor's name."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="Market-1501 and re-ranking up to 5,000 only")
    quick = parser.parse_args().quick
    print(f"{machine()}, numpy {np.__version__}, CPU seconds, width {WIDTH}\n")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lines = [["evaluation", "size", "product s", "ours s", "ratio", "added MB", "resident GB"]]
        lines += [evaluation_line(size, folder) for size in SIZES if not (quick and size == "MSMT17")]
        print(align(lines) + "\n", flush=True)
        lines = [["product s", "ratios: figures", "with lists", "origins", "loading", "ranks.parquet", "all", "saving"]]
        print(align([*lines, steps_line(folder)]) + "\n", flush=True)
        lines = [
            ["re-ranking, images", "ours s", "after k-NN s", "added MB", "dense s", "dense MB", "largest difference"]
        ]
        lines += [rerank_line(count, folder) for count in RERANK if not (quick and count > 5_000)]
        print(align(lines))


if __name__ == "__main__":
    main()
