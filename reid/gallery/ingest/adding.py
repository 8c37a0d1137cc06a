"""Putting images and fragments of videos into a gallery: once each, and not what was erased."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from reid.data.times import shown
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


def add_images(
    gallery: Gallery,
    entries: Sequence[Entry],
    model: Network,
    again: bool = False,
    progress: bool = True,
    who: str = "python",
) -> Added:
    """Put images in, a batch a commit, each with a line in the audit log: after an interruption the same call goes on
    where it was.

    An image is known by its source and box; one that is there already is passed over, and what is given for it now and
    is not what is stored is told. A field that no entry has, such as the person of a folder's images, says nothing.
    So is one that is the same picture as another (:func:`_unseen_rows`), before it is embedded.

    Args:
        again: also those that were erased.
        who: puts them in, for the audit log.
    """
    added, fields = Added(), _told_fields(entries)
    for rows in in_parts(new_rows(gallery, entries, fields, added, again), AT_ONCE, progress):
        crops = read_crops(entries, rows, added.problems)
        images = {row: thumbnail(crop) for row, crop in crops.items()}
        _put_in(gallery, entries, images, partial(_embedded, model, crops), fields, added, again, who)
    return added


def _embedded(model: Network, crops: Mapping[int, np.ndarray], rows: Sequence[int]) -> np.ndarray:
    return model.embed([crops[row] for row in rows])


def add_features(
    gallery: Gallery,
    entries: Sequence[Entry],
    features: np.ndarray,
    thumbnails: Sequence[bytes] | None = None,
    again: bool = False,
    added: Added | None = None,
    progress: bool = True,
    who: str = "python",
) -> Added:
    """As :func:`add_images`, with features (N, D) that were made before.

    Args:
        thumbnails: N JPEGs; None: they are made, for which the images are read.
        added: gets what became of these, too; for several calls.
    """
    added, fields = added or Added(), _told_fields(entries)
    new = new_rows(gallery, entries, fields, added, again)
    for rows in in_parts(new, AT_ONCE if thumbnails is None else MADE, progress):
        if thumbnails is None:
            images = {row: thumbnail(crop) for row, crop in read_crops(entries, rows, added.problems).items()}
        else:
            images = {row: thumbnails[row] for row in rows}
        _put_in(gallery, entries, images, features.__getitem__, fields, added, again, who)
    return added


def add_fragments(gallery: Gallery, fragments: Iterable[Fragment], again: bool = False, who: str = "python") -> Added:
    """Put fragments of tracks in as they end, some at a time; those that have ended when it is interrupted are put in
    too. One that is there already is passed over as an image is, one without a feature is left out."""
    added, waiting = Added(), list[Fragment]()

    def put() -> None:
        entries, images = [entry for entry, *_ in waiting], [image for *_, image in waiting]
        features = np.array([feature for _, feature, _ in waiting])
        add_features(gallery, entries, features, images, again, added, False, who)
        waiting.clear()

    try:
        for fragment in fragments:
            waiting.append(fragment)
            if len(waiting) == TOGETHER:
                put()
    finally:
        put()
    return added


def _put_in(
    gallery: Gallery,
    entries: Sequence[Entry],
    images: Mapping[int, bytes],
    features_of: Callable[[list[int]], np.ndarray],
    fields: Sequence[str],
    added: Added,
    again: bool,
    who: str,
) -> None:
    """Put entries in, in one commit: those at the places whose thumbnails are given, but no picture that is there
    (:func:`_unseen_rows`) and nothing without a feature; ``features_of`` gives (N, D) of N places."""
    rows = _unseen_rows(gallery, entries, images, fields, added, again)
    if not rows:
        return
    features = features_of(rows)
    good = usable(features)
    added.problems += [nothing_in(entries[row]) for row, fine in zip(rows, good, strict=True) if not fine]
    rows = [row for row, fine in zip(rows, good, strict=True) if fine]
    if rows:
        ids = gallery.add([entries[row] for row in rows], features[good], [images[row] for row in rows])
        gallery.record(who, "add", ids)
        added.ids += ids


def _told_fields(entries: Sequence[Entry]) -> list[str]:
    """Those of TOLD that some entry has."""
    return [name for name in TOLD if any(getattr(entry, name) is not None for entry in entries)]


def new_rows(gallery: Gallery, entries: Sequence[Entry], fields: Sequence[str], added: Added, again: bool) -> list[int]:
    """The places in the list of images that the gallery has not, by source, frame and box, each once. Of the others the
    ``fields`` are compared; those that were erased are left out, unless ``again``."""
    rows, given = [], dict[int, Entry]()
    for low in range(0, len(entries), BATCH):
        some = entries[low : low + BATCH]
        places = [place_of(entry) for entry in some]
        known = {place: ids[0] for place, ids in gallery.catalogue.known("place", places).items()}
        stored = gallery.present(list(known.values()))
        erased = set() if again else gallery.catalogue.erased(places)
        for row, (place, entry) in enumerate(zip(places, some, strict=True), low):
            there = stored.get(known.get(place, 0)) or given.get(place)
            if there is not None:
                added.known += 1
                added.differences += _differences(there, entry, fields)
            elif place in erased:
                added.erased.append(named(entry))
            else:
                given[place] = entry
                rows.append(row)
    return rows


def _unseen_rows(
    gallery: Gallery,
    entries: Sequence[Entry],
    images: Mapping[int, bytes],
    fields: Sequence[str],
    added: Added,
    again: bool,
) -> list[int]:
    """Those of the places with a thumbnail, of ``images``, that shows what no other does that is there or comes before,
    nor one that was erased, unless ``again``.

    Copies of a file are one sighting. The same picture by another camera, or at another time, is another one, such as
    of who stands still before a camera without noise; where one of two times is not known, nothing says so.
    """
    contents = {row: content_of(image) for row, image in images.items()}
    shown = [content for content in contents.values() if content is not None]
    known = gallery.catalogue.known("content", shown)
    erased = set() if again else gallery.catalogue.erased(shown)
    stored = gallery.present([id for ids in known.values() for id in ids])
    seen = {content: [stored[id] for id in ids if id in stored] for content, ids in known.items()}
    rows = []
    for row, content in contents.items():
        entry, others = entries[row], [] if content is None else seen.setdefault(content, [])
        same = next((other for other in others if _is_same_moment(other, entry)), None)
        if same is None:
            if content in erased:
                added.erased.append(named(entry))
                continue
            others.append(entry)
            rows.append(row)
            continue
        number = f"entry {same.id}, " if same.id else ""
        added.repeated.append(f"{named(entry)}: the same picture as {number}{named(same)}")
        added.differences += _differences(same, entry, fields)
    return rows


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
        return shown(value)
    return "nothing" if value is None else repr(value)
