"""What is wrong with a gallery's files, in sentences."""

from __future__ import annotations

from functools import partial

import numpy as np

from reid.errors import InputError
from reid.gallery.catalogue.catalogue import Catalogue
from reid.gallery.catalogue.thumbnails import Packs
from reid.gallery.vectors.rows import Vectors

PAGE = 8192  # entries at once


def problems(catalogue: Catalogue, vectors: Vectors, packs: Packs) -> list[str]:
    """One sentence a problem; while a writer is at work, what it has not finished."""
    sentences: list[str] = []
    for part in (
        catalogue.db.problems,
        vectors.problems,
        partial(_unmatched, catalogue, vectors),
        catalogue.unfinished,
        partial(_pictures, catalogue, packs),
    ):
        try:
            sentences += part()
        except InputError as error:  # damaged so that it cannot be read
            sentences.append(str(error))
    return list(dict.fromkeys(sentences))


def _unmatched(catalogue: Catalogue, vectors: Vectors) -> list[str]:
    ids, there = catalogue.ids(), vectors.ids()
    found = (
        ("entries have no feature", np.setdiff1d(ids, there)),
        ("features belong to no entry", np.setdiff1d(there, ids)),
    )
    return [f"{catalogue.db.location}: {len(some):,} {what}, the first {some[0]}" for what, some in found if len(some)]


def _pictures(catalogue: Catalogue, packs: Packs) -> list[str]:
    sentences, after = [], 0
    while places := catalogue.places_after(after, PAGE):
        sentences += packs.problems(places)
        after = max(places)
    return sentences
