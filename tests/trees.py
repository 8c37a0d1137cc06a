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


def viper_tree(root: Path, identities: int = 6, only_a: tuple[int, ...] = ()) -> Path:
    """VIPeR in `root`/VIPeR: an image of each person in `cam_a` and `cam_b`, from another angle in each, 000 a person.

    Every third number is missing; the people in `only_a` (places in order) have no image in `cam_b`.
    """
    top = root / "VIPeR"
    for place, pid in enumerate([number for number in range(2 * identities) if number % 3 != 2][:identities]):
        for cam, folder, angle in ((1, "cam_a", 45), (2, "cam_b", 90)):
            if cam == 1 or place not in only_a:
                write_image(top / folder / f"{pid:03d}_{angle}.bmp", pid, cam, size=(16, 8))
    for folder in ("cam_a", "cam_b"):
        clutter(top / folder)
    return top


def duke_tree(root: Path, identities: int = 3) -> Path:
    """DukeMTMC-reID in `root`/DukeMTMC-reID: Market-1501's folders; one person more in the gallery, in one camera."""
    top = root / "DukeMTMC-reID"
    for pid in range(1, 2 * identities + 2):
        for cam in (2, 8) if pid <= 2 * identities else (5,):
            for shot in (0, 1):
                query = shot == 0 and pid <= 2 * identities
                folder = "bounding_box_train" if pid <= identities else "query" if query else "bounding_box_test"
                write_image(top / folder / f"{pid:04d}_c{cam}_f{46182 + shot:07d}.jpg", pid, cam, shot, (32, 16))
    for folder in ("bounding_box_train", "query", "bounding_box_test"):
        clutter(top / folder)
    return top


def scene_tree(folder: Path, start: int = 0, cameras: tuple[int, ...] = (0, 1), swapped: bool = False) -> Path:
    """RandPerson's and ClonedPerson's file names in `folder`: four people from number `start`, four images of each.

    Even people walk through scene 0, with `cameras`, odd ones through scene 1, with camera 0 alone. swapped: camera
    before scene, as the first release has it.
    """
    for place in range(4):
        scene = place % 2
        for cam in cameras if scene == 0 else cameras[:1]:
            for shot in range(2 if scene == 0 else 2 * len(cameras)):
                parts = [f"s{scene:02d}", f"c{cam:02d}"]
                middle = "_".join(reversed(parts) if swapped else parts)
                name = f"{start + place:06d}_{middle}_f{264 + 768 * shot:06d}.jpg"
                write_image(folder / name, start + place, 2 * scene + cam, shot, (32, 16))
    clutter(folder)
    return folder


def unreal_tree(root: Path) -> Path:
    """UnrealPerson in `root`/unreal: scenes 1 and 2, two kinds of people, two people of each kind, one camera a scene.

    Names alone would take people of different kinds, and cameras of different scenes, for the same; one image is in no
    line of the list. Lines end in a space, as its authors' writer leaves them.
    """
    top, lines = root / "unreal", []
    for scene in (1, 2):
        for kind in (1, 2):
            for person in (0, 1):
                name = f"unreal_v{scene}.{kind}/images/{person}_c001_10.jpg"
                pid = 2 * (kind - 1) + person
                write_image(top / name, pid, scene, 0, (32, 16))
                lines.append(f"{name} {pid} {scene - 1} ")
    write_image(top / "unreal_v1.1" / "images" / "1_c001_99.jpg", 1, 1, 1, (32, 16))
    (top / "list_unreal_train.txt").write_text("\n".join(lines) + "\n")
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


def write_card(folder: Path, text: str) -> str:
    """A card in a folder, as a path."""
    path = folder / "own.yaml"
    path.write_text(text)
    return str(path)


MARKET_CARD = r"""
name: own
root: .
pattern: '^(?P<pid>-?\d+)_c(?P<cam>\d)'
splits:
  train: {dir: bounding_box_train}
  query: {dir: query}
  gallery: {dir: bounding_box_test}
"""
