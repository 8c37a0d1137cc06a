"""A gallery on servers, PostgreSQL and Milvus, on this machine: adding, a page's load, thumbnails, export, filters and
erasing; and what an entry takes there and in a folder, with what follows for very many.

    OMP_NUM_THREADS=1 python benchmarks/scale.py --index hnsw

Synthetic features of 512 numbers, thumbnails of 2,729 bytes; see benchmarks/gallery_store.py. Wall-clock medians;
servers and client share the cores. Prints the tables of docs/scale.md.
"""

from __future__ import annotations

import argparse
import math
import os
import platform
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from gallery_store import THUMBNAIL, WIDTH, blocks, seconds, size

from reid.gallery.entries import EVERYTHING, Filter
from reid.gallery.parts import HERE, Layout
from reid.gallery.store import Gallery
from reid.gallery.transfer.parquet import export
from reid.gallery.vectors.rows import ROW
from reid.networks import Origin
from reid.texts import align

sys.path.insert(0, str(Path(__file__).parents[1] / "tests/gallery"))
import milvus_server  # type: ignore[import-not-found]
import postgresql_server  # type: ignore[import-not-found]

NODE = 64 * 10**9  # bytes of memory of a query node
FULL = 0.7  # the share of it that may be loaded
LARGEST = (10**6, 10**7, 10**8)


def filled(folder: Path, layout: Layout, count: int) -> tuple[Gallery, float]:
    """A gallery with thumbnails, and entries added a second."""
    gallery, spent = Gallery.create(folder, Origin("synthetic", WIDTH, "0" * 64, "none"), layout), 0.0
    noise = np.random.default_rng(1)
    for entries, features in blocks(count, WIDTH):
        for low in range(0, len(entries), 2000):
            some = slice(low, low + 2000)
            images = [b"\xff\xd8\xff" + noise.bytes(THUMBNAIL - 3) for _ in entries[some]]
            start = time.perf_counter()
            gallery.add(entries[some], features[some], images)
            spent += time.perf_counter() - start
    return gallery, count / spent


def on_servers(gallery: Gallery, kind: str, adds: float) -> list[list[str]]:
    count = len(gallery)
    load = seconds(lambda: (gallery.catalogue.summary(), gallery.index_state(), gallery.find(limit=60)))
    pictures = seconds(lambda: gallery.thumbnails(range(count // 2, count // 2 + 24)))
    with tempfile.TemporaryDirectory() as folder:
        exported = count / seconds(lambda: export(gallery, Path(folder) / "all.parquet"), 1)
    gallery.set("index", kind)
    start = time.perf_counter()
    gallery.tend()
    built = time.perf_counter() - start
    lines = [
        ["adding, with thumbnails", f"{adds:,.0f} entries/s", ""],
        ["page load", f"{load:.2f} s", "0.5 s"],
        ["24 thumbnails", f"{1e3 * pictures:.1f} ms", "100 ms"],
        ["export", f"{exported:,.0f} entries/s", "2,000"],
        [f"index {kind}", f"{built:.0f} s, recall@10 {gallery.index_state().recall:.3f}", "0.98"],
    ]
    start, rng = 1.7e9 + count / 2, np.random.default_rng(2)
    ids = rng.choice(count, 100, replace=False) + 1
    queries = gallery.features(ids.tolist()) + 0.02 * rng.standard_normal((100, WIDTH)).astype(np.float32)
    asked = {
        "all": EVERYTHING,
        "half, by time": Filter(start=start),
        "a tenth, one of ten cameras": Filter(cameras=("camera 3",)),
        "a thousandth, by time": Filter(start=start, end=start + count / 1000),
    }
    whole = 0.0
    for name, wanted in asked.items():
        times = []
        for row in range(30):
            begun = time.perf_counter()
            gallery.search(queries[row : row + 1], 10, wanted)
            times.append(time.perf_counter() - begun)
        took = statistics.median(times)
        whole = whole or took
        found, exact = gallery.search(queries, 10, wanted), gallery.search(queries, 10, wanted, exact=True)
        recall = float((found.distances <= exact.distances[:, -1:]).mean())
        lines.append(
            [f"a search, {name}", f"{1e3 * took:.0f} ms, {took / whole:.1f} times, recall {recall:.3f}", "3, 0.98"]
        )
    erasing = seconds(lambda: gallery.remove([gallery.find(limit=1)[0].id]))
    return [*lines, ["erasing one entry: gone from every answer", f"{erasing:.2f} s", ""]]


def sizing(here: float, rows: float, thumbnail: float) -> list[list[str]]:
    """Of an entry the bytes in a folder, of those in PostgreSQL, and of its thumbnail; for more of them."""
    ways = {"flat": 4 * WIDTH + ROW.itemsize, "hnsw": 4 * WIDTH + 2 * 24 * 4 + ROW.itemsize}
    lines = [["entries", "folder: all files", "PostgreSQL", "thumbnails", *(f"Milvus loaded, {way}" for way in ways)]]
    for count in LARGEST:
        loaded = [count * each for each in ways.values()]
        nodes = [f"{human(each)}, {math.ceil(each / (FULL * NODE))} nodes" for each in loaded]
        lines.append([f"{count:,}", human(count * here), human(count * rows), human(count * thumbnail), *nodes])
    return lines


def human(amount: float) -> str:
    power = max(min(int(math.log10(max(amount, 1)) / 3), 4), 0)
    return f"{amount / 1000**power:.3g} {('B', 'kB', 'MB', 'GB', 'TB')[power]}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entries", type=int, default=100_000, metavar="N", help="multiple of 20,000")
    parser.add_argument("--index", default="hnsw", metavar="KIND")
    arguments = parser.parse_args()
    count = arguments.entries
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores; {WIDTH} numbers, medians")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        gallery, _ = filled(folder / "here", HERE, count)
        here = size(folder / "here") / count
        gallery.close()
        with postgresql_server.serving() as database, milvus_server.serving(folder / "milvus") as (address, _):
            gallery, adds = filled(folder / "servers", Layout(database.location(), f"{address}/people"), count)
            lines = on_servers(gallery, arguments.index, adds)
            rows = size(database.folder / "base") / count
            gallery.close()
        print(align([[f"{count:,} entries on PostgreSQL and Milvus", "", "wanted"], *lines]) + "\n")
        print(align(sizing(here, rows, size(folder / "servers") / count)))


if __name__ == "__main__":
    main()
