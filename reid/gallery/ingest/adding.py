"""Putting images and fragments of videos into a gallery: once each, and not what was erased."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from reid.data import times
from reid.gallery.catalogue.records import content_of, place_of
from reid.gallery.catalogue.thumbnails import thumbnail
from reid.gallery.entries import Entry
from reid.gallery.ingest.images import AT_ONCE, in_parts, named, nothing_in, read_crops
from reid.gallery.store import BATCH, Gallery
from reid.networks import Network
from reid.retrieval.unit import usable

TOLD = ("camera", "identity", "time")  # what a person says of an image
TOGETHER, MADE = 32, 2048  # fragments, and images with features and thumbnails, that are committed together

Fragment = tuple[Entry, np.ndarray, bytes]  # entry, feature (D,), thumbnail
Images = Mapping[int, bytes] | Sequence[bytes]  # thumbnails, JPEGs, by the place of their entry


@dataclass
class Added:
    """What became of the images.

    Attributes:
        ids: of the new entries.
        known: images that were there already.
        problems: a line for each image that was left out: it cannot be read, or the network finds nothing in it.
        differences: a line for each value that was given for an image and is not the stored one, which stays.
        repeated: a line for each image that is the same picture as another one.
        erased: images that were erased, and therefore left out.
        notes: sentences about what else was not taken over.
    """

    ids: list[int] = field(default_factory=list)
    known: int = 0
    problems: list[str] = field(default_factory=list)
    differences: list[str] = field(default_factory=list)
    repeated: list[str] = field(default_factory=list)
    erased: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass
class Intake:
    """Puts images into a gallery, a batch a commit, each with a line in the audit log: after an interruption the same
    call goes on where it was.

    An image is known by its source and box; one that is there already is passed over, and so is, before it is embedded,
    one that is the same picture as another (:meth:`_unseen_rows`). What is given for it now and is not what is stored
    is told; a field that no entry has, such as the person of a folder's images, says nothing. ``again``: also those
    that were erased. ``who`` puts them in, by what ``action``, for the audit log. ``added`` is of all calls together.
    """

    gallery: Gallery
    again: bool = False
    who: str = "python"
    action: str = "add"
    added: Added = field(default_factory=Added)

    def images(self, entries: Sequence[Entry], model: Network, progress: bool = True) -> Added:
        """Images of files, which are read and embedded."""
        fields = _told_fields(entries)
        for part in in_parts(self.new_rows(entries, fields), AT_ONCE, progress):
            crops = read_crops(entries, part, self.added.problems)
            images = {row: thumbnail(crop) for row, crop in crops.items()}
            if rows := self._unseen_rows(entries, images, fields):
                self.put(entries, rows, model.embed([crops[row] for row in rows]), images)
        return self.added

    def features(
        self, entries: Sequence[Entry], features: np.ndarray, images: Images | None = None, progress: bool = True
    ) -> Added:
        """Images with features (N, D) that were made before; thumbnails that are not given are made from the files."""
        fields = _told_fields(entries)
        for part in in_parts(self.new_rows(entries, fields), AT_ONCE if images is None else MADE, progress):
            if images is None:  # no name holds the crops, so that they go before the next are read
                shown = {row: thumbnail(crop) for row, crop in read_crops(entries, part, self.added.problems).items()}
            else:
                shown = {row: images[row] for row in part}
            rows = self._unseen_rows(entries, shown, fields)
            self.put(entries, rows, features[rows], shown)
        return self.added

    def fragments(self, fragments: Iterable[Fragment]) -> Added:
        """Fragments of tracks as they end, some at a time; those that have ended when it is interrupted are put in too.
        One that is there already is passed over as an image is, one without a feature is left out."""
        waiting = list[Fragment]()

        def put() -> None:
            entries, images = [entry for entry, *_ in waiting], [image for *_, image in waiting]
            self.features(entries, np.array([feature for _, feature, _ in waiting]), images, progress=False)
            waiting.clear()

        try:
            for fragment in fragments:
                waiting.append(fragment)
                if len(waiting) == TOGETHER:
                    put()
        finally:
            put()
        return self.added

    def put(self, entries: Sequence[Entry], rows: Sequence[int], features: np.ndarray, images: Images) -> None:
        """Put in, in one commit, the entries at R places, of features (R, D), but nothing without a feature."""
        good = usable(features)
        self.added.problems += [nothing_in(entries[row]) for row, fine in zip(rows, good, strict=True) if not fine]
        rows = [row for row, fine in zip(rows, good, strict=True) if fine]
        ids = self.gallery.add([entries[row] for row in rows], features[good], [images[row] for row in rows])
        if ids:
            self.gallery.record(self.who, self.action, ids)
        self.added.ids += ids

    def new_rows(self, entries: Sequence[Entry], fields: Sequence[str] = TOLD) -> list[int]:
        """The places in the list of images that the gallery has not, by source, frame and box, each once. Of the others
        the ``fields`` are compared; those that were erased are left out, unless ``again``."""
        rows, given = [], dict[int, Entry]()
        for low in range(0, len(entries), BATCH):
            some = entries[low : low + BATCH]
            places = [place_of(entry) for entry in some]
            known = {place: ids[0] for place, ids in self.gallery.catalogue.known("place", places).items()}
            stored = self.gallery.catalogue.present(list(known.values()))
            erased = set() if self.again else self.gallery.catalogue.erased(places)
            for row, (place, entry) in enumerate(zip(places, some, strict=True), low):
                there = stored.get(known.get(place, 0)) or given.get(place)
                if there is not None:
                    self.added.known += 1
                    self.added.differences += _differences(there, entry, fields)
                elif place in erased:
                    self.added.erased.append(named(entry))
                else:
                    given[place] = entry
                    rows.append(row)
        return rows

    def _unseen_rows(self, entries: Sequence[Entry], images: Mapping[int, bytes], fields: Sequence[str]) -> list[int]:
        """Those of the places with a thumbnail, of ``images``, that shows what no other does that is there or comes
        before, nor one that was erased, unless ``again``.

        Copies of a file are one sighting. The same picture by another camera, or at another time, is another one, such
        as of who stands still before a camera without noise; where one of two times is not known, nothing says so.
        """
        contents = {row: content_of(image) for row, image in images.items()}
        pictures = [content for content in contents.values() if content is not None]
        known = self.gallery.catalogue.known("content", pictures)
        erased = set() if self.again else self.gallery.catalogue.erased(pictures)
        stored = self.gallery.catalogue.present([id for ids in known.values() for id in ids])
        seen = {content: [stored[id] for id in ids if id in stored] for content, ids in known.items()}
        rows = []
        for row, content in contents.items():
            entry, others = entries[row], [] if content is None else seen.setdefault(content, [])
            same = next((other for other in others if _is_same_moment(other, entry)), None)
            if same is not None:
                number = f"entry {same.id}, " if same.id else ""
                self.added.repeated.append(f"{named(entry)}: the same picture as {number}{named(same)}")
                self.added.differences += _differences(same, entry, fields)
            elif content in erased:
                self.added.erased.append(named(entry))
            else:
                others.append(entry)
                rows.append(row)
        return rows


def _told_fields(entries: Sequence[Entry]) -> list[str]:
    """Those of TOLD that some entry has."""
    return [name for name in TOLD if any(getattr(entry, name) is not None for entry in entries)]


def _is_same_moment(a: Entry, b: Entry) -> bool:
    return a.camera == b.camera and (a.time is None or b.time is None or a.time == b.time)


def _differences(stored: Entry, entry: Entry, fields: Sequence[str]) -> list[str]:
    number = f"entry {stored.id}" if stored.id else "given twice"
    return [
        f"{named(entry)} ({number}): {name}: {_told(old)} is stored, {_told(given)} was given"
        for name in fields
        if (old := getattr(stored, name)) != (given := getattr(entry, name))
    ]


def _told(value: str | float | None) -> str:
    if isinstance(value, float):
        return times.shown(value)
    return "nothing" if value is None else repr(value)
