"""Speed of a gallery as people use it: adding, opening, and the web page's answers, on synthetic features.

    make bench

Adding and opening are wall-clock time, on one thread. The page is served in a process of its own on all cores, with a
full-width ResNet-18 of random weights; a crop is uploaded again and again, by one client and by eight at once.
"""

from __future__ import annotations

import argparse
import io
import multiprocessing
import os
import platform
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from reid.gallery.entries import Entry
from reid.gallery.local.store import LocalStore
from reid.networks import Origin
from reid.texts import align

WIDTH, SUBSPACE, BLOCK = 512, 64, 50_000
ADDED, OPENED = 100_000, 1_000_000
REQUESTS, CLIENTS = 100, 8


def blocks(count: int, width: int, seed: int = 0) -> Iterator[tuple[list[Entry], np.ndarray, list[bytes]]]:
    """Entries without thumbnails, twenty a person, on ten cameras, a second apart; see benchmarks/gallery.py."""
    rng = np.random.default_rng(seed)
    inside = rng.standard_normal((SUBSPACE, width), dtype=np.float32) / np.float32(np.sqrt(width))
    for low in range(0, count, BLOCK):
        numbers = range(low, min(low + BLOCK, count))
        entries = [Entry(f"/images/{n}.jpg", f"camera {n % 10}", f"person {n // 20}", float(n)) for n in numbers]
        centres = np.repeat(rng.standard_normal((len(numbers) // 20, SUBSPACE), dtype=np.float32), 20, axis=0)
        crops = centres + 0.7 * rng.standard_normal(centres.shape, dtype=np.float32)
        outside = 0.1 * rng.standard_normal((len(numbers), width), dtype=np.float32)
        yield entries, crops @ inside + outside, [b""] * len(numbers)


def adding(folder: Path) -> list[str]:
    ready = list(blocks(ADDED, WIDTH))
    times = []
    for turn in range(3):
        with LocalStore.create(folder / f"added{turn}", Origin("synthetic", WIDTH, "0" * 64, "none")) as store:
            start = time.perf_counter()
            for entries, features, thumbnails in ready:
                store.add(entries, features, thumbnails)
            times.append(time.perf_counter() - start)
    return [f"adding {ADDED:,} x {WIDTH} without images", f"{statistics.median(times):.2f}", "10"]


def opening(folder: Path) -> list[list[str]]:
    with LocalStore.create(folder / "opened", Origin("synthetic", WIDTH, "0" * 64, "none")) as store:
        for entries, features, thumbnails in blocks(OPENED, WIDTH):
            store.add(entries, features, thumbnails)
    opened, first = [], []
    query = np.random.default_rng(1).standard_normal((1, WIDTH), dtype=np.float32)
    for _ in range(3):
        start = time.perf_counter()
        with LocalStore.open(folder / "opened") as store:
            count = len(store)
            opened.append(time.perf_counter() - start)
            store.search(query, 10)
            first.append(time.perf_counter() - start)
    return [
        [f"opening {count:,} x {WIDTH}", f"{statistics.median(opened):.3f}", "2"],
        ["the same and a first exact search", f"{statistics.median(first):.2f}", ""],
    ]


def served(folder: Path, kind: str, port: multiprocessing.Queue[int]) -> None:
    """A process: train a step of a ResNet-18, fill a gallery with 100,000 features of its width, serve it."""
    import uvicorn

    from reid.config import load_config
    from reid.engine.train import train
    from reid.gallery.audit import AuditLog
    from reid.gallery.web.app import create_app, listening, one_thread_each
    from reid.networks import load

    overrides = ["model.width=1.0", "optim.steps=1", "data.workers=0", f"output={folder / 'run'}", "threads=1"]
    model = load(train(load_config("sites_ibn_b.yaml", overrides), progress=False))
    if not (folder / "page").exists():
        with LocalStore.create(folder / "page", model.origin) as store:
            for entries, features, thumbnails in blocks(ADDED, model.origin.width):
                store.add(entries, features, thumbnails)
    writer = partial(LocalStore.open, folder / "page", write=True)
    with writer() as store:
        store.set("index", kind)
        print(f"index: {store.build_index()}")
    one_thread_each()
    with LocalStore.open(folder / "page") as store, listening("127.0.0.1", 0) as listener:
        app = create_app(store, model, None, audit=AuditLog(store.folder), writer=writer, drop_expired=lambda: None)
        port.put(listener.getsockname()[1])
        uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False)).run(sockets=[listener])


def page(folder: Path, kind: str) -> list[list[str]]:
    """Median and slowest answer to an upload, of one client and of eight at once."""
    spawn = multiprocessing.get_context("spawn")
    port = spawn.Queue()
    server = spawn.Process(target=served, args=(folder, kind, port), daemon=True)
    server.start()
    address = f"http://127.0.0.1:{port.get(timeout=900)}/api/search"
    picture = io.BytesIO()
    pixels = np.random.default_rng(2).integers(0, 256, (128, 64, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(picture, "JPEG")
    asking(address, picture.getvalue(), 1, 5)  # the vectors are read, the network has run
    lines = []
    for clients in (1, CLIENTS):
        times, failed = asking(address, picture.getvalue(), clients, REQUESTS)
        name = f"{kind}, {clients} client{'s' * (clients > 1)}"
        lines.append([name, str(len(times)), str(failed), f"{statistics.median(times):.3f}", f"{max(times):.3f}"])
    server.terminate()
    server.join()
    return lines


def asking(address: str, picture: bytes, clients: int, requests: int) -> tuple[list[float], int]:
    """Seconds of each of at least so many requests, spread over clients at once; how many were not answered rightly."""
    import httpx

    def ask() -> None:
        with httpx.Client(timeout=60, headers={"X-Requested-With": "gallery"}) as client:
            start.wait()
            for _ in range(-(-requests // clients)):
                begun = time.perf_counter()
                answer = client.post(address, files={"image": picture})
                times.append(time.perf_counter() - begun)
                right.append(answer.status_code == 200 and len(answer.json()["hits"]) == 24)

    times: list[float] = []
    right: list[bool] = []
    start = threading.Barrier(clients)
    threads = [threading.Thread(target=ask) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return times, right.count(False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args()
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores; seconds, medians")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        print(align([["gallery in a folder", "seconds", "wanted below"], adding(folder), *opening(folder)]))
        lines = [["page, ResNet-18, 100,000 entries", "requests", "failed", "median s", "slowest s"]]
        for kind in ("flat", "rabitq"):
            lines += page(folder, kind)
        print(align(lines))


if __name__ == "__main__":
    main()
