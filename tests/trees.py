"""Small trees in the official layouts of the public data sets, with their traps; the images are real and decodable.

A person is a colour pair, a camera a tint, so that a small network can learn something from them.
"""

from pathlib import Path

import numpy as np
from PIL import Image

PLACE = "Market-1501-v15.09.15"


def write_image(
    path: Path, pid: int, cam: int, shot: int = 0, size: tuple[int, int] = (128, 64), seed: int = 0
) -> None:
    """A picture of (height, width): the person's two colours, the camera's tint, noise of the shot."""
    height, width = size
    person = np.random.default_rng((seed, pid + 10)).uniform(40, 215, size=(2, 3))
    tint = np.random.default_rng((seed, 1000 + cam)).uniform(-25, 25, size=3)
    noise = np.random.default_rng((seed, pid + 10, cam, shot)).normal(0, 8, size=(height, width, 3))
    pixels = np.empty((height, width, 3))
    pixels[: height // 2], pixels[height // 2 :] = person
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.clip(pixels + tint + noise, 0, 255).astype(np.uint8)).save(path)


def clutter(folder: Path) -> None:
    """Files that are no images and must be passed over without a word."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "Thumbs.db").write_bytes(b"\xd0\xcf\x11\xe0")
    (folder / ".DS_Store").write_bytes(b"\0")
    (folder / "._0001_c1s1_000151_01.jpg").write_bytes(b"\0\5\x16\7")  # macOS's twin of an image
    (folder / "readme.txt").write_text("0001_c1s1.jpg")


def market_tree(
    root: Path,
    identities: int = 4,
    cameras: int = 2,
    images: int = 4,
    size: tuple[int, int] = (128, 64),
    seed: int = 0,
) -> Path:
    """Market-1501's layout in `root`: `images` of each identity and camera, the first of the test's the query.

    Identities 1..n train, n+1..2n test. Traps: junk -1 and a distractor 0000 in the gallery, clutter in every folder,
    one upper-case suffix.
    """
    for pid in range(1, 2 * identities + 1):
        for cam in range(1, cameras + 1):
            for shot in range(images):
                folder = "bounding_box_train" if pid <= identities else "query" if shot == 0 else "bounding_box_test"
                suffix = "JPG" if (pid, cam, shot) == (1, 1, 1) else "jpg"
                name = f"{pid:04d}_c{cam}s1_{shot:06d}_01.{suffix}"
                write_image(root / folder / name, pid, cam, shot, size, seed)
    write_image(root / "bounding_box_test" / "-1_c1s1_000001_00.jpg", -1, 1, 0, size, seed)
    write_image(root / "bounding_box_test" / "0000_c1s1_000002_00.jpg", 0, 1, 0, size, seed)
    for folder in ("bounding_box_train", "query", "bounding_box_test"):
        clutter(root / folder)
    return root


def msmt_tree(root: Path, version: str = "V1", identities: int = 3, cameras: int = 2) -> Path:
    """MSMT17 in `root`/MSMT17_`version`: four shots of each identity and camera, identities from 0 in both halves.

    Of the training shots the last is val's; of the test's the first is a query.
    """
    top = root / f"MSMT17_{version}"
    train, test = {"V1": ("train", "test"), "V2": ("mask_train_v2", "mask_test_v2")}[version]
    lists: dict[str, list[str]] = {"train": [], "val": [], "query": [], "gallery": []}
    for folder, parts in ((train, ("train", "train", "train", "val")), (test, ("query", *["gallery"] * 3))):
        for pid in range(identities):
            for cam in range(1, cameras + 1):
                for shot, part in enumerate(parts):
                    name = f"{pid:04d}/{pid:04d}_{shot:03d}_{cam:02d}_0303morning_{shot:04d}_0.jpg"
                    write_image(top / folder / name, pid + (100 if folder == test else 0), cam, shot, (32, 16))
                    lists[part].append(f"{name} {pid}")
        clutter(top / folder)
    for part, lines in lists.items():
        (top / f"list_{part}.txt").write_text("\n".join(lines) + "\n")
    return top


def cuhk_tree(root: Path, boxes: str = "detected", identities: int = 3) -> Path:
    """CUHK03's new protocol in `root`/cuhk03-np/`boxes`: PNG files, two cameras, the first shot of the test a query."""
    top = root / "cuhk03-np" / boxes
    for pid in range(1, 2 * identities + 1):
        for cam in (1, 2):
            for shot in range(1, 4):
                folder = "bounding_box_train" if pid <= identities else "query" if shot == 1 else "bounding_box_test"
                write_image(top / folder / f"{pid:04d}_c{cam}_{shot}.png", pid, cam, shot, (32, 16))
    for folder in ("bounding_box_train", "query", "bounding_box_test"):
        clutter(top / folder)
    return top


def pku_tree(root: Path, identities: int = 40, orientations: int = 2) -> Path:
    """PKU-Reid in `root`/pku_reid: one flat folder, person_camera_orientation.png; every third number is missing."""
    top = root / "pku_reid"
    for pid in [number for number in range(1, 2 * identities) if number % 3 != 2][:identities]:
        for cam in (1, 2):
            for orientation in range(1, orientations + 1):
                write_image(top / f"{pid:03d}_{cam}_{orientation}.png", pid, cam, orientation, (16, 8))
    clutter(top)
    return top


def manifest_tree(root: Path, identities: int = 3) -> Path:
    """A CSV manifest in `root` over images in no layout at all; returns the CSV file."""
    rows = ["path,pid,camid,split"]
    for pid in range(1, 2 * identities + 1):
        for cam in (1, 2):
            for shot in (0, 1):
                name = f"images/{pid * 7919 % 101}/{cam}{shot}.jpg"
                write_image(root / name, pid, cam, shot, (32, 16))
                split = "train" if pid <= identities else "query" if shot == 0 else "gallery"
                rows.append(f"{name},{pid},{cam},{split}")
    path = root / "people.csv"
    path.write_text("\n".join(rows) + "\n")
    return path


def folder_tree(root: Path, names: tuple[str, ...] = ("ann", "bob", "eve"), splits: bool = True) -> Path:
    """One folder an identity, in `train`, `query` and `gallery` or directly in `root`; the camera in the file name."""
    for place, name in enumerate(names):
        for cam in (1, 2):
            for shot in (0, 1):
                parts = ("train", "query" if shot == 0 else "gallery") if splits else (".",)
                for part in parts:
                    who = f"{name}_t" if part == "train" else name
                    number = place + (50 if part == "train" else 0)
                    write_image(root / part / who / f"shot{shot}_cam{cam}.jpg", number, cam, shot, (32, 16))
                    clutter(root / part / who)
    return root
