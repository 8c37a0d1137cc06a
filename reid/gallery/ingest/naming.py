"""Whether the entries that a gallery holds under a data set's name are of that data set, or of another one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import takewhile
from pathlib import Path

from reid.data.samples import Samples
from reid.errors import InputError
from reid.gallery.catalogue.thumbnails import thumbnail
from reid.gallery.entries import Entry, Filter
from reid.gallery.ingest.images import read_crop
from reid.gallery.store import Gallery


def under_name(
    gallery: Gallery, name: str, root: Path, entries: Sequence[Entry], splits: Callable[[], Iterable[Samples]]
) -> list[Entry]:
    """The ``entries`` of a data set that is called ``name``, where the gallery holds no other data set of that name.

    The same data set may have moved, or been copied: then each of the gallery's images of that name is found again, by
    the end of its path and as the same picture (the same thumbnail). Such an image keeps the place it was put in from.
    ``root`` is the data set's folder; ``splits`` reads all splits of it that are there, and is asked only where the
    ``entries`` do not settle it.

    Raises InputError naming both places, where the gallery's images of that name are others: people and cameras are
    numbers, and those of two data sets mean different ones. Or naming an image, where its number has changed.
    """
    given, held = {entry.source for entry in entries}, _held(gallery, name)
    strangers = [entry for entry in held if entry.source not in given]
    moved, by_name = dict[str, str](), defaultdict[str, list[str]](list)
    if strangers:
        sources = {str(path.resolve()) for samples in splits() for path in samples.paths} | given
        strangers = [entry for entry in strangers if not (entry.source in sources or _gone(entry, root))]
        for source in sources:
            by_name[Path(source).name].append(source)
    for entry in strangers:
        place = _found_again(gallery, entry, by_name[Path(entry.source).name])
        if place is None:
            raise InputError(
                f"{gallery.location}: holds {len(strangers):,} entries of another data set that is called {name!r} "
                f"too, such as {entry.source}, which is no image of {root}: its people and cameras would be mixed up "
                "with these; --name NAME gives the data set another name in the gallery"
            )
        moved[place] = entry.source
    again = [replace(entry, source=moved.get(entry.source, entry.source)) for entry in entries]
    _check_numbers(gallery, name, again, held)
    return again


def _check_numbers(gallery: Gallery, name: str, entries: Sequence[Entry], held: Sequence[Entry]) -> None:
    """InputError where new images would come under a number that has been another person's, or camera's: names are
    numbered in their order, so that a folder of a new person shifts all after it.

    One image of several may have another number by :meth:`Gallery.update`; it takes all of a number to tell.
    """
    given, there = {entry.source: entry for entry in entries}, {entry.source for entry in held}
    new = [entry for entry in entries if entry.source not in there]
    for field in ("identity", "camera"):
        now: dict[str, dict[str, str]] = {}  # number in the gallery -> number now -> an image
        for entry in held:
            before = getattr(entry, field)
            after = getattr(given.get(entry.source), field, None)
            if before and after and before.rpartition("/")[0] == name:
                now.setdefault(before, {})[after] = entry.source
        added = {getattr(entry, field) for entry in new}
        for before, others in now.items():
            if before not in others and added & {before, *others}:
                after, source = min(others.items())
                raise InputError(
                    f"{gallery.location}: {source} has {field} {before!r} there, and {after!r} now: its data set "
                    "numbers them otherwise since it has others, and new images would be mixed up with these; forget "
                    "its entries and add it again, or name people and cameras by numbers, which stay"
                )


def _held(gallery: Gallery, name: str) -> list[Entry]:
    """The entries whose person or camera is called so, before the number."""
    cameras, people = (
        tuple(text for text in gallery.catalogue.names(kind) if text.rpartition("/")[0] == name)
        for kind in ("camera", "identity")
    )
    found = gallery.find(Filter(cameras=cameras)) if cameras else []
    found += gallery.find(Filter(identities=people)) if people else []
    return sorted(set(found), key=lambda entry: entry.id)


def _gone(entry: Entry, root: Path) -> bool:
    """Whether its image lay in the folder, and is not there any more."""
    source = Path(entry.source)
    return source.is_relative_to(root.resolve()) and not source.exists()


def _found_again(gallery: Gallery, entry: Entry, candidates: Sequence[str]) -> str | None:
    """Of these paths the one that ends as the entry's does, in most folders, and is the same picture; None where there
    is none, or two."""
    best = sorted(((_shared(entry.source, other), other) for other in candidates), reverse=True)[:2]
    if not best or (len(best) == 2 and best[0][0] == best[1][0]):
        return None
    try:
        picture = thumbnail(read_crop(replace(entry, source=best[0][1])))
    except InputError:  # it cannot be read, so nothing says that it is the same
        return None
    return best[0][1] if picture == gallery.thumbnails([entry.id])[0] else None


def _shared(a: str, b: str) -> int:
    """Names that two paths have in common at their ends."""
    pairs = zip(reversed(Path(a).parts), reversed(Path(b).parts), strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
