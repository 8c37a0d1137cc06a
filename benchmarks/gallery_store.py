"""A gallery in a folder at size, on synthetic features: adding, a page's load, erasing, indexes, filters, and the
page's answers, alone and while another process adds.

    make bench

Wall-clock time, medians; one thread but for the page and the index, which take all cores. The page is served in a
process of its own, with a full-width ResNet-18 of random weights; a crop is uploaded again and again. ``--entries``
and ``--filtered`` make it smaller.
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
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from reid.gallery.entries import EVERYTHING, Entry, Filter
from reid.gallery.service import Service
from reid.gallery.store import Gallery
from reid.networks import Origin
from reid.texts import align

WIDTH, SUBSPACE, BLOCK = 512, 64, 20_000
THUMBNAIL = 2_729  # bytes, mean of PKU-ReID's crops (128 x 48 pixels)
PAGE = 100_000  # entries of the gallery that the page is asked of
REQUESTS, CLIENTS = 100, 8
SPAWN = multiprocessing.get_context("spawn")


def blocks(count: int, width: int, seed: int = 0) -> Iterator[tuple[list[Entry], np.ndarray]]:
    """Twenty entries a person on ten cameras, a second apart; people lie in a subspace, with noise around."""
    rng = np.random.default_rng(seed)
    inside = rng.standard_normal((SUBSPACE, width), dtype=np.float32) / np.float32(np.sqrt(width))
    for low in range(0, count, BLOCK):
        numbers = range(low, min(low + BLOCK, count))
        entries = [Entry(f"/images/{n}.jpg", f"camera {n % 10}", f"person {n // 20}", 1.7e9 + n) for n in numbers]
        centres = np.repeat(rng.standard_normal((len(numbers) // 20, SUBSPACE), dtype=np.float32), 20, axis=0)
        crops = centres + 0.7 * rng.standard_normal(centres.shape, dtype=np.float32)
        outside = 0.1 * rng.standard_normal((len(numbers), width), dtype=np.float32)
        yield entries, crops @ inside + outside


def filled(folder: Path, count: int, width: int = WIDTH) -> tuple[Gallery, float]:
    """A gallery with thumbnails, and entries added a second."""
    gallery, spent = Gallery.create(folder, Origin("synthetic", width, "0" * 64, "none")), 0.0
    noise = np.random.default_rng(1)
    for entries, features in blocks(count, width):
        images = [b"\xff\xd8\xff" + noise.bytes(THUMBNAIL - 3) for _ in entries]
        start = time.perf_counter()
        gallery.add(entries, features, images)
        spent += time.perf_counter() - start
    return gallery, count / spent


def seconds(work: Callable[[], object], repeats: int = 3) -> float:
    """The median."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def size(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size
        except FileNotFoundError:
            continue
    return total


# --- at size ----------------------------------------------------------------------------------------------------------


def at_size(folder: Path, count: int) -> list[list[str]]:
    gallery, adds = filled(folder, count)
    service = Service(gallery, "page")
    load = seconds(lambda: (gallery.catalogue.summary(), gallery.index_state(), service.browse(EVERYTHING, 60, 0)))
    lines = [["adding, with thumbnails", f"{adds:,.0f} entries/s", ""], ["page load", f"{load:.2f} s", "0.5 s"]]
    built, searches = indexing(folder, gallery)
    report = gallery.index_state()
    lines += [
        ["index, in the background", f"{built / 60:.1f} min, recall@10 {report.recall:.3f}", "10 min, 0.98"],
        ["a search meanwhile", f"{1e3 * statistics.median(searches):.0f} ms", ""],
    ]
    held, peak, times = size(folder), [0], []
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.02):
            peak[0] = max(peak[0], size(folder))

    watching = threading.Thread(target=watch)
    watching.start()
    for id in (count // 3, count // 2, count - 5):
        start = time.perf_counter()
        gallery.remove([id])
        times.append(time.perf_counter() - start)
    done.set()
    watching.join()
    more = 100 * (peak[0] - held) / held
    lines.append(
        ["erasing one entry", f"{statistics.median(times):.2f} s, {more:+.1f} % on disk meanwhile", "3 s, +5 %"]
    )
    gallery.close()
    return lines


def tend(folder: str) -> None:
    os.nice(10)
    with Gallery.open(folder) as gallery:
        gallery.tend()


def indexing(folder: Path, gallery: Gallery) -> tuple[float, list[float]]:
    """Seconds that it takes in a process of its own, and of searches meanwhile."""
    query = np.random.default_rng(1).standard_normal((1, WIDTH), dtype=np.float32)
    work = SPAWN.Process(target=tend, args=(str(folder),))
    start, searches = time.perf_counter(), []
    work.start()
    while work.is_alive():
        searches.append(seconds(lambda: gallery.search(query, 10), 1))
        work.join(0.5)
    return time.perf_counter() - start, searches


def filters(folder: Path, count: int) -> list[list[str]]:
    """A search with a filter against one without, and how much of the exact answer it finds."""
    gallery, _ = filled(folder, count)
    gallery.set("index", "rabitq")
    gallery.tend()
    rng = np.random.default_rng(2)
    ids = rng.choice(count, 200, replace=False) + 1
    queries = gallery.features(ids.tolist()) + 0.02 * rng.standard_normal((200, WIDTH)).astype(np.float32)
    start = 1.7e9 + count / 2
    asked = {
        "all": EVERYTHING,
        "half, by time": Filter(start=start),
        "half, five of ten cameras": Filter(cameras=tuple(f"camera {n}" for n in range(5))),
        "a tenth, by time": Filter(start=start, end=start + count / 10),
        "a tenth, one of ten cameras": Filter(cameras=("camera 3",)),
        "a thousandth, by time": Filter(start=start, end=start + count / 1000),
    }
    lines, whole = [], 0.0
    for name, wanted in asked.items():
        took = statistics.median(
            seconds(lambda row=row, wanted=wanted: gallery.search(queries[row : row + 1], 10, wanted), 1)  # type: ignore[misc]
            for row in range(60)
        )
        whole = whole or took
        found, exact = gallery.search(queries, 10, wanted), gallery.search(queries, 10, wanted, exact=True)
        recall = float((found.distances <= exact.distances[:, -1:]).mean())
        lines.append([name, f"{1e3 * took:.1f} ms", f"{took / whole:.1f}", f"{recall:.3f}"])
    gallery.close()
    return lines


# --- the page ---------------------------------------------------------------------------------------------------------


def network(folder: Path) -> Path:
    """A ResNet-18, trained for a step; renders its data where they are not there, which no daemon may."""
    from reid.config import load_config
    from reid.engine.train import train

    overrides = ["model.width=1.0", "optim.steps=1", "data.workers=0", f"output={folder / 'run'}", "threads=1"]
    return train(load_config("sites_ibn_b.yaml", overrides), progress=False)


def served(folder: Path, run: Path, kind: str, port: Any) -> None:
    """A process: fill a gallery with features of a network's width, serve it."""
    import uvicorn

    from reid.gallery.web.app import create_app, listening, one_thread_each
    from reid.networks import load

    model = load(run)
    if not (folder / "page").exists():
        with Gallery.create(folder / "page", model.origin) as gallery:
            for entries, features in blocks(PAGE, model.origin.width):
                gallery.add(entries, features, [b""] * len(entries))
    with Gallery.open(folder / "page") as gallery, listening("127.0.0.1", 0) as listener:
        gallery.set("index", kind)
        gallery.tend()
        one_thread_each()
        port.put((listener.getsockname()[1], model.origin.width))
        app = create_app(Service(gallery, "page", model))
        uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False)).run(sockets=[listener])


def adding(folder: Path, width: int, stop: Any) -> None:
    """A process that feeds the gallery of the page, 100 entries at a time."""
    with Gallery.open(folder / "page") as gallery:
        for seed in range(1, 10**6):
            for entries, features in blocks(2 * BLOCK, width, seed):
                for low in range(0, len(entries), 100):
                    if stop.is_set():
                        return
                    some = slice(low, low + 100)
                    gallery.add(entries[some], features[some], [b""] * 100)


def page(folder: Path, kind: str) -> list[list[str]]:
    """Median and slowest answer to an upload, of one client and of eight at once; of erasures while another adds."""
    ports = SPAWN.Queue()
    server = SPAWN.Process(target=served, args=(folder, network(folder), kind, ports), daemon=True)
    server.start()
    port, width = ports.get(timeout=900)
    address, picture = f"http://127.0.0.1:{port}/api", io.BytesIO()
    pixels = np.random.default_rng(2).integers(0, 256, (128, 64, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(picture, "JPEG")
    search = {"files": {"image": picture.getvalue()}}
    asking(f"{address}/search", lambda _: search, 1, 5)  # the vectors are read, the network has run
    lines = []
    for clients in (1, CLIENTS):
        times, failed = asking(f"{address}/search", lambda _: search, clients, REQUESTS)
        lines.append([f"{kind}, {clients} client{'s' * (clients > 1)}", *told(times, failed)])
    stop = SPAWN.Event()
    feeding = SPAWN.Process(target=adding, args=(folder, width, stop), daemon=True)
    feeding.start()
    time.sleep(5)
    first = 1 if kind == "flat" else 1001
    others = threading.Thread(target=asking, args=(f"{address}/search", lambda _: search, 2, 60))
    others.start()
    times, failed = asking(f"{address}/forget", lambda number: {"json": {"ids": [first + number]}}, 1, 30)
    lines.append([f"{kind}, an erasure while one process adds and two clients search", *told(times, failed)])
    others.join()
    stop.set()
    feeding.join()
    server.terminate()
    server.join()
    return lines


def told(times: list[float], failed: int) -> list[str]:
    return [str(len(times)), str(failed), f"{statistics.median(times):.3f}", f"{max(times):.3f}"]


def asking(
    address: str, request: Callable[[int], dict[str, Any]], clients: int, requests: int
) -> tuple[list[float], int]:
    """Seconds of each of at least so many requests, spread over clients at once; how many were not answered."""
    import httpx

    def ask(client_number: int) -> None:
        with httpx.Client(timeout=60, headers={"X-Requested-With": "gallery"}) as client:
            start.wait()
            for number in range(-(-requests // clients)):
                begun = time.perf_counter()
                answer = client.post(address, **request(client_number * requests + number))
                times.append(time.perf_counter() - begun)
                right.append(answer.status_code == 200)

    times: list[float] = []
    right: list[bool] = []
    start = threading.Barrier(clients)
    threads = [threading.Thread(target=ask, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return times, right.count(False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entries", type=int, default=1_000_000, metavar="N", help="multiple of 20,000")
    parser.add_argument("--filtered", type=int, default=200_000, metavar="N", help="multiple of 20,000")
    arguments = parser.parse_args()
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores; medians")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        head = [f"{arguments.entries:,} entries of {WIDTH} numbers in a folder", "", "wanted"]
        print(align([head, *at_size(folder / "large", arguments.entries)]) + "\n", flush=True)
        head = [f"{arguments.filtered:,} entries, allowed", "a search", "times that of all (3)", "recall@10 (0.98)"]
        print(align([head, *filters(folder / "filtered", arguments.filtered)]) + "\n", flush=True)
        lines = [[f"page, ResNet-18, {PAGE:,} entries", "requests", "failed", "median s", "slowest s"]]
        for kind in ("flat", "rabitq"):
            lines += page(folder, kind)
        print(align(lines))


if __name__ == "__main__":
    main()
