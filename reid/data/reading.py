"""Data sets by name: from a card to the tables of the data set that it describes, as it lies on disk."""

import hashlib
import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from reid.data.card import choices, draw_halves, load_card, site_of, trials
from reid.data.layouts import Row, Scan, pictures_below, scan_split, unread_pictures
from reid.data.manifest import scan_manifest
from reid.data.names import numbers, refuse_twins, refuse_unwritable, some, whole
from reid.data.samples import DataSet, Samples, label_of, matchless
from reid.data.schema import SPLITS, Card, Protocol
from reid.errors import InputError

if TYPE_CHECKING:
    from reid.sites import SiteSettings

HINT = "datasets/README.md says how to obtain each data set; $REID_DATA names the folder that holds them."


def read_dataset(card: Card, data_root: Path, sites_root: Path, splits: Sequence[str] | None = None) -> DataSet:
    """The splits of a data set (None: all that the card has); a drawn or rendered site is made first.

    Raises:
        InputError: what is missing, misnamed or empty on disk; a card with random splits of which none was picked.
    """
    if card.trials is not None and card.trial is None:
        raise InputError(f"card {card.name}: it has {card.trials} random splits; choose one: {choices(card)}")
    root, version, rendered = _root(card, Path(data_root), Path(sites_root), splits)
    refuse_unwritable(str(root.resolve()))
    scans = _scan(card, root, version, splits)
    wanted = tuple(scans) if splits is None else tuple(dict.fromkeys(splits))
    if any(card.split(name).half for name in wanted):  # a half is one of all the people, whichever splits are read
        unread = [name for name, split in card.splits.items() if split.half and name not in scans]
        scans |= _scan(card, root, version, unread) if unread else {}
    pid_of = _numbering(card, root, version, scans, "pid")
    cam_of = _numbering(card, root, version, scans, "cam")
    halves, notes = draw_halves(card, scans, pid_of, cam_of)
    tables: dict[str, Samples] = {}
    left_out: dict[str, int] = {}
    differences: list[str] = []
    zeros: list[str] = []
    for name in wanted:
        rows, pids, camids = _select(card, name, scans[name].rows, pid_of, cam_of, halves)
        differences += _differences(card, name, rows, pids)
        if card.layout == "folders" and (pids <= 0).any():
            low = np.unique(pids[pids <= 0]).tolist()
            notes.append(f"{name}: folders numbered {low} are read as junk (-1) or distractors (0), not as people")
        if card.cross_camera_only and scans[name].without_camera:
            notes.append(f"{name}: no camera is known: all images stand as one camera's")
        if scans[name].unmatched:
            files = scans[name].unmatched
            notes.append(f"{name}: {len(files)} {card.unmatched}: {some(files)}")
        if name != "gallery" and 0 not in card.junk_pids and (pids == 0).any():
            zeros.append(
                f"{name}: {int((pids == 0).sum())} images of identity 0 are left out: 0 stands for distractors, nobody "
                "in particular. Where 0 is a person, number people from 1, or write a card with pid_offset: 1"
            )
        keep, reason = _kept(card, name, pids)
        if not keep.all():
            left_out[f"{name} {reason}"] = int((~keep).sum())
        rows = [row for row, kept in zip(rows, keep, strict=True) if kept]
        if not rows:
            raise InputError(f"card {card.name}, split {name}: empty in {root}: {reason} only")
        title = f"{label_of(card, version)} ({name})"
        names, stats = tuple(row.name for row in rows), tuple(row.stat for row in rows)
        tables[name] = Samples(root, names, pids[keep], camids[keep], title, stats)
    if "query" in tables and "gallery" in tables:
        _check_test(card, root, scans, tables["query"], tables["gallery"])
    pictures = {picture for name in wanted for picture in scans[name].passed_over} | set(_beside(card, root))
    passed_over = unread_pictures(sorted(pictures))
    return DataSet(
        name=card.name,
        version=version,
        root=root,
        card=card,
        splits=tables,
        fingerprint=_fingerprint(tables),
        left_out=left_out,
        differences=tuple(differences),
        notes=(*filter(None, [withdrawal(card)]), *differences, *notes, *zeros, *passed_over),
        unmatched={name: scans[name].unmatched for name in wanted},
        passed_over=tuple(passed_over),
        zeros=tuple(zeros),
        rendered=rendered,
    )


def _check_test(card: Card, root: Path, scans: dict[str, Scan], query: Samples, gallery: Samples) -> None:
    """Refuse a test of cameras where they are not known, or one without a query that has a match to find."""
    for name in ("query", "gallery"):
        if card.cross_camera_only and scans[name].without_camera:
            manifest = f"{root / card.manifest} has no column camid" if card.manifest is not None else None
            raise InputError(
                f"card {card.name}, split {name}: "
                + (manifest or f"no file in {root} tells its camera (c1 or cam1 as a word of its own)")
                + ", and only matches from another camera count. To count all but the query's own image, give "
                "--protocol any-camera, or a card with cross_camera_only: false"
            )
    if not matchless(query, gallery, card.cross_camera_only).all():
        return
    told = "pid and cam" if card.cross_camera_only else "pid"
    check = "identities" + (" and cameras" if card.cross_camera_only else "")
    raise InputError(
        f"card {card.name}: none of the {len(query)} queries has a gallery image of the same identity "
        + ("from another camera" if card.cross_camera_only else "beside itself")
        + f" in {root}; check "
        + (check if card.pattern is None else f"the groups {told} of {card.pattern!r}")
    )


def withdrawal(card: Card) -> str | None:
    """That the data set was withdrawn: published tables need it, but nobody should come to use it unawares."""
    if card.status != "withdrawn":
        return None
    why = f" ({card.withdrawn})" if card.withdrawn else ""
    return f"withdrawn by its authors{why}; it should not be used for new work"


def _fingerprint(tables: dict[str, Samples]) -> str:
    digest = hashlib.sha256()
    for split in sorted(tables):
        table = tables[split]
        columns = (table.names, table.stats, table.pids.tolist(), table.camids.tolist())
        for name, (size, _), pid, camid in zip(*columns, strict=True):
            line = f"{split}\0{name}\0{size}\0{pid}\0{camid}\n"
            digest.update(line.encode(errors="surrogateescape"))
    return digest.hexdigest()


def _root(
    card: Card, data_root: Path, sites_root: Path, splits: Sequence[str] | None
) -> tuple[Path, str | None, str | None]:
    """The folder to read from, for a site made here first; the version that lies there; a site's fingerprint."""
    if (settings := site_of(card)) is not None:
        root = sites_root.expanduser() / card.root
        return root, card.version, _render(card, settings, root, splits)
    data_root = data_root.expanduser()
    if not card.versions:
        root = data_root / card.root
        if not root.is_dir():
            raise InputError(f"card {card.name}: no folder {root}. {HINT}")
        return root, card.version, None
    folders = {version: data_root / entry.root for version, entry in card.versions.items()}
    present = [version for version, folder in folders.items() if folder.is_dir()]
    chosen = [card.version] if card.version is not None else present
    if len(chosen) > 1:
        ways = " or ".join(f"{card.name}@{version}" for version in chosen)
        raise InputError(f"card {card.name}: {data_root} holds the versions {', '.join(chosen)}; choose {ways}")
    if not chosen or chosen[0] not in present:
        sought = " or ".join(str(folders[version]) for version in (chosen or folders))
        raise InputError(f"card {card.name}: no folder {sought}. {HINT}")
    return folders[chosen[0]], chosen[0], None


def _render(card: Card, settings: "SiteSettings", folder: Path, splits: Sequence[str] | None) -> str:
    """Make the site where it is not there; its fingerprint. ``splits`` are those that will be read."""
    from reid.sites import render_site  # here: what draws is needed for sites alone

    for name in card.splits if splits is None else splits:
        for part in settings.empty.keys() & set(card.split(name).dir):
            why = f"no image is made in {part}: {settings.kind}: {settings.empty[part]}"
            raise InputError(f"card {card.name}, split {name}: {why}")
    if not folder.exists() and Path(card.name).is_dir():
        told = f"the site of that name is {settings.kind} now; the folder of that name here is ./{card.name}"
        warn_once(f"{card.name}: {told}")
    return render_site(folder, settings)


def _scan(card: Card, root: Path, version: str | None, splits: Sequence[str] | None) -> dict[str, Scan]:
    """The scans of the splits asked for, or of all."""
    if card.manifest is not None:
        scans = scan_manifest(card, root, HINT)
        wanted = tuple(card.splits or scans) if splits is None else splits
        _require(card, wanted, tuple(scans), f"{root / card.manifest}")
        return {name: scans[name] for name in SPLITS if name in wanted}
    wanted = tuple(card.splits) if splits is None else splits
    _require(card, wanted, tuple(card.splits), f"card {card.name}")
    named = card.versions[version].dirs if card.versions and version is not None else {}
    return {
        name: scan_split(card, name, split, named.get(name, split.dir), root, HINT)
        for name, split in card.splits.items()
        if name in wanted
    }


def _beside(card: Card, root: Path) -> Iterator[str]:
    """Pictures beside the splits of a folder that has no card: a folder `test` may have been meant as one of them."""
    dirs = {name for split in card.splits.values() for name in split.dir}
    if card.layout == "folders" and card.pattern is None and "." not in dirs:
        yield from pictures_below(root, [(root / name).resolve() for name in dirs])


def _require(card: Card, wanted: Iterable[str], there: tuple[str, ...], where: str) -> None:
    for name in wanted:
        if name not in there:
            raise InputError(f"{where}: no split {name!r} of {card.name}; choices: {', '.join(there)}")


def _numbering(card: Card, root: Path, version: str | None, scans: dict[str, Scan], field: str) -> dict[str, int]:
    """The number of each identity or camera as written: itself where all are whole numbers, else its place from 1.

    Words are numbered over all of the card's splits, so that a number means the same whichever splits are read.
    """
    words = _words(scans, field)
    what = {"pid": "identities", "cam": "cameras"}[field]
    if any(whole(word) is None for word in words):
        words |= _words(_scan(card, root, version, None), field)
    number_of = numbers(words, what, f"card {card.name}")
    if card.layout == "folders" and field == "pid":  # 1 and 01 in a table may be one person, but these are two folders
        refuse_twins(number_of, "the folders", f"card {card.name}, {root}")
    return number_of


def _words(scans: dict[str, Scan], field: str) -> set[str]:
    return {getattr(row, field) for scan in scans.values() for row in scan.rows}


def _select(
    card: Card,
    name: str,
    rows: tuple[Row, ...],
    pid_of: dict[str, int],
    cam_of: dict[str, int],
    halves: dict[str, NDArray[np.int64]],
) -> tuple[list[Row], NDArray[np.int64], NDArray[np.int64]]:
    """The rows that the split's own keys keep (cameras, first_ids, skip_ids, half), junk included, with their numbers.

    Half of the people is all that `half` drops: junk and distractors stay, and are treated as in any other split.
    """
    split = card.split(name)
    pids = np.array([pid_of[row.pid] for row in rows], dtype=np.int64) + card.offset(name)
    camids = np.array([cam_of[row.cam] for row in rows], dtype=np.int64)
    keep = np.ones(len(rows), dtype=bool)
    if split.skip_ids is not None or split.first_ids is not None:
        real = np.setdiff1d(pids[pids > 0], card.junk_pids)
        chosen = real[split.skip_ids or 0 :][: split.first_ids]
        keep &= np.isin(pids, chosen)
    if name in halves:
        keep &= (pids <= 0) | np.isin(pids, [*halves[name], *card.junk_pids])
    if split.cameras is not None:
        keep &= np.isin(camids, split.cameras)
    if not keep.any():
        raise InputError(
            f"card {card.name}, split {name}: the keys cameras, first_ids, skip_ids and half leave none of {len(rows)} "
            f"images (cameras {np.unique(camids).tolist()}, {len(np.unique(pids[pids > 0]))} identities)"
        )
    return [row for row, kept in zip(rows, keep, strict=True) if kept], pids[keep], camids[keep]


def _kept(card: Card, name: str, pids: NDArray[np.int64]) -> tuple[NDArray[np.bool_], str]:
    """Which images stay, and what those that do not are: distractors (identity 0) stay in the gallery alone."""
    junk = np.isin(pids, card.junk_pids)
    if name == "gallery":
        return ~junk, "junk"
    return ~junk & (pids > 0), "junk or distractor"


def _differences(card: Card, name: str, rows: list[Row], pids: NDArray[np.int64]) -> list[str]:
    """Where the counts of files and identities differ from the card's: both numbers."""
    expected = card.split(name)
    people = len(np.setdiff1d(pids[pids > 0], card.junk_pids))
    lines = []
    if expected.images is not None and expected.images != len(rows):
        lines.append(f"{name}: the card says {expected.images} images, found {len(rows)}")
    if expected.ids is not None and expected.ids != people:
        lines.append(f"{name}: the card says {expected.ids} identities, found {people}")
    return lines


log = logging.getLogger(__name__)

_tables: ContextVar[dict[tuple[object, ...], DataSet] | None] = ContextVar("tables that were read", default=None)


@dataclass(frozen=True)
class Roots:
    """The folder that holds the data sets, and the one into which drawn and rendered sites go."""

    folder: Path
    sites: Path

    def read(self, card: Card, splits: Sequence[str] | None) -> DataSet:
        """The tables that a card describes (``splits`` None: all that it has); what differs from the card is said once.
        A site that is made here is made first.

        Raises:
            InputError: what is missing, misnamed or empty on disk.
        """
        data = self.table(card, splits)
        for note in data.notes:
            warn_once(f"{data.name}: {note}")
        return data

    def dataset(self, name: str, splits: Sequence[str]) -> DataSet:
        """As :meth:`read`, by the card's name."""
        return self.read(load_card(name), splits)

    def datasets(self, name: str, splits: Sequence[str], protocol: Protocol | None = None) -> list[DataSet]:
        """As :meth:`dataset`, but each of its random splits where the card has several and the name picks none; under
        another protocol than the card's where one is given."""
        return [self.read(card.under(protocol), splits) for card in trials(load_card(name))]

    def label(self, name: str) -> str:
        """What the results of a data set, or of all its random splits, are filed under."""
        sets = self.datasets(name, ())
        return sets[0].label if len(sets) == 1 else sets[0].name

    def table(self, card: Card, splits: Sequence[str] | None) -> DataSet:
        """As :meth:`read`, without a word on differences."""
        kept = _tables.get()
        if kept is None:
            return read_dataset(card, self.folder, self.sites, splits)
        key = (repr(card), self.folder, self.sites, None if splits is None else tuple(splits))
        if key not in kept:
            kept[key] = read_dataset(card, self.folder, self.sites, splits)
        return kept[key]


@contextmanager
def tables_kept() -> Iterator[None]:
    """Within the block each table is read once, however many runs ask for it: for a command that takes the data to stay
    as it is."""
    token = _tables.set({} if (before := _tables.get()) is None else before)
    try:
        yield
    finally:
        _tables.reset(token)


def joint_fingerprint(fingerprints: Sequence[str]) -> str:
    """One of several data sets, or of the random splits of one; of a single one its own."""
    if len(fingerprints) == 1:
        return fingerprints[0]
    return hashlib.sha256("".join(fingerprints).encode()).hexdigest()


@lru_cache
def warn_once(text: str) -> None:
    """A command reads the same data set several times."""
    log.warning(text)
