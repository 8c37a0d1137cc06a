"""Does a data set on disk hold what its card says? Every file is read and decoded once."""

import hashlib
import io
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image, ImageFile

from reid.data.card import load_card
from reid.data.contact_sheet import MANY, contact_sheet
from reid.data.images import FORMATS, UNREADABLE, upright_rgb
from reid.data.layouts import UNKNOWN_CAMERA
from reid.data.names import some
from reid.data.reading import read_dataset, withdrawal
from reid.data.samples import DataSet, Samples, matchless
from reid.data.schema import Card, Protocol
from reid.progress import track

TRAINING = ("train", "val")
DARK = 16  # of 255: the brightest colour of an image in which nothing is to be seen
LISTED = 10  # how many file names the text gives before it only counts


@dataclass(frozen=True)
class SplitCount:
    """What one split holds, without what was left out of it."""

    images: int
    identities: int
    distractors: int
    cameras: tuple[int, ...]
    images_per_identity: tuple[int, float, int]  # minimum, median, maximum


@dataclass(frozen=True)
class CheckReport:
    """The findings; `problems` make the data set not ok, the rest is for information."""

    name: str
    title: str  # the name, with the release and the random split
    version: str | None
    root: Path
    fingerprint: str
    counts: dict[str, SplitCount]
    left_out: dict[str, int]
    differences: tuple[str, ...]  # from the card: "query: the card says 3368 images, found 3367"
    undecodable: tuple[tuple[str, str], ...]  # name, reason
    dark: tuple[str, ...]  # images that are black, or nearly
    unmatched: dict[str, tuple[str, ...]]  # by split: image files of unknown identity or camera
    unmatched_are: str  # in words
    duplicates: tuple[tuple[str, ...], ...]  # "split: name" of files equal byte for byte in more than one split
    shared_identities: tuple[int, ...]  # in training and in test
    matchless_queries: tuple[str, ...]  # queries without a possible match: they are left out of every score
    passed_over: tuple[str, ...] = ()  # in words: pictures that are not read
    zeros: tuple[str, ...] = ()  # in words: images that are left out since their identity is 0
    warning: str | None = None  # that the data set was withdrawn
    sheet: Path | None = field(default=None)

    @property
    def problems(self) -> list[str]:
        """One line for each finding that a person should look at before trusting a number."""
        lines = [*self.differences, *self.zeros, *self.passed_over]
        if self.undecodable:
            files = [f"{name} ({reason})" for name, reason in self.undecodable]
            lines.append(f"{len(files)} files cannot be decoded: {some(files, LISTED)}")
        if self.dark:
            what = f"images have no colour above {DARK} of 255 (a 12-bit sensor's values in 16-bit files look so)"
            lines.append(f"{len(self.dark)} {what}: {some(self.dark, LISTED)}")
        for split, names in self.unmatched.items():
            if names:
                lines.append(f"{split}: {len(names)} {self.unmatched_are}: {some(names, LISTED)}")
        if self.duplicates:
            groups = [" = ".join(group) for group in self.duplicates]
            lines.append(f"{len(groups)} images lie in more than one split, byte for byte: {some(groups, LISTED)}")
        if self.shared_identities:
            pids = [str(pid) for pid in self.shared_identities]
            lines.append(f"{len(pids)} identities are in training and in test: {some(pids, LISTED)}")
        return lines

    @property
    def ok(self) -> bool:
        return not self.problems

    def text(self) -> str:
        """The report as plain text."""
        lines = [self.title, f"  folder       {self.root}", f"  fingerprint  {self.fingerprint}", ""]
        lines.append("  split      images   people   distractors   images per person   cameras")
        for split, count in self.counts.items():
            low, median, high = count.images_per_identity
            spread = f"{low} / {median:g} / {high}"
            unknown = count.cameras == (int(UNKNOWN_CAMERA),)
            cameras = "not known" if unknown else _listed(count.cameras)
            numbers = f"{count.images:>8,} {count.identities:>8,} {count.distractors:>13,}"
            lines.append(f"  {split:8} {numbers}   {spread:>17}   {cameras}")
        lines += ["", "  images per person: least / median / most"]
        lines += [f"  left out: {number:,} {what}" for what, number in self.left_out.items()]
        if self.matchless_queries:
            names = some(self.matchless_queries, LISTED)
            lines.append(
                f"  {len(self.matchless_queries)} queries have no possible match, no score counts them: {names}"
            )
        if self.warning is not None:
            lines.append(f"  {self.warning}")
        if self.sheet is not None:
            lines.append(f"  contact sheet: {self.sheet}")
        lines.append("")
        if self.ok:
            lines.append("  ok: counts, names, files and splits are as they should be")
        else:
            lines += [f"  PROBLEM  {line}" for line in self.problems]
        return "\n".join(lines)


def check(
    name_or_card: str,
    data_root: Path,
    sites_root: Path,
    sheet: Path | None,
    progress: bool = True,
    protocol: Protocol | None = None,
) -> CheckReport:
    """Check a data set by name, under its card's protocol or another; draw its contact sheet where `sheet` is given."""
    card = load_card(name_or_card).under(protocol)
    dataset = read_dataset(card, data_root, sites_root)
    report = _report(dataset, progress)
    if sheet is None:
        return report
    contact_sheet(dataset, sheet)
    return CheckReport(**{**vars(report), "sheet": sheet})


def check_dataset(card: Card, data_root: Path, sites_root: Path, progress: bool = True) -> CheckReport:
    """Check all splits of a card; nothing is written."""
    return _report(read_dataset(card, data_root, sites_root), progress)


def _report(dataset: DataSet, progress: bool) -> CheckReport:
    splits = dataset.splits
    undecodable, dark, duplicates = _files(dataset, progress)
    train = _people(splits, TRAINING)
    test = _people(splits, ("query", "gallery"))
    lonely: tuple[str, ...] = ()
    if "query" in splits and "gallery" in splits:
        flags = matchless(splits["query"], splits["gallery"], dataset.card.cross_camera_only)
        lonely = tuple(name for name, flag in zip(splits["query"].names, flags, strict=True) if flag)
    return CheckReport(
        name=dataset.name,
        title=dataset.title,
        version=dataset.version,
        root=dataset.root,
        fingerprint=dataset.fingerprint,
        counts={name: _count(samples) for name, samples in splits.items()},
        left_out=dataset.left_out,
        differences=dataset.differences,
        undecodable=undecodable,
        dark=dark,
        unmatched=dataset.unmatched,
        unmatched_are=dataset.card.unmatched,
        duplicates=duplicates,
        shared_identities=tuple(sorted(train & test)),
        matchless_queries=lonely,
        passed_over=dataset.passed_over,
        zeros=dataset.zeros,
        warning=withdrawal(dataset.card),
    )


def _listed(cameras: tuple[int, ...]) -> str:
    """The numbers; where there are many, the first and the last."""
    if len(cameras) <= MANY:
        return ", ".join(map(str, cameras))
    return f"{len(cameras)}: {cameras[0]} to {cameras[-1]}"


def _count(samples: Samples) -> SplitCount:
    _, shots = np.unique(samples.pids[samples.pids > 0], return_counts=True)
    spread = (int(shots.min()), float(np.median(shots)), int(shots.max())) if len(shots) else (0, 0.0, 0)
    cameras = tuple(samples.cameras.tolist())
    return SplitCount(len(samples), len(shots), int((samples.pids <= 0).sum()), cameras, spread)


def _people(splits: dict[str, Samples], names: tuple[str, ...]) -> set[int]:
    return {pid for name in names if name in splits for pid in splits[name].identities.tolist()}


def _files(
    dataset: DataSet, progress: bool
) -> tuple[tuple[tuple[str, str], ...], tuple[str, ...], tuple[tuple[str, ...], ...]]:
    """Undecodable files with the reason, dark ones, and groups of different files with the same bytes in more than one
    split."""
    members: dict[str, list[str]] = defaultdict(list)  # one file may serve two splits: it is read once
    for split, samples in dataset.splits.items():
        for name in samples.names:
            members[name].append(split)
    undecodable: list[tuple[str, str]] = []
    dark: list[str] = []
    same: dict[bytes, list[str]] = defaultdict(list)
    for name in track(sorted(members), name=f"check {dataset.name}", unit="file", shown=progress):
        try:
            content = (dataset.root / name).read_bytes()
        except OSError as error:
            undecodable.append((name, error.strerror or "cannot be read"))
            continue
        same[hashlib.sha256(content).digest()].append(name)
        pixels = _decoded(content)
        if isinstance(pixels, str):
            undecodable.append((name, pixels))
        elif pixels.max() <= DARK:
            dark.append(name)
    groups = [names for names in same.values() if len(names) > 1 and len({s for n in names for s in members[n]}) > 1]
    duplicates = sorted(tuple(f"{split}: {name}" for name in names for split in members[name]) for names in groups)
    return tuple(undecodable), tuple(dark), tuple(duplicates)


def undecodable_reason(content: bytes) -> str | None:
    """Why these bytes cannot be decoded to the last row of pixels; None where they can."""
    picture = _decoded(content)
    return picture if isinstance(picture, str) else None


def _decoded(content: bytes) -> np.ndarray | str:
    """The pixels, as they are read to train on, or why there are none."""
    lenient, ImageFile.LOAD_TRUNCATED_IMAGES = ImageFile.LOAD_TRUNCATED_IMAGES, False
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            return upright_rgb(image)
    except UNREADABLE as error:
        return "not an image" if isinstance(error, Image.UnidentifiedImageError) else str(error)
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = lenient
