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

from reid.gallery.entries import Entry, Origin
from reid.gallery.local.store import LocalStore
from reid.report.table import align

WIDTH, BLOCK = 512, 50_000
ADDED, OPENED = 100_000, 1_000_000
REQUESTS, CLIENTS = 100, 8


def blocks(count: int, width: int, seed: int = 0) -> Iterator[tuple[list[Entry], np.ndarray, list[bytes]]]:
    """Entries without thumbnails, twenty a person, on ten cameras, a second apart."""
    rng = np.random.default_rng(seed)
    for low in range(0, count, BLOCK):
        numbers = range(low, min(low + BLOCK, count))
        entries = [Entry(f"/images/{n}.jpg", f"camera {n % 10}", f"person {n // 20}", float(n)) for n in numbers]
        yield entries, rng.standard_normal((len(numbers), width), dtype=np.float32), [b""] * len(numbers)


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


def served(folder: Path, port: multiprocessing.Queue[int]) -> None:
    """A process: train a step of a ResNet-18, fill a gallery with 100,000 of its features, serve it."""
    import uvicorn

    from reid.config import load_config
    from reid.engine.train import train
    from reid.gallery.audit import AuditLog
    from reid.gallery.networks.model import load_model
    from reid.gallery.web.app import create_app, listening

    own = ["model.width=1.0", "optim.steps=1", "data.workers=0", f"output={folder / 'run'}", "threads=1"]
    model = load_model(train(load_config("sites_ibn_b.yaml", own), progress=False), threads=1)
    with LocalStore.create(folder / "page", model.origin) as store:
        for entries, features, thumbnails in blocks(ADDED, model.origin.width):
            store.add(entries, features, thumbnails)
    writer = partial(LocalStore.open, folder / "page", write=True)
    with LocalStore.open(folder / "page") as store:
        app = create_app(store, model, None, audit=AuditLog(store.folder), writer=writer, drop_expired=lambda: None)
        with listening("127.0.0.1", 0) as listener:
            port.put(listener.getsockname()[1])
            uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False)).run(sockets=[listener])


def page(folder: Path) -> list[list[str]]:
    import httpx

    spawn = multiprocessing.get_context("spawn")
    port = spawn.Queue()
    server = spawn.Process(target=served, args=(folder, port), daemon=True)
    server.start()
    address = f"http://127.0.0.1:{port.get(timeout=600)}/api/search"
    picture = io.BytesIO()
    pixels = np.random.default_rng(2).integers(0, 256, (128, 64, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(picture, "JPEG")

    def ask(times: list[float], failures: list[str], requests: int) -> None:
        with httpx.Client(timeout=60, headers={"X-Requested-With": "gallery"}) as client:
            for _ in range(requests):
                start = time.perf_counter()
                answer = client.post(address, files={"image": picture.getvalue()})
                times.append(time.perf_counter() - start)
                if answer.status_code != 200 or len(answer.json()["hits"]) != 24:
                    failures.append(answer.text)

    lines = []
    ask([], [], 5)  # the vectors are read, the network has run
    for clients in (1, CLIENTS):
        times: list[float] = []
        failures: list[str] = []
        threads = [
            threading.Thread(target=ask, args=(times, failures, -(-REQUESTS // clients))) for _ in range(clients)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        name = (
            f"answer to an upload, {clients} client{'s' * (clients > 1)}, {len(times)} requests, {len(failures)} failed"
        )
        lines.append([name, f"{statistics.median(times):.3f}", "0.3"])
        lines.append(["the slowest of them", f"{max(times):.3f}", ""])
    server.terminate()
    server.join()
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args()
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores; seconds, medians")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        print(align([["gallery in a folder", "seconds", "wanted below"], adding(folder), *opening(folder)]))
        print(align([["web page, ResNet-18, 100,000 entries", "seconds", "wanted below"], *page(folder)]))


if __name__ == "__main__":
    main()
