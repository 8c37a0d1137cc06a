"""What a gallery takes in a folder, in a file of Milvus Lite and on a Milvus server, and what follows for larger ones.

    OMP_NUM_THREADS=1 python benchmarks/scale.py

Synthetic unit features, 512 floats each; thumbnails of the mean size of PKU-ReID's crops. Prints the tables of
docs/scale.md. Sizes are exact; memory is the growth of the resident size of the process, caches and garbage
included; times are medians of wall clock and differ with the machine.
"""

from __future__ import annotations

import argparse
import math
import platform
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from reid.gallery.entries import Entry, Store
from reid.gallery.local.store import LocalStore
from reid.gallery.milvus.reader import thumbnail_key
from reid.gallery.milvus.rows import row_of
from reid.gallery.milvus.store import MilvusStore
from reid.networks import Origin

sys.path.insert(0, str(Path(__file__).parents[1] / "tests/gallery/milvus"))
from milvus_server import missing, serving  # type: ignore[import-not-found]  # of the tests

WIDTH = 512
THUMBNAIL = 2_729  # bytes, mean of PKU-ReID's crops (128 x 48 pixels)
NODE = 64 * 10**9  # bytes of memory of a query node
FULL = 0.7  # the share of it that may be loaded
BLOCK = 5_000  # entries a call
SETTLING = 30  # seconds that a server has to write its segments
ORIGIN = Origin("synthetic", WIDTH, "none", "none")


@dataclass(frozen=True)
class Measured:
    """Of one store: bytes an entry in files and in memory, entries added and queries answered a second."""

    name: str
    entries: int
    disk: float
    memory: float
    adds: float
    single: float
    batch: float


def unit(count: int, seed: int) -> np.ndarray:
    rows = np.random.default_rng(seed).standard_normal((count, WIDTH), dtype=np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def entries(low: int, count: int) -> list[Entry]:
    return [
        Entry(f"/data/cameras/{n % 40:02d}/2024-05-01/{n:09d}.jpg", f"site/{n % 40}", f"person {n // 20}", 1.7e9 + n)
        for n in range(low, low + count)
    ]


def fill(store: Store, count: int) -> float:
    """Entries added a second."""
    generator, spent = np.random.default_rng(0), 0.0
    for low in range(0, count, BLOCK):
        features, some = unit(BLOCK, low), entries(low, BLOCK)
        thumbnails = [generator.bytes(THUMBNAIL) for _ in range(BLOCK)]
        start = time.perf_counter()
        store.add(some, features, thumbnails)
        spent += time.perf_counter() - start
    return count / spent


def rate(store: Store, queries: np.ndarray, repeats: int) -> float:
    """Queries a second, the median of some."""
    store.search(queries, 10)
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        store.search(queries, 10)
        times.append(time.perf_counter() - start)
    return len(queries) / statistics.median(times)


def size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def resident(process: int | str) -> int:
    """Bytes of a process that are in memory."""
    status = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in status if line.startswith("VmRSS"))


def measure(name: str, store: Store, folder: Path, count: int, process: int | str = "self") -> Measured:
    before, queries = (size(folder), resident(process)), unit(100, 1)
    adds = fill(store, count)
    single, batch = rate(store, queries[:1], 5), rate(store, queries, 3)
    time.sleep(SETTLING if process != "self" else 0)
    disk, memory = (
        (late - early) / count for early, late in zip(before, (size(folder), resident(process)), strict=True)
    )
    return Measured(name, count, disk, memory, adds, single, batch)


def loaded() -> tuple[int, int]:
    """Bytes of an entry's columns and of its thumbnail as Milvus holds them, without the vector, without overhead."""
    (entry,) = entries(0, 1)
    row = row_of(entry, np.empty(0))
    columns = sum(
        len(value.encode()) if isinstance(value, str) else 8 for name, value in row.items() if name != "vector"
    )
    return columns, len(thumbnail_key(10**8)) + 8 + 4 * math.ceil(THUMBNAIL / 3)


def measured(count: int, folder: Path) -> list[Measured]:
    """Milvus Lite, which is slow, with a fifth of the entries."""
    with LocalStore.create(folder / "local", ORIGIN) as store:
        rows = [measure("folder", store, folder / "local", count)]
    with MilvusStore.create(str(folder / "lite.db"), ORIGIN) as store:
        rows.append(measure("Milvus Lite", store, folder / "lite.db", count // 5))
    reason = missing()
    if reason:
        sys.exit(f"no server can be measured: {reason}")
    with serving(folder / "server") as (address, process), MilvusStore.create(f"{address}/people", ORIGIN) as store:
        rows.append(measure("Milvus 2.3.5", store, folder / "server/data", count, process))
    return rows


def human(amount: float) -> str:
    power = max(min(int(math.log10(max(amount, 1)) / 3), 4), 0)
    return f"{amount / 1000**power:.3g} {('B', 'kB', 'MB', 'GB', 'TB')[power]}"


def table(rows: list[list[str]]) -> str:
    """Markdown."""
    rows = [rows[0], ["---"] * len(rows[0]), *rows[1:]]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=100_000, help="entries, a multiple of 50,000")
    count = parser.parse_args().count
    with tempfile.TemporaryDirectory() as folder:
        stores = measured(count, Path(folder))
    print(f"{WIDTH} floats an entry, {platform.machine()}, load {Path('/proc/loadavg').read_text().split()[0]}\n")
    rows = [["store", "entries", "in files, each", "in memory, each", "added/s", "queries/s, singly", "by 100"]]
    for s in stores:
        speeds = [f"{speed:,.0f}" if speed >= 10 else f"{speed:.1f}" for speed in (s.adds, s.single, s.batch)]
        rows.append([s.name, f"{s.entries:,}", human(s.disk), human(s.memory), *speeds])
    print(table(rows), end="\n\n")
    print(table(sizing(stores)))


def sizing(stores: list[Measured]) -> list[list[str]]:
    """What follows for more crops; the memory of a cluster is what it must load."""
    columns, thumbnail = loaded()
    ways = {"all exact": 4 * WIDTH + columns + thumbnail, "IVF_SQ8, thumbnails on disk": WIDTH + columns}
    heads = [f"{way} ({each:,} B each)" for way, each in ways.items()]
    rows = [["crops", "vectors", "folder: files", "Milvus: files", *(f"Milvus: loaded, {head}" for head in heads)]]
    for crops in (10**6, 10**8):
        files = [human(crops * stores[place].disk) for place in (0, -1)]
        nodes = [math.ceil(crops * each / (FULL * NODE)) for each in ways.values()]
        memory = [f"{human(crops * each)}, nodes: {n}" for each, n in zip(ways.values(), nodes, strict=True)]
        rows.append([f"{crops:,}", human(crops * 4 * WIDTH), *files, *memory])
    return rows


if __name__ == "__main__":
    main()
