"""What it takes to embed crops in shards, and what follows for very many: bytes and core-seconds a crop.

    OMP_NUM_THREADS=1 python benchmarks/shards.py path/to/crops --model person-reidentification-retail-0265

Of images in a folder: a tar file of them as JPEG, embedded by ``reid.embedding.shards`` on one thread. Times are of the
processor, not of the clock, so that other programs count little. Prints the table of docs/scale.md.
"""

from __future__ import annotations

import argparse
import io
import tarfile
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from reid.data.unlabelled import read_unlabelled
from reid.embedding.shards import embed_shard
from reid.gallery.ingest.adding import Intake
from reid.gallery.ingest.images import read_given
from reid.gallery.store import Gallery
from reid.networks import load

SHARD = 2_000  # crops
QUALITY = 90


def write_shard(folder: Path, shard: Path, size: tuple[int, int] | None) -> int:
    """A tar file of the first SHARD images, enlarged or shrunk to ``size`` (width, height) where one is given; how
    many they are."""
    paths = read_unlabelled(folder).paths[:SHARD]
    with tarfile.open(shard, "w") as archive:
        for path in paths:
            image = Image.open(path).convert("RGB")
            content = io.BytesIO()
            (image if size is None else image.resize(size)).save(content, "JPEG", quality=QUALITY)
            member = tarfile.TarInfo(f"{path.stem}.jpg")
            member.size = content.tell()
            content.seek(0)
            archive.addfile(member, content)
    return len(paths)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("crops", type=Path)
    parser.add_argument("--model", required=True)
    parser.add_argument("--size", type=int, nargs=2, metavar=("W", "H"), help="of the crops (default: as they are)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        count = write_shard(arguments.crops, folder / "s.tar", arguments.size)
        network = load(arguments.model, ["device=cpu", "threads=1"])
        network.embed([np.zeros((256, 128, 3), np.uint8)])  # what the first call alone needs
        begin = time.process_time()
        embed_shard(folder / "s.tar", folder / "f.parquet", network)
        embedding = (time.process_time() - begin) / count
        file, origin, entries = read_given(folder / "f.parquet", "camera", None)
        with Gallery.create(folder / "g", origin) as gallery:
            begin = time.process_time()
            Intake(gallery).features(entries, file.features.features, file.thumbnails, progress=False)
            adding = (time.process_time() - begin) / count
        stored = sum(path.stat().st_size for path in (folder / "g").rglob("*") if path.is_file()) / count
        jpeg, row = ((folder / file).stat().st_size / count for file in ("s.tar", "f.parquet"))
    width = network.origin.width
    print(
        f"{count:,} crops, {network.origin.name}: a crop takes {jpeg:,.0f} bytes in its tar file, {row:,.0f} as a row"
    )
    print(f"({width} numbers, {4 * width:,} bytes), {stored:,.0f} in a gallery's folder; {1 / embedding:,.0f} embedded")
    print(f"and {1 / adding:,.0f} added a core-second\n")
    print("| crops | tar files | features | gallery's folder | embedding, core-hours | adding, core-hours |")
    print("| --- | --- | --- | --- | --- | --- |")
    for crops in (10**8, 10**9):
        sizes = " | ".join(f"{crops * each / 1e12:,.2f} TB" for each in (jpeg, row, stored))
        hours = " | ".join(f"{crops * each / 3600:,.0f}" for each in (embedding, adding))
        print(f"| {crops:,} | {sizes} | {hours} |")


if __name__ == "__main__":
    main()
