"""From what a person names to the store that it means."""

from __future__ import annotations

import os
from pathlib import Path

from reid.errors import InputError
from reid.gallery.entries import Store
from reid.networks import Origin

TOKEN = "REID_MILVUS_TOKEN"  # environment variable: user:password or a key, for a Milvus server that wants one


def open_store(location: str, origin: Origin | None = None, write: bool = False, create: bool = False) -> Store:
    """The gallery at a location: ``milvus://HOST:PORT/COLLECTION``, ``PATH.db`` (Milvus Lite) or a folder.

    Args:
        origin: what makes the features to be added or searched for; None where there are none.
        write: whether it is to be changed.
        create: make it where there is none; needs ``origin``.

    Raises:
        InputError: naming the location: it cannot be opened, or its features are of another origin.
    """
    if create and origin is None:
        raise ValueError("a new gallery needs its origin")
    made_by = origin if create else None
    store = _remote(location, made_by, write) if is_remote(location) else _local(Path(location), made_by, write)
    if origin is not None:
        try:
            store.origin.check(origin, location)
        except InputError as error:
            store.close()
            former = (
                "the former file of that name" if store.origin.name == origin.name else "the network that filled it"
            )
            raise InputError(
                f"{error}; name {former} (--model), or another place for a gallery of {origin.name!r} (--store)"
            ) from None
    return store


def is_remote(location: str) -> bool:
    """Whether Milvus or Milvus Lite holds it."""
    return location.startswith("milvus:") or location.endswith(".db")


def _remote(location: str, made_by: Origin | None, write: bool) -> Store:
    from reid.gallery.milvus.store import MilvusStore

    token = os.environ.get(TOKEN, "")
    if made_by is not None and not MilvusStore.exists(location, token):
        MilvusStore.create(location, made_by, token).close()
    return MilvusStore.open(location, write, token)


def _local(folder: Path, made_by: Origin | None, write: bool) -> Store:
    from reid.gallery.local.store import DATABASE, LocalStore

    if made_by is not None and not (folder / DATABASE).exists():
        LocalStore.create(folder, made_by).close()
    return LocalStore.open(folder, write)
